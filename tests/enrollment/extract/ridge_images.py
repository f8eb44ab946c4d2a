"""Prints with minutiae at known places, and pictures that are none.

A print is a wave whose phase is that of concentric arcs plus a spiral of one turn at each minutia (K. Larkin and
P. Fletcher, "A coherent framework for fingerprint analysis: are fingerprints holograms?", Optics Express 15, 2007).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

WIDTH, HEIGHT, PERIOD = 320, 400, 9.0
_CENTRE = (160.0, 620.0)


def to_grey(values: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Rounds and clips to uint8."""
    grey: NDArray[np.uint8] = np.clip(np.round(values), 0, 255).astype(np.uint8)
    return grey


def minutiae_places(count: int = 24, seed: int = 0) -> NDArray[np.float64]:
    """float64[count, 2]: x and y at 500 ppi, at least 34 pixels apart, within the print."""
    rng = np.random.default_rng(seed)
    places: list[NDArray[np.float64]] = []
    while len(places) < count:
        place = rng.uniform((70, 70), (WIDTH - 70, HEIGHT - 70))
        if all(np.hypot(*(place - other)) >= 34 for other in places):
            places.append(place)
    return np.array(places)


def ridge_direction(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    """Direction of the arcs at (x, y), radians modulo pi, counter-clockwise as seen on the screen."""
    tangent = np.arctan2(y - _CENTRE[1], x - _CENTRE[0]) + np.pi / 2
    return np.mod(-tangent, np.pi)


def print_image(places: NDArray[np.float64], scale: float = 1.0, seed: int = 0) -> NDArray[np.uint8]:
    """uint8[400 * scale, 320 * scale]: dark ridges on white, with an elliptic border and a little noise."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: round(HEIGHT * scale), : round(WIDTH * scale)].astype(np.float64) / scale
    phase = 2 * np.pi / PERIOD * np.hypot(x - _CENTRE[0], y - _CENTRE[1])
    for i, (px, py) in enumerate(places):
        phase += (1 if i % 2 else -1) * np.arctan2(y - py, x - px)
    ridges = np.clip(2.0 * np.cos(phase), -1, 1)
    inside = 1 / (1 + np.exp(((x - WIDTH / 2) / 135) ** 8 * 6 + ((y - HEIGHT / 2) / 175) ** 8 * 6 - 6))
    values = 235 - inside * (95 + 90 * ridges) + rng.normal(0, 4, x.shape)
    return to_grey(values)


def text_page(size: int = 400) -> NDArray[np.uint8]:
    """A page of lines of text in Pillow's own font."""
    image = Image.new("L", (size, size), 255)
    pen = ImageDraw.Draw(image)
    for line in range(size // 12):
        pen.text((10, 12 * line), "identification of persons, page " * 3 + str(line), fill=0)
    return np.asarray(image)


def stripes(size: int = 400, period: float = 9.0) -> NDArray[np.uint8]:
    """A perfect grating of the ridges' period: it has ridges everywhere but no minutia."""
    y = np.arange(size, dtype=np.float64)[:, None] + np.zeros(size)
    return np.round(127 + 100 * np.cos(2 * np.pi * y / period)).astype(np.uint8)


def eye_like(size: int = 400) -> NDArray[np.uint8]:
    """A dark pupil in a grey iris with radial texture on bright skin."""
    y, x = np.mgrid[:size, :size].astype(np.float64) - size / 2
    radius, angle = np.hypot(x, y), np.arctan2(y, x)
    values = np.full((size, size), 190.0) + 20 * np.sin(x / 60) * np.cos(y / 45)
    iris = radius < size / 3.5
    values[iris] = (110 + 25 * np.sin(23 * angle + radius / 9) + 15 * np.sin(11 * angle))[iris]
    values[radius < size / 10] = 25
    noise = np.random.default_rng(0).normal(0, 3, values.shape)
    return to_grey(values + noise)
