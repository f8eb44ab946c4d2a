"""Calibration artefacts fitted on one half of the real people, for figures quoted of the other half."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.real_data import RealSample
from enrollment.evaluation.comparisons import compare_pairs
from enrollment.evaluation.protocol import EvaluationSample, Impostors, make_pairs, subject_numbers
from matcher.calibration import Calibration, fit_calibration
from matcher.positions import Modality
from matcher.templates import Template


def evaluation_sample(sample: RealSample) -> EvaluationSample:
    """The same sample as the evaluation knows it."""
    return EvaluationSample(0, sample.path, sample.subject_id, sample.encounter, sample.position, sample.ppi, {})


def fit_half(samples: Sequence[RealSample], made: Sequence[Template | None], which: str) -> Calibration:
    """An artefact from all pairs of these samples, all of one modality.

    Args:
        samples: of one half of the people.
        made: the template of each, None where there is none.
        which: half it is, for the artefact's description.
    """
    listed = [evaluation_sample(s) for s in samples]
    pairs = make_pairs(listed, Impostors.ALL)
    genuine = compare_pairs(made, pairs.genuine).scores
    impostor = compare_pairs(made, pairs.impostor).scores
    known = ~np.isnan(impostor)
    (algorithm,) = {t.algorithm for t in made if t is not None}
    about = {
        "data": f"{samples[0].position.modality} samples of the chimeric benchmark",
        "which": which,
        "subjects": len({s.subject_id for s in samples}),
        "samples": len(samples),
        "made_by": "benchmarks/half_calibrations.py",
    }
    return fit_calibration(
        samples[0].position.modality,
        algorithm,
        genuine[~np.isnan(genuine)],
        impostor[known],
        about,
        subject_numbers(listed)[pairs.impostor[known]],
    )


def write_half(
    folder: Path, samples: Sequence[RealSample], made: Sequence[Template | None], which: str
) -> dict[Modality, Calibration]:
    """Writes an artefact for each modality there is into a folder, as the setting ``calibrations`` takes it."""
    folder.mkdir(parents=True, exist_ok=True)
    written = {}
    for modality in Modality:
        members = [i for i, s in enumerate(samples) if s.position.modality is modality]
        if members:
            fitted = fit_half([samples[i] for i in members], [made[i] for i in members], which)
            (folder / f"{fitted.algorithm}.json").write_text(fitted.to_json() + "\n")
            written[modality] = fitted
    return written
