"""IrisIndex and its views against brute force by the slow comparisons: filters, appends under readers, copies."""

from __future__ import annotations

import dataclasses
import math
import threading
from collections.abc import Callable, Iterator

import faiss
import numpy as np
import pytest
from numpy.typing import NDArray

from matcher.errors import ModelMismatch, StorageFailure, TemplateInvalid
from matcher.iris.comparison import IrisComparator
from matcher.iris.index import IrisIndex
from matcher.iris.parameters import PARAMETERS
from matcher.iris.slices import least_agreement, line_constants
from matcher.iris.view import IrisScan
from matcher.modality import Selection
from matcher.templates import FaceTemplate, IrisCode, IrisTemplate, spread_columns
from matcher.threads import use_threads
from tests.matcher.iris.codes import (
    random_template,
    reference_counts,
    reference_search_score,
    second_capture,
    tables,
    template,
)

Templates = list[IrisTemplate]
COMPARATOR = IrisComparator()


@pytest.fixture(params=[1, 2], ids=["one-thread", "two-threads"])
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    use_threads(request.param)
    yield request.param
    use_threads(1)


def ranks_of(probe: IrisTemplate, eyes: Templates, columns: int = PARAMETERS.search.columns) -> list[float]:
    """Minus the search score of every reference, infinite where it cannot be compared."""
    scores = [reference_search_score(probe, eye, columns) for eye in eyes]
    return [math.inf if math.isnan(score) else -score for score in scores]


def chosen_rows(eyes: Templates, selected: Selection) -> list[int]:
    return [i for i in range(len(eyes)) if selected is None or selected[i]]


def exact(probe: IrisTemplate, eyes: Templates, count: int, selected: Selection = None) -> list[int]:
    ranks = ranks_of(probe, eyes)
    return sorted(chosen_rows(eyes, selected), key=lambda i: (ranks[i], i))[:count]


def two_stages(probe: IrisTemplate, eyes: Templates, count: int, selected: Selection = None) -> list[int]:
    """The shortlist by the steps of ``matcher.iris.view``."""
    p, chosen = PARAMETERS, chosen_rows(eyes, selected)
    constants = line_constants(p.prefix, p.prefix_threshold)
    count = min(count, len(chosen))
    quotients = {}
    for i in chosen:
        first, whole = reference_counts(probe, eyes[i], p.prefix_columns), reference_counts(probe, eyes[i])
        unjudged = all(n < p.prefix.least_bits for _, n in first)
        passed = [unjudged or x >= least_agreement((n - x) // 2, constants) for x, n in first]
        comparable = [
            x * abs(x) / n for (x, n), yes in zip(whole, passed, strict=True) if yes and n >= p.search.least_bits
        ]
        if comparable:
            quotients[i] = max(comparable)
    if len(quotients) < count or len(chosen) <= max(4 * count, len(eyes) // 16):
        return exact(probe, eyes, count, selected)
    best = set(sorted(quotients, key=lambda i: (-quotients[i], i))[:count])
    return exact(probe, eyes, count, np.array([i in best for i in range(len(eyes))]))


def by_faiss(probe: IrisTemplate, eyes: Templates, count: int, selected: Selection = None) -> list[int]:
    """What an index that FAISS fills itself finds at some rotation, in the order of the masked comparison."""
    chosen = chosen_rows(eyes, selected)
    index = faiss.IndexBinaryFlat(PARAMETERS.search.bits)
    index.add(np.stack([eyes[i].search.bits for i in chosen]).view(np.uint8))
    _, found = index.search(COMPARATOR.prepare(probe).search_bits.view(np.uint8), min(count, len(chosen)))
    rows = {chosen[k] for k in found.ravel()}
    return exact(probe, eyes, count, np.array([i in rows for i in range(len(eyes))]))


REFERENCE: dict[IrisScan, Callable[[IrisTemplate, Templates, int, Selection], list[int]]] = {
    IrisScan.EXACT: exact,
    IrisScan.TWO_STAGES: two_stages,
    IrisScan.FAISS: by_faiss,
}


def gallery(seed: int, size: int) -> Templates:
    """Masks from nearly nothing to everything."""
    rng = np.random.default_rng(seed)
    return [random_template(rng, float(rng.uniform(0.15, 1.0))) for _ in range(size)]


def index_of(eyes: Templates, scan: IrisScan = IrisScan.TWO_STAGES) -> IrisIndex:
    index = IrisIndex(scan=scan)
    index.append(eyes)
    return index


def equal(a: NDArray[np.int64], b: list[int]) -> bool:
    return a.dtype == np.int64 and a.tolist() == b


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("scan", list(IrisScan))
@pytest.mark.parametrize("count", [1, 7, 150, 1000])
@pytest.mark.parametrize("every", [1, 2, 5])
def test_shortlist_equals_brute_force(scan: IrisScan, count: int, every: int) -> None:
    eyes = gallery(1, 150)
    selected = None if every == 1 else np.arange(150) % every == 0
    rng = np.random.default_rng(2)
    probes = [random_template(rng), second_capture(eyes[20], rng, 5)]
    found = index_of(eyes, scan).view().shortlist([COMPARATOR.prepare(p) for p in probes], count, selected)
    for probe, rows in zip(probes, found, strict=True):
        assert equal(rows, REFERENCE[scan](probe, eyes, count, selected))


def test_more_than_were_asked_for_pass_the_first_stage() -> None:
    """Ten captures of one eye: all of them are compared as a whole, and the best five returned."""
    rng = np.random.default_rng(12)
    eye = random_template(rng, 0.9)
    eyes = gallery(13, 80) + [second_capture(eye, rng, k - 5, 0.1 + 0.02 * k) for k in range(10)]
    found = index_of(eyes).view().shortlist([COMPARATOR.prepare(eye)], 5)[0]
    assert found.tolist() == exact(eye, eyes, 5)
    assert min(found) >= 80


@pytest.mark.parametrize("scan", list(IrisScan))
@pytest.mark.parametrize("size", [63, 64, 65, 129])
def test_equal_scores_are_ordered_by_row_in_either_stage(scan: IrisScan, size: int) -> None:
    """Few different eyes, each on record many times."""
    rng = np.random.default_rng(size)
    nine = [random_template(rng, float(rng.uniform(0.5, 1.0))) for _ in range(9)]
    # The beginnings of all codes are alike, so that the first stage sees one eye only.
    first = spread_columns(PARAMETERS.search.columns)[: PARAMETERS.prefix_columns]
    for k in range(1, 9):
        (bits, mask), verification = tables(nine[k])
        bits[first], mask[first] = tables(nine[0])[0][0][first], tables(nine[0])[0][1][first]
        nine[k] = template((bits, mask), verification)
    eyes = [nine[k] for k in rng.integers(0, 9, size)]
    view = index_of(eyes, scan).view()
    for probe in (random_template(rng), random_template(rng, 0.1)):
        for count in (1, 5, size - 1, size):
            (rows,) = view.shortlist([COMPARATOR.prepare(probe)], count)
            assert equal(rows, REFERENCE[scan](probe, eyes, count, None))


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("count", [1, 100])
def test_far_more_pass_than_are_wanted(count: int) -> None:
    """Few different captures of one eye, each on record many times: what a thread has found is cut down on the way."""
    rng = np.random.default_rng(24)
    eye = random_template(rng, 0.9)
    captures = [second_capture(eye, rng, int(rng.integers(-8, 9)), float(rng.uniform(0.1, 0.35))) for _ in range(30)]
    eyes = [captures[k] for k in rng.integers(0, 30, 9000)]
    selected = rng.random(9000) < 0.9
    view = index_of(eyes).view()
    for chosen in (None, selected):
        (rows,) = view.shortlist([COMPARATOR.prepare(eye)], count, chosen)
        assert equal(rows, two_stages(eye, eyes, count, chosen))


def test_probes_of_one_pass_do_not_disturb_each_other() -> None:
    rng = np.random.default_rng(26)
    eyes = [random_template(rng, 0.8) for _ in range(1100)]
    probes = [COMPARATOR.prepare(second_capture(eyes[i], rng, 2, 0.25)) for i in range(0, 1100, 100)]
    view = index_of(eyes).view()
    together = view.shortlist(probes, 40)
    for probe, rows in zip(probes, together, strict=True):
        assert rows.tolist() == view.shortlist([probe], 40)[0].tolist()
    assert [int(rows[0]) for rows in together] == list(range(0, 1100, 100))


@pytest.mark.parametrize("threshold", [0.06, 0.09, 0.15])
def test_the_first_stage_lets_through_whatever_reaches_its_threshold(threshold: float) -> None:
    code = PARAMETERS.prefix
    constants = line_constants(code, threshold)
    for differing in range(code.bits + 1):
        x = np.arange(1, code.bits + 1 - 2 * differing)
        n = 2 * differing + x
        reaching = x[0.5 * np.sqrt(x * x / n / code.reference_bits) >= threshold]
        least = least_agreement(differing, constants)
        if len(reaching):
            assert least <= reaching[0]
            # Nor much more, where most pairs lie: a standard deviation is 10 to 20.
            where = code.bits // 16 <= differing <= code.bits // 4 and threshold == PARAMETERS.prefix_threshold
            assert not where or reaching[0] - least <= 4


def test_a_mate_whose_first_bits_are_hidden_is_found() -> None:
    rng = np.random.default_rng(16)
    eye = random_template(rng, 1.0)
    hidden = np.zeros((PARAMETERS.search.columns, PARAMETERS.search.column_bits), bool)
    hidden[spread_columns(PARAMETERS.search.columns)[: PARAMETERS.prefix_columns]] = True
    (bits, mask), verification = tables(eye)
    mate = template((bits, mask & ~hidden), verification)
    eyes = [second_capture(eye, rng, 0, 0.3) for _ in range(70)] + [mate]
    (rows,) = index_of(eyes).view().shortlist([COMPARATOR.prepare(mate)], 3)
    assert rows[0] == 70


@pytest.mark.usefixtures("threads")
def test_scores_of_both_stages_equal_the_slow_ones() -> None:
    eyes = gallery(3, 70)
    view = index_of(eyes).view()
    probe = random_template(np.random.default_rng(4), 0.5)
    prepared, rows = COMPARATOR.prepare(probe), np.arange(70)
    whole = [reference_search_score(probe, t) for t in eyes]
    first = [reference_search_score(probe, t, PARAMETERS.prefix_columns) for t in eyes]
    np.testing.assert_array_equal(view.compare_search_codes(prepared, rows), whole)
    np.testing.assert_array_equal(view.compare_prefixes(prepared, rows[::-3]), first[::-3])
    assert 5 < np.isnan(whole).sum() < 65, "some masks must be too small, or the test shows nothing of them"


def test_compare_equals_the_comparator() -> None:
    eyes = gallery(3, 80)
    probe = COMPARATOR.prepare(random_template(np.random.default_rng(4), 0.5))
    rows = np.array([5, *range(80)])
    expected = [COMPARATOR.compare(probe, COMPARATOR.prepare(eyes[i])) for i in rows]
    np.testing.assert_array_equal(index_of(eyes).view().compare(probe, rows), expected)
    assert np.isnan(expected).sum() > 2, "some masks must be too small, or the test shows nothing of them"


@pytest.mark.parametrize("scan", list(IrisScan))
@pytest.mark.parametrize("odd", [0, 1])
def test_every_scan_finds_every_mate_under_a_filter(scan: IrisScan, odd: int) -> None:
    rng = np.random.default_rng(5)
    eyes = [random_template(rng, 0.75) for _ in range(600)]
    selected = np.arange(600) % 2 == odd
    mates = np.flatnonzero(selected)[::12]
    probes = [second_capture(eyes[i], rng, int(rng.integers(-8, 9)), 0.25) for i in mates]
    found = index_of(eyes, scan).view().shortlist([COMPARATOR.prepare(p) for p in probes], 10, selected)
    for mate, rows in zip(mates, found, strict=True):
        assert rows[0] == mate
        assert len(rows) == len(set(rows.tolist())) == 10
        assert selected[rows].all()


@pytest.mark.parametrize("scan", list(IrisScan))
def test_a_view_does_not_see_what_is_appended_later(scan: IrisScan) -> None:
    """Rows are added one by one to a partly filled block, and more than the memory that was reserved at first."""
    eyes = gallery(7, 200)
    index = IrisIndex(scan=scan)
    index.append(eyes[:60])
    before = index.view()
    probe = eyes[59]
    prepared = COMPARATOR.prepare(probe)
    for eye in eyes[60:]:
        index.append([eye])
        assert len(before) == 60
    after = index.view()
    assert (len(index), len(after)) == (200, 200)
    for view, those in ((before, eyes[:60]), (after, eyes)):
        (rows,) = view.shortlist([prepared], 10)
        assert equal(rows, REFERENCE[scan](probe, those, 10, None))


@pytest.mark.parametrize("scan", list(IrisScan))
def test_searches_need_no_lock_while_rows_are_appended(scan: IrisScan) -> None:
    rng = np.random.default_rng(18)
    eyes = [random_template(rng, 0.8) for _ in range(700)]
    prepared = [COMPARATOR.prepare(second_capture(eyes[i], rng, 3)) for i in range(0, 50, 5)]
    index = index_of(eyes[:50], scan)
    done = threading.Event()
    wrong: list[str] = []

    def search() -> None:
        own = index.view()
        expected = own.shortlist(prepared, 7)
        while not done.is_set():
            if any((a != b).any() for a, b in zip(own.shortlist(prepared, 7), expected, strict=True)):
                wrong.append("a view changed")
            for mate, rows in enumerate(index.view().shortlist(prepared, 7)):
                if rows[0] != 5 * mate:
                    wrong.append(f"row {5 * mate} was not found")

    readers = [threading.Thread(target=search) for _ in range(2)]
    for reader in readers:
        reader.start()
    for start in range(50, 700, 3):
        index.append(eyes[start : start + 3])
    done.set()
    for reader in readers:
        reader.join()
    assert not wrong
    assert (
        index.view().shortlist(prepared, 7)[0].tolist()
        == index_of(eyes, scan).view().shortlist(prepared, 7)[0].tolist()
    )


@pytest.mark.parametrize("scan", list(IrisScan))
def test_a_copy_holds_the_rows_asked_for_in_their_order(scan: IrisScan) -> None:
    eyes = gallery(19, 140)
    index = index_of(eyes, scan)
    rows = np.random.default_rng(20).permutation(140)[:90]
    copied = index.copy(rows)
    index.append(gallery(21, 3))
    probe = random_template(np.random.default_rng(22), 0.7)
    prepared = COMPARATOR.prepare(probe)
    assert (len(copied), len(index)) == (90, 143)
    kept = [eyes[i] for i in rows]
    assert equal(copied.view().shortlist([prepared], 30)[0], REFERENCE[scan](probe, kept, 30, None))
    np.testing.assert_array_equal(copied.view().compare(prepared, np.arange(90)), index.view().compare(prepared, rows))
    copied.append(eyes[:5])
    assert (len(copied), len(index)) == (95, 143)


@pytest.mark.parametrize("scan", list(IrisScan))
def test_empty_index_and_empty_request(scan: IrisScan) -> None:
    view = IrisIndex(scan=scan).view()
    probe = COMPARATOR.prepare(random_template(np.random.default_rng(8)))
    assert view.shortlist([probe, probe], 5)[1].tolist() == []
    assert view.compare(probe, np.zeros(0, np.int64)).tolist() == []
    assert len(IrisIndex(scan=scan).copy(np.zeros(0, np.int64))) == 0
    view = index_of(gallery(9, 5), scan).view()
    assert view.shortlist([probe], 0)[0].tolist() == []
    assert view.shortlist([], 5) == []
    assert view.shortlist([probe], 5, np.zeros(5, np.bool_))[0].tolist() == []


def test_a_bad_addition_changes_nothing() -> None:
    index = index_of(gallery(10, 5))
    good = random_template(np.random.default_rng(11))
    bad = IrisTemplate("iris-other", 1, good.columns, good.search, good.verification)
    face = FaceTemplate("face", 1, np.full(64, 0.125, np.float32))
    for other in (bad, face):
        with pytest.raises(ModelMismatch):
            index.append([good, other])
        assert (len(index), len(index.view())) == (5, 5)


def test_memory_is_what_the_project_can_afford() -> None:
    index = index_of(gallery(23, 1) * 2048)
    parts = index.memory()
    assert sum(part.ram for part in parts) <= 656 * 2048
    assert sum(part.mapped for part in parts) >= 2048 * 2048


def test_what_no_search_would_find_is_not_taken_on_record() -> None:
    index = IrisIndex()
    eye = random_template(np.random.default_rng(17), 1.0)
    (bits, mask), verification = tables(eye)
    least = PARAMETERS.search.least_bits
    for shown in (least, least - 1):
        few = np.zeros(mask.size, bool)
        few[:shown] = True
        thin = template((bits, few.reshape(mask.shape)), verification)
        if shown == least:
            assert index.complete([thin], [index.check(thin)])[0] is thin
        else:
            with pytest.raises(TemplateInvalid, match="255 of 2048") as refused:
                index.check(thin)
            assert refused.value.reason == "TEMPLATE_UNUSABLE"


@pytest.fixture
def full_disk(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    def no_room(*_: object) -> None:
        raise OSError(28, "No space left on device")

    return lambda: monkeypatch.setattr("matcher.mapped.os.posix_fallocate", no_room)


def test_afull_disk_changes_nothing(full_disk: Callable[[], None]) -> None:
    index = index_of(gallery(14, 6))
    rng = np.random.default_rng(15)
    probe = COMPARATOR.prepare(random_template(rng))
    before = index.view().shortlist([probe], 10)[0].tolist()
    many = [random_template(rng) for _ in range(1100)]
    full_disk()
    for refused in (lambda: index.append(many), lambda: index.reserve(1100), lambda: index.copy(np.arange(6))):
        with pytest.raises(StorageFailure, match="free disk space"):
            refused()
        assert len(index) == 6
        assert index.view().shortlist([probe], 10)[0].tolist() == before
    index.append(many[:10])
    assert len(index) == 16


@pytest.mark.parametrize("bits", [0, PARAMETERS.search.least_bits - 1])
def test_a_template_that_no_shortlist_would_hold_is_refused(bits: int) -> None:
    """Its verification code compares well, so that a small gallery would find it and a large one would not."""
    whole = random_template(np.random.default_rng(3), 1.0)
    kept = np.packbits(np.arange(PARAMETERS.search.bits) < bits, bitorder="little").view(np.uint64)
    mask = whole.search.mask & kept
    hidden = dataclasses.replace(whole, search=IrisCode(whole.search.bits & mask, mask))
    assert COMPARATOR.compare(COMPARATOR.prepare(hidden), COMPARATOR.prepare(whole)) > 0
    index = IrisIndex()
    index.check(whole)
    with pytest.raises(TemplateInvalid, match="no search would find it") as refused:
        index.check(hidden)
    assert refused.value.reason == "TEMPLATE_UNUSABLE"
