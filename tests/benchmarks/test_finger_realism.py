"""Which pairs the quantiles of real and synthetic strangers rest on."""

from __future__ import annotations

import numpy as np

from benchmarks.finger_realism import QUANTILES, Print, compare_quantiles, first_impressions, realism
from enrollment.synthesis.finger_templates import bulk_finger_templates, vary


def prints() -> list[Print]:
    """Two impressions of each of four fingers of two sets; the first impression of finger 1 was refused."""
    templates = bulk_finger_templates(4, 1)
    made = []
    for finger, template in enumerate(templates):
        for impression in range(2):
            kept = None if (finger, impression) == (1, 0) else vary(template, impression)
            made.append(Print(("a", "b")[finger % 2], f"{finger}", finger, impression, kept))
    return made


def test_the_first_impression_that_has_a_template() -> None:
    assert [(p.finger, p.impression) for p in first_impressions(prints())] == [(0, 0), (1, 1), (2, 0), (3, 0)]


def test_mates_are_no_strangers_and_sets_are_told_apart() -> None:
    values = np.array([[9.0, 1.0, 2.0, 5.0, 5.0, 5.0]])
    same_finger, same_set = np.array([[True, False, False]]), np.array([[True, True, False]])
    found = compare_quantiles(values, same_finger, same_set, 3)
    assert {name: one["pairs"] for name, one in found.items()} == {
        "real, same set": 1,
        "real, other sets": 1,
        "real, all": 2,
        "synthetic": 3,
    }
    assert found["real, same set"]["quantiles"] == [1.0] * len(QUANTILES)
    assert found["real, other sets"]["quantiles"] == [2.0] * len(QUANTILES)
    assert found["synthetic"]["quantiles"] == [5.0] * len(QUANTILES)


def test_both_stages_are_compared() -> None:
    found = realism(prints(), bulk_finger_templates(6, 2), ["a"])
    assert found["LGS-R"]["synthetic"]["pairs"] == found["score"]["synthetic"]["pairs"] == 4 * 6
    assert found["score"]["real, all"]["pairs"] == 4 * 3
    assert found["score"]["real, same set"]["pairs"] == 4
    assert 0 < found["LGS-R"]["synthetic"]["quantiles"][-1] < 0.1
