"""Rates of searches whose outcomes are known."""

from __future__ import annotations

import math

import numpy as np
import pytest

from benchmarks.chimeric_rates import search_rates, stranger_rates
from benchmarks.chimeric_searches import Outcome, Search
from benchmarks.virtual_subjects import VirtualSubject
from enrollment.evaluation.bootstrap import BootstrapParameters
from matcher.decision import Verdict
from matcher.positions import Position

QUICK = BootstrapParameters(resamples=200)
HIT, REVIEW, NO_HIT = Verdict.HIT, Verdict.REVIEW, Verdict.NO_HIT


def search(number: int) -> Search:
    return Search("face", VirtualSubject(f"v{number}", {}), (Position.FACE,), 1)


def mated(number: int, score: float, rank: float, verdict: Verdict, stranger: Verdict = NO_HIT) -> Outcome:
    return Outcome(search(number), True, False, score, rank, verdict, 5.0, stranger)


def non_mated(number: int, best: float, verdict: Verdict = NO_HIT) -> Outcome:
    return Outcome(search(number), False, False, best_stranger=best, stranger_verdict=verdict)


def failed(number: int, is_mated: bool) -> Outcome:
    return Outcome(search(number), is_mated, True)


def test_counts_and_shares() -> None:
    outcomes = [
        mated(0, 60, 1, HIT),
        mated(0, 35, 1, REVIEW, stranger=REVIEW),
        mated(1, 8, 3, NO_HIT),
        failed(2, True),
        non_mated(0, 12),
        non_mated(1, 50, HIT),
        non_mated(1, 30, REVIEW),
        failed(2, False),
    ]
    rates = search_rates(outcomes, QUICK)
    assert (rates["people"], rates["mated"], rates["non_mated"], rates["mated_failed"]) == (3, 4, 3, 1)
    assert (rates["rank1"], rates["rank1_hits"]) == (0.5, 2)
    assert (rates["tpir_hit"], rates["tpir_review"]) == (0.25, 0.5)
    assert (rates["found_hit"], rates["found_review"]) == (1, 2)
    assert (rates["false_hit"], rates["false_review"]) == (1, 2)
    assert rates["fpir_review"] == pytest.approx(2 / 3)
    assert (rates["mated_with_false_hit"], rates["mated_with_false_review"]) == (0, 1)


def test_fnir_at_fpir() -> None:
    # 40 people: the four highest of 40 strangers (36, 37, 38, 39) are allowed at FPIR 0.1, so 36 and more pass.
    outcomes = [mated(k, 30.0 + k, 1, HIT) for k in range(40)] + [non_mated(k, float(k)) for k in range(40)]
    rates = search_rates(outcomes, QUICK)
    assert 35 < rates["score_threshold_at_fpir"]["0.1"] <= 36
    assert rates["missed_at_fpir"]["0.1"] == 6
    assert rates["fnir_at_fpir"]["0.1"] == 6 / 40
    low, high = rates["fnir_at_fpir_ci95"]["0.1"]
    assert low < 6 / 40 < high
    assert rates["fnir_at_fpir"]["0.01"] is None
    assert rates["missed_at_fpir"]["0.01"] is None


@pytest.mark.parametrize(("people", "each", "quoted"), [(9, 40, False), (10, 3, True), (10, 2, False)])
def test_an_fpir_needs_searches_and_people(people: int, each: int, quoted: bool) -> None:
    outcomes = [mated(k, 50, 1, HIT) for k in range(people)]
    outcomes += [non_mated(k, 10.0) for k in range(people) for _ in range(each)]
    assert (search_rates(outcomes, QUICK)["missed_at_fpir"]["0.1"] is not None) == quoted


def test_no_error_says_no_more_than_the_number_of_people_does() -> None:
    outcomes = [mated(k, 50, 1, HIT) for k in range(30) for _ in range(10)]
    outcomes += [non_mated(k, 10.0) for k in range(30) for _ in range(10)]
    rates = search_rates(outcomes, QUICK)
    assert rates["rank1"] == 1.0
    assert rates["rank1_ci95"] == pytest.approx([0.9, 1.0])
    assert rates["fnir_at_fpir_ci95"]["0.1"] == pytest.approx([0.0, 0.1])
    assert rates["fpir_hit_ci95"] == pytest.approx([0.0, 0.1])
    assert rates["fnir_at_fpir"]["0.1"] is None


def test_nobody_found_says_no_more_either() -> None:
    rates = search_rates([mated(k, 0, math.inf, NO_HIT) for k in range(30)], QUICK)
    assert rates["tpir_hit"] == 0.0
    assert rates["tpir_hit_ci95"] == pytest.approx([0.0, 0.1])
    assert rates["fpir_hit"] is None


def test_intervals_are_over_people_not_searches() -> None:
    """Ten people each missed in all or none of 20 searches: as wide as ten searches would make it."""
    many = [mated(k, 50, 1 if k < 5 else 2, HIT) for k in range(10) for _ in range(20)]
    few = [mated(k, 50, 1 if k < 5 else 2, HIT) for k in range(10)]
    assert search_rates(many, QUICK)["rank1_ci95"] == pytest.approx(search_rates(few, QUICK)["rank1_ci95"])
    low, high = search_rates(many, QUICK)["rank1_ci95"]
    assert high - low > 0.4


def with_strangers(number: int, scores: list[float], names: list[str]) -> Outcome:
    return Outcome(search(number), True, False, strangers=tuple(names), stranger_scores=np.array(scores))


def test_strangers_are_counted_at_each_score() -> None:
    rng = np.random.default_rng(5)
    names = [f"v{k}" for k in range(60)]
    outcomes = []
    everything = []
    for number in range(60):
        others = [n for n in names if n != f"v{number}"]
        scores = -10 * np.log10(rng.random(len(others)))
        everything += scores.tolist()
        outcomes.append(with_strangers(number, scores.tolist(), others))
    rates = stranger_rates(outcomes, {f"v{k}": str(k) for k in range(60)}, QUICK)
    assert rates["comparisons"] == 60 * 59
    assert rates["pairs_of_people"] == 60 * 59 // 2
    for score in (10, 20, 30, 40):
        assert rates["reached"][str(score)] == sum(s >= score for s in everything)
    low, high = rates["fmr_at_score_ci95"]["10"]
    assert low < 0.1 < high
    assert rates["fmr_at_score"]["10"] == pytest.approx(rates["reached"]["10"] / 3540)


def test_too_few_strangers_give_an_upper_end_only() -> None:
    names = [f"v{k}" for k in range(5)]
    outcomes = [with_strangers(k, [1.0] * 4, [n for n in names if n != f"v{k}"]) for k in range(5) for _ in range(9)]
    rates = stranger_rates(outcomes, {f"v{k}": str(k) for k in range(60)}, QUICK)
    assert (rates["comparisons"], rates["pairs_of_people"]) == (180, 10)
    assert rates["fmr_at_score"]["20"] is None
    assert rates["fmr_at_score_ci95"]["20"] == pytest.approx([0.0, 0.3])


def test_the_same_samples_dealt_again_are_no_new_people() -> None:
    """Intervals stay as wide when every virtual person comes ten times under other names."""
    rng = np.random.default_rng(6)
    scores = -10 * np.log10(rng.random((12, 12)))

    def dealt(deals: int) -> dict[str, list[float]]:
        outcomes, anchors = [], {}
        for deal in range(deals):
            for k in range(12):
                search_ = Search("face", VirtualSubject(f"{deal}-{k}", {}), (Position.FACE,), 1)
                others = [n for n in range(12) if n != k]
                names = tuple(f"{deal}-{n}" for n in others)
                outcomes.append(Outcome(search_, True, False, strangers=names, stranger_scores=scores[k, others]))
                anchors[f"{deal}-{k}"] = str(k)
        rates = stranger_rates(outcomes, anchors, QUICK)
        assert rates["pairs_of_people"] == 66
        ends: dict[str, list[float]] = rates["fmr_at_score_ci95"]
        return ends

    assert dealt(10)["10"] == pytest.approx(dealt(1)["10"])


def test_no_strangers_at_all() -> None:
    rates = stranger_rates([mated(0, 50, 1, HIT)], {"v0": "0"}, QUICK)
    assert rates["comparisons"] == 0
    assert rates["reached"] == {}
