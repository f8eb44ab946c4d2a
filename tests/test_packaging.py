"""What is installed and locked, and that imports follow the arrow of the design."""

from __future__ import annotations

import ast
import importlib.metadata
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
LOCK = (ROOT / "requirements.lock").read_text()

LAYERS = {
    "finger": 1,
    "face": 1,
    "iris": 1,
    "calibration": 1,
    "decision": 1,
    "fusion_model": 2,
    "fusion": 3,
    "fusion_fit": 4,
    "fused_tail": 4,
    "fused_scores": 5,
    "explanation": 4,
    "comparators": 2,
    "roster": 1,
    "part": 2,
    "gallery_view": 3,
    "gallery": 4,
    "warm_up": 5,
    "shards": 5,
    "search": 6,
    "records": 6,
    "service": 7,
}
"""Packages and modules of ``matcher``: each may import what stands lower. What is not listed is the ground: 0."""

FOREIGN = {
    "grpc": {"service"},
    "grpc_status": {"service"},
    "google": {"service"},
    "ambis": {"service"},
    "sqlalchemy": {"records"},
    "sqlite3": {"records"},
    "faiss": {"faiss_views"},
    "PIL": set(),
    "cv2": set(),
    "onnxruntime": {"inner_products"},
    "typer": set(),
    "pydantic_settings": set(),
}
"""Which parts of ``matcher`` may know a library; the others must not."""


def normalised(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def runtime_dependencies() -> list[str]:
    names = [re.match(r"[\w.-]+", requirement) for requirement in PROJECT["dependencies"]]
    return [normalised(match[0]) for match in names if match]


def import_names() -> dict[str, list[str]]:
    """Distribution -> what it is imported by."""
    found: dict[str, list[str]] = {name: [] for name in runtime_dependencies()}
    for module, distributions in importlib.metadata.packages_distributions().items():
        for distribution in set(map(normalised, distributions)) & found.keys():
            if module.isidentifier():
                found[distribution].append(module)
    found["protobuf"] = ["google.protobuf"]  # "google" alone is a namespace of many
    found["dlib-bin"].append("dlib")
    return found


def imported(path: Path) -> set[str]:
    """Modules that a file imports, wherever in it, with what is taken from a package."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return names


def matcher_files() -> list[tuple[str, Path]]:
    """Every file of ``matcher`` with the part it belongs to."""
    folder = ROOT / "matcher"
    files = [p for p in sorted(folder.rglob("*.py")) if p != folder / "__init__.py"]
    return [(p.relative_to(folder).with_suffix("").parts[0], p) for p in files]


each_file = pytest.mark.parametrize(
    ("part", "path"), matcher_files(), ids=[str(p.relative_to(ROOT)) for _, p in matcher_files()]
)


def test_every_runtime_package_imports() -> None:
    names = import_names()
    assert [name for name, modules in names.items() if not modules] == []
    # In a process of its own: some of them change the floating-point environment or start threads.
    program = """
import importlib, json, sys
failures = {}
for name in json.loads(sys.argv[1]):
    try:
        importlib.import_module(name)
    except BaseException as error:
        failures[name] = repr(error)
print("RESULT" + json.dumps(failures))
"""
    modules = sorted(m for found in names.values() for m in found)
    ran = subprocess.run(
        [sys.executable, "-c", program, json.dumps(modules)], capture_output=True, text=True, check=False, timeout=300
    )
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout.rpartition("RESULT")[2]) == {}


@pytest.mark.parametrize("name", ["opencv-python", "opencv-contrib-python"])
def test_opencv_is_headless(name: str) -> None:
    assert importlib.metadata.version("opencv-python-headless")
    assert f"\n{name}==" not in LOCK
    with pytest.raises(importlib.metadata.PackageNotFoundError):
        importlib.metadata.version(name)


def locked() -> dict[str, list[str]]:
    """Package -> hashes, of the lock file."""
    packages: dict[str, list[str]] = {}
    name = ""
    for line in LOCK.splitlines():
        if match := re.match(r"([\w.-]+)==\S+", line):
            name = normalised(match[1])
            packages.setdefault(name, [])
        packages.setdefault(name, []).extend(re.findall(r"--hash=(sha256:[0-9a-f]{64})(?!\w)", line))
    return packages


def test_lock_names_no_address() -> None:
    for word in ("http", "index-url", "find-links", "trusted-host", "file:", " @ "):
        assert word not in LOCK, word


def test_lock_has_a_hash_for_every_package() -> None:
    packages = locked()
    assert "" not in packages, "the lock begins with something that is no package"
    assert [name for name, hashes in packages.items() if not hashes] == []
    assert set(runtime_dependencies()) <= packages.keys()
    every_line = re.compile(r"([\w.-]+(\[[\w,]+\])?==\S+( ; .+)?|    --hash=sha256:[0-9a-f]{64})( \\)?")
    assert [line for line in LOCK.splitlines() if not every_line.fullmatch(line)] == []


def test_version_is_the_same_everywhere() -> None:
    (newest, *_) = re.findall(r"^## \[([^\]]+)\]", (ROOT / "CHANGELOG.md").read_text(), re.M)
    assert PROJECT["version"] == newest == importlib.metadata.version("ambis")


@each_file
def test_matcher_knows_nothing_of_enrollment(part: str, path: Path) -> None:
    assert {n for n in imported(path) if n.split(".")[0] in ("enrollment", "benchmarks", "tests")} == set()


@each_file
def test_arrow_inside_matcher(part: str, path: Path) -> None:
    used = {n.split(".")[1] for n in imported(path) if n.startswith("matcher.")} - {part}
    level = LAYERS.get(part, 0)
    ground = level == 0
    upwards = {u for u in used if LAYERS.get(u, 0) > level or (LAYERS.get(u, 0) == level and not ground)}
    assert upwards == set(), f"{part} may only use what lies below it"


@each_file
def test_only_the_service_uses_the_records(part: str, path: Path) -> None:
    if part not in ("service", "records"):
        assert not any(n.startswith("matcher.records") for n in imported(path))


@each_file
def test_libraries_stay_in_their_rooms(part: str, path: Path) -> None:
    roots = {n.split(".")[0] for n in imported(path)}
    assert {library for library, rooms in FOREIGN.items() if library in roots and part not in rooms} == set()


def test_the_layers_exist() -> None:
    parts = {part for part, _ in matcher_files()}
    assert parts >= LAYERS.keys()


@pytest.mark.parametrize("folder", ["enrollment"])
def test_enrollment_uses_no_tests_or_benchmarks(folder: str) -> None:
    for path in sorted((ROOT / folder).rglob("*.py")):
        assert {n for n in imported(path) if n.split(".")[0] in ("benchmarks", "tests")} == set(), path
