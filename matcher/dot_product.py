"""The inner product of a row of unsigned with a row of signed 8-bit numbers, in 32 bits, for use within kernels.

With AVX-512 VNNI it is made of ``vpdpbusd``, which multiplies 64 pairs and adds them in groups of four without
saturating; LLVM finds that instruction in no loop that numba can write (it makes ``vpmaddwd`` or ``vpdpwssd`` of it, at
a third of the speed in cache), so it is asked for by name. Elsewhere the loop stands.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import llvmlite.binding
import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils as untyped_cgutils
from numba.extending import intrinsic

_F = TypeVar("_F", bound=Callable[..., Any])

_cgutils: Any = untyped_cgutils
_WIDTH = 64
"""Bytes of a vector."""


def _inlined(function: _F) -> _F:
    """Compiles a function into those that call it: a call for each row costs more than its product."""
    return cast(_F, numba.njit(inline="always", error_model="numpy")(function))


def has_vnni() -> bool:
    """Whether kernels are compiled for AVX-512 VNNI."""
    chosen: Any = numba.config
    if chosen.CPU_FEATURES is not None or chosen.CPU_NAME is not None:
        return "+avx512vnni" in (chosen.CPU_FEATURES or "").split(",")
    return bool(llvmlite.binding.get_host_cpu_features().get("avx512vnni"))


def _by_vectors(typing_context: Any, row: Any, query: Any) -> Any:
    """(uint8[d], int8[d]) -> int32, 0 where there is less than a vector in them; both contiguous."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        vector = ir.VectorType(ir.IntType(8), _WIDTH)
        sums = ir.VectorType(ir.IntType(32), _WIDTH // 4)
        arrays = [
            context.make_array(kind)(context, builder, value)
            for kind, value in zip(signature.args, arguments, strict=True)
        ]
        multiply = _cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(sums, [sums, vector, vector]), "llvm.x86.avx512.vpdpbusd.512"
        )
        add = _cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(ir.IntType(32), [sums]), "llvm.vector.reduce.add.v16i32"
        )
        total = _cgutils.alloca_once_value(builder, ir.Constant(sums, [0] * (_WIDTH // 4)))
        length = builder.extract_value(arrays[0].shape, 0)
        with _cgutils.for_range(builder, builder.udiv(length, length.type(_WIDTH))) as loop:
            offset = builder.mul(loop.index, length.type(_WIDTH))
            loaded = [
                builder.load(builder.bitcast(builder.gep(array.data, [offset]), vector.as_pointer()), align=1)
                for array in arrays
            ]
            builder.store(builder.call(multiply, [builder.load(total), *loaded]), total)
        rest = builder.urem(length, length.type(_WIDTH))
        usable = builder.and_(
            builder.icmp_unsigned(">", rest, length.type(0)),
            builder.icmp_unsigned(">=", length, length.type(_WIDTH)),
        )
        with builder.if_then(usable):
            # The last whole vector once more, with 0 for those of the query that have been multiplied.
            offset = builder.sub(length, length.type(_WIDTH))
            loaded = [
                builder.load(builder.bitcast(builder.gep(array.data, [offset]), vector.as_pointer()), align=1)
                for array in arrays
            ]
            done = builder.trunc(builder.sub(length.type(_WIDTH), rest), ir.IntType(8))
            first = builder.insert_element(ir.Constant(vector, [0] * _WIDTH), done, ir.IntType(32)(0))
            places = ir.Constant(ir.VectorType(ir.IntType(32), _WIDTH), [0] * _WIDTH)
            wanted = builder.icmp_unsigned(
                ">=", ir.Constant(vector, list(range(_WIDTH))), builder.shuffle_vector(first, first, places)
            )
            query_rest = builder.select(wanted, loaded[1], ir.Constant(vector, [0] * _WIDTH))
            builder.store(builder.call(multiply, [builder.load(total), loaded[0], query_rest]), total)
        return builder.call(add, [builder.load(total)])

    return types.int32(row, query), generate


def _by_lines(typing_context: Any, row: Any) -> Any:
    """(uint8[d]) -> None: asks for the lines of the cache in which a row lies."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array = context.make_array(signature.args[0])(context, builder, arguments[0])
        byte, word = ir.IntType(8).as_pointer(), ir.IntType(32)
        ask = _cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(ir.VoidType(), [byte, word, word, word]), "llvm.prefetch.p0"
        )
        length = builder.extract_value(array.shape, 0)
        with _cgutils.for_range(builder, builder.udiv(length, length.type(_WIDTH))) as loop:
            line = builder.gep(array.data, [builder.mul(loop.index, length.type(_WIDTH))])
            # To be read, and soon again; of data.
            builder.call(ask, [line, word(0), word(3), word(1)])
        return context.get_dummy_value()

    return types.void(row), generate


prefetch: Callable[[Any], Any] = cast("Callable[[Any], Any]", intrinsic(_by_lines))
"""Within kernels: has a contiguous uint8[d] brought into the cache while something else is computed."""


if has_vnni():
    _vectors = cast("Callable[[Any, Any], Any]", intrinsic(_by_vectors))

    @_inlined
    def dot(row: Any, query: Any) -> Any:
        """Inner product of uint8[d] and int8[d], both contiguous: int32."""
        total = _vectors(row, query)
        if len(query) < _WIDTH:
            for k in range(len(query)):
                total = np.int32(total + np.int32(row[k]) * np.int32(query[k]))
        return total

else:

    @_inlined
    def dot(row: Any, query: Any) -> Any:
        """Inner product of uint8[d] and int8[d], both contiguous: int32."""
        total = np.int32(0)
        for k in range(len(query)):
            total = np.int32(total + np.int32(row[k]) * np.int32(query[k]))
        return total
