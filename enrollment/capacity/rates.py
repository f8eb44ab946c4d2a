"""How fast the parts of a search and of a start are: figures of one machine, or measured on this one."""

from __future__ import annotations

import dataclasses

from matcher.positions import Modality


@dataclasses.dataclass(frozen=True)
class ModalityRates:
    """Microseconds on one thread.

    Attributes:
        scan: a reference that a search for one probe goes over.
        shortlist: what a search for one probe takes beside, however many references there are: the order of those that
            came out of the scan.
        compare: an exact comparison of a probe with a reference of the shortlist.
        load: a reference that is read from its stored bytes and indexed at a start.
    """

    scan: float
    shortlist: float
    compare: float
    load: float


@dataclasses.dataclass(frozen=True)
class Rates:
    """What a machine does.

    Attributes:
        source: where the figures are from.
        candidate: microseconds on one thread to fuse and rank a subject of the shortlists.
        call: milliseconds of a search beside all that: the wire, the request, the queue.
    """

    source: str
    finger: ModalityRates
    face: ModalityRates
    iris: ModalityRates
    candidate: float
    call: float = 5.0

    def of(self, modality: Modality) -> ModalityRates:
        """Of a modality."""
        return {Modality.FINGER: self.finger, Modality.FACE: self.face, Modality.IRIS: self.iris}[modality]


COMMITTED = Rates(
    source="figures of a virtual machine with an AMD EPYC at 28 November 2026; --measure takes those of this machine",
    finger=ModalityRates(scan=0.05, shortlist=50_000.0, compare=12.0, load=500.0),
    face=ModalityRates(scan=0.05, shortlist=0.0, compare=1.0, load=60.0),
    iris=ModalityRates(scan=0.12, shortlist=0.0, compare=5.0, load=60.0),
    candidate=20.0,
)
"""``ambis plan --measure``, the machine busy with other work."""
