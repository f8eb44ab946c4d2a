"""Data folders of earlier schema versions open, with everything that was on record."""

from __future__ import annotations

import sqlite3
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from matcher.changes import EncounterEnrolled
from matcher.errors import PreconditionFailed
from matcher.filters import Sex
from matcher.positions import Modality, Position
from matcher.records.models import SCHEMA_VERSION
from matcher.records.store import RecordStore
from matcher.templates import CONTAINER_VERSION, MAGIC, FingerTemplate
from tests.matcher.records.test_migrations import NEXT, migrate, opened, pending, person, replay


def make_second_schema(folder: Path) -> None:
    """What a closed store has become since is taken away from its file."""
    with sqlite3.connect(folder / "records.sqlite") as raw:
        raw.execute("DROP INDEX encounters_type")
        for column in ("sex", "birth_year"):
            raw.execute(f"ALTER TABLE encounters DROP COLUMN {column}")
        raw.execute("UPDATE schema SET version = 2")
    raw.close()


def make_first_schema(folder: Path) -> None:
    make_second_schema(folder)
    with sqlite3.connect(folder / "records.sqlite") as raw:
        for table in ("models", "migrations", "successors"):
            raw.execute(f"DROP TABLE {table}")
        raw.execute("DROP INDEX samples_model")
        raw.execute("ALTER TABLE samples DROP COLUMN box")
        raw.execute("UPDATE schema SET version = 1")
    raw.close()


def schema(folder: Path) -> list[tuple[str, str]]:
    """Columns of every table and the indexes, whatever their order."""
    with sqlite3.connect(folder / "records.sqlite") as raw:
        tables = [name for (name,) in raw.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        columns = [(t, str(c[1:5])) for t in tables for c in raw.execute(f"PRAGMA table_info({t})")]
        indexes = [("index", name) for (name,) in raw.execute("SELECT name FROM sqlite_master WHERE type = 'index'")]
        version = [("version", str(v)) for (v,) in raw.execute("SELECT version FROM schema")]
    raw.close()
    return sorted(columns + indexes + version)


@pytest.mark.parametrize("make", [make_first_schema, make_second_schema])
def test_an_earlier_folder_becomes_one_of_this_version(tmp_path: Path, make: Callable[[Path], None]) -> None:
    store = opened(tmp_path)
    before = replay(store)
    store.close()
    new = schema(tmp_path)
    assert ("version", str(SCHEMA_VERSION)) in new
    make(tmp_path)
    assert schema(tmp_path) != new
    for _ in range(2):
        store = RecordStore(tmp_path)
        assert replay(store) == before
        changes = [c for group in store.changes() for c in group if isinstance(c, EncounterEnrolled)]
        assert {(c.sex, c.birth_year) for c in changes} == {(Sex.UNKNOWN, 0)}
        store.close()
    assert schema(tmp_path) == new


def test_a_folder_of_the_first_schema_can_change_its_model(tmp_path: Path) -> None:
    opened(tmp_path).close()
    make_first_schema(tmp_path)
    store = RecordStore(tmp_path)
    assert [s.box for s in pending(store)] == [None] * 3
    migrate(store)
    store.migrations.switch(Modality.FACE, NEXT, "t")
    store.close()
    store = RecordStore(tmp_path)
    assert store.migrations.active(Modality.FACE) == NEXT
    store.enrol([person(9, algorithm=NEXT)])
    assert store.counts() == (4, 4)
    store.close()


def test_a_folder_of_the_first_schema_with_templates_of_another_layout_stays_as_it_is(tmp_path: Path) -> None:
    opened(tmp_path).close()
    make_first_schema(tmp_path)
    payload = struct.pack("<HHH", 500, 500, 39) + bytes(7 * 39)  # of a finger in the first schema
    data = struct.pack("<4sBBHB", MAGIC, CONTAINER_VERSION, FingerTemplate.code, 1, 15) + b"finger-leader-1"
    data += struct.pack("<I", len(payload)) + payload
    data += struct.pack("<I", zlib.crc32(data))
    with sqlite3.connect(tmp_path / "records.sqlite") as raw:
        position = int(Position.RIGHT_INDEX)
        raw.execute("UPDATE samples SET template = ?, position = ? WHERE id = 2", (data, position))
        before = list(raw.iterdump())
    raw.close()
    with pytest.raises(PreconditionFailed, match="finger templates of an earlier AMBIS") as refused:
        RecordStore(tmp_path)
    assert refused.value.reason == "SCHEMA_VERSION"
    with sqlite3.connect(tmp_path / "records.sqlite") as raw:
        assert list(raw.iterdump()) == before
    raw.close()


@pytest.mark.parametrize("version", [0, SCHEMA_VERSION + 1])
def test_another_schema_is_refused(tmp_path: Path, version: int) -> None:
    opened(tmp_path).close()
    with sqlite3.connect(tmp_path / "records.sqlite") as raw:
        raw.execute(f"UPDATE schema SET version = {version}")
    raw.close()
    with pytest.raises(PreconditionFailed, match=f"schema {version}"):
        RecordStore(tmp_path)
