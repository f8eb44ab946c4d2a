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

LANES = 16
_cgutils: Any = untyped_cgutils
_WORDS = ir.VectorType(ir.IntType(64), LANES)
_NUMBERS = ir.VectorType(ir.IntType(32), LANES)
_FLOATS = ir.VectorType(ir.FloatType(), LANES)


def _place(context: Any, builder: Any, kind: Any, array: Any, at: Any, vector: Any) -> Any:
    data = builder.gep(context.make_array(kind)(context, builder, array).data, [at])
    return builder.bitcast(data, vector.as_pointer())


def _all(builder: Any, value: Any, vector: Any) -> Any:
    first = builder.insert_element(ir.Constant(vector, ir.Undefined), value, ir.IntType(32)(0))
    return builder.shuffle_vector(first, first, ir.Constant(_NUMBERS, [0] * LANES))


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

        def loaded(array: int, place: Any, vector: Any, align: int) -> Any:
            return builder.load(_place(context, builder, kinds[array], arguments[array], place, vector), align=align)

        width = builder.extract_value(context.make_array(kinds[3])(context, builder, columns).shape, 1)
        count_bits = _cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(_WORDS, [_WORDS]), f"llvm.ctpop.v{LANES}i64"
        )
        different = _cgutils.alloca_once_value(builder, ir.Constant(_WORDS, [0] * LANES))
        builder.store(ir.Constant(_WORDS, [0] * LANES), different)
        with _cgutils.for_range(builder, words) as loop:
            word = loaded(0, builder.add(at, loop.index), ir.IntType(64), 8)
            some = loaded(3, builder.add(builder.mul(loop.index, width), block), _WORDS, 8)
            bits = builder.call(count_bits, [builder.xor(some, _all(builder, word, _WORDS))])
            builder.store(builder.add(builder.load(different), bits), different)
        number = builder.sitofp(builder.trunc(builder.load(different), _NUMBERS), _FLOATS)
        quotient = builder.fmul(number, loaded(5, builder.add(builder.mul(count, width), block), _FLOATS, 4))
        between = builder.sub(_all(builder, toward, _NUMBERS), loaded(4, block, _NUMBERS, 4))
        between = builder.and_(between, ir.Constant(_NUMBERS, [0xFFFF] * LANES))
        before = loaded(9, block, _FLOATS, 4)
        less = builder.fcmp_ordered("<", quotient, before)
        less = builder.and_(less, builder.icmp_signed("<=", between, _all(builder, reach, _NUMBERS)))
        builder.store(
            builder.select(less, quotient, before), _place(context, builder, kinds[9], least, block, _FLOATS), 4
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
