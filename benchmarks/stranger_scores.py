"""Do synthetic people score against each other as real people do? Quantiles of raw scores of different people.

    python -m benchmarks.stranger_scores [--only face] [--people 800]

Real: all pairs of different people among the real samples (the SFinGe sets left out; fingers and eyes of two positions
are of different classes). Synthetic: all pairs of some of the people of the load benchmarks with all of them. A search
among synthetic people is as hard as one among real ones where the rows are alike: shortlists then hold as many that
come near, and as many pass from one stage to the next.
"""

from __future__ import annotations

import enrollment.threads  # noqa: F401  # isort: skip

import argparse
import dataclasses

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from benchmarks.real_data import real_scores
from benchmarks.suites.synthetic_people import SyntheticPeople
from enrollment.evaluation.progress import progress_bar
from matcher.comparators import index_for
from matcher.positions import Modality, Position

QUANTILES = (0.5, 0.9, 0.99, 0.999, 0.9999)
POSITIONS = {
    Modality.FINGER: Position.RIGHT_INDEX,
    Modality.FACE: Position.FACE,
    Modality.IRIS: Position.IRIS_RIGHT,
}
SEED = 60


@dataclasses.dataclass(frozen=True)
class StrangerScores:
    """Raw scores of pairs of different people: their number and ``QUANTILES``."""

    pairs: int
    quantiles: tuple[float, ...]


def quantiles(scores: NDArray[np.float64]) -> StrangerScores:
    """Of scores, those that are NaN left out."""
    told = scores[~np.isnan(scores)]
    return StrangerScores(len(told), tuple(float(q) for q in np.quantile(told, QUANTILES)))


def synthetic(modality: Modality, people: int, probes: int) -> StrangerScores:
    """Of ``probes`` synthetic people with all ``people`` but themselves."""
    kind = SyntheticPeople(SEED, (POSITIONS[modality],))
    templates = [template for (template,) in kind.templates(0, people)]
    index = index_for(modality, templates[0].algorithm)
    index.append(templates)
    view, rows = index.view(), np.arange(people, dtype=np.int64)
    found = []
    for number in range(probes):
        scores = view.compare(index.comparator.prepare(templates[number]), rows)
        found.append(np.delete(scores, number))
    return quantiles(np.concatenate(found))


def real(modality: Modality) -> StrangerScores:
    """Of all real samples of different people."""
    with progress_bar(quiet=False) as progress:
        return quantiles(real_scores(modality, progress=progress).impostor)


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", type=Modality, choices=list(Modality), action="append", help="modality")
    parser.add_argument("--people", type=int, default=800, help="synthetic ones")
    parser.add_argument("--probes", type=int, default=400, help="of them that are compared with all others")
    options = parser.parse_args()
    table = Table("modality", "strangers", "pairs", *(f"{100 * q:g} %" for q in QUANTILES), show_edge=False)
    for modality in options.only or list(Modality):
        kinds = {"real": real(modality), "synthetic": synthetic(modality, options.people, options.probes)}
        for name, one in kinds.items():
            table.add_row(modality.value, name, f"{one.pairs:,}", *(f"{q:.4f}" for q in one.quantiles))
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
