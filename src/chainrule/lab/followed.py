"""A picture on its way through a network and its gradient on the way back, layer by layer."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import numpy as np

from chainrule.engine.capture import Graph
from chainrule.engine.gate import GraphNode
from chainrule.engine.op import Array
from chainrule.engine.tensor import as_tensor
from chainrule.errors import DataError
from chainrule.inspection.circuits.arithmetic import Users
from chainrule.inspection.circuits.folding import folded
from chainrule.inspection.circuits.gates import Circuit, Gate, circuit_of
from chainrule.inspection.circuits.layout import LETTER, Layout
from chainrule.inspection.circuits.picture import Picture
from chainrule.inspection.circuits.signs import shaped
from chainrule.inspection.circuits.svg import label_spot
from chainrule.inspection.summary import Row, rows_of
from chainrule.lab.graphs import placed
from chainrule.lab.subjects import Subject
from chainrule.nn.module import Module
from chainrule.nn.tracing import trace
from chainrule.training.using import answers

INPUT = "input"
"""The key of the picture itself, as the network gets it."""

KEPT = 2
"""Pictures (and targets) of a network that stay followed."""

CLEAR = 30
"""Boxes up to which a graph is shown deeper if nothing is asked for."""

_MOST_BOXES = 1000


@dataclass(eq=False)
class Layer:
    """A row of the table: a layer, an operation between layers, or the picture.

    `key` names it in addresses.  `steps` are its operations with keys of their own, the last of
    which is the layer's.
    """

    key: str
    kind: str
    gate: Gate
    row: Row | None = None
    steps: list[tuple[str, Gate]] = field(default_factory=list)

    @property
    def size(self) -> str:
        """The shape of what it gives, without the axis of the batch."""
        shape = self.gate.shapes[0]
        return shaped(shape[1:] if len(shape) > 1 and shape[0] == 1 else shape)


class Answer(NamedTuple):
    """What a network says of a picture: one class's (label's, output's) score and probability."""

    number: int
    name: str
    score: float
    probability: float


@dataclass(eq=False)
class Followed:
    """A network that ran on a picture, with every value and the target's gradient by each."""

    x: Array
    circuit: Circuit
    layers: list[Layer]
    scores: Array
    target: int
    _pictures: dict[int, tuple[Picture, Layout]] = field(default_factory=dict)

    @cached_property
    def users(self) -> Users:
        """Who reads each value."""
        return self.circuit.users()

    @cached_property
    def gates(self) -> dict[str, Gate]:
        """Every gate that can be looked at, by its key."""
        return {key: gate for layer in self.layers for key, gate in layer.steps}

    @cached_property
    def keys(self) -> dict[int, str]:
        """The keys by the ids of gates."""
        return {id(gate): key for key, gate in self.gates.items()}

    @property
    def parameters(self) -> int:
        """Parameters of all layers."""
        return sum(layer.row.parameters for layer in self.layers if layer.row)

    @property
    def multiply_adds(self) -> int:
        """Multiply-adds of all layers."""
        return sum(layer.row.multiply_adds for layer in self.layers if layer.row)

    @cached_property
    def deepest(self) -> int:
        """How many names the longest path of a layer has."""
        return max((g.layer.count(".") + 1 for g in self.circuit.operations if g.layer), default=1)

    @cached_property
    def clear_depth(self) -> int:
        """The greatest depth at which the graph still has few boxes."""
        for depth in range(self.deepest, 1, -1):
            if len(folded(self.circuit, _MOST_BOXES, depth).boxes) <= CLEAR:
                return depth
        return 1

    def layer(self, key: str) -> Layer:
        """Give the layer to which a key belongs; DataError for an unknown one."""
        for layer in self.layers:
            if any(key == step for step, _ in layer.steps):
                return layer
        some = ", ".join(layer.key for layer in self.layers[:4])
        raise DataError(f"layer: expected one of this network's, such as {some}; got {key[:60]!r}")

    def drawn(self, depth: int) -> tuple[Picture, Layout]:
        """Give the graph's picture with layers cut at so many names, and where its boxes stand."""
        if depth not in self._pictures:
            picture = folded(self.circuit, _MOST_BOXES, depth)
            picture.boxes[-1].title = "output"
            layout = placed(picture)
            ends = [
                label_spot(route)[0] + LETTER * (len(link.above) + 2)
                for link, route in zip(picture.links, layout.routes, strict=True)
            ]
            layout.width = max(layout.width, *ends)  # labels stand to the right of the wires
            self._pictures[depth] = picture, layout
        return self._pictures[depth]

    def answers(self, subject: Subject, most: int = 5) -> list[Answer]:
        """List the likeliest classes; of a regression the first outputs, which have no chance."""
        task = subject.member.config.task
        chances = answers(self.scores[np.newaxis].astype(np.float64), task)[0]
        numbers = range(len(self.scores)) if task == "regression" else np.argsort(-chances)
        return [
            Answer(int(k), _name(subject, int(k)), float(self.scores[k]), float(chances[k]))
            for k in list(numbers)[:most]
        ]


def _name(subject: Subject, number: int) -> str:
    classes = subject.classes
    return classes[number] if number < len(classes) else str(number)


def followed(subject: Subject, picture: str, x: Array, target: int | None = None) -> Followed:
    """Run a network on a picture and walk back from the score of `target` (None: the likeliest).

    `x` (1, C, H, W) is the picture as the network sees it.  The last few are kept with the
    network.  Raises DataError for a class that the network does not have.
    """
    with subject.lock:
        kept: OrderedDict[tuple[str, int | None], Followed] = subject.kept.setdefault(
            "followed", OrderedDict()
        )
        found = kept.get((picture, target))
        if found is None:
            found = follow(subject.member.model, x, target)
            kept[picture, target] = kept[picture, found.target] = found
        for key in ((picture, target), (picture, found.target)):
            if key in kept:
                kept.move_to_end(key)
        while len({id(each) for each in kept.values()}) > KEPT:
            kept.popitem(last=False)
        return found


def follow(model: Module, x: Array, target: int | None = None) -> Followed:
    """Run a network on one picture (1, C, H, W), there and back; see `followed`."""
    graph = trace(model, as_tensor(x))
    names = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    circuit = circuit_of(graph, names)
    end = circuit.outputs[0]
    assert end.value is not None
    scores = np.asarray(end.value).reshape(-1)
    if target is None:
        target = int(np.nan_to_num(scores, nan=-np.inf).argmax())
    if not 0 <= target < len(scores):
        raise DataError(
            f"target: expected a class from 0 to {len(scores) - 1}; got {target}; the network has "
            f"{len(scores)} outputs"
        )
    seed = np.zeros(end.shape, end.value.dtype)
    seed.reshape(-1)[target] = 1
    _walk(graph, circuit, seed)
    return Followed(x, circuit, list(_layers(model, graph, circuit)), scores, target)


def _walk(graph: Graph, circuit: Circuit, seed: Array) -> None:
    """Note the gradient at every value; those of weights are left out, which take most memory."""
    found: dict[int, list[Array | None]] = {
        id(node): [None] * len(gate.shapes) for node, gate in _pairs(graph, circuit)
    }
    end, number = graph.ends[0]
    found[id(end)][number] = seed
    for node, gate in reversed(list(_pairs(graph, circuit))):
        gate.gradients = found[id(node)]
        needs = [source.kind in ("input", "operation") for source, _ in node.edges]
        if node.op is None or not any(needs) or all(g is None for g in gate.gradients):
            continue
        for (source, index), more in zip(node.edges, node.pull(gate.gradients, needs), strict=True):
            if more is not None:
                at = found[id(source)]
                before = at[index]
                at[index] = more if before is None else before + more


def _pairs(graph: Graph, circuit: Circuit) -> Iterator[tuple[GraphNode, Gate]]:
    return zip(graph, circuit.gates, strict=True)


def _layers(model: Module, graph: Graph, circuit: Circuit) -> Iterator[Layer]:
    """Name everything that can be looked at, each by a key of its own."""
    gates = {id(node): gate for node, gate in _pairs(graph, circuit)}
    source = gates[id(graph.inputs[0])]
    source.name = INPUT
    yield Layer(INPUT, "the picture", source, steps=[(INPUT, source)])
    taken = Counter([INPUT])
    for row, nodes in rows_of(model, graph):
        steps = []
        for node in nodes:
            assert node.op is not None
            whole = node is nodes[-1] and row.kind != node.op.name and row.layer
            own = row.layer if whole else ".".join(filter(None, (row.layer, node.op.name)))
            taken[own] += 1
            key = own if taken[own] == 1 else f"{own}:{taken[own]}"
            steps.append((key, gates[id(node)]))
        yield Layer(steps[-1][0], row.kind, steps[-1][1], row, steps)
