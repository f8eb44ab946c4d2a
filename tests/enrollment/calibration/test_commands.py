"""``ambis calibrate`` from manifest to an artefact that a server loads."""

from __future__ import annotations

import dataclasses
import io
import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner

import enrollment.serving
from enrollment.calibration.halves import in_fit_half
from enrollment.calibration.table import WARNING, artefact_table
from enrollment.cli import app
from enrollment.evaluation import templates
from matcher.calibration import Calibration, Calibrations
from tests.enrollment.evaluation.listed_people import write_manifest
from tests.matcher.people import FACE
from tests.matcher.service.running import TextExtractor


@pytest.fixture(autouse=True)
def texts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Samples are short texts here."""
    monkeypatch.setattr(templates, "load_extractors", lambda _settings: TextExtractor())
    monkeypatch.setattr(enrollment.serving, "load_extractors", lambda _settings: TextExtractor())
    monkeypatch.setenv("COLUMNS", "80")


def manifest(folder: Path, name: str, people: range, captures: int = 5) -> Path:
    return write_manifest(
        folder, name, [(f"{name}{k}", str(c), f"face {k} {1 + c}", "") for k in people for c in range(captures)]
    )


def run(folder: Path, *words: object) -> Any:
    fixed = ["--modality", "face", "--description", "people of these tests", "--cache", folder / "cache"]
    return CliRunner().invoke(app, ["calibrate", *map(str, [*fixed, *words])])


def calibrated(folder: Path, *words: object) -> dict[str, Any]:
    done = run(folder, *words, "--json")
    assert done.exit_code == 0, done.output
    return dict(json.loads(done.stdout))


def test_makes_an_artefact_that_a_server_loads(tmp_path: Path) -> None:
    first, second = manifest(tmp_path, "a", range(40)), manifest(tmp_path, "b", range(40, 60))
    told = calibrated(tmp_path, first, second, "--output", tmp_path / "new" / "artefacts", "--date", "2026-01-31")
    assert told["artefact"] == str(tmp_path / "new" / "artefacts" / f"{FACE}.json")
    assert (told["subjects"], told["samples"], told["genuine_comparisons"]) == (60, 300, 600)
    # Impostors of the two manifests are compared with each other too.
    assert told["impostor_comparisons"] == 300 * 299 // 2 - 600
    assert (told["data"], told["date"], told["which"]) == ("people of these tests", "2026-01-31", "all")
    loaded = Calibrations.load(tmp_path / "new" / "artefacts")[FACE]
    assert loaded.trusted_to == pytest.approx(told["trusted_to"], abs=0.01)
    assert loaded.about["goodness"] == told["goodness"]
    assert [r["asked"] for r in told["goodness"]["fmr"]][:3] == [0.01, 0.003, 0.001]
    assert told["goodness"]["llr"]["chosen"] == loaded.about["llr_fit"]
    assert not list((tmp_path / "new" / "artefacts").glob(".*"))


def test_says_what_it_did_within_80_columns(tmp_path: Path) -> None:
    done = run(tmp_path, manifest(tmp_path, "a", range(50)), "--output", tmp_path / "o")
    assert done.exit_code == 0, done.output
    for words in (FACE, "50 subjects", "500 comparisons", "FMR asked", "trusted to", "restart the server"):
        assert words in done.stdout
    path = str(tmp_path / "o" / f"{FACE}.json")
    assert path in done.stdout.replace("\n", "")
    assert [line for line in done.stdout.splitlines() if len(line) > 80] == []


def test_a_fit_that_does_not_hold_is_told(tmp_path: Path) -> None:
    known = calibrated(tmp_path, manifest(tmp_path, "a", range(60)), "--output", tmp_path / "o")
    artefact = Calibrations.load(tmp_path / "o")[FACE]
    assert known["goodness"]["holds"] is True
    assert WARNING not in shown(artefact)
    about = {**artefact.about, "goodness": {**artefact.about["goodness"], "holds": False}}
    assert WARNING in shown(dataclasses.replace(artefact, about=about))


def shown(artefact: Calibration) -> str:
    console = Console(width=1000, record=True, file=io.StringIO())
    console.print(artefact_table(artefact))
    return console.export_text()


def test_a_description_is_no_markup_and_no_order_to_the_terminal(tmp_path: Path) -> None:
    people = manifest(tmp_path, "a", range(50))
    done = run(tmp_path, people, "--output", tmp_path / "o", "--description", "Livescan [/x] X\x1b[2J [bold]")
    assert done.exit_code == 0, done.output
    assert "Livescan [/x] X[2J [bold]" in done.stdout
    assert "\x1b" not in done.stdout


def test_half_uses_the_half_that_figures_are_not_quoted_of(tmp_path: Path) -> None:
    people = manifest(tmp_path, "a", range(120))
    told = calibrated(tmp_path, people, "--half", "--output", tmp_path / "o")
    assert told["subjects"] == sum(in_fit_half(f"a{k}") for k in range(120))
    assert "half" in told["which"]


def test_excluded_subjects_and_failures_are_left_out(tmp_path: Path) -> None:
    rows = [(f"a{k}", str(c), f"face {k} {1 + c}", "") for k in range(50) for c in range(5)]
    rows += [(f"fake{k}", str(c), f"face {90 + k} {1 + c}", "") for k in range(3) for c in range(5)]
    rows += [("a0", "9", "nonsense", ""), ("a1", "9", "", "")]
    told = calibrated(tmp_path, write_manifest(tmp_path, "m", rows), "--exclude", "fake", "--output", tmp_path / "o")
    assert (told["subjects"], told["samples"], told["failures"]) == (50, 250, 1)


def test_fewer_impostors_are_drawn_when_asked(tmp_path: Path) -> None:
    people = manifest(tmp_path, "a", range(60))
    told = calibrated(tmp_path, people, "--impostors", 20_000, "--output", tmp_path / "o")
    assert 18_000 < told["impostor_comparisons"] <= 20_000
    assert told["impostors_there"] == 300 * 299 // 2 - 600


def test_the_fewest_impostors_that_may_be_asked_for_are_enough(tmp_path: Path) -> None:
    people = manifest(tmp_path, "a", range(45), captures=8)
    refused = run(tmp_path, people, "--impostors", 19_999, "--output", tmp_path / "o")
    assert refused.exit_code == 2
    assert "20000" in refused.output.replace("_", "")
    assert calibrated(tmp_path, people, "--impostors", 20_000, "--output", tmp_path / "o")["subjects"] == 45


def test_an_artefact_that_is_there_is_replaced_by_force_only(tmp_path: Path) -> None:
    people = manifest(tmp_path, "a", range(50))
    (tmp_path / "o").mkdir()
    artefact = tmp_path / "o" / f"{FACE}.json"
    artefact.write_text("precious")
    refused = run(tmp_path, people, "--output", tmp_path / "o", "--json")
    assert refused.exit_code == 2
    assert json.loads(refused.stdout)["reason"] == "ARTEFACT_EXISTS"
    assert artefact.read_text() == "precious"
    assert not (tmp_path / "cache").exists(), "refused only after the work"
    assert run(tmp_path, people, "--output", tmp_path / "o", "--force").exit_code == 0
    assert Calibrations.load(tmp_path / "o")[FACE].about["subjects"] == 50


@pytest.mark.parametrize("kind", ["file", "within a file"])
def test_an_output_that_is_no_folder_is_refused_before_the_work(tmp_path: Path, kind: str) -> None:
    (tmp_path / "file").write_text("")
    output = tmp_path / "file" if kind == "file" else tmp_path / "file" / "within"
    refused = run(tmp_path, manifest(tmp_path, "a", range(50)), "--output", output, "--json")
    assert refused.exit_code == 2
    assert json.loads(refused.stdout)["reason"] == "OUTPUT_UNWRITABLE"
    assert not (tmp_path / "cache").exists()


def test_too_few_people_are_refused_with_how_many_are_needed(tmp_path: Path) -> None:
    refused = run(tmp_path, manifest(tmp_path, "a", range(15)), "--output", tmp_path / "o", "--json")
    assert refused.exit_code == 2
    told = json.loads(refused.stdout)
    assert told["reason"] == "CALIBRATION_DATA"
    assert "15 subjects of 20" in told["error"]
    assert not list((tmp_path / "o").iterdir())


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["missing.csv"], "MANIFEST_INVALID"),
        (["{m}", "--exclude", "a"], "NO_SAMPLES"),
        (["{m}", "--modality", "iris"], "NO_SAMPLES"),
    ],
)
def test_manifests_that_give_nothing_are_refused(tmp_path: Path, words: list[str], reason: str) -> None:
    listed = manifest(tmp_path, "a", range(3))
    command = ["calibrate", "--modality", "face", *(w.format(m=listed) for w in words)]
    command += ["--output", str(tmp_path / "o"), "--description", "x", "--json"]
    refused = CliRunner().invoke(app, command)
    assert refused.exit_code == 2, refused.output
    assert json.loads(refused.stdout)["reason"] == reason


def test_a_modality_without_an_extractor_is_refused(tmp_path: Path) -> None:
    command = ["calibrate", "m.csv", "--modality", "finger", "--output", str(tmp_path), "--description", "x", "--json"]
    refused = CliRunner().invoke(app, command)
    assert refused.exit_code == 1
    assert "no fingers here" in json.loads(refused.stdout)["error"]


def test_an_empty_description_is_refused(tmp_path: Path) -> None:
    command = ["calibrate", "m.csv", "--modality", "face", "--output", str(tmp_path), "--description", " ", "--json"]
    refused = CliRunner().invoke(app, command)
    assert refused.exit_code == 2
    assert json.loads(refused.stdout)["field"] == "description"
