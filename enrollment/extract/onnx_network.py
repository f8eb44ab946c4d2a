"""The one way in which networks are loaded and run."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from enrollment.extract.denormals import flushed_denormals


def session_options(threads: int = 1) -> Any:
    """Options for an onnxruntime session.

    Args:
        threads: of one operator within a session. One by default: the server runs one extraction a thread.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # For the session's own threads, where it has any; the caller's is cared for by flushed_denormals.
    options.add_session_config_entry("session.set_denormal_as_zero", "1" if threads > 1 else "0")
    return options


class Network:
    """An ONNX network of one input on the CPU, run with denormals flushed. Thread-safe.

    Args:
        model: the ONNX file's bytes.
        threads: see ``session_options``.
    """

    def __init__(self, model: bytes, threads: int = 1) -> None:
        with flushed_denormals():  # also undoes what onnxruntime may do to the calling thread
            self._session: Any = onnxruntime.InferenceSession(
                model, session_options(threads), providers=["CPUExecutionProvider"]
            )
        self._input = str(self._session.get_inputs()[0].name)

    def __call__(self, data: NDArray[np.float32]) -> NDArray[np.float32]:
        """The output for an input of the shape that the network takes; it has one output."""
        (output,) = self.outputs(data)
        return output

    def outputs(self, data: NDArray[np.float32]) -> tuple[NDArray[np.float32], ...]:
        """All outputs, in the network's order."""
        with flushed_denormals():
            found = self._session.run(None, {self._input: data})
        return tuple(np.asarray(output, np.float32) for output in found)
