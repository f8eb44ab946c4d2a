"""How long work tells how far it is."""

from __future__ import annotations

from collections.abc import Callable

ProgressCallback = Callable[[str, int, int], None]
"""What is going on, how much of it is done, of how much."""


def no_progress(_what: str, _done: int, _total: int) -> None:
    """Shows nothing."""
