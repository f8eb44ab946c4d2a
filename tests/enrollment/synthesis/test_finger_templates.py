"""Minutiae in bulk: repeatable, spread as asked for, and second impressions that the comparator knows again."""

from __future__ import annotations

import numpy as np
import pytest

from enrollment.synthesis.finger_flow import Pattern, RidgeFlow, natural_pattern
from enrollment.synthesis.finger_templates import STRANGERS, FingerTemplateParameters, bulk_finger_templates, vary
from matcher.finger.comparison import FingerComparator
from matcher.templates import FingerTemplate, template_from_bytes
from tests.enrollment.synthesis.numpy_fingers import NumpyFlow, draw_finger

P = FingerTemplateParameters()


def test_templates_repeat_by_seed_and_a_longer_list_begins_with_the_shorter() -> None:
    assert bulk_finger_templates(5, 3) == bulk_finger_templates(9, 3)[:5]
    assert len(set(bulk_finger_templates(50, 3) + bulk_finger_templates(50, 4))) == 100
    assert bulk_finger_templates(0, 3) == []
    assert bulk_finger_templates(4, 3, first=5) == bulk_finger_templates(9, 3)[5:]


@pytest.mark.parametrize("parameters", [P, STRANGERS])
def test_the_kernels_make_what_numpy_makes_step_by_step(parameters: FingerTemplateParameters) -> None:
    fast = bulk_finger_templates(100, 13, parameters=parameters)
    slow = [draw_finger(np.random.default_rng((0xF3, 13, i)), parameters, fast[0].algorithm) for i in range(100)]
    assert fast == slow


@pytest.mark.parametrize("pattern", list(Pattern))
def test_the_kernels_flow_as_numpy_does(pattern: Pattern) -> None:
    x, y = np.random.default_rng(1).normal(0.0, 110.0, (2, 500))
    for seed in range(20):
        rng, again = np.random.default_rng(seed), np.random.default_rng(seed)
        flow, slow = RidgeFlow.draw(pattern, rng), NumpyFlow(pattern, again)
        assert rng.random() == again.random()
        assert flow.loops == pytest.approx(slow.loops)
        assert flow.deltas == pytest.approx(slow.deltas)
        np.testing.assert_allclose(flow.angle(x, y), slow.angle(x, y), rtol=0, atol=1e-12)


def test_statistics_of_templates() -> None:
    templates = bulk_finger_templates(400, 7)
    counts = np.array([len(t) for t in templates])
    assert counts.min() >= P.count_range[0]
    assert counts.max() <= P.count_range[1]
    free = (counts > P.count_range[0]) & (counts < P.count_range[1])
    density = []
    for t in templates:
        assert (t.height, t.width) == P.size
        x, y = t.x.astype(float) - t.width / 2, t.y.astype(float) - t.height / 2
        # A uniform ellipse of half width a has the deviation a / 2.
        density.append(1e4 * len(t) / (4 * np.pi * x.std() * y.std()))
        apart = np.hypot(x[:, None] - x, y[:, None] - y)
        np.fill_diagonal(apart, np.inf)
        assert apart.min() >= P.spacing
        assert 1 <= t.quality.min() <= t.quality.max() <= P.most_quality
    assert np.median(np.array(density)[free]) == pytest.approx(P.density, rel=0.15)
    heights = np.array([2 * (t.y - t.height / 2).std() for t in templates])
    assert np.median(heights) == pytest.approx(P.semi_axes[0], rel=0.1)
    assert np.log(heights).std() > 0.7 * P.axes_sd


def test_templates_survive_their_bytes_and_carry_the_algorithm_given() -> None:
    for template in bulk_finger_templates(20, 1, algorithm="finger-test-9"):
        assert template.algorithm == "finger-test-9"
        assert template_from_bytes(template.to_bytes()) == template
        assert vary(template, 1).algorithm == "finger-test-9"


def test_directions_lie_along_a_smooth_flow() -> None:
    """Neighbours agree in orientation far better than chance, whose mean resultant of doubled angles is 0."""
    cosines = []
    for t in bulk_finger_templates(100, 2):
        x, y, angle = t.x.astype(float), t.y.astype(float), t.angle_radians
        i, j = np.nonzero(np.triu(np.hypot(x[:, None] - x, y[:, None] - y) < 25, 1))
        cosines.append(np.cos(2 * (angle[i] - angle[j])))
    assert np.concatenate(cosines).mean() > 0.75


def test_strangers_point_down_the_finger_and_at_its_base_up() -> None:
    right, steep = 0, 0
    for t in bulk_finger_templates(100, 2, parameters=STRANGERS):
        upright, y = np.sin(t.angle_radians), t.y - t.height / 2 - P.base
        clear = (np.abs(y) > 60) & (np.abs(upright) > 0.7)
        right += int(((upright > 0) == (y > 0))[clear].sum())
        steep += int(clear.sum())
    assert steep > 500
    assert right > 0.9 * steep


def test_a_minutia_points_to_others_near_by() -> None:
    """Ahead of a minutia more of them face it than show it their back; behind it the other way round."""
    cosines: dict[bool, list[float]] = {True: [], False: []}
    for t in bulk_finger_templates(200, 2):
        place, angle = t.x - 1j * t.y.astype(float), t.angle_radians
        between = place[None] - place[:, None]
        ahead = np.cos(np.angle(between) - angle[:, None])
        alike = np.cos(angle[:, None] - angle[None])
        for i, j in np.argwhere((np.abs(between) > 12) & (np.abs(between) < 30) & (np.abs(ahead) > 0.9)):
            cosines[bool(ahead[i, j] > 0)].append(float(alike[i, j]))
    assert np.mean(cosines[True]) < -0.1
    assert np.mean(cosines[False]) > 0.2


def test_a_flow_seen_from_a_far_circle_turns_by_no_more_than_its_dome() -> None:
    """Loops and deltas balance, so the field far away has no turn left (any class)."""
    rng = np.random.default_rng(5)
    for _ in range(20):
        flow = RidgeFlow.draw(natural_pattern(rng), rng)
        turn = np.linspace(0, 2 * np.pi, 721)
        angle = flow.angle(2000 * np.cos(turn), 2000 * np.sin(turn))
        steps = np.mod(np.diff(angle) + np.pi / 2, np.pi) - np.pi / 2
        assert abs(steps.sum()) < 1e-6


def test_an_impression_loses_gains_and_moves_minutiae_as_asked_for() -> None:
    templates = bulk_finger_templates(200, 11)
    again = [vary(t, i) for i, t in enumerate(templates)]
    assert again[:5] == [vary(t, i) for i, t in enumerate(templates[:5])]
    ratio = np.array([len(b) / len(a) for a, b in zip(templates, again, strict=True)])
    assert 0.85 < ratio.mean() < 1.0
    for b in again:
        assert b.x.min() >= 0
        assert b.y.min() >= 0
        assert b.x.max() < b.width
        assert b.y.max() < b.height


def test_an_empty_template_varies_to_an_empty_one() -> None:
    none = FingerTemplate(
        "a", 1, 400, 480, np.zeros(0, np.int16), np.zeros(0, np.int16), np.zeros(0, np.uint16), np.zeros(0, np.uint8)
    )
    assert len(vary(none, 3)) == 0


def test_the_comparator_knows_a_finger_again_and_tells_fingers_apart() -> None:
    comparator = FingerComparator()
    templates = bulk_finger_templates(60, 5)
    references = [comparator.prepare(t) for t in templates]
    probes = [comparator.prepare(vary(t, 100 + i)) for i, t in enumerate(templates)]
    scores = np.array([[comparator.compare(p, r) for r in references] for p in probes])
    assert (scores.argmax(axis=1) == np.arange(60)).all()
    impostors = scores[~np.eye(60, dtype=bool)]
    assert np.percentile(scores.diagonal(), 5) > 2 * np.percentile(impostors, 99)
