"""Fused log-likelihood ratio to -10*log10(FMR), for the set of positions that is present.

For every likelihood ratio P(LR >= e^S | impostor) <= e^-S (Wald 1947). That bound holds whatever the positions, but it
gives away what is known about them, and it does not hold where strangers who look alike at one position do so at
another. Here the distribution of strangers' fused ratios is computed instead:

1. By calibration a stranger's score at a position is known: P(score >= s) = 10^(-s/10). As a normal deviate it is
   standard normal.
2. The deviates of two positions have the fitted correlation of strangers (a Gaussian copula: Nelsen, "An Introduction
   to Copulas", 2006), by common factors: one of the two people, one of each modality within, one of each hand within
   that (a one-factor model, nested: Vasicek, "Loan portfolio value", Risk 2002, has the same shape).
3. Given the factors positions are independent, so the distribution of the sum is a convolution, by fast Fourier
   transform; the factors are then integrated out, hands first, on one grid of nodes.
4. Far out the rates are smaller than the rounding errors of a transform, so it is repeated with the distribution
   tilted by e^(t x) (Esscher, "On the probability function in the collective theory of risk", 1932), and each value is
   taken from the tilt that raises it highest above those errors.

The curve is as good as the calibrations and the correlations are. Where a position is vouched for up to a score only,
its ratio is taken as one value from there on (``Ratio.censored``), so that no rate beyond that score enters.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import special
from scipy.fft import next_fast_len

from matcher.calibration import LN10_10, Calibration
from matcher.fusion import censored_llr, modality_weights
from matcher.fusion_model import Correlations
from matcher.positions import Modality, Position

LEAST_CORRELATION = 1e-6
"""Below it two positions are independent; a factor of so small a variance lies between two nodes."""


@dataclasses.dataclass(frozen=True)
class TailParameters:
    """Of the numerical integration. Finer ones move scores up to 120 by less than 0.3."""

    step: float = 0.05
    """Between values of the ratio, in nats (0.2 dB)."""
    node: float = 0.2
    """Between nodes of a factor, in standard deviations; sums of a normal density at such steps are exact to 1e-9 down
    to a variance of 0.04, and to 1 % down to 0.01."""
    nodes_from: float = -6.0
    nodes_to: float = 10.0
    """A factor beyond 10 has the probability 1e-23."""
    tilts: tuple[float, ...] = (0.0, 0.35, 0.7)
    """Strangers' ratios fall about as e^-x, correlated ones more slowly."""
    highest_score: float = 170.0
    """A position's score is taken as at most this ..."""
    deepest: float = 150.0
    """... and the curve ends here, where what is cut off, 1e-17 a position, makes no difference."""
    highest_correlation: float = 0.99
    """At 1 a position would be its factor, and nothing be left to convolve."""


@dataclasses.dataclass(frozen=True, eq=False)
class FusedTail:
    """Knots of fused log-likelihood ratio -> score, ascending: float64[m] each."""

    llr: NDArray[np.float64]
    score: NDArray[np.float64]

    def to_score(self, llr: NDArray[np.float64]) -> NDArray[np.float64]:
        """-10*log10(FMR), >= 0, monotone; no higher than the last knot's."""
        return np.asarray(np.interp(np.asarray(llr, np.float64), self.llr, self.score), np.float64)


@dataclasses.dataclass(frozen=True, eq=False)
class Ratio:
    """A position's log-likelihood ratio as a function of its score: knots, float64[m] each, both ascending.

    Above the last knot the ratio stays.
    """

    score: NDArray[np.float64]
    llr: NDArray[np.float64]

    @classmethod
    def of(cls, calibration: Calibration) -> Ratio:
        """As calibration gives it."""
        score = np.append(calibration.llr_score, calibration.llr_score[-1] + 1000.0)
        return cls(score, calibration.to_llr(score))

    @classmethod
    def censored(cls, calibration: Calibration) -> Ratio:
        """The same up to ``trusted_to``; from there on what reaching that score is worth."""
        below = calibration.llr_score < calibration.trusted_to
        score = np.concatenate([calibration.llr_score[below], [calibration.trusted_to] * 2])
        llr = np.append(calibration.to_llr(score[:-1]), censored_llr(calibration))
        return cls(score, np.maximum.accumulate(llr))


def strangers_tail(
    positions: Sequence[Position],
    ratios: Sequence[Ratio],
    evidence: Correlations,
    strangers: Correlations,
    parameters: TailParameters | None = None,
) -> FusedTail:
    """The tail of strangers' fused ratios.

    Args:
        positions: that are present, k of them.
        ratios: of each position.
        evidence, strangers: fitted correlations (``fusion_model``).
    """
    p = parameters or TailParameters()
    weights = modality_weights(positions, evidence)
    members = [_Member.of(r, float(w), p) for r, w in zip(ratios, weights, strict=True)]
    highest = sum(m.llr[-1] for m in members)
    size = next_fast_len(sum(m.bins for m in members), real=True)
    below = p.step * np.arange(size)
    tilted = np.stack([_sum_of_strangers(positions, members, strangers, tilt, size, p) for tilt in p.tilts])
    # Rounding errors of a transform are of one size all along, a share of its highest value.
    clearest = np.argmax(tilted / tilted.max(axis=1, keepdims=True), axis=0)
    share = np.clip(tilted[clearest, np.arange(size)], 0.0, None) * np.exp(np.array(p.tilts)[clearest] * below)
    rate = np.clip(share.cumsum(), 1e-300, 1.0)[::-1]
    score = np.asarray(np.maximum.accumulate(0.0 - 10 * np.log10(rate)), np.float64)
    # Each position's values were rounded by half a step at most: no sum is promised more than one so much lower is.
    llr = np.asarray((highest - below)[::-1] + 0.5 * p.step * len(members), np.float64)
    end = int(np.searchsorted(score, p.deepest))
    keep = slice(max(0, int(np.searchsorted(score, 1e-6)) - 1), max(2, end + 1))
    return FusedTail(llr[keep], score[keep])


@dataclasses.dataclass(frozen=True, eq=False)
class _Member:
    """One position: knots of score and weighted ratio, and how many values it is spread over, from the highest down.

    Everything beyond trust has one value, the highest. Counted from there it needs no rounding, so that the rate at
    which several positions reach it together is exact.
    """

    score: NDArray[np.float64]
    llr: NDArray[np.float64]
    bins: int

    @classmethod
    def of(cls, ratio: Ratio, weight: float, p: TailParameters) -> _Member:
        below = ratio.score < p.highest_score
        score = np.append(ratio.score[below], p.highest_score)
        llr = np.append(ratio.llr[below], np.interp(p.highest_score, ratio.score, ratio.llr)) * weight
        # Pulled apart, downwards, so that every value has one lowest score that reaches it.
        llr = llr - 1e-9 * np.arange(len(llr))[::-1]
        return cls(score, llr, int(np.ceil((llr[-1] - llr[0]) / p.step)) + 2)

    def spectrum(
        self, correlation: float, nodes: NDArray[np.float64], tilt: float, size: int, p: TailParameters
    ) -> NDArray[np.complex128]:
        """complex128[nodes, size / 2 + 1]: transform of the distribution, tilted, given the factor."""
        edges = self.llr[-1] + p.step * (0.5 - np.arange(self.bins + 1))
        needed = np.interp(edges, self.llr, self.score)
        deviate = -special.ndtri_exp(-np.maximum(needed, 0.0) * LN10_10)
        deviate = np.where(edges <= self.llr[0], -np.inf, np.where(edges > self.llr[-1], np.inf, deviate))
        reach = special.ndtr((nodes[:, None] - deviate) / np.sqrt(1 - correlation))
        mass = np.maximum(reach[:, 1:] - reach[:, :-1], 0.0)
        return np.asarray(np.fft.rfft(mass * np.exp(-tilt * p.step * np.arange(self.bins)), size, axis=1))


def _sum_of_strangers(
    positions: Sequence[Position],
    members: Sequence[_Member],
    strangers: Correlations,
    tilt: float,
    size: int,
    p: TailParameters,
) -> NDArray[np.float64]:
    """float64[size]: the probability of each value of the sum, from the highest down, times e^(-tilt * way down)."""
    nodes = np.arange(p.nodes_from, p.nodes_to + p.node / 2, p.node)
    common = strangers.modalities if strangers.modalities > LEAST_CORRELATION else 0.0
    product = np.ones((len(nodes), size // 2 + 1), np.complex128)
    for modality in sorted({q.modality for q in positions}):
        own = [k for k, q in enumerate(positions) if q.modality is modality]
        within = max(common, _within(modality, strangers))
        inside = np.ones_like(product)
        for hand, correlation in _hands([positions[k] for k in own], within, strangers):
            leaf = min(correlation, p.highest_correlation)
            joint = np.ones_like(product)
            spectra: dict[tuple[bytes, bytes], NDArray[np.complex128]] = {}
            for k in (own[i] for i in hand):
                key = (members[k].score.tobytes(), members[k].llr.tobytes())
                if key not in spectra:
                    spectra[key] = members[k].spectrum(leaf, nodes, tilt, size, p)
                joint *= spectra[key]
            inside *= _integrated(joint, nodes, leaf - min(within, leaf))
        product *= _integrated(inside, nodes, within - common)
    centre = np.exp(-0.5 * nodes**2 / common) if common > 0 else (np.abs(nodes) < p.node / 2).astype(np.float64)
    return np.fft.irfft((centre / centre.sum()) @ product, size)


def _within(modality: Modality, strangers: Correlations) -> float:
    """Correlation of positions of one modality that do not share a hand."""
    by_modality = {
        Modality.FINGER: strangers.other_hand,
        Modality.IRIS: strangers.eyes,
        Modality.FACE: strangers.faces,
    }
    return by_modality[modality]


def _hands(positions: Sequence[Position], within: float, strangers: Correlations) -> list[tuple[list[int], float]]:
    """Numbers of the positions of each hand with the correlation in it; other modalities are one group.

    Where a finger is not known it may be of the same hand as any other, so all are taken as of one.
    """
    every = list(range(len(positions)))
    if positions[0].modality is not Modality.FINGER:
        return [(every, within)]
    correlation = max(within, strangers.same_hand)
    if any(q.is_unknown for q in positions):
        return [(every, correlation)]
    right = [k for k in every if not positions[k].is_left_finger]
    left = [k for k in every if positions[k].is_left_finger]
    return [(hand, correlation) for hand in (right, left) if hand]


def _integrated(spectra: NDArray[np.complex128], nodes: NDArray[np.float64], variance: float) -> NDArray[np.complex128]:
    """Takes the mean over a factor that adds ``variance`` to its parent's value, at every value of the parent."""
    if variance <= LEAST_CORRELATION:
        return spectra
    kernel = np.exp(-0.5 * (nodes[None, :] - nodes[:, None]) ** 2 / variance)
    return np.asarray((kernel / kernel.sum(axis=1, keepdims=True)) @ spectra, np.complex128)
