"""Manifests of people who are short texts, and settings with which they are evaluated."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from enrollment.settings import Settings, load_settings
from matcher.positions import Position
from matcher.service.extraction import SEARCH, ExtractedSample, SampleUse
from tests.matcher.people import FACE, IRIS, calibrations
from tests.matcher.service.running import TextExtractor


class CountingExtractor(TextExtractor):
    """A TextExtractor that remembers how often it was asked; ``interrupt_after`` calls it is interrupted."""

    def __init__(self, interrupt_after: int | None = None) -> None:
        self.calls = 0
        self._interrupt_after = interrupt_after

    def extract(
        self, position: Position, data: bytes, media_type: str, ppi: float | None, use: SampleUse = SEARCH
    ) -> ExtractedSample:
        """See TemplateExtractor."""
        if self.calls == self._interrupt_after:
            raise KeyboardInterrupt
        self.calls += 1
        return super().extract(position, data, media_type, ppi, use)


def settings(folder: Path) -> Settings:
    """Settings whose calibrations are those of the synthetic people."""
    artefacts = folder / "calibrations"
    artefacts.mkdir(exist_ok=True)
    known = calibrations()
    for algorithm in (FACE, IRIS):
        (artefacts / f"{algorithm}.json").write_text(known[algorithm].to_json())
    return load_settings(calibrations=artefacts)


def write_manifest(folder: Path, name: str, rows: Sequence[tuple[str, str, str, str]], column: str = "") -> Path:
    """Writes a manifest and its samples.

    Args:
        rows: (subject, encounter, text of the sample or "" for a file that is not there, value of the extra column).
        column: name of the extra column.
    """
    folder.mkdir(exist_ok=True)
    lines = [f"path,subject_id,modality,position,encounter,ppi{',' + column if column else ''}"]
    for number, (subject, encounter, text, value) in enumerate(rows):
        if text:
            (folder / f"{name}{number}.txt").write_text(text)
        lines.append(f"{name}{number}.txt,{subject},face,,{encounter},{',' + value if column else ''}")
    path = folder / f"{name}.csv"
    path.write_text("\n".join(lines) + "\n")
    return path
