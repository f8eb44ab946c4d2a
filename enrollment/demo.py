"""The demonstration: ``make demo``.

Starts the real server on an empty data folder, enrols a small gallery in bulk through gRPC, searches it with other
captures of enrolled and of unknown people, restarts the server on the same data, searches once more, and fails where
a verdict is
wrong. Faces are renditions of a group photo that comes with the package ``insightface``; fingerprints and eyes are
SYNTHETIC. Nothing here says anything about accuracy: see docs/PERFORMANCE_CARD.md for that.
"""

from __future__ import annotations

import csv
import dataclasses
import io
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from ambis.v1 import common_pb2, identification_service_pb2
from enrollment import tables
from enrollment.bulk import BulkLoad
from enrollment.client import AmbisClient, image_sample
from enrollment.demo_faces import PEOPLE, STRANGER, people, rendition
from enrollment.extract.face import load_face_extractor
from enrollment.manifest import read_manifest
from enrollment.server_process import ServerProcess
from enrollment.synthesis.finger import synthesise_finger
from enrollment.synthesis.iris import synthesise_eye
from matcher.calibration import Calibrations
from matcher.decision import DecisionParameters, Verdict, identification_thresholds
from matcher.errors import AmbisError, ModalityUnavailable
from matcher.finger.parameters import FINGER_ALGORITHM
from matcher.positions import Position

SYNTHETIC_PEOPLE = 6
UNKNOWN_SEED = 9_000
ENROL, PROBE = 1, 2

Picture = Callable[[int], bytes]
"""Makes a capture (an image file's bytes) from a capture number."""


@dataclasses.dataclass(frozen=True)
class Person:
    """Somebody who can be captured again and again."""

    name: str
    captures: dict[Position, Picture]


@dataclasses.dataclass(frozen=True)
class Search:
    """A search and the verdict that it must get; ``subject`` is the one to find, empty for nobody."""

    title: str
    person: Person
    positions: tuple[Position, ...]
    verdict: Verdict
    subject: str


def main() -> int:
    """Runs the demonstration; 0 when every verdict is right."""
    console = Console(width=80 if not sys.stdout.isatty() else None)
    started = time.monotonic()
    try:
        wrong = _run(console)
    except AmbisError as error:
        console.print(f"The demonstration failed: {error.message}", style="red", markup=False)
        return 1
    console.print(f"{time.monotonic() - started:.0f} seconds.", style="dim")
    if wrong:
        console.print(f"{wrong} verdicts are wrong.", style="bold red")
        return 1
    console.print("Every verdict is right.", style="bold green")
    return 0


def _run(console: Console) -> int:
    console.print(
        Panel(
            "AMBIS demonstration. Fingerprints and eyes are SYNTHETIC; faces are renditions of the group photo in the "
            "package insightface. Verdicts come from the shipped thresholds; accuracy is measured elsewhere, on real "
            "data."
        )
    )
    enrolled, strangers = _cast(console)
    searches = _searches(enrolled, strangers)
    with tempfile.TemporaryDirectory(prefix="ambis-demo-") as folder:
        data = Path(folder) / "data"
        console.print("Starting the server on an empty data folder ...")
        with ServerProcess(data) as server, AmbisClient(server.address) as client:
            console.print(f"It listens on {server.address}. Enrolling {len(enrolled)} people in bulk ...")
            _enrol(console, client, enrolled, Path(folder) / "gallery")
            tables.show(tables.status(client.status()), console)
            wrong = _search_all(console, client, searches)
            code = server.stop()
        console.print(f"Server stopped (exit code {code}). Starting it again on the same data folder ...")
        with ServerProcess(data) as server, AmbisClient(server.address) as client:
            wrong += _search_all(console, client, [searches[0], searches[-1]])
    return wrong + (code != 0)


def _cast(console: Console) -> tuple[list[Person], list[Person]]:
    """The people to enrol, and those whom the system must not know."""
    enrolled = [_synthetic(i, f"synthetic-{i + 1}") for i in range(SYNTHETIC_PEOPLE)]
    strangers = [_synthetic(UNKNOWN_SEED, "unknown"), _synthetic(UNKNOWN_SEED + 1, "unknown")]
    try:
        crops = people(load_face_extractor())
    except ModalityUnavailable as unavailable:
        console.print(f"No faces in this demonstration: {unavailable.message}", style="yellow", markup=False)
        return enrolled, strangers
    faces = [_photographed(i, crop) for i, crop in enumerate(crops)]
    known = [face for i, face in enumerate(faces) if i != STRANGER]
    assert len(crops) == PEOPLE
    return known + enrolled, [faces[STRANGER], *strangers]


def _photographed(number: int, crop: NDArray[np.uint8]) -> Person:
    """One of the group photo, with synthetic fingers and eyes of their own."""
    captures = _synthetic_captures(1_000 + number)
    captures[Position.FACE] = lambda capture: rendition(crop, 100 * capture + number)
    return Person(f"photo-{number + 1}", captures)


def _synthetic(seed: int, name: str) -> Person:
    return Person(name, _synthetic_captures(seed))


def _synthetic_captures(seed: int) -> dict[Position, Picture]:
    return {
        Position.RIGHT_INDEX: lambda capture: _png(synthesise_finger(2 * seed, capture), 500),
        Position.LEFT_INDEX: lambda capture: _png(synthesise_finger(2 * seed + 1, capture), 500),
        Position.IRIS_LEFT: lambda capture: _png(synthesise_eye(seed, capture), None),
    }


def _png(pixels: NDArray[np.uint8], ppi: int | None) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG", **({"dpi": (ppi, ppi)} if ppi else {}))
    return stream.getvalue()


def _searches(enrolled: Sequence[Person], strangers: Sequence[Person]) -> list[Search]:
    first, last = enrolled[0], enrolled[-1]
    stranger = strangers[-1]
    # The shipped calibration vouches for one finger among some nine people only: beyond, an examiner has to look.
    thresholds = identification_thresholds(len(enrolled), DecisionParameters())
    one_finger = thresholds.verdict(100.0, Calibrations.load()[FINGER_ALGORITHM].trusted_to)
    searches = [
        Search("one finger, position known", last, (Position.RIGHT_INDEX,), one_finger, last.name),
        Search("an eye", enrolled[1], (Position.IRIS_LEFT,), Verdict.HIT, enrolled[1].name),
        Search("two fingers", first, (Position.RIGHT_INDEX, Position.LEFT_INDEX), Verdict.HIT, first.name),
        # Two fingers: with one, ten searches of unknown people give one REVIEW (review_fpir).
        Search("two fingers of a stranger", stranger, (Position.RIGHT_INDEX, Position.LEFT_INDEX), Verdict.NO_HIT, ""),
        Search("an eye of a stranger", stranger, (Position.IRIS_LEFT,), Verdict.NO_HIT, ""),
    ]
    photographed = [p for p in enrolled if Position.FACE in p.captures]
    if photographed:
        known, other = photographed[0], photographed[-1]
        searches[:0] = [
            Search("a face", known, (Position.FACE,), Verdict.HIT, known.name),
            Search("a face and a finger", other, (Position.FACE, Position.LEFT_INDEX), Verdict.HIT, other.name),
        ]
        searches.append(Search("the face of a stranger", strangers[0], (Position.FACE,), Verdict.NO_HIT, ""))
    else:
        searches.append(
            Search(
                "finger and eye of a stranger", stranger, (Position.LEFT_INDEX, Position.IRIS_LEFT), Verdict.NO_HIT, ""
            )
        )
    return searches


def _enrol(console: Console, client: AmbisClient, enrolled: Sequence[Person], folder: Path) -> None:
    """Writes the gallery as the bureau would have it, files and a manifest, and loads it."""
    folder.mkdir()
    with (folder / "manifest.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "subject_id", "modality", "position", "encounter", "ppi"])
        for person in enrolled:
            for position, picture in person.captures.items():
                name = f"{person.name}_{position.label}"
                (folder / name).write_bytes(picture(ENROL))
                writer.writerow([name, person.name, position.modality.value, position.label, "demo", ""])
    rejects = io.StringIO()
    counts = BulkLoad(client, read_manifest(folder / "manifest.csv"), rejects).run()
    console.print(f"{counts.enrolled} encounters enrolled, {counts.rejected} rejected.")
    if counts.rejected:
        console.print(rejects.getvalue(), style="red", markup=False)


def _search_all(console: Console, client: AmbisClient, searches: Sequence[Search]) -> int:
    table = Table(title="Searches", title_justify="left")
    for name in ("Search", "Verdict", "Best candidate", "Score", "Time", ""):
        table.add_column(name, overflow="fold", justify="right" if name in ("Score", "Time") else "left")
    wrong = 0
    answers = []
    for search in searches:
        samples: list[common_pb2.Sample] = [
            image_sample(position, search.person.captures[position](PROBE)) for position in search.positions
        ]
        began = time.monotonic()
        result = client.identify(identification_service_pb2.Search(samples=samples, max_candidates=3))
        took = time.monotonic() - began
        answers.append((search, result))
        best = result.candidates[0] if result.candidates else None
        right = Verdict(result.verdict) is search.verdict and (
            not search.subject or (best is not None and best.subject_id == search.subject)
        )
        wrong += not right
        table.add_row(
            f"{search.title} ({search.person.name})",
            tables.verdict_text(result.verdict),
            best.subject_id if best else "-",
            f"{best.score:.1f}" if best else "-",
            f"{took:.2f} s",
            Text("right", "green") if right else Text(f"WRONG, expected {search.verdict.label}", "bold red"),
        )
    console.print(table)
    for title, chosen in (("A hit in full", answers[0]), ("A stranger in full", answers[-1])):
        console.print(f"{title}: {chosen[0].title}", style="bold")
        tables.show(tables.identification(chosen[1]), console)
    return wrong


if __name__ == "__main__":
    sys.exit(main())
