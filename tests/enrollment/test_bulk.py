"""Bulk loads against a real server in this process: answers, rejects, interruption, repetition."""

from __future__ import annotations

import csv
import dataclasses
import io
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from enrollment.bulk import BulkLoad, BulkOptions
from enrollment.client import AmbisClient, CallFailed, ClientOptions
from enrollment.manifest import Manifest, read_manifest
from matcher.service.server import AmbisServer, ServerOptions
from tests.matcher.service.running import start


@pytest.fixture
def server(tmp_path: Path) -> Iterator[AmbisServer]:
    running = start(tmp_path / "data")
    yield running
    running.stop(1.0)


def people(folder: Path, count: int, bad: tuple[int, ...] = ()) -> Manifest:
    folder.mkdir(exist_ok=True)
    rows = ["path,subject_id,modality,position,encounter"]
    for i in range(count):
        (folder / f"{i}.txt").write_text("nonsense" if i in bad else f"face {i} 0")
        rows.append(f"{i}.txt,p{i},face,,1")
    (folder / "m.csv").write_text("\n".join(rows))
    return read_manifest(folder / "m.csv")


def rejected(stream: io.StringIO) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(stream.getvalue())))


def test_everything_gets_an_answer_and_rejects_have_reasons(server: AmbisServer, tmp_path: Path) -> None:
    manifest = people(tmp_path / "m", 30, bad=(3, 4))
    (tmp_path / "m" / "7.txt").unlink()
    (tmp_path / "m" / "8.txt").write_bytes(b"")
    odd = dataclasses.replace(manifest.encounters[9].samples[0], path=Path("nul\0in.txt"))
    listed = list(manifest.encounters)
    listed[9] = dataclasses.replace(listed[9], samples=(odd,))
    manifest = Manifest(tuple(listed), ())
    rejects, seen = io.StringIO(), []
    with AmbisClient(f"127.0.0.1:{server.port}") as client:
        load = BulkLoad(client, manifest, rejects, acknowledged=lambda s, e: seen.append((s, e)))
        counts = load.run()
        assert client.status().subjects == 25
    assert (counts.total, counts.enrolled, counts.replayed, counts.rejected) == (30, 25, 0, 5)
    assert {(r["line"], r["subject_id"], r["reason"]) for r in rejected(rejects)} == {
        ("5", "p3", "NOT_A_SAMPLE"),
        ("6", "p4", "NOT_A_SAMPLE"),
        ("9", "p7", "FILE_UNREADABLE"),
        ("10", "p8", "FILE_EMPTY"),
        ("11", "p9", "FILE_UNREADABLE"),
    }
    assert sorted(seen) == sorted((f"p{i}", "1") for i in range(30) if i not in (3, 4, 7, 8, 9))


def test_repeating_enrols_nothing_twice_and_a_new_batch_brings_back_the_deleted(
    server: AmbisServer, tmp_path: Path
) -> None:
    manifest = people(tmp_path / "m", 10)
    with AmbisClient(f"127.0.0.1:{server.port}") as client:
        BulkLoad(client, manifest, io.StringIO()).run()
        again = BulkLoad(client, manifest, io.StringIO()).run()
        assert (again.enrolled, again.replayed) == (0, 10)
        client.delete_subject("p3")
        rejects = io.StringIO()
        third = BulkLoad(client, manifest, rejects).run()
        assert (third.enrolled, third.replayed, third.rejected) == (0, 9, 1)
        assert [r["reason"] for r in rejected(rejects)] == ["DELETED_SINCE"]
        fourth = BulkLoad(client, manifest, io.StringIO(), BulkOptions(batch="again")).run()
        assert (fourth.enrolled, fourth.rejected) == (1, 9)
        assert client.status().subjects == 10


def test_changed_content_under_the_same_ids_is_rejected(server: AmbisServer, tmp_path: Path) -> None:
    manifest = people(tmp_path / "m", 3)
    with AmbisClient(f"127.0.0.1:{server.port}") as client:
        BulkLoad(client, manifest, io.StringIO()).run()
        (tmp_path / "m" / "1.txt").write_text("face 1 1")
        rejects = io.StringIO()
        counts = BulkLoad(client, manifest, rejects).run()
    assert (counts.replayed, counts.rejected) == (2, 1)
    assert [r["reason"] for r in rejected(rejects)] == ["ENCOUNTER_EXISTS"]


def eyes_and_face(folder: Path, rows: list[str]) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "face").write_text("face 1 0")
    (folder / "eye").write_text("iris 1 0")
    path = folder / "m.csv"
    path.write_text("path,subject_id,modality,position\n" + "\n".join(rows))
    return path


def test_a_bad_row_keeps_its_whole_encounter_back_until_it_is_corrected(server: AmbisServer, tmp_path: Path) -> None:
    rejects = io.StringIO()
    with AmbisClient(f"127.0.0.1:{server.port}") as client:
        misspelt = read_manifest(eyes_and_face(tmp_path / "m", ["face,p1,face,", "eye,p1,irsi,left"]))
        counts = BulkLoad(client, misspelt, rejects).run()
        assert (counts.enrolled, counts.done, counts.total) == (0, 2, 2)
        assert {r["reason"] for r in rejected(rejects)} == {"POSITION_UNKNOWN", "ENCOUNTER_INCOMPLETE"}
        corrected = read_manifest(eyes_and_face(tmp_path / "m", ["face,p1,face,", "eye,p1,iris,left"]))
        assert BulkLoad(client, corrected, io.StringIO()).run().enrolled == 1
        assert len(client.subject("p1").encounters[0].samples) == 2
        partial = read_manifest(eyes_and_face(tmp_path / "m", ["face,p2,face,", "eye,p2,irsi,left"]))
        assert BulkLoad(client, partial, io.StringIO(), BulkOptions(accept_partial=True)).run().enrolled == 1


def test_order_of_rows_and_galleries_and_partial_acceptance_do_not_make_another_load(
    server: AmbisServer, tmp_path: Path
) -> None:
    with AmbisClient(f"127.0.0.1:{server.port}") as client:
        first = read_manifest(eyes_and_face(tmp_path / "m", ["face,p1,face,", "eye,p1,iris,left"]))
        BulkLoad(client, first, io.StringIO(), BulkOptions(galleries=("a", "b"))).run()
        second = read_manifest(eyes_and_face(tmp_path / "m", ["eye,p1,iris,left", "face,p1,face,"]))
        options = BulkOptions(galleries=("b", "a", "b"), accept_partial=True)
        assert BulkLoad(client, second, io.StringIO(), options).run().replayed == 1


def test_an_encounter_too_large_for_a_message_is_rejected_alone(
    server: AmbisServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("enrollment.bulk.MAX_ENCOUNTER_BYTES", 12)
    folder = tmp_path / "m"
    path = eyes_and_face(folder, ["face,p1,face,", "eye,p1,iris,left", "face,p2,face,"])
    rejects = io.StringIO()
    with AmbisClient(f"127.0.0.1:{server.port}") as client:
        counts = BulkLoad(client, read_manifest(path), rejects).run()
    assert (counts.enrolled, counts.rejected) == (1, 1)
    assert {r["reason"] for r in rejected(rejects)} == {"ENCOUNTER_TOO_LARGE"}


def test_partial_samples_are_reported(server: AmbisServer, tmp_path: Path) -> None:
    folder = tmp_path / "m"
    folder.mkdir()
    (folder / "good").write_text("face 1 0")
    (folder / "bad").write_text("nonsense")
    (folder / "m.csv").write_text("path,subject_id,modality\nbad,p1,iris\ngood,p1,face\n")
    rejects = io.StringIO()
    with AmbisClient(f"127.0.0.1:{server.port}") as client:
        manifest = read_manifest(folder / "m.csv")
        counts = BulkLoad(client, manifest, rejects, BulkOptions(accept_partial=True)).run()
    assert (counts.enrolled, counts.samples_left_out) == (1, 1)
    assert [(r["line"], r["reason"]) for r in rejected(rejects)] == [("2", "NOT_A_SAMPLE")]


def test_a_load_goes_on_when_the_server_comes_back(tmp_path: Path) -> None:
    manifest = people(tmp_path / "m", 300)
    running = start(tmp_path / "data")
    port = running.port
    acknowledged: list[str] = []
    restarted: list[AmbisServer] = []

    def restart() -> None:
        running.stop(0.0)
        time.sleep(0.5)
        restarted.append(start(tmp_path / "data", ServerOptions(port=port)))

    thread = threading.Thread(target=restart)

    def note(subject: str, _encounter: str) -> None:
        acknowledged.append(subject)
        if len(acknowledged) == 50:
            thread.start()

    with AmbisClient(f"127.0.0.1:{port}") as client:
        counts = BulkLoad(client, manifest, io.StringIO(), acknowledged=note).run()
        thread.join(30)
        assert counts.enrolled + counts.replayed == 300
        assert sorted(acknowledged) == sorted(f"p{i}" for i in range(300))
        assert client.status().subjects == 300
    restarted[0].stop(1.0)


def test_a_server_that_stays_away_ends_the_load_with_advice(tmp_path: Path) -> None:
    manifest = people(tmp_path / "m", 2)
    with AmbisClient("127.0.0.1:1", ClientOptions(timeout=5)) as client:
        load = BulkLoad(client, manifest, io.StringIO(), BulkOptions(attempts=2), sleep=lambda _: None)
        with pytest.raises(CallFailed, match="no AMBIS server answers"):
            load.run()
    assert load.counts.done == 0


def test_a_row_says_which_face_and_poor_ones_can_be_accepted(server: AmbisServer, tmp_path: Path) -> None:
    folder = tmp_path / "m"
    folder.mkdir()
    (folder / "both").write_text("face 1 0, face 2 0")
    (folder / "poor").write_text("face 3 99")
    (folder / "m.csv").write_text("path,subject_id,modality,face\nboth,p1,face,\nboth,p2,face,2\npoor,p3,face,\n")
    listed = read_manifest(folder / "m.csv")
    with AmbisClient(f"127.0.0.1:{server.port}") as client:
        rejects = io.StringIO()
        counts = BulkLoad(client, listed, rejects).run()
        assert (counts.enrolled, counts.rejected) == (1, 2)
        assert {r["reason"] for r in rejected(rejects)} == {"SEVERAL_FACES", "QUALITY_TOO_LOW"}
        counts = BulkLoad(client, listed, io.StringIO(), BulkOptions(accept_low_quality=True)).run()
        assert (counts.enrolled, counts.replayed, counts.rejected) == (1, 1, 1)
        (folder / "m.csv").write_text("path,subject_id,modality,face\nboth,p2,face,1\n")
        counts = BulkLoad(client, read_manifest(folder / "m.csv"), io.StringIO()).run()
        assert (counts.replayed, counts.rejected) == (0, 1), "another face is another encounter under the same ids"
