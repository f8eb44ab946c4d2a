"""Streams: every item answered once, bounded work, and no thread left behind."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from matcher.service.streams import run_stream


def test_every_item_once() -> None:
    with ThreadPoolExecutor(8) as pool:
        answers = list(run_stream(iter(range(500)), lambda n: n * n, pool, 16))
    assert sorted(answers) == [n * n for n in range(500)]


def test_empty() -> None:
    with ThreadPoolExecutor(1) as pool:
        assert list(run_stream(iter(()), lambda n: n, pool, 4)) == []


def test_answers_that_nobody_reads_hold_the_client_back() -> None:
    read = 0

    def requests() -> Iterator[int]:
        nonlocal read
        while True:
            read += 1
            yield read

    with ThreadPoolExecutor(4) as pool:
        answers = run_stream(requests(), lambda n: n, pool, 4)
        next(answers)
        deadline = time.monotonic() + 5
        while read < 5 and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(0.2)
        assert read <= 7  # the window, the one taken, the one that waits for room
        answers.close()  # type: ignore[attr-defined]  # run_stream is a generator


def test_a_broken_request_stream_is_raised() -> None:
    def requests() -> Iterator[int]:
        yield 1
        raise ConnectionError("gone")

    with ThreadPoolExecutor(2) as pool, pytest.raises(ConnectionError):
        list(run_stream(requests(), lambda n: n, pool, 4))


def test_leaving_early_ends_the_reader() -> None:
    before = {t.name for t in threading.enumerate()}
    with ThreadPoolExecutor(2) as pool:
        answers = run_stream(iter(range(10_000)), lambda n: n, pool, 4)
        next(answers)
        answers.close()  # type: ignore[attr-defined]  # run_stream is a generator
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline and any(
        t.name == "stream-reader" for t in threading.enumerate() if t.name not in before
    ):
        time.sleep(0.01)
    assert not any(t.name == "stream-reader" for t in threading.enumerate())
