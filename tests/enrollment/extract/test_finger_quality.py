"""NFIQ 2 gives NIST's figures, in children that may die."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from enrollment.extract import finger_nbis
from enrollment.extract.finger_nbis import MINUTIAE, QUALITY, NbisProcesses
from enrollment.extract.finger_quality import Nfiq2
from enrollment.synthesis.finger import synthesise_finger

SHARED = Path(os.environ.get("AMBIS_SHARED", Path(__file__).parents[4] / "shared"))


@pytest.fixture(scope="module")
def processes() -> Iterator[NbisProcesses]:
    processes = NbisProcesses(limit=2)
    yield processes
    processes.close()


def test_a_good_print_scores_higher_than_a_wet_one(processes: NbisProcesses) -> None:
    image = synthesise_finger(61, 0)
    nfiq2 = Nfiq2(processes)
    good = nfiq2.measure(image)
    merged = nfiq2.measure(np.asarray(cv2.erode(image, np.ones((7, 7), np.uint8)), np.uint8))
    assert good is not None
    assert good.score >= 40
    assert good.components["SufficientFingerprintForeground"] > 20_000
    assert {"UniformImage", "FingerJetFX_MinutiaeCount", "LCS_Bin10_Mean"} <= set(good.components)
    assert merged is None or merged.score < 20


def test_what_cannot_be_measured_has_no_score(processes: NbisProcesses) -> None:
    assert Nfiq2(processes).measure(np.full((300, 300), 255, np.uint8)) is None
    assert Nfiq2(processes).measure(np.zeros((3, 3), np.uint8)) is None


def test_nists_reference_scores_and_components(processes: NbisProcesses) -> None:
    folder = SHARED / "data" / "formats" / "nfiq2"
    images = sorted(folder.glob("*.pgm"))
    if not images:
        pytest.skip("NFIQ 2's reference images are not here: set AMBIS_SHARED to the folder with data/formats/nfiq2")
    for path in images:
        lines = path.with_name(f"{path.stem}_output.txt").read_text().splitlines()
        expected = {name: float(value) for name, value in (line.split(": ") for line in lines if ": " in line)}
        found = Nfiq2(processes).measure(np.asarray(Image.open(path)))
        assert found is not None
        assert found.score == expected.pop("UnifiedQualityScore")
        common = set(expected) & set(found.components)
        assert len(common) >= 60
        for name in common:
            assert found.components[name] == pytest.approx(expected[name], rel=1e-3, abs=1e-3), name


def test_a_child_that_was_killed_is_replaced(processes: NbisProcesses) -> None:
    image = synthesise_finger(61, 0)
    expected = Nfiq2(processes).measure(image)
    for child in processes._idle:
        if child.process is not None:
            child.process.send_signal(signal.SIGKILL)
    assert Nfiq2(processes).measure(image) == expected


def test_a_child_that_hangs_costs_a_score_and_no_more() -> None:
    processes = NbisProcesses(limit=1, seconds=0.4)
    try:
        processes.start()
        (child,) = processes._idle
        child.start().send_signal(signal.SIGSTOP)
        assert processes.ask(MINUTIAE, synthesise_finger(62, 0)) == {}
        child._seconds = 60.0
        assert len(processes.ask(MINUTIAE, synthesise_finger(62, 0))["minutiae"]) > 20
    finally:
        processes.close()


def test_callers_at_the_same_time_get_their_own_answers(processes: NbisProcesses) -> None:
    images = [synthesise_finger(63 + i, 0) for i in range(3)]
    alone = [processes.ask(QUALITY, image) for image in images]
    with ThreadPoolExecutor(6) as pool:
        together = list(pool.map(lambda image: processes.ask(QUALITY, image), images * 2))
    assert together == alone * 2
    assert len(processes._idle) <= processes.limit


def test_the_children_of_the_process_are_few() -> None:
    assert 1 <= finger_nbis.PROCESSES.limit <= len(os.sched_getaffinity(0))
