"""Fusion on virtual (chimeric) people, end to end through a real server.

    python -m benchmarks.chimeric [--seed 0] [--json]

Virtual people are put together from real samples (``virtual_subjects``): two fingers of different FVC sets or UPEK, two
eyes of one person of MMU2 or one of CASIA-IrisV1, a face of LFW; hundreds more have a face only. They are enrolled as
images, and searched with their other samples, each modality alone and several together.

- **Two-fold**: the real people are halved by the hash of their names. Calibrations are fitted on one half; only people
  of the other make up virtual ones, on record or searched; then the halves change places and the outcomes are pooled.
- **Mated**: everybody is on record. **Non-mated**: the people who can be searched are taken off record a tenth at a
  time by the service's own deletion, searched, and put on record again.
- **Strangers**: a search asks for all candidates, so that the share of strangers who reach a score can be held against
  the false match rate that the score stands for, for every set of positions. Two dozen people meet too few strangers
  for that, so those with fingers are put together anew, from the same fingers, some dozens of times.

Only the first enrolment sends images. Searches, and enrolments again, send templates made here by the extractors that
the server runs, for one sample takes part in many of them. For one search of each kind and half it is checked that
images are answered alike.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from rich import box
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from benchmarks.chimeric_rates import FPIR_TARGETS, SCORES, search_rates, stranger_rates
from benchmarks.chimeric_searches import (
    Outcome,
    Search,
    Templates,
    delete,
    enrol,
    images_answer_as_templates,
    run_searches,
)
from benchmarks.fit_fusion import fit as fit_fusion
from benchmarks.half_calibrations import evaluation_sample, write_half
from benchmarks.real_data import RealSample, in_fit_half, iris_folder, real_samples
from benchmarks.virtual_subjects import Limits, VirtualSubject, compose, samples_of
from enrollment.client import AmbisClient
from enrollment.evaluation.bootstrap import BootstrapParameters
from enrollment.evaluation.measures import Json, rate_key
from enrollment.evaluation.templates import make_templates
from enrollment.server_process import ServerProcess
from enrollment.settings import load_settings
from matcher.calibration import FUSION_FILE
from matcher.positions import Modality, Position

NOTICE = (
    "CHIMERIC: the people are virtual. Fingers, face and eyes of one virtual person are of different real people (two "
    "eyes of one), so nothing correlates between them; the figures show fusion and thresholds, not a population."
)

_RIGHT, _LEFT = (Position.RIGHT_INDEX,), (Position.LEFT_INDEX,)
_FINGERS, _FACE = (*_RIGHT, *_LEFT), (Position.FACE,)
_EYES = (Position.IRIS_RIGHT, Position.IRIS_LEFT)
_ONE_EYE = ((Position.IRIS_RIGHT,), (Position.IRIS_LEFT,))
_SOME_EYE = (Position.IRIS_UNKNOWN,)

KINDS: dict[str, tuple[tuple[Position, ...], ...]] = {
    "one finger": (_RIGHT, _LEFT),
    "two fingers": (_FINGERS,),
    "face": (_FACE,),
    "one eye": _ONE_EYE,
    "two eyes": (_EYES,),
    "finger + face": (_RIGHT + _FACE, _LEFT + _FACE),
    "two fingers + face": (_FINGERS + _FACE,),
    "two fingers + two eyes": (_FINGERS + _EYES,),
    "two eyes + face": (_EYES + _FACE,),
    "all five": (_FINGERS + _EYES + _FACE,),
    "eye, side unknown": (_SOME_EYE,),
    "that eye + face": (_SOME_EYE + _FACE,),
}
"""What is searched with: the sets of positions that each kind of search stands for."""
DEALT_AGAIN = tuple(k for k, sets in KINDS.items() if _RIGHT[0] in sets[0] and len(sets[0]) > 1)
"""Kinds of search of which there are few, and more when the people are put together anew."""
EVERYTHING = _FINGERS + _EYES + _FACE


@dataclasses.dataclass(frozen=True)
class Size:
    """How much is done.

    Attributes:
        limits: on the virtual people of each half.
        rotations: parts in which people are taken off record.
        deals: how often people with fingers are put together anew, to meet other strangers.
        fitted: calibrations are fitted on the other half; else the shipped ones serve, which have seen everybody.
    """

    limits: Limits | None = None
    rotations: int = 10
    deals: int = 30
    fitted: bool = True


FULL = Size()
SMALL = Size(Limits(hands=2, faces=10, eyes=4, captures=2), rotations=2, deals=1, fitted=False)


@dataclasses.dataclass(frozen=True)
class Fold:
    """One half of the people, searched.

    Attributes:
        outcomes: of the people as they were put together first; more_outcomes: of those put together anew.
        anchors: subject id -> ``VirtualSubject.anchor`` of all of them.
        facts: counts for the report.
    """

    outcomes: tuple[Outcome, ...]
    more_outcomes: tuple[Outcome, ...]
    anchors: Mapping[str, str]
    facts: Json


def say(text: str) -> None:
    """Progress, beside the results."""
    print(text, file=sys.stderr, flush=True)


def available_samples() -> list[RealSample]:
    """Everything that there is; without the folder of irises, fingers and faces."""
    modalities = [Modality.FINGER, Modality.FACE]
    try:
        iris_folder()
        modalities.append(Modality.IRIS)
    except FileNotFoundError as missing:
        say(f"no irises: {missing}")
    return [s for m in modalities for s in real_samples(m) if not s.is_synthetic]


def searches_of(subjects: Sequence[VirtualSubject]) -> list[Search]:
    """Every search that the subjects' samples allow, of every kind."""
    return [
        Search(kind, subject, positions, capture)
        for subject in subjects
        for kind, sets in KINDS.items()
        for positions in sets
        for capture in range(1, subject.probes(positions) + 1)
    ]


def run_fold(
    samples: Sequence[RealSample], templates: Templates, calibrations: Path | None, size: Size, seed: int, name: str
) -> Fold:
    """Makes up the virtual people of one half, enrols and searches them in a server of their own.

    Args:
        samples: of the half; templates: of these, by the extractors that the server runs.
        calibrations: folder of the server's; the shipped ones where None.
        name: of the half.
    """
    subjects = compose(samples, seed, f"virtual-{name}")
    searches = searches_of(subjects)
    searched = {s.subject.subject_id: s.subject for s in searches}
    began = time.monotonic()
    settings = {"AMBIS_CALIBRATIONS": str(calibrations.resolve())} if calibrations else {}
    with (
        tempfile.TemporaryDirectory(prefix="ambis-chimeric-") as folder,
        ServerProcess(Path(folder) / "data", settings) as server,
        AmbisClient(server.address) as client,
    ):
        enrolled = enrol(client, subjects, "first")
        say(f"  {len(enrolled.subjects)} of {len(subjects)} on record, {time.monotonic() - began:.0f} s")
        outcomes = run_searches(client, searches, templates, enrolled.lsn, mated=True)
        say(f"  {len(searches)} mated searches, {time.monotonic() - began:.0f} s")
        firsts = {s.kind: s for s in reversed(searches) if all(templates[x] is not None for x in s.samples)}
        for kind, search in firsts.items():
            if not images_answer_as_templates(client, search, templates, enrolled.lsn):
                raise RuntimeError(f"a search with {kind} is answered otherwise when it is sent as images")
        order = np.random.default_rng(seed).permutation(sorted(searched))
        lsn = enrolled.lsn
        for number, part in enumerate(np.array_split(order, size.rotations)):
            gone = [searched[str(name)] for name in part]
            names = {s.subject_id for s in gone}
            lsn = max(lsn, delete(client, gone, enrolled.subjects))
            theirs = [s for s in searches if s.subject.subject_id in names]
            outcomes += run_searches(client, theirs, templates, lsn, mated=False)
            lsn = max(lsn, enrol(client, gone, f"again-{number}", templates).lsn)
        say(f"  as many non-mated ones, {time.monotonic() - began:.0f} s")
        on_record = client.status().subjects
        delete(client, subjects, enrolled.subjects)
        again = [_with_fingers(samples, seed + k, f"deal-{k}-{name}") for k in range(1, size.deals + 1)]
        more = [o for k, dealt in enumerate(again) for o in _search_once(client, dealt, templates, f"deal-{k}")]
        say(f"  {len(more)} of people put together anew, {time.monotonic() - began:.0f} s")
    if on_record != len(enrolled.subjects):
        raise RuntimeError(f"{on_record} people on record at the end, {len(enrolled.subjects)} at the beginning")
    facts = {
        "virtual_people": len(subjects),
        "gallery": len(enrolled.subjects),
        "people_searched": len(searched),
        "samples_not_enrolled": enrolled.samples_failed,
        "probes_without_template": len({x for s in searches for x in s.samples if templates[x] is None}),
        "searches_checked_with_images": len(firsts),
    }
    anchors = {s.subject_id: s.anchor for dealt in (subjects, *again) for s in dealt}
    return Fold(tuple(outcomes), tuple(more), anchors, facts)


def _with_fingers(samples: Sequence[RealSample], seed: int, prefix: str) -> list[VirtualSubject]:
    """Virtual people put together with another seed, those who have fingers."""
    subjects = compose(samples, seed, prefix)
    return [s for s in subjects if any(p.modality is Modality.FINGER for p in s.captures)]


def _search_once(
    client: AmbisClient, subjects: Sequence[VirtualSubject], templates: Templates, batch: str
) -> list[Outcome]:
    """Mated searches of subjects who are on record for that long only."""
    enrolled = enrol(client, subjects, batch, templates)
    searches = [s for s in searches_of(subjects) if s.kind in DEALT_AGAIN]
    outcomes = run_searches(client, searches, templates, enrolled.lsn, mated=True)
    delete(client, subjects, enrolled.subjects)
    return outcomes


def run_folds(samples: Sequence[RealSample], seed: int, size: Size, processes: int = 2) -> list[Fold]:
    """Both halves of the people, each with the calibrations of the other."""
    halves = {side: [s for s in samples if in_fit_half(s.subject_id) is side] for side in (True, False)}
    if size.limits:
        halves = {side: samples_of(compose(half, seed, "", size.limits)) for side, half in halves.items()}
    used = [s for half in halves.values() for s in half]
    made = make_templates([evaluation_sample(s) for s in used], load_settings(), processes=processes)
    templates = {s: o.template for s, o in zip(used, made.outcomes, strict=True)}
    folds = []
    for name, side in (("A", True), ("B", False)):
        if not halves[side]:
            continue
        with tempfile.TemporaryDirectory(prefix="ambis-chimeric-") as folder:
            calibrations = None
            if size.fitted:
                others = halves[not side]
                calibrations = Path(folder)
                write_half(calibrations, others, [templates[s] for s in others], f"not half {name}")
                # The shipped model has seen everybody with two eyes.
                fusion = fit_fusion({s.subject_id for s in others}.__contains__)
                (calibrations / FUSION_FILE).write_text(fusion.to_json())
                say(f"calibrations fitted on {len({s.subject_id for s in others})} people who are not of half {name}")
            say(f"half {name}:")
            folds.append(run_fold(halves[side], templates, calibrations, size, seed, name))
    return folds


def summarise(folds: Sequence[Fold], seed: int, size: Size, parameters: BootstrapParameters) -> Json:
    """Everything that was found, as the JSON holds it."""
    outcomes = [o for fold in folds for o in fold.outcomes]
    more = [o for fold in folds for o in fold.more_outcomes]
    anchors = {name: real for fold in folds for name, real in fold.anchors.items()}
    whole = {o.search.subject.subject_id for o in outcomes if o.search.positions == EVERYTHING}
    same: Json = {}
    everybody: Json = {}
    strangers: Json = {}
    for kind in KINDS:
        of_kind = [o for o in outcomes if o.search.kind == kind]
        if not of_kind:
            continue
        everybody[kind] = search_rates(of_kind, parameters)
        strangers[kind] = stranger_rates([*of_kind, *(o for o in more if o.search.kind == kind)], anchors, parameters)
        if of_whole := [o for o in of_kind if o.search.subject.subject_id in whole]:
            same[kind] = search_rates(of_whole, parameters)
    return {
        "command": "chimeric",
        "chimeric": True,
        "notice": NOTICE,
        "seed": seed,
        "calibrations": "fitted on the other half" if size.fitted else "shipped; they have seen these people",
        "intervals": f"95 % bootstrap over virtual people, {parameters.resamples} resamples",
        "deals_for_strangers": 1 + size.deals,
        "halves": [fold.facts for fold in folds],
        "gallery": [fold.facts["gallery"] for fold in folds],
        "people_with_everything": len(whole),
        "same_people": same,
        "everybody": everybody,
        "strangers": strangers,
    }


def percent(rate: float) -> str:
    """A rate as per cent, two digits."""
    return f"{100 * rate:.{1 if rate < 0.1 else 0}f}".removesuffix(".0")


def right(text: str, below: str = "") -> Text:
    """A cell of one line or two."""
    return Text(text, justify="right").append(f"\n{below}" if below else "", "dim")


def errors(count: int | None, of: int, ends: Sequence[float] | None) -> Text:
    """Errors out of searches, the interval of their rate below."""
    if count is None or ends is None:
        return right("-")
    return right(f"{count}/{of}", f"{percent(ends[0])}-{percent(ends[1])} %")


def plain_table(title: str) -> Table:
    """A table that fits 80 columns."""
    table = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)
    table.collapse_padding = True
    return table


def rates_table(title: str, kinds: Json, people: bool) -> Table:
    """Errors of every kind of search; ``people``: tell how many searched."""
    table = plain_table(title)
    table.add_column("Searched with", width=18)
    for name in (
        "Not at\nrank 1",
        "FNIR at\nFPIR 10 %",
        "FNIR at\n1 %",
        "HIT",
        "HIT or\nREVIEW",
        "False HIT\nor REVIEW",
    ):
        table.add_column(name, justify="right", no_wrap=True)
    for kind, r in kinds.items():
        n = r["mated"]
        table.add_row(
            Text(kind).append(f"\n{r['people']} people" if people else "", "dim"),
            errors(n - r["rank1_hits"], n, complement(r["rank1_ci95"])),
            *(errors(r["missed_at_fpir"][k], n, r["fnir_at_fpir_ci95"][k]) for k in map(rate_key, FPIR_TARGETS)),
            *(right(f"{100 * r[f'tpir_{verdict}']:.0f} %") for verdict in ("hit", "review")),
            right(f"{r['false_hit']}, {r['false_review']}", f"of {r['non_mated']}"),
        )
    return table


def complement(ends: Sequence[float] | None) -> list[float] | None:
    """The interval of one minus the rate."""
    return None if ends is None else [1 - ends[1], 1 - ends[0]]


def strangers_table(strangers: Json) -> Table:
    """FMR asked against FMR observed."""
    table = plain_table("Strangers that reach a score: observed, expected")
    table.add_column("Compared by", width=19)
    for score in SCORES:
        table.add_column(f"score {score:.0f}\nFMR 1e-{score / 10:.0f}", justify="right", no_wrap=True)
    for kind, r in strangers.items():
        row = []
        for score in SCORES:
            asked, key = 10 ** (-score / 10), f"{score:.0f}"
            expected = r["comparisons"] * asked
            # An interval of a few expected strangers says nothing.
            told = r["fmr_at_score_ci95"][key] if expected >= 3 else None
            below = "x {:.2g}-{:.2g}".format(*(end / asked for end in told)) if told else ""
            row.append(right(f"{r['reached'].get(key, 0):,}, {expected:,.{0 if expected >= 10 else 1}f}", below))
        table.add_row(Text(kind).append(f"\n{r['comparisons']:,} comparisons", "dim"), *row)
    return table


def render(result: Json) -> list[RenderableType]:
    """What is printed."""
    sizes = " and ".join(f"{size:,}" for size in result["gallery"])
    same, everybody = result["same_people"], result["everybody"]
    more = {k: r for k, r in everybody.items() if r["people"] > (1.5 * same[k]["people"] if k in same else 0)}
    return [
        Text(f"{result['notice']}\n", "bold"),
        Text(
            f"Galleries of {sizes}; calibrations {result['calibrations']}. Cells: errors/searches and the 95 % "
            "interval of the rate, by virtual people; -: too few people or searches. A HIT stands for FPIR 1 %, a "
            f"REVIEW for 10 %; false ones, of people not on record, include HITs. Seed {result['seed']}.\n"
        ),
        *([rates_table(f"The same {result['people_with_everything']} people throughout", same, False)] if same else []),
        *([rates_table("All who have such samples, where they are more", more, True)] if more else []),
        strangers_table(result["strangers"]),
        Text(
            "x: the rate observed over the one asked for, 95 % interval; above 1 is too many. Fingers together with "
            f"others are of people put together {result['deals_for_strangers']} times from the same samples.",
            "dim",
        ),
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """See the module."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.chimeric", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seed", type=int, default=0, help="who makes up whom, and who is off record together")
    parser.add_argument("--small", action="store_true", help="few people, shipped calibrations: a test, no figures")
    parser.add_argument("--json", action="store_true", help="print one JSON object, and the tables to stderr")
    options = parser.parse_args(arguments)
    size = SMALL if options.small else FULL
    parameters = BootstrapParameters()
    try:
        samples = available_samples()
    except FileNotFoundError as missing:
        say(str(missing))
        return 2
    result = summarise(run_folds(samples, options.seed, size), options.seed, size, parameters)
    if options.json:
        print(json.dumps(result, allow_nan=False))
    Console(width=80, stderr=options.json).print(*render(result), sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
