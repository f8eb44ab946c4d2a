"""1:1 accuracy of irises on the half of the eyes that the parameters were not fitted on.

    python -m benchmarks.iris_accuracy --out build/iris

Of each set (CASIA-IrisV1 and MMU2 where no manifest is named) the subjects are sorted by their ids; the parameters of
extraction and comparison were chosen on the first half, and the second is quoted. Left and right eye are classes of
their own, all are compared with all, and no picture is rejected; then once more without those of lowest quality.
Writes the halves as manifests, so that ``ambis evaluate verify`` can show more of them.
"""

from __future__ import annotations

import enrollment.threads  # noqa: F401  # isort: skip

import argparse
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.gallery_and_probes import Row, read_rows, write_rows
from benchmarks.real_data import manifests
from enrollment.evaluation.measures import Json
from enrollment.evaluation.progress import ProgressCallback, progress_bar
from enrollment.evaluation.protocol import list_samples
from enrollment.evaluation.rates import least_supported
from enrollment.evaluation.templates import make_templates
from enrollment.evaluation.verify import evaluate_verify
from enrollment.settings import load_settings
from matcher.positions import Modality

REJECTED = 0.05
"""Share of the pictures, those of lowest quality, that the second table does without."""


def halves(rows: Sequence[Row]) -> tuple[list[Row], list[Row]]:
    """The rows of the first half of the subjects, in the order of their ids, and those of the second."""
    subjects = sorted({row["subject_id"] for row in rows})
    first = set(subjects[: (len(subjects) + 1) // 2])
    return [r for r in rows if r["subject_id"] in first], [r for r in rows if r["subject_id"] not in first]


def write_halves(manifest: Path, out: Path) -> tuple[Path, Path]:
    """Writes ``NAME-first.csv`` and ``NAME-second.csv`` into a folder; returns their paths."""
    out.mkdir(parents=True, exist_ok=True)
    paths = (out / f"{manifest.stem}-first.csv", out / f"{manifest.stem}-second.csv")
    rows = read_rows(list_samples(manifest, Modality.IRIS), re.compile(""), out)
    for half, path in zip(halves(rows), paths, strict=True):
        write_rows(half, path)
    return paths


def gate_of(qualities: Sequence[int], share: float) -> int:
    """The highest quality gate that rejects at most this share of the samples."""
    ordered = np.sort(np.asarray(qualities, np.int64))
    return int(ordered[int(share * len(ordered))]) if len(ordered) else 0


def measure_half(manifest: Path, processes: int, progress: ProgressCallback) -> tuple[Json, Json]:
    """What ``ambis evaluate verify`` says of a half, with every picture and without those of lowest quality."""
    made = make_templates(
        list_samples(manifest, Modality.IRIS).samples, load_settings(), processes=processes, progress=progress
    ).outcomes
    gate = gate_of([m.quality for m in made if m.template is not None], REJECTED)
    every, best = (
        evaluate_verify(manifest, "all", gate=g, modality=Modality.IRIS, processes=processes, progress=progress)
        for g in (None, gate)
    )
    return every, best


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("manifests", type=Path, nargs="*", help="default: CASIA-IrisV1 and MMU2")
    parser.add_argument("--out", type=Path, default=Path("build/iris"), help="folder of the halves' manifests")
    parser.add_argument("--half", choices=("first", "second"), default="second")
    parser.add_argument("--processes", type=int, default=1)
    arguments = parser.parse_args()
    table = Table(
        "set, half", "gate", "samples", "refused", "genuine", "impostor", "EER", "FNMR at FMR 1e-3", "at 1e-4"
    )
    for manifest in arguments.manifests or manifests(Modality.IRIS):
        half = write_halves(manifest, arguments.out)[arguments.half == "second"]
        with progress_bar(quiet=False) as progress:
            results = measure_half(half, arguments.processes, progress)
        for result in results:
            table.add_row(*_cells(half.stem, result))
    Console(width=180).print(table)
    print("Intervals: 95 %, bootstrap over subjects. A refused sample is a false non-match.")


def _cells(name: str, r: Json) -> list[str]:
    gate = f"{r['gate']['quality']} ({r['gate']['rejected']} rejected)" if r["gate"] else "none"
    counts = [f"{r[key]:,}" for key in ("samples", "failures_to_enrol", "genuine", "impostor")]
    rates = [_percent(r["eer"], r["eer_ci95"], r["genuine"])]
    for key in ("0.001", "0.0001"):
        missed = r["missed_at_fmr"][key]
        told = _percent(r["fnmr_at_fmr"][key], r["fnmr_at_fmr_ci95"][key], r["genuine"])
        rates.append("too few strangers" if missed is None else f"{told}, {missed} missed")
    return [name, gate, *counts, *rates]


def _percent(rate: float | None, ends: Sequence[float] | None, count: int) -> str:
    """A rate with its interval; below the least that the count supports where it is so small."""
    told = f"below {least_supported(count):.2%}" if rate is None else f"{rate:.2%}"
    return told + (f" ({ends[0]:.2%} to {ends[1]:.2%})" if ends else "")


if __name__ == "__main__":
    main()
