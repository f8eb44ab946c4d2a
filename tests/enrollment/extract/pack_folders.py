"""Face packs made on the spot: a tiny linear recogniser with the ``pack.toml`` that describes it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from enrollment.extract.face_description import read_pack_file

_CELLS = 8


def recogniser(seed: int, *, side: int = 112, dimension: int = 64) -> bytes:
    """ONNX bytes: the crop averaged to 8 x 8 cells, and a random projection of these, other for each seed."""
    weights = np.random.default_rng(seed).normal(0, 1, (3 * _CELLS * _CELLS, dimension)).astype(np.float32)
    weights -= weights.mean(axis=0)  # blind to brightness, so that two faces are not alike for being bright
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, side, side])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, dimension])
    cell = side // _CELLS
    nodes = [
        helper.make_node("AveragePool", ["x"], ["pooled"], kernel_shape=[cell, cell], strides=[cell, cell]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("MatMul", ["flat", "weights"], ["y"]),
    ]
    graph = helper.make_graph(nodes, "tiny", [x], [y], [numpy_helper.from_array(weights, "weights")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def write_pack(
    folder: Path,
    name: str,
    changes: Mapping[str, object] | None = None,
    *,
    seed: int = 1,
    network: bytes | None = None,
) -> Path:
    """A folder with a recogniser (that of the seed when left out) and its ``pack.toml``; ``changes`` replace entries,
    None leaves one out."""
    folder.mkdir(parents=True, exist_ok=True)
    network = network or recogniser(seed)
    (folder / "tiny.onnx").write_bytes(network)
    entries: dict[str, object] = {
        "name": name,
        "file": "tiny.onnx",
        "sha256": hashlib.sha256(network).hexdigest(),
        "input_size": 112,
        "mean": 127.5,
        "scale": 127.5,
        "channel_order": "RGB",
        "dimension": 64,
        "alignment_points": "arcface",
        "licence": "CC0-1.0",
        "commercial_use": True,
        "provenance": "made in a test",
        **(changes or {}),
    }
    lines = [f"{key} = {json.dumps(value)}" for key, value in entries.items() if value is not None]
    (folder / "pack.toml").write_text("\n".join(lines) + "\n")
    return folder


def model_id(folder: Path) -> str:
    """The id of the model that the ``pack.toml`` of a folder describes."""
    return read_pack_file(folder).algorithm
