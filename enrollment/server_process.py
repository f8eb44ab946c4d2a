"""Runs ``ambis serve`` as a process of its own: for the demo, the end-to-end tests and the benchmarks."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from matcher.errors import Unavailable

START_SECONDS = 600.0
"""After which a start is given up; the first one after an installation compiles kernels for one to several minutes."""


class ServerProcess:
    """A server on a free loopback port; a context manager.

    Args:
        folder: data folder; kept.
        settings: ``AMBIS_*`` variables; none of this process's nor of an ``ambis.toml`` apply, but AMBIS_MODELS.
        log: takes what the server logs; None drops it into ``server.log`` in the data folder.

    Raises:
        Unavailable: the server did not come up; the message has the end of its log.
    """

    def __init__(self, folder: Path, settings: Mapping[str, str] | None = None, log: IO[str] | None = None) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._log_path = folder / "server.log"
        command = [sys.executable, "-m", "enrollment.cli", "serve", "--data", str(folder), "--port", "0"]
        # Not the operator's settings: they would change what is shown and tested.
        own = {k: v for k, v in os.environ.items() if not k.startswith("AMBIS_") or k == "AMBIS_MODELS"}
        config = folder / "no-settings.toml"
        config.touch()
        environment = {**own, "AMBIS_CONFIG": str(config), "AMBIS_HOST": "127.0.0.1", **(settings or {})}
        with self._log_path.open("a") as file:
            self._process = subprocess.Popen(
                command, env=environment, stdout=subprocess.PIPE, stderr=log or file, text=True
            )
        self.address = self._await_address()

    def _await_address(self) -> str:
        # A server that hangs while it starts is ended, which also ends the reading below.
        timer = threading.Timer(START_SECONDS, self._process.kill)
        timer.start()
        try:
            assert self._process.stdout is not None
            for line in self._process.stdout:
                if " listens on " in line:
                    return line.split(" listens on ")[1].split(",")[0]
        finally:
            timer.cancel()
        self._process.wait()
        tail = self._log_path.read_text()[-2000:]
        raise Unavailable(f"the server did not start (exit code {self._process.returncode}):\n{tail}")

    @property
    def pid(self) -> int:
        """Of the server."""
        return self._process.pid

    def stop(self) -> int:
        """Asks the server to stop and waits; returns its exit code."""
        self._process.send_signal(signal.SIGTERM)
        return self._end()

    def kill(self) -> None:
        """``kill -9``."""
        self._process.kill()
        self._end()

    def _end(self) -> int:
        code = self._process.wait(timeout=120)
        if self._process.stdout is not None:
            self._process.stdout.close()
        return code

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process.poll() is None:
            self.stop()
