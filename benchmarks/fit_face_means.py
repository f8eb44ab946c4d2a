"""Fits ``enrollment/extract/face_compact_means.json``: what faces have in common to the compact pack.

    python -m benchmarks.fit_face_means

On the half of the people of LFW that fits may see (``enrollment.calibration.halves``): the mean places of the inner
landmarks of all faces aligned by five points, and the mean over people of the mean of their unit vectors, with views
aligned to these places. The other half is for quoting. After it, calibrate anew: every template changes.
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.real_data import in_fit_half, manifests
from enrollment.evaluation.protocol import list_samples
from enrollment.extract import face_compact
from enrollment.extract.face import FaceExtractor
from enrollment.extract.face_alignment import ARCFACE_POINTS, similarity
from enrollment.extract.face_compact import INNER_LANDMARKS, CompactMeans, CompactPack, five_points
from enrollment.images import DecodedImage, decode_image
from enrollment.models import pack_folder
from matcher.positions import Modality
from matcher.templates import FaceTemplate

TARGET = Path(face_compact.__file__).with_name("face_compact_means.json")


def pictures() -> Iterator[tuple[str, DecodedImage]]:
    """Subject and picture of every sample that fits may see."""
    for manifest in manifests(Modality.FACE):
        for sample in list_samples(manifest, Modality.FACE).samples:
            if in_fit_half(sample.subject_id):
                yield sample.subject_id, decode_image(sample.path.read_bytes())


def mean_landmarks(pack: CompactPack) -> NDArray[np.float64]:
    """float64[51, 2]; see ``CompactMeans``."""
    places = []
    extractor = FaceExtractor(pack)
    for _, picture in pictures():
        for box in extractor.boxes(picture)[:1]:
            landmarks = pack.landmarks(picture.rgb, box)
            matrix = similarity(five_points(landmarks), ARCFACE_POINTS)
            places.append(landmarks[INNER_LANDMARKS] @ matrix[:, :2].T + matrix[:, 2])
    return np.asarray(np.mean(places, axis=0), np.float64)


def person_means(pack: CompactPack) -> tuple[NDArray[np.float64], int]:
    """float64[people, 512], the mean vector of each, and how many pictures there were."""
    vectors: dict[str, list[NDArray[np.float32]]] = {}
    extractor = FaceExtractor(pack)
    for subject, picture in pictures():
        template = extractor.extract(picture).template
        assert isinstance(template, FaceTemplate)
        vectors.setdefault(subject, []).append(template.embedding)
    return np.array([np.mean(v, axis=0) for v in vectors.values()]), sum(map(len, vectors.values()))


def main() -> None:
    """See the module."""
    cv2.setNumThreads(1)
    nothing = np.zeros(512, np.float32)
    landmarks = mean_landmarks(CompactPack(pack_folder(), means=CompactMeans(nothing, np.zeros((51, 2)))))
    people, images = person_means(CompactPack(pack_folder(), means=CompactMeans(nothing, landmarks)))
    centre = people.mean(axis=0)
    about = {
        "data": "LFW, the half of the people of the evaluation manifest that fits may see",
        "made_by": "benchmarks/fit_face_means.py",
        "date": datetime.date.today().isoformat(),
        "people": len(people),
        "images": images,
        "centre_length": round(float(np.linalg.norm(centre)), 4),
        "limits": "press photos of celebrities; of another population the means are others, and less is gained",
    }
    contents = {
        "about": about,
        "landmarks": [[round(float(v), 3) for v in place] for place in landmarks],
        "centre": [round(float(v), 6) for v in centre],
    }
    TARGET.write_text(json.dumps(contents, indent=1) + "\n")
    print(f"{TARGET}: {about}")


if __name__ == "__main__":
    main()
