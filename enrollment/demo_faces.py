"""Six people for the demonstration and the tests: the group photo inside the ``insightface`` package.

It is in the dependencies anyway, so that nothing has to be shipped or fetched. The photo is used in memory only.
"""

from __future__ import annotations

import importlib.util
import io
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from enrollment.extract.face import FaceExtractor
from enrollment.images import DecodedImage, decode_image
from matcher.errors import ModalityUnavailable

PEOPLE = 6
STRANGER = 2
"""Which of ``people`` looks least like the others (0.10 at most with the compact pack; 3 and 4 reach 0.39 between
them), and so suits as the one who is not enrolled."""
MARGIN = 0.75
"""What a crop shows beyond the detector's box on each side, in widths of the box."""


def group_photo() -> DecodedImage:
    """The photo, found without importing ``insightface`` (which takes seconds).

    Raises:
        ModalityUnavailable: the package or the photo in it is missing.
    """
    spec = importlib.util.find_spec("insightface")
    photos = (
        [Path(place) / "data" / "images" / "t1.jpg" for place in (spec.submodule_search_locations or [])]
        if spec
        else []
    )
    for photo in photos:
        if photo.is_file():
            return decode_image(photo.read_bytes())
    raise ModalityUnavailable("the group photo of the package insightface is missing; run make install again")


def people(extractor: FaceExtractor) -> list[NDArray[np.uint8]]:
    """A generous crop of each of the six people, uint8[height, width, 3] RGB, from left to right.

    Raises:
        ModalityUnavailable: the extractor does not find six faces in the photo.
    """
    photo = group_photo()
    boxes = sorted(extractor.boxes(photo), key=lambda box: box.left)
    if len(boxes) != PEOPLE:
        raise ModalityUnavailable(
            f"the face pack finds {len(boxes)} faces in the group photo instead of {PEOPLE}; use the compact pack for "
            "the demonstration"
        )
    crops = []
    for box in boxes:
        reach = (0.5 + MARGIN) * max(box.width, box.height)
        x, y = box.centre
        left, top = max(round(x - reach), 0), max(round(y - reach), 0)
        crops.append(photo.pixels[top : round(y + reach), left : round(x + reach)].copy())
    return crops


def rendition(crop: NDArray[np.uint8], seed: int) -> bytes:
    """Another picture of the same person, as another camera at another moment might have taken it.

    Moved, turned by up to 4 degrees (two of the six hold their heads so that the compact pack's detector loses them
    when turned further), larger or smaller by up to 15%, blurred, brighter or darker, of another contrast and tint,
    with noise, and compressed again.

    Args:
        crop: uint8[height, width, 3] RGB, from ``people``.
        seed: the same seed gives the same bytes on one machine.

    Returns:
        A JPEG file.
    """
    rng = np.random.default_rng(seed)
    height, width = crop.shape[:2]
    turn, zoom = rng.uniform(-4.0, 4.0), rng.uniform(0.85, 1.15)
    matrix = np.array(cv2.getRotationMatrix2D((width / 2, height / 2), turn, zoom), np.float64)
    matrix[:, 2] += rng.uniform(-0.06, 0.06, 2) * (width, height)
    image = cv2.warpAffine(crop, matrix, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
    levels = np.asarray(cv2.GaussianBlur(image, (0, 0), rng.uniform(0.3, 1.1)), np.float64)
    levels = (levels - 128.0) * rng.uniform(0.75, 1.2) + 128.0 + rng.uniform(-25.0, 25.0)
    levels = levels * rng.uniform(0.95, 1.05, 3) + rng.normal(0.0, rng.uniform(1.0, 5.0), levels.shape)
    pixels = np.clip(np.round(levels), 0, 255).astype(np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=int(rng.integers(60, 93)))
    return stream.getvalue()
