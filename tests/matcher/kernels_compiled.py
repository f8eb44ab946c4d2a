"""A program: what is compiled when a server starts, and what searches and enrolments of every kind add to it.

In a process of its own, where no other test's searches have compiled what the start forgets. Prints JSON.
"""

from __future__ import annotations

import functools
import importlib
import json
import pkgutil
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numba.core.dispatcher import Dispatcher

import matcher
from matcher.calibration import Calibrations
from matcher.changes import EncounterEnrolled, OwnedReference, Reference, SubjectDeleted
from matcher.comparators import Scan, index_for, search_paths
from matcher.errors import AmbisError
from matcher.filters import EVERYBODY, SearchFilter, Sex
from matcher.finger.parameters import FINGER_ALGORITHM
from matcher.found_subjects import Probe
from matcher.gallery import Gallery
from matcher.gallery_view import ShortlistParameters
from matcher.positions import Modality, Position
from matcher.search import SearchEngine, SearchRequest, SearchResult
from matcher.service.server import ServerOptions
from matcher.shards.local import LocalShards
from matcher.templates import FaceTemplate, Template, template_from_bytes
from matcher.threads import use_threads
from tests.matcher.face.embeddings import steep_units
from tests.matcher.finger.prints import random_finger
from tests.matcher.people import FACE, calibrations, iris, line
from tests.matcher.service.running import start

MANY = 10_000
"""People: faces enough for heads and tails of codes, and for thresholds to be raised by exact values; fingers enough
for every step of a search."""
FEW = 1_500
"""People whose faces are searched by codes, and of whose fingers and irises a short shortlist chooses."""


def compiled() -> set[str]:
    """Kernels of ``matcher`` with their signatures, of all that has been compiled or read from numba's cache so far."""
    names = [module.name for module in pkgutil.walk_packages(matcher.__path__, "matcher.")]
    values = {id(v): v for name in names for v in vars(importlib.import_module(name)).values()}
    return {
        f"{kernel.py_func.__module__}.{kernel.py_func.__name__}{signature}"
        for kernel in values.values()
        if isinstance(kernel, Dispatcher)
        for signature in kernel.signatures
    }


def people() -> list[EncounterEnrolled]:
    """Faces as networks make them, or nothing would be rotated; fingers and irises are the same few again and again,
    every other one as it comes from the records."""
    rng = np.random.default_rng(0)
    faces = [FaceTemplate(FACE, 1, row.copy()) for row in steep_units(MANY, 128, 12.0)]
    fingers = _half_read([Gallery().check(random_finger(rng, int(size))) for size in rng.integers(20, 60, 100)])
    irises = _half_read([iris(seed) for seed in range(100)])
    changes = []
    for i, face in enumerate(faces):
        samples = [
            (Position.FACE, face),
            (Position.IRIS_LEFT, irises[i % 100]),
            (Position.RIGHT_INDEX, fingers[i % 99]),
        ]
        if i % 4 == 0:
            samples.append((Position.FINGER_UNKNOWN, fingers[i % 97]))
        references = tuple(Reference(0, *sample) for sample in samples)
        changes.append(EncounterEnrolled(i, f"s{i}", "1", ("default",), references, Sex(1 + i % 2)))
    return changes


def _half_read(made: Sequence[Template]) -> list[Template]:
    return [one if i % 2 else template_from_bytes(one.to_bytes()) for i, one in enumerate(made)]


def probes_for(shards: LocalShards, person: EncounterEnrolled) -> list[Probe]:
    """The person's samples as an enrolment would store them, and some of other positions."""
    made = []
    for one, template in zip(person.references, shards.check([r.template for r in person.references]), strict=True):
        assert not isinstance(template, AmbisError)
        made.append(Probe(one.position, template))
    of = {probe.position: probe.template for probe in made}
    others = (Position.LEFT_INDEX, Position.RIGHT_INDEX), (Position.IRIS_UNKNOWN, Position.IRIS_LEFT)
    return made + [Probe(position, of[own]) for position, own in others]


def search(shards: LocalShards, choices: Sequence[Sequence[Probe]], together: int = 1) -> None:
    """Searches 1:N with each choice of probes, so many at once, and compares 1:1 with one subject."""
    artefacts = [*calibrations(), line(Modality.FINGER, FINGER_ALGORITHM, 2.0, 5.0, 60.0)]
    engine = SearchEngine(shards, Calibrations(artefacts))
    for probes in choices:
        for which in (EVERYBODY, SearchFilter(sexes=(Sex.FEMALE,))):
            found = engine.identify_batch([SearchRequest(tuple(probes), which)] * together)
            assert all(isinstance(one, SearchResult) for one in found)
        engine.verify(probes, "s0")


def use(shards: LocalShards, galleries: Sequence[Gallery], changes: Sequence[EncounterEnrolled]) -> None:
    """Enrols, searches, deletes, compacts and replaces."""
    probes = probes_for(shards, changes[0])
    alone = [[probe] for probe in probes]
    shards.apply(changes[:100], 1)
    search(shards, [probes, *alone])
    shards.reserve([(one.subject_id, r.position, r.template) for one in changes for r in one.references])
    shards.apply(changes, 2)
    search(shards, [probes, *alone])
    search(shards, alone, 5)
    search(shards, [[one for one in probes if one.position is Position.FACE]], 130)
    shards.apply([SubjectDeleted(0, "s1")], 3)
    search(shards, [probes, *alone])
    for gallery in galleries:
        gallery.compact()
    search(shards, [probes])
    kept = [one for one in changes if one.subject_id != "s1"]
    faces = [OwnedReference(one.subject_id, one.encounter_id, one.references[0]) for one in kept]
    shards.replace(Modality.FACE, FACE, [faces], lambda: 4)
    search(shards, [probes])


def galleries(scan: Scan, folder: str, count: int, shortlist: ShortlistParameters) -> list[Gallery]:
    """Empty ones as the server makes them, but for the length of shortlists."""
    make_index = functools.partial(index_for, folder=Path(folder), scan=scan)
    return [Gallery(shortlist, make_index) for _ in range(count)]


def main() -> None:
    """See the module."""
    use_threads(2)
    at_import = compiled()
    with TemporaryDirectory() as folder:
        # The other one measures what is fastest, and compiles something by that.
        start(Path(folder, "data"), ServerOptions(scan=Scan.FAISS)).stop()
        started = compiled()
        changes = people()
        for scan in Scan:
            made = galleries(scan, folder, 2, ShortlistParameters(minimum=20))
            use(LocalShards(2, iter(made).__next__), made, changes[:FEW])
        (gallery,) = galleries(Scan.FASTEST, folder, 1, ShortlistParameters())
        shards = LocalShards(1, lambda: gallery)
        shards.apply(changes, 1)
        probes = probes_for(shards, changes[0])
        search(shards, [probes, *([probe] for probe in probes)])
        search(shards, [[one for one in probes if one.position is Position.FACE]], 130)
    search_paths(Scan.FASTEST)
    print(json.dumps({"start": sorted(started - at_import), "afterwards": sorted(compiled() - started)}))


if __name__ == "__main__":
    main()
