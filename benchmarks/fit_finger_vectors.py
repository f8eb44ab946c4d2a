"""Fits the model of the fingers' shortlist vector (``matcher/finger/vector.py``) and writes its file.

    python -m benchmarks.fit_finger_vectors            fit, check on fingers left out, write the model's file
    python -m benchmarks.fit_finger_vectors --dry-run  the same without writing

Data: UPEK, FVC2000 DB1_B and DB4_B (SFinGe), which are then not quoted, and synthetic fingers
(``enrollment.synthesis.finger_templates``), all joined by worse impressions of themselves. Everything is in closed form
but for the k-means, which is seeded: the same data give the same file, up to the last bits of the processor's
arithmetic.

The check: fitted without a half of the real fingers, worse impressions of those are searched among one print of each of
them and synthetic fingers not fitted on; which share has its mate in the first hundredth, twentieth and fifth.
"""

from __future__ import annotations

import argparse
import dataclasses
import datetime
from collections.abc import Sequence

import faiss
import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigh

from benchmarks.fit_finger_model import prints_to_fit_on
from benchmarks.real_data import ROOT
from benchmarks.worse_impressions import worse_impression
from enrollment.synthesis.finger_templates import bulk_finger_templates
from matcher.finger.cylinders import prepare_finger, used_minutiae
from matcher.finger.parameters import CylinderParameters, VectorParameters
from matcher.finger.vector import MODEL_FILE, VectorModel, describe_minutiae, sum_residuals
from matcher.templates import FingerTemplate

MODEL_NUMBER = 1
"""One more whenever the file changes: vectors on record are made anew then, and compared wrongly otherwise."""
SEED = 1
SYNTHETIC = 2500
VIEWS_OF_SYNTHETIC = 4
VIEWS_OF_REAL = 3
TURN = 0.3
"""Standard deviation in radians of how far a worse impression is turned."""
KEPT = 800
"""Principal components of the sums that the second discriminant analysis starts from."""
RIDGE_OF_MINUTIAE, RIDGE_OF_FINGERS = 0.02, 0.05
"""Added to the within-class scatter, as a share of its mean eigenvalue."""
HELD_OUT_SYNTHETIC = 2000

P, CYLINDERS = VectorParameters(), CylinderParameters()


@dataclasses.dataclass(frozen=True, eq=False)
class Described:
    """The minutiae of one impression: float32[n, 388], and which minutia of its finger each is (-1: none)."""

    minutiae: NDArray[np.float32]
    source: NDArray[np.int64]


@dataclasses.dataclass(frozen=True, eq=False)
class Print:
    """One print with its worse impressions, itself first; ``finger`` numbers the finger."""

    finger: int
    impressions: list[Described]


def describe(template: FingerTemplate, source: NDArray[np.int64]) -> Described:
    """Describes the minutiae that a comparison would use."""
    used = used_minutiae(template, CYLINDERS)
    return Described(describe_minutiae(prepare_finger(template, CYLINDERS), CYLINDERS, P), source[used])


def with_views(template: FingerTemplate, finger: int, views: int, rng: np.random.Generator) -> Print:
    """A print and some worse impressions of it."""
    made = [describe(template, np.arange(len(template)))]
    made += [describe(*worse_impression(template, rng, turn=TURN)) for _ in range(views)]
    return Print(finger, made)


def discriminants(
    within: NDArray[np.float64], total: NDArray[np.float64], count: int, ridge: float
) -> NDArray[np.float64]:
    """float64[d, count]: the directions of the largest total scatter for their within-class scatter."""
    size = len(within)
    steady = within + ridge * np.trace(within) / size * np.eye(size)
    _, vectors = eigh(total, steady, subset_by_index=[size - count, size - 1])
    return np.asarray(vectors[:, ::-1], np.float64)


def scatter_of_minutiae(prints: Sequence[Print]) -> NDArray[np.float64]:
    """float64[388, 388]: mean square deviation of a minutia's descriptions between impressions of one print."""
    deviations = []
    for one in prints:
        rows = np.concatenate([i.minutiae for i in one.impressions])
        source = np.concatenate([i.source for i in one.impressions])
        deviations.append(_deviations(rows[source >= 0].astype(np.float64), source[source >= 0]))
    every = np.concatenate(deviations)
    return np.asarray(every.T @ every / len(every), np.float64)


def _deviations(rows: NDArray[np.float64], group: NDArray[np.int64]) -> NDArray[np.float64]:
    """Differences to the group's mean, scaled so that their mean square is unbiased; groups of one are left out."""
    _, number, counts = np.unique(group, return_inverse=True, return_counts=True)
    sums = np.zeros((len(counts), rows.shape[1]))
    np.add.at(sums, number, rows)
    several = counts[number] > 1
    n = counts[number][several, None]
    return np.asarray((rows[several] - sums[number][several] / n) * np.sqrt(n / (n - 1)), np.float64)


def fit(real: Sequence[Print], synthetic: Sequence[Print], about: dict[str, object]) -> VectorModel:
    """Fits all numbers; real and synthetic prints weigh the same."""
    of_real = np.concatenate([i.minutiae for one in real for i in one.impressions[:1]]).astype(np.float64)
    of_synthetic = np.concatenate([i.minutiae for one in synthetic for i in one.impressions]).astype(np.float64)
    middle = (of_real.mean(axis=0) + of_synthetic.mean(axis=0)) / 2
    within = (scatter_of_minutiae(real) + scatter_of_minutiae(synthetic)) / 2
    total = (np.cov(of_real.T) + np.cov(of_synthetic.T)) / 2
    reduce = discriminants(within, total, P.reduced, RIDGE_OF_MINUTIAE).astype(np.float32)

    middle32 = middle.astype(np.float32)
    a, b = (of_real.astype(np.float32) - middle32) @ reduce, (of_synthetic.astype(np.float32) - middle32) @ reduce
    rng = np.random.default_rng(SEED)
    sample = np.concatenate([rng.permutation(a)[:20_000], rng.permutation(b)[:40_000]])
    clusters = faiss.Kmeans(P.reduced, P.words, niter=20, seed=SEED, max_points_per_centroid=2000)
    clusters.train(np.ascontiguousarray(sample))
    words = np.asarray(clusters.centroids, np.float32).copy()
    distance = np.sort(((sample[:4000, None] - words[None]) ** 2).sum(axis=2), axis=1)
    softness = P.softness * float(np.median(distance[:, 1] - distance[:, 0]))

    def sums(prints: Sequence[Print]) -> NDArray[np.float64]:
        return np.array(
            [
                sum_residuals((i.minutiae - middle32) @ reduce, words, P.nearest, softness)
                for one in prints
                for i in one.impressions
            ],
            np.float64,
        )

    x, y = sums(real), sums(synthetic)
    finger_x = np.array([one.finger for one in real for _ in one.impressions])
    finger_y = np.array([one.finger for one in synthetic for _ in one.impressions])
    mean = (x.mean(axis=0) + y.mean(axis=0)) / 2
    centred = np.concatenate([x, y]) - mean
    _, components = eigh(centred.T @ centred, subset_by_index=[centred.shape[1] - KEPT, centred.shape[1] - 1])
    x, y = (x - mean) @ components, (y - mean) @ components
    between_impressions = (_scatter(x, finger_x) + _scatter(y, finger_y)) / 2
    total = (np.cov(x.T) + np.cov(y.T)) / 2
    project = components @ discriminants(between_impressions, total, P.numbers, RIDGE_OF_FINGERS)
    # float16 holds them better at this size; only directions count.
    project /= np.abs(project).mean()
    return VectorModel(
        MODEL_NUMBER, middle32, reduce, words, softness, mean.astype(np.float32), project.astype(np.float32), about
    )


def _scatter(rows: NDArray[np.float64], finger: NDArray[np.int64]) -> NDArray[np.float64]:
    every = _deviations(rows, finger)
    return np.asarray(every.T @ every / len(every), np.float64)


def hit_rates(
    model: VectorModel, held: Sequence[tuple[int, FingerTemplate]], others: Sequence[FingerTemplate]
) -> dict[str, float]:
    """Share of worse impressions of the fingers held out whose mate is among the first of the gallery."""
    rng = np.random.default_rng(SEED + 1)
    first: dict[int, FingerTemplate] = {}
    probes = []
    for finger, template in held:
        if finger in first:
            probes.append((finger, worse_impression(template, rng, turn=TURN)[0]))
        else:
            first[finger] = template
    gallery = model.encode([prepare_finger(t) for t in [*first.values(), *others]]).astype(np.float32)
    searched = model.encode([prepare_finger(t) for _, t in probes]).astype(np.float32)
    at = {finger: i for i, finger in enumerate(first)}
    scores = searched @ gallery.T
    mates = scores[np.arange(len(probes)), [at[finger] for finger, _ in probes]]
    rank = (scores > mates[:, None]).sum(axis=1)
    return {f"{share:g}": round(float(np.mean(rank < share * len(gallery))), 4) for share in (0.001, 0.01, 0.05, 0.2)}


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dry-run", action="store_true", help="write nothing")
    arguments = parser.parse_args()
    numbers: dict[object, int] = {}
    prints = [(numbers.setdefault(s.body_part, len(numbers)), template) for s, template in prints_to_fit_on()]
    rng = np.random.default_rng(SEED)
    real = [with_views(template, finger, VIEWS_OF_REAL, rng) for finger, template in prints]
    made = bulk_finger_templates(SYNTHETIC + HELD_OUT_SYNTHETIC, SEED)
    synthetic = [with_views(t, i, VIEWS_OF_SYNTHETIC, rng) for i, t in enumerate(made[:SYNTHETIC])]
    others = made[SYNTHETIC:]

    fold = rng.permutation(len(numbers)) % 2
    left_out = []
    for half in (0, 1):
        fitted = fit([one for one in real if fold[one.finger] != half], synthetic, {})
        left_out.append(hit_rates(fitted, [(f, t) for f, t in prints if fold[f] == half], others))
    about = {
        "data": "UPEK, FVC2000 DB1_B and DB4_B (SFinGe), and synthetic fingers",
        "made_by": "benchmarks/fit_finger_vectors.py",
        "date": datetime.date.today().isoformat(),
        "algorithm": prints[0][1].algorithm,
        "fingers": len(numbers),
        "prints": len(prints),
        "synthetic_fingers": SYNTHETIC,
        "impressions": sum(len(one.impressions) for one in (*real, *synthetic)),
        "seed": SEED,
        "hit_rate_at_penetration_on_fingers_left_out": left_out,
        "limits": "upright prints of live-scan sensors; unproven for inked, rolled and latent ones",
    }
    model = fit(real, synthetic, about)
    data = model.to_bytes()
    print(about)
    print(f"{len(data):,} bytes")
    if not arguments.dry_run:
        (ROOT / "matcher" / "finger" / MODEL_FILE).write_bytes(data)


if __name__ == "__main__":
    main()
