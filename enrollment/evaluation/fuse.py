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
import math
import time
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.format import read_array, read_array_header_1_0, read_array_header_2_0, read_magic
from numpy.typing import NDArray

from enrollment.evaluation.accounting import header
from enrollment.evaluation.bootstrap import BootstrapParameters, ScoreSet, interval
from enrollment.evaluation.measures import Json, histogram
from enrollment.evaluation.progress import ProgressCallback, no_progress
from enrollment.evaluation.rates import RULE_OF_THREE, is_supported
from enrollment.evaluation.side_by_side import in_processes
from enrollment.fused_honesty import ASKED, FusedScorer, reached
from enrollment.fusion_methods import METHODS, REFITTED, Method, Scorer, Scores
from matcher.cohort import cohort_normalise
from matcher.errors import InvalidInput
from matcher.positions import Modality, Position

FAR = 1e-4
MISSING = 0.3
COHORT = "_cohort"
SERVED = "ours_score"
OBSERVED, VOUCHED = "observed_over_asked", "vouched_over_asked"
EVERY: Mapping[str, Method] = METHODS | {SERVED: FusedScorer}
COMPARED = (*EVERY, *(name + COHORT for name in ("llr_sum", "logistic_regression", "ours")))
SETTINGS = ("all", "fingers", "faces", "all_30pct_missing")
LEAST_PEOPLE = 100
"""In the half that is fitted on, as ``fit_calibration`` asks for."""
MOST_PEOPLE = 20_000
MOST_BYTES = 4_000_000_000
"""Of all matrices as float64: the protocol holds them, and copies of their halves, in memory."""
GREATEST_SCORE = 1e100
"""Squares and products of scores must be numbers too."""


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
        reached, vouched: setting -> how many strangers reach each score of ``ASKED``, and how many do by the part that
            calibration vouches for; where ``ours_score`` is compared.
    """

    number: int
    test: NDArray[np.int64]
    accepted: dict[str, dict[str, NDArray[np.bool_]]]
    fused: tuple[NDArray[np.float64], NDArray[np.float64]]
    reached: dict[str, NDArray[np.int64]]
    vouched: dict[str, NDArray[np.int64]]


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
    """Reads float64[k, n, n] scores, what each matcher compares, and the matchers' names.

    Raises:
        InvalidInput (SCORES_INVALID): the file is no such thing; (SCORES_TOO_MANY): it would not go into memory.
    """
    arrays = _arrays(path)
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
        beyond = not (np.abs(present) <= GREATEST_SCORE).all()
        if beyond or not len(present) or present.min() == present.max():
            raise InvalidInput(
                f"{path.name}: matrix {name!r} must hold finite scores that differ, none beyond "
                f"±{GREATEST_SCORE:g} (NaN or -1 where one is missing)",
                reason="SCORES_INVALID",
            )
    stack = np.stack(list(found.values()))
    return np.where(stack == -1, np.nan, stack), [_position(name) for name in found], list(found)


def _arrays(path: Path) -> dict[str, NDArray[Any]]:
    """The arrays of an ``.npz`` file, by name. Nothing is loaded before the headers have said how large it is."""
    found: dict[str, NDArray[Any]] = {}
    try:
        with zipfile.ZipFile(path) as archive:
            headers = {name: _array_header(archive, name) for name in archive.namelist()}
            _check_size(path.name, headers)
            for name in headers:
                with archive.open(name) as member:
                    found[name.removesuffix(".npy")] = read_array(member, allow_pickle=False)
    except FileNotFoundError:
        raise InvalidInput(f"there is no file {path}", reason="SCORES_INVALID") from None
    except InvalidInput:
        raise
    except Exception:
        # Whatever may stand in a broken file: zipfile, zlib, ast, tokenize and numpy raise a dozen different errors,
        # up to RecursionError and MemoryError for a header that is nested or lies.
        raise InvalidInput(
            f"{path.name} cannot be read as .npz file of score matrices (numpy.savez writes one; no objects in it)",
            reason="SCORES_INVALID",
        ) from None
    return found


def _array_header(archive: zipfile.ZipFile, name: str) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Shape and type that a member of the archive says it has; raises ValueError and others where it is no array."""
    with archive.open(name) as member:
        version = read_magic(member)
        if version not in ((1, 0), (2, 0)):  # 3.0 is for structured types, which hold no scores
            raise ValueError(f"header version {version}")
        shape, _, kind = (read_array_header_1_0 if version == (1, 0) else read_array_header_2_0)(member)
    return shape, kind


def _check_size(file: str, headers: Mapping[str, tuple[tuple[int, ...], np.dtype[Any]]]) -> None:
    largest = max((n for shape, _ in headers.values() for n in shape), default=0)
    total = sum(math.prod(shape) * max(kind.itemsize, 8) for shape, kind in headers.values())
    if largest > MOST_PEOPLE or total > MOST_BYTES:
        raise InvalidInput(
            f"{file} holds matrices of up to {largest:,} people, {total / 1e9:,.1f} GB in all; at most "
            f"{MOST_PEOPLE:,} people and {MOST_BYTES / 1e9:g} GB can be evaluated: take part of the people",
            reason="SCORES_TOO_MANY",
        )


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
    passed: dict[str, dict[str, list[NDArray[np.int64]]]] = {}
    fused: tuple[NDArray[np.float64], NDArray[np.float64]] = (np.empty(0), np.empty(0))
    progress("halves", 0, splits)
    for done, one in enumerate(_outcomes(study, tasks, processes), 1):
        tries[one.test] += 1
        for name, found in one.accepted.items():
            for setting, accepted in found.items():
                gar[name][setting][one.number] = accepted.mean(axis=0)
                hits[name][setting][one.test] += accepted
        for setting in one.reached:
            counts = passed.setdefault(setting, {OBSERVED: [], VOUCHED: []})
            counts[OBSERVED].append(one.reached[setting])
            counts[VOUCHED].append(one.vouched[setting])
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
        "served_method": SERVED,
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
    vouched: dict[str, NDArray[np.int64]] = {}
    for name in study.methods:
        source = normalised if name.endswith(COHORT) else study.scores
        fits: dict[tuple[int, ...], Scorer] = {}
        fused = _fused(name.removesuffix(COHORT), source, study.positions, train, test, study.columns, lost, fits)
        accepted[name] = {s: accepted_at(table, study.fars) for s, table in fused.items()}
        if number == 0 and name == study.headline:
            shown = _split_matrix(fused["all"])
        if name == SERVED:
            counted = {s: reached(_split_matrix(table)[1]) for s, table in fused.items()}
            scorer = fits[tuple(range(len(study.positions)))]
            assert isinstance(scorer, FusedScorer)
            for setting, flat in _seen(study.scores, study.positions, test, study.columns, lost).items():
                trusted = scorer.trusted(flat).reshape(len(test), len(test))
                vouched[setting] = reached(_split_matrix(trusted)[1])
    return _Half(number, test, accepted, shown, counted, vouched)


def _calibration(passed: Mapping[str, Mapping[str, Sequence[NDArray[np.int64]]]], impostors: int) -> Json | None:
    """Strangers who reached each score, and those who did by its trusted part, over those who should: over all halves,
    and the spread of single halves.

    None for an FMR that one half's impostors do not support.
    """
    if not passed:
        return None
    asked = [10 ** (-score / 10) for score in ASKED]
    known = [is_supported(fmr, impostors) for fmr in asked]
    result: Json = {"method": SERVED, "score": list(ASKED), "fmr_asked": asked, OBSERVED: {}, VOUCHED: {}}
    for setting, kinds in passed.items():
        for kind, counts in kinds.items():
            ratios = np.array(counts) / (impostors * np.array(asked))
            result[kind][setting] = [
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
    fits: dict[tuple[int, ...], Scorer],
) -> dict[str, NDArray[np.float64]]:
    """Fused scores of all pairs of test people, float64[t, t], in each setting; -inf where nothing is present.

    What was fitted, for which matchers, is put into ``fits``.
    """
    genuine, impostor = pairs(scores, train)
    every = tuple(range(len(positions)))
    fits[every] = EVERY[method](genuine, impostor, positions)
    results = {}
    for setting, flat in _seen(scores, positions, test, settings, lost).items():
        if method in REFITTED:
            chosen = settings[setting]
            key = tuple(chosen)
            if key not in fits:
                fits[key] = EVERY[method](genuine[:, chosen], impostor[:, chosen], [positions[k] for k in chosen])
            fused = fits[key](flat[:, chosen])
        else:
            fused = fits[every](flat)
        nothing = np.isnan(flat).all(axis=1)
        results[setting] = np.where(nothing, -np.inf, fused).reshape(len(test), len(test))
    return results


def _seen(
    scores: NDArray[np.float64],
    positions: Sequence[Position],
    test: NDArray[np.int64],
    settings: Mapping[str, list[int]],
    lost: NDArray[np.bool_],
) -> dict[str, Scores]:
    """Raw scores of all pairs of test people in each setting, float64[t * t, k]; NaN where not seen."""
    table = np.moveaxis(scores[:, test][:, :, test], 0, -1)
    found = {}
    for setting, chosen in settings.items():
        seen = np.where(lost, np.nan, table) if setting == "all_30pct_missing" else table
        kept = np.isin(range(len(positions)), chosen)
        found[setting] = np.where(kept, seen, np.nan).reshape(-1, len(positions))
    return found


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
