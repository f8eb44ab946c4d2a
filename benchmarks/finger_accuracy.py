"""Fingerprint verification beside mindtct with bozorth3, on sets that nothing of the comparison is fitted on.

    python -m benchmarks.finger_accuracy [--json] [--processes 2]

FVC2002 DB1_B and DB3_B, FVC2004 DB2_B, and apart, because synthetic (SFinGe), FVC2002 DB4_B and FVC2004 DB4_B. By set:
the EER of the FVC protocol (all genuine pairs, impostors of first impressions; Maio et al., TPAMI 2002) and of all
impostor pairs. Over sets: all pairs of different fingers of all five sets together, and of the three real ones.

Both sides get the same images. A pair of which AMBIS has no template, because it refused an image, is a non-match where
genuine and left out where impostor; mindtct refuses nothing. Beside the EER stands that of the pairs that could be
compared. Intervals are by bootstrap over fingers; a ~ marks what is below what the count supports (rule of three).
"""

from __future__ import annotations

import enrollment.threads  # noqa: F401  # isort: skip

import argparse
import dataclasses
import json
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from benchmarks.bozorth3_scores import bozorth3_scores
from benchmarks.real_data import dataset, is_real, manifests
from enrollment.evaluation.bootstrap import BootstrapParameters, ScoreSet
from enrollment.evaluation.comparisons import compare_pairs
from enrollment.evaluation.measures import Json, operating_points, rate_key
from enrollment.evaluation.progress import progress_bar
from enrollment.evaluation.protocol import EvaluationSample, Impostors, list_samples, make_pairs, subject_numbers
from enrollment.evaluation.rates import equal_error_rate
from enrollment.evaluation.templates import make_templates
from enrollment.settings import load_settings
from matcher.positions import Modality

QUOTED_SETS = ("fvc2002_DB1_B", "fvc2002_DB3_B", "fvc2004_DB2_B", "fvc2002_DB4_B", "fvc2004_DB4_B")
"""On which nothing of the finger comparison and of the shortlist is fitted; the last two are synthetic."""
TARGETS = (1e-2, 1e-3, 1e-4)


@dataclasses.dataclass(frozen=True, eq=False)
class Verification:
    """All pairs of the samples, compared by somebody.

    Attributes:
        pairs: int64[n, 2], numbers of samples; scores: float64[n], NaN where there is none.
        finger, first: int64[s], number of the finger; bool[s], whether the sample is the first impression of it.
    """

    pairs: NDArray[np.int64]
    scores: NDArray[np.float64]
    finger: NDArray[np.int64]
    first: NDArray[np.bool_]

    def among(self, samples: NDArray[np.bool_], impostors: Impostors) -> ScoreSet:
        """The scores of pairs of some samples (bool[s])."""
        here = samples[self.pairs].all(axis=1)
        fingers = self.finger[self.pairs]
        mated = fingers[:, 0] == fingers[:, 1]
        others = here & ~mated & ~np.isnan(self.scores)
        if impostors is Impostors.FIRST:
            others &= self.first[self.pairs].all(axis=1)
        genuine = self.scores[here & mated]
        numbers = np.cumsum(np.bincount(self.finger[samples], minlength=self.finger.max() + 1) > 0) - 1
        return ScoreSet(
            np.where(np.isnan(genuine), -math.inf, genuine),
            numbers[fingers[here & mated, 0]],
            self.scores[others],
            numbers[fingers[others]],
            int(numbers[-1]) + 1,
        )


def rates(scores: ScoreSet, p: BootstrapParameters) -> Json:
    """EER and FNMR at FMR with their intervals, and the counts."""
    eer, points, _ = operating_points(scores, TARGETS, p, curve=False)
    return {
        "fingers": scores.subjects,
        "genuine": len(scores.genuine),
        "impostor": len(scores.impostor),
        "genuine_failed": int(np.isneginf(scores.genuine).sum()),
        **eer,
        "eer_measured": equal_error_rate(scores.genuine, scores.impostor),
        "eer_of_compared": equal_error_rate(scores.genuine[np.isfinite(scores.genuine)], scores.impostor),
        "fnmr_at_fmr": points["rate"],
        "fnmr_at_fmr_ci95": points["ci95"],
        "missed_at_fmr": points["missed"],
    }


def evaluate(compared: Verification, sets: Sequence[str], p: BootstrapParameters) -> Json:
    """The rates of every set by both protocols, and over sets. ``sets[i]`` is the set of sample i."""
    names = np.array(sets)
    real = np.array([is_real(name) for name in sets], np.bool_)
    by_set = {
        name: {
            "fvc": rates(compared.among(names == name, Impostors.FIRST), p),
            "all": rates(compared.among(names == name, Impostors.ALL), p),
        }
        for name in dict.fromkeys(sets)
    }
    everybody = np.ones(len(names), np.bool_)
    across = {
        "all sets": rates(compared.among(everybody, Impostors.ALL), p),
        "real sets": rates(compared.among(real, Impostors.ALL), p),
    }
    return {"sets": by_set, "across": across}


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print JSON, and nothing else")
    parser.add_argument("--processes", type=int, default=2, help="that extract and run bozorth3 side by side")
    arguments = parser.parse_args()
    listed = [s for m in manifests(Modality.FINGER) for s in list_samples(m, Modality.FINGER).samples]
    samples = sorted(
        (s for s in listed if dataset(s.path) in QUOTED_SETS), key=lambda s: QUOTED_SETS.index(dataset(s.path))
    )
    sets = [dataset(s.path) for s in samples]
    both = make_pairs(samples, Impostors.ALL)
    pairs = np.concatenate([both.genuine, both.impostor])
    with progress_bar(quiet=arguments.json) as progress:
        made = make_templates(samples, load_settings(), processes=arguments.processes, progress=progress)
        ours = compare_pairs([o.template for o in made.outcomes], pairs, progress).scores
        theirs = bozorth3_scores(samples, pairs, processes=arguments.processes, progress=progress)
    finger, first = subject_numbers(samples), first_impressions(samples)
    p = BootstrapParameters()
    found = {
        name: evaluate(Verification(pairs, scores, finger, first), sets, p)
        for name, scores in (("AMBIS", ours), ("mindtct + bozorth3", theirs))
    }
    if arguments.json:
        print(json.dumps(found, indent=1))
    else:
        Console(width=180).print(by_set_table(found), across_table(found), sep="\n\n")


def first_impressions(samples: Sequence[EvaluationSample]) -> NDArray[np.bool_]:
    """bool[s]: whether a sample is the first of its finger."""
    first: dict[object, int] = {}
    return np.array([first.setdefault(s.body_part, k) == k for k, s in enumerate(samples)], np.bool_)


def by_set_table(found: Json) -> Table:
    """EER of every set."""
    table = Table(title="by set; 95 % intervals over fingers", show_edge=False)
    for column in ("set", "by", "EER, FVC", "EER, all impostors", "of compared", "FNMR at FMR 1 %", "pairs", "failed"):
        table.add_column(column)
    for name in next(iter(found.values()))["sets"]:
        for who, result in found.items():
            fvc, every = result["sets"][name]["fvc"], result["sets"][name]["all"]
            table.add_row(
                name if is_real(name) else f"{name} (synthetic)",
                who,
                _eer(fvc),
                _eer(every),
                f"{100 * every['eer_of_compared']:.2f} %",
                _fnmr(every, 1e-2),
                f"{every['genuine']} / {fvc['impostor']}, {every['impostor']:,}",
                str(every["genuine_failed"]),
            )
    return table


def across_table(found: Json) -> Table:
    """FNMR over sets."""
    table = Table(title="over all pairs, of different sets too; 95 % intervals over fingers", show_edge=False)
    for column in ("sets", "by", "EER", *(f"FNMR at FMR {target:g}" for target in TARGETS), "pairs", "failed"):
        table.add_column(column)
    for name in next(iter(found.values()))["across"]:
        for who, result in found.items():
            one = result["across"][name]
            counts = f"{one['genuine']:,} / {one['impostor']:,}", str(one["genuine_failed"])
            table.add_row(name, who, _eer(one), *(_fnmr(one, target) for target in TARGETS), *counts)
    return table


def _eer(rates: Json) -> str:
    return _percent(rates["eer_measured"], rates["eer"] is None, rates["eer_ci95"])


def _fnmr(rates: Json, target: float) -> str:
    key = rate_key(target)
    missed = rates["missed_at_fmr"][key]
    if missed is None:
        return "- (too few impostors)"
    shown = _percent(missed / rates["genuine"], rates["fnmr_at_fmr"][key] is None, rates["fnmr_at_fmr_ci95"][key])
    return f"{shown} ({missed})"


def _percent(rate: float, unsupported: bool, ends: list[float] | None) -> str:
    interval = "" if ends is None else f" [{100 * ends[0]:.2f}-{100 * ends[1]:.2f}]"
    return f"{'~' if unsupported else ''}{100 * rate:.2f} %{interval}"


if __name__ == "__main__":
    main()
