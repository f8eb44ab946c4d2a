"""How useful a face image is, and what the person who takes it should change.

In the spirit of ISO/IEC 29794-5: components of 0-100, each with what was measured and its unit, and one overall score.
**No certified implementation** of that standard: measures, ramps and the overall score are our own.

The overall score is there to predict errors, and it does best from what the recogniser itself says: how much of a face
it saw (length of its vector) and how alike two views of the same face are to it. Their product is lowered by what
spoils a picture outright: too few pixels, blur, no contrast, no detail left in white or black. The other components
guide the capture and do not count.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from enrollment.extract.face_measures import FaceMeasures
from matcher.service.extraction import QualityComponent


@dataclasses.dataclass(frozen=True)
class Ramp:
    """0 at ``low`` and below, 1 at ``high`` and above, straight between; ``low`` may be the larger one."""

    low: float
    high: float

    def __call__(self, value: float) -> float:
        """0-1."""
        return float(np.clip((value - self.low) / (self.high - self.low), 0.0, 1.0))


@dataclasses.dataclass(frozen=True)
class FaceQualityParameters:
    """Ramps, and the score of a component below which its advice is given.

    What is said of LFW was measured on the half of its people that fits may see (1,054 images).

    Attributes:
        eye_distance: pixels. The recogniser's crop has 35 between the eyes: below that it is magnified.
        yaw, pitch, roll: degrees away from frontal and upright; 1% lie beyond 38, 43 and 11. Pitch is judged loosely:
            from five points a smile looks like a lowered head. ISO/IEC 19794-5 asks for 5 of each.
        sharpness: share of fine detail (``FaceMeasures.sharpness``); 1% lie below 0.030.
        dark, bright: median grey level; 1% lie below 70 and above 196.
        contrast: spread of grey levels in the face; 5% lie below 77.
        clipped: share of pixels without detail because they are full white or black; 1% lie above 0.02.
        clutter: grey levels a pixel; half lie above 8.8, and portraits before a wall below 3.
        mouth: gap between the lips in eye distances; 5% lie above 0.29.
        eyes: opening over width; 5% lie below 0.18.
        faces: in the picture.
        confidence: of the detector; 5% lie below 0.64.
        advise_below: component score, 0-1, that calls for advice.
    """

    eye_distance: Ramp = Ramp(8.0, 40.0)
    yaw: Ramp = Ramp(60.0, 20.0)
    pitch: Ramp = Ramp(90.0, 30.0)
    roll: Ramp = Ramp(45.0, 10.0)
    sharpness: Ramp = Ramp(0.0, 0.04)
    dark: Ramp = Ramp(30.0, 80.0)
    bright: Ramp = Ramp(240.0, 200.0)
    contrast: Ramp = Ramp(20.0, 80.0)
    clipped: Ramp = Ramp(0.5, 0.1)
    clutter: Ramp = Ramp(30.0, 6.0)
    mouth: Ramp = Ramp(0.5, 0.15)
    eyes: Ramp = Ramp(0.08, 0.2)
    faces: Ramp = Ramp(3.0, 1.0)
    confidence: Ramp = Ramp(-0.5, 0.8)
    advise_below: float = 0.5


@dataclasses.dataclass(frozen=True)
class FaceQuality:
    """What is told of one face.

    Attributes:
        score: overall, 0-100.
        advice: for whoever captures, most pressing first.
        components: in the order of the module's table.
    """

    score: int
    advice: tuple[str, ...]
    components: tuple[QualityComponent, ...]


@dataclasses.dataclass(frozen=True)
class _Component:
    """Score 0-1 and whether it counts towards the overall score."""

    name: str
    score: float
    value: float
    unit: str
    advice: str
    counts: bool = False


def judge(measures: FaceMeasures, parameters: FaceQualityParameters | None = None) -> FaceQuality:
    """The quality of what was measured."""
    p = parameters or FaceQualityParameters()
    parts = _components(measures, p)
    overall = math.prod(part.score for part in parts if part.counts)
    pressing = sorted((part.score, part.advice) for part in parts if part.score < p.advise_below)
    return FaceQuality(
        round(100.0 * overall),
        tuple(dict.fromkeys(text for _, text in pressing)),
        tuple(QualityComponent(part.name, round(100.0 * part.score), part.value, part.unit) for part in parts),
    )


def _components(m: FaceMeasures, p: FaceQualityParameters) -> list[_Component]:
    dark = m.brightness < 128
    light = "too dark: more light on the face" if dark else "too bright: less light on the face"
    even = f"{light}, and none from behind or the side"
    whole = "show the whole face, uncovered and from the front"
    clipped = m.white + m.black
    parts = [
        _Component("recognisability", m.strength, m.strength, "share", whole, counts=True),
        _Component("consistency", m.agreement, m.agreement, "share", whole, counts=True),
        _Component("inter_eye_distance", p.eye_distance(m.eye_distance), m.eye_distance, "pixels", "move closer", True),
        _Component("yaw", p.yaw(abs(m.yaw)), m.yaw, "degrees", "turn towards the camera"),
        _Component(
            "pitch", p.pitch(abs(m.pitch)), m.pitch, "degrees", "hold the camera at the height of the eyes, chin level"
        ),
        _Component("roll", p.roll(abs(m.roll)), m.roll, "degrees", "hold head and camera upright"),
        _Component(
            "sharpness", p.sharpness(m.sharpness), m.sharpness, "share", "hold still, and wait for the focus", True
        ),
        _Component(
            "exposure", p.dark(m.brightness) if dark else p.bright(m.brightness), m.brightness, "grey levels", light
        ),
        _Component("dynamic_range", p.contrast(m.contrast), m.contrast, "grey levels", even, counts=True),
        _Component("clipping", p.clipped(clipped), clipped, "share", even, counts=True),
        _Component(
            "background_clutter", p.clutter(m.clutter), m.clutter, "grey levels a pixel", "stand before a plain wall"
        ),
        _Component("faces", p.faces(m.faces), m.faces, "faces", "show one person"),
        _Component("detection", p.confidence(m.confidence), m.confidence, "share", whole),
    ]
    if m.mouth is not None:
        parts.append(_Component("mouth_closed", p.mouth(m.mouth), m.mouth, "eye distances", "close the mouth"))
    if m.eyes is not None:
        parts.append(_Component("eyes_open", p.eyes(m.eyes), m.eyes, "share of the width", "open the eyes"))
    return parts
