"""Fits the calibration artefacts from real samples.

    python -m benchmarks.fit_calibrations                  the shipped artefacts, from all real subjects
    python -m benchmarks.fit_calibrations --half FOLDER    artefacts for quoting accuracy: from one half of the subjects

Prints how well each one holds: the FMR asked for against the one observed on the half of the subjects that it was not
fitted on (for the shipped ones, of a fit on the other half).
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from pathlib import Path

from benchmarks.real_data import ROOT, RealSample, all_pairs, in_fit_half, real_samples, templates
from matcher.calibration import Calibration, fit_calibration
from matcher.positions import Modality
from matcher.templates import Template

DATA = {
    Modality.FINGER: "FVC2000 DB1_B, FVC2002 DB1_B and DB3_B, FVC2004 DB2_B, UPEK (synthetic DB4 sets left out)",
    Modality.FACE: "LFW, the people of the evaluation manifest",
    Modality.IRIS: "CASIA-IrisV1 and MMU2",
}
DATE = "2026-11-22"
CHECKED = (20.0, 30.0, 40.0)


def usable(modality: Modality) -> tuple[list[RealSample], list[Template], int]:
    """The real samples of a modality that have a template, and how many have none."""
    samples = [s for s in real_samples(modality) if not s.is_synthetic]
    made = templates(samples)
    kept = [(s, t) for s, t in zip(samples, made, strict=True) if not isinstance(t, str)]
    return [s for s, _ in kept], [t for _, t in kept], len(samples) - len(kept)


def side(
    samples: Sequence[RealSample], made: Sequence[Template], fit_half: bool
) -> tuple[list[RealSample], list[Template]]:
    """The samples and templates of one half of the subjects."""
    kept = [i for i, s in enumerate(samples) if in_fit_half(s.subject_id) is fit_half]
    return [samples[i] for i in kept], [made[i] for i in kept]


def fit(samples: Sequence[RealSample], made: Sequence[Template], which: str) -> Calibration:
    """An artefact from these samples; ``which`` says which subjects they are."""
    modality, algorithm = made[0].modality, made[0].algorithm
    scores = all_pairs(samples, made)
    about = {
        "data": DATA[modality],
        "subjects": len({s.subject_id for s in samples}),
        "body_parts": len({s.body_part for s in samples}),
        "which": which,
        "samples": len(samples),
        "date": DATE,
        "made_by": "benchmarks/fit_calibrations.py",
        "limits": "FMR: upper 90 % by bootstrap over subjects; trusted_to: rule of three, n / design effect",
    }
    return fit_calibration(modality, algorithm, scores.genuine, scores.impostor, about, scores.impostor_subjects)


def check(calibration: Calibration, samples: Sequence[RealSample], made: Sequence[Template]) -> str:
    """FMR asked against FMR observed, in words."""
    scores = all_pairs(samples, made)
    reached = calibration.to_score(scores.impostor)
    parts = []
    for asked in CHECKED:
        count = int((reached >= asked).sum())
        seen = f"{-10 * math.log10(count / len(reached)):.1f}" if count else "none"
        parts.append(f"{asked:.0f} -> {seen} ({count} of {len(reached):,})")
    return "; ".join(parts)


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--half", type=Path, help="folder for artefacts fitted on half of the subjects")
    parser.add_argument("--modality", choices=[m.value for m in Modality], action="append")
    arguments = parser.parse_args()
    for modality in map(Modality, arguments.modality or [m.value for m in Modality]):
        samples, made, lost = usable(modality)
        half = fit(*side(samples, made, True), "the fit half (benchmarks/real_data.py:in_fit_half)")
        held = check(half, *side(samples, made, False))
        print(f"{modality}: {len(samples)} samples, {lost} without a template")
        print(f"  score asked -> observed on the other half: {held}")
        if arguments.half:
            artefact, folder = half, arguments.half
        else:
            artefact, folder = fit(samples, made, "all"), ROOT / "matcher" / "calibrations"
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{artefact.algorithm}.json"
        path.write_text(artefact.to_json() + "\n")
        print(f"  {path.name}: trusted to {artefact.trusted_to:.1f}; {artefact.about}")


if __name__ == "__main__":
    main()
