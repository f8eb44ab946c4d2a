"""``ambis plan``: what a deployment takes, and whether this machine has it."""

from __future__ import annotations

import dataclasses
import json
from typing import Annotated

import typer

from enrollment import tables
from enrollment.reporting import reported
from enrollment.settings import load_settings
from matcher.errors import InvalidInput


def plan(
    subjects: Annotated[str, typer.Option(metavar="N", help="People on record, e.g. 2000000 or 2e6.")],
    fingers: Annotated[int, typer.Option(min=0, max=20, help="Fingers of each.")] = 10,
    irises: Annotated[int, typer.Option(min=0, max=10, help="Irises of each.")] = 2,
    faces: Annotated[int, typer.Option(min=0, max=20, help="Faces of each.")] = 1,
    encounters: Annotated[int, typer.Option(min=1, max=100, help="Encounters of each, which share the samples.")] = 1,
    probe_fingers: Annotated[
        int, typer.Option(min=0, max=10, help="Fingers of a search, no more than of each on record.")
    ] = 2,
    probe_irises: Annotated[
        int, typer.Option(min=0, max=2, help="Irises of a search, no more than of each on record.")
    ] = 2,
    probe_faces: Annotated[
        int, typer.Option(min=0, max=1, help="Faces of a search, no more than of each on record.")
    ] = 1,
    threads: Annotated[
        int | None, typer.Option(min=1, max=1024, help="Threads that compute \\[default: setting 'threads']")
    ] = None,
    image_kib: Annotated[
        float | None,
        typer.Option(min=0, max=65536, help="KiB of a stored image, whatever it shows; 0 where none are kept."),
    ] = None,
    measure: Annotated[bool, typer.Option("--measure", help="Measure this machine first; takes a minute.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Work out RAM, disk, start and search times of a deployment. Needs no server."""
    with reported(as_json):
        # Imported here: the other commands must not wait for numba.
        from enrollment.capacity.footprint import FootprintParameters, People
        from enrollment.capacity.plan import Search, make_plan
        from enrollment.capacity.rates import COMMITTED
        from enrollment.capacity.report import report, summary, this_machine

        settings = load_settings(threads=threads)
        people = People(_count(subjects), fingers, irises, faces, encounters)
        if not fingers + irises + faces:
            raise InvalidInput("nobody is found without samples; give --fingers, --irises or --faces")
        parameters = FootprintParameters()
        if image_kib is not None:
            size = round(1024 * image_kib)
            parameters = dataclasses.replace(parameters, finger_image=size, face_image=size, iris_image=size)
        rates = COMMITTED
        if measure:
            from enrollment.capacity.measuring import measure as measure_rates

            rates = measure_rates(lambda what: typer.echo(f"measuring {what} ...", err=True))
        made = make_plan(
            people,
            Search(min(probe_fingers, fingers), min(probe_irises, irises), min(probe_faces, faces)),
            settings.threads,
            rates,
            parameters,
            keep_images=settings.keep_samples,
        )
        machine = this_machine(settings.data)
        if as_json:
            typer.echo(json.dumps(summary(made, machine)))
        else:
            tables.show(report(made, machine))


def _count(text: str) -> int:
    try:
        number = float(text.replace(",", "").replace("_", ""))
    except ValueError:
        number = 0.5
    if not (1 <= number <= 1e10 and number == int(number)):
        raise InvalidInput(f"--subjects is {text!r}; give a whole number of people, e.g. 2000000 or 2e6")
    return int(number)
