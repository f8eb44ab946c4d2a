"""What the record store tells the shards: one change per log sequence number (LSN)."""

from __future__ import annotations

import dataclasses

from matcher.filters import Sex
from matcher.positions import Position
from matcher.templates import Template


@dataclasses.dataclass(frozen=True)
class Reference:
    """One template on record.

    Attributes:
        reference_id: unique in the record store, never reused.
        position: which finger, face or eye.
        template: its features.
    """

    reference_id: int
    position: Position
    template: Template


@dataclasses.dataclass(frozen=True)
class OwnedReference:
    """A reference of an encounter that the shards know."""

    subject_id: str
    encounter_id: str
    reference: Reference


@dataclasses.dataclass(frozen=True)
class EncounterEnrolled:
    """An encounter was put on record, for a new subject or one on record.

    Attributes:
        sex, birth_year, encounter_type: what searches may be restricted by; ``birth_year`` 0: not known.
    """

    lsn: int
    subject_id: str
    encounter_id: str
    galleries: tuple[str, ...]
    references: tuple[Reference, ...]
    sex: Sex = Sex.UNKNOWN
    birth_year: int = 0
    encounter_type: str = ""


@dataclasses.dataclass(frozen=True)
class SubjectDeleted:
    """A subject was deleted with everything on record of it."""

    lsn: int
    subject_id: str


Change = EncounterEnrolled | SubjectDeleted
