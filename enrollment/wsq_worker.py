"""The process that decodes WSQ for ``wsq_process``; run as a script, never imported.

Reads on standard input, again and again, a length (uint32, little-endian) and that many bytes of a WSQ file; answers on
standard output with ``<iII`` status (0: decoded), width, height and then width x height bytes of grey. Ends at the end
of its input, so that it never outlives its parent.
"""

from __future__ import annotations

import importlib
import resource
import struct
import sys

MEMORY_BYTES = 2 << 30
"""Address space allowed: a file that makes the decoder ask for more ends the process, not the machine."""


def main() -> None:
    """Answers requests until the input ends."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    decoder = importlib.import_module("_wsq")  # the extension alone: without Pillow the child starts at once
    requests, replies = sys.stdin.buffer, sys.stdout.buffer
    while head := requests.read(4):
        data = requests.read(struct.unpack("<I", head)[0])
        try:
            pixels, width, height, _ = decoder.decompress(data)
            reply = struct.pack("<iII", 0, width, height) + bytes(pixels)
        except Exception:
            reply = struct.pack("<iII", 1, 0, 0)
        replies.write(reply)
        replies.flush()


if __name__ == "__main__":
    main()
