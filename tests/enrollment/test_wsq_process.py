"""The WSQ child: dies, hangs or is killed without taking its parent along."""

from __future__ import annotations

import io
import signal
from collections.abc import Iterator

import numpy as np
import pytest
import wsq  # noqa: F401  (registers the format)
from PIL import Image

from enrollment.wsq_process import WsqDamaged, WsqDecoder


@pytest.fixture(scope="module")
def data() -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(1).integers(0, 256, (64, 96), dtype=np.uint8)).save(buffer, "WSQ")
    return buffer.getvalue()


@pytest.fixture
def decoder() -> Iterator[WsqDecoder]:
    decoder = WsqDecoder(seconds=5)
    yield decoder
    decoder.close()


def test_pixels_are_those_that_the_package_decodes_itself(decoder: WsqDecoder, data: bytes) -> None:
    assert np.array_equal(decoder.decode(data, 96, 64), np.asarray(Image.open(io.BytesIO(data))))


def test_a_child_that_was_killed_is_replaced(decoder: WsqDecoder, data: bytes) -> None:
    expected = decoder.decode(data, 96, 64)
    for _ in range(2):
        assert decoder._child.process is not None
        decoder._child.process.send_signal(signal.SIGKILL)
        try:
            again = decoder.decode(data, 96, 64)
        except WsqDamaged:  # it was still dying when the file was sent
            again = decoder.decode(data, 96, 64)
        assert np.array_equal(again, expected)


def test_a_child_that_does_not_answer_is_given_up(data: bytes) -> None:
    decoder = WsqDecoder(seconds=0.3)
    try:
        decoder._child.start().send_signal(signal.SIGSTOP)
        with pytest.raises(WsqDamaged):
            decoder.decode(data, 96, 64)
    finally:
        decoder.close()


def test_another_size_than_the_headers_is_refused_and_the_next_file_is_read(decoder: WsqDecoder, data: bytes) -> None:
    with pytest.raises(WsqDamaged, match="64 x 96"):
        decoder.decode(data, 64, 96)
    assert decoder.decode(data, 96, 64).shape == (64, 96)


def test_what_is_no_wsq_is_refused(decoder: WsqDecoder, data: bytes) -> None:
    for bad in (b"", b"\xff\xa0", b"no image at all", data[:100]):
        with pytest.raises(WsqDamaged):
            decoder.decode(bad, 96, 64)
    assert decoder.decode(data, 96, 64).shape == (64, 96)
