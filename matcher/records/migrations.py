"""The records of a change of model: templates of the next one beside those that searches see, and the switch.

1. ``begin`` notes the algorithm to change to. Whoever extracts asks for samples without a successor (``pending``) and
   saves what it made of them (``save``). Searches and restarts see none of it.
2. ``switch``, one transaction, names the next algorithm as the one that searches see, and logs the change. Nothing is
   copied: from then on a sample's template is that of its successor (``effective``).
3. ``settle`` moves successors into the table of samples, some at a time; what was there is overwritten.

A process may be killed anywhere: the rows say how far it was. A sample without a successor at the switch stays on
record with its old template, which no search sees; ``left_out`` says why.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from sqlalchemy import ColumnElement, Engine, Select, and_, case, delete, exists, func, insert, or_, select, update
from sqlalchemy.engine import Connection
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.orm import aliased

from matcher.changes import OwnedReference, Reference
from matcher.errors import ModelMismatch, StorageFailure
from matcher.positions import Modality, Position
from matcher.records.entries import MigrationProgress, StoredSample, Successor, UnmigratedSample
from matcher.records.models import EncounterRow, MigrationRow, ModelRow, SampleRow, SubjectRow, SuccessorRow
from matcher.templates import Template, template_from_bytes

_ALGORITHMS = select(ModelRow.__table__.c.modality, ModelRow.__table__.c.algorithm)
"""Made once: every enrolment asks."""
_PAGE = 1000


class MigrationRecords:
    """See the module. Writing methods are for the store's writing thread; reading ones are thread-safe.

    Args:
        writer, reader: of the record store.
        log_switch: writes a row of the change log and returns its LSN.
        clock: naive UTC now.
    """

    def __init__(
        self,
        writer: Engine,
        reader: Engine,
        log_switch: Callable[[Connection, str, datetime.datetime], int],
        clock: Callable[[], datetime.datetime],
    ) -> None:
        self._writer = writer
        self._reader = reader
        self._log_switch = log_switch
        self._clock = clock

    @contextmanager
    def _writing(self) -> Iterator[Connection]:
        try:
            with self._writer.begin() as connection:
                yield connection
        except SQLAlchemyError as error:
            cause = error.orig if isinstance(error, DBAPIError) else type(error).__name__
            raise StorageFailure(f"the change of model could not be written, nothing was changed: {cause}") from error

    # Writing

    def begin(self, modality: Modality, algorithm: str) -> None:
        """Notes the algorithm to change to; goes on where it was noted before, and drops what was made for another."""
        with self._writing() as connection:
            noted = _target(connection, modality)
            if noted == algorithm:
                return
            self._drop(connection, modality)
            row = {"modality": modality.value, "algorithm": algorithm, "started_at": self._clock()}
            connection.execute(insert(MigrationRow).values(row))

    def cancel(self, modality: Modality) -> None:
        """Drops the change that is being prepared with everything made for it."""
        with self._writing() as connection:
            self._drop(connection, modality)

    def _drop(self, connection: Connection, modality: Modality) -> None:
        noted = _target(connection, modality)
        if noted is not None:
            connection.execute(delete(SuccessorRow).where(SuccessorRow.algorithm == noted))
            connection.execute(delete(MigrationRow).where(MigrationRow.modality == modality.value))

    def save(self, algorithm: str, successors: Sequence[Successor]) -> None:
        """Saves what an algorithm made of samples; those deleted in the meantime are passed over."""
        with self._writing() as connection:
            on_record = set(
                connection.scalars(select(SampleRow.id).where(SampleRow.id.in_([s.sample for s in successors])))
            )
            rows = [
                {
                    "algorithm": algorithm,
                    "sample": s.sample,
                    "quality": s.quality,
                    "template": None if s.template is None else s.template.to_bytes(),
                    "reason": s.reason,
                    "message": s.message[:1000],
                }
                for s in successors
                if s.sample in on_record
            ]
            if rows:
                connection.execute(insert(SuccessorRow), rows)

    def forget_failures(self, algorithm: str) -> None:
        """Makes samples that failed pending again."""
        with self._writing() as connection:
            connection.execute(
                delete(SuccessorRow).where(SuccessorRow.algorithm == algorithm, SuccessorRow.reason != "")
            )

    def switch(self, modality: Modality, algorithm: str, transaction_id: str) -> int:
        """Makes the algorithm the one that searches see; returns the LSN of the change."""
        with self._writing() as connection:
            # Reasons of an earlier change are those of a model that nobody searches with any more.
            old = select(ModelRow.algorithm).where(ModelRow.modality == modality.value)
            connection.execute(delete(SuccessorRow).where(SuccessorRow.algorithm.in_(old)))
            connection.execute(delete(ModelRow).where(ModelRow.modality == modality.value))
            connection.execute(insert(ModelRow).values(modality=modality.value, algorithm=algorithm))
            connection.execute(delete(MigrationRow).where(MigrationRow.modality == modality.value))
            return self._log_switch(connection, transaction_id, self._clock())

    def settle(self, limit: int) -> int:
        """Moves up to ``limit`` successors that searches see into the table of samples; returns how many it were."""
        with self._writing() as connection:
            rows = connection.execute(_unsettled().limit(limit)).all()
            for row in rows:
                values = {"algorithm": row.algorithm, "quality": row.quality, "template": row.template}
                connection.execute(update(SampleRow).where(SampleRow.id == row.sample).values(values))
                connection.execute(delete(SuccessorRow).where(SuccessorRow.id == row.id))
        return len(rows)

    # Reading

    def active(self, modality: Modality) -> str | None:
        """The algorithm that searches see, where the model was ever changed."""
        with self._reader.connect() as connection:
            return active_algorithms(connection).get(modality)

    def target(self, modality: Modality) -> str | None:
        """The algorithm of the change that is being prepared."""
        with self._reader.connect() as connection:
            return _target(connection, modality)

    def is_settled(self) -> bool:
        """Whether no successor that searches see waits to be moved."""
        with self._reader.connect() as connection:
            return connection.execute(_unsettled().limit(1)).first() is None

    def pending(self, modality: Modality, algorithm: str, after: int, limit: int) -> list[StoredSample]:
        """The next samples beyond ``after``, by id, that the algorithm has not been tried on."""
        successor = exists().where(SuccessorRow.algorithm == algorithm, SuccessorRow.sample == SampleRow.id)
        with self._reader.connect() as connection:
            rows = connection.execute(
                select(SampleRow.id, SampleRow.position, SampleRow.media_type, SampleRow.sha256, SampleRow.box)
                .where(
                    SampleRow.id > after,
                    # An expression, so that SQLite walks by id and does not sort all samples for each page.
                    (SampleRow.position + 0).in_(_positions(modality)),
                    SampleRow.algorithm != algorithm,
                    ~successor,
                )
                .order_by(SampleRow.id)
                .limit(limit)
            ).all()
        return [
            StoredSample(r.id, Position(r.position), r.media_type, r.sha256, tuple(r.box) if r.box else None)
            for r in rows
        ]

    def progress(self, modality: Modality, algorithm: str) -> MigrationProgress:
        """How far the change to an algorithm is."""
        of_modality = SampleRow.position.in_(_positions(modality))
        made = select(func.count()).select_from(SuccessorRow).where(SuccessorRow.algorithm == algorithm)
        with self._reader.connect() as connection:
            samples = connection.scalar(
                select(func.count()).select_from(SampleRow).where(of_modality, SampleRow.algorithm != algorithm)
            )
            migrated = connection.scalar(made.where(SuccessorRow.reason == ""))
            failed = connection.scalar(made.where(SuccessorRow.reason != ""))
        return MigrationProgress(samples or 0, migrated or 0, failed or 0)

    def unmigrated(self, algorithm: str) -> Iterator[UnmigratedSample]:
        """Every sample that the algorithm failed on, by id."""
        after = 0
        while True:
            with self._reader.connect() as connection:
                rows = connection.execute(
                    select(
                        SuccessorRow.sample,
                        SubjectRow.subject_id,
                        EncounterRow.encounter_id,
                        SampleRow.position,
                        SampleRow.sha256,
                        SuccessorRow.reason,
                        SuccessorRow.message,
                    )
                    .join(SampleRow, SampleRow.id == SuccessorRow.sample)
                    .join(EncounterRow, EncounterRow.id == SampleRow.encounter)
                    .join(SubjectRow, SubjectRow.id == EncounterRow.subject)
                    .where(SuccessorRow.algorithm == algorithm, SuccessorRow.reason != "", SuccessorRow.sample > after)
                    .order_by(SuccessorRow.sample)
                    .limit(_PAGE)
                ).all()
            for r in rows:
                yield UnmigratedSample(
                    r.sample, r.subject_id, r.encounter_id, Position(r.position), r.sha256, r.reason, r.message
                )
            if len(rows) < _PAGE:
                return
            after = int(rows[-1].sample)

    def subjects_missed(self, modality: Modality, algorithm: str) -> int:
        """Subjects with samples of the modality none of which the algorithm's searches would see."""
        other, of_other, made = aliased(SampleRow), aliased(EncounterRow), aliased(SuccessorRow)
        has_template = exists().where(made.algorithm == algorithm, made.sample == other.id, made.reason == "")
        is_seen = (
            exists()
            .where(
                of_other.subject == EncounterRow.subject,
                other.encounter == of_other.id,
                other.position.in_(_positions(modality)),
                or_(other.algorithm == algorithm, has_template),
            )
            .correlate(EncounterRow)
        )
        with self._reader.connect() as connection:
            return (
                connection.scalar(
                    select(func.count(EncounterRow.subject.distinct()))
                    .select_from(SuccessorRow)
                    .join(SampleRow, SampleRow.id == SuccessorRow.sample)
                    .join(EncounterRow, EncounterRow.id == SampleRow.encounter)
                    .where(SuccessorRow.algorithm == algorithm, SuccessorRow.reason != "", ~is_seen)
                )
                or 0
            )

    def references(self, modality: Modality, algorithm: str) -> Iterator[Sequence[OwnedReference]]:
        """What searches see once the algorithm is switched to, in groups. For the writing thread, so that no change
        comes in between."""
        after = 0
        while True:
            with self._reader.connect() as connection:
                rows = connection.execute(
                    select(
                        SampleRow.id,
                        SampleRow.position,
                        SubjectRow.subject_id,
                        EncounterRow.encounter_id,
                        case((SampleRow.algorithm == algorithm, SampleRow.template), else_=SuccessorRow.template).label(
                            "template"
                        ),
                    )
                    .join(EncounterRow, EncounterRow.id == SampleRow.encounter)
                    .join(SubjectRow, SubjectRow.id == EncounterRow.subject)
                    .outerjoin(
                        SuccessorRow, and_(SuccessorRow.algorithm == algorithm, SuccessorRow.sample == SampleRow.id)
                    )
                    .where(SampleRow.id > after, (SampleRow.position + 0).in_(_positions(modality)))
                    .order_by(SampleRow.id)
                    .limit(_PAGE)
                ).all()
            group = [
                OwnedReference(
                    r.subject_id,
                    r.encounter_id,
                    Reference(r.id, Position(r.position), template_from_bytes(r.template)),
                )
                for r in rows
                if r.template is not None
            ]
            if group:
                yield group
            if len(rows) < _PAGE:
                return
            after = int(rows[-1].id)


def check_active(connection: Connection, templates: Sequence[Template]) -> None:
    """Raises ModelMismatch for a template that searches would not see since the model was changed."""
    active = active_algorithms(connection)
    for template in templates:
        algorithm = active.get(template.modality, template.algorithm)
        if template.algorithm != algorithm:
            raise ModelMismatch(
                f"the {template.modality} model of these records was changed to {algorithm!r}, this template is of "
                f"{template.algorithm!r} and would not be found; extract it with that model, or change the model again "
                "(ambis models migrate)"
            )


def active_algorithms(connection: Connection) -> Mapping[Modality, str]:
    """The algorithm that searches see, for modalities whose model was ever changed."""
    return {Modality(m): a for m, a in connection.execute(_ALGORITHMS).all()}


def join_active(statement: Select[*tuple[Any, ...]], active: Mapping[Modality, str]) -> Select[*tuple[Any, ...]]:
    """Joins each sample of a statement with the successor that searches see, where there is one."""
    seen: ColumnElement[bool] = SuccessorRow.algorithm.in_(sorted(active.values()))
    return statement.outerjoin(SuccessorRow, and_(SuccessorRow.sample == SampleRow.id, seen))


def sees(active: Mapping[Modality, str], position: Position, algorithm: str) -> bool:
    """Whether searches see a sample's template of an algorithm."""
    return active.get(position.modality, algorithm) == algorithm


def delete_successors(connection: Connection, encounter: int) -> None:
    """Of all samples of an encounter that is being deleted."""
    samples = select(SampleRow.id).where(SampleRow.encounter == encounter)
    connection.execute(delete(SuccessorRow).where(SuccessorRow.sample.in_(samples)))


def _target(connection: Connection, modality: Modality) -> str | None:
    found: str | None = connection.scalar(select(MigrationRow.algorithm).where(MigrationRow.modality == modality.value))
    return found


def _unsettled() -> Select[*tuple[Any, ...]]:
    return select(
        SuccessorRow.id, SuccessorRow.sample, SuccessorRow.algorithm, SuccessorRow.quality, SuccessorRow.template
    ).where(SuccessorRow.algorithm.in_(select(ModelRow.algorithm)), SuccessorRow.reason == "")


def _positions(modality: Modality) -> list[int]:
    return [int(p) for p in Position if p.modality is modality]
