"""The charts of a report as inline SVG."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

GENUINE, IMPOSTOR, BAND = "#0b6e4f", "#b3261e", "#9ec9b9"
_METHODS = ("#b3261e", "#1f5fa8", "#c77700", "#7b3fa0", "#6b6b6b", "#00838f", "#ad6a8a", "#5d7a00")
_STYLE: Any = {
    "font.size": 10,
    "axes.grid": True,
    "grid.color": "#e3e3e3",
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "svg.fonttype": "none",
    "svg.hashsalt": "ambis",
    "font.family": "sans-serif",
}


def det(
    match_rates: Sequence[float],
    miss_rates: Sequence[float | None],
    limits: Sequence[Sequence[float]],
    match_name: str,
    miss_name: str,
) -> str:
    """DET curve with its confidence band; dotted where only an upper limit is supported."""
    with mpl.rc_context(_STYLE):
        figure, axes = _axes(f"DET: {miss_name} against {match_name}, 95 % band", match_name, miss_name)
        if not match_rates:
            return _svg(figure, axes, "the counts support no operating point")
        x = np.asarray(match_rates)
        # A logarithmic axis has no zero: the band's lower end is drawn at a tenth of the least upper end.
        floor = min(e[1] for e in limits) / 10 or 1e-6
        low, high = (np.maximum([e[k] for e in limits], floor) for k in (0, 1))
        known = np.array([np.nan if v is None else v for v in miss_rates])
        axes.fill_between(x, low, high, color=BAND, alpha=0.6, linewidth=0)
        axes.plot(x, known, color=GENUINE, linewidth=1.8)
        axes.plot(x, np.where(np.isnan(known), high, np.nan), color=GENUINE, linestyle=":", linewidth=1.4)
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_ylim(floor, 1)
        return _svg(figure)


def histogram(counts: Mapping[str, Any], score_name: str, names: tuple[str, str]) -> str:
    """Shares of genuine and impostor scores; the shares' axis is logarithmic."""
    with mpl.rc_context(_STYLE):
        figure, axes = _axes("Scores", score_name, "share of comparisons")
        edges = counts["edges"]
        if not edges:
            return _svg(figure, axes, "no scores")
        for kind, name, colour in (("impostor", names[1], IMPOSTOR), ("genuine", names[0], GENUINE)):
            share = np.asarray(counts[kind], np.float64)
            share = share / max(1.0, share.sum())
            axes.stairs(share, edges, fill=True, alpha=0.35, color=colour)
            axes.stairs(share, edges, color=colour, label=f"{name} ({sum(counts[kind]):,})")
        axes.set_yscale("log")
        axes.legend(frameon=False)
        if counts["genuine_failed"]:
            axes.set_xlabel(f"{score_name}; {counts['genuine_failed']:,} without a score are not drawn")
        return _svg(figure)


def cmc(hit_rates: Sequence[float | None], limits: Sequence[Sequence[float] | None]) -> str:
    """Cumulative match characteristic with its confidence band."""
    with mpl.rc_context(_STYLE):
        figure, axes = _axes("CMC, 95 % band", "rank", "share of mates at this rank or better")
        known = [(k, v, e) for k, (v, e) in enumerate(zip(hit_rates, limits, strict=True), 1) if v is not None and e]
        if not known:
            return _svg(figure, axes, "no mated searches")
        ranks = [k for k, _, _ in known]
        axes.fill_between(
            ranks, [e[0] for *_, e in known], [e[1] for *_, e in known], color=BAND, alpha=0.6, linewidth=0
        )
        axes.plot(ranks, [v for _, v, _ in known], color=GENUINE, linewidth=1.8)
        axes.set_ylim(top=1.0)
        axes.set_xlim(1, max(ranks))
        return _svg(figure)


def discard(curve: Mapping[str, Any]) -> str:
    """Error versus discard."""
    with mpl.rc_context(_STYLE):
        title = f"Error versus discard, threshold of FMR {curve['at_fmr']:g}"
        figure, axes = _axes(title, "share of genuine comparisons discarded, lowest quality first", "FNMR")
        fnmr = np.array([np.nan if v is None else v for v in curve["fnmr"]])
        axes.plot(curve["share"], fnmr, color=GENUINE, linewidth=1.8, label="measured")
        axes.plot(
            curve["share"],
            np.maximum(0, fnmr[0] - np.asarray(curve["share"])),
            color="#777777",
            linestyle="--",
            label="perfect quality measure",
        )
        axes.set_ylim(bottom=0)
        axes.legend(frameon=False)
        return _svg(figure)


def method_curves(fars: Sequence[float], methods: Mapping[str, Mapping[str, Any]], headline: str, title: str) -> str:
    """DET curves of several methods; the headline with its confidence band, cohort variants dashed."""
    with mpl.rc_context(_STYLE):
        figure, axes = _axes(f"DET: {title}", "false accept rate", "share of genuine pairs not accepted", height=5.2)
        x = np.asarray(fars)
        ends = np.asarray(methods[headline]["gar_ci95"])
        misses = {name: 1 - np.asarray(found["gar"]) for name, found in methods.items()}
        floor = 10 ** np.floor(np.log10(max(1e-4, min(m[m > 0].min(initial=1.0) for m in misses.values()))))
        axes.fill_between(
            x, np.maximum(1 - ends[:, 1], floor), np.maximum(1 - ends[:, 0], floor), color=BAND, alpha=0.5, linewidth=0
        )
        bases = list(dict.fromkeys(name.split(",")[0] for name in methods))
        for name, miss in misses.items():
            base, is_first = name.split(",")[0], name == headline
            axes.plot(
                x,
                np.maximum(miss, floor),
                label=name,
                color=GENUINE if base == headline.split(",")[0] else _METHODS[bases.index(base) % len(_METHODS)],
                linestyle="--" if base != name else "-",
                linewidth=2.4 if is_first else 1.1,
                zorder=3 if is_first else 2,
            )
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_ylim(bottom=floor)
        figure.legend(loc="outside lower center", ncols=2, frameon=False, fontsize=9)
        return _svg(figure)


def _axes(title: str, x: str, y: str, height: float = 4.2) -> tuple[Figure, Axes]:
    # Figure, not pyplot: no window system, no global state.
    figure = Figure(figsize=(6.0, height), layout="constrained")
    axes = figure.add_subplot()
    axes.set_title(title, fontsize=11, loc="left")
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    return figure, axes


def _svg(figure: Figure, axes: Axes | None = None, instead: str = "") -> str:
    if axes is not None:
        axes.text(0.5, 0.5, instead, ha="center", va="center", transform=axes.transAxes)
    out = io.StringIO()
    figure.savefig(out, format="svg", metadata={"Date": None})
    text = out.getvalue()
    return text[text.index("<svg") :]
