"""Iris templates in bulk: seeded, distributed like strangers, and varied captures are still the same eye."""

from __future__ import annotations

import numpy as np

from enrollment.synthesis.iris_templates import bulk_iris_codes, bulk_iris_templates, vary
from matcher.iris.comparison import IrisComparator
from matcher.templates import template_from_bytes

COMPARATOR = IrisComparator()


def test_seeded_and_a_longer_run_begins_like_a_shorter_one() -> None:
    bits, masks = bulk_iris_codes(50, 3)
    assert bits.dtype == masks.dtype == np.uint64
    assert bits.shape == masks.shape == (50, 32)
    more, more_masks = bulk_iris_codes(5000, 3)
    assert np.array_equal(more[:50], bits)
    assert np.array_equal(more_masks[:50], masks)
    assert not np.array_equal(bulk_iris_codes(50, 4)[0], bits)
    assert len(np.unique(more, axis=0)) == 5000


def test_bits_lie_inside_their_masks_and_templates_are_valid() -> None:
    bits, masks = bulk_iris_codes(200, 1)
    assert not np.any(bits & ~masks)
    shares = np.bitwise_count(masks).sum(axis=1) / 2048
    assert 0.5 < shares.mean() < 0.85
    for template in bulk_iris_templates(20, 1):
        assert template_from_bytes(template.to_bytes()) == template


def test_strangers_scatter_like_real_ones() -> None:
    """Normalised distance without rotation: 0.5 +- 0.027 between eyes of CASIA-Iris-V1."""
    bits, masks = bulk_iris_codes(300, 2)
    scores = []
    for i in range(299):
        common = masks[i] & masks[i + 1 :]
        n = np.bitwise_count(common).sum(axis=1)
        d = np.bitwise_count((bits[i] ^ bits[i + 1 :]) & common).sum(axis=1)
        scores.append((d / n - 0.5) * np.sqrt(n / 1300))
    z = np.concatenate(scores)
    assert abs(z.mean()) < 0.003
    assert 0.022 < z.std() < 0.032


def test_varied_captures_match_and_strangers_do_not() -> None:
    templates = bulk_iris_templates(101, 5)
    prepared = [COMPARATOR.prepare(t) for t in templates]
    again = [COMPARATOR.prepare(vary(t, seed)) for seed, t in enumerate(templates)]
    genuine = [0.5 - COMPARATOR.compare(a, b) for a, b in zip(prepared, again, strict=True)]
    strangers = [0.5 - COMPARATOR.compare(a, b) for a, b in zip(prepared, again[1:], strict=False)]
    assert max(genuine) < 0.34
    assert min(strangers) > 0.38
    assert vary(templates[0], 1) == vary(templates[0], 1)
    assert vary(templates[0], 1) != vary(templates[0], 2)
