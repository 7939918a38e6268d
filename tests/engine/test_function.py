"""A user's own forward/backward pair."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule.engine.node import SMALL


class Multiply(cr.Function):
    """The gate of deck 002 with its base class renamed."""

    @staticmethod
    def forward(ctx: Any, x: Any, y: Any) -> Any:
        ctx.save_for_backward(x, y)
        return x * y

    @staticmethod
    def backward(ctx: Any, grad_z: Any) -> Any:
        x, y = ctx.saved_tensors
        return y * grad_z, x * grad_z


def test_the_multiply_gate_of_the_slides() -> None:
    x = cr.tensor(3.0, requires_grad=True)
    y = cr.tensor(-4.0, requires_grad=True)
    z = Multiply.apply(x, y)
    z.backward(cr.tensor(2.0))
    assert (z.item(), x.grad.item(), y.grad.item()) == (-12, -8, 6)
    assert "Multiply" in repr(z)


def test_arguments_that_are_no_tensors_get_none() -> None:
    class Scale(cr.Function):
        @staticmethod
        def forward(ctx: Any, x: Any, factor: float) -> Any:
            ctx.factor = factor
            return x * factor

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            return g * ctx.factor, None

    x = cr.tensor([1.0, 2.0], requires_grad=True)
    y = Scale.apply(x, 3.0)
    y.sum().backward()
    np.testing.assert_array_equal(x.grad, [3, 3])
    assert repr(y.grad_fn) == "<Scale(3.0)>"


def test_several_outputs_and_missing_gradients_come_as_zeros() -> None:
    class Split(cr.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            return x * 2, x * 3

        @staticmethod
        def backward(ctx: Any, g2: Any, g3: Any) -> Any:
            assert g3.shape == (2,)
            return 2 * g2 + 3 * g3

    x = cr.tensor([1.0, 2.0], requires_grad=True)
    a, _ = Split.apply(x)
    a.sum().backward()
    np.testing.assert_array_equal(x.grad, [2, 2])


def test_outputs_marked_without_gradient_have_none() -> None:
    class WithIndex(cr.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            rounded = cr.round(x)
            ctx.mark_non_differentiable(rounded)
            return x * 1, rounded

        @staticmethod
        def backward(ctx: Any, g: Any, _: Any) -> Any:
            return g

    y, r = WithIndex.apply(cr.tensor([1.4], requires_grad=True))
    assert y.requires_grad
    assert not r.requires_grad


def test_the_wrong_number_of_gradients_is_said() -> None:
    class Short(Multiply):
        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            return g

    x = cr.tensor(1.0, requires_grad=True)
    with pytest.raises(RuntimeError, match=r"Short\.backward: expected 2 gradients.*got 1"):
        Short.apply(x, x).backward()


def test_a_gradient_of_the_wrong_shape_is_said() -> None:
    class Wrong(cr.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            return x.sum()

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            return g

    x = cr.tensor([1.0, 2.0], requires_grad=True)
    with pytest.raises(ValueError, match=r"Wrong\.backward.*\(2,\)"):
        Wrong.apply(x).backward()


def test_needs_input_grad_tells_which() -> None:
    seen: list[Any] = []

    class Look(Multiply):
        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            seen.append(ctx.needs_input_grad)
            return g, None

    x = cr.tensor(1.0, requires_grad=True)
    Look.apply(x, cr.tensor(2.0)).backward()
    assert seen == [(True, False)]


def test_a_saved_tensor_written_in_place_is_noticed() -> None:
    x = cr.tensor([1.0], requires_grad=True)
    w = cr.tensor([2.0])
    z = Multiply.apply(x, w)
    w.fill_(5)
    with pytest.raises(RuntimeError, match=r"Multiply.*written in place"):
        z.backward()


def test_saved_tensors_are_freed_by_backward() -> None:
    x = cr.ones(SMALL + 1, requires_grad=True)
    inner = cr.ones(SMALL + 1)
    array = weakref.ref(inner.array)
    z = Multiply.apply(x, inner)
    z.sum().backward()
    del inner
    gc.collect()
    assert array() is None


def test_a_function_is_not_instantiated() -> None:
    with pytest.raises(TypeError, match="apply"):
        Multiply()


def test_a_function_passes_gradcheck_and_a_wrong_one_does_not() -> None:
    x, y = cr.tensor([1.0, 2.0]), cr.tensor([3.0, -4.0])
    assert cr.gradcheck(Multiply.apply, (x, y))

    class Swapped(Multiply):
        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            x, y = ctx.saved_tensors
            return x * g, y * g

    assert not cr.gradcheck(Swapped.apply, (x, y))
