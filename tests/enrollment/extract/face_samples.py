"""Where the face tests find a face pack and the evaluation data; both may be missing."""

from __future__ import annotations

import functools
import os
from pathlib import Path

import pytest

from enrollment.extract.face import FaceExtractor, load_face_extractor
from enrollment.models import check_pack

needs_compact_pack = pytest.mark.skipif(
    bool(check_pack()), reason="the compact face pack is not installed: ambis models fetch"
)


def shared_folder() -> Path | None:
    """The folder of evaluation data beside the repository, or where AMBIS_SHARED says; None when there is none."""
    chosen = os.environ.get("AMBIS_SHARED", "")
    folder = Path(chosen) if chosen else Path(__file__).resolve().parents[3].parent / "shared"
    return folder if folder.is_dir() else None


def evaluation_pack() -> Path | None:
    """The InsightFace pack for evaluation; None when it is not there."""
    folder = shared_folder()
    pack = folder / "models" / "insightface" / "models" / "evalpack" if folder else None
    return pack if pack is not None and pack.is_dir() else None


@functools.cache
def compact_extractor() -> FaceExtractor:
    """One extractor with the compact pack for all tests of the process."""
    return load_face_extractor()
