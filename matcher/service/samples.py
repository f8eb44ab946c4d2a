"""Samples of a request to templates: extraction for images, checks for templates."""

from __future__ import annotations

import copy
import dataclasses
import math
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from ambis.v1 import common_pb2
from matcher.calibration import Calibrations
from matcher.errors import AmbisError, InvalidInput, ModalityUnavailable, TemplateInvalid
from matcher.positions import Modality, Position
from matcher.service.errors import found_faces, item_error
from matcher.service.extraction import (
    SEARCH,
    ExtractedSample,
    ExtractorStatus,
    FaceChoice,
    SampleUse,
    TemplateExtractor,
)
from matcher.templates import Template, template_from_bytes
from matcher.threads import workers


@dataclasses.dataclass(frozen=True)
class UsableSample:
    """A sample whose template can be enrolled or searched.

    Attributes:
        quality: 0-100, None for a template that came ready made.
        data: the image's bytes, None for a template.
        box: left, top, right, bottom, in pixels, of the face that was taken, where the image shows faces.
    """

    position: Position
    template: Template
    quality: int | None
    media_type: str
    data: bytes | None
    box: tuple[float, float, float, float] | None = None


@dataclasses.dataclass(frozen=True)
class ResolvedSamples:
    """The usable samples, and a report on every one."""

    usable: tuple[UsableSample, ...]
    reports: tuple[common_pb2.SampleReport, ...]


class SampleResolver:
    """Turns samples into templates; thread-safe.

    Args:
        extractor: image to template.
        successor: the same with the next model of a modality, where one is to be changed to.
        calibrations: a template whose algorithm has no artefact is refused.
        max_samples: samples that one request may hold.
        turns: extractions that run at the same time at most; they share the pool of computing threads.
    """

    def __init__(
        self,
        extractor: TemplateExtractor,
        calibrations: Calibrations,
        *,
        max_samples: int,
        turns: int,
        successor: TemplateExtractor | None = None,
    ) -> None:
        self._extractor = extractor
        self._successor = successor
        self._generation = 0
        self._switching = False
        self._switched = threading.Condition()
        self._calibrations = calibrations
        self._max_samples = max_samples
        self._turn = threading.BoundedSemaphore(turns)

    def status(self) -> Sequence[ExtractorStatus]:
        """What extracts now, one entry a modality."""
        return self._extractor.status()

    def successors(self) -> dict[Modality, str]:
        """The next algorithm of every modality whose model is to be changed; empty after the change."""
        if self._successor is None:
            return {}
        now = {s.modality: s.algorithm for s in self._extractor.status()}
        later = {s.modality: s.algorithm for s in self._successor.status()}
        return {m: a for m, a in later.items() if a and a != now.get(m)}

    def extract_successor(
        self, position: Position, data: bytes, media_type: str, box: tuple[float, float, float, float] | None = None
    ) -> ExtractedSample:
        """Extracts a stored sample with the next model: the face in that box, or the only one, whatever its quality.
        Raises as a TemplateExtractor."""
        if self._successor is None:
            raise ModalityUnavailable(f"this server has no next model of {position.modality}")
        successor, face = self._successor, None if box is None else FaceChoice(box=box)
        with self._turn:
            return workers().run(
                lambda: successor.extract(position, data, media_type, None, SampleUse(True, True, face))
            )

    @property
    def generation(self) -> int:
        """How often the model was changed; see ``was_superseded``."""
        return self._generation

    @contextmanager
    def switching(self) -> Iterator[None]:
        """While records and indexes are changed to the next model's templates; afterwards the next model extracts."""
        with self._switched:
            self._switching = True
        try:
            yield
            self.switch()
        finally:
            with self._switched:
                self._switching = False
                self._switched.notify_all()

    def switch(self) -> None:
        """From now on the next model extracts."""
        if self._successor is not None:
            self._extractor, self._successor = self._successor, None
            self._generation += 1

    def was_superseded(self, generation: int, seconds: float) -> bool:
        """Whether templates resolved in that generation are of a model that has been changed since.

        Waits for a change that is under way, at most so long. True: resolve the samples again.
        """
        with self._switched:
            self._switched.wait_for(lambda: not self._switching, seconds)
            return self._generation != generation

    def resolve(
        self, samples: Sequence[common_pb2.Sample], *, accept_partial: bool, prefix: str, use: SampleUse = SEARCH
    ) -> ResolvedSamples:
        """Resolves the samples of one person.

        Args:
            samples: as they came.
            accept_partial: leave out what cannot be used; otherwise the first such sample refuses the request.
            prefix: of field names in errors, e.g. ``encounter.``.
            use: what images are extracted for; which face is meant, each says itself.

        Raises:
            InvalidInput (SAMPLES_MISSING, TOO_MANY_SAMPLES), or the error of the sample that refuses the request.
        """
        if not samples:
            raise InvalidInput(
                "there is no sample; send at least one image or template",
                reason="SAMPLES_MISSING",
                field=f"{prefix}samples",
            )
        if len(samples) > self._max_samples:
            raise InvalidInput(
                f"{len(samples)} samples are more than the {self._max_samples} that one request may hold",
                reason="TOO_MANY_SAMPLES",
                field=f"{prefix}samples",
            )
        usable: list[UsableSample] = []
        reports: list[common_pb2.SampleReport] = []
        refused: AmbisError | None = None
        taken: dict[bytes, tuple[float, float, float, float] | None] = {}
        for i, sample in enumerate(samples):
            try:
                resolved, extracted = self._resolve_one(sample, use)
                if resolved.data is not None and taken.setdefault(resolved.data, resolved.box) != resolved.box:
                    raise InvalidInput(
                        "the same picture is sent twice for two different faces, but all samples of a request are "
                        "of one person; send one request for each person",
                        reason="FACE_CHOICE_INVALID",
                    )
            except AmbisError as error:
                located = _locate(error, f"{prefix}samples[{i}]")
                if not accept_partial:
                    raise located from error
                refused = refused or located
                reports.append(common_pb2.SampleReport(position=sample.position, used=False, error=item_error(located)))
                continue
            usable.append(resolved)
            report = common_pb2.SampleReport(
                position=sample.position,
                quality=resolved.quality,
                algorithm=resolved.template.algorithm,
                used=True,
            )
            if extracted is not None:
                report.advice.extend(extracted.advice)
                report.faces.extend(found_faces(extracted.faces))
                for part in extracted.components:
                    report.components.add(name=part.name, score=part.score, value=part.value, unit=part.unit)
            reports.append(report)
        if not usable and refused is not None:
            raise refused
        return ResolvedSamples(tuple(usable), tuple(reports))

    def _resolve_one(self, sample: common_pb2.Sample, use: SampleUse) -> tuple[UsableSample, ExtractedSample | None]:
        position = _position(sample.position)
        content = sample.WhichOneof("content")
        if content is None:
            raise InvalidInput("the sample is empty; send an image or a template", reason="SAMPLE_EMPTY")
        if content == "template":
            template = self._ready_made(position, sample.template)
            return UsableSample(position, template, None, "", None), None
        extracted = self._extract(position, sample.image, use)
        _ = self._calibrations[extracted.template.algorithm]
        box = next(((f.left, f.top, f.right, f.bottom) for f in extracted.faces if f.taken), None)
        usable = UsableSample(
            position, extracted.template, extracted.quality, extracted.media_type, sample.image.data, box
        )
        return usable, extracted

    def _extract(self, position: Position, image: common_pb2.Image, use: SampleUse) -> ExtractedSample:
        use = dataclasses.replace(use, face=_face_choice(position, image))
        with self._turn:
            ppi = image.ppi if image.HasField("ppi") else None
            return workers().run(lambda: self._extractor.extract(position, image.data, image.media_type, ppi, use))

    def _ready_made(self, position: Position, sent: common_pb2.Template) -> Template:
        template = template_from_bytes(sent.data)
        if template.modality is not position.modality:
            raise TemplateInvalid(
                f"the template is of modality {template.modality}, the position {position.label} is not",
                reason="POSITION_MISMATCH",
            )
        if (sent.algorithm and sent.algorithm != template.algorithm) or (
            sent.version and sent.version != template.version
        ):
            raise TemplateInvalid(
                f"the template's bytes say {template.algorithm} version {template.version}, the request says "
                f"{sent.algorithm} version {sent.version}"
            )
        if self._calibrations[template.algorithm].modality is not template.modality:
            raise TemplateInvalid(f"{template.algorithm!r} is no algorithm of {template.modality} templates")
        return template


def _position(number: int) -> Position:
    try:
        return Position(number)
    except ValueError:
        known = ", ".join(p.label for p in Position)
        raise InvalidInput(
            f"position {number} is unknown or missing; use one of: {known}", reason="POSITION_UNKNOWN", field="position"
        ) from None


def _face_choice(position: Position, image: common_pb2.Image) -> FaceChoice | None:
    chosen = image.WhichOneof("face_choice")
    if chosen is None:
        return None
    if position.modality is not Modality.FACE:
        raise InvalidInput(
            f"{chosen} is for images of faces, not of {position.label}", reason="FACE_CHOICE_INVALID", field="image"
        )
    if chosen == "face_number":
        return FaceChoice(number=image.face_number)
    box = image.face_box
    sides = (box.left, box.top, box.right, box.bottom)
    if not (all(map(math.isfinite, sides)) and box.left < box.right and box.top < box.bottom):
        raise InvalidInput(
            "face_box is no box; give left, top, right and bottom in pixels, left < right and top < bottom",
            reason="FACE_CHOICE_INVALID",
            field="image.face_box",
        )
    return FaceChoice(box=sides)


def _locate(error: AmbisError, where: str) -> AmbisError:
    """The same error with the field that is at fault."""
    located = copy.copy(error)
    located.field = f"{where}.{error.field}" if error.field else where
    located.__cause__ = error.__cause__
    return located
