"""Several face encounters of one subject: is the best of their scores the right one?

    python -m benchmarks.face_encounters [--half fit|other]

People of LFW with three images and more. Every image in turn is the probe, the person's others are the references; as
strangers, every other person's first images, as many. Compared are the best score (what the server takes, before its
correction for how many were tried), the mean score, and the score of the mean embedding.
"""

from __future__ import annotations

import enrollment.threads  # noqa: F401  # isort: skip

import argparse
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from benchmarks.real_data import in_fit_half, manifests
from enrollment.evaluation.progress import progress_bar
from enrollment.evaluation.protocol import list_samples
from enrollment.evaluation.templates import make_templates
from enrollment.settings import load_settings
from matcher.positions import Modality
from matcher.templates import FaceTemplate

Vectors = NDArray[np.float64]
Rule = Callable[[Vectors, Vectors], float]
FMRS = (1e-2, 1e-3, 1e-4)
LEAST_IMAGES = 3


def _mean_embedding(probe: Vectors, references: Vectors) -> float:
    total = references.sum(axis=0)
    return float(probe @ total / np.linalg.norm(total))


RULES: dict[str, Rule] = {
    "first encounter only": lambda probe, references: float(probe @ references[0]),
    "best score": lambda probe, references: float((references @ probe).max()),
    "mean score": lambda probe, references: float((references @ probe).mean()),
    "score of the mean embedding": _mean_embedding,
}


def scores(people: Sequence[Vectors], rule: Rule) -> tuple[Vectors, Vectors]:
    """Genuine and impostor scores of a rule; ``people``: float64[images, d] of each."""
    genuine, impostor = [], []
    for number, own in enumerate(people):
        for image, probe in enumerate(own):
            genuine.append(rule(probe, np.delete(own, image, axis=0)))
            impostor += [rule(probe, other[: len(own) - 1]) for k, other in enumerate(people) if k != number]
    return np.array(genuine), np.array(impostor)


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--half", choices=["fit", "other"])
    arguments = parser.parse_args()
    listed = [s for m in manifests(Modality.FACE) for s in list_samples(m, Modality.FACE).samples]
    if arguments.half is not None:
        listed = [s for s in listed if in_fit_half(s.subject_id) == (arguments.half == "fit")]
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
    for name, rule in RULES.items():
        genuine, impostor = scores(people, rule)
        ranked = np.sort(impostor)[::-1]
        missed = [int((genuine <= ranked[int(fmr * len(ranked))]).sum()) for fmr in FMRS]
        table.add_row(name, *(f"{100 * m / len(genuine):.2f} ({m} of {len(genuine)})" for m in missed))
    Console().print(table)


if __name__ == "__main__":
    main()
