"""One place that decides how many threads the numeric libraries start, before any of them is imported.

Calls run side by side in threads of the server, so each library call gets one thread; more would only fight over the
cores. FAISS' own setting holds per calling thread, so only the environment reaches them all.
"""

from __future__ import annotations

import os

for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_variable, "1")
