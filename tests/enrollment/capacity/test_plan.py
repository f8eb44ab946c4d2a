"""From people and rates to a plan, and how it reads."""

from __future__ import annotations

import dataclasses
import io
import json

import pytest
from rich.console import Console
from typer.testing import CliRunner

from enrollment import tables
from enrollment.capacity.footprint import People
from enrollment.capacity.plan import Plan, Search, make_plan
from enrollment.capacity.rates import COMMITTED, ModalityRates, Rates
from enrollment.capacity.report import Machine, report, shortcomings, summary
from enrollment.cli import app
from matcher.gallery_view import ShortlistParameters
from matcher.positions import Modality

RATES = Rates(
    source="made up",
    finger=ModalityRates(scan=0.1, shortlist=50_000.0, compare=10.0, load=200.0),
    face=ModalityRates(scan=0.2, shortlist=0.0, compare=1.0, load=30.0),
    iris=ModalityRates(scan=0.3, shortlist=0.0, compare=5.0, load=40.0),
    candidate=20.0,
    call=7.0,
)
LARGE = Machine(1 << 40, 1 << 50, 64)


def planned(
    people: People | None = None, search: Search | None = None, threads: int = 2, *, keep_images: bool = True
) -> Plan:
    return make_plan(people or People(2_000_000), search or Search(), threads, RATES, keep_images=keep_images)


def test_stages_of_a_search() -> None:
    stages = {stage.name: stage.seconds for stage in planned().stages}
    candidates = 3 * ShortlistParameters().minimum
    assert stages == {
        "finger shortlist": pytest.approx((2 * 2_000_000 * 0.1e-6 + 0.05) / 2),
        "face shortlist": pytest.approx(2_000_000 * 0.2e-6 / 2),
        "iris shortlist": pytest.approx(2_000_000 * 2 * 0.3e-6 / 2),
        "finger comparisons": pytest.approx(candidates * 2 * 10e-6 / 2),
        "face comparisons": pytest.approx(candidates * 1e-6 / 2),
        "iris comparisons": pytest.approx(candidates * 2 * 5e-6 / 2),
        "fusion and ranking": pytest.approx(candidates * 20e-6),
        "call": 0.007,
    }
    assert planned().latency == pytest.approx(sum(stages.values()))


def test_start() -> None:
    assert planned().start == pytest.approx(2_000_000 * (10 * 200 + 2 * 40 + 30) / 1e6)


def test_what_is_not_searched_or_not_there_costs_nothing() -> None:
    names = [s.name for s in planned(People(10, irises=0), Search(fingers=0)).stages]
    assert names == ["face shortlist", "face comparisons", "fusion and ranking", "call"]


def test_everybody_of_a_few_is_compared_once() -> None:
    stages = {s.name: s.seconds for s in planned(People(100), threads=1).stages}
    assert stages["finger shortlist"] == pytest.approx(2 * 100 * 0.1e-6)
    assert stages["face comparisons"] == pytest.approx(100 * 1e-6)
    assert stages["fusion and ranking"] == pytest.approx(100 * 20e-6)


def test_images_are_left_out_where_none_are_kept() -> None:
    assert planned(keep_images=False).images == 0
    assert planned().disk == planned(keep_images=False).disk + planned().images


def test_it_says_what_a_machine_lacks() -> None:
    made = planned()
    assert shortcomings(made, LARGE) == []
    (ram,) = shortcomings(made, dataclasses.replace(LARGE, ram=made.ram - 1))
    assert ram.startswith("It does not fit the RAM of this machine")
    (disk,) = shortcomings(made, dataclasses.replace(LARGE, disk=made.disk - 1))
    assert disk.startswith("It does not fit the disk of this machine")
    (threads,) = shortcomings(planned(threads=8), dataclasses.replace(LARGE, processors=2))
    assert threads.startswith("This machine has 2 processors")


@pytest.mark.parametrize("people", [1, 2_000_000, 10_000_000_000])
def test_report_fits_a_terminal_and_says_what_the_summary_says(people: int) -> None:
    made = planned(People(people))
    stream = io.StringIO()
    tables.show(report(made, LARGE), Console(file=stream, width=80))
    text = stream.getvalue()
    assert max(map(len, text.splitlines())) <= 80
    assert "…" not in text
    assert f"{people:,} people with 10 fingers, 2 irises and 1 face; 2 threads" in text
    rows = [[cell.strip() for cell in line.split("│")] for line in text.splitlines()]
    told = summary(made, LARGE)
    assert told["disk_bytes"] == made.disk
    assert ["in all", tables.size(made.disk)] in rows
    assert ["in all", f"{1000 * made.latency:,.0f}"] in rows
    assert json.loads(json.dumps(told)) == told


def test_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AMBIS_KEEP_SAMPLES", "false")
    run = CliRunner().invoke(app, ["plan", "--subjects", "2e6", "--threads", "2", "--json"])
    assert run.exit_code == 0, run.output
    told = json.loads(run.output)
    assert told["people"]["subjects"] == 2_000_000
    assert told["images_bytes"] == 0
    assert told["rates"]["source"] == COMMITTED.source
    shown = CliRunner().invoke(app, ["plan", "--subjects", "2,000,000", "--fingers", "2", "--image-kib", "50"])
    assert shown.exit_code == 0
    assert "2,000,000 people with 2 fingers" in shown.output


@pytest.mark.parametrize("subjects", ["0", "many", "1.5", "-3", "inf", "nan", "1e11"])
def test_a_number_of_people_that_is_none_is_refused(subjects: str) -> None:
    run = CliRunner().invoke(app, ["plan", f"--subjects={subjects}", "--json"])
    assert run.exit_code == 2
    assert "whole number of people" in run.output


def test_rates_can_be_measured() -> None:
    from enrollment.capacity.measuring import measure
    from matcher.threads import workers

    threads, told = workers().count, list[str]()
    rates = measure(told.append, people=12, rows=200)
    assert workers().count == threads
    assert len(told) == 4
    for modality in (rates.finger, rates.face, rates.iris):
        assert min(modality.scan, modality.compare, modality.load) > 0
    assert rates.candidate >= 1.0


def test_what_is_measured_is_a_scan() -> None:
    """Of fingers without the order of what it found, of irises in two stages."""
    from enrollment.capacity.measuring import LISTED, ROWS
    from matcher.finger.index import ShortlistParameters
    from matcher.iris.view import FEW

    half = ROWS // 2
    fingers = LISTED[Modality.FINGER]
    p = ShortlistParameters()
    # Neither a first look nor the fast stage: what the vectors find is the list.
    assert p.looked_at(fingers) <= p.compared(fingers) <= fingers < half
    assert FEW * LISTED[Modality.IRIS] < half
