"""Says in a sentence what is missing before an installation fails in a page of text."""

import importlib.util
import sys

if sys.version_info < (3, 11):  # noqa: UP036  (this file runs before anything is checked)
    sys.exit(
        f"AMBIS needs Python 3.11 or newer; {sys.executable} is {sys.version.split()[0]}. "
        "Run make with PYTHON=python3.11, for example."
    )
if importlib.util.find_spec("ensurepip") is None:
    sys.exit("AMBIS needs Python's venv module: apt-get install python3-venv (or python3.11-venv)")
