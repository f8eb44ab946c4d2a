"""What searches are restricted by, from the contract's messages to the matcher's, with checks: sex, year of birth, type
of encounter."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Sequence

from ambis.v1 import identification_service_pb2
from matcher.errors import InvalidInput, NotFound
from matcher.filters import SearchFilter, Sex
from matcher.records.store import RecordStore, utc_now
from matcher.service.requests import check_galleries, check_text

FIRST_YEAR = 1850
MAX_TYPES = 32
_SHOWN = 20


class Attributes:
    """Checks what requests say of people; thread-safe.

    Args:
        store: knows the galleries and types there are.
        clock: naive UTC now: nobody is born later.
    """

    def __init__(self, store: RecordStore, clock: Callable[[], datetime.datetime] = utc_now) -> None:
        self._store = store
        self._clock = clock

    def sex(self, number: int, field: str) -> Sex:
        """The sex of an encounter; raises InvalidInput (FIELD_INVALID)."""
        try:
            return Sex(number)
        except ValueError:
            raise InvalidInput(
                f"sex {number} is unknown; use 1 male, 2 female, 3 other, or 0 where it is not known",
                reason="FIELD_INVALID",
                field=field,
            ) from None

    def birth_year(self, year: int, field: str) -> int:
        """A year of birth, 0 where it is not known; raises InvalidInput (FIELD_INVALID)."""
        last = self._clock().year
        if year and not FIRST_YEAR <= year <= last:
            raise InvalidInput(
                f"{field} is {year}; it must be within {FIRST_YEAR} and {last}, or 0 where it is not known",
                reason="FIELD_INVALID",
                field=field,
            )
        return year

    def search_filter(self, search: identification_service_pb2.Search) -> SearchFilter:
        """What a search may find.

        Raises:
            InvalidInput (FIELD_INVALID): a value that means nothing.
            NotFound: a gallery or type that is not there; a misspelt name must not look like "nobody found".
        """
        asked = search.filter
        return SearchFilter(
            galleries=self._galleries(search.galleries),
            sexes=self._sexes(asked.sexes),
            born=self._born(asked.born_from, asked.born_to),
            encounter_types=self._encounter_types(asked.encounter_types),
        )

    def _galleries(self, names: Sequence[str]) -> tuple[str, ...]:
        galleries = check_galleries(names, "search.galleries")
        known = self._store.galleries() if galleries else set()
        for name in galleries:
            if name not in known:
                raise NotFound(
                    f"there is no gallery {name!r}; there are: {', '.join(sorted(known)) or 'none yet'}",
                    reason="GALLERY_NOT_FOUND",
                    field="search.galleries",
                )
        return galleries

    def _sexes(self, numbers: Sequence[int]) -> tuple[Sex, ...]:
        field = "search.filter.sexes"
        sexes = sorted({self.sex(number, field) for number in numbers})
        if Sex.UNKNOWN in sexes:
            raise InvalidInput(
                "a search cannot ask for people of unknown sex: they pass whatever is asked for; leave it out",
                reason="FIELD_INVALID",
                field=field,
            )
        return tuple(sexes)

    def _born(self, first: int, last: int) -> tuple[int, int] | None:
        begin = self.birth_year(first, "search.filter.born_from")
        end = self.birth_year(last, "search.filter.born_to")
        if not begin and not end:
            return None
        born = begin or FIRST_YEAR, end or self._clock().year
        if born[0] > born[1]:
            raise InvalidInput(
                f"nobody was born from {born[0]} to {born[1]}; give the earlier year as born_from",
                reason="FIELD_INVALID",
                field="search.filter.born_from",
            )
        return born

    def _encounter_types(self, names: Sequence[str]) -> tuple[str, ...]:
        field = "search.filter.encounter_types"
        if len(names) > MAX_TYPES:
            raise InvalidInput(
                f"{len(names)} encounter types are more than {MAX_TYPES}", reason="FIELD_INVALID", field=field
            )
        types = sorted({check_text(name, field, shortest=1, longest=64) for name in names})
        for name in types:
            if not self._store.has_encounter_type(name):
                known = self._store.encounter_types()
                shown = ", ".join(known[:_SHOWN]) + (", ..." if len(known) > _SHOWN else "")
                raise NotFound(
                    f"no encounter is of type {name!r}; there are: {shown or 'none yet'}",
                    reason="ENCOUNTER_TYPE_NOT_FOUND",
                    field=field,
                )
        return tuple(types)
