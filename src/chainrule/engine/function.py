"""A user's own operation: a forward and a backward as two static methods."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from chainrule.engine import state
from chainrule.engine.op import Op, Spec
from chainrule.engine.tensor import Tensor, apply_all, as_tensor
from chainrule.errors import GraphError, KindError, failure


class Context:
    """What a Function's forward hands to its backward.

    Any attribute may be set on it; tensors go through `save_for_backward`, so that a write to
    one of them between forward and backward is noticed.
    """

    def __init__(self, needs: tuple[bool, ...]) -> None:
        self.needs_input_grad = needs
        self.saved_arrays: tuple[Any, ...] = ()
        self._saved: tuple[Any, ...] = ()
        self._constant: tuple[Any, ...] = ()
        self._materialize = True

    def save_for_backward(self, *tensors: Any) -> None:
        """Keep tensors (or None) for `saved_tensors`."""
        for t in tensors:
            if t is not None and not isinstance(t, Tensor):
                raise failure(
                    "save_for_backward", "tensors or None", error=KindError,
                    hint="set other values as attributes of ctx", value=type(t),
                )  # fmt: skip
        self._saved = tensors
        self.saved_arrays = tuple(t.array for t in tensors if t is not None)

    @property
    def saved_tensors(self) -> tuple[Any, ...]:
        """What forward saved."""
        return self._saved

    def mark_non_differentiable(self, *outputs: Tensor) -> None:
        """Say that no gradient flows through these outputs."""
        self._constant = outputs

    def set_materialize_grads(self, value: bool) -> None:
        """Choose whether backward gets zeros (True) or None where no gradient came."""
        self._materialize = value


class Function:
    """Base of a user's own forward/backward pair; called through `apply`.

    `forward(ctx, *inputs)` computes on tensors outside the graph; `backward(ctx, *gradients)`
    takes one gradient an output and returns one an input, None for those without.  Source:
    deck 002, the gate with forward and backward.  Raises TypeError or RuntimeError when the
    number or the shapes of the returned gradients do not fit the inputs.

    >>> import chainrule as cr
    >>> class Square(cr.Function):
    ...     @staticmethod
    ...     def forward(ctx, x):
    ...         ctx.save_for_backward(x)
    ...         return x * x
    ...     @staticmethod
    ...     def backward(ctx, gy):
    ...         (x,) = ctx.saved_tensors
    ...         return 2 * x * gy
    >>> x = cr.tensor([3.0], requires_grad=True)
    >>> Square.apply(x).backward()
    >>> x.grad
    tensor([6.0])
    """

    @staticmethod
    def forward(ctx: Any, *inputs: Any, **_: Any) -> Any:
        """Compute the output; every subclass defines it."""
        raise NotImplementedError("a Function defines a static forward(ctx, ...)")

    @staticmethod
    def backward(ctx: Any, *gradients: Any, **_: Any) -> Any:
        """Compute the gradients; every subclass that is differentiated defines it."""
        raise NotImplementedError("a Function defines a static backward(ctx, ...)")

    @classmethod
    def apply(cls, *inputs: Any) -> Any:
        """Run forward on the inputs and remember how to go back."""
        tensors = [x for x in inputs if isinstance(x, Tensor)]
        needs = tuple(isinstance(x, Tensor) and x.requires_grad for x in inputs)
        call = FunctionCall(cls, inputs, needs)
        made = iter(apply_all(call, *tensors))
        outputs = tuple([None if absent else next(made) for absent in call.absent])
        return outputs if call.is_tuple else outputs[0]

    def __init__(self) -> None:
        raise TypeError(f"{type(self).__name__} is not instantiated; call its .apply(...)")


@dataclass(eq=False, repr=False)
class FunctionCall(Op, register=False):
    """One call of a user's Function, as an operation of the graph."""

    function: type[Function]
    template: tuple[Any, ...]  # all arguments; the tensors among them are replaced by the inputs
    needs: tuple[bool, ...]
    is_tuple: bool = field(default=False, init=False)
    absent: tuple[bool, ...] = field(default=(), init=False)  # the outputs that are None
    infers = False
    fresh = False  # a user's backward may return what it saved, or any array of its own

    def __post_init__(self) -> None:
        # Only the places of tensors are kept: a call must not keep their memory.
        self.template = tuple([_HOLE if isinstance(x, Tensor) else x for x in self.template])

    @property
    def name(self) -> str:
        """The user's class name."""
        return self.function.__name__

    def forward(self, xp: Any, *arrays: Any, **_: Any) -> tuple[tuple[Any, ...], Any]:
        """Call the user's forward outside the graph."""
        context = Context(self.needs)
        remaining = iter(arrays)
        inputs = [Tensor(next(remaining)) if x is _HOLE else x for x in self.template]
        token, trace = state.GRAD.set(False), state.TRACER.set(None)
        try:
            result = self.function.forward(context, *inputs)
        finally:
            state.GRAD.reset(token)
            state.TRACER.reset(trace)
        self.is_tuple = isinstance(result, tuple | list)
        given = tuple(result) if self.is_tuple else (result,)
        self.absent = tuple([y is None for y in given])
        outputs = tuple([as_tensor(y, self.name) for y in given if y is not None])
        if not outputs:
            raise failure(self.name, "a forward that returns a tensor", error=KindError)
        constant = tuple(
            [any(y is c for c in context._constant) or y.dtype.kind != "f" for y in outputs]
        )
        shapes = [(y.shape, y.dtype) for y in outputs]
        return tuple([y.array for y in outputs]), _Saved(
            context, [(a.shape, a.dtype) for a in arrays], shapes, constant
        )

    def describe(self, outputs: tuple[Any, ...], saved: Any) -> tuple[Spec, ...]:
        """The outputs as they came; no gradient where the user said so."""
        return tuple(
            [
                Spec(y.shape, y.dtype, not constant)
                for y, constant in zip(outputs, saved.constant, strict=True)
            ]
        )

    def backward(self, xp: Any, saved: Any, gy: Any, needs: tuple[bool, ...]) -> tuple[Any, ...]:
        """Call the user's backward and check what it returns."""
        context: Context = saved.context
        gys = gy if isinstance(gy, tuple) else (gy,)
        arrived = iter([
            Tensor(np.zeros(shape, dtype) if g is None else g)
            if g is not None or context._materialize
            else None
            for g, (shape, dtype) in zip(gys, saved.outputs, strict=True)
        ])  # fmt: skip
        given = [None if absent else next(arrived) for absent in self.absent]
        token, trace = state.GRAD.set(False), state.TRACER.set(None)
        try:
            result = self.function.backward(context, *given)
        finally:
            state.GRAD.reset(token)
            state.TRACER.reset(trace)
        return self._checked(result, saved.inputs, needs)

    def _checked(
        self, result: Any, specs: list[tuple[Any, Any]], needs: tuple[bool, ...]
    ) -> tuple[Any, ...]:
        gradients = result if isinstance(result, tuple | list) else (result,)
        expected = len(self.template)
        extra = gradients[expected:]
        if len(gradients) < expected or any(g is not None for g in extra):
            raise GraphError(
                f"{self.name}.backward: expected {expected} gradients, one for each argument of "
                f"forward (None for those without), got {len(gradients)}"
            )
        places = [i for i, x in enumerate(self.template) if x is _HOLE]
        found: list[Any] = []
        for place, (shape, dtype), need in zip(places, specs, needs, strict=True):
            g = gradients[place]
            if g is None or not need:
                found.append(None)
                continue
            array = as_tensor(g, f"{self.name}.backward").array
            if array.shape != shape:
                raise failure(
                    f"{self.name}.backward", f"a gradient of its input's shape {shape} for "
                    f"argument {place}", gradient=array,
                )  # fmt: skip
            found.append(array.astype(dtype, copy=False))
        return tuple(found)

    def __repr__(self) -> str:
        settings = ", ".join(repr(x) for x in self.template if x is not _HOLE)
        return f"{self.name}({settings})"


class _Hole:
    """Marks the place of a tensor among a call's arguments."""


_HOLE = _Hole()


@dataclass
class _Saved:
    """A call's context with the shapes and dtypes that its gradients must have."""

    context: Context
    inputs: list[tuple[Any, Any]]
    outputs: list[tuple[Any, Any]]
    constant: tuple[bool, ...]

    @property
    def saved_arrays(self) -> tuple[Any, ...]:
        return self.context.saved_arrays
