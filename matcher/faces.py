"""Which faces an image shows, as answers and errors tell it; where they were found is not known here."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class FoundFace:
    """One face.

    Attributes:
        left, top, right, bottom: pixels of the upright image; may lie outside of it.
        confidence: how sure the detector is, 0-1.
        taken: whether the template is of this one.
    """

    left: float
    top: float
    right: float
    bottom: float
    confidence: float
    taken: bool = False
