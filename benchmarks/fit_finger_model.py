"""Fits the model of the finger comparison's second stage (``matcher/finger/evidence.py``) and writes its file.

    python -m benchmarks.fit_finger_model            fit, print how well it does, write matcher/finger/pair_model.json
    python -m benchmarks.fit_finger_model --dry-run  the same without writing

Data: UPEK and FVC2000 DB1_B and DB4_B, which are then not quoted. On them the fast stage alone is all but perfect, so a
fit to them would rest on a handful of pairs; each print is therefore joined by some worse impressions of itself
(``worse_impression``): parts of it, stretched, with minutiae lost and others invented. Impressions of one print are
never compared with each other. Seeded: the same data give the same file.
"""

from __future__ import annotations

import argparse

import numpy as np
from numpy.typing import NDArray

from benchmarks.real_data import ROOT, dataset, manifests
from benchmarks.worse_impressions import worse_impression
from enrollment.evaluation.protocol import EvaluationSample, list_samples
from enrollment.evaluation.templates import make_templates
from enrollment.settings import load_settings
from matcher.finger.comparison import FingerComparator
from matcher.finger.evidence import FEATURES, MODEL_FILE, PairModel
from matcher.finger.rows import rows_of
from matcher.logistic import fit_logistic
from matcher.positions import Modality
from matcher.templates import FingerTemplate

SETS = ("upek", "fvc2000_DB1_B", "fvc2000_DB4_B")
SEED = 1
IMPRESSIONS = 3
"""Worse impressions of each print."""
PRIOR = 1e-3
"""Probability of a match that the regression is fitted at: the care goes to high scores (see ``matcher.logistic``)."""
PASSED = 0.2
"""The gate lets this share of strangers through to the second stage."""
FOLDS = 6
RATES = (1e-2, 1e-3, 1e-4)


def prints_to_fit_on() -> list[tuple[EvaluationSample, FingerTemplate]]:
    """The prints of ``SETS`` that give a template; models of fingers are fitted on these sets alone."""
    listed = [s for m in manifests(Modality.FINGER) for s in list_samples(m, Modality.FINGER).samples]
    samples = [s for s in listed if dataset(s.path) in SETS]
    templates = [o.template for o in make_templates(samples, load_settings(), processes=2).outcomes]
    return [(s, t) for s, t in zip(samples, templates, strict=True) if isinstance(t, FingerTemplate)]


def fit_monotone(genuine: NDArray[np.float64], impostor: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
    """Logistic regression without negative weights: the most negative feature is left out until there is none."""
    used = list(range(genuine.shape[1]))
    while True:
        offset, found = fit_logistic(genuine[:, used], impostor[:, used], PRIOR)
        effect = found * impostor[:, used].std(axis=0)
        if effect.min() >= 0:
            weights = np.zeros(genuine.shape[1])
            weights[used] = found
            return offset, weights
        used.pop(int(np.argmin(effect)))


def fnmr(genuine: NDArray[np.float64], impostor: NDArray[np.float64], rate: float) -> float:
    """Share of genuine scores that do not exceed the one that a share ``rate`` of the impostors exceeds."""
    threshold = np.sort(impostor)[::-1][int(len(impostor) * rate)]
    return float(np.mean(genuine <= threshold))


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dry-run", action="store_true", help="write nothing")
    arguments = parser.parse_args()
    prints = prints_to_fit_on()
    finger, source, made = impressions(prints)
    features, relaxed, pairs = compare_all(made, finger, source)
    genuine = finger[pairs[:, 0]] == finger[pairs[:, 1]]
    gate = round(float(np.quantile(relaxed[~genuine], 1 - PASSED)), 4)
    offset, weights = fit_monotone(features[genuine], features[~genuine])

    # Cross-validation by finger: the pairs of a fold's fingers are scored by a fit that saw none of them.
    fold = np.random.default_rng(SEED).permutation(finger.max() + 1)[finger] % FOLDS
    held = np.zeros(len(features))
    for f in range(FOLDS):
        seen = (fold[pairs] != f).all(axis=1)
        one_offset, one_weights = fit_monotone(features[seen & genuine], features[seen & ~genuine])
        mine = fold[pairs[:, 0]] == f
        held[mine] = one_offset + features[mine] @ one_weights
    natural = (pairs < len(prints)).all(axis=1)
    rates = {}
    for name, chosen in (("with_worse_impressions", np.ones(len(held), np.bool_)), ("prints_as_they_are", natural)):
        for kind, value in (("fast_stage", relaxed), ("model", held)):
            scores = value[chosen & genuine], value[chosen & ~genuine]
            rates[f"{name}_{kind}"] = {f"{rate:g}": round(fnmr(*scores, rate), 5) for rate in RATES}
    # The score's log(1 + exp()) begins to rise where the strangers that pass the gate are.
    offset = -float(np.median(features[~genuine & (relaxed >= gate)] @ weights))
    about = {
        "data": "UPEK, FVC2000 DB1_B and DB4_B",
        "made_by": "benchmarks/fit_finger_model.py",
        "algorithm": prints[0][1].algorithm,
        "fingers": int(finger.max()) + 1,
        "prints": len(prints),
        "impressions": len(made),
        "genuine_comparisons": int(genuine.sum()),
        "impostor_comparisons": int((~genuine).sum()),
        "genuine_below_gate": round(float(np.mean(relaxed[genuine] < gate)), 4),
        "prior": PRIOR,
        "seed": SEED,
        "fnmr_at_fmr_cross_validated_by_finger": rates,
        "limits": "of live-scan sensors and synthetic prints; unproven for inked, rolled and latent ones",
    }
    model = PairModel(np.maximum(weights, 0.0), offset, gate, about)
    print(model.to_json())
    if not arguments.dry_run:
        (ROOT / "matcher" / "finger" / MODEL_FILE).write_text(model.to_json() + "\n")


def impressions(
    prints: list[tuple[EvaluationSample, FingerTemplate]],
) -> tuple[NDArray[np.int64], NDArray[np.int64], list[FingerTemplate]]:
    """The prints and their worse impressions: number of the finger, number of the print (int64[n] each), template."""
    rng = np.random.default_rng(SEED)
    numbers: dict[object, int] = {}
    finger = [numbers.setdefault(sample.body_part, len(numbers)) for sample, _ in prints]
    made = [template for _, template in prints]
    for _ in range(IMPRESSIONS):
        made += [worse_impression(template, rng)[0] for _, template in prints]
    every = 1 + IMPRESSIONS
    return np.tile(np.array(finger), every), np.tile(np.arange(len(prints)), every), made


def compare_all(
    made: list[FingerTemplate], finger: NDArray[np.int64], source: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
    """Features float64[p, 6], LGS-R float64[p] and numbers int64[p, 2] of all pairs but those of one print."""
    comparator = FingerComparator(model=PairModel(np.zeros(len(FEATURES)), 0.0, 0.5, {}))
    prepared = [comparator.prepare(template) for template in made]
    rows = rows_of(prepared)
    features, relaxed, pairs = [], [], []
    for i in range(len(made) - 1):
        later = np.arange(i + 1, len(made), dtype=np.int64)
        later = later[source[later] != source[i]]
        features.append(comparator.features_of_rows(prepared[i], rows, later))
        relaxed.append(comparator.relaxed_rows(prepared[i], rows, later))
        pairs.append(np.stack([np.full_like(later, i), later], axis=1))
    return np.concatenate(features), np.concatenate(relaxed), np.concatenate(pairs)


if __name__ == "__main__":
    main()
