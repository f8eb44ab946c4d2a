"""Synthetic fingerprint images, after SFinGe. For the demo, tests and load only; never for quoting accuracy.

Sources:
    [SFinGe] R. Cappelli, D. Maio, D. Maltoni, "Synthetic fingerprint-image generation", ICPR 2000, and "Synthetic
        fingerprint-database generation", ICPR 2002; Handbook of Fingerprint Recognition, chapter 6.
    [CMM] R. Cappelli, D. Maio, D. Maltoni, "Modelling plastic distortion in fingerprint images", ICAPR 2001.

A *master print* is what the skin of one finger looks like: an orientation field (``finger_flow``), a map of ridge
periods, and ridges that grow under Gabor filters until they meet. Minutiae are not placed: they arise where growing
ridges collide and where ridges diverge. An *impression* is one capture of it: displacement, rotation, plastic
distortion, an area of contact, pressure, dryness, scratches, pores, noise and a background.

Determinism: the same seeds give the same bytes on one machine with one set of libraries. Across processors the last
bits of sums may differ.
"""

from __future__ import annotations

import dataclasses
import functools

import cv2
import numba
import numpy as np
from numpy.typing import NDArray

from enrollment.synthesis.finger_flow import Pattern, RidgeFlow, natural_pattern, ramp

__all__ = [
    "FingerSynthesisParameters",
    "MasterPrint",
    "Pattern",
    "master_print",
    "orientation_field",
    "synthesise_finger",
]

_PURPOSE_IDENTITY = 0xF1
_PURPOSE_IMPRESSION = 0xF2


@dataclasses.dataclass(frozen=True)
class FingerSynthesisParameters:
    """Every constant of the synthesis. Lengths are pixels at 500 ppi (19.69 px/mm).

    Master print.
        canvas: height and width of the master print.
        period, period_identity_sd, period_local_sd: mean ridge period 9 px (0.46 mm, [SFinGe]), its deviation between
            fingers and the relative deviation within a finger.
        period_cap: relative growth of the period above the uppermost loop and below the lowest delta ([SFinGe]).
        meander: radians; deviation of smooth noise on the orientation, so that no two fingers of a class flow alike.
        orientations, periods: steps of the filter bank, over half a turn and over 6.5 to 12.5 px.
        sigma_per_period: envelope of the Gabor filter: sqrt(9 / (8 ln 1000)), so that three ridges carry it [SFinGe].
        radius_per_period: half width of the filter, where the envelope has fallen to about 1 %.
        gain, iterations, seed_spacing: growth, from one seed somewhere in each square of that side; set by eye and by
            count, so that a print holds 30 to 60 minutiae.
    Impression (all deviations and ranges: by eye, against real live-scan prints, and so that comparison scores resemble
    theirs).
        rotation, shift: largest rotation in radians, deviation of the displacement.
        skin_shift, skin_turn, skin_contact, skin_ramp: deviation of traction and torsion, semi-axes of the undistorted
            contact and width of the transition, the model of [CMM].
        contact: mean semi-axes (vertical, horizontal) of the visible area, contact_sd their relative deviation.
        pressure, pressure_local_sd: range of the shift of the ridge threshold, from dry and thin to wet and thick, and
            its deviation within an impression; the ridges' own heights run from -1 to 1.
        rim: the part of the contact's half width over which pressure falls off.
        grain: range of the fine noise that breaks the ridges of dry skin.
        ridge_slope: width of the transition from ridge to valley, in ridge heights.
        scratches: mean number of scratches. pores: range of the share of pores that show.
        blur: range of the deviation of the sensor's point spread.
        paper, dark, noise: grey levels of background and ridges, deviation of the sensor's noise.
    """

    canvas: tuple[int, int] = (544, 448)
    period: float = 9.0
    period_identity_sd: float = 0.35
    period_local_sd: float = 0.09
    period_cap: float = 0.12
    meander: float = 0.11
    orientations: int = 36
    periods: int = 9
    period_range: tuple[float, float] = (6.5, 12.5)
    sigma_per_period: float = 0.4036
    radius_per_period: float = 1.2
    gain: float = 4.0
    iterations: int = 16
    seed_spacing: float = 55.0
    growth_semi_axes: tuple[float, float] = (262.0, 214.0)

    rotation: float = np.pi / 12
    shift: tuple[float, float] = (20.0, 16.0)
    skin_shift: float = 7.0
    skin_turn: float = 0.07
    skin_contact: tuple[float, float] = (90.0, 70.0)
    skin_ramp: float = 1.2
    contact: tuple[float, float] = (195.0, 152.0)
    contact_sd: float = 0.07
    pressure: tuple[float, float] = (-0.35, 0.4)
    pressure_local_sd: float = 0.12
    rim: float = 0.18
    grain: tuple[float, float] = (0.2, 0.6)
    ridge_slope: float = 0.16
    scratches: float = 2.0
    pores: tuple[float, float] = (0.2, 0.7)
    blur: tuple[float, float] = (0.55, 0.9)
    paper: tuple[float, float] = (225.0, 250.0)
    dark: tuple[float, float] = (35.0, 80.0)
    noise: tuple[float, float] = (1.0, 4.0)


_P = FingerSynthesisParameters()


@dataclasses.dataclass(frozen=True, eq=False)
class MasterPrint:
    """The skin of one finger.

    Attributes:
        pattern: its pattern class.
        ridges: float32[544, 448], 1 on top of a ridge, -1 in a valley, 0 outside the finger; 500 ppi.
        orientation: float32[544, 448], ridge orientation in radians, 0 to pi, y upwards.
        pores: float32[n, 2], (x, y) of sweat pores, on ridges.
    """

    pattern: Pattern
    ridges: NDArray[np.float32]
    orientation: NDArray[np.float32]
    pores: NDArray[np.float32]


def synthesise_finger(
    identity_seed: int, impression_seed: int, *, pattern: Pattern | None = None, size: tuple[int, int] = (480, 400)
) -> NDArray[np.uint8]:
    """One capture of one synthetic finger.

    Args:
        identity_seed: the finger, >= 0.
        impression_seed: the capture, >= 0.
        pattern: pattern class; None draws one by natural frequency. Another class is another finger.
        size: height and width of the image, 500 ppi.

    Returns:
        uint8[height, width], dark ridges on a light background.
    """
    master = master_print(identity_seed, pattern)
    rng = np.random.default_rng((_PURPOSE_IMPRESSION, identity_seed, impression_seed))
    return _impression(master, rng, size)


@functools.lru_cache(maxsize=64)
def master_print(identity_seed: int, pattern: Pattern | None = None) -> MasterPrint:
    """The skin of a synthetic finger; the arrays are read-only and kept for the 64 fingers used last.

    Args:
        identity_seed: the finger, >= 0.
        pattern: pattern class; None draws one by natural frequency.
    """
    rng = np.random.default_rng((_PURPOSE_IDENTITY, identity_seed))
    drawn = natural_pattern(rng)
    pattern = pattern or drawn
    flow = RidgeFlow.draw(pattern, rng)
    orientation = orientation_field(flow, rng)
    ridges = _grow(orientation, _period_map(flow, rng), rng)
    pores = _pores(ridges, rng)
    for array in (ridges, orientation, pores):
        array.setflags(write=False)
    return MasterPrint(pattern, ridges, orientation, pores)


# --- orientation and period -------------------------------------------------------------------------------------------


def orientation_field(flow: RidgeFlow, rng: np.random.Generator) -> NDArray[np.float32]:
    """Ridge orientation everywhere on the canvas, radians, 0 to pi, y upwards."""
    height, width = _P.canvas
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    angle = flow.angle(x - (width - 1) / 2, (height - 1) / 2 - y)
    angle += _P.meander * _smooth_noise(_P.canvas, 40.0, rng)
    doubled = np.stack([np.cos(2 * angle), np.sin(2 * angle)], axis=-1)
    # Smoothing takes the kinks of the piecewise linear correction off.
    doubled = np.asarray(cv2.GaussianBlur(doubled, (0, 0), 5.0), np.float64)
    return np.asarray(np.mod(np.arctan2(doubled[..., 1], doubled[..., 0]) / 2, np.pi), np.float32)


def _period_map(flow: RidgeFlow, rng: np.random.Generator) -> NDArray[np.float32]:
    """Ridge period in pixels, float32[canvas]."""
    height = _P.canvas[0]
    y = (height - 1) / 2 - np.arange(height, dtype=np.float64)[:, None]
    mean = rng.normal(_P.period, _P.period_identity_sd)
    top = max((p.imag for p in flow.loops), default=40.0)
    bottom = min((p.imag for p in flow.deltas), default=-100.0)
    cap = _P.period_cap * (ramp((y - top) / 120) * 0.5 + ramp((bottom - y) / 80))
    local = 1.0 + cap + _P.period_local_sd * _smooth_noise(_P.canvas, 45.0, rng)
    return np.clip(mean * local, *_P.period_range).astype(np.float32)


def _smooth_noise(shape: tuple[int, int], sigma: float, rng: np.random.Generator) -> NDArray[np.float32]:
    """Gaussian noise of mean 0 and deviation 1, correlated over ``sigma`` pixels; float32[shape]."""
    step = max(int(sigma / 3), 1)
    coarse = (shape[0] // step + 2, shape[1] // step + 2)
    noise = np.asarray(rng.standard_normal(coarse, np.float32))
    noise = np.asarray(cv2.GaussianBlur(noise, (0, 0), sigma / step, borderType=cv2.BORDER_REFLECT), np.float32)
    # The blur leaves white noise a deviation of 1 / (2 sqrt(pi) sigma).
    noise *= np.float32(max(2 * np.sqrt(np.pi) * sigma / step, 1.0))
    full = cv2.resize(noise, (coarse[1] * step, coarse[0] * step), interpolation=cv2.INTER_LINEAR)
    return np.asarray(full[: shape[0], : shape[1]], np.float32)


# --- ridge growth -----------------------------------------------------------------------------------------------------


_WIDTH = 32
"""Columns of a stored filter, zeros behind the last: a constant, so that the compiler makes whole vectors of a row."""


@functools.lru_cache(maxsize=1)
def _filter_bank() -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Gabor filters, float32[periods, orientations, side, _WIDTH], and the half width used of each period."""
    periods = np.linspace(*_P.period_range, _P.periods)
    radii = np.ceil(_P.radius_per_period * periods).astype(np.int64)
    reach = int(radii.max())
    bank = np.zeros((_P.periods, _P.orientations, 2 * reach + 1, _WIDTH), np.float32)
    for i, (period, radius) in enumerate(zip(periods, radii, strict=True)):
        y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1].astype(np.float64)
        envelope = np.exp(-(x**2 + y**2) / (2 * (_P.sigma_per_period * period) ** 2))
        for j in range(_P.orientations):
            angle = np.pi * j / _P.orientations
            # Distance across the ridge; rows grow downwards, angles upwards.
            wave = np.cos(2 * np.pi / period * (x * np.sin(angle) + y * np.cos(angle)))
            kernel = envelope * (wave - (envelope * wave).sum() / envelope.sum())
            kernel /= (kernel * wave).sum()
            bank[i, j, : 2 * radius + 1, : 2 * radius + 1] = kernel
    return bank, radii


@numba.njit(nogil=True, fastmath=True, cache=True)
def _filter_step(
    image: NDArray[np.float32],
    bank: NDArray[np.float32],
    radii: NDArray[np.int64],
    period: NDArray[np.int64],
    orientation: NDArray[np.int64],
    rows: NDArray[np.int64],
    columns: NDArray[np.int64],
    pad: int,
    gain: float,
    out: NDArray[np.float32],
) -> None:
    """One step of growth at the pixels listed; ``image`` and ``out`` have a margin of ``pad``."""
    # One sum a column of the filter, added up at the end: the loops run on whole vectors.
    sums = np.zeros(_WIDTH, np.float32)
    for k in range(len(rows)):
        row, column = rows[k] + pad, columns[k] + pad
        radius = radii[period[k]]
        kernel = bank[period[k], orientation[k]]
        top, left = row - radius, column - radius
        sums[:] = 0
        for dy in range(2 * radius + 1):
            for dx in range(_WIDTH):
                sums[dx] += image[top + dy, left + dx] * kernel[dy, dx]
        total = np.float32(0)
        for dx in range(_WIDTH):
            total += sums[dx]
        out[row, column] = np.tanh(np.float32(gain) * total)


def _grow(
    orientation: NDArray[np.float32], period: NDArray[np.float32], rng: np.random.Generator
) -> NDArray[np.float32]:
    """Ridges from scattered seeds, by repeated Gabor filtering after the local orientation and period [SFinGe]."""
    height, width = _P.canvas
    bank, radii = _filter_bank()
    pad = int(radii.max())
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    inside = (
        np.hypot((y - (height - 1) / 2) / _P.growth_semi_axes[0], (x - (width - 1) / 2) / _P.growth_semi_axes[1]) < 1
    )
    rows, columns = (a.astype(np.int64) for a in np.nonzero(inside))
    low, high = _P.period_range
    which = np.rint((period[inside] - low) / (high - low) * (_P.periods - 1)).astype(np.int64)
    turn = np.rint(orientation[inside] / np.pi * _P.orientations).astype(np.int64) % _P.orientations

    # The stored filters are wider than their half width says: the right margin must bear the zeros behind them.
    image = np.zeros((height + 2 * pad, width + pad + _WIDTH), np.float32)
    for row in np.arange(_P.seed_spacing / 2, height, _P.seed_spacing):
        for column in np.arange(_P.seed_spacing / 2, width, _P.seed_spacing):
            r, c = np.array([row, column]) + rng.uniform(-_P.seed_spacing / 2, _P.seed_spacing / 2, 2)
            image[int(np.clip(r, 0, height - 1)) + pad, int(np.clip(c, 0, width - 1)) + pad] = 1.0
    image = np.asarray(cv2.dilate(image, np.ones((3, 3), np.uint8)), np.float32)
    image[pad : pad + height, pad : pad + width][~inside] = 0
    other = np.zeros_like(image)
    reach = np.ones((2 * pad + 1, 2 * pad + 1), np.uint8)
    for _ in range(_P.iterations):
        # Where nothing is near, nothing grows.
        near = cv2.dilate((image != 0).astype(np.uint8), reach)[rows + pad, columns + pad] != 0
        r, c = rows[near], columns[near]
        _filter_step(image, bank, radii, which[near], turn[near], r, c, pad, _P.gain, other)
        image, other = other, image
    return np.ascontiguousarray(image[pad : pad + height, pad : pad + width])


def _pores(ridges: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """Sweat pores on the crests of ridges, about every 9 px along them (Handbook of Fingerprint Recognition, ch. 3)."""
    crest = (ridges > 0.6) & (ridges >= cv2.dilate(ridges, np.ones((3, 3), np.uint8)) - 0.02)
    y, x = np.nonzero(crest)
    chosen = rng.random(len(x)) < 0.05
    points = np.stack([x[chosen], y[chosen]], axis=1).astype(np.float32)
    return points + rng.uniform(-0.5, 0.5, points.shape).astype(np.float32)


# --- impression -------------------------------------------------------------------------------------------------------


def _impression(master: MasterPrint, rng: np.random.Generator, size: tuple[int, int]) -> NDArray[np.uint8]:
    skin = _with_pores(master, rng)
    x, y = _skin_coordinates(rng, size)
    height, width = _P.canvas
    ridges = cv2.remap(skin, x + (width - 1) / 2, y + (height - 1) / 2, cv2.INTER_LINEAR, borderValue=0.0)

    contact = _contact(x, y, rng)
    pressure = rng.uniform(*_P.pressure) + _P.pressure_local_sd * _smooth_noise(size, 40.0, rng).astype(np.float64)
    # The rim of the contact is pressed least: ridges thin out and break before they end.
    pressure -= 0.9 * np.clip(1 - contact / _P.rim, 0, 1)
    grain = rng.uniform(*_P.grain) * _smooth_noise(size, 1.1, rng)
    ink = 1 / (1 + np.exp(-(ridges + pressure + grain) / _P.ridge_slope))
    ink *= np.clip(contact / 0.05 + 0.5, 0, 1)
    ink *= 1 - _scratches(size, rng)
    ink = np.asarray(cv2.GaussianBlur(ink, (0, 0), rng.uniform(*_P.blur)), np.float64)

    paper = rng.uniform(*_P.paper) + 3 * _smooth_noise(size, 90.0, rng)
    dark = rng.uniform(*_P.dark) + 10 * _smooth_noise(size, 30.0, rng)
    grey = paper + (dark - paper) * ink + rng.uniform(*_P.noise) * rng.standard_normal(size)
    return np.asarray(np.clip(np.rint(grey), 0, 255), np.uint8)


def _with_pores(master: MasterPrint, rng: np.random.Generator) -> NDArray[np.float32]:
    """Ridges with those pores that show in this impression; the pores of a finger never move."""
    visible = master.pores[rng.random(len(master.pores)) < rng.uniform(*_P.pores)]
    spots = np.zeros_like(master.ridges)
    column, row = np.rint(visible.T).astype(np.int64)
    spots[np.clip(row, 0, spots.shape[0] - 1), np.clip(column, 0, spots.shape[1] - 1)] = 1
    return np.asarray(master.ridges - 7.0 * cv2.GaussianBlur(spots, (0, 0), 0.8), np.float32)


def _skin_coordinates(
    rng: np.random.Generator, size: tuple[int, int]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Where on the finger (pixels from the centre of the master print) each pixel of the image touches it."""
    y, x = np.mgrid[0 : size[0], 0 : size[1]].astype(np.float32)
    x -= (size[1] - 1) / 2 + np.float32(rng.normal(0, _P.shift[1]))
    y -= (size[0] - 1) / 2 + np.float32(rng.normal(0, _P.shift[0]))
    turn = np.float32(rng.uniform(-_P.rotation, _P.rotation))
    x, y = x * np.cos(turn) + y * np.sin(turn), y * np.cos(turn) - x * np.sin(turn)
    # [CMM]: the skin under firm contact stays, the skin outside is dragged (traction) and turned (torsion).
    centre = rng.normal(0, 12, 2).astype(np.float32)
    dx, dy = rng.normal(0, _P.skin_shift, 2).astype(np.float32)
    torsion = np.float32(rng.normal(0, _P.skin_turn))
    ux, uy = x - centre[0], y - centre[1]
    outside = np.hypot(ux / _P.skin_contact[1], uy / _P.skin_contact[0]) - 1
    brake = 0.5 * (1 - np.cos(np.pi * np.clip(outside / _P.skin_ramp, 0, 1)))
    cos, sin = np.cos(torsion), np.sin(torsion)
    moved_x = x + brake * (ux * cos - uy * sin - ux + dx)
    moved_y = y + brake * (ux * sin + uy * cos - uy + dy)
    return moved_x.astype(np.float32), moved_y.astype(np.float32)


def _contact(x: NDArray[np.float32], y: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """How far inside the area of contact each pixel lies: 1 at its centre, 0 at its ragged edge, negative outside."""
    vertical, horizontal = np.array(_P.contact) * np.clip(rng.normal(1, _P.contact_sd, 2), 0.85, 1.12)
    cx, cy = rng.normal(0, 12), rng.normal(0, 16)
    # A superellipse: fingertips are rounder than a rectangle, squarer than an ellipse.
    distance = (np.abs((x - cx) / horizontal) ** 2.4 + np.abs((y - cy) / vertical) ** 2.4) ** (1 / 2.4)
    ragged = 0.02 * _smooth_noise(x.shape, 16.0, rng) + 0.012 * _smooth_noise(x.shape, 4.0, rng)
    return np.asarray(1 - distance + ragged, np.float32)


def _scratches(size: tuple[int, int], rng: np.random.Generator) -> NDArray[np.float32]:
    """Cuts and creases, light lines across the ridges: float32[size], 0 to 1."""
    lines = np.zeros(size, np.uint8)
    for _ in range(rng.poisson(_P.scratches)):
        middle = np.array([rng.uniform(0, size[1]), rng.uniform(0, size[0])])
        angle, length = rng.uniform(0, np.pi), rng.uniform(25, 110)
        half = length / 2 * np.array([np.cos(angle), np.sin(angle)])
        bend = rng.normal(0, 5, 2)
        points = np.rint([middle - half, middle + bend, middle + half]).astype(np.int32)
        cv2.polylines(lines, [points], False, 255, int(rng.integers(1, 3)), cv2.LINE_AA)
    worn = np.clip(0.75 + 0.35 * _smooth_noise(size, 10.0, rng), 0, 1)
    return np.asarray(cv2.GaussianBlur(lines, (0, 0), 0.6).astype(np.float32) / 255 * worn, np.float32)
