"""Our side of a network in use: fused, in evaluation mode, nothing recorded."""

from __future__ import annotations

from typing import Any

import numpy as np
from ours import Ours

import chainrule as cr


class Using(Ours):
    """A chainrule network that classifies."""

    def build(self, key: str, batch: int | None = None) -> dict[str, Any]:
        """Make the network, fuse it, and make its batch."""
        found = super().build(key, batch)
        self.model.eval()
        self.fused = cr.fuse(self.model)
        return found

    def variants(self) -> list[dict[str, Any]]:
        """Images as users have them."""
        return [{"layout": "nchw"}]

    def export(self, path: str) -> None:
        """Write the network as ONNX, for the peer that reads it."""
        cr.onnx.export(self.model, self.images.shape[1:], path)

    def step(self) -> float:
        """Classify the batch."""
        with cr.inference_mode():
            return float(self.fused(self.x).array[0, 0])

    def outputs(self, path: str) -> None:
        """Write what the batch gives."""
        with cr.inference_mode():
            np.save(path, self.fused(self.x).array)
