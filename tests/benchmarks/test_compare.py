"""What fails, what is only reported, and what the table says."""

from __future__ import annotations

import dataclasses
import json
import subprocess
from pathlib import Path

import pytest

from benchmarks import compare
from benchmarks.compare import Baseline, Results, ResultsInvalid, Row, Verdict
from tests.benchmarks.results import document

SEARCH = "iris.search vs numpy"
FACES = "face.extraction vs plain-onnxruntime"


def read(ratios: dict[str, float], skipped: dict[str, str] | None = None) -> Results:
    return compare.read_results(document(ratios, skipped))


def only(rows: list[Row]) -> Row:
    assert len(rows) == 1
    return rows[0]


@pytest.mark.parametrize(
    ("ratio", "verdict"),
    [(100.0, Verdict.OK), (8.0, Verdict.OK), (4.0, Verdict.OK), (3.999, Verdict.SLOW), (0.01, Verdict.SLOW)],
)
def test_a_ratio_fails_below_half_of_its_baseline(ratio: float, verdict: Verdict) -> None:
    rows = compare.compare(read({SEARCH: ratio}), {SEARCH: 8.0})
    assert only(rows).verdict is verdict
    assert compare.failed(rows) == (verdict is Verdict.SLOW)


def test_ratios_below_one_are_held_to_the_same_rule() -> None:
    baseline = {SEARCH: 0.4}
    assert not compare.failed(compare.compare(read({SEARCH: 0.21}), baseline))
    assert compare.failed(compare.compare(read({SEARCH: 0.19}), baseline))


def test_a_new_benchmark_is_reported_and_does_not_fail() -> None:
    rows = compare.compare(read({SEARCH: 5.0, FACES: 2.0}), {SEARCH: 5.0})
    assert {row.key: row.verdict for row in rows} == {SEARCH: Verdict.OK, FACES: Verdict.NEW}
    assert not compare.failed(rows)


def test_a_skipped_benchmark_is_reported_with_its_reason_and_does_not_fail() -> None:
    rows = compare.compare(read({SEARCH: 5.0}, {"face.extraction": "no face pack"}), {SEARCH: 5.0, FACES: 2.0})
    assert {row.key: row.verdict for row in rows} == {SEARCH: Verdict.OK, FACES: Verdict.SKIPPED}
    assert not compare.failed(rows)
    assert "face.extraction was skipped: no face pack" in compare.table(rows)


def test_a_skipped_benchmark_is_reported_also_where_no_baseline_names_it() -> None:
    rows = compare.compare(read({SEARCH: 5.0}, {"face.extraction": "no face pack"}), {SEARCH: 5.0})
    assert {row.key: row.verdict for row in rows} == {SEARCH: Verdict.OK, "face.extraction": Verdict.SKIPPED}
    assert not compare.failed(rows)


def test_a_benchmark_that_is_gone_fails_unless_only_some_were_asked_for() -> None:
    baseline = {SEARCH: 5.0, FACES: 2.0}
    assert compare.failed(compare.compare(read({SEARCH: 5.0}), baseline))
    rows = compare.compare(read({SEARCH: 5.0}), baseline, partial=True)
    assert {row.key: row.verdict for row in rows} == {SEARCH: Verdict.OK, FACES: Verdict.NOT_RUN}
    assert not compare.failed(rows)


def test_a_peer_that_is_gone_fails_too() -> None:
    rows = compare.compare(read({SEARCH: 5.0}), {SEARCH: 5.0, "iris.search vs faiss-binary-flat": 3.0})
    assert compare.failed(rows)


def test_one_slow_peer_of_a_benchmark_is_enough() -> None:
    other = "iris.search vs faiss-binary-flat"
    rows = compare.compare(read({SEARCH: 9.0, other: 1.0}), {SEARCH: 9.0, other: 3.0})
    assert {row.key: row.verdict for row in rows} == {SEARCH: Verdict.OK, other: Verdict.SLOW}
    assert compare.failed(rows)


@pytest.mark.parametrize("ratio", [0.0, -1.0, float("nan"), float("inf")])
def test_a_ratio_that_is_no_positive_number_is_refused(ratio: float) -> None:
    with pytest.raises(ResultsInvalid, match=SEARCH):
        read({SEARCH: ratio})
    with pytest.raises(ResultsInvalid, match=SEARCH):
        compare.read_baseline({"sizes": "small", "machine": "m", "ratios": {SEARCH: ratio}})


@pytest.mark.parametrize("broken", [{}, {"sizes": "small"}, {"sizes": "small", "benchmarks": [{"fullname": "x"}]}])
def test_other_json_is_refused(broken: dict[str, object]) -> None:
    with pytest.raises(ResultsInvalid):
        compare.read_results(broken)


@pytest.mark.parametrize("broken", [{}, {"sizes": "small"}, {"sizes": "small", "machine": "m", "ratios": [1.0]}])
def test_a_baseline_that_is_none_is_refused(broken: dict[str, object]) -> None:
    with pytest.raises(ResultsInvalid):
        compare.read_baseline(broken)


def test_several_runs_give_medians() -> None:
    merged = compare.merge([read({SEARCH: ratio}) for ratio in (9.0, 1.0, 5.0)])
    assert merged.measured[SEARCH].ratio == 5.0
    assert merged.measured[SEARCH].peer == pytest.approx(0.01)


def test_runs_of_different_sizes_are_not_merged() -> None:
    run = read({SEARCH: 5.0})
    with pytest.raises(ResultsInvalid, match="sizes"):
        compare.merge([run, dataclasses.replace(run, sizes="full")])


def test_what_one_of_several_runs_measured_is_not_skipped() -> None:
    merged = compare.merge([read({SEARCH: 5.0}, {"face.extraction": "no face pack"}), read({SEARCH: 5.0, FACES: 2.0})])
    assert merged.skipped == {}
    assert set(merged.measured) == {SEARCH, FACES}


def test_the_table_fits_80_columns_and_says_what_to_do() -> None:
    long = f"finger.{'x' * 90} vs bozorth3"
    rows = compare.compare(
        read({SEARCH: 1.0, long: 12345.6, FACES: 2.0}), {SEARCH: 8.0, FACES: 2.0, "iris.gone vs numpy": 1.0}
    )
    lines = compare.table(rows).splitlines()
    assert all(len(line) <= compare.WIDTH for line in lines)
    assert any(line.startswith(FACES) and line.endswith("ok") for line in lines)
    assert any(line.startswith("finger.xxx") and "12,346" in line and line.endswith("new") for line in lines)
    assert any(line.startswith(SEARCH) and line.endswith("TOO SLOW") for line in lines)
    assert any(line.startswith("iris.gone") and line.endswith("MISSING") for line in lines)
    assert any("make baseline" in line for line in lines)


def test_a_new_baseline_keeps_what_was_skipped_and_drops_what_is_gone() -> None:
    results = read({SEARCH: 5.12345}, {"face.extraction": "no face pack"})
    made = compare.new_baseline(results, {FACES: 2.0, "iris.gone vs numpy": 1.0}, "a machine", 3)
    assert made["ratios"] == {FACES: 2.0, SEARCH: 5.123}
    assert compare.read_baseline(json.loads(json.dumps(made))) == Baseline("small", made["ratios"], "a machine")


def test_keys_come_from_file_test_and_parameter() -> None:
    node = "benchmarks/suites/test_finger.py::test_comparison[genuine]"
    assert compare.benchmark_key(node) == "finger.comparison[genuine]"


def test_markdown_has_a_row_for_every_ratio() -> None:
    text = compare.markdown(read({SEARCH: 8.0, FACES: 0.5}))
    assert "| iris.search vs numpy | one iris.search | 2 ms | 16 ms | 8 |" in text
    assert "| 2 ms | 1 ms | 0.5 |" in text


def test_bytes_are_not_called_seconds() -> None:
    found = document({SEARCH: 2.0})
    found["benchmarks"][0]["extra_info"]["unit"] = "B"
    found["benchmarks"][0]["extra_info"]["seconds_per_operation"] = 7089.4
    assert "| 7,089 B |" in compare.markdown(compare.read_results(found))


def test_the_command_line_exits_by_the_verdict(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    results, baseline = tmp_path / "results.json", tmp_path / "baseline.json"
    results.write_text(json.dumps(document({SEARCH: 3.0})))

    def run(ratio: float, sizes: str = "small") -> int:
        baseline.write_text(json.dumps({"sizes": sizes, "machine": "m", "ratios": {SEARCH: ratio}}))
        return compare.main([str(results), "--baseline", str(baseline)])

    assert run(6.0) == 0
    assert run(6.1) == 1
    assert "TOO SLOW" in capsys.readouterr().out
    assert run(6.0, "full") == 2
    assert "compare like with like" in capsys.readouterr().err
    assert compare.main([str(tmp_path / "absent.json")]) == 2


@pytest.mark.parametrize(("old", "new", "code"), [(8.0, 8.0, 0), (8.0, 6.81, 0), (8.0, 6.79, 1), (2.0, 9.0, 0)])
def test_a_ratio_fails_more_than_15_percent_below_another_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], old: float, new: float, code: int
) -> None:
    before, after = tmp_path / "old.json", tmp_path / "new.json"
    before.write_text(json.dumps(document({SEARCH: old})))
    after.write_text(json.dumps(document({SEARCH: new})))
    assert compare.main([str(after), "--against", str(before)]) == code
    assert ("regression" in capsys.readouterr().out) == bool(code)


def test_runs_to_compare_need_one_size_and_the_same_benchmarks(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before, after = tmp_path / "old.json", tmp_path / "new.json"
    before.write_text(json.dumps(document({SEARCH: 8.0, FACES: 2.0})))
    after.write_text(json.dumps(document({SEARCH: 8.0})))
    assert compare.main([str(after), "--against", str(before)]) == 1
    assert "did not run in this one" in capsys.readouterr().out
    after.write_text(json.dumps({**document({SEARCH: 8.0}), "sizes": "full"}))
    assert compare.main([str(after), "--against", str(before)]) == 2
    assert "compare like with like" in capsys.readouterr().err


@pytest.mark.parametrize("named", [False, True])
def test_make_takes_the_two_files_as_goals_or_as_variables(tmp_path: Path, named: bool) -> None:
    before, after = tmp_path / "old.json", tmp_path / "new.json"
    before.write_text(json.dumps(document({SEARCH: 8.0})))
    after.write_text(json.dumps(document({SEARCH: 1.0})))
    files = [f"OLD={before}", f"NEW={after}"] if named else [str(before), str(after)]
    root = Path(__file__).parents[2]
    made = subprocess.run(
        ["make", "--no-print-directory", "-n", "bench-compare", *files], cwd=root, capture_output=True, text=True
    )
    assert made.returncode == 0, made.stderr
    words = made.stdout.replace("\\\n", " ").split()
    assert words[words.index("--against") + 1 :][:2] == [str(before), str(after)]


def test_the_committed_baseline_is_one() -> None:
    baseline = compare.read_baseline(json.loads(compare.BASELINE.read_text()))
    assert baseline.sizes == "small"
    assert {key.split(".")[0] for key in baseline.ratios} == {
        "finger",
        "finger_comparison",
        "face",
        "iris",
        "multimodal",
        "multimodal_load",
        "finger_search",
        "records",
    }
