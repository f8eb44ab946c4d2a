"""Face packs beside each other, on the people of LFW: 1:1 and 1:N accuracy with intervals over people.

    python -m benchmarks.face_packs [--evalpack FOLDER] [--dlib FOLDER] [--half fit|other] [--pack NAME ...]

Packs: ``compact``; ``compact-dlib5``, the same recogniser on the five points of dlib; ``evalpack``, an InsightFace
pack; ``dlib``, dlib's own network of 128 numbers. ``--evalpack`` names the folder of a pack, ``--dlib`` that of
``shape_predictor_5_face_landmarks.dat`` and ``dlib_face_recognition_resnet_model_v1.dat`` (in the PyPI package
``face_recognition_models``; for evaluation alone). All but ``evalpack`` find faces in the same way.

1:1: all pairs (``ambis evaluate verify --impostors all``). 1:N: half of the people are enrolled with one image
(``benchmarks.gallery_and_probes``, seed 0), searched by the server's own search; scores are calibrated on the half of
the people that fits may see. A picture without a template counts as a non-match.
"""

from __future__ import annotations

import enrollment.threads  # noqa: F401  # isort: skip

import argparse
import json
import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import cv2
import dlib
import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from benchmarks.gallery_and_probes import read_rows, split, write_rows
from benchmarks.real_data import in_fit_half, manifests, shared_folder
from enrollment.calibration.artefact import DataDescription, make_artefact, write_artefact
from enrollment.calibration.scores import score_manifests
from enrollment.evaluation.identify import evaluate_identify
from enrollment.evaluation.measures import Json
from enrollment.evaluation.protocol import list_samples
from enrollment.evaluation.verify import evaluate_verify
from enrollment.extract.extraction import Extraction, ModalityExtractor
from enrollment.extract.face import FaceExtractor, load_face_extractor
from enrollment.extract.face_alignment import ALIGNED_SIDE, similarity, warp
from enrollment.extract.face_compact import CompactPack
from enrollment.extract.face_pack import FaceBox
from enrollment.images import DecodedImage
from enrollment.models import pack_folder
from enrollment.settings import Settings, load_settings
from matcher.errors import SampleRejected
from matcher.positions import Modality
from matcher.templates import FaceTemplate

DLIB_POINTS = np.array([[80.64, 52.87], [66.40, 53.59], [31.28, 53.22], [45.52, 53.71], [56.02, 79.94]])
"""float64[5, 2]: where the corners of the eyes and the base of the nose lie in the recogniser's crop: the mean of the
landmarks of the people of LFW that fits may see."""
PACKS = ("compact", "compact-dlib5", "evalpack", "dlib")


class DlibFinder:
    """The compact pack's boxes with dlib's five points."""

    modality = Modality.FACE

    def __init__(self, folder: Path) -> None:
        self.pack = CompactPack(pack_folder())
        self._boxes = FaceExtractor(self.pack)
        self._predictor: Any = dlib.shape_predictor(str(folder / "shape_predictor_5_face_landmarks.dat"))

    def shape(self, image: DecodedImage) -> Any:
        """dlib's five points of the most prominent face."""
        boxes = self._boxes.boxes(image)
        if not boxes:
            raise SampleRejected("no face was found", reason="FACE_NOT_FOUND")
        return self._predictor(np.ascontiguousarray(image.rgb), _rectangle(boxes[0]))


class CompactOnDlibPoints(DlibFinder):
    """The compact recogniser on a crop that is aligned by dlib's five points, and on its mirror image."""

    algorithm = "face-compact-dlib5"

    def extract(self, image: DecodedImage) -> Extraction:
        """See ``ModalityExtractor``."""
        shape = self.shape(image)
        points = np.array([[p.x, p.y] for p in shape.parts()], np.float64)
        crop = warp(image.rgb, similarity(points, DLIB_POINTS), ALIGNED_SIDE, repeat_border=False)
        return Extraction(FaceTemplate(self.algorithm, 1, self.pack.embed(crop).vector), 50)


class DlibNetwork(DlibFinder):
    """dlib's network, which is made for its own five points; compared by cosine as all packs are."""

    algorithm = "face-dlib-resnet-1"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._network: Any = dlib.face_recognition_model_v1(str(folder / "dlib_face_recognition_resnet_model_v1.dat"))

    def extract(self, image: DecodedImage) -> Extraction:
        """See ``ModalityExtractor``."""
        rgb = np.ascontiguousarray(image.rgb)
        vector = np.array(self._network.compute_face_descriptor(rgb, self.shape(image)), np.float64)
        unit: NDArray[np.float32] = (vector / np.linalg.norm(vector)).astype(np.float32)
        return Extraction(FaceTemplate(self.algorithm, 1, unit), 50)


def _rectangle(box: FaceBox) -> Any:
    return dlib.rectangle(round(box.left), round(box.top), round(box.right), round(box.bottom))


def loaders(evalpack: Path | None, dlib_folder: Path | None) -> dict[str, Callable[[], ModalityExtractor]]:
    """How each pack that there are folders for is loaded."""
    found: dict[str, Callable[[], ModalityExtractor]] = {"compact": lambda: load_face_extractor("compact")}
    if dlib_folder is not None:
        found["compact-dlib5"] = lambda: CompactOnDlibPoints(dlib_folder)
        found["dlib"] = lambda: DlibNetwork(dlib_folder)
    if evalpack is not None:
        found["evalpack"] = lambda: load_face_extractor(evalpack)
    return {name: found[name] for name in PACKS if name in found}


def write_manifests(half: str | None, out: Path) -> None:
    """``all.csv``, ``gallery.csv`` and ``probes.csv`` of one half of the people, or of all, into an empty folder."""
    (manifest,) = manifests(Modality.FACE)
    out.mkdir()
    rows = read_rows(list_samples(manifest, Modality.FACE), re.compile(""), out)
    rows = [r for r in rows if half is None or in_fit_half(r["subject_id"]) == (half == "fit")]
    gallery, probes = split(rows, 0.5, 0)
    for name, chosen in (("all", rows), ("gallery", gallery), ("probes", probes)):
        write_rows(chosen, out / f"{name}.csv")


def measure(load: Callable[[], ModalityExtractor], half: str | None) -> dict[str, Json]:
    """1:1 and 1:N accuracy of a pack."""
    extractor = load()
    with (
        tempfile.TemporaryDirectory(prefix="ambis-packs-") as scratch,
        mock.patch("enrollment.serving.load_face_extractor", return_value=extractor),
    ):
        folder = Path(scratch)
        write_manifests(half, folder / "people")
        settings = calibrated(folder / "calibrations")
        return {
            "verify": evaluate_verify(folder / "people" / "all.csv", "all", settings=settings),
            "identify": evaluate_identify(
                folder / "people" / "gallery.csv", folder / "people" / "probes.csv", settings=settings
            ),
        }


def calibrated(folder: Path) -> Settings:
    """Settings with the artefact of the half of the people that fits may see."""
    folder.mkdir()
    scores = score_manifests(manifests(Modality.FACE), Modality.FACE, load_settings(), keep=in_fit_half)
    artefact = make_artefact(scores, DataDescription("LFW", "", "", "fit half", "benchmarks/face_packs.py"))
    write_artefact(artefact, folder / f"{artefact.algorithm}.json")
    return load_settings(calibrations=folder)


def table(results: dict[str, dict[str, Json]]) -> Table:
    """One row a pack; rates in per cent, 95 % interval below; "<" where only a limit can be shown."""
    shown = Table(show_edge=False)
    columns = ("pack", "FTE", "EER", "FNMR 1e-2", "1e-3", "1e-4", "1e-5", "rank 1", "FNIR 0.1", "0.01", "images")
    for name in columns:
        shown.add_column(name, justify="left" if name == "pack" else "right")
    for name, found in results.items():
        verify, identify = found["verify"], found["identify"]
        fnmr, fnir = verify["fnmr_at_fmr"], identify["fnir_at_fpir"]
        limits, bounds = verify["fnmr_at_fmr_ci95"], identify["fnir_at_fpir_ci95"]
        shown.add_row(
            name,
            str(verify["failures_to_enrol"]),
            _rate(verify["eer"], verify["eer_ci95"]),
            *(_rate(fnmr[k], limits[k]) for k in ("0.01", "0.001", "0.0001", "0.00001")),
            _rate(identify["rank1"], identify["rank1_ci95"]),
            *(_rate(fnir[k], bounds[k]) for k in ("0.1", "0.01")),
            str(verify["samples"]),
        )
    return shown


def _rate(rate: float | None, bounds: list[float] | None) -> str:
    if bounds is None:
        return "-"
    low, high = (f"{100 * bound:.2f}" for bound in bounds)
    return f"< {high}" if rate is None else f"{100 * rate:.2f}\n{low}-{high}"


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = shared_folder() / "models" / "insightface" / "models" / "evalpack"
    parser.add_argument("--evalpack", type=Path, default=default if default.is_dir() else None)
    parser.add_argument("--dlib", type=Path, help="folder of dlib's two model files")
    parser.add_argument("--half", choices=["fit", "other"])
    parser.add_argument("--pack", choices=PACKS, action="append")
    parser.add_argument("--json", type=Path, help="where everything goes that was measured")
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    available = loaders(arguments.evalpack, arguments.dlib)
    results = {
        name: measure(load, arguments.half)
        for name, load in available.items()
        if arguments.pack is None or name in arguments.pack
    }
    Console(width=150).print(table(results))
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
