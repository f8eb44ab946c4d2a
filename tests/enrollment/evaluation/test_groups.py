"""Groups of samples and pairs: values, decades, fifths, time gaps."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from enrollment.evaluation.groups import break_down, check_column, date_column, gap_names, sample_groups
from enrollment.evaluation.protocol import EvaluationSample, Impostors, make_pairs
from matcher.errors import InvalidInput
from matcher.positions import Position


def listed(column: str, cells: Sequence[object]) -> list[EvaluationSample]:
    """Two samples a subject."""
    return [
        EvaluationSample(2 + k, Path("x"), f"s{k // 2}", str(k), Position.FACE, None, {"path": "x", column: str(c)})
        for k, c in enumerate(cells)
    ]


def test_few_values_stay_what_they_are() -> None:
    found = sample_groups(listed("sensor", ["b", "a", "", "b"]), "sensor")
    assert (found.way, found.values, found.order) == ("values", ("b", "a", "-", "b"), ("a", "b", "-"))
    numbers = sample_groups(listed("ppi", [1000, 500, "", 90]), "ppi")
    assert (numbers.way, numbers.order) == ("values", ("90", "500", "1000", "-"))


def test_years_and_ages_are_decades() -> None:
    years = sample_groups(listed("year_of_birth", [1959, 1960, "", 1969, 1970]), "year_of_birth")
    assert years.way == "decades"
    assert years.values == ("1950-1959", "1960-1969", "-", "1960-1969", "1970-1979")
    assert years.order == ("1950-1959", "1960-1969", "1970-1979", "-")
    assert sample_groups(listed("age", [7, 10, 35]), "age").order == ("0-9", "10-19", "30-39")
    # "age" within another word is no age.
    assert sample_groups(listed("image_no", [7, 10, 35]), "image_no").way == "values"
    assert sample_groups(listed("page", [7, 10, 35]), "page").way == "values"


def test_many_numbers_become_decades_or_fifths() -> None:
    weights = sample_groups(listed("weight", range(45, 105)), "weight")
    assert (weights.way, weights.order[0], len(weights.order)) == ("decades", "40-49", 7)
    values = np.round(np.random.default_rng(1).exponential(size=200), 4)
    found = sample_groups(listed("sharpness", [*values, ""]), "sharpness")
    assert found.way == "fifths"
    sizes = [found.values.count(name) for name in found.order]
    assert sizes[-1] == 1
    assert len(sizes) == 6
    assert all(38 <= size <= 42 for size in sizes[:-1])
    for name, value in zip(found.values[:-1], values, strict=True):
        low, high = map(float, name.split(" to "))
        assert low <= value <= high


def test_too_many_words_are_refused_before_any_work() -> None:
    samples = listed("name", [f"x{k}" for k in range(101)])
    with pytest.raises(InvalidInput, match="has 101 values"):
        check_column(samples, "name")
    with pytest.raises(InvalidInput, match="it has path, name"):
        check_column(samples, "colour")
    with pytest.raises(InvalidInput, match="needs a column of ISO dates"):
        check_column(samples, "time_gap")


def test_dates_are_seen_and_other_things_are_not() -> None:
    dates = listed("captured", ["2020-02-29", "2021-01-01T10:00:00Z", ""])
    assert date_column(dates, "captured") == date_column(dates, "time_gap") == "captured"
    assert date_column(listed("captured", ["2020-02-30"]), "captured") is None
    assert date_column(listed("year", ["2020"]), "year") is None
    assert date_column(listed("number", ["20200101"]), "number") is None


def test_gaps_and_their_limits() -> None:
    days = np.array([0, 1, 30, 31, 365, 366, 1826, 1827, 40000, -5, np.nan])
    assert gap_names(days).tolist() == [
        "same day",
        "under 1 month",
        "under 1 month",
        "under 1 year",
        "under 1 year",
        "1-5 years",
        "1-5 years",
        "over 5 years",
        "over 5 years",
        "under 1 month",
        "-",
    ]


def test_pairs_by_time_gap_are_those_of_two_loops() -> None:
    start = datetime.date(2010, 1, 1)
    rng = np.random.default_rng(4)
    cells = [str(start + datetime.timedelta(days=int(d))) for d in rng.choice([0, 10, 200, 900, 3000], 40)]
    cells[5] = ""
    samples = listed("captured", cells)
    pairs = make_pairs(samples, Impostors.ALL)
    found = break_down(samples, pairs.genuine, pairs.impostor, "time_gap")
    assert (found.column, found.way, found.impostors) == ("captured", "time gap", "all")
    expected = []
    for i, j in pairs.genuine:
        if not (cells[i] and cells[j]):
            expected.append("-")
            continue
        gap = abs((datetime.date.fromisoformat(cells[i]) - datetime.date.fromisoformat(cells[j])).days)
        limits = [(0, "same day"), (30, "under 1 month"), (365, "under 1 year"), (1826, "1-5 years")]
        expected.append(next((name for limit, name in limits if gap <= limit), "over 5 years"))
    assert {g.value: g.genuine.tolist() for g in found.groups} == {
        name: [e == name for e in expected] for name in set(expected)
    }
    for group in found.groups:
        assert group.impostor.all()
        assert set(np.flatnonzero(group.samples)) == set(pairs.genuine[group.genuine].ravel())


def test_pairs_by_value_are_those_of_two_loops() -> None:
    cells = np.random.default_rng(5).choice(["m", "f", ""], 30).tolist()
    samples = listed("sex", cells)
    pairs = make_pairs(samples, Impostors.ALL)
    found = break_down(samples, pairs.genuine, pairs.impostor, "sex")
    names = [c or "-" for c in cells]
    assert [g.value for g in found.groups if "/" not in g.value] == ["f", "m", "-"]
    for group in found.groups:
        wanted = set(group.value.split(" / "))
        assert group.genuine.tolist() == [{names[i], names[j]} == wanted for i, j in pairs.genuine]
        assert group.impostor.tolist() == [{names[i], names[j]} == wanted for i, j in pairs.impostor]
    assert sum(g.genuine.sum() for g in found.groups) == len(pairs.genuine)
