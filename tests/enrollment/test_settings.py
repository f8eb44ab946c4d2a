"""Settings: file, environment, and mistakes."""

from __future__ import annotations

from pathlib import Path

import pytest

from enrollment.settings import load_settings
from matcher.errors import InvalidInput


@pytest.fixture(autouse=True)
def empty(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("AMBIS_CONFIG", raising=False)


def test_environment_over_file_over_default(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert load_settings().port == 50051
    (tmp_path / "ambis.toml").write_text('port = 1234\ntarget_fpir = 0.001\nserver = "a:1"\n')
    monkeypatch.setenv("AMBIS_PORT", "4321")
    settings = load_settings(server="b:2", data=None)
    assert (settings.port, settings.target_fpir, settings.server) == (4321, 0.001, "b:2")
    (tmp_path / "other.toml").write_text("port = 5\n")
    monkeypatch.delenv("AMBIS_PORT")
    monkeypatch.setenv("AMBIS_CONFIG", "other.toml")
    assert load_settings().port == 5


def test_acknowledged_licences_are_a_list_or_stand_between_commas(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "ambis.toml").write_text('face_licences_acknowledged = ["a-1"]\n')
    assert load_settings().face_licences_acknowledged == ("a-1",)
    monkeypatch.setenv("AMBIS_FACE_LICENCES_ACKNOWLEDGED", "b-1, c-2")
    assert load_settings().face_licences_acknowledged == ("b-1", "c-2")


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("prot = 1\n", "prot"),
        ('port = "many"\n', "port"),
        ("port = 70000\n", "port"),
        ("target_fpir = 0.9\n", "target_fpir"),
        ("prior = 0\n", "prior"),
        ("prior = 1\n", "prior"),
        ("prior = nan\n", "prior"),
        ('prior = "half"\n', "prior"),
        ("hit_confidence = 1.0\n", "hit_confidence"),
        ("hit_confidence = 99\n", "hit_confidence"),
        ("port = \n", "ambis.toml"),
    ],
)
def test_mistakes_name_the_setting(tmp_path: Path, text: str, named: str) -> None:
    (tmp_path / "ambis.toml").write_text(text)
    with pytest.raises(InvalidInput, match=named) as refused:
        load_settings()
    assert refused.value.reason == "SETTINGS_INVALID"


def test_a_named_file_must_exist(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AMBIS_CONFIG", "nowhere.toml")
    with pytest.raises(InvalidInput, match="nowhere"):
        load_settings()
