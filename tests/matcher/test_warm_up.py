"""Once a server has started, no search and no enrolment waits for a compiler."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_searches_compile_nothing_after_the_start_of_a_server() -> None:
    command = [sys.executable, "-m", "tests.matcher.kernels_compiled"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=500, check=False)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["afterwards"] == []
    folders = {name.split(".")[1] for name in told["start"]}
    assert folders >= {"assignment", "face", "finger", "inner_products", "iris", "part"}
