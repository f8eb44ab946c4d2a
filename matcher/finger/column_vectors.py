"""One cylinder of a reference beside sixteen of a probe at once, for use within the kernel of the first look.

LLVM leaves loops of sixteen rounds to single numbers, and the last rounds of longer ones, too. These are vectors on
every processor.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from llvmlite import ir
from numba import types
from numba.core import cgutils as untyped_cgutils
from numba.extending import intrinsic

from matcher.vector_code import loaded, place, spread

LANES = 16
_cgutils: Any = untyped_cgutils
_WORDS = ir.VectorType(ir.IntType(64), LANES)
_NUMBERS = ir.VectorType(ir.IntType(32), LANES)
_FLOATS = ir.VectorType(ir.FloatType(), LANES)


def _keep_least(
    typing_context: Any,
    cylinders: Any,
    at: Any,
    words: Any,
    columns: Any,
    directions: Any,
    inverse: Any,
    count: Any,
    toward: Any,
    reach: Any,
    least: Any,
    block: Any,
) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        _, at, words, columns, _, _, count, toward, reach, least, block = arguments
        kinds = signature.args

        def part(array: int, at: Any, vector: Any, align: int) -> Any:
            return loaded(context, builder, kinds[array], arguments[array], at, vector, align)

        width = builder.extract_value(context.make_array(kinds[3])(context, builder, columns).shape, 1)
        count_bits = _cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(_WORDS, [_WORDS]), f"llvm.ctpop.v{LANES}i64"
        )
        different = _cgutils.alloca_once_value(builder, ir.Constant(_WORDS, [0] * LANES))
        with _cgutils.for_range(builder, words) as loop:
            word = part(0, builder.add(at, loop.index), ir.IntType(64), 8)
            some = part(3, builder.add(builder.mul(loop.index, width), block), _WORDS, 8)
            bits = builder.call(count_bits, [builder.xor(some, spread(builder, word, _WORDS))])
            builder.store(builder.add(builder.load(different), bits), different)
        number = builder.sitofp(builder.trunc(builder.load(different), _NUMBERS), _FLOATS)
        quotient = builder.fmul(number, part(5, builder.add(builder.mul(count, width), block), _FLOATS, 4))
        between = builder.sub(spread(builder, toward, _NUMBERS), part(4, block, _NUMBERS, 4))
        between = builder.and_(between, ir.Constant(_NUMBERS, [0xFFFF] * LANES))
        before = part(9, block, _FLOATS, 4)
        less = builder.fcmp_ordered("<", quotient, before)
        less = builder.and_(less, builder.icmp_signed("<=", between, spread(builder, reach, _NUMBERS)))
        builder.store(
            builder.select(less, quotient, before), place(context, builder, kinds[9], least, block, _FLOATS), 4
        )
        return context.get_dummy_value()

    whole, short = types.int64, types.int32
    arrays = columns, directions, inverse
    return types.void(cylinders, whole, whole, *arrays, whole, short, short, least, whole), generate


keep_least: Callable[[Any, Any, Any, Any, Any, Any, Any, Any, Any, Any, Any], None] = cast(
    "Callable[[Any, Any, Any, Any, Any, Any, Any, Any, Any, Any, Any], None]", intrinsic(_keep_least)
)
"""(cylinders, at, words, columns, directions, inverse, count, toward, reach, least, block): lowers ``least[block + j]``
to ``d * inverse[count, block + j]``, d being how many bits of the cylinder ``cylinders[at : at + words]`` are other
than those of ``columns[:, block + j]``, where ``(toward - directions[block + j]) & 0xFFFF`` is not above ``reach``.

uint64[n], int64, int64, uint64[words, width], int32[width], float32[bits + 1, width], int64, int32, int32, float32[n],
int64; 16 columns at a time; nothing is checked."""
