"""mindtct as the extractor: known minutiae, our direction, templates that nothing of LEADER's is compared with."""

from __future__ import annotations

import numpy as np
import pytest

from enrollment.extract.finger import FingerExtractor
from enrollment.extract.finger_leader import LeaderNetwork
from enrollment.extract.finger_mindtct import Mindtct, mindtct_extractor
from enrollment.extract.finger_minutiae import MinutiaeFinder
from enrollment.images import DecodedImage
from enrollment.synthesis.finger import synthesise_finger
from matcher.errors import ModelMismatch, SampleRejected
from matcher.finger.comparison import FingerComparator
from matcher.finger.parameters import FINGER_ALGORITHM, MINDTCT_ALGORITHM
from matcher.found_subjects import Probe
from matcher.gallery import Gallery
from matcher.positions import Position
from matcher.templates import FingerTemplate
from tests.enrollment.extract import ridge_images
from tests.matcher.people import enrolled


@pytest.fixture(scope="module")
def extractor() -> FingerExtractor:
    return mindtct_extractor()


def template_of(extractor: FingerExtractor, finger: int, impression: int) -> FingerTemplate:
    template = extractor.extract(DecodedImage(synthesise_finger(finger, impression), 500.0, "image/png")).template
    assert isinstance(template, FingerTemplate)
    return template


def test_it_has_an_algorithm_of_its_own(extractor: FingerExtractor) -> None:
    finder: MinutiaeFinder = Mindtct()
    assert extractor.algorithm == finder.algorithm == MINDTCT_ALGORITHM != FINGER_ALGORITHM
    assert MINDTCT_ALGORITHM in FingerComparator.algorithms


def test_directions_are_those_of_leader() -> None:
    image = synthesise_finger(70, 0)
    ours = Mindtct().find(image, min_quality=0.3, max_count=60)
    theirs = LeaderNetwork().find(image, min_quality=0.5, max_count=60)
    apart = np.hypot(ours.x[:, None] - theirs.x, ours.y[:, None] - theirs.y)
    partner = apart.argmin(axis=1)
    same = apart.min(axis=1) < 6
    assert same.sum() >= 15
    turned = np.angle(np.exp(1j * (ours.direction - theirs.direction[partner])))[same]
    # mindtct knows 32 directions only.
    assert np.degrees(np.abs(np.median(turned))) < 8
    assert np.mean(np.abs(turned) < np.radians(25)) > 0.9


def test_quality_and_count_are_obeyed_best_first() -> None:
    found = Mindtct().find(synthesise_finger(71, 0), min_quality=0.4, max_count=12)
    assert len(found) == 12
    assert found.quality.min() >= 0.4
    assert np.all(np.diff(found.quality) <= 0)


def test_impressions_of_a_finger_match_and_those_of_others_do_not(extractor: FingerExtractor) -> None:
    comparator = FingerComparator()
    first = [comparator.prepare(template_of(extractor, finger, 0)) for finger in (72, 73, 74)]
    second = [comparator.prepare(template_of(extractor, finger, 1)) for finger in (72, 73, 74)]
    scores = np.array([[comparator.compare(a, b) for b in second] for a in first])
    assert scores.argmax(axis=1).tolist() == [0, 1, 2]
    assert scores.diagonal().min() > scores[~np.eye(3, dtype=bool)].max()


@pytest.mark.parametrize(
    "picture",
    [np.full((300, 300), 240, np.uint8), ridge_images.text_page(), ridge_images.stripes(), ridge_images.eye_like()],
    ids=["white", "text", "stripes", "eye"],
)
def test_what_is_no_print_is_refused(extractor: FingerExtractor, picture: np.ndarray) -> None:
    with pytest.raises(SampleRejected, match="capture again"):
        extractor.extract(DecodedImage(picture, 500.0, "image/png"))


def test_its_templates_are_compared_with_none_of_leaders(extractor: FingerExtractor) -> None:
    picture = DecodedImage(synthesise_finger(75, 0), 500.0, "image/png")
    leader = FingerExtractor(measure_quality=False).extract(picture).template
    mindtct = extractor.extract(picture).template
    gallery = Gallery()
    gallery.apply([enrolled(1, "a", [(1, Position.RIGHT_INDEX, leader)])])
    with pytest.raises(ModelMismatch, match=FINGER_ALGORITHM):
        gallery.check(mindtct)
    with pytest.raises(ModelMismatch, match=FINGER_ALGORITHM):
        gallery.search([Probe(Position.RIGHT_INDEX, mindtct)])
    with pytest.raises(ModelMismatch):
        gallery.compare([Probe(Position.RIGHT_INDEX, mindtct)], "a")
