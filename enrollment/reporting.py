"""Errors as people or programs read them on the command line, and the exit codes that go with them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import grpc
import typer
from rich.console import Console

from enrollment.client import CallFailed, describe
from enrollment.plain_text import printable
from matcher.errors import AmbisError, InvalidInput, NotFound

EXIT_FAILED, EXIT_USAGE = 1, 2
EXIT_INTERRUPTED = 130
"""128 + SIGINT, as shells have it."""


@contextmanager
def reported(as_json: bool) -> Iterator[None]:
    """Turns an error within it into its message (one JSON object with ``as_json``) and its exit code."""
    try:
        yield
    except (AmbisError, OSError) as error:
        known = error if isinstance(error, AmbisError) else InvalidInput(str(error), reason="FILE_UNREADABLE")
        if as_json:
            typer.echo(describe(known))
        else:
            where = f" [{known.field}]" if known.field else ""
            said = "\n".join(map(printable, f"ambis: {known.message}{where}".split("\n")))
            Console(stderr=True).print(said, style="red", markup=False, highlight=False)
        refused = isinstance(known, CallFailed) and known.code is grpc.StatusCode.INVALID_ARGUMENT
        usage = refused or isinstance(known, InvalidInput | NotFound)
        raise typer.Exit(EXIT_USAGE if usage else EXIT_FAILED) from error
