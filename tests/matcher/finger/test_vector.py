"""The shortlist vector against loops, and what it must keep apart and together."""

from __future__ import annotations

import dataclasses
import hashlib
import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from enrollment.synthesis.finger_templates import bulk_finger_templates, vary
from matcher.errors import InvalidInput
from matcher.finger.cylinders import PreparedFinger, build_cylinders, cell_contributions, prepare_finger
from matcher.finger.parameters import CylinderParameters, VectorParameters
from matcher.finger.vector import VectorModel, describe_minutiae
from tests.matcher.finger.prints import random_finger
from tests.matcher.finger.reference import contributions, sums_of_residuals

MODEL = VectorModel.load()


def slow_vector(finger: PreparedFinger, model: VectorModel) -> NDArray[np.float64]:
    """The steps of ``vector`` one minutia, word and number at a time, before rounding."""
    p = model.parameters
    described = describe_minutiae(finger, model.cylinders, p).astype(np.float64)
    sums = np.zeros((p.words, p.reduced))
    for row in described:
        reduced = (row - model.middle) @ model.reduce.astype(np.float64)
        distances = [float(((reduced - word) ** 2).sum()) for word in model.words.astype(np.float64)]
        nearest = sorted(range(p.words), key=lambda w: distances[w])[: p.nearest]
        shares = [math.exp(-(distances[w] - distances[nearest[0]]) / model.softness) for w in nearest]
        for w, share in zip(nearest, shares, strict=True):
            sums[w] += share / sum(shares) * (reduced - model.words[w])
    for w in range(p.words):
        sums[w] = np.sign(sums[w]) * np.sqrt(np.abs(sums[w]))
        length = np.linalg.norm(sums[w])
        if length:
            sums[w] /= math.sqrt(length)
    flat = sums.ravel() / np.linalg.norm(sums)
    vector = (flat - model.mean) @ model.project.astype(np.float64)
    return np.asarray(vector / np.linalg.norm(vector) * p.scale, np.float64)


@settings(max_examples=15, deadline=None)
@given(st.integers(3, 80), st.integers(0, 2**32))
def test_vectors_are_those_of_the_slow_way(count: int, seed: int) -> None:
    finger = prepare_finger(random_finger(np.random.default_rng(seed), count))
    (vector,) = MODEL.encode([finger])
    expected = np.clip(slow_vector(finger, MODEL), -127, 127)
    assert np.abs(vector - expected).max() <= 1.0


def test_vectors_are_those_on_record() -> None:
    """The same as whole arrays in float32 gave, but for one number in 100,000, by one, as another processor gives."""
    p = MODEL.parameters
    fingers = [prepare_finger(t) for t in bulk_finger_templates(150, 7)]
    sums = np.stack(
        [
            sums_of_residuals(
                describe_minutiae(f, MODEL.cylinders, p),
                MODEL.middle,
                MODEL.reduce,
                MODEL.words,
                p.nearest,
                MODEL.softness,
            )
            for f in fingers
        ]
    )
    vectors = (sums - MODEL.mean) @ MODEL.project
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    expected = np.clip(np.rint(vectors * p.scale), -127, 127).astype(np.int16)
    difference = np.abs(MODEL.encode(fingers) - expected)
    assert difference.max() <= 1
    assert difference.mean() < 1e-4


def test_descriptions_are_soft_cells_direction_and_place() -> None:
    p, finger = MODEL.parameters, prepare_finger(bulk_finger_templates(1, 8)[0])
    cells = contributions(finger, MODEL.cylinders)
    theta = finger.angle * (2 * math.pi / 65536)
    place = [
        np.cos(theta),
        np.sin(theta),
        (finger.x - finger.x.mean()) / p.length,
        (finger.y - finger.y.mean()) / p.length,
    ]
    expected = np.column_stack([1 / (1 + np.exp(-p.steepness * (cells - p.centre))), *place])
    np.testing.assert_allclose(describe_minutiae(finger, MODEL.cylinders, p), expected, rtol=1e-6, atol=1e-6)


def test_bits_are_the_cells_above_the_threshold() -> None:
    p = CylinderParameters()
    finger = prepare_finger(random_finger(np.random.default_rng(1), 40))
    cells = cell_contributions(finger.x, finger.y, finger.angle, p)
    packed = np.packbits(cells > p.threshold, axis=1, bitorder="little").view(np.uint64)
    np.testing.assert_array_equal(packed, build_cylinders(finger.x, finger.y, finger.angle, p))
    np.testing.assert_array_equal(packed, finger.bits)


def test_many_at_once_are_one_by_one() -> None:
    rng = np.random.default_rng(2)
    fingers = [prepare_finger(random_finger(rng, int(n))) for n in rng.integers(0, 60, 300)]
    together = MODEL.encode(fingers)
    alone = np.concatenate([MODEL.encode([finger]) for finger in fingers])
    # The same but for the last bits of a matrix product, which rounding may show.
    assert np.abs(together.astype(np.int16) - alone).max() <= 1
    assert MODEL.encode([]).shape == (0, MODEL.parameters.numbers)


def test_a_probe_is_encoded_once_by_each_model(monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = (prepare_finger(t) for t in bulk_finger_templates(2, 12))
    other = dataclasses.replace(MODEL, project=-MODEL.project)
    expected = np.concatenate([MODEL.encode([a]), MODEL.encode([b])])
    encoded: list[int] = []
    encode = VectorModel.encode

    def counted(self: VectorModel, fingers: Sequence[PreparedFinger]) -> NDArray[np.int8]:
        encoded.append(len(fingers))
        return encode(self, fingers)

    monkeypatch.setattr(VectorModel, "encode", counted)
    for probes, vectors in (([a], expected[:1]), ([b, a, b], expected[[1, 0, 1]]), ([a, b], expected)):
        np.testing.assert_array_equal(MODEL.of_probes(probes), vectors)
    np.testing.assert_array_equal(other.of_probes([a, b]), -expected)
    np.testing.assert_array_equal(MODEL.of_probes([b]), expected[1:])
    assert encoded == [1, 1, 0, 2, 1]


@pytest.mark.parametrize("count", [0, 1, 2])
def test_too_few_minutiae_have_no_direction(count: int) -> None:
    assert not MODEL.encode([prepare_finger(random_finger(np.random.default_rng(3), count))]).any()


def test_other_impressions_of_a_synthetic_finger_are_nearer_than_other_fingers() -> None:
    fingers = bulk_finger_templates(60, 5)
    gallery = MODEL.encode([prepare_finger(t) for t in fingers]).astype(np.float32)
    probes = MODEL.encode([prepare_finger(vary(t, 9)) for t in fingers]).astype(np.float32)
    assert (np.argmax(probes @ gallery.T, axis=1) == np.arange(60)).mean() > 0.9


def test_the_file_holds_the_model() -> None:
    again = VectorModel.from_bytes(MODEL.to_bytes())
    assert again.number == MODEL.number
    assert again.about == MODEL.about
    np.testing.assert_array_equal(again.project, MODEL.project)
    assert again.to_bytes() == MODEL.to_bytes()


def test_the_file_is_small_and_says_what_it_was_fitted_on() -> None:
    assert len(MODEL.to_bytes()) <= 5_000_000
    assert "FVC2000" in str(MODEL.about["data"])
    assert MODEL.about["made_by"] == "benchmarks/fit_finger_vectors.py"


def test_another_model_has_another_number() -> None:
    """Vectors on record are taken for the model's of that number: a file that is fitted anew needs a new one
    (``MODEL_NUMBER`` of the script that makes it), and its sum here."""
    arrays = (MODEL.middle, MODEL.reduce, MODEL.words, MODEL.mean, MODEL.project, np.float64(MODEL.softness))
    found = hashlib.sha256(b"".join(np.asarray(a).tobytes() for a in arrays)).hexdigest()
    assert {MODEL.number: found[:16]} == {1: "8b7a9a37e9c681a5"}


@pytest.mark.parametrize("data", [b"", b"PK\x03\x04 nothing", MODEL.to_bytes()[:5000]], ids=len)
def test_a_broken_file_is_refused(data: bytes) -> None:
    with pytest.raises(InvalidInput, match="vector model"):
        VectorModel.from_bytes(data)


@pytest.mark.parametrize(
    "changes",
    [
        {"number": 0},
        {"number": 65536},
        {"softness": 0.0},
        {"softness": math.nan},
        {"middle": np.full(388, np.nan, np.float32)},
        {"words": np.zeros((63, 64), np.float32)},
        {"mean": np.zeros(4096)},
        {"parameters": VectorParameters(numbers=512)},
    ],
    ids=lambda c: next(iter(c)),
)
def test_a_model_that_does_not_fit_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(InvalidInput, match="vector model"):
        dataclasses.replace(MODEL, **changes)  # type: ignore[arg-type]
