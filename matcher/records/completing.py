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

MOST = 32
"""Encounters that are made ready at once, some 40 ms' work: none waits long for others."""


class Completing:
    """Thread-safe.

    Args:
        backend: the shards that are to take the templates.
    """

    def __init__(self, backend: ShardBackend) -> None:
        self._backend = backend
        self._lock = threading.Lock()
        self._waiting: list[_Waiting] = []
        self._working = False

    def complete(self, encounter: NewEncounter) -> NewEncounter:
        """The encounter with its templates as they are to be stored.

        Raises:
            ModelMismatch, TemplateInvalid: the shards could not take one of them.
        """
        own = _Waiting(encounter)
        with self._lock:
            self._waiting.append(own)
            works, self._working = not self._working, True
        if not works:
            own.turn.wait()
        if own.outcome is None:
            try:
                workers().run(self._complete_some)
            finally:
                self._let_the_next_work()
        outcome = own.outcome
        assert outcome is not None
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome

    def _complete_some(self) -> None:
        with self._lock:
            some, self._waiting = self._waiting[:MOST], self._waiting[MOST:]
        outcomes: Sequence[NewEncounter | BaseException]
        try:
            outcomes = completed_encounters(self._backend, [one.encounter for one in some])
        except BaseException as error:
            outcomes = [error] * len(some)
        for one, outcome in zip(some, outcomes, strict=True):
            one.outcome = outcome
            one.turn.set()

    def _let_the_next_work(self) -> None:
        with self._lock:
            if self._waiting:
                self._waiting[0].turn.set()
            else:
                self._working = False


@dataclasses.dataclass(eq=False)
class _Waiting:
    """Has its turn when the outcome is there, or else is to work."""

    encounter: NewEncounter
    turn: threading.Event = dataclasses.field(default_factory=threading.Event)
    outcome: NewEncounter | BaseException | None = None


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
