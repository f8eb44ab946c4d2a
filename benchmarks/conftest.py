"""Options, results and fixtures that the suites share."""

from __future__ import annotations

import enrollment.threads  # isort: skip  # noqa: F401  (before any numeric library)

from typing import Any

import cv2
import pytest

from benchmarks.suites.sizes import SIZES, Sizes
from enrollment.extract.extractors import Extractors
from enrollment.serving import load_extractors
from enrollment.settings import load_settings

SEARCHES = (
    "test_face.py::test_search",
    "test_iris.py::test_search",
    "test_iris.py::test_exact_search",
    "test_iris.py::test_search_by_faiss",
    "test_finger.py::test_rescoring",
)
"""Of suites that measure other things, too; whole suites of searches are marked ``search`` themselves."""

_skipped: dict[str, str] = {}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--sizes", choices=sorted(SIZES), default="small", help="how large the benchmarks are")


def pytest_configure(config: pytest.Config) -> None:
    # As the server's other libraries: one thread a call.
    cv2.setNumThreads(1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.nodeid.partition("suites/")[2].partition("[")[0] in SEARCHES:
            item.add_marker("search")


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.skipped and isinstance(report.longrepr, tuple):
        _skipped[report.nodeid] = str(report.longrepr[2]).removeprefix("Skipped: ")


def pytest_benchmark_update_json(config: pytest.Config, benchmarks: object, output_json: dict[str, Any]) -> None:
    output_json["sizes"] = config.getoption("--sizes")
    output_json["skipped"] = dict(_skipped)


@pytest.fixture(scope="session")
def sizes(request: pytest.FixtureRequest) -> Sizes:
    return SIZES[request.config.getoption("--sizes")]


@pytest.fixture(scope="session")
def extractors() -> Extractors:
    """The extractors that the server runs, loaded as the server loads them."""
    return load_extractors(load_settings())
