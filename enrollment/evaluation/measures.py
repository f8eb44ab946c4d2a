"""Rates with their intervals as the JSON of the evaluations holds them.

Rates are fractions. Beside every rate stands ``<name>_ci95``, its interval [low, high]. A rate is null where the count
of comparisons does not support it (rule of three): either fewer than 3/FMR impostor comparisons stand behind an
operating point, and the interval is null too; or the rate measured is below 3/count, and the interval's upper end says
how far below it may be called. Beside the rates of missed comparisons stands how many were missed, a count that is
there for every operating point that the impostors support, few as it may be.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from enrollment.evaluation.bootstrap import (
    BootstrapParameters,
    Interval,
    ScoreSet,
    interval,
    mean_replicates,
    resample,
)
from enrollment.evaluation.rates import (
    det_targets,
    equal_error_rate,
    fnmr_at_fmr,
    is_supported,
    supported_or_none,
    threshold_at_fmr,
)

Json = dict[str, Any]

FMR_TARGETS = (1e-2, 1e-3, 1e-4, 1e-5)
FPIR_TARGETS = (1e-1, 1e-2, 1e-3)


def rate_key(rate: float) -> str:
    """A rate as a key of the JSON: 0.01, never 1e-02."""
    return f"{rate:.12f}".rstrip("0")


def listed(ends: Interval | None) -> list[float] | None:
    """An interval as JSON holds it."""
    return None if ends is None else [ends[0], ends[1]]


def share(name: str, hits: NDArray[np.bool_], subjects: NDArray[np.int64], total: int, p: BootstrapParameters) -> Json:
    """A share of samples or searches, with its interval: ``hits[i]`` belongs to the subject ``subjects[i]``."""
    if not len(hits):
        return {name: None, f"{name}_ci95": None}
    rate = float(np.mean(hits))
    drawn = mean_replicates(hits.astype(np.float64)[:, None], subjects, total, p)[:, 0]
    return {
        name: supported_or_none(rate, len(hits)),
        f"{name}_ci95": listed(interval(drawn, rate, len(hits), p)),
    }


def operating_points(
    scores: ScoreSet, targets: Sequence[float], p: BootstrapParameters, curve: bool = True
) -> tuple[Json, Json, Json]:
    """EER, FNMR at each target, and the DET curve.

    Returns:
        ``{"eer", "eer_ci95"}``; ``{"rate": {key: value}, "ci95": {...}, "missed": {...}, "threshold": {...}}``;
        ``{"fmr": [...], "fnmr": [...], "fnmr_ci95": [...]}`` (empty lists where ``curve`` is false).
    """
    n = len(scores.impostor)
    drawn_at = det_targets(n) if curve else []
    replicates = resample(scores, [*targets, *drawn_at], p)
    genuine = len(scores.genuine)
    eer = equal_error_rate(scores.genuine, scores.impostor)
    fewest = min(genuine, n)
    ends = interval(replicates.eer, eer, fewest, p)
    eer_json = {"eer": supported_or_none(eer, fewest), "eer_ci95": listed(ends)}
    points: Json = {"rate": {}, "ci95": {}, "missed": {}, "threshold": {}}
    det: Json = {"fmr": [], "fnmr": [], "fnmr_ci95": []}
    ascending = np.sort(scores.impostor)
    for k, target in enumerate([*targets, *drawn_at]):
        rate = fnmr_at_fmr(scores.genuine, ascending, target) if is_supported(target, n) else math.nan
        value = supported_or_none(rate, genuine)
        limits = listed(interval(replicates.fnmr[:, k], rate, genuine, p))
        if k < len(targets):
            key = rate_key(target)
            points["rate"][key], points["ci95"][key] = value, limits
            points["missed"][key] = round(rate * genuine) if math.isfinite(rate) else None
            threshold = threshold_at_fmr(ascending, target) if is_supported(target, n) else math.nan
            points["threshold"][key] = threshold if math.isfinite(threshold) else None
        elif limits is not None:
            det["fmr"].append(target)
            det["fnmr"].append(value)
            det["fnmr_ci95"].append(limits)
    return eer_json, points, det


def histogram(scores: ScoreSet, bins: int = 60) -> Json:
    """Counts of genuine and impostor scores between the least and the greatest; failed comparisons apart."""
    finite = scores.genuine[np.isfinite(scores.genuine)]
    impostor = scores.impostor[np.isfinite(scores.impostor)]
    everything = np.concatenate([finite, impostor])
    if not len(everything):
        return {"edges": [], "genuine": [], "impostor": [], "genuine_failed": len(scores.genuine)}
    edges = np.histogram_bin_edges(everything, bins)
    return {
        "edges": [float(e) for e in edges],
        "genuine": np.histogram(finite, edges)[0].tolist(),
        "impostor": np.histogram(impostor, edges)[0].tolist(),
        "genuine_failed": int(len(scores.genuine) - len(finite)),
    }
