"""Scores to an artefact that says what it is founded on and how well it holds."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

from enrollment.calibration.cross_check import REPEATS, cross_check, fit_scores, require_enough
from enrollment.calibration.scores import CalibrationScores
from enrollment.evaluation.progress import ProgressCallback, no_progress
from matcher.calibration import Calibration, CalibrationParameters, RatioFit, fit_ratio
from matcher.errors import InvalidInput


@dataclasses.dataclass(frozen=True)
class DataDescription:
    """What a person has to say of the data.

    Attributes:
        data: a sentence.
        date: ISO 8601, of the data.
        which: part of the subjects; "all", or which half.
        made_by: the command.
    """

    data: str
    date: str
    which: str = "all"
    made_by: str = "ambis calibrate"


def make_artefact(
    scores: CalibrationScores,
    description: DataDescription,
    *,
    parameters: CalibrationParameters | None = None,
    repeats: int = REPEATS,
    progress: ProgressCallback = no_progress,
) -> Calibration:
    """Cross-checks on halves of the subjects, chooses the fit of the ratios by that, and fits on all.

    Raises:
        InvalidInput (CALIBRATION_DATA): too little data.
    """
    p = parameters or CalibrationParameters()
    whole = scores.by_subject()
    require_enough(whole)
    checked = cross_check(whole, parameters=p, repeats=repeats, progress=progress)
    about = {
        "data": description.data,
        "which": description.which,
        "date": description.date,
        "subjects": scores.subjects,
        "body_parts": scores.classes,
        "samples": len(scores.samples),
        "failures": scores.failures,
        "not_comparable": scores.not_comparable,
        "impostors_there": scores.impostors_there,
        "made_by": description.made_by,
        "limits": f"FMR: upper {p.confidence:.0%} by bootstrap over subjects; trusted_to: rule of three on the "
        "impostor comparisons over the design effect",
    }
    fitted = fit_scores(scores.modality, scores.algorithm, whole, p, about)
    if checked.ratios.chosen is not RatioFit.LOGISTIC:
        fitted = fit_ratio(fitted, whole.genuine, whole.impostor, p, checked.ratios.chosen)
    return dataclasses.replace(fitted, about={**fitted.about, "goodness": checked.to_json()})


def artefact_path(folder: Path, algorithm: str) -> Path:
    """Where the artefact of an algorithm lies in the folder that the setting ``calibrations`` names."""
    return folder / f"{algorithm}.json"


def require_writable(folder: Path, algorithm: str, force: bool) -> Path:
    """The path that an artefact will have, before hours of work.

    Raises:
        InvalidInput: the folder cannot be made or written to (OUTPUT_UNWRITABLE), or there is an artefact already and
            ``force`` is false (ARTEFACT_EXISTS).
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InvalidInput(f"{folder} cannot be made a folder: {error}", reason="OUTPUT_UNWRITABLE") from None
    path = artefact_path(folder, algorithm)
    if not os.access(folder, os.W_OK | os.X_OK) or path.is_dir():
        raise InvalidInput(f"{path} cannot be written; choose another --output", reason="OUTPUT_UNWRITABLE")
    if path.exists() and not force:
        raise InvalidInput(
            f"{path} is there already; give another --output, or --force to replace it", reason="ARTEFACT_EXISTS"
        )
    return path


def write_artefact(calibration: Calibration, path: Path) -> None:
    """Writes it in one step: a server that starts meanwhile reads the old one or the new one."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    beside.write_text(calibration.to_json() + "\n", "utf-8")
    beside.replace(path)
