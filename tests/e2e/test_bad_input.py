"""Hostile and mistaken input over gRPC to a real server: a clear status with details, and the server goes on."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable

import grpc
import numpy as np
import pytest
from PIL import Image

from ambis.v1 import (
    common_pb2,
    enrollment_service_pb2,
    identification_service_pb2,
    identification_service_pb2_grpc,
)
from enrollment.client import AmbisClient, CallFailed, image_sample
from enrollment.server_process import ServerProcess
from matcher.positions import Position

Samples = Callable[[int, int], bytes]


def bomb() -> bytes:
    """A PNG of a few hundred bytes that claims 50,000 x 50,000 pixels."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", 50_000, 50_000, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    )


def blank() -> bytes:
    stream = io.BytesIO()
    Image.fromarray(np.full((400, 400), 255, np.uint8)).save(stream, "PNG")
    return stream.getvalue()


def identify(client: AmbisClient, *samples: common_pb2.Sample) -> CallFailed:
    with pytest.raises(CallFailed) as failed:
        client.identify(identification_service_pb2.Search(samples=samples))
    return failed.value


@pytest.fixture(autouse=True)
def goes_on(client: AmbisClient, finger: Samples) -> object:
    """After each test the server still finds who was enrolled before it."""
    subject = "stays"
    if subject not in _enrolled:
        encounter = enrollment_service_pb2.Encounter(
            subject_id=subject, samples=[image_sample(Position.RIGHT_INDEX, finger(31, 1))]
        )
        client.enrol(encounter)
        _enrolled.add(subject)
    yield
    search = identification_service_pb2.Search(samples=[image_sample(Position.RIGHT_INDEX, finger(31, 2))])
    result = client.identify(search)
    assert result.verdict == common_pb2.VERDICT_HIT
    assert result.candidates[0].subject_id == subject


_enrolled: set[str] = set()


def test_images_that_are_none(client: AmbisClient, finger: Samples) -> None:
    good = finger(31, 2)
    cases = {
        "IMAGE_TRUNCATED": good[: len(good) // 2],
        "IMAGE_TOO_LARGE": bomb(),
        "IMAGE_UNREADABLE": b"Dear sir, please find attached the fingerprint.",
        "IMAGE_EMPTY": b"",
    }
    for reason, data in cases.items():
        failed = identify(client, image_sample(Position.RIGHT_INDEX, data))
        assert (failed.code, failed.reason) == (grpc.StatusCode.INVALID_ARGUMENT, reason)
        assert failed.field == "search.samples[0]"


def test_samples_of_something_else(client: AmbisClient, finger: Samples, eye: Samples) -> None:
    for position, data, reason in (
        (Position.RIGHT_INDEX, eye(5, 1), "FINGER_NOT_FOUND"),
        (Position.RIGHT_INDEX, blank(), "FINGER_NOT_FOUND"),
        (Position.IRIS_LEFT, finger(31, 2), "IRIS_NOT_FOUND"),
        (Position.IRIS_LEFT, blank(), "IRIS_NOT_FOUND"),
    ):
        failed = identify(client, image_sample(position, data))
        assert (failed.code, failed.reason) == (grpc.StatusCode.INVALID_ARGUMENT, reason)


def test_a_hundred_megabytes(client: AmbisClient) -> None:
    failed = identify(client, image_sample(Position.RIGHT_INDEX, bytes(100 * 1024 * 1024)))
    assert (failed.code, failed.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "IMAGE_TOO_LARGE")
    assert failed.field == "search.samples[0]"


def test_more_than_one_message_holds(client: AmbisClient, server: ServerProcess) -> None:
    sample = image_sample(Position.RIGHT_INDEX, bytes(80 * 1024 * 1024))
    failed = identify(client, sample, sample)
    assert (failed.code, failed.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "MESSAGE_TOO_LARGE")
    assert not failed.retryable
    # A client without a limit of its own is stopped by the server's.
    search = identification_service_pb2.Search(samples=[sample, sample])
    request = identification_service_pb2.IdentifyRequest(transaction_id="t", search=search)
    with grpc.insecure_channel(server.address, [("grpc.max_send_message_length", -1)]) as channel:
        stub = identification_service_pb2_grpc.IdentificationServiceStub(channel)
        with pytest.raises(grpc.RpcError, match="larger than max") as stopped:
            stub.Identify(request, timeout=60)
        assert isinstance(stopped.value, grpc.Call)
        assert stopped.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


def test_unknown_position_and_empty_probe(client: AmbisClient) -> None:
    unknown = common_pb2.Sample(position=19, image=common_pb2.Image(data=b"x"))  # type: ignore[arg-type]
    assert identify(client, unknown).reason == "POSITION_UNKNOWN"
    assert identify(client).reason == "SAMPLES_MISSING"
    assert identify(client, common_pb2.Sample(position=common_pb2.POSITION_FACE)).reason == "SAMPLE_EMPTY"


def test_duplicate_subject(client: AmbisClient, finger: Samples) -> None:
    encounter = enrollment_service_pb2.Encounter(
        subject_id="stays", samples=[image_sample(Position.RIGHT_INDEX, finger(32, 1))]
    )
    with pytest.raises(CallFailed) as failed:
        client.enrol(encounter)
    assert (failed.value.code, failed.value.reason) == (grpc.StatusCode.ALREADY_EXISTS, "SUBJECT_EXISTS")
