"""A gate of a captured graph: its value, its gradient, forward and backward of its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from chainrule.engine import state
from chainrule.engine.dispatch import current_backend
from chainrule.engine.graph import Slot
from chainrule.engine.op import Array, Op, Spec
from chainrule.engine.tensor import Tensor, as_tensor
from chainrule.errors import GraphError, KindError, ShapeError, failure


class GraphNode:
    """One gate: an input, a constant or parameter, or an operation.

    `op` is None for sources; `inputs` are the nodes it reads; `value` and `gradient` are
    tensors (tuples for an operation with several outputs), None before forward and backward.
    `layer` is the path of the layer that ran it, where `nn.tracing` followed the layers.
    """

    def __init__(self, name: str, kind: str, op: Op | None, edges: list[tuple[GraphNode, int]]):
        self.name = name
        self.kind = kind
        self.op = op
        self.edges = edges
        self.tensor: Tensor | None = None  # the live tensor of a parameter or constant
        self.is_output = False
        self.layer = state.LAYER.get()
        self._values: list[Array] = []
        self._slots: dict[int, Slot] = {}
        self._run: Any = None

    @property
    def specs(self) -> tuple[Spec, ...]:
        """Shape and dtype of each value."""
        return tuple([Spec(a.shape, a.dtype) for a in self._values])

    @property
    def values(self) -> list[Array]:
        """What forward computed, as arrays."""
        return list(self._values)

    @property
    def gradients(self) -> list[Array | None]:
        """The gradients that arrived so far, one a value, as arrays that are not to be written."""
        slots = self._slots
        return [slots[i].array if i in slots else None for i in range(len(self._values))]

    @property
    def inputs(self) -> list[GraphNode]:
        """The nodes whose values this one reads."""
        return [node for node, _ in self.edges]

    @property
    def value(self) -> Any:
        """What forward computed."""
        values = tuple([Tensor(v) for v in self._values])
        return (values if len(values) > 1 else values[0]) if values else None

    @property
    def gradient(self) -> Any:
        """The gradient of the output by this value, as far as backward has gathered it."""
        if not self._slots:
            return None
        found = [Tensor(self._slots[i].array) if i in self._slots else None
                 for i in range(len(self._values))]  # fmt: skip
        for slot in self._slots.values():
            slot.owned = False  # what was handed out is not written again
        return tuple(found) if len(found) > 1 else found[0]

    def forward(self) -> Any:
        """Compute the value from the inputs' values; forget the gradient."""
        self._slots = {}
        if self.op is None:
            if self.tensor is not None:
                self._values = [self.tensor.array]
            elif not self._values:
                raise GraphError(f"graph input {self.name!r} has no value yet; call graph.forward")
            return self.value
        arrays = [node._values[index] for node, index in self.edges]
        if self.op.infers:
            self.op.infer(*[Spec(a.shape, a.dtype) for a in arrays])
        kernel = current_backend().select(self.op, arrays)
        outputs, saved = kernel.forward(self.op, arrays)
        self._values = [np.asarray(y) for y in outputs]
        self._run = (kernel, saved)
        return self.value

    def backward(self) -> None:
        """Add to the inputs' gradients what this gate passes on: local times upstream.

        The graph's output begins with gradient 1 if it has none.  A gate that no gradient
        reached does nothing.
        """
        if not self._slots and self.is_output:
            self.seed(None)
        if self.op is None or not self._slots:
            return
        gradients = self.pull(self.gradients)
        for (node, index), gradient in zip(self.edges, gradients, strict=True):
            if gradient is not None:
                node._add(index, gradient)

    def pull(
        self, gradients: Sequence[Array | None], needs: Sequence[bool] | None = None
    ) -> tuple[Array | None, ...]:
        """Give the gradients of an operation's inputs for those of its values; changes nothing.

        `needs` says for which inputs, None that all that are floats have one.
        """
        if self._run is None or self.op is None:
            raise GraphError(f"gate {self.name!r}: backward before forward")
        kernel, saved = self._run
        gys = tuple(gradients)
        floats = [n._values[i].dtype.kind == "f" for n, i in self.edges]
        wanted = floats if needs is None else [a and b for a, b in zip(floats, needs, strict=True)]
        found: tuple[Array | None, ...] = kernel.backward(
            self.op, saved, gys if len(gys) > 1 else gys[0], tuple(wanted)
        )
        return found

    def seed(self, gradient: Any) -> None:
        """Set the gradient that arrives from above; 1 for a value of one element if None."""
        value = self._values[0]
        if value.dtype.kind != "f":
            raise failure(
                "graph.backward", f"a floating-point output; {self.name!r} is {value.dtype}",
                error=KindError, hint="capture it with floating-point inputs: 2.0 for 2",
            )  # fmt: skip
        if gradient is None:
            if value.size != 1:
                raise ShapeError(
                    f"graph.backward: expected a value of one element, the output {self.name!r} is "
                    f"{value.shape}; pass gradient="
                )
            array = np.ones_like(value)
        else:
            array = np.asarray(as_tensor(gradient).array, dtype=value.dtype)
            if array.shape != value.shape:
                raise failure(
                    "graph.backward",
                    f"a gradient of the output's shape {value.shape}",
                    gradient=array,
                )
        self._add(0, array)

    def _add(self, index: int, gradient: Array) -> None:
        if index in self._slots:
            self._slots[index].add(gradient)
        else:
            self._slots[index] = Slot(gradient, owned=False)

    def __repr__(self) -> str:
        made = (
            "" if self.op is None else f" = {self.op!r} of {', '.join(n.name for n in self.inputs)}"
        )
        return f"<{self.kind} {self.name}{made}>"
