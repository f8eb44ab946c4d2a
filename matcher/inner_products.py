"""The largest inner products of a few queries with very many rows of 8-bit numbers, exact.

Rows lie as ``biased`` bytes (value + 128): so read them onnxruntime's uint8 x int8 product and FAISS's
``QT_8bit_direct_signed`` alike, and both may work on the same memory. Where the 8-bit numbers stand for something
finer, the caller says how far a product may be off (``Queries.gains``, ``Queries.margins`` and residuals a row), and
gives a function that knows the exact value: answers are then exact for that.

Steps, for each thread's share of the rows:

1. Products of a tile of rows with all queries, into a buffer that stays in the cache: by onnxruntime's
   ``MatMulInteger`` (VNNI, AMX) for many queries, by a compiled loop for few.
2. Rows whose product could reach the ``count`` largest seen so far are put aside with their bounds. The threshold is
   the ``count``-th largest *lower* bound seen; a row is dropped when its *upper* bound stays below it.
3. When what was put aside fills its room, the threshold is raised to what it holds by now (quickselect, linear in its
   length, so that 20,000 wanted rows cost little more than 50). Where the bounds are too wide to drop enough, the exact
   values decide: many rows then cost an exact product each, and the answer stays the same.

At the end the rows put aside are valued exactly and ranked, equal ones by ascending row.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import threading
from collections.abc import Callable
from time import perf_counter
from typing import Any, TypeAlias

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, helper

from matcher.compiled import kernel
from matcher.dot_product import dot
from matcher.threads import workers

BIAS = 128
"""What is added to an 8-bit number to store it."""

MOST_ROWS = 2**31 - 1
MOST_DIMENSIONS = 2**31 // (255 * 128)
"""Numbers in a row up to which no sum leaves 32 bits: 65,793."""

Found: TypeAlias = tuple[NDArray[np.int64], NDArray[np.float64]]
"""Rows, best first, and their exact values."""

Exact: TypeAlias = Callable[[NDArray[np.int64], NDArray[np.int64]], NDArray[np.float64]]
"""(numbers of queries int64[n], a row for each int64[n]) -> exact values, float64[n]; thread-safe."""


@dataclasses.dataclass(frozen=True)
class ScanParameters:
    """Parameters of the scan; they change its speed alone. Measured on two cores of a Zen 4 with 512 numbers a row.

    Attributes:
        tile: rows multiplied at once by onnxruntime. 1,024 to 8,192 are equally fast (350 to 410 M products/s a
            thread at 256 queries); 2,048 x 512 bytes and their products lie in the second and third level of cache.
        block: rows multiplied at once by the loop, and selected between two looks at how full the buffers are.
        batches: numbers of queries that are tried to find from which onnxruntime is faster than the loop (32 here;
            fewer with AMX, more work than one row in 16 being in its step).
        least_rows: rows from which a second thread pays.
        buffers: bytes a thread may have for what is put aside; more queries than that allows are searched in groups.
    """

    tile: int = 2048
    block: int = 256
    batches: tuple[int, ...] = (4, 8, 16, 24, 32, 48, 64, 128)
    least_rows: int = 8192
    buffers: int = 64 << 20


_P = ScanParameters()


@dataclasses.dataclass(frozen=True, eq=False)
class Queries:
    """Vectors of 8-bit numbers to be multiplied with the rows, and how far the products are from what they stand for.

    For row i and query j: ``|exact / units[j] - product| <= residuals[i] * gains[j] + margins[j]``.

    Attributes:
        codes: int8[p, d], -127..127.
        gains: float32[p], >= 0.
        margins: float32[p], >= 0.
        units: float64[p], > 0, what one of the integer product is worth.
    """

    codes: NDArray[np.int8]
    gains: NDArray[np.float32]
    margins: NDArray[np.float32]
    units: NDArray[np.float64]

    @classmethod
    def exact(cls, codes: NDArray[np.int8]) -> Queries:
        """Queries whose integer products are what is asked for."""
        none = np.zeros(len(codes), np.float32)
        return cls(codes, none, none, np.ones(len(codes)))

    def __len__(self) -> int:
        return len(self.codes)

    def part(self, begin: int, end: int) -> Queries:
        """Some of them."""
        some = slice(begin, end)
        return Queries(self.codes[some], self.gains[some], self.margins[some], self.units[some])


def biased(values: NDArray[np.int8]) -> NDArray[np.uint8]:
    """int8[...] as they are stored: uint8[...], value + 128."""
    flipped: NDArray[np.uint8] = values.view(np.uint8) ^ np.uint8(BIAS)
    return flipped


def unbiased(codes: NDArray[np.uint8]) -> NDArray[np.int8]:
    """The int8[...] that ``biased`` stored."""
    return (codes ^ np.uint8(BIAS)).view(np.int8)


def best_inner_products(
    queries: NDArray[np.int8],
    codes: NDArray[np.uint8],
    count: int,
    selected: NDArray[np.bool_] | None = None,
) -> list[Found]:
    """The rows with the largest integer inner products, for each query.

    Args:
        queries: int8[p, d], -127..127.
        codes: uint8[n, d], C-contiguous, as ``biased`` stores int8[n, d].
        count: rows wanted a query, >= 0.
        selected: bool[n], rows that may be found; None for all.

    Returns:
        A query (rows int64[at most count], products float64), largest first, equal ones in ascending order of rows.
    """

    def exact(numbers: NDArray[np.int64], rows: NDArray[np.int64]) -> NDArray[np.float64]:
        return integer_products(queries, codes, numbers, rows)

    return nearest(Queries.exact(queries), codes, None, count, selected, exact)


def integer_products(
    queries: NDArray[np.int8], codes: NDArray[np.uint8], numbers: NDArray[np.int64], rows: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Inner products of pairs, query ``numbers[i]`` of int8[p, d] with row ``rows[i]``: float64[n], whole numbers."""
    values = np.empty(len(rows), np.float64)
    _pairs(codes, np.ascontiguousarray(queries), _biases(queries), numbers, rows, values)
    return values


def nearest(
    queries: Queries,
    codes: NDArray[np.uint8],
    residuals: NDArray[np.float32] | None,
    count: int,
    selected: NDArray[np.bool_] | None,
    exact: Exact,
) -> list[Found]:
    """The rows with the largest exact values, for each query.

    Args:
        queries: the vectors and the bounds of their products.
        codes: uint8[n, d], C-contiguous, ``biased``.
        residuals: float32[n], >= 0, the part of the bounds that belongs to the row; None for zeros.
        count: rows wanted a query, >= 0.
        selected: bool[n], rows that may be found; None for all.
        exact: the values that are asked for, where a bound does not decide.

    Returns:
        A query (rows int64[at most count], exact values float64), largest first, equal ones in ascending order.
    """
    total, dimension = codes.shape
    if total > MOST_ROWS or dimension > MOST_DIMENSIONS:
        raise ValueError(f"{total:,} rows of {dimension:,} numbers are more than products of 32 bits can be taken of")
    rows = None if selected is None else np.flatnonzero(selected).astype(np.int32)
    left = total if rows is None else len(rows)
    if not len(queries) or not left or count <= 0:
        return [_nothing() for _ in range(len(queries))]
    if left <= count:
        every = np.arange(total) if rows is None else rows.astype(np.int64)
        return workers().map(lambda query: _valued(query, every, exact, count), range(len(queries)))
    scan = _Scan(_with_rounding(queries, codes, residuals), codes, residuals, rows, count, exact)
    answers: list[Found] = []
    group = max(1, _P.buffers // scan.buffer_bytes)
    for begin in range(0, len(queries), group):
        answers += scan.run(begin, min(begin + group, len(queries)))
    return answers


class _Scan:
    """One pass of some queries over all rows; thread-safe."""

    def __init__(
        self,
        queries: Queries,
        codes: NDArray[np.uint8],
        residuals: NDArray[np.float32] | None,
        rows: NDArray[np.int32] | None,
        count: int,
        exact: Exact,
    ) -> None:
        self._queries = queries
        self._codes = codes
        self._residuals = np.zeros(0, np.float32) if residuals is None else residuals
        self._rows = np.zeros(0, np.int32) if rows is None else rows
        self._left = len(codes) if rows is None else len(rows)
        self._count = count
        self._exact = exact
        # Bounds that overlap leave a few times as many rows as are wanted.
        self._capacity = (2 if residuals is None else 8) * count + 4 * _P.block
        self.buffer_bytes = 12 * self._capacity

    def run(self, begin: int, end: int) -> list[Found]:
        """Answers for some of the queries."""
        queries = self._queries.part(begin, end)
        thresholds = np.full(len(queries), -np.inf, np.float32)
        parts = workers().map(
            lambda part: self._search(queries, begin, thresholds, *part),
            workers().ranges(self._left, _P.least_rows),
        )

        pairs = _merged(parts, queries, self._count)
        spans = workers().ranges(len(queries), 1)
        return [
            found
            for some in workers().map(lambda span: self._valued(pairs, queries, begin, *span), spans)
            for found in some
        ]

    def _valued(self, pairs: _Pairs, queries: Queries, number: int, begin: int, end: int) -> list[Found]:
        """Answers of some queries: the exact values of the likeliest rows leave few of the others to be valued."""
        some = pairs.part(begin, end)
        likeliest = np.flatnonzero(some.likeliest)
        values = np.full(len(some.rows), -np.inf)
        values[likeliest] = self._exact(number + some.numbers[likeliest], some.rows[likeliest])
        worst = np.full(end, np.inf)
        np.minimum.at(worst, some.numbers[likeliest], values[likeliest])
        reach = (some.upper.astype(np.float64) + queries.margins[some.numbers]) * queries.units[some.numbers]
        others = np.flatnonzero(~some.likeliest & (reach >= worst[some.numbers]))
        values[others] = self._exact(number + some.numbers[others], some.rows[others])
        cuts = np.searchsorted(some.numbers, np.arange(begin, end + 1))
        return [
            _ranked(some.rows[start:stop], values[start:stop], self._count) for start, stop in itertools.pairwise(cuts)
        ]

    def _search(self, queries: Queries, number: int, thresholds: NDArray[np.float32], first: int, last: int) -> _Asides:
        asides = _Asides(queries, self._capacity, self._count, thresholds)
        size = len(queries)
        biases = _biases(queries.codes)
        batched = size >= least_batch() and _whole_products(int(np.abs(queries.codes).max()))
        product = _TileProduct(queries.codes) if batched else None
        step = _P.tile if batched else 64 * _P.block
        products = np.empty((_P.tile, size) if batched else (size, _P.block), np.int32)
        few = _aligned(queries.codes)
        for start in range(first, last, step):
            end = min(start + step, last)
            if product is not None:
                tile = self._codes[self._rows[start:end]] if len(self._rows) else self._codes[start:end]
                product(tile, products)
            done = start
            while True:
                where = (self._rows, self._residuals, queries.gains, _P.block)
                if batched:
                    done = _select(products, done, start, end, *where, *asides.arrays)
                else:
                    done = _multiply_and_select(self._codes, few, biases, products, done, end, *where, *asides.arrays)
                if done == end:
                    break
                asides.settle(2 * _P.block, number, self._exact)
        return asides


class _Asides:
    """Rows put aside for each query, with their bounds. The thresholds are shared by all threads.

    A thread may overwrite what another has just raised: thresholds are then lower than they could be, never too high.
    """

    def __init__(self, queries: Queries, capacity: int, count: int, thresholds: NDArray[np.float32]) -> None:
        size = len(queries)
        self._rows = np.empty((size, capacity), np.int32)
        self._lower = np.empty((size, capacity), np.float32)
        self._upper = np.empty((size, capacity), np.float32)
        self._sizes = np.zeros(size, np.int64)
        # How many are put aside before the threshold is raised: twice as many as the last time left, so that it keeps
        # up with the rows at a cost in proportion to what is put aside.
        self._fill = np.full(size, _FILL * count, np.int64)
        self._count = count
        # A margin is wanted twice: the value of a row may be that much too low, and the threshold that much too high.
        self._slack = 2 * queries.margins
        self._units = queries.units
        self._thresholds = thresholds

    @property
    def arrays(self) -> tuple[Any, ...]:
        """What the kernels work on."""
        return (
            self._rows,
            self._lower,
            self._upper,
            self._sizes,
            self._fill,
            self._slack,
            self._thresholds,
            self._count,
        )

    def settle(self, room: int, number: int, exact: Exact) -> None:
        """Makes room where bounds did not: keeps the best by their exact values."""
        for query in range(len(self._sizes)):
            size = int(self._sizes[query])
            if size + room <= self._rows.shape[1]:
                continue
            self._fill[query] = self._rows.shape[1] - room // 2
            kept, exactly = _valued(number + query, self._rows[query, :size].astype(np.int64), exact, self._count)
            values = (exactly / self._units[query]).astype(np.float32)
            lower = np.nextafter(values, np.float32(-np.inf))
            self._rows[query, : len(kept)] = kept
            self._lower[query, : len(kept)] = lower
            self._upper[query, : len(kept)] = np.nextafter(values, np.float32(np.inf))
            self._sizes[query] = len(kept)
            self._thresholds[query] = max(lower[-1] - self._slack[query], self._thresholds[query])


@dataclasses.dataclass(frozen=True, eq=False)
class _Pairs:
    """Queries and rows that may be wanted, ordered by query.

    Attributes:
        numbers: int64[n], of queries.
        rows: int64[n].
        upper: float32[n], what the product of each pair is at most.
        likeliest: bool[n], at least ``count`` of each query if there are as many: those with the largest lower bounds.
    """

    numbers: NDArray[np.int64]
    rows: NDArray[np.int64]
    upper: NDArray[np.float32]
    likeliest: NDArray[np.bool_]

    def part(self, begin: int, end: int) -> _Pairs:
        """Those of some queries."""
        some = slice(*np.searchsorted(self.numbers, [begin, end]))
        return _Pairs(self.numbers[some], self.rows[some], self.upper[some], self.likeliest[some])


def _merged(parts: list[_Asides], queries: Queries, count: int) -> _Pairs:
    """What all threads put aside and is still wanted."""
    ends = np.cumsum(np.sum([part.arrays[3] for part in parts], axis=0))
    rows, likeliest = np.empty(ends[-1], np.int64), np.empty(ends[-1], np.bool_)
    lower, upper = (np.empty(ends[-1], np.float32) for _ in range(2))
    places = np.concatenate([[0], ends[:-1]])
    for part in parts:
        asides, lowers, uppers, sizes = part.arrays[:4]
        _flatten(asides, lowers, uppers, sizes, places, rows, lower, upper)
    total = _keep_wanted(rows, lower, upper, likeliest, ends, 2 * queries.margins, count)
    numbers = np.repeat(np.arange(len(ends)), np.diff(ends, prepend=0))
    return _Pairs(numbers, rows[:total], upper[:total], likeliest[:total])


class _TileProduct:
    """Products of tiles with the same queries by ``MatMulInteger``, in the thread that asks; not thread-safe.

    The rows are the left operand, as they lie; the queries are packed at each call, which a tile makes up for.
    """

    def __init__(self, codes: NDArray[np.int8]) -> None:
        self._queries = np.ascontiguousarray(codes.T)
        self._binding = _session().io_binding()
        self._binding.bind_input("queries", "cpu", 0, np.int8, self._queries.shape, self._queries.ctypes.data)

    def __call__(self, tile: NDArray[np.uint8], products: NDArray[np.int32]) -> None:
        """Writes int32[len(tile), p] into the begin of ``products``."""
        self._binding.bind_input("rows", "cpu", 0, np.uint8, tile.shape, tile.ctypes.data)
        shape = (len(tile), products.shape[1])
        self._binding.bind_output("products", "cpu", 0, np.int32, shape, products.ctypes.data)
        _session().run_with_iobinding(self._binding)


def _ranked(rows: NDArray[np.int64], values: NDArray[np.float64], count: int) -> Found:
    order = np.lexsort((rows, -values))[:count]
    return rows[order], values[order]


def _nothing() -> Found:
    return np.zeros(0, np.int64), np.zeros(0, np.float64)


def _valued(query: int, rows: NDArray[np.int64], exact: Exact, count: int) -> Found:
    return _ranked(rows, exact(np.full(len(rows), query), rows), count)


def _biases(queries: NDArray[np.int8]) -> NDArray[np.int32]:
    """What the bias of the rows adds to the products of each query."""
    biases: NDArray[np.int32] = BIAS * queries.sum(axis=1, dtype=np.int32)
    return biases


def _with_rounding(queries: Queries, codes: NDArray[np.uint8], residuals: NDArray[np.float32] | None) -> Queries:
    """The queries with what float32 may add to the errors of their bounds; nothing where all numbers are whole."""
    dimension = codes.shape[1]
    if residuals is None and not queries.margins.any() and dimension * BIAS * BIAS < 2**24:
        return queries
    largest = BIAS * np.sqrt(dimension) * np.linalg.norm(queries.codes.astype(np.float32), axis=1)
    return dataclasses.replace(
        queries,
        gains=(queries.gains * (1 + 2.0**-20)).astype(np.float32),
        margins=(queries.margins * (1 + 2.0**-20) + largest * 2.0**-22).astype(np.float32),
    )


def _aligned(codes: NDArray[np.int8]) -> NDArray[np.int8]:
    """A contiguous copy that begins with a line of the cache: loads of vectors that straddle two take twice as long."""
    room = np.empty(codes.nbytes + 64, np.int8)
    copy = room[-room.ctypes.data % 64 :][: codes.nbytes].reshape(codes.shape)
    copy[:] = codes
    return copy


_lock = threading.Lock()


def _session() -> Any:
    with _lock:
        return _made_session()


@functools.cache
def _made_session() -> Any:
    """The product as an onnxruntime session of one thread; many threads may run it at once."""
    graph = helper.make_graph(
        [helper.make_node("MatMulInteger", ["rows", "queries", "bias"], ["products"])],
        "products",
        [
            helper.make_tensor_value_info("rows", TensorProto.UINT8, ["n", "d"]),
            helper.make_tensor_value_info("queries", TensorProto.INT8, ["d", "p"]),
        ],
        [helper.make_tensor_value_info("products", TensorProto.INT32, ["n", "p"])],
        [helper.make_tensor("bias", TensorProto.UINT8, [], [BIAS])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


QUERY_LEVELS_WITHOUT_VNNI = 63
"""Largest query number whose products with two rows fit into 16 bits: 2 x 255 x 63 < 2**15."""


def query_levels() -> int:
    """The largest number that a query should hold for ``MatMulInteger`` to be exact: 127, or 63 (7 bits).

    x86 processors without VNNI add pairs of products in 16 bits, which saturate.
    """
    return 127 if _whole_products(127) else QUERY_LEVELS_WITHOUT_VNNI


@functools.cache
def least_batch() -> int:
    """Queries from which ``MatMulInteger`` is faster than the loop, measured once in a process (some 20 ms)."""
    rows = np.random.default_rng(0).integers(0, 256, (_P.tile, 512)).astype(np.uint8)
    numbers = np.arange(_P.tile, dtype=np.int32)
    for size in _P.batches:
        queries = _aligned(unbiased(rows[:size]))
        products = np.empty((_P.tile, size), np.int32)
        columns, biases = products.reshape(size, _P.tile), _biases(queries)
        tiles = _TileProduct(queries)
        if seconds(lambda: tiles(rows, products)) < seconds(  # noqa: B023
            lambda: _multiply(rows, numbers, queries, biases, columns)  # noqa: B023
        ):
            return size
    return MOST_ROWS


def seconds(call: Callable[[], object], times: int = 4) -> float:
    """The least time that a call takes, of so many."""
    taken = []
    for _ in range(times):
        began = perf_counter()
        call()
        taken.append(perf_counter() - began)
    return min(taken)


@functools.cache
def _whole_products(largest: int) -> bool:
    """Whether ``MatMulInteger`` is exact here for queries of numbers up to this: tried on the worst there are."""
    rows = np.full((16, 64), 255, np.uint8)
    queries = np.full((16, 64), largest, np.int8)
    queries[1] = -largest
    products = np.zeros((16, 16), np.int32)
    _TileProduct(queries)(rows, products)
    return bool(np.array_equal(products, 127 * queries.astype(np.int32).sum(axis=1) + np.zeros((16, 1), np.int32)))


@kernel
def _pairs(codes: Any, queries: Any, biases: Any, numbers: Any, rows: Any, values: Any) -> None:
    for i in range(len(rows)):
        values[i] = dot(codes[rows[i]], queries[numbers[i]]) - biases[numbers[i]]


@kernel
def _threshold(lower: Any, slack: Any, before: Any, count: Any) -> Any:
    """The ``count``-th largest lower bound, less the slack; never less than what it was before."""
    if len(lower) < count:
        return before
    at = len(lower) - count
    return max(np.float32(np.partition(lower, at)[at] - slack), before)


@kernel
def _make_room(
    room: Any, asides: Any, lower: Any, upper: Any, sizes: Any, fill: Any, slack: Any, thresholds: Any, count: Any
) -> bool:
    """Raises thresholds where enough is put aside for it; False where there is no room for so many more after that."""
    for j in range(len(sizes)):
        size = sizes[j]
        if size < fill[j]:
            continue
        thresholds[j] = _threshold(lower[j, :size], slack[j], thresholds[j], count)
        kept = 0
        for at in range(size):
            if upper[j, at] >= thresholds[j]:
                asides[j, kept] = asides[j, at]
                lower[j, kept] = lower[j, at]
                upper[j, kept] = upper[j, at]
                kept += 1
        sizes[j] = kept
        fill[j] = min(max(2 * kept, _FILL * count), asides.shape[1] - room)
        if kept + 2 * room > asides.shape[1]:
            return False
    return True


@kernel
def _flatten(
    asides: Any, lower: Any, upper: Any, sizes: Any, places: Any, all_rows: Any, all_lower: Any, all_upper: Any
) -> None:
    """Copies what is put aside to its places in one array for all threads, and moves the places on."""
    for j in range(len(sizes)):
        size, at = sizes[j], places[j]
        all_rows[at : at + size] = asides[j, :size]
        all_lower[at : at + size] = lower[j, :size]
        all_upper[at : at + size] = upper[j, :size]
        places[j] = at + size


@kernel
def _keep_wanted(rows: Any, lower: Any, upper: Any, likeliest: Any, ends: Any, slack: Any, count: Any) -> Any:
    """Moves the rows that the joint thresholds leave to the begin, and the ends with them. Returns how many."""
    kept = 0
    start = 0
    for j in range(len(ends)):
        end = ends[j]
        likely = _threshold(lower[start:end], np.float32(0), np.float32(-np.inf), count)
        for at in range(start, end):
            if upper[at] >= likely - slack[j]:
                rows[kept] = rows[at]
                upper[kept] = upper[at]
                likeliest[kept] = lower[at] >= likely
                kept += 1
        start = end
        ends[j] = kept
    return kept


_FILL = 2
"""Times the count wanted that is put aside before a threshold is raised, at least."""

_LANES = 32
"""Queries that are compared with their thresholds before one of them is looked at by itself."""


@kernel
def _select_lines(
    products: Any,
    rows: Any,
    residuals: Any,
    gains: Any,
    asides: Any,
    lower: Any,
    upper: Any,
    sizes: Any,
    thresholds: Any,
) -> None:
    """Puts aside of int32[rows, queries]: queries beside each other in a vector."""
    for i in range(len(products)):
        line, residual = products[i], residuals[i]
        for begin in range(0, len(sizes), _LANES):
            end = min(begin + _LANES, len(sizes))
            some, near, limits = line[begin:end], gains[begin:end], thresholds[begin:end]
            hit = False
            for j in range(len(some)):
                hit |= np.float32(some[j]) + residual * near[j] >= limits[j]
            if hit:
                for j in range(begin, end):
                    product, width = np.float32(line[j]), residual * gains[j]
                    if product + width >= thresholds[j]:
                        at = sizes[j]
                        asides[j, at] = rows[i]
                        lower[j, at] = product - width
                        upper[j, at] = product + width
                        sizes[j] = at + 1


@kernel
def _select_columns(
    products: Any,
    rows: Any,
    residuals: Any,
    gains: Any,
    asides: Any,
    lower: Any,
    upper: Any,
    sizes: Any,
    thresholds: Any,
) -> None:
    """Puts aside of int32[queries, rows]: rows beside each other in a vector."""
    for j in range(len(sizes)):
        line, gain, limit = products[j], gains[j], thresholds[j]
        for begin in range(0, len(rows), _LANES):
            end = min(begin + _LANES, len(rows))
            some, near = line[begin:end], residuals[begin:end]
            hit = False
            for i in range(len(some)):
                hit |= np.float32(some[i]) + near[i] * gain >= limit
            if hit:
                for i in range(begin, end):
                    product, width = np.float32(line[i]), residuals[i] * gain
                    if product + width >= limit:
                        at = sizes[j]
                        asides[j, at] = rows[i]
                        lower[j, at] = product - width
                        upper[j, at] = product + width
                        sizes[j] = at + 1


@kernel
def _block_of(first: Any, rows: Any, residuals: Any, block_rows: Any, block_residuals: Any) -> None:
    """The numbers of the next rows and what is in ``residuals`` of them (zeros, where that is empty)."""
    for i in range(len(block_rows)):
        block_rows[i] = rows[first + i] if len(rows) else first + i
    if len(residuals):
        for i in range(len(block_rows)):
            block_residuals[i] = residuals[block_rows[i]]


@kernel
def _select(
    products: Any,
    begin: Any,
    start: Any,
    end: Any,
    rows: Any,
    residuals: Any,
    gains: Any,
    block: Any,
    asides: Any,
    lower: Any,
    upper: Any,
    sizes: Any,
    fill: Any,
    slack: Any,
    thresholds: Any,
    count: Any,
) -> Any:
    """Puts aside what may be wanted of rows begin..end, whose products begin with row start. Returns where it ended."""
    block_rows, block_residuals = np.empty(block, np.int32), np.zeros(block, np.float32)
    for first in range(begin, end, block):
        if not _make_room(block, asides, lower, upper, sizes, fill, slack, thresholds, count):
            return first
        last = min(first + block, end)
        some, near = block_rows[: last - first], block_residuals[: last - first]
        _block_of(first, rows, residuals, some, near)
        part = products[first - start : last - start]
        _select_lines(part, some, near, gains, asides, lower, upper, sizes, thresholds)
    return end


@kernel
def _multiply(codes: Any, rows: Any, queries: Any, biases: Any, products: Any) -> None:
    for i in range(len(rows)):
        row = codes[rows[i]]
        for j in range(len(queries)):
            products[j, i] = dot(row, queries[j]) - biases[j]


@kernel
def _multiply_and_select(
    codes: Any,
    queries: Any,
    biases: Any,
    products: Any,
    begin: Any,
    end: Any,
    rows: Any,
    residuals: Any,
    gains: Any,
    block: Any,
    asides: Any,
    lower: Any,
    upper: Any,
    sizes: Any,
    fill: Any,
    slack: Any,
    thresholds: Any,
    count: Any,
) -> Any:
    """As ``_select``, and makes the products itself."""
    block_rows, block_residuals = np.empty(block, np.int32), np.zeros(block, np.float32)
    for first in range(begin, end, block):
        if not _make_room(block, asides, lower, upper, sizes, fill, slack, thresholds, count):
            return first
        size = min(first + block, end) - first
        some, near = block_rows[:size], block_residuals[:size]
        _block_of(first, rows, residuals, some, near)
        _multiply(codes, some, queries, biases, products)
        _select_columns(products, some, near, gains, asides, lower, upper, sizes, thresholds)
    return end
