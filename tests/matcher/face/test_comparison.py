"""The face comparator against the definition of the cosine, and what it refuses."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from matcher.errors import InvalidInput, ModelMismatch
from matcher.face.comparison import FaceComparator, cosines
from matcher.positions import Modality
from matcher.templates import IrisCode, IrisTemplate
from tests.matcher.face.embeddings import FACE_ALGORITHM, face_template, random_units


def test_score_is_the_cosine_by_its_definition() -> None:
    comparator = FaceComparator(FACE_ALGORITHM)
    a, b = random_units(2, 512, seed=3)
    expected = math.fsum(float(x) * float(y) for x, y in zip(a, b, strict=True))
    score = comparator.compare(comparator.prepare(face_template(a)), comparator.prepare(face_template(b)))
    assert score == pytest.approx(expected, abs=2e-7)


def test_a_template_scores_one_against_itself_even_when_its_length_is_a_little_off() -> None:
    comparator = FaceComparator(FACE_ALGORITHM)
    template = face_template(random_units(1, 512)[0] * np.float32(1.0009))
    prepared = comparator.prepare(template)
    assert comparator.compare(prepared, prepared) == pytest.approx(1.0, abs=1e-6)
    assert not prepared.flags.writeable


@given(st.integers(0, 2**32 - 1), st.integers(64, 600))
def test_comparison_is_symmetric_and_bounded(seed: int, dimension: int) -> None:
    comparator = FaceComparator(FACE_ALGORITHM)
    a, b = (comparator.prepare(face_template(row)) for row in random_units(2, dimension, seed))
    assert comparator.compare(a, b) == comparator.compare(b, a)
    assert abs(comparator.compare(a, b)) <= 1.0 + 1e-6


def test_many_rows_score_exactly_as_each_alone() -> None:
    rows = random_units(2500, 512, seed=5)
    together = cosines(rows, rows[7])
    alone = np.array([cosines(rows[i : i + 1], rows[7])[0] for i in range(len(rows))])
    assert np.array_equal(together, alone)


def test_templates_of_another_model_are_refused() -> None:
    comparator = FaceComparator("face-insightface-0123456789ab")
    assert comparator.modality is Modality.FACE
    assert comparator.algorithms == {"face-insightface-0123456789ab"}
    with pytest.raises(ModelMismatch, match="extract it again"):
        comparator.prepare(face_template(random_units(1)[0]))


def test_a_template_of_another_modality_is_refused() -> None:
    search, verification = (IrisCode(np.zeros(n, np.uint64), np.zeros(n, np.uint64)) for n in (8, 64))
    iris = IrisTemplate(FACE_ALGORITHM, 1, 64, search, verification)
    with pytest.raises(InvalidInput, match="iris"):
        FaceComparator(FACE_ALGORITHM).prepare(iris)


def test_embeddings_of_different_lengths_are_never_compared() -> None:
    comparator = FaceComparator(FACE_ALGORITHM)
    short, long = (comparator.prepare(face_template(random_units(1, d)[0])) for d in (128, 512))
    with pytest.raises(ModelMismatch):
        comparator.compare(short, long)
