"""Servers whose extractors wait for the test: with fewer threads than that, everything else would wait for them."""

from __future__ import annotations

import pytest

from matcher.threads import use_threads


@pytest.fixture(autouse=True)
def enough_threads(same_threads: None) -> None:
    use_threads(4)
