"""Identification by one finger and by two, in a gallery of all real fingers and synthetic strangers.

    python -m benchmarks.finger_identification [--distractors 10000] [--json]

Gallery: the first impression of every finger of the manifest, and so many synthetic fingers that it has
``--distractors`` fingers (10,000; 100,000 is slow). Searches: the later impressions of the fingers of FVC2002 DB1, DB3
and DB4_B and FVC2004 DB2 and DB4_B, on which nothing is fitted; the DB4 sets are synthetic themselves and told apart.
Everything goes through the index that the server uses.

One finger: every impression is searched twice, among different strangers ("right" and "left").

Two fingers: **virtual people** of two different fingers of one set, a right and a left one, whose positions are known;
nothing that two fingers of one person have in common is in these figures. In nine rounds every finger of a set meets
every other once. A gallery is the people of a round, of all sets, and synthetic ones of two fingers.

- Hit rate of the shortlist at a penetration: the mate is among the first so many per cent of the gallery in the order
  that the server's shortlist has; of two fingers, the shortlists of both in turn.
- End to end: the shortlist, 1 % of the gallery or as long as ``matcher.gallery`` makes it, then exact comparison; two
  fingers add their scores. FNIR at FPIR with non-mated searches: the same searches with the mate taken out of the
  gallery; and, as a check, with the best stranger of the mated searches ("closed").
- What vectors alone find: in a larger gallery the first look is at a share of the fingers, 100,000 of a million, and
  here at all of them; in one of 10,000 the fast stage compares all of them, too.
- A search without a template is missed, and no non-mated one. Intervals are by bootstrap over fingers.

How like the synthetic strangers are to real ones is printed as well (``finger_realism``).
"""

from __future__ import annotations

import enrollment.threads  # noqa: F401  # isort: skip

import argparse
import dataclasses
import itertools
import json
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from benchmarks.finger_accuracy import QUOTED_SETS
from benchmarks.finger_realism import (
    SEED,
    Print,
    first_impressions,
    real_prints,
    realism,
    realism_table,
)
from benchmarks.real_data import is_real
from enrollment.evaluation.bootstrap import BootstrapParameters, ScoreSet, interval, pair_replicates
from enrollment.evaluation.measures import Json, listed, operating_points, rate_key
from enrollment.evaluation.progress import ProgressCallback, progress_bar
from enrollment.synthesis.finger_templates import STRANGERS, bulk_finger_templates
from matcher.comparators import index_for
from matcher.finger.cylinders import PreparedFinger
from matcher.finger.index import FingerIndex
from matcher.gallery_view import ShortlistParameters
from matcher.positions import Modality
from matcher.templates import FingerTemplate

PENETRATIONS = (0.001, 0.01, 0.05)
FPIR_TARGETS = (1e-1, 1e-2)
LOOKED_AT_SHARES = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1)
HANDS = 2
ROUNDS = 9
LOOKED_AT = 1000
"""Synthetic strangers whose likeness to real ones is measured."""
SAME_FINGER = 8.0
"""Two labels are of one finger where the median score of their impressions is higher."""


class FingerGallery:
    """The index, real fingers first, then the strangers of each hand.

    Column c of a hand is real finger c, or stranger c - real of that hand. Real fingers are on both hands.
    """

    def __init__(self, real: Sequence[FingerTemplate], strangers: Sequence[Sequence[FingerTemplate]]) -> None:
        self.real, self.strangers = len(real), len(strangers[0])
        index = index_for(Modality.FINGER, real[0].algorithm)
        assert isinstance(index, FingerIndex)
        for templates in (real, *strangers):
            for start in range(0, len(templates), 10_000):
                index.append(templates[start : start + 10_000])
        self.index, self.view = index, index.view()
        rows = np.arange(len(index))
        self.on_hand = [
            (rows < self.real) | ((rows - self.real) // max(1, self.strangers) == hand) for hand in range(HANDS)
        ]

    @property
    def size(self) -> int:
        """Fingers of a hand."""
        return self.real + self.strangers

    def rows(self, hand: int, columns: NDArray[np.int64]) -> NDArray[np.int64]:
        """The index's rows of columns of a hand."""
        return np.where(columns < self.real, columns, columns + hand * self.strangers)

    def columns(self, hand: int, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """The columns of rows of a hand."""
        return np.where(rows < self.real, rows, rows - hand * self.strangers)

    def shortlist(self, probe: PreparedFinger, hand: int, count: int) -> NDArray[np.int64]:
        """Columns of the hand's fingers most worth comparing, best first."""
        return self.columns(hand, self.view.shortlist([probe], count, self.on_hand[hand])[0])

    def compare(self, probe: PreparedFinger | None, hand: int, columns: NDArray[np.int64]) -> NDArray[np.float64]:
        """Exact scores with fingers of the hand; 0 without a probe."""
        if probe is None:
            return np.zeros(len(columns))
        return self.view.compare(probe, self.rows(hand, columns))


def interleave(first: NDArray[np.int64], second: NDArray[np.int64]) -> NDArray[np.int64]:
    """The best of either list in turn, each once.

    The first n of it are about the best n / 2 of both, as a gallery asks for.
    """
    longest = max(len(first), len(second))
    both = np.full((longest, 2), -1, np.int64)
    both[: len(first), 0], both[: len(second), 1] = first, second
    flat = both.ravel()
    _, at = np.unique(flat, return_index=True)
    merged = flat[np.sort(at)]
    return merged[merged >= 0]


class Outcome(NamedTuple):
    """Of a search end to end.

    Attributes:
        score, rank: the mate's; -inf and inf where it is not in the shortlist.
        closed, open: the best stranger's score beside the mate, and without the mate in the gallery.
    """

    score: float
    rank: float
    closed: float
    open: float


@dataclasses.dataclass(frozen=True)
class Search:
    """A mated search, and the same one without the mate.

    Attributes:
        dataset: the probe's; fingers: the numbers of its two fingers, twice the same of one.
        hits: at each of ``PENETRATIONS``.
        ends: for each length of shortlist.
        failed: without a template.
    """

    dataset: str
    fingers: tuple[int, int]
    hits: tuple[bool, ...]
    ends: Sequence[Outcome]
    failed: bool = False

    @classmethod
    def without_template(cls, dataset: str, finger: int, lengths: int) -> Search:
        """A search that could not be made."""
        missed = Outcome(-math.inf, math.inf, -math.inf, -math.inf)
        return cls(dataset, (finger, finger), (False,) * len(PENETRATIONS), [missed] * lengths, True)


def penetration_counts(size: int) -> list[int]:
    """Lengths of shortlists at ``PENETRATIONS``."""
    return [max(1, round(share * size)) for share in PENETRATIONS]


def lengths(size: int) -> list[int]:
    """Lengths of shortlists of the searches end to end: 1 %, and the server's."""
    return [max(1, round(0.01 * size)), min(size, ShortlistParameters().count(size))]


def search_one(
    gallery: FingerGallery,
    probe: PreparedFinger,
    order: NDArray[np.int64],
    dataset: str,
    finger: int,
    column: int,
    hand: int,
) -> Search:
    """Searches one finger, whose mate is in a column, among the fingers of a hand.

    Args:
        order: columns of the probe's shortlist, best first, at least one more than the longest looked at.
    """
    counts, longest = penetration_counts(gallery.size), lengths(gallery.size)
    # One more than asked for, which makes up for the mate in the search without it.
    found = order[: max(*counts, *longest) + 1]
    scores = gallery.compare(probe, hand, found)
    hits = tuple(bool((found[:count] == column).any()) for count in counts)
    ends = [outcome(found[: n + 1], scores[: n + 1], column, n) for n in longest]
    return Search(dataset, (finger, finger), hits, ends)


def outcome(found: NDArray[np.int64], scores: NDArray[np.float64], mate: int, length: int) -> Outcome:
    """Of a shortlist of ``length`` + 1: the last one counts where the mate makes room for it."""
    is_mate = found == mate
    inside = np.arange(len(found)) < length
    strangers = scores[~is_mate][:length]
    beside = scores[inside & ~is_mate]
    if not (is_mate & inside).any():
        return Outcome(-math.inf, math.inf, _best(beside), _best(strangers))
    mine = float(scores[is_mate][0])
    # A stranger of equal score comes first: no credit for chance.
    return Outcome(mine, 1.0 + float((beside >= mine).sum()), _best(beside), _best(strangers))


def _best(scores: NDArray[np.float64]) -> float:
    return float(scores.max()) if len(scores) else -math.inf


def rounds(fingers: Sequence[int]) -> list[list[tuple[int, int]]]:
    """Pairs of an even number of fingers in n - 1 rounds, each with each once and each in every round once."""
    first, *rest = fingers
    made = []
    for _ in range(len(rest)):
        circle = [first, *rest]
        made.append([(circle[i], circle[-1 - i]) for i in range(len(circle) // 2)])
        rest = [rest[-1], *rest[:-1]]
    return made


def search_two(
    gallery: FingerGallery,
    people: Sequence[tuple[int, int]],
    mate: int,
    probes: tuple[PreparedFinger | None, PreparedFinger | None],
    orders: tuple[NDArray[np.int64], NDArray[np.int64]],
    dataset: str,
    fingers: tuple[int, int],
) -> Search:
    """Searches two fingers among real people (columns of their right and left fingers) and synthetic ones.

    Args:
        orders: for each hand the columns of the probe's shortlist, best first, long enough to lose real fingers that
            are on the other hand in this round.
    """
    real = np.array(people, np.int64)
    strangers = np.arange(gallery.real, gallery.size, dtype=np.int64)
    columns = [np.concatenate([real[:, hand], strangers]) for hand in range(HANDS)]
    found = []
    for hand in range(HANDS):
        person = np.full(gallery.size, -1, np.int64)
        person[columns[hand]] = np.arange(len(columns[hand]))
        there = person[orders[hand]]
        found.append(there[there >= 0])
    order = interleave(*found)
    size = len(columns[0])
    hits = tuple(bool((order[:count] == mate).any()) for count in penetration_counts(size))
    longest = lengths(size)
    order = order[: max(longest) + 1]
    scores = np.zeros(len(order))
    for hand, probe in enumerate(probes):
        scores += gallery.compare(probe, hand, columns[hand][order])
    ends = [outcome(order[: n + 1], scores[: n + 1], mate, n) for n in longest]
    return Search(dataset, fingers, hits, ends, failed=probes == (None, None))


def rates(searches: Sequence[Search], p: BootstrapParameters) -> Json:
    """Hit rates of the shortlist and the rates end to end, with intervals over fingers."""
    numbers: dict[int, int] = {}
    pairs = np.array([[numbers.setdefault(f, len(numbers)) for f in s.fingers] for s in searches], np.int64)
    total = len(numbers)

    def hit_rate(hits: NDArray[np.bool_]) -> Json:
        # The interval of a hit rate is that of the miss rate, turned round.
        missed = ~hits
        drawn = pair_replicates(missed[:, None], pairs, total, p)[:, 0]
        ends = listed(interval(drawn, float(missed.mean()), len(missed), p))
        limits = None if ends is None else [1 - ends[1], 1 - ends[0]]
        return {"rate": float(hits.mean()), "ci95": limits, "missed": int(missed.sum())}

    hits = np.array([s.hits for s in searches], np.bool_)
    result: Json = {
        "searches": len(searches),
        "fingers": total,
        "failed": sum(s.failed for s in searches),
        "shortlist": {rate_key(share): hit_rate(hits[:, k]) for k, share in enumerate(PENETRATIONS)},
        "end_to_end": [],
    }
    there = np.array([not s.failed for s in searches], np.bool_)
    for k in range(len(searches[0].ends)):
        end: Json = {"rank1": hit_rate(np.array([s.ends[k].rank == 1 for s in searches], np.bool_))}
        mates = np.array([s.ends[k].score for s in searches], np.float64)
        for name in ("open", "closed"):
            strangers = np.array([getattr(s.ends[k], name) for s in searches], np.float64)[there]
            scores = ScoreSet(mates, pairs, strangers, pairs[there], total)
            _, points, _ = operating_points(scores, FPIR_TARGETS, p, curve=False)
            end[name] = {
                "non_mated": len(strangers),
                "fnir_at_fpir": points["rate"],
                "fnir_at_fpir_ci95": points["ci95"],
                "missed_at_fpir": points["missed"],
            }
        result["end_to_end"].append(end)
    return result


def grouped(searches: Sequence[Search], p: BootstrapParameters) -> Json:
    """The rates of searches of real fingers, of synthetic (SFinGe) ones, and of all."""
    real = [s for s in searches if is_real(s.dataset)]
    synthetic = [s for s in searches if not is_real(s.dataset)]
    groups = {"real": real, "SFinGe": synthetic, "all": list(searches)}
    groups |= {name: [s for s in searches if s.dataset == name] for name in QUOTED_SETS}
    return {name: rates(chosen, p) for name, chosen in groups.items() if chosen}


def same_fingers(gallery: FingerGallery, prints: Sequence[Print], first: Sequence[Print]) -> list[tuple[str, str]]:
    """Labels whose impressions score as one finger's do."""
    columns = np.arange(gallery.real, dtype=np.int64)
    scores: dict[int, list[NDArray[np.float64]]] = {}
    for one in prints:
        if one.template is not None:
            prepared = gallery.index.comparator.prepare(one.template)
            scores.setdefault(one.finger, []).append(gallery.compare(prepared, 0, columns))
    found = []
    for k, one in enumerate(first):
        median = np.median(np.stack(scores[one.finger]), axis=0)
        found += [(one.name, first[c].name) for c in np.flatnonzero(median > SAME_FINGER).tolist() if c > k]
    return found


def measure(prints: Sequence[Print], size: int, p: BootstrapParameters, progress: ProgressCallback) -> Json:
    """Everything; see the module."""
    first = first_impressions(prints)
    column = {one.finger: k for k, one in enumerate(first)}
    count = size - len(first)
    made = bulk_finger_templates(HANDS * count, SEED, parameters=STRANGERS)
    strangers = [made[:count], made[count:]]
    gallery = FingerGallery([one.template for one in first if one.template is not None], strangers)
    progress("gallery", 1, 1)
    later = [one for one in prints if one.dataset in QUOTED_SETS and one is not first[column[one.finger]]]
    prepare = gallery.index.comparator.prepare
    prepared = {id(one): None if one.template is None else prepare(one.template) for one in later}

    ones: list[Search] = []
    orders: dict[tuple[int, int], list[NDArray[np.int64]]] = {}
    longest = max(*penetration_counts(size), *lengths(size)) + len(first) + 1
    for done, one in enumerate(later, 1):
        probe = prepared[id(one)]
        orders[one.finger, one.impression] = [np.zeros(0, np.int64)] * HANDS
        for hand in range(HANDS):
            if probe is None:
                ones.append(Search.without_template(one.dataset, one.finger, len(lengths(gallery.size))))
                continue
            order = gallery.shortlist(probe, hand, min(gallery.size, longest))
            orders[one.finger, one.impression][hand] = order
            ones.append(search_one(gallery, probe, order, one.dataset, one.finger, column[one.finger], hand))
        progress("one finger", done, len(later))
    twos = two_finger_searches(gallery, first, later, prepared, orders, progress)
    found = realism(prints, strangers[0][:LOOKED_AT], QUOTED_SETS)
    return {
        "gallery_fingers": gallery.size,
        "gallery_people": len(first) // 2 + gallery.strangers,
        "synthetic": gallery.strangers,
        "lengths": lengths(gallery.size),
        "bytes_a_finger": {
            "ram": round(sum(part.ram for part in gallery.index.memory()) / len(gallery.index), 1),
            "mapped": round(sum(part.mapped for part in gallery.index.memory()) / len(gallery.index), 1),
        },
        "same_finger": same_fingers(gallery, prints, first),
        "realism": found,
        "vectors": vector_misses(gallery, first, later, prepared),
        "one_finger": grouped(ones, p),
        "two_fingers": grouped(twos, p),
    }


def two_finger_searches(
    gallery: FingerGallery,
    first: Sequence[Print],
    later: Sequence[Print],
    prepared: dict[int, PreparedFinger | None],
    orders: dict[tuple[int, int], list[NDArray[np.int64]]],
    progress: ProgressCallback,
) -> list[Search]:
    """All searches of virtual people of two fingers."""
    column = {one.finger: k for k, one in enumerate(first)}
    impressions: dict[int, dict[int, Print]] = {}
    for one in later:
        impressions.setdefault(one.finger, {})[one.impression] = one
    fingers: dict[str, list[int]] = {}
    for one in first:
        fingers.setdefault(one.dataset, []).append(one.finger)
    of_set = {name: rounds(members) for name, members in fingers.items()}
    searches = []
    for turn in range(ROUNDS):
        dealt = [(name, pair) for name, made in of_set.items() for pair in made[turn % len(made)]]
        people = [(column[a], column[b]) for _, (a, b) in dealt]
        for mate, (name, (a, b)) in enumerate(dealt):
            if name not in QUOTED_SETS:
                continue
            for i in sorted(impressions[a].keys() & impressions[b].keys()):
                probes = prepared[id(impressions[a][i])], prepared[id(impressions[b][i])]
                found = orders[a, i][0], orders[b, i][1]
                searches.append(search_two(gallery, people, mate, probes, found, name, (a, b)))
        progress("two fingers", turn + 1, ROUNDS)
    return searches


def vector_misses(
    gallery: FingerGallery, first: Sequence[Print], later: Sequence[Print], prepared: dict[int, PreparedFinger | None]
) -> Json:
    """What is lost where the first look is at a share of a gallery, and not at all of it as here: searches whose
    mate is not among the nearest vectors, of one finger on either hand, and of two of whom none is."""
    column = {one.finger: k for k, one in enumerate(first)}
    there = [one for one in later if prepared[id(one)] is not None]
    probes = [finger for one in there if (finger := prepared[id(one)]) is not None]
    ranks: list[dict[tuple[int, int], float]] = []
    for hand in range(HANDS):
        nearest = gallery.view.nearest(probes, gallery.size, gallery.on_hand[hand])
        at = [
            np.flatnonzero(gallery.columns(hand, rows) == column[one.finger])[0]
            for one, rows in zip(there, nearest, strict=True)
        ]
        ranks.append({(o.finger, o.impression): a / gallery.size for o, a in zip(there, at, strict=True)})
    ones = [ranks[hand].get((one.finger, one.impression), math.inf) for one in later for hand in range(HANDS)]
    twos = []
    for name in QUOTED_SETS:
        impressions = {(one.finger, one.impression) for one in later if one.dataset == name}
        fingers = sorted({finger for finger, _ in impressions})
        for a, b in itertools.chain.from_iterable(rounds(fingers) if fingers else ()):
            both = {i for finger, i in impressions if finger == a} & {i for finger, i in impressions if finger == b}
            twos += [min(ranks[0].get((a, i), math.inf), ranks[1].get((b, i), math.inf)) for i in both]
    return {
        name: {"searches": len(found), "missed": {rate_key(s): sum(r >= s for r in found) for s in LOOKED_AT_SHARES}}
        for name, found in (("one_finger", ones), ("two_fingers", twos))
    }


def vector_table(found: Json) -> Table:
    """Of ``vector_misses``."""
    table = Table(title="mates that are not among the nearest vectors of any finger", show_edge=False)
    for title in ("fingers", "searches", *(f"{100 * share:g} % a finger" for share in LOOKED_AT_SHARES)):
        table.add_column(title)
    for name, one in found.items():
        missed = [f"{n} ({100 * n / one['searches']:.2f} %)" for n in one["missed"].values()]
        table.add_row(name.replace("_", " "), f"{one['searches']:,}", *missed)
    return table


def shortlist_table(found: Json, title: str) -> Table:
    """Hit rates."""
    table = Table(title=title, show_edge=False)
    columns = [f"at {100 * share:g} %" for share in PENETRATIONS]
    for column in ("fingers of", "searches", "fingers", *columns):
        table.add_column(column)
    for name, one in found.items():
        shown = [_rate(one["shortlist"][rate_key(share)]) for share in PENETRATIONS]
        table.add_row(name, f"{one['searches']:,}", str(one["fingers"]), *shown)
    return table


def end_to_end_table(found: Json, lengths: Sequence[int], title: str) -> Table:
    """Rank 1 and FNIR."""
    table = Table(title=title, show_edge=False)
    columns = [f"FNIR at FPIR {100 * f:g} %{c}" for c, f in itertools.product(("", ", closed"), FPIR_TARGETS)]
    for column in ("fingers of", "shortlist", "rank 1", *columns):
        table.add_column(column)
    for name, one in found.items():
        for length, end in zip(lengths, one["end_to_end"], strict=True):
            cells = [
                _fnir(end[way], one["searches"], f) for way, f in itertools.product(("open", "closed"), FPIR_TARGETS)
            ]
            table.add_row(name, f"{length:,}", _rate(end["rank1"]), *cells)
    return table


def _rate(one: Json) -> str:
    return f"{100 * one['rate']:.2f} %{_interval(one['ci95'])} ({one['missed']})"


def _fnir(end: Json, searches: int, target: float) -> str:
    key = rate_key(target)
    missed = end["missed_at_fpir"][key]
    if missed is None:
        return "- (too few searches)"
    return f"{100 * missed / searches:.2f} %{_interval(end['fnir_at_fpir_ci95'][key])} ({missed})"


def _interval(ends: list[float] | None) -> str:
    return "" if ends is None else f" [{100 * ends[0]:.2f}-{100 * ends[1]:.2f}]"


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--distractors", type=int, default=10_000, help="fingers of the gallery, real ones among them")
    parser.add_argument("--json", action="store_true", help="print JSON, and nothing else")
    parser.add_argument("--processes", type=int, default=2, help="that extract templates side by side")
    arguments = parser.parse_args()
    with progress_bar(quiet=arguments.json) as progress:
        prints = real_prints(arguments.processes, progress)
        least = 2 * len({one.finger for one in prints})
        if arguments.distractors < least:
            parser.error(f"--distractors must be at least {least}")
        found = measure(prints, arguments.distractors, BootstrapParameters(), progress)
    if arguments.json:
        print(json.dumps(found, indent=1))
        return
    console = Console(width=200)
    console.print(realism_table(found["realism"], "are the synthetic strangers as hard as real ones?"))
    same = ", ".join(f"{a} = {b}" for a, b in found["same_finger"]) or "none"
    console.print(f"\nlabels of one finger: {same}")
    size = found["bytes_a_finger"]
    console.print(f"bytes a finger: {size['ram']:g} in RAM, {size['mapped']:,.0f} mapped\n")
    console.print(vector_table(found["vectors"]), "")
    for name, what, people in (
        ("one_finger", "one finger", f"{found['gallery_fingers']:,} fingers"),
        ("two_fingers", "two fingers of virtual people", f"{found['gallery_people']:,} people"),
    ):
        about = f"{what}, {people}, {found['synthetic']:,} of them synthetic; in brackets the missed"
        console.print(shortlist_table(found[name], f"hit rate of the shortlist: {about}"), "")
        console.print(end_to_end_table(found[name], found["lengths"], f"end to end: {about}"), "")


if __name__ == "__main__":
    main()
