"""One real server as a process of its own for the end-to-end tests, and synthetic samples for it."""

from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from enrollment.client import AmbisClient
from enrollment.server_process import ServerProcess
from enrollment.synthesis.finger import synthesise_finger
from enrollment.synthesis.iris import synthesise_eye

Ambis = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with ServerProcess(tmp_path_factory.mktemp("server") / "data") as running:
        yield running


@pytest.fixture(scope="session")
def client(server: ServerProcess) -> Iterator[AmbisClient]:
    with AmbisClient(server.address) as connected:
        yield connected


@pytest.fixture
def ambis(server: ServerProcess, tmp_path: Path) -> Ambis:
    """Runs the command line against the server."""

    def run(*arguments: object) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "enrollment.cli", *map(str, arguments), "--server", server.address]
        return subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path, timeout=120)

    return run


def png(pixels: NDArray[np.uint8]) -> bytes:
    """An image file's bytes, 500 ppi."""
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG", dpi=(500, 500))
    return stream.getvalue()


@pytest.fixture(scope="session")
def finger() -> Callable[[int, int], bytes]:
    """A synthetic impression of a synthetic finger."""
    return lambda identity, impression: png(synthesise_finger(identity, impression))


@pytest.fixture(scope="session")
def eye() -> Callable[[int, int], bytes]:
    """A synthetic capture of a synthetic eye."""
    return lambda identity, capture: png(synthesise_eye(identity, capture))
