"""Synthetic people by number, with a template at every position that is asked for, and other captures of them.

All templates are made of random numbers (``enrollment.synthesis``), seeded: person 17 is the same person in every run,
however many others there are. How the scores of two people scatter, beside real ones, is printed by ``python -m
benchmarks.stranger_scores``.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

from enrollment.synthesis import face_templates, finger_templates, iris_templates
from enrollment.synthesis.finger_templates import FingerTemplateParameters
from matcher.changes import EncounterEnrolled, Reference
from matcher.face.comparison import COMPACT_ALGORITHM
from matcher.finger.comparison import FingerComparator
from matcher.finger.vector import VectorModel
from matcher.positions import Modality, Position
from matcher.templates import FaceTemplate, FingerTemplate, IrisTemplate, Template

TWO_FINGERS = (
    Position.RIGHT_INDEX,
    Position.LEFT_INDEX,
    Position.FACE,
    Position.IRIS_RIGHT,
    Position.IRIS_LEFT,
)
TEN_FINGERS = (
    *(position for position in Position if position.modality is Modality.FINGER and not position.is_unknown),
    *TWO_FINGERS[2:],
)
GALLERY = "default"
FINGERS = dataclasses.replace(FingerTemplateParameters(), angle_sd=0.02)
"""Of which the scores against each other have about the quantiles of real fingers. Those of ``STRANGERS``, made for
galleries that real fingers are searched in, are higher among synthetic ones."""


@dataclasses.dataclass(frozen=True)
class SyntheticPeople:
    """People numbered from 0.

    Attributes:
        seed: another one gives other people.
        positions: what each of them has a template of.
    """

    seed: int
    positions: tuple[Position, ...] = TWO_FINGERS

    def templates(self, first: int, count: int) -> list[tuple[Template, ...]]:
        """Those of some people, in the order of ``positions``; fingers without their vectors.

        Costs least where ``first`` is a multiple of 32,768, the block of the faces.
        """
        columns = [_MAKERS[position.modality](count, self._seed(position), first) for position in self.positions]
        return list(zip(*columns, strict=True))

    def changes(self, first: int, count: int) -> list[EncounterEnrolled]:
        """What the records tell the shards of some people, with everything that enrolling them computes."""
        columns = []
        for position in self.positions:
            templates: Sequence[Template] = _MAKERS[position.modality](count, self._seed(position), first)
            columns.append(_with_vectors(templates) if position.modality is Modality.FINGER else templates)
        width = len(self.positions)
        return [
            EncounterEnrolled(
                number + 1,
                subject_id(number),
                "1",
                (GALLERY,),
                tuple(
                    Reference(width * number + column + 1, position, template)
                    for column, (position, template) in enumerate(zip(self.positions, templates, strict=True))
                ),
            )
            for number, templates in enumerate(zip(*columns, strict=True), first)
        ]

    def captures(self, first: int, count: int, seed: int) -> list[tuple[Template, ...]]:
        """Another capture of some people, in the order of ``positions``."""
        return [
            tuple(another_capture(template, seed * 1_000_003 + number) for template in templates)
            for number, templates in enumerate(self.templates(first, count), first)
        ]

    def _seed(self, position: Position) -> int:
        return self.seed * 100 + int(position)


def subject_id(number: int) -> str:
    """Of a person."""
    return f"synthetic-{number:08d}"


def another_capture(template: Template, seed: int) -> Template:
    """Of the same finger, face or eye, seeded."""
    if isinstance(template, FingerTemplate):
        return finger_templates.vary(template, seed)
    if isinstance(template, IrisTemplate):
        return iris_templates.vary(template, seed)
    assert isinstance(template, FaceTemplate)
    (embedding,) = face_templates.vary(template.embedding[None], seed)
    return FaceTemplate(template.algorithm, template.version, embedding)


def _with_vectors(templates: Sequence[Template]) -> list[FingerTemplate]:
    """As ``FingerIndex.complete`` makes them, many at once."""
    comparator, model = FingerComparator(), VectorModel.load()
    vectors = model.encode(comparator.prepare_many(templates))
    return [
        dataclasses.replace(template, vector=vector, vector_model=model.number)
        for template, vector in zip(templates, vectors, strict=True)
        if isinstance(template, FingerTemplate)
    ]


def _fingers(count: int, seed: int, first: int) -> Sequence[Template]:
    return finger_templates.bulk_finger_templates(count, seed, first=first, parameters=FINGERS)


def _faces(count: int, seed: int, first: int) -> Sequence[Template]:
    return face_templates.bulk_face_templates(count, seed, first=first, algorithm=COMPACT_ALGORITHM)


def _irises(count: int, seed: int, first: int) -> Sequence[Template]:
    return iris_templates.bulk_iris_templates(count, seed, first=first)


_MAKERS: dict[Modality, Callable[[int, int, int], Sequence[Template]]] = {
    Modality.FINGER: _fingers,
    Modality.FACE: _faces,
    Modality.IRIS: _irises,
}
