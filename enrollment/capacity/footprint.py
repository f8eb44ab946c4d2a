"""Bytes of a number of people on record: RAM and mapped files of the indexes, and the disk of the records.

What the indexes take follows from the parameters that they lay their rows out by; tests compare it, part by part, with
what a gallery of real indexes says of itself.
"""

from __future__ import annotations

import dataclasses
import sys

from matcher.face.parameters import FaceIndexParameters
from matcher.finger.parameters import CylinderParameters, VectorParameters
from matcher.finger.rows import row_words
from matcher.iris.parameters import IrisParameters
from matcher.modality import MemoryUse
from matcher.positions import Modality
from matcher.roster import ENCOUNTER


@dataclasses.dataclass(frozen=True)
class People:
    """Who is to be on record.

    Attributes:
        subjects: how many.
        fingers, irises, faces: samples of each subject.
        encounters: of each subject, among which the samples are divided.
    """

    subjects: int
    fingers: int = 10
    irises: int = 2
    faces: int = 1
    encounters: int = 1

    def samples(self, modality: Modality) -> int:
        """Of each subject."""
        return {Modality.FINGER: self.fingers, Modality.IRIS: self.irises, Modality.FACE: self.faces}[modality]


@dataclasses.dataclass(frozen=True)
class FootprintParameters:
    """What does not follow from a layout.

    Attributes:
        minutiae: of a finger: the mean of bulk synthetic prints, whose density is that of the prints of FVC and UPEK
            (``enrollment.synthesis.finger_templates``); whole prints rolled from nail to nail have up to twice as many.
        subject_id, encounter_id: characters.
        growth: rows that arrays of the roster have room for, over those that are used: they double.
        record: bytes of the database for each byte of a template: SQLite fills pages of 4,096 bytes with whole rows.
            Measured on stores of 1,000 people with a face, and with two fingers, two irises and a face.
        encounter: bytes of the database for an encounter without its samples: its row, change, idempotency key and
            receipt, and their indexes. Measured on the same.
        finger_image, face_image, iris_image: bytes of a stored image: WSQ at 0.75 bits a pixel of 500 x 500, a JPEG
            mugshot, a PNG of 640 x 480 grey. Your own may differ: say so with --image-kib.
        process: bytes of RAM of the program, its libraries and its networks: a server with all extractors and nobody on
            record.
    """

    minutiae: float = 40.0
    subject_id: int = 12
    encounter_id: int = 1
    growth: float = 1.5
    record: float = 1.35
    encounter: int = 1700
    finger_image: int = 24 << 10
    face_image: int = 120 << 10
    iris_image: int = 150 << 10
    process: int = 1 << 30


def index_memory(people: People, parameters: FootprintParameters | None = None) -> list[MemoryUse]:
    """What the search indexes take, by part, as ``ShardBackend.memory`` names them."""
    p = parameters or FootprintParameters()
    uses = [MemoryUse("roster", round(_roster(people, p)), 0)]
    for modality in Modality:
        count = people.samples(modality)
        if not count:
            continue
        # Of every row its encounter and the one before it, of every subject and position the last one.
        rows = MemoryUse(f"{modality} rows", round(people.subjects * count * (8 + 4 * p.growth)), 0)
        uses.append(rows)
        for name, ram, mapped in _reference(modality, p):
            total = people.subjects * count
            uses.append(MemoryUse(f"{modality} {name}", round(ram * total), round(mapped * total)))
    return uses


def _reference(modality: Modality, p: FootprintParameters) -> list[tuple[str, float, float]]:
    """Parts of an index with bytes of RAM and of mapped files a reference."""
    if modality is Modality.FINGER:
        whole = int(p.minutiae)
        words = [row_words(m, CylinderParameters().words) for m in (whole, whole + 1)]
        mean = words[0] + (p.minutiae - whole) * (words[1] - words[0])
        return [("vectors", VectorParameters().numbers, 0), ("minutiae and cylinders", 8, 8 * mean)]
    if modality is Modality.IRIS:
        iris = IrisParameters()
        return [
            ("search codes", 2 * 8 * iris.search.words, 0),
            ("first stage", 2 * 8 * iris.prefix.words, 0),
            ("verification codes", 0, 2 * 8 * iris.verification.columns),
        ]
    numbers = FaceIndexParameters().usual_dimension
    return [("codes", numbers + 8, 0), ("exact vectors", 0, 4 * numbers)]


def _roster(people: People, p: FootprintParameters) -> float:
    entry = 8 * 3 / (2 / 3) / p.growth + 8  # of a dictionary: hash, key and value, two thirds full at most
    pointers = 8 * (1 + people.encounters)
    number = sys.getsizeof(1 << 20)
    strings = sys.getsizeof("") + p.subject_id + people.encounters * (sys.getsizeof("") + p.encounter_id)
    arrays = ENCOUNTER.itemsize * people.encounters + p.growth * (people.encounters + 4)
    return people.subjects * (entry + pointers + number + strings + arrays)


def template_bytes(modality: Modality, parameters: FootprintParameters | None = None) -> float:
    """Bytes of a stored template."""
    p = parameters or FootprintParameters()
    head = 40  # container, algorithm, sizes, checksum
    if modality is Modality.FINGER:
        return head + 6 * p.minutiae + VectorParameters().numbers
    if modality is Modality.IRIS:
        iris = IrisParameters()
        return head + 2 * 8 * (iris.search.words + iris.verification.words)
    return head + 4 * FaceIndexParameters().usual_dimension


def records_bytes(people: People, parameters: FootprintParameters | None = None) -> int:
    """Bytes of the database."""
    p = parameters or FootprintParameters()
    templates = sum(people.samples(m) * template_bytes(m, p) for m in Modality)
    return round(people.subjects * (p.record * templates + p.encounter * people.encounters))


def images_bytes(people: People, parameters: FootprintParameters | None = None) -> int:
    """Bytes of the stored images."""
    p = parameters or FootprintParameters()
    sizes = {Modality.FINGER: p.finger_image, Modality.FACE: p.face_image, Modality.IRIS: p.iris_image}
    return people.subjects * sum(people.samples(m) * sizes[m] for m in Modality)
