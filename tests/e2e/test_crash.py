"""``kill -9`` in the middle of bulk loads: what was acknowledged is there, repeating a load enrols nothing twice."""

from __future__ import annotations

import io
import random
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from ambis.v1 import common_pb2, identification_service_pb2
from enrollment.bulk import BulkLoad, BulkOptions
from enrollment.client import AmbisClient, CallFailed, image_sample
from enrollment.manifest import Manifest, read_manifest
from enrollment.server_process import ServerProcess
from enrollment.synthesis.face_templates import bulk_face_vectors
from enrollment.synthesis.iris import synthesise_eye
from matcher.face.comparison import COMPACT_ALGORITHM
from matcher.positions import Position
from matcher.records.sample_files import SampleFiles
from matcher.templates import FaceTemplate
from tests.e2e.conftest import png

PER_LOAD = 50
PICTURE_EVERY = 10


def people(folder: Path, count: int) -> Manifest:
    """Synthetic people. Most have template files, so that the load keeps the disk busy and not the extractor; some have
    pictures of an eye, which the server must keep as well."""
    folder.mkdir()
    rows = ["path,subject_id,modality,position,encounter"]
    for i, vector in enumerate(bulk_face_vectors(count, 7)):
        (folder / f"{i}.template").write_bytes(FaceTemplate(COMPACT_ALGORITHM, 1, vector.astype(np.float32)).to_bytes())
        if i % PICTURE_EVERY:
            rows.append(f"{i}.template,p{i},face,,1")
        else:
            (folder / f"{i}.png").write_bytes(png(synthesise_eye(i, 1, size=(320, 240))))
            rows.append(f"{i}.png,p{i},iris,left,1")
    (folder / "m.csv").write_text("\n".join(rows))
    return read_manifest(folder / "m.csv")


def sample_of(folder: Path, subject: str) -> common_pb2.Sample:
    number = int(subject[1:])
    if number % PICTURE_EVERY:
        return image_sample(Position.FACE, (folder / f"{number}.template").read_bytes())
    return image_sample(Position.IRIS_LEFT, (folder / f"{number}.png").read_bytes())


def part(manifest: Manifest, count: int) -> Manifest:
    return Manifest(manifest.encounters[:count], ())


def check(client: AmbisClient, folder: Path, acknowledged: set[str]) -> None:
    """Every acknowledged subject is on record and the first candidate of a search with its own sample; pictures are
    kept."""
    assert client.status().lsn == client.status().searchable_lsn
    numbered = dict(enumerate(sorted(acknowledged)))

    def request(number: int, subject: str) -> identification_service_pb2.BatchIdentifyRequest:
        search = identification_service_pb2.Search(samples=[sample_of(folder, subject)], max_candidates=1)
        return identification_service_pb2.BatchIdentifyRequest(transaction_id="t", sequence=number, search=search)

    seen = 0
    for answer in client.batch_identify(request(n, s) for n, s in numbered.items()):
        assert answer.result.candidates[0].subject_id == numbered[answer.sequence]
        assert answer.result.verdict != common_pb2.VERDICT_NO_HIT
        seen += 1
    assert seen == len(acknowledged)
    files = SampleFiles(folder.parent / "data" / "samples")
    for subject in sorted(acknowledged):
        (encounter,) = client.subject(subject).encounters
        (sample,) = encounter.samples
        if sample.sha256:
            assert files.read(sample.sha256) == (folder / f"{subject[1:]}.png").read_bytes()
        assert bool(sample.sha256) == (int(subject[1:]) % PICTURE_EVERY == 0)


def strike(server: ServerProcess, delay: float, reached: threading.Event) -> None:
    reached.wait(60)
    time.sleep(delay)
    server.kill()


def kill_again_and_again(tmp_path: Path, kills: int, seed: int) -> None:
    rng = random.Random(seed)
    manifest = people(tmp_path / "people", kills * PER_LOAD)
    acknowledged: set[str] = set()
    cut_short = 0
    for round_ in range(kills):
        server = ServerProcess(tmp_path / "data")
        with AmbisClient(server.address) as client:
            check(client, tmp_path / "people", acknowledged)
            # A random number of acknowledgements into the load, and a random moment after that one.
            wait_for = len(acknowledged) + rng.randrange(PER_LOAD)
            delay = rng.uniform(0.0, 0.02)
            reached = threading.Event()

            def note(subject: str, _encounter: str, enough: int = wait_for, reached: threading.Event = reached) -> None:
                acknowledged.add(subject)
                if len(acknowledged) > enough:
                    reached.set()

            def strike(
                server: ServerProcess = server, delay: float = delay, reached: threading.Event = reached
            ) -> None:
                reached.wait(60)
                time.sleep(delay)
                server.kill()

            killer = threading.Thread(target=strike)
            killer.start()
            load = BulkLoad(
                client,
                part(manifest, (round_ + 1) * PER_LOAD),
                io.StringIO(),
                BulkOptions(attempts=1),
                acknowledged=note,
            )
            try:
                load.run()
            except CallFailed:
                cut_short += 1
            reached.set()
            killer.join()
    assert cut_short, "no kill fell into a load"
    with ServerProcess(tmp_path / "data") as server, AmbisClient(server.address) as client:
        check(client, tmp_path / "people", acknowledged)
        counts = BulkLoad(client, manifest, io.StringIO()).run()
        assert counts.rejected == 0
        assert counts.enrolled + counts.replayed == len(manifest.encounters)
        assert counts.replayed >= len(acknowledged)
        status = client.status()
        assert (status.subjects, status.encounters) == (len(manifest.encounters), len(manifest.encounters))
        again = BulkLoad(client, manifest, io.StringIO()).run()
        assert (again.enrolled, again.replayed) == (0, len(manifest.encounters))
        assert client.status().encounters == len(manifest.encounters)
        check(client, tmp_path / "people", {e.subject_id for e in manifest.encounters})


def test_two_kills(tmp_path: Path) -> None:
    kill_again_and_again(tmp_path, kills=2, seed=1)


@pytest.mark.crash
@pytest.mark.timeout(3600)
def test_twenty_kills(tmp_path: Path) -> None:
    kill_again_and_again(tmp_path, kills=20, seed=20)
