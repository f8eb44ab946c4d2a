"""1:1 accuracy of a manifest.

Comparisons that fail (a template could not be made, or the two are not comparable) are non-matches among the genuine
ones. Among the impostors they are left out and counted: nothing was compared, and an extractor that refuses much must
not look as if it told people apart.
"""

from __future__ import annotations

import math
import time
from pathlib import Path

import numpy as np

from enrollment.evaluation.accounting import extraction_seconds, header
from enrollment.evaluation.bootstrap import BootstrapParameters
from enrollment.evaluation.comparisons import compare_pairs
from enrollment.evaluation.groups import check_column
from enrollment.evaluation.measures import Json, histogram
from enrollment.evaluation.pair_rates import ComparedPairs
from enrollment.evaluation.preparation import prepare
from enrollment.evaluation.progress import ProgressCallback, no_progress
from enrollment.evaluation.protocol import Impostors, Pairs, list_samples, make_pairs, only_modality
from enrollment.settings import Settings, load_settings
from matcher.errors import InvalidInput
from matcher.positions import Modality


def evaluate_verify(
    manifest: Path,
    impostors: str = "first",
    by: str | None = None,
    gate: int | None = None,
    *,
    modality: Modality | None = None,
    processes: int = 1,
    cache: Path | None = None,
    settings: Settings | None = None,
    parameters: BootstrapParameters | None = None,
    progress: ProgressCallback = no_progress,
) -> Json:
    """Measures 1:1 accuracy; ``measures`` says how rates stand in the answer.

    Args:
        manifest: see ``enrollment.manifest``.
        impostors: "first" or "all"; see ``protocol``.
        by: column of the manifest by which the rates are broken down as well; see ``groups``.
        gate: samples of a lower quality (0-100) are taken away before anything is compared; their share is told.
        modality: of the rows that are used; needed where the manifest has several.
        processes: that extract templates side by side; comparisons run on one thread.
        cache: folder of templates kept; see ``templates``.
        parameters: of the intervals.

    Returns:
        ``eer``, ``fnmr_at_fmr``, ``genuine``, ``impostor``, ``failures_to_enrol``, ``extraction_seconds`` (mean of a
        sample on one thread), ``comparisons_per_second`` and more; every rate with its ``_ci95``.

    Raises:
        InvalidInput: the manifest or an option cannot be used, or there is nothing to compare.
        ModalityUnavailable: no extractor for the modality.
    """
    p = parameters or BootstrapParameters()
    if impostors not in {i.value for i in Impostors}:
        raise InvalidInput(f"impostors is {impostors!r}; use first or all", reason="IMPOSTORS_INVALID")
    listed = list_samples(manifest, modality)
    kind = only_modality(listed.samples)
    _check_pairs(make_pairs(listed.samples, Impostors(impostors)))
    if by is not None:
        check_column(listed.samples, by)
    prepared = prepare(
        {"": listed}, gate, p, settings=settings or load_settings(), processes=processes, cache=cache, progress=progress
    )
    (ready,) = prepared.lists.values()
    samples, made = ready.samples, ready.made
    pairs = make_pairs(samples, Impostors(impostors))
    compared = compare_pairs([m.template for m in made], np.concatenate([pairs.genuine, pairs.impostor]), progress)
    genuine, impostor = np.split(compared.scores, [len(pairs.genuine)])
    took_place = ~np.isnan(impostor)
    view = ComparedPairs(
        samples,
        made,
        pairs.genuine,
        np.where(np.isnan(genuine), -math.inf, genuine),
        pairs.impostor[took_place],
        impostor[took_place],
    )
    began = time.perf_counter()
    progress("intervals", 0, 1)
    rates = view.rates(p, curve=True)
    groups = view.by_column(by, p) if by is not None else None
    progress("intervals", 1, 1)
    seconds = {
        **prepared.seconds,
        "comparisons": compared.seconds,
        "intervals": time.perf_counter() - began,
    }
    scored = int(np.isfinite(compared.scores).sum())
    return {
        **header("verify", p),
        "manifest": manifest.name,
        "modality": kind.value,
        "algorithm": next((m.template.algorithm for m in made if m.template is not None), None),
        "impostors": impostors,
        "samples": len(samples),
        "subjects": len({s.subject_id for s in samples}),
        "classes": len({s.body_part for s in samples}),
        "gate": ready.gate,
        **rates,
        "genuine_failed": int(np.isnan(genuine).sum()),
        "impostor_failed": int((~took_place).sum()),
        "ambiguous_pairs": pairs.ambiguous,
        **ready.not_used,
        "extraction_seconds": extraction_seconds(made),
        "comparisons_per_second": scored / compared.seconds if compared.seconds > 0 else None,
        "seconds": seconds,
        "histogram": histogram(view.scores()),
        "discard": view.discard(),
        "by": groups,
    }


def _check_pairs(pairs: Pairs) -> None:
    if not len(pairs.genuine) or not len(pairs.impostor):
        raise InvalidInput(
            f"the manifest gives {len(pairs.genuine):,} genuine and {len(pairs.impostor):,} impostor comparisons; "
            "rates need both: several samples of a subject at one position, and samples of several subjects",
            reason="COMPARISONS_MISSING",
        )
