"""The tables beside the ratios: all figures, in 80 columns, and as markdown."""

from __future__ import annotations

from typing import Any

from benchmarks import search_report

RATES = {"threads": 2, "read_bytes": 20e9, "int8_products": 200e9, "counted_words": 17e9}
PROCESS = {"all": 3_000_000_000, "own": 2_000_000_000, "files": 1_000_000_000}


def benchmark(name: str, **extra: Any) -> dict[str, Any]:
    info = {"operation": "search", "seconds_per_operation": 0.4, "peers": {}, **extra}
    return {"fullname": f"benchmarks/suites/test_multimodal_load.py::test_{name}", "extra_info": info}


def load(clients: int, people: int = 1_000_000) -> dict[str, Any]:
    times = {"p50": 0.2 * clients, "p95": 0.3 * clients, "p99": 12.3456, "p50_known": 0.19, "p50_unknown": None}
    counts = {"mated": 60, "first": 60, "hits": 59, "strangers": 61, "false_hits": 0, "unknown": 0, "given_up": 2}
    return {"people": people, "clients": clients, "searches": 121, "rate": 12.345, **times, **counts}


DOCUMENT: dict[str, Any] = {
    "benchmarks": [
        benchmark("identify[1]", load=load(1, 1000), stages={"face shortlist": [1.0, 0.5]}),
        benchmark(
            "identify[1]",
            load=load(1),
            stages={
                "finger vectors": [2.0, 0.04],
                "finger comparison": [2.0, 0.05],
                "finger first look": [2.0, 0.008],
                "finger fast stage": [2.0, 0.012],
                "iris shortlist": [2.0, 0.03],
                "iris comparison": [2.0, 0.01],
                "face shortlist": [1.0, 0.01],
            },
            limit={"seconds": 0.1, "by": "memory", "share": 0.5, "rates": RATES, "work": {}},
        ),
        benchmark("identify[8]", load=load(8), stages={"finger vectors": [0.5, 0.02]}),
        benchmark(
            "growth",
            growth={
                "steps": [
                    {"people": n, "p50": n * 2e-7, "p95": n * 3e-7, "fill_a_second": 1234.5, "ram": 2000 * n}
                    | {"mapped": 9000 * n, "process": PROCESS}
                    for n in (100_000, 1_000_000)
                ],
                "slopes": {"p50": 2e-7, "ram": 2000.0, "mapped": 9000.0, "own": 2222.0},
            },
        ),
        benchmark(
            "memory_of_ten_fingers",
            memory={
                "people": 1000,
                "ram": 6_500_000,
                "mapped": 30_000_000,
                "parts": {"finger vectors": [4_800_000, 0], "iris verification codes": [0, 4_096_000]},
                "process": PROCESS,
                "process_empty": {**PROCESS, "own": 1_990_000_000},
            },
        ),
        benchmark(
            "search[16]",
            eyes_a_second=12345678.0,
            mates="0 of 200 that the exact scan finds are lost: below 1.5 % at 95 %, in words for more than a line",
            limits={"of the bandwidth": "37%"},
        ),
        benchmark("start_from_records", start={"people": 10_000, "empty_seconds": 4.0}),
        benchmark("enrolment_over_grpc", enrolment={"people": 8_000}),
        benchmark(
            "enrol_while_searching",
            soak={
                "people": [10_000, 70_000],
                "enrolled": 60_000,
                "seconds": 600.0,
                "latest_request": 0.25,
                "searches": 9_000,
                "missed": 0,
                "lost": 0,
                "p50": 0.06,
                "p99": 0.2,
                "process": [PROCESS, PROCESS],
            },
        ),
    ]
}


def test_every_line_fits_80_columns() -> None:
    lines = search_report.text(DOCUMENT).splitlines()
    assert max(len(line) for line in lines) <= 80
    # Names of benchmarks may be cut, figures may not.
    assert any(line.startswith("1,000,000    8  1,600  2,400  12,346") for line in lines)


def test_figures_stand_in_their_tables() -> None:
    told = {section.title: section for section in search_report.sections(DOCUMENT)}
    identify = told["Identify over gRPC, ms: two fingers, a face, two irises"]
    expected = ("1,000,000", "8", "1,600", "2,400", "12,346", "190", "-", "12.3", "60/60", "59", "0/61", "2")
    assert identify.rows[2] == expected
    stages = told["Where the time goes among 1,000,000 people, ms a search"]
    assert stages.head == ("stage", "1 clients", "8 clients")
    assert stages.rows[0] == ("finger vectors", "40.0", "20.0")
    assert stages.rows[1] == ("finger comparison", "50.0", "-")
    assert told["One client among 1,000,000 people beside the budget, ms a search"].rows == [
        ("finger vectors", "40.0", "75.0"),
        ("finger rescoring", "70.0", "250.0"),
        ("irises", "40.0", "125.0"),
        ("face", "10.0", "30.0"),
        ("the rest", "40.0", "100.0"),
    ]
    assert told["Distance to the machine's limit"].rows == [
        ("multimodal_load.identify[1]", "200 ms", "100 ms", "memory", "50%")
    ]
    growth = told["Growth of a server, one client; two fingers, a face, two irises"]
    assert growth.rows[1] == ("1,000,000", "200", "300", "1,234", "2.00", "9.00", "2.00", "1.00")
    assert "200 ns a search, 2,000 bytes of RAM" in growth.note
    memory = told["Bytes a subject with ten fingers, a face and two irises"]
    assert memory.rows[-1] == ("all", "6,500", "30,000")
    assert "grew by 10,000 a subject" in memory.note
    assert told["Records"].rows[0] == ("start from records of", "10,000 people", "4000.0 s")
    assert ("search p50, p99 (ms)", "60", "200") in told["Enrolling while searching"].rows


def test_other_figures_are_told_in_words() -> None:
    told = search_report.text(DOCUMENT).replace("\n", " ")
    assert "multimodal_load.search[16]: eyes a second 1.235e+07; mates 0 of 200 that" in told
    assert "of the bandwidth 37%" in told


def test_markdown_has_the_same_tables() -> None:
    made = search_report.markdown(DOCUMENT)
    assert "| 1,000,000 | 1 | 200 | 300 | 12,346 | 190 | - | 12.3 | 60/60 | 59 | 0/61 | 2 |" in made
    assert made.count("|---|") == len(search_report.sections(DOCUMENT))


def test_there_is_nothing_to_say_of_other_benchmarks() -> None:
    assert search_report.text({"benchmarks": [benchmark("search")]}) == ""
    assert search_report.markdown({}) == ""
