"""The shortlist of fingers among very many: how often the mate is on it, and what it costs a subject and core.

Fingers and their mates are synthetic, and so are the hit rates: they tell whether anything is lost with the size of a
gallery; those of real fingers are of ``python -m benchmarks.finger_identification``. A subject has a right and a left
finger, each in an index of its own, as in a gallery.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks.suites.faiss_threads import faiss_threads
from benchmarks.suites.limits import Work, distance, measured_limits
from benchmarks.suites.pairs import Benchmark, Peer, measure
from benchmarks.suites.sizes import Sizes
from benchmarks.worse_impressions import worse_impression
from enrollment.synthesis.finger_templates import STRANGERS, bulk_finger_templates
from matcher.finger.cylinders import PreparedFinger
from matcher.finger.index import FingerIndex, FingerView
from matcher.finger.nearest import VectorSearch
from matcher.gallery_view import ShortlistParameters
from matcher.threads import workers

pytestmark = pytest.mark.search

SEED = 22
HANDS = 2
MATES = 250
"""People who are looked for, to count hits."""
PENETRATION = 0.01
AT_ONCE = 20_000


@dataclasses.dataclass(frozen=True, eq=False)
class People:
    """Subjects by number: row i of each hand's view is of subject i.

    Attributes:
        mates: subjects; probes: of each hand, one of each mate.
    """

    views: list[FingerView]
    mates: list[int]
    probes: list[list[PreparedFinger]]

    @property
    def count(self) -> int:
        """How many."""
        return len(self.views[0])


@pytest.fixture(scope="module")
def people(sizes: Sizes) -> People:
    count, rng = sizes.shortlist_fingers, np.random.default_rng(SEED)
    mates = sorted(rng.choice(count, min(MATES, count), replace=False).tolist())
    views, probes = [], []
    for hand in range(HANDS):
        index, chosen = FingerIndex(), []
        for start in range(0, count, AT_ONCE):
            templates = bulk_finger_templates(
                min(AT_ONCE, count - start), SEED + hand, first=start, parameters=STRANGERS
            )
            index.append(templates)
            chosen += [worse_impression(templates[m - start], rng)[0] for m in mates if 0 <= m - start < len(templates)]
        views.append(index.view())
        probes.append([index.comparator.prepare(template) for template in chosen])
    return People(views, mates, probes)


@pytest.mark.parametrize(("fingers", "together"), [(1, 1), (2, 1), (2, 16)], ids=["one", "two", "two-of-16-people"])
def test_shortlist(benchmark: Benchmark, people: People, sizes: Sizes, fingers: int, together: int) -> None:
    benchmark.group = "finger shortlist"
    count = ShortlistParameters().count(people.count, fingers)
    hit_rate, share = _hits(people, fingers, count)
    at_penetration, _ = _hits(people, fingers, max(1, round(PENETRATION * people.count / fingers)))
    assert at_penetration > 0.9
    searched = [probes[:together] for probes in people.probes[:fingers]]

    def ours() -> list[list[list[int]]]:
        return _shortlists(people.views[:fingers], searched, count)

    by_faiss = [dataclasses.replace(view, search=VectorSearch.FAISS) for view in people.views[:fingers]]

    def with_faiss() -> list[list[list[int]]]:
        with faiss_threads(workers().count):
            return _shortlists(by_faiss, searched, count)

    assert ours() == with_faiss()
    subjects = people.count * together
    measure(
        benchmark,
        ours,
        [
            Peer(
                "faiss-vectors",
                with_faiss,
                subjects,
                "the same shortlists with the same threads: vectors by FAISS's 8-bit quantiser over the same memory "
                "(which divides probes among threads, not rows), then our first look and fast stage",
            )
        ],
        operation=f"subject of {people.count:,}, {fingers} finger{'s' * (fingers > 1)} of {together} at once, "
        f"{count:,} candidates a finger",
        operations=subjects,
        rounds=sizes.slow_rounds,
    )
    seconds = benchmark.extra_info["seconds_per_operation"]
    benchmark.extra_info.update(
        synthetic_hit_rate=hit_rate,
        penetration=share,
        synthetic_hit_rate_at_one_per_cent=at_penetration,
        people_looked_for=len(people.mates),
        microseconds_per_subject_and_core=1e6 * seconds * workers().count,
        limit=distance(
            seconds * subjects, _work(people.views[:fingers], searched, count), measured_limits(workers().count)
        ),
    )


@pytest.mark.parametrize("fingers", [1, 2], ids=["one", "two"])
def test_nearest_vectors(benchmark: Benchmark, people: People, sizes: Sizes, fingers: int) -> None:
    """The first step by itself: 1 % of the subjects by the vectors of their fingers, and how often the mate is there.

    It is what other systems call the index; a search goes on with a first look and the fast stage (``test_shortlist``).
    """
    benchmark.group = "finger shortlist"
    count = max(1, round(PENETRATION * people.count / fingers))
    views, probes = people.views[:fingers], people.probes[:fingers]
    found = [view.nearest(mine, count) for view, mine in zip(views, probes, strict=True)]
    hit_rate, share = _hits_of(people, found)
    assert hit_rate > 0.9
    by_faiss = [dataclasses.replace(view, search=VectorSearch.FAISS) for view in views]

    def nearest(views: list[FingerView]) -> list[list[int]]:
        return [view.nearest(mine[:1], count)[0].tolist() for view, mine in zip(views, probes, strict=True)]

    def with_faiss() -> list[list[int]]:
        with faiss_threads(workers().count):
            return nearest(by_faiss)

    assert nearest(views) == with_faiss()
    answers = "the same, with the same threads: FAISS's 8-bit quantiser over the same memory"
    measure(
        benchmark,
        lambda: nearest(views),
        [Peer("faiss-vectors", with_faiss, people.count, answers)],
        operation=f"subject of {people.count:,}, {fingers} finger{'s' * (fingers > 1)}, {count:,} nearest a finger",
        operations=people.count,
        rounds=sizes.slow_rounds,
    )
    benchmark.extra_info.update(
        synthetic_hit_rate=hit_rate,
        penetration=share,
        people_looked_for=len(people.mates),
        microseconds_per_subject_and_core=1e6 * benchmark.extra_info["seconds_per_operation"] * workers().count,
    )


def _shortlists(views: list[FingerView], probes: list[list[PreparedFinger]], count: int) -> list[list[list[int]]]:
    return [[rows.tolist() for rows in view.shortlist(mine, count)] for view, mine in zip(views, probes, strict=True)]


def _hits(people: People, fingers: int, count: int) -> tuple[float, float]:
    """Share of mates who are on the shortlist of any of their fingers, and the mean share of subjects that are."""
    views = people.views[:fingers]
    return _hits_of(people, [view.shortlist(probes, count) for view, probes in zip(views, people.probes, strict=False)])


def _hits_of(people: People, found: list[list[NDArray[np.int64]]]) -> tuple[float, float]:
    """The same of lists of each finger, a list a mate."""
    on_it, lengths = [], []
    for mate, *lists in zip(people.mates, *found, strict=True):
        union: NDArray[np.int64] = np.unique(np.concatenate(lists))
        on_it.append(mate in union)
        lengths.append(len(union))
    return float(np.mean(on_it)), float(np.mean(lengths)) / people.count


def _work(views: list[FingerView], probes: list[list[PreparedFinger]], count: int) -> Work:
    """Vectors are read once; of each reference that is looked at, and again of each that the fast stage compares, every
    cylinder is compared with each of the probe."""
    total = Work()
    for view, mine in zip(views, probes, strict=True):
        numbers = view.codes.size
        looked_at = min(len(view), view.parameters.looked_at(count))
        compared = min(looked_at, view.parameters.compared(count))
        minutiae = float(np.mean(view.rows.words[view.rows.start[:1000] + 1]))
        words = view.comparator.cylinders.words
        for finger in mine:
            # Where no more are found than the fast stage compares, there is no first look.
            pairs = (compared + looked_at * (looked_at > compared)) * minutiae * len(finger)
            total += Work(looked_at * 8.0 * minutiae * words, float(numbers), pairs * words)
        total += Work(float(view.codes.nbytes))
    return total
