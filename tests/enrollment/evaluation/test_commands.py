"""The commands and the report they write."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from enrollment.evaluation import templates
from enrollment.evaluation.commands import add_commands
from enrollment.evaluation.html_parts import percent
from tests.enrollment.evaluation.listed_people import settings, write_manifest
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
