"""What people write of sex and years of birth, in manifests and on the command line, to what the contract has."""

from __future__ import annotations

from matcher.errors import InvalidInput
from matcher.filters import Sex


def parse_sex(text: str) -> Sex:
    """``male``, ``female``, ``other`` or ``unknown``, or its first letter, in any case; empty: unknown.

    Raises:
        InvalidInput (SEX_INVALID).
    """
    word = text.strip().lower()
    for sex in Sex:
        if word in (sex.label, sex.label[0]):
            return sex
    if not word:
        return Sex.UNKNOWN
    raise InvalidInput(
        f"{text!r} names no sex; use male, female or other (or m, f, o), and nothing where it is not known",
        reason="SEX_INVALID",
    )


def parse_birth_year(text: str) -> int:
    """A year of four digits; empty: 0, not known. Whether anybody can be born then, the server says.

    Raises:
        InvalidInput (BIRTH_YEAR_INVALID).
    """
    word = text.strip()
    if not word:
        return 0
    if len(word) == 4 and word.isascii() and word.isdigit():
        return int(word)
    raise InvalidInput(
        f"{text!r} is no year of birth; give four digits, e.g. 1984, and nothing where it is not known",
        reason="BIRTH_YEAR_INVALID",
    )


def parse_born(text: str) -> tuple[int, int]:
    """``1984``, ``1980-1990``, ``1980-`` or ``-1990``: first and last year, 0 where that side is open.

    Raises:
        InvalidInput (BIRTH_YEAR_INVALID).
    """
    first, dash, last = text.partition("-")
    begin, end = parse_birth_year(first), parse_birth_year(last)
    if not dash:
        end = begin
    if not begin and not end:
        raise InvalidInput(
            f"{text!r} names no years of birth; give one, or the first and the last: 1980-1990, 1980-, -1990",
            reason="BIRTH_YEAR_INVALID",
        )
    return begin, end
