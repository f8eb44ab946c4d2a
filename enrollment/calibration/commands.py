"""``ambis calibrate``: a deployment's own calibration artefact from its own samples."""

from __future__ import annotations

import datetime
import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from enrollment.calibration.halves import in_fit_half
from enrollment.evaluation.progress import progress_bar
from enrollment.reporting import EXIT_FAILED, reported
from enrollment.settings import load_settings
from matcher.errors import InvalidInput, ModalityUnavailable
from matcher.positions import Modality


def calibrate(
    manifests: Annotated[
        list[Path], typer.Argument(metavar="MANIFEST...", help="CSV: path,subject_id,modality,position,encounter,ppi")
    ],
    modality: Annotated[Modality, typer.Option(help="The rows that are used.")],
    output: Annotated[Path, typer.Option(metavar="FOLDER", help="Gets ALGORITHM.json; name it 'calibrations'.")],
    description: Annotated[str, typer.Option(metavar="TEXT", help="What the data is: devices, people, place.")],
    date: Annotated[
        datetime.datetime | None,
        typer.Option(formats=["%Y-%m-%d"], help="When the data was captured, at the latest \\[default: not told]"),
    ] = None,
    half: Annotated[
        bool, typer.Option("--half", help="Use half of the people, so that figures of the others may be quoted.")
    ] = False,
    exclude: Annotated[
        list[str] | None, typer.Option(metavar="PREFIX", help="Leave out subjects whose id begins so; repeatable.")
    ] = None,
    impostors: Annotated[
        int | None,
        typer.Option(min=20_000, help="Impostor comparisons at most, drawn at random \\[default: 5e6]"),
    ] = None,
    processes: Annotated[int, typer.Option(min=1, max=256, help="Templates extracted side by side.")] = 1,
    cache: Annotated[
        Path | None, typer.Option(help="Folder of templates kept \\[default: ambis/evaluation in the user's cache]")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace an artefact that is there.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Fit scores to false match rates and likelihood ratios, and check the fit on people left out."""
    with reported(as_json):
        # Imported here: 'ambis --help' must not wait for FAISS and onnxruntime.
        from enrollment.calibration.artefact import DataDescription, make_artefact, require_writable, write_artefact
        from enrollment.calibration.scores import IMPOSTOR_LIMIT, score_manifests
        from enrollment.calibration.table import artefact_table, next_step
        from enrollment.serving import load_extractors

        if not description.strip():
            raise InvalidInput("the description is empty; say what the data is", field="description")
        settings = load_settings()
        status = next(s for s in load_extractors(settings).status() if s.modality is modality)
        if not status.algorithm:
            raise ModalityUnavailable(status.detail)
        path = require_writable(output, status.algorithm, force)
        prefixes = tuple(exclude or ())
        told = DataDescription(
            description.strip(),
            date.date().isoformat() if date else "not told",
            datetime.date.today().isoformat(),
            "the half of the subjects that fits may see (enrollment/calibration/halves.py)" if half else "all",
        )
        with progress_bar(quiet=as_json) as progress:
            scores = score_manifests(
                manifests,
                modality,
                settings,
                keep=lambda subject: not subject.startswith(prefixes) and (not half or in_fit_half(subject)),
                processes=processes,
                cache=cache,
                impostor_limit=impostors or IMPOSTOR_LIMIT,
                progress=progress,
            )
            artefact = make_artefact(scores, told, progress=progress)
        write_artefact(artefact, path)
        holds = bool(artefact.about["goodness"]["holds"])
        if as_json:
            numbers = {"trusted_to": artefact.trusted_to, "trusted_llr": artefact.trusted_llr}
            head = {"artefact": str(path), "modality": modality.value, "algorithm": artefact.algorithm}
            typer.echo(json.dumps(head | numbers | dict(artefact.about), allow_nan=False))
        else:
            console = Console()
            console.print(artefact_table(artefact))
            console.print(next_step(path, scores.unusable_rows, holds=holds), markup=False, highlight=False)
    if not holds:
        raise typer.Exit(EXIT_FAILED)
