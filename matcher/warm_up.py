"""Compiles the kernels of searches and enrolments before the first of them comes: that takes longer than callers wait.

numba compiles a kernel for the types and memory layouts of what it is called with. So nothing is listed here: invented
people are enrolled, searched for and compared on the paths that a server takes.
"""

from __future__ import annotations

import functools
import logging
import threading
from pathlib import Path
from time import perf_counter

import numpy as np

from matcher.changes import EncounterEnrolled, Reference
from matcher.comparators import index_for
from matcher.face.comparison import COMPACT_ALGORITHM
from matcher.face.index import FaceIndex, FaceScan, single_probe_scan
from matcher.filters import SearchFilter, Sex
from matcher.finger import index as fingers
from matcher.finger.nearest import VectorSearch
from matcher.finger.parameters import FINGER_ALGORITHM
from matcher.found_subjects import Probe
from matcher.gallery import Gallery
from matcher.gallery_view import ShortlistParameters
from matcher.inner_products import ScanParameters, least_batch
from matcher.iris.parameters import ALGORITHM as IRIS_ALGORITHM
from matcher.iris.parameters import PARAMETERS as IRIS
from matcher.iris.parameters import VERSION as IRIS_VERSION
from matcher.iris.parameters import CodeParameters
from matcher.modality import ReferenceIndex
from matcher.positions import Modality, Position
from matcher.templates import FaceTemplate, FingerTemplate, IrisCode, IrisTemplate, Template

log = logging.getLogger(__name__)

_compiling, _compiled = threading.Lock(), threading.Event()
_PEOPLE = 6
_MINUTIAE = 30
_MOST_TRIED = max(ScanParameters().batches)
_POSITIONS = (Position.RIGHT_INDEX, Position.FINGER_UNKNOWN, Position.FACE, Position.IRIS_LEFT)


def compile_kernels(folder: Path | None = None) -> None:
    """Compiles, or loads from numba's cache, all that a gallery runs; once in a process.

    Args:
        folder: for the mapped files; None for the system's folder of temporary files.

    Raises:
        StorageFailure: the folder takes none.
    """
    with _compiling:
        if not _compiled.is_set():
            _compile(folder)
            _compiled.set()


def _compile(folder: Path | None) -> None:
    log.info("making kernels ready (a minute at the first start after an installation)")
    began = perf_counter()
    rng = np.random.default_rng(0)
    gallery = Gallery(ShortlistParameters(minimum=1), functools.partial(_searched_in_steps, folder))
    people = [[(position, _template(rng, position)) for position in _POSITIONS] for _ in range(_PEOPLE)]
    for number, samples in enumerate(people):
        references = tuple(Reference(0, position, gallery.check(template)) for position, template in samples)
        gallery.apply([EncounterEnrolled(0, str(number), "", (), references, Sex(number % 2))])
    probes = [Probe(position, template) for position, template in people[0]]
    gallery.search(probes)
    gallery.search(probes, SearchFilter(sexes=(Sex.FEMALE,)))
    # Where no batch is faster by it, the matrix product is not used and this many do no harm.
    gallery.search([probe for probe in probes if probe.position is Position.FACE] * min(least_batch(), _MOST_TRIED))
    gallery.compare(probes, "0")
    gallery.compact()
    # It searches more faces than are worth inventing: kernels that only long scans call are compiled by it.
    single_probe_scan()
    taken = perf_counter() - began
    if taken > 1.0:
        log.info("kernels are ready after %.0f s", taken)


def _searched_in_steps(folder: Path | None, modality: Modality, algorithm: str) -> ReferenceIndex:
    """An index that searches a few references as others do many."""
    if modality is Modality.FACE:
        return FaceIndex(algorithm, FaceScan.KERNELS, folder=folder)
    if modality is Modality.FINGER:
        parameters = fingers.ShortlistParameters(looked_at_per_candidate=4, compared_per_candidate=2)
        return fingers.FingerIndex(parameters=parameters, folder=folder, search=VectorSearch.SCAN)
    return index_for(modality, algorithm, folder=folder)


def _template(rng: np.random.Generator, position: Position) -> Template:
    if position.modality is Modality.FACE:
        vector = rng.standard_normal(512).astype(np.float32)
        return FaceTemplate(COMPACT_ALGORITHM, 1, vector / np.linalg.norm(vector))
    if position.modality is Modality.IRIS:
        codes = (_iris_code(rng, code) for code in (IRIS.search, IRIS.verification))
        return IrisTemplate(IRIS_ALGORITHM, IRIS_VERSION, IRIS.search.columns, *codes)
    return FingerTemplate(
        FINGER_ALGORITHM,
        1,
        300,
        300,
        rng.integers(0, 300, _MINUTIAE).astype(np.int16),
        rng.integers(0, 300, _MINUTIAE).astype(np.int16),
        (2 * rng.integers(0, 32768, _MINUTIAE)).astype(np.uint16),
        np.full(_MINUTIAE, 80, np.uint8),
    )


def _iris_code(rng: np.random.Generator, code: CodeParameters) -> IrisCode:
    all_bits = np.full(code.words, np.iinfo(np.uint64).max, np.uint64)
    return IrisCode(rng.integers(0, all_bits, dtype=np.uint64), all_bits)
