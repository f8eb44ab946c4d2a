"""The picture of a comparison: what it says, and that its lines join what the comparator paired."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from typer.testing import CliRunner

from enrollment.cli import app
from enrollment.explain import MARGIN, Explanation, Print, draw, explain_pair
from enrollment.synthesis.finger import synthesise_finger
from matcher.calibration import Calibrations
from matcher.finger.comparison import FingerComparator
from matcher.finger.parameters import FINGER_ALGORITHM
from matcher.templates import FingerTemplate
from tests.matcher.finger.prints import random_finger, second_impression

COMPARATOR = FingerComparator()
WHITE = np.full((400, 320), 255, np.uint8)


def explanation(probe: FingerTemplate, reference: FingerTemplate) -> Explanation:
    a, b = COMPARATOR.prepare(probe), COMPARATOR.prepare(reference)
    details = COMPARATOR.explain(a, b)
    artefact = Calibrations.load()[FINGER_ALGORITHM]
    score = float(artefact.to_score(details.score))
    return Explanation(Print(WHITE, a, 70), Print(WHITE, b, 40), details, score, artefact.trusted_to)


def same_finger(seed: int) -> tuple[FingerTemplate, FingerTemplate]:
    rng = np.random.default_rng(seed)
    finger = random_finger(rng, 40)
    return finger, second_impression(rng, finger)


@pytest.mark.parametrize("seed", range(4))
def test_partners_lie_upon_each_other(seed: int) -> None:
    probe, reference = same_finger(seed)
    a, b = COMPARATOR.prepare(probe), COMPARATOR.prepare(reference)
    found, back = COMPARATOR.explain(a, b), COMPARATOR.explain(b, a)
    assert found.score == back.score == COMPARATOR.compare(a, b)
    assert len(found.partners) > 20
    assert sorted(map(tuple, found.partners)) == sorted(map(tuple, back.partners[:, ::-1]))
    assert found.turn == pytest.approx(-back.turn)
    # The rotation and the partners, by the obvious way: after it the distances to the mean are alike.
    u = (a.x + 1j * a.y)[found.partners[:, 0]]
    v = (b.x + 1j * b.y)[found.partners[:, 1]]
    missed = (u - u.mean()) * np.exp(1j * found.turn) - (v - v.mean())
    assert np.abs(missed).max() < 20
    assert math.sqrt(np.mean(np.abs(missed) ** 2)) < found.distance + 1


def test_few_minutiae_are_explained_too() -> None:
    rng = np.random.default_rng(5)
    told = explanation(random_finger(rng, 2), random_finger(rng, 30))
    assert told.details.score == 0.0
    assert told.sentences()[1] == "None of the 2 and 30 minutiae lie upon each other."
    assert told.summary()["partners"] == []
    assert draw(told).size[0] == 2 * (2 * 320 + 3 * MARGIN)


def test_the_sentences_tell_what_was_found() -> None:
    told = explanation(*same_finger(6))
    first, second = told.sentences()
    assert first.startswith(f"Score {told.score:.1f}: 1 in ")
    assert ("extrapolated" in first) == (told.score > told.trusted_to)
    assert second.startswith(f"{len(told.details.partners)} of the 40 and {len(told.reference.finger)} minutiae")
    assert len(told.summary()["partners"]) == len(told.details.partners)


def coloured(picture: Image.Image) -> NDArray[np.bool_]:
    """Pixels that are neither grey nor the blue of unpaired minutiae."""
    rgb = np.asarray(picture).astype(np.int64)
    return np.asarray((rgb[..., 0] - rgb[..., 2] > 30) | (rgb[..., 1] - rgb[..., 2] > 30))


def test_a_line_joins_each_pair_and_only_pairs() -> None:
    told = explanation(*same_finger(7))
    picture = draw(told)
    assert picture.mode == "RGB"
    seen = coloured(picture)
    x0, x1 = 2 * MARGIN, 2 * (2 * MARGIN + 320)
    for i, j in told.details.partners.tolist():
        a, b = told.probe.finger, told.reference.finger
        ends = np.array([[x0 + 2 * a.x[i], 2 * (MARGIN + a.y[i])], [x1 + 2 * b.x[j], 2 * (MARGIN + b.y[j])]])
        for share in (0.25, 0.5, 0.75):
            x, y = np.rint(ends[0] + share * (ends[1] - ends[0])).astype(int)
            assert seen[y - 2 : y + 3, x - 2 : x + 3].any()
    nothing = draw(explanation(random_finger(np.random.default_rng(8), 2), random_finger(np.random.default_rng(9), 30)))
    assert not coloured(nothing).any()


def test_the_command_draws_two_files(tmp_path: Path) -> None:
    for impression in (0, 1):
        Image.fromarray(synthesise_finger(3, impression)).save(tmp_path / f"{impression}.png", dpi=(500, 500))
    paths = tmp_path / "0.png", tmp_path / "1.png"
    told = explain_pair(*paths)
    out = tmp_path / "pair.png"
    ran = CliRunner().invoke(app, ["explain", *map(str, paths), "--out", str(out), "--json"])
    assert ran.exit_code == 0, ran.output
    answer = json.loads(ran.stdout)
    assert answer["raw_score"] == told.details.score > 10
    with Image.open(out) as picture:
        assert picture.format == "PNG"
        assert picture.size == draw(told).size


def test_a_file_that_is_no_print_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.png").write_text("no picture")
    ran = CliRunner().invoke(app, ["explain", str(tmp_path / "x.png"), str(tmp_path / "y.png"), "--out", "z.png"])
    assert ran.exit_code in (1, 2)
    assert not Path("z.png").exists()
