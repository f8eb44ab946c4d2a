"""Denormal numbers flushed to zero for the length of one network's run, and for no one else.

Networks may hold denormal weights and make denormal activations, on which Intel processors are several times slower
(75 ms a face instead of 19 with the compact pack). onnxruntime's own ``session.set_denormal_as_zero`` is no answer for
sessions that compute on the caller's thread: it takes effect only where it is set on the first session of the process,
only for the thread that creates that session and those started by it, and there for good, so that all other arithmetic
of the process loses its denormals too (onnxruntime 1.32, tried; ``hypothesis`` refuses to work in such a process).

So the floating-point environment of the calling thread is changed around the run, with the C library's ``fegetenv`` and
``fesetenv`` (C11, 7.6.4). Where its layout is not known, nothing is done: results are the same, only slower.
"""

from __future__ import annotations

import contextlib
import ctypes
import ctypes.util
import platform
import sys
from collections.abc import Iterator
from typing import Any

_ENVIRONMENT_BYTES = 64
"""More than any fenv_t: 32 bytes on x86-64, 8 on AArch64."""

# Where the control word lies in glibc's fenv_t, and which bits of it flush denormals.
_LAYOUTS = {
    # MXCSR after the 28 bytes of the x87 environment: FTZ (bit 15) and DAZ (bit 6); Intel SDM volume 1, 10.2.3.
    "x86_64": (28, 0x8040),
    # FPCR: FZ (bit 24); Arm Architecture Reference Manual, C5.2.
    "aarch64": (0, 1 << 24),
}


def _library() -> Any:
    if not sys.platform.startswith("linux") or platform.libc_ver()[0] != "glibc":
        return None
    name = ctypes.util.find_library("m") or "libm.so.6"
    try:
        library = ctypes.CDLL(name)
        library.fegetenv, library.fesetenv  # noqa: B018  (AttributeError where they are missing)
    except (OSError, AttributeError):
        return None
    return library


_LAYOUT = _LAYOUTS.get(platform.machine())
_LIBM = _library() if _LAYOUT else None


def can_flush() -> bool:
    """Whether ``flushed_denormals`` does anything on this machine."""
    return _LIBM is not None


@contextlib.contextmanager
def flushed_denormals() -> Iterator[None]:
    """Within it, the calling thread's arithmetic takes and gives zero for denormal numbers; afterwards as before.

    Must be entered and left by one thread. A few microseconds.
    """
    if _LIBM is None or _LAYOUT is None:
        yield
        return
    before = (ctypes.c_uint8 * _ENVIRONMENT_BYTES)()
    within = (ctypes.c_uint8 * _ENVIRONMENT_BYTES)()
    _LIBM.fegetenv(before)
    ctypes.memmove(within, before, _ENVIRONMENT_BYTES)
    offset, bits = _LAYOUT
    control = ctypes.c_uint32.from_buffer(within, offset)
    control.value |= bits
    _LIBM.fesetenv(within)
    try:
        yield
    finally:
        _LIBM.fesetenv(before)
