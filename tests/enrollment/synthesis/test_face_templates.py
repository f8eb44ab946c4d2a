"""Face embeddings in bulk: unit length, repeatable, spread like a network's; second captures at their cosine."""

from __future__ import annotations

import numpy as np
import pytest

from enrollment.synthesis.face_templates import FaceVectorParameters, bulk_face_templates, bulk_face_vectors, vary
from matcher.templates import template_from_bytes


@pytest.mark.parametrize(("count", "dimension"), [(0, 512), (1, 64), (1000, 512), (40000, 128)])
def test_rows_are_float32_of_unit_length(count: int, dimension: int) -> None:
    vectors = bulk_face_vectors(count, 1, dimension=dimension)
    assert vectors.dtype == np.float32
    assert vectors.shape == (count, dimension)
    assert np.allclose(np.linalg.norm(vectors.astype(np.float64), axis=1), 1.0, atol=1e-5)


def test_same_seed_same_bytes_other_seed_other_people() -> None:
    a = bulk_face_vectors(500, 1)
    assert a.tobytes() == bulk_face_vectors(500, 1).tobytes()
    assert vary(a, 3).tobytes() == vary(a, 3).tobytes()
    assert np.abs(a @ bulk_face_vectors(500, 2).T).max() < 0.6
    assert np.abs(vary(a, 3) - vary(a, 4)).max() > 0.01


def test_a_longer_run_begins_with_a_shorter_one_and_a_part_of_it_is_the_same_part() -> None:
    block = FaceVectorParameters().block
    vectors = bulk_face_vectors(block + 300, 1, dimension=64)
    assert np.allclose(vectors[:40], bulk_face_vectors(40, 1, dimension=64), rtol=0, atol=1e-6)
    part = bulk_face_vectors(400, 1, first=block - 200, dimension=64)
    assert np.allclose(vectors[block - 200 : block + 200], part, rtol=0, atol=1e-6)


def test_blocks_do_not_repeat() -> None:
    block = FaceVectorParameters().block
    vectors = bulk_face_vectors(2 * block, 1, dimension=64)
    assert not np.allclose(vectors[:100], vectors[block : block + 100])


def test_different_people_are_spread_like_embeddings_of_a_network() -> None:
    vectors = bulk_face_vectors(3000, 5)
    cosines = (vectors @ vectors.T)[np.triu_indices(3000, 1)]
    # Of different people of LFW by the compact model: 90, 99 and 99.9 %.
    for percent, real in ((90, 0.123), (99, 0.238), (99.9, 0.330)):
        assert abs(np.percentile(cosines, percent) - real) < 0.015
    assert abs(cosines.mean()) < 0.02
    # No axis is special: quantisation sees all of them alike.
    deviation = vectors.std(axis=0)
    assert deviation.max() / deviation.min() < 2.5


@pytest.mark.parametrize("cosine", [0.3, 0.7])
def test_second_captures_lie_at_the_cosine_asked_for(cosine: float) -> None:
    vectors = bulk_face_vectors(4000, 6)
    again = vary(vectors, 9, cosine=cosine)
    assert np.allclose(np.linalg.norm(again.astype(np.float64), axis=1), 1.0, atol=1e-5)
    found = np.einsum("ij,ij->i", vectors, again)
    assert abs(found.mean() - cosine) < 0.01
    assert abs(found.std() - FaceVectorParameters().capture_sd) < 0.01


def test_templates_hold_the_vectors() -> None:
    templates = bulk_face_templates(20, 8, algorithm="face-test-1")
    assert np.array_equal(np.stack([t.embedding for t in templates]), bulk_face_vectors(20, 8))
    assert template_from_bytes(templates[3].to_bytes()) == templates[3]
    assert templates[3].algorithm == "face-test-1"
