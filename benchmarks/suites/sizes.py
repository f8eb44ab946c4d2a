"""How large the benchmarks are: full for figures, small for CI, tiny for trying a change to the suites themselves."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class Sizes:
    """Sizes of one kind of run. All samples are synthetic but the faces of extraction.

    Attributes:
        name: ``full``, ``small`` or ``tiny``.
        fingers, faces, irises: references of the 1:N searches of one modality.
        vectors: references of the scan of finger vectors alone.
        people: subjects of the multimodal searches, each with a finger, a face and an iris.
        prints: fingers, of two impressions each, that are extracted for 1:1 comparison.
        images: samples a round of extraction takes.
        probes: of the batch search of faces.
        rounds: measurements of fast operations; odd, so that the median is one of them.
        slow_rounds: of those that take seconds.
    """

    name: str
    fingers: int
    faces: int
    irises: int
    vectors: int
    people: int
    prints: int
    images: int
    probes: int
    rounds: int
    slow_rounds: int


SIZES = {
    sizes.name: sizes
    for sizes in (
        Sizes("full", 20_000, 1_000_000, 500_000, 500_000, 20_000, 12, 6, 64, 15, 7),
        Sizes("small", 5_000, 50_000, 20_000, 100_000, 2_000, 6, 3, 64, 21, 5),
        Sizes("tiny", 1_500, 3_000, 2_000, 3_000, 300, 3, 1, 8, 5, 3),
    )
}
