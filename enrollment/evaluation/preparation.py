"""What every evaluation of manifests begins with: samples, their templates, the gate, and what could not be used."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

from enrollment.evaluation.accounting import apply_gate, enrolment_failures, unusable_rows
from enrollment.evaluation.bootstrap import BootstrapParameters
from enrollment.evaluation.measures import Json
from enrollment.evaluation.progress import ProgressCallback
from enrollment.evaluation.protocol import EvaluationSample, SampleList
from enrollment.evaluation.templates import MadeTemplate, make_templates
from enrollment.settings import Settings


@dataclasses.dataclass(frozen=True)
class PreparedList:
    """One manifest's samples, ready to be compared.

    Attributes:
        samples, made: in the manifest's order, without those that the gate took away.
        gate: what it took away; None without one.
        not_used: counts and lists of failures, missing files and bad rows, as the JSON holds them.
    """

    samples: Sequence[EvaluationSample]
    made: Sequence[MadeTemplate]
    gate: Json | None
    not_used: Json


@dataclasses.dataclass(frozen=True)
class Prepared:
    """All manifests of an evaluation.

    Attributes:
        lists: by their names.
        seconds: that the templates took, and how many of them were made now.
    """

    lists: Mapping[str, PreparedList]
    seconds: Json

    @property
    def made(self) -> list[MadeTemplate]:
        """Of all lists."""
        return [m for one in self.lists.values() for m in one.made]


def prepare(
    listed: Mapping[str, SampleList],
    gate: int | None,
    parameters: BootstrapParameters,
    *,
    settings: Settings,
    processes: int,
    cache: Path | None,
    progress: ProgressCallback,
) -> Prepared:
    """Makes the templates of all lists in one go, and applies the gate.

    Raises:
        InvalidInput: see ``apply_gate``.
        ModalityUnavailable: no extractor for one of the samples' modalities.
    """
    everything = [s for one in listed.values() for s in one.samples]
    templates = make_templates(everything, settings, processes=processes, cache=cache, progress=progress)
    outcomes = iter(templates.outcomes)
    lists = {}
    for name, one in listed.items():
        made = [next(outcomes) for _ in one.samples]
        gating, kept = apply_gate(one.samples, made, gate, parameters)
        samples, made = [one.samples[i] for i in kept], [made[i] for i in kept]
        not_used = {**enrolment_failures(samples, made, parameters), **unusable_rows(one)}
        lists[name] = PreparedList(samples, made, gating, not_used)
    return Prepared(lists, {"templates": templates.wall_seconds, "templates_made_now": templates.made})
