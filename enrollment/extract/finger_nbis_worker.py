"""The process that runs NBIS and NFIQ 2 for ``finger_nbis``; run as a script, never imported.

Reads on standard input, again and again, ``<BII`` task (0: minutiae, 1: quality), width and height, and width x height
bytes of grey at 500 ppi; answers on standard output with the length of a JSON object (``<I``) and the object, empty
where the library finds nothing to work on. Ends at the end of its input, so that it never outlives its parent.
"""

from __future__ import annotations

import json
import resource
import struct
import sys
from typing import Any

import nbis

HEADER = struct.Struct("<BII")


def extractor(measure_quality: bool) -> Any:
    """The library's extractor. Loading NFIQ 2's random forest takes half a second, once."""
    return nbis.new_nbis_extractor(
        nbis.NbisExtractorSettings(
            min_quality=0.0, get_center=False, check_fingerprint=False, compute_nfiq2=measure_quality, ppi=500.0
        )
    )


def minutiae(found: Any) -> dict[str, Any]:
    """Minutiae as [x, y, degrees counter-clockwise from the x axis, reliability 0-1]."""
    return {"minutiae": [[m.x(), m.y(), m.angle(), m.reliability()] for m in found.get()]}


def quality(found: Any) -> dict[str, Any]:
    """Score and components of NFIQ 2, by their names in NIST's code."""
    result = found.quality()
    if result is None:
        return {}
    return {"score": result.score, "components": {v.name: v.value for v in [*result.actionable, *result.features]}}


def main() -> None:
    """Answers requests until the input ends."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    tasks = {0: minutiae, 1: quality}
    extractors: dict[int, Any] = {}
    requests, replies = sys.stdin.buffer, sys.stdout.buffer
    while head := requests.read(HEADER.size):
        task, width, height = HEADER.unpack(head)
        pixels = requests.read(width * height)
        if task not in extractors:
            extractors[task] = extractor(measure_quality=task == 1)
        try:
            # The library takes encoded images only; a PGM is a line of text before the pixels.
            answer = tasks[task](extractors[task].extract_minutiae(b"P5 %d %d 255\n" % (width, height) + pixels))
        except nbis.NbisError:
            answer = {}
        data = json.dumps(answer).encode()
        replies.write(struct.pack("<I", len(data)) + data)
        replies.flush()


if __name__ == "__main__":
    main()
