"""Manifests: CSV files that list samples, one a row.

Columns: ``path`` (relative to the manifest), ``subject_id``, ``modality``, ``position``, ``encounter``, ``ppi`` (may be
empty), ``face`` (which of several faces to enrol; see ``client.parse_face_choice``), ``sex`` and ``birth_year`` (may be
empty; see ``attributes``); ``width`` and ``height`` are ignored, every other column goes into the encounter's context.
The rows of one subject and encounter are one encounter, wherever they stand.
"""

from __future__ import annotations

import csv
import dataclasses
from collections.abc import Mapping
from pathlib import Path

from enrollment.attributes import parse_birth_year, parse_sex
from enrollment.client import parse_face_choice
from matcher.errors import InvalidInput
from matcher.filters import Sex
from matcher.positions import Position
from matcher.service.extraction import FaceChoice

REQUIRED = ("path", "subject_id", "modality")
_KNOWN = {*REQUIRED, "position", "encounter", "ppi", "face", "sex", "birth_year", "width", "height"}


@dataclasses.dataclass(frozen=True)
class ManifestSample:
    """One row.

    Attributes:
        line: of the manifest, the header being 1.
        ppi: pixels per inch; None where the manifest does not say.
        face: which of several faces is meant; None where it does not say.
    """

    line: int
    path: Path
    position: Position
    ppi: float | None
    face: FaceChoice | None = None


@dataclasses.dataclass(frozen=True)
class ManifestEncounter:
    """The rows of one subject and encounter; ``birth_year`` 0: not known."""

    subject_id: str
    encounter_id: str
    samples: tuple[ManifestSample, ...]
    context: Mapping[str, str]
    sex: Sex = Sex.UNKNOWN
    birth_year: int = 0


@dataclasses.dataclass(frozen=True)
class BadRow:
    """A row that cannot be used, and why."""

    line: int
    subject_id: str
    path: str
    reason: str
    message: str


@dataclasses.dataclass(frozen=True)
class Manifest:
    """What a manifest lists, in the order of first appearance.

    Attributes:
        encounters: with the rows that can be used.
        bad_rows: the others.
        incomplete: (subject, encounter) of the encounters that lost a row so.
    """

    encounters: tuple[ManifestEncounter, ...]
    bad_rows: tuple[BadRow, ...]
    incomplete: frozenset[tuple[str, str]] = frozenset()


def read_manifest(path: Path) -> Manifest:
    """Reads a manifest; rows that cannot be used are listed, not raised.

    Raises:
        InvalidInput (MANIFEST_INVALID): no such file, not CSV, or a required column is missing.
    """
    groups: dict[tuple[str, str], list[ManifestSample]] = {}
    contexts: dict[tuple[str, str], dict[str, str]] = {}
    people: dict[tuple[str, str], tuple[Sex, int]] = {}
    bad: list[BadRow] = []
    incomplete: set[tuple[str, str]] = set()
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, strict=True)
            missing = [c for c in REQUIRED if c not in (reader.fieldnames or [])]
            if missing:
                raise InvalidInput(
                    f"the manifest {path} has no column {', '.join(missing)}; its first line must name the columns "
                    "path,subject_id,modality,position,encounter,ppi",
                    reason="MANIFEST_INVALID",
                )
            extra = [c for c in reader.fieldnames or [] if c not in _KNOWN]
            for row in reader:
                text = {k: (v or "").strip() for k, v in row.items() if isinstance(k, str)}
                try:
                    _check_width(row)
                    key, sample = _parse(text, reader.line_num, path.parent)
                    people[key] = _person(text, people.get(key, (Sex.UNKNOWN, 0)))
                except InvalidInput as error:
                    bad.append(BadRow(reader.line_num, text["subject_id"], text["path"], error.reason, error.message))
                    if text["subject_id"]:
                        incomplete.add(_key(text))
                    continue
                groups.setdefault(key, []).append(sample)
                context = contexts.setdefault(key, {})
                context.update({c: text[c] for c in extra if text[c] and c not in context})
    except OSError as error:
        raise InvalidInput(f"the manifest {path} cannot be read: {error}", reason="MANIFEST_INVALID") from None
    except (csv.Error, UnicodeDecodeError) as error:
        raise InvalidInput(f"the manifest {path} is no CSV file: {error}", reason="MANIFEST_INVALID") from None
    encounters = tuple(
        ManifestEncounter(s, e, tuple(rows), contexts[s, e], *people[s, e]) for (s, e), rows in groups.items()
    )
    return Manifest(encounters, tuple(bad), frozenset(incomplete))


def _check_width(row: Mapping[str | None, object]) -> None:
    """Raises where a row has more values than there are columns: which belongs to which is not known then. A box
    without its quotation marks would be taken for the number of another face."""
    beyond = row.get(None)
    if isinstance(beyond, list) and any(value.strip() for value in beyond):
        raise InvalidInput(
            f"the row has {len(beyond)} values more than there are columns; put values with commas, such as a box in "
            'the column face, between quotation marks: "LEFT,TOP,RIGHT,BOTTOM"',
            reason="ROW_TOO_LONG",
        )


def _key(row: Mapping[str, str]) -> tuple[str, str]:
    return row["subject_id"], row.get("encounter", "") or "1"


def _parse(row: Mapping[str, str], line: int, folder: Path) -> tuple[tuple[str, str], ManifestSample]:
    for column in REQUIRED:
        if not row[column]:
            raise InvalidInput(f"{column} is empty", reason="ROW_INCOMPLETE")
    position = Position.parse(row.get("position", ""), row["modality"])
    ppi: float | None = None
    if row.get("ppi"):
        try:
            ppi = float(row["ppi"])
        except ValueError:
            raise InvalidInput(f"ppi {row['ppi']!r} is no number", reason="PPI_INVALID") from None
    face = parse_face_choice(row["face"]) if row.get("face") else None
    return _key(row), ManifestSample(line, folder / row["path"], position, ppi, face)


def _person(row: Mapping[str, str], before: tuple[Sex, int]) -> tuple[Sex, int]:
    """Sex and year of birth, as this row and those before it say.

    Raises:
        InvalidInput (PERSON_CONTRADICTED): they say different things.
    """
    sex, year = parse_sex(row.get("sex", "")), parse_birth_year(row.get("birth_year", ""))
    if before[0] and sex and before[0] is not sex:
        raise InvalidInput(
            f"sex is {sex.label}, but an earlier row of the encounter says {before[0].label}",
            reason="PERSON_CONTRADICTED",
        )
    if before[1] and year and before[1] != year:
        raise InvalidInput(
            f"birth_year is {year}, but an earlier row of the encounter says {before[1]}", reason="PERSON_CONTRADICTED"
        )
    return before[0] or sex, before[1] or year
