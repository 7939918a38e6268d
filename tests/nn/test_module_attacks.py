"""What a hostile reader tried on modules: registration, duplicates, loading, backward hooks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn


def test_registration_refuses_taken_names_and_wrong_kinds() -> None:
    layer = nn.Linear(2, 2)
    with pytest.raises(KeyError, match="already"):
        layer.register_buffer("weight", cr.zeros(1))
    for register in (
        lambda: layer.add_module("a", 3),  # type: ignore[arg-type]
        lambda: layer.register_parameter("a", cr.zeros(3)),  # type: ignore[arg-type]
        lambda: layer.register_buffer("a", 3),  # type: ignore[arg-type]
    ):
        with pytest.raises(TypeError, match="register"):
            register()
    assert not hasattr(layer, "a")


def test_shared_modules_are_listed_twice_on_demand() -> None:
    shared = nn.Linear(1, 1)
    model = nn.Sequential(shared, shared)
    names = [name for name, _ in model.named_parameters(remove_duplicate=False)]
    assert names == ["0.weight", "0.bias", "1.weight", "1.bias"]
    assert [n for n, _ in model.named_modules(remove_duplicate=False)] == ["", "0", "1"]


def test_load_state_dict_wants_a_mapping_of_numbers_with_values() -> None:
    layer = nn.Linear(2, 2)
    before = layer.weight.array.copy()
    with pytest.raises(TypeError, match="mapping"):
        layer.load_state_dict([1])  # type: ignore[arg-type]
    with pytest.raises(RuntimeError, match="meta"):
        layer.load_state_dict({"bias": cr.zeros(2), "weight": cr.zeros(2, 2, device="meta")})
    np.testing.assert_array_equal(layer.weight.array, before)


def test_to_takes_device_and_dtype() -> None:
    assert nn.Linear(2, 2).to("cpu", cr.float64).weight.dtype == np.float64


class First(nn.Module):
    """Uses one of its two inputs."""

    def forward(self, a: Any, b: Any) -> Any:
        return a * 2


def test_backward_hooks_run_with_an_unused_input_and_replace_gradients() -> None:
    model, seen = First(), []

    def hook(module: Any, gx: Any, gy: Any) -> Any:
        seen.append((gx, gy))
        return (gx[0] * 10, gx[1])

    model.register_full_backward_hook(hook)
    a, b = (cr.ones(2, requires_grad=True) for _ in range(2))
    model(a, b).sum().backward()
    ((gx, gy),) = seen
    assert (gx[0].tolist(), gx[1], gy[0].tolist()) == ([2.0, 2.0], None, [1.0, 1.0])
    assert a.grad is not None
    assert (a.grad.tolist(), b.grad) == ([20.0, 20.0], None)


def test_backward_hooks_are_silent_under_no_grad_and_checked() -> None:
    layer = nn.ReLU()
    layer.register_full_backward_hook(lambda m, gx, gy: (gx[0], gx[0]))
    x = cr.ones(2, requires_grad=True)
    with cr.no_grad():
        assert layer(x).tolist() == [1.0, 1.0]
    with pytest.raises(ValueError, match="backward hook"):
        layer(x).sum().backward()
