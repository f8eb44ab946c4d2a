"""What the documents say exists: commands, options, settings, make targets, links, tables; and the backup works."""

from __future__ import annotations

import math
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer.main

from enrollment.cli import app
from enrollment.settings import Settings
from matcher.calibration import LN10_10, Calibration, Calibrations
from matcher.decision import DecisionParameters
from matcher.face.comparison import COMPACT_ALGORITHM
from matcher.finger.parameters import FINGER_ALGORITHM
from matcher.iris.parameters import ALGORITHM as IRIS_ALGORITHM
from matcher.positions import Position
from matcher.records.entries import NewEncounter, NewSample, SubjectMode
from matcher.records.store import RecordStore
from matcher.templates import FaceTemplate

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("benchmarks/*.md")])
OTHER_VARIABLES = ("AMBIS_CONFIG", "AMBIS_MODELS", "AMBIS_SHARED", "AMBIS_IRIS")
"""Documented environment variables that are no settings."""


def _options(command: Any, path: str = "") -> Iterator[tuple[str, set[str]]]:
    """Every command of a typer application, by its words, with its options."""
    for name, sub in getattr(command, "commands", {}).items():
        yield from _options(sub, f"{path} {name}".strip())
    if not hasattr(command, "commands"):
        yield path, {option for parameter in command.params for option in parameter.opts} | {"--help"}


OPTIONS = dict(_options(typer.main.get_command(app)))

each_document = pytest.mark.parametrize("document", DOCUMENTS, ids=lambda p: str(p.relative_to(ROOT)))


def code(document: Path) -> list[str]:
    """Lines of code blocks, and code within sentences."""
    text = document.read_text()
    fenced = re.findall(r"^```\w*\n(.*?)^```", text, re.M | re.S)
    text = re.sub(r"^```\w*\n.*?^```", "", text, flags=re.M | re.S)
    indented = re.findall(r"^ {4}(\S.*)$", text, re.M)
    within = [re.sub(r"\s+", " ", span) for span in re.findall(r"`([^`]+)`", text)]
    return [line for block in fenced for line in block.splitlines()] + indented + within


def links(document: Path) -> list[str]:
    return [t for t in re.findall(r"\]\(([^)\s]+)\)", document.read_text()) if "://" not in t]


def anchors(document: Path) -> set[str]:
    """GitHub's anchors of a document's headings."""
    headings = re.findall(r"^#+ (.+)$", document.read_text(), re.M)
    return {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in headings}


def ambis_commands(document: Path) -> Iterator[list[str]]:
    """Words behind ``ambis`` wherever the document shows a command line."""
    for line in code(document):
        found = re.match(r"(?:\$ )?(?:\.venv/bin/)?ambis ([a-z-].*)", line)
        if found and "=" not in line.split("ambis ", 1)[0]:
            yield shlex.split(found[1].replace("...", ""))


def test_there_is_a_page_for_each_kind_of_user() -> None:
    linked = {t.split("#")[0] for t in links(ROOT / "README.md")}
    assert {"docs/field-unit.md", "docs/bureau.md", "docs/operator.md", "CONTRIBUTING.md"} <= linked


@each_document
def test_links_lead_somewhere(document: Path) -> None:
    for target in links(document):
        name, _, anchor = target.partition("#")
        path = (document.parent / name).resolve() if name else document
        assert path.exists(), f"{target} does not exist"
        assert not anchor or anchor in anchors(path), f"{target}: no such heading"


@each_document
def test_variables_are_read_by_the_code(document: Path) -> None:
    settings = {f"AMBIS_{name.upper()}" for name in Settings.model_fields}
    named = set(re.findall(r"AMBIS_[A-Z_]+[A-Z]", document.read_text()))
    assert named <= settings | set(OTHER_VARIABLES)


def test_other_variables_are_read_by_the_code() -> None:
    sources = "".join(p.read_text() for folder in ("enrollment", "benchmarks") for p in (ROOT / folder).rglob("*.py"))
    assert [v for v in OTHER_VARIABLES if f'"{v}"' not in sources] == []


@each_document
def test_make_targets_exist(document: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M))
    lines = [line.split("#")[0] for line in code(document)]
    named = {t for line in lines for t in re.findall(r"(?:^|&& )make ([a-z][a-z-]*)", line)}
    assert named <= targets


@each_document
def test_modules_that_are_run_exist(document: Path) -> None:
    for line in code(document):
        for module in re.findall(r"python3? -m ((?:enrollment|benchmarks|matcher)[\w.]*)", line):
            path = ROOT / module.replace(".", "/")
            assert path.with_suffix(".py").is_file() or (path / "__main__.py").is_file(), module


@each_document
def test_commands_and_options_exist(document: Path) -> None:
    for words in ambis_commands(document):
        name = next((n for n in OPTIONS if words[: len(n.split())] == n.split()), None)
        if name is None:
            assert words == ["--help"], f"there is no ambis {' '.join(words)}"
            continue
        used = {word.split("=")[0] for word in words if word.startswith("--")}
        assert used <= OPTIONS[name], f"ambis {name} has no option {used - OPTIONS[name]}"


def test_every_command_is_documented() -> None:
    shown = [" ".join(words) for document in DOCUMENTS for words in ambis_commands(document)]
    assert [name for name in OPTIONS if not any(f"{s} ".startswith(f"{name} ") for s in shown)] == []


def test_settings_table() -> None:
    rows = ["| setting | environment | default | meaning |", "|---|---|---|---|"]
    for name, field in Settings.model_fields.items():
        default = "one a processor core" if field.default_factory else field.default
        shown = "" if default is None else str(default).lower() if isinstance(default, bool) else str(default)
        rows.append(f"| `{name}` | `AMBIS_{name.upper()}` | {shown} | {field.description} |")
    table = "\n".join(rows)
    assert table in (ROOT / "docs/operator.md").read_text(), f"docs/operator.md needs this table:\n{table}"


def artefacts() -> dict[str, Calibration]:
    shipped = Calibrations.load()
    algorithms = {"finger": FINGER_ALGORITHM, "face": COMPACT_ALGORITHM, "iris": IRIS_ALGORITHM}
    return {modality: shipped[algorithm] for modality, algorithm in algorithms.items()}


def test_calibration_table() -> None:
    rows = [
        f"| `{a.algorithm}` | {a.about['data']} | {a.about['subjects']:,} | {a.trusted_to:.0f} |"
        for a in artefacts().values()
    ]
    table = "\n".join(rows)
    assert table in (ROOT / "docs/models.md").read_text(), f"docs/models.md needs these rows:\n{table}"


def test_calibration_tables_of_the_card() -> None:
    founded, holds = [], []
    for a in artefacts().values():
        about, goodness = a.about, a.about["goodness"]
        founded.append(
            f"| `{a.algorithm}` | {about['subjects']:,} | {about['impostor_comparisons']:,} | "
            f"{about['design_effect']:.1f} | {a.trusted_to:.1f} |"
        )
        llr = goodness["llr"]
        cost, cllr = llr["cross_entropy"], llr["cllr"]
        holds.append(
            f"| `{a.algorithm}` | {cost['logistic']:.4f} | {cost['isotonic']:.4f} | {llr['least_cross_entropy']:.4f} | "
            f"{cllr[llr['chosen']]:.4f} | {llr['least_cllr']:.4f} |"
        )
    for table in ("\n".join(founded), "\n".join(holds)):
        assert table in (ROOT / "docs/PERFORMANCE_CARD.md").read_text(), f"the card needs these rows:\n{table}"


def test_table_of_what_can_be_a_hit() -> None:
    """People among whom the highest trusted score of some samples still reaches the threshold of a HIT."""
    one = {modality: a.trusted_to for modality, a in artefacts().items()}
    added = {modality: a.trusted_llr / LN10_10 for modality, a in artefacts().items()}
    rows = ["| samples | vouched for up to | people |", "|---|---|---|"]
    for samples in ("finger", "face", "iris", "2 fingers", "face + finger", "face + iris", "2 irises", "3 fingers"):
        parts = [m for word in samples.split(" + ") for m in _modalities(word)]
        score = one[parts[0]] if len(parts) == 1 else math.fsum(added[m] for m in parts)
        people = DecisionParameters().target_fpir * 10 ** (score / 10)
        rounded = int(float(f"{people:.1e}"))
        rows.append(f"| {samples} | {score:.0f} | {rounded:,} |")
    table = "\n".join(rows)
    assert table in (ROOT / "docs/operator.md").read_text(), f"docs/operator.md needs this table:\n{table}"


def _modalities(word: str) -> list[str]:
    count, _, name = word.rpartition(" ")
    return [{"fingers": "finger", "irises": "iris"}.get(name, name)] * int(count or 1)


def test_the_backup_of_a_running_store_is_whole(tmp_path: Path) -> None:
    (program,) = re.findall(r"^```python\n(.*?)^```", (ROOT / "docs/operator.md").read_text(), re.M | re.S)
    (tmp_path / "backup.py").write_text(program)
    (tmp_path / "backup").mkdir()
    store = RecordStore(tmp_path / "data")
    try:
        assert not isinstance(store.enrol([_encounter("before")])[0], Exception)
        command = [sys.executable, "backup.py", "data/records.sqlite", "backup/records.sqlite"]
        subprocess.run(command, cwd=tmp_path, check=True)
        assert not isinstance(store.enrol([_encounter("after")])[0], Exception)
    finally:
        store.close()
    restored = RecordStore(tmp_path / "backup")
    try:
        assert restored.has_subject("before")
        assert not restored.has_subject("after")
        assert restored.last_lsn() == 1
    finally:
        restored.close()


def _encounter(subject: str) -> NewEncounter:
    template = FaceTemplate(COMPACT_ALGORITHM, 1, np.eye(1, 512, dtype=np.float32)[0])
    sample = NewSample(Position.FACE, template, 50, "image/png", subject.encode())
    return NewEncounter("t", f"key-{subject}", "0", subject, "1", SubjectMode.NEW, "", ("default",), {}, (sample,))
