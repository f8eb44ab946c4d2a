"""Worse impressions of a print that is at hand: minutiae lost, invented and moved as between poor captures of a finger.

For fitting, and for hit rates that are called synthetic; nothing else is quoted on them.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from matcher.templates import FingerTemplate


def worse_impression(
    template: FingerTemplate, rng: np.random.Generator, least: int = 9, turn: float = 0.2
) -> tuple[FingerTemplate, NDArray[np.int64]]:
    """A worse impression of the same finger, and for each of its minutiae which one of the template's it is, or -1.

    Up to two cuts along lines take up to 40 % each, 3-30 % of the rest are lost (but ``least`` are left where there
    were so many), 5-25 % new ones stand 10-40 pixels from old ones and go along with them or against, three Gaussian
    bumps of 40-110 pixels stretch the skin by up to about 9 pixels, everything jitters by a pixel and 3 degrees, and
    the whole is turned (standard deviation ``turn``, in radians).
    """
    x, y = template.x.astype(np.float64), template.y.astype(np.float64)
    kept = np.ones(len(x), np.bool_)
    for _ in range(rng.integers(0, 3)):
        a = rng.uniform(0, 2 * np.pi)
        along = x * np.cos(a) + y * np.sin(a)
        kept &= along <= np.quantile(along, 1 - rng.uniform(0, 0.4))
    kept &= rng.random(len(x)) > rng.uniform(0.03, 0.3)
    if kept.sum() < least:
        kept[:] = False
        kept[rng.permutation(len(x))[:least]] = True
    x, y, angle = x[kept], y[kept], template.angle_radians[kept]
    source = np.flatnonzero(kept)
    quality = template.quality[kept].astype(np.float64)

    new = int(rng.poisson(rng.uniform(0.05, 0.25) * len(x)))
    beside = rng.integers(0, len(x), new)
    distance, toward = rng.uniform(10, 40, new), rng.uniform(0, 2 * np.pi, new)
    against = np.pi * (rng.random(new) < 0.35)
    angle = np.concatenate([angle, angle[beside] + rng.normal(0, 0.25, new) + against])
    x = np.concatenate([x, x[beside] + distance * np.cos(toward)])
    y = np.concatenate([y, y[beside] + distance * np.sin(toward)])
    quality = np.concatenate([quality, rng.uniform(20, 60, new)])
    source = np.concatenate([source, np.full(new, -1)])

    move, strength = np.zeros((2, len(x))), rng.uniform(0, 9)
    for _ in range(3):
        size = rng.uniform(40, 110)
        bump = np.exp(-((x - rng.choice(x)) ** 2 + (y - rng.choice(y)) ** 2) / (2 * size**2))
        move += strength * rng.normal(0, 1, 2)[:, None] * bump
    move += rng.normal(0, 1, move.shape)
    x, y, angle = x + move[0], y + move[1], angle + rng.normal(0, 0.05, len(x))

    turned = rng.normal(0, turn)
    cos, sin, u, v = np.cos(turned), np.sin(turned), x - x.mean(), y - y.mean()
    x, y = cos * u + sin * v + x.mean(), -sin * u + cos * v + y.mean()
    # A template has no place left of or above its image.
    x, y = x - min(0.0, np.floor(x.min())), y - min(0.0, np.floor(y.min()))
    order = rng.permutation(len(x))[: FingerTemplate.MAX_MINUTIAE]
    made = FingerTemplate(
        template.algorithm,
        template.version,
        template.width,
        template.height,
        np.rint(x[order]).astype(np.int16),
        np.rint(y[order]).astype(np.int16),
        FingerTemplate.encode_angle(angle[order] + turned),
        np.rint(quality[order]).astype(np.uint8),
    )
    return made, source[order]
