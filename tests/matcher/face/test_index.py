"""The face index against brute force with the comparator: the same rows in the same order, by every scan."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from matcher import inner_products
from matcher.errors import ModelMismatch, StorageFailure, TemplateInvalid
from matcher.face.comparison import COMPACT_ALGORITHM, FaceComparator
from matcher.face.index import FaceIndex, FaceScan, automatic, describe, single_probe_scan
from matcher.face.parameters import FaceIndexParameters
from matcher.mapped import MappedArray
from matcher.modality import IndexView, ReferenceIndex
from matcher.threads import use_threads
from tests.matcher.face.embeddings import FACE_ALGORITHM, face_template, random_units, steep_units

SCANS = list(FaceScan)


@pytest.fixture(autouse=True, params=[1, 2])
def threads(request: pytest.FixtureRequest) -> int:
    use_threads(request.param)
    return int(request.param)


def units(rows: NDArray[np.floating]) -> NDArray[np.float32]:
    scaled: NDArray[np.float32] = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    return scaled


def index_of(rows: NDArray[np.float32], scan: FaceScan = FaceScan.AUTO) -> FaceIndex:
    index = FaceIndex(FACE_ALGORITHM, scan)
    index.append([face_template(row) for row in rows])
    return index


def prepared(rows: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    comparator = FaceComparator(FACE_ALGORITHM)
    return [comparator.prepare(face_template(row)) for row in rows]


def brute_force(
    rows: NDArray[np.float32], probe: NDArray[np.float32], count: int, selected: NDArray[np.bool_] | None
) -> list[int]:
    """The slow and obvious answer: every pair through the comparator, sorted by score and then by row."""
    comparator = FaceComparator(FACE_ALGORITHM)
    scored = [
        (-comparator.compare(probe, reference), row)
        for row, reference in enumerate(prepared(rows))
        if selected is None or selected[row]
    ]
    return [row for _, row in sorted(scored)[:count]]


def check(
    rows: NDArray[np.float32],
    probes: NDArray[np.float32],
    counts: Sequence[int],
    selections: Sequence[NDArray[np.bool_] | None] = (None,),
    view: IndexView | None = None,
) -> None:
    """Every scan agrees with brute force, in batch and one by one."""
    asked = prepared(probes)
    views = [index_of(rows, scan).view() for scan in SCANS] if view is None else [view]
    for selected in selections:
        whole = [brute_force(rows, probe, len(rows), selected) for probe in asked]
        for count in counts:
            expected = [answer[:count] for answer in whole]
            for each in views:
                assert [a.tolist() for a in each.shortlist(asked, count, selected)] == expected
                assert each.shortlist(asked[-1:], count, selected)[0].tolist() == expected[-1]


@pytest.mark.parametrize("total", [1, 7, 1500])
def test_equals_brute_force_with_and_without_filters(total: int) -> None:
    rng = np.random.default_rng(1)
    selections = [None, rng.random(total) < 0.5, rng.random(total) < 0.02, np.zeros(total, np.bool_)]
    check(random_units(total, seed=1), random_units(5, seed=2), [1, 10, 200, total, total + 5], selections)


@pytest.mark.parametrize("dimension", [64, 100, 512, 1100, 4096])
def test_equals_brute_force_for_any_length_of_embeddings(dimension: int) -> None:
    check(random_units(1200, dimension, seed=3), random_units(3, dimension, seed=4), [1, 50])


def test_a_batch_by_onnxruntime_equals_brute_force(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inner_products, "least_batch", lambda: 1)
    check(random_units(1300, seed=5), random_units(40, seed=6), [20], [None, np.arange(1300) % 3 > 0])


def test_equals_a_float64_product_on_many_rows_and_long_shortlists() -> None:
    rows, probes = random_units(60_000, seed=7), random_units(3, seed=8)
    selected = np.random.default_rng(9).random(len(rows)) < 0.7
    scores = probes.astype(np.float64) @ rows.astype(np.float64).T
    for scan in SCANS:
        view = index_of(rows, scan).view()
        for count, wanted in ((50, None), (1000, selected), (20_000, selected), (20_000, None)):
            some = np.arange(len(rows)) if wanted is None else np.flatnonzero(wanted)
            for found, line in zip(view.shortlist(prepared(probes), count, wanted), scores, strict=True):
                best = some[np.argsort(-line[some], kind="stable")[:count]]
                # The two float64 sums may differ in their last bits, and with them the order of neighbours.
                assert len(set(found.tolist())) == count
                np.testing.assert_allclose(line[found], line[best], rtol=0, atol=1e-7)
                np.testing.assert_allclose(np.sort(line[found])[::-1], line[best], rtol=0, atol=1e-7)


def test_embeddings_with_a_spectrum_and_mates_equal_brute_force() -> None:
    """As networks make them: a few directions hold most of the variance, and people have several captures."""
    rng = np.random.default_rng(10)
    people = rng.standard_normal((400, 128)) * np.exp(-np.arange(128) / 20)
    rows = units(np.repeat(people, 4, axis=0) + 0.05 * rng.standard_normal((1600, 128)))
    check(rows, units(people[:4] + 0.05 * rng.standard_normal((4, 128))), [1, 4, 30])


@pytest.mark.parametrize("copies", [5, 1500])
def test_ties_are_in_ascending_order_of_rows_also_at_the_cut(copies: int) -> None:
    base, twin = random_units(600, seed=11), random_units(1, seed=12)
    rows = np.concatenate([base[:300], np.repeat(twin, copies, axis=0), base[300:]])
    check(rows, np.concatenate([base[:1], twin]), [1, 3, 20, 400])


def test_rows_that_differ_in_their_last_bits_equal_brute_force() -> None:
    """Nearer to each other than codes, and float32 scores, can tell."""
    rng = np.random.default_rng(13)
    rows = units(random_units(1, seed=14) + 1e-7 * rng.standard_normal((1500, 64)))
    check(rows, np.concatenate([rows[:1], random_units(1, seed=15), -rows[:1]]), [1, 10, 300])


def test_vectors_with_one_large_component_equal_brute_force() -> None:
    """Their codes say little: a number that fits into no step, first, last, or in all of them."""
    spikes = units(np.eye(64)[np.arange(1400) % 64] + 0.01 * random_units(1400, seed=16))
    plain = random_units(1400, seed=17)
    probes = np.concatenate([spikes[:2], plain[:2], units(np.eye(64)[:1])])
    check(spikes, probes, [1, 50])
    check(np.concatenate([spikes[:1], plain]), probes, [1, 50])
    check(np.concatenate([plain, spikes[:3], plain[:5]]), probes, [1, 50])


def test_appended_one_by_one_behind_an_unlike_first_row_equals_brute_force() -> None:
    rows = np.concatenate([units(np.eye(64)[:1]), random_units(1200, seed=18)])
    for scan in SCANS:
        index = FaceIndex(FACE_ALGORITHM, scan)
        for row in rows[:5]:
            index.append([face_template(row)])
        index.append([face_template(row) for row in rows[5:]])
        check(rows, random_units(2, seed=19), [1, 40], view=index.view())


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.integers(0, 2**32 - 1), st.integers(64, 90), st.integers(1, 60), st.integers(0, 70), st.sampled_from([0, 1, 8])
)
def test_equals_brute_force_for_any_rows(seed: int, dimension: int, total: int, count: int, power: int) -> None:
    """The higher the power, the fewer components have most of the length."""
    rng = np.random.default_rng(seed)
    drawn = rng.standard_normal((total + 2, dimension)) ** (2 * power + 1)
    rows = units(drawn + 1e-3 * rng.standard_normal(drawn.shape))
    rows[rng.integers(0, total, 5)] = rows[0]
    parameters = FaceIndexParameters(flat_rows=0)
    selected = rng.random(total) < 0.8
    probes = prepared(rows[-2:])
    expected = [brute_force(rows[:-2], probe, count, selected) for probe in probes]
    for scan in SCANS:
        index = FaceIndex(FACE_ALGORITHM, scan, parameters)
        index.append([face_template(row) for row in rows[:-2]])
        assert [a.tolist() for a in index.view().shortlist(probes, count, selected)] == expected


def check_with_heads(rows: NDArray[np.float32], probes: NDArray[np.float32], counts: Sequence[int], head: int) -> None:
    """Every scan agrees with brute force, where a head of this length is found."""
    parameters = FaceIndexParameters(flat_rows=0, least_rotated=1000)
    selections = [None, np.random.default_rng(1).random(len(rows)) < 0.6]
    for scan in SCANS:
        index = FaceIndex(FACE_ALGORITHM, scan, parameters)
        index.append([face_template(row) for row in rows])
        view = index.view()
        assert view.numbers_scanned == head
        check(rows, probes, counts, selections, view)


@pytest.mark.parametrize("multiplier", ["loop", "onnxruntime"])
@pytest.mark.parametrize(("decay", "head"), [(8, 64), (30, 128), (200, 300)])
def test_searches_of_heads_equal_brute_force(
    decay: float, head: int, multiplier: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of steep spectra and of flat ones, where there is no head; probes of any."""
    monkeypatch.setattr(inner_products, "least_batch", lambda: 1 if multiplier == "onnxruntime" else 10**9)
    rows = steep_units(1500, 300, decay=decay, seed=41)
    probes = np.concatenate([steep_units(2, 300, decay=decay, seed=42), random_units(1, 300, seed=43), rows[7:8]])
    check_with_heads(rows, probes, [1, 50, 1000], head)


def test_searches_of_heads_equal_brute_force_for_ties_and_vectors_unlike_the_others() -> None:
    base = steep_units(1400, 256, decay=15, seed=44)
    odd = np.concatenate([random_units(20, 256, seed=45), np.eye(256, dtype=np.float32)[:5]])
    rows = np.concatenate([base[:700], odd, np.repeat(base[5:6], 90, axis=0), base[700:]])
    near = units(np.repeat(base[6:7], 80, axis=0) + 1e-7 * np.random.default_rng(46).standard_normal((80, 256)))
    check_with_heads(np.concatenate([rows, near]), np.concatenate([base[5:7], odd[:1], odd[-1:]]), [1, 60, 200], 64)


def test_long_shortlists_by_heads_equal_a_float64_product() -> None:
    rows, probes = steep_units(40_000, 192, decay=20, seed=47), steep_units(3, 192, decay=20, seed=48)
    scores = probes.astype(np.float64) @ rows.astype(np.float64).T
    for scan in SCANS:
        index = index_of(rows, scan)
        assert index.view().numbers_scanned == 64
        for count in (50, 1000, 20_000):
            for found, line in zip(index.view().shortlist(prepared(probes), count), scores, strict=True):
                assert len(set(found.tolist())) == count
                np.testing.assert_allclose(line[found], np.sort(line)[::-1][:count], rtol=0, atol=1e-7)


def test_a_head_is_found_when_there_are_enough_rows_and_views_keep_what_they_have() -> None:
    rows, probes = steep_units(1500, 128, decay=8, seed=49), prepared(steep_units(2, 128, decay=8, seed=50))
    index = FaceIndex(FACE_ALGORITHM, FaceScan.KERNELS, FaceIndexParameters(least_rotated=1000))
    views = []
    for start in range(0, len(rows), 300):
        index.reserve(300)
        index.append([face_template(row) for row in rows[start : start + 300]])
        views.append(index.view())
    assert [view.numbers_scanned for view in views] == [128, 128, 128, 64, 64]
    for number, view in enumerate(views, start=1):
        found = [answer.tolist() for answer in view.shortlist(probes, 20)]
        assert found == [brute_force(rows[: 300 * number], probe, 20, None) for probe in probes]
    assert index.memory()[0].ram == 1500 * (128 + 8)
    assert index.copy(np.arange(400)).view().numbers_scanned == 128
    assert index.copy(np.arange(1200)).view().numbers_scanned == 64


def test_an_index_and_a_copy_with_more_rows_than_are_looked_at_have_heads() -> None:
    assert FaceIndexParameters().fitted_on >= FaceIndexParameters().least_rotated
    index = index_of(steep_units(9000, 128, decay=8, seed=51))
    assert index.view().numbers_scanned == 64
    assert index.copy(np.arange(8999)).view().numbers_scanned == 64


def test_a_view_does_not_see_what_is_appended_later() -> None:
    rows, probe = random_units(2000, seed=20), prepared(random_units(1, seed=21))
    index: ReferenceIndex = FaceIndex(FACE_ALGORITHM)
    views = []
    for start in range(0, len(rows), 400):
        index.append([face_template(row) for row in rows[start : start + 400]])
        views.append(index.view())
    assert len(index) == len(rows)
    for number, view in enumerate(views, start=1):
        assert len(view) == 400 * number
        assert view.shortlist(probe, 15)[0].tolist() == brute_force(rows[: 400 * number], probe[0], 15, None)


def test_a_copy_has_the_rows_asked_for_in_that_order() -> None:
    rows, probes = random_units(1500, seed=22), random_units(3, seed=23)
    index = index_of(rows)
    chosen = np.random.default_rng(24).permutation(1500)[:1200]
    copy = index.copy(chosen)
    index.append([face_template(row) for row in rows[:10]])
    assert len(copy) == 1200
    check(rows[chosen], probes, [1, 30], view=copy.view())
    copy.append([face_template(row) for row in rows[:10]])
    check(np.concatenate([rows[chosen], rows[:10]]), probes, [30], view=copy.view())
    assert len(index.copy(np.zeros(0, np.int64))) == 0
    assert len(FaceIndex(FACE_ALGORITHM).copy(np.zeros(0, np.int64))) == 0


def test_compare_equals_the_comparator_bit_for_bit() -> None:
    rows = random_units(300, 512, seed=25)
    index = index_of(rows)
    probe = prepared(random_units(1, 512, seed=26))[0]
    chosen = np.array([299, 0, 7, 7], np.int64)
    references = prepared(rows)
    expected = [index.comparator.compare(probe, references[row]) for row in chosen]
    assert index.view().compare(probe, chosen).tolist() == expected


def test_an_empty_index_answers() -> None:
    index = FaceIndex(FACE_ALGORITHM)
    probe = prepared(random_units(1, seed=27))[0]
    for each in (index, index.copy(np.zeros(0, np.int64))):
        assert len(each) == len(each.view()) == 0
        assert each.dimension is None
        assert [a.tolist() for a in each.view().shortlist([probe, probe], 10)] == [[], []]
        assert each.view().compare(probe, np.zeros(0, np.int64)).tolist() == []
        assert each.view().shortlist([], 10) == []
    index.append([])
    index.reserve(100)
    assert (len(index), index.dimension) == (0, None)
    assert [a.tolist() for a in index.view().shortlist([probe], 10)] == [[]]


def test_other_models_and_lengths_are_refused_and_change_nothing() -> None:
    rows = random_units(20, seed=28)
    index = index_of(rows)
    good = face_template(random_units(1, seed=29)[0])
    other = face_template(random_units(1)[0], algorithm="face-insightface-0123456789ab")
    longer = face_template(random_units(1, 128)[0])
    for bad in (other, longer):
        with pytest.raises(ModelMismatch):
            index.append([good, bad])
        with pytest.raises(ModelMismatch):
            index.check(bad)
    with pytest.raises(TemplateInvalid):
        FaceIndex(COMPACT_ALGORITHM).check(face_template(random_units(1)[0], algorithm=COMPACT_ALGORITHM))
    assert index.complete([good], [index.check(good)])[0] is good
    check(rows, random_units(1, seed=29), [5], view=index.view())
    probe = prepared(random_units(1, 128))[0]
    with pytest.raises(ModelMismatch):
        index.view().shortlist([probe], 3)
    with pytest.raises(ModelMismatch):
        index.view().compare(probe, np.array([1]))


@pytest.mark.parametrize("first", [True, False])
def test_a_full_disk_refuses_the_rows_and_changes_nothing(first: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = random_units(1200, seed=30)
    index = FaceIndex(FACE_ALGORITHM) if first else index_of(rows[:1000])
    held = len(index)

    def full(array: MappedArray[np.float32], count: int) -> None:
        raise StorageFailure("no room", reason="DISK_FULL")

    with monkeypatch.context() as patched:
        patched.setattr(MappedArray, "reserve", full)
        with pytest.raises(StorageFailure):
            index.reserve(200)
        with pytest.raises(StorageFailure):
            index.append([face_template(row) for row in rows[held:]])
    assert len(index) == held
    index.reserve(200)
    index.append([face_template(row) for row in rows[held:]])
    check(rows, random_units(1, seed=31), [20], view=index.view())


def test_memory_is_counted() -> None:
    index = index_of(random_units(2000, 512, seed=32))
    uses = {use.name: use for use in index.memory()}
    assert uses["codes"].ram == 2000 * 516
    assert uses["exact vectors"].mapped >= 2000 * 2048
    assert FaceIndex(FACE_ALGORITHM).memory() == []


def test_what_searches_is_chosen_by_size_and_measurement() -> None:
    parameters = FaceIndexParameters()
    assert automatic(parameters.flat_rows, 1, parameters) is FaceScan.FAISS
    assert automatic(10**6, 50, parameters) is FaceScan.KERNELS
    assert automatic(10**6, 1, parameters) is single_probe_scan()[0]
    assert single_probe_scan()[0] in (FaceScan.KERNELS, FaceScan.FAISS_CODES)
    assert "M faces/s" in describe()
