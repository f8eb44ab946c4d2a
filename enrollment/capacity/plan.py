"""From people and rates to RAM, disk, time of a start and time of a search by stage."""

from __future__ import annotations

import dataclasses

from enrollment.capacity.footprint import (
    FootprintParameters,
    People,
    images_bytes,
    index_memory,
    records_bytes,
)
from enrollment.capacity.rates import Rates
from matcher.gallery_view import ShortlistParameters
from matcher.modality import MemoryUse
from matcher.positions import Modality


@dataclasses.dataclass(frozen=True)
class Search:
    """The samples of a search."""

    fingers: int = 2
    irises: int = 2
    faces: int = 1

    def probes(self, modality: Modality) -> int:
        """Samples of a modality."""
        return {Modality.FINGER: self.fingers, Modality.IRIS: self.irises, Modality.FACE: self.faces}[modality]


@dataclasses.dataclass(frozen=True)
class Stage:
    """A stage of a search and the seconds that it takes."""

    name: str
    seconds: float


@dataclasses.dataclass(frozen=True)
class Plan:
    """What a deployment takes.

    Attributes:
        people, search, threads: what was asked.
        memory: of the indexes, by part, in bytes.
        process: bytes of RAM of the program itself.
        records, images: bytes of disk.
        start: seconds from the start of the server to its first answer.
        stages: of a search by itself.
        rates: of what machine.
    """

    people: People
    search: Search
    threads: int
    memory: tuple[MemoryUse, ...]
    process: int
    records: int
    images: int
    start: float
    stages: tuple[Stage, ...]
    rates: Rates

    @property
    def ram(self) -> int:
        """Bytes of RAM that the server must have: the program and what indexes hold in it."""
        return self.process + sum(use.ram for use in self.memory)

    @property
    def mapped(self) -> int:
        """Bytes of mapped files, on disk; RAM beyond ``ram`` keeps parts of them at hand."""
        return sum(use.mapped for use in self.memory)

    @property
    def room(self) -> int:
        """Bytes that mapped files may take beside that while they grow: they double."""
        return self.mapped

    @property
    def disk(self) -> int:
        """Bytes of disk, all in all."""
        return self.mapped + self.room + self.records + self.images

    @property
    def latency(self) -> float:
        """Seconds of a search by itself, images not extracted."""
        return sum(stage.seconds for stage in self.stages)


def make_plan(
    people: People,
    search: Search,
    threads: int,
    rates: Rates,
    parameters: FootprintParameters | None = None,
    *,
    keep_images: bool = True,
) -> Plan:
    """Works out what a deployment takes.

    Args:
        people: on record.
        search: samples of one search, of known positions; 0 of all that people do not have.
        threads: that compute.
        rates: of the machine.
        parameters: bytes that do not follow from a layout.
        keep_images: beside the templates.
    """
    p = parameters or FootprintParameters()
    start = sum(people.samples(m) * rates.of(m).load for m in Modality) * people.subjects / 1e6
    return Plan(
        people,
        search,
        threads,
        tuple(index_memory(people, p)),
        p.process,
        records_bytes(people, p),
        images_bytes(people, p) if keep_images else 0,
        start,
        tuple(_stages(people, search, threads, rates)),
        rates,
    )


def _stages(people: People, search: Search, threads: int, rates: Rates) -> list[Stage]:
    """Each probe is compared with the references of its own position, all searched; candidates of every modality's
    shortlists with all samples of the search."""
    stages = []
    candidates = 0
    asked = [m for m in Modality if search.probes(m) and people.samples(m)]
    for modality in asked:
        probes = search.probes(modality)
        each = ShortlistParameters().count(people.subjects, probes)
        candidates += min(people.subjects, each * probes)
        rate = rates.of(modality)
        ordered = rate.shortlist if each < people.subjects else 0.0
        seconds = (probes * people.subjects * rate.scan + ordered) / 1e6 / threads
        stages.append(Stage(f"{modality} shortlist", seconds))
    candidates = min(people.subjects, candidates)
    for modality in asked:
        seconds = candidates * search.probes(modality) * rates.of(modality).compare / 1e6 / threads
        stages.append(Stage(f"{modality} comparisons", seconds))
    stages.append(Stage("fusion and ranking", candidates * rates.candidate / 1e6))
    stages.append(Stage("call", rates.call / 1e3))
    return stages
