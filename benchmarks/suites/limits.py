"""What the machine can do at most, measured in the run itself, and how far a benchmark is from that.

A search must read its bytes once a batch, and do its multiplications or count its bits; whichever takes longest at the
machine's measured rate is the limit. The rates are measured with as many threads as the search may use, side by side:

- bytes: a sum over an array 16 times as large as what usual caches hold;
- int8 products: onnxruntime's ``MatMulInteger`` (VNNI or AMX where there are any) on tiles that stay in cache;
- bit counts: a kernel that counts the bits of words that stay in the first cache.

These are rates of programs, not of data sheets: a limit may be beaten by a little.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from time import perf_counter
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray

from matcher.compiled import kernel, popcount

READ_BYTES = 512 << 20
"""Over all threads: more than any cache here holds."""
COUNTED_WORDS = 1024
"""8 KiB: in the first cache."""
TILE = (256, 512, 2048)
"""Rows, depth and columns of the int8 product: 1.6 MiB with its result."""
ROUNDS = 5


@dataclasses.dataclass(frozen=True)
class Limits:
    """Rates of ``threads`` threads together.

    Attributes:
        read_bytes: bytes read from memory a second.
        int8_products: multiplications, each with its addition, of 8-bit numbers a second.
        counted_words: 64-bit words whose bits are counted a second.
    """

    threads: int
    read_bytes: float
    int8_products: float
    counted_words: float


@dataclasses.dataclass(frozen=True)
class Work:
    """What an operation cannot do without, however it is done.

    Attributes:
        read_bytes: bytes that must be read from memory once.
        int8_products: multiplications of 8-bit numbers.
        counted_words: 64-bit words whose bits must be counted.
    """

    read_bytes: float = 0.0
    int8_products: float = 0.0
    counted_words: float = 0.0

    def __add__(self, other: Work) -> Work:
        return Work(
            self.read_bytes + other.read_bytes,
            self.int8_products + other.int8_products,
            self.counted_words + other.counted_words,
        )


@functools.cache
def measured_limits(threads: int) -> Limits:
    """The machine's rates, measured once a process; takes a second or two.

    Args:
        threads: of the searches that are to be judged; >= 1.
    """
    with ThreadPoolExecutor(threads) as pool:
        rates = [_rate(pool, threads, make) for make in (_reader, _multiplier, _counter)]
    return Limits(threads, *rates)


def distance(seconds: float, work: Work, limits: Limits) -> dict[str, Any]:
    """How near to the machine's limit an operation is, for ``benchmark.extra_info["limit"]``.

    Args:
        seconds: that the operation took.
        work: what it cannot do without.

    Returns:
        ``seconds`` of the limit, what it is set ``by``, the ``share`` of it that was reached (0 to about 1), the
        work and the rates.
    """
    times = {
        "memory": work.read_bytes / limits.read_bytes,
        "int8 products": work.int8_products / limits.int8_products,
        "bit counts": work.counted_words / limits.counted_words,
    }
    by = max(times, key=lambda name: times[name])
    return {
        "seconds": times[by],
        "by": by,
        "share": times[by] / seconds,
        "work": dataclasses.asdict(work),
        "rates": dataclasses.asdict(limits),
    }


def _rate(pool: ThreadPoolExecutor, threads: int, make: Callable[[int], tuple[Callable[[], object], float]]) -> float:
    """Operations a second of all threads together: the best round, as nothing makes a machine faster than it is."""
    made = [make(threads) for _ in range(threads)]
    list(pool.map(lambda one: one[0](), made))
    times = []
    for _ in range(ROUNDS):
        began = perf_counter()
        list(pool.map(lambda one: one[0](), made))
        times.append(perf_counter() - began)
    return sum(operations for _, operations in made) / min(times)


def _reader(threads: int) -> tuple[Callable[[], object], float]:
    array = np.ones(READ_BYTES // threads // 8, np.uint64)
    return lambda: _sum(array), float(array.nbytes)


def _counter(threads: int) -> tuple[Callable[[], object], float]:
    words = np.arange(COUNTED_WORDS, dtype=np.uint64)
    repeats = 200_000
    return lambda: _count(words, repeats), float(repeats * COUNTED_WORDS)


def _multiplier(threads: int) -> tuple[Callable[[], object], float]:
    rows, depth, columns = TILE
    session = _product_session(rows, depth, columns)
    left = np.full((rows, depth), 100, np.uint8)
    repeats = 20

    def call() -> None:
        for _ in range(repeats):
            session.run(None, {"left": left})

    return call, float(repeats * rows * depth * columns)


def _product_session(rows: int, depth: int, columns: int) -> Any:
    """An onnxruntime session of one thread: uint8[rows, depth] times a constant int8[depth, columns]."""
    make = onnx.helper
    right = onnx.numpy_helper.from_array(np.full((depth, columns), 3, np.int8), "right")
    graph = make.make_graph(
        [make.make_node("MatMulInteger", ["left", "right"], ["product"])],
        "product",
        [make.make_tensor_value_info("left", onnx.TensorProto.UINT8, [rows, depth])],
        [make.make_tensor_value_info("product", onnx.TensorProto.INT32, [rows, columns])],
        [right],
    )
    model = make.make_model(graph, opset_imports=[make.make_opsetid("", 17)], ir_version=9)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


@kernel
def _sum(array: NDArray[np.uint64]) -> np.uint64:
    total = np.uint64(0)
    for i in range(len(array)):
        total += array[i]
    return total


@kernel
def _count(words: NDArray[np.uint64], repeats: int) -> np.uint64:
    total = np.uint64(0)
    for repeat in range(repeats):
        # Other words each time, so that nothing can be taken out of the loop.
        change = np.uint64(repeat)
        for i in range(len(words)):
            total += popcount(words[i] ^ change)
    return total
