"""What people read of an artefact: what it is founded on and how well it holds, for an 80-column terminal."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from enrollment.plain_text import plain, printable
from matcher.calibration import Calibration

WARNING = (
    "Among people left out fewer than half or more than twice as many strangers passed as asked. Do not use this "
    "artefact: there are too few people, or some stand under two ids."
)


def artefact_table(artefact: Calibration) -> RenderableType:
    """Counts, false match rates asked and observed, and the cost of the ratios."""
    about = artefact.about
    lines = Table.grid(padding=(0, 2))
    drawn = about["impostor_comparisons"] + about["not_comparable"] < about["impostors_there"]
    rows = [
        ("algorithm", f"{artefact.algorithm} ({artefact.modality})"),
        ("data", f"{about['data']}; {about['date']}"),
        (
            "fitted on",
            f"{about['subjects']:,} subjects, {about['body_parts']:,} body parts, {about['samples']:,} samples "
            f"({about['failures']:,} more without a template)",
        ),
        ("genuine", f"{about['genuine_comparisons']:,} comparisons"),
        (
            "impostor",
            f"{about['impostor_comparisons']:,} comparisons"
            + (f" drawn of {about['impostors_there']:,}" if drawn else "")
            + f", worth {about['impostor_comparisons'] / about['design_effect']:,.0f} independent ones",
        ),
        ("trusted to", f"a score of {artefact.trusted_to:.1f}, FMR {10 ** (-artefact.trusted_to / 10):.1e}"),
    ]
    for row in rows:
        lines.add_row(*map(plain, row))
    parts: list[RenderableType] = [
        lines,
        "",
        rates_table(about["goodness"]),
        "",
        Text(ratio_line(about["goodness"]["llr"])),
    ]
    if not about["goodness"]["holds"]:
        parts.append(Text(WARNING, "red"))
    return Group(*parts)


def rates_table(goodness: Mapping[str, Any]) -> Table:
    """FMR asked against FMR observed on people not used."""
    table = Table(
        title="People left out: do as many strangers pass as asked?", title_justify="left", show_edge=False, width=78
    )
    for name in ("FMR asked", "FMR observed", "observed / asked", "sd over halves", "people enough"):
        table.add_column(name, justify="right")
    for level in goodness["fmr"]:
        table.add_row(
            f"{level['asked']:.0e}",
            f"{level['observed']:.2e}",
            f"{level['observed_over_asked']:.2f}",
            f"{level['sd_over_halves']:.2f}",
            "yes" if level["supported"] else "no",
        )
    return table


def ratio_line(llr: Mapping[str, Any]) -> str:
    """The cost of the likelihood ratios, in a sentence."""
    chosen = llr["chosen"]
    other = next(name for name in llr["cross_entropy"] if name != chosen)
    return (
        f"Likelihood ratios: {chosen} regression, cross entropy {llr['cross_entropy'][chosen]:.4f} of that of no "
        f"evidence at a prior of {llr['prior']:g} ({other}: {llr['cross_entropy'][other]:.4f}; the least possible: "
        f"{llr['least_cross_entropy']:.4f}); Cllr {llr['cllr'][chosen]:.4f} (least {llr['least_cllr']:.4f})."
    )


def next_step(path: Path, unusable_rows: int, *, holds: bool) -> str:
    """What to do with the artefact."""
    lost = f"{unusable_rows:,} rows of the manifests could not be used.\n" if unusable_rows else ""
    if not holds:
        return f"{lost}Written for inspection: {path}. It does not hold: a server must not use it."
    return (
        f"{lost}Written: {printable(path)}\nTo use it, set calibrations = {str(path.parent)!r} in ambis.toml (or "
        "AMBIS_CALIBRATIONS) and restart the server."
    )
