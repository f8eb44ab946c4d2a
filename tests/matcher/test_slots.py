"""The slot table against a dictionary that does the same slowly."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from matcher.slots import SlotTable

ids = st.integers(-(2**63), 2**63 - 1) | st.integers(0, 12)
labels = st.integers(1, 2**64 - 1) | st.sampled_from([1, 2, 3, 1 << 63, (1 << 64) - 1])


class SlotMachine(RuleBasedStateMachine):
    """Random appends, removals and compactions; the model is the list of all rows and which of them is alive."""

    def __init__(self) -> None:
        super().__init__()
        self.table = SlotTable()
        self.rows: list[tuple[int, int]] = []
        self.alive: dict[int, int] = {}

    @rule(entries=st.lists(st.tuples(ids, labels), max_size=8))
    def append(self, entries: list[tuple[int, int]]) -> None:
        self.table.append([i for i, _ in entries], [label for _, label in entries])
        for reference, label in entries:
            self.alive[reference] = len(self.rows)
            self.rows.append((reference, label))

    @rule(count=st.integers(200, 600), start=st.integers(0, 5))
    def append_many(self, count: int, start: int) -> None:
        self.append([(start + i, 1 + i % 7) for i in range(count)])

    @rule(gone=st.lists(ids, max_size=8))
    def remove(self, gone: list[int]) -> None:
        self.table.remove(gone)
        for reference in gone:
            self.alive.pop(reference, None)

    @rule()
    def compact(self) -> None:
        kept = self.table.compact()
        assert kept.dtype == np.int64
        assert kept.tolist() == sorted(self.alive.values())
        self.rows = [self.rows[slot] for slot in kept]
        self.alive = {reference: slot for slot, (reference, _) in enumerate(self.rows)}
        assert not self.table.wants_compaction()

    @invariant()
    def same_as_model(self) -> None:
        table = self.table
        assert len(table) == len(self.alive)
        assert table.size == len(self.rows)
        assert table.ids.tolist() == [reference for reference, _ in self.rows]
        live = set(self.alive.values())
        assert [table.label_of(s) for s in range(table.size)] == [
            label if slot in live else 0 for slot, (_, label) in enumerate(self.rows)
        ]
        for mask in (1, 1 << 63, (1 << 64) - 1):
            expected = [slot in live and bool(label & mask) for slot, (_, label) in enumerate(self.rows)]
            assert table.selected(mask).tolist() == expected
        known = list(self.alive)[:40]
        absent = [i for i in range(-3, 3) if i not in self.alive]
        asked = np.array(known + absent, np.int64)
        assert table.slots(asked).tolist() == [self.alive[i] for i in known] + [-1] * len(absent)


SlotMachine.TestCase.settings = settings(max_examples=40, stateful_step_count=20, deadline=None)
TestSlotMachine = SlotMachine.TestCase


def test_an_id_that_comes_again_keeps_only_its_new_row() -> None:
    table = SlotTable()
    table.append([5, 5, 6], [1, 2, 4])
    assert len(table) == 2
    assert table.selected((1 << 64) - 1).tolist() == [False, True, True]
    assert table.label_of(1) == 2


def test_compaction_is_wanted_when_enough_rows_are_dead_and_not_before() -> None:
    table = SlotTable()
    n = 4 * SlotTable.COMPACT_MINIMUM
    table.append(range(n), [1] * n)
    assert not table.wants_compaction()
    table.remove(range(SlotTable.COMPACT_MINIMUM))
    assert not table.wants_compaction()
    table.remove([SlotTable.COMPACT_MINIMUM])
    assert table.wants_compaction()
    few = SlotTable()
    few.append(range(100), [1] * 100)
    few.remove(range(100))
    assert not few.wants_compaction()


@pytest.mark.parametrize("bad", [[0], [-1], [1 << 64], [1, 0]])
def test_a_reference_without_a_gallery_is_refused_and_nothing_is_changed(bad: list[int]) -> None:
    """A label of 0 marks a dead row: such a reference would count as alive and be lost in the next compaction."""
    table = SlotTable()
    table.append([7], [1])
    with pytest.raises(ValueError, match="label"):
        table.append(list(range(7, 7 + len(bad))), bad)
    assert (len(table), table.size, table.label_of(0)) == (1, 1, 1)


def test_ids_and_labels_of_unequal_number_are_refused_and_nothing_is_changed() -> None:
    table = SlotTable()
    with pytest.raises(ValueError, match="labels"):
        table.append([1, 2, 3], [1])
    assert (len(table), table.size) == (0, 0)
