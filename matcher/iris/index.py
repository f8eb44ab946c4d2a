"""1:N search of iris codes: an exact scan of every reference, over FAISS storage.

Codes (masked bits zero) lie in a FAISS ``IndexBinaryFlat``, masks beside it. The scan is the comparison itself, so its
shortlist loses nothing. ``IrisScan.FAISS`` lets FAISS choose instead, by the plain Hamming distance of every rotation:
FAISS knows no masks, so that two codes with much hidden seem more alike than they are; what it chose is scored exactly.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from matcher.iris.comparison import IrisComparator, PreparedIris
from matcher.iris.kernel import score_rows
from matcher.modality import ALL_LABELS
from matcher.slots import SlotTable
from matcher.templates import IrisTemplate, Template


class IrisScan(enum.Enum):
    """How a shortlist is chosen."""

    EXACT = "exact"
    """By the masked, normalised comparison with every reference."""

    FAISS = "faiss"
    """By FAISS, unmasked Hamming distance of all rotations; what it finds is then scored exactly."""


class IrisIndex:
    """All iris references of a shard; see ``matcher.modality.ReferenceIndex`` for what its methods promise.

    Args:
        comparator: gives the scores.
        scan: how shortlists are chosen.
    """

    def __init__(self, comparator: IrisComparator | None = None, scan: IrisScan = IrisScan.EXACT) -> None:
        self.comparator = comparator or IrisComparator()
        self.scan = scan
        self._words = self.comparator.parameters.words
        self._slots = SlotTable()
        self._storage = faiss.IndexBinaryFlat(64 * self._words)
        self._codes = _stored_words(self._storage, self._words)
        self._masks = np.zeros((256, self._words), np.uint64)
        # Compiles the kernel now rather than within the first search.
        nothing = np.zeros((self.comparator.parameters.rotations, self._words), np.uint64)
        self._score(PreparedIris(nothing, nothing, 0), np.zeros(0, np.int64))

    def __len__(self) -> int:
        """How many references are alive."""
        return len(self._slots)

    def check(self, template: Template) -> PreparedIris:
        """The prepared template, when ``apply`` could take it; raises ModelMismatch or TemplateInvalid."""
        return self.comparator.prepare(template)

    def complete(self, template: Template) -> Template:
        """The template itself: nothing is kept beside it. See ``ReferenceIndex``."""
        self.check(template)
        return template

    def apply(self, removals: Sequence[int], additions: Sequence[tuple[int, int, Template]]) -> None:
        """Removes, then adds; nothing is changed when a template is not acceptable.

        Raises:
            ModelMismatch, TemplateInvalid: a template that the comparator does not understand.
        """
        templates = [self.comparator.check(template) for _, _, template in additions]
        self._slots.remove(removals)
        if templates:
            self._append(templates, [i for i, _, _ in additions], [labels for _, labels, _ in additions])
        if self._slots.wants_compaction():
            self._compact()

    def shortlist(
        self, probes: Sequence[PreparedIris], count: int, labels: int = ALL_LABELS
    ) -> list[NDArray[np.int64]]:
        """Ids of at most ``count`` references a probe, best score first, equal scores by id.

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
            if self.scan is IrisScan.FAISS and count < len(rows):
                worth = self._nearest_by_faiss(probe, count, selected)
            found.append(_best(self._slots.ids[worth], self._score(probe, worth), count))
        return found

    def compare(self, probe: PreparedIris, references: NDArray[np.int64]) -> NDArray[np.float64]:
        """Raw scores, float64[n]; NaN: unknown id, or not comparable."""
        return self._score(probe, self._slots.slots(references))

    def _score(self, probe: PreparedIris, rows: NDArray[np.int64]) -> NDArray[np.float64]:
        weights = self.comparator.parameters.weights
        return score_rows(probe.bits, probe.masks, self._codes, self._masks, rows, weights)

    def _nearest_by_faiss(self, probe: PreparedIris, count: int, selected: NDArray[np.bool_]) -> NDArray[np.int64]:
        bitmap = np.packbits(selected, bitorder="little")
        selector = faiss.IDSelectorBitmap(len(bitmap), faiss.swig_ptr(bitmap))
        parameters = faiss.SearchParameters()
        parameters.sel = selector
        _, rows = self._storage.search(_as_bytes(probe.bits), count, params=parameters)
        found = np.unique(rows)
        return found[found >= 0].astype(np.int64)

    def _append(self, templates: Sequence[IrisTemplate], ids: Sequence[int], labels: Sequence[int]) -> None:
        start = self._slots.size
        need = start + len(templates)
        if need > len(self._masks):
            grown = np.zeros((max(need, 2 * len(self._masks)), self._words), np.uint64)
            grown[:start] = self._masks[:start]
            self._masks = grown
        self._masks[start:need] = [template.mask for template in templates]
        self._storage.add(_as_bytes(np.stack([template.bits for template in templates])))
        self._codes = _stored_words(self._storage, self._words)
        self._slots.append(ids, labels)

    def _compact(self) -> None:
        keep = self._slots.compact()
        storage = faiss.IndexBinaryFlat(64 * self._words)
        storage.add(_as_bytes(self._codes[keep]))
        masks = np.zeros((max(256, len(keep)), self._words), np.uint64)
        masks[: len(keep)] = self._masks[keep]
        self._masks = masks
        self._codes = _stored_words(storage, self._words)
        self._storage = storage


def _as_bytes(words: NDArray[np.uint64]) -> NDArray[np.uint8]:
    """uint64[n, w] as the uint8[n, 8 w] that FAISS takes."""
    return np.ascontiguousarray(words).view(np.uint8)


def _stored_words(storage: Any, words: int) -> NDArray[np.uint64]:
    """uint64[ntotal, words], a view of what FAISS stores, good until the next ``add`` (which may move the storage)."""
    if storage.ntotal == 0:
        return np.zeros((0, words), np.uint64)
    stored: NDArray[np.uint8] = faiss.rev_swig_ptr(storage.xb.data(), storage.ntotal * storage.code_size)
    return stored.view(np.uint64).reshape(storage.ntotal, words)


def _best(ids: NDArray[np.int64], scores: NDArray[np.float64], count: int) -> NDArray[np.int64]:
    """The ``count`` ids of highest score, best first, equal scores by id, NaN last."""
    ranks = np.where(np.isnan(scores), np.inf, -scores)
    if count < len(ids):
        limit = np.partition(ranks, count - 1)[count - 1]
        near = np.flatnonzero(ranks <= limit)
        ids, ranks = ids[near], ranks[near]
    return ids[np.lexsort((ids, ranks))][:count]
