"""1:1 comparison of face embeddings: the inner product of unit vectors, i.e. the cosine of the angle between them.

That is the score for which margin-softmax recognisers are trained (Deng et al., "ArcFace: Additive Angular Margin Loss
for Deep Face Recognition", CVPR 2019, section 2). Raw scores are in -1..1; calibration says what they mean.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from matcher.compiled import relaxed_kernel
from matcher.dot_product import prefetch
from matcher.errors import InvalidInput, ModelMismatch, TemplateInvalid
from matcher.positions import Modality
from matcher.templates import FaceTemplate, Template

COMPACT_ALGORITHM = "face-compact-2"
"""Id of templates made with the compact pack (see ``enrollment/models.py``), the default."""

_LENGTHS = {COMPACT_ALGORITHM: 512}
"""How long the embeddings of known models are; of others, those of one gallery have the length of its first."""

PreparedFace: TypeAlias = NDArray[np.float32]
"""float32[d], exactly unit length (to float32), read-only."""


def cosines(rows: NDArray[np.float32], probe: PreparedFace) -> NDArray[np.float64]:
    """Inner products of a probe with many references.

    Each row is multiplied and summed by itself in float64, so that a row's score does not depend on which
    others are asked for at the same time (a matrix product's last bits do).

    Args:
        rows: float32[n, d].
        probe: float32[d].

    Returns:
        float64[n].
    """
    each = np.arange(len(rows))
    return cosines_of_pairs(rows, probe[None, :], np.zeros(len(rows), np.int64), each)


def cosines_of_pairs(
    rows: NDArray[np.float32],
    probes: NDArray[np.float32],
    numbers: NDArray[np.int64],
    chosen: NDArray[np.int64],
) -> NDArray[np.float64]:
    """``cosines`` of pairs: probe ``numbers[i]`` of float32[p, d] with row ``chosen[i]`` of float32[n, d]."""
    scores = np.empty(len(chosen), np.float64)
    _cosines(rows, rows.view(np.uint8), probes, numbers, chosen, scores)
    return scores


# Sums in another order, as many at once as the processor can: the same order for every row, so that scores depend on
# nothing but the two embeddings and the processor.
@relaxed_kernel("reassoc")
def _cosines(rows: Any, memory: Any, probes: Any, numbers: Any, chosen: Any, scores: Any) -> None:
    for i in range(len(chosen)):
        if i + 1 < len(chosen):
            prefetch(memory[chosen[i + 1]])
        row, probe = rows[chosen[i]], probes[numbers[i]]
        total = 0.0
        for k in range(len(row)):
            total += np.float64(row[k]) * np.float64(probe[k])
        scores[i] = total


class FaceComparator:
    """Compares face templates of one model (a ``matcher.modality.Comparator``). Thread-safe.

    Args:
        algorithm: id of the one model whose templates it takes. Embeddings of two models have nothing in common.
    """

    modality = Modality.FACE

    def __init__(self, algorithm: str = COMPACT_ALGORITHM) -> None:
        self.algorithms = frozenset([algorithm])

    def prepare(self, template: Template) -> PreparedFace:
        """The embedding, scaled to unit length once more (templates may be off by 1e-3).

        Raises:
            ModelMismatch: the template was made by another model.
            TemplateInvalid: its embedding has another length than that model's.
            InvalidInput: it is no face template.
        """
        if template.algorithm not in self.algorithms:
            raise ModelMismatch(
                f"this is a template of {template.algorithm!r}, and faces are compared here by "
                f"{', '.join(sorted(self.algorithms))} only; extract it again from its image with that model"
            )
        if not isinstance(template, FaceTemplate):
            raise InvalidInput(f"a face template is needed; this is a {template.modality} template")
        length = _LENGTHS.get(template.algorithm)
        if length not in (None, len(template.embedding)):
            raise TemplateInvalid(
                f"an embedding of {template.algorithm!r} has {length} numbers, this one {len(template.embedding)}"
            )
        wide = template.embedding.astype(np.float64)
        prepared: PreparedFace = (wide / np.linalg.norm(wide)).astype(np.float32)
        prepared.setflags(write=False)
        return prepared

    def compare(self, probe: PreparedFace, reference: PreparedFace) -> float:
        """Cosine similarity, -1..1, higher is more alike, symmetric.

        Raises:
            ModelMismatch: embeddings of different lengths, which one model cannot have made.
        """
        if probe.shape != reference.shape:
            raise ModelMismatch(
                f"embeddings of {len(probe)} and {len(reference)} numbers cannot come from one model; "
                "extract both again with the configured face pack"
            )
        return float(cosines(reference[None, :], probe)[0])
