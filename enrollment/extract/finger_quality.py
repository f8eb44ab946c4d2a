"""NFIQ 2, the quality of a fingerprint image after ISO/IEC 29794-4.

Computed by NIST's code with the random forest that it brings, in a process of its own (``finger_nbis``).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from enrollment.extract.finger_nbis import PROCESSES, QUALITY, NbisProcesses


@dataclasses.dataclass(frozen=True)
class FingerQuality:
    """What NFIQ 2 says of a print.

    Attributes:
        score: 0 (useless) to 100.
        components: the measurements behind it, by their names in NIST's code.
    """

    score: int
    components: Mapping[str, float]


class Nfiq2:
    """Measures NFIQ 2; thread-safe. About 0.1 s a print.

    Args:
        processes: that it is measured in; those of this process when left out, of which one is started now.
    """

    def __init__(self, processes: NbisProcesses | None = None) -> None:
        self._processes = processes or PROCESSES
        self._processes.start()

    def measure(self, image: NDArray[np.uint8]) -> FingerQuality | None:
        """The quality of uint8[h, w] at 500 ppi, ridges dark; None where NFIQ 2 finds nothing to measure."""
        answer = self._processes.ask(QUALITY, image)
        score = answer.get("score", -1)
        return FingerQuality(int(score), answer["components"]) if 0 <= score <= 100 else None
