"""Damaged files and templates in bulk: a parser answers or refuses with a typed error, and never anything else."""

from __future__ import annotations

import io
import random
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from enrollment.images import MEDIA_TYPES, decode_image
from enrollment.synthesis.finger_templates import bulk_finger_templates
from matcher.errors import SampleRejected, TemplateInvalid
from matcher.templates import Template, template_from_bytes
from tests.matcher.people import face, iris

pytestmark = [pytest.mark.fuzz, pytest.mark.timeout(1800)]
ROUNDS = 2000


def damaged(rng: random.Random, data: bytes) -> bytes:
    """Some bytes changed, cut out, repeated or put in."""
    changed = bytearray(data)
    for _ in range(rng.randint(1, 6)):
        at = rng.randrange(len(changed))
        kind = rng.random()
        if kind < 0.6:
            changed[at] = rng.randrange(256)
        elif kind < 0.75:
            del changed[at : at + rng.randint(1, 20)]
        elif kind < 0.9:
            changed[at:at] = changed[at : at + rng.randint(1, 20)]
        else:
            del changed[at:]
        if not changed:
            return b""
    return bytes(changed)


@pytest.mark.parametrize("kind", [name for name in MEDIA_TYPES if name != "MPO"])
def test_images(kind: str) -> None:
    rng = random.Random(kind)
    grid = np.add.outer(np.arange(96), np.arange(80))
    pixels = (127 + 120 * np.sin(grid / 5.0)).astype(np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, kind)
    good = stream.getvalue()
    outcomes = {"decoded": 0, "refused": 0}
    for _ in range(ROUNDS // 10 if kind == "WSQ" else ROUNDS):
        try:
            image = decode_image(damaged(rng, good))
        except SampleRejected:
            outcomes["refused"] += 1
        else:
            assert image.pixels.dtype == np.uint8
            assert image.grey.ndim == 2
            outcomes["decoded"] += 1
    assert outcomes["refused"]
    np.testing.assert_array_equal(decode_image(good).pixels.shape, pixels.shape)


@pytest.mark.parametrize("template", [face(1), iris(1), bulk_finger_templates(1, 1)[0]], ids=["face", "iris", "finger"])
def test_templates_with_a_right_checksum(template: Template) -> None:
    rng = random.Random(1)
    body = template.to_bytes()[:-4]
    for _ in range(5 * ROUNDS):
        forged = damaged(rng, body)
        forged += struct.pack("<I", zlib.crc32(forged))
        try:
            read = template_from_bytes(forged)
        except TemplateInvalid:
            continue
        assert template_from_bytes(read.to_bytes()) == read
