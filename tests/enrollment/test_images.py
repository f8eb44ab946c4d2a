"""Decoding: every format there and back, what the file says of itself, and bad ones refused with a reason."""

from __future__ import annotations

import io
import struct
import tracemalloc
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from enrollment.images import ImageLimits, decode_image
from matcher.errors import SampleRejected

HEIGHT, WIDTH = 96, 160


def scene() -> NDArray[np.uint8]:
    """A grey picture without symmetry, with ridges and grain as WSQ expects them."""
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH].astype(np.float64)
    ridges = 80 * np.sin(2 * np.pi * (x + 0.3 * y + 4 * np.sin(y / 20)) / 9)
    grain = np.random.default_rng(1).normal(0, 4, (HEIGHT, WIDTH))
    return np.asarray(np.clip(ridges + grain + 0.3 * x + 0.2 * y + 90, 0, 255), np.uint8)


GREY = scene()
COLOUR = np.stack([GREY, GREY[::-1], 255 - GREY], axis=-1)


def encode(pixels: NDArray[np.generic] | Image.Image, kind: str, **options: object) -> bytes:
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


FILES: dict[str, tuple[str, Callable[[], bytes], int]] = {
    "png": ("image/png", lambda: encode(GREY, "PNG", dpi=(500, 500)), 0),
    "jpeg": ("image/jpeg", lambda: encode(GREY, "JPEG", dpi=(500, 500), quality=95), 12),
    "progressive": ("image/jpeg", lambda: encode(GREY, "JPEG", progressive=True, quality=95, dpi=(500, 500)), 12),
    "bmp": ("image/bmp", lambda: encode(GREY, "BMP", dpi=(500, 500)), 0),
    "tiff": ("image/tiff", lambda: encode(GREY, "TIFF", dpi=(500, 500)), 0),
    "tiff-lzw": ("image/tiff", lambda: encode(GREY, "TIFF", dpi=(500, 500), compression="tiff_lzw"), 0),
    "jp2": ("image/jp2", lambda: encode(GREY, "JPEG2000"), 0),
    "j2k": ("image/jp2", lambda: encode(GREY, "JPEG2000", no_jp2=True), 0),
    "wsq": ("image/x-wsq", lambda: encode(GREY, "WSQ"), 24),
}
WITHOUT_PPI = {"jp2", "j2k"}


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png_bomb(width: int, height: int) -> bytes:
    """A PNG of some hundred bytes that claims a size."""
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")


def rejection(data: bytes, **options: object) -> SampleRejected:
    with pytest.raises(SampleRejected) as caught:
        decode_image(data, **options)  # type: ignore[arg-type]
    return caught.value


@pytest.mark.parametrize("name", FILES)
def test_grey_round_trips(name: str) -> None:
    media_type, make, tolerance = FILES[name]
    image = decode_image(make())
    assert image.media_type == media_type
    assert image.pixels.dtype == np.uint8
    assert image.pixels.shape == (HEIGHT, WIDTH)
    assert np.abs(image.pixels.astype(int) - GREY).max() <= tolerance
    assert image.ppi == (None if name in WITHOUT_PPI else 500.0)
    assert np.array_equal(image.grey, image.pixels)
    assert image.rgb.shape == (HEIGHT, WIDTH, 3)


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "JPEG2000"])
def test_colour_round_trips(kind: str) -> None:
    image = decode_image(encode(COLOUR, kind))
    assert np.array_equal(image.pixels, COLOUR)
    assert np.array_equal(image.rgb, COLOUR)
    luma = COLOUR @ np.array([0.299, 0.587, 0.114])
    assert np.abs(image.grey - luma).max() <= 1


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "JPEG2000"])
def test_sixteen_bits_become_eight(kind: str) -> None:
    image = decode_image(encode(GREY.astype(np.uint16) * 257, kind))
    assert np.array_equal(image.pixels, GREY)


def test_transparency_is_laid_on_white() -> None:
    for alpha, expected in ((255, GREY), (0, np.full_like(GREY, 255))):
        layer = np.full_like(GREY, alpha)
        rgba = decode_image(encode(np.dstack([GREY, GREY, GREY, layer]), "PNG"))
        assert np.array_equal(rgba.grey, expected)
        la = decode_image(encode(Image.merge("LA", [Image.fromarray(GREY), Image.fromarray(layer)]), "PNG"))
        assert la.pixels.ndim == 2
        assert np.array_equal(la.pixels, expected)


def test_palettes_and_bilevel_become_what_they_show() -> None:
    steps = (GREY // 32).astype(np.uint8)
    for palette, dimensions in (
        ([v for i in range(8) for v in (i * 30, i * 30, i * 30)], 2),
        ([v for i in range(8) for v in (i * 30, 200 - i * 20, 7 * i)], 3),
    ):
        image = Image.fromarray(steps).convert("P")
        image.putdata(steps.ravel().tolist())
        image.putpalette(palette)
        decoded = decode_image(encode(image, "PNG"))
        assert decoded.pixels.ndim == dimensions
        assert np.array_equal(decoded.rgb, np.array(palette, np.uint8).reshape(-1, 3)[steps])
    bilevel = decode_image(encode(Image.fromarray(GREY > 100), "TIFF"))
    assert np.array_equal(bilevel.pixels, np.where(GREY > 100, 255, 0))


@pytest.mark.parametrize(
    ("orientation", "undo"),
    [
        (1, lambda a: a),
        (2, lambda a: a[:, ::-1]),
        (3, lambda a: a[::-1, ::-1]),
        (4, lambda a: a[::-1]),
        (5, lambda a: a.T),
        (6, lambda a: np.rot90(a, -1)),
        (7, lambda a: a[::-1, ::-1].T),
        (8, lambda a: np.rot90(a, 1)),
    ],
)
def test_pictures_come_out_upright(orientation: int, undo: Callable[[NDArray[np.uint8]], NDArray[np.uint8]]) -> None:
    """EXIF 2.3, tag 0x0112: e.g. 6 means that row 0 is the right side, so the picture is turned clockwise."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    assert np.array_equal(decode_image(encode(GREY, "PNG", exif=exif)).pixels, undo(GREY))


def test_the_first_picture_of_a_phones_multi_picture_jpeg_is_read() -> None:
    other = Image.fromarray(255 - COLOUR)
    data = encode(Image.fromarray(COLOUR), "MPO", save_all=True, append_images=[other], quality=95)
    image = decode_image(data, media_type="image/jpeg")
    assert image.media_type == "image/jpeg"
    assert np.abs(image.grey.astype(int) - decode_image(encode(COLOUR, "PNG")).grey).mean() < 10


@pytest.mark.parametrize(
    ("dpi", "expected"),
    [((500, 500), 500.0), ((1000, 1000), 1000.0), ((72, 72), None), ((96, 96), None), ((9999, 9999), None)],
)
def test_a_files_own_resolution_counts_unless_it_is_a_writers_default(
    dpi: tuple[int, int], expected: float | None
) -> None:
    for kind in ("PNG", "TIFF", "BMP"):
        assert decode_image(encode(GREY, kind, dpi=dpi)).ppi == expected


def test_the_senders_resolution_goes_before_the_files() -> None:
    assert decode_image(FILES["wsq"][1](), ppi=1000).ppi == 1000
    assert decode_image(encode(GREY, "PNG"), ppi=500).ppi == 500
    assert decode_image(encode(GREY, "PNG")).ppi is None


@pytest.mark.parametrize("ppi", [0, -500, 49.9, 4001, float("nan"), float("inf")])
def test_impossible_resolutions_are_refused(ppi: float) -> None:
    assert rejection(FILES["png"][1](), ppi=ppi).reason == "PPI_INVALID"


@pytest.mark.parametrize("name", FILES)
def test_files_cut_short_are_refused(name: str) -> None:
    """Refused, or, where only an end mark or a trailing tag is missing, decoded to the very same pixels."""
    data = FILES[name][1]()
    whole = decode_image(data).pixels
    reasons = set()
    for length in sorted({*range(1, 40), *np.linspace(40, len(data) - 1, 80).astype(int).tolist()}):
        try:
            image = decode_image(data[:length])
        except SampleRejected as error:
            reasons.add(error.reason)
            continue
        assert length > 0.97 * len(data)
        assert np.array_equal(image.pixels, whole), length
    assert reasons <= {"IMAGE_TRUNCATED", "IMAGE_UNREADABLE"}


@pytest.mark.parametrize("name", FILES)
def test_damaged_files_decode_or_are_refused_and_nothing_else(name: str) -> None:
    data = FILES[name][1]()
    rng = np.random.default_rng(1)
    for _ in range(60):
        damaged = bytearray(data)
        for at in rng.integers(0, min(len(data), 400) if rng.random() < 0.5 else len(data), 4):
            damaged[at] = rng.integers(0, 256)
        try:
            image = decode_image(bytes(damaged))
        except SampleRejected:
            continue
        assert image.pixels.dtype == np.uint8


@given(
    st.binary(max_size=200), st.sampled_from([b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"BM", b"II*\0", b"\xff\xa0"])
)
@settings(max_examples=200, deadline=None)
def test_arbitrary_bytes_are_refused(data: bytes, start: bytes) -> None:
    with pytest.raises(SampleRejected):
        decode_image(start + data)


def test_what_is_no_image() -> None:
    assert rejection(b"").reason == "IMAGE_EMPTY"
    assert rejection(b"Dear sir or madam,\n" * 40).reason == "IMAGE_UNREADABLE"
    gif = encode(GREY, "GIF")
    assert rejection(gif).reason == "IMAGE_UNREADABLE"
    assert "PNG" in rejection(gif).message


@pytest.mark.parametrize("side", [7000, 12_000, 50_000])
def test_a_decompression_bomb_is_refused_before_its_pixels_are_allocated(side: int) -> None:
    data = png_bomb(side, side)
    assert len(data) < 200
    tracemalloc.start()
    try:
        error = rejection(data)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert error.reason == "IMAGE_TOO_LARGE"
    assert "40,000,000" in error.message
    assert peak < 5_000_000


def test_a_wsq_file_that_claims_a_huge_size_is_refused() -> None:
    data = bytearray(FILES["wsq"][1]())
    frame = data.find(b"\xff\xa2")
    data[frame + 6 : frame + 10] = struct.pack(">HH", 60_000, 60_000)
    assert rejection(bytes(data)).reason == "IMAGE_TOO_LARGE"


def test_limits_are_those_given() -> None:
    data = encode(GREY, "PNG")
    assert rejection(data, limits=ImageLimits(max_bytes=len(data) - 1)).reason == "IMAGE_TOO_LARGE"
    assert rejection(data, limits=ImageLimits(max_pixels=GREY.size - 1)).reason == "IMAGE_TOO_LARGE"
    exact = ImageLimits(max_bytes=len(data), max_pixels=GREY.size, min_side=HEIGHT)
    assert np.array_equal(decode_image(data, limits=exact).pixels, GREY)
    assert rejection(data, limits=ImageLimits(min_side=HEIGHT + 1)).reason == "IMAGE_TOO_SMALL"
    assert rejection(encode(GREY[:31], "PNG")).reason == "IMAGE_TOO_SMALL"


@pytest.mark.parametrize("name", FILES)
def test_the_media_type_must_fit_the_bytes(name: str) -> None:
    media_type, make, _ = FILES[name]
    data = make()
    for claimed in (media_type, media_type.upper() + "; q=1", "application/octet-stream", ""):
        assert decode_image(data, media_type=claimed).media_type == media_type
    wrong = "image/png" if media_type != "image/png" else "image/jpeg"
    error = rejection(data, media_type=wrong)
    assert error.reason == "MEDIA_TYPE_MISMATCH"
    assert media_type in error.message
    assert wrong in error.message
    assert rejection(data, media_type="text/plain").reason == "MEDIA_TYPE_MISMATCH"


@pytest.mark.parametrize(
    ("name", "alias"),
    [
        ("jpeg", "image/jpg"),
        ("bmp", "image/x-ms-bmp"),
        ("jp2", "image/jpx"),
        ("j2k", "image/j2k"),
        ("wsq", "image/wsq"),
    ],
)
def test_other_names_of_media_types(name: str, alias: str) -> None:
    assert decode_image(FILES[name][1](), media_type=alias).media_type == FILES[name][0]


def test_wsq_files_that_kill_the_decoder_are_refused_and_the_next_file_is_read() -> None:
    """NBIS writes outside its buffers on some of these files, so it runs in a process that may die."""
    data = FILES["wsq"][1]()
    expected = decode_image(data).pixels
    rng = np.random.default_rng(2)
    reasons = []
    for _ in range(150):
        damaged = bytearray(data)
        for at in rng.integers(20, len(data), 4):
            damaged[at] = rng.integers(0, 256)
        try:
            decode_image(bytes(damaged))
        except SampleRejected as error:
            reasons.append(error.reason)
        assert np.array_equal(decode_image(data).pixels, expected)
    assert len(reasons) > 20
    assert set(reasons) <= {"IMAGE_TRUNCATED", "IMAGE_UNREADABLE", "IMAGE_TOO_LARGE", "IMAGE_TOO_SMALL"}


def test_many_threads_decode_alike() -> None:
    files = [make() for _, make, _ in FILES.values()]
    alone = [decode_image(data).pixels for data in files]
    with ThreadPoolExecutor(4) as pool:
        for _ in range(5):
            for expected, image in zip(alone, pool.map(decode_image, files), strict=True):
                assert np.array_equal(expected, image.pixels)
