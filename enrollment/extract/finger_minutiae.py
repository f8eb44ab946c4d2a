"""What a minutiae extractor gives, and how the fingerprint extractor calls it."""

from __future__ import annotations

import dataclasses
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


@dataclasses.dataclass(frozen=True, eq=False)
class Minutiae:
    """Minutiae of one image, best first.

    Attributes:
        x, y: int64[n], pixels from the top left corner, y downwards.
        direction: float64[n], radians, counter-clockwise as seen on the screen: for an ending the way along its ridge
            from the tip.
        quality: float64[n], 0-1.
    """

    x: NDArray[np.int64]
    y: NDArray[np.int64]
    direction: NDArray[np.float64]
    quality: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.x)


class MinutiaeFinder(Protocol):
    """Finds minutiae; thread-safe."""

    @property
    def algorithm(self) -> str:
        """Algorithm id of templates of its minutiae; those of two finders are never compared."""
        ...

    def find(self, image: NDArray[np.uint8], *, min_quality: float, max_count: int) -> Minutiae:
        """Finds the minutiae of a print.

        Args:
            image: uint8[h, w] grey at 500 ppi, ridges dark.
            min_quality: minutiae below (0-1) are left out.
            max_count: at most so many, those of the highest quality.
        """
        ...


def best_minutiae(
    x: NDArray[np.int64],
    y: NDArray[np.int64],
    direction: NDArray[np.float64],
    quality: NDArray[np.float64],
    max_count: int,
) -> Minutiae:
    """The best ``max_count``. Equal qualities are ordered by place, so that a template does not depend on the sort."""
    best = np.lexsort((x, y, -quality))[:max_count]
    return Minutiae(x[best], y[best], direction[best], quality[best])
