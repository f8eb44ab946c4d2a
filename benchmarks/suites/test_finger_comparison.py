"""The stages of the finger comparison apart: the fast one, both on every pair, and cylinders from minutiae.

``test_finger.py`` compares impressions as a search does, where most strangers stop at the fast stage.
"""

from __future__ import annotations

import dataclasses
import io

import nbis
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from benchmarks.suites.finger_peers import numpy_relaxed
from benchmarks.suites.limits import Work, distance, measured_limits
from benchmarks.suites.pairs import Benchmark, Peer, measure
from benchmarks.suites.sizes import Sizes
from enrollment.synthesis.finger import synthesise_finger
from enrollment.synthesis.finger_templates import bulk_finger_templates, vary
from matcher.finger.comparison import FingerComparator
from matcher.finger.cylinders import PreparedFinger
from matcher.finger.evidence import PairModel
from matcher.finger.rows import FingerRows, rows_of
from matcher.templates import FingerTemplate

SEED = 21
REFERENCES = 400
BY_NUMPY = 20


@dataclasses.dataclass(frozen=True, eq=False)
class Pairs:
    """Minutiae sets in bulk: a probe, its mate among the first of ``templates``, and strangers."""

    comparator: FingerComparator
    templates: list[FingerTemplate]
    prepared: list[PreparedFinger]
    rows: FingerRows
    probe: PreparedFinger

    @property
    def slots(self) -> NDArray[np.int64]:
        """All of them."""
        return np.arange(len(self.templates), dtype=np.int64)


@pytest.fixture(scope="module")
def pairs() -> Pairs:
    comparator, templates = FingerComparator(), bulk_finger_templates(REFERENCES, SEED)
    prepared = [comparator.prepare(template) for template in templates]
    return Pairs(comparator, templates, prepared, rows_of(prepared), comparator.prepare(vary(templates[0], 1)))


@pytest.fixture(scope="module")
def strangers(sizes: Sizes) -> list[nbis.Minutiae]:
    settings = nbis.NbisExtractorSettings(
        min_quality=0.0, get_center=False, check_fingerprint=False, compute_nfiq2=False, ppi=500.0
    )
    mindtct = nbis.new_nbis_extractor(settings)
    found = []
    for finger in range(sizes.prints):
        stream = io.BytesIO()
        Image.fromarray(synthesise_finger(SEED + finger, 0)).save(stream, "PNG", dpi=(500, 500))
        found.append(mindtct.extract_minutiae(stream.getvalue()))
    return found


def test_fast_stage(benchmark: Benchmark, pairs: Pairs, strangers: list[nbis.Minutiae], sizes: Sizes) -> None:
    benchmark.group = "finger 1:1 stages"

    def ours() -> NDArray[np.float64]:
        return pairs.comparator.relaxed_rows(pairs.probe, pairs.rows, pairs.slots)

    def with_numpy() -> list[float]:
        return [numpy_relaxed(pairs.probe, f, pairs.comparator.comparison) for f in pairs.prepared[:BY_NUMPY]]

    assert np.argmax(ours()) == 0
    assert ours()[:BY_NUMPY] == pytest.approx(with_numpy(), rel=1e-4, abs=2e-6)
    measure(
        benchmark,
        ours,
        [
            Peer("numpy", with_numpy, BY_NUMPY, "the same scores to 1e-4: the same steps in plain numpy"),
            _bozorth3(strangers),
        ],
        operation="comparison of two minutiae sets by the fast stage, cylinders at hand",
        operations=REFERENCES,
        rounds=sizes.slow_rounds,
    )
    _add_limit(benchmark, pairs)


def test_both_stages(benchmark: Benchmark, pairs: Pairs, strangers: list[nbis.Minutiae], sizes: Sizes) -> None:
    benchmark.group = "finger 1:1 stages"
    everybody = FingerComparator(model=dataclasses.replace(PairModel.load(), gate=1e-9))

    def ours() -> NDArray[np.float64]:
        return everybody.compare_rows(pairs.probe, pairs.rows, pairs.slots)

    gated = pairs.comparator.compare_rows(pairs.probe, pairs.rows, pairs.slots)
    assert np.argmax(ours()) == np.argmax(gated) == 0
    assert np.array_equal(ours()[gated >= 1], gated[gated >= 1])
    measure(
        benchmark,
        ours,
        [_bozorth3(strangers)],
        operation="comparison of two minutiae sets with all features, cylinders at hand",
        operations=REFERENCES,
        rounds=sizes.slow_rounds,
    )
    _add_limit(benchmark, pairs)


def test_cylinders(benchmark: Benchmark, pairs: Pairs, strangers: list[nbis.Minutiae], sizes: Sizes) -> None:
    benchmark.group = "finger 1:1 stages"
    count = 50

    def ours() -> list[PreparedFinger]:
        return [pairs.comparator.prepare(template) for template in pairs.templates[:count]]

    assert all(np.array_equal(a.bits, b.bits) for a, b in zip(ours(), pairs.prepared, strict=False))
    measure(
        benchmark,
        ours,
        [_bozorth3(strangers)],
        operation="template to cylinders; beside it one comparison of bozorth3, which prepares nothing",
        operations=count,
        rounds=sizes.slow_rounds,
    )


def _add_limit(benchmark: Benchmark, pairs: Pairs) -> None:
    """Comparisons a second, and the limit: every cylinder of the probe is compared with every one of a reference."""
    seconds = benchmark.extra_info["seconds_per_operation"]
    words = len(pairs.probe) * float(np.mean([len(f) for f in pairs.prepared])) * pairs.probe.bits.shape[1]
    benchmark.extra_info.update(
        comparisons_per_second_and_core=1.0 / seconds,
        limit=distance(seconds, Work(counted_words=words), measured_limits(1)),
    )


def _bozorth3(minutiae: list[nbis.Minutiae]) -> Peer:
    strangers = [(a, b) for i, a in enumerate(minutiae) for b in minutiae[:i]]

    def call() -> None:
        for a, b in strangers:
            a.compare(b)

    return Peer(
        "bozorth3", call, len(strangers), "other minutiae: mindtct's of synthetic prints, every pair of strangers"
    )
