"""The report of an evaluation: one HTML file that needs nothing else, made from the evaluation's JSON alone."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from enrollment.evaluation import charts

STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; color: #1a1a1a; max-width: 1180px; margin: 24px auto; padding: 0 20px; }
h1 { font-size: 24px; margin: 0 0 4px; } h2 { font-size: 18px; margin: 28px 0 8px; }
p.about { margin: 2px 0; } code { background: #f2f2f2; padding: 1px 4px; overflow-wrap: anywhere; }
table { border-collapse: collapse; margin: 8px 0; max-width: 100%; }
th, td { border-bottom: 1px solid #d5d5d5; padding: 4px 12px 4px 0; text-align: left; vertical-align: top; }
td.n, th.n { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums; }
td { overflow-wrap: anywhere; }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(480px, 1fr)); gap: 16px; }
.charts svg { width: 100%; height: auto; } .note { color: #555; font-size: 13px; }
"""


def write_report(result: Mapping[str, Any], path: Path, command: str) -> None:
    """Writes the report of ``evaluate_verify`` or ``evaluate_identify``.

    Args:
        result: what they return.
        command: the command line that made it, as a reader would type it.
    """
    path.write_text(render_report(result, command), encoding="utf-8")


def render_report(result: Mapping[str, Any], command: str) -> str:
    """The report's HTML."""
    parts = _verify(result) if result["evaluation"] == "verify" else _identify(result)
    title = f"{result['evaluation']}: {result['manifest']}"
    return (
        "<!DOCTYPE html>\n<html lang='en'><head><meta charset='utf-8'>"
        f"<meta name='viewport' content='width=device-width'><title>{_text(title)}</title><style>{STYLE}</style></head>"
        f"<body>{_heading(result, command)}{''.join(parts)}{_not_used(result)}</body></html>\n"
    )


def in_words(result: Mapping[str, Any]) -> list[list[str]]:
    """Rows of name, value and interval of the headline rates, as plain text."""
    rows = _verify_rows(result) if result["evaluation"] == "verify" else _identify_rows(result)
    return [[html.unescape(cell) for cell in row] for row in rows]


def percent(rate: float | None, limits: Sequence[float] | None = None) -> str:
    """A rate as people read it: "1.20 %", "< 0.30 %" where only a bound is supported, "-" where nothing is."""
    if rate is not None:
        return f"{100 * rate:.3g} %"
    return "-" if limits is None else f"&lt; {100 * limits[1]:.2g} %"


def _limits(limits: Sequence[float] | None) -> str:
    return "-" if limits is None else f"{100 * limits[0]:.3g} - {100 * limits[1]:.3g} %"


def _text(value: object) -> str:
    return html.escape(str(value))


def _heading(r: Mapping[str, Any], command: str) -> str:
    if r["evaluation"] == "verify":
        name = "Verification (1:1)"
        counts = (
            f"{r['samples']:,} samples of {r['subjects']:,} subjects ({r['classes']:,} classes); {r['genuine']:,} "
            f"genuine and {r['impostor']:,} impostor comparisons (impostors: {r['impostors']})"
        )
    else:
        name = "Identification (1:N)"
        counts = (
            f"{r['gallery']:,} people in the gallery ({r['gallery_enrolled']:,} enrolled, {r['gallery_references']:,} "
            f"references); {r['mated']:,} mated and {r['non_mated']:,} non-mated searches"
        )
    lines = [
        f"Data: {_text(r['manifest'])}; {_text(r['modality'])}, algorithm {_text(r['algorithm'])}",
        f"Counts: {counts}",
        f"Date: {_text(r['date'])}",
        f"Command: <code>{_text(command)}</code>",
        f"Intervals: {100 * r['confidence']['level']:g} %, bootstrap over subjects, {r['confidence']['resamples']:,} "
        "resamples. Rates that the counts do not support (rule of three) are not printed.",
        _gate(r),
    ]
    return f"<h1>{name}</h1>" + "".join(f"<p class='about'>{line}</p>" for line in lines)


def _gate(r: Mapping[str, Any]) -> str:
    if r["gate"] is None:
        return "Quality gate: none. Failures to enrol count as non-matches."
    gates = r["gate"] if "gallery" in r["gate"] else {"": r["gate"]}
    told = "; ".join(
        f"{name} quality {g['quality']}: {g['rejected']} samples rejected "
        f"({percent(g['rejected_share'], g['rejected_share_ci95'])})".strip()
        for name, g in gates.items()
    )
    return f"Quality gate: {told}. Failures to enrol count as non-matches."


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table; cells are HTML already. The first column is text, the others are numbers."""

    def line(cells: Sequence[str], tag: str) -> str:
        return "<tr>" + "".join(f"<{tag}{' class=n' if k else ''}>{c}</{tag}>" for k, c in enumerate(cells)) + "</tr>"

    return f"<table>{line(head, 'th')}{''.join(line(r, 'td') for r in rows)}</table>"


def _rate_row(name: str, rate: float | None, limits: Sequence[float] | None) -> list[str]:
    return [name, percent(rate, limits), _limits(limits)]


def _points(r: Mapping[str, Any], name: str, words: str) -> list[list[str]]:
    return [_rate_row(f"{words} {k}", v, r[f"{name}_ci95"][k]) for k, v in r[name].items()]


def _verify_rows(r: Mapping[str, Any]) -> list[list[str]]:
    return [
        _rate_row("EER", r["eer"], r["eer_ci95"]),
        *_points(r, "fnmr_at_fmr", "FNMR at FMR"),
        _rate_row("Failure to enrol", r["failure_to_enrol_rate"], r["failure_to_enrol_rate_ci95"]),
    ]


def _identify_rows(r: Mapping[str, Any]) -> list[list[str]]:
    return [_rate_row("Rank-1 hit rate", r["rank1"], r["rank1_ci95"]), *_points(r, "fnir_at_fpir", "FNIR at FPIR")]


def _verify(r: Mapping[str, Any]) -> list[str]:
    parts = ["<h2>Rates</h2>", _table(["Rate", "Value", "95 % interval"], _verify_rows(r)), _speed(r)]
    parts.append("<div class=charts>")
    parts.append(charts.det(r["det"]["fmr"], r["det"]["fnmr"], r["det"]["fnmr_ci95"], "FMR", "FNMR"))
    parts.append(charts.histogram(r["histogram"], "raw comparison score", ("genuine", "impostor")))
    if r["discard"]["share"]:
        parts.append(charts.discard(r["discard"]))
    parts.append("</div>")
    if r["by"]:
        parts += [f"<h2>By {_text(r['by']['column'])}</h2>", _verify_groups(r["by"]["groups"])]
        parts.append(
            "<p class='note'>'Shared' rates are at the thresholds at which all groups together have the FMR named. "
            "'a / b': comparisons between the two values. Other operating points are in the JSON.</p>"
        )
    return parts


def _verify_groups(groups: Sequence[Mapping[str, Any]]) -> str:
    # One operating point, the strictest that all groups together support: more would not fit beside each other.
    keys = [
        k for k in groups[0]["fnmr_at_fmr"] if any(g["fnmr_at_shared_threshold_ci95"][k] is not None for g in groups)
    ][-1:]
    head = ["Value", "Samples", "No template", "Genuine", "Impostor", "EER"]
    head += [f"{name}, FMR {k}" for k in keys for name in ("FNMR at own", "FNMR shared", "FMR shared")]
    rows = []
    for g in groups:
        row = [_text(g["value"]), f"{g['samples']:,}", f"{g['failures_to_enrol']:,}"]
        row += [f"{g['genuine']:,}", f"{g['impostor']:,}", _both(g["eer"], g["eer_ci95"])]
        for k in keys:
            for name in ("fnmr_at_fmr", "fnmr_at_shared_threshold", "fmr_at_shared_threshold"):
                row.append(_both(g[name][k], g[f"{name}_ci95"][k]))
        rows.append(row)
    return _table(head, rows)


def _both(rate: float | None, limits: Sequence[float] | None) -> str:
    shown = percent(rate, limits)
    return shown if rate is None else f"{shown}<br><span class='note'>{_limits(limits)}</span>"


def _identify(r: Mapping[str, Any]) -> list[str]:
    parts = ["<h2>Rates</h2>", _table(["Rate", "Value", "95 % interval"], _identify_rows(r)), _speed(r)]
    parts.append("<div class=charts>")
    parts.append(charts.cmc(r["cmc"]["hit_rate"], r["cmc"]["hit_rate_ci95"]))
    parts.append(charts.det(r["det"]["fpir"], r["det"]["fnir"], r["det"]["fnir_ci95"], "FPIR", "FNIR"))
    parts.append(charts.histogram(r["histogram"], "score, -10 log10(FMR)", ("mate", "best of a non-mated search")))
    parts.append("</div>")
    if r["images_in_both"]:
        parts.append(f"<p><b>{r['images_in_both']} images are in gallery and probes alike: the rates flatter.</b></p>")
    if r["by"]:
        keys = list(r["fnir_at_fpir"])
        head = ["Value", "Mated", "Non-mated", "Rank 1", *(f"FNIR at FPIR {k}" for k in keys)]
        table = [
            [
                _text(g["value"]),
                f"{g['mated']:,}",
                f"{g['non_mated']:,}",
                _both(g["rank1"], g["rank1_ci95"]),
                *(_both(g["fnir_at_fpir"][k], g["fnir_at_fpir_ci95"][k]) for k in keys),
            ]
            for g in r["by"]["groups"]
        ]
        parts += [f"<h2>By {_text(r['by']['column'])}</h2>", _table(head, table)]
    return parts


def _speed(r: Mapping[str, Any]) -> str:
    what = "comparisons" if r["evaluation"] == "verify" else "searches"
    extraction, per_second = r["extraction_seconds"], r[f"{what}_per_second"]
    steps = ", ".join(f"{name} {value:.1f} s" for name, value in r["seconds"].items() if name != "templates_made_now")
    one = "-" if extraction is None else f"{extraction:.2f} s"
    rate = "-" if per_second is None else f"{per_second:,.0f}"
    return (
        f"<p>One extraction takes {one} on one thread; {rate} {what} a second. This run: {steps} "
        f"({r['seconds']['templates_made_now']:,} templates made, the others were kept from before).</p>"
    )


def _not_used(r: Mapping[str, Any]) -> str:
    sides = {"": r} if r["evaluation"] == "verify" else r["failures"]
    parts = ["<h2>Failures and what was left out</h2>"]
    if r["evaluation"] == "verify":
        parts.append(
            f"<p>{r['genuine_failed']:,} genuine comparisons failed and count as non-matches; {r['impostor_failed']:,} "
            f"impostor comparisons failed and {r['ambiguous_pairs']:,} pairs of one subject with unknown positions are "
            "left out.</p>"
        )
    else:
        parts.append(
            f"<p>{r['mated_failed']:,} mated probes gave no template and count as missed; {r['non_mated_failed']:,} "
            "non-mated ones are left out.</p>"
        )
    for name, side in sides.items():
        words = f"{_text(name)}: " if name else ""
        parts.append(
            f"<p>{words}{side['failures_to_enrol']:,} samples without a template (of these "
            f"{side['failures_to_acquire']:,} images that could not be used at all); "
            f"{len(side['missing_files']):,} files not there, "
            f"{len(side['bad_rows']):,} rows that cannot be read (in no rate).</p>"
        )
        shown = side["failed"][:200]
        if shown:
            rows = [[_text(f["path"]), _text(f["reason"]), _text(f["line"])] for f in shown]
            parts.append(_table(["Sample", "Reason", "Line"], rows))
            if len(side["failed"]) > len(shown):
                parts.append(f"<p>... and {len(side['failed']) - len(shown):,} more, in the JSON.</p>")
    return "".join(parts)
