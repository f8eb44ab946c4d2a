"""1:1 comparison of iris codes: masked Hamming distance, least over rotations, normalised for the bits compared.

J. Daugman, "How Iris Recognition Works", IEEE Trans. CSVT 14(1), 2004 (masked distance, rotations), and "New Methods in
Iris Recognition", IEEE Trans. SMC-B 37(5), 2007 (normalisation). Distances on few bits scatter more, and 1:N search
would find the luckiest of them; the normalisation makes impostor scores alike whatever the masks leave.

Scores come from the verification code, whose sectors may move a little (``deformation``); the search code finds.
"""

from __future__ import annotations

import dataclasses
import functools

import numpy as np
from numpy.typing import NDArray

from matcher.errors import ModelMismatch, TemplateInvalid
from matcher.iris.deformation import score_deformed
from matcher.iris.parameters import ALGORITHM, PARAMETERS, VERSION, IrisParameters
from matcher.positions import Modality
from matcher.templates import IrisCode, IrisTemplate, Template, spread_columns

Words = NDArray[np.uint64]

_ONE_ROW = np.zeros(1, np.int64)


@dataclasses.dataclass(frozen=True, eq=False)
class PreparedIris:
    """An iris template made ready to be compared in every way that counts.

    Attributes:
        search_bits, search_masks: uint64[rotations, words], the search code rotated by -max_shift to max_shift columns.
        moved: uint64[moves, 2, padding + columns + padding], verification code and mask, a word a column, moved by
            -row_reach to row_reach rows, continued at both ends.
        verification: uint64[2, columns], verification code and mask as they stand.
    """

    search_bits: Words
    search_masks: Words
    moved: Words
    verification: Words


class IrisComparator:
    """Compares iris templates 1:1; stateless and thread-safe.

    The raw score is 0.5 - HDnorm: a little above 0 between strangers (the best of all rotations and moves), up to
    0.5 * sqrt(n / n0) for equal codes with n valid bits; NaN where less than the floor's share can be compared.
    """

    modality = Modality.IRIS
    algorithms = frozenset({ALGORITHM})

    def __init__(self, parameters: IrisParameters = PARAMETERS) -> None:
        self.parameters = parameters

    def check(self, template: Template) -> IrisTemplate:
        """The template, when it is one that this comparator understands.

        Raises:
            ModelMismatch: of another modality, algorithm or version.
            TemplateInvalid: of another layout than its algorithm has.
        """
        if not isinstance(template, IrisTemplate):
            raise ModelMismatch(f"an iris cannot be compared with a {template.modality} template")
        if template.algorithm not in self.algorithms or template.version != VERSION:
            raise ModelMismatch(
                f"iris template of {template.algorithm!r} version {template.version} cannot be compared with those of "
                f"{ALGORITHM!r} version {VERSION}; extract it again from its image"
            )
        p = self.parameters
        expected = (p.search.columns, p.search.words, p.verification.words)
        found = (template.columns, len(template.search), len(template.verification))
        if found != expected:
            raise TemplateInvalid(
                f"{ALGORITHM} codes have {expected[0]} columns in {expected[1]} and {expected[2]} words, "
                f"these {found[0]} in {found[1]} and {found[2]}"
            )
        return template

    def prepare(self, template: Template) -> PreparedIris:
        """Rotates and moves the codes in every way that is compared.

        Raises:
            ModelMismatch, TemplateInvalid: see ``check``.
        """
        iris, p = self.check(template), self.parameters
        code = iris.verification
        rows = range(-p.row_reach, p.row_reach + 1)
        moved = np.stack([move_rows(np.stack([code.bits, code.mask]), p.verification.rows, r) for r in rows])
        prepared = PreparedIris(
            _rotations(iris.search.bits, iris.columns, p.max_shift),
            _rotations(iris.search.mask, iris.columns, p.max_shift),
            np.concatenate([moved[..., -p.padding :], moved, moved[..., : p.padding]], axis=-1),
            verification_row(code),
        )
        for array in (prepared.search_bits, prepared.search_masks, prepared.moved, prepared.verification):
            array.setflags(write=False)
        return prepared

    def compare(self, probe: PreparedIris, reference: PreparedIris) -> float:
        """Raw score of two prepared templates: higher is more alike, symmetric; NaN: not comparable."""
        return float(self.compare_rows(probe, reference.verification[None], _ONE_ROW)[0])

    def compare_rows(self, probe: PreparedIris, table: Words, rows: NDArray[np.int64]) -> NDArray[np.float64]:
        """Raw scores of a prepared probe with chosen rows of a table of verification codes.

        Args:
            table: uint64[references, 2, columns], see ``verification_row``.
            rows: int64[n]; negative: none.

        Returns:
            float64[n]; NaN: not comparable, or no row.
        """
        p, code = self.parameters, self.parameters.verification
        scores = np.empty(len(rows), np.float64)
        score_deformed(
            probe.moved, table, rows, p.max_shift, p.sectors, p.column_reach, p.deformation_cost, p.refined,
            code.least_bits, float(code.reference_bits), scores,
        )  # fmt: skip
        return scores


def verification_row(code: IrisCode) -> Words:
    """A verification code as it lies in a table, uint64[2, words]: code, then mask."""
    return np.stack([code.bits, code.mask])


def rotate(words: Words, columns: int, shift: int) -> Words:
    """A search code (or mask) turned by ``shift`` columns: what stood in column c stands in column c + shift.

    Args:
        words: uint64[w], columns in the order of ``spread_columns``, each a whole number of bytes.
        columns: columns of the code.
        shift: columns to turn by, of either sign; the eye is round.

    Raises:
        ValueError: a column is not a whole number of bytes.
    """
    order = spread_columns(columns)
    # The order is its own inverse.
    return _taken(words, columns, order[(order - shift) % columns])


def _rotations(words: Words, columns: int, most: int) -> Words:
    """``rotate`` by -most to most columns, uint64[2 most + 1, w]."""
    return _taken(words, columns, _rotated_places(columns, most))


@functools.cache
def _rotated_places(columns: int, most: int) -> NDArray[np.int64]:
    """int64[2 most + 1, columns], which place of the code comes to each place."""
    order = spread_columns(columns)
    return np.asarray(order[(order - np.arange(-most, most + 1)[:, None]) % columns], np.int64)


def _taken(words: Words, columns: int, places: NDArray[np.int64]) -> Words:
    """A code of these columns of a code, uint64[..., w] of int64[..., columns]."""
    size, rest = divmod(8 * len(words), columns)
    if rest or not size:
        raise ValueError(f"{columns} columns of {64 * len(words)} bits are not whole bytes")
    table = words.astype("<u8").view(np.uint8).reshape(columns, size)
    return table[places].reshape(*places.shape[:-1], -1).view("<u8").astype(np.uint64)


def move_rows(words: Words, rows: int, by: int) -> Words:
    """A verification code (or mask), a word a column, moved by ``by`` rows away from the pupil; zeros move in.

    Args:
        words: uint64[...], in each word filter after filter, in each row after row, two bits a row.
        rows: rows of a filter; they fill a word or a part of which a word holds a whole number.
        by: rows, of either sign.
    """
    size = 2 * rows
    own = sum(((1 << size) - 1) >> 2 * abs(by) << at for at in range(0, 64, size))
    if by >= 0:
        return (words & np.uint64(own)) << np.uint64(2 * by)
    return (words >> np.uint64(-2 * by)) & np.uint64(own)
