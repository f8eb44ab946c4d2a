"""How embeddings become 8-bit codes: rotated, so that most of their length is in a head that is searched first.

The embeddings of a network do not fill their space: a quarter or third of the directions, those of the largest
eigenvalues of their second moments (Jolliffe, "Principal Component Analysis", 2002, section 2.1), hold nearly all of
their length. Codes of the coordinates along these are the head, of the others the tail. By Cauchy and Schwarz the tail
adds at most the product of two lengths to a score, so that few tails are ever looked at; the answer stays exact, for
any vectors. Within each part coordinates are mixed by a random rotation, which makes them alike: one step fits them all
(Gong et al., "Iterative Quantization", PAMI 2013, section 2, use one for the same reason).

Where vectors are short or few, or their length is spread over too many directions, all is head and nothing is rotated.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from matcher.face.parameters import FaceIndexParameters
from matcher.inner_products import Queries, QueryTails, Rows, biased, query_levels

LEVELS = 127
_SEED = 7


@dataclasses.dataclass(frozen=True, eq=False)
class FaceCoding:
    """A rotation and the steps of the codes; see ``fitted``.

    Attributes:
        rotation: float64[d, d], orthogonal, whose first rows give the head; None for none, and no tail.
        head: numbers in a head.
        steps: what one of the codes of heads and of tails is worth.
    """

    rotation: NDArray[np.float64] | None
    head: int
    steps: tuple[float, float]

    def encode(self, vectors: NDArray[np.float32]) -> Rows:
        """Codes of float32[n, d], unit length, with residuals and lengths that are never too short."""
        turned = vectors if self.rotation is None else vectors @ self.rotation.T.astype(np.float32)
        heads, left_out = _rounded(turned[:, : self.head], self.steps[0])
        if self.rotation is None:
            return Rows(biased(heads), _no_less(np.sqrt(left_out)))
        rest = turned[:, self.head :]
        tails, left_out_of_tails = _rounded(rest, self.steps[1])
        return Rows(
            biased(heads),
            _no_less(np.sqrt(left_out + left_out_of_tails)),
            biased(tails),
            _no_less(np.linalg.norm(rest.astype(np.float64), axis=1)),
        )

    def queries(self, probes: NDArray[np.float32], parameters: FaceIndexParameters) -> Queries:
        """Probes (float32[p, d], unit length) as queries of the codes, with the bounds that follow.

        With x and q turned, what the codes of them say (x', q'), and c the codes of q:
        ``|q.x - q'.x'| = |q'.(x - x') + (q - q').x| <= |q'| |x - x'| + |q - q'| |x|`` (Cauchy and Schwarz), here
        divided by the two steps of heads. Without the tails t: ``|q't.x't| <= |qt| |xt|`` in place of them.
        """
        wide = probes.astype(np.float64)
        dimension = wide.shape[1]
        rounding = parameters.float64_rounding
        if self.rotation is not None:
            wide = wide @ self.rotation.T
            # Rows are turned in float32, by a rotation that is rounded to it: 2**-24 an operation and a number.
            rounding += 1.001 * parameters.rounding * (dimension + 1) * np.sqrt(dimension)
        codes, steps = _query_codes(wide[:, : self.head], query_levels())
        said = codes * steps[:, None]
        units = steps * self.steps[0]
        tails = None
        if self.rotation is not None:
            rest = wide[:, self.head :]
            tail_codes, tail_steps = _query_codes(rest, LEVELS)
            said = np.concatenate([said, tail_codes * tail_steps[:, None]], axis=1)
            tails = QueryTails(
                tail_codes.astype(np.int8),
                (tail_steps * self.steps[1] / units).astype(np.float32),
                ((np.linalg.norm(rest, axis=1) + rounding) / units).astype(np.float32),
            )
        left_out = np.linalg.norm(wide - said, axis=1)
        # Prepared vectors have unit length to float32.
        margins = (left_out * (1 + 1e-6) + rounding) / units
        gains = np.linalg.norm(said, axis=1) / units
        return Queries(codes.astype(np.int8), gains.astype(np.float32), margins.astype(np.float32), units, tails)


def looked_at(rows: int, parameters: FaceIndexParameters) -> NDArray[np.int64]:
    """Those of so many rows (>= 1) to which a coding is fitted, spread over all."""
    return np.linspace(0, rows - 1, min(rows, parameters.fitted_on)).astype(np.int64)


def fitted(vectors: NDArray[np.float32], parameters: FaceIndexParameters) -> FaceCoding:
    """A coding for vectors like these (float32[n, d], unit length, n >= 1)."""
    some = vectors[looked_at(len(vectors), parameters)]
    dimension = some.shape[1]
    rotation, head = None, dimension
    if len(vectors) >= parameters.least_rotated and dimension <= parameters.most_rotated:
        rotation, head = _rotation(some[::2].astype(np.float64), some[1::2].astype(np.float64), parameters)
    if rotation is None:
        return FaceCoding(None, dimension, (_step(some, parameters), 1.0))
    turned = some @ rotation.T
    finest = parameters.tail_rounding * np.sqrt(12 / (dimension - head))
    tail_step = max(_step(turned[:, head:], parameters), finest)
    return FaceCoding(rotation, head, (_step(turned[:, :head], parameters), tail_step))


def _rotation(
    some: NDArray[np.float64], others: NDArray[np.float64], parameters: FaceIndexParameters
) -> tuple[NDArray[np.float64] | None, int]:
    """A rotation to the directions of some that leaves a short tail of others, and the length of the head."""
    dimension = some.shape[1]
    axes = np.linalg.eigh(some.T @ some)[1][:, ::-1].T
    squares = ((others @ axes.T) ** 2).mean(axis=0)
    for head in range(parameters.head_unit, dimension // 2 + 1, parameters.head_unit):
        if squares[head:].sum() <= parameters.tail_share:
            rng = np.random.default_rng(_SEED)
            mixed = [_random_rotation(len(part), rng) @ part for part in (axes[:head], axes[head:])]
            return np.concatenate(mixed), head
    return None, dimension


def _random_rotation(size: int, rng: np.random.Generator) -> NDArray[np.float64]:
    rotation: NDArray[np.float64] = np.linalg.qr(rng.standard_normal((size, size)))[0]
    return rotation


def _step(numbers: NDArray[np.floating], parameters: FaceIndexParameters) -> float:
    deviation = float(np.sqrt(np.mean(np.square(numbers, dtype=np.float64))))
    return max(parameters.clip * deviation, float(np.quantile(np.abs(numbers), parameters.fitting))) / LEVELS


def _rounded(numbers: NDArray[np.float32], step: float) -> tuple[NDArray[np.int8], NDArray[np.float64]]:
    """Codes int8[n, d], and the squared lengths of what they leave out, float64[n]."""
    codes = np.clip(np.rint(numbers / np.float32(step)), -LEVELS, LEVELS)
    left_out = numbers.astype(np.float64) - codes.astype(np.float64) * step
    return codes.astype(np.int8), np.einsum("ij,ij->i", left_out, left_out)


def _query_codes(numbers: NDArray[np.float64], levels: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Codes, and a step for each query."""
    largest = np.abs(numbers).max(axis=1)
    steps = np.where(largest > 0.0, largest, 1.0) / levels
    return np.rint(numbers / steps[:, None]), steps


def _no_less(lengths: NDArray[np.float64]) -> NDArray[np.float32]:
    return np.nextafter(lengths.astype(np.float32), np.float32(np.inf))
