"""Does a score mean what it says, for people whom the calibration has not seen?

    python -m benchmarks.calibrate_check

For each modality artefacts are fitted on random halves of the real subjects and observed on the other halves, and
once on the half that figures are quoted of (``in_fit_half``). All pairs of different fingers, faces or eyes are
impostors, those of two data sets too. Fails where the share of strangers who pass, pooled over the random halves, is
less than half or more than twice the share asked for, at a rate that the comparisons support (rule of three after
division by the design effect). The fused score of two eyes is checked in the same way (``two_eyes_check``).
"""

from __future__ import annotations

import enrollment.threads  # noqa: F401  # isort: skip

import argparse
import dataclasses
import json
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from benchmarks.real_data import dataset, in_fit_half, real_scores
from benchmarks.two_eyes_check import TwoEyesCheck, check_two_eyes
from enrollment.calibration.cross_check import CrossCheck, cross_check, fit_scores, observed_counts, random_halves
from enrollment.calibration.scores import CalibrationScores, SubjectScores
from enrollment.evaluation.progress import progress_bar
from matcher.calibration import CalibrationParameters
from matcher.positions import Modality

REPEATS = 10
SEED = 2026


@dataclasses.dataclass(frozen=True)
class ModalityCheck:
    """What was found of one modality.

    Attributes:
        checked: on random halves.
        one_half: observed / asked at the same rates on the half that ``in_fit_half`` leaves; one_half_counts: the
            comparisons that reached them.
        parts: observed / asked of some of the impostors alone, pooled over the random halves.
    """

    modality: Modality
    algorithm: str
    subjects: int
    checked: CrossCheck
    one_half: tuple[float, ...]
    one_half_counts: tuple[int, ...]
    one_half_comparisons: int
    one_half_trusted_to: float
    parts: dict[str, tuple[float, ...]]

    def to_json(self) -> dict[str, Any]:
        """As ``--json`` prints it."""
        asked = [level.asked for level in self.checked.levels]
        return {
            "modality": self.modality.value,
            "algorithm": self.algorithm,
            "subjects": self.subjects,
            **self.checked.to_json(),
            "one_half": {
                "impostor_comparisons": self.one_half_comparisons,
                "trusted_to": self.one_half_trusted_to,
                "asked": asked,
                "observed_over_asked": list(self.one_half),
                "count": list(self.one_half_counts),
            },
            "parts": {name: dict(zip(map(str, asked), ratios, strict=True)) for name, ratios in self.parts.items()},
            "failures": list(self.checked.failures),
        }


def check(scores: CalibrationScores, repeats: int, seed: int) -> ModalityCheck:
    """Checks one modality."""
    whole = scores.by_subject()
    checked = cross_check(whole, repeats=repeats, seed=seed)
    asked = [level.asked for level in checked.levels]
    names = dict(zip(scores.subject_of.tolist(), (s.subject_id for s in scores.samples), strict=True))
    half = np.array([in_fit_half(names[k]) for k in range(whole.subjects)], np.bool_)
    p = CalibrationParameters()
    fitted = fit_scores(scores.modality, scores.algorithm, whole.of(half), p, {})
    held = whole.of(~half).impostor
    counts = observed_counts(fitted, held, asked)
    parts = {}
    if scores.modality is Modality.FINGER:
        crossed = two_sets(scores)
        parts = {
            "two sets": part_ratios(whole, crossed, asked, repeats, seed),
            "one set": part_ratios(whole, ~crossed, asked, repeats, seed),
        }
    return ModalityCheck(
        scores.modality,
        scores.algorithm,
        scores.subjects,
        checked,
        tuple((counts / (np.array(asked) * len(held))).tolist()),
        tuple(counts.tolist()),
        len(held),
        fitted.trusted_to,
        parts,
    )


def two_sets(scores: CalibrationScores) -> NDArray[np.bool_]:
    """bool[n]: whether the two samples of an impostor pair are of two data sets."""
    of_sample = np.array([dataset(s.path) for s in scores.samples])
    return np.asarray(of_sample[scores.impostor_pairs[:, 0]] != of_sample[scores.impostor_pairs[:, 1]], np.bool_)


def part_ratios(
    whole: SubjectScores, part: NDArray[np.bool_], asked: list[float], repeats: int, seed: int
) -> tuple[float, ...]:
    """Observed / asked, pooled, where the fit sees all impostors and only a part of them is observed."""
    only = dataclasses.replace(whole, impostor=whole.impostor[part], impostor_subjects=whole.impostor_subjects[part])
    counts, size = np.zeros(len(asked)), 0
    for half in random_halves(whole.subjects, repeats, seed):
        fitted = fit_scores(Modality.FINGER, "part", whole.of(half), CalibrationParameters(), {})
        held = only.of(~half).impostor
        counts += observed_counts(fitted, held, asked)
        size += len(held)
    return tuple((counts / (np.array(asked) * size)).tolist())


def result_table(found: ModalityCheck) -> Table:
    """For an 80-column terminal."""
    c = found.checked
    table = Table(
        title=f"{found.algorithm}: {found.subjects:,} subjects, {c.halves} random halves of "
        f"{c.comparisons:,.0f} impostors, worth {c.comparisons / c.design_effect:,.0f}",
        title_justify="left",
        show_edge=False,
    )
    for name in ("FMR asked", "observed / asked", "sd", "supported", "one half", *found.parts):
        table.add_column(name, justify="right")
    for k, level in enumerate(c.levels):
        table.add_row(
            f"{level.asked:.0e}",
            f"{level.ratio:.2f}",
            f"{level.ratio_sd:.2f}",
            ("FAILS" if level.asked in c.failures else "yes") if level.supported else "by count",
            f"{found.one_half[k]:.2f} ({found.one_half_counts[k]:,})",
            *(f"{ratios[k]:.2f}" for ratios in found.parts.values()),
        )
    return table


def two_eyes_table(found: TwoEyesCheck) -> Table:
    """For an 80-column terminal."""
    table = Table(
        title=f"Two eyes, fused: {found.people:,} people, halves of {found.comparisons:,.0f} comparisons of strangers",
        title_justify="left",
        show_edge=False,
    )
    for name in ("FMR asked", "observed / asked", "vouched for / asked", ""):
        table.add_column(name, justify="right")
    for asked, seen, vouched in zip(found.asked, found.observed, found.vouched, strict=True):
        fails = "FAILS" if asked in found.failures else ""
        table.add_row(f"{asked:.0e}", f"{seen:.2f}", f"{vouched:.2f}", fails)
    return table


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--modality", choices=[m.value for m in Modality], action="append")
    parser.add_argument("--repeats", type=int, default=REPEATS, help="cuts into halves, each used both ways")
    parser.add_argument("--seed", type=int, default=SEED, help="of the cuts")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    arguments = parser.parse_args()
    console = Console()
    found = []
    eyes: TwoEyesCheck | None = None
    for modality in map(Modality, arguments.modality or [m.value for m in Modality]):
        with progress_bar(quiet=arguments.json) as progress:
            scores = real_scores(modality, progress=progress)
        found.append(check(scores, arguments.repeats, arguments.seed))
        if not arguments.json:
            console.print(result_table(found[-1]))
            trusted = found[-1].one_half_trusted_to
            console.print(f"The fit on the one half vouches for {trusted:.1f}, FMR {10 ** (-trusted / 10):.1e}.\n")
        if modality is Modality.IRIS:
            asked = [level.asked for level in found[-1].checked.levels]
            with progress_bar(quiet=arguments.json) as progress:
                eyes = check_two_eyes(scores, asked, max(1, arguments.repeats // 2), arguments.seed, progress)
            if not arguments.json:
                console.print(two_eyes_table(eyes), "")
    failed = [f for f in found if f.checked.failures]
    eyes_failed = eyes is not None and bool(eyes.failures)
    if arguments.json:
        both = None if eyes is None else dataclasses.asdict(eyes)
        told = {"modalities": [f.to_json() for f in found], "two_eyes": both, "failed": bool(failed) or eyes_failed}
        print(json.dumps(told))
    for f in failed:
        rates = ", ".join(f"{rate:.0e}" for rate in f.checked.failures)
        console.print(f"{f.algorithm} fails at {rates}", style="red") if not arguments.json else None
    raise SystemExit(1 if failed or eyes_failed else 0)


if __name__ == "__main__":
    main()
