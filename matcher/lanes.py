"""Comparison of 64 whole numbers with their limits at once, and the largest of many, for use within kernels.

A loop over them either looks at each or tells only that there is one; of a vector of truth values LLVM makes a word,
with one instruction for 16 of them where the processor has AVX-512.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from matcher.compiled import relaxed_kernel
from matcher.vector_code import loaded, spread

LANES = 64
_NUMBERS = ir.VectorType(ir.IntType(32), LANES)


def _reached(typing_context: Any, numbers: Any, at: Any, limits: Any, begin: Any) -> Any:
    """(int32[n], int64, int32[m], int64) -> uint64; both contiguous."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kinds, (numbers, at, limits, begin) = signature.args, arguments
        some = loaded(context, builder, kinds[0], numbers, at, _NUMBERS, 4)
        least = loaded(context, builder, kinds[2], limits, begin, _NUMBERS, 4)
        return builder.bitcast(builder.icmp_signed(">=", some, least), ir.IntType(LANES))

    return types.uint64(numbers, types.int64, limits, types.int64), generate


reached: Callable[[Any, Any, Any, Any], Any] = cast("Callable[[Any, Any, Any, Any], Any]", intrinsic(_reached))
"""(numbers, at, limits, begin): bit i is set where ``numbers[at + i] >= limits[begin + i]``. 64 of each are read,
whatever the lengths of the arrays say."""


def _all_reached(typing_context: Any, numbers: Any, at: Any, limit: Any) -> Any:
    """(int32[n], int64, int32) -> uint64; contiguous."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array, offset, limit = arguments
        some = loaded(context, builder, signature.args[0], array, offset, _NUMBERS, 4)
        reached = builder.icmp_signed(">=", some, spread(builder, limit, _NUMBERS))
        return builder.bitcast(reached, ir.IntType(LANES))

    return types.uint64(numbers, types.int64, types.int32), generate


all_reached: Callable[[Any, Any, Any], Any] = cast("Callable[[Any, Any, Any], Any]", intrinsic(_all_reached))
"""(numbers, at, limit): as ``reached``, with one limit for all."""


def _lowest(typing_context: Any, word: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.cttz(arguments[0], ir.IntType(1)(1))

    return types.uint64(types.uint64), generate


lowest: Callable[[Any], Any] = cast("Callable[[Any], Any]", intrinsic(_lowest))
"""The number of the lowest bit that is set in a uint64, which must not be 0."""


@relaxed_kernel("nnan", "nsz")
def largest(values: Any, first: Any, last: Any) -> Any:
    """Of numbers first..last of float32[n], all >= 0; several are looked at at once, since none of them is NaN."""
    most = np.float32(0)
    for i in range(first, last):
        most = values[i] if values[i] > most else most
    return most
