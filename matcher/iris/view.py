"""1:N search of iris codes in two stages: the beginning of every search code, then the whole of those that are like.

Steps of a shortlist:

1. The first 512 bits of the search code, which lie all round the eye, are compared with every reference at every
   rotation (no rotation may be left out: that is what loses mates). A rotation passes where as many bits agree as
   ``slices.least_agreement`` asks, which lets everything through whose score reaches a threshold; and every rotation
   of a reference does of whose first bits too few can be compared to tell at any.
2. References are compared by the whole search code at the rotations that passed. Those with the ``count`` best scores
   are compared at all rotations, which gives their order.
3. Where these are fewer than ``count``, all are compared by the whole search code; and at once where that is quicker:
   where a filter leaves few references, or ``count`` is a large part of them.

``IrisScan.EXACT`` compares the whole search code with every reference instead; it is the reference that the two stages
are measured by. None of this looks at verification codes: scores (``compare``) come from them.

``IrisScan.FAISS`` leaves the choice to FAISS, whose binary indexes know no masks and no rotations: the probe is
searched for once a rotation, among codes whose masked bits are 0. Where the mask of only one of two codes hides a bit,
the bit counts as differing if the other code has a 1 there. So the shortlist has other strangers in it, and a mate seen
behind other lids may be missing; what is found is ordered by the masked comparison as ever.
"""

from __future__ import annotations

import enum
import functools
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from matcher.faiss_views import binary_index, only
from matcher.iris.comparison import IrisComparator, PreparedIris
from matcher.iris.kernel import scan_blocks, score_rows
from matcher.iris.slices import LANE_WORDS, LANES, digits, line_constants, list_planes
from matcher.iris.storage import IrisRows
from matcher.modality import Selection, best, selectable
from matcher.threads import workers

_LEAST_ROWS = 4096
"""Fewest rows that are worth a thread of their own, where their search codes are compared;"""
_LEAST_COMPARED = 256
"""where their verification codes are."""

_SPARSE = 16
"""Where a filter leaves one reference of so many or fewer, the first stage costs more than it saves."""


FEW = 4
"""Where more than one reference of so many is to be found, the first stage may well not let enough through."""


class IrisScan(enum.Enum):
    """How a shortlist is chosen."""

    TWO_STAGES = "two-stages"
    """By the beginning of the search code, then by the whole of it."""

    EXACT = "exact"
    """By the whole search code of every reference."""

    FAISS = "faiss"
    """By FAISS, without masks; the whole search code, masked, gives the order."""


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
        total = selectable(len(self), selected)
        count = min(count, total)
        if count <= 0 or not probes:
            return [np.zeros(0, np.int64) for _ in probes]
        found: Sequence[NDArray[np.int64] | None]
        if self.scan is IrisScan.FAISS:
            found = [self._found_by_faiss(probe, count, selected) for probe in probes]
        elif self.scan is IrisScan.EXACT or total <= max(FEW * count, len(self) // _SPARSE):
            found = [None] * len(probes)
        else:
            found = self._found_in_two_stages(probes, count, selected)
        everyone = None
        shortlists = []
        for probe, rows in zip(probes, found, strict=True):
            if rows is None or len(rows) < count:
                if everyone is None:
                    everyone = np.arange(len(self)) if selected is None else np.flatnonzero(selected)
                rows = everyone
            shortlists.append(rows[best(self.compare_search_codes(probe, rows), count)])
        return shortlists

    def fetch(self, rows: NDArray[np.int64]) -> None:
        """See ``IndexView.fetch``."""
        self._rows.file.fetch_missing(rows, rows + 1)

    def compare(self, probe: PreparedIris, rows: NDArray[np.int64]) -> NDArray[np.float64]:
        """Raw scores, float64[n]; NaN: not comparable."""
        parts = [rows[slice(*part)] for part in workers().ranges(len(rows), _LEAST_COMPARED)]
        compare = functools.partial(self.comparator.compare_rows, probe, self._rows.verification)
        return np.concatenate(workers().map(compare, parts))

    def compare_search_codes(self, probe: PreparedIris, rows: NDArray[np.int64]) -> NDArray[np.float64]:
        """0.5 - HDnorm of whole search codes, float64[n], by row; NaN: not comparable."""
        return self._scores(probe.search_bits, probe.search_masks, rows, prefix=False)

    def compare_prefixes(self, probe: PreparedIris, rows: NDArray[np.int64]) -> NDArray[np.float64]:
        """The same of the part that the first stage looks at."""
        words = self.comparator.parameters.prefix.words
        return self._scores(probe.search_bits[:, :words], probe.search_masks[:, :words], rows, prefix=True)

    def _scores(
        self, bits: NDArray[np.uint64], masks: NDArray[np.uint64], rows: NDArray[np.int64], *, prefix: bool
    ) -> NDArray[np.float64]:
        p = self.comparator.parameters
        code = p.prefix if prefix else p.search
        bits, masks = np.ascontiguousarray(bits), np.ascontiguousarray(masks)
        scores = np.empty(len(rows), np.float64)

        def score(part: tuple[int, int]) -> None:
            own = slice(*part)
            score_rows(
                bits, masks, self._rows.codes, self._rows.masks, rows[own], code.least_bits,
                float(code.reference_bits), scores[own],
            )  # fmt: skip

        workers().map(score, workers().ranges(len(rows), _LEAST_ROWS))
        return scores

    def _found_in_two_stages(
        self, probes: Sequence[PreparedIris], count: int, selected: Selection
    ) -> list[NDArray[np.int64]]:
        """For each probe the rows with the best scores at the rotations that the first stage let through."""
        p, blocks = self.comparator.parameters, self._rows.blocks
        bits, masks = np.stack([q.search_bits for q in probes]), np.stack([q.search_masks for q in probes])
        offsets = np.empty((len(probes), p.rotations, p.prefix.bits + 8), np.int32)
        lengths = np.empty((len(probes), p.rotations), np.int64)
        first = slice(p.prefix.words)
        for k in range(len(probes)):
            list_planes(bits[k, :, first], masks[k, :, first], offsets[k], lengths[k])
        constants = digits([*line_constants(p.prefix, p.prefix_threshold), p.prefix.least_bits])
        wanted = self._wanted(selected)

        def scan(part: tuple[int, int]) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.int64]]:
            begin, end = part
            room = min(4 * count, (end - begin) * LANES) + LANES
            rows = np.empty((len(probes), room), np.int64)
            quotients = np.empty((len(probes), room), np.float64)
            sizes = np.empty(len(probes), np.int64)
            scan_blocks(
                blocks[begin:end], wanted[begin:end], begin * LANES, offsets, lengths, constants, bits, masks,
                self._rows.codes, self._rows.masks, p.search.least_bits, count, rows, quotients, sizes,
            )  # fmt: skip
            return rows, quotients, sizes

        parts = workers().map(scan, workers().ranges(len(blocks), _LEAST_ROWS // LANES))
        found = []
        for k in range(len(probes)):
            rows = np.concatenate([rows[k, : sizes[k]] for rows, _, sizes in parts])
            quotients = np.concatenate([quotients[k, : sizes[k]] for _, quotients, sizes in parts])
            found.append(rows[best(quotients, count)])
        return found

    def _wanted(self, selected: Selection) -> NDArray[np.uint64]:
        """uint64[blocks, LANE_WORDS], a bit for each row that may be found."""
        wanted = np.zeros(len(self._rows.blocks) * LANES // 8, np.uint8)
        if selected is None:
            whole, rest = divmod(len(self), 8)
            wanted[:whole] = 0xFF
            wanted[whole : whole + 1] = (1 << rest) - 1
        else:
            packed = np.packbits(selected, bitorder="little")
            wanted[: len(packed)] = packed
        return wanted.view(np.uint64).reshape(-1, LANE_WORDS)

    def _found_by_faiss(self, probe: PreparedIris, count: int, selected: Selection) -> NDArray[np.int64]:
        """The rows that ``IndexBinaryFlat`` finds for the probe at any rotation, ascending."""
        queries = probe.search_bits.view(np.uint8)

        def search(part: tuple[int, int]) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
            begin, end = part
            index = binary_index(self._rows.codes[begin:end])
            wanted = only(None if selected is None else selected[begin:end])
            distances, found = index.search(queries, min(count, end - begin), params=wanted)
            return distances, np.where(found >= 0, found + begin, -1)

        parts = workers().map(search, workers().ranges(len(self), _LEAST_ROWS))
        distances, found = (np.concatenate(part, axis=1) for part in zip(*parts, strict=True))
        nearest = np.argsort(distances, axis=1, kind="stable")[:, :count]
        rows = np.unique(np.take_along_axis(found, nearest, axis=1))
        return rows[rows >= 0]
