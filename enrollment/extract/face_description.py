"""What there is to know of a face pack before it is used: its model id, licence and where its weights come from.

A recogniser of anybody's is described by a ``pack.toml`` in a folder with its ONNX file:

    name = "face-acme-3"           # of the model; its id is this and a digest of all that decides its templates
    file = "recogniser.onnx"       # one input float32[1, 3, side, side], one output float32[1, dimension]
    sha256 = "..."                 # of the file
    input_size = 112               # side of the aligned crop in pixels
    mean = 127.5                   # (pixel - mean) / scale; one number, or three in channel order
    scale = 127.5
    channel_order = "RGB"          # or "BGR"
    dimension = 512
    alignment_points = "arcface"   # or five [x, y] in pixels of the crop: eyes, nose tip, corners of the mouth, the one
                                   # on the left of the image first
    licence = "Apache-2.0"
    commercial_use = true          # whether the licence allows it; false has to be acknowledged
    provenance = "ACME release 3, https://..."
    training_data = ""             # empty: undisclosed
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from enrollment.extract.face_alignment import ARCFACE_ALIGNMENT, Alignment
from matcher.errors import ModalityUnavailable

PACK_FILE = "pack.toml"
RESERVED_PREFIXES = ("face-compact-", "face-insightface-")
"""Of ids that AMBIS gives itself."""


@dataclasses.dataclass(frozen=True)
class PackDescription:
    """A face pack's card.

    Attributes:
        algorithm: model id, which its templates carry.
        sha256: of the recogniser's ONNX file.
        dimension: numbers in an embedding.
        licence: in words.
        commercial_use: whether it allows that; where not, the operator must acknowledge it.
        provenance: where the files come from.
        training_data: of the recogniser; empty where it is not disclosed.
    """

    algorithm: str
    sha256: str
    dimension: int
    licence: str
    commercial_use: bool
    provenance: str
    training_data: str = ""

    @property
    def training(self) -> str:
        """On what it was trained, in words."""
        return self.training_data or "undisclosed"


def _own_name(value: str) -> str:
    if value.startswith(RESERVED_PREFIXES):
        raise ValueError(f"names that begin with {' or '.join(RESERVED_PREFIXES)} are AMBIS's own; choose another")
    return value


def _plain_name(value: str) -> str:
    if Path(value).name != value or value == ".." or not value.isprintable():
        raise ValueError("it must be the name of a file beside pack.toml")
    return value


_Number = Annotated[float, Field(allow_inf_nan=False)]
_Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
_Point = tuple[_Number, _Number]


_Five = tuple[_Point, _Point, _Point, _Point, _Point]


def _upright(value: Literal["arcface"] | _Five) -> Literal["arcface"] | _Five:
    if value != "arcface":
        (left_x, left_y), (right_x, right_y), _, (_, mouth_y), _ = value
        if right_x - left_x < 4 or mouth_y - max(left_y, right_y) < 4:
            raise ValueError("eyes lie side by side, the one on the left of the image first, and above the mouth")
    return value


class PackFile(BaseModel):
    """The content of a ``pack.toml``; see the module."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{2,47}$"), AfterValidator(_own_name)]
    file: Annotated[str, Field(min_length=1), AfterValidator(_plain_name)]
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    input_size: Annotated[int, Field(ge=32, le=1024)]
    mean: _Number | tuple[_Number, _Number, _Number]
    scale: _Positive | tuple[_Positive, _Positive, _Positive]
    channel_order: Literal["RGB", "BGR"]
    dimension: Annotated[int, Field(ge=64, le=4096)]
    alignment_points: Annotated[Literal["arcface"] | _Five, AfterValidator(_upright)] = "arcface"
    licence: Annotated[str, Field(min_length=1)]
    commercial_use: bool
    provenance: Annotated[str, Field(min_length=1)]
    training_data: str = ""

    @property
    def algorithm(self) -> str:
        """The model id: the name, and 8 hex digits that differ where weights, preprocessing or alignment do, so that
        templates which cannot be compared never carry one id."""
        decisive = self.model_dump(
            include={"sha256", "input_size", "mean", "scale", "channel_order", "alignment_points"}
        )
        digest = hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()
        return f"{self.name}-{digest[:8]}"

    @property
    def description(self) -> PackDescription:
        """The pack's card."""
        return PackDescription(
            algorithm=self.algorithm,
            sha256=self.sha256,
            dimension=self.dimension,
            licence=self.licence,
            commercial_use=self.commercial_use,
            provenance=self.provenance,
            training_data=self.training_data,
        )

    @property
    def alignment(self) -> Alignment:
        """How the crop is cut. ArcFace's points are laid down for 112 pixels and grow with the crop."""
        if self.alignment_points != "arcface":
            return Alignment(self.input_size, np.array(self.alignment_points, np.float64))
        if self.input_size == ARCFACE_ALIGNMENT.side:
            return ARCFACE_ALIGNMENT
        return ARCFACE_ALIGNMENT.resized(self.input_size)


def read_pack_file(folder: Path) -> PackFile:
    """Reads the ``pack.toml`` of a folder.

    Raises:
        ModalityUnavailable (FACE_PACK_UNUSABLE): it cannot be read, or an entry is wrong; the message names it.
    """
    path = folder / PACK_FILE
    try:
        content: dict[str, Any] = tomllib.loads(path.read_text())
        return PackFile.model_validate(content)
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, e['loc'][:1]))}: {e['msg']}" for e in error.errors()[:5])
    except (OSError, ValueError) as error:
        wrong = str(error)
    raise ModalityUnavailable(
        f"{path} does not describe a face pack ({wrong}); see docs/models.md", reason="FACE_PACK_UNUSABLE"
    )
