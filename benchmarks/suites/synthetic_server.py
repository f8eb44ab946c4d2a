"""A real server, in a process of its own, whose shards are filled with synthetic people and not from records.

    python -m benchmarks.suites.synthetic_server FOLDER

Everything that answers a search is what ``ambis serve`` runs: settings, services, search engine, shards, indexes. What
is short-cut is how the people get there: processes make the changes that the records would tell the shards at a start
(``SyntheticPeople.changes``), and the shards apply them, a thousand at a time as at a start. Writing millions of
records, only to read them again, would take longer than all searches together; enrolment over gRPC and a start from
records are measured by themselves at a smaller size (``test_records``).

It is driven by a line of JSON on its standard input and answers with one (``SyntheticServer``).
"""

from __future__ import annotations

import enrollment.threads  # noqa: F401  # isort: skip

import contextlib
import dataclasses
import gc
import json
import multiprocessing
import os
import subprocess
import sys
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from pathlib import Path
from time import perf_counter
from types import TracebackType
from typing import Any, Self

from benchmarks.suites.synthetic_people import SyntheticPeople
from enrollment.serving import start_server
from enrollment.settings import load_settings
from matcher import stages
from matcher.changes import EncounterEnrolled
from matcher.errors import Unavailable
from matcher.modality import MemoryUse
from matcher.positions import Position
from matcher.shards.backend import ShardBackend
from matcher.stages import StageTime
from matcher.threads import use_threads

CHUNK = 4096
"""People that a process makes at a time: 40 MB on their way."""
GROUP = 1000
"""Changes that are applied at once, as by ``RecordStore.changes``."""


def fill(backend: ShardBackend, people: SyntheticPeople, first: int, end: int, processes: int) -> None:
    """Applies the changes of people ``first`` to ``end - 1`` to the shards; made by processes, in order."""
    if processes == 0:
        groups = (people.changes(at, min(CHUNK, end - at)) for at in range(first, end, CHUNK))
        for changes in groups:
            _apply(backend, changes)
        return
    # Spawned, never forked: FAISS and gRPC hang after a fork.
    with (
        _uncollected(),
        ProcessPoolExecutor(
            processes, multiprocessing.get_context("spawn"), initializer=use_threads, initargs=(1,)
        ) as pool,
    ):
        for changes in _made(pool, people, first, end, 2 * processes):
            _apply(backend, changes)


@contextlib.contextmanager
def _uncollected() -> Iterator[None]:
    """No search for garbage in cycles: reading the changes of 4,096 people makes 300,000 objects that are none, and the
    search takes two thirds of the time."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def _made(
    pool: ProcessPoolExecutor, people: SyntheticPeople, first: int, end: int, ahead: int
) -> Iterator[list[EncounterEnrolled]]:
    """The changes of chunks of people, in order; no more than ``ahead`` of them wait."""
    waiting: deque[Future[list[EncounterEnrolled]]] = deque()
    for at in range(first, end, CHUNK):
        waiting.append(pool.submit(people.changes, at, min(CHUNK, end - at)))
        if len(waiting) >= ahead:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def _apply(backend: ShardBackend, changes: Sequence[EncounterEnrolled]) -> None:
    for at in range(0, len(changes), GROUP):
        group = changes[at : at + GROUP]
        backend.apply(group, group[-1].lsn)


@dataclasses.dataclass(frozen=True)
class ServerMemory:
    """What a server takes.

    Attributes:
        parts: by name, as ``Gallery.memory`` counts.
        process: bytes in RAM, see ``resident_bytes``.
    """

    parts: dict[str, MemoryUse]
    process: dict[str, int]

    @property
    def ram(self) -> int:
        """Bytes of all parts that must stay in RAM."""
        return sum(use.ram for use in self.parts.values())

    @property
    def mapped(self) -> int:
        """Bytes of all parts that lie in mapped files."""
        return sum(use.mapped for use in self.parts.values())


def resident_bytes(pid: int) -> dict[str, int]:
    """What a process has in RAM: all of it, what is its own (``RssAnon``), and pages of files (``RssFile``)."""
    names = {"VmRSS": "all", "RssAnon": "own", "RssFile": "files", "RssShmem": "shared", "VmHWM": "most"}
    found = {}
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        name, _, value = line.partition(":")
        if name in names:
            found[names[name]] = int(value.split()[0]) * 1024
    return found


class SyntheticServer:
    """Drives such a process; a context manager.

    Args:
        folder: data folder of the server; its log lies there, too.
        people: whom it is filled with.
        processes: that make them; 0 for the server's own.
    """

    def __init__(self, folder: Path, people: SyntheticPeople, processes: int) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        config = folder / "no-settings.toml"
        config.touch()
        # Not the operator's settings: they would change what is measured.
        own = {k: v for k, v in os.environ.items() if not k.startswith("AMBIS_") or k == "AMBIS_MODELS"}
        command = [sys.executable, "-m", "benchmarks.suites.synthetic_server", str(folder)]
        self._people, self._processes = people, processes
        with (folder / "server.log").open("a") as log:
            self._process = subprocess.Popen(
                command,
                env={**own, "AMBIS_CONFIG": str(config)},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        self._log = folder / "server.log"
        hello = self._answer()
        self.address, self.pid = str(hello["address"]), int(hello["pid"])

    def grow(self, people: int) -> float:
        """Fills it up to so many people; returns the seconds that took."""
        positions = [int(position) for position in self._people.positions]
        answer = self._do("grow", seed=self._people.seed, positions=positions, people=people, processes=self._processes)
        return float(answer["seconds"])

    def memory(self) -> ServerMemory:
        """What it takes now."""
        answer = self._do("memory")
        return ServerMemory({n: MemoryUse(n, *both) for n, both in answer["parts"].items()}, answer["process"])

    def stages(self) -> dict[str, StageTime]:
        """Times of stages since it began."""
        return {name: StageTime(*time) for name, time in self._do("stages").items()}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process.poll() is None:
            with contextlib.suppress(Unavailable, BrokenPipeError):
                self._do("stop")
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait(timeout=120)

    def _do(self, name: str, **arguments: Any) -> dict[str, Any]:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"do": name, **arguments}) + "\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            code = self._process.wait()
            raise Unavailable(f"the server ended (exit code {code}):\n{self._log.read_text()[-2000:]}")
        answer: dict[str, Any] = json.loads(line)
        return answer


class _Served:
    """The commands."""

    def __init__(self, folder: Path) -> None:
        self._server = start_server(load_settings(data=folder, port=0))
        self._shards = self._server._backend
        self._people = 0

    def hello(self) -> dict[str, Any]:
        """Where it listens."""
        return {"address": f"127.0.0.1:{self._server.port}", "pid": os.getpid()}

    def grow(self, seed: int, positions: Sequence[int], people: int, processes: int) -> dict[str, Any]:
        """Fills it up to so many people."""
        began = perf_counter()
        kind = SyntheticPeople(seed, tuple(Position(p) for p in positions))
        fill(self._shards, kind, self._people, people, processes)
        seconds = perf_counter() - began
        self._shards.read_ahead()  # as after a start
        self._people = max(self._people, people)
        return {"people": self._people, "seconds": seconds}

    def memory(self) -> dict[str, Any]:
        """Bytes by part, and those of the process."""
        parts = {use.name: [use.ram, use.mapped] for use in self._shards.memory()}
        return {"parts": parts, "process": resident_bytes(os.getpid())}

    def stages(self) -> dict[str, Any]:
        """Times of stages since the server began."""
        return {name: dataclasses.astuple(time) for name, time in stages.snapshot().items()}

    def stop(self) -> dict[str, Any]:
        """Ends the server."""
        self._server.stop()
        return {}


def main() -> None:
    """See the module."""
    # Whatever a library prints must not get among the answers.
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    served = _Served(Path(sys.argv[1]))
    answers.write(json.dumps(served.hello()) + "\n")
    for line in sys.stdin:
        command = json.loads(line)
        name = command.pop("do")
        answers.write(json.dumps(getattr(served, name)(**command)) + "\n")
        if name == "stop":
            return


if __name__ == "__main__":
    main()
