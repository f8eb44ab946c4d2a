"""Verification of manifests end to end, with people whose templates are made out of short texts."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from enrollment.evaluation import rates, templates
from enrollment.evaluation.bootstrap import BootstrapParameters
from enrollment.evaluation.comparisons import compare_pairs
from enrollment.evaluation.verify import evaluate_verify
from enrollment.settings import load_settings
from matcher.comparators import index_for
from matcher.errors import InvalidInput
from matcher.positions import Modality
from tests.enrollment.evaluation.listed_people import write_manifest
from tests.matcher.people import FACE, face
from tests.matcher.service.running import TextExtractor

QUICK = BootstrapParameters(resamples=50)


@pytest.fixture(autouse=True)
def texts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(templates, "load_extractors", lambda _settings: TextExtractor())


def forty(folder: Path, unusable: tuple[int, ...] = ()) -> Path:
    """40 people with 3 captures each; a sensor for either half of them."""
    rows = []
    for k in range(120):
        person, capture = divmod(k, 3)
        text = "nonsense" if k in unusable else f"face {person} {capture}"
        rows.append((f"s{person}", str(capture), text, "old" if person < 20 else "new"))
    return write_manifest(folder, "m", rows, "sensor")


def evaluate(manifest: Path, **options: Any) -> dict[str, Any]:
    result = evaluate_verify(
        manifest,
        cache=manifest.parent / "cache",
        settings=load_settings(),
        parameters=QUICK,
        **options,
    )
    json.dumps(result, allow_nan=False)
    return result


def test_counts_and_rates_are_those_of_the_pairs_written_out(tmp_path: Path) -> None:
    result = evaluate(forty(tmp_path), impostors="all")
    people = [divmod(k, 3) for k in range(120)]
    vectors = np.array([face(p, c).embedding for p, c in people], np.float64)
    scores = vectors @ vectors.T
    first, second = np.triu_indices(120, 1)
    same = first // 3 == second // 3
    genuine, impostor = scores[first, second][same], scores[first, second][~same]
    assert (result["genuine"], result["impostor"]) == (120, 7020) == (len(genuine), len(impostor))
    expected = rates.fnmr_at_fmr(genuine, impostor, 0.001)
    assert result["fnmr_at_fmr"] == {
        "0.01": rates.supported_or_none(rates.fnmr_at_fmr(genuine, impostor, 0.01), 120),
        "0.001": rates.supported_or_none(expected, 120),
        "0.0001": None,
        "0.00001": None,
    }
    assert result["fnmr_at_fmr_ci95"]["0.001"] is not None
    assert result["fnmr_at_fmr_ci95"]["0.0001"] is None


def test_a_failure_is_a_non_match(tmp_path: Path) -> None:
    """30 of 120 samples fail: 15 people lose one of three captures twice over."""
    unusable = tuple(k for k in range(90) if k % 3 == 1)
    result = evaluate(forty(tmp_path, unusable))
    assert result["failures_to_enrol"] == 30
    assert result["failure_to_enrol_rate"] == 0.25
    assert result["genuine"] == 120
    assert result["genuine_failed"] == 60
    for key in ("0.01",):
        assert result["fnmr_at_fmr"][key] >= 0.5
    assert len(result["failed"]) == 30


def test_failed_impostors_are_left_out_and_counted(tmp_path: Path) -> None:
    result = evaluate(forty(tmp_path, unusable=(0, 3)))
    assert result["impostor"] == 38 * 37 // 2
    assert result["impostor_failed"] == 40 * 39 // 2 - 38 * 37 // 2


def test_every_rate_has_an_interval_beside_it(tmp_path: Path) -> None:
    result = evaluate(forty(tmp_path, (4, 5)), by="sensor", gate=10)

    def walk(node: object) -> None:
        if isinstance(node, dict):
            for key, value in node.items():
                if any(w in key for w in ("eer", "fnmr_at", "fmr_at_s", "_rate", "_share")) and "_ci95" not in key:
                    if key.startswith("raw_threshold") or key == "at_fmr":
                        continue
                    limits = node[f"{key}_ci95"]
                    pairs = (
                        zip(value.values(), limits.values(), strict=True)
                        if isinstance(value, dict)
                        else [(value, limits)]
                    )
                    for rate, ends in pairs:
                        assert rate is None or ends[0] <= rate <= ends[1]
                walk(value)
        elif isinstance(node, list):
            for entry in node:
                walk(entry)

    walk(result)


def test_breakdown_by_a_column(tmp_path: Path) -> None:
    result = evaluate(forty(tmp_path), impostors="all", by="sensor")
    groups = {g["value"]: g for g in result["by"]["groups"]}
    assert set(groups) == {"old", "new"}
    assert [g["genuine"] for g in groups.values()] == [60, 60]
    assert [g["impostor"] for g in groups.values()] == [60 * 59 // 2 - 60] * 2
    assert groups["old"]["fmr_at_shared_threshold"]["0.01"] is not None


def test_a_sample_that_changed_sensor_makes_a_group_of_both(tmp_path: Path) -> None:
    rows = [(f"s{k // 2}", str(k % 2), f"face {k // 2} {k % 2}", "ab"[k % 2]) for k in range(20)]
    result = evaluate(write_manifest(tmp_path, "m", rows, "sensor"), by="sensor")
    counts = {g["value"]: (g["genuine"], g["impostor"]) for g in result["by"]["groups"]}
    assert counts == {"a": (0, 45), "a / b": (10, 0), "b": (0, 0)}


def test_a_gate_tells_what_it_rejects(tmp_path: Path) -> None:
    manifest = forty(tmp_path, unusable=(7,))
    none = evaluate(manifest, gate=80)
    assert none["gate"]["rejected"] == 0
    assert evaluate(manifest)["gate"] is None
    with pytest.raises(InvalidInput, match="no sample with a template reaches quality 81"):
        evaluate(manifest, gate=81)


def test_options_that_make_no_sense(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="use first or all"):
        evaluate(forty(tmp_path), impostors="some")
    with pytest.raises(InvalidInput, match="no column 'colour'"):
        evaluate(forty(tmp_path), by="colour")


def test_pairs_are_compared_as_the_comparator_does() -> None:
    made = [face(k // 2, k % 2) if k != 3 else None for k in range(8)]
    pairs = np.array([(0, 1), (6, 2), (3, 4), (0, 7), (5, 3)], np.int64)
    scores = compare_pairs(made, pairs).scores
    comparator = index_for(Modality.FACE, FACE).comparator
    for (i, j), score in zip(pairs.tolist(), scores, strict=True):
        a, b = made[i], made[j]
        if a is None or b is None:
            assert math.isnan(score)
        else:
            assert score == pytest.approx(comparator.compare(comparator.prepare(a), comparator.prepare(b)), abs=1e-6)
