"""The results of an evaluation for a terminal of 80 columns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.table import Table
from rich.text import Text

from enrollment.evaluation.fuse_report import fuse_counts, method_name
from enrollment.evaluation.html_parts import interval_words, percent
from enrollment.evaluation.identify_report import identify_counts, identify_rows
from enrollment.evaluation.verify_report import verify_counts, verify_rows
from enrollment.plain_text import plain, printable


def summary(result: Mapping[str, Any]) -> list[Table | str]:
    """What was compared, the headline rates and, where asked for, those of each group."""
    if result["evaluation"] == "fuse":
        note = "Cohort: scores first normalised with those of the people fitted on."
        return [_fuse(result), f"{printable(fuse_counts(result))}. {note}", *_fused_calibration(result)]
    verify = result["evaluation"] == "verify"
    table = _table("Rate", "Value", "95 % interval")
    for row in verify_rows(result) if verify else identify_rows(result):
        table.add_row(*row)
    where = "" if verify else " in the gallery"
    counts = verify_counts(result) if verify else identify_counts(result)
    told = f"{counts}; {result['failures_to_enrol']:,} samples without a template{where}"
    return [told, table, *_notes(result), *([_groups(result["by"], verify)] if result["by"] else [])]


def _notes(result: Mapping[str, Any]) -> list[str]:
    """What a reader of the rates must know."""
    if result["evaluation"] == "verify":
        return _left_out("", result)
    notes = [words for name, side in result["failures"].items() for words in _left_out(name, side)]
    if not result["mated"]:
        notes.append("No probe's subject is in the gallery: there is nobody to be found, and no hit rate.")
    if not result["non_mated"]:
        notes.append("Every probe's subject is in the gallery: FNIR at FPIR needs searches of people who are not.")
    if result["images_in_both"]:
        notes.append(f"{result['images_in_both']:,} images are in gallery and probes alike: the rates flatter.")
    return notes


def _left_out(name: str, side: Mapping[str, Any]) -> list[str]:
    """Rows of a manifest that are in no rate, and the first of them; nothing where there are none."""
    missing, bad = side["missing_files"], side["bad_rows"]
    counts = [
        f"{len(rows):,} {one if len(rows) == 1 else one + 's'} {what}"
        for rows, one, what in ((missing, "file", "missing"), (bad, "row", "unusable"))
        if rows
    ]
    if not counts:
        return []
    first = min([*missing, *bad], key=lambda row: int(row["line"]))
    where = f"the first in line {first['line']}: {printable(first['path'])}"
    return [f"{name.capitalize()}: ".removeprefix(": ") + f"{', '.join(counts)} ({where}). They are in no rate."]


def _groups(by: Mapping[str, Any], verify: bool) -> Table:
    """One rate beside the counts; the others are in the report and the JSON."""
    if verify:
        table = _table("Group", "Genuine", "Impostor", "EER", "95 % interval")
        for g in by["groups"]:
            rate, limits = g["eer"], g["eer_ci95"]
            counts = f"{g['genuine']:,}", f"{g['impostor']:,}"
            table.add_row(plain(g["value"]), *counts, percent(rate, limits), interval_words(limits))
    else:
        table = _table("Group", "Mated", "Non-mated", "Rank 1", "95 % interval")
        for g in by["groups"]:
            rate, limits = g["rank1"], g["rank1_ci95"]
            counts = f"{g['mated']:,}", f"{g['non_mated']:,}"
            table.add_row(plain(g["value"]), *counts, percent(rate, limits), interval_words(limits))
    table.title_justify = "left"
    table.title = Text("\n").append_text(plain(f"By {by['column']} ({by['way']})", "italic"))
    return table


def _fuse(result: Mapping[str, Any]) -> Table:
    table = Table(
        title="Genuine accept rate (%) at a false accept rate of 0.01 %", title_justify="left", show_edge=False
    )
    table.add_column("method")
    settings = list(result["gar_at_far_1e-4"])
    for setting in settings:
        table.add_column(_setting_name(setting), justify="right", no_wrap=True)
    for name, found in result["methods"].items():
        cells = [f"{100 * found[s]['mean']:.2f} ± {100 * found[s]['sd']:.2f}" for s in settings]
        table.add_row(method_name(name), *cells, style="bold" if name == result["method"] else "")
    return table


def _fused_calibration(result: Mapping[str, Any]) -> list[Table | str]:
    """Whether the fused score means what it says; nothing where it was not looked at."""
    found = result.get("calibration")
    if found is None:
        return []
    parts: list[Table | str] = []
    for kind, title in (
        ("observed_over_asked", "Does the fused score mean what it says?"),
        ("vouched_over_asked", "And the part that calibration vouches for, which makes a HIT?"),
    ):
        table = Table(title=f"\n{title}", title_justify="left", show_edge=False)
        for name in ("score", "FMR asked", *map(_setting_name, found[kind])):
            table.add_column(name, justify="right", no_wrap=True)
        for k, (score, fmr) in enumerate(zip(found["score"], found["fmr_asked"], strict=True)):
            ratios = [cells[k] for cells in found[kind].values()]
            table.add_row(f"{score:g}", f"{fmr:.1e}", *map(_ratio, ratios))
        parts.append(table)
    return [*parts, "Strangers who reach the score over how many should; -: too few comparisons to say."]


def _ratio(found: Mapping[str, float] | None) -> str:
    return "-" if found is None else f"{found['mean']:.2f} ± {found['sd']:.2f}"


def _setting_name(setting: str) -> str:
    return setting.replace("all_30pct_missing", "30% missing")


def _table(first: str, *others: str) -> Table:
    table = Table(show_edge=False, pad_edge=False)
    table.add_column(first, overflow="fold")
    for name in others:
        table.add_column(name, justify="right")
    return table
