"""Synthetic face embeddings in bulk, for benchmarks and load; never for quoting accuracy.

Embeddings of a real network do not fill their space evenly: their covariance has a decaying spectrum, in no particular
direction of the axes, and people who look alike (age, sex, origin) lie somewhat together. Both are imitated here, so
that shortlists, quantisation and ties behave as on real galleries: cosines of different people have the quantiles that
those of the compact model have between people of LFW (``benchmarks/stranger_scores.py`` prints both).
"""

from __future__ import annotations

import dataclasses
import functools

import numpy as np
from numpy.typing import NDArray

from matcher.face.comparison import COMPACT_ALGORITHM
from matcher.templates import FaceTemplate
from matcher.threads import workers

_PURPOSE_MODEL = 0xFA
_PURPOSE_IDENTITY = 0xFB
_PURPOSE_CAPTURE = 0xFC


@dataclasses.dataclass(frozen=True)
class FaceVectorParameters:
    """Constants of the embeddings.

    ``decay``, ``groups`` and ``group_share`` are fitted to quantiles of the cosines of different people of LFW by the
    compact model: 0.123, 0.238, 0.330 and 0.405 at 90, 99, 99.9 and 99.99 %; here they lie within 0.005 of these.

    Attributes:
        decay: the spectrum falls as exp(-k / decay); 2 x decay is about the effective dimension, and the deviation of
            cosines about one over its root.
        groups: people come from this many groups.
        group_share: part of an embedding's squared length that its group has in common.
        capture_sd: deviation of the cosine of two captures about its mean.
        block: rows made at a time.
    """

    decay: float = 60.0
    groups: int = 64
    group_share: float = 0.2
    capture_sd: float = 0.08
    block: int = 32768


_P = FaceVectorParameters()


def bulk_face_vectors(count: int, seed: int, *, first: int = 0, dimension: int = 512) -> NDArray[np.float32]:
    """Embeddings of ``count`` different synthetic people: float32[count, dimension], rows of unit length.

    A longer run begins with the rows of a shorter one.

    Args:
        count: how many, >= 0. The rows need count x dimension x 4 bytes, and little more is used on the way.
        seed: >= 0.
        first: number of the first one; those before are left out. Multiples of 32,768 cost nothing.
        dimension: 64 to 4096.
    """
    result = np.empty((count, dimension), np.float32)

    def make(number: int) -> None:
        begin, end = max(first, number * _P.block), min(first + count, (number + 1) * _P.block)
        result[begin - first : end - first] = _block(number, end - number * _P.block, seed, dimension)[begin - end :]

    workers().map(make, range(first // _P.block, -(-(first + count) // _P.block)))
    return result


def _block(number: int, rows: int, seed: int, dimension: int) -> NDArray[np.float32]:
    """The first rows of a block."""
    rng = np.random.default_rng((_PURPOSE_IDENTITY, seed, number))
    member = rng.integers(0, _P.groups, _P.block)[:rows]
    made = np.empty((rows, dimension), np.float32)
    _draw(rng, made)
    made *= np.float32(np.sqrt(1 - _P.group_share))
    made += _groups(dimension)[member]
    _normalise(made)
    return made


def vary(vectors: NDArray[np.float32], seed: int, *, cosine: float = 0.7) -> NDArray[np.float32]:
    """A second capture of each person: float32[n, dimension], rows of unit length.

    Args:
        vectors: float32[n, dimension], rows of unit length.
        seed: the capture, >= 0.
        cosine: mean cosine of a row with its original, -1 to 1; single ones deviate from it by 0.08 or so.
    """
    result = np.empty_like(vectors)
    for number, start in enumerate(range(0, len(vectors), _P.block)):
        rng = np.random.default_rng((_PURPOSE_CAPTURE, seed, number))
        original, rows = vectors[start : start + _P.block], result[start : start + _P.block]
        _draw(rng, rows)
        rows -= np.einsum("ij,ij->i", rows, original)[:, None] * original
        _normalise(rows)
        near = np.clip(rng.normal(cosine, _P.capture_sd, len(rows)), -1.0, 1.0).astype(np.float32)[:, None]
        rows *= np.sqrt(1 - near**2)
        rows += near * original
        _normalise(rows)
    return result


def bulk_face_templates(
    count: int, seed: int, *, first: int = 0, dimension: int = 512, algorithm: str = COMPACT_ALGORITHM
) -> list[FaceTemplate]:
    """``bulk_face_vectors`` as templates that carry the algorithm id given."""
    return [FaceTemplate(algorithm, 1, row) for row in bulk_face_vectors(count, seed, first=first, dimension=dimension)]


@functools.lru_cache(maxsize=4)
def _mixing(dimension: int) -> NDArray[np.float32]:
    """float32[dimension, dimension]: white noise times this has the spectrum, and about unit length.

    It belongs to the imagined network, so it is the same for every seed.
    """
    rng = np.random.default_rng((_PURPOSE_MODEL, dimension))
    rotation = np.linalg.qr(rng.standard_normal((dimension, dimension)))[0]
    spectrum = np.exp(-np.arange(dimension) / _P.decay)
    return np.asarray(np.sqrt(spectrum / spectrum.sum())[:, None] * rotation, np.float32)


@functools.lru_cache(maxsize=4)
def _groups(dimension: int) -> NDArray[np.float32]:
    """float32[groups, dimension]: what the members of each group have in common, of the same network."""
    rng = np.random.default_rng((_PURPOSE_MODEL, dimension, _P.groups))
    centres = rng.standard_normal((_P.groups, dimension)).astype(np.float32) @ _mixing(dimension)
    _normalise(centres)
    return np.asarray(np.sqrt(_P.group_share) * centres, np.float32)


def _draw(rng: np.random.Generator, rows: NDArray[np.float32]) -> None:
    """Fills the rows with noise of the network's covariance."""
    np.matmul(rng.standard_normal(rows.shape, np.float32), _mixing(rows.shape[1]), out=rows)


def _normalise(rows: NDArray[np.float32]) -> None:
    rows /= np.sqrt(np.einsum("ij,ij->i", rows, rows))[:, None]
