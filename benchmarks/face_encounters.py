"""Several face encounters of one subject: is the best of their scores the right one?

    python -m benchmarks.face_encounters [--half fit|other]

People of LFW with three images and more. Every image in turn is the probe, the person's others are the references; as
strangers, every other person's first images, as many. Compared are the best score (what the server takes, before its
correction for how many were tried), the mean score, and the score of the mean embedding. Intervals: bootstrap over
people. Templates are kept as ``ambis evaluate`` keeps them: the first run takes a minute or two, the next ones seconds.
"""

from __future__ import annotations

import enrollment.threads  # noqa: F401  # isort: skip

import argparse
import dataclasses
from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from benchmarks.real_data import in_fit_half, manifests
from enrollment.evaluation.bootstrap import BootstrapParameters, interval, subject_weights
from enrollment.evaluation.progress import progress_bar
from enrollment.evaluation.protocol import list_samples
from enrollment.evaluation.templates import make_templates
from enrollment.settings import load_settings
from matcher.positions import Modality
from matcher.templates import FaceTemplate

Vectors = NDArray[np.float64]
FMRS = (1e-2, 1e-3, 1e-4)
LEAST_IMAGES = 3


@dataclasses.dataclass(frozen=True, eq=False)
class Claims:
    """Probes against the references of some people.

    Attributes:
        scores: float64[probes, references], with every reference; the references of one person side by side.
        starts: int64[people], each one's first reference.
        counts: int64[people], how many each has.
        lengths: float64[people], of the sum of each one's references.
    """

    scores: Vectors
    starts: NDArray[np.int64]
    counts: NDArray[np.int64]
    lengths: Vectors


Rule = Callable[[Claims], Vectors]
"""float64[probes, people]: the score of every probe with every person."""
RULES: dict[str, Rule] = {
    "first encounter only": lambda c: c.scores[:, c.starts],
    "best score": lambda c: np.maximum.reduceat(c.scores, c.starts, axis=1),
    "mean score": lambda c: np.add.reduceat(c.scores, c.starts, axis=1) / c.counts,
    "score of the mean embedding": lambda c: np.add.reduceat(c.scores, c.starts, axis=1) / c.lengths,
}


def claims(probes: Vectors, references: Sequence[Vectors]) -> Claims:
    """Every probe, float64[probes, d], with the references of every person, float64[references, d] each."""
    counts = np.array([len(r) for r in references])
    lengths = np.array([np.linalg.norm(r.sum(axis=0)) for r in references])
    return Claims(probes @ np.concatenate(references).T, np.cumsum(counts) - counts, counts, lengths)


def scores(people: Sequence[Vectors], rule: Rule) -> tuple[Vectors, Vectors, NDArray[np.int64]]:
    """Genuine and impostor scores of a rule, and the number of the person of every genuine one.

    Args:
        people: float64[images, d] of each, at least two images.
    """
    genuine, impostor, whose = [], [], []
    for number, own in enumerate(people):
        for image in range(len(own)):
            genuine.append(rule(claims(own[image : image + 1], [np.delete(own, image, axis=0)]))[0, 0])
            whose.append(number)
        others = [other[: len(own) - 1] for k, other in enumerate(people) if k != number]
        impostor.append(rule(claims(own, others)).ravel())
    return np.array(genuine), np.concatenate(impostor), np.array(whose)


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--half", choices=["fit", "other"])
    arguments = parser.parse_args()
    listed = [s for m in manifests(Modality.FACE) for s in list_samples(m, Modality.FACE).samples]
    if arguments.half is not None:
        listed = [s for s in listed if in_fit_half(s.subject_id) == (arguments.half == "fit")]
    images = Counter(s.subject_id for s in listed)
    listed = [s for s in listed if images[s.subject_id] >= LEAST_IMAGES]
    with progress_bar(quiet=False) as progress:
        made = make_templates(listed, load_settings(), processes=2, progress=progress).outcomes
    of_subject: dict[str, list[NDArray[np.float32]]] = {}
    for sample, outcome in zip(listed, made, strict=True):
        if isinstance(outcome.template, FaceTemplate):
            of_subject.setdefault(sample.subject_id, []).append(outcome.template.embedding)
    people = [np.array(v, np.float64) for v in of_subject.values() if len(v) >= LEAST_IMAGES]
    table = Table(title=f"{len(people)} people, {sum(map(len, people))} images: FNMR in per cent", show_edge=False)
    for name in ("rule", *(f"at FMR {fmr:g}" for fmr in FMRS)):
        table.add_column(name)
    bootstrap = BootstrapParameters()
    weights = subject_weights(len(people), bootstrap)
    for name, rule in RULES.items():
        genuine, impostor, whose = scores(people, rule)
        ranked = np.sort(impostor)[::-1]
        cells = []
        for fmr in FMRS:
            missed = genuine <= ranked[int(fmr * len(ranked))]
            drawn = weights[:, whose]
            rate = float(missed.mean())
            found = interval((drawn @ missed) / drawn.sum(axis=1), rate, len(missed), bootstrap)
            low, high = found or (0.0, 1.0)
            cells.append(f"{100 * rate:.2f} [{100 * low:.2f}-{100 * high:.2f}], {missed.sum()}")
        table.add_row(name, *cells)
    Console(width=110).print(table)


if __name__ == "__main__":
    main()
