"""Compiling with numba in a way that type checkers follow."""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
from collections.abc import Callable
from pathlib import Path
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


def keep_by_source(package: Path = Path(__file__).parent) -> None:
    """Has numba keep machine code in a folder whose name says which sources it was compiled from.

    A kernel holds the code of the kernels it calls and the constants of other files, but numba compiles it anew only
    when its own file changes: after an update it would go on with what the others were, and with new tables compute
    nonsense.

    The folder lies in the package's ``__pycache__``, in the user's cache or the system's folder of temporary files
    where that is not writable, or in ``NUMBA_CACHE_DIR``. Before the first kernel is made.
    """
    config: Any = numba.config
    digest = hashlib.blake2b(digest_size=8)
    for name, text in sorted(_compiled_from(package).items()):
        digest.update(f"{name}\0{len(text)}\0".encode() + text)
    folders = [package / "__pycache__", Path(os.path.expanduser("~/.cache/ambis"))]
    folders.append(Path(tempfile.gettempdir(), "ambis"))
    if config.CACHE_DIR:
        folders = [Path(config.CACHE_DIR)]
    config.CACHE_DIR = str(next(filter(_writable, folders), folders[-1]) / f"kernels-{digest.hexdigest()}")


def _compiled_from(package: Path) -> dict[str, bytes]:
    """Sources with kernels of a package and of the one beside it, and what they import of these, by name."""
    sources = {}
    for root in (package, package.parent / "enrollment"):
        for path in root.rglob("*.py"):
            name = path.relative_to(package.parent).with_suffix("")
            sources[".".join(name.parts)] = path.read_bytes()
    chosen = {name for name, text in sources.items() if b"numba" in text or b"matcher.compiled" in text}
    names = re.compile(rb"^from ([\w.]+) import", re.MULTILINE)
    imported = {imported.decode() for name in chosen for imported in names.findall(sources[name])}
    return {name: sources[name] for name in chosen | imported & sources.keys()}


def _writable(folder: Path) -> bool:
    """Whether a folder can be written to, or be made."""
    while not folder.exists():
        folder = folder.parent
    return os.access(folder, os.W_OK)


keep_by_source()


def kernel(function: _F) -> _F:
    """Compiles a function that holds no GIL; the machine code is kept (``keep_by_source``).

    No fast-math: the tests' references reproduce every bit of the float32 similarities.
    """
    return cast(_F, numba.njit(nogil=True, cache=True, error_model="numpy")(function))


def relaxed_kernel(*flags: str) -> Callable[[_F], _F]:
    """The same with some of LLVM's fast-math flags."""

    def compiled(function: _F) -> _F:
        return cast(_F, numba.njit(nogil=True, cache=True, error_model="numpy", fastmath=set(flags))(function))

    return compiled


def _popcount(typing_context: Any, word: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.ctpop(arguments[0])

    return types.uint64(types.uint64), generate


popcount: Callable[[Any], Any] = cast("Callable[[Any], Any]", intrinsic(_popcount))
"""Bits set in a uint64; within kernels only."""
