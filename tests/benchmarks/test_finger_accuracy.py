"""Which pairs the rates of verification rest on."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from benchmarks.finger_accuracy import Verification, evaluate, rates
from enrollment.evaluation.bootstrap import BootstrapParameters
from enrollment.evaluation.protocol import Impostors

P = BootstrapParameters(resamples=20)
SETS = ["fvc2002_DB1_B"] * 9 + ["fvc2002_DB4_B"] * 6
FINGER = np.repeat(np.arange(5), 3)
FIRST = np.arange(15) % 3 == 0


def compared() -> Verification:
    """Three impressions of three real and two synthetic fingers; mates score 10 and more, strangers less than 1."""
    pairs = np.array(list(itertools.combinations(range(15), 2)), np.int64)
    mated = FINGER[pairs[:, 0]] == FINGER[pairs[:, 1]]
    scores = np.where(mated, 10.0, 0.0) + np.arange(len(pairs)) / 1000
    # Impression 14 was refused.
    scores[(pairs == 14).any(axis=1)] = np.nan
    return Verification(pairs, scores, FINGER, FIRST)


def test_pairs_of_each_protocol() -> None:
    one = compared()
    real = np.arange(15) < 9
    fvc, every = one.among(real, Impostors.FIRST), one.among(real, Impostors.ALL)
    assert (len(fvc.genuine), len(fvc.impostor), fvc.subjects) == (9, 3, 3)
    assert (len(every.genuine), len(every.impostor)) == (9, 27)
    assert every.genuine.min() >= 10
    assert every.impostor.max() < 1


def test_a_refused_image_is_a_miss_and_no_impostor() -> None:
    synthetic = compared().among(np.arange(15) >= 9, Impostors.ALL)
    assert synthetic.subjects == 2
    assert set(synthetic.genuine_subjects.tolist()) == {0, 1}
    assert synthetic.impostor_subjects.tolist() == [[0, 1]] * 6
    assert np.isneginf(synthetic.genuine).sum() == 2
    found = rates(synthetic, P)
    assert found["genuine_failed"] == 2
    assert found["eer_measured"] > 0
    assert found["eer_of_compared"] == 0


def test_over_sets_strangers_of_two_sets_count_as_well() -> None:
    found = evaluate(compared(), SETS, P)
    assert list(found["sets"]) == ["fvc2002_DB1_B", "fvc2002_DB4_B"]
    assert found["across"]["all sets"]["impostor"] == math.comb(14, 2) - 4 * 3 - 1
    assert found["across"]["real sets"]["impostor"] == 27
    assert found["across"]["all sets"]["genuine"] == 15
    assert found["sets"]["fvc2002_DB1_B"]["all"]["eer_measured"] == pytest.approx(0.0)
