"""What was not compared, and why: gates, failures, missing files, rows that could not be read."""

from __future__ import annotations

import datetime
from collections.abc import Sequence

import numpy as np

from enrollment.evaluation.bootstrap import BootstrapParameters
from enrollment.evaluation.measures import Json, share
from enrollment.evaluation.protocol import EvaluationSample, SampleList, subject_numbers
from enrollment.evaluation.templates import MadeTemplate
from matcher.errors import InvalidInput


def apply_gate(
    samples: Sequence[EvaluationSample], made: Sequence[MadeTemplate], gate: int | None, p: BootstrapParameters
) -> tuple[Json | None, list[int]]:
    """What a quality gate rejects (None without one), and the numbers of the samples that stay.

    A sample without a template stays: it is a failure to enrol, with or without a gate.

    Raises:
        InvalidInput (GATE_INVALID): not within 0-100; (NO_SAMPLES): no template stays.
    """
    if gate is None:
        return None, list(range(len(samples)))
    if not 0 <= gate <= 100:
        raise InvalidInput(f"gate is {gate}; a quality is within 0 and 100", reason="GATE_INVALID")
    rejected = np.array([m.template is not None and m.quality < gate for m in made], bool)
    if not any(m.template is not None and m.quality >= gate for m in made):
        raise InvalidInput(f"no sample with a template reaches quality {gate}; lower the gate", reason="NO_SAMPLES")
    people = subject_numbers(samples)
    told: Json = {
        "quality": gate,
        "rejected": int(rejected.sum()),
        **share("rejected_share", rejected, people, int(people.max()) + 1, p),
    }
    return told, np.flatnonzero(~rejected).tolist()


def enrolment_failures(
    samples: Sequence[EvaluationSample], made: Sequence[MadeTemplate], p: BootstrapParameters
) -> Json:
    """Counts and rate of samples without a template, and which they are.

    ``failures_to_acquire`` are those among the ``failures_to_enrol`` whose image could not be used at all.
    """
    people = subject_numbers(samples)
    failed = np.array([m.template is None for m in made], bool)
    return {
        "failures_to_enrol": int(failed.sum()),
        "failures_to_acquire": sum(m.is_unreadable for m in made),
        **share("failure_to_enrol_rate", failed, people, int(people.max()) + 1, p),
        "failed": [
            {"line": s.line, "path": s.columns["path"], "reason": m.reason, "message": m.message}
            for s, m in zip(samples, made, strict=True)
            if m.template is None
        ],
    }


def unusable_rows(listed: SampleList) -> Json:
    """Rows that are in no rate: files that are not there, rows that could not be read."""
    return {
        "missing_files": [{"line": s.line, "path": s.columns["path"]} for s in listed.missing],
        "bad_rows": [{"line": r.line, "path": r.path, "reason": r.reason} for r in listed.bad_rows],
    }


def extraction_seconds(made: Sequence[MadeTemplate]) -> float | None:
    """Mean seconds of one extraction on one thread, those of the cache included, as they were when made."""
    return float(np.mean([m.seconds for m in made])) if made else None


def header(evaluation: str, p: BootstrapParameters) -> Json:
    """What every evaluation says of itself."""
    return {
        "evaluation": evaluation,
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "confidence": {"level": p.confidence, "resamples": p.resamples, "seed": p.seed, "over": "subjects"},
    }
