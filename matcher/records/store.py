"""The record store on SQLite: transactions, change log, reading back.

WAL with synchronous=FULL: what is committed survives a power cut. One connection writes (SQLite before 3.51.3 can
corrupt the WAL with two writers), readers have their own. The store is not a queue: ``committer`` feeds it groups of
changes.
"""

from __future__ import annotations

import dataclasses
import datetime
import fcntl
import hashlib
import logging
import os
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, cast

from sqlalchemy import Engine, Table, bindparam, create_engine, delete, event, func, insert, select, update
from sqlalchemy.engine import Connection
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.pool import QueuePool, StaticPool

from matcher.changes import Change, EncounterEnrolled, Reference, SubjectDeleted
from matcher.errors import AlreadyExists, AmbisError, InvalidInput, NotFound, PreconditionFailed, StorageFailure
from matcher.filters import Sex
from matcher.positions import Position
from matcher.records.entries import (
    Deletion,
    EncounterSummary,
    NewEncounter,
    Receipt,
    SampleSummary,
    SubjectMode,
    SubjectSummary,
)
from matcher.records.migrations import (
    MigrationRecords,
    active_algorithms,
    check_active,
    delete_successors,
    join_active,
    sees,
)
from matcher.records.models import (
    SCHEMA_VERSION,
    Base,
    ChangeRow,
    DoomedFileRow,
    EncounterRow,
    GalleryRow,
    IdempotencyRow,
    SampleRow,
    SchemaRow,
    SubjectRow,
    SuccessorRow,
)
from matcher.records.sample_files import SampleFiles
from matcher.records.upgrade import upgrade
from matcher.roster import MAX_GALLERIES
from matcher.templates import template_from_bytes

log = logging.getLogger(__name__)

ENROLLED = "enrolled"
DELETED = "deleted"
MODEL_CHANGED = "model changed"
_PAGE = 1000

# Statements of an enrolment, made once, of tables and not of the classes mapped to them: to make one takes longer than
# to run it, and an enrolment runs ten.
_receipts, _galleries, _subjects, _encounters, _changes, _samples = (
    cast("Table", row.__table__) for row in (IdempotencyRow, GalleryRow, SubjectRow, EncounterRow, ChangeRow, SampleRow)
)
_RECEIPT = select(_receipts).where(_receipts.c.key == bindparam("known"))
_GALLERIES = select(_galleries.c.name)
_SUBJECT = select(_subjects.c.id).where(_subjects.c.subject_id == bindparam("known"))
_ENCOUNTER = select(_encounters.c.id).where(
    _encounters.c.subject == bindparam("of"), _encounters.c.encounter_id == bindparam("known")
)
_PUT_RECEIPT, _PUT_SUBJECT, _PUT_ENCOUNTER, _PUT_CHANGE = map(insert, (_receipts, _subjects, _encounters, _changes))
_PUT_SAMPLES = insert(_samples).returning(_samples.c.id, sort_by_parameter_order=True)


def utc_now() -> datetime.datetime:
    """The clock of the record store; naive UTC, as SQLite keeps it."""
    return datetime.datetime.now(datetime.UTC).replace(tzinfo=None)


class RecordStore:
    """The records of one data folder. Writing methods are for one thread at a time; reading ones are thread-safe.

    Args:
        folder: made when absent; locked against a second process for as long as the store is open.
        keep_samples: False keeps templates only.
        clock: naive UTC now.

    Raises:
        PreconditionFailed: another process uses the folder, or its schema is of another version.
        StorageFailure: it cannot be read or written.
    """

    def __init__(
        self, folder: Path, *, keep_samples: bool = True, clock: Callable[[], datetime.datetime] = utc_now
    ) -> None:
        self._clock = clock
        self._keep_samples = keep_samples
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)  # biometric data: nobody else's to read
            self._lock = _lock_folder(folder)
            self.files = SampleFiles(folder / "samples")
            path = folder / "records.sqlite"
            marker = folder / "ambis.folder"
            if marker.exists() and not (path.exists() and path.stat().st_size):
                os.close(self._lock)
                raise StorageFailure(
                    f"{path} is missing or empty, but the folder had records: restore them from a backup. Starting "
                    "without them would answer NO HIT to everything"
                )
            self._writer = _engine(path, single=True)
            self._reader = _engine(path, single=False)
            self._open_schema()
            self.migrations = MigrationRecords(self._writer, self._reader, self._log_model_change, clock)
            marker.touch()
            self._remove_doomed()
        except (OSError, SQLAlchemyError) as error:
            raise StorageFailure(f"the data folder {folder} cannot be used: {_cause(error)}") from error

    def close(self) -> None:
        """Closes connections and unlocks the folder."""
        self._reader.dispose()
        self._writer.dispose()
        os.close(self._lock)

    def _open_schema(self) -> None:
        with self._writer.begin() as connection:
            Base.metadata.create_all(connection)
            version = connection.scalar(select(SchemaRow.version))
            if version is None:
                connection.execute(insert(SchemaRow).values(version=SCHEMA_VERSION))
            elif version != SCHEMA_VERSION:
                upgrade(connection, version)

    # Writing: one thread at a time.

    def enrol(self, encounters: Sequence[NewEncounter]) -> list[tuple[Receipt, EncounterEnrolled | None] | AmbisError]:
        """Puts encounters on record in one transaction; a refused one leaves the others untouched.

        Returns:
            In order, the receipt with the change to apply (None for a replay), or the error that refused the encounter.

        Raises:
            StorageFailure: nothing of all this is on record.
        """
        outcomes: list[tuple[Receipt, EncounterEnrolled | None] | AmbisError] = []
        try:
            with self._writer.begin() as connection:
                accepted: list[NewEncounter] = []
                for encounter in encounters:
                    try:
                        with connection.begin_nested():
                            receipt, change = self._enrol_one(connection, encounter)
                    except AmbisError as refused:
                        outcomes.append(refused)
                        continue
                    outcomes.append((receipt, change))
                    if change is not None:
                        accepted.append(encounter)
                if self._keep_samples:  # on disk before the commit that names them; none for what was refused
                    self.files.write(s.data for e in accepted for s in e.samples if s.data is not None)
        except (OSError, SQLAlchemyError) as error:
            log.exception("the records could not be written")
            raise StorageFailure(f"the records could not be written, nothing was enrolled: {_cause(error)}") from error
        return outcomes

    def _enrol_one(self, connection: Connection, new: NewEncounter) -> tuple[Receipt, EncounterEnrolled | None]:
        known = _find_receipt(connection, new.idempotency_key, new.request_sha256)
        if known is not None:
            return known, None
        if not new.galleries:
            raise InvalidInput("the encounter belongs to no gallery, so no search would find it", field="galleries")
        check_active(connection, [s.template for s in new.samples])
        now = self._clock()
        self._register_galleries(connection, new.galleries)
        subject = self._subject_row(connection, new, now)
        if connection.scalar(_ENCOUNTER, {"of": subject, "known": new.encounter_id}) is not None:
            raise AlreadyExists(
                f"subject {new.subject_id!r} has an encounter {new.encounter_id!r} already; use another encounter_id, "
                "or the first request's idempotency key to repeat it",
                reason="ENCOUNTER_EXISTS",
                field="encounter.encounter_id",
            )
        lsn = self._log(connection, ENROLLED, new.subject_id, new.encounter_id, new.transaction_id, now)
        row: dict[str, Any] = {
            "subject": subject,
            "encounter_id": new.encounter_id,
            "encounter_type": new.encounter_type,
            "galleries": list(new.galleries),
            "context": dict(new.context),
            "lsn": lsn,
            "created_at": now,
            "sex": int(new.sex),
            "birth_year": new.birth_year,
        }
        encounter = _key(connection.execute(_PUT_ENCOUNTER, row))
        references = self._add_samples(connection, encounter, new)
        receipt = {
            "key": new.idempotency_key,
            "request_sha256": new.request_sha256,
            "subject_id": new.subject_id,
            "encounter_id": new.encounter_id,
            "lsn": lsn,
            "receipt": new.receipt,
        }
        connection.execute(_PUT_RECEIPT, receipt)
        change = EncounterEnrolled(
            lsn,
            new.subject_id,
            new.encounter_id,
            new.galleries,
            references,
            new.sex,
            new.birth_year,
            new.encounter_type,
        )
        return Receipt(new.subject_id, new.encounter_id, lsn, False, new.receipt), change

    def _add_samples(self, connection: Connection, encounter: int, new: NewEncounter) -> tuple[Reference, ...]:
        rows = []
        for sample in new.samples:
            kept = sample.data if self._keep_samples else None
            row = {
                "encounter": encounter,
                "position": int(sample.position),
                "media_type": "" if kept is None else sample.media_type,
                "sha256": "" if kept is None else hashlib.sha256(kept).hexdigest(),
                "quality": sample.quality,
                "algorithm": sample.template.algorithm,
                "template": sample.template.to_bytes(),
                "box": None if sample.box is None else list(sample.box),
            }
            rows.append(row)
        if not rows:
            return ()
        numbers = connection.scalars(_PUT_SAMPLES, rows).all()
        for row in rows:
            if row["sha256"]:  # a deletion may be about to remove the same bytes
                connection.execute(delete(DoomedFileRow).where(DoomedFileRow.sha256 == row["sha256"]))
        return tuple(Reference(n, s.position, s.template) for n, s in zip(numbers, new.samples, strict=True))

    def _subject_row(self, connection: Connection, new: NewEncounter, now: datetime.datetime) -> int:
        found: int | None = connection.scalar(_SUBJECT, {"known": new.subject_id})
        check_mode(new.subject_id, new.mode, known=found is not None)
        if found is not None:
            return found
        return _key(connection.execute(_PUT_SUBJECT, {"subject_id": new.subject_id, "created_at": now}))

    def _register_galleries(self, connection: Connection, names: Sequence[str]) -> None:
        known = set(connection.scalars(_GALLERIES))
        missing = sorted(set(names) - known)
        if len(known) + len(missing) > MAX_GALLERIES:
            raise PreconditionFailed(
                f"there are {len(known)} galleries and {MAX_GALLERIES} at most; use one of {', '.join(sorted(known))}",
                reason="TOO_MANY_GALLERIES",
                field="encounter.galleries",
            )
        for name in missing:
            connection.execute(insert(GalleryRow).values(name=name))

    def _log(
        self, connection: Connection, kind: str, subject: str, encounter: str, transaction: str, now: datetime.datetime
    ) -> int:
        row = {
            "kind": kind,
            "subject_id": subject,
            "encounter_id": encounter,
            "transaction_id": transaction,
            "at": now,
        }
        return _key(connection.execute(_PUT_CHANGE, row))

    def _log_model_change(self, connection: Connection, transaction: str, now: datetime.datetime) -> int:
        return self._log(connection, MODEL_CHANGED, "", "", transaction, now)

    def delete_subject(self, subject_id: str, transaction_id: str) -> tuple[Deletion, SubjectDeleted]:
        """Deletes a subject with encounters, templates and sample files.

        Raises:
            NotFound: the subject is not on record.
            StorageFailure: nothing was deleted.
        """
        try:
            with self._writer.begin() as connection:
                subject = connection.scalar(_SUBJECT, {"known": subject_id})
                if subject is None:
                    raise NotFound(
                        f"subject {subject_id!r} is not on record", reason="SUBJECT_NOT_FOUND", field="subject_id"
                    )
                encounters = list(connection.scalars(select(EncounterRow.id).where(EncounterRow.subject == subject)))
                for encounter in encounters:
                    self._delete_encounter(connection, encounter)
                # The keys stay, emptied: a late repetition must not bring a deleted subject back.
                emptied = {"subject_id": "", "encounter_id": "", "receipt": b""}
                connection.execute(
                    update(IdempotencyRow).where(IdempotencyRow.subject_id == subject_id).values(emptied)
                )
                connection.execute(delete(SubjectRow).where(SubjectRow.id == subject))
                lsn = self._log(connection, DELETED, subject_id, "", transaction_id, self._clock())
        except SQLAlchemyError as error:
            log.exception("the records could not be written")
            raise StorageFailure(f"the records could not be written, nothing was deleted: {_cause(error)}") from error
        try:
            self._remove_doomed()
        except (OSError, SQLAlchemyError):
            log.exception("samples of a deleted subject could not be removed yet; the next deletion or start does it")
        return Deletion(lsn, len(encounters)), SubjectDeleted(lsn, subject_id)

    def _delete_encounter(self, connection: Connection, encounter: int) -> None:
        hashes = set(connection.scalars(select(SampleRow.sha256).where(SampleRow.encounter == encounter))) - {""}
        delete_successors(connection, encounter)
        connection.execute(delete(SampleRow).where(SampleRow.encounter == encounter))
        connection.execute(delete(EncounterRow).where(EncounterRow.id == encounter))
        for sha256 in hashes:
            if connection.scalar(select(SampleRow.id).where(SampleRow.sha256 == sha256).limit(1)) is None:
                connection.execute(insert(DoomedFileRow).prefix_with("OR IGNORE").values(sha256=sha256))

    def _remove_doomed(self) -> None:
        with self._writer.begin() as connection:
            doomed = list(connection.scalars(select(DoomedFileRow.sha256)))
            if doomed:
                self.files.remove(doomed)
                connection.execute(delete(DoomedFileRow))

    # Reading: any thread.

    def seen(self, idempotency_key: str, request_sha256: str, subject_id: str) -> tuple[Receipt | None, bool]:
        """What was acknowledged under a key, or None, and whether the subject is on record: both of one moment.

        Raises:
            PreconditionFailed: the key stands for other content.
        """
        with self._reader.connect() as connection:
            receipt = _find_receipt(connection, idempotency_key, request_sha256)
            return receipt, connection.scalar(_SUBJECT, {"known": subject_id}) is not None

    def has_subject(self, subject_id: str) -> bool:
        """Whether a subject is on record."""
        with self._reader.connect() as connection:
            return connection.scalar(_SUBJECT, {"known": subject_id}) is not None

    def subject(self, subject_id: str) -> SubjectSummary:
        """What is on record of a subject; raises NotFound."""
        with self._reader.connect() as connection:
            subject = connection.execute(select(SubjectRow).where(SubjectRow.subject_id == subject_id)).first()
            if subject is None:
                raise NotFound(
                    f"subject {subject_id!r} is not on record", reason="SUBJECT_NOT_FOUND", field="subject_id"
                )
            encounters = connection.execute(
                select(EncounterRow).where(EncounterRow.subject == subject.id).order_by(EncounterRow.lsn)
            ).all()
            summaries = []
            for encounter in encounters:
                samples = _sample_summaries(connection, encounter.id)
                summaries.append(
                    EncounterSummary(
                        encounter.encounter_id,
                        encounter.encounter_type,
                        tuple(encounter.galleries),
                        encounter.context,
                        encounter.created_at,
                        samples,
                        Sex(encounter.sex),
                        encounter.birth_year,
                    )
                )
            return SubjectSummary(subject.subject_id, subject.created_at, tuple(summaries))

    def galleries(self) -> set[str]:
        """Names of all galleries that were ever enrolled into."""
        with self._reader.connect() as connection:
            return set(connection.scalars(select(GalleryRow.name)))

    def has_encounter_type(self, name: str) -> bool:
        """Whether any encounter on record is of this type."""
        with self._reader.connect() as connection:
            found = select(EncounterRow.id).where(EncounterRow.encounter_type == name).limit(1)
            return connection.scalar(found) is not None

    def encounter_types(self) -> list[str]:
        """The types of all encounters on record, in order, without the empty one. Reads as many rows of an index as
        there are encounters."""
        with self._reader.connect() as connection:
            found = select(EncounterRow.encounter_type).where(EncounterRow.encounter_type != "").distinct()
            return sorted(connection.scalars(found))

    def counts(self) -> tuple[int, int]:
        """(subjects, encounters) on record."""
        with self._reader.connect() as connection:
            subjects = connection.scalar(select(func.count()).select_from(SubjectRow)) or 0
            encounters = connection.scalar(select(func.count()).select_from(EncounterRow)) or 0
            return subjects, encounters

    def last_lsn(self) -> int:
        """LSN of the last change on record; 0 when there is none."""
        with self._reader.connect() as connection:
            return connection.scalar(select(func.max(ChangeRow.lsn))) or 0

    def changes(self, after: int = 0) -> Iterator[Sequence[Change]]:
        """Changes with an LSN above ``after``, in order, in groups.

        Enrolments of encounters that were deleted since are left out: the deletion that follows makes them void. Those
        from before a change of model have the templates that searches see since; the change itself is left out, so that
        whoever has applied changes from before it must begin at 0.
        """
        while True:
            with self._reader.connect() as connection:
                rows = connection.execute(
                    select(ChangeRow.lsn, ChangeRow.kind, ChangeRow.subject_id)
                    .where(ChangeRow.lsn > after)
                    .order_by(ChangeRow.lsn)
                    .limit(_PAGE)
                ).all()
                if not rows:
                    return
                enrolled = {c.lsn: c for c in _enrolments(connection, first=int(rows[0].lsn), last=int(rows[-1].lsn))}
            group: list[Change] = []
            for row in rows:
                if row.kind == DELETED:
                    group.append(SubjectDeleted(row.lsn, row.subject_id))
                elif row.lsn in enrolled:
                    group.append(enrolled[row.lsn])
            after = int(rows[-1].lsn)
            if group:
                yield group


def check_mode(subject_id: str, mode: SubjectMode, *, known: bool) -> None:
    """Raises AlreadyExists or NotFound where a subject that is (not) on record contradicts the mode."""
    if known and mode is SubjectMode.NEW:
        raise AlreadyExists(
            f"subject {subject_id!r} is on record already; add an encounter with subject_mode EXISTING or ANY, or use "
            "another subject_id",
            reason="SUBJECT_EXISTS",
            field="encounter.subject_id",
        )
    if not known and mode is SubjectMode.EXISTING:
        raise NotFound(
            f"subject {subject_id!r} is not on record, so no encounter can be added to it",
            reason="SUBJECT_NOT_FOUND",
            field="encounter.subject_id",
        )


def _sample_summaries(connection: Connection, encounter: int) -> tuple[SampleSummary, ...]:
    active = active_algorithms(connection)
    statement = select(
        SampleRow.position,
        SampleRow.algorithm,
        SampleRow.quality,
        SampleRow.media_type,
        SampleRow.sha256,
        SuccessorRow.algorithm.label("next"),
        SuccessorRow.quality.label("next_quality"),
        SuccessorRow.reason,
        SuccessorRow.message,
    ).where(SampleRow.encounter == encounter)
    summaries = []
    for row in connection.execute(join_active(statement, active).order_by(SampleRow.id)).all():
        position, algorithm, quality, left_out = Position(row.position), row.algorithm, row.quality, ""
        if not sees(active, position, algorithm):
            if row.next is not None and not row.reason:
                algorithm, quality = row.next, row.next_quality
            else:
                left_out = row.message or f"it has no template of {active[position.modality]}"
        summaries.append(SampleSummary(position, algorithm, quality, row.media_type, row.sha256, left_out))
    return tuple(summaries)


def _enrolments(connection: Connection, first: int, last: int) -> list[EncounterEnrolled]:
    active = active_algorithms(connection)
    statement = (
        select(
            EncounterRow.lsn,
            SubjectRow.subject_id,
            EncounterRow.encounter_id,
            EncounterRow.galleries,
            EncounterRow.sex,
            EncounterRow.birth_year,
            EncounterRow.encounter_type,
            SampleRow.id,
            SampleRow.position,
            SampleRow.algorithm,
            SampleRow.template,
            SuccessorRow.template.label("next"),
        )
        .select_from(EncounterRow)
        .join(SubjectRow, SubjectRow.id == EncounterRow.subject)
        .join(SampleRow, SampleRow.encounter == EncounterRow.id)
        .where(EncounterRow.lsn >= first, EncounterRow.lsn <= last)
        .order_by(EncounterRow.lsn, SampleRow.id)
    )
    found: dict[int, tuple[EncounterEnrolled, list[Reference]]] = {}
    for row in connection.execute(join_active(statement, active)).all():
        position = Position(row.position)
        template = row.template if sees(active, position, row.algorithm) else row.next
        try:
            if row.lsn not in found:
                galleries, sex = tuple(row.galleries), Sex(row.sex)
                change = EncounterEnrolled(
                    row.lsn,
                    row.subject_id,
                    row.encounter_id,
                    galleries,
                    (),
                    sex,
                    row.birth_year,
                    row.encounter_type,
                )
                found[row.lsn] = change, []
            if template is None:  # left out at a change of model; the encounter is known all the same
                continue
            reference = Reference(row.id, position, template_from_bytes(template))
        except (AmbisError, ValueError) as error:
            raise StorageFailure(
                f"sample {row.id} of subject {row.subject_id!r}, encounter {row.encounter_id!r}, is damaged in the "
                f"database ({error}); restore a backup"
            ) from error
        found[row.lsn][1].append(reference)
    return [dataclasses.replace(change, references=tuple(references)) for change, references in found.values()]


def _find_receipt(connection: Connection, key: str, request_sha256: str) -> Receipt | None:
    row = connection.execute(_RECEIPT, {"known": key}).first()
    if row is None:
        return None
    if not row.subject_id:
        raise PreconditionFailed(
            f"what was enrolled under idempotency key {key!r} has been deleted since; to enrol it again on purpose, "
            "use a new key",
            reason="DELETED_SINCE",
            field="idempotency_key",
        )
    if row.request_sha256 != request_sha256:
        raise PreconditionFailed(
            f"idempotency key {key!r} was used for another request (subject {row.subject_id!r}, encounter "
            f"{row.encounter_id!r}); every encounter needs its own key",
            reason="IDEMPOTENCY_KEY_REUSED",
            field="idempotency_key",
        )
    return Receipt(row.subject_id, row.encounter_id, row.lsn, True, row.receipt)


def _key(result: Any) -> int:
    return int(result.inserted_primary_key[0])


def _cause(error: OSError | SQLAlchemyError) -> str:
    """What went wrong, without statements, values or paths, which are nobody's but the log's."""
    if isinstance(error, DBAPIError):
        return str(error.orig)
    return (error.strerror or type(error).__name__) if isinstance(error, OSError) else type(error).__name__


def _lock_folder(folder: Path) -> int:
    descriptor = os.open(folder / "ambis.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise PreconditionFailed(
            f"another AMBIS server uses the data folder {folder}; stop it, or choose another folder",
            reason="DATA_FOLDER_IN_USE",
        ) from None
    return descriptor


def _engine(path: Path, *, single: bool) -> Engine:
    options: dict[str, Any] = {"poolclass": StaticPool} if single else {"poolclass": QueuePool, "pool_size": 16}
    engine = create_engine(
        f"sqlite:///{path}", connect_args={"check_same_thread": False}, hide_parameters=True, **options
    )

    def prepare(connection: sqlite3.Connection, _: object) -> None:
        # SQLAlchemy issues BEGIN itself; the driver's own transactions break SAVEPOINT.
        connection.isolation_level = None
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA foreign_keys=ON")
        connection.execute("PRAGMA busy_timeout=10000")
        if single:
            connection.execute("PRAGMA secure_delete=ON")
        else:
            connection.execute("PRAGMA query_only=ON")
            connection.execute("PRAGMA wal_autocheckpoint=0")

    def begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE" if single else "BEGIN")

    event.listen(engine, "connect", prepare)
    event.listen(engine, "begin", begin)
    return engine
