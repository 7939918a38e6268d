"""A network captured once for each shape of its input, and run as a program from then on."""

from __future__ import annotations

import threading
from collections import OrderedDict
from copy import deepcopy
from typing import Any, NamedTuple

from chainrule.engine import state
from chainrule.engine.dispatch import current_backend
from chainrule.engine.op import Array
from chainrule.engine.program import Program, program_of
from chainrule.engine.tensor import Tensor, as_tensor
from chainrule.engine.written import CLOCK, version
from chainrule.errors import GraphError, KindError, expect, failure
from chainrule.inference.rewriting import simplify
from chainrule.nn.module import Module
from chainrule.nn.tracing import evaluating, recorded

SHAPES = 16
"""Programs that a fused network keeps, one for each combination of input shapes and dtypes."""


def fuse(model: Module, method: str = "forward") -> Fused:
    """Give a network for use: the same values in evaluation mode, computed faster.

    The result is called like the model.  At the first call with inputs of new shapes the model is
    followed through once, without computing, and what ran becomes a program: batch norms are folded
    into the convolutions and dense layers before them, what depends on nothing is computed, and the
    backend joins bias, residual sum and ReLU to the product before them, lays weights out once and
    keeps all values in one piece of memory.  Values differ from the model's by rounding.

    The model keeps its weights, which the fused network shares: where they are written or replaced,
    the next call begins anew.  `method` names another function of the model than its forward, say
    "embed".  Several threads may call it at once.  Nothing is recorded, so that no gradients flow;
    hooks of layers run only while the model is followed.

    Weights are laid out once for all shapes of the input; those of 3x3 convolutions take up to four
    times the memory of plain ones.  Where an input, a weight or what a kernel of ours gives is not
    finite, the program runs operation by operation, and NaN comes through; only what first grows
    beyond 3e38 inside one of oneDNN's own convolutions may be hidden by its ReLU.

    Raises TypeError where `model` is no Module, ValueError where it has no such method, and at a
    call RuntimeError where what it computes depends on values and not only on shapes or is drawn at
    random, where it has no values yet, or where an input requires grad while graphs are recorded.

    >>> import chainrule as cr
    >>> model = cr.create_model("lenet5").eval()
    >>> fast = cr.fuse(model)
    >>> x = cr.randn(2, 1, 32, 32)
    >>> with cr.no_grad():
    ...     bool((fast(x) - model(x)).abs().max() < 1e-4)
    True
    """
    return Fused(model, method)


class Fused(Module):
    """What `fuse` gives; its one submodule is `model`."""

    def __init__(self, model: Module, method: str = "forward") -> None:
        super().__init__()
        if not isinstance(model, Module):
            raise failure("fuse", "a Module", error=KindError, model=type(model))
        callable_there = callable(getattr(model, method, None))
        expect(callable_there, "fuse", "the name of a method of the model", method=method)
        self.model = model
        self.method = method
        self.training = False
        self._lock = threading.Lock()
        self._watch = Watch(model)
        self._shared: dict[Any, Any] = {}
        self._known: OrderedDict[tuple[Any, ...], Entry] = OrderedDict()

    def train(self, mode: bool = True) -> Fused:
        """Refuse to train: the network that was fused is what can be trained."""
        if mode:
            raise GraphError("train: a fused network is for use; train the model it was made from")
        return self

    def forward(self, *inputs: Any) -> Any:
        """Give what the model gives in evaluation mode."""
        tensors = [as_tensor(x, "fuse") for x in inputs]
        if state.GRAD.get() and any(x.requires_grad for x in tensors):
            raise GraphError(
                "fuse: an input requires grad, and a fused network records no graph; call the "
                "model itself for gradients, or this under no_grad()"
            )
        if state.TRACER.get() is not None:  # who follows it wants the model's operations
            with evaluating(self.model):
                return getattr(self.model, self.method)(*tensors)
        entry = self._entry(tensors)
        arrays = current_backend().run(entry.program, [x.array for x in tensors])
        found = tuple([Tensor(array) for array in arrays])
        return found[0] if entry.single else found

    def _entry(self, tensors: list[Tensor]) -> Entry:
        key = tuple([(x.array.shape, x.array.dtype) for x in tensors])
        with self._lock:
            if self._watch.stale():
                self._watch, self._shared = Watch(self.model), {}
                self._known.clear()
            entry = self._known.get(key)
            if entry is None:
                graph = recorded("fuse", self.model, tensors, self.method)
                program = simplify(program_of(graph, self._shared))
                entry = self._known[key] = Entry(program, graph.single)
                while len(self._known) > SHAPES:
                    self._known.popitem(last=False)
            else:
                self._known.move_to_end(key)
        return entry

    def __deepcopy__(self, memo: dict[int, Any]) -> Fused:
        return Fused(deepcopy(self.model, memo), self.method)

    def __reduce__(self) -> Any:
        return Fused, (self.model, self.method)

    def extra_repr(self) -> str:
        """Show the method, where it is not the forward."""
        return "" if self.method == "forward" else f"method={self.method!r}"


class Entry(NamedTuple):
    """A program, and whether the model gives one tensor."""

    program: Program
    single: bool


class Watch:
    """Tells whether a model's weights were written or replaced, or its layers."""

    def __init__(self, model: Module) -> None:
        self._children: list[tuple[dict[str, Any], str, Any]] = []
        self._tensors: list[tuple[dict[str, Any], str, Tensor, Array]] = []
        for module in model.modules():
            self._children += [(module._modules, k, m) for k, m in module._modules.items()]
            for table in (module._parameters, module._buffers):
                named = [(k, t) for k, t in table.items() if t is not None]
                self._tensors += [(table, k, t, t.array) for k, t in named]
        self._stamp = CLOCK.now

    def stale(self) -> bool:
        """Tell whether a program made of the model would be another one now."""
        for table, name, child in self._children:
            if table.get(name) is not child:
                return True
        for table, name, tensor, array in self._tensors:
            if table.get(name) is not tensor or tensor.array is not array:
                return True
        now = CLOCK.now
        if now != self._stamp:
            if any(version(array) > self._stamp for *_, array in self._tensors):
                return True
            self._stamp = now
        return False
