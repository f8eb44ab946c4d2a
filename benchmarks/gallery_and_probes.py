"""Manifests for ``ambis evaluate identify`` out of one manifest of people with several encounters.

    python -m benchmarks.gallery_and_probes MANIFEST --modality face --out FOLDER

A seeded share of the subjects is left out of the gallery: the first encounter of each of them is a non-mated search,
one a person, so that searches are as independent as people are. Of the others the first encounter (in the manifest's
order) is enrolled, and every later one is a mated search. Writes ``gallery.csv`` and ``probes.csv``, and ``all.csv``
with the same people's rows for ``ambis evaluate verify``. Paths in them are relative to the new manifests; a column
``dataset`` names the folder that holds the sample, for ``--by dataset``.
"""

from __future__ import annotations

import argparse
import csv
import os
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

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


def read_rows(manifest: Path, modality: str, paths: str, out: Path) -> list[Row]:
    """Rows of a modality whose path holds the regular expression ``paths``, with paths relative to ``out``."""
    with manifest.open(newline="", encoding="utf-8-sig") as file:
        found = [r for r in csv.DictReader(file) if r["modality"] == modality and re.search(paths, r["path"])]
    for row in found:
        sample = manifest.parent / row["path"]
        row["dataset"] = next(p.name for p in sample.parents if not row["subject_id"].endswith(p.name))
        row["path"] = os.path.relpath(sample.resolve(), out.resolve())
    return found


def write_rows(rows: Sequence[Row], path: Path) -> None:
    """Writes a manifest."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description="Write gallery.csv, probes.csv and all.csv from one manifest.")
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--modality", required=True, choices=["finger", "face", "iris"])
    parser.add_argument("--out", type=Path, required=True, help="folder of the new manifests")
    parser.add_argument("--paths", default="", help="regular expression: only samples whose path holds it")
    parser.add_argument("--left-out", type=float, default=0.5, help="share of subjects not in the gallery")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    if not 0 <= arguments.left_out < 1:
        parser.error("--left-out must be at least 0 and below 1")
    arguments.out.mkdir(parents=True, exist_ok=True)
    rows = read_rows(arguments.manifest, arguments.modality, arguments.paths, arguments.out)
    gallery, probes = split(rows, arguments.left_out, arguments.seed)
    if not gallery or not probes:
        parser.error(f"{len(rows)} rows fit, which leave {len(gallery)} for the gallery and {len(probes)} for probes")
    for name, chosen in (("gallery", gallery), ("probes", probes), ("all", rows)):
        write_rows(chosen, arguments.out / f"{name}.csv")
        print(f"{arguments.out / name}.csv: {len(chosen)} samples of {len({r['subject_id'] for r in chosen})} subjects")


if __name__ == "__main__":
    main()
