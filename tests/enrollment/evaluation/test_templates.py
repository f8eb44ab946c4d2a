"""The cache: nothing is made twice, an interruption loses nothing, a damaged line is made anew."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from enrollment.evaluation import templates
from enrollment.evaluation.protocol import list_samples
from enrollment.evaluation.templates import TemplateSet, make_templates
from enrollment.settings import load_settings
from enrollment.synthesis.iris import synthesise_eye
from matcher.errors import ModalityUnavailable
from tests.enrollment.evaluation.listed_people import CountingExtractor, write_manifest


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    return write_manifest(
        tmp_path, "m", [(f"s{i}", "1", "nonsense" if i == 2 else f"face {i} 0", "") for i in range(6)]
    )


def make(
    manifest: Path, extractor: CountingExtractor, monkeypatch: pytest.MonkeyPatch, cache: str = "cache"
) -> TemplateSet:
    monkeypatch.setattr(templates, "load_extractors", lambda _settings: extractor)
    return make_templates(list_samples(manifest).samples, load_settings(), cache=manifest.parent / cache)


def same(a: TemplateSet, b: TemplateSet) -> bool:
    return a.outcomes == b.outcomes


def test_templates_are_made_once(manifest: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = make(manifest, CountingExtractor(), monkeypatch)
    again = CountingExtractor()
    second = make(manifest, again, monkeypatch)
    assert (first.made, second.made, again.calls) == (6, 0, 0)
    assert same(first, second)
    assert [m.reason for m in second.outcomes] == ["", "", "NOT_A_SAMPLE", "", "", ""]
    assert [m.quality for m in second.outcomes] == [80, 80, -1, 80, 80, 80]


def test_an_interruption_loses_nothing_that_was_made(manifest: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(KeyboardInterrupt):
        make(manifest, CountingExtractor(interrupt_after=4), monkeypatch)
    rest = CountingExtractor()
    resumed = make(manifest, rest, monkeypatch)
    assert rest.calls == 2
    whole = make(manifest, CountingExtractor(), monkeypatch, "another")
    assert [m.template for m in resumed.outcomes] == [m.template for m in whole.outcomes]


def test_a_line_cut_short_is_made_anew(manifest: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = make(manifest, CountingExtractor(), monkeypatch)
    (file,) = (manifest.parent / "cache").iterdir()
    file.write_bytes(file.read_bytes()[:-20])
    rest = CountingExtractor()
    second = make(manifest, rest, monkeypatch)
    assert rest.calls == 1
    assert [m.template for m in second.outcomes] == [m.template for m in first.outcomes]
    last = CountingExtractor()
    make(manifest, last, monkeypatch)
    assert last.calls == 0


def test_other_code_makes_other_templates(manifest: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(manifest, CountingExtractor(), monkeypatch)
    monkeypatch.setattr(templates, "code_version", lambda _modality: "0" * 12)
    other = CountingExtractor()
    make(manifest, other, monkeypatch)
    assert other.calls == 6


def test_the_cache_is_the_users_alone(manifest: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(manifest, CountingExtractor(), monkeypatch)
    folder = manifest.parent / "cache"
    assert folder.stat().st_mode & 0o077 == 0
    assert all(f.stat().st_mode & 0o077 == 0 for f in folder.iterdir())


def test_a_missing_extractor_is_said_before_anything_is_made(tmp_path: Path) -> None:
    listed = write_manifest(tmp_path, "m", [("s", "1", "face 1 0", "")])
    with pytest.raises(ModalityUnavailable, match="switched off"):
        make_templates(list_samples(listed).samples, load_settings(face_pack="none"), cache=tmp_path / "cache")


def test_processes_make_what_one_makes(tmp_path: Path) -> None:
    lines = ["path,subject_id,modality,position"]
    for k in range(3):
        Image.fromarray(np.asarray(synthesise_eye(k, 0), np.uint8)).save(tmp_path / f"{k}.png")
        lines.append(f"{k}.png,s{k},iris,left")
    (tmp_path / "m.csv").write_text("\n".join(lines))
    samples, chosen = list_samples(tmp_path / "m.csv").samples, load_settings(face_pack="none")
    alone = make_templates(samples, chosen, processes=1, cache=tmp_path / "one")
    together = make_templates(samples, chosen, processes=2, cache=tmp_path / "two")
    assert all(m.template is not None for m in alone.outcomes)
    assert [m.template for m in alone.outcomes] == [m.template for m in together.outcomes]
