"""Changes the model of a modality: extracts stored samples anew in the background, then switches.

1. ``start`` notes the change in the records. A thread takes samples that the next model has not been tried on, by id,
   extracts them, and saves templates or reasons in groups. It goes on with samples that are enrolled meanwhile, and
   after a restart where it was.
2. ``complete`` stops the thread for a moment and, on the writing thread, so that nothing is enrolled in between, tries
   the last samples, refuses where more have failed than the caller accepts, and switches records, indexes and
   extraction to the next model.
3. The thread then overwrites the old templates with the new ones.
"""

from __future__ import annotations

import dataclasses
import enum
import logging
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from matcher.calibration import Calibrations
from matcher.errors import AmbisError, ModelMismatch, PreconditionFailed
from matcher.gallery import Gallery
from matcher.positions import Modality
from matcher.records.committer import Committer
from matcher.records.entries import MigrationProgress, StoredSample, Successor, UnmigratedSample
from matcher.records.store import RecordStore
from matcher.service.samples import SampleResolver

log = logging.getLogger(__name__)

SAMPLE_NOT_KEPT = "SAMPLE_NOT_KEPT"


@dataclasses.dataclass(frozen=True)
class ModelChangeParameters:
    """How the background work is cut.

    Attributes:
        group: samples extracted and saved at once; what a crash costs.
        last: samples that ``complete`` extracts itself at most, while changes wait.
        settle: templates overwritten in one transaction.
        breath: seconds between two groups.
        idle: seconds between looks for new samples.
        pause: seconds after a failure of the records.
    """

    group: int = 16
    last: int = 64
    settle: int = 256
    breath: float = 0.005
    idle: float = 0.5
    pause: float = 5.0


class ModelChangeState(enum.Enum):
    """Where a change of model stands."""

    NONE = enum.auto()
    EXTRACTING = enum.auto()
    READY = enum.auto()
    SETTLING = enum.auto()


@dataclasses.dataclass(frozen=True)
class ModelChangeStatus:
    """How far a change of model is; see ``ambis.v1.Migration``."""

    state: ModelChangeState
    modality: Modality | None
    algorithm: str
    next_algorithm: str
    progress: MigrationProgress
    subjects_missed: int
    problem: str


class ModelChange:
    """See the module. Thread-safe.

    Args:
        store: the records.
        committer: the one writer.
        resolver: extracts, and knows the next model.
        calibrations: the next model needs an artefact, or nobody could be searched for after the change.
        workers: stored samples that are extracted side by side.
        parameters: see the class.
    """

    def __init__(
        self,
        store: RecordStore,
        committer: Committer,
        resolver: SampleResolver,
        calibrations: Calibrations,
        workers: int = 1,
        parameters: ModelChangeParameters | None = None,
    ) -> None:
        self._store = store
        self._records = store.migrations
        self._committer = committer
        self._resolver = resolver
        self._calibrations = calibrations
        self._parameters = parameters or ModelChangeParameters()
        self._work = threading.Lock()  # held by whoever advances, completes or cancels
        self._wake = threading.Event()
        self._stopping = False
        self._cursor = 0
        self._problem = ""
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="model-change")
        self._thread = threading.Thread(target=self._run, name="model-change", daemon=True)
        self._thread.start()

    def start(self, *, retry_failed: bool = False) -> ModelChangeStatus:
        """Begins the change that the server is set up for, or goes on with it.

        Raises:
            PreconditionFailed: NO_NEXT_MODEL, the server was given none, or it is in use already;
                MIGRATION_SETTLING, the last change is not done yet.
            NotCalibrated: the next model has no artefact.
        """
        with self._work:
            modality, algorithm = self._next()
            _ = self._calibrations[algorithm]
            if not self._records.is_settled():
                raise PreconditionFailed(
                    "the last change of model is not done yet: old templates are being overwritten; try again in a "
                    "few minutes",
                    reason="MIGRATION_SETTLING",
                )
            self._committer.run(lambda: self._records.begin(modality, algorithm))
            if retry_failed:
                self._committer.run(lambda: self._records.forget_failures(algorithm))
            self._cursor = 0
            log.info("the %s model is to be changed to %s", modality, algorithm)
        self._wake.set()
        return self.status()

    def status(self) -> ModelChangeStatus:
        """How far the change is."""
        none = MigrationProgress(0, 0, 0)
        successors = self._resolver.successors()
        modality, algorithm = next(iter(successors.items()), (None, ""))
        present = next((s.algorithm for s in self._resolver.status() if s.modality is modality), "")
        state, progress, missed = ModelChangeState.NONE, none, 0
        if not self._records.is_settled():
            state = ModelChangeState.SETTLING
        elif modality is not None and self._records.target(modality) == algorithm:
            progress = self._records.progress(modality, algorithm)
            state = ModelChangeState.EXTRACTING if progress.left else ModelChangeState.READY
            if progress.failed and not progress.left:
                missed = self._records.subjects_missed(modality, algorithm)
        return ModelChangeStatus(state, modality, present, algorithm, progress, missed, self._problem)

    def unmigrated(self) -> Iterator[UnmigratedSample]:
        """Every sample that the next model failed on; raises as ``start``."""
        _, algorithm = self._next()
        return self._records.unmigrated(algorithm)

    def complete(self, leave_out: int, transaction_id: str) -> int:
        """Switches to the next model; returns the LSN of the change.

        Args:
            leave_out: samples that may have failed. They stay on record, but no search sees them any more.
            transaction_id: for the change log.

        Raises:
            PreconditionFailed: NO_NEXT_MODEL; MIGRATION_NOT_STARTED; MIGRATION_INCOMPLETE, samples are left;
                SAMPLES_WOULD_BE_MISSED, more have failed. Nothing is changed.
        """
        with self._work:
            modality, algorithm = self._next()
            if self._records.target(modality) != algorithm:
                raise PreconditionFailed(
                    f"the change to {algorithm} has not been started; run: ambis models migrate",
                    reason="MIGRATION_NOT_STARTED",
                )

            def prepare() -> None:
                self._check_complete(modality, algorithm, leave_out)

            with self._resolver.switching():
                lsn = self._committer.switch_model(modality, algorithm, transaction_id, prepare)
            log.info("the %s model is %s now, change %d, transaction %s", modality, algorithm, lsn, transaction_id)
        self._wake.set()
        return lsn

    def _check_complete(self, modality: Modality, algorithm: str, leave_out: int) -> None:
        """On the writing thread: tries the last samples, and raises unless the switch may be made."""
        last = self._parameters.last
        pending = self._records.pending(modality, algorithm, self._cursor, last + 1)
        if len(pending) <= last:
            self._records.save(algorithm, [self._extract(algorithm, sample) for sample in pending])
        progress = self._records.progress(modality, algorithm)
        if progress.left:
            raise PreconditionFailed(
                f"{progress.left} of {progress.samples} samples have not been extracted with {algorithm} yet; searches "
                "go on with the present model until they are",
                reason="MIGRATION_INCOMPLETE",
            )
        if progress.failed > leave_out:
            missed = self._records.subjects_missed(modality, algorithm)
            raise PreconditionFailed(
                f"{progress.failed} of {progress.samples} samples have no template of {algorithm}: after the switch no "
                f"search would see them. Subjects that every {modality} search would miss: {missed}. List them, enrol "
                f"better samples of them, or accept it with: ambis models migrate --leave-out {progress.failed}",
                reason="SAMPLES_WOULD_BE_MISSED",
            )

    def cancel(self) -> ModelChangeStatus:
        """Drops the change that is being prepared; raises as ``start`` (NO_NEXT_MODEL)."""
        with self._work:
            modality, _ = self._next()
            self._committer.run(lambda: self._records.cancel(modality))
        return self.status()

    def close(self) -> None:
        """Stops the background work; what is saved stays."""
        self._stopping = True
        self._wake.set()
        self._thread.join()
        self._pool.shutdown()

    def _next(self) -> tuple[Modality, str]:
        successors = self._resolver.successors()
        if not successors:
            raise PreconditionFailed(
                "this server has no next model, or it is in use already; name one in face_pack_next and restart the "
                "server",
                reason="NO_NEXT_MODEL",
            )
        return next(iter(successors.items()))

    def _run(self) -> None:
        while True:
            self._wake.clear()
            if self._stopping:  # asked after the clearing, which may have taken back what close() set
                return
            try:
                with self._work:
                    worked = self._settle() or self._advance()
                if worked:
                    wait: float | None = self._parameters.breath  # whoever waits for the lock must get it
                else:
                    wait = self._parameters.idle if self._is_prepared() else None
                self._problem = ""
            except Exception as error:
                if self._stopping:
                    return
                log.exception("the change of model pauses")
                self._problem = (
                    error.message if isinstance(error, AmbisError) else f"{type(error).__name__}: see the log"
                )
                wait = self._parameters.pause
            self._wake.wait(wait)

    def _is_prepared(self) -> bool:
        """Whether a change is under way, so that samples may come in that it has to take along."""
        return any(self._records.target(m) == a for m, a in self._resolver.successors().items())

    def _settle(self) -> bool:
        if self._records.is_settled():
            return False
        moved = self._committer.run(lambda: self._records.settle(self._parameters.settle))
        if self._records.is_settled():
            log.info("the old templates are overwritten")
        return moved > 0

    def _advance(self) -> bool:
        """Extracts one group; whether there was any."""
        modality, algorithm = next(iter(self._resolver.successors().items()), (None, ""))
        if modality is None or self._records.target(modality) != algorithm:
            return False
        pending = self._records.pending(modality, algorithm, self._cursor, self._parameters.group)
        if not pending:
            return False
        successors = list(self._pool.map(lambda sample: self._extract(algorithm, sample), pending))
        self._committer.run(lambda: self._records.save(algorithm, successors))
        self._cursor = pending[-1].sample
        return True

    def _extract(self, algorithm: str, sample: StoredSample) -> Successor:
        """What the next model makes of a sample; never raises for the sample's sake."""
        if not sample.sha256:
            return Successor(
                sample.sample, None, reason=SAMPLE_NOT_KEPT, message="only a template is on record, no image to extract"
            )
        try:
            data = self._store.files.read(sample.sha256)
            extracted = self._resolver.extract_successor(sample.position, data, sample.media_type, sample.box)
            template = extracted.template
            Gallery().check(template)
        except AmbisError as error:
            return Successor(sample.sample, None, reason=error.reason, message=error.message)
        except OSError as error:
            return Successor(
                sample.sample, None, reason="SAMPLE_UNREADABLE", message=f"its file cannot be read: {error.strerror}"
            )
        if template.algorithm != algorithm:
            raise ModelMismatch(f"the next model gave a template of {template.algorithm}, not of {algorithm}")
        return Successor(sample.sample, template, extracted.quality)
