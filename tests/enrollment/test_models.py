"""Where model files lie."""

from __future__ import annotations

from pathlib import Path

import pytest

from enrollment.models import models_folder, pack_folder


def test_folder_follows_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AMBIS_MODELS", str(tmp_path / "mine"))
    assert pack_folder() == tmp_path / "mine" / "compact"
    monkeypatch.delenv("AMBIS_MODELS")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert models_folder() == tmp_path / "xdg" / "ambis" / "models"
    monkeypatch.setenv("XDG_CACHE_HOME", "not/absolute")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert models_folder() == tmp_path / "home" / ".cache" / "ambis" / "models"
