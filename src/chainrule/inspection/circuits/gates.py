"""A computational graph as a circuit: gates, the values on their wires, and every gradient."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np

from chainrule.engine.capture import Graph
from chainrule.engine.gate import GraphNode
from chainrule.engine.node import SMALL, Node
from chainrule.engine.op import Array, Op
from chainrule.engine.tensor import Tensor
from chainrule.engine.written import arrays_in, written_since
from chainrule.errors import GraphError, KindError, failure
from chainrule.inspection.circuits.asking import checked_gradient, checked_names, checked_output

Kind = Literal["input", "parameter", "constant", "operation"]
Pull = Callable[[Sequence[Array | None]], Sequence[Array | None]]
"""From the gradients of a gate's values to those of its inputs, changing nothing."""

_KEEPERS = frozenset(("Conv", "ConvReLU", "ConvTranspose", "Linear", "Matmul"))
"""Operations that save their inputs as they are."""

SMALL_JACOBIAN = 16
"""Numbers on each side up to which local derivatives are computed."""


class Wire(NamedTuple):
    """One value of a gate, on its way to those that read it."""

    gate: Gate
    number: int

    @property
    def value(self) -> Array | None:
        """What is on the wire; None where it is not known."""
        return self.gate.values[self.number]

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the value, known always."""
        return self.gate.shapes[self.number]

    @property
    def gradient(self) -> Array | None:
        """Gradient of the output by the value; None where none arrived or it is not known."""
        return self.gate.gradients[self.number] if self.gate.gradients else None

    @property
    def name(self) -> str:
        """The gate's name; of a gate with several values the value's own, or with its number."""
        if len(self.gate.shapes) == 1:
            return self.gate.name
        own = self.gate.labels[self.number] if self.gate.labels else None
        return own or f"{self.gate.name}[{self.number}]"


@dataclass(eq=False, slots=True)  # large graphs have many
class Gate:
    """A source or an operation; `passed` is what it added to the gradient of each input.

    Both are empty before a backward.  `freed` says that an earlier one freed what this needs.
    """

    name: str
    kind: Kind
    op: Op | None
    inputs: list[Wire]
    values: list[Array | None]
    shapes: list[tuple[int, ...]]
    layer: str = ""
    pull: Pull | None = None
    freed: bool = False
    gradients: Sequence[Array | None] = ()
    passed: Sequence[Array | None] = ()
    labels: Sequence[str | None] = ()

    @property
    def wires(self) -> list[Wire]:
        """The gate's values."""
        return [Wire(self, index) for index in range(len(self.shapes))]


@dataclass(eq=False)
class Circuit:
    """Gates, each after those whose values it reads, and the wires that are looked at.

    Gradients are those of the output of number `chosen`; if `gathered`, what the graph's own
    backward has left, of all outputs together.
    """

    gates: list[Gate]
    outputs: list[Wire]
    chosen: int = 0
    gathered: bool = False

    @property
    def end(self) -> Wire:
        """The output whose gradients are asked for."""
        return self.outputs[self.chosen]

    @property
    def top(self) -> str:
        """What the gradients are of: the output's name, or "L" for several together."""
        return "L" if self.gathered and len(self.outputs) > 1 else self.end.name

    @property
    def whose(self) -> str:
        """Say of which output the gradients are, where there are several; else nothing."""
        if len(self.outputs) == 1:
            return ""
        names = ", ".join(wire.name for wire in self.outputs)
        if self.gathered:
            return f"gradients that the graph's backward left, from all outputs together: {names}"
        return (
            f"gradients of {self.end.name}, one of {len(self.outputs)} outputs: {names}; "
            "output= chooses"
        )

    @property
    def operations(self) -> Iterator[Gate]:
        """The gates that compute."""
        return (gate for gate in self.gates if gate.op is not None)

    @property
    def freed(self) -> bool:
        """Whether a gate has lost what its backward needs."""
        return any(gate.freed for gate in self.gates)

    def users(self) -> dict[tuple[int, int], list[tuple[Gate, int]]]:
        """Say who reads each wire: by (id of the gate, index), (reader, which of its inputs)."""
        found: dict[tuple[int, int], list[tuple[Gate, int]]] = {}
        for gate in self.gates:
            for place, wire in enumerate(gate.inputs):
                found.setdefault((id(wire.gate), wire.number), []).append((gate, place))
        return found

    def seed(self, gradient: Any = None) -> Array | None:
        """Give what arrives at the chosen output; None where nothing can."""
        end = self.end
        dtype = end.value.dtype if end.value is not None else np.dtype(np.float32)
        if gradient is not None:
            return checked_gradient(gradient, end.shape, dtype)
        single = dtype.kind == "f" and int(np.prod(end.shape)) == 1
        return np.ones(end.shape, dtype) if single else None

    def backward(self, gradient: Any = None) -> None:
        """Walk from the output to the sources and note every gradient; tensors stay as they are.

        `gradient` arrives at the chosen output: 1 for a single number if left out; with more
        numbers and none given nothing is noted, nor where an earlier backward freed what is
        needed: then the leaves show the gradients that they got.  Raises ShapeError for one of
        another shape, KindError for what is not made of numbers.
        """
        end, seed = self.end, self.seed(gradient)
        if seed is None or self.freed:
            return
        self.gathered = False
        found: dict[int, list[Array | None]] = {id(g): [None] * len(g.shapes) for g in self.gates}
        found[id(end.gate)][end.number] = seed
        for gate in reversed(self.gates):
            gate.gradients, gate.passed = found[id(gate)], [None] * len(gate.inputs)
            if gate.pull is None or all(g is None for g in gate.gradients):
                continue
            gate.passed = gate.pull(gate.gradients)
            for wire, more in zip(gate.inputs, gate.passed, strict=True):
                if more is not None:
                    at = found[id(wire.gate)]
                    before = at[wire.number]
                    at[wire.number] = more if before is None else before + more


def circuit_of(
    what: Any, names: Mapping[str, Tensor] | None = None, output: int | str | None = None
) -> Circuit:
    """Read a circuit from a tensor with its history, or from a captured graph.

    `names` calls tensors by a name.  `output` chooses one of a graph's outputs, by number or name:
    gradients are of that one, else of the first.  Raises KindError for anything else, AxisError
    for an output that there is not.

    >>> import chainrule as cr
    >>> x = cr.tensor(2.0, requires_grad=True)
    >>> circuit = circuit_of(x * x + 3 * x, {"x": x})
    >>> circuit.backward()
    >>> circuit.gates[0].name, circuit.gates[0].gradients[0].item()
    ('x', 7.0)
    """
    names = checked_names(names, "circuit") or {}
    if isinstance(what, Graph | Tensor):
        found = _of_graph(what, names) if isinstance(what, Graph) else _of_tensor(what, names)
        if output is not None:
            found.chosen = checked_output(output, [wire.name for wire in found.outputs])
        return found
    hint = "trace a network with chainrule.nn.tracing.trace(model, x)"
    rule = "a tensor or a graph that cr.capture gave"
    raise failure("circuit", rule, error=KindError, hint=hint, what=type(what))


def local_jacobian(gate: Gate, place: int) -> Array | None:
    """Compute a gate's derivative by one input, outputs x inputs; None where that is large.

    Row by row, by handing the gate's backward a gradient that is 1 in one place.
    """
    sizes = [int(np.prod(shape)) for shape in (*gate.shapes, gate.inputs[place].shape)]
    if gate.pull is None or len(gate.shapes) > 1 or max(sizes) > SMALL_JACOBIAN:
        return None
    value = gate.values[0]
    dtype = value.dtype if value is not None else np.dtype(np.float32)
    rows = []
    for k in range(sizes[0]):
        one = np.zeros(sizes[0], dtype)
        one[k] = 1
        row = gate.pull([one.reshape(gate.shapes[0])])[place]
        if row is None:
            return None
        rows.append(np.asarray(row).reshape(-1))
    return np.array(rows) if rows else None


def _of_graph(graph: Graph, names: Mapping[str, Tensor]) -> Circuit:
    gates: dict[int, Gate] = {}
    known = {id(tensor): name for name, tensor in names.items()}
    for node in graph:
        if not node.values:
            raise GraphError(f"circuit: {node.name!r} has no value yet; call graph.forward first")
        gates[id(node)] = Gate(
            known.get(id(node.tensor), node.name),
            node.kind,  # type: ignore[arg-type]
            node.op,
            [Wire(gates[id(source)], index) for source, index in node.edges],
            list(node.values),
            [array.shape for array in node.values],
            node.layer,
            _node_pull(node),
            gradients=list(node.gradients),
        )
    outputs = [Wire(gates[id(node)], index) for node, index in graph.ends]
    walked = any(g is not None for gate in gates.values() for g in gate.gradients)
    return Circuit(list(gates.values()), outputs, gathered=walked)


def _node_pull(node: GraphNode) -> Pull | None:
    return None if node.op is None else node.pull


def _of_tensor(tensor: Tensor, names: Mapping[str, Tensor]) -> Circuit:
    namer = _Namer(names, tensor)
    if tensor._node is None:
        gate = namer.source(tensor)
        return Circuit([gate], [Wire(gate, 0)])
    nodes = _behind(tensor._node)
    gates, made = list[Gate](), dict[int, Gate]()
    sources: dict[int, Gate] = {}
    for node in nodes:
        wires = []
        for edge, value in zip(node.edges, node.seen, strict=False):  # the outputs' come after
            if type(edge) is tuple:
                wires.append(Wire(made[id(edge[0])], edge[1]))
                continue
            key = id(edge) if edge is not None else id(value)
            if key not in sources:
                sources[key] = namer.constant(value) if edge is None else namer.source(edge)
                gates.append(sources[key])
            wires.append(Wire(sources[key], 0))
        _look_again(node, wires, namer)
        made[id(node)] = _gate(node, wires, namer)
        gates.append(made[id(node)])
    return Circuit(gates, [Wire(made[id(tensor._node)], tensor._index)])


def _behind(end: Node) -> list[Node]:
    """List the nodes behind one, in the order in which they ran."""
    seen, stack = {id(end): end}, [end]
    while stack:
        for edge in stack.pop().edges:
            if type(edge) is tuple and id(edge[0]) not in seen:
                seen[id(edge[0])] = edge[0]
                stack.append(edge[0])
    return sorted(seen.values(), key=lambda node: node.sequence)


def _look_again(node: Node, wires: list[Wire], namer: _Namer) -> None:
    """Forget sources' values that were written after the node read them; find what it saved.

    Products and sums of products keep their inputs for the backward, large ones too.
    """
    usable = not node.released and not written_since(node.saved, node.stamp)
    kept = list(arrays_in(node.saved)) if usable and type(node.op).__name__ in _KEEPERS else []
    for wire in wires:
        values = wire.gate.values
        if values[wire.number] is not None and written_since(values[wire.number], node.stamp):
            values[wire.number] = None
        elif values[wire.number] is None:
            found = {id(a): a for a in kept if a.shape == wire.shape and a.dtype.kind == "f"}
            if len(found) == 1:
                values[wire.number] = next(iter(found.values()))
                if wire.gate.kind == "constant":
                    namer.recognise(wire.gate)


def _gate(node: Node, wires: list[Wire], namer: _Namer) -> Gate:
    outputs = node.seen[len(node.edges) :]
    known = [namer.held.get((id(node), k), value) for k, value in enumerate(outputs)]
    values = [_as_it_was(value, node.stamp) for value in known]
    shapes = [spec.shape for spec in node.specs]

    def pull(gys: Sequence[Array | None]) -> Sequence[Array | None]:
        found: Sequence[Array | None] = node.kernel.backward(
            node.op, node.saved, tuple(gys) if len(gys) > 1 else gys[0], node.needs
        )
        return found

    usable = not node.released and not written_since(node.saved, node.stamp)
    return Gate(
        namer.of_node(node),
        "operation",
        node.op,
        wires,
        values,
        shapes,
        pull=pull if usable else None,
        freed=not usable,
        labels=[namer.nodes.get((id(node), k)) for k in range(len(shapes))],
    )


def _as_it_was(value: Any, stamp: int) -> Array | None:
    """Give a value that was kept, None for a shape and for what was written since."""
    return value if isinstance(value, np.ndarray) and not written_since(value, stamp) else None


class _Namer:
    """Gives every gate a name of its own: the caller's, or the kind's with a number.

    `held` are the values of the tensors that the caller still has, large ones too.
    """

    def __init__(self, names: Mapping[str, Tensor], end: Tensor) -> None:
        self.held = {
            (id(t._node), t._index): t.array
            for t in (*names.values(), end)
            if t._node is not None and not t.is_meta
        }
        self.tensors = {id(t): name for name, t in names.items() if t._node is None}
        self.arrays = {id(t.array): name for name, t in names.items() if not t.is_meta}
        self.nodes = {
            (id(t._node), t._index): name for name, t in names.items() if t._node is not None
        }
        self.plain = {
            name: t.array
            for name, t in names.items()
            if not (t.requires_grad or t.is_meta) and t.array.size > SMALL
        }
        self.taken = set(names)
        self.counts: Counter[str] = Counter()

    def source(self, leaf: Tensor) -> Gate:
        kind: Kind = "input" if leaf.requires_grad else "constant"
        name = self.tensors.get(id(leaf)) or self.fresh("w" if leaf.requires_grad else "c")
        grad = None if leaf.grad is None else leaf.grad.array
        array = None if leaf.is_meta else leaf.array
        return Gate(name, kind, None, [], [array], [tuple(leaf.shape)], gradients=[grad])

    def constant(self, value: Any) -> Gate:
        """Make a gate of an array, or of the shape of one that was not kept."""
        name = self.arrays.get(id(value)) or self.fresh("c")
        if isinstance(value, tuple):
            return Gate(name, "constant", None, [], [None], [value])
        return Gate(name, "constant", None, [], [value], [value.shape])

    def recognise(self, gate: Gate) -> None:
        """Name a large constant after the caller's tensor of the same numbers, if it is one."""
        value = gate.values[0]
        assert value is not None
        same = [name for name, array in self.plain.items() if array.shape == value.shape
                and array.dtype == value.dtype and np.array_equal(array, value)]  # fmt: skip
        if len(same) == 1:
            gate.name = same[0]

    def of_node(self, node: Node) -> str:
        name = self.nodes.get((id(node), 0)) if len(node.specs) == 1 else None
        return name or self.fresh("q")

    def fresh(self, base: str) -> str:
        while True:
            self.counts[base] += 1
            name = f"{base}{self.counts[base]}"
            if name not in self.taken:
                return name
