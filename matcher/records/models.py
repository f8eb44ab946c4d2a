"""The tables. One database file holds everything but the samples, which lie in content-addressed files beside it."""

from __future__ import annotations

import datetime

from sqlalchemy import JSON, DateTime, ForeignKey, Index, Integer, LargeBinary, String, UniqueConstraint, text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

SCHEMA_VERSION = 3
"""2 has what a change of model needs: its tables, an index, and ``box``; 3 what searches are restricted by. A file of
an earlier version gets them when it is opened; see ``upgrade``."""


class Base(DeclarativeBase):
    """Base of all tables."""


class SchemaRow(Base):
    """Which schema the file has; one row."""

    __tablename__ = "schema"

    version: Mapped[int] = mapped_column(Integer, primary_key=True)


class SubjectRow(Base):
    """A person."""

    __tablename__ = "subjects"

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    subject_id: Mapped[str] = mapped_column(String(128), unique=True)
    created_at: Mapped[datetime.datetime] = mapped_column(DateTime)


class EncounterRow(Base):
    """One capture event of a subject. ``lsn``: the change that put it on record. ``sex``, ``birth_year``: 0 where they
    are not known, as in files of before version 3."""

    __tablename__ = "encounters"
    __table_args__ = (UniqueConstraint("subject", "encounter_id"), Index("encounters_type", "encounter_type"))

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    subject: Mapped[int] = mapped_column(ForeignKey("subjects.id"))
    encounter_id: Mapped[str] = mapped_column(String(128))
    encounter_type: Mapped[str] = mapped_column(String(64))
    galleries: Mapped[list[str]] = mapped_column(JSON)
    context: Mapped[dict[str, str]] = mapped_column(JSON)
    lsn: Mapped[int] = mapped_column(Integer, unique=True)
    created_at: Mapped[datetime.datetime] = mapped_column(DateTime)
    sex: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    birth_year: Mapped[int] = mapped_column(Integer, server_default=text("0"))


class SampleRow(Base):
    """One sample and its template. ``id`` is the reference id of the indexes and is never reused.

    ``sha256`` is empty where no sample is kept (a template was enrolled, or the operator keeps none). ``box``: left,
    top, right and bottom, in pixels, of what the template was made of, where the image may show more than one.
    """

    __tablename__ = "samples"
    __table_args__ = (
        Index("samples_encounter", "encounter"),
        Index("samples_sha256", "sha256"),
        Index("samples_model", "position", "algorithm"),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    encounter: Mapped[int] = mapped_column(ForeignKey("encounters.id"))
    position: Mapped[int] = mapped_column(Integer)
    media_type: Mapped[str] = mapped_column(String(64))
    sha256: Mapped[str] = mapped_column(String(64))
    quality: Mapped[int | None] = mapped_column(Integer)
    algorithm: Mapped[str] = mapped_column(String(64))
    template: Mapped[bytes] = mapped_column(LargeBinary)
    box: Mapped[list[float] | None] = mapped_column(JSON(none_as_null=True))


class ModelRow(Base):
    """The algorithm whose templates of a modality searches see. No row: the modality's model was never changed, and
    they see all."""

    __tablename__ = "models"

    modality: Mapped[str] = mapped_column(String(16), primary_key=True)
    algorithm: Mapped[str] = mapped_column(String(64))


class MigrationRow(Base):
    """A change of model that is being prepared: the algorithm that stored samples are extracted for."""

    __tablename__ = "migrations"

    modality: Mapped[str] = mapped_column(String(16), primary_key=True)
    algorithm: Mapped[str] = mapped_column(String(64))
    started_at: Mapped[datetime.datetime] = mapped_column(DateTime)


class SuccessorRow(Base):
    """What another algorithm made of a sample: a template that waits for the change of model, or why there is none.

    After the change templates move into ``samples``; the reasons stay, since these samples are left out of searches.
    """

    __tablename__ = "successors"
    __table_args__ = (
        Index("successors_key", "algorithm", "sample", unique=True),
        Index("successors_reason", "algorithm", "reason"),
        Index("successors_sample", "sample"),
    )

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    algorithm: Mapped[str] = mapped_column(String(64))
    sample: Mapped[int] = mapped_column(ForeignKey("samples.id"))
    quality: Mapped[int | None] = mapped_column(Integer)
    template: Mapped[bytes | None] = mapped_column(LargeBinary)
    reason: Mapped[str] = mapped_column(String(64))
    message: Mapped[str] = mapped_column(String(1000))


class ChangeRow(Base):
    """The change log. An LSN is never reused (AUTOINCREMENT), also after a deletion."""

    __tablename__ = "changes"
    __table_args__ = ({"sqlite_autoincrement": True},)

    lsn: Mapped[int] = mapped_column(Integer, primary_key=True)
    kind: Mapped[str] = mapped_column(String(16))
    subject_id: Mapped[str] = mapped_column(String(128))
    encounter_id: Mapped[str] = mapped_column(String(128))
    transaction_id: Mapped[str] = mapped_column(String(128))
    at: Mapped[datetime.datetime] = mapped_column(DateTime)


class IdempotencyRow(Base):
    """What was acknowledged under an idempotency key: the same answer is given again."""

    __tablename__ = "idempotency"
    __table_args__ = (Index("idempotency_subject", "subject_id"),)

    key: Mapped[str] = mapped_column(String(128), primary_key=True)
    request_sha256: Mapped[str] = mapped_column(String(64))
    subject_id: Mapped[str] = mapped_column(String(128))
    encounter_id: Mapped[str] = mapped_column(String(128))
    lsn: Mapped[int] = mapped_column(Integer)
    receipt: Mapped[bytes] = mapped_column(LargeBinary)


class GalleryRow(Base):
    """Names of galleries that were ever enrolled into; bounded, because an index filters by a bit for each."""

    __tablename__ = "galleries"

    name: Mapped[str] = mapped_column(String(64), primary_key=True)


class DoomedFileRow(Base):
    """Sample files that a deletion must still remove; survives a crash between commit and removal."""

    __tablename__ = "doomed_files"

    sha256: Mapped[str] = mapped_column(String(64), primary_key=True)
