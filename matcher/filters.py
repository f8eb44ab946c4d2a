"""Which records a search may find: galleries, sex, year of birth, type of encounter."""

from __future__ import annotations

import dataclasses
import enum


class Sex(enum.IntEnum):
    """Sex as on record; numbers as ``ambis.v1.Sex``. After ISO/IEC 5218 (0 not known, 1 male, 2 female) and OSIA's
    gender M, F, O, U."""

    UNKNOWN = 0
    MALE = 1
    FEMALE = 2
    OTHER = 3

    @property
    def label(self) -> str:
        """Lower-case name, e.g. ``female``."""
        return self.name.lower()


@dataclasses.dataclass(frozen=True)
class SearchFilter:
    """What an encounter must be for a search to see it. Empty fields restrict nothing.

    A record that lacks what is asked of sex or year of birth passes: not knowing must not hide anybody.

    Attributes:
        galleries: in one of these.
        sexes: of one of these, or of unknown sex.
        born: first and last year of birth, inclusive; encounters without a year pass.
        encounter_types: of exactly one of these; encounters without a type do not pass.
    """

    galleries: tuple[str, ...] = ()
    sexes: tuple[Sex, ...] = ()
    born: tuple[int, int] | None = None
    encounter_types: tuple[str, ...] = ()


EVERYBODY = SearchFilter()
"""Restricts nothing."""
