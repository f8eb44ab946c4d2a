"""Real samples for calibration and accuracy: where they are, who is in them, and their templates.

The samples are not part of the project. ``AMBIS_SHARED`` names the folder that holds ``data/manifest.csv`` (default:
the folder ``shared`` beside the checkout); ``AMBIS_IRIS`` the one with ``casia1.csv`` and ``mmu2.csv``.
"""

from __future__ import annotations

import csv
import dataclasses
import hashlib
import multiprocessing
import os
import pickle
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from enrollment.extract.extractors import Extractors
from enrollment.serving import load_extractors
from enrollment.settings import load_settings
from matcher.comparators import index_for
from matcher.errors import AmbisError
from matcher.positions import Modality, Position
from matcher.templates import Template, template_from_bytes

ROOT = Path(__file__).resolve().parent.parent
SYNTHETIC_SETS = ("fvc2000_DB4_B", "fvc2002_DB4_B", "fvc2004_DB4_B")
"""SFinGe prints: never quoted together with real ones."""


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
        """The set that the sample belongs to, from its path."""
        return "lfw" if "lfw" in self.path.parts else self.path.parent.name

    @property
    def is_synthetic(self) -> bool:
        """Whether the sample is itself synthetic."""
        return self.dataset in SYNTHETIC_SETS


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


def real_samples(modality: Modality) -> list[RealSample]:
    """All real samples of a modality, in the order of the manifests."""
    if modality is Modality.IRIS:
        manifests = [iris_folder() / name for name in ("casia1.csv", "mmu2.csv")]
    else:
        manifests = [shared_folder() / "data" / "manifest.csv"]
    return [s for manifest in manifests for s in _rows(manifest) if s.position.modality is modality]


def _rows(manifest: Path) -> Iterator[RealSample]:
    with manifest.open(newline="") as file:
        for row in csv.DictReader(file):
            ppi = float(row["ppi"]) if row["ppi"] else None
            position = Position.parse(row["position"], row["modality"])
            yield RealSample(manifest.parent / row["path"], row["subject_id"], row["encounter"], position, ppi)


def in_fit_half(subject_id: str) -> bool:
    """Whether what is fitted may see this subject. A property of the name alone, so that it holds for every program."""
    return hashlib.sha256(subject_id.encode()).digest()[0] % 2 == 0


_extractors: Extractors | None = None


def _extract(sample: RealSample) -> bytes | str:
    global _extractors
    if _extractors is None:
        _extractors = load_extractors(load_settings())
    try:
        data = sample.path.read_bytes()
        return _extractors.extract(sample.position, data, "", sample.ppi).template.to_bytes()
    except AmbisError as error:
        return f"{error.reason}: {error.message}"


def _code_digest(modality: Modality) -> str:
    """Changes with the code that makes the templates."""
    digest = hashlib.sha256()
    for path in sorted((ROOT / "enrollment" / "extract").glob("*.py")):
        others = {m.value for m in Modality} - {modality.value}
        if path.name.removesuffix(".py").split("_")[0] not in others:
            digest.update(path.read_bytes())
    digest.update((ROOT / "enrollment" / "images.py").read_bytes())
    return digest.hexdigest()[:12]


def templates(samples: Sequence[RealSample], processes: int = 2) -> list[Template | str]:
    """The template of every sample, or why there is none. Kept in ``build/templates`` for these extractors."""
    extractors = load_extractors(load_settings())
    algorithms = {s.modality: s.algorithm for s in extractors.status()}
    modality = samples[0].position.modality
    cache_file = ROOT / "build" / "templates" / f"{algorithms[modality]}-{_code_digest(modality)}.pickle"
    cache: dict[str, bytes | str] = pickle.loads(cache_file.read_bytes()) if cache_file.is_file() else {}
    keys = [f"{hashlib.sha256(s.path.read_bytes()).hexdigest()}|{int(s.position)}|{s.ppi}" for s in samples]
    missing = [(k, s) for k, s in zip(keys, samples, strict=True) if k not in cache]
    if missing:
        with multiprocessing.get_context("spawn").Pool(processes) as pool:
            for (key, _), made in zip(missing, pool.imap(_extract, [s for _, s in missing], 8), strict=True):
                cache[key] = made
        cache_file.parent.mkdir(parents=True, exist_ok=True)
        cache_file.write_bytes(pickle.dumps(cache))
    found = [cache[k] for k in keys]
    return [template_from_bytes(f) if isinstance(f, bytes) else f for f in found]


@dataclasses.dataclass(frozen=True, eq=False)
class PairScores:
    """Raw scores of all pairs of samples.

    Attributes:
        genuine: float64[g], pairs of one body part; impostor: float64[n], pairs of two.
        impostor_subjects: int64[n, 2], numbers of the two subjects.
        not_comparable: pairs without a score, left out of both.
    """

    genuine: NDArray[np.float64]
    impostor: NDArray[np.float64]
    impostor_subjects: NDArray[np.int64]
    not_comparable: int


def all_pairs(samples: Sequence[RealSample], made: Sequence[Template]) -> PairScores:
    """Compares every sample with every later one, through the index that serves searches."""
    index = index_for(made[0].modality, made[0].algorithm)
    index.apply([], [(i, 1, t) for i, t in enumerate(made)])
    numbers: dict[tuple[str, Position], int] = {}
    parts = np.array([numbers.setdefault(s.body_part, len(numbers)) for s in samples])
    people = np.unique([s.subject_id for s in samples], return_inverse=True)[1].astype(np.int64)
    genuine, impostor, pairs, lost = [], [], [], 0
    for i in range(len(made) - 1):
        later = np.arange(i + 1, len(made), dtype=np.int64)
        scores = index.compare(index.comparator.prepare(made[i]), later)
        same = parts[later] == parts[i]
        usable = ~np.isnan(scores)
        lost += int((~usable).sum())
        genuine.append(scores[same & usable])
        impostor.append(scores[~same & usable])
        others = people[later[~same & usable]]
        pairs.append(np.stack([np.full_like(others, people[i]), others], axis=1))
    return PairScores(np.concatenate(genuine), np.concatenate(impostor), np.concatenate(pairs), lost)
