"""The chimeric benchmark through a real server: on synthetic fingers and eyes, and, where they are, on real samples."""

from __future__ import annotations

import io
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console

from ambis.v1 import common_pb2, identification_service_pb2
from benchmarks import chimeric
from benchmarks.chimeric import EVERYTHING, KINDS, Fold, Size, render, run_fold, searches_of, summarise
from benchmarks.chimeric_searches import Outcome, Search, Templates, run_searches
from benchmarks.half_calibrations import write_half
from benchmarks.real_data import RealSample, iris_folder, shared_folder
from benchmarks.virtual_subjects import VirtualSubject, compose
from enrollment.client import AmbisClient
from enrollment.evaluation.bootstrap import BootstrapParameters
from enrollment.serving import load_extractors
from enrollment.settings import load_settings
from enrollment.synthesis.finger import synthesise_finger
from enrollment.synthesis.iris import synthesise_eye
from enrollment.synthesis.iris_templates import bulk_iris_templates, vary
from matcher.calibration import Calibrations
from matcher.errors import InvalidInput
from matcher.iris.parameters import ALGORITHM
from matcher.positions import Modality, Position
from matcher.templates import Template

QUICK = BootstrapParameters(resamples=100)
PEOPLE, CAPTURES = 2, 2
SIZE = Size(rotations=2, deals=3, fitted=False)


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> list[RealSample]:
    """Two fingers of each of two sets, and two pairs of eyes, two captures each, as files."""
    folder = tmp_path_factory.mktemp("samples")
    found = []
    for k in range(PEOPLE):
        for capture in range(CAPTURES):
            for n, name in enumerate(("set_a", "set_b")):
                image = synthesise_finger(2 * k + n, capture)
                found.append(_write(folder / name / f"{k}_{capture}.png", image, f"{name}_{k}", "finger_unknown"))
            for n, side in enumerate(("iris_left", "iris_right")):
                eye = synthesise_eye(2 * k + n, capture)
                found.append(_write(folder / "eyes" / f"{k}_{side}_{capture}.png", eye, f"eyes_{k}", side))
    return found


def _write(path: Path, pixels: NDArray[np.uint8], subject: str, position: str) -> RealSample:
    path.parent.mkdir(exist_ok=True)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG", dpi=(500, 500))
    path.write_bytes(stream.getvalue())
    return RealSample(path, subject, path.stem, Position.parse(position), None)


@pytest.fixture(scope="module")
def templates(samples: list[RealSample]) -> Templates:
    extractors = load_extractors(load_settings(face_pack="none"))
    return {s: extractors.extract(s.position, s.path.read_bytes(), "", s.ppi).template for s in samples}


@pytest.fixture(scope="module")
def fold(samples: list[RealSample], templates: Templates) -> Fold:
    return run_fold(samples, templates, None, SIZE, 0, "A")


def test_everybody_is_searched_on_record_and_off_it(fold: Fold) -> None:
    kinds = Counter((o.search.kind, o.mated) for o in fold.outcomes)
    once = {"two fingers": 2, "two eyes": 2, "two fingers + two eyes": 2, "one finger": 4, "one eye": 4}
    assert kinds == {(kind, is_mated): n for kind, n in once.items() for is_mated in (True, False)}
    assert fold.facts["gallery"] == fold.facts["people_searched"] == PEOPLE
    assert fold.facts["samples_not_enrolled"] == fold.facts["probes_without_template"] == 0
    assert fold.facts["searches_checked_with_images"] == len(once)


def test_mates_stand_first_and_strangers_are_all_the_others(fold: Fold) -> None:
    names = {o.search.subject.subject_id for o in fold.outcomes}
    for outcome in fold.outcomes:
        me = outcome.search.subject.subject_id
        assert not outcome.failed
        assert outcome.best_stranger < 40
        if outcome.mated:
            assert outcome.mate_rank == 1
            assert outcome.mate_score > outcome.best_stranger
            assert set(outcome.strangers) == names - {me}
            assert outcome.stranger_scores.max() == outcome.best_stranger
        else:
            assert outcome.mate_score == float("-inf")


def test_people_put_together_anew_are_searched_among_themselves(fold: Fold) -> None:
    kinds = Counter(o.search.kind for o in fold.more_outcomes)
    assert kinds == {"two fingers": 3 * PEOPLE, "two fingers + two eyes": 3 * PEOPLE}
    for outcome in fold.more_outcomes:
        deal = outcome.search.subject.subject_id.split("-")[1]
        assert outcome.mate_rank == 1
        assert [name.split("-")[1] for name in outcome.strangers] == [deal] * (PEOPLE - 1)
    everybody = {o.search.subject.subject_id for o in (*fold.outcomes, *fold.more_outcomes)}
    assert everybody == set(fold.anchors)


def test_two_samples_score_higher_than_one(fold: Fold) -> None:
    best = {
        kind: max(o.mate_score for o in fold.outcomes if o.search.kind == kind and o.mated)
        for kind in ("one finger", "two fingers", "two fingers + two eyes")
    }
    assert best["one finger"] < best["two fingers"] < best["two fingers + two eyes"]


def test_summary_is_json_and_says_that_the_people_are_chimeric(fold: Fold) -> None:
    result = json.loads(json.dumps(summarise([fold], 0, SIZE, QUICK), allow_nan=False))
    assert result["chimeric"] is True
    assert "CHIMERIC" in result["notice"]
    for part in ("same_people", "everybody"):
        for rates in result[part].values():
            for name in ("rank1", "fnir_at_fpir", "tpir_hit", "tpir_review", "fpir_hit", "fpir_review"):
                assert f"{name}_ci95" in rates
    assert result["everybody"]["two fingers"]["rank1"] == 1.0
    assert result["strangers"]["two eyes"]["comparisons"] == PEOPLE * (PEOPLE - 1)
    assert result["strangers"]["two fingers"]["comparisons"] == (1 + SIZE.deals) * PEOPLE * (PEOPLE - 1)


def test_what_is_printed_fits_80_columns(fold: Fold) -> None:
    result = summarise([fold], 0, SIZE, QUICK)
    # As wide as it gets: large counts everywhere.
    for rates in (*result["same_people"].values(), *result["everybody"].values()):
        rates |= {"people": 402, "mated": 9999, "non_mated": 9999, "rank1_hits": 8888, "false_review": 888}
        rates["missed_at_fpir"] = {"0.1": 888, "0.01": 888}
        rates["fnir_at_fpir_ci95"] = {"0.1": [0.011, 0.099], "0.01": [0.011, 0.099]}
    result["same_people"] = dict.fromkeys(KINDS, result["everybody"]["two eyes"])
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(*render(result), sep="\n")
    text = console.export_text()
    assert "CHIMERIC" in text
    assert "…" not in text
    assert "1111/9999" in text
    assert max(map(len, text.splitlines())) <= 80


def test_a_kind_of_search_is_possible_for_somebody_with_everything() -> None:
    rows = {p: tuple(RealSample(Path(f"{p}{k}"), "x", "1", p, None) for k in range(3)) for p in EVERYTHING}
    kinds = Counter(s.kind for s in searches_of([VirtualSubject("v", rows)]))
    assert kinds == {k: 2 * len(sets) for k, sets in KINDS.items() if "unknown" not in k and "that" not in k}
    for search in searches_of([VirtualSubject("v", rows)]):
        assert [s.position for s in search.samples] == list(search.positions)


class Answers:
    """A client whose server answers every search alike."""

    def __init__(self, result: identification_service_pb2.IdentifyResult) -> None:
        self.result = result

    def batch_identify(
        self, requests: Iterator[identification_service_pb2.BatchIdentifyRequest]
    ) -> Iterator[identification_service_pb2.BatchIdentifyResponse]:
        for request in requests:
            yield identification_service_pb2.BatchIdentifyResponse(sequence=request.sequence, result=self.result)


def candidate(
    name: str, score: float, verdict: common_pb2.Verdict.ValueType, samples: int
) -> identification_service_pb2.Candidate:
    evidence = [identification_service_pb2.Evidence() for _ in range(samples)]
    return identification_service_pb2.Candidate(subject_id=name, score=score, verdict=verdict, evidence=evidence)


def outcomes_of(
    samples: list[RealSample],
    templates: Templates,
    result: identification_service_pb2.IdentifyResult,
    *,
    mated: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> list[Outcome]:
    subject = compose(samples, 0, "v")[0]
    search = Search("two eyes", subject, (Position.IRIS_RIGHT, Position.IRIS_LEFT), 1)
    client = AmbisClient("127.0.0.1:1")
    monkeypatch.setattr(client, "batch_identify", Answers(result).batch_identify)
    return run_searches(client, [search], templates, 0, mated=mated)


def test_strangers_compared_by_some_samples_only_are_no_measure_of_all(
    samples: list[RealSample], templates: Templates, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = [
        candidate("other", 33, common_pb2.VERDICT_REVIEW, 1),
        candidate("v0001", 30, common_pb2.VERDICT_REVIEW, 2),
        candidate("third", 2, common_pb2.VERDICT_NO_HIT, 2),
    ]
    result = identification_service_pb2.IdentifyResult(candidates=found, gallery_size=3)
    (outcome,) = outcomes_of(samples, templates, result, mated=True, monkeypatch=monkeypatch)
    assert (outcome.mate_rank, outcome.mate_score, outcome.mate_verdict) == (2, 30, common_pb2.VERDICT_REVIEW)
    assert (outcome.best_stranger, outcome.stranger_verdict) == (33, common_pb2.VERDICT_REVIEW)
    assert (outcome.strangers, outcome.stranger_scores.tolist()) == (("third",), [2.0])


def test_somebody_taken_off_record_must_not_be_found(
    samples: list[RealSample], templates: Templates, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = [candidate("v0001", 30, common_pb2.VERDICT_REVIEW, 2)]
    result = identification_service_pb2.IdentifyResult(candidates=found, gallery_size=3)
    with pytest.raises(RuntimeError, match="v0001 was deleted"):
        outcomes_of(samples, templates, result, mated=False, monkeypatch=monkeypatch)


def test_a_gallery_larger_than_the_candidate_list_is_refused(
    samples: list[RealSample], templates: Templates, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = identification_service_pb2.IdentifyResult(gallery_size=1001)
    with pytest.raises(RuntimeError, match="1001 subjects"):
        outcomes_of(samples, templates, result, mated=True, monkeypatch=monkeypatch)


def test_probes_without_templates(samples: list[RealSample], monkeypatch: pytest.MonkeyPatch) -> None:
    result = identification_service_pb2.IdentifyResult(gallery_size=3)
    nothing: Templates = dict.fromkeys(samples)
    (outcome,) = outcomes_of(samples, nothing, result, mated=True, monkeypatch=monkeypatch)
    assert outcome.failed
    assert outcome.mate_rank == float("inf")


def test_half_calibrations_need_enough(samples: list[RealSample], templates: Templates, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="calibration needs"):
        write_half(tmp_path, samples, [templates[s] for s in samples], "half A")


def test_half_calibrations_are_artefacts_that_the_server_loads(tmp_path: Path) -> None:
    """On synthetic templates of 30 eyes, five captures each, one of them without a template."""
    made: list[Template | None] = []
    rows = []
    for number, first in enumerate(bulk_iris_templates(30, 1)):
        made += [first, *(vary(first, 10 * number + k) for k in range(4))]
        rows += [RealSample(Path("-"), f"eye{number}", str(k), Position.IRIS_LEFT, None) for k in range(5)]
    made[7] = None
    written = write_half(tmp_path, rows, made, "half A")
    loaded = Calibrations.load(tmp_path)[ALGORITHM]
    assert loaded.about == written[Modality.IRIS].about
    assert loaded.about["which"] == "half A"
    assert loaded.about["subjects"] == 30
    assert loaded.about["genuine_comparisons"] == 30 * 10 - 4
    assert loaded.about["impostor_comparisons"] == 149 * 148 // 2 - loaded.about["genuine_comparisons"]
    assert loaded.about["design_effect"] >= 1


def test_real_samples_through_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    try:
        shared_folder()
        iris_folder()
    except FileNotFoundError as missing:
        pytest.skip(str(missing))
    ready = {s.modality for s in load_extractors(load_settings()).status() if s.algorithm}
    if Modality.FACE not in ready:
        pytest.skip("the face pack is not installed")
    assert chimeric.main(["--small", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["people_with_everything"] == 4
    assert set(result["same_people"]) == {k for k, sets in KINDS.items() if Position.IRIS_UNKNOWN not in sets[0]}
    assert result["same_people"]["all five"]["rank1_hits"] == result["same_people"]["all five"]["mated"] == 4
    assert sum(half["virtual_people"] for half in result["halves"]) == 20
