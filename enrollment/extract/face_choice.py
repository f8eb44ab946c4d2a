"""Which of several faces in an image is meant."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from enrollment.extract.face_pack import FaceBox
from matcher.errors import FaceUndecided
from matcher.faces import FoundFace
from matcher.service.extraction import SampleUse


@dataclasses.dataclass(frozen=True)
class ChoiceParameters:
    """Parameters.

    Attributes:
        as_large: share of the largest box's area from which on a face counts as about as large. Cameras are aimed at
            their subject, so that of such faces the one nearest to the middle is the subject.
        overlap: least intersection over union of a box that is asked for with a face.
    """

    as_large: float = 0.5
    overlap: float = 0.2


def most_prominent_first(
    boxes: Sequence[FaceBox], width: int, height: int, parameters: ChoiceParameters | None = None
) -> list[FaceBox]:
    """The largest face first; of those about as large, the one nearest to the middle of the image.

    Args:
        boxes: of the faces, in any order.
        width, height: of the image, in pixels.
    """
    p = parameters or ChoiceParameters()
    left = sorted(boxes, key=_area, reverse=True)
    ordered: list[FaceBox] = []
    while left:
        rivals = [b for b in left if _area(b) >= p.as_large * _area(left[0])]
        nearest = min(rivals, key=lambda b: (b.centre[0] - width / 2) ** 2 + (b.centre[1] - height / 2) ** 2)
        ordered.append(nearest)
        left = [b for b in left if b is not nearest]
    return ordered


def chosen_face(boxes: Sequence[FaceBox], use: SampleUse, parameters: ChoiceParameters | None = None) -> int:
    """The number, from 0, of the face to take.

    Args:
        boxes: at least one, the most prominent first.

    Raises:
        FaceUndecided: SEVERAL_FACES, the image is to be enrolled and nobody says which; FACE_CHOICE_INVALID, there is
            no such face.
    """
    p = parameters or ChoiceParameters()
    faces = found_faces(boxes)
    if use.face is None:
        if use.enrols and len(boxes) > 1:
            raise FaceUndecided(
                f"the picture shows {len(boxes)} faces; show one person, or say which face to enrol: its number (1 to "
                f"{len(boxes)}) or its box. {_listed(boxes)}",
                faces=faces,
            )
        return 0
    if use.face.box is not None:
        overlaps = [_overlap(box, use.face.box) for box in boxes]
        best = max(range(len(boxes)), key=lambda i: overlaps[i])
        if overlaps[best] < p.overlap:
            raise FaceUndecided(
                f"no face lies in the box that is asked for. {_listed(boxes)}",
                reason="FACE_CHOICE_INVALID",
                faces=faces,
            )
        return best
    number = use.face.number or 0
    if not 1 <= number <= len(boxes):
        raise FaceUndecided(f"face {number} is asked for. {_listed(boxes)}", reason="FACE_CHOICE_INVALID", faces=faces)
    return number - 1


def found_faces(boxes: Sequence[FaceBox], taken: int = -1) -> tuple[FoundFace, ...]:
    """The boxes as answers and errors tell them; ``taken`` is the number, from 0, of the one that is used."""
    return tuple(
        FoundFace(b.left, b.top, b.right, b.bottom, b.confidence, taken=i == taken) for i, b in enumerate(boxes)
    )


def _listed(boxes: Sequence[FaceBox]) -> str:
    shown = [f"{i}: ({b.left:.0f}, {b.top:.0f}) to ({b.right:.0f}, {b.bottom:.0f})" for i, b in enumerate(boxes[:8], 1)]
    return f"Found: {'; '.join(shown)}{'; ...' if len(boxes) > len(shown) else ''}"


def _area(box: FaceBox) -> float:
    return box.width * box.height


def _overlap(box: FaceBox, asked: tuple[float, float, float, float]) -> float:
    """Intersection over union."""
    left, top, right, bottom = asked
    across = min(box.right, right) - max(box.left, left)
    down = min(box.bottom, bottom) - max(box.top, top)
    shared = max(across, 0.0) * max(down, 0.0)
    return shared / (_area(box) + (right - left) * (bottom - top) - shared)
