"""Every constant of iris comparison, with its source, and the layout of the code, which extractors must keep."""

from __future__ import annotations

import dataclasses
import functools

import numpy as np
from numpy.typing import NDArray

ALGORITHM = "iris-loggabor-1"
"""Id of the extractor (segmentation, rubber sheet, log-Gabor phase) whose codes this folder compares."""

VERSION = 1
"""Version of the payload's meaning: layout of the bits, and the constant that scores are normalised with."""


@dataclasses.dataclass(frozen=True)
class IrisParameters:
    """Layout of the code and constants of its comparison.

    Attributes:
        columns: angular positions of the code; one column is 360 / 128 = 2.8125 degrees.
        bits_per_column: 8 radii times the signs of the real and of the imaginary part.
        max_shift: rotations compared, in columns to either side; 8 columns are 22.5 degrees. Best shifts of genuine
            pairs of CASIA1 and MMU2 lay within 4 columns; a hand-held camera tilts more than a desktop one.
        reference_bits: n0 of the normalised Hamming distance HDnorm = 0.5 - (0.5 - HD) * sqrt(n / n0): the number of
            compared bits at which HDnorm equals HD. Daugman, "New Methods in Iris Recognition", IEEE Trans. SMC-B
            37(5), 2007, section V, uses 911 of his 2,048; ours is about the mean of genuine pairs squared over the
            size of the code, of this encoder on CASIA1.
        floor: least share of the code's bits that a comparison must rest on. Below it the answer is "not comparable":
            with a small n the raw distance between strangers reaches 0.0.
    """

    columns: int = 128
    bits_per_column: int = 16
    max_shift: int = 8
    reference_bits: int = 1300
    floor: float = 0.25

    @property
    def bits(self) -> int:
        """Bits of a code: 2,048."""
        return self.columns * self.bits_per_column

    @property
    def words(self) -> int:
        """uint64 words of a code: 32."""
        return self.bits // 64

    @property
    def rotations(self) -> int:
        """Rotations compared: 17."""
        return 2 * self.max_shift + 1

    @functools.cached_property
    def weights(self) -> NDArray[np.float64]:
        """float64[bits + 1]: with n bits compared and d of them different the score is ``(n - 2 d) * weights[n]``.

        That is 0.5 - HDnorm: (0.5 - d / n) * sqrt(n / n0) = (n - 2 d) / (2 sqrt(n n0)). NaN below the floor.
        """
        n = np.arange(self.bits + 1, dtype=np.float64)
        with np.errstate(divide="ignore"):
            weights = 0.5 / np.sqrt(n * self.reference_bits)
        weights[n < self.floor * self.bits] = np.nan
        weights.setflags(write=False)
        return weights


PARAMETERS = IrisParameters()
