"""Segmentation by a network of the user's own, instead of the classical search.

Made for the model of open-iris (Worldcoin, ``iris_semseg_upp_scse_mobilenetv2.onnx``), which is not shipped: 56 MB, and
trained on research data sets. Any ONNX file fits that takes float32[1, 3, height, width], a grey picture three times
over less the means and over the deviations of ImageNet, and gives float32[1, 4, height, width]: how likely, 0-1, each
pixel is of the eyeball, the iris, the pupil, the lashes.

Steps: picture resized to the network's input -> four maps, cut at one half -> largest disc of pupil, of pupil and iris
-> distance of its rim in 256 directions, what lies at a lid left out -> Fourier series.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from enrollment.extract.iris_circles import measure_circles
from enrollment.extract.iris_contours import fourier_fit
from enrollment.extract.iris_geometry import DIRECTIONS, Boundary, EyeSegmentation
from enrollment.extract.iris_parameters import PARAMETERS, IrisExtractionParameters
from enrollment.extract.iris_reflections import fill_reflections
from enrollment.extract.onnx_network import Network
from matcher.errors import InvalidInput

_MEAN = np.array([0.485, 0.456, 0.406], np.float32)
_DEVIATION = np.array([0.229, 0.224, 0.225], np.float32)
_EYEBALL, _IRIS, _PUPIL, _LASHES = range(4)
_WIDTH, _HEIGHT = 640, 480
"""Input of the network where its file leaves the size open."""

_LEAST_PIXELS = 60
"""Of a pupil in the network's maps; fewer are no pupil."""

_LID_MARGIN = 4
"""Pixels of the maps: what of a rim lies so near to what is not eyeball is a lid's edge."""


class IrisNetwork:
    """Segments eyes with an ONNX network; stateless and thread-safe.

    Args:
        path: the ONNX file.
        parameters: of the boundaries' series and of glints.

    Raises:
        InvalidInput (SETTINGS_INVALID): no file, no network, or one of another input or output.
    """

    def __init__(self, path: Path, parameters: IrisExtractionParameters = PARAMETERS) -> None:
        self.parameters = parameters
        try:
            self._network = Network(path.read_bytes())
            self._maps(np.zeros((_HEIGHT, _WIDTH), np.uint8))
        except OSError as error:
            raise InvalidInput(f"the network {path} cannot be read: {error}", reason="SETTINGS_INVALID") from None
        except Exception as error:  # onnxruntime raises types of its own
            raise InvalidInput(
                f"{path} is no network that segments eyes: it must take float32[1, 3, {_HEIGHT}, {_WIDTH}] and give "
                f"float32[1, 4, {_HEIGHT}, {_WIDTH}] ({error})",
                reason="SETTINGS_INVALID",
            ) from None

    def segment(self, fine: NDArray[np.uint8]) -> EyeSegmentation | None:
        """Where pupil, iris and what hides it are; None where the network sees no pupil in an iris.

        Args:
            fine: uint8[height, width], near-infrared, upright.
        """
        p = self.parameters
        maps = self._maps(fine)
        pupil_map = _largest(maps[_PUPIL])
        iris_map = _largest(maps[_IRIS] | pupil_map)
        if pupil_map.sum() < _LEAST_PIXELS or not (iris_map & pupil_map).any():
            return None
        eyeball = maps[_EYEBALL] | iris_map
        scale_x, scale_y = fine.shape[1] / _WIDTH, fine.shape[0] / _HEIGHT
        pupil = _boundary(pupil_map, pupil_map, eyeball, (scale_x, scale_y), p.fourier_order)
        limbus = _boundary(iris_map, pupil_map, eyeball, (scale_x, scale_y), p.fourier_order)
        if limbus.circle.radius < 1.2 * pupil.circle.radius:
            return None
        size = (fine.shape[1], fine.shape[0])
        hidden = cv2.resize((~eyeball | maps[_LASHES]).astype(np.uint8), size, interpolation=cv2.INTER_NEAREST) > 0
        filled, glints = fill_reflections(fine, p)
        edges = measure_circles(filled, glints, pupil.circle, limbus.circle, p)
        return EyeSegmentation(
            pupil,
            limbus,
            None,
            None,
            glints,
            filled,
            edges.pupil_edge,
            edges.limbus_edge,
            edges.pupil_share,
            hidden=hidden,
        )

    def _maps(self, fine: NDArray[np.uint8]) -> NDArray[np.bool_]:
        """bool[4, 480, 640]: eyeball, iris, pupil, lashes."""
        small = cv2.resize(fine, (_WIDTH, _HEIGHT), interpolation=cv2.INTER_AREA).astype(np.float32) / 255.0
        data = (small[None] - _MEAN[:, None, None]) / _DEVIATION[:, None, None]
        maps = self._network.outputs(np.ascontiguousarray(data[None], np.float32))[0]
        if maps.shape != (1, 4, _HEIGHT, _WIDTH):
            raise ValueError(f"its output is {maps.shape}")
        return np.asarray(maps[0] > 0.5)


def _largest(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The largest connected part, holes closed; all False where nothing is set."""
    contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    drawn = np.zeros(mask.shape, np.uint8)
    if contours:
        cv2.drawContours(drawn, [max(contours, key=cv2.contourArea)], -1, 1, cv2.FILLED)
    return drawn > 0


def _boundary(
    mask: NDArray[np.bool_],
    pupil: NDArray[np.bool_],
    eyeball: NDArray[np.bool_],
    scale: tuple[float, float],
    order: int,
) -> Boundary:
    """The rim of a mask in pixels of the picture, about the pupil's centroid; what lies at a lid is left out."""
    ys, xs = np.nonzero(pupil)
    x, y = float(xs.mean()), float(ys.mean())
    steps = np.arange(0.0, float(np.hypot(*mask.shape)), 0.5)
    map_x = (x + np.cos(DIRECTIONS)[:, None] * steps).astype(np.float32)
    map_y = (y + np.sin(DIRECTIONS)[:, None] * steps).astype(np.float32)
    inside = cv2.remap(mask.astype(np.uint8), map_x, map_y, cv2.INTER_NEAREST, borderMode=cv2.BORDER_CONSTANT) > 0
    # The last pixel inside, for the mask may have bays.
    last = inside.shape[1] - 1 - np.argmax(inside[:, ::-1], axis=1)
    rim_x = x + np.cos(DIRECTIONS) * (steps[last] + 0.25)
    rim_y = y + np.sin(DIRECTIONS) * (steps[last] + 0.25)
    element = np.ones((2 * _LID_MARGIN + 1, 2 * _LID_MARGIN + 1), np.uint8)
    inner = cv2.erode(eyeball.astype(np.uint8), element, borderType=cv2.BORDER_CONSTANT, borderValue=0)
    column = np.clip(np.round(rim_x).astype(int), 0, mask.shape[1] - 1)
    row = np.clip(np.round(rim_y).astype(int), 0, mask.shape[0] - 1)
    weights = inner[row, column].astype(np.float64)
    scale_x, scale_y = scale
    radii = np.hypot((rim_x - x) * scale_x, (rim_y - y) * scale_y)
    # Directions of the maps are those of the picture only where both scales are one: sample anew at DIRECTIONS.
    angle = np.unwrap(np.arctan2((rim_y - y) * scale_y, (rim_x - x) * scale_x), period=2 * np.pi)
    angle -= 2 * np.pi * np.round(angle[0] / (2 * np.pi))
    around = np.concatenate([angle - 2 * np.pi, angle, angle + 2 * np.pi])
    radii = np.interp(DIRECTIONS, around, np.tile(radii, 3))
    weights = np.interp(DIRECTIONS, around, np.tile(weights, 3))
    if not weights.any():
        weights = np.ones_like(weights)
    middle = float(np.median(radii[weights > 0]))
    centre_x, centre_y = (x + 0.5) * scale_x - 0.5, (y + 0.5) * scale_y - 0.5
    return Boundary(centre_x, centre_y, fourier_fit(radii, weights, middle, order))
