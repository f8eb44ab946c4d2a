"""Templates of many samples: made side by side, kept, and taken up again after an interruption.

The cache is one text file per algorithm and version of the extraction code, one JSON line a sample, only ever appended
to: an interrupted run loses no more than its last line. The key of a line is the image's SHA-256, the position and the
resolution told; a failure is kept as well as a template. It holds templates of people: its folder is the user's alone.
"""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import json
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import enrollment.extract
import enrollment.images
import matcher.templates
from enrollment.evaluation.progress import ProgressCallback, no_progress
from enrollment.evaluation.protocol import EvaluationSample
from enrollment.evaluation.side_by_side import in_processes
from enrollment.models import models_folder
from enrollment.serving import load_extractors
from enrollment.settings import Settings
from matcher.errors import ModalityUnavailable, SampleRejected
from matcher.positions import Modality, Position
from matcher.service.extraction import TemplateExtractor
from matcher.templates import Template, template_from_bytes

UNREADABLE = ("IMAGE_", "MEDIA_TYPE_", "PPI_")
"""Reasons that begin like this say that the image itself could not be used: a failure to acquire."""


@dataclasses.dataclass(frozen=True)
class MadeTemplate:
    """What became of one sample.

    Attributes:
        template: None where there is none.
        quality: 0-100; -1 where there is no template.
        reason, message: why there is none; empty where there is one.
        seconds: that the extraction took, on one thread.
        sha256: of the image's bytes.
    """

    template: Template | None
    quality: int
    reason: str
    message: str
    seconds: float
    sha256: str

    @property
    def is_unreadable(self) -> bool:
        """Whether the image, rather than what it shows, was at fault."""
        return self.reason.startswith(UNREADABLE)


@dataclasses.dataclass(frozen=True)
class TemplateSet:
    """The outcome of every sample, in order.

    Attributes:
        made: how many were extracted now; the others were in the cache.
        wall_seconds: that making them took.
    """

    outcomes: tuple[MadeTemplate, ...]
    made: int
    wall_seconds: float


def default_cache() -> Path:
    """``ambis/evaluation`` in the user's cache, beside the models."""
    return models_folder().parent / "evaluation"


def code_version(modality: Modality) -> str:
    """Twelve hexadecimal digits that change with the code and fitted numbers that make the modality's templates."""
    digest = hashlib.sha256()
    others = {m.value for m in Modality} - {modality.value}
    for path in sorted(Path(enrollment.extract.__file__ or "").parent.iterdir()):
        if path.suffix in (".py", ".json") and path.stem.split("_")[0] not in others:
            digest.update(path.name.encode() + path.read_bytes())
    for module in (enrollment.images, matcher.templates):
        digest.update(Path(module.__file__ or "").read_bytes())
    return digest.hexdigest()[:12]


def make_templates(
    samples: Sequence[EvaluationSample],
    settings: Settings,
    *,
    processes: int = 1,
    cache: Path | None = None,
    progress: ProgressCallback = no_progress,
) -> TemplateSet:
    """The template of every sample, or why there is none.

    Args:
        settings: say which extractors there are.
        processes: that extract side by side.
        cache: folder; None for ``default_cache()``.
        progress: is told after every sample.

    Raises:
        ModalityUnavailable: no extractor for one of the samples' modalities.
    """
    began = time.perf_counter()
    # Loaded here as well as in the processes: what is missing is said once, before any of them starts.
    extractors = load_extractors(settings)
    algorithms = {s.modality: s.algorithm for s in extractors.status()}
    for status in extractors.status():
        if not status.algorithm and any(s.position.modality is status.modality for s in samples):
            raise ModalityUnavailable(status.detail)
    folder = cache or default_cache()
    modalities = {s.position.modality for s in samples}
    stores = {m: _Store(folder / f"{algorithms[m]}-{code_version(m)}.jsonl") for m in sorted(modalities)}
    keys = [_key(s) for s in samples]
    missing: dict[tuple[Modality, str], EvaluationSample] = {}
    for key, sample in zip(keys, samples, strict=True):
        if key not in stores[sample.position.modality].found:
            missing.setdefault((sample.position.modality, key), sample)
    progress("templates", len(samples) - len(missing), len(samples))
    tasks = [(modality, key, s.path, s.position, s.ppi) for (modality, key), s in missing.items()]
    for done, (modality, key, outcome) in enumerate(_made(tasks, settings, processes, extractors), 1):
        stores[modality].add(key, outcome)
        progress("templates", len(samples) - len(missing) + done, len(samples))
    outcomes = tuple(stores[s.position.modality].found[k] for k, s in zip(keys, samples, strict=True))
    return TemplateSet(outcomes, len(missing), time.perf_counter() - began)


def _key(sample: EvaluationSample) -> str:
    return f"{hashlib.sha256(sample.path.read_bytes()).hexdigest()}|{int(sample.position)}|{sample.ppi}"


class _Store:
    """One file of the cache; a line that was cut short by an interruption is passed over."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.found: dict[str, MadeTemplate] = {}
        self._whole = True
        if path.is_file():
            data = path.read_bytes()
            self._whole = not data or data.endswith(b"\n")
            for line in data.splitlines():
                try:
                    row = json.loads(line)
                    template = template_from_bytes(base64.b64decode(row["template"])) if row["template"] else None
                    self.found[row["key"]] = MadeTemplate(
                        template, row["quality"], row["reason"], row["message"], row["seconds"], row["sha256"]
                    )
                except (ValueError, KeyError, TypeError, SampleRejected):
                    continue

    def add(self, key: str, made: MadeTemplate) -> None:
        """Keeps one outcome, on disk at once."""
        row = dataclasses.asdict(dataclasses.replace(made, template=None)) | {
            "key": key,
            "template": base64.b64encode(made.template.to_bytes()).decode() if made.template else None,
        }
        line = json.dumps(row).encode() + b"\n"
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            # One write, so that two runs at once do not mix their lines.
            os.write(descriptor, line if self._whole else b"\n" + line)
        finally:
            os.close(descriptor)
        self._whole = True
        self.found[key] = made


_Task = tuple[Modality, str, Path, Position, float | None]
_Done = tuple[Modality, str, MadeTemplate]


def _made(tasks: Sequence[_Task], settings: Settings, processes: int, extractors: TemplateExtractor) -> Iterator[_Done]:
    """Outcomes in the order in which they are ready."""
    if processes <= 1 or len(tasks) <= 1:
        for task in tasks:
            yield _make(task, extractors)
        return
    yield from in_processes(processes, _make_there, tasks, _start, settings)


_extractors: TemplateExtractor | None = None


def _start(settings: Settings) -> None:
    global _extractors
    _extractors = load_extractors(settings)


def _make_there(task: _Task) -> _Done:
    assert _extractors is not None
    return _make(task, _extractors)


def _make(task: _Task, extractors: TemplateExtractor) -> _Done:
    modality, key, path, position, ppi = task
    data = path.read_bytes()
    digest = hashlib.sha256(data).hexdigest()
    began = time.perf_counter()
    try:
        made = extractors.extract(position, data, "", ppi)
    except SampleRejected as rejected:
        seconds = time.perf_counter() - began
        return modality, key, MadeTemplate(None, -1, rejected.reason, rejected.message, seconds, digest)
    return modality, key, MadeTemplate(made.template, made.quality, "", "", time.perf_counter() - began, digest)
