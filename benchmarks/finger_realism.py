"""Do real fingers score against synthetic strangers as against other real fingers?

    python -m benchmarks.finger_realism [--count 1000]

Quantiles of the scores of real prints with the first impressions of other real fingers, of the same set and of others,
and with synthetic ones; for the sets that ``enrollment.synthesis.finger_templates`` was fitted on, and for the others.
Prints of one set are of one sensor, and some of its fingers may be of one person, so they are more alike than those of
two sets. A gallery with synthetic strangers is as hard as one of real fingers where their row lies between the two.
"""

from __future__ import annotations

import enrollment.threads  # noqa: F401  # isort: skip

import argparse
import dataclasses
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from benchmarks.finger_accuracy import QUOTED_SETS
from benchmarks.real_data import dataset, manifests
from enrollment.evaluation.measures import Json
from enrollment.evaluation.progress import ProgressCallback, progress_bar
from enrollment.evaluation.protocol import list_samples
from enrollment.evaluation.templates import make_templates
from enrollment.settings import load_settings
from enrollment.synthesis.finger_templates import STRANGERS, bulk_finger_templates
from matcher.finger.comparison import FingerComparator
from matcher.finger.cylinders import PreparedFinger
from matcher.finger.rows import rows_of
from matcher.positions import Modality
from matcher.templates import FingerTemplate

QUANTILES = (0.5, 0.9, 0.99, 0.999)
SEED = 10


@dataclasses.dataclass(frozen=True)
class Print:
    """A real impression.

    Attributes:
        name: of the finger: the subject's id; finger: its number from 0; impression: from 0, in the manifest's order.
        template: None where the image was refused.
    """

    dataset: str
    name: str
    finger: int
    impression: int
    template: FingerTemplate | None


def real_prints(processes: int, progress: ProgressCallback) -> list[Print]:
    """All prints of the manifest, those of a finger one behind the other."""
    samples = [s for m in manifests(Modality.FINGER) for s in list_samples(m, Modality.FINGER).samples]
    made = make_templates(samples, load_settings(), processes=processes, progress=progress).outcomes
    found: dict[tuple[str, object], list[Print]] = {}
    for sample, outcome in zip(samples, made, strict=True):
        mine = found.setdefault(sample.body_part, [])
        finger = mine[0].finger if mine else len(found) - 1
        template = outcome.template if isinstance(outcome.template, FingerTemplate) else None
        mine.append(Print(dataset(sample.path), sample.subject_id, finger, len(mine), template))
    return [one for mine in found.values() for one in mine]


def quantiles(scores: NDArray[np.floating]) -> list[float]:
    """Of ``QUANTILES``; empty where there are no scores."""
    return [float(q) for q in np.quantile(scores, QUANTILES)] if len(scores) else []


def compare_quantiles(
    values: NDArray[np.floating], same_finger: NDArray[np.bool_], same_set: NDArray[np.bool_], real: int
) -> Json:
    """Quantiles of values[probes, references], of which the first ``real`` are real fingers and the rest synthetic.

    Args:
        same_finger, same_set: bool[probes, real].
    """
    mine = values[:, :real]
    kinds = {
        "real, same set": mine[same_set & ~same_finger],
        "real, other sets": mine[~same_set],
        "real, all": mine[~same_finger],
        "synthetic": values[:, real:].ravel(),
    }
    return {name: {"pairs": len(scores), "quantiles": quantiles(scores)} for name, scores in kinds.items()}


def realism(prints: Sequence[Print], strangers: Sequence[FingerTemplate], sets: Sequence[str]) -> Json:
    """Quantiles of both stages' scores of the prints of some sets with the first impressions of all fingers and with
    strangers."""
    comparator = FingerComparator()
    probes = [p for p in prints if p.dataset in sets and p.template is not None]
    first = first_impressions(prints)
    references = [comparator.prepare(p.template) for p in first if p.template is not None]
    references += [comparator.prepare(t) for t in strangers]
    rows, slots = rows_of(references), np.arange(len(references), dtype=np.int64)
    same_finger = np.array([[p.finger == r.finger for r in first] for p in probes], np.bool_)
    same_set = np.array([[p.dataset == r.dataset for r in first] for p in probes], np.bool_)
    prepared: list[PreparedFinger] = [comparator.prepare(p.template) for p in probes if p.template is not None]
    stages = {"LGS-R": comparator.relaxed_rows, "score": comparator.compare_rows}
    return {
        name: compare_quantiles(np.stack([run(p, rows, slots) for p in prepared]), same_finger, same_set, len(first))
        for name, run in stages.items()
    }


def first_impressions(prints: Sequence[Print]) -> list[Print]:
    """The first impression of every finger that has a template."""
    found: dict[int, Print] = {}
    for one in prints:
        if one.template is not None:
            found.setdefault(one.finger, one)
    return list(found.values())


def realism_table(found: Json, title: str) -> Table:
    """The quantiles, for people."""
    table = Table(title=title, show_edge=False)
    for column in ("what", "real probes with", "pairs", *(f"{100 * q:g} %" for q in QUANTILES)):
        table.add_column(column)
    for what, kinds in found.items():
        for kind, one in kinds.items():
            table.add_row(what, kind, f"{one['pairs']:,}", *(f"{q:.4g}" for q in one["quantiles"]))
    return table


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=1000, help="of synthetic fingers")
    arguments = parser.parse_args()
    with progress_bar(quiet=False) as progress:
        prints = real_prints(2, progress)
    strangers = bulk_finger_templates(arguments.count, SEED, parameters=STRANGERS)
    others = sorted({p.dataset for p in prints} - set(QUOTED_SETS))
    for title, sets in (("sets fitted on", others), ("sets not fitted on", QUOTED_SETS)):
        Console().print(realism_table(realism(prints, strangers, sets), f"{title}: {', '.join(sets)}"))


if __name__ == "__main__":
    main()
