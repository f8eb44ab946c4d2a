"""The runner: the suites' environment, exit codes, and the baseline it writes. The suites themselves are not run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import compare, run
from benchmarks.run import Kind
from tests.benchmarks.results import document

SEARCH = "iris.search vs numpy"


class Suites:
    """Stands in for the suites: each run writes the next of ``ratios``."""

    def __init__(self, *ratios: float, code: int = 0) -> None:
        self.ratios = list(ratios)
        self.code = code
        self.asked: list[tuple[str, Kind, str]] = []

    def __call__(self, sizes: str, kind: Kind, only: str, output: Path) -> int:
        self.asked.append((sizes, kind, only))
        output.write_text(json.dumps({**document({SEARCH: self.ratios.pop(0)}), "sizes": sizes}))
        return self.code


@pytest.fixture
def baseline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A baseline of 8, and results that go elsewhere than into the checkout."""
    path = tmp_path / "baseline.json"
    path.write_text(json.dumps({"sizes": "small", "machine": "another", "ratios": {SEARCH: 8.0}}))
    monkeypatch.setattr(run, "HERE", tmp_path / "benchmarks")
    monkeypatch.setattr(run, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(compare, "BASELINE", path)
    return path


def use(monkeypatch: pytest.MonkeyPatch, suites: Suites) -> Suites:
    monkeypatch.setattr(run, "run_suites", suites)
    return suites


def test_the_suites_see_one_thread_and_no_settings_of_this_process() -> None:
    before = {
        "PATH": "p",
        "OPENBLAS_CORETYPE": "Haswell",
        "OMP_NUM_THREADS": "64",
        "AMBIS_FACE_PACK": "none",
        "AMBIS_MODELS": "m",
        "PYTEST_ADDOPTS": "-x",
    }
    assert run.clean_environment(before) == {
        "PATH": "p",
        "AMBIS_MODELS": "m",
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
    }


def test_bench_passes_whatever_the_ratios(monkeypatch: pytest.MonkeyPatch, baseline: Path) -> None:
    suites = use(monkeypatch, Suites(0.1))
    assert run.main([]) == 0
    assert suites.asked == [("full", Kind.ALL, "")]


@pytest.mark.parametrize(("ratio", "code"), [(4.1, 0), (3.9, 1)])
def test_bench_ci_fails_below_half(
    monkeypatch: pytest.MonkeyPatch, baseline: Path, capsys: pytest.CaptureFixture[str], ratio: float, code: int
) -> None:
    suites = use(monkeypatch, Suites(ratio))
    assert run.main(["--small", "--compare"]) == code
    assert suites.asked == [("small", Kind.ALL, "")]
    assert "of another machine" in capsys.readouterr().out


def test_a_benchmark_that_fails_fails_the_run(monkeypatch: pytest.MonkeyPatch, baseline: Path) -> None:
    use(monkeypatch, Suites(100.0, code=1))
    assert run.main(["--small", "--compare"]) == 1
    use(monkeypatch, Suites(100.0, code=1))
    assert run.main([]) == 1


def test_nothing_but_skipped_benchmarks_is_no_failure(
    monkeypatch: pytest.MonkeyPatch, baseline: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # pytest-benchmark writes no file then.
    monkeypatch.setattr(run, "run_suites", lambda sizes, kind, only, output: 0)
    assert run.main(["--small", "--compare", "--only", "face"]) == 0
    assert "skipped" in capsys.readouterr().out


def test_comparing_other_sizes_or_without_a_baseline_makes_no_sense(
    monkeypatch: pytest.MonkeyPatch, baseline: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    suites = use(monkeypatch, Suites(8.0))
    assert run.main(["--compare"]) == 2
    assert "--sizes small" in capsys.readouterr().err
    baseline.unlink()
    assert run.main(["--small", "--compare"]) == 2
    assert "make baseline" in capsys.readouterr().err
    assert suites.asked == []


def test_a_baseline_is_the_median_of_its_runs(monkeypatch: pytest.MonkeyPatch, baseline: Path) -> None:
    suites = use(monkeypatch, Suites(1.0, 30.0, 5.0))
    assert run.main(["--small", "--write-baseline"]) == 0
    assert len(suites.asked) == run.BASELINE_RUNS
    written = json.loads(baseline.read_text())
    assert compare.read_baseline(written).ratios == {SEARCH: 5.0}
    assert written["runs"] == run.BASELINE_RUNS


@pytest.mark.parametrize(
    "arguments",
    [["--write-baseline"], ["--small", "--write-baseline", "--only", "iris"], ["--small", "--repeat", "0"]],
)
def test_a_baseline_of_part_of_the_benchmarks_is_refused(
    monkeypatch: pytest.MonkeyPatch, baseline: Path, arguments: list[str]
) -> None:
    suites = use(monkeypatch, Suites(8.0))
    before = baseline.read_text()
    assert run.main(arguments) == 2
    assert (suites.asked, baseline.read_text()) == ([], before)


def test_running_some_benchmarks_does_not_miss_the_others(monkeypatch: pytest.MonkeyPatch, baseline: Path) -> None:
    ratios = {SEARCH: 8.0, "face.search vs numpy": 2.0}
    baseline.write_text(json.dumps({"sizes": "small", "machine": "another", "ratios": ratios}))
    use(monkeypatch, Suites(8.0, 8.0))
    assert run.main(["--small", "--compare", "--only", "iris"]) == 0
    assert run.main(["--small", "--compare"]) == 1


@pytest.mark.parametrize(
    ("option", "kind", "name"),
    [("--search", Kind.SEARCH, "search-small-"), ("--slow", Kind.SLOW, "search-slow-small-")],
)
def test_searches_alone_are_no_whole_run(
    monkeypatch: pytest.MonkeyPatch, baseline: Path, option: str, kind: Kind, name: str
) -> None:
    suites = use(monkeypatch, Suites(8.0, 8.0))
    assert run.main(["--small", option, "--compare"]) == 0
    assert suites.asked == [("small", kind, "")]
    assert [path.name.startswith(name) for path in (run.RESULTS).iterdir()] == [True]
    assert run.main(["--small", option, "--write-baseline"]) == 2
