"""The commands and the report they write."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from enrollment.evaluation import templates
from enrollment.evaluation.commands import add_commands
from enrollment.evaluation.html_parts import percent
from tests.enrollment.evaluation.listed_people import CountingExtractor, settings, write_manifest
from tests.matcher.service.running import TextExtractor


class Page(HTMLParser):
    """What a page refers to, its elements and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[str] = []
        self.outside: list[str] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(tag)
        for name, value in attrs:
            if name in ("src", "href", "xlink:href") and not (value or "").startswith(("#", "data:")):
                self.outside.append(f"{tag} {name}={value}")

    def handle_data(self, data: str) -> None:
        self.text += data


def undocumented(result: dict[str, Any]) -> set[str]:
    """Keys of an answer that docs/evaluation.md does not name; those of intervals are explained there as such."""
    document = (Path(__file__).resolve().parents[3] / "docs" / "evaluation.md").read_text(encoding="utf-8")
    groups = result["by"]["groups"] if result.get("by") else []
    named = {*result, *(key for group in groups for key in group)}
    return {key for key in named if f"`{key.removesuffix('_ci95')}`" not in document}


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> typer.Typer:
    monkeypatch.setattr(templates, "load_extractors", lambda _settings: TextExtractor())
    monkeypatch.setenv("AMBIS_CALIBRATIONS", str(settings(tmp_path).calibrations))
    app = typer.Typer()
    app.callback()(lambda: None)
    add_commands(app)
    return app


def test_verify_prints_the_keys_that_scripts_rely_on(app: typer.Typer, tmp_path: Path) -> None:
    rows = [(f"<s{k // 3}>", str(k % 3), f"face {k // 3} {k % 3}", "&<b>") for k in range(60)]
    manifest = write_manifest(tmp_path, "m", rows, "sensor")
    report = tmp_path / "r.html"
    options = ["--json", "--cache", str(tmp_path / "c"), "--report", str(report), "--by", "sensor"]
    options += ["--impostors", "all"]
    done = CliRunner().invoke(app, ["evaluate", "verify", str(manifest), *options])
    assert done.exit_code == 0, done.output
    result = json.loads(done.stdout)
    keys = "eer fnmr_at_fmr genuine impostor failures_to_enrol extraction_seconds comparisons_per_second"
    assert set(keys.split()) <= set(result)
    assert undocumented(result) == set()
    assert {"0.01", "0.001", "0.0001"} <= set(result["fnmr_at_fmr"])
    page = Page(report.read_text())
    assert page.outside == []
    assert page.elements.count("svg") == 3
    assert "script" not in page.elements
    assert "b" not in page.elements
    for words in ("60 samples of 20 subjects", "60 genuine and 1,710 impostor", result["date"], "m.csv", "&<b>"):
        assert words in page.text


def test_identify_prints_the_keys_that_scripts_rely_on(app: typer.Typer, tmp_path: Path) -> None:
    gallery = write_manifest(tmp_path, "g", [(f"s{k}", "1", f"face {k} 0", "") for k in range(20)])
    probes = write_manifest(tmp_path, "p", [(f"s{k}", "2", f"face {k} 1", "") for k in range(40)])
    report = tmp_path / "r.html"
    options = ["--gallery", str(gallery), "--probes", str(probes), "--cache", str(tmp_path / "c")]
    done = CliRunner().invoke(app, ["evaluate", "identify", *options, "--json", "--report", str(report)])
    assert done.exit_code == 0, done.output
    result = json.loads(done.stdout)
    assert {"rank1", "fnir_at_fpir", "mated", "non_mated", "gallery", "rank1_ci95", "fnir_at_fpir_ci95"} <= set(result)
    assert set(result["fnir_at_fpir"]) == {"0.1", "0.01", "0.001"}
    assert undocumented(result) == set()
    page = Page(report.read_text())
    assert (page.outside, page.elements.count("svg")) == ([], 3)
    told = CliRunner().invoke(app, ["evaluate", "identify", *options])
    assert "Rank-1" in told.stdout


def test_errors_say_what_to_do(app: typer.Typer, tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["evaluate", "verify", str(tmp_path / "none.csv"), "--json"])
    assert done.exit_code == 2
    assert json.loads(done.stdout)["reason"] == "MANIFEST_INVALID"


def test_rates_in_words() -> None:
    assert percent(0.0123, [0.01, 0.02]) == "1.23 %"
    assert percent(None, [0.0, 0.003]) == "< 0.3 %"
    assert percent(None) == "-"


def test_fuse_prints_a_table_and_writes_a_report(app: typer.Typer, tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    names = ("face_a", "finger_left_index", "finger_right_index")
    arrays: dict[str, Any] = {n: rng.normal(0, 1, (350, 350)) + 3 * np.eye(350) for n in names}
    np.savez(tmp_path / "s.npz", **arrays)
    report = tmp_path / "r.html"
    options = ["evaluate", "fuse", str(tmp_path / "s.npz"), "--splits", "2", "--report", str(report)]
    done = CliRunner().invoke(app, options, env={"COLUMNS": "80"})
    assert done.exit_code == 0, done.output
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert "Gaussian mixtures" in done.stdout
    lines = done.stdout.splitlines()
    for words in ("Does the fused score mean what it says?", "And the part that calibration vouches for"):
        (title,) = (k for k, line in enumerate(lines) if words in line)
        assert re.match(r" *10 \W+1\.0e-01 \W+\d\.\d\d ± \d\.\d\d ", lines[title + 3])
    page = Page(report.read_text())
    assert (page.outside, page.elements.count("svg"), page.elements.count("table")) == ([], 5, 3)
    for words in ("2 random halves of 350 people", "LLR sum, cohort", "s.npz", "All, 30 % missing"):
        assert words in page.text


def test_groups_are_shown_on_the_terminal(app: typer.Typer, tmp_path: Path) -> None:
    rows = [(f"s{k // 2}", str(k % 2), f"face {k // 2} {k % 2}", str(1950 + k // 4)) for k in range(80)]
    manifest = write_manifest(tmp_path, "m", rows, "year_of_birth")
    options = ["evaluate", "verify", str(manifest), "--cache", str(tmp_path / "c"), "--by", "year_of_birth"]
    done = CliRunner().invoke(app, options, env={"COLUMNS": "80"})
    assert done.exit_code == 0, done.output
    assert "By year_of_birth (decades)" in done.stdout
    assert "1960-1969" in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80


def test_user_text_is_no_markup_and_rows_left_out_are_told(app: typer.Typer, tmp_path: Path) -> None:
    rows = [(f"s{k // 2}", str(k % 2), f"face {k // 2} {k % 2}", f"[/{k // 40}]\x1b[2J") for k in range(80)]
    rows += [("s1", str(k), "", "[/0]") for k in range(3)] + [("", str(k), "face 1 1", "") for k in range(4)]
    manifest = write_manifest(tmp_path, "m", rows, "[/x]")
    options = ["evaluate", "verify", str(manifest), "--cache", str(tmp_path / "c"), "--by", "[/x]"]
    done = CliRunner().invoke(app, options, env={"COLUMNS": "80"})
    assert done.exit_code == 0, done.output
    for words in ("By [/x] (values)", "[/0][2J", "[/1][2J", "3 files missing, 4 rows unusable", "m80.txt"):
        assert words in done.stdout
    assert "\x1b" not in done.stdout


def test_identify_tells_rows_left_out_of_each_manifest(app: typer.Typer, tmp_path: Path) -> None:
    gallery = write_manifest(tmp_path, "g", [(f"s{k}", "1", f"face {k} 0", "") for k in range(20)])
    rows = [(f"s{k}", "2", f"face {k} 1", "") for k in range(40)]
    probes = write_manifest(tmp_path, "p", [*rows, ("s1", "3", "", "")])
    options = ["--gallery", str(gallery), "--probes", str(probes), "--cache", str(tmp_path / "c")]
    told = CliRunner().invoke(app, ["evaluate", "identify", *options])
    assert "Probes: 1 file missing (the first in line 42: p40.txt)" in told.stdout
    assert "unusable" not in told.stdout
    assert "Gallery:" not in told.stdout


def test_a_report_that_cannot_be_written_is_refused_before_the_work(app: typer.Typer, tmp_path: Path) -> None:
    manifest = write_manifest(tmp_path, "m", [("s", "1", "face 1 0", "")])
    for report in (tmp_path / "no" / "r.html", tmp_path):
        options = ["--cache", str(tmp_path / "c"), "--report", str(report), "--json"]
        done = CliRunner().invoke(app, ["evaluate", "verify", str(manifest), *options])
        assert done.exit_code == 2
        assert json.loads(done.stdout)["reason"] == "REPORT_INVALID"
    assert not (tmp_path / "c").exists()


def test_ctrl_c_ends_in_one_line_and_the_next_run_goes_on(
    app: typer.Typer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [(f"s{k // 2}", str(k % 2), f"face {k // 2} {k % 2}", "") for k in range(20)]
    options = ["evaluate", "verify", str(write_manifest(tmp_path, "m", rows)), "--cache", str(tmp_path / "c"), "--json"]
    monkeypatch.setattr(templates, "load_extractors", lambda _settings: CountingExtractor(interrupt_after=8))
    done = CliRunner().invoke(app, options)
    assert done.exit_code == 130
    assert done.stdout == ""
    assert done.stderr.startswith("ambis: interrupted; templates made so far are kept")
    assert "Traceback" not in done.stderr
    rest = CountingExtractor()
    monkeypatch.setattr(templates, "load_extractors", lambda _settings: rest)
    assert json.loads(CliRunner().invoke(app, options).stdout)["genuine"] == 10
    assert rest.calls == 12
