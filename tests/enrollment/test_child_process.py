"""A child that answers, dies, hangs or is interrupted: the next request finds a sound one."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import pytest

from enrollment.child_process import ChildDied, ChildProcess, ChildTooSlow, read_exactly

ECHO = """
import sys
while line := sys.stdin.buffer.readline():
    if line == b"die\\n":
        sys.exit(1)
    if line == b"half\\n":
        sys.stdout.buffer.write(b"12")
        sys.stdout.buffer.flush()
        sys.exit(1)
    if line == b"hang\\n":
        import time
        time.sleep(60)
    sys.stdout.buffer.write(b"<" + line[:-1] + b">")
    sys.stdout.buffer.flush()
"""


@pytest.fixture
def child(tmp_path: Path) -> Iterator[ChildProcess]:
    script = tmp_path / "echo.py"
    script.write_text(ECHO)
    child = ChildProcess(script, 20.0)
    yield child
    child.close()


def five(stream: IO[bytes]) -> bytes:
    return read_exactly(stream, 5)


def test_requests_are_answered_by_one_process(child: ChildProcess) -> None:
    assert child.process is None
    assert child.ask(b"abc\n", five) == b"<abc>"
    first = child.process
    assert child.ask(b"xyz\n", five) == b"<xyz>"
    assert child.process is first


@pytest.mark.parametrize("request_", [b"die\n", b"half\n"])
def test_one_that_dies_is_replaced(child: ChildProcess, request_: bytes) -> None:
    with pytest.raises(ChildDied):
        child.ask(request_, five)
    assert child.ask(b"abc\n", five) == b"<abc>"


def test_one_that_was_killed_meanwhile_is_replaced(child: ChildProcess) -> None:
    process = child.start()
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert child.ask(b"abc\n", five) == b"<abc>"


def test_one_that_hangs_is_ended(child: ChildProcess) -> None:
    child.ask(b"abc\n", five)
    child._seconds = 0.3
    hanging = child.start()
    with pytest.raises(ChildTooSlow, match=r"0\.3 s"):
        child.ask(b"hang\n", five)
    assert hanging.poll() is not None
    child._seconds = 20.0
    assert child.ask(b"abc\n", five) == b"<abc>"


def test_an_answer_that_was_not_read_to_its_end_meets_no_other_request(child: ChildProcess) -> None:
    def refuse(stream: IO[bytes]) -> bytes:
        read_exactly(stream, 2)
        raise ValueError("not what was expected")

    with pytest.raises(ValueError, match="expected"):
        child.ask(b"abc\n", refuse)
    assert child.ask(b"xyz\n", five) == b"<xyz>"


def test_a_closed_one_has_ended(child: ChildProcess) -> None:
    process = child.start()
    child.close()
    child.close()
    assert process.poll() is not None
    assert child.ask(b"abc\n", five) == b"<abc>"
