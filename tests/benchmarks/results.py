"""Results as the suites write them, made by hand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Document = dict[str, Any]


def document(ratios: Mapping[str, float], skipped: Mapping[str, str] | None = None) -> Document:
    """The JSON of a run: ratios by ``<modality>.<benchmark> vs <peer>``; ours always takes 2 ms."""
    benchmarks: dict[str, Document] = {}
    for key, ratio in ratios.items():
        name, peer = key.split(" vs ")
        entry = benchmarks.setdefault(
            name,
            {
                "fullname": node(name),
                "extra_info": {"operation": f"one {name}", "seconds_per_operation": 0.002, "peers": {}},
            },
        )
        entry["extra_info"]["peers"][peer] = {
            "ratio": ratio,
            "seconds_per_operation": 0.002 * ratio,
            "answers": "the same",
        }
    return {
        "sizes": "small",
        "benchmarks": list(benchmarks.values()),
        "skipped": {node(name): reason for name, reason in (skipped or {}).items()},
    }


def node(name: str) -> str:
    """pytest's id of a benchmark."""
    modality, test = name.split(".", 1)
    return f"benchmarks/suites/test_{modality}.py::test_{test}"
