"""Sex and years of birth as people write them."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enrollment.attributes import parse_birth_year, parse_born, parse_sex
from matcher.errors import InvalidInput
from matcher.filters import Sex


@pytest.mark.parametrize(
    ("text", "sex"),
    [("male", Sex.MALE), ("F", Sex.FEMALE), (" Other ", Sex.OTHER), ("u", Sex.UNKNOWN), ("", Sex.UNKNOWN)],
)
def test_sex(text: str, sex: Sex) -> None:
    assert parse_sex(text) is sex


@pytest.mark.parametrize("text", ["1", "fe", "man", "male female", "x"])
def test_what_is_no_sex(text: str) -> None:
    with pytest.raises(InvalidInput, match="use male, female or other") as refused:
        parse_sex(text)
    assert refused.value.reason == "SEX_INVALID"


@pytest.mark.parametrize(
    ("text", "born"),
    [("1984", (1984, 1984)), ("1980-1990", (1980, 1990)), ("1980-", (1980, 0)), ("-1990", (0, 1990))],
)
def test_years_of_birth(text: str, born: tuple[int, int]) -> None:
    assert parse_born(text) == born


@pytest.mark.parametrize("text", ["", "-", "84", "1980-90", "1980-1990-2000", "1980..1990", "born 1980", "١٩٨٠"])
def test_what_names_no_years(text: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        parse_born(text)
    assert refused.value.reason == "BIRTH_YEAR_INVALID"


@given(st.text(max_size=12))
def test_any_text_is_read_or_refused(text: str) -> None:
    for parse in (parse_sex, parse_birth_year, parse_born):
        with contextlib.suppress(InvalidInput):
            parse(text)
