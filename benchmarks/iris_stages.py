"""What the first stage of the iris search loses of what a full comparison accepts, on real and on synthetic codes.

    python -m benchmarks.iris_stages

Real: all genuine pairs of the manifests (CASIA-IrisV1 and MMU2 where none is named). Synthetic: second captures of
eyes in bulk. A pair is accepted by a comparison where its score is one that a share ``--fmr`` of the strangers of the
same kind reaches, and lost where the first stage's score is below the threshold that lets it through to the second.
Also, of the accepted ones that are in the exact scan's shortlist of ``--count`` eyes, those that are missing in that of
the two stages: an index of all the samples is searched with each of them.
Printed too: how the strangers of either kind scatter, which must be alike for the synthetic ones to be of use.
"""

from __future__ import annotations

import enrollment.threads  # noqa: F401  # isort: skip

import argparse
import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from benchmarks.real_data import manifests
from enrollment.evaluation.progress import progress_bar
from enrollment.evaluation.protocol import EvaluationSample, list_samples
from enrollment.evaluation.rates import RULE_OF_THREE, threshold_at_fmr
from enrollment.evaluation.templates import make_templates
from enrollment.settings import load_settings
from enrollment.synthesis.iris_templates import bulk_iris_templates, vary
from matcher.iris.index import IrisIndex
from matcher.iris.parameters import PARAMETERS
from matcher.iris.view import IrisScan
from matcher.positions import Modality
from matcher.templates import Template

STAGES = ("verification code", "search code", "first stage")


@dataclasses.dataclass(frozen=True, eq=False)
class StageScores:
    """Scores (0.5 - HDnorm) of pairs by the verification code, the whole search code and its beginning.

    Attributes:
        genuine, impostor: float64[pairs, 3], -inf where a comparison found too little to compare.
        missing: bool[genuine pairs], that the exact scan's shortlist holds and that of the two stages does not.
    """

    genuine: NDArray[np.float64]
    impostor: NDArray[np.float64]
    missing: NDArray[np.bool_]

    def lost(self, by: int, fmr: float) -> tuple[int, int, int]:
        """How many genuine pairs the comparison ``by`` (of ``STAGES``) accepts, and how many are lost, or missing."""
        accepted = self.genuine[:, by] >= threshold_at_fmr(self.impostor[:, by], fmr)
        below = self.genuine[:, 2] < PARAMETERS.prefix_threshold
        return int(accepted.sum()), int((accepted & below).sum()), int((accepted & self.missing).sum())


def compare_stages(templates: Sequence[Template], classes: Sequence[object], count: int) -> StageScores:
    """All pairs of templates; those of one class are genuine.

    Args:
        count: length of the shortlists that are searched for.
    """
    index = IrisIndex()
    index.append(templates)
    view, rows = index.view(), np.arange(len(templates))
    index.scan = IrisScan.EXACT
    exact = index.view()
    numbers = np.unique([repr(c) for c in classes], return_inverse=True)[1]
    genuine, impostor, missing = [], [], []
    for i, template in enumerate(templates):
        probe = index.check(template)
        scores = np.stack(
            [
                view.compare(probe, rows),
                view.compare_search_codes(probe, rows),
                view.compare_prefixes(probe, rows),
            ],
            axis=1,
        )[i + 1 :]
        same = numbers[i + 1 :] == numbers[i]
        genuine.append(scores[same])
        impostor.append(scores[~same])
        gone = np.isin(rows, exact.shortlist([probe], count)[0]) & ~np.isin(rows, view.shortlist([probe], count)[0])
        missing.append(gone[i + 1 :][same])
    mated, strange = (np.nan_to_num(np.concatenate(part), nan=-np.inf) for part in (genuine, impostor))
    return StageScores(mated, strange, np.concatenate(missing))


def synthetic_pairs(eyes: int, seed: int, count: int) -> StageScores:
    """Two captures of each of many synthetic eyes; 15 to 30 % of their bits differ, as mostly between real ones."""
    first = bulk_iris_templates(eyes, seed)
    flips = np.linspace(0.15, 0.30, eyes)
    second = [vary(eye, k, flips=float(share)) for k, (eye, share) in enumerate(zip(first, flips, strict=True))]
    return compare_stages([*first, *second], [*range(eyes), *range(eyes)], count)


def real_pairs(paths: Sequence[Path], processes: int, count: int) -> StageScores:
    """All pairs of the samples of some manifests."""
    samples = [s for path in paths for s in list_samples(path, Modality.IRIS).samples]
    with progress_bar(quiet=False) as progress:
        made = make_templates(samples, load_settings(), processes=processes, progress=progress).outcomes
    kept = [(m.template, _eye(s)) for m, s in zip(made, samples, strict=True) if m.template is not None]
    return compare_stages([template for template, _ in kept], [eye for _, eye in kept], count)


def _eye(sample: EvaluationSample) -> tuple[str, str]:
    return sample.subject_id, sample.position.name


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("manifests", type=Path, nargs="*", help="default: CASIA-IrisV1 and MMU2")
    parser.add_argument("--fmr", type=float, default=1e-4, help="false match rate at which a comparison accepts")
    parser.add_argument("--eyes", type=int, default=1500, help="synthetic eyes, of two captures each")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--count", type=int, default=150, help="length of the shortlists that are compared")
    arguments = parser.parse_args()
    lost = Table(
        "pairs", "accepted by", "accepted", "lost by the first stage", "share lost, 95 %", "missing in shortlists"
    )
    scatter = Table("strangers", *(f"{stage}: HDnorm" for stage in STAGES), "pass the first stage")
    for name, scores in (
        ("real", real_pairs(arguments.manifests or manifests(Modality.IRIS), arguments.processes, arguments.count)),
        ("synthetic", synthetic_pairs(arguments.eyes, 40, arguments.count)),
    ):
        for by in (1, 0):
            accepted, gone, missing = scores.lost(by, arguments.fmr)
            share = f"{gone / accepted:.2%}" if gone else f"below {RULE_OF_THREE / accepted:.3%}"
            lost.add_row(
                name, f"{STAGES[by]} at FMR {arguments.fmr:g}", f"{accepted:,}", str(gone), share, str(missing)
            )
        columns = [column[np.isfinite(column)] for column in scores.impostor.T]
        passed = float(np.mean(scores.impostor[:, 2] >= PARAMETERS.prefix_threshold))
        scatter.add_row(
            f"{name}, {len(scores.impostor):,} pairs",
            *(f"{0.5 - column.mean():.4f} +- {column.std():.4f}" for column in columns),
            f"{passed:.1%}",
        )
    for table in (lost, scatter):
        Console(width=160).print(table)


if __name__ == "__main__":
    main()
