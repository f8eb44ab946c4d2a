"""Denormals are flushed inside, and only inside, on the calling thread alone."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from enrollment.extract.denormals import can_flush, flushed_denormals


def denormals_live() -> bool:
    """Whether a product that is denormal comes out as such."""
    tiny = np.full(64, 1e-30, np.float32)
    return bool((tiny * np.float32(1e-10)).view(np.uint32).all())


@pytest.fixture(autouse=True)
def ordinary_arithmetic() -> None:
    assert denormals_live(), "another part of this process has switched denormals off for good"


@pytest.mark.skipif(not can_flush(), reason="this platform's floating-point environment is not known")
def test_flushes_within_and_restores_after() -> None:
    with flushed_denormals():
        assert not denormals_live()
        with flushed_denormals():
            assert not denormals_live()
        assert not denormals_live()
        assert float(np.float32(3.0) / np.float32(7.0)) == pytest.approx(3 / 7)
    assert denormals_live()


def test_restores_after_an_error() -> None:
    with pytest.raises(KeyError), flushed_denormals():
        raise KeyError("inside")
    assert denormals_live()


def test_other_threads_keep_theirs() -> None:
    seen: list[bool] = []
    entered, looked = threading.Event(), threading.Event()

    def look() -> None:
        entered.wait(10)
        seen.append(denormals_live())
        looked.set()

    thread = threading.Thread(target=look)
    thread.start()
    with flushed_denormals():
        entered.set()
        looked.wait(10)
    thread.join()
    assert seen == [True]
