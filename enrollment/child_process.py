"""A child process that answers requests on its standard streams, and may die or hang without harm to its parent.

The child is a script of this package that reads requests on standard input and answers on standard output, and ends
with the end of its input, so that it never outlives its parent.
"""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import IO, TypeVar

T = TypeVar("T")


class ChildDied(OSError):
    """It ended before it had answered."""


class ChildTooSlow(OSError):
    """It did not answer in time, and was ended."""


class ChildProcess:
    """One child, started when it is needed and again when it has died. One caller at a time: lock around it.

    Args:
        script: that it runs.
        seconds: after which it is given up.
    """

    def __init__(self, script: Path, seconds: float) -> None:
        self._script = script
        self._seconds = seconds
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> subprocess.Popen[bytes]:
        """Starts it where it does not run; does not wait for it."""
        if self.process is None or self.process.poll() is not None:
            self.close()
            # -P: the script's own folder is not on its path, so that no module here hides one of the library's.
            command = [sys.executable, "-P", str(self._script)]
            self.process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
            )
        return self.process

    def ask(self, request: bytes, read: Callable[[IO[bytes]], T]) -> T:
        """Sends a request and reads the answer; whatever goes wrong within, the next request finds a sound child.

        Args:
            request: bytes that the child understands.
            read: reads the answer; see ``read_exactly``.

        Raises:
            ChildDied: also where the child died of something else, as for want of memory: ask again to know.
            ChildTooSlow: it was ended.
        """
        child = self.start()
        gave_up = threading.Event()

        def give_up() -> None:
            gave_up.set()
            child.kill()

        watchdog = threading.Timer(self._seconds, give_up)
        watchdog.start()
        try:
            assert child.stdin is not None
            assert child.stdout is not None
            child.stdin.write(request)
            child.stdin.flush()
            return read(child.stdout)
        except OSError as error:
            self.close()
            if gave_up.is_set():
                raise ChildTooSlow(f"{self._script.name} did not answer in {self._seconds:g} s") from None
            raise ChildDied(f"{self._script.name} died") from error
        except BaseException:
            self.close()
            raise
        finally:
            watchdog.cancel()

    def close(self) -> None:
        """Ends it."""
        child, self.process = self.process, None
        if child is None:
            return
        child.kill()
        child.wait()
        for stream in (child.stdin, child.stdout):
            try:
                if stream is not None:
                    stream.close()
            except OSError:  # what the dead child has not read cannot be flushed
                pass


def read_exactly(stream: IO[bytes], count: int) -> bytes:
    """``count`` bytes.

    Raises:
        ChildDied: the stream ends before.
    """
    data = stream.read(count)
    if len(data) < count:
        raise ChildDied("the answer was cut short")
    return data
