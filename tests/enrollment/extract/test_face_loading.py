"""Which pack is loaded, that its licence is asked for, and that a described recogniser computes what it should."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper, numpy_helper

from enrollment.demo_faces import people
from enrollment.extract.face import FaceExtractor
from enrollment.extract.face_alignment import align
from enrollment.extract.face_compact import CompactPack
from enrollment.extract.face_loading import load_face_pack
from enrollment.extract.face_onnx import OnnxPack
from enrollment.extract.face_pack import FacePack, unit_sum
from enrollment.images import DecodedImage
from enrollment.models import RECOGNISER, pack_folder
from matcher.errors import ModalityUnavailable, PreconditionFailed
from matcher.templates import FaceTemplate
from tests.enrollment.extract.face_samples import compact_extractor, evaluation_pack, needs_compact_pack
from tests.enrollment.extract.pack_folders import model_id, recogniser, write_pack


def test_a_described_pack_needs_the_compact_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AMBIS_MODELS", str(tmp_path / "none"))
    with pytest.raises(ModalityUnavailable, match="ambis models fetch"):
        load_face_pack(write_pack(tmp_path / "acme", "face-acme-1"))


@needs_compact_pack
def test_loads_each_kind() -> None:
    pack: FacePack = load_face_pack("compact", ())
    assert isinstance(pack, CompactPack)
    assert pack.description.algorithm == pack.algorithm
    assert pack.description.training == "undisclosed"


@needs_compact_pack
def test_a_non_commercial_licence_has_to_be_acknowledged(tmp_path: Path) -> None:
    folder = write_pack(tmp_path, "face-acme-1", {"commercial_use": False, "licence": "research only"})
    acme = load_face_pack(folder).algorithm  # to tell what it is
    assert acme == model_id(folder)
    for acknowledged in ((), ("face-acme-1",)):
        with pytest.raises(PreconditionFailed, match=rf'face_licences_acknowledged = \["{acme}"\]') as refused:
            load_face_pack(folder, acknowledged)
        assert refused.value.reason == "LICENCE_NOT_ACKNOWLEDGED"
        assert "research only" in refused.value.message
    assert load_face_pack(folder, (acme,)).algorithm == acme


@pytest.mark.skipif(evaluation_pack() is None, reason="no evaluation face pack: set AMBIS_SHARED to the shared folder")
def test_an_insightface_pack_has_to_be_acknowledged() -> None:
    folder = evaluation_pack()
    assert folder is not None
    with pytest.raises(PreconditionFailed, match="face_licences_acknowledged") as refused:
        load_face_pack(folder, ())
    assert refused.value.reason == "LICENCE_NOT_ACKNOWLEDGED"
    card = load_face_pack(folder).description
    assert (card.dimension, card.commercial_use, card.training) == (512, False, "undisclosed")
    assert load_face_pack(folder, (card.algorithm,)).algorithm == card.algorithm


@needs_compact_pack
@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"sha256": "0" * 64}, "MODEL_DAMAGED"),
        ({"file": "other.onnx"}, "MODEL_MISSING"),
        ({"dimension": 65}, "FACE_PACK_UNUSABLE"),
        ({"input_size": 128}, "FACE_PACK_UNUSABLE"),
        # Gives no numbers, or no finite ones.
        ({"mean": 1e300}, "FACE_PACK_UNUSABLE"),
        ({"scale": 1e-300}, "FACE_PACK_UNUSABLE"),
    ],
)
def test_a_network_that_is_not_as_described_is_not_loaded(
    tmp_path: Path, changes: dict[str, object], reason: str
) -> None:
    with pytest.raises(ModalityUnavailable) as refused:
        load_face_pack(write_pack(tmp_path, "face-acme-1", changes))
    assert refused.value.reason == reason


@needs_compact_pack
def test_a_network_that_gives_everybody_the_same_is_not_loaded(tmp_path: Path) -> None:
    """Every search would find everybody."""
    model = onnx.load_from_string(recogniser(1))
    model.graph.node[-1].output[0] = "projected"
    model.graph.initializer.append(numpy_helper.from_array(np.ones((1, 64), np.float32), "same"))
    for inputs, output in ((("projected", "projected"), "nothing"), (("nothing", "same"), "y")):
        kind = "Sub" if output == "nothing" else "Add"
        model.graph.node.append(helper.make_node(kind, inputs, [output]))
    folder = write_pack(tmp_path, "face-acme-1", network=model.SerializeToString())
    with pytest.raises(ModalityUnavailable, match="the same for different crops") as refused:
        load_face_pack(folder)
    assert refused.value.reason == "FACE_PACK_UNUSABLE"


@needs_compact_pack
@pytest.mark.parametrize("order", ["RGB", "BGR"])
def test_a_described_recogniser_sees_the_pixels_it_asked_for(tmp_path: Path, order: str) -> None:
    """Against the plain way: warp, transpose, subtract, divide, onnxruntime."""
    side, mean, scale = 160, (100.0, 110.0, 120.0), (50.0, 60.0, 70.0)
    network = recogniser(3, side=side, dimension=64)
    entries = {"input_size": side, "mean": mean, "scale": scale, "channel_order": order}
    pack = load_face_pack(write_pack(tmp_path, "face-acme-1", entries, network=network))
    assert isinstance(pack, OnnxPack)
    image = DecodedImage(people(compact_extractor())[0], None, "image/png")
    template = FaceExtractor(pack).extract(image).template
    assert isinstance(template, FaceTemplate)

    compact = CompactPack(pack_folder())
    box = FaceExtractor(compact).boxes(image)[0]
    crop = align(image.rgb, compact.points(image.rgb, box), pack.alignment)
    assert crop.shape == (side, side, 3)
    session = onnxruntime.InferenceSession(network, providers=["CPUExecutionProvider"])
    outputs = []
    for seen in (crop, crop[:, ::-1]):
        ordered = seen if order == "RGB" else seen[:, :, ::-1]
        planes = np.stack([(ordered[:, :, c] - np.float32(mean[c])) / np.float32(scale[c]) for c in range(3)])
        outputs.append(session.run(None, {"x": np.ascontiguousarray(planes[None], np.float32)})[0])
    assert np.allclose(template.embedding, unit_sum(outputs)[0], atol=1e-6)
    assert template.algorithm == model_id(tmp_path)


@needs_compact_pack
def test_a_real_network_described_by_a_file(tmp_path: Path) -> None:
    """The compact pack's recogniser, as its publisher runs it."""
    entries = {"file": RECOGNISER.name, "sha256": RECOGNISER.sha256, "dimension": 512}
    write_pack(tmp_path, "face-rewrapped-1", {**entries, "scale": 128.0, "channel_order": "BGR"})
    network = (pack_folder() / RECOGNISER.name).read_bytes()
    (tmp_path / RECOGNISER.name).write_bytes(network)
    pack = load_face_pack(tmp_path)
    crop = np.random.default_rng(5).integers(0, 255, (112, 112, 3), dtype=np.uint8)
    session = onnxruntime.InferenceSession(network, providers=["CPUExecutionProvider"])
    planes = np.ascontiguousarray(((crop[:, :, ::-1].astype(np.float32) - 127.5) / 128.0).transpose(2, 0, 1)[None])
    outputs = [session.run(None, {"input": x})[0] for x in (planes, np.ascontiguousarray(planes[..., ::-1]))]
    assert np.allclose(pack.embed(crop).vector, unit_sum(outputs)[0], atol=1e-5)
