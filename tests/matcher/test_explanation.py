"""What the sentences beside a verdict say, and when."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from matcher.decision import DecisionParameters, Thresholds, Verdict, identification_thresholds, verification_thresholds
from matcher.explanation import CLOSE, explain_identification, explain_verification, one_in, percent, score_gap
from matcher.fusion import FusedScore

TWO_MILLION = 2_000_000


@dataclasses.dataclass(frozen=True)
class Person:
    subject_id: str
    fused: FusedScore
    verdict: Verdict


def ranked(thresholds: Thresholds, *scores: tuple[float, float]) -> list[Person]:
    """People S-1, S-2 ... of (score, trusted score), ranked as a search ranks them."""
    people = [
        Person(f"S-{i}", FusedScore(score, 0.0, trusted), thresholds.verdict(score, trusted))
        for i, (score, trusted) in enumerate(scores, start=1)
    ]
    return sorted(people, key=lambda p: (p.verdict, -p.fused.score))


def explained(
    *scores: tuple[float, float],
    size: int = TWO_MILLION,
    parameters: DecisionParameters | None = None,
    fpir: float | None = None,
) -> str:
    p = parameters or DecisionParameters()
    thresholds = identification_thresholds(size, p, fpir)
    people = ranked(thresholds, *scores)
    verdict = people[0].verdict if people else Verdict.NO_HIT
    return f"{verdict.label}: {explain_identification(verdict, people, thresholds, size, p)}"


def test_beyond_trust_names_both_rates_in_words() -> None:
    # 2 million people at FPIR 1 % ask for FMR 5e-9; one finger is vouched for to 31.345, an FMR of 7.3e-4.
    assert explained((95.2, 31.345), (20.0, 20.0)) == (
        "REVIEW: S-1 scores 95.2; 83.0 are needed among 2,000,000 people. A HIT asks for a score that no more than 1 "
        "in 200 million strangers reach; the system was calibrated on too few people to vouch for more than 1 in 1,400 "
        "(31.3). An examiner must decide, or search with more fingers, a face or an eye. The next person scores 75.2 "
        "less."
    )


def test_a_hit_says_how_far_it_stands_out() -> None:
    assert explained((95.2, 90.0), (20.0, 20.0)) == (
        "HIT: S-1 scores 95.2; 83.0 are needed among 2,000,000 people. The next person scores 75.2 less."
    )
    assert explained((95.2, 90.0), size=1) == "HIT: S-1 scores 95.2; 20.0 are needed among 1 person."


def test_two_who_are_close_are_both_to_be_looked_at() -> None:
    text = explained((84.0, 84.0), (81.5, 81.5))
    assert text.startswith("HIT: S-1 scores 84.0;")
    assert "S-2 scores only 2.5 less: look at both. One person enrolled twice and close relatives" in text
    both = explained((90.0, 90.0), (84.0, 84.0))
    assert both.startswith("HIT: 2 people on record reach the score (83.0 are needed among 2,000,000 people)")
    assert both.endswith("S-1 and S-2 are 6.0 apart.")


def test_a_weak_candidate_that_does_not_stand_out() -> None:
    text = explained((74.0, 74.0), (71.0, 71.0))
    assert text.startswith("REVIEW: S-1 scores 74.0")
    assert text.endswith("The next person scores only 3.0 less; the best two strangers often lie that near.")


def test_a_higher_score_of_less_trust_is_not_hidden() -> None:
    text = explained((97.5, 31.3), (90.0, 90.0))
    assert text.startswith("HIT: S-2 scores 90.0;")
    assert text.endswith("S-1 scores 97.5, but less of it can be vouched for: look at both.")


def test_nobody() -> None:
    assert explained((60.0, 60.0), (59.0, 59.0)) == (
        "NO HIT: Nobody reaches 73.0, the score worth a look among 2,000,000 people; the best is 60.0."
    )
    assert "Nobody among 2,000,000 people has a sample" in explained()


LIMITED = "False hits were held to"


def test_a_request_that_asks_for_more_than_the_prior_allows_is_told() -> None:
    for scores in ((95.2, 90.0), (75.0, 75.0), (10.0, 10.0)):
        assert explained(scores, fpir=0.2).endswith(
            f"{LIMITED} 1.01% of searches instead of 20%: of the people searched 50% are taken to be on record, and "
            "99% of HITs must be right."
        )
    assert LIMITED not in explained((75.0, 75.0), fpir=1e-4)


def test_the_deployments_own_rate_is_explained_where_the_prior_changed_the_verdict() -> None:
    few = DecisionParameters(prior=0.01)
    changed = explained((90.0, 90.0), parameters=few)
    assert changed.startswith("REVIEW: S-1 scores 90.0; 102.9 are needed")
    assert f"{LIMITED} 0.0102% of searches instead of 1%: of the people searched 1% are" in changed
    for scores in ((110.0, 110.0), (80.0, 80.0), (95.0, 31.3), (10.0, 10.0)):
        assert LIMITED not in explained(scores, parameters=few)


def test_verification() -> None:
    t = verification_thresholds(DecisionParameters())

    def text(score: float, trusted: float, t: Thresholds = t) -> str:
        return explain_verification(Person("S-1", FusedScore(score, 0.0, trusted), t.verdict(score, trusted)), t)

    assert text(40.0, 31.3) == "The comparison scores 40.0; 30.0 are needed: the same person."
    strict = text(95.0, 31.345, verification_thresholds(DecisionParameters(), 1e-6))
    assert strict == (
        "The comparison scores 95.0; 60.0 are needed. A HIT asks for a score that no more than 1 in 1 million "
        "strangers reach; the system was calibrated on too few people to vouch for more than 1 in 1,400 (31.3). An "
        "examiner must decide, or compare more samples."
    )
    assert text(25.0, 25.0) == "The comparison scores 25.0; 30.0 are needed, from 20.0 on an examiner must decide."
    assert text(5.0, 5.0).endswith("no evidence that this is the same person.")


@pytest.mark.parametrize(
    ("score", "words"),
    [
        (0.0, "1 in 1"),
        (4.0, "1 in 2.5"),
        (20.0, "1 in 100"),
        (31.345, "1 in 1,400"),
        (59.99, "1 in 1 million"),
        (61.5, "1 in 1.4 million"),
        (83.01, "1 in 200 million"),
        (95.0, "1 in 3.2 billion"),
        (150.0, "1 in 1,000 trillion"),
    ],
)
def test_rates_in_words(score: float, words: str) -> None:
    assert one_in(score) == words


@pytest.mark.parametrize(
    ("share", "words"),
    [
        (0.5, "50%"),
        (1 / 99, "1.01%"),
        (1.02e-4, "0.0102%"),
        (1e-6, "1 in 1,000,000"),
        (0.99, "99%"),
        (0.9999, "99.99%"),
        (0.999999, "99.9999%"),
    ],
)
def test_shares_in_words(share: float, words: str) -> None:
    assert percent(share) == words


def test_gap() -> None:
    t = identification_thresholds(10, DecisionParameters())
    assert score_gap([]) is None
    assert score_gap(ranked(t, (50.0, 50.0))) is None
    assert score_gap(ranked(t, (50.0, 50.0), (20.0, 20.0), (30.0, 30.0))) == 20.0
    assert score_gap(ranked(t, (50.0, 50.0), (60.0, 20.0))) == -10.0
    assert score_gap(ranked(t, (0.0, 0.0), (0.0, 0.0))) == 0.0


@pytest.mark.parametrize("people", [10, 1000])
def test_the_best_two_strangers_are_close_in_nine_searches_of_ten(people: int) -> None:
    scores = -10 * np.log10(np.random.default_rng(5).random((20_000, people)))
    best = np.sort(np.partition(scores, -2, axis=1)[:, -2:], axis=1)
    close = float(np.mean(best[:, 1] - best[:, 0] < CLOSE))
    assert close == pytest.approx(0.9, abs=4 * math.sqrt(0.09 / 20_000))
