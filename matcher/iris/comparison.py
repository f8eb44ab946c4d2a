"""1:1 comparison of iris codes: masked Hamming distance, least over rotations, normalised for the bits compared.

J. Daugman, "How Iris Recognition Works", IEEE Trans. CSVT 14(1), 2004 (masked distance, rotations), and "New Methods in
Iris Recognition", IEEE Trans. SMC-B 37(5), 2007 (normalisation). Distances on few bits scatter more, and 1:N search
would find the luckiest of them; the normalisation makes impostor scores alike whatever the masks leave.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from matcher.errors import ModelMismatch, TemplateInvalid
from matcher.iris.kernel import score_rows
from matcher.iris.parameters import ALGORITHM, PARAMETERS, VERSION, IrisParameters
from matcher.positions import Modality
from matcher.templates import IrisTemplate, Template

_ONE_ROW = np.zeros(1, np.int64)


@dataclasses.dataclass(frozen=True, eq=False)
class PreparedIris:
    """An iris code rotated in every way that is compared.

    Attributes:
        bits, masks: uint64[rotations, words]; row ``max_shift`` is the code as it stands.
        middle: the row that is not rotated.
    """

    bits: NDArray[np.uint64]
    masks: NDArray[np.uint64]
    middle: int

    @property
    def unrotated(self) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
        """Code and mask as they stand, uint64[1, words] each."""
        return self.bits[self.middle : self.middle + 1], self.masks[self.middle : self.middle + 1]


class IrisComparator:
    """Compares iris templates 1:1; stateless and thread-safe.

    The raw score is 0.5 - HDnorm: about 0.04 between strangers (the least of 17 rotations lies below one half), up to
    0.5 * sqrt(n / n0) for equal codes with n valid bits; NaN where fewer than a quarter of the bits can be compared.
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
        if template.columns != p.columns or len(template.bits) != p.words:
            raise TemplateInvalid(
                f"an {ALGORITHM} code has {p.columns} columns in {p.words} words, "
                f"this one {template.columns} in {len(template.bits)}"
            )
        return template

    def prepare(self, template: Template) -> PreparedIris:
        """Rotates the code in every way that is compared.

        Raises:
            ModelMismatch, TemplateInvalid: see ``check``.
        """
        iris = self.check(template)
        shifts = range(-self.parameters.max_shift, self.parameters.max_shift + 1)
        bits = np.stack([rotate(iris.bits, iris.columns, s) for s in shifts])
        masks = np.stack([rotate(iris.mask, iris.columns, s) for s in shifts])
        bits.setflags(write=False)
        masks.setflags(write=False)
        return PreparedIris(bits, masks, self.parameters.max_shift)

    def compare(self, probe: PreparedIris, reference: PreparedIris) -> float:
        """Raw score of two prepared templates: higher is more alike, symmetric; NaN: not comparable."""
        codes, masks = reference.unrotated
        return float(score_rows(probe.bits, probe.masks, codes, masks, _ONE_ROW, self.parameters.weights)[0])


def rotate(words: NDArray[np.uint64], columns: int, shift: int) -> NDArray[np.uint64]:
    """A code (or mask) turned by ``shift`` columns: what stood in column c stands in column c + shift (mod columns).

    Args:
        words: uint64[w], bit b of the code being bit b % 64 of word b // 64, column after column.
        columns: columns of the code; each has a whole number of bytes.
        shift: columns to turn by, of either sign.

    Raises:
        ValueError: a column is not a whole number of bytes.
    """
    size, rest = divmod(8 * len(words), columns)
    if rest or not size:
        raise ValueError(f"{columns} columns of {64 * len(words)} bits are not whole bytes")
    table = words.astype("<u8").view(np.uint8).reshape(columns, size)
    return np.roll(table, shift, axis=0).reshape(-1).view("<u8").astype(np.uint64)
