"""How a calibration holds on people whom it was not fitted on.

The subjects are cut into random halves; an artefact is fitted on one half and observed on the other, then the other way
round (after Dietterich, Neural Computation 1998). Observed is:

- FMR: the share of impostor comparisons that reach a score, against the one that the score stands for. Pooled over the
  halves: errors of one cut cancel, a bias does not.
- LLR: what deciding by the ratios costs, as cross entropy at the prior of the fit and at 0.5 (Cllr), against the least
  that any monotone map of the same scores could cost (Brümmer & du Preez, "Application-independent evaluation of
  speaker detection", 2006).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from enrollment.calibration.scores import SubjectScores
from enrollment.evaluation.progress import ProgressCallback, no_progress
from enrollment.evaluation.rates import is_supported
from matcher.calibration import Calibration, CalibrationParameters, RatioFit, fit_calibration, fit_ratio
from matcher.errors import InvalidInput
from matcher.isotonic import least_cross_entropy
from matcher.logistic import cross_entropy
from matcher.positions import Modality

LEVELS = tuple(digit * 10.0**-power for power in range(2, 9) for digit in (1, 0.3))
"""False match rates asked: 1e-2, 3e-3, 1e-3 ..."""
REPEATS = 5
"""Cuts into halves, each used both ways (Dietterich's 5 x 2)."""
LOWEST, HIGHEST = 0.5, 2.0
"""Observed over asked, within which a calibration counts as honest."""
MINIMUM_SUBJECTS = 20
MINIMUM_GENUINE = 400
MINIMUM_IMPOSTOR = 10_000
"""So that a random half has what a fit needs (100 genuine and 1,000 impostor comparisons) even when it is unlucky: a
half of the subjects has half of the genuine comparisons but a quarter of the impostors."""


@dataclasses.dataclass(frozen=True)
class LevelCheck:
    """One false match rate, pooled over the halves.

    Attributes:
        asked: 0-1.
        observed: share of the impostor comparisons of people not used that reached the score.
        count: that reached it, over all halves (a comparison is in several of them).
        ratio: observed / asked; ratio_sd: standard deviation of the halves' own ratios.
        expected: comparisons of one half (mean) that should reach it, 3 or more (rule of three).
        supported: whether it is 3 or more after division by the design effect too.
    """

    asked: float
    observed: float
    count: int
    ratio: float
    ratio_sd: float
    expected: float
    supported: bool


@dataclasses.dataclass(frozen=True)
class RatioCheck:
    """Costs of log-likelihood ratios, mean over the halves; as shares of the cost of no evidence, 0 is best.

    Attributes:
        prior: at which ``cross_entropy`` is taken; ``cllr`` is taken at 0.5.
        cross_entropy, cllr: of each way to fit the ratios.
        least_cross_entropy, least_cllr: of any monotone map, fitted on the same comparisons.
        advantage: by how much the cross entropy of isotonic lies below that of logistic regression; advantage_se: its
            standard error over the halves.
    """

    prior: float
    cross_entropy: dict[RatioFit, float]
    cllr: dict[RatioFit, float]
    least_cross_entropy: float
    least_cllr: float
    advantage: float
    advantage_se: float

    @property
    def chosen(self) -> RatioFit:
        """Isotonic where it is better by more than one standard error, else the simpler one (Breiman et al.,
        "Classification and Regression Trees", 1984, section 3.4.3)."""
        return RatioFit.ISOTONIC if self.advantage > self.advantage_se else RatioFit.LOGISTIC


@dataclasses.dataclass(frozen=True)
class CrossCheck:
    """The outcome.

    Attributes:
        halves: that were fitted; 2 for each cut.
        comparisons: impostor comparisons of the observed half, mean; design_effect: of the fitted half, mean.
    """

    halves: int
    comparisons: float
    design_effect: float
    levels: tuple[LevelCheck, ...]
    ratios: RatioCheck

    @property
    def failures(self) -> tuple[float, ...]:
        """The rates asked that the people are enough for and that are not kept within a factor of two."""
        return tuple(x.asked for x in self.levels if x.supported and not LOWEST <= x.ratio <= HIGHEST)

    def to_json(self) -> dict[str, Any]:
        """As the artefact holds it in ``about.goodness``."""
        r = self.ratios
        return {
            "method": f"fitted on one random half of the subjects, observed on the other; {self.halves} halves",
            "impostor_comparisons_of_a_half": round(self.comparisons),
            "design_effect_of_a_half": round(self.design_effect, 2),
            "fmr": [
                {
                    "asked": level.asked,
                    "observed": float(f"{level.observed:.3g}"),
                    "observed_over_asked": round(level.ratio, 3),
                    "sd_over_halves": round(level.ratio_sd, 3),
                    "supported": level.supported,
                }
                for level in self.levels
            ],
            "holds": not self.failures,
            "llr": {
                "prior": r.prior,
                "cross_entropy": {k.value: round(v, 5) for k, v in r.cross_entropy.items()},
                "least_cross_entropy": round(r.least_cross_entropy, 5),
                "cllr": {k.value: round(v, 5) for k, v in r.cllr.items()},
                "least_cllr": round(r.least_cllr, 5),
                "chosen": r.chosen.value,
            },
        }


def require_enough(scores: SubjectScores) -> None:
    """Raises InvalidInput (CALIBRATION_DATA) where the data cannot be calibrated on and checked."""
    wanted = {
        "subjects": (scores.subjects, MINIMUM_SUBJECTS),
        "genuine comparisons": (len(scores.genuine), MINIMUM_GENUINE),
        "impostor comparisons": (len(scores.impostor), MINIMUM_IMPOSTOR),
    }
    short = [f"{have:,} {name} of {least:,}" for name, (have, least) in wanted.items() if have < least]
    if short:
        raise InvalidInput(
            f"too little data to calibrate: {', '.join(short)} that are needed. About 70 people with 4 samples each "
            "of one position are enough to begin with; thousands are needed to vouch for a HIT in a large gallery",
            reason="CALIBRATION_DATA",
        )


def random_halves(subjects: int, repeats: int, seed: int) -> Iterator[NDArray[np.bool_]]:
    """bool[subjects]: a random half and then the rest, ``repeats`` times."""
    rng = np.random.default_rng(seed)
    for _ in range(repeats):
        half = np.zeros(subjects, np.bool_)
        half[rng.permutation(subjects)[: subjects // 2]] = True
        yield half
        yield ~half


def fit_scores(
    modality: Modality, algorithm: str, scores: SubjectScores, parameters: CalibrationParameters, about: dict[str, Any]
) -> Calibration:
    """An artefact of all these scores, its ratios logistic."""
    return fit_calibration(
        modality, algorithm, scores.genuine, scores.impostor, about, scores.impostor_subjects, parameters
    )


def observed_counts(calibration: Calibration, impostor: NDArray[np.float64], asked: Sequence[float]) -> NDArray[Any]:
    """int64[levels]: how many of raw scores reach the score of each false match rate asked."""
    reached = np.sort(calibration.to_score(impostor))
    wanted = -10 * np.log10(np.asarray(asked, np.float64))
    return len(reached) - np.searchsorted(reached, wanted - 1e-9, side="left")


def cross_check(
    scores: SubjectScores,
    *,
    parameters: CalibrationParameters | None = None,
    repeats: int = REPEATS,
    seed: int = 12,
    levels: Sequence[float] = LEVELS,
    progress: ProgressCallback = no_progress,
) -> CrossCheck:
    """Fits on halves of the subjects and observes on the others.

    Args:
        scores: raw scores of all subjects.
        parameters: of the fits.
        repeats: cuts, each used both ways.
        seed: of the cuts.
        levels: false match rates asked, descending; those that the comparisons of a half do not support are left out.

    Raises:
        InvalidInput (CALIBRATION_DATA): too little data.
    """
    require_enough(scores)
    p = parameters or CalibrationParameters()
    counts, sizes, effects = [], [], []
    costs: list[dict[str, float]] = []
    done = 0
    for half in random_halves(scores.subjects, repeats, seed):
        used, held = scores.of(half), scores.of(~half)
        try:
            # The modality and the algorithm have no influence on the fit.
            logistic = fit_scores(Modality.FACE, "cross-check", used, p, {})
        except InvalidInput as too_little:
            raise InvalidInput(
                f"too little data to check a calibration: of a random half of the subjects, {too_little.message}",
                reason="CALIBRATION_DATA",
            ) from None
        if not len(held.genuine) or not len(held.impostor):
            raise InvalidInput(
                "too little data to check a calibration: a random half of the subjects has no comparisons",
                reason="CALIBRATION_DATA",
            )
        counts.append(observed_counts(logistic, held.impostor, levels))
        sizes.append(len(held.impostor))
        effects.append(float(logistic.about["design_effect"]))
        isotonic = fit_ratio(logistic, used.genuine, used.impostor, p, RatioFit.ISOTONIC)
        costs.append(_costs(logistic, isotonic, held, p.prior))
        done += 1
        progress("cross-check", done, 2 * repeats)
    return CrossCheck(
        done,
        float(np.mean(sizes)),
        float(np.mean(effects)),
        _levels(np.array(counts), np.array(sizes), float(np.mean(effects)), levels),
        _ratio_check(costs, p.prior),
    )


def _levels(
    counts: NDArray[np.int64], sizes: NDArray[np.int64], effect: float, asked: Sequence[float]
) -> tuple[LevelCheck, ...]:
    """Rows of what the halves support by their count of comparisons."""
    mean = float(sizes.mean())
    found = []
    for k, rate in enumerate(asked):
        if not is_supported(rate, int(mean)):
            break
        count = int(counts[:, k].sum())
        own = counts[:, k] / (rate * sizes)
        found.append(
            LevelCheck(
                rate,
                count / float(sizes.sum()),
                count,
                count / (rate * float(sizes.sum())),
                float(own.std(ddof=1)),
                rate * mean,
                is_supported(rate, int(mean / effect)),
            )
        )
    return tuple(found)


def prior_entropy(prior: float) -> float:
    """Cost in nats of deciding at a prior without evidence."""
    return -prior * math.log(prior) - (1 - prior) * math.log1p(-prior)


def _costs(logistic: Calibration, isotonic: Calibration, held: SubjectScores, prior: float) -> dict[str, float]:
    of_genuine, of_impostor = logistic.to_score(held.genuine), logistic.to_score(held.impostor)
    found = {}
    for name, at in (("cross_entropy", prior), ("cllr", 0.5)):
        scale = prior_entropy(at)
        for fit, calibration in ((RatioFit.LOGISTIC, logistic), (RatioFit.ISOTONIC, isotonic)):
            cost = cross_entropy(calibration.to_llr(of_genuine), calibration.to_llr(of_impostor), at)
            found[f"{name}_{fit.value}"] = cost / scale
        # Of the raw scores: mapping them to FMR is monotone, but not strictly where scores are tied at 0.
        found[f"least_{name}"] = least_cross_entropy(held.genuine, held.impostor, at) / scale
    return found


def _ratio_check(costs: Sequence[dict[str, float]], prior: float) -> RatioCheck:
    mean = {name: float(np.mean([c[name] for c in costs])) for name in costs[0]}
    gains = [c["cross_entropy_logistic"] - c["cross_entropy_isotonic"] for c in costs]
    return RatioCheck(
        prior,
        {fit: mean[f"cross_entropy_{fit.value}"] for fit in RatioFit},
        {fit: mean[f"cllr_{fit.value}"] for fit in RatioFit},
        mean["least_cross_entropy"],
        mean["least_cllr"],
        float(np.mean(gains)),
        float(np.std(gains, ddof=1) / math.sqrt(len(gains))),
    )
