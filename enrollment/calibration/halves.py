"""The half of all subjects that fits may see, where figures are then quoted of the other."""

from __future__ import annotations

import hashlib


def in_fit_half(subject_id: str) -> bool:
    """Whether what is fitted may see this subject. A property of the name alone, so that it holds for every program."""
    return hashlib.sha256(subject_id.encode()).digest()[0] % 2 == 0
