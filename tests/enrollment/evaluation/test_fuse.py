"""The protocol of random halves on synthetic people."""

from __future__ import annotations

import io
import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from rich.console import Console
from sklearn.metrics import roc_curve

from enrollment.evaluation.fuse import MISSING, SETTINGS, accepted_at, evaluate_fuse, load_scores, missing_scores, pairs
from enrollment.evaluation.terminal import summary
from enrollment.fusion_methods import METHODS, threshold_at_far
from matcher.errors import InvalidInput
from matcher.positions import Position

QUICK = ("min_max_sum", "min_max_sum_cohort")
NAMES = ("face_c", "face_g", "finger_left_index", "finger_right_index")


def matrices(shift: float, count: int = 350) -> dict[str, NDArray[np.float32]]:
    rng = np.random.default_rng(9)
    made = rng.normal(0, 1, (4, count, count)) + shift * np.eye(count)
    made[0, :, 5] = -1.0
    return {name: m.astype(np.float32) for name, m in zip(NAMES, made, strict=True)}


def saved(tmp_path: Path, arrays: dict[str, Any]) -> Path:
    path = tmp_path / "scores.npz"
    np.savez(path, **arrays)
    return path


def timeless(result: dict[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in result.items() if k not in ("date", "seconds")}


def test_the_score_that_a_server_answers_means_what_it_says(tmp_path: Path) -> None:
    found = evaluate_fuse(saved(tmp_path, matrices(4.0)), splits=2, methods=("ours_score",))["calibration"]
    assert found["score"][:3] == [10.0, 20.0, 25.0]
    assert found["observed_over_asked"].keys() == {"all", "fingers", "faces", "all_30pct_missing"}
    for ratios in found["observed_over_asked"].values():
        assert all(0.5 < r["mean"] < 1.5 for r in ratios[:3])
        assert all(r["sd"] >= 0 for r in ratios)


def test_matrices_are_read_with_their_positions(tmp_path: Path) -> None:
    scores, positions, names = load_scores(saved(tmp_path, matrices(2.0, 20)))
    assert positions == [Position.FACE, Position.FACE, Position.LEFT_INDEX, Position.RIGHT_INDEX]
    assert tuple(names) == NAMES
    assert np.isnan(scores[0, :, 5]).all()
    genuine, impostor = pairs(scores, np.array([3, 1, 2]))
    assert genuine.tolist() == [[scores[k, p, p] for k in range(4)] for p in (3, 1, 2)]
    assert impostor.shape == (6, 4)
    assert impostor[0].tolist() == scores[:, 3, 1].tolist()


def test_what_is_no_score_file_is_refused(tmp_path: Path) -> None:
    text = tmp_path / "a.npz"
    text.write_text("no archive")
    with pytest.raises(InvalidInput, match="score matrices"):
        load_scores(text)
    with pytest.raises(InvalidInput, match="square"):
        load_scores(saved(tmp_path, {"face": np.zeros((2, 3), np.float32)}))
    with pytest.raises(InvalidInput, match="needs 100 people"):
        evaluate_fuse(saved(tmp_path, matrices(2.0, 50)))


def npy(shape: str, extra: bytes = b"") -> bytes:
    """An array file whose header claims a shape."""
    header = f"{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}, }}".encode()
    header += b" " * (-(len(header) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + extra


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"no array", "cannot be read as .npz"),
        (b"", "cannot be read as .npz"),
        (npy("(100000, 100000)"), "up to 100,000 people, 80.0 GB in all"),
        (npy("(15000, 15000, 3)"), "at most 20,000 people and 4 GB"),
        (npy("(1000, 1000)", b"short"), "cannot be read as .npz"),
        (npy("(" * 300), "cannot be read as .npz"),
        (npy("(" * 9000 + ")" * 9000), "cannot be read as .npz"),
        (npy("(-5, -5)"), "cannot be read as .npz"),
        (npy("(" + "9" * 5000 + ", 2)"), "cannot be read as .npz"),
        (npy("(" + "9" * 400 + ", 2)"), "at most 20,000 people|cannot be read"),
    ],
)
def test_broken_arrays_are_refused_in_one_sentence(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "scores.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("face.npy", content)
    with pytest.raises(InvalidInput, match=words) as caught:
        load_scores(path)
    assert len(caught.value.message) < 300


def test_easy_people_are_all_accepted_and_strangers_are_not(tmp_path: Path) -> None:
    easy = evaluate_fuse(saved(tmp_path, matrices(30.0)), splits=2)
    assert easy["gar_at_far_1e-4"]["all"]["mean"] == 1.0
    # All four are missing in 0.3^4 = 0.8 % of comparisons: those cannot be accepted.
    assert 0.97 < easy["gar_at_far_1e-4"]["all_30pct_missing"]["mean"] < 1.0
    assert set(easy["methods"]) == {
        *METHODS,
        "ours_score",
        "llr_sum_cohort",
        "logistic_regression_cohort",
        "ours_cohort",
    }
    for found in easy["methods"].values():
        assert tuple(found) == SETTINGS
        for cell in found.values():
            assert set(cell) == {"mean", "mean_ci95", "sd"}
            low, high = cell["mean_ci95"]
            assert 0 <= low <= cell["mean"] + 1e-9 <= high + 2e-9 <= 1 + 3e-9
    strangers = evaluate_fuse(saved(tmp_path, matrices(0.0)), splits=2, methods=QUICK)
    assert strangers["gar_at_far_1e-4"]["all"]["mean"] < 0.02

    out = io.StringIO()
    Console(file=out, width=80).print(*summary(easy))
    lines = out.getvalue().splitlines()
    assert max(map(len, lines)) <= 80
    assert any("Ours, cohort" in line and "100.0" in line for line in lines)


def test_the_seed_decides(tmp_path: Path) -> None:
    path = saved(tmp_path, matrices(2.5))
    first = evaluate_fuse(path, splits=2, seed=1, methods=QUICK)
    assert timeless(first) == timeless(evaluate_fuse(path, splits=2, seed=1, methods=QUICK))
    assert first["methods"] != evaluate_fuse(path, splits=2, seed=2, methods=QUICK)["methods"]
    assert first["method"] == QUICK[-1]


def test_cohort_undoes_what_samples_have_in_common(tmp_path: Path) -> None:
    arrays = matrices(4.0)
    rng = np.random.default_rng(3)
    for name in NAMES:  # every probe and reference has a level of its own
        arrays[name] += (rng.normal(0, 2, (350, 1)) + rng.normal(0, 2, 350)).astype(np.float32)
    methods = evaluate_fuse(saved(tmp_path, arrays), splits=2, methods=QUICK)["methods"]
    assert methods["min_max_sum_cohort"]["faces"]["mean"] > methods["min_max_sum"]["faces"]["mean"] + 0.2


def test_gar_is_that_of_scikit_learns_roc_curve() -> None:
    rng = np.random.default_rng(8)
    fused = np.round(rng.normal(0, 1, (180, 180)) + 3 * np.eye(180), 2)  # rounded: there are ties
    fused[3, 5] = fused[7, 7] = -np.inf
    mate = np.eye(180, dtype=bool)
    labels, scores = np.r_[np.ones(180), np.zeros(180 * 179)], np.r_[fused[mate], fused[~mate]]
    # roc_curve takes finite scores only; -inf is put below all others.
    fpr, tpr, _ = roc_curve(labels, np.maximum(scores, -99.0), drop_intermediate=False)
    fars = [0.1, 0.01, 1e-3, 1e-4]
    accepted = accepted_at(fused, fars)
    for far, column in zip(fars, accepted.T, strict=True):
        assert column.mean() == pytest.approx(tpr[fpr <= far + 1e-12].max(), abs=1e-12)
        assert column.tolist() == (fused[mate] > threshold_at_far(fused[~mate], far)).tolist()


def test_missing_scores_are_those_of_one_generator_read_on() -> None:
    random = np.random.default_rng((5, 1))
    for number in range(3):
        expected = random.random((6, 6, 2)) < MISSING
        np.testing.assert_array_equal(missing_scores(5, number, 6, 2), expected)


def test_processes_do_not_change_the_result(tmp_path: Path) -> None:
    path = saved(tmp_path, matrices(2.5))
    told: list[tuple[str, int, int]] = []
    together = evaluate_fuse(
        path, splits=3, methods=QUICK, processes=2, progress=lambda what, done, total: told.append((what, done, total))
    )
    assert timeless(together) == timeless(evaluate_fuse(path, splits=3, methods=QUICK))
    assert told == [("halves", k, 3) for k in range(4)]


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        ("face", lambda m: np.full_like(m, np.nan), "finite scores that differ"),
        ("face", lambda m: np.zeros_like(m), "finite scores that differ"),
        ("face", lambda m: np.where(m == m[0, 1], np.inf, m), "finite scores that differ"),
        ("face", lambda m: np.where(m == m[0, 1], -1e308, m.astype(float)), "none beyond ±1e\\+100"),
        ("face", lambda m: np.where(np.eye(len(m)) > 0, np.nan, m), "genuine scores of only 0 people"),
        ("face", lambda m: m + 1j, "no real numbers"),
        ("elbow", lambda m: m, "named after no position"),
    ],
)
def test_matrices_that_cannot_be_used(tmp_path: Path, name: str, change: Any, words: str) -> None:
    made = matrices(2.0)
    path = saved(tmp_path, {"face_c": made["face_c"], name: change(made["face_g"])})
    with pytest.raises(InvalidInput, match=words):
        evaluate_fuse(path, splits=2, methods=QUICK)


def test_one_matrix_is_enough(tmp_path: Path) -> None:
    found = evaluate_fuse(saved(tmp_path, {"iris_left": matrices(4.0)["face_g"]}), splits=2, methods=QUICK)
    assert set(found["gar_at_far_1e-4"]) == {"all", "all_30pct_missing"}
    assert found["gar_at_far_1e-4"]["all"]["mean"] > 0.3


def test_the_real_protocol_fusion_beats_the_best_single_matcher() -> None:
    """NIST BSSR1 set 1, two halves; loosely, as two halves tell little."""
    shared = Path(os.environ.get("AMBIS_SHARED") or Path(__file__).resolve().parents[4] / "shared")
    path = shared / "data" / "scores" / "bssr1_set1" / "scores.npz"
    if not path.is_file():
        pytest.skip(f"{path} is not there; set AMBIS_SHARED to the folder of real samples")
    compared = ("best_single", "product_of_fmr", "ours", "ours_cohort")
    result = evaluate_fuse(path, splits=2, methods=compared)
    assert (result["subjects"], result["impostors_per_half"]) == (517, 259 * 258)
    mean = {name: {s: cell["mean"] for s, cell in found.items()} for name, found in result["methods"].items()}
    assert 0.80 < mean["best_single"]["all"] < 0.92
    for name in ("ours", "ours_cohort"):
        assert mean[name]["all"] > 0.985
        assert mean[name]["fingers"] > 0.90
        assert mean[name]["faces"] > mean["best_single"]["faces"]
        assert mean[name]["all_30pct_missing"] > 0.92
