"""The slides' computational graph as one object, recorded from a run.

Source: deck 002 and 003, `ComputationalGraph` with forward over the sorted nodes and backward
over them reversed.  What is recorded is one path: a Python `if` on a value is not seen again,
so that taking a value out of a traced tensor warns with the line.
"""

from __future__ import annotations

import inspect
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from chainrule.engine import state
from chainrule.engine.anomaly import calling_line
from chainrule.engine.detach import Detach
from chainrule.engine.dispatch import current_backend
from chainrule.engine.gate import GraphNode
from chainrule.engine.op import Array, Op
from chainrule.engine.tensor import Tensor, as_tensor
from chainrule.errors import GraphError, KindError, failure


class Graph:
    """A computational graph that runs again: see `capture`."""

    def __init__(
        self,
        nodes: list[GraphNode],
        inputs: list[GraphNode],
        outputs: list[tuple[GraphNode, int]],
        single: bool,
        random: bool = False,
    ) -> None:
        self._nodes = nodes
        self.random = random  # whether random numbers were drawn, which are now fixed in it
        self.inputs = inputs
        self._outputs = outputs
        self.single = single
        for node, _ in outputs:
            node.is_output = True

    @property
    def outputs(self) -> list[GraphNode]:
        """The nodes of the outputs."""
        return [node for node, _ in self._outputs]

    @property
    def ends(self) -> list[tuple[GraphNode, int]]:
        """The nodes of the outputs, and which of a node's values each is."""
        return list(self._outputs)

    @property
    def parameters(self) -> list[GraphNode]:
        """The sources that are learned: parameters that the function used."""
        return [node for node in self._nodes if node.kind == "parameter"]

    @property
    def without_values(self) -> list[GraphNode]:
        """The parameters and constants that were made on device "meta" and have shapes alone."""
        return [n for n in self._nodes if n.tensor is not None and n.tensor.is_meta]

    def nodes_topologically_sorted(self) -> list[GraphNode]:
        """Give all nodes, every one after those it reads."""
        return list(self._nodes)

    def operations(self) -> Iterator[tuple[Op, GraphNode]]:
        """Yield the operations in that order, each with its node; sources are left out."""
        for node in self._nodes:
            if node.op is not None:
                yield node.op, node

    def forward(self, *inputs: Any) -> Any:
        """Run all gates on new inputs (on the last ones if none are given); give the outputs."""
        if inputs:
            if len(inputs) != len(self.inputs):
                raise failure(
                    "graph.forward", f"{len(self.inputs)} inputs, as captured", inputs=len(inputs)
                )
            for node, value in zip(self.inputs, inputs, strict=True):
                node._values = [_replacement(node, value)]
        for gate in self._nodes:
            gate.forward()
        found = tuple([Tensor(node._values[index]) for node, index in self._outputs])
        return found[0] if self.single else found

    def backward(self, gradient: Any = None) -> tuple[Any, ...]:
        """Run all gates backwards; give the gradient of each input (None where none arrives).

        `gradient` arrives at the output, 1 if left out; for several outputs a sequence of them.
        """
        for gate in self._nodes:
            gate._slots = {}
        given = [gradient] if self.single else gradient
        if given is None:
            given = [None] * len(self._outputs)
        for (node, index), g in zip(self._outputs, given, strict=True):
            if index == 0:
                node.seed(g)
            elif g is not None:
                node._add(index, as_tensor(g).array)
        for gate in reversed(self._nodes):
            gate.backward()
        return tuple([node.gradient for node in self.inputs])

    def __iter__(self) -> Iterator[GraphNode]:
        return iter(self._nodes)

    def __len__(self) -> int:
        return len(self._nodes)

    def __repr__(self) -> str:
        return "Graph(\n" + "".join(f"  {node!r}\n" for node in self._nodes) + ")"


class _Recorder:
    """Records the operations that run into nodes."""

    def __init__(self) -> None:
        self.nodes: list[GraphNode] = []
        self.made: dict[int, tuple[GraphNode, int]] = {}
        self.arrays: dict[int, tuple[GraphNode, int]] = {}
        self.alive: list[Tensor] = []  # ids stay theirs while the recording lasts
        self.names: Counter[str] = Counter()
        self.random = False

    def drew(self) -> None:
        self.random = True

    def record(self, op: Op, run: Any, inputs: Any, outputs: Any) -> None:
        node = GraphNode(self._name(op.name), "operation", op, [self._edge(t) for t in inputs])
        node._values = [t.array for t in outputs]
        node._run = run
        self._keep(node, outputs)

    def source(self, name: str, kind: str, tensor: Tensor) -> GraphNode:
        node = GraphNode(name, kind, None, [])
        node._values = [tensor.array]
        if kind != "input":
            node.tensor = tensor
        self._keep(node, [tensor])
        return node

    def follows(self, value: Any) -> bool:
        if not isinstance(value, Tensor):
            return False
        edge = self.made.get(id(value)) or self.arrays.get(id(value.array))
        return edge is not None and edge[0].kind in ("input", "operation")

    def leak(self, tensor: Any, how: str) -> None:
        if self.follows(tensor):
            warnings.warn(
                f"capture: {how} took a value out of the traced graph at {calling_line()}; "
                "what depends on it is fixed in the graph",
                stacklevel=4,
            )

    def _keep(self, node: GraphNode, tensors: Any) -> None:
        self.nodes.append(node)
        for index, tensor in enumerate(tensors):
            self.made[id(tensor)] = (node, index)
            self.arrays[id(tensor.array)] = (node, index)
            self.alive.append(tensor)

    def _edge(self, tensor: Tensor) -> tuple[GraphNode, int]:
        if id(tensor) not in self.made and id(tensor.array) in self.arrays:
            edge = self.arrays[id(tensor.array)]
            node = GraphNode(self._name("detach"), "operation", Detach(), [edge])
            node._values, node._run = [tensor.array], (current_backend().reference, None)
            self.made[id(tensor)] = (node, 0)
            self.nodes.append(node)
            self.alive.append(tensor)
        elif id(tensor) not in self.made:
            kind = "parameter" if tensor.requires_grad and tensor.is_leaf else "constant"
            self.source(self._name(kind), kind, tensor)
        return self.made[id(tensor)]

    def _name(self, base: str) -> str:
        self.names[base] += 1
        return base if self.names[base] == 1 else f"{base}_{self.names[base]}"


def capture(fn: Callable[..., Any], *inputs: Any) -> Graph:
    """Run `fn` on the inputs and give the computational graph of what ran.

    The graph has `forward(*inputs)`, `backward()` returning the inputs' gradients, and
    `nodes_topologically_sorted()`, whose nodes have a forward and a backward of their own.
    Parameters stay live: a later change of theirs is seen by the next forward.

    Raises RuntimeError if an output of `fn` is not a tensor that it computed from operations.

    >>> import chainrule as cr
    >>> graph = cr.capture(lambda x, y, z: (x + y) * z, -2.0, 5.0, -4.0)
    >>> graph.forward()
    tensor(-12.0)
    >>> graph.backward()
    (tensor(-4.0), tensor(-4.0), tensor(3.0))
    """
    outer = state.TRACER.get()
    if outer is not None:
        for x in inputs:
            outer.leak(x, "capture()")
    recorder = _Recorder()
    leaves = [_leaf(x) for x in inputs]
    sources = [
        recorder.source(name, "input", leaf)
        for name, leaf in zip(_names(fn, len(leaves)), leaves, strict=True)
    ]
    token, grad = state.TRACER.set(recorder), state.GRAD.set(False)
    try:
        result = fn(*leaves)
    finally:
        state.TRACER.reset(token)
        state.GRAD.reset(grad)
    single = not isinstance(result, tuple | list)
    outputs = [result] if single else list(result)
    for y in outputs:
        if not isinstance(y, Tensor) or id(y) not in recorder.made:
            raise failure(
                "capture", "outputs that the function computed from operations on tensors",
                error=GraphError, output=y,
            )  # fmt: skip
    ends = [recorder.made[id(y)] for y in outputs]
    return Graph(_needed(recorder.nodes, sources, ends), sources, ends, single, recorder.random)


def _leaf(value: Any) -> Tensor:
    tensor = as_tensor(value)
    return Tensor(tensor.array, is_meta=tensor.is_meta)


def _replacement(node: GraphNode, value: Any) -> Array:
    """Give a new input's array in the dtype that was captured: the graph holds no other casts."""
    array, dtype = as_tensor(value).array, node._values[0].dtype
    if not np.can_cast(array.dtype, dtype, "same_kind"):
        raise failure(
            "graph.forward", f"{dtype} for the input {node.name!r}, as captured",
            error=KindError, hint="capture again with the other kind", value=array,
        )  # fmt: skip
    return array.astype(dtype, copy=False)


def _names(fn: Any, count: int) -> list[str]:
    """Name the inputs as the function names its arguments."""
    target = getattr(fn, "forward", fn)
    try:
        parameters = list(inspect.signature(target).parameters.values())
    except (TypeError, ValueError):
        parameters = []
    names = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    return [names[i] if i < len(names) else f"input_{i}" for i in range(count)]


def _needed(
    nodes: list[GraphNode], sources: list[GraphNode], ends: list[tuple[GraphNode, int]]
) -> list[GraphNode]:
    """Drop the gates whose values no output reads."""
    wanted = {id(node) for node in sources} | {id(node) for node, _ in ends}
    for node in reversed(nodes):
        if id(node) in wanted:
            wanted |= {id(n) for n in node.inputs}
    return [node for node in nodes if id(node) in wanted]
