"""``ambis evaluate fuse``: what fusion is worth, on score matrices of one set of people, on people not fitted on.

Protocol: random halves by subject, fitted on one and tested on the other; genuine accept rate (GAR) at a false accept
rate (FAR) of 1e-4 among all pairs of test people, threshold set on the test impostors; mean and standard deviation over
the halves. In ``all_30pct_missing`` every score of the test half is left out with probability 0.3; a comparison that
loses all of them is not accepted.

Methods whose name ends in ``_cohort`` see scores that were first normalised with the training people as cohort
(``matcher/cohort.py``): they use, besides the test people's scores with one another, those with the training people.
The others do not. Both are in the table so that each can be compared with its like.

The file is an ``.npz`` of n x n matrices, one for each matcher, genuine comparisons on the diagonal, named ``face*`` or
after a position (``finger_left_index``, ``iris_left``); NaN and -1 (NIST BSSR1: no template) are missing.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.table import Table

from enrollment.fusion_methods import METHODS, REFITTED, Scores, threshold_at_far
from matcher.cohort import cohort_normalise
from matcher.errors import InvalidInput
from matcher.positions import Modality, Position

FAR = 1e-4
MISSING = 0.3
COHORT = "_cohort"
COMPARED = (*METHODS, *(name + COHORT for name in ("llr_sum", "logistic_regression", "ours")))
SETTINGS = ("all", "fingers", "faces", "all_30pct_missing")
RESAMPLES = 1000


def evaluate_fuse(path: Path, splits: int = 20, seed: int = 0, methods: Sequence[str] = COMPARED) -> dict[str, Any]:
    """Runs the protocol.

    Args:
        path: the ``.npz`` file.
        splits: how many random halves, >= 2.
        seed: of the halves, of what is missing and of the intervals.
        methods: names of ``METHODS``, with or without ``_cohort``; the last is the headline.

    Returns:
        ``gar_at_far_1e-4``: for each setting that the file allows ``mean``, ``mean_ci95`` (bootstrap over subjects, the
        halves and their thresholds given) and ``sd``, of the method that ``method`` names; ``methods``: the same for
        every method; ``subjects``, ``splits``, ``seed``, ``matchers``, ``impostors_per_half``. Rates are fractions.

    Raises:
        InvalidInput: the file is no such thing, or too small to show the rate.
    """
    scores, positions, names = load_scores(path)
    return evaluate_matrices(scores, positions, names, splits, seed, methods)


def load_scores(path: Path) -> tuple[NDArray[np.float64], list[Position], list[str]]:
    """Reads float64[k, n, n] scores, what each matcher compares, and the matchers' names."""
    try:
        with np.load(path, allow_pickle=False) as file:
            found = {name: np.asarray(file[name], np.float64) for name in file.files}
    except (OSError, ValueError, zipfile.BadZipFile, AttributeError) as error:
        raise InvalidInput(
            f"{path.name} is no .npz file of score matrices ({error})", reason="SCORES_INVALID"
        ) from None
    shapes = {a.shape for a in found.values()}
    if len(shapes) != 1 or any(len(s) != 2 or s[0] != s[1] for s in shapes):
        raise InvalidInput(
            f"{path.name} must hold square matrices of one size, one for each matcher", reason="SCORES_INVALID"
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
) -> dict[str, Any]:
    """``evaluate_fuse`` on scores float64[k, n, n]."""
    people = scores.shape[1]
    half = people // 2
    impostors = (people - half) * (people - half - 1)
    if splits < 2 or half < 100 or impostors < 3 / FAR:
        raise InvalidInput(
            f"{people} people and {splits} splits: GAR at FAR {FAR:g} needs 100 people to fit on, 3 / FAR impostor "
            "pairs in the other half, and at least 2 splits",
            reason="SCORES_TOO_FEW",
        )
    columns = _settings(positions)
    wanted = [(name, name.removesuffix(COHORT), name.endswith(COHORT)) for name in methods]
    passed = {name: {s: np.full((splits, people), np.nan) for s in columns} for name in methods}
    halves, gaps = np.random.default_rng(seed), np.random.default_rng((seed, 1))
    for split in range(splits):
        order = halves.permutation(people)
        train, test = order[:half], order[half:]
        lost = gaps.random((len(test), len(test), len(positions))) < MISSING
        normalised = np.stack([cohort_normalise(matrix, train) for matrix in scores])
        for name, method, with_cohort in wanted:
            source = normalised if with_cohort else scores
            for setting, accepted in _accepted(method, source, positions, train, test, columns, lost).items():
                passed[name][setting][split, test] = accepted
    summaries = {name: {s: _summary(table, seed) for s, table in found.items()} for name, found in passed.items()}
    return {
        "gar_at_far_1e-4": summaries[methods[-1]],
        "method": methods[-1],
        "methods": summaries,
        "matchers": list(names),
        "subjects": people,
        "splits": splits,
        "seed": seed,
        "impostors_per_half": impostors,
    }


def _accepted(
    method: str,
    scores: NDArray[np.float64],
    positions: Sequence[Position],
    train: NDArray[np.int64],
    test: NDArray[np.int64],
    settings: Mapping[str, list[int]],
    lost: NDArray[np.bool_],
) -> dict[str, NDArray[np.float64]]:
    """Whether each test person is accepted (1 or 0), in each setting."""
    genuine, impostor = pairs(scores, train)
    table = np.moveaxis(scores[:, test][:, :, test], 0, -1)
    every = list(range(len(positions)))
    fits = {tuple(every): METHODS[method](genuine, impostor, positions)}
    results = {}
    for setting, chosen in settings.items():
        seen = np.where(lost, np.nan, table) if setting == "all_30pct_missing" else table
        if method in REFITTED:
            key = tuple(chosen)
            if key not in fits:
                fits[key] = METHODS[method](genuine[:, chosen], impostor[:, chosen], [positions[k] for k in chosen])
            flat = seen[:, :, chosen].reshape(-1, len(chosen))
            fused = fits[key](flat)
        else:
            kept = np.isin(every, chosen)
            flat = np.where(kept, seen, np.nan).reshape(-1, len(every))
            fused = fits[tuple(every)](flat)
        fused = np.where(np.isnan(flat).all(axis=1), -np.inf, fused).reshape(len(test), len(test))
        mates = np.diag(fused)
        strangers = fused[~np.eye(len(test), dtype=bool)]
        results[setting] = (mates > threshold_at_far(strangers, FAR)).astype(np.float64)
    return results


def pairs(scores: NDArray[np.float64], people: NDArray[np.int64]) -> tuple[Scores, Scores]:
    """Genuine float64[n, k] and impostor float64[n * (n - 1), k] scores among some people."""
    table = np.moveaxis(scores[:, people][:, :, people], 0, -1)
    mate = np.eye(len(people), dtype=bool)
    return table[mate], table[~mate]


def _settings(positions: Sequence[Position]) -> dict[str, list[int]]:
    every = list(range(len(positions)))
    fingers = [k for k in every if positions[k].modality is Modality.FINGER]
    faces = [k for k in every if positions[k].modality is Modality.FACE]
    chosen = dict(zip(SETTINGS, (every, fingers, faces, every), strict=True))
    return {name: columns for name, columns in chosen.items() if columns}


def _summary(accepted: NDArray[np.float64], seed: int) -> dict[str, Any]:
    """Mean and standard deviation over splits, and the interval over subjects, of float64[splits, people]."""
    rates = np.nanmean(accepted, axis=1)
    tested = ~np.isnan(accepted)
    hits, tries = np.where(tested, accepted, 0.0).sum(axis=0), tested.sum(axis=0)
    rng = np.random.default_rng(seed)
    drawn = rng.integers(0, accepted.shape[1], (RESAMPLES, accepted.shape[1]))
    means = hits[drawn].sum(axis=1) / tries[drawn].sum(axis=1)
    low, high = np.quantile(means, (0.025, 0.975))
    return {
        "mean": float(rates.mean()),
        "mean_ci95": [float(low), float(high)],
        "sd": float(rates.std(ddof=1)),
    }


def _position(name: str) -> Position:
    if name.startswith("face"):
        return Position.FACE
    modality, _, place = name.partition("_")
    return Position.parse(place or modality, modality)


def fuse_table(result: Mapping[str, Any]) -> Table:
    """The methods, best last, for an 80-column terminal: GAR in per cent, mean and standard deviation."""
    table = Table(
        title="Genuine accept rate (%) at a false accept rate of 0.01 %",
        caption=(
            f"Mean and standard deviation over {result['splits']} random halves of {result['subjects']} people, fitted "
            'on one, tested on the other. "cohort": scores first normalised with the training people\'s.'
        ),
    )
    table.add_column("method")
    settings: Iterable[str] = list(result["gar_at_far_1e-4"])
    for setting in settings:
        table.add_column(setting.replace("all_30pct_missing", "30% missing"), justify="right", no_wrap=True)
    for name, found in result["methods"].items():
        cells = [f"{100 * found[s]['mean']:.2f} ± {100 * found[s]['sd']:.2f}" for s in settings]
        table.add_row(name.replace("_", " "), *cells, style="bold" if name == result["method"] else "")
    return table
