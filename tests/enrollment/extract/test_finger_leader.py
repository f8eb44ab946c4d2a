"""The rewritten network finds what the published one finds, and is made once."""

from __future__ import annotations

import csv
import itertools
import os
from pathlib import Path
from unittest import mock

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from benchmarks.suites.networks import PublishedLeader
from enrollment.extract import finger_leader_cache, finger_leader_graph
from enrollment.extract.finger_leader import LeaderNetwork, find_model
from enrollment.extract.finger_leader_cache import rewritten_leader
from enrollment.extract.finger_minutiae import Minutiae
from enrollment.images import decode_image
from enrollment.synthesis.finger import synthesise_finger
from matcher.errors import ModalityUnavailable

SHARED = Path(os.environ.get("AMBIS_SHARED", Path(__file__).parents[4] / "shared"))


@pytest.fixture(scope="module")
def rewritten(tmp_path_factory: pytest.TempPathFactory) -> LeaderNetwork:
    return LeaderNetwork(cache=tmp_path_factory.mktemp("leader"))


@pytest.fixture(scope="module")
def published() -> PublishedLeader:
    return PublishedLeader()


def agreement(ours: Minutiae, theirs: Minutiae, distance: float = 3.0, turn: float = 0.1) -> tuple[int, int]:
    """Minutiae of ours with one of theirs at the same place and direction, each used once, and the sum of counts."""
    free = np.ones(len(theirs), np.bool_)
    pairs = 0
    for x, y, direction in zip(ours.x, ours.y, ours.direction, strict=True):
        apart = np.hypot(theirs.x - x, theirs.y - y)
        by = np.abs(np.angle(np.exp(1j * (theirs.direction - direction))))
        fits = np.flatnonzero(free & (apart <= distance) & (by <= turn))
        if len(fits):
            free[fits[apart[fits].argmin()]] = False
            pairs += 1
    return pairs, len(ours) + len(theirs)


def f1(
    images: list[NDArray[np.uint8]], ours: LeaderNetwork, theirs: PublishedLeader, min_quality: float = 0.2
) -> float:
    counts = [
        agreement(
            ours.find(image, min_quality=min_quality, max_count=200),
            theirs.find(image, min_quality=min_quality, max_count=200),
        )
        for image in images
    ]
    pairs, both = np.sum(counts, axis=0)
    assert both > 20 * len(images)
    return float(2 * pairs / both)


def test_the_minutiae_of_synthetic_prints_are_those_of_the_published_network(
    rewritten: LeaderNetwork, published: PublishedLeader
) -> None:
    whole = [synthesise_finger(finger, 0) for finger in (11, 12, 13)]
    # Sizes that need filling up on all sides, and the smallest.
    parts = [whole[0][60:311, 40:301], whole[1][100:260, 80:241]]
    assert f1(whole + parts, rewritten, published) >= 0.995


def test_the_maps_are_those_of_the_published_network(rewritten: LeaderNetwork, published: PublishedLeader) -> None:
    image = synthesise_finger(14, 1)[:320, :288]
    expected = published.maps(image)
    found = rewritten.find(image, min_quality=0.05, max_count=1000)
    quality = np.zeros(image.shape)
    quality[found.y, found.x] = found.quality
    # Which of two equal neighbours is the larger may turn on the last bit: a few pixels may differ, no value.
    differs = np.abs(quality - np.where(expected[..., 3] >= 0.05, expected[..., 3], 0.0)) > 1e-3
    assert differs.sum() <= 2
    same = ~differs[found.y, found.x]
    turned = np.abs(np.angle(np.exp(1j * (expected[found.y, found.x, 1] - found.direction))))
    assert turned[same].max() < 1e-3


def test_an_image_without_minutiae_has_none(rewritten: LeaderNetwork, published: PublishedLeader) -> None:
    blank = np.full((70, 50), 230, np.uint8)
    assert len(published.find(blank, min_quality=0.2, max_count=9)) == 0
    assert len(rewritten.find(blank, min_quality=0.2, max_count=9)) == 0


def test_the_best_are_kept_in_order(rewritten: LeaderNetwork) -> None:
    image = synthesise_finger(15, 0)
    every = rewritten.find(image, min_quality=0.0001, max_count=10_000)
    few = rewritten.find(image, min_quality=0.0001, max_count=7)
    assert len(few) == 7 < len(every)
    assert np.array_equal(few.quality, np.sort(every.quality)[::-1][:7])


def test_real_prints_give_the_published_minutiae(rewritten: LeaderNetwork, published: PublishedLeader) -> None:
    manifest = SHARED / "data" / "manifest.csv"
    if not manifest.is_file():
        pytest.skip("real samples are not here: set AMBIS_SHARED to the folder that holds data/manifest.csv")
    with manifest.open(newline="") as file:
        paths = [row["path"] for row in csv.DictReader(file) if row["modality"] == "finger"]
    images = [decode_image((SHARED / "data" / path).read_bytes(), ppi=500.0).grey for path in paths[5::53]]
    assert len(images) >= 10
    assert f1(images, rewritten, published) >= 0.995


def test_a_convolution_of_doubled_pixels_is_one_of_single_pixels() -> None:
    rng = np.random.default_rng(4)
    small = rng.standard_normal((3, 6, 5))
    kernel = rng.standard_normal((2, 3, 5, 5)).astype(np.float32)
    folded = finger_leader_graph._on_single_pixels(kernel)
    large = np.pad(small.repeat(2, axis=1).repeat(2, axis=2), ((0, 0), (2, 2), (2, 2)))
    windows = np.lib.stride_tricks.sliding_window_view(large, (5, 5), axis=(1, 2))
    expected = np.einsum("chwyx,ncyx->nhw", windows, kernel)
    windows = np.lib.stride_tricks.sliding_window_view(np.pad(small, ((0, 0), (1, 1), (1, 1))), (3, 3), axis=(1, 2))
    places = np.einsum("chwyx,ncyx->nhw", windows, folded).reshape(2, 2, 2, 6, 5)
    assert np.allclose(places.transpose(0, 3, 1, 4, 2).reshape(2, 12, 10), expected, atol=1e-5)


def test_layers_in_a_row_are_their_product() -> None:
    rng = np.random.default_rng(5)
    sizes = [7, 9, 4, 2]
    layers = [
        (rng.standard_normal((a, b)).astype(np.float32), rng.standard_normal(b).astype(np.float32))
        for a, b in itertools.pairwise(sizes)
    ]
    data = rng.standard_normal((11, 7))
    expected = data
    for matrix, bias in layers:
        expected = expected @ matrix + bias
    matrix, bias = finger_leader_graph._in_a_row(layers)
    assert np.allclose(data @ matrix + bias, expected, atol=1e-4)


def test_another_graph_is_refused() -> None:
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "other", [value], [value])
    with pytest.raises(ValueError, match="not the expected LEADER graph"):
        finger_leader_graph.rewrite(helper.make_model(graph).SerializeToString())


def test_a_graph_with_a_changed_layer_is_refused() -> None:
    model = onnx.load_from_string(find_model().read_bytes())
    layer = next(n for n in model.graph.node if n.output[0] == "functional_1/enc1_0_conv_exp_1/BiasAdd:0")
    kernel = next(t for t in model.graph.initializer if t.name == layer.input[1])
    kernel.CopyFrom(numpy_helper.from_array(np.zeros((256, 64, 3, 3), np.float32), kernel.name))
    with pytest.raises(ValueError, match="enc1_0_conv_exp"):
        finger_leader_graph.rewrite(model.SerializeToString())


def test_the_rewritten_graph_is_valid_and_made_once(tmp_path: Path) -> None:
    published = find_model().read_bytes()
    made = rewritten_leader(published, tmp_path / "new")
    onnx.checker.check_model(onnx.load_from_string(made))
    with mock.patch.object(finger_leader_graph, "rewrite", side_effect=AssertionError("made again")):
        assert rewritten_leader(published, tmp_path / "new") == made
    assert [path.suffix for path in (tmp_path / "new").iterdir()] == [".graph"]


@pytest.mark.parametrize("damage", [b"", b"short", None])
def test_a_damaged_graph_is_made_anew(tmp_path: Path, damage: bytes | None) -> None:
    published = find_model().read_bytes()
    made = rewritten_leader(published, tmp_path)
    (kept,) = tmp_path.iterdir()
    whole = kept.read_bytes()
    kept.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]) if damage is None else damage)
    assert rewritten_leader(published, tmp_path) == made
    assert kept.read_bytes() == whole


def test_a_folder_that_cannot_be_written_only_costs_time(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    network = LeaderNetwork(cache=tmp_path / "file" / "leader")
    assert len(network.find(synthesise_finger(16, 0), min_quality=0.2, max_count=60)) > 20


def test_neither_another_source_nor_other_code_meets_an_old_graph(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = finger_leader_cache._name(b"a")
    assert finger_leader_cache._name(b"b") != name
    changed = tmp_path / "finger_leader_graph.py"
    changed.write_text("changed")
    monkeypatch.setattr(finger_leader_cache, "_REWRITER", changed)
    assert finger_leader_cache._name(b"a") != name


def test_the_cache_lies_beside_the_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AMBIS_MODELS", str(tmp_path))
    LeaderNetwork()
    assert len(list((tmp_path / "leader").iterdir())) == 1


def test_a_changed_model_is_refused(tmp_path: Path) -> None:
    copy = tmp_path / "LEADER.onnx"
    copy.write_bytes(find_model().read_bytes() + b"\0")
    with pytest.raises(ModalityUnavailable, match="sha256"):
        LeaderNetwork(copy)


def test_a_missing_package_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ModalityUnavailable, match="make install"):
        LeaderNetwork()
