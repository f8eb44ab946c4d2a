"""Advice follows place, ink, area and NFIQ 2's components, and stays silent on a good print."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from enrollment.extract.finger_advice import finger_advice
from enrollment.extract.finger_minutiae import Minutiae
from enrollment.extract.finger_polarity import Polarity
from enrollment.extract.finger_quality import FingerQuality
from enrollment.extract.finger_ridges import Ridges

SHAPE = (400, 320)
GOOD = Ridges(
    top=20,
    left=20,
    bottom=400,
    right=300,
    foreground=180.0,
    ridge_area=170.0,
    ridge_share=0.9,
    polarity=Polarity(2.0, False, 0.35),
    runs_off=(False, False, True, False),
)


def minutiae(count: int) -> Minutiae:
    places = np.arange(count)
    return Minutiae(places, places, places.astype(np.float64), np.ones(count))


def advice(
    ridges: Ridges = GOOD, count: int = 30, score: int | None = 60, ink: float | None = None, **components: float
) -> tuple[str, ...]:
    if ink is not None:
        ridges = dataclasses.replace(ridges, polarity=Polarity(2.0, False, ink))
    quality = None if score is None else FingerQuality(score, components)
    return finger_advice(ridges, SHAPE, minutiae(count), quality, 10 if score is None else score)


def test_a_good_print_gets_none() -> None:
    assert advice() == ()
    assert advice(SufficientFingerprintForeground=60_000.0, FingerJetFX_MinutiaeCount=45.0) == ()


@pytest.mark.parametrize(
    ("ink", "jet_minutiae", "word"),
    [(0.6, 30.0, "wet"), (0.1, 30.0, "dry"), (0.35, 140.0, "dry"), (0.35, 40.0, "flatter")],
)
def test_a_poor_print_is_dry_wet_or_unclear(ink: float, jet_minutiae: float, word: str) -> None:
    (line,) = advice(score=12, ink=ink, FingerJetFX_MinutiaeCount=jet_minutiae)
    assert word in line
    assert advice(score=60, ink=ink, FingerJetFX_MinutiaeCount=jet_minutiae) == ()


def test_without_nfiq2_the_ink_still_tells() -> None:
    (line,) = advice(score=None, ink=0.7)
    assert "wet" in line


def test_a_small_area_is_told_by_ridges_or_by_nfiq2() -> None:
    small = dataclasses.replace(GOOD, ridge_area=40.0)
    assert len(advice(small)) == len(advice(SufficientFingerprintForeground=20_000.0)) == 1
    assert "small part" in advice(small)[0]


def test_few_details_are_told() -> None:
    assert "few details" in advice(count=9)[0]


@pytest.mark.parametrize(
    ("side", "runs_off", "room"),
    [
        ("left", (False, False, False, True), {"right": 200}),
        ("right", (False, True, False, False), {"left": 100}),
        ("top", (True, False, False, False), {"bottom": 250}),
    ],
)
def test_a_print_that_runs_off_one_side_belongs_in_the_middle(
    side: str, runs_off: tuple[bool, bool, bool, bool], room: dict[str, int]
) -> None:
    shifted = dataclasses.replace(GOOD, runs_off=runs_off, **room)  # type: ignore[arg-type]
    (line,) = advice(shifted)
    assert f"{side} edge" in line
    assert "press in the middle" in line
    assert advice(dataclasses.replace(GOOD, runs_off=runs_off)) == ()
