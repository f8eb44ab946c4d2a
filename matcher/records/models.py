"""The tables. One database file holds everything but the samples, which lie in content-addressed files beside it."""

from __future__ import annotations

import datetime

from sqlalchemy import JSON, DateTime, ForeignKey, Index, Integer, LargeBinary, String, UniqueConstraint
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

SCHEMA_VERSION = 1


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
    """One capture event of a subject. ``lsn``: the change that put it on record."""

    __tablename__ = "encounters"
    __table_args__ = (UniqueConstraint("subject", "encounter_id"),)

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    subject: Mapped[int] = mapped_column(ForeignKey("subjects.id"))
    encounter_id: Mapped[str] = mapped_column(String(128))
    encounter_type: Mapped[str] = mapped_column(String(64))
    galleries: Mapped[list[str]] = mapped_column(JSON)
    context: Mapped[dict[str, str]] = mapped_column(JSON)
    lsn: Mapped[int] = mapped_column(Integer, unique=True)
    created_at: Mapped[datetime.datetime] = mapped_column(DateTime)


class SampleRow(Base):
    """One sample and its template. ``id`` is the reference id of the indexes and is never reused.

    ``sha256`` is empty where no sample is kept (a template was enrolled, or the operator keeps none).
    """

    __tablename__ = "samples"
    __table_args__ = (
        Index("samples_encounter", "encounter"),
        Index("samples_sha256", "sha256"),
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
