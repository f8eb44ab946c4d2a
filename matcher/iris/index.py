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
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from matcher.errors import TemplateInvalid
from matcher.iris.comparison import IrisComparator, PreparedIris
from matcher.iris.kernel import LANES, score_blocks, score_rows
from matcher.iris.parameters import ALGORITHM, VERSION
from matcher.iris.storage import IrisStorage
from matcher.modality import ALL_LABELS
from matcher.slots import SlotTable
from matcher.templates import IrisCode, IrisTemplate, Template


class IrisScan(enum.Enum):
    """How a shortlist is chosen."""

    TWO_STAGES = "two-stages"
    """By the beginning of the search code, then by the whole of it."""

    EXACT = "exact"
    """By the whole search code of every reference."""


class IrisIndex:
    """All iris references of a shard; see ``matcher.modality.ReferenceIndex`` for what its methods promise.

    Args:
        comparator: gives the scores.
        scan: how shortlists are chosen.
        folder: where the mapped file of verification codes lies; None for the system's folder of temporary files.
    """

    def __init__(
        self,
        comparator: IrisComparator | None = None,
        scan: IrisScan = IrisScan.TWO_STAGES,
        folder: Path | None = None,
    ) -> None:
        self.comparator = comparator or IrisComparator()
        self.scan = scan
        self._folder = folder
        self._slots = SlotTable()
        self._storage = IrisStorage(self.comparator.parameters, folder)
        self._compile()

    def __len__(self) -> int:
        """How many references are alive."""
        return len(self._slots)

    def check(self, template: Template) -> PreparedIris:
        """The prepared template, when ``apply`` could take it.

        Raises:
            ModelMismatch, TemplateInvalid: as the comparator; TEMPLATE_UNUSABLE where the search code can be compared
                with nothing, so that no shortlist would hold the template, however much the verification code says.
        """
        code = self.comparator.parameters.search
        comparable = int(np.bitwise_count(self.comparator.check(template).search.mask).sum())
        if comparable < code.least_bits:
            raise TemplateInvalid(
                f"{comparable} of {code.bits} bits of the iris template's search code can be compared, so no search "
                "would find it; capture again",
                reason="TEMPLATE_UNUSABLE",
            )
        return self.comparator.prepare(template)

    def complete(self, template: Template) -> Template:
        """The template itself: nothing is kept beside it. See ``ReferenceIndex``.

        Raises:
            ModelMismatch, TemplateInvalid: see ``check``; or no search could find it by its search code.
        """
        code = self.comparator.parameters.search
        comparable = int(np.bitwise_count(self.comparator.check(template).search.mask).sum())
        if comparable < code.least_bits:
            raise TemplateInvalid(
                f"of the iris template's search code {comparable} of {code.bits} bits can be compared, fewer than "
                f"{code.least_bits}, so no search would find it; capture again",
                reason="TEMPLATE_UNUSABLE",
            )
        return template

    def reserve(self, references: int) -> None:
        """See ``ReferenceIndex``."""
        self._storage.reserve(references)

    def apply(self, removals: Sequence[int], additions: Sequence[tuple[int, int, Template]]) -> None:
        """Removes, then adds; nothing is changed when a template is not acceptable.

        Raises:
            ModelMismatch, TemplateInvalid: a template that the comparator does not understand.
            StorageFailure: there is no room for the mapped file.
        """
        templates = [self.comparator.check(template) for _, _, template in additions]
        self._storage.reserve(len(templates))
        self._slots.remove(removals)
        if templates:
            self._slots.append([i for i, _, _ in additions], [labels for _, labels, _ in additions])
            self._storage.append(templates)
        if self._slots.wants_compaction():
            self._compact()

    def shortlist(
        self, probes: Sequence[PreparedIris], count: int, labels: int = ALL_LABELS
    ) -> list[NDArray[np.int64]]:
        """Ids of at most ``count`` references a probe, best search code first, equal scores by id.

        References that cannot be compared with the probe come last.
        """
        selected = self._slots.selected(labels)
        rows = np.flatnonzero(selected).astype(np.int64)
        count = max(0, min(count, len(rows)))
        if count == 0:
            return [np.zeros(0, np.int64) for _ in probes]
        found = []
        for probe in probes:
            worth = rows
            if self.scan is IrisScan.TWO_STAGES and count < len(rows):
                worth = self._worth_comparing(probe, selected, rows, count)
            ids = self._slots.ids[worth]
            found.append(ids[_best(ids, self.compare_search_codes(probe, worth), count)])
        return found

    def compare(self, probe: PreparedIris, references: NDArray[np.int64]) -> NDArray[np.float64]:
        """Raw scores, float64[n]; NaN: unknown id, or not comparable."""
        return self.comparator.compare_rows(probe, self._storage.verification, self._slots.slots(references))

    def compare_search_codes(self, probe: PreparedIris, rows: NDArray[np.int64]) -> NDArray[np.float64]:
        """0.5 - HDnorm of whole search codes, float64[n], by row of this index; NaN: not comparable."""
        code = self.comparator.parameters.search
        scores = np.empty(len(rows), np.float64)
        score_rows(
            probe.search_bits, probe.search_masks, self._storage.search, rows, code.least_bits,
            float(code.reference_bits), scores,
        )  # fmt: skip
        return scores

    def compare_prefixes(self, probe: PreparedIris, selected: NDArray[np.bool_]) -> NDArray[np.float64]:
        """0.5 - HDnorm of the first stage, float64[rows]; -inf where a row is not ``selected``, NaN: not comparable."""
        code = self.comparator.parameters.prefix
        blocks = self._storage.blocks
        wanted = np.zeros(len(blocks) * LANES, np.bool_)
        wanted[: len(selected)] = selected
        scores = np.empty(len(wanted), np.float64)
        score_blocks(
            np.ascontiguousarray(probe.search_bits[:, : code.words]),
            np.ascontiguousarray(probe.search_masks[:, : code.words]),
            blocks, wanted, code.least_bits, float(code.reference_bits), scores,
        )  # fmt: skip
        return scores[: len(selected)]

    def _compact(self) -> None:
        fresh = IrisStorage(self.comparator.parameters, self._folder)
        # Before the rows get new numbers: with no room, all stays as it is.
        fresh.reserve(len(self._slots))
        fresh.copy(self._storage, self._slots.compact())
        self._storage = fresh

    def _compile(self) -> None:
        """Compiles the loops now rather than within the first search."""
        p, none = self.comparator.parameters, np.zeros(0, np.int64)
        search, verification = (
            IrisCode(np.zeros(code.words, np.uint64), np.zeros(code.words, np.uint64))
            for code in (p.search, p.verification)
        )
        nothing = self.comparator.prepare(IrisTemplate(ALGORITHM, VERSION, p.search.columns, search, verification))
        self.compare_prefixes(nothing, np.zeros(0, np.bool_))
        self.compare_search_codes(nothing, none)
        self.compare(nothing, none)

    def _worth_comparing(
        self, probe: PreparedIris, selected: NDArray[np.bool_], rows: NDArray[np.int64], count: int
    ) -> NDArray[np.int64]:
        """Rows for the second stage, ascending.

        All above the threshold, or the ``count`` best where they are fewer; and all that the first stage cannot judge.
        """
        scores = self.compare_prefixes(probe, selected)
        worth = np.flatnonzero(scores >= self.comparator.parameters.prefix_threshold)
        if len(worth) < count:
            worth = rows[_best(self._slots.ids[rows], scores[rows], count)]
        return np.union1d(worth, np.flatnonzero(np.isnan(scores)))


def _best(ids: NDArray[np.int64], scores: NDArray[np.float64], count: int) -> NDArray[np.int64]:
    """Where the ``count`` highest scores stand, best first, equal scores by id, NaN last."""
    ranks = np.where(np.isnan(scores), np.inf, -scores)
    near = np.arange(len(ids))
    if count < len(ids):
        near = np.flatnonzero(ranks <= np.partition(ranks, count - 1)[count - 1])
    return near[np.lexsort((ids[near], ranks[near]))][:count]
