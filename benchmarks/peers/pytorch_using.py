"""PyTorch's side of a network in use."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import torch

from peers.pytorch import LAYOUTS, PyTorch


class PyTorchUsing(PyTorch):
    """A PyTorch network that classifies: as it is, or frozen and fused by TorchScript."""

    def build(self, key: str, batch: int | None = None) -> dict[str, Any]:
        """Make the network and its batch."""
        found = super().build(key, batch)
        self.model.eval()
        return found

    def variants(self) -> list[dict[str, Any]]:
        """Both layouts, each as it is and frozen."""
        return [{"layout": a, "form": b} for a in LAYOUTS for b in ("eager", "frozen")]

    def use(self, layout: str = "nchw", form: str = "eager", **_: Any) -> None:
        """Lay network and batch out; freeze the network if asked."""
        super().use(layout)
        self.model.eval()
        if form == "frozen":
            with warnings.catch_warnings(), torch.inference_mode():
                warnings.simplefilter("ignore")  # TorchScript is told to be of the past
                traced = torch.jit.trace(self.model, self.x)
                self.forward = torch.jit.optimize_for_inference(torch.jit.freeze(traced))

    def step(self) -> float:
        """Classify the batch."""
        with torch.inference_mode():
            return float(self.forward(self.x)[0, 0])

    def outputs(self, path: str) -> None:
        """Write what the batch gives."""
        with torch.inference_mode():
            np.save(path, self.forward(self.x).numpy())
