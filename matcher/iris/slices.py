"""The first stage of the iris search over bit-sliced codes: 512 references in every bitwise operation.

The beginnings of 512 search codes lie transposed in a block: for each of their bits a vector of 512 bits that tells in
which references it is compared and 1, and one that tells in which it is compared and 0. For a probe at one rotation,
every bit that it compares agrees in the one vector and differs in the other, so that nothing has to be masked or
XORed, and the bits that it does not compare are left out. What agrees and what differs is counted in all lanes at once
by carry-save adders (S. Harley's population count; H. S. Warren, "Hacker's Delight", 2nd edition, 2013, section 5-1),
two operations a vector where the processor has AVX-512's ternary logic. That took a quarter of the time of counting
bits word by word.

Whether a reference is worth the second stage is decided bit-sliced too. Its score reaches the threshold t where of n
compared bits x more agree than differ with x^2 >= 4 n0 t^2 n. As a function of the differing bits, the least x that
does is concave; three straight lines (``least_agreement``) lie just below it, so that nothing is lost by them.

The vectors are written in LLVM's language, since LLVM makes none of its own along a loop that holds another.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any, cast

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils as untyped_cgutils
from numba.extending import intrinsic
from numpy.typing import NDArray

from matcher.compiled import kernel
from matcher.iris.parameters import CodeParameters

LANES = 512
"""References of a block: bits of a vector."""

LANE_WORDS = LANES // 64

LEVELS = 10
"""Binary digits of a count."""

MOST_BITS = 1 << LEVELS - 1
"""Bits of a code that can be counted with these digits while the lines do not overflow."""

PLANE = LANES // 8
"""Bytes of a vector."""

_SHIFTS = (1, 2, 3)
"""Slopes of the lines: 1/2 where few bits differ, 1/4, and 1/8 where many do."""

_STEP = 8
"""Of the search for the lines' ranges."""

_GROUPS = (32, 8)
"""Vectors that are added at a time."""

Words = NDArray[np.uint64]

cgutils: Any = untyped_cgutils

_WORD = ir.IntType(64)
_BYTE = ir.IntType(8)
_INT = ir.IntType(32)
VECTOR = ir.VectorType(_WORD, LANE_WORDS)


@functools.cache
def line_constants(code: CodeParameters, threshold: float) -> list[int]:
    """What is added to the lines, each as high as it may be with nothing lost that reaches the threshold.

    Raises:
        ValueError: the threshold is too near 0, or the code too long, to be found this way.
    """
    t = 4.0 * code.reference_bits * threshold * threshold
    # The least x with x^2 >= t (2 d + x), for every number d of differing bits at which there are so many.
    least = [max(0, math.ceil((t + math.sqrt(t * t + 8.0 * t * d)) / 2.0 - 1e-9)) for d in range(code.bits + 1)]
    least = [x for d, x in enumerate(least) if 2 * d + x <= code.bits]
    above = [[x - (d >> shift) for d, x in enumerate(least)] for shift in _SHIFTS]
    best: tuple[int, list[int]] | None = None
    # Each line serves a range of d; of the ways to divide them the one that lets least through, where most pairs lie.
    for cuts in itertools.combinations(range(1, len(least), _STEP), len(_SHIFTS) - 1):
        ranges = itertools.pairwise([0, *cuts, len(least)])
        constants = [min(those[begin:end]) for those, (begin, end) in zip(above, ranges, strict=True)]
        height = sum(least_agreement(d, constants) for d in range(code.bits // 4))
        if min(constants) >= 0 and (best is None or height > best[0]):
            best = height, constants
    if best is None or code.bits > MOST_BITS:
        raise ValueError(f"the first stage cannot look for a score of {threshold} in {code.bits} bits")
    return best[1]


def least_agreement(differing: int, constants: Sequence[int]) -> int:
    """How many more bits must agree than differ, where so many differ, for the second stage to look at a reference."""
    return min((differing >> shift) + c for shift, c in zip(_SHIFTS, constants, strict=True))


def digits(numbers: Sequence[int]) -> Words:
    """uint64[numbers, LEVELS], for each binary digit, lowest first, all ones or none."""
    every = (1 << 64) - 1
    return np.array([[every * (number >> level & 1) for level in range(LEVELS)] for number in numbers], np.uint64)


@kernel
def write_lanes(blocks: Words, first: int, codes: Words, masks: Words) -> None:
    """Writes references into lanes of which no bit is set yet, without touching the others.

    Args:
        blocks: uint64[blocks, bits + 1, 2, LANE_WORDS].
        first: row of the first reference.
        codes, masks: uint64[references, words or more], masked bits 0.
    """
    bits = blocks.shape[1] - 1
    for i in range(codes.shape[0]):
        block, lane = divmod(first + i, LANES)
        word, place = lane // 64, np.uint64(lane % 64)
        for b in range(bits):
            at = np.uint64(b % 64)
            compared = codes[i, b // 64] >> at & np.uint64(1), masks[i, b // 64] >> at & np.uint64(1)
            blocks[block, b, 0, word] |= compared[0] << place
            blocks[block, b, 1, word] |= (compared[1] ^ compared[0]) << place


@kernel
def list_planes(bits: Words, masks: Words, offsets: NDArray[np.int32], lengths: NDArray[np.int64]) -> None:
    """For each rotation, where in a block the vectors of what agrees with the probe lie.

    Args:
        bits, masks: uint64[rotations, words].
        offsets: int32[rotations, 64 words + 8], is filled with bytes from the block's beginning. What differs lies
            ``PLANE`` bytes beside.
        lengths: int64[rotations], how many there are: a multiple of 8, the last ones being the block's empty vectors.
    """
    total = 64 * bits.shape[1]
    for r in range(bits.shape[0]):
        n = 0
        for b in range(total):
            at = np.uint64(b % 64)
            if masks[r, b // 64] >> at & np.uint64(1):
                one = bits[r, b // 64] >> at & np.uint64(1)
                offsets[r, n] = (2 * b + (0 if one else 1)) * PLANE
                n += 1
        while n % 8:
            offsets[r, n] = 2 * total * PLANE
            n += 1
        lengths[r] = n


class _Vectors:
    """Bitwise operations on vectors as LLVM instructions."""

    def __init__(self, context: Any, builder: Any) -> None:
        self.builder = builder
        self._ternary: Any = None
        if "+avx512f" in context.codegen().magic_tuple()[2]:
            name = "llvm.x86.avx512.pternlog.q.512"
            kind = ir.FunctionType(VECTOR, [VECTOR, VECTOR, VECTOR, _INT])
            self._ternary = cgutils.get_or_insert_function(builder.module, kind, name)

    def parity(self, a: Any, b: Any, c: Any) -> Any:
        """a ^ b ^ c."""
        if self._ternary is not None:
            return self.builder.call(self._ternary, [a, b, c, _INT(0x96)])
        return self.builder.xor(self.builder.xor(a, b), c)

    def majority(self, a: Any, b: Any, c: Any) -> Any:
        """1 where at least two of them are."""
        if self._ternary is not None:
            return self.builder.call(self._ternary, [a, b, c, _INT(0xE8)])
        differ = self.builder.xor(a, b)
        return self.builder.xor(a, self.builder.and_(differ, self.builder.xor(a, c)))

    def zero(self) -> Any:
        """No bit set."""
        return ir.Constant(VECTOR, [0] * LANE_WORDS)

    def invert(self, a: Any) -> Any:
        """~a."""
        return self.builder.xor(a, ir.Constant(VECTOR, [-1] * LANE_WORDS))

    def load(self, address: Any) -> Any:
        """A vector at an address of bytes or words, aligned to words."""
        return self.builder.load(self.builder.bitcast(address, VECTOR.as_pointer()), align=8)

    def store(self, vector: Any, address: Any) -> None:
        """See ``load``."""
        self.builder.store(vector, self.builder.bitcast(address, VECTOR.as_pointer()), align=8)

    def splat(self, word: Any) -> Any:
        """A word in every lane."""
        one = self.builder.insert_element(ir.Constant(VECTOR, ir.Undefined), word, _INT(0))
        mask = ir.Constant(ir.VectorType(_INT, LANE_WORDS), [0] * LANE_WORDS)
        return self.builder.shuffle_vector(one, ir.Constant(VECTOR, ir.Undefined), mask)

    def add(self, a: Sequence[Any], b: Sequence[Any]) -> list[Any]:
        """The sum of two bit-sliced numbers."""
        carry, total = self.zero(), []
        for x, y in zip(a, b, strict=True):
            total.append(self.parity(x, y, carry))
            carry = self.majority(x, y, carry)
        return total

    def shifted(self, a: Sequence[Any], by: int) -> list[Any]:
        """A bit-sliced number divided by a power of two."""
        return [*a[by:], *[self.zero()] * by]

    def at_least(self, a: Sequence[Any], b: Sequence[Any]) -> Any:
        """1 where a >= b."""
        # The carry of a + ~b + 1.
        carry = ir.Constant(VECTOR, [-1] * LANE_WORDS)
        for x, y in zip(a, b, strict=True):
            carry = self.majority(x, self.invert(y), carry)
        return carry


def _count(v: _Vectors, planes: Any, offsets: Any, length: Any, flip: int) -> list[Any]:
    """The bit-sliced numbers of ones in the vectors at these offsets, each XORed with ``flip``."""
    builder = v.builder
    counts = [cgutils.alloca_once_value(builder, v.zero()) for _ in range(LEVELS)]
    at = cgutils.alloca_once(builder, length.type)
    for count in counts:
        builder.store(v.zero(), count)
    builder.store(ir.Constant(length.type, 0), at)

    def carry_of(begin: Any, first: int, level: int) -> Any:
        """Adds 2^level vectors to the digits below that level; what is carried on."""
        if level == 0:
            place = builder.gep(offsets, [builder.add(begin, ir.Constant(begin.type, first))])
            offset = builder.xor(builder.zext(builder.load(place), _WORD), _WORD(flip))
            return v.load(builder.gep(planes, [offset]))
        digit, half = counts[level - 1], 1 << level - 1
        parts = carry_of(begin, first, level - 1), carry_of(begin, first + half, level - 1)
        before = builder.load(digit)
        builder.store(v.parity(before, *parts), digit)
        return v.majority(before, *parts)

    for size in _GROUPS:
        head, body, after = (builder.append_basic_block() for _ in range(3))
        builder.branch(head)
        builder.position_at_end(head)
        begin = builder.load(at)
        end = builder.add(begin, ir.Constant(begin.type, size))
        builder.cbranch(builder.icmp_signed("<=", end, length), body, after)
        builder.position_at_end(body)
        level = size.bit_length() - 1
        carry = carry_of(begin, 0, level)
        for digit in counts[level:]:
            before = builder.load(digit)
            builder.store(builder.xor(before, carry), digit)
            carry = builder.and_(before, carry)
        builder.store(end, at)
        builder.branch(head)
        builder.position_at_end(after)
    return [builder.load(count) for count in counts]


def _compare_rotation(
    typing: Any, planes: Any, offsets: Any, length: Any, constants: Any, passing: Any, judged: Any
) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        data = [
            context.make_array(kind)(context, builder, value).data if isinstance(kind, types.Array) else value
            for kind, value in zip(signature.args, arguments, strict=True)
        ]
        v = _Vectors(context, builder)
        base = builder.bitcast(data[0], _BYTE.as_pointer())
        agreeing = _count(v, base, data[1], data[2], 0)
        differing = _count(v, base, data[1], data[2], PLANE)

        def constant(number: int) -> list[Any]:
            return [v.splat(builder.load(builder.gep(data[3], [_INT(number * LEVELS + k)]))) for k in range(LEVELS)]

        worth = v.zero()
        for number, shift in enumerate(_SHIFTS):
            least = v.add(v.add(differing, constant(number)), v.shifted(differing, shift))
            worth = builder.or_(worth, v.at_least(agreeing, least))
        v.store(worth, data[4])
        enough = v.at_least(v.add(agreeing, differing), constant(len(_SHIFTS)))
        v.store(builder.or_(v.load(data[5]), enough), data[5])
        return context.get_dummy_value()

    return types.void(planes, offsets, length, constants, passing, judged), generate


compare_rotation = cast(
    "Callable[[Words, NDArray[np.int32], int, Words, Words, Words], None]", intrinsic(_compare_rotation)
)
"""Which of a block's references a probe at one rotation is like; within kernels only.

Args:
    planes: uint64[bits + 1, 2, LANE_WORDS], a block.
    offsets, length: as ``list_planes`` gives them.
    constants: ``digits`` of the lines' constants and of the least number of compared bits.
    passing: uint64[LANE_WORDS], gets a 1 where the second stage is to look.
    judged: uint64[LANE_WORDS], gets a 1 besides where enough bits were compared.
"""
