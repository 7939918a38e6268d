"""Networks drawn at random, in which any value may be read anywhere, give what they gave."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import chainrule as cr

nn = cr.nn
CHANNELS = 16


class Drawn(nn.Module):
    """Steps that read any earlier value, the last of them more often; several outputs."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        rng = np.random.default_rng(seed)
        self.steps: list[tuple[str, list[int]]] = []
        self.layers = nn.ModuleList()
        for made in range(1, 14):
            kind = str(rng.choice(["one", "three", "norm", "relu", "add", "add", "pool", "tanh"]))
            read = [max(0, made - 1 - int(rng.geometric(0.6)) + 1) for _ in range(2)]
            self.steps.append((kind, read))
            self.layers.append(self._layer(kind))
        self.ends = sorted({13, *map(int, rng.integers(1, 14, int(rng.integers(0, 3))))})
        for value in self.buffers():
            if value.dtype == np.float32:
                value.array[...] = rng.uniform(0.5, 1.5, value.shape)

    def _layer(self, kind: str) -> Any:
        if kind == "one":
            return nn.Conv2d(CHANNELS, CHANNELS, 1)
        if kind == "three":
            return nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1, bias=False)
        found = {"norm": nn.BatchNorm2d(CHANNELS), "relu": nn.ReLU(), "tanh": nn.Tanh()}
        return found.get(kind, nn.MaxPool2d(3, 1, 1))

    def forward(self, x: Any) -> Any:
        values = [x]
        for (kind, (a, b)), layer in zip(self.steps, self.layers, strict=True):
            values.append(values[a] + values[b] if kind == "add" else layer(values[a]))
        return tuple([values[i] for i in self.ends])


@pytest.mark.parametrize("seed", range(60))
def test_any_network(seed: int) -> None:
    cr.manual_seed(seed)
    model = Drawn(seed).eval()
    fused = cr.fuse(model)
    for batch in (2, 40):  # below and above what Winograd's filters pay for
        x = cr.randn(batch, CHANNELS, 12, 12)
        with cr.no_grad():
            for _ in range(2):
                for ours, theirs in zip(fused(x), model(x), strict=True):
                    largest = float(theirs.abs().max().item())
                    np.testing.assert_allclose(ours.numpy(), theirs.numpy(), atol=1e-4 * largest)
