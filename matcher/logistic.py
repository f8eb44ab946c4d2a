"""Logistic regression at a chosen prior: log-likelihood ratios from scores.

Genuine and impostor comparisons are weighted so that together they stand for a prior probability of a match (Brümmer &
du Preez, "Application-independent evaluation of speaker detection", 2006). A low prior spends the fit's care where a
biometric system works: at high ratios, where one impostor in thousands passes.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray


def cross_entropy(genuine: NDArray[np.float64], impostor: NDArray[np.float64], prior: float) -> float:
    """Mean cost in nats of deciding by log-likelihood ratios at a prior (Brümmer's Cllr, weighted): lower is better."""
    odds = math.log(prior / (1 - prior))
    missed = float(np.mean(np.logaddexp(0.0, -(genuine + odds))))
    passed = float(np.mean(np.logaddexp(0.0, impostor + odds)))
    return prior * missed + (1 - prior) * passed


def fit_logistic(
    genuine: NDArray[np.float64], impostor: NDArray[np.float64], prior: float, ridge: float = 1e-3
) -> tuple[float, NDArray[np.float64]]:
    """Log-likelihood ratio = offset + scores @ weights, by damped Newton steps.

    Args:
        genuine, impostor: float64[g, k], float64[n, k], scores of both kinds; finite.
        prior: probability of a match that the two kinds stand for, 0-1.
        ridge: pull of the weights of standardised scores towards 0, as a share of ``prior``.

    Returns:
        The offset and the weights, float64[k].
    """
    values = np.vstack([genuine, impostor])
    mean, spread = impostor.mean(axis=0), np.maximum(impostor.std(axis=0), 1e-9)
    design = np.column_stack([np.ones(len(values)), (values - mean) / spread])
    wanted = np.concatenate([np.ones(len(genuine)), np.zeros(len(impostor))])
    weight = np.concatenate(
        [np.full(len(genuine), prior / len(genuine)), np.full(len(impostor), (1 - prior) / len(impostor))]
    )
    odds = math.log(prior / (1 - prior))
    pull = np.full(design.shape[1], ridge * prior)
    pull[0] = 0.0

    def cost(beta: NDArray[np.float64]) -> float:
        z = design @ beta + odds
        return float(weight @ (np.logaddexp(0.0, z) - wanted * z) + 0.5 * pull @ beta**2)

    beta = np.zeros(design.shape[1])
    now = cost(beta)
    for _ in range(200):
        probability = 0.5 * (1 + np.tanh(0.5 * (design @ beta + odds)))
        gradient = design.T @ (weight * (probability - wanted)) + pull * beta
        hessian = (design * (weight * probability * (1 - probability))[:, None]).T @ design + np.diag(pull)
        hessian += np.eye(len(beta)) * 1e-12
        step = np.linalg.solve(hessian, gradient)
        size = min(1.0, 5.0 / max(float(np.abs(step).max()), 1e-12))
        while size > 1e-8 and cost(beta - size * step) > now:
            size *= 0.5
        beta = beta - size * step
        after = cost(beta)
        if size <= 1e-8 or now - after < 1e-12 * prior:
            break
        now = after
    weights = beta[1:] / spread
    return float(beta[0] - mean @ weights), np.asarray(weights, np.float64)
