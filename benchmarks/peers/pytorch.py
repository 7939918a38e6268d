"""PyTorch's side of a comparison, as its users write it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import torch
from blocks import Timed
from networks import MOMENTUM, PAIRS, RATE, SEED
from side import Side, resident
from torch import nn
from torch.nn import functional as F

from peers.pytorch_networks import create

LAYOUTS = {"nchw": torch.contiguous_format, "nhwc": torch.channels_last}
OPTIMISERS: dict[str, dict[str, bool]] = {
    "loop": {"foreach": False, "fused": False},
    "foreach": {"foreach": True},
    "fused": {"fused": True},
}


def _length(parameter: nn.Parameter) -> float:
    assert parameter.grad is not None
    return float(parameter.grad.double().norm())


def _tensor(array: np.ndarray, wants: bool) -> torch.Tensor:
    return torch.from_numpy(array).requires_grad_(wants)


class PyTorch(Side):
    """A PyTorch network under training."""

    def __init__(self, threads: int, backend: str | None = None) -> None:
        torch.set_num_threads(threads)

    def facts(self) -> dict[str, Any]:
        """Give the versions, and the instruction set that PyTorch chose."""
        shown = torch.__config__.show()
        onednn = re.search(r"(?:MKL-DNN|oneDNN) v([\d.]+)", shown)
        return {
            "torch": torch.__version__,
            "onednn": onednn[1] if onednn else None,
            "capability": torch.backends.cpu.get_cpu_capability(),
            "threads": torch.get_num_threads(),
        }

    def build(self, key: str, batch: int | None = None) -> dict[str, Any]:
        """Make the network and its batch; give its parameters' number."""
        self.pair = pair = PAIRS[key]
        torch.manual_seed(SEED)
        self.model = create(pair.model, pair.classes, pair.channels, **pair.options)
        self.model.train()
        self.images, self.labels = pair.data(batch)
        self.use()
        return {"parameters": sum(p.numel() for p in self.model.parameters())}

    def variants(self) -> list[dict[str, Any]]:
        """Both layouts with each form of the optimiser."""
        return [{"layout": a, "optimiser": b} for a in LAYOUTS for b in OPTIMISERS]

    def use(
        self,
        layout: str = "nchw",
        optimiser: str = "loop",
        compiled: bool = False,
        rate: float = RATE,
    ) -> None:
        """Lay network and batch out, and begin a new optimiser."""
        form = LAYOUTS[layout]
        self.model = self.model.to(memory_format=form)
        self.model.zero_grad()
        self.x = torch.from_numpy(self.images).to(memory_format=form)
        self.y = torch.from_numpy(self.labels)
        self.optimizer = torch.optim.SGD(
            self.model.parameters(), lr=rate, momentum=MOMENTUM, **OPTIMISERS[optimiser]
        )
        self.forward: Any = torch.compile(self.model, dynamic=False) if compiled else self.model

    def step(self) -> float:
        """One training step."""
        loss = F.cross_entropy(self.forward(self.x), self.y)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return float(loss.item())

    def load(self, path: str) -> None:
        """Take weights and buffers by name; all names must be the same, and all shapes."""
        with np.load(Path(path)) as arrays:
            own = self.model.state_dict()
            optional = [k for k in own if k.endswith("num_batches_tracked") and k not in arrays]
            state = {k: torch.from_numpy(arrays[k]) for k in arrays}
            state |= {k: own[k] for k in optional}
            self.model.load_state_dict(state)

    def check(self) -> dict[str, Any]:
        """Give the loss without dropout, and the length of every parameter's gradient."""
        loss = self.descend(0.0, 1)[0]
        return {"loss": loss, "gradients": {k: _length(p) for k, p in self._named()}}

    def descend(self, rate: float, count: int) -> list[float]:
        """Train some steps without dropout; give the loss before each."""
        self.use(rate=rate)
        self._dropout(False)
        losses = [self.step() for _ in range(count)]
        self._dropout(True)
        return losses

    def _named(self) -> list[tuple[str, Any]]:
        return list(self.model.named_parameters())

    def _dropout(self, on: bool) -> None:
        for layer in self.model.modules():
            if isinstance(layer, nn.Dropout):
                layer.train(on)

    def multiply_adds(self) -> dict[str, int]:
        """Count the multiply-adds of convolutions and dense layers for the whole batch.

        `first` are those of the layer that reads the images, whose gradient nobody wants.
        """
        counts: list[int] = []

        def count(layer: nn.Module, _: Any, y: torch.Tensor) -> None:
            assert isinstance(layer.weight, torch.Tensor)
            counts.append(y.numel() * layer.weight[0].numel())

        weighted = [m for m in self.model.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
        hooks = [m.register_forward_hook(count) for m in weighted]
        with torch.no_grad():
            self.model(self.x)
        for hook in hooks:
            hook.remove()
        return {"forward": sum(counts), "first": counts[0]}

    def block(self, name: str, count: int) -> list[float]:
        """Run a block forward and backward; give the seconds of each time."""
        if self._block is None or self._block[0] != name:
            self._block = name, Timed(torch, _tensor, name)
        return self._block[1].run(count)

    _block: tuple[str, Timed] | None = None

    def shapes(self, drawn: list[list[int]]) -> list[int]:
        """Train a step on each (batch, side); give resident memory after each."""
        after = []
        for batch, side in drawn:
            images, labels = self.pair.data(batch, side)
            self.x, self.y = torch.from_numpy(images), torch.from_numpy(labels)
            self.step()
            after.append(resident()["now"])
        return after
