"""``ambis evaluate verify|identify|fuse``: accuracy from manifests and score files."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from enrollment.evaluation.progress import progress_bar
from enrollment.plain_text import printable
from enrollment.reporting import EXIT_INTERRUPTED, reported
from matcher.errors import InvalidInput
from matcher.positions import Modality

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
Report = Annotated[Path | None, typer.Option(metavar="FILE.html", help="Write a self-contained report as well.")]
By = Annotated[str | None, typer.Option(metavar="COLUMN", help="Break every rate down by a column of the manifest.")]
Gate = Annotated[
    int | None, typer.Option(min=0, max=100, help="Take away samples below this quality; their share is told.")
]
OneModality = Annotated[Modality | None, typer.Option(help="Use the rows of this modality only.")]
Processes = Annotated[int, typer.Option(min=1, max=256, help="Templates extracted side by side.")]
Cache = Annotated[
    Path | None, typer.Option(help="Folder of templates kept \\[default: ambis/evaluation in the user's cache]")
]

_GOES_ON = "; templates made so far are kept, the same command goes on from them"


def add_commands(app: typer.Typer) -> typer.Typer:
    """Adds ``evaluate`` with its commands to the application; returns ``evaluate``, which takes more commands."""
    evaluate = typer.Typer(help="Accuracy from manifests, with intervals and reports.", no_args_is_help=True)
    evaluate.command("verify")(verify)
    evaluate.command("identify")(identify)
    evaluate.command("fuse")(fuse)
    app.add_typer(evaluate, name="evaluate")
    return evaluate


def verify(
    manifest: Annotated[Path, typer.Argument(help="CSV: path,subject_id,modality,position,encounter,ppi,...")],
    impostors: Annotated[
        str, typer.Option(help="first: first sample of each class, FVC's way; all: all pairs.")
    ] = "first",
    by: By = None,
    gate: Gate = None,
    modality: OneModality = None,
    report: Report = None,
    processes: Processes = 1,
    cache: Cache = None,
    as_json: AsJson = False,
) -> None:
    """Measure 1:1 accuracy: EER, FNMR at FMR, DET, with 95 % intervals."""
    # Imported here and below: 'ambis --help' must not wait for FAISS, onnxruntime and matplotlib.
    with _run(report, as_json):
        from enrollment.evaluation.verify import evaluate_verify

        with progress_bar(quiet=as_json) as progress:
            result = evaluate_verify(
                manifest,
                impostors,
                by,
                gate,
                modality=modality,
                processes=processes,
                cache=cache,
                progress=progress,
            )
        _answer(result, report, as_json)


def identify(
    gallery: Annotated[Path, typer.Option(help="Manifest of the people enrolled.")],
    probes: Annotated[Path, typer.Option(help="Manifest of the searches; subjects not in the gallery are non-mated.")],
    by: By = None,
    gate: Gate = None,
    modality: OneModality = None,
    report: Report = None,
    processes: Processes = 1,
    cache: Cache = None,
    as_json: AsJson = False,
) -> None:
    """Measure 1:N accuracy: rank-1 hit rate, CMC, FNIR at FPIR, with 95 % intervals."""
    with _run(report, as_json):
        from enrollment.evaluation.identify import evaluate_identify

        with progress_bar(quiet=as_json) as progress:
            result = evaluate_identify(
                gallery,
                probes,
                by,
                gate,
                modality=modality,
                processes=processes,
                cache=cache,
                progress=progress,
            )
        _answer(result, report, as_json)


def fuse(
    scores: Annotated[Path, typer.Argument(help="NPZ: one square score matrix a matcher, genuine on the diagonal.")],
    splits: Annotated[int, typer.Option(min=2, max=1000, help="Random halves by subject.")] = 20,
    seed: Annotated[int, typer.Option(min=0, help="Of the halves.")] = 0,
    report: Report = None,
    processes: Annotated[int, typer.Option(min=1, max=256, help="Halves worked on side by side.")] = 1,
    as_json: AsJson = False,
) -> None:
    """Compare ways to fuse scores: fitted on one half of the people, tested on the other."""
    with _run(report, as_json, goes_on=""):
        from enrollment.evaluation.fuse import evaluate_fuse

        with progress_bar(quiet=as_json) as progress:
            result = evaluate_fuse(scores, splits, seed, processes=processes, progress=progress)
        _answer(result, report, as_json)


@contextmanager
def _run(report: Path | None, as_json: bool, goes_on: str = _GOES_ON) -> Iterator[None]:
    """Errors and Ctrl-C as people read them; a report that cannot be written is refused before the work."""
    with reported(as_json):
        if report is not None and (report.is_dir() or not report.absolute().parent.is_dir()):
            raise InvalidInput(
                f"the report {report} cannot be written: name a file in a folder that exists", reason="REPORT_INVALID"
            )
        try:
            yield
        except KeyboardInterrupt:
            typer.echo("ambis: interrupted" + goes_on, err=True)
            raise typer.Exit(EXIT_INTERRUPTED) from None


def _answer(result: dict[str, Any], report: Path | None, as_json: bool) -> None:
    if report is not None:
        from enrollment.evaluation.report import write_report

        write_report(result, report, shlex.join(["ambis", *sys.argv[1:]]))
    if as_json:
        typer.echo(json.dumps(result, allow_nan=False))
        return
    from enrollment.evaluation.terminal import summary

    console = Console()
    for part in summary(result):
        console.print(part, markup=False, highlight=False)
    if report is not None:
        console.print(f"report in {printable(report)}", markup=False)
