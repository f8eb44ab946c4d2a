"""How many independent comparisons a set of comparisons of pairs of subjects is worth.

A subject who is easily mistaken is so in all comparisons of theirs, so these vary together. The design effect is the
variance of their mean over that of as many independent ones (Kish, "Survey Sampling", 1965).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def design_effect(hits: NDArray[np.bool_], subjects: NDArray[np.int64]) -> float:
    """The design effect of a share of hits, >= 1.

    With e_ij the sum of (hit - share) over the comparisons of subjects i and j, and S_i that over all of i, the
    variance is taken as sum(S_i^2) + sum(e_ij^2): what a bootstrap that draws subjects gives on average, each drawn k
    times, k Poisson of mean 1 (Owen, "The pigeonhole bootstrap", Annals of Applied Statistics 2007). Without bias is
    sum(S_i^2) - sum(e_ij^2) (Aronow, Samii & Assenova, "Cluster-robust variance estimation for dyadic data", Political
    Analysis 2015): what varies from pair to pair is counted three times. So it errs to the safe side, most where few
    comparisons are hits, and there the other is itself uncertain.

    Args:
        hits: bool[n]; subjects: int64[n, 2], of each comparison, numbers from 0; the same twice where it is of two body
            parts of one subject.

    Returns:
        1 where all or none are hits.
    """
    share = float(np.mean(hits))
    if not 0 < share < 1:
        return 1.0
    excess = hits - share
    first, second = subjects.min(axis=1), subjects.max(axis=1)
    people = int(second.max()) + 1
    pairs = np.unique(first * people + second, return_inverse=True)[1]
    of_pairs = np.bincount(pairs, excess)
    two = first != second
    of_subjects = np.bincount(first, excess, people) + np.bincount(second[two], excess[two], people)
    variance = float((of_subjects**2).sum() + (of_pairs**2).sum())
    return max(1.0, variance / (len(hits) * share * (1 - share)))
