"""ONNX Runtime's side of a network in use: the file that we export."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime
from networks import PAIRS
from side import Side


class OnnxRuntime(Side):
    """An ONNX file that classifies, on ONNX Runtime's own settings but for the threads."""

    def __init__(self, threads: int, backend: str | None = None) -> None:
        self.threads = threads

    def facts(self) -> dict[str, Any]:
        """Give the version."""
        return {"onnxruntime": onnxruntime.__version__, "threads": self.threads}

    def build(self, key: str, batch: int | None = None) -> dict[str, Any]:
        """Make the batch; the network comes with `read`."""
        self.images, _ = PAIRS[key].data(batch)
        return {}

    def read(self, path: str) -> None:
        """Load the network."""
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self.threads
        self.session = onnxruntime.InferenceSession(path, options, ["CPUExecutionProvider"])
        self.feed = {self.session.get_inputs()[0].name: self.images}

    def step(self) -> float:
        """Classify the batch."""
        return float(self.session.run(None, self.feed)[0][0, 0])

    def outputs(self, path: str) -> None:
        """Write what the batch gives."""
        np.save(path, self.session.run(None, self.feed)[0])
