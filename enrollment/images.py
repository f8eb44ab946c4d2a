"""Bytes to pixels, with limits checked before any pixel is allocated.

Reads PNG, JPEG, BMP, TIFF, JPEG 2000 (Pillow) and WSQ (header by the ``wsq`` plug-in, data by
``wsq_process``). What the bytes are is decided by the
bytes, never by the announced media type; a type that contradicts them is an error.
"""

from __future__ import annotations

import dataclasses
import io
import math
import warnings

import numpy as np
import wsq as _wsq_plugin  # noqa: F401  (registers the WSQ format with Pillow)
from numpy.typing import NDArray
from PIL import Image, ImageOps

from enrollment.wsq_process import decode_wsq
from matcher.errors import SampleRejected

# Pillow warns of odd but readable files. A filter for the whole process, because catch_warnings is not thread-safe.
warnings.filterwarnings("ignore", module=r"PIL\.")

MEDIA_TYPES = {
    "PNG": "image/png",
    "JPEG": "image/jpeg",
    "MPO": "image/jpeg",  # a JPEG with further pictures behind it, as many phones write; the first one counts
    "BMP": "image/bmp",
    "TIFF": "image/tiff",
    "JPEG2000": "image/jp2",
    "WSQ": "image/x-wsq",
}
_FORMATS = tuple(name for name in MEDIA_TYPES if name != "MPO")  # Pillow opens MPO as JPEG and renames it
_ALIASES = {
    "image/jpg": "image/jpeg",
    "image/x-ms-bmp": "image/bmp",
    "image/jpx": "image/jp2",
    "image/j2k": "image/jp2",
    "image/jpeg2000": "image/jp2",
    "image/wsq": "image/x-wsq",
    "image/mpo": "image/jpeg",
}


@dataclasses.dataclass(frozen=True)
class ImageLimits:
    """Limits on what is decoded. A 1,000 ppi tenprint card (8 x 8 inch) has 64 M pixels; one sample needs far fewer."""

    max_bytes: int = 32 * 1024 * 1024
    max_pixels: int = 40_000_000
    max_side: int = 20_000
    min_side: int = 32


@dataclasses.dataclass(frozen=True, eq=False)
class DecodedImage:
    """Pixels of one sample.

    Attributes:
        pixels: uint8[height, width] grey or uint8[height, width, 3] RGB, upright (EXIF orientation applied).
        ppi: pixels per inch, from the request or else the file; None when neither says.
        media_type: what the bytes are, e.g. ``image/png``.
    """

    pixels: NDArray[np.uint8]
    ppi: float | None
    media_type: str

    @property
    def grey(self) -> NDArray[np.uint8]:
        """uint8[height, width], ITU-R 601 luma."""
        if self.pixels.ndim == 2:
            return self.pixels
        return np.asarray(Image.fromarray(self.pixels).convert("L"))

    @property
    def rgb(self) -> NDArray[np.uint8]:
        """uint8[height, width, 3]."""
        return self.pixels if self.pixels.ndim == 3 else np.repeat(self.pixels[:, :, None], 3, axis=2)


def decode_image(
    data: bytes, *, media_type: str = "", ppi: float | None = None, limits: ImageLimits | None = None
) -> DecodedImage:
    """Decodes one image.

    Args:
        data: the file's bytes.
        media_type: what the sender says they are; empty when it does not say.
        ppi: pixels per inch as the sender says (50-4000); overrides the file's.
        limits: bytes and pixels allowed.

    Raises:
        SampleRejected: IMAGE_EMPTY, IMAGE_TOO_LARGE, IMAGE_UNREADABLE, IMAGE_TRUNCATED, MEDIA_TYPE_MISMATCH,
            IMAGE_TOO_SMALL or PPI_INVALID.
    """
    limits = limits or ImageLimits()
    if not data:
        raise SampleRejected("the image is empty; send the file's bytes", reason="IMAGE_EMPTY")
    if len(data) > limits.max_bytes:
        raise SampleRejected(
            f"the image has {len(data):,} bytes, over the limit of {limits.max_bytes:,}; send one sample a file",
            reason="IMAGE_TOO_LARGE",
        )
    if ppi is not None and not (math.isfinite(ppi) and 50 <= ppi <= 4000):
        raise SampleRejected(f"{ppi:g} ppi is not within 50-4000", reason="PPI_INVALID")
    try:
        image = Image.open(io.BytesIO(data), formats=_FORMATS)
    except Image.DecompressionBombError as error:
        raise SampleRejected(
            f"the image is over the limit of {limits.max_pixels:,} pixels ({error}); send one sample a file",
            reason="IMAGE_TOO_LARGE",
        ) from None
    except Exception:  # plug-ins raise many types on damaged headers, UnboundLocalError (wsq) among them
        raise SampleRejected(
            "these bytes are no image that can be read; send PNG, JPEG, BMP, TIFF, JPEG 2000 or WSQ",
            reason="IMAGE_UNREADABLE",
        ) from None
    width, height = image.size
    if width * height > limits.max_pixels or max(width, height) > limits.max_side:
        raise SampleRejected(
            f"the image has {width} x {height} pixels, over the limit of {limits.max_pixels:,} or of "
            f"{limits.max_side:,} a side",
            reason="IMAGE_TOO_LARGE",
        )
    if min(width, height) < limits.min_side:
        raise SampleRejected(
            f"the image has {width} x {height} pixels; each side needs at least {limits.min_side}",
            reason="IMAGE_TOO_SMALL",
        )
    actual = MEDIA_TYPES[image.format or ""]
    claimed = media_type.strip().lower().split(";")[0]
    claimed = _ALIASES.get(claimed, claimed)
    if claimed and claimed not in ("application/octet-stream", actual):
        raise SampleRejected(
            f"the media type says {claimed} but the bytes are {actual}; correct it or leave it out",
            reason="MEDIA_TYPE_MISMATCH",
        )
    file_ppi = _file_ppi(image, data)
    try:
        pixels = decode_wsq(data, width, height) if image.format == "WSQ" else _upright_pixels(image)
    except Exception as error:  # Pillow's decoders raise many types on damaged data
        raise SampleRejected(
            f"the {actual} file is truncated or damaged ({error}); scan or send it again",
            reason="IMAGE_TRUNCATED",
        ) from None
    return DecodedImage(pixels, ppi if ppi is not None else file_ppi, actual)


def _upright_pixels(image: Image.Image) -> NDArray[np.uint8]:
    image.load()
    image = ImageOps.exif_transpose(image)
    if image.mode in ("I;16", "I;16B", "I;16L", "I", "F"):
        values = np.asarray(image, np.float64)
        top = 65535.0 if image.mode.startswith("I") else max(float(values.max()), 1.0)
        return np.clip(np.round(values * (255.0 / top)), 0, 255).astype(np.uint8)
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        background = Image.new("RGBA", image.size, "white")
        background.alpha_composite(image.convert("RGBA"))
        image = background.convert("L" if image.mode == "LA" else "RGB")
    grey = image.mode in ("L", "1") or (image.mode == "P" and _is_grey_palette(image))
    return np.ascontiguousarray(np.asarray(image.convert("L" if grey else "RGB"), np.uint8))


def _is_grey_palette(image: Image.Image) -> bool:
    palette = np.asarray(image.getpalette("RGB") or [0, 0, 0], np.uint8).reshape(-1, 3)
    return bool((palette == palette[:, :1]).all())


def _file_ppi(image: Image.Image, data: bytes) -> float | None:
    """The file's own resolution; None where it has none or where it is a writer's default (72 or 96) or nonsense."""
    if image.format == "WSQ":
        return _wsq_ppi(data)
    dpi = image.info.get("dpi")
    try:
        value = float(dpi[0]) if dpi else 0.0
    except (TypeError, ValueError, ZeroDivisionError, IndexError):
        return None
    value = round(value, 1)
    return value if math.isfinite(value) and 100 <= value <= 4000 else None


def _wsq_ppi(data: bytes) -> float | None:
    """PPI from the NISTCOM comment of a WSQ file (NBIS: marker 0xFFA8, text lines ``NAME value``)."""
    at = data.find(b"NIST_COM")
    if at < 0:
        return None
    for line in data[at : at + 2048].split(b"\n"):
        words = line.split()
        if len(words) == 2 and words[0] == b"PPI" and words[1].isdigit() and 50 <= int(words[1]) <= 4000:
            return float(words[1])
    return None
