"""NFIQ 2, the quality of a fingerprint image after ISO/IEC 29794-4.

Through ``nbis-py`` (MIT), which wraps NIST's code (public domain) and brings its random forest with it.
"""

from __future__ import annotations

import io

import nbis
import numpy as np
from numpy.typing import NDArray
from PIL import Image


class Nfiq2:
    """Computes NFIQ 2 scores; thread-safe. About 0.1 s a print."""

    def __init__(self) -> None:
        self._extractor = nbis.new_nbis_extractor(
            nbis.NbisExtractorSettings(
                min_quality=0.0, get_center=False, check_fingerprint=False, compute_nfiq2=True, ppi=500.0
            )
        )

    def score(self, image: NDArray[np.uint8]) -> int | None:
        """The score, 0 (useless) to 100, of uint8[h, w] at 500 ppi; None where NFIQ 2 finds nothing to measure."""
        buffer = io.BytesIO()
        # The library takes encoded images only.
        Image.fromarray(image).save(buffer, "PNG", compress_level=1)
        try:
            result = self._extractor.extract_minutiae(buffer.getvalue()).quality()
        except nbis.NbisError:
            return None
        return None if result is None or not 0 <= result.score <= 100 else int(result.score)
