"""Near-infrared pictures of eyes that do not exist, for the demo, tests and load.

A synthetic eye's identity is the texture of its iris (fibres, collarette, crypts, pigment, furrows), drawn once in
polar coordinates; a capture is that texture seen with a pupil of some width, turned, off centre, behind lids and
lashes, lit and blurred. In the manner of Shah & Ross, "Generating Synthetic Irises by Feature Agglomeration", ICIP
2006. Accuracy is never quoted on these.
"""

from __future__ import annotations

import dataclasses
import functools

import cv2
import numpy as np
from numpy.typing import NDArray

_RADII, _ANGLES = 160, 1440
Plane = NDArray[np.float32]


def synthesise_eye(identity_seed: int, capture_seed: int, *, size: tuple[int, int] = (640, 480)) -> NDArray[np.uint8]:
    """One capture of one eye, the same for the same arguments.

    Args:
        identity_seed: which eye, 0 and up.
        capture_seed: which capture of it, 0 and up.
        size: width and height in pixels; the longer side 200-2000. The iris gets a radius of about 0.17 of the width.

    Returns:
        uint8[height, width], grey.

    Raises:
        ValueError: a size out of range.
    """
    width, height = size
    if not (200 <= max(size) <= 2000 and min(size) >= 150):
        raise ValueError(f"an eye of {width} x {height} pixels is not within 200 x 150 and 2000 x 2000")
    eye = _identity(identity_seed)
    rng = np.random.default_rng([0xCA9, identity_seed, capture_seed])
    # Drawn at a fixed scale, so that one capture looks the same at every size.
    scale = width / 640.0
    view = _View.draw(rng, eye, width, height, scale)
    picture = _compose(eye, view, rng, width, height, scale)
    return np.asarray(np.clip(np.round(picture), 0, 255), np.uint8)


def iris_texture(identity_seed: int) -> Plane:
    """float32[160, 1440], grey levels about 0, of an eye's iris: radii from pupil to limbus by angles."""
    return _identity(identity_seed).texture


@dataclasses.dataclass(frozen=True, eq=False)
class _Identity:
    """What stays the same from capture to capture."""

    texture: Plane
    iris_grey: float
    sclera_grey: float
    skin_grey: float
    radius: float
    lid_bend: float
    tilt: float

    @classmethod
    def draw(cls, rng: np.random.Generator) -> _Identity:
        return cls(
            texture=_draw_texture(rng),
            iris_grey=float(rng.uniform(85, 130)),
            sclera_grey=float(rng.uniform(150, 175)),
            skin_grey=float(rng.uniform(180, 210)),
            radius=float(rng.uniform(100, 118)),
            lid_bend=float(rng.uniform(0.85, 1.15)),
            tilt=float(rng.uniform(-0.06, 0.06)),
        )


@functools.lru_cache(maxsize=64)
def _identity(seed: int) -> _Identity:
    """The eye of a seed; kept, for drawing the texture takes most of the time."""
    return _Identity.draw(np.random.default_rng([0xE7E, seed]))


def _draw_texture(rng: np.random.Generator) -> Plane:
    """Fibres that run outwards in zigzags, cut by the collarette, with crypts, pigment spots and furrows."""
    radius = np.linspace(0.0, 1.0, _RADII, dtype=np.float32)[:, None]
    # Fibres: noise that is fine along the angle and long along the radius, bent by a smooth field.
    fibres = np.zeros((_RADII, _ANGLES), np.float32)
    for fine, long, gain in ((1.6, 22.0, 0.8), (4.0, 16.0, 1.1), (9.0, 10.0, 1.0), (20.0, 14.0, 0.7)):
        fibres += gain * _noise(rng, long, fine)
    bend = 9.0 * _noise(rng, 14.0, 30.0) + 4.0 * _noise(rng, 6.0, 10.0)
    texture = _shift_angle(fibres, bend)
    # Collarette: a wavy bright ridge about a third of the way out; inside it the fibres are coarser and darker.
    ridge: Plane = (
        np.float32(0.30 + 0.05 * rng.normal()) + 0.03 * _noise(rng, 1.0, 40.0)[:1] + 0.015 * _noise(rng, 1.0, 10.0)[:1]
    )
    texture += 1.6 * np.exp(-0.5 * ((radius - ridge) / 0.035) ** 2) * (1.0 + 0.5 * _noise(rng, 3.0, 8.0))
    texture -= 0.8 / (1.0 + np.exp((radius - ridge) / 0.02))
    # Crypts: dark lozenges with a bright edge, most of them beside the collarette.
    for _ in range(int(rng.integers(14, 40))):
        at = float(rng.uniform(0, _ANGLES))
        out = float(np.clip(rng.normal(0.42, 0.14), 0.08, 0.85))
        tall, wide = float(rng.uniform(0.03, 0.10)), float(rng.uniform(8, 28))
        d = _distance(radius, out, tall, at, wide)
        texture += float(rng.uniform(1.0, 2.4)) * (0.5 * np.exp(-(((d - 1.15) / 0.25) ** 2)) - np.exp(-(d**4)))
    for _ in range(int(rng.integers(0, 5))):
        at, out = float(rng.uniform(0, _ANGLES)), float(rng.uniform(0.3, 0.9))
        texture -= 2.0 * np.exp(-(_distance(radius, out, 0.04, at, 14.0) ** 2))
    # Contraction furrows: arcs in the outer half.
    for _ in range(int(rng.integers(2, 6))):
        arc = float(rng.uniform(0.55, 0.9)) + 0.02 * _noise(rng, 1.0, 60.0)[:1]
        present = np.clip(_noise(rng, 1.0, 80.0)[:1], 0, 1)
        texture -= 0.9 * present * np.exp(-0.5 * ((radius - arc) / 0.012) ** 2)
    texture = (texture - texture.mean()) / texture.std()
    drawn = np.asarray(11.0 * np.clip(texture, -3, 3), np.float32)
    drawn.setflags(write=False)
    return drawn


def _noise(rng: np.random.Generator, radial: float, angular: float) -> Plane:
    """Gaussian noise of unit deviation, smoothed by ``radial`` rows and ``angular`` columns, closed round the angle."""
    white = rng.standard_normal((_RADII, _ANGLES), np.float32)
    pad = int(3 * angular) + 1
    wrapped = np.concatenate([white[:, -pad:], white, white[:, :pad]], axis=1)
    smooth = cv2.GaussianBlur(wrapped, (0, 0), sigmaX=angular, sigmaY=radial, borderType=cv2.BORDER_REFLECT)
    plane = np.asarray(smooth[:, pad:-pad], np.float32)
    return np.asarray(plane / plane.std(), np.float32)


def _shift_angle(plane: Plane, columns: Plane) -> Plane:
    """Every pixel taken from ``columns`` further along the angle."""
    ys, xs = np.mgrid[0:_RADII, 0:_ANGLES].astype(np.float32)
    pad = 120
    wrapped = np.concatenate([plane[:, -pad:], plane, plane[:, :pad]], axis=1)
    return np.asarray(cv2.remap(wrapped, xs + columns + pad, ys, cv2.INTER_LINEAR), np.float32)


def _distance(radius: Plane, out: float, tall: float, at: float, wide: float) -> Plane:
    """float32[160, 1440], elliptic distance from a point of the polar plane."""
    around = np.abs(np.arange(_ANGLES, dtype=np.float32) - at)
    around = np.minimum(around, _ANGLES - around)[None, :]
    return np.asarray(np.hypot((radius - out) / tall, around / wide), np.float32)


@dataclasses.dataclass(frozen=True)
class _View:
    """What changes from capture to capture; lengths in pixels of the picture."""

    x: float
    y: float
    radius: float
    pupil: float
    pupil_dx: float
    pupil_dy: float
    squash: float
    turn: float
    upper: float
    lower: float
    blur: float
    noise: float
    light_x: float
    light_y: float
    gain: float

    @classmethod
    def draw(cls, rng: np.random.Generator, eye: _Identity, width: int, height: int, scale: float) -> _View:
        radius = eye.radius * scale * float(rng.uniform(0.95, 1.05))
        return cls(
            x=width / 2 + float(rng.uniform(-0.06, 0.06)) * width,
            y=height / 2 + float(rng.uniform(-0.04, 0.06)) * height,
            radius=radius,
            pupil=radius * float(rng.uniform(0.30, 0.46)),
            pupil_dx=float(rng.normal(0, 0.015)) * radius,
            pupil_dy=float(rng.normal(0, 0.015)) * radius,
            squash=float(rng.uniform(0.97, 1.0)),
            turn=float(np.radians(rng.uniform(-8, 8))),
            upper=radius * float(rng.uniform(0.72, 1.02)),
            lower=radius * float(rng.uniform(0.88, 1.12)),
            blur=float(rng.uniform(0.7, 1.3)) * max(scale, 0.5),
            noise=float(rng.uniform(1.5, 3.5)),
            light_x=float(rng.uniform(-0.12, 0.12)),
            light_y=float(rng.uniform(-0.12, 0.12)),
            gain=float(rng.uniform(0.9, 1.1)),
        )


def _compose(
    eye: _Identity, view: _View, rng: np.random.Generator, width: int, height: int, scale: float
) -> NDArray[np.float32]:
    ys, xs = np.mgrid[0:height, 0:width].astype(np.float32)
    dx, dy = (xs - view.x) / view.squash, ys - view.y
    outer = np.hypot(dx, dy)
    inner = np.hypot(dx - view.pupil_dx, dy - view.pupil_dy)
    # Share of the way from pupil to limbus; the pupil's displacement fades outwards.
    depth = (inner - view.pupil) / np.maximum((inner - view.pupil) + (view.radius - outer), 1e-3)
    angle = np.arctan2(dy - view.pupil_dy * (1 - depth), dx - view.pupil_dx * (1 - depth)) - view.turn
    map_x = np.mod(angle, 2 * np.pi) * (_ANGLES / (2 * np.pi))
    wrapped = np.concatenate([eye.texture, eye.texture[:, :2]], axis=1)
    texture = cv2.remap(
        wrapped,
        map_x.astype(np.float32),
        np.clip(depth * (_RADII - 1), 0, _RADII - 1).astype(np.float32),
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    )
    soft = 1.2 * scale
    iris = eye.iris_grey + texture - 14.0 * np.clip((depth - 0.85) / 0.15, 0, 1)
    ball = (
        eye.sclera_grey
        - 25.0 * ((outer / view.radius - 1.0) / 1.6).clip(0, 1.5)
        + 5.0 * _cloud(rng, height, width, 18 * scale)
    )
    ball = _mix(ball, iris, (outer - view.radius) / (2.5 * soft))
    ball = _mix(ball, np.full_like(ball, 26.0), (inner - view.pupil) / soft)
    # The slit between the lids.
    across = (xs - view.x) / (2.15 * view.radius)
    tilted = ys - view.y - eye.tilt * (xs - view.x)
    arch = 1.0 - across * across
    upper = -view.upper * np.where(arch > 0, arch, 1.5 * arch) * eye.lid_bend
    lower = view.lower * np.where(arch > 0, arch, 1.5 * arch)
    inside = np.minimum(tilted - upper, lower - tilted)
    skin = _skin(eye, view, rng, tilted - upper, tilted - lower, arch, scale)
    shade = 34.0 * np.exp(-np.clip(tilted - upper, 0, None) / (8.0 * scale))
    picture = _mix(skin, ball - shade, -inside / (1.5 * soft))
    lashes = _lashes(eye, view, rng, width, height, scale)
    picture = picture * (1.0 - lashes) + 45.0 * lashes
    light = 1.0 + view.light_x * (xs / width - 0.5) + view.light_y * (ys / height - 0.5)
    picture = cv2.GaussianBlur((picture * light * view.gain).astype(np.float32), (0, 0), view.blur)
    picture = picture + view.noise * rng.standard_normal((height, width), np.float32)
    return np.asarray(_glints(picture, view, rng, scale), np.float32)


def _skin(
    eye: _Identity,
    view: _View,
    rng: np.random.Generator,
    below_upper: Plane,
    below_lower: Plane,
    arch: Plane,
    scale: float,
) -> Plane:
    """Lids and what surrounds them: pores, a crease above, folds below, dark rims where the lashes grow."""
    height, width = arch.shape
    skin = eye.skin_grey + 7.0 * _cloud(rng, height, width, 90 * scale) + 2.0 * _cloud(rng, height, width, 14 * scale)
    skin = skin + 3.5 * _cloud(rng, height, width, 1.6 * max(scale, 0.5))
    open_part = 1.0 / (1.0 + np.exp(np.clip(-12.0 * (arch - 0.12), -30, 30)))
    for line, deep, wide in (
        (below_upper + 0.40 * view.radius, 42.0, 3.5),
        (below_upper + 0.52 * view.radius, 14.0, 9.0),
        (below_lower - 0.20 * view.radius, 16.0, 4.0),
        (below_lower - 0.45 * view.radius, 12.0, 7.0),
    ):
        skin = skin - deep * open_part * np.exp(-0.5 * (line / (wide * scale)) ** 2)
    rim = np.exp(-np.abs(below_upper) / (5.0 * scale)) + 0.5 * np.exp(-np.abs(below_lower) / (4.0 * scale))
    corners = np.exp(-0.5 * ((arch + 0.05) / 0.22) ** 2) * np.exp(-np.abs(below_upper) / (0.5 * view.radius))
    return np.asarray(skin - 75.0 * rim * open_part - 30.0 * corners, np.float32)


def _mix(outside: Plane, inside: Plane, edge: Plane) -> Plane:
    """``inside`` where ``edge`` is below 0, ``outside`` where above, with a soft step one unit wide."""
    share = 1.0 / (1.0 + np.exp(np.clip(4.0 * edge, -30, 30)))
    return np.asarray(outside * (1.0 - share) + inside * share, np.float32)


def _cloud(rng: np.random.Generator, height: int, width: int, sigma: float) -> Plane:
    """Smooth noise of unit deviation; coarse clouds are drawn small and enlarged."""
    step = max(1, int(sigma / 3))
    small = rng.standard_normal((height // step + 2, width // step + 2), np.float32)
    smooth = cv2.GaussianBlur(small, (0, 0), sigma / step)
    plane = np.asarray(cv2.resize(smooth, (width, height), interpolation=cv2.INTER_LINEAR), np.float32)
    return np.asarray(plane / max(float(plane.std()), 1e-6), np.float32)


def _lashes(
    eye: _Identity, view: _View, rng: np.random.Generator, width: int, height: int, scale: float
) -> NDArray[np.float32]:
    """float32[height, width], 0-1, how far a lash covers each pixel."""
    canvas = np.zeros((height, width), np.uint8)
    for upper, count, reach in ((True, int(rng.integers(60, 110)), 0.5), (False, int(rng.integers(25, 45)), 0.22)):
        for root in rng.uniform(-0.95, 0.95, count):
            x = view.x + root * 2.15 * view.radius
            arch = 1.0 - root * root
            y = view.y + eye.tilt * (x - view.x) + (-view.upper * arch * eye.lid_bend if upper else view.lower * arch)
            long = reach * view.radius * float(rng.uniform(0.4, 1.2))
            lean = root * 0.9 + float(rng.normal(0, 0.2))
            curl = float(rng.uniform(0.6, 1.1))
            t = np.linspace(0, 1, 12)
            # Upper lashes hang over the eye first and then curl up; lower ones point down and outwards.
            droop = 0.55 * t - curl * t**2 if upper else 0.85 * t - 0.25 * t**2
            points = np.stack([x + lean * long * (t + 0.3 * t**2), y + long * droop], axis=-1)
            shifted = np.round(points * 16).astype(np.int32)
            dark = float(rng.uniform(170, 255))
            for k in range(len(t) - 1):  # thick at the root, thin and faint at the tip
                thick = max(1, round(2.6 * scale * (1.0 - t[k])))
                tone = dark * (1.0 - 0.6 * t[k] ** 2)
                cv2.line(canvas, shifted[k].tolist(), shifted[k + 1].tolist(), tone, thick, cv2.LINE_AA, 4)
    return np.asarray(canvas, np.float32) / np.float32(255.0)


def _glints(picture: NDArray[np.float32], view: _View, rng: np.random.Generator, scale: float) -> NDArray[np.float32]:
    """Reflections of one or two lamps, in the pupil or at its rim."""
    drawn = np.ascontiguousarray(picture, np.float32)
    for _ in range(int(rng.integers(1, 3))):
        angle = float(rng.uniform(0, 2 * np.pi))
        out = float(rng.uniform(0.1, 0.75)) * view.pupil
        at = (round((view.x + out * np.cos(angle)) * 16), round((view.y + out * np.sin(angle)) * 16))
        cv2.circle(drawn, at, round(float(rng.uniform(3.0, 5.5)) * scale * 16), 255.0, -1, cv2.LINE_AA, 4)
    return drawn
