"""Scores of NBIS, mindtct with bozorth3, of pairs of images: made in child processes, and kept.

mindtct gets the image resampled to 500 ppi, which it is made for, as the project's extractor does; it refuses nothing.
bozorth3 takes the 150 minutiae of the highest reliability. Scores are kept in the evaluation cache under a key of the
images, the pairs and the library's version. Source: C. I. Watson et al., "User's guide to NIST Biometric Image Software
(NBIS)", NISTIR 7392 (2007).
"""

from __future__ import annotations

import hashlib
import importlib.metadata
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nbis
import numpy as np
from numpy.typing import NDArray

from enrollment.evaluation.progress import ProgressCallback, no_progress
from enrollment.evaluation.protocol import EvaluationSample
from enrollment.evaluation.side_by_side import in_processes
from enrollment.evaluation.templates import default_cache
from enrollment.extract.finger import PPI, resample
from enrollment.images import decode_image

PAIRS_A_TASK = 500

_Task = tuple[int, NDArray[np.int64]]


def bozorth3_scores(
    samples: Sequence[EvaluationSample],
    pairs: NDArray[np.int64],
    *,
    processes: int = 2,
    cache: Path | None = None,
    progress: ProgressCallback = no_progress,
) -> NDArray[np.float64]:
    """Scores, float64[n] of whole numbers, 0 and more, of pairs (int64[n, 2], numbers of samples).

    Args:
        processes: that compare side by side.
        cache: folder; None for ``default_cache()``.
    """
    digest = hashlib.sha256(importlib.metadata.version("nbis-py").encode())
    for sample in samples:
        digest.update(hashlib.sha256(sample.path.read_bytes()).digest() + str(sample.ppi).encode())
    digest.update(np.ascontiguousarray(pairs).tobytes())
    kept = (cache or default_cache()) / f"bozorth3-{digest.hexdigest()[:12]}.npy"
    if kept.is_file():
        return np.asarray(np.load(kept), np.float64)
    # By probe and reference, so that a child extracts few images before it begins to compare.
    order = np.lexsort((pairs[:, 1], pairs[:, 0]))
    parts = np.array_split(order, max(1, len(order) // PAIRS_A_TASK))
    tasks: list[_Task] = [(number, pairs[part]) for number, part in enumerate(parts)]
    scores = np.empty(len(pairs))
    images = [(sample.path, sample.ppi) for sample in samples]
    for done, (number, found) in enumerate(in_processes(processes, _compare, tasks, _start, images), 1):
        scores[parts[number]] = found
        progress("bozorth3", done, len(tasks))
    kept.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    np.save(kept, scores)
    return scores


_images: Sequence[tuple[Path, float | None]] = ()
_extractor: Any = None
_minutiae: dict[int, Any] = {}


def _start(images: Sequence[tuple[Path, float | None]]) -> None:
    global _images, _extractor
    _images = images
    _extractor = nbis.new_nbis_extractor(
        nbis.NbisExtractorSettings(
            min_quality=0.0, get_center=False, check_fingerprint=False, compute_nfiq2=False, ppi=PPI
        )
    )


def _compare(task: _Task) -> tuple[int, NDArray[np.float64]]:
    number, pairs = task
    scores = [_found(probe).compare(_found(reference)) for probe, reference in pairs.tolist()]
    return number, np.array(scores, np.float64)


def _found(number: int) -> Any:
    if number not in _minutiae:
        path, ppi = _images[number]
        image = decode_image(path.read_bytes(), ppi=ppi)
        grey = resample(image.grey, PPI / (image.ppi or PPI))
        _minutiae[number] = _extractor.extract_minutiae(b"P5 %d %d 255\n" % grey.shape[::-1] + grey.tobytes())
    return _minutiae[number]
