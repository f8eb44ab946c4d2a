"""Fits the shipped fusion model from real people: how the positions of one person hang together.

    python -m benchmarks.fit_fusion            writes matcher/calibrations/fusion_model.json
    python -m benchmarks.fit_fusion --print    only shows it

Fingers of two hands, two face matchers, and fingers with faces: NIST BSSR1 set 1, 517 people. The two eyes: MMU2, both
eyes of one person, compared by this project's own comparator. Fingers of one hand: no set of real people that may be
used shows them, so among strangers they are taken as correlated as much as the upper limit of those of two hands, and
trusted for no more than twice that allows; the file says so. What a score may be trusted for is taken from upper 90 %
limits, by bootstrap over subjects.
"""

from __future__ import annotations

import argparse
import datetime
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.real_data import ROOT, iris_folder, shared_folder
from enrollment.evaluation.comparisons import compare_pairs
from enrollment.evaluation.fuse import load_scores
from enrollment.evaluation.protocol import list_samples
from enrollment.evaluation.templates import make_templates
from enrollment.fusion_methods import fit_positions, to_llrs
from enrollment.settings import load_settings
from matcher.calibration import Calibrations
from matcher.fusion_fit import StrangerCorrelation, fit_correlation, stranger_correlation
from matcher.fusion_model import Correlations, FusionModel
from matcher.positions import Modality, Position
from matcher.templates import Template

DATE = datetime.date.today().isoformat()
NO_DATA = 2.0
"""What is not known is trusted less: fingers of one hand count as so many times as alike as those of two can be."""


def bssr1() -> tuple[dict[str, float], dict[str, StrangerCorrelation], int]:
    """Evidence and strangers' correlations of hands, faces and modalities, and the number of people."""
    path = shared_folder() / "data" / "scores" / "bssr1_set1" / "scores.npz"
    scores, positions, _ = load_scores(path)
    people = scores.shape[1]
    mate = np.eye(people, dtype=bool)
    table = np.moveaxis(scores, 0, -1)
    genuine, impostor = table[mate], table[~mate]
    subjects = np.stack(np.nonzero(~mate), axis=1).astype(np.int64)
    fitted = fit_positions(genuine, impostor, positions)
    ratios = to_llrs(fitted, genuine), to_llrs(fitted, impostor)
    fingers = [k for k, p in enumerate(positions) if p.modality is Modality.FINGER]
    faces = [k for k, p in enumerate(positions) if p.modality is Modality.FACE]
    evidence = {
        "other_hand": fit_correlation(ratios[0][:, fingers], ratios[1][:, fingers]),
        "faces": fit_correlation(ratios[0][:, faces], ratios[1][:, faces]),
    }
    across = [stranger_correlation(impostor[:, [f, g]], subjects) for f in faces for g in fingers]
    strangers = {
        "other_hand": stranger_correlation(impostor[:, fingers], subjects),
        "faces": stranger_correlation(impostor[:, faces], subjects),
        "modalities": StrangerCorrelation(float(np.mean([c.estimate for c in across])), max(c.upper for c in across)),
    }
    return evidence, strangers, people


def eyes(keep: Callable[[str], bool], calibrations: Calibrations) -> tuple[float, StrangerCorrelation, int, int]:
    """Evidence and strangers' correlation of the two eyes, the number of people, and of strangers' comparisons."""
    both = {Position.IRIS_LEFT, Position.IRIS_RIGHT}
    listed = list_samples(iris_folder() / "mmu2.csv", Modality.IRIS).samples
    samples = [s for s in listed if s.position in both and keep(s.subject_id)]
    made = make_templates(samples, load_settings(), processes=2).outcomes
    found: dict[tuple[str, str], dict[Position, Template]] = {}
    for sample, outcome in zip(samples, made, strict=True):
        if outcome.template is not None:
            found.setdefault((sample.subject_id, sample.encounter_id), {})[sample.position] = outcome.template
    whole = {key: sides for key, sides in found.items() if sides.keys() == both}
    people = np.unique([subject for subject, _ in whole], return_inverse=True)[1].astype(np.int64)
    pairs = np.stack(np.triu_indices(len(whole), 1), axis=1).astype(np.int64)
    table = np.stack(
        [compare_pairs([sides[side] for sides in whole.values()], pairs).scores for side in sorted(both)], axis=1
    )
    usable = ~np.isnan(table).any(axis=1)
    subjects = people[pairs]
    same = subjects[:, 0] == subjects[:, 1]
    calibration = calibrations[next(iter(whole.values()))[Position.IRIS_LEFT].algorithm]
    ratios = calibration.to_llr(calibration.to_score(table))
    evidence = fit_correlation(ratios[usable & same], ratios[usable & ~same])
    apart = usable & ~same
    return evidence, stranger_correlation(table[apart], subjects[apart]), int(people.max()) + 1, int(apart.sum())


def fit(keep: Callable[[str], bool] = lambda subject: True, calibrations: Calibrations | None = None) -> FusionModel:
    """The model, with what each value was fitted on.

    Args:
        keep: which people with two eyes may be seen; those of BSSR1 are in no other set.
        calibrations: that make eyes' scores ratios; None for the shipped ones.
    """
    evidence, strangers, people = bssr1()
    eye_evidence, eye_strangers, eye_people, eye_pairs = eyes(keep, calibrations or Calibrations.load())
    strangers = strangers | {"eyes": eye_strangers}
    about: dict[str, Any] = {
        "data": {
            "other_hand, faces, modalities": f"NIST BSSR1 set 1: {people} people, left and right index fingers, "
            "two face matchers; none of the matchers is this project's",
            "eyes": f"MMU2: {eye_people} people, {eye_pairs} comparisons of both eyes of strangers",
            "same_hand": "no data, assumed: evidence as other_hand, strangers its upper limit, their limit twice that",
        },
        "strangers_limit": "upper 90 % by bootstrap over subjects",
        "date": DATE,
        "made_by": "benchmarks/fit_fusion.py",
    }
    hand = evidence["other_hand"]
    found = {name: round(c.estimate, 3) for name, c in strangers.items()}
    upper = {name: round(c.upper, 3) for name, c in strangers.items()}
    return FusionModel(
        Correlations(same_hand=hand, other_hand=hand, eyes=eye_evidence, faces=evidence["faces"]),
        Correlations(same_hand=upper["other_hand"], **found),
        Correlations(same_hand=NO_DATA * upper["other_hand"], **upper),
        about,
    )


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--print", action="store_true", dest="only_print", help="show it, write nothing")
    arguments = parser.parse_args()
    text = fit().to_json()
    print(text)
    if not arguments.only_print:
        path: Path = ROOT / "matcher" / "calibrations" / "fusion_model.json"
        path.write_text(text + "\n")


if __name__ == "__main__":
    main()
