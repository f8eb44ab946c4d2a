"""``ambis models migrate`` against real servers that are killed: from the compact pack to its own recogniser, described
by a ``pack.toml`` under another id, so that everybody must be found before and after."""

from __future__ import annotations

import csv
import dataclasses
import json
import os
import random
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from ambis.v1 import common_pb2, enrollment_service_pb2, identification_service_pb2, migration_service_pb2
from enrollment.client import AmbisClient, CallFailed, ClientOptions, image_sample
from enrollment.demo_faces import PEOPLE, people, rendition
from enrollment.images import decode_image
from enrollment.models import RECOGNISER, pack_folder
from enrollment.server_process import ServerProcess
from matcher.calibration import Calibrations
from matcher.errors import Unavailable
from matcher.face.comparison import COMPACT_ALGORITHM
from matcher.positions import Position
from tests.enrollment.extract.face_samples import compact_extractor, needs_compact_pack
from tests.enrollment.extract.pack_folders import model_id, write_pack

CAPTURES = 4
EXTRACTING = migration_service_pb2.MIGRATION_STATE_EXTRACTING
READY = migration_service_pb2.MIGRATION_STATE_READY

pytestmark = needs_compact_pack


class Deployment:
    """A data folder with two packs, and artefacts for both."""

    def __init__(self, folder: Path, **entries: object) -> None:
        self.folder = folder
        next_pack = folder / "next-pack"
        described = {"file": RECOGNISER.name, "sha256": RECOGNISER.sha256, "dimension": 512, "scale": 128.0}
        write_pack(next_pack, "face-rewrapped-1", {**described, "channel_order": "BGR", **entries})
        (next_pack / RECOGNISER.name).write_bytes((pack_folder() / RECOGNISER.name).read_bytes())
        self.next_model = model_id(next_pack)
        artefacts = folder / "calibrations"
        artefacts.mkdir()
        own = dataclasses.replace(Calibrations.load()[COMPACT_ALGORITHM], algorithm=self.next_model)
        (artefacts / f"{self.next_model}.json").write_text(own.to_json())
        self.next_pack = str(next_pack)
        self.both = {
            "AMBIS_CALIBRATIONS": str(artefacts),
            "AMBIS_FACE_PACK": "compact",
            "AMBIS_FACE_PACK_NEXT": self.next_pack,
        }
        self.crops = people(compact_extractor())

    def server(self, **changes: str) -> ServerProcess:
        settings = {**self.both, **{f"AMBIS_{name.upper()}": value for name, value in changes.items()}}
        return ServerProcess(self.folder / "data", settings)

    def photo(self, person: int, capture: int) -> common_pb2.Sample:
        return image_sample(Position.FACE, rendition(self.crops[person], capture))

    def enrol(self, client: AmbisClient, person: int, capture: int) -> None:
        client.enrol(
            enrollment_service_pb2.Encounter(
                subject_id=f"p{person}",
                samples=[self.photo(person, capture)],
                subject_mode=enrollment_service_pb2.SUBJECT_MODE_ANY,
            )
        )

    def check(self, client: AmbisClient, algorithm: str, count: int = PEOPLE) -> None:
        """The first ``count`` people are found, with that model."""
        for person in range(count):
            search = identification_service_pb2.Search(samples=[self.photo(person, 77)], max_candidates=1)
            found = client.identify(search)
            assert found.samples[0].algorithm == algorithm
            assert found.candidates[0].subject_id == f"p{person}"
            assert found.verdict == common_pb2.VERDICT_HIT

    def ambis(self, server: ServerProcess, *arguments: object) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "enrollment.cli", "models", "migrate", *map(str, arguments)]
        return subprocess.run(
            [*command, "--server", server.address],
            capture_output=True,
            text=True,
            check=False,
            cwd=self.folder,
            timeout=300,
            env={**os.environ, "COLUMNS": "80"},
        )


def connect(server: ServerProcess) -> AmbisClient:
    return AmbisClient(server.address, ClientOptions(attempts=1))


def wait_for(client: AmbisClient, state: int) -> migration_service_pb2.Migration:
    deadline = time.monotonic() + 120
    while (found := client.migration()).state != state:
        assert time.monotonic() < deadline, found
        time.sleep(0.05)
    return found


@pytest.mark.timeout(900)
def test_killed_again_and_again_it_resumes_and_loses_nobody(tmp_path: Path) -> None:
    deployment = Deployment(tmp_path)
    samples = PEOPLE * CAPTURES
    rng = random.Random(6)
    with deployment.server() as server, connect(server) as client:
        for capture in range(CAPTURES):
            for person in range(PEOPLE):
                deployment.enrol(client, person, capture)
        client.start_migration()
        while (seen := client.migration()).migrated == 0:
            time.sleep(0.02)
        assert seen.state == EXTRACTING
        server.kill()
    # It goes on by itself, with what was saved.
    with deployment.server() as server, connect(server) as client:
        assert client.migration().migrated >= seen.migrated
        deployment.check(client, COMPACT_ALGORITHM)
        deployment.enrol(client, 0, 50)
        client.delete_subject("p5")
        deployment.enrol(client, 5, 60)
        wait_for(client, READY)
        server.kill()
    left = samples + 1 - CAPTURES + 1
    switched = False
    while not switched:
        with deployment.server() as server, connect(server) as client:
            found = client.migration()
            if found.next_algorithm:
                found = wait_for(client, READY)
                assert (found.migrated, found.failed) == (left, 0)
                deployment.check(client, COMPACT_ALGORITHM)

                def complete(client: AmbisClient = client) -> None:
                    try:
                        client.complete_migration()
                    except CallFailed as cut_short:
                        assert cut_short.retryable  # noqa: PT017

                striking = threading.Thread(target=complete)
                striking.start()
                time.sleep(rng.uniform(0.0, 0.06))
                server.kill()
                striking.join()
            else:
                switched = True
                deployment.check(client, deployment.next_model)
                assert client.status().subjects == PEOPLE
    # The settings as they should be after the switch, then as they should not.
    with deployment.server(face_pack=deployment.next_pack, face_pack_next="") as server, connect(server) as client:
        deployment.check(client, deployment.next_model)
        deployment.enrol(client, 1, 70)
    with deployment.server(face_pack_next="") as server, connect(server) as client:
        with pytest.raises(CallFailed) as refused:
            deployment.check(client, COMPACT_ALGORITHM)
        assert refused.value.reason == "MODEL_MISMATCH"
        with pytest.raises(CallFailed) as refused:
            deployment.enrol(client, 1, 71)
        assert refused.value.reason == "MODEL_MISMATCH"


@pytest.mark.timeout(900)
def test_the_command(tmp_path: Path) -> None:
    deployment = Deployment(tmp_path, commercial_use=False)
    with pytest.raises(Unavailable, match="face_licences_acknowledged"), deployment.server():
        pass
    acknowledged = {"face_licences_acknowledged": deployment.next_model}
    alone = PEOPLE - 1  # of whom only a template is on record
    with deployment.server(**acknowledged) as server, connect(server) as client:
        for person in range(alone):
            deployment.enrol(client, person, 1)
        for person in (alone, 2):
            image = decode_image(rendition(deployment.crops[person], 3))
            template = compact_extractor().extract(image).template.to_bytes()
            client.enrol(
                enrollment_service_pb2.Encounter(
                    subject_id=f"p{person}",
                    samples=[image_sample(Position.FACE, template)],
                    subject_mode=enrollment_service_pb2.SUBJECT_MODE_ANY,
                )
            )
        before = deployment.ambis(server, "--status", "--json")
        assert json.loads(before.stdout)["state"] == "none"
        told = deployment.ambis(server, "--failures", tmp_path / "failures.csv")
        assert told.returncode == 5, told.stderr
        assert max(map(len, told.stdout.splitlines())) <= 80
        words = " ".join(told.stdout.split())
        for said in (f"{alone} of {alone + 2} samples migrated, 2 failed", "have no other: 1.", "--leave-out 2"):
            assert said in words
        with (tmp_path / "failures.csv").open() as file:
            rows = list(csv.DictReader(file))
        assert [(r["subject_id"], r["reason"]) for r in rows] == [
            (f"p{alone}", "SAMPLE_NOT_KEPT"),
            ("p2", "SAMPLE_NOT_KEPT"),
        ]
        deployment.check(client, COMPACT_ALGORITHM, PEOPLE)
        assert deployment.ambis(server, "--leave-out", 1).returncode == 5
        done = deployment.ambis(server, "--leave-out", 2, "--json")
        assert done.returncode == 0, done.stdout
        facts = json.loads(done.stdout)
        assert (facts["switched"], facts["migrated"], facts["failed"]) == (True, alone, 2)
        deployment.check(client, deployment.next_model, alone)
        again = deployment.ambis(server)
        assert again.returncode == 1
        assert "face_pack_next" in again.stderr
