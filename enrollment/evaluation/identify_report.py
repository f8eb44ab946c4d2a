"""The report of ``ambis evaluate identify``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from enrollment.evaluation import charts
from enrollment.evaluation.html_parts import rate_cell, table, text
from enrollment.evaluation.manifest_report import heading, not_used, point_rows, rate_row, rates_table, speed


def identify_rows(result: Mapping[str, Any]) -> list[list[str]]:
    """Name, value and interval of the headline rates, as plain text."""
    return [
        rate_row("Rank-1 hit rate", result["rank1"], result["rank1_ci95"]),
        *point_rows(result, "fnir_at_fpir", "FNIR at FPIR"),
    ]


def identify_counts(result: Mapping[str, Any]) -> str:
    """What was searched where, in one sentence."""
    r = result
    return (
        f"{r['gallery']:,} people in the gallery ({r['gallery_enrolled']:,} enrolled, {r['gallery_references']:,} "
        f"references); {r['mated']:,} mated and {r['non_mated']:,} non-mated searches"
    )


def identify_body(result: Mapping[str, Any], command: str) -> str:
    """Everything below ``<body>``."""
    r = result
    both = f"<p><b>{r['images_in_both']:,} images are in gallery and probes alike: the rates flatter.</b></p>"
    parts = [
        heading("Identification (1:N)", identify_counts(r), r, command),
        f"<h2>Rates</h2>{rates_table(identify_rows(r))}{both if r['images_in_both'] else ''}{speed(r, 'searches')}",
        "<div class=charts>",
        charts.cmc(r["cmc"]["hit_rate"], r["cmc"]["hit_rate_ci95"]),
        charts.det(r["det"]["fpir"], r["det"]["fnir"], r["det"]["fnir_ci95"], "FPIR", "FNIR"),
        charts.histogram(r["histogram"], "score, -10 log10(FMR)", ("mate", "best of a non-mated search")),
        "</div>",
        _groups(r["by"]) if r["by"] else "",
    ]
    first = (
        f"{r['mated_failed']:,} mated probes gave no template and count as missed; {r['non_mated_failed']:,} "
        "non-mated ones are left out."
    )
    return "".join(parts) + not_used(r["failures"], first)


def _groups(by: Mapping[str, Any]) -> str:
    groups = by["groups"]
    keys = list(groups[0]["fnir_at_fpir"]) if groups else []
    head = ["Group", "Mated", "Non-mated", "Rank 1", *(f"FNIR at FPIR {k}" for k in keys)]
    rows = [
        [
            text(g["value"]),
            f"{g['mated']:,}",
            f"{g['non_mated']:,}",
            rate_cell(g["rank1"], g["rank1_ci95"]),
            *(rate_cell(g["fnir_at_fpir"][k], g["fnir_at_fpir_ci95"][k]) for k in keys),
        ]
        for g in groups
    ]
    all_strangers = by["non_mated_searches"] == "all"
    note = "<p class=note>Every group is set against all non-mated searches.</p>" if all_strangers else ""
    return f"<h2>By {text(by['column'])} ({text(by['way'])})</h2>{table(head, rows)}{note}"
