"""Servers whose extractors wait for the test: with fewer threads than that, everything else would wait for them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from matcher.threads import use_threads


@pytest.fixture(autouse=True)
def enough_threads(same_threads: None) -> Iterator[None]:
    use_threads(4)
    yield
