"""Measures the rates of a machine on synthetic people: a minute, two gigabytes, one of them in a temporary file.

Rows of the indexes are copies of a few hundred references, many times over, so that a scan reads more memory than the
processor keeps at hand, as it does among millions. Times are medians of processor time, with one computing thread.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence

import numpy as np

from enrollment.capacity.rates import ModalityRates, Rates
from enrollment.synthesis.face_templates import bulk_face_templates
from enrollment.synthesis.finger_templates import bulk_finger_templates
from enrollment.synthesis.iris_templates import bulk_iris_templates
from matcher.calibration import Calibrations
from matcher.changes import EncounterEnrolled, Reference
from matcher.comparators import index_for
from matcher.finger import index as finger
from matcher.found_subjects import Probe
from matcher.gallery import Gallery
from matcher.gallery_view import ShortlistParameters
from matcher.positions import Modality, Position
from matcher.search import SearchEngine, SearchRequest
from matcher.shards.local import LocalShards
from matcher.templates import Template, template_from_bytes
from matcher.threads import use_threads, workers

PEOPLE = 256
ROWS = 262_144
COMPARED = 1000
LISTED = {
    # So many that they are not put in order behind the scan, which would hide what the scan takes.
    Modality.FINGER: finger.ShortlistParameters().most_looked_at,
    # So few that a search does not compare all of them: that would be no scan.
    Modality.FACE: ShortlistParameters().minimum,
    Modality.IRIS: ShortlistParameters().minimum,
}
"""Length of the lists by which scans are measured."""
_POSITIONS = {
    Modality.FINGER: Position.RIGHT_INDEX,
    Modality.FACE: Position.FACE,
    Modality.IRIS: Position.IRIS_RIGHT,
}


def measure(say: Callable[[str], None] = lambda _: None, people: int = PEOPLE, rows: int = ROWS) -> Rates:
    """Measures; ``workers`` is as it was afterwards.

    Args:
        say: told what is being measured.
        people: synthetic ones.
        rows: of each index.
    """
    threads = workers().count
    use_threads(1)
    try:
        made: dict[Modality, Sequence[Template]] = {
            Modality.FINGER: bulk_finger_templates(people, 1),
            Modality.FACE: bulk_face_templates(people, 1),
            Modality.IRIS: bulk_iris_templates(people, 1),
        }
        checker = Gallery()
        stored = {m: [checker.check(t) for t in some] for m, some in made.items()}
        rates: dict[Modality, ModalityRates] = {}
        for modality, templates in stored.items():
            say(f"{modality}: {rows:,} references")
            rates[modality] = _modality(modality, templates, rows)
        say(f"searches of {people} people")
        candidate = _candidate(stored, rates)
    finally:
        use_threads(threads)
    return Rates(
        "measured on this machine with one thread, synthetic people",
        rates[Modality.FINGER],
        rates[Modality.FACE],
        rates[Modality.IRIS],
        candidate,
    )


def _modality(modality: Modality, templates: Sequence[Template], rows: int) -> ModalityRates:
    data = [template.to_bytes() for template in templates]
    index = index_for(modality, templates[0].algorithm)
    index.append([template_from_bytes(data[0])])  # compiles, loads models
    load = _median(lambda: index.append([template_from_bytes(one) for one in data]), 3) / len(data)
    chosen = np.tile(np.arange(len(data), dtype=np.int64), -(-rows // len(data)))[:rows]
    probe = index.comparator.prepare(templates[0])
    listed = min(LISTED[modality], rows // 2)
    half = index.copy(chosen[: rows // 2]).view()
    less = _median(lambda: half.shortlist([probe], listed), 5)
    view = index.copy(chosen).view()
    more = _median(lambda: view.shortlist([probe], listed), 5)
    # Along a line; noise must not make a scan that costs nothing.
    scan = max(more - less, 0.1 * more) / (rows - rows // 2)
    usual = _median(lambda: view.shortlist([probe], ShortlistParameters().minimum), 5)
    shortlist = max(0.0, usual - scan * rows)
    compared = np.random.default_rng(1).choice(rows, min(rows, COMPARED), replace=False).astype(np.int64)
    compare = _median(lambda: view.compare(probe, compared), 5) / len(compared)
    return ModalityRates(1e6 * scan, 1e6 * shortlist, 1e6 * compare, 1e6 * load)


def _candidate(stored: dict[Modality, list[Template]], rates: dict[Modality, ModalityRates]) -> float:
    """What a subject costs beside scan and comparisons: everybody is a candidate of a gallery as small as this."""
    shards = LocalShards()
    people = list(zip(*stored.values(), strict=True))
    changes = []
    for number, templates in enumerate(people, 1):
        references = [Reference(3 * number + i, _POSITIONS[t.modality], t) for i, t in enumerate(templates)]
        changes.append(EncounterEnrolled(number, f"S-{number:08d}", "1", ("default",), tuple(references)))
    shards.apply(changes, len(changes))
    engine = SearchEngine(shards, Calibrations.load())
    request = SearchRequest(tuple(Probe(_POSITIONS[t.modality], t) for t in people[0]))
    engine.identify(request)
    whole = _median(lambda: engine.identify(request), 5)
    known = sum(len(people) * (rate.scan + rate.compare) for rate in rates.values())  # too few for a shortlist
    return max(1.0, (1e6 * whole - known) / len(people))


def _median(work: Callable[[], object], rounds: int) -> float:
    """Seconds of processor time of this thread, which other work on the machine disturbs least."""
    work()
    taken = []
    for _ in range(rounds):
        began = time.thread_time()
        work()
        taken.append(time.thread_time() - began)
    return statistics.median(taken)
