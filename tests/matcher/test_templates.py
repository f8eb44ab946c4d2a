"""Template bytes: whatever goes in comes out, and whatever was damaged on the way is refused."""

from __future__ import annotations

import struct
import zlib

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from matcher.errors import TemplateInvalid
from matcher.templates import (
    MAX_TEMPLATE_BYTES,
    FaceTemplate,
    FingerTemplate,
    IrisCode,
    IrisTemplate,
    Template,
    spread_columns,
    template_from_bytes,
)

algorithms = st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=64)
versions = st.integers(0, 0xFFFF)


@st.composite
def finger_templates(draw: st.DrawFn) -> FingerTemplate:
    n = draw(st.integers(0, 255))
    d = draw(st.sampled_from([0, 32, 480, 1024]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    return FingerTemplate(
        draw(algorithms),
        draw(versions),
        draw(st.integers(1, 8192)),
        draw(st.integers(1, 8192)),
        rng.integers(0, 8192, n).astype(np.int16),
        rng.integers(0, 8192, n).astype(np.int16),
        (2 * rng.integers(0, 2**15, n)).astype(np.uint16),
        rng.integers(0, 101, n).astype(np.uint8),
        rng.integers(-127, 128, d).astype(np.int8),
        draw(st.integers(1, 0xFFFF)) if d else 0,
    )


@st.composite
def face_templates(draw: st.DrawFn) -> FaceTemplate:
    d = draw(st.integers(64, 700))
    values = np.random.default_rng(draw(st.integers(0, 2**32))).standard_normal(d)
    return FaceTemplate(draw(algorithms), draw(versions), (values / np.linalg.norm(values)).astype(np.float32))


@st.composite
def iris_templates(draw: st.DrawFn) -> IrisTemplate:
    columns = 2 ** draw(st.integers(3, 9))
    short = max(1, columns // 8) * draw(st.integers(1, 3))
    long = columns * draw(st.integers(1, 2))
    return IrisTemplate(draw(algorithms), draw(versions), columns, draw(iris_codes(short)), draw(iris_codes(long)))


@st.composite
def iris_codes(draw: st.DrawFn, words: int) -> IrisCode:
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    mask = rng.integers(0, 2**64, words, dtype=np.uint64)
    return IrisCode(rng.integers(0, 2**64, words, dtype=np.uint64) & mask, mask)


templates: st.SearchStrategy[Template] = st.one_of(finger_templates(), face_templates(), iris_templates())


def examples() -> list[Template]:
    """One small template of each class."""
    rng = np.random.default_rng(1)
    face = rng.standard_normal(64)
    mask, long = rng.integers(0, 2**64, 2, dtype=np.uint64), rng.integers(0, 2**64, 8, dtype=np.uint64)
    return [
        FingerTemplate(
            "finger-a",
            1,
            400,
            480,
            rng.integers(0, 90, 5).astype(np.int16),
            rng.integers(0, 90, 5).astype(np.int16),
            (2 * rng.integers(0, 2**15, 5)).astype(np.uint16),
            rng.integers(0, 101, 5).astype(np.uint8),
            rng.integers(-127, 128, 32).astype(np.int8),
            7,
        ),
        FaceTemplate("face-a", 2, (face / np.linalg.norm(face)).astype(np.float32)),
        IrisTemplate("iris-a", 3, 8, IrisCode(mask & np.uint64(0xFF00FF00FF00FF00), mask), IrisCode(long, long.copy())),
    ]


def resealed(data: bytes) -> bytes:
    """The bytes with a checksum that fits them."""
    return data[:-4] + struct.pack("<I", zlib.crc32(data[:-4]))


@given(templates)
def test_bytes_round_trip(template: Template) -> None:
    data = template.to_bytes()
    assert len(data) <= MAX_TEMPLATE_BYTES
    again = template_from_bytes(data)
    assert type(again) is type(template)
    assert (again.algorithm, again.version, again.modality) == (template.algorithm, template.version, template.modality)
    assert again == template
    assert hash(again) == hash(template)
    assert again.to_bytes() == data


def test_every_field_survives_exactly() -> None:
    finger, face, iris = (template_from_bytes(t.to_bytes()) for t in examples())
    first, second, third = examples()
    assert isinstance(finger, FingerTemplate)
    assert isinstance(first, FingerTemplate)
    assert (finger.width, finger.height) == (400, 480)
    for name in ("x", "y", "angle", "quality"):
        assert np.array_equal(getattr(finger, name), getattr(first, name))
        assert getattr(finger, name).dtype == getattr(first, name).dtype
    assert isinstance(face, FaceTemplate)
    assert isinstance(second, FaceTemplate)
    assert np.array_equal(face.embedding, second.embedding)
    assert isinstance(iris, IrisTemplate)
    assert isinstance(third, IrisTemplate)
    assert iris.columns == 8
    for code, other in ((iris.search, third.search), (iris.verification, third.verification)):
        assert np.array_equal(code.bits, other.bits)
        assert np.array_equal(code.mask, other.mask)


def test_the_bytes_are_those_of_the_documented_layout() -> None:
    face = examples()[1]
    assert isinstance(face, FaceTemplate)
    body = struct.pack("<64f", *face.embedding.tolist())
    head = b"AMBT" + bytes([1, 2]) + struct.pack("<H", 2) + bytes([6]) + b"face-a" + struct.pack("<I", 256)
    assert face.to_bytes() == head + body + struct.pack("<I", zlib.crc32(head + body))


@pytest.mark.parametrize("template", examples(), ids=lambda t: t.modality)
def test_every_truncation_is_refused(template: Template) -> None:
    data = template.to_bytes()
    for length in range(len(data)):
        with pytest.raises(TemplateInvalid):
            template_from_bytes(data[:length])


@pytest.mark.parametrize("template", examples(), ids=lambda t: t.modality)
def test_every_corruption_of_a_single_byte_is_refused(template: Template) -> None:
    data = template.to_bytes()
    for at in range(len(data)):
        for flip in (0x01, 0x80, 0xFF, 0x5A):
            damaged = bytearray(data)
            damaged[at] ^= flip
            with pytest.raises(TemplateInvalid):
                template_from_bytes(bytes(damaged))


@given(templates, st.binary(min_size=1, max_size=40))
def test_bytes_after_the_end_are_refused(template: Template, tail: bytes) -> None:
    with pytest.raises(TemplateInvalid):
        template_from_bytes(template.to_bytes() + tail)


@pytest.mark.parametrize("template", examples(), ids=lambda t: t.modality)
def test_truncations_and_corruptions_with_a_fitting_checksum_never_crash(template: Template) -> None:
    """An adversary can compute a checksum: what is read then is another valid template or refused, nothing else."""
    data = template.to_bytes()
    outcomes = []
    for at in range(len(data) - 4):
        for flip in (0x01, 0x80, 0xFF):
            damaged = bytearray(data)
            damaged[at] ^= flip
            outcomes.append(bytes(damaged))
        outcomes.append(data[:at] + data[at + 1 :])
    for hostile in outcomes:
        try:
            again = template_from_bytes(resealed(hostile))
        except TemplateInvalid:
            continue
        assert again.to_bytes() == resealed(hostile)


@given(st.binary(max_size=300))
@settings(max_examples=300)
def test_arbitrary_bytes_are_refused(data: bytes) -> None:
    for hostile in (data, b"AMBT" + data, b"AMBT\x01\x01\x01\x00" + data):
        with pytest.raises(TemplateInvalid):
            template_from_bytes(hostile)


@given(st.binary(max_size=200), st.sampled_from([0, 1, 2, 3, 4, 255]), st.binary(max_size=70))
def test_well_sealed_containers_of_arbitrary_content_never_crash(body: bytes, code: int, name: bytes) -> None:
    head = struct.pack("<4sBBHB", b"AMBT", 1, code, 7, len(name)) + name + struct.pack("<I", len(body)) + body
    data = head + struct.pack("<I", zlib.crc32(head))
    try:
        template = template_from_bytes(data)
    except TemplateInvalid:
        return
    assert template.to_bytes() == data


def test_more_than_the_limit_is_refused_before_it_is_read() -> None:
    with pytest.raises(TemplateInvalid, match="limit"):
        template_from_bytes(b"AMBT" + bytes(MAX_TEMPLATE_BYTES))


def test_the_largest_templates_fit_the_limit() -> None:
    e = np.zeros(4096, np.float32)
    e[0] = 1
    full = np.full(IrisCode.MAX_WORDS, 2**64 - 1, np.uint64)
    n = FingerTemplate.MAX_MINUTIAE
    z = np.zeros(n, np.int16)
    long_vector = np.full(FingerTemplate.MAX_VECTOR, -127, np.int8)
    large: list[Template] = [
        FaceTemplate("x" * 64, 1, e),
        IrisTemplate("x" * 64, 1, 1024, IrisCode(full, full.copy()), IrisCode(full.copy(), full.copy())),
        FingerTemplate("x" * 64, 1, 1, 1, z, z.copy(), z.astype(np.uint16), z.astype(np.uint8), long_vector, 0xFFFF),
    ]
    for template in large:
        assert template_from_bytes(template.to_bytes()) == template


def test_messages_of_other_versions_say_what_to_do() -> None:
    data = bytearray(examples()[0].to_bytes())
    data[4] = 9
    with pytest.raises(TemplateInvalid, match="version 9"):
        template_from_bytes(resealed(bytes(data)))
    data = bytearray(examples()[0].to_bytes())
    data[5] = 9
    with pytest.raises(TemplateInvalid, match="modality code 9"):
        template_from_bytes(resealed(bytes(data)))


def finger(**changes: object) -> FingerTemplate:
    fields: dict[str, object] = {
        "algorithm": "a",
        "version": 1,
        "width": 10,
        "height": 10,
        "x": np.zeros(3, np.int16),
        "y": np.zeros(3, np.int16),
        "angle": np.zeros(3, np.uint16),
        "quality": np.zeros(3, np.uint8),
    }
    return FingerTemplate(**{**fields, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "changes",
    [
        {"algorithm": ""},
        {"algorithm": "a" * 65},
        {"algorithm": "caf\u00e9"},
        {"algorithm": "a\n"},
        {"version": -1},
        {"version": 65536},
        {"width": 0},
        {"height": 8193},
        {"x": np.full(3, -1, np.int16)},
        {"y": np.full(3, 8192, np.int16)},
        {"angle": np.full(3, 1, np.uint16)},
        {"vector": np.zeros(32, np.int8)},
        {"vector": np.zeros(33, np.int8), "vector_model": 1},
        {"vector": np.full(32, -128, np.int8), "vector_model": 1},
        {"vector": np.zeros(32, np.float32), "vector_model": 1},
        {"vector_model": 1},
        {"vector": np.zeros(1056, np.int8), "vector_model": 1},
        {"x": np.zeros(2, np.int16)},
        {"x": np.zeros(3, np.int32)},
        {"y": np.zeros((3, 1), np.int16)},
        {"angle": np.zeros(3, np.float32)},
        {"quality": np.full(3, 101, np.uint8)},
    ],
    ids=str,
)
def test_inconsistent_fingers_are_refused(changes: dict[str, object]) -> None:
    with pytest.raises(TemplateInvalid):
        finger(**changes)


def test_more_minutiae_than_a_template_may_hold_are_refused() -> None:
    z = np.zeros(256, np.int16)
    with pytest.raises(TemplateInvalid, match="256 minutiae"):
        finger(x=z, y=z.copy(), angle=z.astype(np.uint16), quality=z.astype(np.uint8))


@pytest.mark.parametrize(
    "embedding",
    [
        np.zeros(512, np.float32),
        np.full(512, np.nan, np.float32),
        np.full(512, np.inf, np.float32),
        np.full(512, 1.0, np.float32),
        np.full(512, 512**-0.5, np.float64),
        np.full((1, 512), 512**-0.5, np.float32),
        np.full(63, 63**-0.5, np.float32),
        np.full(4097, 4097**-0.5, np.float32),
    ],
    ids=lambda e: f"{e.dtype}{e.shape}{e.flat[0]:.3g}",
)
def test_what_is_no_unit_vector_is_no_face(embedding: np.ndarray[tuple[int, ...], np.dtype[np.float32]]) -> None:
    with pytest.raises(TemplateInvalid):
        FaceTemplate("a", 1, embedding)


def iris_code(words: int) -> IrisCode:
    return IrisCode(np.zeros(words, np.uint64), np.ones(words, np.uint64))


def test_inconsistent_irises_are_refused() -> None:
    one = np.ones(2, np.uint64)
    for bits, mask in (
        (one, np.zeros(2, np.uint64)),
        (one, np.ones(3, np.uint64)),
        (np.zeros(0, np.uint64), np.zeros(0, np.uint64)),
        (np.zeros(1025, np.uint64), np.zeros(1025, np.uint64)),
        (one.astype(np.int64), one.copy()),
    ):
        with pytest.raises(TemplateInvalid):
            IrisCode(bits, mask)  # type: ignore[arg-type]
    IrisTemplate("a", 1, 16, iris_code(2), iris_code(16))
    for columns, short, long in ((4, 2, 16), (12, 3, 12), (2048, 256, 1024), (16, 1, 16), (16, 3, 16), (16, 2, 8)):
        with pytest.raises(TemplateInvalid):
            IrisTemplate("a", 1, columns, iris_code(short), iris_code(long))


@pytest.mark.parametrize("columns", [8, 128, 1024])
def test_spread_columns_begin_all_round_the_eye(columns: int) -> None:
    order = spread_columns(columns)
    assert sorted(order.tolist()) == list(range(columns))
    assert np.array_equal(order[order], np.arange(columns))
    for part in (2, 4, 8):
        assert sorted(order[:part].tolist()) == list(range(0, columns, columns // part))


@pytest.mark.parametrize("template", examples(), ids=lambda t: t.modality)
def test_arrays_cannot_be_written(template: Template) -> None:
    fields = list(vars(template_from_bytes(template.to_bytes())).values())
    fields += [field for code in fields if isinstance(code, IrisCode) for field in vars(code).values()]
    arrays = [field for field in fields if isinstance(field, np.ndarray)]
    assert arrays
    for array in arrays:
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0


def test_a_minutia_takes_six_bytes() -> None:
    z = np.zeros(9, np.int16)
    many = finger(x=z, y=z.copy(), angle=z.astype(np.uint16), quality=z.astype(np.uint8))
    assert len(many.payload()) - len(finger().payload()) == 6 * 6


@given(hnp.arrays(np.float64, 5, elements=st.floats(-50, 50)))
def test_angles_are_kept_to_a_32768th_of_a_turn(radians: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> None:
    code = FingerTemplate.encode_angle(radians)
    template = finger(
        **{k: np.zeros(5, t) for k, t in (("x", np.int16), ("y", np.int16), ("quality", np.uint8))}, angle=code
    )
    back = template.angle_radians
    assert (back >= 0).all()
    assert (back < 2 * np.pi).all()
    assert np.abs(np.exp(1j * back) - np.exp(1j * radians)).max() <= np.pi / 32768 + 1e-9


def test_templates_of_different_classes_and_content_are_unequal() -> None:
    finger_a, face_a, iris_a = examples()
    assert len({finger_a, face_a, iris_a, finger(), finger(version=2), finger(algorithm="b"), finger(width=11)}) == 7
    assert finger() == finger()
    assert finger() != "finger"
