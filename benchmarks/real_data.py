"""Real samples for calibration and accuracy: where they are, and which of them are themselves synthetic.

The samples are not part of the project. ``AMBIS_SHARED`` names the folder that holds ``data/manifest.csv`` (default:
the folder ``shared`` beside the checkout); ``AMBIS_IRIS`` the one with ``casia1.csv`` and ``mmu2.csv``.
"""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

from enrollment.calibration.halves import in_fit_half as in_fit_half
from enrollment.calibration.scores import CalibrationScores, score_manifests
from enrollment.evaluation.progress import ProgressCallback, no_progress
from enrollment.evaluation.protocol import list_samples
from enrollment.settings import load_settings
from matcher.positions import Modality, Position

ROOT = Path(__file__).resolve().parent.parent
SYNTHETIC_SETS = ("fvc2000_DB4_B", "fvc2002_DB4_B", "fvc2004_DB4_B")
"""SFinGe prints: never quoted together with real ones. The ids of their subjects begin so."""


@dataclasses.dataclass(frozen=True)
class RealSample:
    """A row of a manifest."""

    path: Path
    subject_id: str
    encounter: str
    position: Position
    ppi: float | None

    @property
    def body_part(self) -> tuple[str, Position]:
        """What tells classes apart: subject and position."""
        return self.subject_id, self.position

    @property
    def dataset(self) -> str:
        """The set that the sample belongs to."""
        return dataset(self.path)

    @property
    def is_synthetic(self) -> bool:
        """Whether the sample is itself synthetic."""
        return not is_real(self.subject_id)


def dataset(path: Path) -> str:
    """The set that a sample belongs to, from its path."""
    return "lfw" if "lfw" in path.parts else path.parent.name


def is_real(subject_id: str) -> bool:
    """Whether a subject is no synthetic one."""
    return not subject_id.startswith(SYNTHETIC_SETS)


def shared_folder() -> Path:
    """The folder of real samples; raises FileNotFoundError with advice."""
    folder = Path(os.environ.get("AMBIS_SHARED") or ROOT.parent / "shared")
    if not (folder / "data" / "manifest.csv").is_file():
        raise FileNotFoundError(f"{folder} holds no data/manifest.csv; set AMBIS_SHARED to the folder of real samples")
    return folder


def iris_folder() -> Path:
    """The folder of real irises; raises FileNotFoundError with advice."""
    folder = Path(os.environ.get("AMBIS_IRIS") or Path.home() / ".cache" / "ambis-eval" / "iris")
    if not (folder / "casia1.csv").is_file():
        raise FileNotFoundError(f"{folder} holds no casia1.csv; set AMBIS_IRIS to the folder of real irises")
    return folder


def manifests(modality: Modality) -> list[Path]:
    """The manifests that list a modality's real samples."""
    if modality is Modality.IRIS:
        return [iris_folder() / name for name in ("casia1.csv", "mmu2.csv")]
    return [shared_folder() / "data" / "manifest.csv"]


def real_samples(modality: Modality) -> list[RealSample]:
    """All samples of a modality, the synthetic sets too, in the order of the manifests."""
    listed = [s for manifest in manifests(modality) for s in list_samples(manifest, modality).samples]
    return [RealSample(s.path, s.subject_id, s.encounter_id, s.position, s.ppi) for s in listed]


def real_scores(
    modality: Modality, *, processes: int = 2, progress: ProgressCallback = no_progress
) -> CalibrationScores:
    """All pairs of the real samples of a modality, compared; templates are kept as ``ambis calibrate`` keeps them."""
    return score_manifests(
        manifests(modality), modality, load_settings(), keep=is_real, processes=processes, progress=progress
    )
