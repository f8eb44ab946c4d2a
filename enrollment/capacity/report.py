"""A plan for people and for programs, beside what this machine has."""

from __future__ import annotations

import dataclasses
import os
import shutil
from pathlib import Path

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from enrollment import tables
from enrollment.capacity.plan import Plan


@dataclasses.dataclass(frozen=True)
class Machine:
    """What this machine has: bytes of RAM, bytes free on the disk of a folder, processors."""

    ram: int
    disk: int
    processors: int


def this_machine(folder: Path) -> Machine:
    """Reads it; the folder need not exist yet."""
    existing = next(p for p in (folder.absolute(), *folder.absolute().parents) if p.exists())
    ram = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return Machine(ram, shutil.disk_usage(existing).free, len(os.sched_getaffinity(0)))


def shortcomings(made: Plan, machine: Machine) -> list[str]:
    """What this machine lacks for the plan, in sentences."""
    found = []
    if made.ram > machine.ram:
        found.append(
            f"It does not fit the RAM of this machine: {tables.size(made.ram)} are needed, "
            f"{tables.size(machine.ram)} are there."
        )
    if made.disk > machine.disk:
        found.append(
            f"It does not fit the disk of this machine: {tables.size(made.disk)} are needed, "
            f"{tables.size(machine.disk)} are free."
        )
    if made.threads > machine.processors:
        found.append(
            f"This machine has {machine.processors} processors; {made.threads} threads are as fast as here only on one "
            "that has as many."
        )
    return found


def summary(made: Plan, machine: Machine) -> dict[str, object]:
    """The plan for programs: bytes and seconds."""
    return {
        "people": dataclasses.asdict(made.people),
        "search": dataclasses.asdict(made.search),
        "threads": made.threads,
        "memory": [{"part": use.name, "ram_bytes": use.ram, "mapped_bytes": use.mapped} for use in made.memory],
        "process_bytes": made.process,
        "ram_bytes": made.ram,
        "mapped_bytes": made.mapped,
        "mapped_room_bytes": made.room,
        "records_bytes": made.records,
        "images_bytes": made.images,
        "disk_bytes": made.disk,
        "start_seconds": made.start,
        "stages": [{"stage": stage.name, "seconds": stage.seconds} for stage in made.stages],
        "search_seconds": made.latency,
        "rates": dataclasses.asdict(made.rates),
        "machine": dataclasses.asdict(machine),
        "shortcomings": shortcomings(made, machine),
    }


def report(made: Plan, machine: Machine) -> RenderableType:
    """The plan for people."""
    who, threads = made.people, f"{made.threads} {'thread' if made.threads == 1 else 'threads'}"
    samples = _samples(who.fingers, who.irises, who.faces)
    head = Text(f"{who.subjects:,} people with {samples}; {threads}", "bold")
    uses = [(use.name, use.ram, use.mapped) for use in made.memory] + [("program, networks", made.process, 0)]
    memory = tables.memory_table(uses, who.subjects)
    disk = Table(show_edge=False, pad_edge=False, show_footer=True)
    disk.add_column("Disk", "in all")
    disk.add_column("bytes", tables.size(made.disk), justify="right")
    for name, count in (
        ("mapped files", made.mapped),
        ("room that they may take while they grow", made.room),
        ("database", made.records),
        ("images", made.images),
    ):
        disk.add_row(name, tables.size(count))
    asked = _samples(made.search.fingers, made.search.irises, made.search.faces)
    stages = Table(show_edge=False, pad_edge=False, show_footer=True)
    stages.add_column(f"A search with {asked}, by itself", "in all")
    stages.add_column("ms", f"{1000 * made.latency:,.0f}", justify="right")
    for stage in made.stages:
        stages.add_row(stage.name, f"{1000 * stage.seconds:,.0f}")
    notes = [
        f"A start takes about {_duration(made.start)}. Images of a search are extracted before it, for which",
        "about a third of a second a finger and less for a face or an iris comes on top.",
    ]
    closing = [Text(" ".join(notes)), Text(f"Rates: {made.rates.source}.", "dim")]
    lacks = shortcomings(made, machine)
    if not lacks:
        spare = machine.ram - made.ram
        closing.append(
            Text(
                f"It fits this machine. {tables.size(spare)} of its RAM are left for {tables.size(made.mapped)} of "
                "mapped files; what is not at hand is read from the disk."
            )
        )
    closing += [Text(sentence, "bold red") for sentence in lacks]
    return tables.apart(head, memory, disk, stages, *closing)


def _samples(fingers: int, irises: int, faces: int) -> str:
    counted = [
        f"{n} {word if n == 1 else several}"
        for n, word, several in ((fingers, "finger", "fingers"), (irises, "iris", "irises"), (faces, "face", "faces"))
        if n
    ]
    return " and ".join(filter(None, [", ".join(counted[:-1]), counted[-1]])) if counted else "nothing"


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} seconds"
    return f"{seconds / 60:.0f} minutes" if seconds < 7200 else f"{seconds / 3600:.1f} hours"
