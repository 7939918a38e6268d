"""Backends: found by name, chosen in one place, counted."""

from __future__ import annotations

import sys
import threading
import types
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule.engine.dispatch import Backend
from chainrule.engine.op import OPS


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> Backend:
    """A backend named 'toy' whose addition of float32 counts, and keeps its own saved state."""
    cr.add  # noqa: B018 - loads the operations
    backend = Backend("toy")

    @backend.kernel(OPS["Add"])
    class Pair:
        def supports(self, op: Any, arrays: Any) -> bool:
            return all(a.dtype == np.float32 for a in arrays)

        def forward(self, op: Any, arrays: Any) -> Any:
            return (arrays[0] + arrays[1],), "mine"

        def backward(self, op: Any, saved: Any, gy: Any, needs: Any) -> Any:
            assert saved == "mine"
            return tuple(gy * 100 if need else None for need in needs)

    module = types.ModuleType("chainrule.backends.toy")
    module.BACKEND = backend  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "chainrule.backends", types.ModuleType("chainrule.backends"))
    monkeypatch.setitem(sys.modules, "chainrule.backends.toy", module)
    return backend


def run() -> float:
    x = cr.tensor([1.0], requires_grad=True)
    (x + x.detach()).sum().backward()
    return x.grad.item()


def test_a_pair_runs_forward_and_the_same_one_backward(toy: Backend) -> None:
    with cr.use_backend("toy"):
        assert run() == 100
    assert toy.calls["Add"] == 1
    assert run() == 1


def test_the_backward_asks_the_kernel_that_ran_forward(toy: Backend) -> None:
    x = cr.tensor([1.0], requires_grad=True)
    with cr.use_backend("toy"):
        y = x + x.detach()
    y.backward()
    assert x.grad.item() == 100


def test_what_no_pair_supports_runs_on_the_reference(toy: Backend) -> None:
    with cr.use_backend("toy"):
        x = cr.tensor([1.0], dtype=cr.float64, requires_grad=True)
        (x + x.detach()).backward()
        assert x.grad.item() == 1
    assert toy.calls["Add"] == 0


def test_detect_anomaly_runs_the_references(toy: Backend) -> None:
    with cr.use_backend("toy"), cr.detect_anomaly():
        assert run() == 1


def test_in_a_with_the_choice_is_this_threads_else_the_processs(toy: Backend) -> None:
    seen: list[str] = []

    def look() -> None:
        seen.append(cr.current_backend().name)

    with cr.use_backend("toy"):
        thread = threading.Thread(target=look)
        thread.start()
        thread.join()
    cr.use_backend("toy")
    try:
        thread = threading.Thread(target=look)
        thread.start()
        thread.join()
    finally:
        cr.use_backend("numpy")
    assert seen == ["numpy", "toy"]


def test_an_unknown_backend_is_named() -> None:
    with pytest.raises(ValueError, match="nowhere"):
        cr.use_backend("nowhere")
