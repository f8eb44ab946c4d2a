"""Takes a data folder of an earlier schema version to the present one, within the transaction that opens it."""

from __future__ import annotations

from sqlalchemy import select, update
from sqlalchemy.engine import Connection

from matcher.errors import AmbisError, PreconditionFailed
from matcher.positions import Position
from matcher.records.models import SCHEMA_VERSION, Base, EncounterRow, SampleRow, SchemaRow
from matcher.templates import template_from_bytes

_PAGE = 1000


def upgrade(connection: Connection, version: int) -> None:
    """Brings tables that exist up to date; those that were missing have been made.

    Args:
        version: what the file has.

    Raises:
        PreconditionFailed (SCHEMA_VERSION): it is of no version that can be taken on; nothing was changed.
    """
    if not 1 <= version <= SCHEMA_VERSION:
        raise PreconditionFailed(
            f"the data folder has schema {version}, this version of AMBIS needs {SCHEMA_VERSION}; "
            "use the AMBIS that wrote it, or load the records anew",
            reason="SCHEMA_VERSION",
        )
    if version < 2:
        _check_readable(connection)
        connection.exec_driver_sql("ALTER TABLE samples ADD COLUMN box JSON")
        _make_indexes(connection, SampleRow)
    if version < 3:
        connection.exec_driver_sql("ALTER TABLE encounters ADD COLUMN sex INTEGER DEFAULT 0 NOT NULL")
        connection.exec_driver_sql("ALTER TABLE encounters ADD COLUMN birth_year INTEGER DEFAULT 0 NOT NULL")
        _make_indexes(connection, EncounterRow)
    connection.execute(update(SchemaRow).values(version=SCHEMA_VERSION))


def _make_indexes(connection: Connection, table: type[Base]) -> None:
    for index in Base.metadata.tables[table.__tablename__].indexes:
        index.create(connection, checkfirst=True)


def _check_readable(connection: Connection) -> None:
    """Raises before a folder of version 1 is taken on, since the AMBIS that wrote it could not open it afterwards:
    finger and iris templates were laid out in another way."""
    for row in connection.execute(select(SampleRow.position, SampleRow.template).execution_options(yield_per=_PAGE)):
        try:
            template_from_bytes(row.template)
        except AmbisError as error:
            modality = Position(row.position).modality
            raise PreconditionFailed(
                f"the data folder has {modality} templates of an earlier AMBIS, which this version does not read "
                f"({error.message}). Nothing was changed: go on with the AMBIS that wrote the folder, or enrol the "
                "images anew into an empty one",
                reason="SCHEMA_VERSION",
            ) from None
