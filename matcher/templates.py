"""Biometric templates: frozen, numpy inside, versioned bytes outside.

Byte layout, little-endian, the same for every modality::

    4  magic b"AMBT"
    1  container version (1)
    1  modality code (1 finger, 2 face, 3 iris)
    2  template version (of the payload's meaning, set by the extractor)
    1  length of the algorithm id, then that many ASCII bytes
    4  length of the payload, then the payload (see each class)
    4  CRC-32 (zlib) of everything before it

A template names the algorithm that made it (extractor and model). Templates of different algorithms are never compared.
"""

from __future__ import annotations

import dataclasses
import functools
import struct
import zlib
from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from matcher.errors import TemplateInvalid
from matcher.positions import Modality

MAGIC = b"AMBT"
CONTAINER_VERSION = 1
MAX_TEMPLATE_BYTES = 64 * 1024
_HEAD = struct.Struct("<4sBBHB")
_LENGTH = struct.Struct("<I")
_INT8, _INT16, _UINT8, _UINT16 = (np.dtype(kind) for kind in (np.int8, np.int16, np.uint8, np.uint16))


@dataclasses.dataclass(frozen=True, eq=False)
class Template:
    """The features of one sample of one position.

    Attributes:
        algorithm: id of extractor and model, 1-64 printable ASCII characters, e.g. ``finger-leader-1``.
        version: version of the payload's meaning, 0-65535.
    """

    modality: ClassVar[Modality]
    code: ClassVar[int]

    algorithm: str
    version: int

    def payload(self) -> bytes:
        """The modality's own bytes."""
        raise NotImplementedError

    @classmethod
    def from_payload(cls, algorithm: str, version: int, payload: bytes) -> Self:
        """Reads what ``payload`` wrote; raises TemplateInvalid on anything else."""
        raise NotImplementedError

    def to_bytes(self) -> bytes:
        """The versioned bytes that are stored and sent; equal templates give equal bytes."""
        name = self.algorithm.encode("ascii")
        body = self.payload()
        head = _HEAD.pack(MAGIC, CONTAINER_VERSION, self.code, self.version, len(name))
        data = head + name + _LENGTH.pack(len(body)) + body
        return data + _LENGTH.pack(zlib.crc32(data))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Template) and self.to_bytes() == other.to_bytes()

    def __hash__(self) -> int:
        return hash(self.to_bytes())

    def _check_common(self) -> None:
        if not (1 <= len(self.algorithm) <= 64 and self.algorithm.isascii() and self.algorithm.isprintable()):
            raise TemplateInvalid(f"algorithm id {self.algorithm[:70]!r} is not 1-64 printable ASCII characters")
        if not 0 <= self.version <= 0xFFFF:
            raise TemplateInvalid(f"template version {self.version} is not within 0-65535")


@dataclasses.dataclass(frozen=True, eq=False)
class FingerTemplate(Template):
    """Minutiae of one friction ridge impression at 500 ppi, and the vector that a search finds it by.

    Attributes:
        width, height: size of the image in pixels at 500 ppi (19.69 px/mm), 1-8192.
        x, y: int16[n], pixels from the top left corner, y downwards, 0-8191.
        angle: uint16[n], ridge direction of the minutia, counter-clockwise from the x axis as seen on the screen
            (y upwards), in 1/65536 turn; even.
        quality: uint8[n], 0 (worst) to 100.
        vector: int8[d], -127..127, the shortlist vector of these minutiae (``finger.vector``); d is 0 where nobody has
            computed it yet, and a multiple of 32 up to 1024 otherwise.
        vector_model: number of the model that made the vector, 1-65535; 0 where there is none.

    Payload: ``<HHBHH`` width, height, n, vector_model, d; then 6 bytes a minutia, a little-endian number of x (13
    bits), y (13), angle / 2 (15) and quality (7) from the lowest bit on; then the vector. Minutiae are kept in the
    order given; n is 0-255.
    """

    modality = Modality.FINGER
    code = 1
    MAX_MINUTIAE: ClassVar[int] = 255
    MAX_SIDE: ClassVar[int] = 8192
    """A power of two, as ``__post_init__`` takes it for."""
    MAX_VECTOR: ClassVar[int] = 1024
    BYTES: ClassVar[int] = 6
    """A minutia's."""
    _SIZE: ClassVar[struct.Struct] = struct.Struct("<HHBHH")

    width: int
    height: int
    x: NDArray[np.int16]
    y: NDArray[np.int16]
    angle: NDArray[np.uint16]
    quality: NDArray[np.uint8]
    vector: NDArray[np.int8] = dataclasses.field(default_factory=lambda: np.zeros(0, np.int8))
    vector_model: int = 0

    def __post_init__(self) -> None:
        self._check_common()
        n = len(self.x)
        arrays = ((self.x, _INT16), (self.y, _INT16), (self.angle, _UINT16), (self.quality, _UINT8))
        for array, dtype in arrays:
            if array.dtype != dtype or array.shape != (n,):
                raise TemplateInvalid(f"minutiae arrays must be 1-d of one length; got {array.dtype}{array.shape}")
        if n > self.MAX_MINUTIAE:
            raise TemplateInvalid(f"{n} minutiae are more than the {self.MAX_MINUTIAE} that a template may hold")
        if not (1 <= self.width <= self.MAX_SIDE and 1 <= self.height <= self.MAX_SIDE):
            raise TemplateInvalid(f"image size {self.width} x {self.height} is not within 1-{self.MAX_SIDE}")
        if n:
            # Few calls of numpy, which take longer than the numbers: no bit above those of 0-8191, no lowest bit.
            if np.bitwise_or.reduce(self.x | self.y) & ~(self.MAX_SIDE - 1):
                raise TemplateInvalid(f"a minutia's place is not within 0-{self.MAX_SIDE - 1}")
            if np.maximum.reduce(self.quality) > 100:
                raise TemplateInvalid("minutia quality is not within 0-100")
            if np.bitwise_or.reduce(self.angle) & 1:
                raise TemplateInvalid("a minutia's angle is odd; angles are kept to 1/32768 turn")
        self._check_vector()
        for array, _ in arrays:
            array.setflags(write=False)
        self.vector.setflags(write=False)

    def _check_vector(self) -> None:
        v = self.vector
        if v.dtype != _INT8 or v.ndim != 1 or len(v) > self.MAX_VECTOR or len(v) % 32:
            raise TemplateInvalid(
                f"a shortlist vector is int8[d], d a multiple of 32 up to {self.MAX_VECTOR}; got {v.dtype}{v.shape}"
            )
        if not 0 <= self.vector_model <= 0xFFFF or (self.vector_model == 0) != (len(v) == 0):
            raise TemplateInvalid("a shortlist vector names the number of its model, 1-65535; no vector has number 0")
        if len(v) and np.minimum.reduce(v) < -127:
            raise TemplateInvalid("a shortlist vector's numbers are not within -127..127")

    def __len__(self) -> int:
        return len(self.x)

    @property
    def angle_radians(self) -> NDArray[np.float64]:
        """float64[n], ridge directions in radians, 0 <= angle < 2 pi."""
        return self.angle.astype(np.float64) * (2.0 * np.pi / 65536.0)

    @staticmethod
    def encode_angle(radians: NDArray[np.floating]) -> NDArray[np.uint16]:
        """Radians (any range) to the uint16 of ``angle``."""
        turns = np.round(np.asarray(radians, np.float64) * (32768.0 / (2.0 * np.pi)))
        return np.mod(2.0 * turns, 65536.0).astype(np.uint16)

    def payload(self) -> bytes:
        """See the class."""
        head = self._SIZE.pack(self.width, self.height, len(self), self.vector_model, len(self.vector))
        packed = self.x.astype(np.uint64) | (self.y.astype(np.uint64) << np.uint64(13))
        packed |= (self.angle.astype(np.uint64) >> np.uint64(1)) << np.uint64(26)
        packed |= self.quality.astype(np.uint64) << np.uint64(41)
        minutiae = packed.astype("<u8").view(np.uint8).reshape(-1, 8)[:, : self.BYTES]
        return head + minutiae.tobytes() + self.vector.tobytes()

    @classmethod
    def from_payload(cls, algorithm: str, version: int, payload: bytes) -> Self:
        """See the class."""
        if len(payload) < cls._SIZE.size:
            raise TemplateInvalid("finger template payload is too short")
        width, height, n, vector_model, d = cls._SIZE.unpack_from(payload)
        start, end = cls._SIZE.size, cls._SIZE.size + cls.BYTES * n
        if len(payload) != end + d:
            raise TemplateInvalid(
                f"finger template announces {n} minutiae and a vector of {d} but holds {len(payload)} bytes"
            )
        words = np.zeros((n, 8), np.uint8)
        words[:, : cls.BYTES] = np.frombuffer(payload, np.uint8, cls.BYTES * n, start).reshape(n, cls.BYTES)
        packed = words.view("<u8").ravel().astype(np.uint64)
        x = (packed & np.uint64(0x1FFF)).astype(np.int16)
        y = ((packed >> np.uint64(13)) & np.uint64(0x1FFF)).astype(np.int16)
        angle = (((packed >> np.uint64(26)) & np.uint64(0x7FFF)) << np.uint64(1)).astype(np.uint16)
        quality = ((packed >> np.uint64(41)) & np.uint64(0x7F)).astype(np.uint8)
        vector = np.frombuffer(payload, np.int8, d, end).copy()
        return cls(algorithm, version, width, height, x, y, angle, quality, vector, vector_model)


@dataclasses.dataclass(frozen=True, eq=False)
class FaceTemplate(Template):
    """A face embedding.

    Attributes:
        embedding: float32[d], unit length (within 1e-3), d 64-4096; comparison is the inner product.

    Payload: the embedding as little-endian float32.
    """

    modality = Modality.FACE
    code = 2

    embedding: NDArray[np.float32]

    def __post_init__(self) -> None:
        self._check_common()
        e = self.embedding
        if e.dtype != np.float32 or e.ndim != 1 or not 64 <= len(e) <= 4096:
            raise TemplateInvalid(f"a face embedding is float32[64-4096]; got {e.dtype}{e.shape}")
        norm = float(np.linalg.norm(e.astype(np.float64)))
        if not abs(norm - 1.0) <= 1e-3:
            raise TemplateInvalid(f"a face embedding has unit length; got {norm:.6g}")
        e.setflags(write=False)

    def payload(self) -> bytes:
        """See the class."""
        return self.embedding.astype("<f4").tobytes()

    @classmethod
    def from_payload(cls, algorithm: str, version: int, payload: bytes) -> Self:
        """See the class."""
        if len(payload) % 4:
            raise TemplateInvalid("face template payload is not a whole number of float32")
        return cls(algorithm, version, np.frombuffer(payload, "<f4").astype(np.float32))


@dataclasses.dataclass(frozen=True, eq=False)
class IrisCode:
    """Phase bits of an iris and which of them may be compared.

    Attributes:
        bits: uint64[w], bit b of the code being bit b % 64 of word b // 64; bits whose mask bit is 0 are 0.
        mask: uint64[w], 1 where the bit may be compared.
    """

    MAX_WORDS: ClassVar[int] = 1024

    bits: NDArray[np.uint64]
    mask: NDArray[np.uint64]

    def __post_init__(self) -> None:
        w = len(self.bits)
        for array in (self.bits, self.mask):
            if array.dtype != np.uint64 or array.shape != (w,):
                raise TemplateInvalid(f"iris code and mask are uint64 of one length; got {array.dtype}{array.shape}")
        if not 1 <= w <= self.MAX_WORDS:
            raise TemplateInvalid(f"an iris code has 1-{self.MAX_WORDS} words; got {w}")
        if np.any(self.bits & ~self.mask):
            raise TemplateInvalid("iris code has bits set where its mask is clear")
        self.bits.setflags(write=False)
        self.mask.setflags(write=False)

    def __len__(self) -> int:
        """Words of the code."""
        return len(self.bits)


@dataclasses.dataclass(frozen=True, eq=False)
class IrisTemplate(Template):
    """Two binary codes of one iris, each with its mask: a short one to search with, a long one to verify with.

    Attributes:
        columns: angular positions of both codes, a power of two, 8-1024.
        search: column after column, in the order of ``spread_columns``, so that the code's beginning lies all round
            the eye; a whole number of bytes a column.
        verification: column after column, in their natural order; a whole number of words a column.

    Payload: ``<HHH`` columns, words of the search code, words of the verification code; then bits and mask of the one
    and of the other as little-endian uint64.
    """

    modality = Modality.IRIS
    code = 3
    _SIZE: ClassVar[struct.Struct] = struct.Struct("<HHH")

    columns: int
    search: IrisCode
    verification: IrisCode

    def __post_init__(self) -> None:
        self._check_common()
        if not 8 <= self.columns <= 1024 or self.columns & (self.columns - 1):
            raise TemplateInvalid(f"an iris code has a power of two of columns, 8-1024; got {self.columns}")
        if (8 * len(self.search)) % self.columns or len(self.verification) % self.columns:
            raise TemplateInvalid(
                f"{self.columns} columns of an iris take whole bytes of the search code and whole words of the "
                f"verification code; these have {len(self.search)} and {len(self.verification)} words"
            )

    def payload(self) -> bytes:
        """See the class."""
        head = self._SIZE.pack(self.columns, len(self.search), len(self.verification))
        parts = (self.search.bits, self.search.mask, self.verification.bits, self.verification.mask)
        return head + b"".join(part.astype("<u8").tobytes() for part in parts)

    @classmethod
    def from_payload(cls, algorithm: str, version: int, payload: bytes) -> Self:
        """See the class."""
        if len(payload) < cls._SIZE.size:
            raise TemplateInvalid("iris template payload is too short")
        columns, short, long = cls._SIZE.unpack_from(payload)
        if len(payload) != cls._SIZE.size + 16 * (short + long):
            raise TemplateInvalid(f"iris template announces {short} and {long} words but holds {len(payload)} bytes")
        words = np.frombuffer(payload, "<u8", -1, cls._SIZE.size).astype(np.uint64)
        bits, mask, long_bits, long_mask = np.split(words, [short, 2 * short, 2 * short + long])
        return cls(algorithm, version, columns, IrisCode(bits, mask), IrisCode(long_bits, long_mask))


@functools.cache
def spread_columns(columns: int) -> NDArray[np.int64]:
    """The order of the columns of a search code: the binary digits of 0, 1, 2 ... reversed, int64[columns].

    The first 2^k of them are evenly spread round the eye.

    Args:
        columns: a power of two.
    """
    digits = columns.bit_length() - 1
    order = np.array([int(f"{c:0{digits}b}"[::-1], 2) for c in range(columns)], np.int64)
    order.setflags(write=False)
    return order


_CLASSES: dict[int, type[FingerTemplate] | type[FaceTemplate] | type[IrisTemplate]] = {
    cls.code: cls for cls in (FingerTemplate, FaceTemplate, IrisTemplate)
}


def template_from_bytes(data: bytes) -> Template:
    """Reads any template.

    Args:
        data: what ``Template.to_bytes`` wrote, at most ``MAX_TEMPLATE_BYTES``.

    Raises:
        TemplateInvalid: too large, truncated, damaged (CRC), of an unknown version or modality, or inconsistent inside.
    """
    if len(data) > MAX_TEMPLATE_BYTES:
        raise TemplateInvalid(f"a template of {len(data)} bytes is over the limit of {MAX_TEMPLATE_BYTES}")
    if len(data) < _HEAD.size or data[:4] != MAGIC:
        raise TemplateInvalid(
            "these bytes are no AMBIS template; send an image, or bytes that an AMBIS extractor wrote"
        )
    _, container, code, version, name_length = _HEAD.unpack_from(data)
    if container != CONTAINER_VERSION:
        raise TemplateInvalid(
            f"template container version {container} is not {CONTAINER_VERSION}; upgrade or re-extract"
        )
    at = _HEAD.size + name_length
    if len(data) < at + 2 * _LENGTH.size:
        raise TemplateInvalid("the template is truncated")
    (body_length,) = _LENGTH.unpack_from(data, at)
    end = at + _LENGTH.size + body_length
    if len(data) != end + _LENGTH.size:
        raise TemplateInvalid("the template is truncated or has bytes after its end")
    (crc,) = _LENGTH.unpack_from(data, end)
    if crc != zlib.crc32(data[:end]):
        raise TemplateInvalid("the template is damaged (its checksum does not fit)")
    if code not in _CLASSES:
        raise TemplateInvalid(f"template modality code {code} is unknown; this server reads {sorted(_CLASSES)}")
    try:
        algorithm = data[_HEAD.size : at].decode("ascii")
    except UnicodeDecodeError:
        raise TemplateInvalid("the template's algorithm id is not ASCII") from None
    return _CLASSES[code].from_payload(algorithm, version, data[at + _LENGTH.size : end])
