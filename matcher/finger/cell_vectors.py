"""Arithmetic on eight cells or layers of a cylinder at once, and on the 64 cells of a layer, for use within kernels.

LLVM unrolls loops of eight rounds rather than make vectors of them, and leaves the last rounds of longer ones to single
numbers. These are vectors on every processor; each operation is rounded by itself, as in a loop.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from matcher.vector_code import loaded, place, spread

EIGHT = 8
LAYER_CELLS = 64
NEAR = 4
"""Cells along an axis that a neighbour may contribute to: the polynomials of ``near_polynomials``."""
DEGREE = 4
"""Of the polynomials."""
_DOUBLE, _LONG = ir.DoubleType(), ir.IntType(64)
_EIGHT = ir.VectorType(_DOUBLE, EIGHT)


def _loaded(context: Any, builder: Any, kind: Any, array: Any, at: Any, lanes: int = EIGHT) -> Any:
    return loaded(context, builder, kind, array, at, ir.VectorType(_DOUBLE, lanes), 8)


def _word(builder: Any, truths: Any) -> Any:
    lanes = truths.type.count
    word = builder.bitcast(truths, ir.IntType(lanes))
    return word if lanes == LAYER_CELLS else builder.zext(word, _LONG)


def _nearer(builder: Any, some: Any, limit: Any, least: float) -> Any:
    """Whether |some - limit| < least; no number is a NaN."""
    apart = builder.fsub(some, limit)
    lanes = apart.type.count
    below = builder.fcmp_ordered("<", apart, ir.Constant(apart.type, [least] * lanes))
    return builder.and_(below, builder.fcmp_ordered(">", apart, ir.Constant(apart.type, [-least] * lanes)))


def _add_multiple(typing_context: Any, sums: Any, at: Any, factor: Any, values: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        sums, at, factor, values = arguments
        there = place(context, builder, signature.args[0], sums, at, _EIGHT)
        some = _loaded(context, builder, signature.args[3], values, _LONG(0))
        more = builder.fmul(some, spread(builder, factor, _EIGHT))
        builder.store(builder.fadd(builder.load(there, align=8), more), there, 8)
        return context.get_dummy_value()

    return types.void(sums, types.int64, types.float64, values), generate


add_multiple: Callable[[Any, Any, Any, Any], None] = cast(
    "Callable[[Any, Any, Any, Any], None]", intrinsic(_add_multiple)
)
"""(sums, at, factor, values): adds ``values[i] * factor`` to ``sums[at + i]``, eight numbers of float64[n] each."""


def _polynomials(lanes: int) -> Callable[[Any, Any, Any, Any, Any], None]:
    def typed(typing_context: Any, table: Any, at: Any, x: Any, out: Any, begin: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            table, at, x, out, begin = arguments
            point = spread(builder, x, ir.VectorType(_DOUBLE, lanes))
            value = _loaded(context, builder, signature.args[0], table, at, lanes)
            for power in range(1, DEGREE + 1):
                there = builder.add(at, _LONG(power * lanes))
                term = _loaded(context, builder, signature.args[0], table, there, lanes)
                value = builder.fadd(builder.fmul(value, point), term)
            builder.store(value, place(context, builder, signature.args[3], out, begin, value.type), 8)
            return context.get_dummy_value()

        return types.void(table, types.int64, types.float64, out, types.int64), generate

    return cast("Callable[[Any, Any, Any, Any, Any], None]", intrinsic(typed))


near_polynomials, eight_polynomials = _polynomials(NEAR), _polynomials(EIGHT)
"""(table, at, x, out, begin): ``NEAR`` or eight polynomials of ``x``, whose coefficients of one power stand together
from ``at`` on, the highest first; to ``out[begin + i]``."""


def _near_cells(
    typing_context: Any,
    places: Any,
    other: Any,
    square: Any,
    reach: Any,
    gaussians: Any,
    begin: Any,
    gaussian: Any,
    base: Any,
    out: Any,
) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        places, other, square, reach, gaussians, begin, gaussian, base, out = arguments
        kinds = signature.args
        b = builder.fsub(spread(builder, other, _EIGHT), _loaded(context, builder, kinds[0], places, _LONG(0)))
        apart = builder.fadd(spread(builder, square, _EIGHT), builder.fmul(b, b))
        value = builder.fmul(spread(builder, gaussian, _EIGHT), _loaded(context, builder, kinds[4], gaussians, begin))
        limit = spread(builder, reach, _EIGHT)
        there = builder.bitcast(builder.trunc(base, ir.IntType(EIGHT)), ir.VectorType(ir.IntType(1), EIGHT))
        near = builder.and_(builder.fcmp_ordered("<=", apart, limit), there)
        value = builder.select(near, value, ir.Constant(value.type, [0.0] * EIGHT))
        builder.store(value, place(context, builder, kinds[8], out, _LONG(0), _EIGHT), 8)
        return _word(builder, builder.and_(_nearer(builder, apart, limit, 1e-9), there))

    f = types.float64
    return types.uint64(places, f, f, f, gaussians, types.int64, f, types.uint64, out), generate


near_cells: Callable[[Any, Any, Any, Any, Any, Any, Any, Any, Any], Any] = cast(
    "Callable[[Any, Any, Any, Any, Any, Any, Any, Any, Any], Any]", intrinsic(_near_cells)
)
"""(places, other, square, reach, gaussians, begin, gaussian, base, out): the spatial part of a neighbour's contribution
to a row of cells, float64[8] to ``out``: ``gaussian * gaussians[begin + i]`` where ``square + (other - places[i])**2``
is not above ``reach`` and bit i of ``base`` is set, 0 elsewhere. Returns at which set bits it is within 1e-9 of it."""


def _above(typing_context: Any, numbers: Any, at: Any, limit: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        numbers, at, limit = arguments
        some = _loaded(context, builder, signature.args[0], numbers, at, LAYER_CELLS)
        return _word(builder, builder.fcmp_ordered(">", some, spread(builder, limit, some.type)))

    return types.uint64(numbers, types.int64, types.float64), generate


above: Callable[[Any, Any, Any], Any] = cast("Callable[[Any, Any, Any], Any]", intrinsic(_above))
"""(numbers, at, limit): bit i is set where ``numbers[at + i] > limit``; 64 numbers of float64[n]."""


def _close(typing_context: Any, numbers: Any, at: Any, limit: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        numbers, at, limit = arguments
        some = _loaded(context, builder, signature.args[0], numbers, at, LAYER_CELLS)
        return _word(builder, _nearer(builder, some, spread(builder, limit, some.type), 1e-12))

    return types.uint64(numbers, types.int64, types.float64), generate


close: Callable[[Any, Any, Any], Any] = cast("Callable[[Any, Any, Any], Any]", intrinsic(_close))
"""The same, where ``numbers[at + i]`` is within 1e-12 of ``limit``."""
