"""Every number of the fingerprint comparison, with its source.

Sources:
    [MCC] R. Cappelli, M. Ferrara, D. Maltoni, "Minutia Cylinder-Code: a new representation and matching technique for
        fingerprint recognition", IEEE TPAMI 32 (2010) 2128-2141, Tables 1 and 2 and section 4.
    [P] measured on FVC2002/2004 with a prototype; the optimum is flat (differences below 0.3 points are noise).
"""

from __future__ import annotations

import dataclasses
import math

FINGER_ALGORITHM = "finger-leader-1"
"""Minutiae of LEADER, quality 0.20 and more, direction counter-clockwise: what cylinders and calibration stand on."""

MINDTCT_ALGORITHM = "finger-mindtct-1"
"""Minutiae of NBIS mindtct, in the same form; compared in the same way, but never with those of LEADER."""


@dataclasses.dataclass(frozen=True)
class CylinderParameters:
    """The shape of a cylinder. Lengths in pixels at 500 ppi, angles in radians.

    Attributes:
        radius: of the cylinder (R = 70 in [MCC]).
        cells: along the diameter of the base (N_S = 8, the small variant of [MCC]; 16 gave nothing [P]).
        layers: of direction (N_D = 6 [MCC]).
        sigma_s: of the spatial Gaussian (28/3 [MCC]).
        sigma_d: of the directional Gaussian (2 pi/9 [MCC]).
        threshold: a cell's bit is set when its contribution exceeds this (mu_psi = 0.01 [MCC]; 0.015 is bad [P]).
        max_minutiae: of the highest quality that are used (60 [P]; 48 and 40 lose little).
    """

    radius: float = 70.0
    cells: int = 8
    layers: int = 6
    sigma_s: float = 28.0 / 3.0
    sigma_d: float = 2.0 * math.pi / 9.0
    threshold: float = 0.01
    max_minutiae: int = 60

    @property
    def bits(self) -> int:
        """Bits of a cylinder, a multiple of 64: cells * cells * layers."""
        return self.cells * self.cells * self.layers

    @property
    def words(self) -> int:
        """uint64 words of a cylinder."""
        return self.bits // 64


@dataclasses.dataclass(frozen=True)
class ComparisonParameters:
    """Local greedy similarity with distortion-tolerant relaxation, LGS-R ([MCC] section 4 with greedy assignment).

    Attributes:
        min_minutiae: with fewer on either side the score is 0: two pairs of two minutiae prove nothing [P].
        max_turn: minutiae whose directions differ more are not paired (delta_theta = pi/2 [MCC]).
        pairs_min, pairs_max, pairs_mu, pairs_tau: n_P = pairs_min + round((pairs_max - pairs_min)
            sigmoid(pairs_tau (min(n_A, n_B) - pairs_mu))); 4, 12, 20, 0.4 [MCC]. The sum over the best pairs is divided
            by n_P even when there are fewer [P].
        iterations: of the relaxation (n_rel = 5 [MCC]).
        keep: part of its similarity that a pair keeps in an iteration (w_R = 1/2 [MCC]).
        mu, tau: centre and steepness of the three sigmoids of the compatibility of two pairs: difference of distances
            in pixels, of directions and of radial angles in radians (mu 5, pi/12, pi/12; tau -8/5, -30, -30 [MCC]).
        floor: a factor of the compatibility below this counts as 0, which spares most of the arithmetic; scores move
            by less than 1e-3 of their value.
    """

    min_minutiae: int = 3
    max_turn: float = math.pi / 2.0
    pairs_min: int = 4
    pairs_max: int = 12
    pairs_mu: float = 20.0
    pairs_tau: float = 0.4
    iterations: int = 5
    keep: float = 0.5
    mu: tuple[float, float, float] = (5.0, math.pi / 12.0, math.pi / 12.0)
    tau: tuple[float, float, float] = (-1.6, -30.0, -30.0)
    floor: float = 1e-4

    def pairs(self, fewest: int) -> int:
        """n_P for the smaller of the two counts of minutiae."""
        sigmoid = 1.0 / (1.0 + math.exp(-self.pairs_tau * (fewest - self.pairs_mu)))
        return self.pairs_min + round(sigmoid * (self.pairs_max - self.pairs_min))

    def gate(self, i: int) -> float:
        """The difference beyond which factor ``i`` of the compatibility is under ``floor``."""
        return self.mu[i] + math.log(1.0 / self.floor - 1.0) / -self.tau[i]


@dataclasses.dataclass(frozen=True)
class AlignmentParameters:
    """Laying one print upon the other (``alignment``). Lengths in pixels at 500 ppi, angles in radians.

    Chosen on UPEK, FVC2000 DB1_B and DB4_B.

    Attributes:
        seeds: pairs of the fast stage from which an alignment starts; the best one counts.
        rounds: of looking for partners; between them the motion is fitted to the partners found.
        reach: partners are not further apart than this,
        stretch: and so much more for each pixel from the seed, because skin stretches,
        most_reach: but never more than this.
        max_turn: largest difference of partners' directions.
        radian: pixels that a difference of directions by one radian counts for.
        near: a minutia that has any minutia of the other print within this could have a partner.
    """

    seeds: int = 4
    rounds: int = 3
    reach: float = 9.0
    stretch: float = 0.04
    most_reach: float = 18.0
    max_turn: float = math.pi / 7.0
    radian: float = 35.0
    near: float = 40.0


@dataclasses.dataclass(frozen=True)
class VectorParameters:
    """The shape of the shortlist vector (``vector``); the numbers in it are fitted, see ``vector_model.npz``.

    Attributes:
        centre, steepness: a cell's contribution v becomes 1 / (1 + exp(-steepness (v - centre))): soft where a bit is
            hard, centred where the bits' threshold is (mu_psi and tau_psi of [MCC], equation 5, real-valued variant).
        length: pixels that count as 1 in a minutia's place relative to the middle of all.
        reduced: numbers that discriminant analysis leaves of a minutia's 388.
        words: visual words that residuals are summed for.
        nearest: words that a minutia is shared among, the nearest ones.
        softness: the shares are exp(-squared distance / softness), softness being this many times the median difference
            between the squared distances to the nearest word and to the second.
        numbers: of the vector. 480 int8 leave 32 bytes of 512 for what an index keeps beside them.
        scale: a number of the unit vector times this is rounded to int8 and cut at +-127 (4.4 standard deviations).
        least_minutiae: with fewer the vector is 0.
    """

    centre: float = 0.01
    steepness: float = 400.0
    length: float = 100.0
    reduced: int = 64
    words: int = 64
    nearest: int = 5
    softness: float = 3.0
    numbers: int = 480
    scale: float = 635.0
    least_minutiae: int = 3
