"""Model files that are not part of the package: which are pinned, where they lie, and whether they are whole.

``model_fetching`` brings them there. The compact pack is files of the npm package ``faceplugin-face-recognition-js``
0.0.1, MIT as published; on which data its networks were trained is not disclosed. Each is pinned by its SHA-256.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
from pathlib import Path

from matcher.errors import ModalityUnavailable

FETCH_COMMAND = "ambis models fetch"


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
