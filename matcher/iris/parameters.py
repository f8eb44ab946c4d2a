"""Every constant of iris comparison, with its source, and the layout of the codes, which extractors must keep."""

from __future__ import annotations

import dataclasses

ALGORITHM = "iris-loggabor-2"
"""Id of the extractor (segmentation, rubber sheet, log-Gabor phase) whose codes this folder compares."""

VERSION = 1
"""Version of the payload's meaning: layout of the bits, and the constants that scores are normalised with."""


@dataclasses.dataclass(frozen=True)
class CodeParameters:
    """Layout of one of a template's two codes and the constants of its comparison.

    Within a column the bits stand filter after filter, in each row after row from the pupil outwards, the sign of the
    real part before that of the imaginary part.

    Attributes:
        columns: angular positions; one column is 360 / 128 = 2.8125 degrees.
        filters: wavelengths.
        rows: radii.
        reference_bits: n0 of the normalised Hamming distance HDnorm = 0.5 - (0.5 - HD) * sqrt(n / n0): the number of
            compared bits at which HDnorm equals HD. Daugman, "New Methods in Iris Recognition", IEEE Trans. SMC-B
            37(5), 2007, section V, uses 911 of his 2,048; ours is about the mean of genuine pairs, on the first halves
            of the eyes of CASIA1 and MMU2.
        floor: least share of the code's bits that a comparison must rest on. Below it the answer is "not comparable":
            with a small n the raw distance between strangers reaches 0.0. The normalised one does not: of verification
            codes cut down to about 3,100, 1,200 and 600 compared bits one stranger in 10,000 came to 0.372, 0.385 and
            0.393 (first halves of CASIA1 and MMU2).
    """

    columns: int
    filters: int
    rows: int
    reference_bits: int
    floor: float = 0.125

    @property
    def column_bits(self) -> int:
        """Bits of a column."""
        return 2 * self.filters * self.rows

    @property
    def bits(self) -> int:
        """Bits of the code."""
        return self.columns * self.column_bits

    @property
    def words(self) -> int:
        """uint64 words of the code."""
        return self.bits // 64

    @property
    def least_bits(self) -> int:
        """Compared bits below which nothing is said."""
        return round(self.floor * self.bits)


@dataclasses.dataclass(frozen=True)
class IrisParameters:
    """Constants of comparison and search.

    Attributes:
        search: the code that 1:N search goes through, 2,048 bits.
        verification: the code that scores come from, 8,192 bits.
        max_shift: rotations compared, in columns to either side; 8 columns are 22.5 degrees. Best shifts of genuine
            pairs of CASIA1 and MMU2 lay within 4 columns; a hand-held camera tilts more than a desktop one.
        prefix_columns: columns of the search code that the first stage of a search compares: every fourth one.
        prefix_threshold: score (0.5 - HDnorm) that a reference needs to reach the second stage: about one stranger in
            six does, and every genuine pair of CASIA1 and MMU2 that the whole search code accepts at an FMR of 1e-4
            (``python -m benchmarks.iris_stages``).
        sectors: equal parts of the eye that may move a little on their own when verification codes are compared
            (Thornton, Savvides & Kumar, "A Bayesian Approach to Deformed Pattern Matching of Iris Images", PAMI 29(4),
            2007): boundaries that are a little off, and pupils that are wider, displace the texture locally. On the
            first half of MMU2 that took the FNMR at FMR 0.001 from 5.6 to 2.9 %; eight sectors gave 3.0 %, two 5.1 %.
        row_reach, column_reach: how far a sector may move, in rows and columns to either side; further made no
            difference.
        deformation_cost: taken off a sector's agreement (0-1) for every row and column that it moves.
        refined: how many of the best rotations are tried with moving sectors.
    """

    search: CodeParameters = CodeParameters(columns=128, filters=1, rows=8, reference_bits=1000)
    verification: CodeParameters = CodeParameters(columns=128, filters=2, rows=16, reference_bits=4000)
    max_shift: int = 8
    prefix_columns: int = 32
    prefix_threshold: float = 0.09
    sectors: int = 4
    row_reach: int = 1
    column_reach: int = 2
    deformation_cost: float = 0.05
    refined: int = 2

    @property
    def rotations(self) -> int:
        """Rotations compared: 17."""
        return 2 * self.max_shift + 1

    @property
    def prefix(self) -> CodeParameters:
        """The first stage's part of the search code, 512 bits, as a code of its own."""
        part = self.prefix_columns / self.search.columns
        return dataclasses.replace(
            self.search, columns=self.prefix_columns, reference_bits=round(part * self.search.reference_bits)
        )

    @property
    def padding(self) -> int:
        """Columns that a verification code is continued by at either end."""
        return self.max_shift + self.column_reach


PARAMETERS = IrisParameters()
