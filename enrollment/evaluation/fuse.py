"""``ambis evaluate fuse``: what fusion is worth, on score matrices of one set of people, on people not fitted on.

Protocol: random halves by subject, fitted on one and tested on the other; genuine accept rate (GAR) at a false accept
rate (FAR) of 1e-4 among all pairs of test people, threshold set on the test impostors; mean and standard deviation over
the halves. In ``all_30pct_missing`` every score of the test half is left out with probability 0.3; a comparison that
loses all of them is not accepted.

Methods whose name ends in ``_cohort`` see scores that were first normalised with the training people as cohort
(``matcher/cohort.py``): they use, besides the test people's scores with one another, those with the training people.
The others do not. Both are in the table so that each can be compared with its like.

``ours`` ranks by the fused log-likelihood ratio. ``ours_score`` is what a server answers: -10*log10(FMR) of that ratio
for the matchers that are present, so that one threshold serves them all. ``calibration`` says how often strangers of
the test half reach the scores that stand for an FMR, over how often they should.

The file is an ``.npz`` of n x n matrices, one for each matcher, genuine comparisons on the diagonal, named ``face*`` or
after a position (``finger_left_index``, ``iris_left``); NaN and -1 (NIST BSSR1: no template) are missing.
"""

from __future__ import annotations

import dataclasses
import time
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from enrollment.evaluation.accounting import header
from enrollment.evaluation.bootstrap import BootstrapParameters, ScoreSet, interval
from enrollment.evaluation.measures import Json, histogram
from enrollment.evaluation.progress import ProgressCallback, no_progress
from enrollment.evaluation.rates import RULE_OF_THREE, is_supported
from enrollment.evaluation.side_by_side import in_processes
from enrollment.fused_honesty import ASKED, fit_fused_score, reached
from enrollment.fusion_methods import METHODS, REFITTED, Method, Scores
from matcher.cohort import cohort_normalise
from matcher.errors import InvalidInput
from matcher.positions import Modality, Position

FAR = 1e-4
MISSING = 0.3
COHORT = "_cohort"
SERVED = "ours_score"
EVERY: Mapping[str, Method] = METHODS | {SERVED: fit_fused_score}
COMPARED = (*EVERY, *(name + COHORT for name in ("llr_sum", "logistic_regression", "ours")))
SETTINGS = ("all", "fingers", "faces", "all_30pct_missing")
LEAST_PEOPLE = 100
"""In the half that is fitted on, as ``fit_calibration`` asks for."""


@dataclasses.dataclass(frozen=True, eq=False)
class _Study:
    """What all halves have in common.

    Attributes:
        scores: float64[k, n, n]; positions: k.
        columns: setting -> numbers of its matchers.
        fars: at which GAR is taken.
        headline: the method whose fused scores are kept for the histogram, from the first half.
    """

    scores: NDArray[np.float64]
    positions: Sequence[Position]
    names: Sequence[str]
    methods: Sequence[str]
    columns: Mapping[str, list[int]]
    fars: Sequence[float]
    seed: int
    headline: str


_Task = tuple[int, NDArray[np.int64]]
"""Number of the split, and the people in random order: the first half is fitted on."""


@dataclasses.dataclass(frozen=True, eq=False)
class _Half:
    """One half's outcome.

    Attributes:
        test: int64[t], the people tested.
        accepted: method -> setting -> bool[t, fars].
        fused: genuine and impostor scores of the headline method on all matchers; empty but in the first half.
        reached: setting -> how many strangers reach each score of ``ASKED``, where ``ours_score`` is compared.
    """

    number: int
    test: NDArray[np.int64]
    accepted: dict[str, dict[str, NDArray[np.bool_]]]
    fused: tuple[NDArray[np.float64], NDArray[np.float64]]
    reached: dict[str, NDArray[np.int64]]


def evaluate_fuse(
    path: Path,
    splits: int = 20,
    seed: int = 0,
    methods: Sequence[str] = COMPARED,
    *,
    processes: int = 1,
    progress: ProgressCallback = no_progress,
) -> Json:
    """Runs the protocol.

    Args:
        path: the ``.npz`` file.
        splits: how many random halves, >= 2.
        seed: of the halves, of what is missing and of the intervals.
        methods: names of ``EVERY``, with or without ``_cohort``; the last is the headline.
        processes: that work on halves side by side; the result does not depend on it.

    Returns:
        ``gar_at_far_1e-4``: for each setting that the file allows ``mean``, ``mean_ci95`` (bootstrap over subjects, the
        halves and their thresholds given) and ``sd``, of the method that ``method`` names; ``methods``: the same for
        every method; ``curves``: GAR over FAR with the same intervals; ``histogram`` of fused scores;
        ``calibration`` (see above), where ``ours_score`` is compared; ``subjects``,
        ``splits``, ``seed``, ``matchers``, ``impostors_per_half``. Rates are fractions.

    Raises:
        InvalidInput: the file is no such thing, or too small to show the rate.
    """
    scores, positions, names = load_scores(path)
    return {"manifest": path.name} | evaluate_matrices(
        scores, positions, names, splits, seed, methods, processes=processes, progress=progress
    )


def load_scores(path: Path) -> tuple[NDArray[np.float64], list[Position], list[str]]:
    """Reads float64[k, n, n] scores, what each matcher compares, and the matchers' names."""
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except FileNotFoundError:
        raise InvalidInput(f"there is no file {path}", reason="SCORES_INVALID") from None
    except (OSError, ValueError, TypeError, EOFError, zipfile.BadZipFile, AttributeError):
        raise InvalidInput(
            f"{path.name} cannot be read as .npz file of score matrices (numpy.savez writes one; no objects in it)",
            reason="SCORES_INVALID",
        ) from None
    for name, array in arrays.items():
        if array.dtype.kind not in "fiu":
            raise InvalidInput(f"{path.name}: matrix {name!r} holds no real numbers", reason="SCORES_INVALID")
    found = {name: array.astype(np.float64) for name, array in arrays.items()}
    shapes = {a.shape for a in found.values()}
    if len(shapes) != 1 or any(len(s) != 2 or s[0] != s[1] for s in shapes):
        raise InvalidInput(
            f"{path.name} must hold square matrices of one size, one for each matcher", reason="SCORES_INVALID"
        )
    for name, matrix in found.items():
        present = matrix[~(np.isnan(matrix) | (matrix == -1))]
        if not np.isfinite(present).all() or not len(present) or present.min() == present.max():
            raise InvalidInput(
                f"{path.name}: matrix {name!r} must hold finite scores that differ (NaN or -1 where one is missing)",
                reason="SCORES_INVALID",
            )
    stack = np.stack(list(found.values()))
    return np.where(stack == -1, np.nan, stack), [_position(name) for name in found], list(found)


def evaluate_matrices(
    scores: NDArray[np.float64],
    positions: Sequence[Position],
    names: Sequence[str],
    splits: int,
    seed: int,
    methods: Sequence[str] = COMPARED,
    *,
    processes: int = 1,
    progress: ProgressCallback = no_progress,
) -> Json:
    """``evaluate_fuse`` on scores float64[k, n, n]."""
    began = time.perf_counter()
    people = scores.shape[1]
    half = people // 2
    impostors = (people - half) * (people - half - 1)
    if splits < 2 or half < LEAST_PEOPLE or not is_supported(FAR, impostors):
        raise InvalidInput(
            f"{people} people and {splits} splits: GAR at FAR {FAR:g} needs {LEAST_PEOPLE} people to fit on, "
            f"{RULE_OF_THREE / FAR:,.0f} impostor pairs in the other half, and at least 2 splits",
            reason="SCORES_TOO_FEW",
        )
    columns = _settings(positions)
    study = _Study(scores, positions, names, methods, columns, _curve_rates(impostors), seed, methods[-1])
    random = np.random.default_rng(seed)
    tasks = [(number, random.permutation(people)) for number in range(splits)]
    gar = {name: {s: np.full((splits, len(study.fars)), np.nan) for s in columns} for name in methods}
    hits = {name: {s: np.zeros((people, len(study.fars))) for s in columns} for name in methods}
    tries = np.zeros(people)
    passed: dict[str, list[NDArray[np.int64]]] = {}
    fused: tuple[NDArray[np.float64], NDArray[np.float64]] = (np.empty(0), np.empty(0))
    progress("halves", 0, splits)
    for done, one in enumerate(_outcomes(study, tasks, processes), 1):
        tries[one.test] += 1
        for name, found in one.accepted.items():
            for setting, accepted in found.items():
                gar[name][setting][one.number] = accepted.mean(axis=0)
                hits[name][setting][one.test] += accepted
        for setting, counts in one.reached.items():
            passed.setdefault(setting, []).append(counts)
        if one.number == 0:
            fused = one.fused
        progress("halves", done, splits)
    p = BootstrapParameters(seed=seed)
    drawn = _drawn(people, p)
    tables = {name: {s: _Summary.of(gar[name][s], hits[name][s], tries, drawn, p) for s in columns} for name in methods}
    at = study.fars.index(FAR)
    summaries = {name: {s: t.at(at) for s, t in found.items()} for name, found in tables.items()}
    headline = summaries[study.headline]
    genuine, impostor = fused
    nobody = np.zeros(len(genuine), np.int64)
    return {
        **header("fuse", p),
        "gar_at_far_1e-4": headline,
        "gar_at_far_1e-4_ci95": {s: found["mean_ci95"] for s, found in headline.items()},
        "method": study.headline,
        "methods": summaries,
        "matchers": list(names),
        "subjects": people,
        "splits": splits,
        "seed": seed,
        "impostors_per_half": impostors,
        "curves": {
            "far": list(study.fars),
            "methods": {name: {s: t.curve() for s, t in found.items()} for name, found in tables.items()},
        },
        "histogram": histogram(
            ScoreSet(genuine, nobody, impostor, np.zeros((len(impostor), 2), np.int64), people), bins=80
        ),
        "calibration": _calibration(passed, impostors),
        "seconds": {"halves": time.perf_counter() - began},
    }


def _outcomes(study: _Study, tasks: Sequence[_Task], processes: int) -> Iterator[_Half]:
    if processes <= 1:
        yield from (_evaluate_half(study, task) for task in tasks)
    else:
        yield from in_processes(processes, _evaluate_half_there, tasks, _keep_study, study)


_study: _Study | None = None


def _keep_study(study: _Study) -> None:
    global _study
    _study = study


def _evaluate_half_there(task: _Task) -> _Half:
    assert _study is not None
    return _evaluate_half(_study, task)


def _evaluate_half(study: _Study, task: _Task) -> _Half:
    number, order = task
    train, test = np.split(order, [len(order) // 2])
    for name, matrix in zip(study.names, study.scores, strict=True):
        known = int(np.isfinite(matrix[train, train]).sum())
        if known < LEAST_PEOPLE:
            raise InvalidInput(
                f"matrix {name!r} has genuine scores of only {known} people of the half that is fitted on; "
                f"{LEAST_PEOPLE} are needed",
                reason="SCORES_TOO_FEW",
            )
    lost = missing_scores(study.seed, number, len(test), len(study.positions))
    normalised = np.stack([cohort_normalise(matrix, train) for matrix in study.scores])
    accepted = {}
    shown: tuple[NDArray[np.float64], NDArray[np.float64]] = (np.empty(0), np.empty(0))
    counted: dict[str, NDArray[np.int64]] = {}
    for name in study.methods:
        source = normalised if name.endswith(COHORT) else study.scores
        fused = _fused(name.removesuffix(COHORT), source, study.positions, train, test, study.columns, lost)
        accepted[name] = {s: accepted_at(table, study.fars) for s, table in fused.items()}
        if number == 0 and name == study.headline:
            shown = _split_matrix(fused["all"])
        if name == SERVED:
            counted = {s: reached(_split_matrix(table)[1]) for s, table in fused.items()}
    return _Half(number, test, accepted, shown, counted)


def _calibration(passed: Mapping[str, Sequence[NDArray[np.int64]]], impostors: int) -> Json | None:
    """Strangers who reached each score, over those who should: over all halves, and the spread of single halves.

    None for an FMR that one half's impostors do not support.
    """
    if not passed:
        return None
    asked = [10 ** (-score / 10) for score in ASKED]
    known = [is_supported(fmr, impostors) for fmr in asked]
    result: Json = {"method": SERVED, "score": list(ASKED), "fmr_asked": asked, "observed_over_asked": {}}
    for setting, counts in passed.items():
        ratios = np.array(counts) / (impostors * np.array(asked))
        result["observed_over_asked"][setting] = [
            {"mean": float(column.mean()), "sd": float(column.std(ddof=1))} if supported else None
            for column, supported in zip(ratios.T, known, strict=True)
        ]
    return result


def missing_scores(seed: int, number: int, people: int, matchers: int) -> NDArray[np.bool_]:
    """Which scores of one half are left out, bool[people, people, matchers]: the ``number``-th such draw of one
    generator, wherever and in whatever order the halves are worked on."""
    bits = np.random.PCG64((seed, 1))
    bits.advance(number * people * people * matchers)
    return np.random.Generator(bits).random((people, people, matchers)) < MISSING


def accepted_at(fused: NDArray[np.float64], fars: Sequence[float]) -> NDArray[np.bool_]:
    """Whether each person (the diagonal of float64[t, t]) is accepted at each FAR: bool[t, fars]; the thresholds are
    those of ``fusion_methods.threshold_at_far`` on all other pairs."""
    mates, strangers = _split_matrix(fused)
    count = len(strangers)
    allowed = [int(far * count + 1e-9) for far in fars]
    top = min(count, max(allowed) + 1)
    descending = np.sort(np.partition(strangers, count - top)[count - top :])[::-1]
    thresholds = np.array([descending[a] if a < count else -np.inf for a in allowed])
    return mates[:, None] > thresholds


def pairs(scores: NDArray[np.float64], people: NDArray[np.int64]) -> tuple[Scores, Scores]:
    """Genuine float64[n, k] and impostor float64[n * (n - 1), k] scores among some people."""
    table = np.moveaxis(scores[:, people][:, :, people], 0, -1)
    mate = np.eye(len(people), dtype=bool)
    return table[mate], table[~mate]


def _fused(
    method: str,
    scores: NDArray[np.float64],
    positions: Sequence[Position],
    train: NDArray[np.int64],
    test: NDArray[np.int64],
    settings: Mapping[str, list[int]],
    lost: NDArray[np.bool_],
) -> dict[str, NDArray[np.float64]]:
    """Fused scores of all pairs of test people, float64[t, t], in each setting; -inf where nothing is present."""
    genuine, impostor = pairs(scores, train)
    table = np.moveaxis(scores[:, test][:, :, test], 0, -1)
    every = list(range(len(positions)))
    fits = {tuple(every): EVERY[method](genuine, impostor, positions)}
    results = {}
    for setting, chosen in settings.items():
        seen = np.where(lost, np.nan, table) if setting == "all_30pct_missing" else table
        if method in REFITTED:
            key = tuple(chosen)
            if key not in fits:
                fits[key] = EVERY[method](genuine[:, chosen], impostor[:, chosen], [positions[k] for k in chosen])
            flat = seen[:, :, chosen].reshape(-1, len(chosen))
            fused = fits[key](flat)
        else:
            kept = np.isin(every, chosen)
            flat = np.where(kept, seen, np.nan).reshape(-1, len(every))
            fused = fits[tuple(every)](flat)
        nothing = np.isnan(flat).all(axis=1)
        results[setting] = np.where(nothing, -np.inf, fused).reshape(len(test), len(test))
    return results


def _split_matrix(matrix: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    mate = np.eye(len(matrix), dtype=bool)
    return matrix[mate], matrix[~mate]


def _settings(positions: Sequence[Position]) -> dict[str, list[int]]:
    every = list(range(len(positions)))
    fingers = [k for k in every if positions[k].modality is Modality.FINGER]
    faces = [k for k in every if positions[k].modality is Modality.FACE]
    chosen = dict(zip(SETTINGS, (every, fingers, faces, every), strict=True))
    return {name: columns for name, columns in chosen.items() if columns}


def _curve_rates(impostors: int) -> list[float]:
    """FARs of the curves: ten a decade, from 0.1 down to what the count supports, ``FAR`` among them."""
    steps = [10 ** (-k / 10) for k in range(10, 80)]
    return [far for far in steps if is_supported(far, impostors)]


def _drawn(people: int, p: BootstrapParameters) -> NDArray[np.float64]:
    """float64[resamples, people]: how often each person is drawn."""
    chosen = np.random.default_rng(p.seed).integers(0, people, (p.resamples, people))
    return np.stack([np.bincount(row, minlength=people) for row in chosen]).astype(np.float64)


@dataclasses.dataclass(frozen=True, eq=False)
class _Summary:
    """Mean, standard deviation over the halves and interval over subjects at each FAR: float64[fars] each."""

    mean: NDArray[np.float64]
    sd: NDArray[np.float64]
    limits: Sequence[list[float]]

    @classmethod
    def of(
        cls,
        rates: NDArray[np.float64],
        hits: NDArray[np.float64],
        tries: NDArray[np.float64],
        drawn: NDArray[np.float64],
        p: BootstrapParameters,
    ) -> _Summary:
        """From rates float64[splits, fars], hits float64[people, fars] and tries float64[people]."""
        mean = rates.mean(axis=0)
        misses = 1 - (drawn @ hits) / (drawn @ tries)[:, None]
        limits = []
        for k, rate in enumerate(mean):
            # The interval of the misses turned round: where nobody was missed it still says what was shown.
            low, high = interval(misses[:, k], 1 - float(rate), int((tries > 0).sum()), p) or (0.0, 1.0)
            limits.append([1 - high, 1 - low])
        return cls(mean, rates.std(axis=0, ddof=1), limits)

    def at(self, place: int) -> dict[str, Any]:
        """One FAR."""
        return {"mean": float(self.mean[place]), "mean_ci95": self.limits[place], "sd": float(self.sd[place])}

    def curve(self) -> dict[str, Any]:
        """All FARs."""
        return {
            "gar": [round(float(v), 6) for v in self.mean],
            "gar_ci95": [[round(v, 6) for v in ends] for ends in self.limits],
        }


def _position(name: str) -> Position:
    if name.startswith("face"):
        return Position.FACE
    modality, _, place = name.partition("_")
    try:
        return Position.parse(place, modality)
    except InvalidInput:
        raise InvalidInput(
            f"matrix {name!r} is named after no position; names begin with 'face' or are such as finger_left_index, "
            "finger_unknown or iris_left",
            reason="SCORES_INVALID",
        ) from None
