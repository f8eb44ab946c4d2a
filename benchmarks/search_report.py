"""What the benchmarks of searches say beside their ratios: percentiles, stages, limits, growth, memory and soak.

Read from the ``extra_info`` of pytest-benchmark's JSON; as text of 80 columns, or as the README's markdown.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

WIDTH = 80
BUDGET_PEOPLE = 2_000_000
BUDGET = {
    "finger vectors": 150.0,
    "finger rescoring": 250.0,
    "irises": 250.0,
    "face": 60.0,
    "the rest": 100.0,
}
"""Milliseconds of a search of so many people with two fingers, a face and two irises: what the design allows."""
SCANS = ("finger vectors", "irises", "face")
"""Parts that take longer the more people there are; the others are bounded by the length of shortlists."""

PARTS_OF_BUDGET = {
    "finger vectors": ("finger vectors",),
    "finger rescoring": ("finger first look", "finger fast stage", "finger comparison"),
    "irises": ("iris shortlist", "iris comparison"),
    "face": ("face shortlist", "face comparison"),
}
"""The stages (``matcher.stages``) that each of them allows for; the rest is what a client waits for beside them."""

_COMMON = ("operation", "operations_per_round", "seconds_per_operation")
"""Keys of every benchmark."""


@dataclasses.dataclass(frozen=True)
class Section:
    """A table. Columns but the first are figures."""

    title: str
    head: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    note: str = ""


def sections(document: Mapping[str, Any]) -> list[Section]:
    """The tables that there is something to say in."""
    infos = [(_name(one["fullname"]), one["extra_info"]) for one in document.get("benchmarks", ())]
    made = (
        _loads(infos),
        *_stages(infos),
        _limits(infos),
        *_growth(infos),
        *_memory(infos),
        _records(infos),
        _figures(infos),
    )
    return [section for section in (*made, *_soak(infos)) if section.rows]


def text(document: Mapping[str, Any]) -> str:
    """All tables, 80 columns wide at the most; empty where there are none."""
    return "\n\n".join("\n".join(_text_lines(section)) for section in sections(document))


def markdown(document: Mapping[str, Any]) -> str:
    """All tables for the README; empty where there are none."""
    return "\n\n".join("\n".join(_markdown_lines(section)) for section in sections(document))


def _text_lines(section: Section) -> Iterator[str]:
    if len(section.head) == 1:
        yield section.title
        yield "-" * WIDTH
        for (line,) in section.rows:
            yield from _wrapped(line)
        return
    table = [section.head, *section.rows]
    widths = [max(len(row[i]) for row in table) for i in range(len(section.head))]
    between = 2 if sum(widths) + 2 * (len(widths) - 1) <= WIDTH else 1
    widths[0] = min(widths[0], WIDTH - sum(widths[1:]) - between * (len(widths) - 1))
    yield section.title
    yield "-" * WIDTH
    for row in table:
        first = row[0] if len(row[0]) <= widths[0] else f"{row[0][: widths[0] - 3]}..."
        figures = (f"{cell:>{width}}" for cell, width in zip(row[1:], widths[1:], strict=True))
        yield (" " * between).join((f"{first:<{widths[0]}}", *figures)).rstrip()
    if section.note:
        yield from _wrapped(section.note)


def _markdown_lines(section: Section) -> Iterator[str]:
    yield f"{section.title}{': ' + section.note if section.note else ''}"
    yield ""
    yield f"| {' | '.join(section.head)} |"
    yield f"|---|{'---:|' * (len(section.head) - 1)}"
    for row in section.rows:
        yield f"| {' | '.join(row)} |"


def _wrapped(note: str) -> list[str]:
    lines, line = [], ""
    for word in note.split():
        if line and len(line) + 1 + len(word) > WIDTH:
            lines.append(line)
            line = ""
        line = f"{line} {word}".strip()
    return [*lines, line]


def _loads(infos: Sequence[tuple[str, Mapping[str, Any]]]) -> Section:
    rows = []
    for _, info in infos:
        if load := info.get("load"):
            rows.append(
                (
                    f"{load['people']:,}",
                    str(load["clients"]),
                    *(_milliseconds(load[p]) for p in ("p50", "p95", "p99", "p50_known", "p50_unknown")),
                    f"{load['rate']:.3g}",
                    f"{load['first']}/{load['mated']}",
                    str(load["hits"]),
                    f"{load['false_hits']}/{load['strangers']}",
                    str(load["given_up"]),
                )
            )
    return Section(
        "Identify over gRPC, ms: two fingers, a face, two irises",
        ("people", "cl.", "p50", "p95", "p99", "known", "unkn.", "QPS", "first", "HIT", "false", "up"),
        rows,
        "known, unkn.: p50 of searches whose fingers are of known and of unknown positions; first, HIT: of the "
        "searches of people on record; false: HITs of people who are not; up: searches given up by a server with too "
        "much to do.",
    )


def _stages(infos: Sequence[tuple[str, Mapping[str, Any]]]) -> Iterator[Section]:
    """Of the largest gallery: a column for each number of clients, then one client beside the budget."""
    runs = [info for _, info in infos if info.get("load") and info.get("stages")]
    people = max((info["load"]["people"] for info in runs), default=0)
    runs = [info for info in runs if info["load"]["people"] == people]
    names = dict.fromkeys(name for info in runs for name in info["stages"])
    yield Section(
        f"Where the time goes among {people:,} people, ms a search",
        ("stage", *(f"{info['load']['clients']} clients" for info in runs)),
        [(name, *(_stage(info, name) for info in runs)) for name in names],
        "Elapsed times, waiting for a processor included.",
    )
    for info in runs:
        if info["load"]["clients"] == 1:
            took = {
                name: sum(info["stages"].get(part, (0, 0.0))[1] for part in parts)
                for name, parts in PARTS_OF_BUDGET.items()
            }
            took["the rest"] = max(0.0, info["load"]["p50"] - sum(took.values()))
            yield Section(
                f"One client among {people:,} people beside the budget, ms a search",
                ("part", "took", "budget"),
                [(name, f"{1e3 * seconds:.1f}", _budget(name, people)) for name, seconds in took.items()],
                f"The budget is what the design allows for {BUDGET_PEOPLE:,} people, in proportion for the scans; the "
                "rest is what the others leave of the p50.",
            )


def _stage(info: Mapping[str, Any], name: str) -> str:
    return f"{1e3 * info['stages'][name][1]:.1f}" if name in info["stages"] else "-"


def _budget(name: str, people: int) -> str:
    share = people / BUDGET_PEOPLE if name in SCANS else 1.0
    return f"{share * BUDGET[name]:.1f}"


def _limits(infos: Sequence[tuple[str, Mapping[str, Any]]]) -> Section:
    rows: list[tuple[str, ...]] = []
    rates: dict[int, str] = {}
    for name, info in infos:
        if limit := info.get("limit"):
            ours = limit["seconds"] / limit["share"]
            rows.append((name, _amount(ours), _amount(limit["seconds"]), limit["by"], f"{limit['share']:.0%}"))
            rate = limit["rates"]
            rates[rate["threads"]] = (
                f"{rate['threads']} thread{'s' * (rate['threads'] > 1)}: {rate['read_bytes'] / 1e9:.1f} GB/s read, "
                f"{rate['int8_products'] / 1e9:,.0f} G int8 products/s, {rate['counted_words'] / 1e9:.1f} G words of "
                "64 bits counted/s."
            )
    note = " ".join(
        ("The larger of bytes over bandwidth and operations over peak, both measured in the run.", *rates.values())
    )
    return Section("Distance to the machine's limit", ("benchmark", "ours", "limit", "set by", "share"), rows, note)


def _figures(infos: Sequence[tuple[str, Mapping[str, Any]]]) -> Section:
    rows = []
    for name, info in infos:
        of_one = {**info, **info.get("limits", {})}
        told = {k: v for k, v in of_one.items() if k not in _COMMON and isinstance(v, float | int | str)}
        if told:
            figures = "; ".join(f"{key.replace('_', ' ')} {_figure(value)}" for key, value in told.items())
            rows.append((f"{name}: {figures}",))
    return Section("Figures of single benchmarks", ("figures",), rows)


def _figure(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:,.4g}"


def _growth(infos: Sequence[tuple[str, Mapping[str, Any]]]) -> Iterator[Section]:
    for _, info in infos:
        growth = info.get("growth")
        if not growth:
            continue
        rows = [
            (
                f"{step['people']:,}",
                _milliseconds(step["p50"]),
                _milliseconds(step["p95"]),
                f"{step['fill_a_second']:,.0f}",
                _gigabytes(step["ram"]),
                _gigabytes(step["mapped"]),
                _gigabytes(step["process"]["own"]),
                _gigabytes(step["process"]["files"]),
            )
            for step in growth["steps"]
        ]
        slopes = growth["slopes"]
        yield Section(
            "Growth of a server, one client; two fingers, a face, two irises",
            ("people", "p50 ms", "p95 ms", "filled/s", "RAM GB", "mapped GB", "own GB", "files GB"),
            rows,
            f"Slopes (least squares): {1e9 * slopes['p50']:,.0f} ns a search, {slopes['ram']:,.0f} bytes of RAM and "
            f"{slopes['mapped']:,.0f} mapped a person; the process's own memory grows by {slopes['own']:,.0f}. RAM and "
            "mapped: what the parts count; own and files: RSS of the process.",
        )


def _memory(infos: Sequence[tuple[str, Mapping[str, Any]]]) -> Iterator[Section]:
    for _, info in infos:
        memory = info.get("memory")
        if not memory:
            continue
        people = memory["people"]
        rows = [(n, f"{ram / people:,.0f}", f"{mapped / people:,.0f}") for n, (ram, mapped) in memory["parts"].items()]
        rows.append(("all", f"{memory['ram'] / people:,.0f}", f"{memory['mapped'] / people:,.0f}"))
        grown = (memory["process"]["own"] - memory["process_empty"]["own"]) / people
        yield Section(
            "Bytes a subject with ten fingers, a face and two irises",
            ("part", "RAM", "mapped"),
            rows,
            f"Of {people:,}; allowed are 8,000 of RAM. The process's own memory grew by {grown:,.0f} a subject, with "
            "what compiling, searching and Python's allocator took.",
        )


def _records(infos: Sequence[tuple[str, Mapping[str, Any]]]) -> Section:
    rows = []
    for _, info in infos:
        if start := info.get("start"):
            took = info["seconds_per_operation"] * start["people"]
            rows.append(("start from records of", f"{start['people']:,} people", f"{took:.1f} s"))
            rows.append(("start without any", "", f"{start['empty_seconds']:.1f} s"))
        if info.get("enrolment"):
            rows.append(("enrolled over gRPC", "a second", f"{1 / info['seconds_per_operation']:,.0f}"))
    return Section("Records", ("what", "of", "figure"), rows)


def _soak(infos: Sequence[tuple[str, Mapping[str, Any]]]) -> Iterator[Section]:
    for _, info in infos:
        soak = info.get("soak")
        if not soak:
            continue
        before, after = soak["process"]
        rows = [
            ("people, at first and at last", f"{soak['people'][0]:,}", f"{soak['people'][1]:,}"),
            ("enrolled, in so many seconds", f"{soak['enrolled']:,}", f"{soak['seconds']:,.0f}"),
            ("latest request, seconds late", f"{soak['latest_request']:.2f}", ""),
            ("searches, those that missed", f"{soak['searches']:,}", str(soak["missed"])),
            ("acknowledged, and not found afterwards", f"{soak['enrolled']:,}", str(soak["lost"])),
            ("search p50, p99 (ms)", _milliseconds(soak["p50"]), _milliseconds(soak["p99"])),
            ("own memory before and after (GB)", _gigabytes(before["own"]), _gigabytes(after["own"])),
        ]
        yield Section("Enrolling while searching", ("what", "", ""), rows)


def _name(fullname: str) -> str:
    file, _, test = fullname.partition("::")
    return f"{Path(file).stem.removeprefix('test_')}.{test.removeprefix('test_')}"


def _milliseconds(seconds: float | None) -> str:
    return "-" if seconds is None else f"{1e3 * seconds:,.3g}" if seconds < 1 else f"{1e3 * seconds:,.0f}"


def _gigabytes(amount: float) -> str:
    return f"{amount / 1e9:.2f}"


def _amount(seconds: float) -> str:
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("us", 1e-6)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds / 1e-9:.3g} ns"
