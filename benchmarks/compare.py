"""Compares the ratios of a run (ours against a peer, in the same run) with ``baseline.json`` or with another run.

Times depend on the machine; how many times faster than a peer ours is, far less. A ratio below half of its baseline
fails, or one that is more than 15 % below that of the other run (``--against OLD.json``: both on one idle machine).
``python -m benchmarks.compare RESULTS.json`` prints the table for the JSON of a run, ``--markdown`` the README's.
"""

from __future__ import annotations

import argparse
import dataclasses
import enum
import json
import math
import statistics
import sys
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks import search_report

BASELINE = Path(__file__).resolve().parent / "baseline.json"
LEAST_PART = 0.5
"""Of its baseline that a ratio must keep: on any machine, at any load."""
LEAST_PART_OF_RUN = 0.85
"""Of another run's ratio."""
WIDTH = 80
SLOW_REMARK = (
    "A ratio fell below half of its baseline: make it faster, or run `make baseline` in a commit that says why. On a "
    "busy machine, first run it once more."
)
SLOWER_REMARK = (
    f"A ratio is more than {1 - LEAST_PART_OF_RUN:.0%} below that of the other run: a regression, unless the machine "
    "was busy in one of them."
)
GONE_REMARK = "The other run has benchmarks that did not run in this one."
MISSING_REMARK = "The baseline names benchmarks that did not run; if they are gone, run `make baseline`."


class Verdict(enum.StrEnum):
    """What is said of one ratio."""

    OK = "ok"
    SLOW = "TOO SLOW"
    """Too far below its baseline: fails."""
    NEW = "new"
    """Not in the baseline yet; ``make baseline`` puts it there."""
    SKIPPED = "skipped"
    """The benchmark could not run here, and says why."""
    MISSING = "MISSING"
    """In the baseline, but neither run nor skipped: fails, for a benchmark that goes unnoticed protects nothing."""
    NOT_RUN = "not run"
    """The same where only some benchmarks were asked for."""


@dataclasses.dataclass(frozen=True)
class Measured:
    """One ratio of a run.

    Attributes:
        ratio: how many times faster than the peer ours is.
        ours, peer: seconds an operation, or bytes of one.
        operation, answers: what was done, and how the peer's answers relate to ours.
        unit: of these two: ``s`` or ``B``.
    """

    ratio: float
    ours: float
    peer: float
    operation: str
    answers: str
    unit: str = "s"


@dataclasses.dataclass(frozen=True)
class Results:
    """What a run, or several, came to.

    Attributes:
        sizes: ``small``, ``full`` or ``tiny``.
        measured: by ``<modality>.<benchmark> vs <peer>``.
        skipped: why, by ``<modality>.<benchmark>``.
    """

    sizes: str
    measured: Mapping[str, Measured]
    skipped: Mapping[str, str]


@dataclasses.dataclass(frozen=True)
class Baseline:
    """What ``baseline.json`` holds.

    Attributes:
        sizes: of the runs that it comes from.
        ratios: by the same keys as ``Results.measured``.
        machine: where those runs were; a sentence.
    """

    sizes: str
    ratios: Mapping[str, float]
    machine: str


@dataclasses.dataclass(frozen=True)
class Row:
    """One line of the table; a ratio that there is none of is None."""

    key: str
    ratio: float | None
    baseline: float | None
    verdict: Verdict
    note: str = ""


class ResultsInvalid(ValueError):
    """A file is not what a run, or ``make baseline``, writes."""


def read_results(document: Mapping[str, Any]) -> Results:
    """Reads the JSON of pytest-benchmark with what the suites put into it.

    Raises:
        ResultsInvalid: no such JSON, or a ratio that is no positive number.
    """
    try:
        measured = {}
        for benchmark in document["benchmarks"]:
            info = benchmark["extra_info"]
            for peer, facts in info["peers"].items():
                key = f"{benchmark_key(benchmark['fullname'])} vs {peer}"
                ratio, ours = _positive(facts["ratio"], key), _positive(info["seconds_per_operation"], key)
                took = _positive(facts["seconds_per_operation"], key)
                operation, answers, unit = str(info["operation"]), str(facts["answers"]), str(info.get("unit", "s"))
                measured[key] = Measured(ratio, ours, took, operation, answers, unit)
        skipped = {benchmark_key(test): str(reason) for test, reason in document.get("skipped", {}).items()}
        return Results(str(document["sizes"]), measured, skipped)
    except (KeyError, TypeError, AttributeError) as error:
        raise ResultsInvalid(f"these are no results of the benchmarks ({error!r})") from None


def merge(runs: Sequence[Results]) -> Results:
    """The medians of several runs; what one of them measured is not skipped.

    Raises:
        ResultsInvalid: the runs are of different sizes.
    """
    if len({run.sizes for run in runs}) != 1:
        raise ResultsInvalid("the runs are of different sizes; compare like with like")
    keys = sorted({key for run in runs for key in run.measured})
    measured = {}
    for key in keys:
        found = [run.measured[key] for run in runs if key in run.measured]
        measured[key] = dataclasses.replace(
            found[0],
            ratio=statistics.median(m.ratio for m in found),
            ours=statistics.median(m.ours for m in found),
            peer=statistics.median(m.peer for m in found),
        )
    ran = {key.split(" vs ")[0] for key in keys}
    skipped = {test: reason for run in runs for test, reason in run.skipped.items() if test not in ran}
    return Results(runs[0].sizes, measured, skipped)


def read_baseline(document: Mapping[str, Any]) -> Baseline:
    """Reads ``baseline.json``; raises ResultsInvalid."""
    try:
        ratios = {key: _positive(ratio, key) for key, ratio in document["ratios"].items()}
        return Baseline(str(document["sizes"]), ratios, str(document["machine"]))
    except (KeyError, TypeError, AttributeError) as error:
        raise ResultsInvalid(f"this is no baseline ({error!r}); write one with `make baseline`") from None


def compare(
    results: Results, baseline: Mapping[str, float], *, partial: bool = False, least: float = LEAST_PART
) -> list[Row]:
    """One row for every ratio of the run and of the baseline, by name, and for what was skipped.

    Args:
        results: of a run at the baseline's sizes.
        baseline: ratios by key.
        partial: only some benchmarks were asked for, so that others may be absent.
        least: part of its baseline that a ratio must keep.
    """
    rows = []
    for key in sorted(results.measured.keys() | baseline.keys()):
        expected = baseline.get(key)
        if key in results.measured:
            ratio = results.measured[key].ratio
            verdict = Verdict.NEW if expected is None else Verdict.OK
            if expected is not None and ratio < least * expected:
                verdict = Verdict.SLOW
            rows.append(Row(key, ratio, expected, verdict))
        elif (test := key.split(" vs ")[0]) in results.skipped:
            rows.append(Row(key, None, expected, Verdict.SKIPPED, results.skipped[test]))
        else:
            rows.append(Row(key, None, expected, Verdict.NOT_RUN if partial else Verdict.MISSING))
    known = {row.key.split(" vs ")[0] for row in rows}
    rows += [Row(t, None, None, Verdict.SKIPPED, why) for t, why in sorted(results.skipped.items()) if t not in known]
    return rows


def failed(rows: Sequence[Row]) -> bool:
    """Whether the run is to fail."""
    return any(row.verdict in (Verdict.SLOW, Verdict.MISSING) for row in rows)


def table(rows: Sequence[Row], *, slow: str = SLOW_REMARK, missing: str = MISSING_REMARK) -> str:
    """The rows for a terminal of 80 columns, with reasons for what was skipped.

    Args:
        slow, missing: what to say where a ratio is too low, or not there.
    """
    name = WIDTH - 32
    lines = [f"{'times as fast as the peer':<{name}} {'ratio':>9} {'baseline':>9}  {'verdict':<9}".rstrip()]
    lines.append("-" * WIDTH)
    for row in rows:
        key = row.key if len(row.key) <= name else f"{row.key[: name - 3]}..."
        lines.append(
            f"{key:<{name}} {_figure(row.ratio):>9} {_figure(row.baseline):>9}  {row.verdict.value:<9}".rstrip()
        )
    notes = {row.key.split(" vs ")[0]: row.note for row in rows if row.note}
    remarks = [f"{test} was skipped: {note}" for test, note in notes.items()]
    if any(row.verdict is Verdict.SLOW for row in rows):
        remarks.append(slow)
    if any(row.verdict is Verdict.MISSING for row in rows):
        remarks.append(missing)
    return "\n".join(lines + [textwrap.fill(remark, WIDTH) for remark in remarks])


def markdown(results: Results) -> str:
    """The table of the README."""
    lines = ["| benchmark and peer | one operation | ours | peer | ratio |", "|---|---|---:|---:|---:|"]
    for key, m in sorted(results.measured.items()):
        ours, peer = (_time(v) if m.unit == "s" else f"{v:,.0f} {m.unit}" for v in (m.ours, m.peer))
        lines.append(f"| {key} | {m.operation} | {ours} | {peer} | {_figure(m.ratio)} |")
    return "\n".join(lines)


def new_baseline(results: Results, old: Mapping[str, float], machine: str, runs: int) -> dict[str, Any]:
    """What to write into ``baseline.json``; ratios of benchmarks that were skipped stay as they were."""
    kept = {key: ratio for key, ratio in old.items() if key.split(" vs ")[0] in results.skipped}
    ratios = {**kept, **{key: measured.ratio for key, measured in results.measured.items()}}
    return {
        "about": "how many times as fast as its peer each benchmark is; written by `make baseline`",
        "sizes": results.sizes,
        "machine": machine,
        "runs": runs,
        "ratios": {key: float(f"{ratio:.4g}") for key, ratio in sorted(ratios.items())},
    }


def benchmark_key(node: str) -> str:
    """``finger.comparison[genuine]`` of ``benchmarks/suites/test_finger.py::test_comparison[genuine]``."""
    file, _, test = node.partition("::")
    return f"{Path(file).stem.removeprefix('test_')}.{test.removeprefix('test_')}"


def _positive(value: Any, key: str) -> float:
    number = float(value)
    if not (math.isfinite(number) and number > 0.0):
        raise ResultsInvalid(f"{key}: {value!r} is no positive number")
    return number


def _figure(ratio: float | None) -> str:
    if ratio is None:
        return "-"
    return f"{ratio:,.0f}" if ratio >= 100 else f"{ratio:.3g}"


def _time(seconds: float) -> str:
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("us", 1e-6)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds / 1e-9:.3g} ns"


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns 1 where a ratio fails, 2 where a file cannot be used."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.compare", description=__doc__)
    parser.add_argument("results", type=Path, nargs="+", help="JSON of one run or several, of which medians are taken")
    parser.add_argument("--baseline", type=Path, default=BASELINE)
    parser.add_argument("--against", type=Path, metavar="OLD", help="JSON of an earlier run, in a baseline's place")
    parser.add_argument("--markdown", action="store_true", help="print the README's tables instead")
    options = parser.parse_args(arguments)
    try:
        documents = [json.loads(path.read_text()) for path in options.results]
        results = merge([read_results(document) for document in documents])
        if options.markdown:
            print("\n\n".join([markdown(results), *(t for d in documents if (t := search_report.markdown(d)))]))
            return 0
        if options.against is not None:
            old = read_results(json.loads(options.against.read_text()))
            sizes, name = old.sizes, "other run"
            ratios: Mapping[str, float] = {key: one.ratio for key, one in old.measured.items()}
        else:
            baseline = read_baseline(json.loads(options.baseline.read_text()))
            sizes, ratios, name = baseline.sizes, baseline.ratios, "baseline"
        if sizes != results.sizes:
            raise ResultsInvalid(
                f"the run is of {results.sizes} size and the {name} of {sizes}; compare like with like"
            )
    except (OSError, ValueError) as error:
        print(f"cannot compare: {error}", file=sys.stderr)
        return 2
    if options.against is None:
        rows = compare(results, ratios)
        print(table(rows))
    else:
        rows = compare(results, ratios, least=LEAST_PART_OF_RUN)
        print(table(rows, slow=SLOWER_REMARK, missing=GONE_REMARK))
    return 1 if failed(rows) else 0


if __name__ == "__main__":
    sys.exit(main())
