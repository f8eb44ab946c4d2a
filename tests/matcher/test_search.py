"""Search end to end over shards, with synthetic people."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import pytest

from matcher.changes import EncounterEnrolled
from matcher.decision import DecisionParameters, Verdict
from matcher.errors import InvalidInput, NotCalibrated, NotFound
from matcher.filters import SearchFilter
from matcher.found_subjects import Probe
from matcher.fusion_model import Correlations, FusionModel
from matcher.gallery_view import GallerySearch
from matcher.positions import Position
from matcher.search import SearchEngine, SearchRequest, SearchResult
from matcher.shards.backend import Found
from matcher.shards.local import LocalShards
from matcher.templates import Template
from tests.matcher.people import calibrations, enrolled, face, face_probe, iris


def engine(count: int = 60, shards: int = 1) -> SearchEngine:
    backend = LocalShards(shards)
    changes = [
        enrolled(i + 1, f"p{i}", [(2 * i, Position.FACE, face(i)), (2 * i + 1, Position.IRIS_LEFT, iris(i))])
        for i in range(count)
    ]
    backend.apply(changes, count)
    return SearchEngine(backend, calibrations())


@pytest.mark.parametrize("shards", [1, 3])
def test_enrolled_person_is_a_hit_and_first(shards: int) -> None:
    result = engine(shards=shards).identify(SearchRequest((face_probe(7),)))
    assert result.verdict is Verdict.HIT
    assert result.candidates[0].subject_id == "p7"
    assert result.gallery_size == 60
    assert result.lsn == 60
    assert "p7" in result.explanation
    scores = [c.fused.score for c in result.candidates]
    assert scores == sorted(scores, reverse=True)


def test_shards_do_not_change_the_answer() -> None:
    request = SearchRequest((face_probe(3), Probe(Position.IRIS_LEFT, iris(3, 1))), max_candidates=60)
    one, three = engine(shards=1).identify(request), engine(shards=3).identify(request)
    assert [c.subject_id for c in one.candidates] == [c.subject_id for c in three.candidates]
    assert [c.fused.score for c in one.candidates] == pytest.approx([c.fused.score for c in three.candidates], abs=1e-4)


def test_unknown_person_is_no_hit() -> None:
    result = engine().identify(SearchRequest((face_probe(4321), Probe(Position.IRIS_LEFT, iris(4321)))))
    assert result.verdict is Verdict.NO_HIT
    assert all(c.verdict is Verdict.NO_HIT for c in result.candidates)


def test_two_eyes_with_several_references_each_are_fused_by_their_correlation() -> None:
    """Two encounters with both eyes each; the eyes of one person count for less the more they have in common."""
    sides = (Position.IRIS_LEFT, Position.IRIS_RIGHT)

    def people() -> LocalShards:
        backend = LocalShards(1)
        changes: list[EncounterEnrolled] = []
        for i in range(40):
            for e in range(2):
                samples: list[tuple[int, Position, Template]] = [
                    (4 * i + 2 * e + s, sides[s], iris(2 * i + s, 1 + 7 * e, 0.2 - 0.1 * e)) for s in range(2)
                ]
                changes.append(enrolled(len(changes) + 1, f"p{i}", samples, encounter=str(e)))
        backend.apply(changes, len(changes))
        return backend

    def search(related: Correlations, eyes: Sequence[int]) -> SearchResult:
        model = FusionModel(evidence=related, strangers=related, strangers_limit=related)
        probes = tuple(Probe(sides[s], iris(2 * 11 + s, 3, 0.25)) for s in eyes)
        return SearchEngine(people(), calibrations(), fusion=model).identify(SearchRequest(probes))

    scores = []
    for related in (Correlations(), Correlations(eyes=0.5), Correlations(eyes=1.0)):
        found = search(related, (0, 1)).candidates[0]
        assert found.subject_id == "p11"
        assert sorted(e.comparison.probe_position for e in found.evidence) == sorted(sides)
        # The second encounter's references are more like the probe: the best of an eye's references counts.
        assert {e.comparison.encounter_id for e in found.evidence} == {"1"}
        scores.append(found.fused.score)
    alone = [search(Correlations(), (s,)).candidates[0].fused.score for s in range(2)]
    assert scores[0] > scores[1] > scores[2]
    assert scores[1] > max(alone)


def test_two_modalities_beat_one() -> None:
    search = engine()
    alone = search.identify(SearchRequest((face_probe(5),))).candidates[0].fused.score
    both = search.identify(SearchRequest((face_probe(5), Probe(Position.IRIS_LEFT, iris(5, 1))))).candidates[0]
    assert both.fused.score > alone
    assert len(both.evidence) == 2


def test_empty_gallery_answers_no_hit() -> None:
    result = SearchEngine(LocalShards(), calibrations()).identify(SearchRequest((face_probe(1),)))
    assert result.verdict is Verdict.NO_HIT
    assert result.candidates == ()
    assert "Nobody" in result.explanation


def test_list_is_cut_where_asked_and_the_verdict_is_not() -> None:
    search = engine()
    result = search.identify(SearchRequest((face_probe(7),), max_candidates=1, score_threshold=1e6))
    assert result.candidates == ()
    assert result.verdict is Verdict.HIT


def test_beyond_trust_is_a_review() -> None:
    # FPIR 1e-6 among 60 people asks for 77.8; the calibration vouches for 60.
    result = engine().identify(SearchRequest((face_probe(7),), target_fpir=1e-6))
    assert result.candidates[0].fused.score > 77.8
    assert result.verdict is Verdict.REVIEW
    assert "vouch" in result.explanation


class TwoMillion(LocalShards):
    """A backend that counts two million people."""

    def search(self, searches: Sequence[GallerySearch]) -> Found:
        """Whatever is asked."""
        found = super().search(searches)
        return dataclasses.replace(found, sizes=dict.fromkeys(found.sizes, 2_000_000))


def test_two_million_people_ask_for_more_than_calibration_vouches_for() -> None:
    backend = TwoMillion()
    changes = [
        enrolled(i + 1, f"p{i}", [(i, Position.FACE, face(i)), (100 + i, Position.IRIS_LEFT, iris(i))])
        for i in range(20)
    ]
    backend.apply(changes, 20)
    search = SearchEngine(backend, calibrations())
    alone = search.identify(SearchRequest((face_probe(7),)))
    assert alone.thresholds.hit == pytest.approx(83.01, abs=0.01)
    assert alone.candidates[0].fused.score > alone.thresholds.hit  # vouched for to 60
    assert alone.verdict is Verdict.REVIEW
    assert "no more than 1 in 200 million strangers" in alone.explanation
    assert "vouch for more than 1 in 1 million (60.0)" in alone.explanation
    both = search.identify(SearchRequest((face_probe(7), Probe(Position.IRIS_LEFT, iris(7, 1)))))
    assert both.verdict is Verdict.HIT


def test_gap_counts_everybody_compared_and_not_only_those_listed() -> None:
    search = engine()
    full = search.identify(SearchRequest((face_probe(7),), max_candidates=60))
    scores = sorted((c.fused.score for c in full.candidates), reverse=True)
    assert full.score_gap == scores[0] - scores[1]
    assert full.score_gap > 10
    assert search.identify(SearchRequest((face_probe(7),), max_candidates=1)).score_gap == full.score_gap
    assert search.identify(SearchRequest((face_probe(7),), score_threshold=1e6)).score_gap == full.score_gap
    assert engine(1).identify(SearchRequest((face_probe(0),))).score_gap is None
    assert engine(0).identify(SearchRequest((face_probe(0),))).score_gap is None
    assert search.verify([face_probe(7)], "p7").score_gap is None


def test_gap_of_one_person_under_two_names_is_small() -> None:
    backend = LocalShards()
    backend.apply([enrolled(1, "a", [(1, Position.FACE, face(1))]), enrolled(2, "b", [(2, Position.FACE, face(1))])], 2)
    result = SearchEngine(backend, calibrations()).identify(SearchRequest((face_probe(1),), max_candidates=1))
    assert result.score_gap == pytest.approx(0.0, abs=1e-4)
    assert "a and b are 0.0 apart" in result.explanation


def test_prior_limits_what_a_request_may_ask_for() -> None:
    backend = LocalShards()
    backend.apply([enrolled(i + 1, f"p{i}", [(i, Position.FACE, face(i))]) for i in range(20)], 20)
    few = SearchEngine(backend, calibrations(), DecisionParameters(prior=1e-6))
    usual = SearchEngine(backend, calibrations()).identify(SearchRequest((face_probe(7),)))
    limited = few.identify(SearchRequest((face_probe(7),), target_fpir=0.5))
    assert (usual.verdict, limited.verdict) == (Verdict.HIT, Verdict.REVIEW)
    assert limited.target_fpir == pytest.approx(1.0101e-8, rel=1e-3)
    assert limited.thresholds.hit == pytest.approx(10 * math.log10(20 / limited.target_fpir))
    assert "1 in 1,000,000 are taken to be on record" in limited.explanation


def test_a_hit_stands_above_a_higher_score_that_is_only_a_review() -> None:
    # Person a: a face far beyond trust. Person b: a face and an eye, each less, together trusted for more.
    backend = LocalShards()
    a = enrolled(1, "a", [(1, Position.FACE, face(1, 9))])
    b = enrolled(2, "b", [(2, Position.IRIS_LEFT, iris(2)), (3, Position.FACE, face(1, 8))])
    backend.apply([a, b], 2)
    probes = (Probe(Position.FACE, face(1, 9)), Probe(Position.IRIS_LEFT, iris(2, 1)))
    result = SearchEngine(backend, calibrations()).identify(SearchRequest(probes, target_fpir=2e-6))
    verdicts = [c.verdict for c in result.candidates]
    assert verdicts == sorted(verdicts)
    assert result.candidates[0].verdict is result.verdict


def test_double_identity_is_pointed_out() -> None:
    backend = LocalShards()
    backend.apply([enrolled(1, "a", [(1, Position.FACE, face(1))]), enrolled(2, "b", [(2, Position.FACE, face(1))])], 2)
    result = SearchEngine(backend, calibrations()).identify(SearchRequest((face_probe(1),)))
    assert result.verdict is Verdict.HIT
    assert "2 people" in result.explanation


def test_verify() -> None:
    search = engine()
    assert search.verify([face_probe(2)], "p2").verdict is Verdict.HIT
    assert search.verify([face_probe(2)], "p3").verdict is Verdict.NO_HIT
    with pytest.raises(NotFound, match="nobody"):
        search.verify([face_probe(2)], "nobody")
    with pytest.raises(InvalidInput, match="no sample on record"):
        search.verify([Probe(Position.IRIS_RIGHT, iris(2))], "p2")


def test_bad_requests() -> None:
    with pytest.raises(InvalidInput):
        SearchRequest(())
    with pytest.raises(InvalidInput):
        SearchRequest((face_probe(1),), max_candidates=0)
    with pytest.raises(InvalidInput):
        SearchRequest((face_probe(1),), score_threshold=float("nan"))
    with pytest.raises(NotCalibrated):
        engine().identify(SearchRequest((Probe(Position.FACE, face(1, algorithm="face-unheard-of")),)))


def test_searches_of_one_batch_fail_alone() -> None:
    search = engine()
    good = SearchRequest((face_probe(7),), filter=SearchFilter(galleries=("default",)))
    nobody = SearchRequest((face_probe(7),), filter=SearchFilter(galleries=("none",)))
    strange = SearchRequest((Probe(Position.FACE, face(7, algorithm="face-other-1")),))
    rate = SearchRequest((face_probe(8),), target_fpir=0.9)
    found = search.identify_batch([good, strange, nobody, rate, good])
    assert found[0] == found[4] == search.identify(good)
    assert isinstance(found[1], NotCalibrated)
    assert isinstance(found[3], InvalidInput)
    empty = found[2]
    assert isinstance(empty, SearchResult)
    assert (empty.gallery_size, empty.candidates, empty.verdict) == (0, (), Verdict.NO_HIT)
    assert search.identify_batch([]) == []


def test_ties_are_ranked_by_id() -> None:
    backend = LocalShards(2)
    backend.apply([enrolled(i + 1, f"p{i:02}", [(i, Position.FACE, face(3))]) for i in (5, 1, 9, 2, 7)], 9)
    found = SearchEngine(backend, calibrations()).identify(SearchRequest((face_probe(3),), max_candidates=4))
    assert [c.subject_id for c in found.candidates] == ["p01", "p02", "p05", "p07"]
    assert found.explanation.startswith("5 people on record reach the score")


def test_a_search_weighs_what_it_is_searched_in() -> None:
    eye, finger = Probe(Position.IRIS_LEFT, iris(1)), Probe(Position.FINGER_UNKNOWN, face(1))
    assert SearchRequest((face_probe(1), eye)).weight == 2
    assert SearchRequest((face_probe(1), Probe(Position.IRIS_UNKNOWN, iris(1)), finger)).weight == 13
