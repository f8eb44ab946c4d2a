"""The keys that scripts rely on, spelt out: names, which rates have intervals, and that all of it is plain JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from enrollment.evaluation import templates
from enrollment.evaluation.bootstrap import BootstrapParameters
from enrollment.evaluation.fuse import evaluate_fuse
from enrollment.evaluation.identify import evaluate_identify
from enrollment.evaluation.verify import evaluate_verify
from enrollment.settings import load_settings
from matcher.errors import InvalidInput
from tests.enrollment.evaluation.listed_people import settings, write_manifest
from tests.matcher.service.running import TextExtractor

QUICK = BootstrapParameters(resamples=50)
RATES = (
    "eer",
    "fnmr_at_fmr",
    "fnmr_at_shared_threshold",
    "fmr_at_shared_threshold",
    "failure_to_enrol_rate",
    "rejected_share",
    "rank1",
    "hit_rate",
    "fnir_at_fpir",
    "fnmr",
    "fnir",
    "mean",
    "gar",
    "gar_at_far_1e-4",
)
"""Every key whose value is a rate; ``discard`` alone has none, its curve being one of points without a band."""


@pytest.fixture(autouse=True)
def texts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(templates, "load_extractors", lambda _settings: TextExtractor())


def nodes(node: Any, name: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every object of the answer with the key that leads to it."""
    if isinstance(node, dict):
        yield name, node
        for key, value in node.items():
            yield from nodes(value, key)
    elif isinstance(node, list):
        for entry in node:
            yield from nodes(entry, name)


def check_rates(result: dict[str, Any]) -> set[str]:
    """Every rate is a fraction with its interval beside it; returns the names of those there are."""
    found = set()
    for name, node in nodes(json.loads(json.dumps(result, allow_nan=False))):
        for key in node.keys() & set(RATES):
            if name == "discard":
                continue
            found.add(key)
            values, ends = node[key], node[f"{key}_ci95"]
            if isinstance(values, dict):
                assert values.keys() == ends.keys()
                pairs = [(values[k], ends[k]) for k in values]
            else:
                pairs = list(zip(values, ends, strict=True)) if isinstance(values, list) else [(values, ends)]
            for value, limits in pairs:
                rate = value["mean"] if isinstance(value, dict) else value
                assert rate is None or limits[0] - 1e-6 <= rate <= limits[1] + 1e-6
                assert limits is None or 0 <= limits[0] <= limits[1] <= 1
    return found


def test_verify(tmp_path: Path) -> None:
    rows = [(f"s{k // 3}", str(k % 3), f"face {k // 3} {k % 3}", "ab"[k % 2]) for k in range(90)]
    manifest = write_manifest(tmp_path, "m", rows, "sensor")
    result = evaluate_verify(
        manifest, "all", "sensor", 10, cache=tmp_path / "c", settings=load_settings(), parameters=QUICK
    )
    assert check_rates(result) == {
        *("eer", "fnmr_at_fmr", "fnmr_at_shared_threshold", "fmr_at_shared_threshold"),
        *("failure_to_enrol_rate", "rejected_share", "fnmr"),
    }
    assert list(result["fnmr_at_fmr"]) == ["0.01", "0.001", "0.0001", "0.00001"]
    assert list(result["missed_at_fmr"]) == list(result["fnmr_at_fmr"])
    assert (result["genuine"], result["impostor"], result["failures_to_enrol"]) == (90, 3915, 0)
    assert result["extraction_seconds"] > 0
    assert result["comparisons_per_second"] > 0
    assert result["by"]["way"] == "values"
    # Counts are there where the impostors support the threshold, however few were missed.
    for key, missed in result["missed_at_fmr"].items():
        assert (missed is None) == (result["fnmr_at_fmr_ci95"][key] is None)
        if result["fnmr_at_fmr"][key] is not None:
            assert missed == pytest.approx(90 * result["fnmr_at_fmr"][key])


def test_identify(tmp_path: Path) -> None:
    gallery = write_manifest(
        tmp_path, "g", [(f"s{k}", "1", f"face {k} 0", "2001-01-01") for k in range(40)], "captured"
    )
    rows = [(f"s{k}", "2", f"face {k} 1", "2001-01-11" if k % 2 else "2004-01-01") for k in range(90)]
    probes = write_manifest(tmp_path, "p", rows, "captured")
    result = evaluate_identify(
        gallery, probes, "time_gap", cache=tmp_path / "c", settings=settings(tmp_path), parameters=QUICK
    )
    assert check_rates(result) == {"rank1", "hit_rate", "fnir_at_fpir", "fnir", "failure_to_enrol_rate"}
    assert list(result["fnir_at_fpir"]) == ["0.1", "0.01", "0.001"] == list(result["missed_at_fpir"])
    assert (result["mated"], result["non_mated"], result["gallery"]) == (40, 50, 40)
    assert result["missed_at_fpir"] == {"0.1": 0, "0.01": None, "0.001": None}
    groups = [(g["value"], g["mated"], g["non_mated"]) for g in result["by"]["groups"]]
    assert groups == [("under 1 month", 20, 50), ("1-5 years", 20, 50)]
    assert result["by"]["way"] == "time gap"


def test_fuse(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    names = ("face_a", "face_b", "finger_left_index", "finger_right_index")
    arrays: dict[str, Any] = {n: rng.normal(0, 1, (350, 350)) + 3 * np.eye(350) for n in names}
    np.savez(tmp_path / "s.npz", **arrays)
    methods = ("best_single", "min_max_sum", "product_of_fmr")
    result = evaluate_fuse(tmp_path / "s.npz", splits=2, methods=methods)
    assert check_rates(result) == {"mean", "gar", "gar_at_far_1e-4"}
    settings_ = ["all", "fingers", "faces", "all_30pct_missing"]
    assert list(result["gar_at_far_1e-4"]) == settings_ == list(result["gar_at_far_1e-4_ci95"])
    for cell in result["gar_at_far_1e-4"].values():
        assert {"mean", "sd"} <= set(cell)
    assert list(result["methods"]) == list(methods)
    assert result["gar_at_far_1e-4"] == result["methods"]["product_of_fmr"]
    assert 1e-4 in result["curves"]["far"]


def test_manifests_with_nothing_to_compare_are_refused_in_a_sentence(tmp_path: Path) -> None:
    one = write_manifest(tmp_path, "one", [("s", str(k), f"face 1 {k}", "") for k in range(3)])
    with pytest.raises(InvalidInput, match="3 genuine and 0 impostor"):
        evaluate_verify(one, cache=tmp_path / "c", settings=load_settings(), parameters=QUICK)
    apart = write_manifest(tmp_path, "apart", [(f"s{k}", "1", f"face {k} 0", "") for k in range(3)])
    with pytest.raises(InvalidInput, match="0 genuine and 3 impostor"):
        evaluate_verify(apart, cache=tmp_path / "c", settings=load_settings(), parameters=QUICK)
    assert not (tmp_path / "c").exists()
