"""Manifests for ``ambis evaluate identify`` out of one manifest of people with several encounters.

    python -m benchmarks.gallery_and_probes MANIFEST --modality face --out FOLDER

A seeded share of the subjects is left out of the gallery: the first encounter of each of them is a non-mated search,
one a person, so that searches are as independent as people are. Of the others the first encounter (in the manifest's
order) is enrolled, and every later one is a mated search. Writes ``gallery.csv`` and ``probes.csv``, and ``all.csv``
with the same people's rows for ``ambis evaluate verify``. Paths in them are relative to the new manifests; a column
``dataset`` names the folder that holds the sample, for ``--by dataset``. Rows that cannot be used and files that are
not there are left out and counted. ``--half`` takes one half of the people alone (``enrollment.calibration.halves``):
figures of the other are to be quoted where something was fitted on the first.
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import os
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.real_data import in_fit_half
from enrollment.evaluation.protocol import SampleList, list_samples
from enrollment.plain_text import printable
from matcher.errors import AmbisError, InvalidInput
from matcher.positions import Modality

Row = dict[str, str]


def split(rows: Sequence[Row], left_out: float, seed: int) -> tuple[list[Row], list[Row]]:
    """Rows of the gallery and of the probes.

    Args:
        rows: of a manifest; ``subject_id`` and ``encounter`` say whose they are.
        left_out: share of the subjects that are not in the gallery, 0-1.
        seed: of their choice.
    """
    encounters: dict[str, list[str]] = {}
    for row in rows:
        known = encounters.setdefault(row["subject_id"], [])
        if (encounter := row.get("encounter", "")) not in known:
            known.append(encounter)
    subjects = sorted(encounters)
    chosen = np.random.default_rng(seed).permutation(len(subjects))[: round(left_out * len(subjects))]
    strangers = {subjects[k] for k in chosen}
    gallery: list[Row] = []
    probes: list[Row] = []
    for row in rows:
        subject = row["subject_id"]
        is_first = row.get("encounter", "") == encounters[subject][0]
        if subject in strangers:
            if is_first:
                probes.append(row)
        else:
            (gallery if is_first else probes).append(row)
    return gallery, probes


def read_rows(listed: SampleList, paths: re.Pattern[str], out: Path) -> list[Row]:
    """Rows of a manifest whose path holds the regular expression ``paths``, with paths relative to ``out``."""
    rows = []
    for sample in listed.samples:
        if paths.search(sample.columns["path"]):
            folders = (p.name for p in sample.path.absolute().parents)
            named = {"dataset": next((f for f in folders if f and not sample.subject_id.endswith(f)), "")}
            rows.append({**sample.columns, **named, "path": os.path.relpath(sample.path.resolve(), out.resolve())})
    return rows


def write_rows(rows: Sequence[Row], path: Path) -> None:
    """Writes a manifest; a row that is shorter than others has empty cells."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(dict.fromkeys(name for row in rows for name in row)), restval="")
        writer.writeheader()
        writer.writerows(rows)


def main() -> None:
    """Entry point; ends with exit code 2 and a sentence where the manifest or an option cannot be used."""
    parser = argparse.ArgumentParser(description="Write gallery.csv, probes.csv and all.csv from one manifest.")
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--modality", required=True, choices=[m.value for m in Modality])
    parser.add_argument("--out", type=Path, required=True, help="folder of the new manifests")
    parser.add_argument("--paths", default="", help="regular expression: only samples whose path holds it")
    parser.add_argument(
        "--half", choices=["fit", "other"], help="only the half of the people that fits may see, or only the other"
    )
    parser.add_argument("--left-out", type=float, default=0.5, help="share of subjects not in the gallery")
    parser.add_argument("--seed", type=int, default=0, help="of their choice, at least 0")
    arguments = parser.parse_args()
    if not 0 <= arguments.left_out < 1:
        parser.error("--left-out must be at least 0 and below 1")
    if arguments.seed < 0:
        parser.error("--seed must be at least 0")
    try:
        paths = re.compile(arguments.paths)
    except re.error as error:
        parser.error(f"--paths {arguments.paths!r} is no regular expression: {error}")
    try:
        listed = list_samples(arguments.manifest, Modality(arguments.modality))
        if arguments.half is not None:
            kept = tuple(s for s in listed.samples if in_fit_half(s.subject_id) == (arguments.half == "fit"))
            listed = dataclasses.replace(listed, samples=kept)
        _write(listed, paths, arguments.left_out, arguments.seed, arguments.out)
    except (AmbisError, OSError) as error:
        parser.exit(2, f"gallery_and_probes: {printable(error)}\n")


def _write(listed: SampleList, paths: re.Pattern[str], left_out: float, seed: int, out: Path) -> None:
    rows = read_rows(listed, paths, out)
    gallery, probes = split(rows, left_out, seed)
    if not gallery or not probes:
        raise InvalidInput(
            f"{len(rows)} rows fit, which leave {len(gallery)} for the gallery and {len(probes)} for probes; both need "
            "some: several encounters a subject, or subjects left out (--left-out)"
        )
    out.mkdir(parents=True, exist_ok=True)
    for name, chosen in (("gallery", gallery), ("probes", probes), ("all", rows)):
        write_rows(chosen, out / f"{name}.csv")
        print(f"{out / name}.csv: {len(chosen)} samples of {len({r['subject_id'] for r in chosen})} subjects")
    if listed.missing or listed.bad_rows:
        print(f"left out: {len(listed.missing)} rows whose file is missing, {len(listed.bad_rows)} unusable rows")


if __name__ == "__main__":
    main()
