"""Fits ``enrollment/extract/face_compact_centre.json``: what the compact recogniser's vectors have in common.

    python -m benchmarks.fit_face_centre

The mean over people of the mean of their unit vectors, on the half of the people of LFW that fits may see
(``enrollment.calibration.halves``). The other half is for quoting. After it, calibrate anew: every template changes.
"""

from __future__ import annotations

import datetime
import json
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.real_data import in_fit_half, manifests
from enrollment.evaluation.protocol import list_samples
from enrollment.extract import face_compact
from enrollment.extract.face import FaceExtractor
from enrollment.images import decode_image
from enrollment.models import pack_folder
from matcher.positions import Modality
from matcher.templates import FaceTemplate

TARGET = Path(face_compact.__file__).with_name("face_compact_centre.json")


def main() -> None:
    """See the module."""
    cv2.setNumThreads(1)
    pack = face_compact.CompactPack(pack_folder(), centre=np.zeros(512, np.float32))
    extractor = FaceExtractor(pack)
    vectors: dict[str, list[NDArray[np.float32]]] = {}
    for manifest in manifests(Modality.FACE):
        for sample in list_samples(manifest, Modality.FACE).samples:
            if in_fit_half(sample.subject_id):
                template = extractor.extract(decode_image(sample.path.read_bytes())).template
                assert isinstance(template, FaceTemplate)
                vectors.setdefault(sample.subject_id, []).append(template.embedding)
    centre = np.mean([np.mean(v, axis=0) for v in vectors.values()], axis=0)
    about = {
        "data": "LFW, the half of the people of the evaluation manifest that fits may see",
        "made_by": "benchmarks/fit_face_centre.py",
        "date": datetime.date.today().isoformat(),
        "people": len(vectors),
        "images": sum(map(len, vectors.values())),
        "length": round(float(np.linalg.norm(centre)), 4),
        "limits": "press photos of celebrities; of another population the mean is another one, and less is gained",
    }
    numbers = [round(float(v), 6) for v in centre]
    TARGET.write_text(json.dumps({"about": about, "centre": numbers}, indent=1) + "\n")
    print(f"{TARGET}: {about}")


if __name__ == "__main__":
    main()
