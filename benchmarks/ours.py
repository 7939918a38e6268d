"""Our side of a comparison, as a user would write it."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import numpy as np
from blocks import Timed
from networks import MOMENTUM, PAIRS, RATE, SEED
from side import Side, resident
from stopwatch import Profile

import chainrule as cr
from chainrule.nn import functional as F


def library_of(backend: str) -> str | None:
    """Give version and instruction set of the library below a backend, if there is one."""
    if backend == "numpy":
        return None
    module = importlib.import_module(f"chainrule.backends.{backend}.library")
    library = module.search().library
    return f"{'.'.join(map(str, library.version))} ({library.isa})"


def _length(parameter: Any) -> float:
    return float(np.sqrt(np.sum(np.square(parameter.grad.array, dtype=np.float64))))


class Ours(Side):
    """A chainrule network under training."""

    def __init__(self, threads: int, backend: str | None = None) -> None:
        if backend is not None:
            cr.use_backend(backend)
        if hasattr(cr, "set_num_threads"):
            cr.set_num_threads(threads)

    def facts(self) -> dict[str, Any]:
        """Say which backend runs, and the versions of what it stands on."""
        backend = cr.current_backend()
        blas = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
        return {
            "chainrule": cr.__version__,
            "backend": backend.name,
            "library": library_of(backend.name),
            "numpy": np.__version__,
            "blas": f"{blas['name']} {blas['version']}",
        }

    def build(self, key: str, batch: int | None = None) -> dict[str, Any]:
        """Make the network and its batch; give its parameters' number."""
        pair = PAIRS[key]
        cr.manual_seed(SEED)
        self.model = cr.models.create_model(
            pair.model, num_classes=pair.classes, in_channels=pair.channels, **pair.options
        )
        self.model.train()
        self.pair = pair
        self.images, self.labels = pair.data(batch)
        self.use()
        return {"parameters": sum(p.numel() for p in self.model.parameters())}

    def variants(self) -> list[dict[str, Any]]:
        """The batch may come in either layout."""
        return [{"layout": "nchw"}, {"layout": "nhwc"}]

    def use(self, layout: str = "nchw", rate: float = RATE) -> None:
        """Lay the batch out, and begin a new optimiser."""
        x = self.images
        if layout == "nhwc":
            x = np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
        self.x, self.y = cr.tensor(x), cr.tensor(self.labels)
        self.optimizer = cr.optim.SGD(self.model.parameters(), lr=rate, momentum=MOMENTUM)

    def reshape(self, batch: int, side: int) -> None:
        """Go on with a batch of another shape."""
        self.images, self.labels = self.pair.data(batch, side)
        self.x, self.y = cr.tensor(self.images), cr.tensor(self.labels)

    def step(self) -> float:
        """One training step."""
        loss = F.cross_entropy(self.model(self.x), self.y)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return float(loss.item())

    def save(self, path: str) -> None:
        """Write the weights and buffers by name."""
        np.savez(Path(path), **{k: np.ascontiguousarray(v.array) for k, v in self._state()})

    def _state(self) -> list[tuple[str, Any]]:
        return list(self.model.state_dict().items())

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
            if "Dropout" in type(layer).__name__:
                layer.train(on)

    def breakdown(self, count: int) -> dict[str, Any]:
        """Say where the time of a step goes."""
        with Profile(self.optimizer) as profile:
            for _ in range(count):
                profile.step(self.step)
        return profile.report()

    def block(self, name: str, count: int) -> list[float]:
        """Run a block forward and backward; give the seconds of each time."""
        if self._block is None or self._block[0] != name:
            self._block = name, Timed(cr, lambda a, wants: cr.tensor(a, requires_grad=wants), name)
        return self._block[1].run(count)

    _block: tuple[str, Timed] | None = None

    def shapes(self, drawn: list[list[int]]) -> list[int]:
        """Train a step on each (batch, side); give resident memory after each."""
        after = []
        for batch, side in drawn:
            self.reshape(batch, side)
            self.step()
            after.append(resident()["now"])
        return after
