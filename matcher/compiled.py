"""Compiling with numba in a way that type checkers follow."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba
from numba import types
from numba.extending import intrinsic

_F = TypeVar("_F", bound=Callable[..., Any])


def kernel(function: _F) -> _F:
    """Compiles a function that holds no GIL; the machine code is cached beside the source where that is writable.

    No fast-math: the tests' references reproduce every bit of the float32 similarities.
    """
    return cast(_F, numba.njit(nogil=True, cache=True, error_model="numpy")(function))


def _popcount(typing_context: Any, word: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.ctpop(arguments[0])

    return types.uint64(types.uint64), generate


popcount: Callable[[Any], Any] = cast("Callable[[Any], Any]", intrinsic(_popcount))
"""Bits set in a uint64; within kernels only."""
