"""Virtual (chimeric) subjects: samples of different real people, put together as those of one.

No public set has the fingers, the face and the eyes of the same people, so people are made up, as is usual in research
on fusion (Poh & Bengio, "Can chimeric persons be used in multimodal biometric authentication experiments?", MLMI 2005).
What it hides must be known to whoever reads the figures:

- Between modalities, and between the two fingers (which are of different people, on different sensors), there is no
  correlation at all. The two eyes are of one real person and keep theirs.
- Within a modality nothing is made up: every comparison is one of two real samples.

Every finger, face and eye is in one virtual subject at most.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from itertools import zip_longest

import numpy as np

from benchmarks.real_data import RealSample
from matcher.positions import Modality, Position

Captures = Mapping[Position, tuple[RealSample, ...]]
FINGERS = (Position.RIGHT_INDEX, Position.LEFT_INDEX)
"""The sets do not say which fingers they hold; they are taken as these."""


@dataclasses.dataclass(frozen=True)
class VirtualSubject:
    """One made-up person.

    Attributes:
        captures: all samples of each position, the one that is enrolled first; the others are probes.
    """

    subject_id: str
    captures: Captures

    @property
    def anchor(self) -> str:
        """The real person of the first position: whoever it is dealt to, one and the same."""
        return next(iter(self.captures.values()))[0].subject_id

    def probes(self, positions: Sequence[Position]) -> int:
        """How many searches with these positions there can be, each sample used in one of them only."""
        return min(len(self.captures.get(p, ())) for p in positions) - 1


@dataclasses.dataclass(frozen=True)
class Limits:
    """At most so many people of each kind; None takes all that there are.

    Attributes:
        hands, faces, eyes: people with fingers, with a face, with eyes.
        captures: samples of a position, the enrolled one included.
    """

    hands: int | None = None
    faces: int | None = None
    eyes: int | None = None
    captures: int | None = None


def compose(
    samples: Sequence[RealSample], seed: int, prefix: str, limits: Limits | None = None
) -> list[VirtualSubject]:
    """As many virtual subjects as the samples make: those with everything first, those with a face only last.

    Two fingers of different sets, two eyes of one person, and a face are dealt out in order, so that the people with
    most are as many as there can be; then come those without fingers, with one eye, with a face only. Faces of
    several pictures go first: they can be searched. Synthetic fingers are left out.

    Args:
        samples: real samples of all modalities.
        seed: of every random choice.
        prefix: of the subject ids.
        limits: see the class.
    """
    most = limits or Limits()
    rng = np.random.default_rng(seed)
    people: dict[Modality, dict[str, list[RealSample]]] = {m: {} for m in Modality}
    for sample in samples:
        if not sample.is_synthetic:
            people[sample.position.modality].setdefault(sample.subject_id, []).append(sample)
    eyes = [_by_position(s) for s in _shuffled(people[Modality.IRIS], rng)]
    # Two eyes, one eye of known side, one of unknown side.
    eyes.sort(key=lambda captures: (Position.IRIS_UNKNOWN in captures, -len(captures)))
    faces = _shuffled(people[Modality.FACE], rng)
    faces.sort(key=lambda pictures: -len(pictures))
    pairs = _pair_fingers(_shuffled(people[Modality.FINGER], rng), rng)[: most.hands]
    hands: list[Captures] = [{p: tuple(f) for p, f in zip(FINGERS, pair, strict=False)} for pair in pairs]
    heads: list[Captures] = [{Position.FACE: tuple(pictures)} for pictures in faces[: most.faces]]
    nothing: Captures = {}
    return [
        VirtualSubject(
            f"{prefix}{number:04d}",
            {p: s[: most.captures] for part in three for p, s in part.items()},
        )
        for number, three in enumerate(zip_longest(hands, heads, eyes[: most.eyes], fillvalue=nothing), 1)
    ]


def samples_of(subjects: Sequence[VirtualSubject]) -> list[RealSample]:
    """All samples of these subjects."""
    return [sample for subject in subjects for captures in subject.captures.values() for sample in captures]


def _shuffled(people: Mapping[str, list[RealSample]], rng: np.random.Generator) -> list[list[RealSample]]:
    names = sorted(people)
    return [people[names[i]] for i in rng.permutation(len(names))]


def _by_position(samples: Sequence[RealSample]) -> dict[Position, tuple[RealSample, ...]]:
    positions = sorted({s.position for s in samples})
    return {p: tuple(s for s in samples if s.position is p) for p in positions}


def _pair_fingers(fingers: Sequence[list[RealSample]], rng: np.random.Generator) -> list[tuple[list[RealSample], ...]]:
    """Pairs of different sets, then fingers that found no partner, alone.

    One of each pair is of the set with most fingers left, so that as few as possible stay alone.
    """
    sets: dict[str, list[list[RealSample]]] = {}
    for finger in fingers:
        sets.setdefault(finger[0].dataset, []).append(finger)
    pairs: list[tuple[list[RealSample], ...]] = []
    while len(left := [name for name, members in sets.items() if members]) > 1:
        largest = max(left, key=lambda name: len(sets[name]))
        others = [name for name in left if name != largest for _ in sets[name]]
        pair = [sets[largest].pop(), sets[others[int(rng.integers(len(others)))]].pop()]
        pairs.append((pair[1], pair[0]) if rng.random() < 0.5 else (pair[0], pair[1]))
    return pairs + [(finger,) for members in sets.values() for finger in members]
