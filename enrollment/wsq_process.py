"""WSQ decoding in a process of its own.

NBIS's decoder, which the ``wsq`` package wraps, trusts the run lengths and tables of the file: a damaged or hostile one
makes it write outside its buffers, and the process dies (seen with four changed bytes). So it runs in a child that may
die: the caller gets an error, the next file a new child. One file at a time; the package holds Python's lock while it
decodes anyway, so nothing is lost by that.
"""

from __future__ import annotations

import atexit
import struct
import threading
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from enrollment.child_process import ChildDied, ChildProcess, ChildTooSlow, read_exactly

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
        self._lock = threading.Lock()
        self._child = ChildProcess(_WORKER, seconds)

    def decode(self, data: bytes, width: int, height: int) -> NDArray[np.uint8]:
        """Grey pixels, uint8[height, width].

        Args:
            data: the file's bytes.
            width, height: what its header says; a decoder that finds another size is not believed.

        Raises:
            WsqDamaged: the file is damaged; the decoder refused it, died of it or did not end.
        """

        def read(stream: IO[bytes]) -> NDArray[np.uint8] | None:
            status, found_width, found_height = _REPLY.unpack(read_exactly(stream, _REPLY.size))
            if status:
                return None
            if (found_width, found_height) != (width, height):
                raise WsqDamaged(f"its header says {width} x {height}, its data {found_width} x {found_height}")
            return np.frombuffer(read_exactly(stream, width * height), np.uint8).reshape(height, width)

        request = struct.pack("<I", len(data)) + data
        try:
            with self._lock:
                try:
                    pixels = self._child.ask(request, read)
                except ChildDied:
                    # Perhaps of something else, as for want of memory: a file is blamed that kills a fresh one.
                    pixels = self._child.ask(request, read)
        except ChildDied:
            raise WsqDamaged("the decoder died of it") from None
        except ChildTooSlow:
            raise WsqDamaged("the decoder did not come to an end") from None
        if pixels is None:
            raise WsqDamaged("the decoder refuses it")
        return pixels

    def close(self) -> None:
        """Ends the child; a later call starts another."""
        with self._lock:
            self._child.close()


_DECODER = WsqDecoder()
atexit.register(_DECODER.close)


def decode_wsq(data: bytes, width: int, height: int) -> NDArray[np.uint8]:
    """``WsqDecoder.decode`` on the process-wide decoder."""
    return _DECODER.decode(data, width, height)
