"""The services over a real channel."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from google.protobuf.json_format import MessageToDict
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from ambis.v1 import (
    common_pb2,
    enrollment_service_pb2,
    identification_service_pb2,
    identification_service_pb2_grpc,
    status_service_pb2,
    status_service_pb2_grpc,
)
from ambis.v1 import enrollment_service_pb2_grpc as enrollment_grpc
from enrollment.client import AmbisClient, CallFailed, ClientOptions, describe, image_sample
from matcher.errors import AmbisError, PreconditionFailed
from matcher.positions import Position
from matcher.search import SearchRequest, SearchResult
from matcher.service.batching import BatchingParameters
from matcher.service.server import SERVICES, AmbisServer, ServerOptions
from matcher.templates import FaceTemplate, IrisCode, IrisTemplate
from matcher.threads import workers
from tests.matcher.people import FACE, face
from tests.matcher.service.running import start


@pytest.fixture
def server(tmp_path: Path) -> Iterator[AmbisServer]:
    running = start(tmp_path / "data")
    yield running
    running.stop(1.0)


@pytest.fixture
def client(server: AmbisServer) -> Iterator[AmbisClient]:
    with AmbisClient(f"127.0.0.1:{server.port}", ClientOptions(timeout=20.0, attempts=1)) as connected:
        yield connected


def sample(text: str, position: Position = Position.FACE) -> common_pb2.Sample:
    image = common_pb2.Image(data=text.encode())
    return common_pb2.Sample(position=common_pb2.Position.ValueType(int(position)), image=image)


def person(number: int, **fields: object) -> enrollment_service_pb2.Encounter:
    encounter = enrollment_service_pb2.Encounter(
        subject_id=f"p{number}",
        samples=[sample(f"face {number} 0"), sample(f"iris {number} 0", Position.IRIS_LEFT)],
    )
    for name, value in fields.items():
        if isinstance(value, list):
            del getattr(encounter, name)[:]
            getattr(encounter, name).extend(value)
        else:
            setattr(encounter, name, value)
    return encounter


def search(*samples: common_pb2.Sample, **fields: object) -> identification_service_pb2.Search:
    return identification_service_pb2.Search(samples=samples, **fields)  # type: ignore[arg-type]


def test_enrol_identify_verify_delete(client: AmbisClient) -> None:
    for i in range(30):
        result = client.enrol(person(i))
    assert (result.subject_id, result.lsn, result.replayed) == ("p29", 30, False)
    assert next((s.used, s.quality, list(s.advice), s.algorithm) for s in result.samples) == (
        True,
        80,
        ["hold still"],
        FACE,
    )
    found = client.identify(search(sample("face 7 3"), min_lsn=result.lsn))
    assert found.verdict == common_pb2.VERDICT_HIT
    assert found.candidates[0].subject_id == "p7"
    assert [c.rank for c in found.candidates] == list(range(1, 11))
    assert found.gallery_size == 30
    assert found.candidates[0].evidence[0].reference_position == common_pb2.POSITION_FACE
    assert client.identify(search(sample("face 777 0"))).verdict == common_pb2.VERDICT_NO_HIT
    assert client.verify("p7", [sample("face 7 4")]).verdict == common_pb2.VERDICT_HIT
    assert client.verify("p8", [sample("face 7 4")]).verdict == common_pb2.VERDICT_NO_HIT
    deleted = client.delete_subject("p7")
    assert (deleted.lsn, deleted.encounters_deleted) == (31, 1)
    after = client.identify(search(sample("face 7 3"), min_lsn=deleted.lsn))
    assert "p7" not in [c.subject_id for c in after.candidates]
    assert after.verdict != common_pb2.VERDICT_HIT


def test_gap_between_the_first_and_all_others(client: AmbisClient) -> None:
    client.enrol(person(0))
    alone = client.identify(search(sample("face 0 3")))
    assert not alone.HasField("score_gap")
    assert "score_gap" not in MessageToDict(alone, preserving_proto_field_name=True)
    for i in range(1, 12):
        client.enrol(person(i))
    found = client.identify(search(sample("face 7 3")))
    assert found.score_gap == pytest.approx(found.candidates[0].score - found.candidates[1].score)
    assert found.score_gap > 10
    assert client.identify(search(sample("face 7 3"), max_candidates=1)).score_gap == found.score_gap
    assert f"The next person scores {found.score_gap:.1f} less" in found.explanation


def test_rate_that_was_used_comes_back(client: AmbisClient) -> None:
    client.enrol(person(0))
    asked = client.identify(search(sample("face 0 3"), target_fpir=0.001))
    assert asked.target_fpir == 0.001
    assert asked.hit_threshold == pytest.approx(30.0)
    lax = client.identify(search(sample("face 0 3"), target_fpir=0.2))
    assert lax.target_fpir == pytest.approx(1 / 99)
    assert "held to 1.01% of searches instead of 20%" in lax.explanation


def test_server_chooses_ids_and_keeps_what_it_is_told(client: AmbisClient) -> None:
    encounter = person(1, subject_id="", encounter_type="arrest", galleries=["b", "a", "a"])
    encounter.context["station"] = "Nashik 3"
    made = client.enrol(encounter)
    assert made.subject_id.startswith("S-")
    subject = client.subject(made.subject_id)
    (kept,) = subject.encounters
    assert (kept.encounter_type, list(kept.galleries), dict(kept.context)) == (
        "arrest",
        ["a", "b"],
        {"station": "Nashik 3"},
    )
    assert [s.position for s in kept.samples] == [common_pb2.POSITION_FACE, common_pb2.POSITION_IRIS_LEFT]
    assert client.identify(search(sample("face 1 1"), galleries=["a"])).gallery_size == 1
    with pytest.raises(CallFailed) as failed:  # and not "nobody found"
        client.identify(search(sample("face 1 1"), galleries=["a", "c"]))
    assert (failed.value.code, failed.value.reason) == (grpc.StatusCode.NOT_FOUND, "GALLERY_NOT_FOUND")


def test_same_key_answers_the_same_and_other_content_is_refused(client: AmbisClient) -> None:
    first = client.enrol(person(1), "key-of-p1")
    again = client.enrol(person(1), "key-of-p1")
    assert again.replayed
    assert (again.lsn, again.encounter_id, list(again.samples)) == (first.lsn, first.encounter_id, list(first.samples))
    with pytest.raises(CallFailed) as failed:
        client.enrol(person(2), "key-of-p1")
    assert (failed.value.code, failed.value.reason) == (
        grpc.StatusCode.FAILED_PRECONDITION,
        "IDEMPOTENCY_KEY_REUSED",
    )


def template_sample(data: bytes, **fields: object) -> common_pb2.Sample:
    template = common_pb2.Template(data=data, **fields)  # type: ignore[arg-type]
    return common_pb2.Sample(position=common_pb2.POSITION_FACE, template=template)


@pytest.mark.parametrize(
    ("bad", "code", "reason", "field"),
    [
        (sample("a text file"), "INVALID_ARGUMENT", "NOT_A_SAMPLE", "samples[0].image.data"),
        (sample("iris 1 1"), "INVALID_ARGUMENT", "NOT_A_SAMPLE", "samples[0].image.data"),
        (sample("face 1 1", Position.RIGHT_INDEX), "FAILED_PRECONDITION", "MODALITY_UNAVAILABLE", "samples[0]"),
        (common_pb2.Sample(position=common_pb2.POSITION_FACE), "INVALID_ARGUMENT", "SAMPLE_EMPTY", "samples[0]"),
        (
            common_pb2.Sample(position=77, image=common_pb2.Image(data=b"x")),  # type: ignore[arg-type]
            "INVALID_ARGUMENT",
            "POSITION_UNKNOWN",
            "samples[0].position",
        ),
        (
            common_pb2.Sample(image=common_pb2.Image(data=b"face 1 1")),
            "INVALID_ARGUMENT",
            "POSITION_UNKNOWN",
            "samples[0].position",
        ),
        (template_sample(b"no template"), "INVALID_ARGUMENT", "TEMPLATE_INVALID", "samples[0]"),
        (template_sample(face(1).to_bytes()[:-3]), "INVALID_ARGUMENT", "TEMPLATE_INVALID", "samples[0]"),
        (
            template_sample(face(1).to_bytes(), algorithm="another"),
            "INVALID_ARGUMENT",
            "TEMPLATE_INVALID",
            "samples[0]",
        ),
        (
            template_sample(face(1, algorithm="face-unheard-of").to_bytes()),
            "FAILED_PRECONDITION",
            "NOT_CALIBRATED",
            "samples[0]",
        ),
        (sample("face crash 1"), "INTERNAL", "INTERNAL", ""),
    ],
)
def test_bad_samples_get_a_clear_status_and_the_server_goes_on(
    client: AmbisClient, bad: common_pb2.Sample, code: str, reason: str, field: str
) -> None:
    client.enrol(person(1))
    with pytest.raises(CallFailed) as failed:
        client.identify(search(bad))
    assert (failed.value.code.name, failed.value.reason) == (code, reason)
    assert failed.value.field == (f"search.{field}" if field else "")
    assert failed.value.message
    with pytest.raises(CallFailed) as failed:
        client.enrol(person(2, samples=[sample("face 2 0"), bad]))
    assert (failed.value.code.name, failed.value.reason) == (code, reason)
    assert failed.value.field == (f"encounter.{field.replace('[0]', '[1]')}" if field else "")
    assert client.identify(search(sample("face 1 2"))).verdict == common_pb2.VERDICT_HIT
    with pytest.raises(CallFailed, match="not on record"):
        client.subject("p2")


def test_partial_acceptance_reports_every_sample(client: AmbisClient) -> None:
    made = client.enrol(person(1, samples=[sample("nonsense"), sample("face 1 0")], accept_partial=True))
    assert [(s.used, s.error.reason) for s in made.samples] == [(False, "NOT_A_SAMPLE"), (True, "")]
    found = client.identify(search(sample("face 1 3"), sample("nonsense", Position.IRIS_LEFT), accept_partial=True))
    assert found.verdict == common_pb2.VERDICT_HIT
    assert [s.used for s in found.samples] == [True, False]
    with pytest.raises(CallFailed) as failed:
        client.identify(search(sample("nonsense"), accept_partial=True))
    assert failed.value.reason == "NOT_A_SAMPLE"


def face_of(text: str, number: int = 0, box: tuple[float, float, float, float] | None = None) -> common_pb2.Sample:
    """A face sample that says which face is meant."""
    chosen = sample(text)
    if box is not None:
        chosen.image.face_box.CopyFrom(common_pb2.Box(left=box[0], top=box[1], right=box[2], bottom=box[3]))
    else:
        chosen.image.face_number = number
    return chosen


def test_several_faces_are_enrolled_only_when_one_is_named(client: AmbisClient) -> None:
    both = "face 1 0, face 2 0"
    with pytest.raises(CallFailed) as failed:
        client.enrol(person(1, samples=[sample(both)]))
    assert (failed.value.code, failed.value.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "SEVERAL_FACES")
    assert [(f.box.left, f.box.right) for f in failed.value.faces] == [(0.0, 80.0), (100.0, 180.0)]
    assert json.loads(describe(failed.value))["faces"] == [[0, 0, 80, 80], [100, 0, 180, 80]]
    made = client.enrol(person(2, samples=[face_of(both, 2)]))
    assert [f.taken for f in made.samples[0].faces] == [False, True]
    found = client.identify(search(sample("face 2 1, face 9 1")))
    assert (found.verdict, found.candidates[0].subject_id) == (common_pb2.VERDICT_HIT, "p2")
    assert [f.taken for f in found.samples[0].faces] == [True, False]
    assert client.identify(search(face_of("face 9 1, face 2 1", 2))).verdict == common_pb2.VERDICT_HIT
    assert client.identify(search(sample("face 9 1, face 2 1"))).verdict == common_pb2.VERDICT_NO_HIT


def test_several_faces_among_partly_accepted_samples_are_listed(client: AmbisClient) -> None:
    samples = [sample("face 1 0, face 2 0"), sample("iris 1 0", Position.IRIS_LEFT)]
    made = client.enrol(person(1, samples=samples, accept_partial=True))
    assert made.samples[0].error.reason == "SEVERAL_FACES"
    assert len(made.samples[0].error.faces) == 2


def test_which_face_makes_another_enrolment(client: AmbisClient) -> None:
    both = "face 1 0, face 2 0"
    client.enrol(person(1, samples=[face_of(both, 1)]), "one-and-the-same")
    with pytest.raises(CallFailed) as failed:
        client.enrol(person(1, samples=[face_of(both, 2)]), "one-and-the-same")
    assert failed.value.code is grpc.StatusCode.FAILED_PRECONDITION


@pytest.mark.parametrize(
    "box", [(10, 0, 5, 9), (0, 9, 9, 9), (0, 0, float("nan"), 9), (0, 0, float("inf"), 9)], ids=str
)
def test_a_box_that_is_none_is_refused(client: AmbisClient, box: tuple[float, float, float, float]) -> None:
    with pytest.raises(CallFailed) as failed:
        client.identify(search(face_of("face 1 0", box=box)))
    assert (failed.value.reason, failed.value.field) == ("FACE_CHOICE_INVALID", "search.samples[0].image.face_box")


def test_an_eye_has_no_face_to_choose(client: AmbisClient) -> None:
    chosen = face_of("iris 1 0", 1)
    chosen.position = common_pb2.POSITION_IRIS_LEFT
    with pytest.raises(CallFailed, match="for images of faces") as failed:
        client.identify(search(chosen))
    assert failed.value.reason == "FACE_CHOICE_INVALID"


def test_low_quality_is_enrolled_only_when_accepted_and_searched_always(client: AmbisClient) -> None:
    poor = person(1, samples=[sample("face 1 99")])
    with pytest.raises(CallFailed) as failed:
        client.enrol(poor)
    assert failed.value.reason == "QUALITY_TOO_LOW"
    assert client.identify(search(sample("face 1 99"))).samples[0].quality == 3
    poor.accept_low_quality = True
    report = client.enrol(poor).samples[0]
    assert (report.quality, report.components[0].name, report.components[0].value) == (3, "sharpness", 0.125)
    assert (report.components[0].score, report.components[0].unit) == (3, "share")


@pytest.mark.parametrize(
    ("change", "code", "reason"),
    [
        ({"samples": []}, "INVALID_ARGUMENT", "SAMPLES_MISSING"),
        ({"samples": [sample("face 1 0")] * 33}, "INVALID_ARGUMENT", "TOO_MANY_SAMPLES"),
        ({"subject_id": "x" * 129}, "INVALID_ARGUMENT", "FIELD_INVALID"),
        ({"subject_id": "a\nb"}, "INVALID_ARGUMENT", "FIELD_INVALID"),
        ({"subject_mode": 9}, "INVALID_ARGUMENT", "FIELD_INVALID"),
        ({"galleries": ["g"] * 33}, "INVALID_ARGUMENT", "FIELD_INVALID"),
        ({"galleries": [""]}, "INVALID_ARGUMENT", "FIELD_MISSING"),
        ({"subject_mode": enrollment_service_pb2.SUBJECT_MODE_EXISTING}, "NOT_FOUND", "SUBJECT_NOT_FOUND"),
    ],
)
def test_bad_encounters(client: AmbisClient, change: dict[str, object], code: str, reason: str) -> None:
    with pytest.raises(CallFailed) as failed:
        client.enrol(person(1, **change))
    assert (failed.value.code.name, failed.value.reason) == (code, reason)


def test_duplicate_subject(client: AmbisClient) -> None:
    client.enrol(person(1))
    with pytest.raises(CallFailed) as failed:
        client.enrol(person(1))
    assert (failed.value.code, failed.value.reason) == (grpc.StatusCode.ALREADY_EXISTS, "SUBJECT_EXISTS")
    assert failed.value.field == "encounter.subject_id"
    client.enrol(person(1, subject_mode=enrollment_service_pb2.SUBJECT_MODE_EXISTING))
    assert len(client.subject("p1").encounters) == 2


def test_ids_are_required(server: AmbisServer) -> None:
    with grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        stub = enrollment_grpc.EnrollmentServiceStub(channel)
        with pytest.raises(grpc.RpcError, match="transaction_id is missing"):
            stub.Enroll(enrollment_service_pb2.EnrollRequest(idempotency_key="12345678", encounter=person(1)))
        with pytest.raises(grpc.RpcError, match="idempotency_key is missing"):
            stub.Enroll(enrollment_service_pb2.EnrollRequest(transaction_id="t", encounter=person(1)))
        with pytest.raises(grpc.RpcError, match="must have 8-128"):
            stub.Enroll(
                enrollment_service_pb2.EnrollRequest(transaction_id="t", idempotency_key="short", encounter=person(1))
            )


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"max_candidates": 1001}, "CANDIDATES_INVALID"),
        ({"target_fpir": 0.0}, "RATE_INVALID"),
        ({"target_fpir": 9e-7}, "RATE_INVALID"),
        ({"target_fpir": float("nan")}, "RATE_INVALID"),
        ({"galleries": ["x" * 65]}, "FIELD_INVALID"),
    ],
)
def test_bad_searches(client: AmbisClient, fields: dict[str, object], reason: str) -> None:
    with pytest.raises(CallFailed) as failed:
        client.identify(search(sample("face 1 1"), **fields))
    assert (failed.value.code, failed.value.reason) == (grpc.StatusCode.INVALID_ARGUMENT, reason)


def test_read_your_writes_and_an_lsn_that_nobody_was_given(client: AmbisClient) -> None:
    lsn = client.enrol(person(2)).lsn
    assert client.identify(search(sample("face 2 1"), min_lsn=lsn)).candidates[0].subject_id == "p2"
    with pytest.raises(CallFailed) as failed:
        client.identify(search(sample("face 2 1"), min_lsn=lsn + 1))
    assert (failed.value.code, failed.value.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "LSN_UNKNOWN")


def test_long_texts_come_back_shortened(server: AmbisServer, client: AmbisClient) -> None:
    with pytest.raises(CallFailed) as failed:
        client.identify(search(template_sample(face(1).to_bytes(), algorithm="x" * 100_000)))
    assert (failed.value.code, failed.value.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "TEMPLATE_INVALID")
    assert len(failed.value.message) <= 1000
    with grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        stub = enrollment_grpc.EnrollmentServiceStub(channel)
        with pytest.raises(grpc.RpcError, match="must have 1-128"):
            stub.GetSubject(enrollment_service_pb2.GetSubjectRequest(transaction_id="t\n" * 50_000, subject_id="a"))


def test_templates_that_no_search_would_find_are_refused(client: AmbisClient) -> None:
    search, verification = (IrisCode(np.zeros(n, np.uint64), np.zeros(n, np.uint64)) for n in (32, 128))
    nothing = IrisTemplate("iris-loggabor-2", 1, 128, search, verification)
    misnamed = FaceTemplate("iris-loggabor-2", 1, face(1).embedding)
    for template, reason in ((nothing, "TEMPLATE_UNUSABLE"), (misnamed, "TEMPLATE_INVALID")):
        position = Position.IRIS_LEFT if template is nothing else Position.FACE
        bad = image_sample(position, template.to_bytes())
        with pytest.raises(CallFailed) as failed:
            client.enrol(person(3, samples=[bad]))
        assert (failed.value.code, failed.value.reason) == (grpc.StatusCode.INVALID_ARGUMENT, reason)


def bulk(number: int, encounter: enrollment_service_pb2.Encounter) -> enrollment_service_pb2.BulkEnrollRequest:
    return enrollment_service_pb2.BulkEnrollRequest(
        transaction_id=f"t{number}", idempotency_key=f"bulk-{number:06}", sequence=number, encounter=encounter
    )


def test_bulk_stream_answers_every_item_and_bad_ones_fail_alone(client: AmbisClient) -> None:
    requests = [bulk(i, person(i) if i % 10 else person(i, samples=[sample("nonsense")])) for i in range(100)]
    answers = {r.sequence: r for r in client.bulk_enrol(requests)}
    assert sorted(answers) == list(range(100))
    for number, answer in answers.items():
        assert answer.transaction_id == f"t{number}"
        if number % 10:
            assert answer.result.subject_id == f"p{number}"
        else:
            assert (answer.error.code, answer.error.reason) == (3, "NOT_A_SAMPLE")
            assert answer.error.field == "encounter.samples[0].image.data"
    assert client.status().subjects == 90
    again = [r.result.replayed for r in client.bulk_enrol([r for r in requests if r.sequence % 10])]
    assert again == [True] * 90
    assert client.status().subjects == 90


def test_batch_identify(client: AmbisClient) -> None:
    for i in range(10):
        client.enrol(person(i))
    requests = [
        identification_service_pb2.BatchIdentifyRequest(
            transaction_id=f"t{i}", sequence=i, search=search(sample(f"face {i} 2" if i < 10 else "nonsense"))
        )
        for i in range(12)
    ]
    answers = {r.sequence: r for r in client.batch_identify(requests)}
    assert [answers[i].result.candidates[0].subject_id for i in range(10)] == [f"p{i}" for i in range(10)]
    assert [answers[i].error.reason for i in (10, 11)] == ["NOT_A_SAMPLE"] * 2


def test_empty_stream(client: AmbisClient) -> None:
    assert list(client.bulk_enrol([])) == []


def test_a_client_that_goes_away_in_mid_stream_harms_nobody(server: AmbisServer, client: AmbisClient) -> None:
    with AmbisClient(f"127.0.0.1:{server.port}") as leaving:
        answers = leaving.bulk_enrol(bulk(i, person(i)) for i in range(500))
        next(answers)
    assert client.identify(search(sample("face 0 1"))).gallery_size >= 1
    assert client.enrol(person(9999)).subject_id == "p9999"


def test_more_streams_than_items_run_at_once(server: AmbisServer) -> None:
    counts: list[int] = []

    def load(start: int) -> None:
        with AmbisClient(f"127.0.0.1:{server.port}") as one:
            counts.append(sum(1 for _ in one.bulk_enrol(bulk(i, person(i)) for i in range(start, start + 40))))

    threads = [threading.Thread(target=load, args=(1000 * k,)) for k in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert counts == [40] * 8


def test_status(client: AmbisClient) -> None:
    client.enrol(person(1, galleries=["arrestees"]))
    status = client.status()
    assert (status.subjects, status.encounters, status.lsn, status.searchable_lsn) == (1, 1, 1, 1)
    assert [(g.gallery, g.subjects, g.encounters) for g in status.galleries] == [("arrestees", 1, 1)]
    modalities = {m.modality: m for m in status.modalities}
    assert modalities["face"].extraction_ready
    assert modalities["face"].references == 1
    assert modalities["face"].calibration_trusted_to == pytest.approx(60.0)
    assert not modalities["finger"].extraction_ready
    assert modalities["finger"].detail == "no fingers here"
    assert "faiss-cpu" in status.libraries
    memory = {use.part: (use.ram_bytes, use.mapped_bytes) for use in status.memory}
    assert memory["roster"][0] > 0
    assert memory["iris search codes"] == (2 * 2048 // 8, 0)
    assert memory["iris verification codes"][1] >= 2 * 8192 // 8
    assert status.resident_bytes > 10_000_000
    assert status.threads == workers().count
    assert status.searches_waiting == 0


def test_health_and_reflection(server: AmbisServer) -> None:
    with grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        health: Any = health_pb2_grpc.HealthStub(channel)
        for name in ("", *SERVICES):
            answer = health.Check(health_pb2.HealthCheckRequest(service=name))
            assert answer.status == health_pb2.HealthCheckResponse.SERVING
        reflection: Any = reflection_pb2_grpc.ServerReflectionStub(channel)
        question = reflection_pb2.ServerReflectionRequest(list_services="")
        (listing,) = reflection.ServerReflectionInfo(iter([question]))
        assert set(SERVICES) <= {s.name for s in listing.list_services_response.service}


def test_errors_carry_details_that_programs_can_read(server: AmbisServer) -> None:
    from google.rpc import error_details_pb2
    from grpc_status import rpc_status

    with grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        stub = enrollment_grpc.EnrollmentServiceStub(channel)
        with pytest.raises(grpc.RpcError) as failed:
            stub.GetSubject(enrollment_service_pb2.GetSubjectRequest(transaction_id="tx-1", subject_id="nobody"))
        assert isinstance(failed.value, grpc.Call)
        status = rpc_status.from_call(failed.value)
        assert status is not None
        kinds = {d.type_url.rsplit(".", 1)[-1]: d for d in status.details}
        info, request = error_details_pb2.ErrorInfo(), error_details_pb2.RequestInfo()
        kinds["ErrorInfo"].Unpack(info)
        kinds["RequestInfo"].Unpack(request)
        assert (info.reason, info.domain, request.request_id) == ("SUBJECT_NOT_FOUND", "ambis", "tx-1")
        assert "BadRequest" in kinds


def test_port_taken(server: AmbisServer, tmp_path: Path) -> None:
    with pytest.raises(PreconditionFailed, match="cannot listen"):
        start(tmp_path / "other", ServerOptions(port=server.port))
    start(tmp_path / "other").stop(0.1)  # the failed start left the folder unlocked


def test_restart_on_the_same_folder(tmp_path: Path) -> None:
    for round_ in range(3):
        running = start(tmp_path / "data")
        with AmbisClient(f"127.0.0.1:{running.port}") as client:
            client.enrol(person(round_))
            found = client.identify(search(sample("face 0 5")))
            assert found.gallery_size == round_ + 1
            assert found.candidates[0].subject_id == "p0"
        running.stop(1.0)


def test_too_many_calls_are_told_to_come_again(tmp_path: Path) -> None:
    running = start(tmp_path / "data", ServerOptions(calls=1))
    release = threading.Event()

    def slow() -> Iterator[enrollment_service_pb2.BulkEnrollRequest]:
        yield bulk(1, person(1))
        release.wait(20)

    with AmbisClient(f"127.0.0.1:{running.port}", ClientOptions(attempts=1)) as client:
        answers = client.bulk_enrol(slow())
        next(answers)
        with grpc.insecure_channel(f"127.0.0.1:{running.port}") as channel:
            stub = status_service_pb2_grpc.StatusServiceStub(channel)
            with pytest.raises(grpc.RpcError) as failed:
                stub.GetStatus(status_service_pb2.GetStatusRequest(transaction_id="t"), timeout=10)
            assert isinstance(failed.value, grpc.Call)
            assert failed.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        release.set()
        assert list(answers) == []
    running.stop(1.0)


def test_searches_that_come_at_once_get_what_they_would_get_alone(client: AmbisClient) -> None:
    for i in range(12):
        client.enrol(person(i))
    searches = [search(sample(f"face {i % 12} 3"), max_candidates=3) for i in range(48)]
    alone = [client.identify(one) for one in searches[:12]]
    broken = [search(sample("face 1 3"), target_fpir=0.9), search(sample("face 1 3"), max_candidates=2000)]
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(client.identify, searches))
        stream = [
            identification_service_pb2.BatchIdentifyRequest(transaction_id="t", sequence=i, search=one)
            for i, one in enumerate([*searches, *broken])
        ]
        streamed = list(pool.submit(lambda: sorted(client.batch_identify(stream), key=lambda r: r.sequence)).result())
    assert answers == [alone[i % 12] for i in range(48)]
    assert [r.result for r in streamed[:48]] == answers
    assert [r.error.code for r in streamed[48:]] == [grpc.StatusCode.INVALID_ARGUMENT.value[0]] * 2


def test_a_search_whose_caller_went_away_leaves_the_queue(
    server: AmbisServer, client: AmbisClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    client.enrol(person(1))
    begun, gate, queue = threading.Semaphore(0), threading.Event(), server._searches
    make, made = queue._search, list[int]()

    def gated(requests: Sequence[SearchRequest]) -> Sequence[SearchResult | AmbisError]:
        made.append(len(requests))
        begun.release()
        assert gate.wait(20)
        return make(requests)

    def until_waiting(count: int) -> None:
        for _ in range(2000):
            if queue.waiting == count:
                return
            time.sleep(0.01)
        pytest.fail(f"{queue.waiting} searches wait")

    monkeypatch.setattr(queue, "_search", gated)
    with grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        stub = identification_service_pb2_grpc.IdentificationServiceStub(channel)
        request = identification_service_pb2.IdentifyRequest(transaction_id="t", search=search(sample("face 1 1")))
        first = stub.Identify.future(request)
        assert begun.acquire(timeout=20)
        gone = stub.Identify.future(request)
        until_waiting(1)
        gone.cancel()
        until_waiting(0)
        gate.set()
        assert first.result(timeout=20).result.candidates[0].subject_id == "p1"
    assert made == [1]


def test_searches_beyond_the_queue_are_told_when_to_come_again(tmp_path: Path) -> None:
    from google.rpc import error_details_pb2
    from grpc_status import rpc_status

    batching = BatchingParameters(waiting=0)
    running = start(tmp_path / "data", ServerOptions(batching=batching))
    with grpc.insecure_channel(f"127.0.0.1:{running.port}") as channel:
        stub = identification_service_pb2_grpc.IdentificationServiceStub(channel)
        request = identification_service_pb2.IdentifyRequest(transaction_id="tx-9", search=search(sample("face 1 1")))
        with pytest.raises(grpc.RpcError) as failed:
            stub.Identify(request, timeout=10)
        assert isinstance(failed.value, grpc.Call)
        assert failed.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        status = rpc_status.from_call(failed.value)
        assert status is not None
        retry = error_details_pb2.RetryInfo()
        assert any(detail.Unpack(retry) for detail in status.details)
        assert retry.retry_delay.ToMilliseconds() == 1000
    pauses: list[float] = []
    with (
        AmbisClient(f"127.0.0.1:{running.port}", ClientOptions(attempts=3), pauses.append) as client,
        pytest.raises(CallFailed, match="waiting already"),
    ):
        client.identify(search(sample("face 1 1")))
    assert len(pauses) == 2
    assert all(1.0 <= pause <= 1.2 for pause in pauses)
    running.stop(1.0)


def test_one_picture_cannot_stand_for_two_people_of_one_request(client: AmbisClient) -> None:
    first, second = (face_of("face 7 2, face 8 1", number) for number in (1, 2))
    with pytest.raises(CallFailed, match="one person") as failed:
        client.enrol(person(7, samples=[first, second]))
    assert (failed.value.code, failed.value.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "FACE_CHOICE_INVALID")
    with pytest.raises(CallFailed, match="one person"):
        client.identify(search(first, second))
    client.enrol(person(7, samples=[first, first]))
