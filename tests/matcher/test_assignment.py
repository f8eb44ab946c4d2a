"""Pairing of body parts against a plain walk over all pairs."""

from __future__ import annotations

from collections import Counter

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from matcher.assignment import Pairs, assign
from matcher.positions import UNKNOWN_POSITIONS, Modality, Position

MODALITIES = list(Modality)
PROBES = (Position.RIGHT_INDEX, Position.FINGER_UNKNOWN, Position.FACE, Position.IRIS_UNKNOWN, Position.IRIS_LEFT)
REFERENCES = (Position.RIGHT_INDEX, Position.LEFT_THUMB, Position.FINGER_UNKNOWN, Position.FACE, Position.IRIS_LEFT)
Row = tuple[int, float, int, Position, Position, int]
"""Subject, raw score, number and position of the sample, position and number of the reference."""


def slowly(rows: list[Row]) -> list[tuple[Row, int]]:
    """What the module's first lines say, step by step."""
    result = []
    for subject in sorted({row[0] for row in rows}):
        own = [row for row in rows if row[0] == subject]
        ambiguous = {r[3].modality for r in own if r[3].is_unknown and r[4].is_unknown}

        def parts(row: Row, ambiguous: set[Modality] = ambiguous) -> tuple[object, object]:
            _, _, probe, position, other, reference = row
            if position.modality in ambiguous:
                return position.modality, position.modality
            side: object = ("sample", probe) if position.is_unknown else position
            return side, ("reference", other, reference) if other.is_unknown else other

        in_row = Counter(parts(row)[0] for row in own)
        in_column = Counter(parts(row)[1] for row in own)
        in_cell = Counter(parts(row) for row in own)
        used_rows: set[object] = set()
        used_columns: set[object] = set()
        for row in sorted(own, key=lambda r: (-r[1], r[2], r[5] // 2, r[4], r[5])):
            a, b = parts(row)
            if a not in used_rows and b not in used_columns:
                used_rows.add(a)
                used_columns.add(b)
                result.append((row, in_row[a] + in_column[b] - in_cell[a, b]))
    return result


def quickly(rows: list[Row]) -> list[tuple[Row, int]]:
    subject, raw, probe, position, other, reference = (list(column) for column in zip(*rows, strict=True))
    pairs = Pairs(
        np.array(subject, np.int64),
        np.array(raw, np.float64),
        np.array(probe, np.int32),
        np.array(position, np.int32),
        np.isin(position, UNKNOWN_POSITIONS),
        np.array(other, np.int32),
        np.isin(other, UNKNOWN_POSITIONS),
        np.array([MODALITIES.index(p.modality) for p in position], np.int32),
        # Two references an encounter.
        np.array(reference, np.int32) // 2,
        np.array([r + 1000 * o for r, o in zip(reference, other, strict=True)], np.int64),
    )
    chosen, tried = assign(pairs)
    return [(rows[i], m) for i, m in zip(chosen.tolist(), tried.tolist(), strict=True)]


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_equals_the_walk_over_all_pairs(data: st.DataObject) -> None:
    rows: list[Row] = []
    for subject in range(data.draw(st.integers(1, 4))):
        probes = data.draw(st.lists(st.sampled_from(PROBES), min_size=1, max_size=4))
        references = data.draw(st.lists(st.sampled_from(REFERENCES), min_size=1, max_size=4))
        for i, position in enumerate(probes):
            for k, other in enumerate(references):
                if position.may_match(other):
                    # Few different scores, so that there are ties.
                    rows.append((subject, float(data.draw(st.integers(0, 3))), i, position, other, k))
    if rows:
        assert quickly(rows) == slowly(rows)


def test_no_pairs() -> None:
    none = np.zeros(0)
    pairs = Pairs(*(none.astype(t) for t in "lfii?i?iil"))
    assert [len(a) for a in assign(pairs)] == [0, 0]
