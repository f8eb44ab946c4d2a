"""How large the benchmarks are: full for figures, small for CI, tiny for trying a change to the suites themselves."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sizes:
    """Sizes of one kind of run. All samples are synthetic but the faces of extraction.

    Attributes:
        name: ``full``, ``small`` or ``tiny``.
        fingers, faces, irises: references of the 1:N searches of one modality.
        shortlist_fingers: references of the search of fingers by shortlist alone, which nothing compares exhaustively.
        vectors: references of the scan of finger vectors alone.
        people: subjects of the multimodal searches in one process, each with a finger, a face and an iris.
        prints: fingers, of two impressions each, that are extracted for 1:1 comparison.
        images: samples a round of extraction takes.
        probes: of the batch search of faces.
        rounds: measurements of fast operations; odd, so that the median is one of them.
        slow_rounds: of those that take seconds.
        growth: subjects, each with two fingers, a face and two irises, at which a server's time and memory are
            measured; the last is searched by many clients at once.
        most_people: the same for the benchmarks that are marked slow.
        load_searches, load_seconds: a load has so many searches at the least, and goes on for so long.
        ten_finger_people: subjects with ten fingers, a face and two irises whose memory is measured.
        recorded_people: subjects that are enrolled over gRPC, and that a server starts with from its records.
        soak_seconds, soak_rate: how long people are enrolled while others are searched, and how many a second.
    """

    name: str
    fingers: int
    faces: int
    irises: int
    shortlist_fingers: int
    vectors: int
    people: int
    prints: int
    images: int
    probes: int
    rounds: int
    slow_rounds: int
    growth: tuple[int, ...]
    most_people: int
    load_searches: int
    load_seconds: float
    ten_finger_people: int
    recorded_people: int
    soak_seconds: float
    soak_rate: int


SIZES = {
    sizes.name: sizes
    for sizes in (
        Sizes(
            name="full",
            fingers=20_000,
            faces=1_000_000,
            irises=500_000,
            shortlist_fingers=200_000,
            vectors=500_000,
            people=20_000,
            prints=12,
            images=6,
            probes=256,
            rounds=15,
            slow_rounds=7,
            growth=(100_000, 300_000, 1_000_000),
            most_people=2_000_000,
            load_searches=120,
            load_seconds=60.0,
            ten_finger_people=20_000,
            recorded_people=10_000,
            soak_seconds=600.0,
            soak_rate=100,
        ),
        Sizes(
            name="small",
            fingers=5_000,
            faces=50_000,
            irises=20_000,
            shortlist_fingers=5_000,
            vectors=100_000,
            people=2_000,
            prints=6,
            images=3,
            probes=64,
            rounds=21,
            slow_rounds=5,
            growth=(250, 500, 1_000),
            most_people=1_500,
            load_searches=24,
            load_seconds=2.0,
            ten_finger_people=150,
            recorded_people=250,
            soak_seconds=20.0,
            soak_rate=20,
        ),
        Sizes(
            name="tiny",
            fingers=1_500,
            faces=3_000,
            irises=2_000,
            shortlist_fingers=1_500,
            vectors=3_000,
            people=300,
            prints=3,
            images=1,
            probes=8,
            rounds=5,
            slow_rounds=3,
            growth=(100, 200, 300),
            most_people=400,
            load_searches=16,
            load_seconds=0.5,
            ten_finger_people=40,
            recorded_people=60,
            soak_seconds=3.0,
            soak_rate=10,
        ),
    )
}
