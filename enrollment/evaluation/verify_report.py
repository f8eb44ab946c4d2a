"""The report of ``ambis evaluate verify``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from enrollment.evaluation import charts
from enrollment.evaluation.html_parts import rate_cell, table, text
from enrollment.evaluation.manifest_report import heading, not_used, point_rows, rate_row, rates_table, speed


def verify_rows(result: Mapping[str, Any]) -> list[list[str]]:
    """Name, value and interval of the headline rates, as plain text."""
    return [
        rate_row("EER", result["eer"], result["eer_ci95"]),
        *point_rows(result, "fnmr_at_fmr", "FNMR at FMR"),
        rate_row("Failure to enrol", result["failure_to_enrol_rate"], result["failure_to_enrol_rate_ci95"]),
    ]


def verify_counts(result: Mapping[str, Any]) -> str:
    """What was compared, in one sentence."""
    r = result
    return (
        f"{r['samples']:,} samples of {r['subjects']:,} subjects ({r['classes']:,} classes); {r['genuine']:,} "
        f"genuine and {r['impostor']:,} impostor comparisons (impostors: {r['impostors']})"
    )


def verify_body(result: Mapping[str, Any], command: str) -> str:
    """Everything below ``<body>``."""
    r = result
    parts = [
        heading("Verification (1:1)", verify_counts(r), r, command),
        f"<h2>Rates</h2>{rates_table(verify_rows(r))}{speed(r, 'comparisons')}<div class=charts>",
        charts.det(r["det"]["fmr"], r["det"]["fnmr"], r["det"]["fnmr_ci95"], "FMR", "FNMR"),
        charts.histogram(r["histogram"], "raw comparison score", ("genuine", "impostor")),
        charts.discard(r["discard"]) if r["discard"]["share"] else "",
        "</div>",
        _groups(r["by"]) if r["by"] else "",
    ]
    first = (
        f"{r['genuine_failed']:,} genuine comparisons failed and count as non-matches; {r['impostor_failed']:,} "
        f"impostor comparisons failed and {r['ambiguous_pairs']:,} pairs of one subject with unknown positions are "
        "left out."
    )
    return "".join(parts) + not_used({"": r}, first)


def _groups(by: Mapping[str, Any]) -> str:
    groups: Sequence[Mapping[str, Any]] = by["groups"]
    # One operating point, the strictest that the groups together support: more would not fit beside each other.
    keys = [
        k for k in groups[0]["fnmr_at_fmr"] if any(g["fnmr_at_shared_threshold_ci95"][k] is not None for g in groups)
    ][-1:]
    points = [
        (words, name, k)
        for k in keys
        for words, name in (
            ("FNMR at own", "fnmr_at_fmr"),
            ("FNMR shared", "fnmr_at_shared_threshold"),
            ("FMR shared", "fmr_at_shared_threshold"),
        )
        if any(g[f"{name}_ci95"][k] is not None for g in groups)
    ]
    head = ["Group", "Samples", "No template", "Genuine", "Impostor", "EER"]
    head += [f"{words}, FMR {k}" for words, _, k in points]
    rows = []
    for g in groups:
        row = [text(g["value"]), f"{g['samples']:,}", f"{g['failures_to_enrol']:,}"]
        row += [f"{g['genuine']:,}", f"{g['impostor']:,}", rate_cell(g["eer"], g["eer_ci95"])]
        rows.append(row + [rate_cell(g[name][k], g[f"{name}_ci95"][k]) for _, name, k in points])
    against = " Every group is set against all impostor comparisons." if by["impostor_comparisons"] == "all" else ""
    return (
        f"<h2>By {text(by['column'])} ({text(by['way'])})</h2>{table(head, rows)}"
        "<p class=note>'Own': at the group's own threshold for the FMR named; 'shared': at the threshold at which all "
        f"groups together have it. 'a / b': comparisons between the two groups.{against} Other operating points are "
        "in the JSON.</p>"
    )
