"""The verdict in plain words, for whoever has to act on it: what was found, what was needed, what to do next."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol

from matcher.decision import DecisionParameters, Thresholds, Verdict, reaches
from matcher.fusion import FusedScore

CLOSE = 10.0
"""Two candidates closer than this stand side by side (a factor of ten in FMR). Scores of strangers are exponential with
mean 10/ln(10), so the distance of their best two is as well, however many they are (Rényi 1953): below 10 in nine
searches of ten of people who are not on record."""


class Ranked(Protocol):
    """What an explanation needs to know of a candidate."""

    @property
    def subject_id(self) -> str:
        """Who."""

    @property
    def fused(self) -> FusedScore:
        """How like the probe."""

    @property
    def verdict(self) -> Verdict:
        """HIT, REVIEW or NO HIT."""


def score_gap(ranked: Sequence[Ranked]) -> float | None:
    """The score of the first candidate less the highest score of all others; None where there are no others.

    Below 0 where another one scores higher, but calibration vouches for less of it.
    """
    if len(ranked) < 2:
        return None
    return ranked[0].fused.score - _next(ranked).fused.score


def explain_identification(
    verdict: Verdict, ranked: Sequence[Ranked], thresholds: Thresholds, size: int, parameters: DecisionParameters
) -> str:
    """Why a search of ``size`` people got its verdict; ``ranked`` are all that were scored, the best one first."""
    people = f"{size:,} {'person' if size == 1 else 'people'}"
    if not ranked:
        return f"Nobody among {people} has a sample that could be compared with this probe."
    sentences = [_outcome(verdict, ranked, thresholds, people)]
    if verdict is not Verdict.NO_HIT and len(ranked) > 1:
        sentences.append(_distance(ranked))
    if _limit_matters(verdict, ranked[0], thresholds, parameters):
        sentences.append(
            f"False hits were held to {percent(thresholds.rate)} of searches instead of {percent(thresholds.asked)}: "
            f"of the people searched {percent(parameters.prior)} are taken to be on record, and "
            f"{percent(parameters.hit_confidence)} of HITs must be right."
        )
    return " ".join(sentences)


def explain_verification(candidate: Ranked, thresholds: Thresholds) -> str:
    """Why a 1:1 comparison got its verdict."""
    score = f"The comparison scores {candidate.fused.score:.1f}"
    needed = f"{thresholds.hit:.1f} are needed"
    if candidate.verdict is Verdict.HIT:
        return f"{score}; {needed}: the same person."
    if candidate.verdict is Verdict.REVIEW and candidate.fused.score >= thresholds.hit:
        return f"{score}; {needed}. {_beyond_trust(candidate.fused, thresholds)} or compare more samples."
    if candidate.verdict is Verdict.REVIEW:
        return f"{score}; {needed}, from {thresholds.review:.1f} on an examiner must decide."
    return f"{score}, below {thresholds.review:.1f}: no evidence that this is the same person."


def one_in(score: float) -> str:
    """The false match rate that a score stands for, in words and two digits: 83.0 is "1 in 200 million"."""
    count = float(f"{10 ** (score / 10):.1e}")
    for unit, word in ((1e12, " trillion"), (1e9, " billion"), (1e6, " million")):
        if count >= unit:
            return f"1 in {_digits(count / unit)}{word}"
    return f"1 in {_digits(count)}"


def percent(share: float) -> str:
    """A share (0-1) as people read it: 1.01%, 99.99%, and below 0.01% as 1 in so many."""
    if share < 1e-4:
        return f"1 in {_digits(float(f'{1 / share:.1e}'))}"
    return f"{100 * share:.{3 if share < 0.9 else 6}g}%"


def _outcome(verdict: Verdict, ranked: Sequence[Ranked], thresholds: Thresholds, people: str) -> str:
    best = ranked[0]
    needed = f"{thresholds.hit:.1f} are needed among {people}"
    scores = f"{best.subject_id} scores {best.fused.score:.1f}; {needed}."
    if verdict is Verdict.NO_HIT:
        return (
            f"Nobody reaches {thresholds.review:.1f}, the score worth a look among {people}; "
            f"the best is {best.fused.score:.1f}."
        )
    if verdict is Verdict.REVIEW and best.fused.score >= thresholds.hit:
        return f"{scores} {_beyond_trust(best.fused, thresholds)} or search with more fingers, a face or an eye."
    if verdict is Verdict.REVIEW:
        return f"{scores} An examiner must decide, or search with a better sample or more of them."
    hits = sum(c.verdict is Verdict.HIT for c in ranked)
    if hits > 1:
        return (
            f"{hits} people on record reach the score ({needed}): one person enrolled under several ids, or people who "
            "are much alike, such as twins; an examiner must compare them."
        )
    return scores


def _beyond_trust(fused: FusedScore, thresholds: Thresholds) -> str:
    return (
        f"A HIT asks for a score that no more than {one_in(thresholds.hit)} strangers reach; the system was calibrated "
        f"on too few people to vouch for more than {one_in(fused.trusted_score)} ({fused.trusted_score:.1f}). An "
        "examiner must decide,"
    )


def _distance(ranked: Sequence[Ranked]) -> str:
    """How far the first candidate stands out."""
    first, other = ranked[0], _next(ranked)
    gap = first.fused.score - other.fused.score
    if gap < 0:
        return f"{other.subject_id} scores {other.fused.score:.1f}, but less of it can be vouched for: look at both."
    if other.verdict is Verdict.HIT:
        return f"{first.subject_id} and {other.subject_id} are {gap:.1f} apart."
    if gap >= CLOSE:
        return f"The next person scores {gap:.1f} less."
    if other.verdict is Verdict.NO_HIT:
        return f"The next person scores only {gap:.1f} less; the best two strangers often lie that near."
    return (
        f"{other.subject_id} scores only {gap:.1f} less: look at both. One person enrolled twice and close relatives "
        "come that near."
    )


def _next(ranked: Sequence[Ranked]) -> Ranked:
    """The highest score behind the first; not always the second, as HITs stand before higher scores."""
    return max(ranked[1:], key=lambda c: c.fused.score)


def _limit_matters(verdict: Verdict, best: Ranked, thresholds: Thresholds, parameters: DecisionParameters) -> bool:
    """Whether the prior lowered a rate that the request itself asked for, or made a REVIEW of a HIT."""
    if thresholds.rate >= thresholds.asked:
        return False
    hit_as_asked = thresholds.hit - 10 * math.log10(thresholds.asked / thresholds.rate)
    would_hit = reaches(best.fused.trusted_score, hit_as_asked)
    return thresholds.asked != parameters.target_fpir or (verdict is Verdict.REVIEW and would_hit)


def _digits(number: float) -> str:
    return f"{number:,.1f}".removesuffix(".0")
