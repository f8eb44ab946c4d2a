"""The report of an evaluation: one HTML file that needs nothing else, made from the evaluation's JSON alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from enrollment.evaluation.fuse_report import fuse_body
from enrollment.evaluation.html_parts import page
from enrollment.evaluation.identify_report import identify_body
from enrollment.evaluation.verify_report import verify_body

BODIES: Mapping[str, Callable[[Mapping[str, Any], str], str]] = {
    "verify": verify_body,
    "identify": identify_body,
    "fuse": fuse_body,
}


def write_report(result: Mapping[str, Any], path: Path, command: str) -> None:
    """Writes the report of ``evaluate_verify``, ``evaluate_identify`` or ``evaluate_fuse``.

    Args:
        result: what they return.
        command: the command line that made it, as a reader would type it.

    Raises:
        OSError: the file cannot be written.
    """
    path.write_text(render_report(result, command), encoding="utf-8")


def render_report(result: Mapping[str, Any], command: str) -> str:
    """The report's HTML."""
    body = BODIES[result["evaluation"]](result, command)
    return page(f"{result['evaluation']}: {result['manifest']}", body)
