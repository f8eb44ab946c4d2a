"""Does iris segmentation find the boundaries that a person marked?

``iris_marks.csv`` holds marks by eye on enlarged pictures with a grid, no segmentation drawn: 50 pictures of
CASIA-IrisV1 and 50 of MMU2, at random. Marked are the pupil's extremes to each side (its top not where lids hide it)
and where the limbus lies left and right at the height of the pupil, in pixels. Marks further than 5 % from what was
found were read once more, on strips enlarged 4.5 times, again with nothing drawn. A pupil's mark is good to a pixel or
two; a limbus is a ramp of 6 to 15 pixels, and eyes put it nearer to its dark foot than the steepest place that is
found. Ellipses (MMU2's pixels are not square) are judged as fairly as circles so.

    .venv/bin/python -m benchmarks.iris_segmentation_check [--sheets FOLDER]

A picture counts as failed where any mark lies further from the boundary found than 5 % of the iris' radius. With
``--sheets`` the pictures are drawn with boundaries and marks, the worst first, to be looked at; never commit them.
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.bulk_load import wilson
from benchmarks.real_data import iris_folder
from enrollment.extract.iris_geometry import DIRECTIONS, EyeSegmentation
from enrollment.extract.iris_parameters import PARAMETERS
from enrollment.extract.iris_segmentation import reduce, segment

MARKS = Path(__file__).with_name("iris_marks.csv")
TOLERANCE = 0.05
"""Of the iris' radius, from a mark to the boundary."""


@dataclasses.dataclass(frozen=True)
class Marks:
    """What was marked in a picture, pixels; ``pupil_top`` is None where it is hidden."""

    dataset: str
    path: str
    pupil_left: float
    pupil_right: float
    pupil_top: float | None
    pupil_bottom: float
    limbus_left: float
    limbus_right: float
    limbus_y: float

    @property
    def iris_radius(self) -> float:
        """Half the width of the iris."""
        return 0.5 * (self.limbus_right - self.limbus_left)


def read_marks(path: Path = MARKS) -> list[Marks]:
    """All marks of a file."""
    with path.open(newline="") as file:
        return [_marks(row) for row in csv.DictReader(file)]


def _marks(row: dict[str, str]) -> Marks:
    def number(name: str) -> float:
        return float(row[name])

    return Marks(
        row["set"],
        row["path"],
        number("pupil_left"),
        number("pupil_right"),
        number("pupil_top") if row["pupil_top"] else None,
        number("pupil_bottom"),
        number("limbus_left"),
        number("limbus_right"),
        number("limbus_y"),
    )


def errors(eye: EyeSegmentation | None, marks: Marks) -> tuple[float, float]:
    """Greatest distance of a mark from the pupil's and from the limbus' boundary, over the iris' radius."""
    if eye is None:
        return float("inf"), float("inf")
    x, y = eye.pupil.points(DIRECTIONS)
    pupil = [x.min() - marks.pupil_left, x.max() - marks.pupil_right, y.max() - marks.pupil_bottom]
    if marks.pupil_top is not None:
        pupil.append(y.min() - marks.pupil_top)
    left, right = _crossings(*eye.limbus.points(DIRECTIONS), marks.limbus_y)
    limbus = [left - marks.limbus_left, right - marks.limbus_right]
    radius = marks.iris_radius
    return float(np.max(np.abs(pupil))) / radius, float(np.max(np.abs(limbus))) / radius


def _crossings(x: NDArray[np.float64], y: NDArray[np.float64], height: float) -> tuple[float, float]:
    """Leftmost and rightmost x at which a closed curve crosses a height; infinities where it does not."""
    after_x, after_y = np.roll(x, -1), np.roll(y, -1)
    crossed = (y <= height) != (after_y <= height)
    if not crossed.any():
        return float("inf"), float("-inf")
    share = (height - y[crossed]) / (after_y[crossed] - y[crossed])
    at = x[crossed] + share * (after_x[crossed] - x[crossed])
    return float(at.min()), float(at.max())


def main(arguments: Sequence[str] | None = None) -> int:
    """Compares, prints, and returns 1 where the pictures are missing."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0] if __doc__ else None)
    parser.add_argument("--sheets", type=Path, help="folder for drawings")
    options = parser.parse_args(arguments)
    try:
        folder = iris_folder()
    except FileNotFoundError as missing:
        print(missing, file=sys.stderr)
        return 1
    results = []
    for marks in read_marks():
        picture = cv2.imread(str(folder / marks.path), cv2.IMREAD_GRAYSCALE)
        if picture is None:
            print(f"{folder / marks.path} is missing", file=sys.stderr)
            return 1
        fine = reduce(np.asarray(picture, np.uint8), PARAMETERS.fine_side)
        eye = segment(fine)
        results.append((marks, fine, eye, *errors(eye, marks)))
    for name in sorted({marks.dataset for marks, *_ in results}):
        found = np.array([(p, limbus) for marks, _, _, p, limbus in results if marks.dataset == name])
        failed = int((found.max(axis=1) > TOLERANCE).sum())
        low, high = wilson(failed, len(found))
        print(
            f"{name}: {failed} of {len(found)} failed (95 % {low:.1%} to {high:.1%}); "
            f"pupil median {np.median(found[:, 0]):.1%}, worst {found[:, 0].max():.1%}; "
            f"limbus median {np.median(found[:, 1]):.1%}, worst {found[:, 1].max():.1%} of the iris' radius"
        )
    results.sort(key=lambda result: -max(result[3], result[4]))
    for marks, _, _, pupil, limbus in results:
        if max(pupil, limbus) > TOLERANCE:
            print(f"  {marks.path}: pupil {pupil:.1%}, limbus {limbus:.1%}")
    if options.sheets is not None:
        options.sheets.mkdir(parents=True, exist_ok=True)
        for number, start in enumerate(range(0, len(results), 9)):
            tiles = [_drawn(fine, eye, marks) for marks, fine, eye, *_ in results[start : start + 9]]
            tiles += [np.zeros_like(tiles[0])] * (-len(tiles) % 3)
            rows = [np.hstack(tiles[k : k + 3]) for k in range(0, len(tiles), 3)]
            cv2.imwrite(str(options.sheets / f"sheet-{number:02}.png"), np.vstack(rows))
    return 0


def _drawn(fine: NDArray[np.uint8], eye: EyeSegmentation | None, marks: Marks) -> NDArray[np.uint8]:
    """The picture twice enlarged, boundaries as lines and marks as crosses."""
    canvas = np.asarray(cv2.cvtColor(cv2.resize(fine, (640, 480)), cv2.COLOR_GRAY2BGR), np.uint8)
    scale = np.array([640 / fine.shape[1], 480 / fine.shape[0]])

    def at(x: float | NDArray[np.float64], y: float | NDArray[np.float64]) -> NDArray[np.int32]:
        return np.asarray(np.round((np.stack([x, y], axis=-1) + 0.5) * scale), np.int32)

    if eye is not None:
        for boundary, colour in ((eye.pupil, (0, 0, 255)), (eye.limbus, (0, 255, 0))):
            cv2.polylines(canvas, [at(*boundary.points(DIRECTIONS))], True, colour, 1, cv2.LINE_AA)
    middle_x = 0.5 * (marks.pupil_left + marks.pupil_right)
    points = [
        (marks.pupil_left, marks.limbus_y),
        (marks.pupil_right, marks.limbus_y),
        (middle_x, marks.pupil_bottom),
        (marks.limbus_left, marks.limbus_y),
        (marks.limbus_right, marks.limbus_y),
    ]
    if marks.pupil_top is not None:
        points.append((middle_x, marks.pupil_top))
    for x, y in points:
        cv2.drawMarker(canvas, [int(v) for v in at(x, y)], (0, 255, 255), cv2.MARKER_CROSS, 9)
    cv2.putText(canvas, marks.path, (4, 14), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (255, 255, 0), 1, cv2.LINE_AA)
    return canvas


if __name__ == "__main__":
    raise SystemExit(main())
