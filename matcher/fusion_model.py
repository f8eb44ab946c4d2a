"""How the positions of one person hang together: correlations that were fitted, and the file that holds them.

Of two kinds, because two questions are asked:

- ``evidence``: how much of the evidence of two positions is the same, for people who are on record. A person whose left
  index finger is dry has a dry right one. It says how much a second position adds.
- ``strangers``: how often two strangers who look alike at one position do so at another. It says how rarely strangers
  reach a fused score, and with it the false match rate. ``strangers_limit`` is the upper confidence limit of the same,
  for the part of a score that calibration vouches for.

The shipped model is ``matcher/calibrations/fusion_model.json``; ``about`` in it says on whom each value was fitted.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib.resources
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matcher.calibration import FUSION_FILE
from matcher.errors import InvalidInput
from matcher.positions import Modality, Position

FUSION_VERSION = 2


@dataclasses.dataclass(frozen=True)
class Correlations:
    """Of two positions of one person, each 0 (nothing in common) to 1 (the same twice)."""

    same_hand: float = 0.0
    """Two fingers of one hand. A finger that is not known may be of either, and counts as of the same."""
    other_hand: float = 0.0
    """Two fingers of different hands."""
    eyes: float = 0.0
    """The two eyes."""
    faces: float = 0.0
    """Two comparisons of faces (two matchers; a server compares one)."""
    modalities: float = 0.0
    """A finger and a face, a face and an eye, and so on."""

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if not (math.isfinite(value) and 0.0 <= value <= 1.0):
                raise _invalid(f"{field.name} is {value:g}; a correlation must be within 0 and 1")

    def between(self, one: Position, other: Position) -> float:
        """The correlation of two samples of one person."""
        name = relation(one, other)
        if name == "same_hand" and (one.is_unknown or other.is_unknown):
            return max(self.same_hand, self.other_hand)
        return float(getattr(self, name))


def relation(one: Position, other: Position) -> str:
    """The field of ``Correlations`` that two samples of one person belong to."""
    if one.modality is not other.modality:
        return "modalities"
    if one.modality is Modality.FACE:
        return "faces"
    if one.modality is Modality.IRIS:
        return "eyes"
    unknown = one.is_unknown or other.is_unknown
    return "same_hand" if unknown or one.is_left_finger is other.is_left_finger else "other_hand"


CORRELATIONS = tuple(field.name for field in dataclasses.fields(Correlations))


@dataclasses.dataclass(frozen=True)
class FusionModel:
    """Fitted correlations; the defaults take positions as independent. Immutable."""

    evidence: Correlations = Correlations()
    strangers: Correlations = Correlations()
    strangers_limit: Correlations = Correlations()
    about: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in CORRELATIONS:
            estimate, limit = getattr(self.strangers, name), getattr(self.strangers_limit, name)
            if limit < estimate:
                raise _invalid(f"strangers_limit.{name} is {limit:g}, below the estimate of {estimate:g}")

    def to_json(self) -> str:
        """The model's text."""
        return json.dumps(
            {
                "fusion_version": FUSION_VERSION,
                "evidence": dataclasses.asdict(self.evidence),
                "strangers": dataclasses.asdict(self.strangers),
                "strangers_limit": dataclasses.asdict(self.strangers_limit),
                "about": dict(self.about),
            },
            indent=1,
        )

    @classmethod
    def from_json(cls, text: str) -> FusionModel:
        """Reads a model; raises InvalidInput (FUSION_INVALID) where it is no such thing."""
        try:
            data = json.loads(text)
            if data["fusion_version"] != FUSION_VERSION:
                raise ValueError(f"fusion version {data['fusion_version']} is not {FUSION_VERSION}")
            kinds = ("evidence", "strangers", "strangers_limit")
            evidence, strangers, limit = (_correlations(data[kind]) for kind in kinds)
            return cls(evidence, strangers, limit, dict(data["about"]))
        except InvalidInput:
            raise
        except (AttributeError, KeyError, TypeError, ValueError, OverflowError, RecursionError) as error:
            raise _invalid(f"this is no fusion model that can be used ({error})") from None

    @classmethod
    def load(cls, folder: Path | None = None) -> FusionModel:
        """The model of a deployment's folder where it holds one (``fusion_model.json``), else the shipped one.

        Raises:
            InvalidInput (FUSION_INVALID): the file there is no model.
        """
        path = None if folder is None else folder / FUSION_FILE
        if path is None or not (path.exists() or path.is_symlink()):
            return _shipped()
        if not path.is_file():
            raise InvalidInput(f"{path} is no regular file", reason="FUSION_INVALID")
        try:
            return cls.from_json(path.read_text("utf-8"))
        except (InvalidInput, OSError, UnicodeDecodeError) as error:
            raise InvalidInput(f"{path}: {error}", reason="FUSION_INVALID") from None


@functools.cache
def _shipped() -> FusionModel:
    return FusionModel.from_json((importlib.resources.files("matcher") / "calibrations" / FUSION_FILE).read_text())


def _correlations(data: Mapping[str, Any]) -> Correlations:
    """All of them must be told: one left out would count as independent, and make false HITs."""
    if data.keys() != set(CORRELATIONS):
        raise ValueError(f"correlations must be exactly {', '.join(CORRELATIONS)}; got {', '.join(map(str, data))}")
    return Correlations(**{name: float(data[name]) for name in CORRELATIONS})


def _invalid(message: str) -> InvalidInput:
    return InvalidInput(f"fusion model: {message}", reason="FUSION_INVALID")
