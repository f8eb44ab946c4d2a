"""bozorth3 over children gives what it gives in one process, and is asked once."""

from __future__ import annotations

from pathlib import Path

import nbis
import numpy as np
import pytest
from PIL import Image

from benchmarks import bozorth3_scores as module
from benchmarks.bozorth3_scores import bozorth3_scores
from enrollment.evaluation.protocol import EvaluationSample
from enrollment.synthesis.finger import synthesise_finger
from matcher.positions import Position


def test_scores_are_the_library_s_and_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    samples = []
    for number, (finger, impression) in enumerate([(1, 0), (1, 1), (2, 0)]):
        path = tmp_path / f"{number}.png"
        Image.fromarray(synthesise_finger(finger, impression)).save(path, dpi=(500, 500))
        samples.append(EvaluationSample(number, path, f"{finger}", "0", Position.RIGHT_INDEX, 500.0, {}))
    pairs = np.array([[1, 2], [0, 1], [0, 2]], np.int64)
    monkeypatch.setattr(module, "PAIRS_A_TASK", 1)
    scores = bozorth3_scores(samples, pairs, cache=tmp_path / "cache")

    settings = nbis.NbisExtractorSettings(
        min_quality=0.0, get_center=False, check_fingerprint=False, compute_nfiq2=False, ppi=500.0
    )
    mindtct = nbis.new_nbis_extractor(settings)
    found = [mindtct.extract_minutiae(s.path.read_bytes()) for s in samples]
    assert scores.tolist() == [found[a].compare(found[b]) for a, b in pairs]
    assert scores[1] > max(scores[0], scores[2])

    monkeypatch.setattr(module, "in_processes", None)
    assert bozorth3_scores(samples, pairs, cache=tmp_path / "cache").tolist() == scores.tolist()
    with pytest.raises(TypeError):
        bozorth3_scores(samples, pairs[:2], cache=tmp_path / "cache")
