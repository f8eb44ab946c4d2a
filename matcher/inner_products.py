"""The largest inner products of a few queries with very many rows of 8-bit numbers, exact.

Rows lie as ``biased`` bytes (value + 128): so read them onnxruntime's uint8 x int8 product and FAISS's
``QT_8bit_direct_signed`` alike, and both may work on the same memory. Where the 8-bit numbers stand for something
finer, the caller says how far a product may be off (``Queries.gains``, ``Queries.margins`` and ``Rows.residuals``),
and gives a function that knows the exact value: answers are then exact for that.

A row may lie in two parts, a head and a tail, each of them with all others of its kind. All heads are multiplied;
the tail of a row only for the queries for which what it can add at most (``Rows.lengths``, ``Queries.reaches``) might
make the row wanted. Where most of a row's length is in its head, hardly any are: see ``matcher.face.coding``.

Steps, for each thread's share of the rows:

1. Products of a tile of rows with all queries, into a buffer that stays in the cache: by onnxruntime's
   ``MatMulInteger`` (VNNI, AMX) for many queries, by a compiled loop for few.
2. Rows whose product could reach the ``count`` largest seen so far are put aside with their bounds. The threshold is
   the ``count``-th largest *lower* bound seen; a row is dropped when its *upper* bound stays below it. Whole numbers
   are compared, with thresholds that allow for the widest bounds among some rows; then the row's own bounds are
   looked at, and what its tail leaves of them.
3. When twice as much is put aside as the last time left, the threshold is raised to what it holds by now (quickselect,
   linear in its length, so that 20,000 wanted rows cost little more than 50). Where the bounds are too wide to drop
   enough, the exact values decide: many rows then cost an exact product each, and the answer stays the same. After
   8,192 rows, and 8 and 64 and ... times as many, the exact values of the best raise the threshold in any case.

At the end the rows put aside are valued exactly and ranked, equal ones by ascending row.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import threading
from collections.abc import Callable
from time import perf_counter
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, helper

from matcher.compiled import kernel
from matcher.dot_product import dot, prefetch
from matcher.lanes import LANES, all_reached, largest, lowest, reached
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
        block: rows selected from a tile between two looks at how full the buffers are.
        loop_block: the same by the loop, which multiplies as many at once.
        batches: numbers of queries that are tried to find from which onnxruntime is faster than the loop (32 here;
            fewer with AMX, more work than one row in 16 being in its step).
        least_rows: rows from which a second thread pays.
        buffers: bytes a thread may have for what is put aside; more queries than that allows are searched in groups.
        sharpen_after: rows after which thresholds are raised by exact values, and again after 8, 64, ... times as many.
    """

    tile: int = 2048
    block: int = 256
    loop_block: int = 1024
    batches: tuple[int, ...] = (4, 8, 16, 24, 32, 48, 64, 128)
    least_rows: int = 8192
    buffers: int = 64 << 20
    sharpen_after: int = 8192


_P = ScanParameters()


@dataclasses.dataclass(frozen=True, eq=False)
class Rows:
    """What is searched: vectors of 8-bit numbers, and what is known of what these leave out.

    Attributes:
        heads: uint8[n, h], C-contiguous, ``biased``.
        residuals: float32[n], >= 0, the part of the bounds that belongs to the row; None for zeros.
        tails: uint8[n, t], the same of the rest of the vectors; None where heads are all of them.
        lengths: float32[n], >= 0, how much a tail can add; None without tails.
    """

    heads: NDArray[np.uint8]
    residuals: NDArray[np.float32] | None = None
    tails: NDArray[np.uint8] | None = None
    lengths: NDArray[np.float32] | None = None

    def __len__(self) -> int:
        return len(self.heads)

    def part(self, begin: int, end: int) -> Rows:
        """Some of them."""
        some = slice(begin, end)
        others = (None if each is None else each[some] for each in (self.residuals, self.tails, self.lengths))
        return Rows(self.heads[some], *others)  # type: ignore[arg-type]


@dataclasses.dataclass(frozen=True, eq=False)
class QueryTails:
    """What belongs to the tails of rows.

    For row i and query j the exact value is, in units of the query,
    ``head product + units[j] * tail product`` within ``residuals[i] * gains[j] + margins[j]``, and
    ``head product`` within ``residuals[i] * gains[j] + margins[j] + lengths[i] * reaches[j]``.

    Attributes:
        codes: int8[p, t].
        units: float32[p], >= 0, what one of the tails' product is worth beside one of the heads'.
        reaches: float32[p], >= 0.
    """

    codes: NDArray[np.int8]
    units: NDArray[np.float32]
    reaches: NDArray[np.float32]


@dataclasses.dataclass(frozen=True, eq=False)
class Queries:
    """Vectors of 8-bit numbers to be multiplied with the rows, and how far the products are from what they stand for.

    For row i and query j: ``|exact / units[j] - product| <= residuals[i] * gains[j] + margins[j]``.

    Attributes:
        codes: int8[p, h], -127..127.
        gains: float32[p], >= 0.
        margins: float32[p], >= 0.
        units: float64[p], > 0, what one of the integer product is worth.
        tails: for rows that have them.
    """

    codes: NDArray[np.int8]
    gains: NDArray[np.float32]
    margins: NDArray[np.float32]
    units: NDArray[np.float64]
    tails: QueryTails | None = None

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
        tails = self.tails and QueryTails(*(each[some] for each in dataclasses.astuple(self.tails)))
        return Queries(self.codes[some], self.gains[some], self.margins[some], self.units[some], tails)


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

    return nearest(Queries.exact(queries), Rows(codes), count, selected, exact)


def integer_products(
    queries: NDArray[np.int8], codes: NDArray[np.uint8], numbers: NDArray[np.int64], rows: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Inner products of pairs, query ``numbers[i]`` of int8[p, d] with row ``rows[i]``: float64[n], whole numbers."""
    values = np.empty(len(rows), np.float64)
    _pairs(codes, np.ascontiguousarray(queries), _biases(queries), numbers, rows, values)
    return values


def nearest(
    queries: Queries,
    rows: Rows,
    count: int,
    selected: NDArray[np.bool_] | None,
    exact: Exact,
) -> list[Found]:
    """The rows with the largest exact values, for each query.

    Args:
        queries: the vectors and the bounds of their products.
        rows: what they are multiplied with; both have tails or none has.
        count: rows wanted a query, >= 0.
        selected: bool[n], rows that may be found; None for all.
        exact: the values that are asked for, where a bound does not decide.

    Returns:
        A query (rows int64[at most count], exact values float64), largest first, equal ones in ascending order.
    """
    total, dimension = rows.heads.shape
    if rows.tails is not None:
        dimension = max(dimension, rows.tails.shape[1])
    if total > MOST_ROWS or dimension > MOST_DIMENSIONS:
        raise ValueError(f"{total:,} rows of {dimension:,} numbers are more than products of 32 bits can be taken of")
    chosen = None if selected is None else np.flatnonzero(selected).astype(np.int32)
    left = total if chosen is None else len(chosen)
    if not len(queries) or not left or count <= 0:
        return [_nothing() for _ in range(len(queries))]
    if left <= count:
        every = np.arange(total) if chosen is None else chosen.astype(np.int64)
        return workers().map(lambda query: _valued(query, every, exact, count), range(len(queries)))
    scan = _Scan(_with_rounding(queries, rows), rows, chosen, count, exact)
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
        rows: Rows,
        chosen: NDArray[np.int32] | None,
        count: int,
        exact: Exact,
    ) -> None:
        self._queries = queries
        self._source = _Source(
            rows.heads,
            np.zeros(0, np.int32) if chosen is None else chosen,
            np.zeros(0, np.float32) if rows.residuals is None else rows.residuals,
            np.zeros((0, 0), np.uint8) if rows.tails is None else rows.tails,
            np.zeros(0, np.float32) if rows.lengths is None else rows.lengths,
        )
        self._whole = _are_whole(queries, self._source)
        self._left = len(rows) if chosen is None else len(chosen)
        self._count = count
        self._exact = exact
        # Bounds that overlap leave a few times as many rows as are wanted.
        self._capacity = (2 if rows.residuals is None else 8) * count + 4 * max(_P.block, _P.loop_block)
        self.buffer_bytes = 12 * self._capacity

    def run(self, begin: int, end: int) -> list[Found]:
        """Answers for some of the queries."""
        queries = self._queries.part(begin, end)
        thresholds = _Thresholds(queries, self._count)
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
        cuts = list(itertools.pairwise(np.searchsorted(some.numbers, np.arange(begin, end + 1))))
        if self._whole:
            return [_ranked_whole(some.rows[start:stop], some.upper[start:stop], self._count) for start, stop in cuts]
        likeliest = np.flatnonzero(some.likeliest)
        values = np.full(len(some.rows), -np.inf)
        values[likeliest] = self._exact(number + some.numbers[likeliest], some.rows[likeliest])
        worst = np.full(end, np.inf)
        np.minimum.at(worst, some.numbers[likeliest], values[likeliest])
        reach = (some.upper.astype(np.float64) + queries.margins[some.numbers]) * queries.units[some.numbers]
        others = np.flatnonzero(~some.likeliest & (reach >= worst[some.numbers]))
        values[others] = self._exact(number + some.numbers[others], some.rows[others])
        return [_ranked(some.rows[start:stop], values[start:stop], self._count) for start, stop in cuts]

    def _search(self, queries: Queries, number: int, thresholds: _Thresholds, first: int, last: int) -> _Asides:
        asides = _Asides(queries, self._capacity, self._count, thresholds, whole=self._whole)
        batched = len(queries) >= least_batch() and _whole_products(int(np.abs(queries.codes).max()))
        scan = (_Tiles if batched else _Loop)(self._source, queries, self._count)
        sharpened = first + _P.sharpen_after
        for start in range(first, last, scan.step):
            end = min(start + scan.step, last)
            scan.multiply(start, end)
            done = start
            while True:
                done = scan.select(done, start, end, asides.buffers)
                if done == end:
                    break
                asides.settle(2 * scan.block, number, self._exact)
            if len(self._source.residuals) and end >= sharpened:
                asides.sharpen(number, self._exact)
                sharpened = first + 8 * (sharpened - first)
        return asides


class _Source(NamedTuple):
    """What is searched, for the kernels."""

    codes: NDArray[np.uint8]
    """uint8[n, h], biased."""
    rows: NDArray[np.int32]
    """Those that may be found; empty for all."""
    residuals: NDArray[np.float32]
    """float32[n]; empty for zeros."""
    tails: NDArray[np.uint8]
    """uint8[n, t], biased; empty where there are none."""
    lengths: NDArray[np.float32]
    """float32[n]; empty where there are no tails."""


class _Asked(NamedTuple):
    """What is searched for, for the kernels."""

    codes: NDArray[np.int8]
    """int8[p, d]."""
    biases: NDArray[np.int32]
    """int32[p], what the bias of the rows adds to the products."""
    gains: NDArray[np.float32]
    """float32[p]."""
    tails: NDArray[np.int8]
    """int8[p, t]."""
    tail_biases: NDArray[np.int32]
    """int32[p], as ``biases``."""
    tail_units: NDArray[np.float32]
    """float32[p]."""
    reaches: NDArray[np.float32]
    """float32[p]; zeros where there are no tails."""


class _Buffers(NamedTuple):
    """What is put aside, for the kernels."""

    rows: NDArray[np.int32]
    lower: NDArray[np.float32]
    upper: NDArray[np.float32]
    """[p, capacity]."""
    sizes: NDArray[np.int64]
    """int64[p], how many are put aside."""
    fill: NDArray[np.int64]
    """int64[p], at how many the threshold is raised."""
    slack: NDArray[np.float32]
    """float32[p], twice the margin: a value may be that much too low, and the threshold that much too high."""
    thresholds: NDArray[np.float32]
    """float32[p], shared by all threads."""


class _NearPairs(NamedTuple):
    """Pairs that are looked at more closely, for the kernels."""

    places: NDArray[np.int32]
    """Of rows in their block."""
    queries: NDArray[np.int32]
    products: NDArray[np.int32]


def _room_for_pairs(most: int) -> _NearPairs:
    return _NearPairs(*(np.empty(most, np.int32) for _ in range(3)))


def _asked(queries: Queries) -> _Asked:
    none = np.zeros(len(queries), np.float32)
    tails = queries.tails or QueryTails(np.zeros((len(queries), 0), np.int8), none, none)
    return _Asked(
        _aligned(queries.codes),
        _biases(queries.codes),
        queries.gains,
        _aligned(tails.codes),
        _biases(tails.codes),
        tails.units,
        tails.reaches,
    )


class _Loop:
    """Multiplies and selects in compiled loops; not thread-safe."""

    block = _P.loop_block
    step = 16 * block

    def __init__(self, source: _Source, queries: Queries, count: int) -> None:
        self._source = source
        self._asked = _asked(queries)
        self._count = count
        self._products = np.empty((len(queries), self.block), np.int32)
        self._pairs = _room_for_pairs(self.block * len(queries))

    def multiply(self, start: int, end: int) -> None:
        """Nothing: ``select`` does it, block by block."""

    def select(self, begin: int, start: int, end: int, buffers: _Buffers) -> int:
        """Puts aside what may be wanted of rows begin..end. Returns where it ended for want of room."""
        done: int = _multiply_and_select(
            self._products, begin, end, self.block, self._count, self._source, self._asked, buffers, self._pairs
        )
        return done


class _Tiles:
    """Multiplies tiles by onnxruntime and selects from them; not thread-safe."""

    block = _P.block
    step = _P.tile

    def __init__(self, source: _Source, queries: Queries, count: int) -> None:
        self._source = source
        self._asked = _asked(queries)
        self._product = _TileProduct(queries.codes)
        self._count = count
        # Vectors that begin within a line may end behind it.
        room = np.empty(_P.tile * len(queries) + LANES, np.int32)
        self._products = room[:-LANES].reshape(_P.tile, len(queries))
        self._pairs = _room_for_pairs(self.block * len(queries))

    def multiply(self, start: int, end: int) -> None:
        """Multiplies rows start..end."""
        codes, rows = self._source.codes, self._source.rows
        self._product(codes[rows[start:end]] if len(rows) else codes[start:end], self._products)

    def select(self, begin: int, start: int, end: int, buffers: _Buffers) -> int:
        """Puts aside what may be wanted of rows begin..end. Returns where it ended for want of room."""
        done: int = _select(
            self._products, begin, start, end, self.block, self._count, self._source, self._asked, buffers, self._pairs
        )
        return done


class _Thresholds:
    """What a row must reach to be wanted, for each query; shared by all threads.

    A thread may overwrite what another has just raised: thresholds are then lower than they could be, never too high.

    Attributes:
        values: float32[p].
    """

    def __init__(self, queries: Queries, count: int) -> None:
        self.values = np.full(len(queries), -np.inf, np.float32)
        self._margins = queries.margins
        self._count = count
        self._lock = threading.Lock()
        self._best: dict[int, NDArray[np.float32]] = {}

    def sharpen(self, owner: int, numbers: NDArray[np.int64], lower: NDArray[np.float32]) -> None:
        """Raises thresholds to what the best rows of all threads reach for certain.

        Args:
            owner: whose rows they are; each thread has others, and what it said before is replaced.
            numbers: int64[n], queries, ascending; lower: float32[n], what their rows reach at least.
        """
        order = np.lexsort((-lower, numbers))
        numbers, lower = numbers[order], lower[order]
        places = np.arange(len(numbers)) - np.searchsorted(numbers, numbers)
        kept = places < self._count
        best = np.full((len(self.values), self._count), -np.inf, np.float32)
        best[numbers[kept], places[kept]] = lower[kept]
        with self._lock:
            self._best[owner] = best
            everybodys = np.concatenate(list(self._best.values()), axis=1)
            worst = np.partition(everybodys, -self._count, axis=1)[:, -self._count]
            np.maximum(self.values, worst - self._margins, out=self.values)


class _Asides:
    """Rows put aside for each query, with their bounds; these are the values themselves where products are whole."""

    def __init__(self, queries: Queries, capacity: int, count: int, thresholds: _Thresholds, *, whole: bool) -> None:
        size = len(queries)
        self._whole = whole
        self._units = queries.units
        self._count = count
        self.buffers = _Buffers(
            np.empty((size, capacity), np.int32),
            np.empty((size, capacity), np.float32),
            np.empty((size, capacity), np.float32),
            np.zeros(size, np.int64),
            np.full(size, _FILL * count, np.int64),
            2 * queries.margins,
            thresholds.values,
        )
        self._thresholds = thresholds

    def settle(self, room: int, number: int, exact: Exact) -> None:
        """Makes room where bounds did not: keeps the best by their exact values."""
        to = self.buffers
        capacity = to.rows.shape[1]
        for query in np.flatnonzero(to.sizes + room > capacity):
            rows = to.rows[query, : to.sizes[query]].astype(np.int64)
            kept, exactly = _valued(number + int(query), rows, exact, self._count)
            values = (exactly / self._units[query]).astype(np.float32)
            lower, upper = (values, values) if self._whole else (_below(values), _above(values))
            to.rows[query, : len(kept)] = kept
            to.lower[query, : len(kept)] = lower
            to.upper[query, : len(kept)] = upper
            to.sizes[query] = len(kept)
            to.fill[query] = capacity - room // 2
            to.thresholds[query] = max(lower[-1] - to.slack[query], to.thresholds[query])

    def sharpen(self, number: int, exact: Exact) -> None:
        """Raises thresholds by the exact values of the likeliest rows: bounds are in the way of one side only then."""
        to = self.buffers
        queries, places = np.empty(to.sizes.sum(), np.int64), np.empty(to.sizes.sum(), np.int64)
        found = _likeliest(self._count, to, queries, places)
        queries, places = queries[:found], places[:found]
        exactly = exact(number + queries, to.rows[queries, places].astype(np.int64))
        values = (exactly / self._units[queries]).astype(np.float32)
        lower = _below(values)
        to.lower[queries, places] = lower
        to.upper[queries, places] = _above(values)
        self._thresholds.sharpen(id(self), queries, lower)


def _below(values: NDArray[np.float32]) -> NDArray[np.float32]:
    lower: NDArray[np.float32] = np.nextafter(values, np.float32(-np.inf))
    return lower


def _above(values: NDArray[np.float32]) -> NDArray[np.float32]:
    upper: NDArray[np.float32] = np.nextafter(values, np.float32(np.inf))
    return upper


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
    ends = np.cumsum(np.sum([part.buffers.sizes for part in parts], axis=0))
    rows, likeliest = np.empty(ends[-1], np.int64), np.empty(ends[-1], np.bool_)
    lower, upper = (np.empty(ends[-1], np.float32) for _ in range(2))
    places = np.concatenate([[0], ends[:-1]])
    for part in parts:
        _flatten(part.buffers, places, rows, lower, upper)
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


def _are_whole(queries: Queries, source: _Source) -> bool:
    """Whether products are whole numbers below 2^24 and nothing else counts: float32 holds the exact values then."""
    return not (len(source.residuals) or queries.margins.any() or queries.tails) and bool((queries.units == 1.0).all())


def _ranked_whole(rows: NDArray[np.int64], products: NDArray[np.float32], count: int) -> Found:
    """``_ranked`` of whole numbers: sorted as one number each, which takes a tenth of the time."""
    keys = np.sort((-products.astype(np.int64) << 32) + rows)[:count]
    return keys & 0xFFFFFFFF, -(keys >> 32).astype(np.float64)


def _nothing() -> Found:
    return np.zeros(0, np.int64), np.zeros(0, np.float64)


def _valued(query: int, rows: NDArray[np.int64], exact: Exact, count: int) -> Found:
    return _ranked(rows, exact(np.full(len(rows), query), rows), count)


def _biases(queries: NDArray[np.int8]) -> NDArray[np.int32]:
    """What the bias of the rows adds to the products of each query."""
    biases: NDArray[np.int32] = BIAS * queries.sum(axis=1, dtype=np.int32)
    return biases


def _with_rounding(queries: Queries, rows: Rows) -> Queries:
    """The queries with what float32 may add to the errors of their bounds; nothing where all numbers are whole."""
    dimension = rows.heads.shape[1]
    if rows.residuals is None and queries.tails is None and not queries.margins.any() and dimension * BIAS**2 < 2**24:
        return queries
    # A bound and the threshold it is compared with come of a dozen operations, each off by 2**-24 at most.
    most = _largest_products(queries.codes)
    tails = queries.tails
    if tails is not None:
        most = most + _largest_products(tails.codes) * tails.units
        tails = dataclasses.replace(tails, reaches=_widened(tails.reaches))
    return dataclasses.replace(
        queries,
        gains=_widened(queries.gains),
        margins=_widened(queries.margins + most * 2.0**-20),
        tails=tails,
    )


def _largest_products(codes: NDArray[np.int8]) -> NDArray[np.float64]:
    """No product of a row with int8[p, d] is larger: float64[p]."""
    products: NDArray[np.float64] = BIAS * np.sqrt(codes.shape[1]) * np.linalg.norm(codes.astype(np.float64), axis=1)
    return products


def _widened(values: NDArray[np.floating]) -> NDArray[np.float32]:
    return (values * (1 + 2.0**-20)).astype(np.float32)


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
def _make_room(room: Any, count: Any, to: Any) -> bool:
    """Raises thresholds where enough is put aside for it; False where there is no room for so many more after that."""
    rows, lower, upper, sizes, fill, thresholds = to.rows, to.lower, to.upper, to.sizes, to.fill, to.thresholds
    for j in range(len(sizes)):
        size = sizes[j]
        if size < fill[j]:
            continue
        threshold = _threshold(lower[j, :size], to.slack[j], thresholds[j], count)
        thresholds[j] = threshold
        kept = 0
        for at in range(size):
            if upper[j, at] >= threshold:
                rows[j, kept] = rows[j, at]
                lower[j, kept] = lower[j, at]
                upper[j, kept] = upper[j, at]
                kept += 1
        sizes[j] = kept
        fill[j] = min(max(2 * kept, _FILL * count), rows.shape[1] - room)
        if kept + 2 * room > rows.shape[1]:
            return False
    return True


@kernel
def _likeliest(count: Any, buffers: Any, queries: Any, places: Any) -> Any:
    """Queries and places of what has the ``count`` largest lower bounds, of queries that have as many. How many."""
    found = 0
    for j in range(len(buffers.sizes)):
        size = buffers.sizes[j]
        if size < count:
            continue
        lower = buffers.lower[j, :size]
        least = np.partition(lower, size - count)[size - count]
        for at in range(size):
            if lower[at] >= least:
                queries[found] = j
                places[found] = at
                found += 1
    return found


@kernel
def _flatten(buffers: Any, places: Any, rows: Any, lower: Any, upper: Any) -> None:
    """Copies what is put aside to its places in one array for all threads, and moves the places on."""
    for j in range(len(places)):
        size, at = buffers.sizes[j], places[j]
        rows[at : at + size] = buffers.rows[j, :size]
        lower[at : at + size] = buffers.lower[j, :size]
        upper[at : at + size] = buffers.upper[j, :size]
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

_NEAR = 32
"""Rows that share a threshold in whole numbers, by the widest bounds of them."""

_NEVER = np.int32(2**31 - 1)
"""What no product reaches."""


@kernel
def _block_of(first: Any, last: Any, source: Any, rows: Any, residuals: Any, lengths: Any) -> Any:
    """The numbers of the next rows, and what is on record of them (zeros, where nothing is)."""
    rows = rows[: last - first]
    if len(source.rows):
        rows[:] = source.rows[first:last]
        if len(source.residuals):
            for i in range(len(rows)):
                residuals[i] = source.residuals[rows[i]]
        if len(source.lengths):
            for i in range(len(rows)):
                lengths[i] = source.lengths[rows[i]]
        return rows, residuals, lengths
    for i in range(len(rows)):
        rows[i] = first + i
    if len(source.residuals):
        residuals = source.residuals[first:last]
    if len(source.lengths):
        lengths = source.lengths[first:last]
    return rows, residuals, lengths


@kernel
def _limit(threshold: Any, residual: Any, gain: Any, length: Any, reach: Any) -> Any:
    """The least whole product with which a row of these bounds may reach a threshold."""
    least = threshold - residual * gain - length * reach
    return np.int32(np.floor(min(max(least, np.float32(-(2.0**31))), np.float32(2.0**31 - 128))))


@kernel
def _look_closer(
    size: Any, pairs: Any, rows: Any, residuals: Any, lengths: Any, source: Any, asked: Any, to: Any
) -> None:
    """Puts aside of the pairs what its own bounds, and then its tail, leave wanted."""
    # Taken out of the tuples here: each look into one counts references.
    asides, lower, upper, sizes, thresholds = to.rows, to.lower, to.upper, to.sizes, to.thresholds
    gains, reaches, memory = asked.gains, asked.reaches, source.tails
    tails, tail_biases, tail_units = asked.tails, asked.tail_biases, asked.tail_units
    places, queries, products = pairs.places, pairs.queries, pairs.products
    left = 0
    for n in range(size):
        i, j = places[n], queries[n]
        width = residuals[i] * gains[j] + lengths[i] * reaches[j]
        if np.float32(products[n]) + width >= thresholds[j]:
            places[left], queries[left], products[left] = i, j, products[n]
            left += 1
            if len(memory):
                prefetch(memory[rows[i]])
    for n in range(left):
        i, j = places[n], queries[n]
        value, width = np.float32(products[n]), residuals[i] * gains[j]
        if len(memory):
            value += np.float32(dot(memory[rows[i]], tails[j]) - tail_biases[j]) * tail_units[j]
        if value + width >= thresholds[j]:
            at = sizes[j]
            asides[j, at] = rows[i]
            lower[j, at] = value - width
            upper[j, at] = value + width
            sizes[j] = at + 1


@kernel
def _select_lines(
    products: Any, rows: Any, residuals: Any, lengths: Any, source: Any, asked: Any, to: Any, limits: Any, pairs: Any
) -> None:
    """Puts aside of int32[rows x queries]: queries beside each other in a vector."""
    thresholds, gains, reaches = to.thresholds, asked.gains, asked.reaches
    places, queries, values = pairs.places, pairs.queries, pairs.products
    size = 0
    for first in range(0, len(rows), _NEAR):
        last = min(first + _NEAR, len(rows))
        residual, length = largest(residuals, first, last), largest(lengths, first, last)
        for j in range(len(thresholds)):
            limits[j] = _limit(thresholds[j], residual, gains[j], length, reaches[j])
        for i in range(first, last):
            line = i * len(thresholds)
            for begin in range(0, len(limits), LANES):
                hits = reached(products, line + begin, limits, begin)
                while hits:
                    at = begin + np.int64(lowest(hits))
                    places[size], queries[size], values[size] = i, at, products[line + at]
                    size += 1
                    hits &= hits - np.uint64(1)
    if size:
        _look_closer(size, pairs, rows, residuals, lengths, source, asked, to)


@kernel
def _select_columns(
    products: Any, block: Any, rows: Any, residuals: Any, lengths: Any, source: Any, asked: Any, to: Any, pairs: Any
) -> None:
    """Puts aside of int32[queries x block]: rows beside each other in a vector."""
    thresholds, gains, reaches = to.thresholds, asked.gains, asked.reaches
    places, queries, values = pairs.places, pairs.queries, pairs.products
    size = 0
    for first in range(0, len(rows), LANES):
        last = min(first + LANES, len(rows))
        residual, length = largest(residuals, first, last), largest(lengths, first, last)
        for j in range(len(thresholds)):
            line = j * block + first
            hits = all_reached(products, line, _limit(thresholds[j], residual, gains[j], length, reaches[j]))
            if last - first < LANES:
                hits &= (np.uint64(1) << np.uint64(last - first)) - np.uint64(1)
            while hits:
                i = np.int64(lowest(hits))
                places[size], queries[size], values[size] = first + i, j, products[line + i]
                size += 1
                hits &= hits - np.uint64(1)
    if size:
        _look_closer(size, pairs, rows, residuals, lengths, source, asked, to)


@kernel
def _select(
    products: Any,
    begin: Any,
    start: Any,
    end: Any,
    block: Any,
    count: Any,
    source: Any,
    asked: Any,
    to: Any,
    pairs: Any,
) -> Any:
    """Puts aside what may be wanted of rows begin..end, whose products begin with row start. Returns where it ended."""
    all_rows, residuals, lengths = np.empty(block, np.int32), np.zeros(block, np.float32), np.zeros(block, np.float32)
    limits = np.full(-(-len(to.sizes) // LANES) * LANES, _NEVER, np.int32)
    for first in range(begin, end, block):
        if not _make_room(block, count, to):
            return first
        last = min(first + block, end)
        rows, near, long = _block_of(first, last, source, all_rows, residuals, lengths)
        some = products[first - start : last - start].reshape(-1)
        _select_lines(some, rows, near, long, source, asked, to, limits, pairs)
    return end


_AHEAD = 8192
"""Bytes ahead of the row that is multiplied of which memory is asked for: the processor's guesses end with a page."""


@kernel
def _multiply(codes: Any, rows: Any, queries: Any, biases: Any, products: Any) -> None:
    ahead = max(1, _AHEAD // codes.shape[1])
    first = rows[0]
    if rows[-1] - first == len(rows) - 1:
        for i in range(len(rows)):
            row = codes[first + i]
            if first + i + ahead < len(codes):
                prefetch(codes[first + i + ahead])
            for j in range(len(queries)):
                products[j, i] = dot(row, queries[j]) - biases[j]
        return
    for i in range(len(rows)):
        if i + ahead < len(rows):
            prefetch(codes[rows[i + ahead]])
        row = codes[rows[i]]
        for j in range(len(queries)):
            products[j, i] = dot(row, queries[j]) - biases[j]


@kernel
def _multiply_and_select(
    products: Any, begin: Any, end: Any, block: Any, count: Any, source: Any, asked: Any, to: Any, pairs: Any
) -> Any:
    """As ``_select``, and makes the products itself."""
    all_rows, residuals, lengths = np.empty(block, np.int32), np.zeros(block, np.float32), np.zeros(block, np.float32)
    for first in range(begin, end, block):
        if not _make_room(block, count, to):
            return first
        rows, near, long = _block_of(first, min(first + block, end), source, all_rows, residuals, lengths)
        _multiply(source.codes, rows, asked.codes, asked.biases, products)
        _select_columns(products.reshape(-1), block, rows, near, long, source, asked, to, pairs)
    return end
