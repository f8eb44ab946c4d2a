"""What the documents say exists: commands, options, settings, make targets, links, tables; and the backup works."""

from __future__ import annotations

import math
import re
import shlex
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer.main

from enrollment.cli import app
from enrollment.settings import Settings
from matcher.calibration import Calibration, Calibrations
from matcher.decision import (
    FPIR_RANGE,
    DecisionParameters,
    Verdict,
    identification_thresholds,
    verification_thresholds,
)
from matcher.explanation import CLOSE, one_in, percent
from matcher.face.comparison import COMPACT_ALGORITHM
from matcher.finger.parameters import FINGER_ALGORITHM
from matcher.fused_scores import FusedScores, FusionMember
from matcher.fusion import PositionScore, censored_llr
from matcher.fusion_model import FusionModel
from matcher.iris.parameters import ALGORITHM as IRIS_ALGORITHM
from matcher.positions import Modality, Position
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
    pages = {"docs/field-unit.md", "docs/bureau.md", "docs/operator.md", "docs/thresholds.md", "CONTRIBUTING.md"}
    assert pages <= linked


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
        shown = "" if default in (None, ()) else str(default).lower() if isinstance(default, bool) else str(default)
        rows.append(f"| `{name}` | `AMBIS_{name.upper()}` | {shown} | {field.description} |")
    holds("docs/operator.md", *rows)


def artefacts() -> dict[str, Calibration]:
    shipped = Calibrations.load()
    algorithms = {"finger": FINGER_ALGORITHM, "face": COMPACT_ALGORITHM, "iris": IRIS_ALGORITHM}
    return {modality: shipped[algorithm] for modality, algorithm in algorithms.items()}


def test_calibration_table() -> None:
    defaults = list(artefacts().values())
    others = [a for a in Calibrations.load() if a.algorithm not in {d.algorithm for d in defaults}]
    rows = [
        f"| `{a.algorithm}` | {a.about['data']} | {a.about['subjects']:,} | {a.trusted_to:.0f} |"
        for a in (*defaults, *others)
    ]
    holds("docs/models.md", *rows)


PLACES = {
    Modality.FINGER: (Position.RIGHT_INDEX, Position.LEFT_INDEX, Position.RIGHT_MIDDLE),
    Modality.FACE: (Position.FACE,),
    Modality.IRIS: (Position.IRIS_RIGHT, Position.IRIS_LEFT),
}
"""What "2 fingers" are, in this order."""


def vouched_for(samples: str) -> float:
    """The highest trusted score of some samples, such as "2 fingers + face"."""
    members, used = [], Counter[Modality]()
    for modality in [m for word in samples.split(" + ") for m in _modalities(word)]:
        artefact = artefacts()[modality]
        beyond = PositionScore(200.0, 50.0, artefact.trusted_to, censored_llr(artefact))
        members.append(FusionMember(PLACES[Modality(modality)][used[Modality(modality)]], artefact.algorithm, beyond))
        used[Modality(modality)] += 1
    return FusedScores(Calibrations.load(), FusionModel.load()).fuse([members])[0].trusted_score


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


def test_the_answer_in_the_readme_is_one_that_a_server_gives() -> None:
    rows = re.findall(
        r"│ \d │ S-\d+ +│ +([\d.]+) │ [A-Z ]+│ face ([\d.]+), right_index ([\d.]+)", (ROOT / "README.md").read_text()
    )
    assert len(rows) == 2
    fused = FusedScores(Calibrations.load(), FusionModel.load())
    found = []
    for _, *scores in rows:
        members = []
        for position, score in zip((Position.FACE, Position.RIGHT_INDEX), map(float, scores), strict=True):
            artefact = artefacts()[position.modality]
            llr = float(artefact.to_llr(score))
            members.append(FusionMember(position, artefact.algorithm, PositionScore(score, llr, score, llr)))
        found.append(fused.fuse([members])[0].score)
    assert [f"{score:.1f}" for score in found] == [shown for shown, *_ in rows]
    says("README.md", f"first ahead of the next by {found[0] - found[1]:.1f}")


def test_table_of_what_can_be_a_hit() -> None:
    """People among whom the highest trusted score of some samples still reaches the threshold of a HIT."""
    rows = ["| samples | vouched for up to | people |", "|---|---|---|"]
    for samples in ("finger", "face", "iris", "2 fingers", "face + finger", "face + iris", "2 irises", "3 fingers"):
        score = vouched_for(samples)
        people = DecisionParameters().target_fpir * 10 ** (score / 10)
        rounded = int(float(f"{people:.1e}"))
        rows.append(f"| {samples} | {score:.0f} | {rounded:,} |")
    holds("docs/operator.md", *rows)


def holds(document: str, *lines: str) -> None:
    """The document has these lines, one below the other."""
    block = "\n".join(lines)
    assert block in (ROOT / document).read_text(), f"{document} needs:\n{block}"


def says(document: str, sentence: str) -> None:
    """The document has these words, wherever its lines end."""
    assert sentence in re.sub(r"\s+", " ", (ROOT / document).read_text()), f"{document} needs: {sentence}"


THRESHOLDS = "docs/thresholds.md"
TWO_MILLION = 2_000_000


def test_thresholds_by_number_of_people() -> None:
    rows = ["| people searched | FMR that 1% asks for | HIT from | REVIEW from |", "|---|---|---|---|"]
    for people in (10, 1000, 100_000, TWO_MILLION):
        t = identification_thresholds(people, DecisionParameters())
        rows.append(f"| {people:,} | {10 ** (-t.hit / 10):.0e} | {t.hit:.1f} | {t.review:.1f} |")
    holds(THRESHOLDS, *rows)


def test_example_of_two_million_people() -> None:
    t = identification_thresholds(TWO_MILLION, DecisionParameters())
    finger = artefacts()["finger"].trusted_to
    assert t.verdict(95.2, finger) is Verdict.REVIEW
    says(
        THRESHOLDS, f"The best candidate scores 95.2, more than the {t.hit:.1f} that are needed. The verdict is REVIEW"
    )
    says(THRESHOLDS, f"nobody has measured what only {one_in(t.hit)} strangers reach")
    says(THRESHOLDS, f"it can vouch for {one_in(finger)}, a score of {finger:.1f}")
    rows = ["| samples | vouched for up to | verdict at best |", "|---|---|---|"]
    some = ("finger", "face", "iris", "2 fingers", "face + finger", "2 irises", "3 fingers", "2 fingers + face")
    for samples in some:
        score = vouched_for(samples)
        rows.append(f"| {samples} | {score:.1f} | {t.verdict(200.0, score).label} |")
    holds(THRESHOLDS, *rows)
    assert t.verdict(200.0, vouched_for("2 fingers + face")) is Verdict.HIT
    comparisons = 3 * 10 ** (t.hit / 10)
    people = float(f"{math.sqrt(2 * comparisons):.1e}")
    says(THRESHOLDS, f"To vouch for {t.hit:.1f} takes {comparisons / 1e6:.0f} million comparisons of different people")
    says(THRESHOLDS, f"{people:,.0f} people, each compared with all others")


def test_thresholds_by_prior() -> None:
    rows = [
        "| on record (`prior`) | HIT decided at FPIR | HIT from | right at FPIR 1%, without the limit |",
        "|---|---|---|---|",
    ]
    for prior in (0.5, 0.1, 0.01, 0.001):
        t = identification_thresholds(TWO_MILLION, DecisionParameters(prior=prior))
        default = " (default)" if prior == DecisionParameters().prior else ""
        right = float(f"{prior / (prior + (1 - prior) * 0.01):.3f}")
        rows.append(f"| {percent(prior)}{default} | {percent(t.rate)} | {t.hit:.1f} | {percent(right)} |")
    holds(THRESHOLDS, *rows)
    assert DecisionParameters(prior=0.5, hit_confidence=0.5).fpir_limit >= FPIR_RANGE[1]


def test_thresholds_of_reviews() -> None:
    default = DecisionParameters()
    rows = [
        "| `review_fpir` | REVIEW from, among two million | false candidates in 1,000 such searches |",
        "|---|---|---|",
    ]
    for rate in (0.5, 0.1, 0.02):
        t = identification_thresholds(TWO_MILLION, DecisionParameters(review_fpir=rate))
        mark = " (default)" if rate == default.review_fpir else ""
        rows.append(f"| {rate:g}{mark} | {t.review:.1f} | {1000 * rate:.0f} |")
    holds(THRESHOLDS, *rows)
    looked_at, hits = 1000 * default.review_fpir, 1000 * default.target_fpir
    says(THRESHOLDS, f"At most {hits:.0f} of the {looked_at:.0f} are HITs, and only where the calibration")
    says(THRESHOLDS, f"1,000 searches give at most {looked_at / 2:.0f} false REVIEWs")
    says(THRESHOLDS, "the best two are less than 10 apart in 9 searches of 10 and less than 20 apart in 99 of 100")
    assert CLOSE == 10.0


def test_thresholds_of_verification() -> None:
    t = verification_thresholds(DecisionParameters())
    says(THRESHOLDS, f"{t.hit:.1f} for one in 1,000, REVIEW from {t.review:.1f}")
    tenth, hundredth = (percent(float(f"{p / (p + (1 - p) * t.rate):.3f}")) for p in (0.1, 0.01))
    says(
        THRESHOLDS,
        f"one claim in 10 is true {tenth} of the HITs are right, where one in 100 is true still {hundredth}.",
    )


def test_settings_that_thresholds_shows_are_settings() -> None:
    shown = re.findall(r"^    (\w+) = (\S+)$", (ROOT / THRESHOLDS).read_text(), re.M)
    assert [name for name, _ in shown] == ["target_fpir", "review_fpir", "prior"]
    Settings.model_validate(dict(shown))


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
