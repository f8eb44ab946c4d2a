"""Raw comparison scores to -10*log10(FMR) and to log-likelihood ratios.

A comparator's raw score means nothing outside it. A calibration artefact, fitted once from impostor and genuine
scores of people who are then not quoted, gives it the scale that leaves the system:

1. FMR: the share of impostor comparisons that reach the raw score, as -10*log10 ("score" from here on). Measured
   quantiles inside the data; beyond the last one that enough impostors support, a generalised Pareto tail fitted to
   the excesses over a high quantile (Pickands 1975, Balkema & de Haan 1974: peaks over threshold).
2. LLR: log-likelihood ratio of the score, by logistic or isotonic regression on the score at a low prior (Brümmer & du
   Preez, "Application-independent evaluation of speaker detection", 2006), held between two bounds: never above
   score * ln(10)/10, because P(LR >= t | impostor) <= 1/t for every likelihood ratio, and never below the log of the
   share of spoilt genuine samples, so that one bad sample does not sink a person.
3. ``trusted_to``: the score up to which the impostor comparisons support the FMR: the rule of three, FMR = 3/n, on the
   effective number n of comparisons.

Comparisons that share a subject are not independent (ISO/IEC 19795-1, annex B): a person who is easily mistaken is so
again and again. So where the fit is told who was compared, FMR is not the estimate but its upper confidence limit by
bootstrap over subjects, and n is divided by the design effect (``design_effect``). Both overstate what varies from pair
to pair, up to three times, and so err to the safe side far out.

The artefact is a small versioned JSON file; those of the shipped algorithms are in ``matcher/calibrations``, each
with the data it was fitted on.
"""

from __future__ import annotations

import dataclasses
import enum
import functools
import importlib.resources
import json
import math
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from matcher.design_effect import design_effect
from matcher.errors import InvalidInput, NotCalibrated
from matcher.isotonic import isotonic_llr
from matcher.logistic import fit_logistic
from matcher.positions import Modality

ARTEFACT_VERSION = 1
LN10_10 = math.log(10.0) / 10.0
SCORE_LIMIT = 400.0
LLR_LIMIT = 100.0
"""No artefact may claim more: scores of 1e-40, ratios of 1e43."""
FUSION_FILE = "fusion_model.json"
"""Stands in the same folders; see ``fusion_model``."""


class RatioFit(enum.StrEnum):
    """How scores become log-likelihood ratios."""

    LOGISTIC = "logistic"
    """A line in the score: two numbers, for little data."""
    ISOTONIC = "isotonic"
    """Whatever rises: for much data. Beyond the last impostor the ratio rises as the score does."""


@dataclasses.dataclass(frozen=True)
class CalibrationParameters:
    """How an artefact is fitted."""

    support: int = 30
    """Impostors that must reach a raw score for its measured quantile to be used (relative error about 1/sqrt(30))."""
    tail_quantile: float = 0.999
    """The tail is fitted to the excesses over this quantile (DuMouchel 1983 uses the upper tenth; a comparator's tail
    takes its shape only far out)."""
    tail_minimum: int = 200
    """... or over the quantile that leaves this many excesses, where that is lower."""
    tail_shape: float = 0.1
    """The tail's shape is taken as at least this, heavier than exponential (0): without it a good comparison would be
    given a false match rate of 1e-100 that no data can support."""
    step: float = 0.5
    """Distance between knots, in score units (dB)."""
    resamples: int = 200
    """Bootstrap resamples of the subjects (Efron & Tibshirani 1993, chapter 6: 50 to 200 for standard errors)."""
    confidence: float = 0.8
    """One-sided confidence of the upper limit on FMR. At 0.9 fewer than half as many strangers as asked for passed at
    the deepest levels, at 0.7 more than asked for with 28 fingers (docs/decisions/0012)."""
    design_score: float = 30.0
    """The design effect is taken where one comparison in 1,000 passes: far out, but with enough that do."""
    prior: float = 1e-3
    """Probability of a match at which the regression is fitted: where a ratio of 1,000, the shipped verification
    threshold, decides. At 0.5 the fit cares for scores that decide nothing."""
    spoilt_score: float = 10.0
    """A genuine comparison below this score looks like an impostor's: its sample is spoilt."""
    spoilt_minimum: float = 0.01
    """The share of spoilt genuine samples is taken as at least this: no test set holds the field's worst captures."""


@dataclasses.dataclass(frozen=True, eq=False)
class Calibration:
    """One artefact; immutable and thread-safe.

    Attributes:
        modality, algorithm: what it applies to.
        raw, score: float64[k], ascending knots of raw score -> -10*log10(FMR); linear between them.
        tail_slope: score per raw unit just beyond the last knot.
        tail_shape: of the generalised Pareto tail beyond it, >= 0; 0 is exponential, where the slope stays.
        trusted_to: score up to which the data supports the FMR.
        trusted_llr: log-likelihood ratio of "reaches trusted_to": how much a score beyond it is worth for certain. (The
            ratio at a score is one of densities and may be small where genuine scores are as rare as impostors'.)
        llr_score, llr: float64[m], ascending knots of score -> log-likelihood ratio (natural logarithm).
        about: what it was fitted on: data, counts, date, fit, goodness.
    """

    modality: Modality
    algorithm: str
    raw: NDArray[np.float64]
    score: NDArray[np.float64]
    tail_slope: float
    tail_shape: float
    trusted_to: float
    trusted_llr: float
    llr_score: NDArray[np.float64]
    llr: NDArray[np.float64]
    about: Mapping[str, Any]

    def __post_init__(self) -> None:
        for name, knots, strict in (("raw", self.raw, True), ("score", self.score, False)):
            _check_knots(name, knots, strict)
        _check_knots("llr_score", self.llr_score, True)
        _check_knots("llr", self.llr, False)
        if len(self.raw) != len(self.score) or len(self.llr_score) != len(self.llr):
            raise InvalidInput("calibration artefact: knots differ in length", reason="CALIBRATION_INVALID")
        numbers = (self.tail_slope, self.tail_shape, self.trusted_to, self.trusted_llr)
        signs = self.tail_slope > 0 and self.tail_shape >= 0 and self.trusted_to > 0
        if not (all(map(math.isfinite, numbers)) and signs):
            raise InvalidInput(
                "calibration artefact: tail_slope and trusted_to must be positive", reason="CALIBRATION_INVALID"
            )
        self._check_bounds()

    def _check_bounds(self) -> None:
        """Numbers that no data can give would turn strangers into HITs, or mates into nobody."""
        count = self.about.get("impostor_comparisons")
        vouched = SCORE_LIMIT if not isinstance(count, int | float) or count < 1 else 10 * math.log10(count)
        for name, value, low, high in (
            ("score", self.score, -1.0, SCORE_LIMIT),
            ("llr_score", self.llr_score, -1.0, SCORE_LIMIT),
            ("llr", self.llr, -LLR_LIMIT, LLR_LIMIT),
            ("trusted_llr", self.trusted_llr, 0.0, LLR_LIMIT),
            ("trusted_to", self.trusted_to, 0.0, vouched),
        ):
            if np.min(value) < low or np.max(value) > high:
                raise InvalidInput(
                    f"calibration artefact: {name} must be within {low:g} and {high:g}", reason="CALIBRATION_INVALID"
                )

    def to_score(self, raw: ArrayLike) -> NDArray[np.float64]:
        """-10*log10(FMR) of raw scores, >= 0, monotone; NaN stays NaN (not comparable)."""
        x = np.asarray(raw, np.float64)
        inside = np.interp(x, self.raw, self.score)
        steps = np.maximum(0.0, x - self.raw[-1]) * self.tail_slope
        if self.tail_shape > 0:
            steps = np.log1p(self.tail_shape * LN10_10 * steps) / (self.tail_shape * LN10_10)
        beyond = self.score[-1] + steps
        return np.asarray(np.where(x > self.raw[-1], beyond, inside), np.float64)

    def to_llr(self, score: ArrayLike) -> NDArray[np.float64]:
        """Log-likelihood ratio (natural logarithm) of scores (-10*log10(FMR)), monotone; NaN stays NaN."""
        s = np.asarray(score, np.float64)
        inside = np.interp(s, self.llr_score, self.llr)
        beyond = self.llr[-1] + (s - self.llr_score[-1]) * LN10_10
        return np.asarray(np.where(s > self.llr_score[-1], beyond, inside), np.float64)

    def to_json(self) -> str:
        """The artefact's text."""
        return json.dumps(
            {
                "artefact_version": ARTEFACT_VERSION,
                "modality": self.modality.value,
                "algorithm": self.algorithm,
                "raw": [round(float(v), 6) for v in self.raw],
                "score": [round(float(v), 4) for v in self.score],
                "tail_slope": self.tail_slope,
                "tail_shape": self.tail_shape,
                "trusted_to": round(self.trusted_to, 3),
                "trusted_llr": round(self.trusted_llr, 4),
                "llr_score": [round(float(v), 4) for v in self.llr_score],
                "llr": [round(float(v), 5) for v in self.llr],
                "about": dict(self.about),
            },
            indent=1,
        )

    @classmethod
    def from_json(cls, text: str) -> Calibration:
        """Reads an artefact; raises InvalidInput (CALIBRATION_INVALID) where it is no such thing."""
        try:
            data = json.loads(text)
            if data["artefact_version"] != ARTEFACT_VERSION:
                raise ValueError(f"artefact version {data['artefact_version']} is not {ARTEFACT_VERSION}")
            knots = {k: np.asarray(data[k], np.float64) for k in ("raw", "score", "llr_score", "llr")}
            return cls(
                modality=Modality(data["modality"]),
                algorithm=str(data["algorithm"]),
                tail_slope=float(data["tail_slope"]),
                tail_shape=float(data["tail_shape"]),
                trusted_to=float(data["trusted_to"]),
                trusted_llr=float(data["trusted_llr"]),
                about=dict(data["about"]),
                **knots,
            )
        except (KeyError, TypeError, ValueError, OverflowError, RecursionError) as error:
            raise InvalidInput(
                f"this is no calibration artefact that can be used ({error})", reason="CALIBRATION_INVALID"
            ) from None


class Calibrations:
    """The artefacts that a server works with, by algorithm."""

    def __init__(self, artefacts: Iterable[Calibration]) -> None:
        self._by_algorithm = {a.algorithm: a for a in artefacts}

    def __getitem__(self, algorithm: str) -> Calibration:
        """The artefact of an algorithm; raises NotCalibrated where there is none."""
        found = self._by_algorithm.get(algorithm)
        if found is None:
            known = ", ".join(sorted(self._by_algorithm)) or "none"
            raise NotCalibrated(
                f"algorithm {algorithm!r} has no calibration artefact on this server (it has: {known}); "
                "add one to the folder that the setting 'calibrations' names"
            )
        return found

    def __iter__(self) -> Iterator[Calibration]:
        """The artefacts, by algorithm."""
        return iter([self._by_algorithm[name] for name in sorted(self._by_algorithm)])

    def get(self, algorithm: str) -> Calibration | None:
        """The artefact of an algorithm, or None."""
        return self._by_algorithm.get(algorithm)

    @classmethod
    def load(cls, folder: Path | None = None) -> Calibrations:
        """The shipped artefacts, and over them those of a folder (``*.json``).

        Raises:
            InvalidInput (CALIBRATION_INVALID): a file there is no artefact.
        """
        artefacts = list(_shipped())
        if folder is not None and not folder.is_dir():
            raise InvalidInput(f"calibrations names {folder}, which is no folder", reason="CALIBRATION_INVALID")
        files = [] if folder is None else sorted(p for p in folder.glob("*.json") if p.name != FUSION_FILE)
        seen: dict[str, Path] = {}
        for path in files:
            if not path.is_file():
                raise InvalidInput(f"{path} is no regular file", reason="CALIBRATION_INVALID")
            try:
                artefacts.append(Calibration.from_json(path.read_text("utf-8")))
            except (InvalidInput, OSError, UnicodeDecodeError) as error:
                raise InvalidInput(f"{path}: {error}", reason="CALIBRATION_INVALID") from None
            algorithm = artefacts[-1].algorithm
            if algorithm in seen:
                raise InvalidInput(
                    f"{path} and {seen[algorithm]} are both of {algorithm!r}; keep one", reason="CALIBRATION_INVALID"
                )
            seen[algorithm] = path
        return cls(artefacts)


@functools.cache
def _shipped() -> tuple[Calibration, ...]:
    folder = importlib.resources.files("matcher") / "calibrations"
    named = (f for f in folder.iterdir() if f.name.endswith(".json") and f.name != FUSION_FILE)
    files = sorted(named, key=lambda f: f.name)
    return tuple(Calibration.from_json(f.read_text()) for f in files)


def fit_calibration(
    modality: Modality,
    algorithm: str,
    genuine: NDArray[np.floating],
    impostor: NDArray[np.floating],
    about: Mapping[str, Any],
    impostor_subjects: NDArray[np.integer] | None = None,
    parameters: CalibrationParameters | None = None,
    ratio: RatioFit = RatioFit.LOGISTIC,
) -> Calibration:
    """Fits an artefact.

    Args:
        modality, algorithm: what the scores are of.
        genuine: float[g], raw scores of same-subject comparisons, g >= 100.
        impostor: float[n], raw scores of different-subject comparisons, n >= 1,000.
        about: description of the data; counts and the fit are added.
        impostor_subjects: int[n, 2], numbers (from 0) of the two subjects of each impostor comparison; without it the
            comparisons are taken as independent.
        parameters: see the class.
        ratio: how the log-likelihood ratios are fitted.

    Raises:
        InvalidInput (CALIBRATION_DATA): too few or non-finite scores, or so few people that no FMR is supported.
    """
    p = parameters or CalibrationParameters()
    g = np.asarray(genuine, np.float64)
    n = np.asarray(impostor, np.float64)
    if len(g) < 100 or len(n) < 1000 or not (np.isfinite(g).all() and np.isfinite(n).all()):
        raise InvalidInput(
            f"calibration needs 100 genuine and 1,000 impostor scores, all finite; got {len(g)} and {len(n)}",
            reason="CALIBRATION_DATA",
        )
    raw, score, slope, shape = _fmr_knots(np.sort(n), p)
    subjects = None if impostor_subjects is None else np.asarray(impostor_subjects, np.int64)
    at = int(np.argmin(np.abs(score - p.design_score)))
    effect = 1.0 if subjects is None else design_effect(n >= raw[at], subjects)
    trusted_to = 10 * math.log10(len(n) / effect / 3)
    if trusted_to < 1:
        raise InvalidInput(
            f"{len(n):,} impostor comparisons share so few people (design effect {effect:.0f}) that they support no "
            "false match rate; calibration needs more people, not more samples of the same",
            reason="CALIBRATION_DATA",
        )
    if subjects is not None:
        score, slope = _cautious(n, subjects, raw, score, slope, p)
    flat = np.array([0.0, 1.0])
    draft = Calibration(modality, algorithm, raw, score, slope, shape, trusted_to, 0.0, flat, np.zeros(2), {})
    counts = {
        "genuine_comparisons": len(g),
        "impostor_comparisons": len(n),
        "design_effect": round(effect, 2),
        "fit": dataclasses.asdict(p),
    }
    return fit_ratio(dataclasses.replace(draft, about={**about, **counts}), g, n, p, ratio)


def fit_ratio(
    calibration: Calibration,
    genuine: NDArray[np.float64],
    impostor: NDArray[np.float64],
    parameters: CalibrationParameters,
    ratio: RatioFit,
) -> Calibration:
    """The same artefact with its log-likelihood ratios fitted anew.

    Args:
        genuine, impostor: float64[g], float64[n], raw scores; finite.
    """
    of_genuine = calibration.to_score(genuine)
    llr_score, llr, spoilt = _llr_knots(of_genuine, calibration.to_score(impostor), parameters, ratio)
    trusted_to = calibration.trusted_to
    share = min(1.0 - spoilt, float(np.mean(of_genuine >= trusted_to)))
    trusted_llr = max(0.0, math.log(max(share, 1e-6)) + trusted_to * LN10_10)
    about = {**calibration.about, "spoilt_share": round(spoilt, 5), "llr_fit": ratio.value}
    return dataclasses.replace(calibration, llr_score=llr_score, llr=llr, trusted_llr=trusted_llr, about=about)


def _fmr_knots(
    impostor: NDArray[np.float64], p: CalibrationParameters
) -> tuple[NDArray[np.float64], NDArray[np.float64], float, float]:
    """Knots of raw -> score inside the data (sorted), and the slope and shape beyond."""
    count = len(impostor)
    top = 10 * math.log10(count / p.support)
    scores = np.arange(0.0, top, p.step)
    # The raw value that a share FMR of the impostors reaches: counted from above, ties included.
    exceed = np.maximum(1, np.floor(count * 10 ** (-scores / 10)).astype(np.int64))
    raws = impostor[count - exceed]
    # Equal raw values (comparators that answer 0 for strangers): keep the lowest score, the honest FMR of a tie.
    raws, first = np.unique(raws, return_index=True)
    scores = scores[first]
    tail = max(p.tail_minimum, int(count * (1 - p.tail_quantile)))
    threshold = impostor[count - tail - 1]
    excess = impostor[count - tail :] - threshold
    shape = max(p.tail_shape, _tail_shape(excess))
    slope = _tail_slope(float(np.mean(excess)))
    if len(raws) < 2:
        raws, scores = np.array([raws[0], raws[0] + top / slope]), np.array([0.0, top])
    return raws, scores, slope, shape


def _tail_shape(excess: NDArray[np.float64]) -> float:
    """Shape of a generalised Pareto distribution from sorted excesses, by probability-weighted moments (Hosking &
    Wallis,
    "Parameter and quantile estimation for the generalized Pareto distribution", Technometrics 1987)."""
    n = len(excess)
    mean = float(np.mean(excess))
    weighted = float(np.mean(excess * (1 - (np.arange(1, n + 1) - 0.35) / n)))
    return 2 - mean / (mean - 2 * weighted) if mean > 2 * weighted else 0.0


def _tail_slope(mean_excess: float) -> float:
    """Score per raw unit of a tail near its beginning, where it is close to exponential."""
    return 10 / math.log(10) / max(mean_excess, 1e-9)


def _cautious(
    impostor: NDArray[np.float64],
    subjects: NDArray[np.int64],
    raw: NDArray[np.float64],
    score: NDArray[np.float64],
    slope: float,
    p: CalibrationParameters,
) -> tuple[NDArray[np.float64], float]:
    """Scores of the knots at the upper limit on FMR, and the slope at its lower limit."""
    rng = np.random.default_rng(0)
    people = int(subjects.max()) + 1
    bins = np.searchsorted(raw, impostor, side="right")  # how many knots each comparison reaches
    tail = max(p.tail_minimum, int(len(impostor) * (1 - p.tail_quantile)))
    threshold = np.partition(impostor, len(impostor) - tail - 1)[len(impostor) - tail - 1]
    far = np.flatnonzero(impostor > threshold)
    rates, excesses = [], []
    for _ in range(p.resamples):
        weight = np.bincount(rng.integers(0, people, people), minlength=people).astype(np.float64)
        weights = weight[subjects[:, 0]] * weight[subjects[:, 1]]
        reach = np.bincount(bins, weights, minlength=len(raw) + 1)[::-1].cumsum()[::-1]
        rates.append(reach[1:] / max(reach[0], 1.0))
        if weights[far].sum() > 0:
            excesses.append(float(np.average(impostor[far] - threshold, weights=weights[far])))
    table = np.array(rates)
    upper = np.quantile(table, p.confidence, axis=0)
    limited = np.minimum.accumulate(np.minimum(upper, 1.0))
    cautious = np.minimum(score, -10 * np.log10(np.maximum(limited, 1e-12)))
    if excesses:
        slope = _tail_slope(float(np.quantile(excesses, p.confidence)))
    return np.maximum.accumulate(cautious), slope


def _llr_knots(
    genuine: NDArray[np.float64], impostor: NDArray[np.float64], p: CalibrationParameters, ratio: RatioFit
) -> tuple[NDArray[np.float64], NDArray[np.float64], float]:
    """Knots of score -> LLR between the two bounds, and the share of spoilt genuine samples."""
    spoilt = min(0.5, max(p.spoilt_minimum, float(np.mean(genuine < p.spoilt_score))))
    knots = np.arange(0.0, 121.0, 1.0)
    if ratio is RatioFit.LOGISTIC:
        offset, weights = fit_logistic(genuine[:, None], impostor[:, None], p.prior)
        plain = offset + max(float(weights[0]), 0.0) * knots
    else:
        steps, ratios = isotonic_llr(genuine, impostor, p.prior)
        # No impostor went further, but those who would are as rare as the score says.
        beyond = np.maximum(0.0, knots - impostor.max())
        plain = np.interp(knots, steps, ratios) + beyond * LN10_10
    mixed = np.logaddexp(math.log(spoilt), math.log1p(-spoilt) + plain)
    return knots, np.minimum(mixed, knots * LN10_10), spoilt


def _check_knots(name: str, knots: NDArray[np.float64], strict: bool) -> None:
    steps = np.diff(knots)
    rising = bool((steps > 0).all() if strict else (steps >= 0).all())
    if knots.ndim != 1 or len(knots) < 2 or not np.isfinite(knots).all() or not rising:
        raise InvalidInput(f"calibration artefact: {name} must be finite and ascending", reason="CALIBRATION_INVALID")
