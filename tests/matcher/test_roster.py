"""The roster against plain lists of people."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from matcher.changes import EncounterEnrolled
from matcher.errors import Overloaded
from matcher.filters import EVERYBODY, SearchFilter, Sex
from matcher.roster import MAX_GALLERIES, Roster, RosterView

GALLERIES = ("red", "blue", "green")
TYPES = ("", "arrest", "border")

people = st.builds(
    EncounterEnrolled,
    lsn=st.just(1),
    subject_id=st.sampled_from([f"s{i}" for i in range(6)]),
    encounter_id=st.sampled_from(["1", "2", "3"]),
    galleries=st.lists(st.sampled_from(GALLERIES), min_size=1, max_size=2).map(tuple),
    references=st.just(()),
    sex=st.sampled_from(Sex),
    birth_year=st.sampled_from([0, 1950, 1990, 2005]),
    encounter_type=st.sampled_from(TYPES),
)
filters = st.builds(
    SearchFilter,
    galleries=st.lists(st.sampled_from((*GALLERIES, "none")), max_size=2).map(tuple),
    sexes=st.lists(st.sampled_from(Sex), max_size=2).map(tuple),
    born=st.one_of(st.none(), st.tuples(st.sampled_from([1940, 1960]), st.sampled_from([1990, 2010]))),
    encounter_types=st.lists(st.sampled_from((*TYPES, "none")), max_size=2).map(tuple),
)


def passes(change: EncounterEnrolled, which: SearchFilter) -> bool:
    if which.galleries and not set(which.galleries) & set(change.galleries):
        return False
    if which.sexes and change.sex not in (Sex.UNKNOWN, *which.sexes):
        return False
    if which.born and change.birth_year and not which.born[0] <= change.birth_year <= which.born[1]:
        return False
    return not which.encounter_types or change.encounter_type in which.encounter_types


def chosen(view: RosterView, which: SearchFilter) -> set[tuple[str, str]]:
    selected = view.selected(which)
    rows = range(len(view)) if selected is None else np.flatnonzero(selected)
    return {(view.subject_id(int(view.subject[row])), view.encounter_id(int(row))) for row in rows}


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.one_of(people, st.sampled_from([f"s{i}" for i in range(6)])), max_size=25),
    st.lists(filters, max_size=3),
)
def test_equals_a_list_of_people(changes: list[EncounterEnrolled | str], wanted: list[SearchFilter]) -> None:
    roster, plain = Roster(), dict[tuple[str, str], EncounterEnrolled]()
    moments: list[tuple[RosterView, dict[tuple[str, str], EncounterEnrolled]]] = []
    for change in changes:
        if isinstance(change, str):
            roster.delete(change)
            plain = {key: one for key, one in plain.items() if key[0] != change}
        else:
            roster.forget_encounter(change.subject_id, change.encounter_id)
            roster.enrol(change)
            plain = {**plain, (change.subject_id, change.encounter_id): change}
        moments.append((roster.view(), plain))
        for which in wanted[:1]:
            assert len(chosen(moments[-1][0], which)) == sum(passes(one, which) for one in plain.values())
    # Also those of long ago are as they were.
    for view, there in moments:
        for which in (EVERYBODY, *wanted):
            expected = {key for key, one in there.items() if passes(one, which)}
            assert chosen(view, which) == expected
            assert view.subjects(which) == len({subject for subject, _ in expected})
        sizes = {
            name: (
                len({k[0] for k, o in there.items() if name in o.galleries}),
                sum(name in o.galleries for o in there.values()),
            )
            for name in GALLERIES
        }
        assert view.galleries() == {name: size for name, size in sizes.items() if size[1]}
    assert len(roster) == len({subject for subject, _ in plain})


def test_too_many_galleries_change_nothing() -> None:
    roster = Roster()
    one = EncounterEnrolled(1, "a", "1", tuple(f"g{i}" for i in range(MAX_GALLERIES)), ())
    roster.enrol(one)
    with pytest.raises(Overloaded, match="cannot be added"):
        roster.enrol(dataclasses.replace(one, subject_id="b", galleries=("another",)))
    assert len(roster) == 1
    assert "b" not in roster
    assert roster.view().subjects() == 1


def test_a_subject_takes_some_two_hundred_bytes() -> None:
    roster = Roster()
    for i in range(5000):
        roster.enrol(EncounterEnrolled(i, f"subject-{i:08d}", "1", ("default",), ()))
    assert 100 < roster.bytes_in_ram() / 5000 < 400
