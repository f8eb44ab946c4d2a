"""Faces a second, beside dlib's network and InsightFace's pipeline, in one run.

    python -m benchmarks.face_speed [--evalpack FOLDER] [--dlib FOLDER] [--rounds N]

Ours is the compact pack: ``recogniser``, a picture with its landmarks to an embedding (two views); ``picture to
template``, all of it: decoding, detection, landmarks, embedding, quality. dlib's ``compute_face_descriptor`` gets the
face's shape and makes its descriptor, which is to be set beside ``recogniser``; InsightFace's ``get()`` gets the
pixels and makes boxes and embeddings, to be set beside ``picture to template``. Neither gives our templates: these
are ratios of work done for one face, not of the same answer. Folders as for ``benchmarks.face_packs``. Pictures are
renditions of the people of the group photo of the package ``insightface``. In every round each does all pictures
once, in turn; ratios are medians over rounds of the other's time over ours, on one thread and on two.

A second table shows what batches of faces gain: ours puts the two views of 1, 4 and 8 faces into one run of its
network, dlib's ``compute_face_descriptor`` takes lists of images. InsightFace's ``get()`` takes one picture at a time.
"""

from __future__ import annotations

import enrollment.threads  # noqa: F401  # isort: skip

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import dlib
import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from benchmarks.real_data import shared_folder
from enrollment import demo_faces
from enrollment.extract.extractors import Extractors
from enrollment.extract.face import FaceExtractor
from enrollment.extract.face_compact import CompactPack
from enrollment.extract.onnx_network import session_options
from enrollment.images import decode_image
from enrollment.models import pack_folder
from matcher.positions import Position

Work = Callable[[int], object]
BatchWork = Callable[[range], object]
BATCHES = (1, 4, 8)
BATCHED_PICTURES = 16
"""Two of the largest batches, one for each thread."""
ONE_AT_A_TIME = "insightface get()"


def works(evalpack: Path | None, dlib_folder: Path | None) -> tuple[dict[str, Work], dict[str, BatchWork], int]:
    """What is measured by name: functions of the number of a picture, and of a range of numbers, of which those beyond
    the last begin anew; and how many pictures there are."""
    pack = CompactPack(pack_folder())
    extractor = FaceExtractor(pack)
    crops = demo_faces.people(extractor)
    files = [demo_faces.rendition(crop, 100 + seed) for seed, crop in enumerate([*crops, *crops])]
    pixels = [np.ascontiguousarray(decode_image(f).rgb) for f in files]
    boxes = [extractor.boxes(decode_image(f))[0] for f in files]
    landmarks = [pack.landmarks(rgb, box) for rgb, box in zip(pixels, boxes, strict=True)]
    extractors = Extractors([extractor])
    found: dict[str, Work] = {
        "recogniser": lambda i: pack.embed_landmarks(pixels[i], landmarks[i]),
        "picture to template": lambda i: extractors.extract(Position.FACE, files[i], "image/jpeg", None),
    }
    count = len(files)
    batched: dict[str, BatchWork] = {
        "recogniser": lambda r: pack.embed_batch([(pixels[i % count], landmarks[i % count]) for i in r])
    }
    if dlib_folder is not None:
        predictor: Any = dlib.shape_predictor(str(dlib_folder / "shape_predictor_5_face_landmarks.dat"))
        # One network a thread: they keep state.
        weights = str(dlib_folder / "dlib_face_recognition_resnet_model_v1.dat")
        networks: list[Any] = [dlib.face_recognition_model_v1(weights) for _ in range(2)]
        shapes = [
            predictor(rgb, dlib.rectangle(round(b.left), round(b.top), round(b.right), round(b.bottom)))
            for rgb, b in zip(pixels, boxes, strict=True)
        ]
        found["dlib compute_face_descriptor"] = lambda i: networks[i % 2].compute_face_descriptor(pixels[i], shapes[i])
        listed = [dlib.full_object_detections([shape]) for shape in shapes]
        # Batch k runs on thread k % 2, see ``seconds``.
        batched["dlib compute_face_descriptor"] = lambda r: networks[r.start // len(r) % 2].compute_face_descriptor(
            [pixels[i % count] for i in r], [listed[i % count] for i in r]
        )
    if evalpack is not None:
        found[ONE_AT_A_TIME] = get = insightface(evalpack, pixels)
        batched[ONE_AT_A_TIME] = lambda r: [get(i % count) for i in r]
    return found, batched, count


def of_batches(work: BatchWork, size: int) -> Work:
    """The k-th batch."""
    return lambda k: work(range(k * size, (k + 1) * size))


def insightface(folder: Path, pixels: Sequence[NDArray[np.uint8]]) -> Work:
    """``FaceAnalysis.get`` as its users call it, on one thread a call."""
    from insightface.app import FaceAnalysis

    app = FaceAnalysis(
        name=str(folder.resolve()),
        allowed_modules=["detection", "recognition"],
        providers=["CPUExecutionProvider"],
        sess_options=session_options(1),
    )
    app.prepare(ctx_id=-1)
    bgr = [np.ascontiguousarray(rgb[:, :, ::-1]) for rgb in pixels]
    return lambda i: app.get(bgr[i])


def seconds(work: Work, pictures: int, threads: int) -> float:
    """That all pictures take, divided by their number. Thread k takes every picture whose number has that remainder."""
    began = time.perf_counter()
    if threads == 1:
        for i in range(pictures):
            work(i)
    else:
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(lambda k: [work(i) for i in range(k, pictures, threads)], range(threads)))
    return (time.perf_counter() - began) / pictures


PAIRS = (
    ("recogniser", "dlib compute_face_descriptor"),
    ("picture to template", "insightface get()"),
    ("picture to template", "dlib compute_face_descriptor"),
)


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = shared_folder() / "models" / "insightface" / "models" / "evalpack"
    parser.add_argument("--evalpack", type=Path, default=default if default.is_dir() else None)
    parser.add_argument("--dlib", type=Path, help="folder of dlib's two model files")
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    found, batched, pictures = works(arguments.evalpack, arguments.dlib)
    rates, ratios = Table(title="faces a second", show_edge=False), Table(title="times faster", show_edge=False)
    for shown in (rates, ratios):
        for name in ("", "one thread", "two threads"):
            shown.add_column(name, justify="right" if name else "left")
    taken = {threads: {name: [0.0] * arguments.rounds for name in found} for threads in (1, 2)}
    for work in found.values():
        work(0)
    for k in range(arguments.rounds):
        for threads in (1, 2):
            for name, work in found.items():
                taken[threads][name][k] = seconds(work, pictures, threads)
    for name in found:
        rates.add_row(name, *(f"{1 / statistics.median(taken[t][name]):.1f}" for t in (1, 2)))
    for ours, other in PAIRS:
        if other in found:
            ratio = [
                statistics.median(b / a for a, b in zip(taken[t][ours], taken[t][other], strict=True)) for t in (1, 2)
            ]
            ratios.add_row(f"{ours} than {other}", *(f"{r:.2f}" for r in ratio))
    console = Console(width=110)
    console.print(rates, "", ratios, "", batches(batched, arguments.rounds))


def batches(batched: dict[str, BatchWork], rounds: int) -> Table:
    """Faces a second by size of batch, and how many times those of batches of one; medians over rounds."""
    table = Table(title="batches: faces a second (times those of one)", show_edge=False)
    for name in ("", "batch", "one thread", "two threads"):
        table.add_column(name, justify="right" if name else "left")
    sizes = {name: BATCHES[:1] if name == ONE_AT_A_TIME else BATCHES for name in batched}
    cases = [(name, size, threads) for name in batched for size in sizes[name] for threads in (1, 2)]
    taken: dict[tuple[str, int, int], list[float]] = {case: [] for case in cases}
    for _ in range(rounds):
        for name, size, threads in cases:
            each = seconds(of_batches(batched[name], size), BATCHED_PICTURES // size, threads) / size
            taken[name, size, threads].append(each)
    for name in batched:
        for size in sizes[name]:
            cells = []
            for threads in (1, 2):
                ours, alone = taken[name, size, threads], taken[name, 1, threads]
                gain = statistics.median(a / b for a, b in zip(alone, ours, strict=True))
                cells.append(f"{1 / statistics.median(ours):.1f} ({gain:.2f})")
            table.add_row(name, str(size), *cells)
    return table


if __name__ == "__main__":
    main()
