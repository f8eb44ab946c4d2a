"""What a search is restricted to: refused where it means nothing, and applied where it does."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from ambis.v1 import common_pb2, enrollment_service_pb2, identification_service_pb2
from enrollment.client import AmbisClient, CallFailed, ClientOptions
from matcher.errors import AmbisError, InvalidInput, NotFound
from matcher.filters import SearchFilter, Sex
from matcher.records.store import RecordStore
from matcher.service.attributes import Attributes
from tests.matcher.records.test_store import encounter
from tests.matcher.service.running import start
from tests.matcher.service.test_services import person, sample

MALE, FEMALE = common_pb2.SEX_MALE, common_pb2.SEX_FEMALE


@pytest.fixture
def attributes(tmp_path: Path) -> Iterator[Attributes]:
    store = RecordStore(tmp_path / "data")
    store.enrol([encounter("a", galleries=("arrestees", "default"))])
    yield Attributes(store, lambda: datetime.datetime(2026, 11, 22))
    store.close()


def asked(
    galleries: tuple[str, ...] = (), *, born: tuple[int, int] = (0, 0), types: tuple[str, ...] = (), sexes: object = ()
) -> identification_service_pb2.Search:
    return identification_service_pb2.Search(
        galleries=galleries,
        filter=identification_service_pb2.SearchFilter(
            sexes=sexes,  # type: ignore[arg-type]  # also numbers that are no sex
            born_from=born[0],
            born_to=born[1],
            encounter_types=types,
        ),
    )


def test_nothing_asked_is_no_restriction(attributes: Attributes) -> None:
    assert attributes.search_filter(identification_service_pb2.Search()) == SearchFilter()


def test_everything_asked(attributes: Attributes) -> None:
    search = asked(("default", "arrestees"), born=(1980, 1990), types=("arrest", "arrest"), sexes=[FEMALE, MALE, MALE])
    assert attributes.search_filter(search) == SearchFilter(
        ("arrestees", "default"), (Sex.MALE, Sex.FEMALE), (1980, 1990), ("arrest",)
    )


def test_one_side_of_the_years_may_be_open(attributes: Attributes) -> None:
    assert attributes.search_filter(asked(born=(1980, 0))).born == (1980, 2026)
    assert attributes.search_filter(asked(born=(0, 1990))).born == (1850, 1990)


@pytest.mark.parametrize(
    ("search", "kind", "reason", "message"),
    [
        (asked(sexes=[0]), InvalidInput, "FIELD_INVALID", "leave it out"),
        (asked(sexes=[9]), InvalidInput, "FIELD_INVALID", "use 1 male, 2 female"),
        (asked(born=(1849, 0)), InvalidInput, "FIELD_INVALID", "within 1850 and 2026"),
        (asked(born=(0, 2027)), InvalidInput, "FIELD_INVALID", "within 1850 and 2026"),
        (asked(born=(1990, 1980)), InvalidInput, "FIELD_INVALID", "give the earlier year as born_from"),
        (asked(types=("",)), InvalidInput, "FIELD_MISSING", "encounter_types is missing"),
        (asked(types=("x" * 65,)), InvalidInput, "FIELD_INVALID", "65 characters"),
        (asked(types=tuple("abc" * 11)), InvalidInput, "FIELD_INVALID", "more than 32"),
        (asked(types=("arest",)), NotFound, "ENCOUNTER_TYPE_NOT_FOUND", "there are: arrest"),
        (asked(("nowhere",)), NotFound, "GALLERY_NOT_FOUND", "there are: arrestees, default"),
    ],
)
def test_what_means_nothing_is_refused(
    attributes: Attributes,
    search: identification_service_pb2.Search,
    kind: type[AmbisError],
    reason: str,
    message: str,
) -> None:
    with pytest.raises(kind, match=message) as refused:
        attributes.search_filter(search)
    assert refused.value.reason == reason
    assert refused.value.field.startswith("search.")


@pytest.fixture
def client(tmp_path: Path) -> Iterator[AmbisClient]:
    running = start(tmp_path / "served")
    with AmbisClient(f"127.0.0.1:{running.port}", ClientOptions(timeout=20.0, attempts=1)) as connected:
        yield connected
    running.stop(1.0)


def test_an_encounter_keeps_what_it_is_told(client: AmbisClient) -> None:
    client.enrol(person(1, sex=FEMALE, birth_year=1984))
    (kept,) = client.subject("p1").encounters
    assert (kept.sex, kept.birth_year) == (FEMALE, 1984)


@pytest.mark.parametrize(
    ("told", "field"),
    [
        ({"birth_year": 1849}, "encounter.birth_year"),
        ({"birth_year": 2999}, "encounter.birth_year"),
        ({"sex": 9}, "encounter.sex"),
    ],
)
def test_an_encounter_that_cannot_be_right_is_refused(client: AmbisClient, told: dict[str, int], field: str) -> None:
    with pytest.raises(CallFailed) as failed:
        client.enrol(person(1, **told))
    assert (failed.value.code, failed.value.field) == (grpc.StatusCode.INVALID_ARGUMENT, field)


def test_the_year_of_birth_belongs_to_what_a_key_stands_for(client: AmbisClient) -> None:
    client.enrol(person(1, birth_year=1984), "key-of-the-first")
    assert client.enrol(person(1, birth_year=1984), "key-of-the-first").replayed
    with pytest.raises(CallFailed, match="used for another request"):
        client.enrol(person(1, birth_year=1985), "key-of-the-first")


def enrol(client: AmbisClient, number: int, **told: object) -> enrollment_service_pb2.EnrollResult:
    return client.enrol(person(number, **told))


def found(client: AmbisClient, **restricted: object) -> tuple[int, set[str]]:
    """How many are searched, and who is found."""
    search = identification_service_pb2.Search(
        samples=[sample("face 1 3")],
        filter=identification_service_pb2.SearchFilter(**restricted),  # type: ignore[arg-type]
    )
    result = client.identify(search)
    return result.gallery_size, {c.subject_id for c in result.candidates}


def test_searches_are_restricted_also_after_a_restart(tmp_path: Path) -> None:
    folder = tmp_path / "kept"
    for round_ in range(2):
        running = start(folder)
        with AmbisClient(f"127.0.0.1:{running.port}", ClientOptions(timeout=20.0, attempts=1)) as client:
            if round_ == 0:
                enrol(client, 1, sex=FEMALE, birth_year=1984, encounter_type="arrest")
                enrol(client, 2, sex=MALE, birth_year=1990, encounter_type="border")
                enrol(client, 3, encounter_type="arrest")
                enrol(client, 4, sex=FEMALE)
            assert found(client) == (4, {"p1", "p2", "p3", "p4"})
            assert found(client, sexes=[FEMALE]) == (3, {"p1", "p3", "p4"})
            assert found(client, sexes=[MALE]) == (2, {"p2", "p3"})
            assert found(client, born_from=1985) == (3, {"p2", "p3", "p4"})
            assert found(client, born_from=1984, born_to=1984) == (3, {"p1", "p3", "p4"})
            assert found(client, encounter_types=["arrest"]) == (2, {"p1", "p3"})
            assert found(client, encounter_types=["arrest", "border"]) == (3, {"p1", "p2", "p3"})
            assert found(client, sexes=[FEMALE], encounter_types=["arrest"], born_to=1980) == (1, {"p3"})
        running.stop(1.0)
