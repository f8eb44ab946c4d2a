"""Minutiae to bit cylinders (see ``parameters.CylinderParameters`` for the source).

A cylinder stands on each minutia, turned to its direction, and holds for each cell (place within 70 pixels, direction
relative to the minutia's) one bit: whether neighbouring minutiae contribute more than a threshold there. Two cylinders
are compared by a popcount, whatever the rotation and shift of the two impressions.

Frame: pixels at 500 ppi with y DOWN. ``FingerTemplate.angle`` is counter-clockwise with y UP, so the direction used
here is minus that angle; angles are kept as int16 in 1/65536 turn, where a difference wraps around by itself.

No per-cell validity mask is kept: cells outside the base hold 0, and so do all that are 28 pixels (three sigma) from
any minutia, so that [MCC]'s convex hull with its margin of 50 would change nothing. A mask of 8 bytes a minutia bought
0.3 points of FNMR at FMR 0.1 % in a prototype and made the comparison 2.3 times slower.
"""

from __future__ import annotations

import dataclasses
import hashlib
import math

import numpy as np
from numpy.typing import NDArray

from matcher.compiled import kernel
from matcher.finger.parameters import CylinderParameters
from matcher.templates import FingerTemplate

TURN = 65536.0
"""Angle units in a full turn."""


@dataclasses.dataclass(frozen=True, eq=False)
class PreparedFinger:
    """What comparisons of a finger template need; read-only.

    Attributes:
        algorithm: of the template.
        bits: uint64[n, 6], one cylinder a minutia, cell (layer, row, column) at bit (layer * 8 + row) * 8 + column.
        x, y: float32[n], pixels at 500 ppi, y down.
        angle: int16[n], direction in 1/65536 turn, clockwise on the screen (y down).
        key: hash of the above; orders a pair so that the comparison is symmetric.
    """

    algorithm: str
    bits: NDArray[np.uint64]
    x: NDArray[np.float32]
    y: NDArray[np.float32]
    angle: NDArray[np.int16]
    key: int

    def __len__(self) -> int:
        return len(self.x)


def prepare_finger(template: FingerTemplate, parameters: CylinderParameters | None = None) -> PreparedFinger:
    """Builds the cylinders of the template's best minutiae (about 1 ms); works for any number of them, also none."""
    p = parameters or CylinderParameters()
    best = used_minutiae(template, p)
    x = template.x[best].astype(np.float32)
    y = template.y[best].astype(np.float32)
    angle = (-template.angle[best].astype(np.int32)).astype(np.uint16).view(np.int16)
    bits = build_cylinders(
        x.astype(np.float64), y.astype(np.float64), angle.astype(np.float64) * (2.0 * math.pi / TURN), p
    )
    for array in (bits, x, y, angle):
        array.setflags(write=False)
    digest = hashlib.blake2b(bits.tobytes() + x.tobytes() + y.tobytes() + angle.tobytes(), digest_size=8).digest()
    return PreparedFinger(template.algorithm, bits, x, y, angle, int.from_bytes(digest, "little"))


def used_minutiae(template: FingerTemplate, p: CylinderParameters) -> NDArray[np.int64]:
    """Numbers of the template's minutiae that are compared, ascending: those of the highest quality."""
    # A stable order of ties: the template's own.
    return np.sort(np.argsort(-template.quality.astype(np.int16), kind="stable")[: p.max_minutiae])


def build_cylinders(
    x: NDArray[np.float64], y: NDArray[np.float64], theta: NDArray[np.float64], p: CylinderParameters
) -> NDArray[np.uint64]:
    """uint64[n, words]: the cylinders of n minutiae (pixels, y down; directions in radians, in the same frame)."""
    return _bits(cell_contributions(x, y, theta, p), p.threshold)


def cell_contributions(
    x: NDArray[np.float64], y: NDArray[np.float64], theta: NDArray[np.float64], p: CylinderParameters
) -> NDArray[np.float64]:
    """float64[n, bits]: what neighbouring minutiae contribute to each cell ([MCC] equation 4), 0 outside the base."""
    return _contributions(x, y, theta, p.radius, p.cells, p.layers, p.sigma_s, p.sigma_d)


@kernel
def _contributions(
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    theta: NDArray[np.float64],
    radius: float,
    cells: int,
    layers: int,
    sigma_s: float,
    sigma_d: float,
) -> NDArray[np.float64]:
    n = x.shape[0]
    result = np.zeros((n, cells * cells * layers))
    side = 2.0 * radius / cells
    layer = 2.0 * math.pi / layers
    reach = 3.0 * sigma_s
    peak = 1.0 / (sigma_s * math.sqrt(2.0 * math.pi))
    directional = np.zeros((n, layers))
    near = np.zeros(n, np.int64)
    scale = 1.0 / (sigma_d * math.sqrt(2.0))
    for m in range(n):
        cos, sin = math.cos(theta[m]), math.sin(theta[m])
        count = 0
        for t in range(n):
            dx, dy = x[t] - x[m], y[t] - y[m]
            if t != m and dx * dx + dy * dy <= (radius + reach) ** 2:
                near[count] = t
                for k in range(layers):
                    # [MCC] eq. 9-11: the Gaussian of the direction's difference, integrated over the layer's height.
                    a = -math.pi + (k + 0.5) * layer - (theta[m] - theta[t])
                    a -= 2.0 * math.pi * math.floor((a + math.pi) / (2.0 * math.pi))
                    directional[count, k] = 0.5 * (
                        math.erf((a + 0.5 * layer) * scale) - math.erf((a - 0.5 * layer) * scale)
                    )
                count += 1
        for i in range(cells):
            for j in range(cells):
                u, v = (i - 0.5 * (cells - 1)) * side, (j - 0.5 * (cells - 1)) * side
                if u * u + v * v > radius * radius:
                    continue
                cx, cy = x[m] + cos * u - sin * v, y[m] + sin * u + cos * v
                for c in range(count):
                    dx, dy = x[near[c]] - cx, y[near[c]] - cy
                    d2 = dx * dx + dy * dy
                    if d2 <= reach * reach:
                        spatial = peak * math.exp(-d2 / (2.0 * sigma_s * sigma_s))
                        for k in range(layers):
                            result[m, (k * cells + i) * cells + j] += spatial * directional[c, k]
    return result


@kernel
def _bits(contributions: NDArray[np.float64], threshold: float) -> NDArray[np.uint64]:
    n, cells = contributions.shape
    bits = np.zeros((n, cells // 64), np.uint64)
    for m in range(n):
        for at in range(cells):
            if contributions[m, at] > threshold:
                bits[m, at // 64] |= np.uint64(1) << np.uint64(at % 64)
    return bits
