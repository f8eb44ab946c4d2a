"""Identification of manifests end to end, with people whose templates are made out of short texts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from enrollment.evaluation import templates
from enrollment.evaluation.bootstrap import BootstrapParameters
from enrollment.evaluation.identify import evaluate_identify
from matcher.errors import InvalidInput
from tests.enrollment.evaluation.listed_people import settings, write_manifest
from tests.matcher.service.running import TextExtractor

QUICK = BootstrapParameters(resamples=50)


@pytest.fixture(autouse=True)
def texts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(templates, "load_extractors", lambda _settings: TextExtractor())


def evaluate(folder: Path, gallery: Path, probes: Path, **options: Any) -> dict[str, Any]:
    result = evaluate_identify(
        gallery,
        probes,
        cache=folder / "cache",
        settings=settings(folder),
        parameters=QUICK,
        **options,
    )
    json.dumps(result, allow_nan=False)
    return result


def enrolled(folder: Path, people: int, unusable: tuple[int, ...] = ()) -> Path:
    rows = [(f"s{k}", "1", "nonsense" if k in unusable else f"face {k} 0", "") for k in range(people)]
    return write_manifest(folder, "gallery", rows)


def searches(folder: Path, people: range, unusable: tuple[int, ...] = ()) -> Path:
    rows = [(f"s{k}", "2", "nonsense" if k in unusable else f"face {k} 1", "odd" if k % 2 else "even") for k in people]
    return write_manifest(folder, "probes", rows, "kind")


def test_people_on_record_are_found_and_strangers_are_not(tmp_path: Path) -> None:
    result = evaluate(tmp_path, enrolled(tmp_path, 40), searches(tmp_path, range(80)))
    assert (result["mated"], result["non_mated"], result["gallery"]) == (40, 40, 40)
    assert result["rank1"] == 1.0
    assert result["rank1_ci95"] == [1 - 3 / 40, 1.0]
    # Nobody is missed, so only a bound is supported; FPIR 0.01 would take 300 strangers.
    assert result["fnir_at_fpir"] == {"0.1": None, "0.01": None, "0.001": None}
    assert result["fnir_at_fpir_ci95"] == {"0.1": [0.0, 3 / 40], "0.01": None, "0.001": None}


def test_whoever_could_not_be_enrolled_or_captured_is_missed(tmp_path: Path) -> None:
    gallery = enrolled(tmp_path, 40, unusable=(0, 1, 2, 3, 4))
    result = evaluate(tmp_path, gallery, searches(tmp_path, range(80), unusable=(5, 6, 7, 60)))
    assert (result["mated"], result["non_mated"], result["gallery"]) == (40, 39, 40)
    assert result["gallery_enrolled"] == 35
    assert result["rank1"] == 32 / 40
    assert result["fnir_at_fpir"]["0.1"] == 8 / 40
    assert result["cmc"]["hit_rate"][-1] == 32 / 40
    assert result["failures_to_enrol"] == 5
    assert (result["mated_failed"], result["non_mated_failed"]) == (3, 1)


def test_somebody_else_at_rank_one(tmp_path: Path) -> None:
    """Probes of s0 and s1 show each other's faces."""
    gallery = enrolled(tmp_path, 30)
    rows = [(f"s{k}", "2", f"face {1 - k if k < 2 else k} 1", "") for k in range(30)]
    result = evaluate(tmp_path, gallery, write_manifest(tmp_path, "probes", rows))
    assert result["rank1"] == pytest.approx(28 / 30)
    assert result["non_mated"] == 0
    assert set(result["fnir_at_fpir"].values()) == {None}


def test_samples_of_one_encounter_are_one_search(tmp_path: Path) -> None:
    rows = [(f"s{k // 2}", "2", f"face {k // 2} {1 + k % 2}", "") for k in range(20)]
    result = evaluate(tmp_path, enrolled(tmp_path, 10), write_manifest(tmp_path, "probes", rows))
    assert (result["mated"], result["rank1"]) == (10, 1.0)


def test_breakdown_and_images_on_both_sides(tmp_path: Path) -> None:
    result = evaluate(tmp_path, enrolled(tmp_path, 20), searches(tmp_path, range(40)), by="kind")
    groups = {g["value"]: (g["mated"], g["non_mated"], g["rank1"]) for g in result["by"]["groups"]}
    assert groups == {"even": (10, 10, 1.0), "odd": (10, 10, 1.0)}
    assert result["images_in_both"] == 0
    assert evaluate(tmp_path, enrolled(tmp_path, 20), enrolled(tmp_path, 20))["images_in_both"] == 20


def test_an_empty_gallery_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="nobody of the gallery"):
        evaluate(tmp_path, enrolled(tmp_path, 2, unusable=(0, 1)), searches(tmp_path, range(2)))
