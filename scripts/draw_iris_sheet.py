"""Draws docs/images/iris-segmentation.png: synthetic eyes with the boundaries that are found in them.

.venv/bin/python scripts/draw_iris_sheet.py
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from enrollment.extract.iris_geometry import DIRECTIONS
from enrollment.extract.iris_normalisation import unroll
from enrollment.extract.iris_segmentation import segment
from enrollment.synthesis.iris import synthesise_eye

TARGET = Path(__file__).resolve().parent.parent / "docs/images/iris-segmentation.png"


def drawn(eye: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """An eye with pupil (red), limbus (green) and lids (blue), above its unrolled iris with what is hidden in red."""
    canvas = np.asarray(cv2.cvtColor(eye, cv2.COLOR_GRAY2BGR), np.uint8)
    found = segment(eye)
    if found is None:
        raise SystemExit("nothing was found in a synthetic eye")
    for boundary, colour in ((found.pupil, (40, 40, 255)), (found.limbus, (60, 220, 60))):
        _curve(canvas, *boundary.points(DIRECTIONS), colour, closed=True)
    circle = found.limbus.circle
    across = np.linspace(circle.x - circle.radius, circle.x + circle.radius, 50)
    for lid in (found.upper, found.lower):
        if lid is not None:
            _curve(canvas, across, lid.height(across), (255, 170, 40), closed=False)
    sheet, visible = unroll(eye, found)
    strip = np.repeat(np.clip(sheet, 0, 255).astype(np.uint8)[:, :, None], 3, axis=2)
    strip[~visible] = (40, 40, 200)
    strip = np.asarray(cv2.resize(strip, (canvas.shape[1], 50), interpolation=cv2.INTER_AREA), np.uint8)
    return np.vstack([canvas, strip])


def _curve(
    canvas: NDArray[np.uint8],
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    colour: tuple[int, int, int],
    *,
    closed: bool,
) -> None:
    points = np.round(np.stack([x, y], axis=-1) * 8).astype(np.int32)
    cv2.polylines(canvas, [points], closed, colour, 1, cv2.LINE_AA, 3)


def main() -> None:
    """Writes the picture."""
    tiles = [drawn(synthesise_eye(eye, capture, size=(320, 240))) for eye in range(4) for capture in range(2)]
    rows = [np.hstack(tiles[k : k + 4]) for k in (0, 4)]
    TARGET.parent.mkdir(parents=True, exist_ok=True)
    picture = cv2.resize(np.vstack(rows), None, fx=0.75, fy=0.75, interpolation=cv2.INTER_AREA)
    Image.fromarray(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)).quantize(96).save(TARGET, optimize=True)


if __name__ == "__main__":
    main()
