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

EIGHT = 8
LAYER = 64
DEGREE = 4
"""Of the polynomials."""
_DOUBLE, _LONG = ir.DoubleType(), ir.IntType(64)


def _place(context: Any, builder: Any, kind: Any, array: Any, at: Any, lanes: int = EIGHT) -> Any:
    data = builder.gep(context.make_array(kind)(context, builder, array).data, [at])
    return builder.bitcast(data, ir.VectorType(_DOUBLE, lanes).as_pointer())


def _loaded(context: Any, builder: Any, kind: Any, array: Any, at: Any, lanes: int = EIGHT) -> Any:
    return builder.load(_place(context, builder, kind, array, at, lanes), align=8)


def _all(builder: Any, value: Any, lanes: int = EIGHT) -> Any:
    vector, places = ir.VectorType(_DOUBLE, lanes), ir.VectorType(ir.IntType(32), lanes)
    first = builder.insert_element(ir.Constant(vector, ir.Undefined), value, ir.IntType(32)(0))
    return builder.shuffle_vector(first, first, ir.Constant(places, [0] * lanes))


def _word(builder: Any, truths: Any) -> Any:
    lanes = truths.type.count
    word = builder.bitcast(truths, ir.IntType(lanes))
    return word if lanes == LAYER else builder.zext(word, _LONG)


def _nearer(builder: Any, some: Any, limit: Any, least: float) -> Any:
    """Whether |some - limit| < least; no number is a NaN."""
    apart = builder.fsub(some, limit)
    lanes = apart.type.count
    below = builder.fcmp_ordered("<", apart, ir.Constant(apart.type, [least] * lanes))
    return builder.and_(below, builder.fcmp_ordered(">", apart, ir.Constant(apart.type, [-least] * lanes)))


def _add_multiple(typing_context: Any, sums: Any, at: Any, factor: Any, values: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        sums, at, factor, values = arguments
        place = _place(context, builder, signature.args[0], sums, at)
        some = _loaded(context, builder, signature.args[3], values, _LONG(0))
        builder.store(builder.fadd(builder.load(place, align=8), builder.fmul(some, _all(builder, factor))), place, 8)
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
            point = _all(builder, x, lanes)
            value = _loaded(context, builder, signature.args[0], table, at, lanes)
            for power in range(1, DEGREE + 1):
                there = builder.add(at, _LONG(power * lanes))
                term = _loaded(context, builder, signature.args[0], table, there, lanes)
                value = builder.fadd(builder.fmul(value, point), term)
            builder.store(value, _place(context, builder, signature.args[3], out, begin, lanes), 8)
            return context.get_dummy_value()

        return types.void(table, types.int64, types.float64, out, types.int64), generate

    return cast("Callable[[Any, Any, Any, Any, Any], None]", intrinsic(typed))


four_polynomials, eight_polynomials = _polynomials(4), _polynomials(EIGHT)
"""(table, at, x, out, begin): four or eight polynomials of ``x``, whose coefficients of one power stand together from
``at`` on, the highest first; to ``out[begin + i]``."""


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
        b = builder.fsub(_all(builder, other), _loaded(context, builder, kinds[0], places, _LONG(0)))
        apart = builder.fadd(_all(builder, square), builder.fmul(b, b))
        value = builder.fmul(_all(builder, gaussian), _loaded(context, builder, kinds[4], gaussians, begin))
        limit = _all(builder, reach)
        there = builder.bitcast(builder.trunc(base, ir.IntType(EIGHT)), ir.VectorType(ir.IntType(1), EIGHT))
        near = builder.and_(builder.fcmp_ordered("<=", apart, limit), there)
        value = builder.select(near, value, ir.Constant(value.type, [0.0] * EIGHT))
        builder.store(value, _place(context, builder, kinds[8], out, _LONG(0)), 8)
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
        some = _loaded(context, builder, signature.args[0], numbers, at, LAYER)
        return _word(builder, builder.fcmp_ordered(">", some, _all(builder, limit, LAYER)))

    return types.uint64(numbers, types.int64, types.float64), generate


above: Callable[[Any, Any, Any], Any] = cast("Callable[[Any, Any, Any], Any]", intrinsic(_above))
"""(numbers, at, limit): bit i is set where ``numbers[at + i] > limit``; 64 numbers of float64[n]."""


def _close(typing_context: Any, numbers: Any, at: Any, limit: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        numbers, at, limit = arguments
        some = _loaded(context, builder, signature.args[0], numbers, at, LAYER)
        return _word(builder, _nearer(builder, some, _all(builder, limit, LAYER), 1e-12))

    return types.uint64(numbers, types.int64, types.float64), generate


close: Callable[[Any, Any, Any], Any] = cast("Callable[[Any, Any, Any], Any]", intrinsic(_close))
"""The same, where ``numbers[at + i]`` is within 1e-12 of ``limit``."""
