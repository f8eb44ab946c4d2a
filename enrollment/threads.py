"""The threads that numeric libraries start of themselves: none. To be imported before any of them is.

How many threads compute is decided in one place, the pool of ``matcher.threads``, and each of its threads makes library
calls of one thread; more would only fight over the cores. FAISS' own setting holds per calling thread, so only the
environment reaches them all. onnxruntime is told by ``extract.onnx_network``, OpenCV by ``serving``.
"""

from __future__ import annotations

import os

for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_variable, "1")
