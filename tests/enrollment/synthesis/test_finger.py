"""Synthetic fingerprint images: repeatable, told apart by their seeds, and real prints to a matcher of another make."""

from __future__ import annotations

import io
import itertools

import nbis
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from enrollment.synthesis.finger import Pattern, master_print, orientation_field, synthesise_finger
from enrollment.synthesis.finger_flow import RidgeFlow

IDENTITIES = 6


@pytest.fixture(scope="module")
def extractor() -> nbis.NbisExtractor:
    return nbis.new_nbis_extractor(
        nbis.NbisExtractorSettings(
            min_quality=0.0, get_center=False, check_fingerprint=False, compute_nfiq2=True, ppi=500.0
        )
    )


def extract(extractor: nbis.NbisExtractor, image: NDArray[np.uint8]) -> nbis.Minutiae:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    return extractor.extract_minutiae(buffer.getvalue())


@pytest.fixture(scope="module")
def prints(extractor: nbis.NbisExtractor) -> list[tuple[nbis.Minutiae, nbis.Minutiae]]:
    """Two impressions of each of six fingers."""
    return [
        (extract(extractor, synthesise_finger(i, 0)), extract(extractor, synthesise_finger(i, 1)))
        for i in range(IDENTITIES)
    ]


def test_same_seeds_give_the_same_bytes_even_without_the_cache() -> None:
    first = synthesise_finger(3, 5)
    master_print.cache_clear()
    assert np.array_equal(first, synthesise_finger(3, 5))


@pytest.mark.parametrize("size", [(480, 400), (300, 260)])
def test_an_image_is_grey_of_the_size_asked_for_with_dark_ridges_on_light(size: tuple[int, int]) -> None:
    image = synthesise_finger(1, 0, size=size)
    assert image.dtype == np.uint8
    assert image.shape == size
    corner = np.concatenate([image[:12, :12].ravel(), image[-12:, -12:].ravel()])
    centre = image[size[0] // 2 - 60 : size[0] // 2 + 60, size[1] // 2 - 60 : size[1] // 2 + 60]
    assert np.median(corner) > 200
    assert np.percentile(centre, 20) < 110
    assert np.percentile(centre, 90) > 150


def test_identities_impressions_and_patterns_all_differ() -> None:
    natural = master_print(1).pattern
    other, another = [p for p in Pattern if p is not natural][:2]
    images = [
        synthesise_finger(1, 0),
        synthesise_finger(1, 1),
        synthesise_finger(2, 0),
        synthesise_finger(1, 0, pattern=other),
        synthesise_finger(1, 0, pattern=another),
    ]
    assert np.array_equal(images[0], synthesise_finger(1, 0, pattern=natural))
    for a, b in itertools.combinations(images, 2):
        assert np.mean(a != b) > 0.5


@pytest.mark.parametrize("pattern", list(Pattern))
@pytest.mark.parametrize("seed", range(4))
def test_the_orientation_field_has_the_singularities_of_its_class(pattern: Pattern, seed: int) -> None:
    """Counted by the Poincare index of every square of four pixels: half a turn up at a loop, down at a delta."""
    rng = np.random.default_rng(seed)
    orientation = orientation_field(RidgeFlow.draw(pattern, rng), rng).astype(np.float64)

    def step(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.mod(b - a + np.pi / 2, np.pi) - np.pi / 2

    a, b, c, d = orientation[:-1, :-1], orientation[:-1, 1:], orientation[1:, 1:], orientation[1:, :-1]
    # Clockwise on the screen: counter-clockwise turns of orientation count negative.
    index = np.rint((step(a, b) + step(b, c) + step(c, d) + step(d, a)) / -np.pi).astype(int)
    loops, deltas = int((index > 0).sum()), int((index < 0).sum())
    expected = {Pattern.ARCH: (0, 0), Pattern.WHORL: (2, 2), Pattern.TWIN_LOOP: (2, 2)}.get(pattern, (1, 1))
    assert (loops, deltas) == expected


@pytest.mark.parametrize("identity", [0, 3])
def test_ridges_fill_the_finger_at_a_period_near_nine_pixels(identity: int) -> None:
    ridges = master_print(identity).ridges
    inner = ridges[120:-120, 100:-100]
    assert np.abs(inner).mean() > 0.6
    for top, left in itertools.product((0, 100, 176), (0, 60, 120)):
        patch = inner[top : top + 128, left : left + 128] * np.hanning(128)[:, None] * np.hanning(128)
        power = np.abs(np.fft.fftshift(np.fft.fft2(patch))) ** 2
        radius = np.hypot(*np.mgrid[-64:64, -64:64]) / 128
        power[(radius < 0.05) | (radius > 0.2)] = 0  # the fundamental; square ridges have harmonics
        mean_period = power.sum() / (power * radius).sum()
        assert 7.0 < mean_period < 11.5


def test_master_prints_are_read_only_because_they_are_shared() -> None:
    with pytest.raises(ValueError, match="read-only"):
        master_print(1).ridges[0, 0] = 1


def test_prints_hold_a_natural_number_of_minutiae_and_a_usable_quality(
    prints: list[tuple[nbis.Minutiae, nbis.Minutiae]],
) -> None:
    counts = [sum(m.reliability() > 0.3 for m in p.get()) for pair in prints for p in pair]
    assert 30 <= np.median(counts) <= 55
    assert min(counts) >= 20
    assert max(counts) <= 70
    assert min(p.quality().score for pair in prints for p in pair) >= 25


def test_bozorth3_matches_impressions_of_one_finger_and_not_of_two(
    prints: list[tuple[nbis.Minutiae, nbis.Minutiae]],
) -> None:
    genuine = [first.compare(second) for first, second in prints]
    impostor = [a[0].compare(b[1]) for a, b in itertools.permutations(prints, 2)]
    assert min(genuine) >= 40
    assert np.percentile(impostor, 90) <= 25
    assert max(impostor) < min(genuine)
