"""The main job on real samples, end to end: bulk load through gRPC, then identification through gRPC.

    python -m benchmarks.bulk_load

Loads the first image of each LFW person and the first impression of each finger with ``ambis bulk-enroll`` into a real
server on an empty data folder, searches with the second image of everybody who has one, each modality alone, and prints
rank-1 hit rates with 95 % Wilson intervals, failures to enrol and to acquire counted as misses. Also the verdicts,
which follow from calibration: those of subjects on the half that the artefacts in ``--calibrations`` were not fitted
on (made by
``python -m benchmarks.fit_calibrations --half FOLDER``); the shipped artefacts have seen everybody.
"""

from __future__ import annotations

import argparse
import collections
import csv
import dataclasses
import json
import math
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from ambis.v1 import common_pb2, identification_service_pb2
from benchmarks.real_data import RealSample, in_fit_half, real_samples
from enrollment.client import AmbisClient, image_sample, new_transaction_id
from enrollment.server_process import ServerProcess
from enrollment.tables import verdict_label
from matcher.positions import Modality, Position


@dataclasses.dataclass
class Tally:
    """Searches of one group of probes."""

    searches: int = 0
    rank1: int = 0
    not_acquired: int = 0
    verdicts: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
    false_hits: int = 0

    def line(self) -> str:
        """The rank-1 hit rate with its interval."""
        low, high = wilson(self.rank1, self.searches)
        return (
            f"rank-1 {self.rank1} of {self.searches} = {100 * self.rank1 / self.searches:.2f} % "
            f"(95 %: {100 * low:.2f}-{100 * high:.2f} %), {self.not_acquired} probes without a template"
        )


def wilson(hits: int, trials: int) -> tuple[float, float]:
    """95 % Wilson score interval of a share (Wilson 1927)."""
    z = 1.959964
    share = hits / trials
    centre = (share + z * z / (2 * trials)) / (1 + z * z / trials)
    half = z / (1 + z * z / trials) * math.sqrt(share * (1 - share) / trials + z * z / (4 * trials * trials))
    return max(0.0, centre - half), min(1.0, centre + half)


def first_and_second(samples: Sequence[RealSample]) -> tuple[list[RealSample], list[RealSample]]:
    """The first sample of each subject, and the second of those who have one, in the order of the manifest."""
    by_subject: dict[str, list[RealSample]] = {}
    for sample in samples:
        by_subject.setdefault(sample.subject_id, []).append(sample)
    return [s[0] for s in by_subject.values()], [s[1] for s in by_subject.values() if len(s) > 1]


def write_manifest(path: Path, samples: Sequence[RealSample]) -> None:
    """The manifest of these samples, with absolute paths."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "subject_id", "modality", "position", "encounter", "ppi", "face"])
        for s in samples:
            row = [
                s.path.resolve(),
                s.subject_id,
                s.position.modality.value,
                s.position.label,
                s.encounter,
                s.ppi or "",
                "1" if s.position is Position.FACE else "",  # press photos show bystanders
            ]
            writer.writerow(row)


def searches(probes: Sequence[RealSample]) -> Iterator[identification_service_pb2.BatchIdentifyRequest]:
    """One search a probe; the sequence number is the probe's index."""
    for i, probe in enumerate(probes):
        sample = image_sample(probe.position, probe.path.read_bytes(), probe.ppi)
        search = identification_service_pb2.Search(samples=[sample], galleries=["real"], max_candidates=1)
        yield identification_service_pb2.BatchIdentifyRequest(
            transaction_id=new_transaction_id(), sequence=i, search=search
        )


def identify(client: AmbisClient, probes: Sequence[RealSample], groups: dict[str, list[bool]]) -> dict[str, Tally]:
    """Searches with every probe; ``groups`` names subsets of the probes."""
    tallies = {name: Tally() for name in groups}
    for answer in client.batch_identify(searches(probes)):
        probe = probes[answer.sequence]
        for name, members in groups.items():
            if members[answer.sequence]:
                count(tallies[name], probe, answer)
    return tallies


def count(tally: Tally, probe: RealSample, answer: identification_service_pb2.BatchIdentifyResponse) -> None:
    """Adds one answer."""
    tally.searches += 1
    if answer.WhichOneof("outcome") == "error":
        tally.not_acquired += 1
        tally.verdicts["no template"] += 1
        return
    result = answer.result
    first = result.candidates[0].subject_id if result.candidates else ""
    tally.rank1 += first == probe.subject_id
    tally.verdicts[verdict_label(result.verdict)] += 1
    tally.false_hits += result.verdict == common_pb2.VERDICT_HIT and first != probe.subject_id


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calibrations", type=Path, help="artefacts fitted on one half of the subjects")
    arguments = parser.parse_args()
    chosen = {m: first_and_second(real_samples(m)) for m in (Modality.FACE, Modality.FINGER)}
    settings = {"AMBIS_CALIBRATIONS": str(arguments.calibrations.resolve())} if arguments.calibrations else {}
    with (
        tempfile.TemporaryDirectory(prefix="ambis-real-") as folder,
        ServerProcess(Path(folder) / "data", settings) as server,
        AmbisClient(server.address) as client,
    ):
        for modality, (references, _) in chosen.items():
            load(server.address, Path(folder), modality, references)
        for modality, (_, probes) in chosen.items():
            report(client, modality, probes)


def load(address: str, folder: Path, modality: Modality, references: Sequence[RealSample]) -> None:
    """Runs the bureau's command."""
    manifest = folder / f"{modality}.csv"
    write_manifest(manifest, references)
    began = time.monotonic()
    command = [sys.executable, "-m", "enrollment.cli", "bulk-enroll", str(manifest), "--gallery", "real", "--json"]
    done = subprocess.run([*command, "--server", address], cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode not in (0, 5):
        raise SystemExit(done.stdout + done.stderr)
    summary = json.loads(done.stdout)
    seconds = time.monotonic() - began
    print(
        f"{modality}: {summary['enrolled']} of {summary['total']} enrolled, {summary['rejected']} rejected, "
        f"{seconds:.0f} s"
    )
    with (folder / summary["rejects_file"]).open() as file:
        for row in csv.DictReader(file):
            print(f"  rejected {row['subject_id']}: {row['reason']}")


def report(client: AmbisClient, modality: Modality, probes: Sequence[RealSample]) -> None:
    """Searches and prints."""
    groups = {"all": [True] * len(probes), "not fitted on": [not in_fit_half(p.subject_id) for p in probes]}
    if modality is Modality.FINGER:
        groups["real"] = [not p.is_synthetic for p in probes]
        groups["synthetic (SFinGe)"] = [p.is_synthetic for p in probes]
        groups["not fitted on"] = [not in_fit_half(p.subject_id) and not p.is_synthetic for p in probes]
    for name, tally in identify(client, probes, groups).items():
        verdicts = ", ".join(f"{verdict} {number}" for verdict, number in sorted(tally.verdicts.items()))
        print(f"{modality}, {name}: {tally.line()}; verdicts: {verdicts}; false hits {tally.false_hits}")


if __name__ == "__main__":
    main()
