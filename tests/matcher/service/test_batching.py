"""Searches that share passes: who shares one, who goes first, who is refused, who is dropped."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from matcher.errors import AmbisError, DeadlineExceeded, InvalidInput, Overloaded, Unavailable
from matcher.service.batching import BatchingParameters, Priority, SearchQueue, Ticket

FAR = 1e9


class Engine:
    """Doubles numbers; every pass waits until it is let go, and takes the seconds that ``takes`` says."""

    def __init__(self) -> None:
        self.passes: list[list[int]] = []
        self.begun = threading.Semaphore(0)
        self.let = threading.Semaphore(0)
        self.takes = 0.0
        self.now = 100.0

    def clock(self) -> float:
        return self.now

    def search(self, numbers: Sequence[int]) -> list[int | AmbisError]:
        self.passes.append(list(numbers))
        self.begun.release()
        assert self.let.acquire(timeout=20)
        self.now += self.takes
        if any(number < 0 for number in numbers):
            raise RuntimeError("a bug")
        return [InvalidInput("odd") if number % 2 else 2 * number for number in numbers]

    def go(self, passes: int = 1) -> None:
        """Lets passes that have begun, or are about to, end."""
        self.let.release(passes)

    def wait(self) -> None:
        """Until the next pass has begun."""
        assert self.begun.acquire(timeout=20)


@pytest.fixture
def engine() -> Engine:
    return Engine()


@pytest.fixture
def queue(engine: Engine) -> Iterator[SearchQueue[int, int]]:
    parameters = BatchingParameters(weight=4, waiting=6, window=0.0, first=4)
    made = SearchQueue(engine.search, parameters, engine.clock)
    yield made
    engine.go(1000)
    made.close()


def submit(
    queue: SearchQueue[int, int], *numbers: int, priority: Priority = Priority.SINGLE, deadline: float = FAR
) -> list[Ticket[int, int]]:
    return [queue.submit(number, priority, deadline) for number in numbers]


def start(queue: SearchQueue[int, int], engine: Engine) -> Ticket[int, int]:
    """A pass with one search, which others come during."""
    (first,) = submit(queue, 1000)
    engine.wait()
    return first


def test_a_lone_search_is_a_pass_of_its_own(queue: SearchQueue[int, int], engine: Engine) -> None:
    for number in (2, 4):
        (ticket,) = submit(queue, number)
        engine.wait()
        engine.go()
        assert ticket.result() == 2 * number
    assert engine.passes == [[2], [4]]


def test_what_comes_during_a_pass_shares_the_next_one(queue: SearchQueue[int, int], engine: Engine) -> None:
    first = start(queue, engine)
    others = submit(queue, 2, 4, 6, 8, 10)
    assert queue.waiting == 5
    engine.go(3)
    assert [t.result() for t in (first, *others)] == [2000, 4, 8, 12, 16, 20]
    assert engine.passes == [[1000], [2, 4, 6, 8], [10]]
    assert queue.waiting == 0


def test_one_bad_search_of_a_pass_fails_alone(queue: SearchQueue[int, int], engine: Engine) -> None:
    start(queue, engine)
    good, odd, another = submit(queue, 2, 3, 4)
    engine.go(2)
    assert (good.result(), another.result()) == (4, 8)
    with pytest.raises(InvalidInput, match="odd"):
        odd.result()


def test_where_a_pass_breaks_each_search_is_made_by_itself(queue: SearchQueue[int, int], engine: Engine) -> None:
    start(queue, engine)
    good, broken, another = submit(queue, 2, -4, 6)
    engine.go(5)
    assert (good.result(), another.result()) == (4, 12)
    with pytest.raises(RuntimeError, match="a bug"):
        broken.result()
    assert engine.passes == [[1000], [2, -4, 6], [2], [-4], [6]]


def test_single_searches_go_first_and_streams_get_their_turn(engine: Engine) -> None:
    parameters = BatchingParameters(weight=1, waiting=20, window=0.0, singles_in_a_row=3)
    queue = SearchQueue(engine.search, parameters, engine.clock)
    start(queue, engine)
    tickets = submit(queue, 2, 4, priority=Priority.BULK)
    tickets += submit(queue, 12, 14, 16, 18, 20, 22, 24)
    engine.go(10)
    for ticket in tickets:
        ticket.result()
    assert [batch[0] for batch in engine.passes] == [1000, 12, 14, 2, 16, 18, 20, 4, 22, 24]
    queue.close()


def test_streams_alone_get_large_passes(queue: SearchQueue[int, int], engine: Engine) -> None:
    start(queue, engine)
    tickets = submit(queue, 2, 4, 6, 8, 10, 12, priority=Priority.BULK)
    engine.go(3)
    assert [t.result() for t in tickets] == [4, 8, 12, 16, 20, 24]
    assert engine.passes[1:] == [[2, 4, 6, 8], [10, 12]]


@pytest.mark.parametrize(("seconds", "expected"), [(1.0, [8, 4, 2, 1, 1]), (0.3, [8, 8, 8, 8, 8]), (0.1, [8, 16, 16])])
def test_passes_of_streams_last_no_longer_than_is_bearable(engine: Engine, seconds: float, expected: list[int]) -> None:
    parameters = BatchingParameters(weight=16, waiting=100, window=0.0, bulk_seconds=0.5, first=8)
    queue = SearchQueue(engine.search, parameters, engine.clock)
    engine.takes = seconds
    start(queue, engine)
    tickets = submit(queue, *range(0, 2 * sum(expected), 2), priority=Priority.BULK)
    engine.go(1 + len(expected))
    for ticket in tickets:
        ticket.result()
    assert [len(batch) for batch in engine.passes[1:]] == expected
    queue.close()


def test_a_full_queue_refuses_and_says_when_to_come_again(queue: SearchQueue[int, int], engine: Engine) -> None:
    engine.takes = 7.5
    first = start(queue, engine)
    engine.go()
    first.result()
    start(queue, engine)
    submit(queue, *range(0, 12, 2))
    with pytest.raises(Overloaded, match="6 searches are waiting") as refused:
        submit(queue, 2)
    assert refused.value.retry_seconds == 7.5
    submit(queue, 2, priority=Priority.BULK)  # the other class has room


def test_expired_searches_are_dropped_before_they_cost_anything(queue: SearchQueue[int, int], engine: Engine) -> None:
    start(queue, engine)
    late, in_time = submit(queue, 2, deadline=105.0) + submit(queue, 4, deadline=120.0)
    engine.takes = 10.0
    engine.go(2)
    with pytest.raises(DeadlineExceeded):
        late.result()
    assert in_time.result() == 8
    assert engine.passes == [[1000], [4]]


def test_whoever_is_gone_is_not_searched_for_and_leaves_room(queue: SearchQueue[int, int], engine: Engine) -> None:
    start(queue, engine)
    gone = threading.Event()
    left = [queue.submit(number, Priority.SINGLE, FAR, lambda: not gone.is_set()) for number in (2, 4, 6)]
    stayed = submit(queue, 8, 10, 12)
    gone.set()
    (more,) = submit(queue, 14)  # the queue was full
    for ticket in left:
        with pytest.raises(DeadlineExceeded):
            ticket.result()
    stayed[0].cancel()
    with pytest.raises(DeadlineExceeded):
        stayed[0].result()
    engine.go(2)
    assert [t.result() for t in (*stayed[1:], more)] == [20, 24, 28]
    assert engine.passes == [[1000], [10, 12, 14]]


def test_a_caller_does_not_wait_beyond_its_deadline(queue: SearchQueue[int, int], engine: Engine) -> None:
    start(queue, engine)
    (ticket,) = submit(queue, 2, deadline=engine.now + 0.01)
    with pytest.raises(DeadlineExceeded):  # the pass before it is still under way
        ticket.result()
    assert queue.waiting == 0


def test_a_pass_waits_for_those_that_come_back_where_there_was_a_queue(engine: Engine) -> None:
    parameters = BatchingParameters(weight=3, window=20.0, window_share=1.0, single_seconds=99.0, first=3)
    queue = SearchQueue(engine.search, parameters, engine.clock)
    engine.takes = 20.0
    first = start(queue, engine)
    submit(queue, 2)
    engine.go()
    first.result()
    tickets = submit(queue, 4, 6)  # within the window, which the third one ends
    engine.go()
    assert [t.result() for t in tickets] == [8, 12]
    assert engine.passes == [[1000], [2, 4, 6]]
    queue.close()


def test_closing_refuses_what_waits_and_ends_what_runs(engine: Engine) -> None:
    queue = SearchQueue(engine.search, BatchingParameters(window=0.0), engine.clock)
    running = start(queue, engine)
    (waiting,) = submit(queue, 2)
    with ThreadPoolExecutor(1) as pool:
        closing = pool.submit(queue.close)
        with pytest.raises(Unavailable, match="stopping"):
            waiting.result()
        with pytest.raises(Unavailable, match="stopping"):
            submit(queue, 4)
        engine.go()
        closing.result(20)
    assert running.result() == 2000
    assert engine.passes == [[1000]]


def test_many_callers_at_once_each_get_their_own_answer() -> None:
    queue: SearchQueue[int, int] = SearchQueue(lambda numbers: [3 * n for n in numbers], BatchingParameters(waiting=64))
    with ThreadPoolExecutor(32) as pool:
        numbers = range(2000)
        answers = pool.map(
            lambda n: queue.submit(n, Priority.BULK if n % 3 else Priority.SINGLE, queue.clock() + 60).result(), numbers
        )
        assert list(answers) == [3 * n for n in numbers]
    queue.close()


def test_heavy_searches_do_not_share_a_pass_that_they_fill(engine: Engine) -> None:
    """Weights are the numbers themselves: 2 and 6 fill a pass of 8, 20 goes alone."""
    made = SearchQueue(engine.search, BatchingParameters(weight=8, window=0.0, first=8), engine.clock, weigh=int)
    tickets = [made.submit(2, Priority.SINGLE, FAR)]
    engine.wait()
    tickets += [made.submit(number, Priority.SINGLE, FAR) for number in (2, 6, 2, 20, 4, 4, 4)]
    engine.go(1000)
    assert [ticket.result() for ticket in tickets] == [4, 4, 12, 4, 40, 8, 8, 8]
    assert engine.passes == [[2], [2, 6], [2], [20], [4, 4], [4]]
    made.close()
