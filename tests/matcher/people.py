"""Synthetic people of face vectors for tests of what lies above the modalities."""

from __future__ import annotations

import math

import numpy as np

from matcher.calibration import Calibration, Calibrations
from matcher.changes import EncounterEnrolled, Reference
from matcher.found_subjects import Probe
from matcher.positions import Modality, Position
from matcher.templates import FaceTemplate, IrisCode, IrisTemplate, Template

FACE = "face-test-1"
IRIS = "iris-loggabor-2"


def face(seed: int, capture: int = 0, noise: float = 0.5, algorithm: str = FACE) -> FaceTemplate:
    """A capture of the face of person ``seed``."""
    vector = np.random.default_rng(seed).standard_normal(128)
    if capture:
        vector = vector + noise * np.random.default_rng((seed, capture)).standard_normal(128)
    return FaceTemplate(algorithm, 1, (vector / np.linalg.norm(vector)).astype(np.float32))


def iris(seed: int, capture: int = 0, flips: float = 0.1) -> IrisTemplate:
    """A capture of an eye, of independent bits, all comparable."""
    return IrisTemplate(IRIS, 1, 128, _code(2048, seed, capture, flips), _code(8192, seed, capture, flips))


def _code(size: int, seed: int, capture: int, flips: float) -> IrisCode:
    bits = np.random.default_rng((1, seed)).integers(0, 2, size, dtype=np.uint8)
    if capture:
        bits ^= (np.random.default_rng((2, seed, capture)).random(size) < flips).astype(np.uint8)
    words = np.packbits(bits, bitorder="little").view(np.uint64).copy()
    return IrisCode(words, np.full(size // 64, np.iinfo(np.uint64).max, np.uint64))


def enrolled(
    lsn: int,
    subject: str,
    samples: list[tuple[int, Position, Template]],
    galleries: tuple[str, ...] = ("default",),
    encounter: str = "1",
) -> EncounterEnrolled:
    """An enrolment of (reference id, position, template)."""
    return EncounterEnrolled(lsn, subject, encounter, galleries, tuple(Reference(*s) for s in samples))


def face_probe(seed: int, capture: int = 9) -> Probe:
    """Another capture of a face, as a probe."""
    return Probe(Position.FACE, face(seed, capture))


def line(modality: Modality, algorithm: str, strangers: float, per_unit: float, trusted_to: float) -> Calibration:
    """A calibration along a line: score 0 at raw ``strangers``, ``per_unit`` dB more for each raw unit above."""
    scores = np.array([0.0, trusted_to])
    return Calibration(
        modality,
        algorithm,
        strangers + scores / per_unit,
        scores,
        per_unit,
        0.0,
        trusted_to,
        trusted_to * math.log(10) / 10 - 1.0,
        np.array([0.0, 60.0]),
        np.array([-3.0, 60.0 * math.log(10) / 10 - 1.0]),
        {"data": "made for tests"},
    )


def calibrations() -> Calibrations:
    """For the templates above: strangers' cosine has sd 0.09, and half of their bits agree."""
    return Calibrations([line(Modality.FACE, FACE, 0.0, 100.0, 60.0), line(Modality.IRIS, IRIS, 0.05, 200.0, 60.0)])
