"""Feeds the record store and the shards from one thread, in groups.

Requests from many threads queue up while a commit waits for the disk; the next commit takes them all (group commit). A
change is acknowledged when it is on disk and the shards have applied it, so that whoever was acknowledged finds it.
"""

from __future__ import annotations

import dataclasses
import itertools
import logging
import queue
import threading
from collections.abc import Callable, Sequence, Set
from concurrent.futures import Future
from typing import Any, TypeVar

from matcher.changes import Change
from matcher.errors import AmbisError, Overloaded, StorageFailure, Unavailable
from matcher.gallery_view import IndexKey
from matcher.positions import Modality
from matcher.records.completing import Completing, completed_encounters
from matcher.records.entries import Deletion, NewEncounter, Receipt
from matcher.records.store import RecordStore
from matcher.shards.backend import ShardBackend

log = logging.getLogger(__name__)
T = TypeVar("T")
_STOPPING = "the server is stopping; send the request again in a moment"


@dataclasses.dataclass(frozen=True)
class CommitterParameters:
    """Bounds of the queue."""

    group: int = 256
    """Encounters in one transaction at most; bounds the latency of the last one."""
    queue: int = 1024
    """Changes waiting at most; beyond it callers are told to come again."""


@dataclasses.dataclass(frozen=True)
class _Enrolment:
    """``encounter`` is as the shards want it, which knew references of all in ``beside`` when they were asked."""

    encounter: NewEncounter
    done: Future[Receipt]
    beside: Set[IndexKey]


@dataclasses.dataclass(frozen=True)
class _Deletion:
    subject_id: str
    transaction_id: str
    done: Future[Deletion]


@dataclasses.dataclass(frozen=True)
class _Task:
    work: Callable[[], Any]
    done: Future[Any]


class Committer:
    """The one writer. Brings the shards up to the records when made.

    Args:
        store: records; only this object writes them from now on.
        backend: shards; only this object changes them from now on.
        parameters: see the class.
        on_fault: called once, when the indexes can no longer follow the records.
    """

    def __init__(
        self,
        store: RecordStore,
        backend: ShardBackend,
        parameters: CommitterParameters | None = None,
        on_fault: Callable[[], None] = lambda: None,
    ) -> None:
        self._store = store
        self._backend = backend
        self._on_fault = on_fault
        self._parameters = parameters or CommitterParameters()
        self._completing = Completing(backend)
        self._queue: queue.Queue[_Enrolment | _Deletion | _Task | None] = queue.Queue(self._parameters.queue)
        self._applied = threading.Condition()
        self._broken = ""
        self._closed = False
        self._stopped = False
        self._catch_up()
        self._thread = threading.Thread(target=self._run, name="committer", daemon=True)
        self._thread.start()

    def _catch_up(self) -> None:
        last = self._store.last_lsn()
        for group in self._store.changes(self._backend.applied_lsn):
            try:
                self._backend.apply(group, group[-1].lsn)
            except StorageFailure:
                raise  # no room beside the indexes: the records are sound, and it says what to do
            except Exception as error:
                raise StorageFailure(
                    f"a record among the changes {group[0].lsn}-{group[-1].lsn} cannot be indexed: {error}. "
                    "Restore a backup, or report this with the server's log"
                ) from error
        self._backend.apply([], last)

    def enrol(self, encounter: NewEncounter, timeout: float | None = None) -> Receipt:
        """Enrols an encounter; returns when it is on disk and searchable.

        What computes is done in the threads that call (or one of the pool's), so that the one that writes only writes.

        Raises:
            ModelMismatch, TemplateInvalid: the shards could not take a template.
            AlreadyExists, NotFound, PreconditionFailed: see RecordStore.enrol.
            Overloaded: too many changes are waiting.
            StorageFailure, Unavailable: not acknowledged; sending it again with the same key is safe.
        """
        done: Future[Receipt] = Future()
        beside = self._known_keys()
        completed = self._completing.complete(encounter)
        self._put(_Enrolment(completed, done, beside), timeout)
        return done.result()

    def delete_subject(self, subject_id: str, transaction_id: str, timeout: float | None = None) -> Deletion:
        """Deletes a subject; returns when it is gone from disk and from searches. Raises as ``enrol``."""
        done: Future[Deletion] = Future()
        self._put(_Deletion(subject_id, transaction_id, done), timeout)
        return done.result()

    def run(self, work: Callable[[], T], timeout: float | None = None) -> T:
        """Runs work on the writing thread, between two groups of changes. Raises as ``enrol``, and what it raises."""
        done: Future[T] = Future()
        self._put(_Task(work, done), timeout)
        return done.result()

    def switch_model(self, modality: Modality, algorithm: str, transaction_id: str, prepare: Callable[[], None]) -> int:
        """Makes searches see the successors that an algorithm made of all samples of a modality; returns the LSN.

        Changes wait meanwhile, searches go on with the templates of before until all is done.

        Args:
            prepare: called on the writing thread first; what it raises leaves all as it is.
        """
        return self.run(lambda: self._switch_model(modality, algorithm, transaction_id, prepare))

    def _switch_model(
        self, modality: Modality, algorithm: str, transaction_id: str, prepare: Callable[[], None]
    ) -> int:
        prepare()
        committed: list[int] = []

        def commit() -> int:
            committed.append(self._store.migrations.switch(modality, algorithm, transaction_id))
            return committed[0]

        references = self._store.migrations.references(modality, algorithm)
        try:
            self._backend.replace(modality, algorithm, references, commit)
        except Exception as error:
            if not committed:
                raise
            raise self._index_fault(committed[0], committed[0]) from error
        self._tell_applied()
        return committed[0]

    def wait_for(self, lsn: int, timeout: float) -> bool:
        """Waits until searches see ``lsn``; False when the timeout (seconds) passes first, or the server stops."""
        with self._applied:
            self._applied.wait_for(lambda: self._backend.applied_lsn >= lsn or self._closed, timeout)
            return self._backend.applied_lsn >= lsn

    @property
    def waiting(self) -> int:
        """Changes that wait for the writing thread, about."""
        return self._queue.qsize()

    @property
    def fault(self) -> str:
        """Why the indexes can no longer be trusted to hold every record; empty when all is well."""
        return self._broken

    def close(self) -> None:
        """Finishes what is queued and stops."""
        self._closed = True
        with self._applied:
            self._applied.notify_all()
        self._queue.put(None)
        self._thread.join()
        self._stopped = True
        self._refuse_waiting()

    def _put(self, item: _Enrolment | _Deletion | _Task, timeout: float | None) -> None:
        if self._broken:
            raise Unavailable(self._broken, reason="INDEX_FAULT")
        if self._closed:
            raise Unavailable(_STOPPING, reason="STOPPING")
        try:
            self._queue.put(item, timeout=10.0 if timeout is None else max(0.0, timeout))
        except queue.Full:
            raise Overloaded("too many changes are waiting to be written; try again in a few seconds") from None
        if self._stopped:  # it came in between the check above and the end of the thread
            self._refuse_waiting()

    def _refuse_waiting(self) -> None:
        while True:
            try:
                item = self._queue.get_nowait()
            except queue.Empty:
                return
            if item is not None:
                item.done.set_exception(Unavailable(_STOPPING, reason="STOPPING"))

    def _run(self) -> None:
        stopping = False
        while not stopping:
            waiting = [self._queue.get()]
            while len(waiting) < self._parameters.group:
                try:
                    waiting.append(self._queue.get_nowait())
                except queue.Empty:
                    break
            stopping = None in waiting
            items = [item for item in waiting if item is not None]
            for enrolments, part in itertools.groupby(items, lambda item: isinstance(item, _Enrolment)):
                if enrolments:
                    self._enrol_group([item for item in part if isinstance(item, _Enrolment)])
                else:
                    for item in part:
                        if isinstance(item, _Deletion):
                            self._delete(item)
                        elif isinstance(item, _Task):
                            self._run_task(item)

    def _enrol_group(self, offered: Sequence[_Enrolment]) -> None:
        keys = {(s.template.modality, s.template.algorithm) for o in offered for s in o.encounter.samples}
        if len(offered) > 1 and not keys <= self._known_keys():
            for item in offered:  # the first of a kind decides which others fit beside it
                self._enrol_group([item])
            return
        group: list[_Enrolment] = []
        encounters: list[NewEncounter] = []
        try:
            for item in offered:
                try:
                    encounters.append(self._fitting(item))
                except AmbisError as refusal:
                    item.done.set_exception(refusal)
                else:
                    group.append(item)
            # Before the commit: what cannot be indexed afterwards would stop all searching.
            self._backend.reserve([(e.subject_id, s.position, s.template) for e in encounters for s in e.samples])
            outcomes = self._store.enrol(encounters)
            changes = [o[1] for o in outcomes if not isinstance(o, AmbisError) and o[1] is not None]
            self._apply(changes)
        except Exception as error:
            for item in offered:
                if not item.done.done():
                    item.done.set_exception(error)
            return
        for item, outcome in zip(group, outcomes, strict=True):
            if isinstance(outcome, AmbisError):
                item.done.set_exception(outcome)
            else:
                item.done.set_result(outcome[0])

    def _known_keys(self) -> set[IndexKey]:
        return {key for key, count in self._backend.references().items() if count}

    def _fitting(self, item: _Enrolment) -> NewEncounter:
        """The encounter, when the shards can take it now.

        They were asked before it was queued. Since then a model may have been changed, or a first template of a
        modality have come in, which decides what others fit beside it: then they are asked again. Nothing changes
        between this and the commit, because both are on the writing thread.

        Raises:
            AmbisError: the shards could not take a template.
        """
        known = self._known_keys()
        for sample in item.encounter.samples:
            modality, algorithm = sample.template.modality, sample.template.algorithm
            here = {key for key in known if key[0] is modality}
            if here != {(modality, algorithm)} or not here <= item.beside:
                (completed,) = completed_encounters(self._backend, [item.encounter])
                if isinstance(completed, AmbisError):
                    raise completed
                return completed
        return item.encounter

    def _delete(self, item: _Deletion) -> None:
        try:
            deletion, change = self._store.delete_subject(item.subject_id, item.transaction_id)
            self._apply([change])
        except Exception as error:
            item.done.set_exception(error)
        else:
            item.done.set_result(deletion)

    @staticmethod
    def _run_task(item: _Task) -> None:
        try:
            result = item.work()
        except Exception as error:
            item.done.set_exception(error)
        else:
            item.done.set_result(result)

    def _apply(self, changes: Sequence[Change]) -> None:
        if not changes:
            return
        try:
            self._backend.apply(changes, changes[-1].lsn)
        except Exception as error:
            raise self._index_fault(changes[0].lsn, changes[-1].lsn) from error
        self._tell_applied()

    def _index_fault(self, first: int, last: int) -> Unavailable:
        self._broken = (
            "the records were written but the search indexes could not follow; searches would be incomplete. "
            "Restart the server: it rebuilds the indexes from the records"
        )
        self._on_fault()
        log.exception("applying changes %d-%d failed", first, last)
        return Unavailable(self._broken, reason="INDEX_FAULT")

    def _tell_applied(self) -> None:
        with self._applied:
            self._applied.notify_all()
