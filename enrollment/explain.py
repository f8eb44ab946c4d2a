"""``ambis explain``: two fingerprints side by side, with their minutiae and the lines between those that match."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from enrollment.extract.finger import PPI, FingerExtractor, resample
from enrollment.images import decode_image
from matcher.calibration import Calibrations
from matcher.explanation import one_in
from matcher.finger.comparison import FingerComparator, PairDetails
from matcher.finger.cylinders import TURN, PreparedFinger

FINE = 4
"""Drawn at this scale, and brought down to half of it: lines without stairs."""
MARGIN = 12
LINE = 22
_UNPAIRED = (90, 110, 140)
_INK = (25, 25, 25)
_PAPER = (255, 255, 255)


@dataclasses.dataclass(frozen=True, eq=False)
class Print:
    """A fingerprint with what was found in it.

    Attributes:
        grey: uint8[h, w], the image at 500 ppi.
        finger: its minutiae, as they are compared.
        quality: 0-100.
    """

    grey: NDArray[np.uint8]
    finger: PreparedFinger
    quality: int


@dataclasses.dataclass(frozen=True, eq=False)
class Explanation:
    """Two prints and their comparison.

    Attributes:
        probe, reference: the prints.
        details: what the comparator found.
        score: -10*log10(FMR) of the comparison; trusted_to: the most that calibration vouches for.
    """

    probe: Print
    reference: Print
    details: PairDetails
    score: float
    trusted_to: float

    def sentences(self) -> list[str]:
        """What matched, and what the score says."""
        d, n = self.details, len(self.details.partners)
        first, second = len(self.probe.finger), len(self.reference.finger)
        told = f"Score {self.score:.1f}: {one_in(self.score)} pairs of different fingers reach it."
        if self.score > self.trusted_to:
            told += f" Measured up to {self.trusted_to:.1f} ({one_in(self.trusted_to)}), beyond that extrapolated."
        if n == 0:
            return [told, f"None of the {first} and {second} minutiae lie upon each other."]
        return [
            told,
            f"{n} of the {first} and {second} minutiae lie upon each other when the left print is turned by "
            f"{abs(math.degrees(d.turn)):.0f}\N{DEGREE SIGN} {'clockwise' if d.turn >= 0 else 'counter-clockwise'}. "
            f"They miss each other by {d.distance:.1f} pixels (a turn counts too); their surroundings are "
            f"{100 * d.similarity.mean():.0f} % alike.",
        ]

    def summary(self) -> dict[str, Any]:
        """The same as numbers."""
        d = self.details
        return {
            "score": self.score,
            "trusted_to": self.trusted_to,
            "raw_score": d.score,
            "fast_stage": d.relaxed,
            "minutiae": [len(self.probe.finger), len(self.reference.finger)],
            "quality": [self.probe.quality, self.reference.quality],
            "partners": [
                {"probe": _place(self.probe, i), "reference": _place(self.reference, j), "alike": float(alike)}
                for (i, j), alike in zip(d.partners.tolist(), d.similarity, strict=True)
            ],
            "turn_degrees": math.degrees(d.turn),
            "distance_pixels": d.distance,
        }


def _place(p: Print, minutia: int) -> list[float]:
    return [float(p.finger.x[minutia]), float(p.finger.y[minutia])]


def explain_pair(
    probe: Path,
    reference: Path,
    ppi: float | None = None,
    *,
    full_circle: bool = False,
    calibrations: Calibrations | None = None,
    extractor: FingerExtractor | None = None,
) -> Explanation:
    """Extracts and compares two fingerprint files.

    Args:
        probe, reference: image files.
        ppi: their resolution where the files do not say.
        full_circle: see ``FingerComparator.compare``.
        calibrations: the shipped ones when left out.
        extractor: a new one when left out.

    Raises:
        OSError, SampleRejected, InvalidInput: a file cannot be read or used.
    """
    extractor, comparator = extractor or FingerExtractor(), FingerComparator()
    first, second = (_print(path, ppi, extractor, comparator) for path in (probe, reference))
    details = comparator.explain(first.finger, second.finger, full_circle=full_circle)
    artefact = (calibrations or Calibrations.load())[first.finger.algorithm]
    return Explanation(first, second, details, float(artefact.to_score(details.score)), artefact.trusted_to)


def _print(path: Path, ppi: float | None, extractor: FingerExtractor, comparator: FingerComparator) -> Print:
    image = decode_image(path.read_bytes(), ppi=ppi)
    extraction = extractor.extract(image)
    grey = resample(image.grey, PPI / (image.ppi or PPI))
    return Print(grey, comparator.prepare(extraction.template), extraction.quality)


def draw(explanation: Explanation) -> Image.Image:
    """The picture, RGB, at twice the pixels of 500 ppi: probe left, reference right, the sentences below.

    A minutia is a circle with a tail along its ridge; those that lie upon each other have one colour and a line between
    them, green where their surroundings are alike, red where they are not.
    """
    e = explanation
    heights = [p.grey.shape[0] for p in (e.probe, e.reference)]
    offsets = [(MARGIN, MARGIN), (2 * MARGIN + e.probe.grey.shape[1], MARGIN)]
    size = (offsets[1][0] + e.reference.grey.shape[1] + MARGIN, 2 * MARGIN + max(heights))
    canvas = Image.new("RGB", (size[0] * FINE, size[1] * FINE), _PAPER)
    for p, (left, top) in zip((e.probe, e.reference), offsets, strict=True):
        # Paler, so that what is drawn upon it stands out.
        pale = Image.fromarray((110 + p.grey.astype(np.float32) * (145 / 255)).astype(np.uint8))
        large = pale.resize((p.grey.shape[1] * FINE, p.grey.shape[0] * FINE), Image.Resampling.BICUBIC)
        canvas.paste(large, (left * FINE, top * FINE))
    drawing = ImageDraw.Draw(canvas)
    colours: list[dict[int, tuple[int, int, int]]] = [{}, {}]
    for (i, j), alike in zip(e.details.partners.tolist(), e.details.similarity.tolist(), strict=True):
        colour = _colour(alike)
        colours[0][i], colours[1][j] = colour, colour
        ends = [
            ((left + f.x[k]) * FINE, (top + f.y[k]) * FINE)
            for f, k, (left, top) in ((e.probe.finger, i, offsets[0]), (e.reference.finger, j, offsets[1]))
        ]
        drawing.line(ends, colour, FINE * 3 // 4)
    for p, chosen, (left, top) in zip((e.probe, e.reference), colours, offsets, strict=True):
        for k in range(len(p.finger)):
            x, y = (left + float(p.finger.x[k])) * FINE, (top + float(p.finger.y[k])) * FINE
            # y down, clockwise: see PreparedFinger.
            turn = float(p.finger.angle[k]) * 2 * math.pi / TURN
            radius, tail = 3.5 * FINE, 11.0 * FINE
            colour, width = chosen.get(k, _UNPAIRED), FINE if k not in chosen else FINE * 3 // 2
            away = (x + radius * math.cos(turn), y + radius * math.sin(turn))
            drawing.line([away, (x + tail * math.cos(turn), y + tail * math.sin(turn))], colour, width)
            drawing.ellipse([x - radius, y - radius, x + radius, y + radius], outline=colour, width=width)
    half = canvas.resize((canvas.width * 2 // FINE, canvas.height * 2 // FINE), Image.Resampling.LANCZOS)
    return _with_text(half, [f"quality {e.probe.quality} and {e.reference.quality}", *e.sentences()])


def _colour(alike: float) -> tuple[int, int, int]:
    """From red (0.3 and less, as strangers' are) over orange to green (0.8 and more)."""
    share = min(max((alike - 0.3) / 0.5, 0.0), 1.0)
    low, middle, high = (200, 30, 30), (215, 140, 0), (0, 140, 50)
    a, b, at = (low, middle, 2 * share) if share < 0.5 else (middle, high, 2 * share - 1)
    red, green, blue = (round(u + (v - u) * at) for u, v in zip(a, b, strict=True))
    return red, green, blue


def _with_text(picture: Image.Image, sentences: list[str]) -> Image.Image:
    font = ImageFont.load_default(15)
    lines = [line for sentence in sentences for line in _wrapped(sentence, font, picture.width - 4 * MARGIN)]
    whole = Image.new("RGB", (picture.width, picture.height + LINE * len(lines) + 2 * MARGIN), _PAPER)
    whole.paste(picture, (0, 0))
    drawing = ImageDraw.Draw(whole)
    for k, line in enumerate(lines):
        drawing.text((2 * MARGIN, picture.height + LINE * k), line, _INK, font=font)
    return whole


def _wrapped(sentence: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int) -> list[str]:
    lines = [""]
    for word in sentence.split():
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and font.getlength(longer) > width:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines
