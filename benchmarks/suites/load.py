"""Clients that search a server over gRPC at the same time, in a process of their own, and what comes of it.

Every client has a connection of its own and sends its next search when the last one is answered. Percentiles are of all
answers of all clients; a call that had to be repeated counts from its first try.
"""

from __future__ import annotations

import dataclasses
import multiprocessing
import threading
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from time import perf_counter
from typing import Any

import numpy as np

from ambis.v1 import common_pb2, identification_service_pb2
from benchmarks.suites.synthetic_people import SyntheticPeople, subject_id
from enrollment.client import AmbisClient, CallFailed, ClientOptions, image_sample
from enrollment.synthesis.face_templates import FaceVectorParameters
from matcher.positions import Modality, Position

BLOCK = FaceVectorParameters().block
STRANGERS_FROM = 1000 * BLOCK
"""Number of the first person that nobody enrols."""
BLOCKS = 8
"""Blocks of people that mates come from."""
SECONDS = 300.0
"""That a search may take before it counts as failed."""


@dataclasses.dataclass(frozen=True)
class LoadSearch:
    """A search of somebody.

    Attributes:
        message: ``ambis.v1.Search``, serialised.
        mate: subject id that must be found; empty where the person is not on record.
        unknown_fingers: its fingers are not said to be any finger in particular.
    """

    message: bytes
    mate: str
    unknown_fingers: bool


@dataclasses.dataclass(frozen=True)
class LoadAnswer:
    """The answer to one of the searches: its number, when it was sent (seconds), how long it took, what it said.

    ``error`` is the reason of a call that failed, empty otherwise; ``best`` the first candidate's subject id.
    """

    number: int
    began: float
    seconds: float
    verdict: int
    best: str
    error: str = ""


@dataclasses.dataclass(frozen=True)
class Load:
    """What a load came to.

    Attributes:
        clients: that searched at the same time.
        seconds: from the first search sent to the last one answered.
        answers: in any order.
    """

    clients: int
    seconds: float
    answers: list[LoadAnswer]

    def percentile(self, percent: float) -> float:
        """Seconds that so many percent of the searches took at the most; of those that failed, until they did."""
        return float(np.percentile([answer.seconds for answer in self.answers], percent, method="inverted_cdf"))

    @property
    def rate(self) -> float:
        """Searches answered a second."""
        return sum(not answer.error for answer in self.answers) / self.seconds


def make_searches(people: SyntheticPeople, enrolled: int, count: int, seed: int) -> list[LoadSearch]:
    """Searches by all positions of a person: every other one is of somebody enrolled, and every fourth pair of them has
    fingers of unknown position.

    Args:
        people: of whom the first ``enrolled`` are on record.
        count: how many.
        seed: of the captures.
    """
    mates = _spread(enrolled, -(-count // 2))
    found: list[tuple[int, Sequence[Any]]] = []
    for first, number in mates:
        found += zip(range(first, first + number), people.captures(first, number, seed), strict=True)
    if len(found) < -(-count // 2):
        raise ValueError(f"{enrolled} people are too few for {count} searches, half of them with a mate")
    # First captures: theirs scatter against others' as real ones do, which other captures, behind more lids, do not.
    strangers = people.templates(STRANGERS_FROM, count // 2)
    searches = []
    for i in range(count):
        number, templates = found[i // 2] if i % 2 == 0 else (-1, strangers[i // 2])
        unknown = i // 2 % 4 == 0
        searches.append(
            LoadSearch(
                _message(people.positions, templates, unknown).SerializeToString(),
                subject_id(number) if number >= 0 else "",
                unknown,
            )
        )
    return searches


def _spread(enrolled: int, wanted: int) -> list[tuple[int, int]]:
    """First numbers and how many: of people from several blocks; as many as are wanted, or as there are."""
    blocks = list(range(0, enrolled, BLOCK))
    chosen = blocks[:: max(1, len(blocks) // BLOCKS)][:BLOCKS]
    pieces = []
    for i, first in enumerate(chosen):
        share = wanted * (i + 1) // len(chosen) - wanted * i // len(chosen)
        pieces.append((first, min(share, enrolled - first)))
    return pieces


def _message(
    positions: Sequence[Position], templates: Sequence[Any], unknown: bool
) -> identification_service_pb2.Search:
    samples: list[common_pb2.Sample] = []
    for position, template in zip(positions, templates, strict=True):
        finger = position.modality is Modality.FINGER
        samples.append(image_sample(Position.FINGER_UNKNOWN if finger and unknown else position, template.to_bytes()))
    return identification_service_pb2.Search(samples=samples, max_candidates=10)


def run_load(address: str, searches: Sequence[LoadSearch], clients: int, least: int, seconds: float) -> Load:
    """Searches with so many clients at once, from a process of their own.

    Args:
        searches: taken in turn, again from the first when all were sent.
        clients: >= 1.
        least: searches that are sent at the least,
        seconds: and as long as there is time.
    """
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
        messages = [search.message for search in searches]
        return process.submit(_search_side_by_side, address, messages, clients, least, seconds).result()


def _search_side_by_side(address: str, messages: Sequence[bytes], clients: int, least: int, seconds: float) -> Load:
    parsed = [identification_service_pb2.Search.FromString(message) for message in messages]
    answers: list[LoadAnswer] = []
    lock = threading.Lock()
    ready = threading.Barrier(clients + 1)
    sent = 0
    began = 0.0

    def client() -> None:
        nonlocal sent
        with AmbisClient(address, ClientOptions(timeout=SECONDS)) as connection:
            connection.status()
            ready.wait()
            while True:
                with lock:
                    if sent >= least and perf_counter() - began >= seconds:
                        return
                    number, sent = sent % len(parsed), sent + 1
                answer = _search(connection, parsed[number], number)
                with lock:
                    answers.append(answer)

    with ThreadPoolExecutor(clients) as pool:
        running = [pool.submit(client) for _ in range(clients)]
        began = perf_counter()
        ready.wait()
        for one in running:
            one.result()
    end = max(answer.began + answer.seconds for answer in answers)
    return Load(clients, end - min(answer.began for answer in answers), answers)


def _search(connection: AmbisClient, search: identification_service_pb2.Search, number: int) -> LoadAnswer:
    began = perf_counter()
    try:
        result = connection.identify(search)
    except CallFailed as error:
        return LoadAnswer(number, began, perf_counter() - began, 0, "", error.reason)
    seconds = perf_counter() - began
    best = result.candidates[0].subject_id if result.candidates else ""
    return LoadAnswer(number, began, seconds, int(result.verdict), best)
