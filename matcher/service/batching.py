"""Searches that come at the same time share a pass over the galleries; who goes first, who waits, who is refused.

1. A search is queued, in one of two classes: single ones and those of bulk streams. A full queue refuses it.
2. One thread takes what waits in one class, up to what a pass may hold, and searches it at once. A single search goes
   before those of streams; but where both wait, every few passes one is the streams'.
3. Where searches have queued up while a pass ran, others are about to come, those whose answers have just left: the
   next pass waits for them for a moment that is short beside a pass. A search that finds nobody before it waits for
   nothing.
4. A pass holds as many searches as can be answered within a bounded time, since whoever comes meanwhile waits for its
   end. Searches count by what they weigh: one of ten fingers of unknown position takes as long as a hundred of one
   known finger. What a pass may weigh follows from how long passes took: it is halved after one that took longer, and
   doubled after a full one that took less than half.
5. Searches whose deadline has passed or whose caller has gone are dropped before they cost anything.
6. A search that fails, fails alone: where a pass ends in an error, each of its searches is made again by itself.
"""

from __future__ import annotations

import collections
import dataclasses
import enum
import threading
import time
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from matcher.errors import AmbisError, DeadlineExceeded, Overloaded, Unavailable

Request = TypeVar("Request")
Result = TypeVar("Result")

_STOPPING = "the server is stopping; send the request again in a moment"
_TOO_LATE = "the deadline passed before the search was done; allow more time, or ask when the server is less busy"


class Priority(enum.Enum):
    """Who goes first."""

    SINGLE = "single"
    BULK = "bulk"


@dataclasses.dataclass(frozen=True)
class BatchingParameters:
    """Bounds of the queue and of passes.

    Attributes:
        weight: of the searches of one pass together at most.
        waiting: searches of each class that wait at most; more are refused. As many as a deadline of half a minute lets
            be answered at all where a search takes half a second.
        window: seconds that a pass waits for others at most.
        window_share: and no longer than this share of what the last pass took.
        single_seconds: that a pass of single searches should take at most: answers leave at its end, and what searches
            have in common is a small part of their time.
        bulk_seconds: the same of streams; single searches wait for it.
        first: weight of the first passes, of which nothing is known yet.
        singles_in_a_row: passes of single searches before streams that wait have their turn.
    """

    weight: int = 256
    waiting: int = 64
    window: float = 0.003
    window_share: float = 0.05
    single_seconds: float = 1.0
    bulk_seconds: float = 1.0
    first: int = 8
    singles_in_a_row: int = 4


class Ticket(Generic[Request, Result]):
    """A search that waits or is made."""

    def __init__(self, queue: SearchQueue[Request, Result], request: Request, deadline: float, weight: int) -> None:
        self.request = request
        self.weight = weight
        self.deadline = deadline
        self._queue = queue
        self._done = threading.Event()
        self._outcome: Result | BaseException | None = None

    def result(self) -> Result:
        """The answer, when it is there.

        Raises:
            DeadlineExceeded: the deadline has passed, or the caller is gone.
            Unavailable: the server stops.
            AmbisError: whatever the search ended in.
        """
        if not self._done.wait(max(0.0, self.deadline - self._queue.clock())):
            self.cancel()
        assert self._outcome is not None
        if isinstance(self._outcome, BaseException):
            raise self._outcome
        return self._outcome

    def cancel(self) -> None:
        """Nobody waits for the answer any more: it is not searched for where that has not begun."""
        self._queue.drop(self)

    def finish(self, outcome: Result | BaseException) -> None:
        """Gives the answer; only the first one counts."""
        if not self._done.is_set():
            self._outcome = outcome
            self._done.set()


class SearchQueue(Generic[Request, Result]):
    """See the module. Thread-safe.

    Args:
        search: makes several searches in one pass, with a result or an error for each.
        parameters: see the class.
        clock: seconds, as deadlines count them.
        weigh: how much a search is, 1 and more.
    """

    def __init__(
        self,
        search: Callable[[Sequence[Request]], Sequence[Result | AmbisError]],
        parameters: BatchingParameters | None = None,
        clock: Callable[[], float] = time.monotonic,
        weigh: Callable[[Request], int] = lambda _: 1,
    ) -> None:
        self._search = search
        self._weigh = weigh
        self._parameters = parameters or BatchingParameters()
        self.clock = clock
        self._changed = threading.Condition()
        self._waiting: dict[Priority, collections.deque[tuple[Ticket[Request, Result], Callable[[], bool]]]] = {
            priority: collections.deque() for priority in Priority
        }
        self._size = dict.fromkeys(Priority, min(self._parameters.first, self._parameters.weight))
        self._singles = 0  # passes of single searches since the last of streams
        self._pass_seconds = 0.0
        self._was_full = False
        self._queued_meanwhile = False
        self._busy = False
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="search-queue", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """Searches that wait now."""
        with self._changed:
            return sum(map(len, self._waiting.values()))

    def submit(
        self, request: Request, priority: Priority, deadline: float, is_active: Callable[[], bool] = lambda: True
    ) -> Ticket[Request, Result]:
        """Queues a search.

        Args:
            request: what to search.
            priority: its class.
            deadline: when the answer is of no use any more, by ``clock``.
            is_active: whether anybody still waits for it; called by other threads.

        Raises:
            Overloaded: too many wait.
            Unavailable: the server stops.
        """
        ticket = Ticket(self, request, deadline, self._weigh(request))
        with self._changed:
            if self._closed:
                raise Unavailable(_STOPPING, reason="STOPPING")
            waiting = self._waiting[priority]
            if len(waiting) >= self._parameters.waiting:
                self._drop_dead()
            if len(waiting) >= self._parameters.waiting:
                raise Overloaded(
                    f"{len(waiting)} searches are waiting already; try again in a few seconds",
                    retry_seconds=max(1.0, self._pass_seconds),
                )
            waiting.append((ticket, is_active))
            self._queued_meanwhile |= self._busy
            self._changed.notify_all()
        return ticket

    def drop(self, ticket: Ticket[Request, Result]) -> None:
        """Takes a search out of the queue; one that is made already goes on for nobody."""
        with self._changed:
            for waiting in self._waiting.values():
                for item in waiting:
                    if item[0] is ticket:
                        waiting.remove(item)
                        break
            ticket.finish(DeadlineExceeded(_TOO_LATE))

    def close(self) -> None:
        """Refuses what waits, lets the pass that runs end, and stops."""
        with self._changed:
            self._closed = True
            for waiting in self._waiting.values():
                for ticket, _ in waiting:
                    ticket.finish(Unavailable(_STOPPING, reason="STOPPING"))
                waiting.clear()
            self._changed.notify_all()
        self._thread.join()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._closed or any(self._waiting.values()))
                if self._closed:
                    return
                self._wait_for_others()
                self._drop_dead()
                priority = self._next()
                batch = self._take(priority)
                self._queued_meanwhile = False
                self._busy = True
            began = self.clock()
            if batch:
                self._make(batch)
            with self._changed:
                self._busy = False
                if batch:
                    self._note(priority, sum(ticket.weight for ticket in batch), self.clock() - began)

    def _wait_for_others(self) -> None:
        window = min(self._parameters.window, self._parameters.window_share * self._pass_seconds)
        if self._queued_meanwhile and window > 0.0:
            singles, most = self._waiting[Priority.SINGLE], self._size[Priority.SINGLE]
            self._changed.wait_for(lambda: self._closed or len(singles) >= most, window)

    def _drop_dead(self) -> None:
        now = self.clock()
        for priority, waiting in self._waiting.items():
            alive = [(ticket, active) for ticket, active in waiting if ticket.deadline > now and active()]
            if len(alive) < len(waiting):
                kept = {ticket for ticket, _ in alive}
                for ticket, _ in waiting:
                    if ticket not in kept:
                        ticket.finish(DeadlineExceeded(_TOO_LATE))
                self._waiting[priority].clear()
                self._waiting[priority].extend(alive)

    def _next(self) -> Priority:
        """Whose pass the next one is."""
        if not self._waiting[Priority.BULK]:
            return Priority.SINGLE
        if self._waiting[Priority.SINGLE] and self._singles < self._parameters.singles_in_a_row:
            return Priority.SINGLE
        return Priority.BULK

    def _take(self, priority: Priority) -> list[Ticket[Request, Result]]:
        """As many as a pass may hold, one at the least."""
        waiting, room = self._waiting[priority], self._size[priority]
        taken: list[Ticket[Request, Result]] = []
        while waiting and (not taken or waiting[0][0].weight <= room):
            taken.append(waiting.popleft()[0])
            room -= taken[-1].weight
        self._was_full = bool(waiting) or room <= 0
        return taken

    def _note(self, priority: Priority, weight: int, seconds: float) -> None:
        """Keeps what the next passes are cut by."""
        self._pass_seconds = seconds
        single = priority is Priority.SINGLE
        self._singles = self._singles + 1 if single else 0
        bound = self._parameters.single_seconds if single else self._parameters.bulk_seconds
        if seconds > bound:
            self._size[priority] = max(1, weight // 2)
        elif 2 * seconds < bound and self._was_full:
            self._size[priority] = min(self._parameters.weight, 2 * max(weight, self._size[priority]))

    def _make(self, batch: Sequence[Ticket[Request, Result]]) -> None:
        try:
            outcomes = self._search([ticket.request for ticket in batch])
            for ticket, outcome in zip(batch, outcomes, strict=True):
                ticket.finish(outcome)
        except Exception as error:
            if len(batch) == 1:
                batch[0].finish(error)
                return
            for ticket in batch:
                self._make([ticket])
