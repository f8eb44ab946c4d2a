"""Pieces of HTML that all reports are made of, and rates as people read them."""

from __future__ import annotations

import html
from collections.abc import Sequence

WIDE = 4
"""Tables of more columns than this are laid out anew on narrow screens."""
STYLE = """
*, *::before { box-sizing: border-box; }
body { font: 15px/1.45 system-ui, sans-serif; color: #1a1a1a; max-width: 1180px; margin: 24px auto; padding: 0 20px; }
h1 { font-size: 24px; margin: 0 0 8px; } h2 { font-size: 18px; margin: 32px 0 8px; }
p { margin: 6px 0; overflow-wrap: anywhere; }
code { background: #f2f2f2; padding: 1px 4px; overflow-wrap: anywhere; }
dl { display: grid; grid-template-columns: max-content minmax(0, 1fr); gap: 2px 16px; margin: 0; }
dt { color: #555; } dd { margin: 0; overflow-wrap: anywhere; }
table { border-collapse: collapse; margin: 8px 0; max-width: 100%; }
th, td { border-bottom: 1px solid #d5d5d5; padding: 4px 18px 4px 0; text-align: left; vertical-align: top; }
th { vertical-align: bottom; } th:last-child, td:last-child { padding-right: 0; }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; }
td.n span { white-space: nowrap; } td { overflow-wrap: anywhere; } .wide td:first-child { min-width: 9em; }
tr.headline td { font-weight: 600; } tr.headline td .note { font-weight: 400; }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 460px), 1fr)); gap: 16px; }
.charts svg { width: 100%; height: auto; } .note { color: #555; font-size: 13px; }
@media (max-width: 720px) {
  body { padding: 0 14px; margin: 14px auto; }
  dl { grid-template-columns: minmax(0, 1fr); } dd { margin-bottom: 6px; }
  /* Every row of a wide table becomes a block: its name, then lines of "column: value". */
  .wide, .wide tbody, .wide tr, .wide td { display: block; width: 100%; } .wide tr.names { display: none; }
  .wide tr { border-bottom: 1px solid #d5d5d5; padding: 8px 0; }
  .wide td { border: 0; padding: 1px 0; font-weight: 600; }
  .wide td.n { display: flex; justify-content: space-between; gap: 12px; font-weight: 400; }
  .wide td.n::before { content: attr(data-name); color: #555; text-align: left; }
  th, td { padding-right: 12px; }
}
"""


def text(value: object) -> str:
    """Anything as HTML text."""
    return html.escape(str(value))


def percent(rate: float | None, limits: Sequence[float] | None = None) -> str:
    """A rate as people read it: "1.20 %", "< 0.30 %" where only a bound is supported, "-" where nothing is."""
    if rate is not None:
        return f"{100 * rate:.3g} %"
    return "-" if limits is None else f"< {100 * limits[1]:.3g} %"


def interval_words(limits: Sequence[float] | None) -> str:
    """An interval as people read it."""
    return "-" if limits is None else f"{100 * limits[0]:.3g} - {100 * limits[1]:.3g} %"


def rate_cell(rate: float | None, limits: Sequence[float] | None) -> str:
    """HTML of a rate with its interval below it."""
    shown = f"<span>{text(percent(rate, limits))}"
    return f"{shown}</span>" if rate is None else f"{shown}<br><span class=note>{interval_words(limits)}</span></span>"


def table(head: Sequence[str], rows: Sequence[Sequence[str]], headline: int | None = None) -> str:
    """A table; cells are HTML already. The first column is text, the others are numbers.

    Args:
        headline: the row that is set in bold.
    """

    def cell(number: int, content: str) -> str:
        inner = content if content.startswith("<span>") else f"<span>{content}</span>"
        return f"<td{' class=n' if number else ''} data-name='{text(head[number])}'>{inner}</td>"

    names = "".join(f"<th{' class=n' if k else ''}>{text(name)}</th>" for k, name in enumerate(head))
    lines = [
        f"<tr{' class=headline' if place == headline else ''}>{''.join(cell(k, c) for k, c in enumerate(row))}</tr>"
        for place, row in enumerate(rows)
    ]
    wide = " class=wide" if len(head) > WIDE else ""
    return f"<table{wide}><tr class=names>{names}</tr>{''.join(lines)}</table>"


def facts(entries: Sequence[tuple[str, str]]) -> str:
    """Names and what is said of them, HTML already."""
    return "<dl>" + "".join(f"<dt>{text(name)}</dt><dd>{said}</dd>" for name, said in entries) + "</dl>"


def page(title: str, body: str) -> str:
    """The whole page."""
    return (
        "<!DOCTYPE html>\n<html lang=en><head><meta charset=utf-8>"
        f"<meta name=viewport content='width=device-width, initial-scale=1'><title>{text(title)}</title>"
        f"<style>{STYLE}</style></head><body>{body}</body></html>\n"
    )
