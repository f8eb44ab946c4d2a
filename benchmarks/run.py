"""Runs the benchmark suites: ``make bench``, ``make bench-ci``, ``make baseline``, ``make bench-search``.

The suites run in a process of their own, with an environment that says how many threads there are and that has nothing
left of settings which slow ours or a peer down (``clean_environment``). The JSON lands in ``benchmarks/results``.
"""

from __future__ import annotations

import argparse
import datetime
import enum
import json
import os
import platform
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks import compare, search_report
from benchmarks.suites.sizes import SIZES

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results"
BASELINE_RUNS = 3
"""Runs whose median becomes the baseline."""
TEST_SECONDS = 2400
"""No single benchmark may take longer, nor one of the slow ones longer than the next."""
SLOW_SECONDS = 4 * 3600

_DROPPED = ("OMP_", "OPENBLAS_", "GOTO_", "MKL_", "KMP_", "AMBIS_", "PYTEST_")
_KEPT = ("AMBIS_MODELS",)
_SET = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


def clean_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment of the suites: one thread a call, no kernels forced upon a library, AMBIS's own defaults."""
    kept = {k: v for k, v in environment.items() if k in _KEPT or not k.startswith(_DROPPED)}
    return {**kept, **_SET}


class Kind(enum.StrEnum):
    """Which benchmarks run: an expression of markers, as for pytest's ``-m``."""

    ALL = "not slow"
    SEARCH = "search and not slow"
    """1:N."""
    SLOW = "search and slow"
    """Of two million people, and for many minutes."""


_NAMES = {Kind.ALL: "", Kind.SEARCH: "search-", Kind.SLOW: "search-slow-"}


def run_suites(sizes: str, kind: Kind, only: str, output: Path) -> int:
    """Runs pytest; returns its exit code. ``only`` is an expression for ``-k``."""
    command = [sys.executable, "-m", "pytest", str(HERE / "suites"), "--rootdir", str(HERE.parent)]
    command += ["--sizes", sizes, "--benchmark-only", "--benchmark-quiet", f"--benchmark-json={output}"]
    seconds = SLOW_SECONDS if kind is Kind.SLOW else TEST_SECONDS
    command += ["-m", kind.value, f"--timeout={seconds}"]
    command += ["-p", "no:cacheprovider", "--durations=0", "--durations-min=5"]
    if only:
        command += ["-k", only]
    return subprocess.run(command, cwd=HERE.parent, env=clean_environment(os.environ), check=False).returncode


def describe_machine(results: Mapping[str, Any]) -> str:
    """Processor, cores and Python; no name of the machine."""
    cpu = results.get("machine_info", {}).get("cpu", {})
    brand = cpu.get("brand_raw") or platform.machine()
    return f"{brand}, {len(os.sched_getaffinity(0))} cores, 1 thread a call, Python {platform.python_version()}"


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line.

    Returns:
        0; 1 where a benchmark fails or a ratio is below half of its baseline; 2 where the command makes no sense.
    """
    options = _options(arguments)
    if options is None:
        return 2
    baseline = compare.Baseline("small", {}, "")
    if compare.BASELINE.is_file():
        baseline = compare.read_baseline(json.loads(compare.BASELINE.read_text()))
    elif options.compare:
        print("there is no benchmarks/baseline.json to compare with; write it with `make baseline`", file=sys.stderr)
        return 2
    comparable = options.sizes == baseline.sizes
    if options.compare and not comparable:
        print(f"the baseline is of {baseline.sizes} size: compare with --sizes {baseline.sizes}", file=sys.stderr)
        return 2

    documents = []
    RESULTS.mkdir(exist_ok=True)
    for number in range(options.repeat):
        now = datetime.datetime.now(datetime.UTC).strftime("%Y%m%dT%H%M%SZ")
        output = RESULTS / f"{_NAMES[options.kind]}{options.sizes}-{now}.json"
        print(f"run {number + 1} of {options.repeat}, {options.sizes} size, load {os.getloadavg()[0]:.1f}", flush=True)
        if code := run_suites(options.sizes, options.kind, options.only, output):
            print(f"the benchmarks themselves failed (pytest's exit code {code}); see above", file=sys.stderr)
            return 1
        if not output.is_file():
            print("nothing was measured: all benchmarks that were asked for were skipped, for the reasons above")
            return 0
        documents.append(json.loads(output.read_text()))
        print(f"results: {output.relative_to(HERE.parent)}")

    results = compare.merge([compare.read_results(document) for document in documents])
    partial = bool(options.only) or options.kind is not Kind.ALL
    rows = compare.compare(results, baseline.ratios if comparable else {}, partial=partial)
    if report := search_report.text(documents[-1]):
        print(f"{report}\n")
    print(compare.table(rows))
    machine = describe_machine(documents[0])
    if comparable and baseline.machine not in ("", machine):
        print(f"The baseline is of another machine, and ratios differ between processors:\n  {baseline.machine}")
    if options.write_baseline:
        document = compare.new_baseline(results, baseline.ratios, machine, options.repeat)
        compare.BASELINE.write_text(json.dumps(document, indent=2) + "\n")
        print(f"wrote {compare.BASELINE.relative_to(HERE.parent)}")
    return 1 if options.compare and compare.failed(rows) else 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace | None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.run", description="Benchmarks of AMBIS against peers")
    parser.add_argument("--sizes", choices=list(SIZES), default="full")
    parser.add_argument("--small", action="store_const", dest="sizes", const="small", help="sizes for CI")
    parser.add_argument("--search", action="store_const", dest="kind", const=Kind.SEARCH, help="searches (1:N) alone")
    parser.add_argument("--slow", action="store_const", dest="kind", const=Kind.SLOW, help="those of an hour alone")
    parser.add_argument("--compare", action="store_true", help="fail where a ratio is below half of its baseline")
    parser.add_argument("--write-baseline", action="store_true", help="write benchmarks/baseline.json")
    parser.add_argument("--repeat", type=int, help=f"runs, of which medians count (baseline: {BASELINE_RUNS})")
    parser.add_argument("--only", default="", help="benchmarks whose name matches, an expression as for pytest -k")
    parser.set_defaults(kind=Kind.ALL)
    options = parser.parse_args(arguments)
    if options.repeat is None:
        options.repeat = BASELINE_RUNS if options.write_baseline else 1
    problem = ""
    if options.repeat < 1:
        problem = "--repeat takes 1 and more"
    elif options.write_baseline and (options.only or options.kind is not Kind.ALL or options.sizes != "small"):
        problem = "a baseline is written from all benchmarks at small sizes: --small --write-baseline"
    if problem:
        print(problem, file=sys.stderr)
        return None
    return options


if __name__ == "__main__":
    sys.exit(main())
