"""WSQ decoding in a process of its own.

NBIS's decoder, which the ``wsq`` package wraps, trusts the run lengths and tables of the file: a damaged or hostile one
makes it write outside its buffers, and the process dies (seen with four changed bytes). So it runs in a child that may
die: the caller gets an error, the next file a new child. One file at a time; the package holds Python's lock while it
decodes anyway, so nothing is lost by that.
"""

from __future__ import annotations

import atexit
import struct
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

_REPLY = struct.Struct("<iII")
_WORKER = Path(__file__).with_name("wsq_worker.py")


class WsqDamaged(ValueError):
    """The file cannot be decoded."""


class WsqDecoder:
    """Decodes WSQ files in a child process, which starts with the first file; thread-safe.

    Args:
        seconds: a file that takes longer is given up (800 x 750 pixels take 0.05 s).
    """

    def __init__(self, seconds: float = 20.0) -> None:
        self._seconds = seconds
        self._lock = threading.Lock()
        self._child: subprocess.Popen[bytes] | None = None

    def decode(self, data: bytes, width: int, height: int) -> NDArray[np.uint8]:
        """Grey pixels, uint8[height, width].

        Args:
            data: the file's bytes.
            width, height: what its header says; a decoder that finds another size is not believed.

        Raises:
            WsqDamaged: the file is damaged; the decoder refused it, died of it or did not end.
        """
        with self._lock:
            try:
                return self._decode(data, width, height)
            except OSError:
                # It may have died of something else, as for want of memory: a file is blamed that kills a fresh one.
                self._stop()
            try:
                return self._decode(data, width, height)
            except OSError:
                self._stop()
                raise WsqDamaged("the decoder died of it") from None

    def _decode(self, data: bytes, width: int, height: int) -> NDArray[np.uint8]:
        child = self._child
        if child is None or child.poll() is not None:
            child = self._child = self._start()
        gave_up = threading.Event()

        def give_up(running: subprocess.Popen[bytes] = child) -> None:
            gave_up.set()
            running.kill()

        watchdog = threading.Timer(self._seconds, give_up)
        watchdog.start()
        try:
            return self._ask(child, data, width, height)
        except WsqDamaged:
            raise
        except OSError:
            if gave_up.is_set():
                self._stop()
                raise WsqDamaged("the decoder did not come to an end") from None
            raise
        except BaseException:
            self._stop()
            raise
        finally:
            watchdog.cancel()

    def close(self) -> None:
        """Ends the child; a later call starts another."""
        with self._lock:
            self._stop()

    def _ask(self, child: subprocess.Popen[bytes], data: bytes, width: int, height: int) -> NDArray[np.uint8]:
        assert child.stdin is not None
        assert child.stdout is not None
        child.stdin.write(struct.pack("<I", len(data)))
        child.stdin.write(data)
        child.stdin.flush()
        head = child.stdout.read(_REPLY.size)
        if len(head) < _REPLY.size:
            raise BrokenPipeError
        status, found_width, found_height = _REPLY.unpack(head)
        if status:
            raise WsqDamaged("the decoder refuses it")
        if (found_width, found_height) != (width, height):
            self._stop()
            raise WsqDamaged(f"its header says {width} x {height}, its data {found_width} x {found_height}")
        pixels = child.stdout.read(width * height)
        if len(pixels) < width * height:
            raise BrokenPipeError
        return np.frombuffer(pixels, np.uint8).reshape(height, width)

    @staticmethod
    def _start() -> subprocess.Popen[bytes]:
        # -P: the worker's own folder is not on its path, so that no module here hides one of the library's.
        command = [sys.executable, "-P", str(_WORKER)]
        return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)

    def _stop(self) -> None:
        child, self._child = self._child, None
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


_DECODER = WsqDecoder()
atexit.register(_DECODER.close)


def decode_wsq(data: bytes, width: int, height: int) -> NDArray[np.uint8]:
    """``WsqDecoder.decode`` on the process-wide decoder."""
    return _DECODER.decode(data, width, height)
