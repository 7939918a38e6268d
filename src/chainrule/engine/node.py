"""What stands behind a tensor that an operation made."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from chainrule.engine.dispatch import Kernel
from chainrule.engine.op import Op, Spec

if TYPE_CHECKING:
    from chainrule.engine.tensor import Tensor

_sequence = itertools.count()

SMALL = 1 << 8
"""Numbers of an array that a node keeps for whoever looks at the graph later: 1 KB, in float32."""


class Node:
    """One operation that ran: what its backward needs and where the gradients go.

    `edges` holds for each input None, a leaf tensor, or (node, output index); `seen` the arrays of
    the inputs and then of the outputs, their shapes where they are not small: drawings show them.
    """

    __slots__ = (
        "__weakref__",
        "edges",
        "hooks",
        "kernel",
        "needs",
        "op",
        "origin",
        "released",
        "retained",
        "saved",
        "seen",
        "sequence",
        "specs",
        "stamp",
    )

    def __init__(
        self,
        op: Op,
        kernel: Kernel,
        saved: Any,
        inputs: tuple[Tensor, ...],
        specs: tuple[Spec, ...],
        stamp: int,
        outputs: tuple[Tensor, ...] = (),
    ) -> None:
        self.op = op
        self.kernel = kernel
        self.saved = saved
        self.edges = tuple([_edge(t) for t in inputs])
        self.needs = tuple([t._requires_grad for t in inputs])
        self.specs = specs
        self.seen = [
            t.array if t.array.size <= SMALL else t.array.shape for t in (*inputs, *outputs)
        ]
        self.stamp = stamp
        self.sequence = next(_sequence)
        self.released = False
        self.hooks: dict[int, dict[int, Callable[[Tensor], Tensor | None]]] | None = None
        self.retained: dict[int, Any] | None = None
        self.origin: str | None = None

    def __repr__(self) -> str:
        return f"<{self.op!r}>"


def _edge(tensor: Tensor) -> Any:
    if not tensor._requires_grad:
        return None
    return tensor if tensor._node is None else (tensor._node, tensor._index)
