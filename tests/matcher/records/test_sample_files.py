"""Content-addressed sample files."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from matcher.errors import NotFound, StorageFailure
from matcher.records.sample_files import SampleFiles


def test_round_trip_and_removal(tmp_path: Path) -> None:
    files = SampleFiles(tmp_path / "samples")
    files.write([b"one", b"two", b"one"])
    name = hashlib.sha256(b"one").hexdigest()
    assert files.read(name) == b"one"
    files.remove([name, name])
    with pytest.raises(NotFound):
        files.read(name)
    assert files.read(hashlib.sha256(b"two").hexdigest()) == b"two"


def test_damage_is_noticed(tmp_path: Path) -> None:
    files = SampleFiles(tmp_path / "samples")
    files.write([b"one"])
    (path,) = [p for p in (tmp_path / "samples").rglob("*") if p.is_file()]
    path.write_bytes(b"One")
    with pytest.raises(StorageFailure, match="damaged"):
        files.read(hashlib.sha256(b"one").hexdigest())


def test_left_overs_of_a_crash_are_swept(tmp_path: Path) -> None:
    (tmp_path / "samples" / "ab").mkdir(parents=True)
    left_over = tmp_path / "samples" / "ab" / "cd.new"
    left_over.write_bytes(b"half")
    SampleFiles(tmp_path / "samples")
    assert not left_over.exists()
