"""What goes into the record store and what comes out, without its tables."""

from __future__ import annotations

import dataclasses
import datetime
import enum
from collections.abc import Mapping

from matcher.filters import Sex
from matcher.positions import Position
from matcher.templates import Template


class SubjectMode(enum.IntEnum):
    """Whether the subject may or must be on record; numbers as ``ambis.v1.SubjectMode``."""

    NEW = 1
    EXISTING = 2
    ANY = 3


@dataclasses.dataclass(frozen=True)
class NewSample:
    """A sample to enrol; ``data`` is None where only the template is kept.

    ``box``: left, top, right, bottom, in pixels, of what the template was made of, where an image may show more than
    one: whoever extracts it again must take the same.
    """

    position: Position
    template: Template
    quality: int | None = None
    media_type: str = ""
    data: bytes | None = None
    box: tuple[float, float, float, float] | None = None


@dataclasses.dataclass(frozen=True)
class NewEncounter:
    """An encounter to enrol, with everything that its acknowledgement promises.

    Attributes:
        idempotency_key, request_sha256: the same key with another hash is refused.
        birth_year: 0 where it is not known.
        receipt: opaque bytes that are given back when the key comes again.
    """

    transaction_id: str
    idempotency_key: str
    request_sha256: str
    subject_id: str
    encounter_id: str
    mode: SubjectMode
    encounter_type: str
    galleries: tuple[str, ...]
    context: Mapping[str, str]
    samples: tuple[NewSample, ...]
    receipt: bytes = b""
    sex: Sex = Sex.UNKNOWN
    birth_year: int = 0


@dataclasses.dataclass(frozen=True)
class Receipt:
    """What was acknowledged. ``replayed``: it had been before, and nothing was enrolled now."""

    subject_id: str
    encounter_id: str
    lsn: int
    replayed: bool
    receipt: bytes


@dataclasses.dataclass(frozen=True)
class Deletion:
    """What a deletion removed."""

    lsn: int
    encounters: int


@dataclasses.dataclass(frozen=True)
class SampleSummary:
    """A sample on record, without image or template. ``left_out``: why no search sees it; empty where they do."""

    position: Position
    algorithm: str
    quality: int | None
    media_type: str
    sha256: str
    left_out: str = ""


@dataclasses.dataclass(frozen=True)
class StoredSample:
    """A sample that a change of model has to extract again; ``sha256`` is empty where only its template is kept.
    ``box``: see ``NewSample``."""

    sample: int
    position: Position
    media_type: str
    sha256: str
    box: tuple[float, float, float, float] | None = None


@dataclasses.dataclass(frozen=True)
class Successor:
    """What the next model made of a sample: a template, or the reason why there is none."""

    sample: int
    template: Template | None
    quality: int | None = None
    reason: str = ""
    message: str = ""


@dataclasses.dataclass(frozen=True)
class MigrationProgress:
    """How far a change of model is, in samples of its modality.

    Attributes:
        samples: that have to be extracted again.
        migrated: that have a template of the next model.
        failed: that have none, with a reason.
    """

    samples: int
    migrated: int
    failed: int

    @property
    def left(self) -> int:
        """Samples not tried yet."""
        return self.samples - self.migrated - self.failed


@dataclasses.dataclass(frozen=True)
class UnmigratedSample:
    """A sample that the next model's searches would not see, and why."""

    sample: int
    subject_id: str
    encounter_id: str
    position: Position
    sha256: str
    reason: str
    message: str


@dataclasses.dataclass(frozen=True)
class EncounterSummary:
    """An encounter on record; ``birth_year`` 0: not known."""

    encounter_id: str
    encounter_type: str
    galleries: tuple[str, ...]
    context: Mapping[str, str]
    created_at: datetime.datetime
    samples: tuple[SampleSummary, ...]
    sex: Sex = Sex.UNKNOWN
    birth_year: int = 0


@dataclasses.dataclass(frozen=True)
class SubjectSummary:
    """A subject on record; times are UTC."""

    subject_id: str
    created_at: datetime.datetime
    encounters: tuple[EncounterSummary, ...]
