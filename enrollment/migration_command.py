"""``ambis models migrate``: changes the face pack of a running server, and shows how far that is."""

from __future__ import annotations

import csv
import itertools
import json
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from ambis.v1 import migration_service_pb2
from enrollment.client import AmbisClient, CallFailed, read_options
from enrollment.reporting import reported
from enrollment.settings import load_settings
from matcher.positions import Position

EXIT_LEFT_OUT = 5
"""As of a bulk load that ended with rejects."""

_POLL_SECONDS = 1.0
_SHOWN = 10
_EXTRACTING = migration_service_pb2.MIGRATION_STATE_EXTRACTING
_STATES = {
    migration_service_pb2.MIGRATION_STATE_NONE: "No change of model is under way",
    migration_service_pb2.MIGRATION_STATE_EXTRACTING: "Extracting stored images; searches use the present model",
    migration_service_pb2.MIGRATION_STATE_READY: "Ready to switch; searches use the present model",
    migration_service_pb2.MIGRATION_STATE_SETTLING: "Switched; the old templates are being overwritten",
}


def migrate(
    prepare: Annotated[bool, typer.Option("--prepare", help="Extract everything, but do not switch.")] = False,
    leave_out: Annotated[
        int,
        typer.Option(
            min=0, max=2**63 - 1, help="Switch although so many samples have failed: no search will see them."
        ),
    ] = 0,
    retry: Annotated[bool, typer.Option("--retry", help="Try samples again that have failed.")] = False,
    show: Annotated[bool, typer.Option("--status", help="Only show how far it is.")] = False,
    cancel: Annotated[bool, typer.Option("--cancel", help="Drop what was made for the next pack.")] = False,
    failures: Annotated[Path | None, typer.Option(help="CSV that gets every sample that failed, and why.")] = None,
    server: Annotated[str | None, typer.Option(help="host:port of the server \\[default: setting 'server']")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Change to the pack that the server's setting face_pack_next names. May be interrupted and run again."""
    with reported(as_json):
        settings = load_settings(server=server)
        options = read_options(
            settings.timeout, settings.tls_ca, settings.tls_client_certificate, settings.tls_client_key
        )
        with AmbisClient(settings.server, options) as client:
            if show or cancel:
                found = client.cancel_migration() if cancel else client.migration()
                _report(client, found, failures, as_json)
                return
            found = client.start_migration(retry_failed=retry)
            done = None
            while done is None:
                found = _await_extraction(client, found, quiet=as_json)
                if prepare or found.failed > leave_out:
                    _report(client, found, failures, as_json)
                    raise typer.Exit(EXIT_LEFT_OUT if found.failed > leave_out else 0)
                _write(client, found, failures)
                done = _switch(client, leave_out)
                found = client.migration() if done is None else found
            if as_json:
                typer.echo(json.dumps({**_facts(found), "switched": True, "lsn": done.lsn}))
            else:
                Console().print(
                    f"Searches, enrolment and extraction use {found.next_algorithm} since change {done.lsn}. Now name "
                    "its pack in face_pack and remove face_pack_next; until then a restart uses it all the same.",
                    markup=False,
                    highlight=False,
                )


def _switch(client: AmbisClient, leave_out: int) -> migration_service_pb2.CompleteMigrationResponse | None:
    """None where too much was enrolled in the last moment."""
    try:
        return client.complete_migration(leave_out)
    except CallFailed as refused:
        if refused.reason != "MIGRATION_INCOMPLETE":
            raise
        return None


def _await_extraction(
    client: AmbisClient, found: migration_service_pb2.Migration, *, quiet: bool
) -> migration_service_pb2.Migration:
    columns = (
        TextColumn("extracting with the next pack"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[failed]} failed"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), disable=quiet) as bar:
        task = bar.add_task("", total=None, failed=0)
        while True:
            done = found.migrated + found.failed
            bar.update(task, total=found.samples, completed=done, failed=found.failed)
            if found.state != _EXTRACTING:
                return found
            time.sleep(_POLL_SECONDS)
            before, found = found.problem, client.migration()
            if found.problem and found.problem != before:
                bar.console.print(f"pausing: {found.problem}", markup=False)


def _report(client: AmbisClient, found: migration_service_pb2.Migration, failures: Path | None, as_json: bool) -> None:
    _write(client, found, failures)
    if as_json:
        typer.echo(json.dumps({**_facts(found), "switched": False}))
        return
    console = Console()
    console.print(f"{_STATES[found.state]}.", markup=False)
    if not found.next_algorithm:
        return
    if found.state == migration_service_pb2.MIGRATION_STATE_NONE:
        console.print(f"'ambis models migrate' changes to {found.next_algorithm}.", markup=False, highlight=False)
        return
    console.print(
        f"{found.algorithm or 'no model'} -> {found.next_algorithm}: {found.migrated:,} of {found.samples:,} samples "
        f"migrated, {found.failed:,} failed",
        markup=False,
        highlight=False,
    )
    if found.problem:
        console.print(f"It pauses: {found.problem}", style="yellow", markup=False)
    if not found.failed:
        return
    table = Table(show_edge=False, pad_edge=False)
    for name in ("Subject", "Encounter", "Sample", "Why"):
        table.add_column(name, overflow="fold")
    for sample in itertools.islice(client.unmigrated(), _SHOWN):
        position, why = Position(sample.position).label, f"{sample.reason}: {sample.message}"
        # Text, since markup in ids is none.
        table.add_row(*map(Text, (sample.subject_id, sample.encounter_id, position, why)))
    console.print(table)
    if found.failed > _SHOWN:
        console.print(f"... and {found.failed - _SHOWN:,} more; --failures FILE.csv writes all", markup=False)
    console.print(
        "After the switch no search would see these samples, which stay on record. Subjects that would be missed, "
        f"as they have no other: {found.subjects_missed:,}. Enrol better samples of them, or accept it with "
        f"--leave-out {found.failed}",
        style="yellow",
        markup=False,
        highlight=False,
    )


def _write(client: AmbisClient, found: migration_service_pb2.Migration, failures: Path | None) -> None:
    if failures is None:
        return
    samples: Iterable[migration_service_pb2.ListUnmigratedResponse] = (
        client.unmigrated() if found.next_algorithm else ()
    )
    with failures.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["subject_id", "encounter_id", "position", "sha256", "reason", "message"])
        for s in samples:
            rows.writerow([s.subject_id, s.encounter_id, Position(s.position).label, s.sha256, s.reason, s.message])


def _facts(found: migration_service_pb2.Migration) -> dict[str, object]:
    return {
        "state": migration_service_pb2.MigrationState.Name(found.state).removeprefix("MIGRATION_STATE_").lower(),
        "algorithm": found.algorithm,
        "next_algorithm": found.next_algorithm,
        "samples": found.samples,
        "migrated": found.migrated,
        "failed": found.failed,
        "subjects_missed": found.subjects_missed,
        "problem": found.problem,
    }
