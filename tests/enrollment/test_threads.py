"""No library starts threads of its own, and nothing forks."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent

_LIBRARIES = """
import enrollment.threads
import json, os
import cv2, faiss, numpy, onnxruntime
from enrollment.extract.onnx_network import session_options
from enrollment.serving import load_extractors
from enrollment.settings import Settings
from matcher.threads import use_threads, workers

def tasks():
    return len(os.listdir("/proc/self/task"))

def compute(seed):
    vectors = numpy.random.default_rng(seed).random((2000, 256), numpy.float32)
    vectors @ vectors.T
    index = faiss.IndexFlatIP(256)
    index.add(vectors)
    index.search(vectors[:64], 10)
    cv2.GaussianBlur(vectors, (9, 9), 2.0)
    return faiss.omp_get_max_threads()

use_threads(3)
load_extractors(Settings(face_pack="none"))
compute(0)
before = tasks()
omp = set(workers().map(compute, range(30)))
options = session_options()
print(json.dumps({
    "added": tasks() - before, "omp": sorted(omp), "cv2": cv2.getNumThreads(),
    "onnxruntime": [options.intra_op_num_threads, options.inter_op_num_threads],
}))
"""


def test_libraries_compute_in_the_threads_of_the_pool_alone() -> None:
    environment = {k: v for k, v in os.environ.items() if not k.endswith("_NUM_THREADS")}
    environment["PYTHONPATH"] = os.pathsep.join((str(ROOT), str(ROOT / "proto")))
    done = subprocess.run(
        [sys.executable, "-c", _LIBRARIES], capture_output=True, text=True, env=environment, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    assert told == {"added": 3, "omp": [1], "cv2": 1, "onnxruntime": [1, 1]}


def modules() -> list[Path]:
    return sorted(p for folder in ("matcher", "enrollment", "benchmarks") for p in (ROOT / folder).rglob("*.py"))


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(ROOT)))
def test_nothing_forks(path: Path) -> None:
    """FAISS hangs in a process that was forked after its first use. ``subprocess`` replaces the process at once."""
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            where = f"{path.name}:{node.lineno}"
            assert (node.value.id, node.attr) not in {("os", "fork"), ("os", "forkpty"), ("pty", "fork")}, where
            if node.value.id == "multiprocessing":
                assert node.attr == "get_context", f"{where}: take get_context('spawn')"
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "multiprocessing":
            pytest.fail(f"{path.name}:{node.lineno}: take multiprocessing.get_context('spawn')")
        if isinstance(node, ast.Call):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            words = [a.value for a in node.args if isinstance(a, ast.Constant)]
            assert name != "get_context" or words == ["spawn"], f"{path.name}:{node.lineno}"
            if name == "ProcessPoolExecutor":
                given = [*node.args, *(k.value for k in node.keywords)]
                assert any("get_context" in ast.unparse(g) for g in given), f"{path.name}:{node.lineno}"
