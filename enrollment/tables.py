"""What people read: verdicts, candidate tables, subjects and status, for an 80-column terminal."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Console, Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from ambis.v1 import common_pb2, enrollment_service_pb2, identification_service_pb2, status_service_pb2
from matcher.decision import Verdict
from matcher.filters import Sex
from matcher.positions import Position

_STYLES = {
    Verdict.HIT: "bold white on red",
    Verdict.REVIEW: "bold black on yellow",
    Verdict.NO_HIT: "bold white on green",
}

_SCALE = "scores are -10 log10 of the false match rate: 10 more is ten times rarer"


def verdict_label(number: int) -> str:
    """HIT, REVIEW or NO HIT."""
    return Verdict(number).label


def position_label(number: int) -> str:
    """The position's lower-case name."""
    return Position(number).label


def verdict_text(number: int) -> Text:
    """The verdict as it stands out."""
    return Text(f" {verdict_label(number)} ", _STYLES[Verdict(number)])


def identification(result: identification_service_pb2.IdentifyResult) -> RenderableType:
    """The verdict, why, and the candidates."""
    searched = f"{result.gallery_size:,} {'person' if result.gallery_size == 1 else 'people'} searched"
    gap = f"{_gap(result.score_gap)}\n" if result.HasField("score_gap") else ""
    return _answer(
        result.verdict,
        result.explanation,
        result.candidates,
        f"{searched}; {_needed(result.hit_threshold, result.review_threshold)}\n{gap}{_SCALE}",
        result.samples,
    )


def verification(response: identification_service_pb2.VerifyResponse) -> RenderableType:
    """The verdict of a 1:1 comparison."""
    return _answer(
        response.verdict,
        response.explanation,
        [response.candidate],
        f"{_needed(response.hit_threshold, response.review_threshold)}\n{_SCALE}",
        response.samples,
    )


def _gap(gap: float) -> str:
    return f"first ahead of the next by {gap:.1f}" if gap >= 0 else f"another one scores {-gap:.1f} more than the first"


def _needed(hit: float, review: float) -> str:
    return f"HIT from {hit:.1f}, REVIEW from {review:.1f}"


def _answer(
    verdict: int,
    explanation: str,
    candidates: Iterable[identification_service_pb2.Candidate],
    caption: str,
    samples: Iterable[common_pb2.SampleReport],
) -> RenderableType:
    headline = Table.grid(padding=(0, 2))
    headline.add_row(verdict_text(verdict), Text(explanation))
    listed = list(candidates)
    table = [candidate_table(listed)] if listed else []
    captured = sample_lines(samples)
    samples_text = [Text("\n").join(captured)] if captured else []
    return Panel(apart(headline, *table, Text(caption, "dim"), *samples_text), expand=False)


def apart(*parts: RenderableType) -> Group:
    """One below the other, an empty line between."""
    lines = [line for part in parts for line in ("", part)]
    return Group(*lines[1:])


def candidate_table(candidates: Iterable[identification_service_pb2.Candidate]) -> Table:
    """One row a candidate."""
    table = Table(show_edge=False, pad_edge=False)
    table.add_column("#", justify="right")
    table.add_column("Subject", overflow="fold")
    table.add_column("Score", justify="right")
    table.add_column("Verdict", no_wrap=True)
    table.add_column("Evidence", overflow="fold")
    for candidate in candidates:
        evidence = ", ".join(f"{position_label(e.reference_position)} {e.score:.1f}" for e in candidate.evidence)
        table.add_row(
            str(candidate.rank),
            candidate.subject_id,
            f"{candidate.score:.1f}",
            Text(verdict_label(candidate.verdict), _STYLES[Verdict(candidate.verdict)]),
            evidence,
        )
    return table


def sample_lines(samples: Iterable[common_pb2.SampleReport]) -> list[Text]:
    """Quality and advice of every sample."""
    lines = []
    for sample in samples:
        line = Text(f"{position_label(sample.position) if sample.position else 'sample'}: ")
        if not sample.used:
            line.append(f"not used: {sample.error.message}", "red")
        elif sample.HasField("quality"):
            line.append(f"quality {sample.quality}/100")
        else:
            line.append("template")
        if sample.advice:
            line.append(f"; {'; '.join(sample.advice)}", "yellow")
        lines.append(line)
    return lines


def enrolment(result: enrollment_service_pb2.EnrollResult) -> RenderableType:
    """What was put on record."""
    head = "was on record already" if result.replayed else "is on record"
    grid = Table.grid()
    grid.add_row(Text(f"{result.subject_id} {head} (encounter {result.encounter_id}, change {result.lsn})", "bold"))
    for line in sample_lines(result.samples):
        grid.add_row(line)
    return grid


def subject(record: enrollment_service_pb2.Subject) -> RenderableType:
    """A subject with its encounters."""
    table = Table(
        title=f"Subject {record.subject_id}, since {_time(record.created_at.ToDatetime())}", title_justify="left"
    )
    for name in ("Encounter", "Type", "Galleries", "Person", "When", "Samples"):
        table.add_column(name, overflow="fold")
    for encounter in record.encounters:
        samples = "\n".join(map(_sample, encounter.samples))
        table.add_row(
            encounter.encounter_id,
            encounter.encounter_type,
            ", ".join(encounter.galleries),
            _person(encounter),
            _time(encounter.created_at.ToDatetime()),
            samples,
        )
    return table


def _person(encounter: enrollment_service_pb2.EncounterSummary) -> str:
    """Sex and year of birth, as far as they are known."""
    sex = Sex(encounter.sex).label if encounter.sex else ""
    year = str(encounter.birth_year) if encounter.birth_year else ""
    return ", ".join(filter(None, (sex, year)))


def _sample(sample: enrollment_service_pb2.SampleSummary) -> str:
    quality = f" q{sample.quality}" if sample.HasField("quality") else ""
    return f"{position_label(sample.position)}{quality}{' (no search sees it)' if sample.left_out else ''}"


def status(report: status_service_pb2.GetStatusResponse) -> RenderableType:
    """What the server is and holds."""
    behind = report.lsn - report.searchable_lsn
    current = "searches see every change" if behind <= 0 else f"searches are {behind} changes behind"
    headline = Text(
        f"AMBIS {report.version}: {report.subjects:,} subjects, {report.encounters:,} encounters; change "
        f"{report.lsn:,}, {current}"
    )
    modalities = Table(show_edge=False, pad_edge=False)
    for name in ("Modality", "References", "Images", "Algorithm", "Trusted to"):
        modalities.add_column(name, overflow="fold")
    for m in report.modalities:
        modalities.add_row(
            m.modality,
            f"{m.references:,}",
            "ready" if m.extraction_ready else f"no: {m.detail}",
            m.algorithm,
            f"{m.calibration_trusted_to:.1f}" if m.calibration_trusted_to else "-",
        )
    parts: list[RenderableType] = [headline, modalities]
    if report.galleries:
        galleries = Table(show_edge=False, pad_edge=False)
        for name in ("Gallery", "Subjects", "Encounters"):
            galleries.add_column(name, overflow="fold")
        for g in report.galleries:
            galleries.add_row(g.gallery, f"{g.subjects:,}", f"{g.encounters:,}")
        parts.append(galleries)
    if report.memory:
        uses = [(use.part, use.ram_bytes, use.mapped_bytes) for use in report.memory]
        parts.append(memory_table(uses, report.subjects))
    parts.append(Text("\n").join(_running(report)))
    return apart(*parts)


def memory_table(uses: Iterable[tuple[str, int, int]], subjects: int) -> Table:
    """What parts of the indexes take, of RAM and of mapped files, in all and a subject.

    Args:
        uses: name, bytes of RAM, bytes of mapped files.
        subjects: that they are of.
    """
    listed = list(uses)
    table = Table(show_edge=False, pad_edge=False, show_footer=True)
    totals = [sum(ram for _, ram, _ in listed), sum(mapped for _, _, mapped in listed)]
    a_subject = [f"{total / subjects:,.0f} B" if subjects else "-" for total in totals]
    table.add_column("Memory", "in all", overflow="fold")
    for heading, footer in (
        ("RAM", size(totals[0])),
        ("a subject", a_subject[0]),
        ("Mapped files", size(totals[1])),
        ("a subject", a_subject[1]),
    ):
        table.add_column(heading, footer, justify="right", no_wrap=True)
    for name, ram, mapped in listed:
        cells = [part for total in (ram, mapped) for part in _bytes(total, subjects)]
        table.add_row(name, *cells)
    return table


def _bytes(total: int, subjects: int) -> tuple[str, str]:
    if not total:
        return "", ""
    return size(total), f"{total / subjects:,.0f} B" if subjects else "-"


def size(count: float) -> str:
    """Bytes with the unit that makes them short: 1,024 of one are one of the next."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024 or unit == "GiB":
            break
        count /= 1024
    return f"{count:,.0f} {unit}" if unit == "B" or count >= 100 else f"{count:,.1f} {unit}"


def _running(report: status_service_pb2.GetStatusResponse) -> list[Text]:
    threads = f"{report.threads} computing {'thread' if report.threads == 1 else 'threads'}"
    process = f"{size(report.resident_bytes)} resident in all; {threads}; {report.searches_waiting} searches waiting"
    return [Text(process), *(Text(f"{name}: {how}") for name, how in sorted(report.search_paths.items()))]


def show(renderable: RenderableType, console: Console | None = None) -> None:
    """Prints to the terminal."""
    (console or Console()).print(renderable)


def _time(moment: object) -> str:
    return f"{moment:%Y-%m-%d %H:%M}Z"
