"""1:N search of iris codes in two stages: the beginning of every search code, then the whole of those that are like.

Steps of a shortlist:

1. The first 512 bits of the search code, which lie all round the eye, are compared with every reference at every
   rotation, masked and normalised as in the whole comparison (no rotation may be left out: that is what loses mates).
2. References that reach a threshold there, where these are too few the best of the others, and those of whose first
   bits too few can be compared to tell, are compared by the whole search code, which gives their order.

``IrisScan.EXACT`` compares the whole search code with every reference instead; it is the reference that the two stages
are measured by. Neither looks at verification codes: scores (``compare``) come from them.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from matcher.iris.comparison import IrisComparator, PreparedIris
from matcher.iris.kernel import LANES, score_blocks, score_rows
from matcher.iris.storage import IrisRows
from matcher.modality import Selection
from matcher.threads import workers

_LEAST_ROWS = 4096
"""Fewest rows that are worth a thread of their own."""


class IrisScan(enum.Enum):
    """How a shortlist is chosen."""

    TWO_STAGES = "two-stages"
    """By the beginning of the search code, then by the whole of it."""

    EXACT = "exact"
    """By the whole search code of every reference."""


class IrisView:
    """The references of an ``IrisIndex`` at one moment; see ``matcher.modality.IndexView`` for what its methods do.

    Args:
        comparator: gives the scores.
        scan: how shortlists are chosen.
        rows: the references.
    """

    def __init__(self, comparator: IrisComparator, scan: IrisScan, rows: IrisRows) -> None:
        self.comparator = comparator
        self.scan = scan
        self._rows = rows

    def __len__(self) -> int:
        """How many rows it has."""
        return len(self._rows)

    def shortlist(
        self, probes: Sequence[PreparedIris], count: int, selected: Selection = None
    ) -> list[NDArray[np.int64]]:
        """Rows of at most ``count`` references a probe, best search code first, equal scores by row.

        References that cannot be compared with the probe come last.
        """
        rows = np.arange(len(self)) if selected is None else np.flatnonzero(selected)
        if count <= 0:
            rows = rows[:0]
        found = []
        for probe in probes:
            worth = rows
            if self.scan is IrisScan.TWO_STAGES and count < len(rows):
                worth = self._worth_comparing(probe, selected, rows, count)
            found.append(worth[_best(self.compare_search_codes(probe, worth), count)])
        return found

    def compare(self, probe: PreparedIris, rows: NDArray[np.int64]) -> NDArray[np.float64]:
        """Raw scores, float64[n]; NaN: not comparable."""
        return self.comparator.compare_rows(probe, self._rows.verification, rows)

    def compare_search_codes(self, probe: PreparedIris, rows: NDArray[np.int64]) -> NDArray[np.float64]:
        """0.5 - HDnorm of whole search codes, float64[n], by row; NaN: not comparable."""
        code = self.comparator.parameters.search
        scores = np.empty(len(rows), np.float64)

        def score(part: tuple[int, int]) -> None:
            begin, end = part
            score_rows(
                probe.search_bits, probe.search_masks, self._rows.codes, self._rows.masks, rows[begin:end],
                code.least_bits, float(code.reference_bits), scores[begin:end],
            )  # fmt: skip

        workers().map(score, workers().ranges(len(rows), _LEAST_ROWS))
        return scores

    def compare_prefixes(self, probe: PreparedIris, selected: Selection = None) -> NDArray[np.float64]:
        """0.5 - HDnorm of the first stage, float64[rows]; -inf where a row is not ``selected``, NaN: not comparable."""
        code = self.comparator.parameters.prefix
        blocks = self._rows.blocks
        wanted = np.zeros(len(blocks) * LANES, np.bool_)
        wanted[: len(self)] = True if selected is None else selected
        scores = np.empty(len(wanted), np.float64)
        bits, masks = (np.ascontiguousarray(a[:, : code.words]) for a in (probe.search_bits, probe.search_masks))

        def score(part: tuple[int, int]) -> None:
            own = slice(*part)
            lanes = slice(part[0] * LANES, part[1] * LANES)
            score_blocks(
                bits, masks, blocks[own], wanted[lanes], code.least_bits, float(code.reference_bits), scores[lanes]
            )

        workers().map(score, workers().ranges(len(blocks), _LEAST_ROWS // LANES))
        return scores[: len(self)]

    def _worth_comparing(
        self, probe: PreparedIris, selected: Selection, rows: NDArray[np.int64], count: int
    ) -> NDArray[np.int64]:
        """Rows for the second stage, ascending.

        All above the threshold, or the ``count`` best where they are fewer; and all that the first stage cannot judge.
        """
        scores = self.compare_prefixes(probe, selected)
        worth = np.flatnonzero(scores >= self.comparator.parameters.prefix_threshold)
        if len(worth) < count:
            worth = rows[_best(scores[rows], count)]
        return np.union1d(worth, np.flatnonzero(np.isnan(scores)))


def _best(scores: NDArray[np.float64], count: int) -> NDArray[np.int64]:
    """Where the ``count`` highest scores stand, best first, equal scores in ascending order, NaN last."""
    ranks = np.where(np.isnan(scores), np.inf, -scores)
    near = np.arange(len(ranks))
    if 0 < count < len(ranks):
        near = np.flatnonzero(ranks <= np.partition(ranks, count - 1)[count - 1])
    return near[np.argsort(ranks[near], kind="stable")][:count]
