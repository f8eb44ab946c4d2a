"""What all tests share: the pool of computing threads is as before after each."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from matcher.threads import use_threads, workers


@pytest.fixture(autouse=True)
def same_threads() -> Iterator[None]:
    count = workers().count
    yield
    if workers().count != count:
        use_threads(count)
