"""What the reports of verification and identification have in common: how it was measured, speed, what was left out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from enrollment.evaluation.html_parts import facts, interval_words, percent, table, text

SHOWN_FAILURES = 200


def heading(title: str, counts: str, result: Mapping[str, Any], command: str) -> str:
    """Title and what was measured how."""
    r = result
    return f"<h1>{title}</h1>" + facts(
        [
            ("Data", f"{text(r['manifest'])}; {text(r['modality'])}, algorithm {text(r['algorithm'])}"),
            ("Counts", counts),
            ("Date", text(r["date"])),
            ("Command", f"<code>{text(command)}</code>"),
            ("Intervals", intervals(r)),
            ("Quality gate", _gate(r)),
        ]
    )


def intervals(result: Mapping[str, Any]) -> str:
    """How intervals were made."""
    known = result["confidence"]
    return (
        f"{100 * known['level']:g} %, bootstrap over subjects, {known['resamples']:,} resamples. What the counts do "
        "not support (rule of three) is shown as an upper bound, or not at all."
    )


def rate_row(name: str, rate: float | None, limits: Sequence[float] | None) -> list[str]:
    """Name, value and interval, as plain text."""
    return [name, percent(rate, limits), interval_words(limits)]


def point_rows(result: Mapping[str, Any], name: str, words: str) -> list[list[str]]:
    """A row for each operating point of a rate."""
    return [rate_row(f"{words} {k}", v, result[f"{name}_ci95"][k]) for k, v in result[name].items()]


def rates_table(rows: Sequence[Sequence[str]]) -> str:
    """The headline rates."""
    return table(["Rate", "Value", "95 % interval"], [[text(cell) for cell in row] for row in rows])


def speed(result: Mapping[str, Any], what: str) -> str:
    """Seconds per step; ``what`` are "comparisons" or "searches"."""
    r = result
    extraction, per_second = r["extraction_seconds"], r[f"{what}_per_second"]
    steps = ", ".join(f"{name} {value:.1f} s" for name, value in r["seconds"].items() if name != "templates_made_now")
    one = "-" if extraction is None else f"{extraction:.2f} s"
    rate = "-" if per_second is None else f"{per_second:,.0f}"
    return (
        f"<p>One extraction takes {one} on one thread; {rate} {what} a second. This run: {steps} "
        f"({r['seconds']['templates_made_now']:,} templates made, the others were kept from before).</p>"
    )


def not_used(sides: Mapping[str, Mapping[str, Any]], first: str) -> str:
    """Failures, missing files and rows that cannot be read, of each manifest."""
    parts = [f"<h2>Failures and what was left out</h2><p>{first}</p>"]
    for name, side in sides.items():
        words = f"{text(name.capitalize())}: " if name else ""
        parts.append(
            f"<p>{words}{side['failures_to_enrol']:,} samples without a template (of these "
            f"{side['failures_to_acquire']:,} images that could not be used at all); "
            f"{len(side['missing_files']):,} files not there, "
            f"{len(side['bad_rows']):,} rows that cannot be read (in no rate).</p>"
        )
        shown = side["failed"][:SHOWN_FAILURES]
        if shown:
            rows = [[text(f["path"]), text(f["reason"]), text(f["line"])] for f in shown]
            parts.append(table(["Sample", "Reason", "Line"], rows))
            if len(side["failed"]) > len(shown):
                parts.append(f"<p>... and {len(side['failed']) - len(shown):,} more, in the JSON.</p>")
    return "".join(parts)


def _gate(r: Mapping[str, Any]) -> str:
    if r["gate"] is None:
        return "none. Failures to enrol count as non-matches."
    gates = r["gate"] if "gallery" in r["gate"] else {"": r["gate"]}
    told = "; ".join(
        f"{name} quality {g['quality']}: {g['rejected']} samples rejected "
        f"({text(percent(g['rejected_share'], g['rejected_share_ci95']))})".strip()
        for name, g in gates.items()
    )
    return f"{told}. Failures to enrol count as non-matches."
