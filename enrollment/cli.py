"""The command ``ambis``: the server, the bureau's and the field unit's tools.

Exit codes: 0 done (identify and verify: HIT); 1 failed; 2 wrong usage or input; 3 REVIEW; 4 NO HIT; 5 a bulk load ended
with rejects. With ``--json`` one JSON object goes to standard output, errors too; without it errors go to standard
error.
"""

from __future__ import annotations

import hashlib
import json
import logging
import signal
import sys
import threading
import types
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

# numba, FAISS and BLAS read this when they are first imported: searches run side by side in threads of ours.
import enrollment.threads  # noqa: F401  # isort: skip

import typer
from google.protobuf.json_format import MessageToJson
from google.protobuf.message import Message
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from ambis.v1 import common_pb2, enrollment_service_pb2, identification_service_pb2
from enrollment import tables
from enrollment.attributes import parse_birth_year, parse_born, parse_sex
from enrollment.bulk import BulkCounts, BulkLoad, BulkOptions
from enrollment.calibration.commands import calibrate
from enrollment.capacity.command import plan
from enrollment.client import AmbisClient, image_sample, parse_face_choice, read_options
from enrollment.evaluation.commands import add_commands
from enrollment.manifest import read_manifest
from enrollment.model_commands import models_app
from enrollment.reporting import reported
from enrollment.settings import Settings, load_settings
from matcher.decision import Verdict
from matcher.errors import AmbisError, InvalidInput
from matcher.positions import Position
from matcher.service.extraction import FaceChoice

EXIT_REVIEW, EXIT_NO_HIT, EXIT_REJECTS = 3, 4, 5
_VERDICT_EXITS = {Verdict.HIT: 0, Verdict.REVIEW: EXIT_REVIEW, Verdict.NO_HIT: EXIT_NO_HIT}

app = typer.Typer(
    help="Open multimodal biometric identification: fingerprints, face and iris.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
subject_app = typer.Typer(help="Subjects on record.", no_args_is_help=True)
app.add_typer(subject_app, name="subject")

app.add_typer(models_app, name="models")

add_commands(app)
app.command()(calibrate)
app.command()(plan)

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
Server = Annotated[str | None, typer.Option(help="host:port of the server \\[default: setting 'server']")]
Faces = Annotated[list[Path] | None, typer.Option("--face", help="A face photo or template file; may be repeated.")]
Fingers = Annotated[
    list[str] | None,
    typer.Option("--finger", metavar="[POSITION=]FILE", help="A fingerprint, e.g. right_index=print.png; repeatable."),
]
Irises = Annotated[
    list[str] | None, typer.Option("--iris", metavar="[left=|right=]FILE", help="An infrared eye image; repeatable.")
]
Ppi = Annotated[float | None, typer.Option(help="Pixels per inch of the fingerprints, where the files do not say.")]
WhichFaces = Annotated[
    list[str] | None,
    typer.Option(
        "--which-face",
        metavar="NUMBER|BOX",
        help="Which face of a picture: its number (1 is the largest) or LEFT,TOP,RIGHT,BOTTOM; one for each --face.",
    ),
]
Partial = Annotated[bool, typer.Option("--accept-partial", help="Go on without the samples that are rejected.")]
LowQuality = Annotated[
    bool, typer.Option("--accept-low-quality", help="Enrol faces below the quality gate, too, where none better exist.")
]


@app.command()
def serve(
    data: Annotated[Path | None, typer.Option(help="Data folder \\[default: setting 'data']")] = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on")] = None,
    port: Annotated[int | None, typer.Option(help="Port; 0 takes a free one")] = None,
    verbose: Annotated[bool, typer.Option(help="Log more.")] = False,
) -> None:
    """Run the server until it is told to stop (Ctrl-C or SIGTERM)."""
    with reported(False):
        # Imported here: a field unit's 'ambis identify' must not wait for FAISS and onnxruntime.
        from enrollment.serving import start_server

        logging.basicConfig(
            level=logging.DEBUG if verbose else logging.INFO,
            format="%(asctime)s %(levelname)s %(name)s: %(message)s",
            stream=sys.stderr,
        )
        for noisy in ("numba", "PIL"):
            logging.getLogger(noisy).setLevel(logging.WARNING)
        settings = load_settings(data=data, host=host, port=port)
        stop = threading.Event()

        def ask_to_stop(_number: int, _frame: types.FrameType | None) -> None:
            stop.set()

        signal.signal(signal.SIGTERM, ask_to_stop)
        signal.signal(signal.SIGINT, ask_to_stop)
        server = start_server(settings)
        print(f"AMBIS listens on {settings.host}:{server.port}, data in {settings.data}", flush=True)
        # Again and again: a signal just before a wait that never ends would only be seen after it.
        while not stop.wait(1.0):
            pass
        server.stop()


@app.command()
def enroll(
    subject: Annotated[str, typer.Argument(help="Subject id; '-' lets the server choose one.")],
    face: Faces = None,
    finger: Fingers = None,
    iris: Irises = None,
    ppi: Ppi = None,
    which_face: WhichFaces = None,
    accept_low_quality: LowQuality = False,
    encounter: Annotated[str, typer.Option(help="Encounter id; the server chooses one when left out.")] = "",
    gallery: Annotated[list[str] | None, typer.Option(help="Gallery; may be repeated.")] = None,
    encounter_type: Annotated[str, typer.Option("--type", help="Type of the encounter, e.g. arrest.")] = "",
    sex: Annotated[str, typer.Option(metavar="male|female|other", help="Sex, where it is known.")] = "",
    birth_year: Annotated[str, typer.Option(metavar="YEAR", help="Year of birth, where it is known.")] = "",
    add: Annotated[bool, typer.Option("--add", help="Add an encounter to a subject that is on record.")] = False,
    key: Annotated[
        str, typer.Option(help="Idempotency key; the same one twice enrols once. Made of the content when left out.")
    ] = "",
    accept_partial: Partial = False,
    server: Server = None,
    as_json: Json = False,
) -> None:
    """Put one encounter of a subject on record."""
    with _connected(server, as_json) as client:
        if not subject.strip():
            raise InvalidInput("the subject id is empty; give one, or '-' to let the server choose", field="subject")
        mode = enrollment_service_pb2.SUBJECT_MODE_EXISTING if add else enrollment_service_pb2.SUBJECT_MODE_NEW
        message = enrollment_service_pb2.Encounter(
            subject_id="" if subject == "-" else subject,
            encounter_id=encounter,
            galleries=gallery or [],
            encounter_type=encounter_type,
            samples=_samples(face, finger, iris, ppi, which_face),
            subject_mode=mode,
            accept_partial=accept_partial,
            accept_low_quality=accept_low_quality,
            sex=common_pb2.Sex.ValueType(int(parse_sex(sex))),
            birth_year=parse_birth_year(birth_year),
        )
        # The same command once more, e.g. after a time-out, enrols nobody twice.
        content = message.SerializeToString(deterministic=True)
        result = client.enrol(message, key or hashlib.sha256(content).hexdigest())
        _print(result, tables.enrolment, as_json)


@app.command()
def bulk_enroll(
    manifest: Annotated[
        Path, typer.Argument(help="CSV: path,subject_id,modality,position,encounter,ppi,sex,birth_year")
    ],
    gallery: Annotated[list[str] | None, typer.Option(help="Gallery; may be repeated.")] = None,
    encounter_type: Annotated[str, typer.Option("--type", help="Type of the encounters, e.g. arrest.")] = "",
    rejects: Annotated[
        Path | None, typer.Option(help="CSV of what was not enrolled and why \\[default: MANIFEST.rejects.csv here]")
    ] = None,
    batch: Annotated[str, typer.Option(help="Name of the load; a new name enrols anew what was deleted since.")] = "",
    accept_partial: Partial = False,
    accept_low_quality: LowQuality = False,
    acknowledged: Annotated[
        Path | None, typer.Option(help="File that gets 'subject_id,encounter' of everything acknowledged.")
    ] = None,
    server: Server = None,
    as_json: Json = False,
) -> None:
    """Enrol everything that a manifest lists. Run again after an interruption: nothing is enrolled twice."""
    with _connected(server, as_json) as client:
        listed = read_manifest(manifest)
        rejects_path = rejects or Path(f"{manifest.stem}.rejects.csv")
        options = BulkOptions(tuple(gallery or ()), encounter_type, batch, accept_partial, accept_low_quality)
        with (
            rejects_path.open("w", newline="") as reject_file,
            _lines(acknowledged) as acknowledge,
            _progress(len(listed.encounters) + len(listed.bad_rows), quiet=as_json) as progress,
        ):
            load = BulkLoad(client, listed, reject_file, options, progress, acknowledge)
            try:
                counts = load.run()
            except AmbisError:
                typer.echo(
                    f"{load.counts.done} of {load.counts.total} encounters have their answer; run the same command "
                    "again to go on",
                    err=True,
                )
                raise
        summary = {
            "total": counts.total,
            "enrolled": counts.enrolled,
            "already_on_record": counts.replayed,
            "rejected": counts.rejected,
            "samples_left_out": counts.samples_left_out,
            "rejects_file": str(rejects_path),
        }
        if as_json:
            typer.echo(json.dumps(summary))
        else:
            typer.echo(
                f"{counts.enrolled} enrolled, {counts.replayed} were on record already, {counts.rejected} rejected"
                + (f"; reasons in {rejects_path}" if counts.rejected or counts.samples_left_out else "")
            )
        if counts.rejected or counts.samples_left_out:
            raise typer.Exit(EXIT_REJECTS)


@app.command()
def identify(
    face: Faces = None,
    finger: Fingers = None,
    iris: Irises = None,
    ppi: Ppi = None,
    which_face: WhichFaces = None,
    gallery: Annotated[list[str] | None, typer.Option(help="Search only this gallery; may be repeated.")] = None,
    sex: Annotated[
        list[str] | None,
        typer.Option(metavar="male|female|other", help="Search only people of this sex, or of unknown; repeatable."),
    ] = None,
    born: Annotated[
        str,
        typer.Option(
            metavar="YEAR|FROM-TO",
            help="Search only people born then, or of unknown age: 1984, 1980-1990, 1980- or -1990.",
        ),
    ] = "",
    encounter_type: Annotated[
        list[str] | None, typer.Option("--type", help="Search only encounters of this type; repeatable.")
    ] = None,
    candidates: Annotated[int, typer.Option(min=1, max=1000, help="Candidates at most.")] = 10,
    fpir: Annotated[
        float | None, typer.Option(help="False positive identification rate of a HIT; the server's prior limits it.")
    ] = None,
    min_lsn: Annotated[int, typer.Option(min=0, max=2**63 - 1, help="Search only when this change is seen.")] = 0,
    accept_partial: Partial = False,
    server: Server = None,
    as_json: Json = False,
) -> None:
    """Search for one person: one or several samples of them."""
    with _connected(server, as_json) as client:
        search = identification_service_pb2.Search(
            samples=_samples(face, finger, iris, ppi, which_face),
            galleries=gallery or [],
            max_candidates=candidates,
            target_fpir=fpir,
            min_lsn=min_lsn,
            accept_partial=accept_partial,
            filter=_search_filter(sex, born, encounter_type),
        )
        result = client.identify(search)
        _print(result, tables.identification, as_json)
        raise typer.Exit(_VERDICT_EXITS[Verdict(result.verdict)])


@app.command()
def verify(
    subject: Annotated[str, typer.Argument(help="Subject id.")],
    face: Faces = None,
    finger: Fingers = None,
    iris: Irises = None,
    ppi: Ppi = None,
    which_face: WhichFaces = None,
    fmr: Annotated[float | None, typer.Option(help="False match rate of a HIT.")] = None,
    server: Server = None,
    as_json: Json = False,
) -> None:
    """Compare one person with one subject on record."""
    with _connected(server, as_json) as client:
        response = client.verify(subject, _samples(face, finger, iris, ppi, which_face), fmr)
        _print(response, tables.verification, as_json)
        raise typer.Exit(_VERDICT_EXITS[Verdict(response.verdict)])


@app.command()
def explain(
    probe: Annotated[Path, typer.Argument(help="A fingerprint image.")],
    reference: Annotated[Path, typer.Argument(help="Another one.")],
    out: Annotated[Path, typer.Option(metavar="FILE.png", help="Where the picture goes.")],
    ppi: Ppi = None,
    full_circle: Annotated[
        bool, typer.Option("--full-circle", help="The prints may be turned by more than 90 degrees to each other.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Draw two fingerprints with the minutiae that match, and say how sure that is. Needs no server."""
    with reported(as_json):
        # Imported here: the other commands must not wait for onnxruntime and numba.
        from enrollment.explain import draw, explain_pair
        from matcher.calibration import Calibrations

        calibrations = Calibrations.load(load_settings().calibrations)
        found = explain_pair(probe, reference, ppi, full_circle=full_circle, calibrations=calibrations)
        draw(found).save(out, "PNG")
        if as_json:
            typer.echo(json.dumps({**found.summary(), "picture": str(out)}))
        else:
            for sentence in found.sentences():
                typer.echo(sentence)


@subject_app.command("show")
def subject_show(
    subject: Annotated[str, typer.Argument(help="Subject id.")], server: Server = None, as_json: Json = False
) -> None:
    """Show what is on record of a subject."""
    with _connected(server, as_json) as client:
        _print(client.subject(subject), tables.subject, as_json)


@subject_app.command("delete")
def subject_delete(
    subject: Annotated[str, typer.Argument(help="Subject id.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    server: Server = None,
    as_json: Json = False,
) -> None:
    """Delete a subject with all encounters, templates and images."""
    with _connected(server, as_json) as client:
        if not yes:
            typer.confirm(
                f"Delete {subject} with everything on record of it? This cannot be undone", abort=True, err=True
            )
        response = client.delete_subject(subject)
        if as_json:
            typer.echo(_json(response))
        else:
            count = response.encounters_deleted
            encounters = f"{count} encounter{'' if count == 1 else 's'}"
            typer.echo(f"{subject} is deleted ({encounters}, change {response.lsn})")


@app.command()
def status(server: Server = None, as_json: Json = False) -> None:
    """Show what the server is and holds."""
    with _connected(server, as_json) as client:
        _print(client.status(), tables.status, as_json)


def main() -> None:
    """Entry point of the command."""
    app()


@contextmanager
def _connected(server: str | None, as_json: bool) -> Iterator[AmbisClient]:
    with reported(as_json):
        settings: Settings = load_settings(server=server)
        options = read_options(
            settings.timeout, settings.tls_ca, settings.tls_client_certificate, settings.tls_client_key
        )
        with AmbisClient(settings.server, options) as client:
            yield client


def _samples(
    faces: Sequence[Path] | None,
    fingers: Sequence[str] | None,
    irises: Sequence[str] | None,
    ppi: float | None,
    which_faces: Sequence[str] | None = None,
) -> list[common_pb2.Sample]:
    choices: list[FaceChoice | None] = [parse_face_choice(text) for text in which_faces or ()]
    if choices and len(choices) != len(faces or ()):
        raise InvalidInput(
            f"{len(choices)} --which-face for {len(faces or ())} --face; give one for each picture, in their order",
            reason="FACE_CHOICE_INVALID",
        )
    samples = [
        image_sample(Position.FACE, path.read_bytes(), face=choice)
        for path, choice in zip(faces or (), choices or [None] * len(faces or ()), strict=True)
    ]
    for modality, values in (("finger", fingers), ("iris", irises)):
        for value in values or ():
            position, path = _position_and_path(value, modality)
            samples.append(image_sample(position, path.read_bytes(), ppi if modality == "finger" else None))
    if not samples:
        raise InvalidInput("give at least one sample: --face, --finger or --iris", reason="SAMPLES_MISSING")
    return samples


def _search_filter(
    sexes: Sequence[str] | None, born: str, encounter_types: Sequence[str] | None
) -> identification_service_pb2.SearchFilter | None:
    """None where nothing is restricted."""
    if not (sexes or born or encounter_types):
        return None
    first, last = parse_born(born) if born else (0, 0)
    return identification_service_pb2.SearchFilter(
        sexes=[common_pb2.Sex.ValueType(int(parse_sex(sex))) for sex in sexes or ()],
        born_from=first,
        born_to=last,
        encounter_types=encounter_types or [],
    )


def _position_and_path(value: str, modality: str) -> tuple[Position, Path]:
    """Reads ``[POSITION=]FILE``; a file name may hold an equals sign."""
    name, separator, path = value.partition("=")
    if separator and not Path(value).exists():
        return Position.parse(name, modality), Path(path)
    return Position.parse("", modality), Path(value)


@contextmanager
def _progress(total: int, *, quiet: bool) -> Iterator[Callable[[BulkCounts], None]]:
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rejected]} rejected"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        disable=quiet,
    )
    with bar:
        task = bar.add_task("enrolling", total=total, rejected=0)
        yield lambda counts: bar.update(task, completed=counts.done, rejected=counts.rejected)


@contextmanager
def _lines(path: Path | None) -> Iterator[Callable[[str, str], None]]:
    if path is None:
        yield lambda _subject, _encounter: None
        return
    with path.open("a", buffering=1) as file:
        yield lambda subject, encounter: print(f"{subject},{encounter}", file=file)


def _print(message: Message, table: Callable[..., object], as_json: bool) -> None:
    if as_json:
        typer.echo(_json(message))
    else:
        tables.show(table(message))  # type: ignore[arg-type]  # every table function returns something rich can print


def _json(message: Message) -> str:
    return MessageToJson(message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True, indent=1)


if __name__ == "__main__":
    main()
