"""Makes the templates of encounters ready to be stored, those of all that wait at once.

That is most of what an enrolment computes, and much of it is reading the model from memory, which is done once for all.
Whoever comes first works for those who come meanwhile, and then lets one of them work for the next; nobody waits to be
joined.
"""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Sequence

from matcher.errors import AmbisError
from matcher.records.entries import NewEncounter
from matcher.shards.backend import ShardBackend
from matcher.threads import workers

MOST = 64
"""Templates that are made ready at once, some 40 ms' work: none waits long for others."""


class Completing:
    """Thread-safe.

    Args:
        backend: the shards that are to take the templates.
        at_work: how many callers may work for all at once; None for one to every two computing threads, since each
            reads the model from memory.
    """

    def __init__(self, backend: ShardBackend, at_work: int | None = None) -> None:
        self._backend = backend
        self._most_at_work = at_work or max(1, workers().count // 2)
        self._lock = threading.Lock()
        self._waiting: list[_Waiting] = []  # who neither works nor is worked for yet
        self._working = 0

    def complete(self, encounter: NewEncounter) -> NewEncounter:
        """The encounter with its templates as they are to be stored.

        Raises:
            ModelMismatch, TemplateInvalid: the shards could not take one of them.
        """
        own = _Waiting(encounter)
        with self._lock:
            own.works = self._working < self._most_at_work
            if own.works:
                self._working += 1
            else:
                self._waiting.append(own)
        if not own.works:
            try:
                own.turn.wait()
            except BaseException:
                self._withdraw(own)
                raise
        if own.outcome is None:
            self._work(own)
        outcome = own.outcome
        assert outcome is not None
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome

    def _work(self, own: _Waiting) -> None:
        """Completes ``own`` with those that wait, and hands on."""
        some = [own]
        try:
            # Who comes until there is a thread for it is taken, too.
            workers().run(lambda: self._complete(self._joined(some)))
        except BaseException as error:
            for one in some:
                one.tell(error)
        finally:
            self._hand_on()

    def _joined(self, some: list[_Waiting]) -> list[_Waiting]:
        """``some`` with those who wait, as many as are made ready at once."""
        with self._lock:
            templates = sum(len(one.encounter.samples) for one in some)
            while self._waiting:
                templates += len(self._waiting[0].encounter.samples)
                if templates > MOST:
                    break
                some.append(self._waiting.pop(0))
        return some

    def _complete(self, some: Sequence[_Waiting]) -> None:
        try:
            outcomes = completed_encounters(self._backend, [one.encounter for one in some])
        except Exception:
            if len(some) == 1:
                raise
            for one in some:  # whose fault it is, is not known
                try:
                    self._complete([one])
                except Exception as error:
                    one.tell(error)
            return
        for one, outcome in zip(some, outcomes, strict=True):
            one.tell(outcome)

    def _hand_on(self) -> None:
        with self._lock:
            if self._waiting:
                following = self._waiting.pop(0)
                following.works = True
                following.turn.set()
            else:
                self._working -= 1

    def _withdraw(self, own: _Waiting) -> None:
        """Of a thread that is stopped while it waits."""
        with self._lock:
            if own in self._waiting:
                self._waiting.remove(own)
        if own.works:
            self._hand_on()


@dataclasses.dataclass(eq=False)
class _Waiting:
    """Has its turn when the outcome is there, or when it is to work."""

    encounter: NewEncounter
    works: bool = False
    turn: threading.Event = dataclasses.field(default_factory=threading.Event)
    outcome: NewEncounter | BaseException | None = None

    def tell(self, outcome: NewEncounter | BaseException) -> None:
        """The first outcome counts."""
        if self.outcome is None:
            self.outcome = outcome
        self.turn.set()


def completed_encounters(backend: ShardBackend, encounters: Sequence[NewEncounter]) -> list[NewEncounter | AmbisError]:
    """Encounters with their templates as they are to be stored; or why the shards could not take one of them, found out
    before the commit, as nothing could be done after."""
    checked = iter(backend.check([sample.template for encounter in encounters for sample in encounter.samples]))
    outcomes: list[NewEncounter | AmbisError] = []
    for encounter in encounters:
        samples, refused = [], None
        for sample in encounter.samples:
            template = next(checked)
            if isinstance(template, AmbisError):
                refused = refused or template
            else:
                samples.append(dataclasses.replace(sample, template=template))
        outcomes.append(refused or dataclasses.replace(encounter, samples=tuple(samples)))
    return outcomes
