"""The rates of compared pairs, of all of them or of those that a column of the manifest tells apart."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from enrollment.evaluation.bootstrap import (
    BootstrapParameters,
    ScoreSet,
    interval,
    mean_replicates,
    pair_replicates,
)
from enrollment.evaluation.groups import break_down
from enrollment.evaluation.measures import FMR_TARGETS, Json, listed, operating_points, rate_key, share
from enrollment.evaluation.protocol import EvaluationSample, subject_numbers
from enrollment.evaluation.rates import discard_curve, is_supported, supported_or_none, threshold_at_fmr
from enrollment.evaluation.templates import MadeTemplate

DISCARDED = tuple(k / 100 for k in range(31))
DISCARD_FMR = (1e-3, 1e-2)


@dataclasses.dataclass(frozen=True, eq=False)
class ComparedPairs:
    """Samples, pairs of them and the pairs' scores.

    Attributes:
        samples, made: of one modality, in the order of the manifest.
        genuine_pairs: int64[g, 2]; genuine: float64[g], -inf where the comparison failed.
        impostor_pairs: int64[n, 2]; impostor: float64[n], finite: failed ones are left out before.
    """

    samples: Sequence[EvaluationSample]
    made: Sequence[MadeTemplate]
    genuine_pairs: NDArray[np.int64]
    genuine: NDArray[np.float64]
    impostor_pairs: NDArray[np.int64]
    impostor: NDArray[np.float64]

    def scores(self) -> ScoreSet:
        """The scores with the numbers of their subjects."""
        subjects = subject_numbers(self.samples)
        return ScoreSet(
            self.genuine,
            subjects[self.genuine_pairs[:, 0]],
            self.impostor,
            subjects[self.impostor_pairs],
            int(subjects.max()) + 1,
        )

    def rates(self, p: BootstrapParameters, *, curve: bool) -> Json:
        """EER, FNMR at FMR and, where asked for, the DET curve."""
        eer, points, det = operating_points(self.scores(), FMR_TARGETS, p, curve)
        result: Json = eer | {
            "fnmr_at_fmr": points["rate"],
            "fnmr_at_fmr_ci95": points["ci95"],
            "missed_at_fmr": points["missed"],
            "raw_threshold_at_fmr": points["threshold"],
            "genuine": len(self.genuine),
            "impostor": len(self.impostor),
        }
        return result | ({"det": det} if curve else {})

    def discard(self) -> Json:
        """FNMR against the share of genuine comparisons discarded by the worse of their two qualities, a failure being
        the worst of all; at the threshold of the first of ``DISCARD_FMR`` that the impostors support."""
        asked = next((f for f in DISCARD_FMR if is_supported(f, len(self.impostor))), None)
        if asked is None or not len(self.genuine):
            return {"at_fmr": None, "share": [], "fnmr": []}
        quality = np.array([m.quality for m in self.made], np.float64)[self.genuine_pairs].min(axis=1)
        curve = discard_curve(self.genuine, quality, threshold_at_fmr(self.impostor, asked), DISCARDED)
        kept = [int(len(self.genuine) * (1 - s)) for s in DISCARDED]
        fnmr = [supported_or_none(v, n) for v, n in zip(curve, kept, strict=True)]
        return {"at_fmr": asked, "share": list(DISCARDED), "fnmr": fnmr}

    def by_column(self, column: str, p: BootstrapParameters) -> Json:
        """The rates of every group of a column (``groups``), and of every two groups that genuine pairs cross.

        Beside a group's own rates stand FMR and FNMR at the thresholds that give all groups together the FMR asked for,
        as one deployment would use them (NIST IR 8280's way).
        """
        found = break_down(self.samples, self.genuine_pairs, self.impostor_pairs, column)
        thresholds = {f: threshold_at_fmr(self.impostor, f) for f in FMR_TARGETS if is_supported(f, len(self.impostor))}
        failed = np.array([m.template is None for m in self.made], bool)
        people = subject_numbers(self.samples)
        groups = []
        for one in found.groups:
            part = dataclasses.replace(
                self,
                genuine_pairs=self.genuine_pairs[one.genuine],
                genuine=self.genuine[one.genuine],
                impostor_pairs=self.impostor_pairs[one.impostor],
                impostor=self.impostor[one.impostor],
            )
            lost = failed[one.samples]
            group = {
                "value": one.value,
                "samples": len(lost),
                "failures_to_enrol": int(lost.sum()),
                **share("failure_to_enrol_rate", lost, people[one.samples], int(people.max()) + 1, p),
            }
            groups.append(group | part.rates(p, curve=False) | part._at_thresholds(thresholds, p))
        return {
            "column": found.column,
            "way": found.way,
            "impostor_comparisons": found.impostors,
            "groups": groups,
        }

    def _at_thresholds(self, thresholds: dict[float, float], p: BootstrapParameters) -> Json:
        scores = self.scores()
        cuts = np.array([*thresholds.values()], np.float64)
        missed = scores.genuine[:, None] < cuts
        matched = scores.impostor[:, None] >= cuts
        sides = {
            "fnmr": (missed, mean_replicates(missed, scores.genuine_subjects, scores.subjects, p)),
            "fmr": (matched, pair_replicates(matched, scores.impostor_subjects, scores.subjects, p)),
        }
        result: Json = {}
        for name, (hits, replicates) in sides.items():
            rates: Json = {rate_key(f): None for f in FMR_TARGETS}
            intervals: Json = dict(rates)
            for k, target in enumerate(thresholds if len(hits) else ()):
                rate = float(hits[:, k].mean())
                rates[rate_key(target)] = supported_or_none(rate, len(hits))
                intervals[rate_key(target)] = listed(interval(replicates[:, k], rate, len(hits), p))
            result |= {f"{name}_at_shared_threshold": rates, f"{name}_at_shared_threshold_ci95": intervals}
        return result
