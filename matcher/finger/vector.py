"""A fingerprint's minutiae as one vector of fixed length, whose inner products find the fingers worth comparing.

Steps:
    1. each minutia is described by the soft cells of its cylinder (``cylinders.cell_contributions`` through a sigmoid),
       its direction and its place relative to the middle of all minutiae: 388 numbers;
    2. linear discriminant analysis leaves 64 of them, those that differ least between impressions of one minutia and
       most between minutiae (R. A. Fisher 1936; within-class scatter from minutiae that are known to be the same);
    3. each minutia is shared among its nearest visual words, and the differences to them are summed a word (VLAD: H.
       Jegou, M. Douze, C. Schmid, P. Perez, "Aggregating local descriptors into a compact image representation", CVPR
       2010); signed square roots, then each word's sum divided by the root of its length, then unit length;
    4. a second discriminant analysis, now of impressions and fingers, leaves 480 numbers; unit length; int8.

A finger is found by it whatever else the gallery holds: the numbers are fitted once
(``benchmarks/fit_finger_vectors.py``) and stand in ``vector_model.npz`` with what they were fitted on. Prints are taken
as roughly upright: direction and place are part of a minutia's description.

The vector narrows a search, nothing else: whoever is found is compared minutia by minutia.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib.resources
import io
import json
import math
import threading
import weakref
import zipfile
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from matcher.compiled import kernel
from matcher.errors import InvalidInput
from matcher.finger.cylinders import (
    CylinderTables,
    PreparedFinger,
    cylinder_space,
    cylinder_tables,
    radians,
    sum_cells,
)
from matcher.finger.parameters import CylinderParameters, VectorParameters
from matcher.threads import workers

MODEL_FILE = "vector_model.npz"
_BATCH = 128
"""Fingers that a thread takes together: 7 MB of descriptions, 2 MB of sums, which are projected by one product."""
_LOG2_E = 1.0 / math.log(2.0)
_LN2_HIGH = 6.93147180369123816490e-01
_LN2_LOW = 1.90821492927058770002e-10
"""ln 2 in two parts, of which the first times a small whole number is exact (W. J. Cody, W. Waite 1980)."""


def describe_minutiae(
    finger: PreparedFinger, cylinders: CylinderParameters, p: VectorParameters
) -> NDArray[np.float32]:
    """float32[n, bits + 4]: step 1."""
    described = np.empty((len(finger), cylinders.bits + 4), np.float32)
    middle = np.zeros(cylinders.bits + 4, np.float32)
    _describe(
        finger.x,
        finger.y,
        finger.angle,
        np.array([len(finger)], np.int64),
        tuple(cylinder_tables(cylinders)),
        p.steepness,
        p.centre,
        p.length,
        middle,
        described,
    )
    return described


def sum_residuals(
    reduced: NDArray[np.float32], words: NDArray[np.float32], nearest: int, softness: float
) -> NDArray[np.float32]:
    """float32[words * d], unit length: step 3, for the reduced minutiae (float32[n, d]) of one finger."""
    sums: NDArray[np.float32] = np.empty((1, words.size), np.float32)
    end = np.array([len(reduced)], np.int64)
    _sum_residuals(reduced, reduced @ words.T, end, words, _squares(words), nearest, softness, sums)
    return sums.ravel()


def _squares(words: NDArray[np.float32]) -> NDArray[np.float64]:
    return np.asarray((words.astype(np.float64) ** 2).sum(axis=1))


@kernel
def _describe(
    x: NDArray[np.float32],
    y: NDArray[np.float32],
    angle: NDArray[np.int16],
    ends: NDArray[np.int64],
    tables: tuple[Any, ...],
    steepness: float,
    centre: float,
    length: float,
    middle: NDArray[np.float32],
    out: NDArray[np.float32],
) -> None:
    """Writes float32[n, bits + 4], the descriptions less ``middle``, of fingers one behind the other, each of which
    ends at one of ``ends``."""
    p = CylinderTables(*tables)
    space = cylinder_space(ends, p)
    wide_x, wide_y, theta = x.astype(np.float64), y.astype(np.float64), radians(angle)
    cells = out.shape[1] - 4
    sums, values, powers = space.sums, np.empty(cells), np.empty(cells)
    as_integers = powers.view(np.int64)
    begin = 0
    for end in ends:
        sum_cells(wide_x[begin:end], wide_y[begin:end], theta[begin:end], angle[begin:end], p, space)
        mean_x, mean_y = np.mean(wide_x[begin:end]), np.mean(wide_y[begin:end])
        for m in range(begin, end):
            row, first = out[m], (m - begin) * cells
            values[:] = sums[first : first + cells]
            # exp(t) = 2^k exp(r): no call, so that LLVM makes vectors of it; right to 1e-15.
            for c in range(cells):
                t = min(max(-steepness * (values[c] - centre), -700.0), 700.0)
                as_integers[c] = (np.int64(math.floor(t * _LOG2_E + 0.5)) + 1023) << 52
            for c in range(cells):
                t = min(max(-steepness * (values[c] - centre), -700.0), 700.0)
                k = math.floor(t * _LOG2_E + 0.5)
                r = (t - k * _LN2_HIGH) - k * _LN2_LOW
                e = 1.0 / 39916800.0
                e = e * r + 1.0 / 3628800.0
                e = e * r + 1.0 / 362880.0
                e = e * r + 1.0 / 40320.0
                e = e * r + 1.0 / 5040.0
                e = e * r + 1.0 / 720.0
                e = e * r + 1.0 / 120.0
                e = e * r + 1.0 / 24.0
                e = e * r + 1.0 / 6.0
                e = e * r + 0.5
                e = e * r + 1.0
                e = e * r + 1.0
                row[c] = np.float32(1.0 / (1.0 + e * powers[c])) - middle[c]
            row[cells] = np.float32(math.cos(theta[m])) - middle[cells]
            row[cells + 1] = np.float32(math.sin(theta[m])) - middle[cells + 1]
            row[cells + 2] = np.float32((wide_x[m] - mean_x) / length) - middle[cells + 2]
            row[cells + 3] = np.float32((wide_y[m] - mean_y) / length) - middle[cells + 3]
        begin = end


@kernel
def _sum_residuals(
    reduced: NDArray[np.float32],
    products: NDArray[np.float32],
    ends: NDArray[np.int64],
    words: NDArray[np.float32],
    squares: NDArray[np.float64],
    nearest: int,
    softness: float,
    out: NDArray[np.float32],
) -> None:
    """Step 3 of fingers one behind the other; products are those of minutiae and words, float32[n, words], squares
    those of words with themselves."""
    begin = 0
    for finger in range(ends.shape[0]):
        mine = slice(begin, ends[finger])
        _sum_one(reduced[mine], products[mine], words, squares, nearest, softness, out[finger])
        begin = ends[finger]


@kernel
def _sum_one(
    reduced: NDArray[np.float32],
    products: NDArray[np.float32],
    words: NDArray[np.float32],
    squares: NDArray[np.float64],
    nearest: int,
    softness: float,
    out: NDArray[np.float32],
) -> None:
    count, width = words.shape
    sums = np.zeros((count, width))
    near, distance = np.zeros(nearest, np.int64), np.zeros(nearest)
    for m in range(reduced.shape[0]):
        distance[:] = np.inf
        for w in range(count):
            # Less the square of the minutia's own length, which is the same for all words.
            apart = squares[w] - 2.0 * products[m, w]
            if apart < distance[nearest - 1]:
                at = nearest - 1
                while at > 0 and distance[at - 1] > apart:
                    distance[at], near[at] = distance[at - 1], near[at - 1]
                    at -= 1
                distance[at], near[at] = apart, w
        total = 0.0
        for i in range(nearest):
            total += math.exp(-(distance[i] - distance[0]) / softness)
        for i in range(nearest):
            share = math.exp(-(distance[i] - distance[0]) / softness) / total
            w = near[i]
            for d in range(width):
                sums[w, d] += share * (np.float64(reduced[m, d]) - words[w, d])
    whole = 0.0
    for w in range(count):
        square = 0.0
        for d in range(width):
            square += abs(sums[w, d])
        # Signed square roots, whose squares sum up to this; then divided by the root of their length.
        scale = 1.0 / math.sqrt(max(math.sqrt(square), 1e-12))
        for d in range(width):
            value = sums[w, d]
            root = math.sqrt(abs(value)) * scale
            sums[w, d] = root if value >= 0.0 else -root
        whole += square * scale * scale
    scale = 1.0 / max(math.sqrt(whole), 1e-12)
    for w in range(count):
        for d in range(width):
            out[w * width + d] = np.float32(sums[w, d] * scale)


@dataclasses.dataclass(frozen=True, eq=False)
class VectorModel:
    """The fitted numbers, and vectors by them; thread-safe.

    Attributes:
        number: of the model, 1-65535; vectors of different ones are not comparable.
        middle: float32[388], subtracted from a minutia's description.
        reduce: float32[388, 64], step 2.
        words: float32[64, 64], step 3; softness: of the shares, > 0.
        mean: float32[4096], subtracted from the sums; project: float32[4096, 480], step 4.
        about: what it was fitted on and how well it did.
    """

    number: int
    middle: NDArray[np.float32]
    reduce: NDArray[np.float32]
    words: NDArray[np.float32]
    softness: float
    mean: NDArray[np.float32]
    project: NDArray[np.float32]
    about: Mapping[str, Any]
    parameters: VectorParameters = dataclasses.field(default_factory=VectorParameters)
    cylinders: CylinderParameters = dataclasses.field(default_factory=CylinderParameters)

    def __post_init__(self) -> None:
        p = self.parameters
        described, sums = self.cylinders.bits + 4, p.words * p.reduced
        shapes = {
            "middle": (described,),
            "reduce": (described, p.reduced),
            "words": (p.words, p.reduced),
            "mean": (sums,),
            "project": (sums, p.numbers),
        }
        for name, shape in shapes.items():
            array: NDArray[np.float32] = getattr(self, name)
            if array.dtype != np.float32 or array.shape != shape or not np.isfinite(array).all():
                raise InvalidInput(f"vector model: {name} is not {shape} finite numbers", reason="MODEL_INVALID")
        if not (1 <= self.number <= 0xFFFF and math.isfinite(self.softness) and self.softness > 0):
            raise InvalidInput("vector model: its number or softness is out of range", reason="MODEL_INVALID")

    @classmethod
    @functools.cache
    def load(cls) -> VectorModel:
        """The model that ships."""
        return cls.from_bytes((importlib.resources.files("matcher.finger") / MODEL_FILE).read_bytes())

    @classmethod
    def from_bytes(cls, data: bytes) -> VectorModel:
        """Reads what ``to_bytes`` wrote; raises InvalidInput on anything else."""
        try:
            with np.load(io.BytesIO(data), allow_pickle=False) as file:
                head = json.loads(str(file["head"]))
                arrays = {name: file[name].astype(np.float32) for name in _ARRAYS}
            return cls(
                number=int(head["number"]), softness=float(head["softness"]), about=dict(head["about"]), **arrays
            )
        except (OSError, EOFError, zipfile.BadZipFile, ValueError, KeyError, TypeError, AttributeError) as error:
            raise InvalidInput(f"vector model: {error}", reason="MODEL_INVALID") from None

    def to_bytes(self) -> bytes:
        """The model file: float16 arrays, and the rest as JSON."""
        head = json.dumps(
            {"number": self.number, "softness": self.softness, "about": dict(self.about)}, indent=1, sort_keys=True
        )
        buffer = io.BytesIO()
        np.savez(buffer, head=np.array(head), **{n: getattr(self, n).astype(np.float16) for n in _ARRAYS})
        return buffer.getvalue()

    def encode(self, fingers: Sequence[PreparedFinger]) -> NDArray[np.int8]:
        """int8[len(fingers), 480]: their vectors; 0 where a finger has fewer than ``least_minutiae``."""
        p = self.parameters
        result = np.zeros((len(fingers), p.numbers), np.int8)
        usable = [i for i, finger in enumerate(fingers) if len(finger) >= p.least_minutiae]
        batches = [usable[start : start + _BATCH] for start in range(0, len(usable), _BATCH)]

        def encode_batch(batch: list[int]) -> None:
            vectors = (self._sums([fingers[i] for i in batch]) - self.mean) @ self.project
            vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
            result[batch] = np.clip(np.rint(vectors * p.scale), -127, 127).astype(np.int8)

        workers().map(encode_batch, batches)
        return result

    def of_probes(self, probes: Sequence[PreparedFinger]) -> NDArray[np.int8]:
        """The same, computed once a finger as long as that lives: a probe of an unknown finger is searched in many
        indexes."""
        with _remembering:
            known = {probe: _remembered[probe] for probe in probes if probe in _remembered}
        missing = list(dict.fromkeys(p for p in probes if p not in known or known[p][0] is not self))
        known |= {probe: (self, vector) for probe, vector in zip(missing, self.encode(missing), strict=True)}
        with _remembering:
            _remembered.update(known)
        return np.stack([known[probe][1] for probe in probes])

    def _sums(self, fingers: Sequence[PreparedFinger]) -> NDArray[np.float32]:
        """float32[len(fingers), words * reduced]: steps 1 to 3."""
        p, tables = self.parameters, tuple(cylinder_tables(self.cylinders))
        ends = np.cumsum([len(finger) for finger in fingers], dtype=np.int64)
        described = np.empty((ends[-1], self.cylinders.bits + 4), np.float32)
        x, y, angle = (np.concatenate(columns) for columns in zip(*((f.x, f.y, f.angle) for f in fingers), strict=True))
        _describe(x, y, angle, ends, tables, p.steepness, p.centre, p.length, self.middle, described)
        reduced: NDArray[np.float32] = described @ self.reduce
        products = reduced @ self.words.T
        squares = _squares(self.words)
        sums = np.empty((len(fingers), self.words.size), np.float32)
        _sum_residuals(reduced, products, ends, self.words, squares, p.nearest, self.softness, sums)
        return sums


_ARRAYS = ("middle", "reduce", "words", "mean", "project")
_remembered: weakref.WeakKeyDictionary[PreparedFinger, tuple[VectorModel, NDArray[np.int8]]] = (
    weakref.WeakKeyDictionary()
)
_remembering = threading.Lock()
