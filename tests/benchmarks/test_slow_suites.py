"""The slow benchmarks at their smallest size; the others run in ``make bench-ci``."""

from __future__ import annotations

import json
from pathlib import Path

from benchmarks import compare, search_report
from benchmarks.run import Kind, run_suites


def test_two_million_people_and_ten_minutes_in_small(tmp_path: Path) -> None:
    output = tmp_path / "results.json"
    assert run_suites("tiny", Kind.SLOW, "growth or soak", output) == 0
    document = json.loads(output.read_text())
    (key,) = compare.read_results(document).measured
    assert key == "multimodal_load.growth_to_the_most vs proportional"
    titles = {section.title for section in search_report.sections(document)}
    assert "Enrolling while searching" in titles
    assert "Growth of a server, one client; two fingers, a face, two irises" in titles
