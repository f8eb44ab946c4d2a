"""1:N of two fingers, a face and two irises through gRPC: how a server grows, and many clients that search it at once.

The server is one in a process of its own, filled with synthetic people (``synthetic_server`` says what is real of it).
Half of the searches are of people on record, by other captures of theirs; a quarter have fingers of unknown position.
Searches are checked as they are measured: whoever is on record comes first, whoever is not is no HIT.

There is no other system that does this work here. What is compared instead is taken in the same run: the machine's own
limits (``limits``; only the scans of vectors and codes are in them), and one client with many.
"""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.suites.limits import Work, distance, measured_limits
from benchmarks.suites.load import Load, LoadSearch, make_searches, run_load
from benchmarks.suites.pairs import Benchmark
from benchmarks.suites.sizes import Sizes
from benchmarks.suites.synthetic_people import TEN_FINGERS, SyntheticPeople
from benchmarks.suites.synthetic_server import ServerMemory, SyntheticServer
from matcher.decision import Verdict
from matcher.finger.parameters import VectorParameters
from matcher.iris.parameters import PARAMETERS as IRIS
from matcher.stages import StageTime, since
from matcher.threads import workers

pytestmark = pytest.mark.search

SEED = 70
PROCESSES = 2
"""That make people."""
CLIENTS = (1, 8, 32)
FACE_NUMBERS = 512
GIVEN_UP = ("DEADLINE_EXCEEDED", "OVERLOADED", "RESOURCE_EXHAUSTED")
BYTES_A_SUBJECT = 8000
"""Of RAM, with ten fingers: what the design allows."""


@dataclasses.dataclass
class Growing:
    """A server that was filled step by step, and what was measured at each.

    Attributes:
        rates: searches a second with one client, by how many people there were.
    """

    server: SyntheticServer
    people: SyntheticPeople
    empty: ServerMemory
    size: int = 0
    rates: dict[int, float] = dataclasses.field(default_factory=dict)
    steps: list[dict[str, Any]] = dataclasses.field(default_factory=list)

    def grow(self, size: int, searches: Sequence[LoadSearch], sizes: Sizes) -> None:
        """Fills it up to so many people and searches it from one client."""
        seconds = self.server.grow(size)
        added, self.size = size - self.size, size
        memory = self.server.memory()
        run_load(self.server.address, searches[:4], 1, 4, 0.0)
        load = run_load(self.server.address, searches, 1, sizes.load_searches // 2, 0.0)
        check(load, searches)
        self.steps.append(
            {
                "people": size,
                "p50": load.percentile(50),
                "p95": load.percentile(95),
                "searches": len(load.answers),
                "fill_a_second": added / seconds,
                "ram": memory.ram,
                "mapped": memory.mapped,
                "process": memory.process,
                "parts": {name: [use.ram, use.mapped] for name, use in memory.parts.items()},
            }
        )


@pytest.fixture(scope="module")
def growing(tmp_path_factory: pytest.TempPathFactory, sizes: Sizes) -> Iterator[Growing]:
    people = SyntheticPeople(SEED)
    processes = PROCESSES if sizes.growth[-1] > 10_000 else 0
    with SyntheticServer(tmp_path_factory.mktemp("server"), people, processes) as server:
        yield Growing(server, people, server.memory())


def test_growth(benchmark: Benchmark, growing: Growing, sizes: Sizes) -> None:
    """Time and memory at several sizes, and their slopes."""
    measure_growth(benchmark, growing, sizes.growth, sizes)


@pytest.mark.parametrize("clients", CLIENTS)
def test_identify(benchmark: Benchmark, growing: Growing, sizes: Sizes, clients: int) -> None:
    """Many clients at once."""
    measure_load(benchmark, growing, sizes.growth[-1], clients, sizes)


@pytest.mark.slow
def test_growth_to_the_most(benchmark: Benchmark, growing: Growing, sizes: Sizes) -> None:
    measure_growth(benchmark, growing, (*sizes.growth, sizes.most_people), sizes)


@pytest.mark.slow
@pytest.mark.parametrize("clients", CLIENTS)
def test_identify_among_the_most(benchmark: Benchmark, growing: Growing, sizes: Sizes, clients: int) -> None:
    measure_load(benchmark, growing, sizes.most_people, clients, sizes)


def test_memory_of_ten_fingers(benchmark: Benchmark, tmp_path: Path, sizes: Sizes) -> None:
    """Bytes of a subject with ten fingers, a face and two irises, by part, and what the process grew by."""
    benchmark.group = "multimodal 1:N"
    people = SyntheticPeople(SEED + 1, TEN_FINGERS)
    count = sizes.ten_finger_people
    with SyntheticServer(tmp_path / "server", people, PROCESSES if count > 5_000 else 0) as server:
        empty = server.memory()
        server.grow(count)
        memory = server.memory()
        searches = make_searches(people, count, 8, SEED + 1)
        load = run_load(server.address, searches, 1, 8, 0.0)
        check(load, searches)
    ram = memory.ram / count
    benchmark.pedantic(lambda: None, setup=lambda: None, rounds=1, iterations=1)
    benchmark.extra_info.update(
        operation=f"subject with ten fingers, a face and two irises, of {count:,}: RAM",
        unit="B",
        operations_per_round=1,
        seconds_per_operation=ram,
        peers=peer("budget", BYTES_A_SUBJECT / ram, BYTES_A_SUBJECT, "what the design allows: 8,000 bytes"),
        memory={
            "people": count,
            "ram": memory.ram,
            "mapped": memory.mapped,
            "parts": {name: [use.ram, use.mapped] for name, use in memory.parts.items()},
            "process": memory.process,
            "process_empty": empty.process,
        },
    )


def measure_growth(benchmark: Benchmark, growing: Growing, steps: Sequence[int], sizes: Sizes) -> None:
    """Grows the server through the steps that it has not gone through yet."""
    benchmark.group = "multimodal 1:N"
    searches = make_searches(growing.people, steps[0], sizes.load_searches // 2, SEED + 2)

    def grow() -> None:
        for step in steps:
            if step > growing.size:
                growing.grow(step, searches, sizes)

    benchmark.pedantic(grow, setup=lambda: None, rounds=1, iterations=1)
    done = [step for step in growing.steps if step["people"] <= steps[-1]]
    counts = np.array([step["people"] for step in done], float)
    slopes = {name: slope(counts, [step[name] for step in done]) for name in ("p50", "ram", "mapped")}
    slopes["own"] = slope(counts, [step["process"]["own"] for step in done])
    first, last = done[0], done[-1]
    # 1 where a search of k times as many people takes k times as long, more where it takes less.
    linear = (last["people"] / first["people"]) / (last["p50"] / first["p50"])
    benchmark.extra_info.update(
        operation=f"search at {first['people']:,} people and at {last['people']:,}, p50 of one client",
        operations_per_round=1,
        seconds_per_operation=last["p50"],
        peers=peer("proportional", linear, linear * last["p50"], "the time at the smaller size times the sizes' ratio"),
        growth={"steps": done, "slopes": slopes, "empty": growing.empty.process},
    )


def slope(x: np.ndarray[Any, Any], y: Sequence[float]) -> float:
    """Of the straight line with the least squares."""
    return float(np.polyfit(x, np.asarray(y, float), 1)[0])


def measure_load(benchmark: Benchmark, growing: Growing, size: int, clients: int, sizes: Sizes) -> None:
    """Searches the server of ``size`` people with so many clients at once."""
    benchmark.group = "multimodal 1:N"
    if growing.size < size:
        growing.server.grow(size)
        growing.size = size
    assert growing.size == size
    searches = make_searches(growing.people, size, 200 if size > 1000 else 40, SEED + 3)
    run_load(growing.server.address, searches, clients, max(4, clients), 0.0)
    before = growing.server.stages()
    loads: list[Load] = []

    def load() -> None:
        loads.append(run_load(growing.server.address, searches, clients, sizes.load_searches, sizes.load_seconds))

    benchmark.pedantic(load, setup=lambda: None, rounds=1, iterations=1)
    (done,) = loads
    stages = since(before, growing.server.stages())
    said = check(done, searches)
    if clients == 1:
        growing.rates[size] = done.rate
        limit = distance(done.percentile(50), search_work(size), measured_limits(workers().count))
        benchmark.extra_info["limit"] = limit
        peers = peer("limit", limit["share"], limit["seconds"], f"the machine's {limit['by']}, for the scans alone")
    elif size in growing.rates:
        one = growing.rates[size]
        peers = peer("one-client", done.rate / one, 1 / one, "the same searches from one client")
    else:
        peers = {}
    benchmark.extra_info.update(
        operation=f"Identify among {size:,} people, {clients} at once; ours and peer are seconds a search",
        operations_per_round=len(done.answers),
        seconds_per_operation=1 / done.rate if clients > 1 else done.percentile(50),
        peers=peers,
        load={
            "people": size,
            "clients": clients,
            "searches": len(done.answers),
            **{f"p{percent}": done.percentile(percent) for percent in (50, 95, 99)},
            "rate": done.rate,
            **said,
        },
        stages=stages_a_search(stages, len(done.answers)),
    )


def check(load: Load, searches: Sequence[LoadSearch]) -> dict[str, Any]:
    """Counts right and wrong answers; raises where one is wrong.

    Whoever has a mate must find it first; whoever has none must be no HIT. A search may be given up where the server
    has more to do than it can, and says so; not with one client, of course.
    """
    errors = [answer.error for answer in load.answers if answer.error]
    others = [error for error in errors if error not in GIVEN_UP or load.clients == 1]
    assert not others, f"{len(others)} searches failed, the first with {others[0]}"
    answered = [answer for answer in load.answers if not answer.error]
    mated = [(a, searches[a.number]) for a in answered if searches[a.number].mate]
    alone = [a for a in answered if not searches[a.number].mate]
    missed = [(s.mate, a.best) for a, s in mated if a.best != s.mate]
    false_hits = [a.best for a in alone if a.verdict == Verdict.HIT]
    assert not missed, f"{len(missed)} of {len(mated)} mates were not first: {missed[:3]}"
    assert not false_hits, f"{len(false_hits)} of {len(alone)} strangers were a HIT: {false_hits[:3]}"
    unknown = [a.seconds for a in answered if searches[a.number].unknown_fingers]
    known = [a.seconds for a in answered if not searches[a.number].unknown_fingers]
    return {
        "mated": len(mated),
        "first": len(mated) - len(missed),
        "hits": sum(a.verdict == Verdict.HIT for a, _ in mated),
        "strangers": len(alone),
        "false_hits": len(false_hits),
        "given_up": len(errors),
        "p50_known": statistics.median(known) if known else None,
        "p50_unknown": statistics.median(unknown) if unknown else None,
        "unknown": len(unknown),
    }


def search_work(people: int) -> Work:
    """What the scans of a search cannot do without: reading every vector and first-stage code once, multiplying the
    vectors, and counting the codes' bits that agree and that are compared for every rotation.

    A quarter of the searches have two fingers of unknown position, each searched in two parts: on average a search
    scans two and a half columns of finger vectors, and reads two.
    """
    vectors = VectorParameters().numbers
    words = IRIS.prefix.words
    rotations = 2 * IRIS.max_shift + 1
    return Work(
        read_bytes=people * (2 * vectors + FACE_NUMBERS + 2 * 2 * 8 * words),
        int8_products=people * (2.5 * vectors + FACE_NUMBERS),
        counted_words=people * 2 * 2 * words * rotations,
    )


def stages_a_search(stages: dict[str, StageTime], searches: int) -> dict[str, list[float]]:
    """By stage: calls and seconds a search."""
    return {name: [time.calls / searches, time.seconds / searches] for name, time in stages.items()}


def peer(name: str, ratio: float, amount: float, answers: str) -> dict[str, dict[str, Any]]:
    """What ``pairs.measure`` leaves of a peer, for one that is computed from the same run."""
    return {
        name: {
            "ratio": ratio,
            "seconds_per_operation": amount,
            "operations_per_round": 1,
            "answers": answers,
            "seconds": [amount],
        }
    }
