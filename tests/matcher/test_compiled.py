"""Where machine code is kept."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numba
import pytest

from matcher import assignment, compiled
from matcher.face import comparison

CONFIG: Any = numba.config


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(CONFIG, "CACHE_DIR", "")
    folder = tmp_path / "package"
    (folder / "inner").mkdir(parents=True)
    (folder / "caller.py").write_text("from compiled import kernel\n")
    (folder / "inner" / "callee.py").write_text("import numba\n")
    (folder / "plain.py").write_text("x = 1\n")
    return folder


def folder_for(package: Path, cache: str = "") -> Path:
    CONFIG.CACHE_DIR = cache
    compiled.keep_by_source(package)
    return Path(CONFIG.CACHE_DIR)


def test_the_kernels_of_this_package_are_kept_by_its_sources() -> None:
    makers: list[Any] = [m for module in (assignment, comparison) for m in vars(module).values() if hasattr(m, "stats")]
    assert makers
    assert all(f"{os.sep}kernels-" in maker.stats.cache_path for maker in makers)


def test_a_change_in_any_file_with_kernels_gives_another_folder(package: Path) -> None:
    first = folder_for(package)
    assert first.parent == package / "__pycache__"
    assert folder_for(package) == first
    (package / "plain.py").write_text("x = 2\n")
    assert folder_for(package) == first
    (package / "inner" / "callee.py").write_text("import numba\ny = 1\n")
    assert folder_for(package) != first


def test_the_operators_choice_and_the_users_cache(
    package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert folder_for(package, str(tmp_path / "chosen")).parent == tmp_path / "chosen"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert folder_for(package).parent == tmp_path / "ambis"
