"""Rates of searches of virtual subjects, with 95 % intervals by bootstrap over the virtual subjects.

Searches of one person are not independent, so what the counts support is judged twice: a false positive identification
rate is quoted where 3/FPIR searches of people not on record stand behind it (rule of three) and one person in it at
least is expected to raise a false alarm (1/FPIR people); and an interval whose rate is below 3/people reaches up to
that, however many searches each person made.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from benchmarks.chimeric_searches import Outcome
from enrollment.evaluation.bootstrap import (
    BootstrapParameters,
    ScoreSet,
    interval,
    mean_replicates,
    pair_replicates,
    resample,
)
from enrollment.evaluation.measures import Json, listed, rate_key
from enrollment.evaluation.rates import fnmr_at_fmr, is_supported, supported_or_none, threshold_at_fmr
from matcher.decision import Verdict

FPIR_TARGETS = (1e-1, 1e-2)
SCORES = (10.0, 20.0, 30.0, 40.0)
"""At which strangers are counted: FMR 1e-1 to 1e-4 asked."""


def search_rates(outcomes: Sequence[Outcome], p: BootstrapParameters) -> Json:
    """Rank-1 hit rate, FNIR at FPIR, and the rates of the server's own verdicts, of searches of one kind.

    A mated search without a template, or of somebody who could not be enrolled, is missed; a non-mated one without a
    template is left out. Thresholds at an FPIR are those of the same searches. ``tpir_hit`` and ``tpir_review`` are the
    shares of mated searches whose mate has at least this verdict, ``fpir_*`` of non-mated searches with anybody of it.
    """
    numbers: dict[str, int] = {}
    for outcome in outcomes:
        numbers.setdefault(outcome.search.subject.subject_id, len(numbers))
    mated = [o for o in outcomes if o.mated]
    others = [o for o in outcomes if not o.mated and not o.failed]
    mates = _subjects(mated, numbers)
    strangers = _subjects(others, numbers)
    scores = ScoreSet(
        np.array([o.mate_score for o in mated], np.float64),
        mates,
        np.array([o.best_stranger for o in others], np.float64),
        np.stack([strangers, strangers], axis=1),
        len(numbers),
    )
    result: Json = {
        "people": len(numbers),
        "mated": len(mated),
        "non_mated": len(others),
        "mated_failed": sum(o.failed for o in mated),
        "rank1_hits": sum(o.mate_rank == 1 for o in mated),
    }
    result |= _share("rank1", np.array([o.mate_rank == 1 for o in mated], bool), mates, len(numbers), p)
    result |= _fnir(scores, p)
    for name, worst in (("hit", Verdict.HIT), ("review", Verdict.REVIEW)):
        found = np.array([o.mate_verdict <= worst for o in mated], bool)
        false = np.array([o.stranger_verdict <= worst for o in others], bool)
        result |= _share(f"tpir_{name}", found, mates, len(numbers), p)
        result |= _share(f"fpir_{name}", false, strangers, len(numbers), p)
        result[f"found_{name}"] = int(found.sum())
        result[f"false_{name}"] = int(false.sum())
        result[f"mated_with_false_{name}"] = sum(o.stranger_verdict <= worst for o in mated)
    return result


def _fnir(scores: ScoreSet, p: BootstrapParameters) -> Json:
    replicates = resample(scores, FPIR_TARGETS, p)
    people, searches = scores.subjects, len(scores.impostor)
    rates: Json = {"fnir_at_fpir": {}, "fnir_at_fpir_ci95": {}, "score_threshold_at_fpir": {}, "missed_at_fpir": {}}
    for k, target in enumerate(FPIR_TARGETS):
        key = rate_key(target)
        quoted = is_supported(target, searches) and people * target >= 1
        rate = fnmr_at_fmr(scores.genuine, scores.impostor, target) if quoted else math.nan
        known = math.isfinite(rate)
        threshold = threshold_at_fmr(scores.impostor, target) if known else math.nan
        rates["fnir_at_fpir"][key] = supported_or_none(rate, len(scores.genuine))
        rates["fnir_at_fpir_ci95"][key] = listed(interval(replicates.fnmr[:, k], rate, people, p))
        rates["score_threshold_at_fpir"][key] = threshold if math.isfinite(threshold) else None
        rates["missed_at_fpir"][key] = round(rate * len(scores.genuine)) if known else None
    return rates


def stranger_rates(outcomes: Sequence[Outcome], anchors: Mapping[str, str], p: BootstrapParameters) -> Json:
    """FMR asked against FMR observed, over all strangers whom whole searches on record were compared with.

    Keys of ``fmr_at_score`` are scores, 30 asking for 1e-3. A rate is null below 3 strangers; an interval of less than
    three reaches up to 3 over the number of different pairs of real people, however often they were dealt.

    Args:
        anchors: subject id -> real person over whom intervals are taken (``VirtualSubject.anchor``).
    """
    numbers: dict[str, int] = {}
    pairs: list[tuple[int, int]] = []
    met: set[tuple[int, int]] = set()
    kept: list[NDArray[np.float64]] = []
    for outcome in outcomes:
        if len(outcome.strangers):
            me = numbers.setdefault(anchors[outcome.search.subject.subject_id], len(numbers))
            others = [numbers.setdefault(anchors[name], len(numbers)) for name in outcome.strangers]
            pairs += [(me, other) for other in others]
            met.update((min(me, other), max(me, other)) for other in others)
            kept.append(outcome.stranger_scores)
    scores = np.concatenate([np.empty(0), *kept])
    people = np.array(pairs, np.int64).reshape(-1, 2)
    reached = scores[:, None] >= np.asarray(SCORES)
    result: Json = {
        "comparisons": len(scores),
        "pairs_of_people": len(met),
        "fmr_at_score": {},
        "fmr_at_score_ci95": {},
        "reached": {},
    }
    if not len(scores):
        return result
    replicates = pair_replicates(reached, people, len(numbers), p)
    for k, score in enumerate(SCORES):
        key = f"{score:.0f}"
        count = int(reached[:, k].sum())
        rate = count / len(scores)
        ends = interval(replicates[:, k], rate, len(met) if count < 3 else len(scores), p)
        result["fmr_at_score"][key] = supported_or_none(rate, len(scores))
        result["fmr_at_score_ci95"][key] = listed(ends)
        result["reached"][key] = count
    return result


def _subjects(outcomes: Sequence[Outcome], numbers: dict[str, int]) -> NDArray[np.int64]:
    return np.array([numbers[o.search.subject.subject_id] for o in outcomes], np.int64)


def _share(
    name: str, hits: NDArray[np.bool_], subjects: NDArray[np.int64], people: int, p: BootstrapParameters
) -> Json:
    """A share of searches; hits that are all or none reach 3/people less or more."""
    if not len(hits):
        return {name: None, f"{name}_ci95": None}
    rate = float(hits.mean())
    rarer = ~hits if rate > 0.5 else hits
    drawn = mean_replicates(rarer[:, None], subjects, people, p)[:, 0]
    ends = interval(drawn, float(rarer.mean()), people, p)
    if ends is not None and rate > 0.5:
        ends = (1 - ends[1], 1 - ends[0])
    return {name: rate, f"{name}_ci95": listed(ends)}
