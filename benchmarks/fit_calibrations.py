"""Fits the calibration artefacts from real samples, as ``ambis calibrate`` does.

python -m benchmarks.fit_calibrations                  the shipped artefacts, from all real subjects
python -m benchmarks.fit_calibrations --half FOLDER    artefacts for quoting accuracy: from one half of the subjects
"""

from __future__ import annotations

import enrollment.threads  # noqa: F401  # isort: skip

import argparse
from pathlib import Path

from rich.console import Console

from benchmarks.real_data import ROOT, in_fit_half, is_real, manifests
from enrollment.calibration.artefact import DataDescription, make_artefact, require_writable, write_artefact
from enrollment.calibration.scores import score_manifests
from enrollment.calibration.table import artefact_table
from enrollment.evaluation.progress import progress_bar
from enrollment.settings import load_settings
from matcher.positions import Modality

DATA = {
    Modality.FINGER: "FVC2000 DB1_B, FVC2002 DB1_B and DB3_B, FVC2004 DB2_B, UPEK (synthetic DB4 sets left out)",
    Modality.FACE: "LFW, the people of the evaluation manifest",
    Modality.IRIS: "CASIA-IrisV1 and MMU2",
}
DATE = "2026-11-22"


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--half", type=Path, help="folder for artefacts fitted on half of the subjects")
    parser.add_argument("--modality", choices=[m.value for m in Modality], action="append")
    arguments = parser.parse_args()
    half: Path | None = arguments.half
    for modality in map(Modality, arguments.modality or [m.value for m in Modality]):
        which = "the half of the subjects that fits may see (enrollment/calibration/halves.py)" if half else "all"
        description = DataDescription(DATA[modality], DATE, which, "benchmarks/fit_calibrations.py")
        with progress_bar(quiet=False) as progress:
            scores = score_manifests(
                manifests(modality),
                modality,
                load_settings(),
                keep=lambda subject: is_real(subject) and (half is None or in_fit_half(subject)),
                processes=2,
                progress=progress,
            )
            artefact = make_artefact(scores, description, progress=progress)
        write_artefact(artefact, require_writable(half or ROOT / "matcher/calibrations", artefact.algorithm, True))
        Console().print(artefact_table(artefact), "")


if __name__ == "__main__":
    main()
