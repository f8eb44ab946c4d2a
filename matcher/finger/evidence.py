"""From what two stages found to one score.

The fast stage (``pairing``) gives LGS-R. Where that is below the model's gate, as for most strangers, the score is

    LGS-R / gate, which is less than 1;

from the gate on the prints are laid upon each other (``alignment``) and the score is

    1 + log(1 + exp(offset + weights . features)),

which is at least 1. So a pair gets the same score whether it is compared alone or in a search, the order of scores is
that of LGS-R below the gate and that of the model above, and no pair below the gate comes before one above.

The features (``FEATURES``) grow with the likeness of two prints and no weight is negative: nothing that speaks for a
match lowers the score. The weights are those of a logistic regression, with the script that makes them
(``benchmarks/fit_finger_model.py``) and what it was fitted on in the file itself.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib.resources
import json
import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from matcher.compiled import kernel
from matcher.errors import InvalidInput
from matcher.finger.alignment import AlignmentSpace, AlignmentTables, align
from matcher.finger.pairing import PairingSpace, PairingTables, pair_up, relaxed_score

MODEL_FILE = "pair_model.json"
MODEL_VERSION = 1
FEATURES = ("log_relaxed", "log_best", "log_similar", "partner_share", "closeness", "kept_share")
"""Logarithms of LGS-R, of the best relaxed pair and of 1 + the partners' similarities; partners as a share of the
minutiae that could have one; minus the root mean square distance of partners in pixels; share of the fast stage's
pairs that are partners."""


class EvidenceTables(NamedTuple):
    """``PairModel``, as the kernels read it."""

    weights: NDArray[np.float64]
    offset: float
    gate: float


@dataclasses.dataclass(frozen=True, eq=False)
class PairModel:
    """The weights of the features.

    Attributes:
        weights: float64[6], of ``FEATURES``, none negative.
        offset: added to the weighted features.
        gate: LGS-R from which on the second stage runs, 0-1.
        about: what it was fitted on, how, and how well it did.
    """

    weights: NDArray[np.float64]
    offset: float
    gate: float
    about: Mapping[str, Any]

    def __post_init__(self) -> None:
        numbers = [*self.weights.tolist(), self.offset, self.gate]
        if self.weights.shape != (len(FEATURES),) or not all(map(math.isfinite, numbers)):
            raise InvalidInput("pair model: it needs one finite weight for each feature", reason="MODEL_INVALID")
        if self.weights.min() < 0 or not 0 < self.gate < 1:
            raise InvalidInput(
                "pair model: no weight may be negative, the gate lies within 0-1", reason="MODEL_INVALID"
            )

    @property
    def tables(self) -> EvidenceTables:
        """For the kernels."""
        return EvidenceTables(self.weights, self.offset, self.gate)

    def to_json(self) -> str:
        """The model file's text."""
        weights = {name: round(float(w), 5) for name, w in zip(FEATURES, self.weights, strict=True)}
        model = {"model_version": MODEL_VERSION, "gate": self.gate, "offset": round(self.offset, 5), "weights": weights}
        return json.dumps({**model, "about": dict(self.about)}, indent=1)

    @classmethod
    def from_json(cls, text: str) -> PairModel:
        """Reads a model; raises InvalidInput (MODEL_INVALID) where it is none."""
        try:
            data = json.loads(text)
            if data["model_version"] != MODEL_VERSION or set(data["weights"]) != set(FEATURES):
                raise ValueError(f"version {MODEL_VERSION} with the weights {', '.join(FEATURES)} is needed")
            weights = np.array([data["weights"][name] for name in FEATURES], np.float64)
            return cls(weights, float(data["offset"]), float(data["gate"]), dict(data["about"]))
        except (KeyError, TypeError, ValueError) as error:
            raise InvalidInput(f"this is no pair model that can be used ({error})", reason="MODEL_INVALID") from None

    @classmethod
    def load(cls) -> PairModel:
        """The one that the package holds."""
        return _shipped()


@functools.cache
def _shipped() -> PairModel:
    return PairModel.from_json((importlib.resources.files("matcher") / "finger" / MODEL_FILE).read_text())


@kernel
def measure(
    bits_a: NDArray[np.uint64],
    x_a: NDArray[np.float32],
    y_a: NDArray[np.float32],
    angle_a: NDArray[np.int16],
    bits_b: NDArray[np.uint64],
    x_b: NDArray[np.float32],
    y_b: NDArray[np.float32],
    angle_b: NDArray[np.int16],
    gate: float,
    pairing: PairingTables,
    alignment: AlignmentTables,
    p: PairingSpace,
    a: AlignmentSpace,
    features: NDArray[np.float64],
) -> float:
    """LGS-R of two fingers of which the first has not more minutiae; from ``gate`` on also fills features[6]."""
    pairs = pair_up(bits_a, x_a, y_a, angle_a, bits_b, x_b, y_b, angle_b, pairing, p)
    relaxed = relaxed_score(pairs, int(pairing.pairs[x_a.shape[0]]), p)
    if relaxed < gate:
        return relaxed
    align(x_a, y_a, angle_a, x_b, y_b, angle_b, pairs, p, alignment, a)
    best, kept = 0.0, 0.0
    for t in range(pairs):
        best = max(best, np.float64(p.final[t]))
        kept += np.float64(a.best_mate[p.row[t]] == p.column[t])
    partners, similar, distance, inside_a, inside_b = a.best_measures
    features[0] = math.log(max(relaxed, 0.005))
    features[1] = math.log(max(best, 0.005))
    features[2] = math.log1p(max(similar, 0.0))
    features[3] = partners / max(0.5 * (inside_a + inside_b), 1.0)
    features[4] = -math.sqrt(distance / max(partners, 1.0))
    features[5] = kept / max(pairs, 1)
    return relaxed


@kernel
def score(relaxed: float, features: NDArray[np.float64], tables: EvidenceTables) -> float:
    """The score of a pair, see the module."""
    if relaxed < tables.gate:
        return relaxed / tables.gate
    evidence = tables.offset
    for k in range(features.shape[0]):
        evidence += tables.weights[k] * features[k]
    return 1.0 + max(evidence, 0.0) + math.log1p(math.exp(-abs(evidence)))
