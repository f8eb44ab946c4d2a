"""Compiling with numba in a way that type checkers follow."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import llvmlite.binding
import numba
from numba import types
from numba.extending import intrinsic

_F = TypeVar("_F", bound=Callable[..., Any])


def use_widest_vectors() -> None:
    """Lets LLVM use the widest vectors of a processor that counts bits in them (AVX-512 VPOPCNTDQ).

    For most Intel processors LLVM prefers half their width, which other code may like better; kernels that count bits
    ran 1.1 to 1.6 times faster without that. Does nothing where the operator has chosen (``NUMBA_CPU_NAME``), and
    on other processors. Before the first kernel is compiled; numba keeps machine code apart by these features.
    """
    config: Any = numba.config
    if config.CPU_FEATURES is None and config.CPU_NAME is None:
        features = llvmlite.binding.get_host_cpu_features()
        if features.get("avx512vpopcntdq"):
            config.CPU_FEATURES = f"{features.flatten()},-prefer-256-bit"


use_widest_vectors()


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
