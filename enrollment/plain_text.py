"""Text of users and files on a terminal: as it stands, never as markup or as orders to the terminal."""

from __future__ import annotations

from rich.text import Text


def printable(value: object) -> str:
    """Without control and format characters (a terminal obeys them); spaces, tabs and ends of line become one space."""
    return "".join(c if c.isprintable() else " " * c.isspace() for c in str(value))


def plain(value: object, style: str = "") -> Text:
    """For a Rich table, which reads markup in strings: ``[/x]`` in a name would end the program."""
    return Text(printable(value), style)
