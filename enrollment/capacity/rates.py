"""How fast the parts of a search and of a start are: figures of one machine, or measured on this one."""

from __future__ import annotations

import dataclasses

from matcher.positions import Modality


@dataclasses.dataclass(frozen=True)
class ModalityRates:
    """Microseconds on one thread.

    Attributes:
        scan: a reference that a search for one probe goes over.
        shortlist: what the probes of a search take beside, however many references and probes there are: the order of
            those that came out of the scan.
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
    source="an AMD EPYC with AVX-512, 28 November 2026; --measure takes those of this machine",
    finger=ModalityRates(scan=0.049, shortlist=304_000.0, compare=16.4, load=77.0),
    face=ModalityRates(scan=0.027, shortlist=2_700.0, compare=0.093, load=15.5),
    iris=ModalityRates(scan=0.038, shortlist=330.0, compare=2.4, load=29.0),
    candidate=16.5,
)
"""The means of two runs of ``ambis plan --measure`` on the idle machine. Of a shortlist of fingers most is the first
look at 100,000 of them and the fast stage of 10,000."""
