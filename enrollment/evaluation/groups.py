"""Groups that rates are broken down by: the values of a column of the manifest, ranges of its numbers, or the time
between two captures.

How a column is grouped follows from what stands in it, and the answer says which way it was:

- ISO dates (or ``time_gap``, for the first column of ``DATE_COLUMNS`` that holds dates): by the time between the two
  captures of a genuine comparison. Impostor comparisons have no such time: every group is set against all of them.
- Whole numbers in a column whose name speaks of a year or an age, or with more than ``MOST_VALUES`` values: by decades
  where those are no more than ``MOST_VALUES``.
- Other numbers with more than ``MOST_VALUES`` values: fifths with about equally many samples.
- Everything else: by value.

Empty cells are a group of their own, "-".
"""

from __future__ import annotations

import dataclasses
import datetime
import itertools
import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from enrollment.evaluation.protocol import EvaluationSample
from matcher.errors import InvalidInput

TIME_GAP = "time_gap"
DATE_COLUMNS = ("captured", "capture_date", "captured_at", "date", "taken")
MOST_VALUES = 20
"""More values than this are hard to read beside each other, and leave few comparisons to each."""
MOST_GROUPS = 100
UNKNOWN = "-"
GAPS = (
    ("same day", 0),
    ("under 1 month", 30),
    ("under 1 year", 365),
    ("1-5 years", 1826),
    ("over 5 years", 10**9),
)
"""Names of time gaps and the days that they reach to."""

_DATE = re.compile(r"\d{4}-\d{2}-\d{2}(?:[T ]\S.*)?")
_DECADES = re.compile(r"(?:^|_)(?:years?|age|yob)(?:_|$)")


@dataclasses.dataclass(frozen=True)
class SampleGroups:
    """The group of every sample.

    Attributes:
        way: "values", "decades" or "fifths".
        values: one a sample.
        order: the groups there are, as they should be shown; "-" last.
    """

    way: str
    values: tuple[str, ...]
    order: tuple[str, ...]


@dataclasses.dataclass(frozen=True, eq=False)
class PairGroup:
    """One group of compared pairs: bool[genuine pairs], bool[impostor pairs], bool[samples] that belong to it."""

    value: str
    genuine: NDArray[np.bool_]
    impostor: NDArray[np.bool_]
    samples: NDArray[np.bool_]


@dataclasses.dataclass(frozen=True)
class Breakdown:
    """How pairs are grouped, and the groups.

    Attributes:
        column: of the manifest.
        way: "values", "decades", "fifths" or "time gap".
        impostors: "of the group", or "all" where every group is set against all impostor comparisons.
    """

    column: str
    way: str
    impostors: str
    groups: tuple[PairGroup, ...]


def check_column(samples: Sequence[EvaluationSample], column: str) -> None:
    """Refuses a column that nothing can be grouped by, before hours of work.

    Raises:
        InvalidInput (COLUMN_UNKNOWN): no such column; (COLUMN_TOO_FINE): over 100 groups.
    """
    if date_column(samples, column) is None:
        sample_groups(samples, column)


def date_column(samples: Sequence[EvaluationSample], column: str) -> str | None:
    """The column of capture dates that ``column`` asks for; None where it asks for something else.

    Raises:
        InvalidInput (COLUMN_UNKNOWN): ``time_gap`` is asked for and no column holds dates.
    """
    listed = set(samples[0].columns) if samples else set()
    if column in listed:
        return column if _holds_dates(samples, column) else None
    if column != TIME_GAP:
        return None
    found = next((c for c in DATE_COLUMNS if c in listed and _holds_dates(samples, c)), None)
    if found is None:
        raise InvalidInput(
            f"--by {TIME_GAP} needs a column of ISO dates (2024-03-31) named {', '.join(DATE_COLUMNS)}; or name the "
            "column of dates itself",
            reason="COLUMN_UNKNOWN",
        )
    return found


def sample_groups(samples: Sequence[EvaluationSample], column: str) -> SampleGroups:
    """Groups samples by a column that holds no dates.

    Raises:
        InvalidInput (COLUMN_UNKNOWN): no such column; (COLUMN_TOO_FINE): over 100 groups.
    """
    if samples and column not in samples[0].columns:
        raise InvalidInput(
            f"the manifest has no column {column!r}; it has {', '.join(samples[0].columns)}", reason="COLUMN_UNKNOWN"
        )
    cells = [s.columns.get(column, "") or UNKNOWN for s in samples]
    numbers = _numbers(cells)
    known = numbers[~np.isnan(numbers)] if numbers is not None else np.empty(0)
    many = len(np.unique(known)) > MOST_VALUES
    whole = len(known) > 0 and bool((known == np.rint(known)).all())
    if numbers is not None and whole and (many or _DECADES.search(column.lower())):
        starts = np.unique(np.floor(known / 10))
        if len(starts) <= MOST_VALUES:
            names = {s: f"{int(s) * 10}-{int(s) * 10 + 9}" for s in starts}
            values = [UNKNOWN if np.isnan(n) else names[np.floor(n / 10)] for n in numbers]
            return _grouped("decades", values, [names[s] for s in starts])
    if numbers is not None and many:
        edges = np.unique(np.quantile(known, np.linspace(0, 1, 6), method="inverted_cdf"))
        places = np.clip(np.searchsorted(edges, numbers, side="right") - 1, 0, max(0, len(edges) - 2))
        # Each fifth begins at its lower edge; the last one holds its upper edge as well.
        shown = [f"{a:g} to {b:g}" for a, b in itertools.pairwise(edges)]
        values = [UNKNOWN if np.isnan(n) else shown[k] for n, k in zip(numbers, places, strict=True)]
        return _grouped("fifths", values, shown)
    order = sorted(set(cells), key=lambda v: (numbers is not None and v != UNKNOWN and float(v), v))
    return _grouped("values", cells, order, column)


def break_down(
    samples: Sequence[EvaluationSample], genuine: NDArray[np.int64], impostor: NDArray[np.int64], column: str
) -> Breakdown:
    """Groups pairs (int64[n, 2], numbers of samples).

    A pair belongs to the group of both samples; genuine pairs across two groups make a group "a / b".

    Raises:
        InvalidInput: see ``check_column``.
    """
    dates = date_column(samples, column)
    return _by_gap(samples, genuine, impostor, dates) if dates else _by_value(samples, genuine, impostor, column)


def capture_days(samples: Sequence[EvaluationSample], column: str) -> NDArray[np.float64]:
    """Day number of every sample's capture; NaN where the cell is empty."""
    cells = [s.columns.get(column, "") for s in samples]
    return np.array([datetime.date.fromisoformat(c[:10]).toordinal() if c else np.nan for c in cells], np.float64)


def gap_names(days: NDArray[np.float64]) -> NDArray[np.str_]:
    """The time gap that a number of days falls into; "-" for NaN."""
    upper = np.array([limit for _, limit in GAPS], np.float64)
    names = np.array([name for name, _ in GAPS])
    places = np.searchsorted(upper, np.nan_to_num(np.abs(days)))
    return np.where(np.isnan(days), UNKNOWN, names[np.minimum(places, len(GAPS) - 1)])


def gap_order(names: NDArray[np.str_]) -> list[str]:
    """The time gaps that occur, shortest first."""
    there = set(names.tolist())
    return [name for name in (*(n for n, _ in GAPS), UNKNOWN) if name in there]


def _by_gap(
    samples: Sequence[EvaluationSample], genuine: NDArray[np.int64], impostor: NDArray[np.int64], column: str
) -> Breakdown:
    days = capture_days(samples, column)
    names = gap_names(days[genuine[:, 0]] - days[genuine[:, 1]])
    groups = []
    for name in gap_order(names):
        mine = names == name
        taking_part = np.zeros(len(samples), bool)
        taking_part[genuine[mine].ravel()] = True
        groups.append(PairGroup(name, mine, np.ones(len(impostor), bool), taking_part))
    return Breakdown(column, "time gap", "all", tuple(groups))


def _by_value(
    samples: Sequence[EvaluationSample], genuine: NDArray[np.int64], impostor: NDArray[np.int64], column: str
) -> Breakdown:
    found = sample_groups(samples, column)
    place = {value: k for k, value in enumerate(found.order)}
    numbers = np.array([place[v] for v in found.values], np.int64)
    of_genuine, of_impostor = np.sort(numbers[genuine], axis=1), np.sort(numbers[impostor], axis=1)
    crossed = {(a, b) for a, b in of_genuine.tolist() if a != b}
    groups = []
    for a, b in sorted({*((k, k) for k in range(len(place))), *crossed}):
        value = found.order[a] if a == b else f"{found.order[a]} / {found.order[b]}"
        groups.append(
            PairGroup(
                value,
                (of_genuine == (a, b)).all(axis=1),
                (of_impostor == (a, b)).all(axis=1),
                (numbers == a) if a == b else np.zeros(len(samples), bool),
            )
        )
    return Breakdown(column, found.way, "of the group", tuple(groups))


def _grouped(way: str, values: Sequence[str], order: Sequence[str], column: str = "") -> SampleGroups:
    there = set(values)
    shown = [*(v for v in order if v != UNKNOWN), *([UNKNOWN] if UNKNOWN in there else [])]
    if len(shown) > MOST_GROUPS:
        raise InvalidInput(
            f"column {column!r} has {len(shown)} values; rates can be broken down by {MOST_GROUPS} at most: write "
            "groups into a column of their own",
            reason="COLUMN_TOO_FINE",
        )
    return SampleGroups(way, tuple(values), tuple(v for v in shown if v in there))


def _numbers(cells: Sequence[str]) -> NDArray[np.float64] | None:
    """The cells as numbers, NaN for empty ones; None where one is no finite number, or none is there."""
    try:
        numbers = np.array([np.nan if c == UNKNOWN else float(c) for c in cells], np.float64)
    except ValueError:
        return None
    known = numbers[[c != UNKNOWN for c in cells]]
    return numbers if len(known) and np.isfinite(known).all() else None


def _holds_dates(samples: Sequence[EvaluationSample], column: str) -> bool:
    cells = {s.columns.get(column, "") for s in samples} - {""}
    return bool(cells) and all(_DATE.fullmatch(c) and _is_date(c[:10]) for c in cells)


def _is_date(text: str) -> bool:
    try:
        datetime.date.fromisoformat(text)
    except ValueError:
        return False
    return True
