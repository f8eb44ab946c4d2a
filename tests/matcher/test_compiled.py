"""Where machine code is kept."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

import numba
import pytest

from matcher import assignment, compiled
from matcher.face import comparison

CONFIG: Any = numba.config
SOURCES = {
    "matcher/caller.py": "from matcher.compiled import (\n    kernel,\n)\nfrom matcher.numbers import WIDTH\n",
    "matcher/inner/callee.py": "import numba\n",
    "matcher/numbers.py": "WIDTH = 1\n",
    "matcher/service.py": "from matcher.caller import run\n",
    "enrollment/prints.py": "from matcher.compiled import relaxed_kernel\n",
}


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(CONFIG, "CACHE_DIR", "")
    for name, text in SOURCES.items():
        path = tmp_path / "site" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path / "site" / "matcher"


def folder_for(package: Path, cache: str = "") -> Path:
    CONFIG.CACHE_DIR = cache
    compiled.keep_by_source(package)
    return Path(CONFIG.CACHE_DIR)


def test_the_kernels_of_this_package_are_kept_by_its_sources() -> None:
    makers: list[Any] = [m for module in (assignment, comparison) for m in vars(module).values() if hasattr(m, "stats")]
    assert makers
    assert all(f"{os.sep}kernels-" in maker.stats.cache_path for maker in makers)


@pytest.mark.parametrize("name", [name for name in SOURCES if name != "matcher/service.py"])
def test_a_change_in_any_file_that_kernels_hold_gives_another_folder(package: Path, name: str) -> None:
    first = folder_for(package)
    assert first.parent == package / "__pycache__"
    assert folder_for(package) == first
    (package.parent / "matcher/service.py").write_text("x = 2\n")
    assert folder_for(package) == first
    with (package.parent / name).open("a") as file:
        file.write("y = 1\n")
    assert folder_for(package) != first


def test_the_operators_choice_comes_first(package: Path, tmp_path: Path) -> None:
    assert folder_for(package, str(tmp_path / "chosen")).parent == tmp_path / "chosen"


def test_elsewhere_where_the_package_cannot_be_written(
    package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    closed = [package]
    monkeypatch.setattr(os, "access", lambda path, _: path not in closed)
    assert folder_for(package).parent == tmp_path / "home" / ".cache" / "ambis"
    closed.append(tmp_path / "home")
    assert folder_for(package).parent == Path(tempfile.gettempdir()) / "ambis"
