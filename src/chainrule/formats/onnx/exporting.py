"""Writing a network as ONNX, from the graph that it captures."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx import helper

import chainrule.formats.onnx.operators_images  # noqa: F401 - fills the table
from chainrule.engine.capture import Graph
from chainrule.engine.creation import full
from chainrule.engine.detach import Detach
from chainrule.engine.gate import GraphNode
from chainrule.engine.op import Array
from chainrule.errors import KindError, ShapeError, expect, failure
from chainrule.formats.onnx.common import BUFFERS, OPSET, UnsupportedOperator
from chainrule.formats.onnx.files import finish
from chainrule.formats.onnx.operators import WRITERS
from chainrule.formats.onnx.writer import Call, Writer
from chainrule.nn.module import Module
from chainrule.nn.tracing import recorded
from chainrule.ops.arguments import int_tuple

BATCHES = (2, 3)
"""What differs between graphs captured at these sizes depends on the batch."""

IR_VERSION = 8  # of opset 18


def export(
    model: Module,
    input_size: Sequence[int],
    path: str | os.PathLike[str] | None = None,
    *,
    about: dict[str, Any] | None = None,
) -> onnx.ModelProto:
    """Write a network as ONNX of opset 18, in evaluation mode, for any size of the batch.

    `input_size` is one input's shape, (C, H, W) say.  The network is captured at two sizes of the
    batch, which shows what depends on it; nodes are named after the layers, and the initializers
    are the parameters and buffers, under their names.  `about` is kept as metadata.  With `path`
    the file is written, whole or not at all; weights of 2 GB and more, which one file of ONNX
    cannot hold, go into a file beside it, `path` with ".data" added.  Gives the model, checked by
    onnx.checker.

    Raises UnsupportedOperator, which lists all operations that ONNX lacks, ShapeError where what
    the network computes depends on the batch in another way, and GraphError where it depends on
    values, is random, or the network has no values yet.

    >>> import chainrule as cr
    >>> model = cr.onnx.export(cr.create_model("lenet5"), (1, 32, 32))
    >>> model.graph.node[0].name, model.graph.initializer[0].name
    ('conv1/Conv', 'conv1.weight')
    """
    if not isinstance(model, Module):
        raise failure("onnx.export", "a Module", error=KindError, model=type(model))
    size = int_tuple(input_size, "onnx.export input_size", bare=False)
    expect(all(n > 0 for n in size), "onnx.export", "sizes of at least 1", input_size=size)
    graphs = _captured(model, size)
    buffers = dict(model.named_buffers())
    names = {id(value.array): name for name, value in (*model.named_parameters(), *buffers.items())}
    exporter = _Exporter(graphs, names, model)
    found = exporter.model(type(model).__name__, size)
    written = exporter.writer.state
    kept = [name for name in written if name in buffers]
    notes = {"chainrule": json.dumps(about)} if about else {}
    notes |= {BUFFERS: json.dumps(kept)} if kept else {}
    helper.set_model_props(found, notes)
    return finish(found, written, path)


def _captured(model: Module, size: tuple[int, ...]) -> list[Graph]:
    """Give the network's graphs at both sizes of the batch."""
    inputs = [full((batch, *size), 0.5) for batch in BATCHES]
    return [recorded("onnx.export", model, [x]) for x in inputs]


class _Exporter:
    """Turns the two captured graphs into one of ONNX."""

    def __init__(self, graphs: list[Graph], names: dict[int, str], model: Module) -> None:
        self.first, self.second = (list(graph) for graph in graphs)
        self.graphs, self.names = graphs, names
        self.writer = Writer(BATCHES[0])
        self.known: dict[tuple[int, int], str] = {}  # a node's output's name
        self.live: set[int] = set()  # nodes that depend on the input
        self.layers = dict(model.named_modules())
        self.parameters = {id(p.array) for p in model.parameters()}
        self.learned: set[int] = set()  # nodes that depend on parameters alone

    def model(self, title: str, size: tuple[int, ...]) -> onnx.ModelProto:
        """Write all nodes, then the whole."""
        self._check_alike()
        (source,) = self.graphs[0].inputs
        self.known[id(source), 0] = "input"
        self.live.add(id(source))
        refused: dict[str, str] = {}
        for node, twin in zip(self.first, self.second, strict=True):
            if any(id(n) in self.live for n in node.inputs):
                self.live.add(id(node))
                self._write(node, twin, refused)
            elif node.op is None:
                if any(id(array) in self.parameters for array in node._values):
                    self.learned.add(id(node))
            elif any(id(n) in self.learned for n in node.inputs):
                self._write_learned(node, twin)
        if refused:
            listed = "; ".join(f"{what} ({where})" for what, where in refused.items())
            raise UnsupportedOperator(f"onnx.export: not in opset {OPSET}: {listed}")
        return self._whole(title, size)

    def _check_alike(self) -> None:
        kinds = [[type(node.op) for node in graph] for graph in (self.first, self.second)]
        if kinds[0] != kinds[1]:
            raise ShapeError("onnx.export: the network computes otherwise for another batch")

    def _write(self, node: GraphNode, twin: GraphNode, refused: dict[str, str]) -> None:
        where, op = node.layer or "the network", node.op
        assert op is not None  # a source reads nothing
        emit = WRITERS.get(type(op))
        if isinstance(op, Detach):
            self.known[id(node), 0] = self._name(node.edges[0], twin.edges[0])
            return
        if emit is None:
            refused.setdefault(str(op.name), f"in {where}")
            self._result(node, ["?"] * len(node.specs))
            return
        pairs = list(zip(node.edges, twin.edges, strict=True))
        call = Call(
            op=op,
            name=node.layer or str(op.name),
            inputs=[self._name(edge, other) for edge, other in pairs],
            shapes=[_shape(n, i) for n, i in node.edges],
            arrays=[None] * len(pairs),
            results=[_shape(node, i) for i in range(len(node.specs))],
            layer=self.layers.get(node.layer),
        )
        try:
            made = emit(self.writer, call)
        except NotImplementedError as error:
            refused.setdefault(str(error), f"in {where}")
            made = ["?"] * len(node.specs)
        self._result(node, [made] if isinstance(made, str) else made)

    def _write_learned(self, node: GraphNode, twin: GraphNode) -> None:
        """Write what is computed of parameters alone, so that readers can train them.

        What ONNX lacks is a constant here: its value, as for all else that no input reaches.
        """
        before, refused = len(self.writer.nodes), dict[str, str]()
        self._write(node, twin, refused)
        if refused:
            del self.writer.nodes[before:]
            for index in range(len(node.specs)):
                del self.known[id(node), index]
        else:
            self.learned.add(id(node))

    def _result(self, node: GraphNode, names: list[str]) -> None:
        for i, name in enumerate(names):
            self.known[id(node), i] = name

    def _name(self, edge: tuple[GraphNode, int], other: tuple[GraphNode, int]) -> str:
        """Name a value: a node's output, or a constant, which is added when it is first read."""
        node, index = edge
        if (id(node), index) not in self.known:
            array, twin = node._values[index], other[0]._values[other[1]]
            self.known[id(node), index] = self._constant(node, array, twin)
        return self.known[id(node), index]

    def _constant(self, node: GraphNode, array: Array, twin: Array) -> str:
        own = self.names.get(id(array))
        base = own or (f"{node.layer}/constant" if node.layer else "constant")
        if array.shape == twin.shape:
            if array is not twin and not np.array_equal(array, twin, equal_nan=True):
                raise self._depends(node)
            return self.writer.stored(array, own) if own else self.writer.constant(array, base)
        return self._repeated(node, array, twin, base)

    def _repeated(self, node: GraphNode, array: Array, twin: Array, base: str) -> str:
        """Write a constant that is the same for every image: one, expanded to the batch."""
        sizes = list(zip(array.shape, twin.shape, strict=False))
        differing = [axis for axis, (a, b) in enumerate(sizes) if a != b]
        if array.ndim != twin.ndim or len(differing) != 1:
            raise self._depends(node)
        (axis,) = differing
        one = array.take([0], axis)
        same = sizes[axis] == BATCHES and (array == one).all() and (twin == one).all()
        if not same:
            raise self._depends(node)
        w, call = self.writer, Call(None, base, [], [], [], [])
        size = w.add("Shape", ["input"], call, start=0, end=1)
        parts = [w.integers(n) for n in one.shape]
        parts[axis] = size
        target = w.add("Concat", parts, call, axis=0)
        return w.add("Expand", [w.constant(one, base), target], call)

    def _depends(self, node: GraphNode) -> ShapeError:
        where = f" in {node.layer}" if node.layer else ""
        return ShapeError(f"onnx.export: a constant{where} depends on the size of the batch")

    def _whole(self, title: str, size: tuple[int, ...]) -> onnx.ModelProto:
        w = self.writer
        outputs = []
        for k, (node, index) in enumerate(self.graphs[0]._outputs):
            name = "output" if len(self.graphs[0]._outputs) == 1 else f"output_{k}"
            w.nodes.append(
                helper.make_node("Identity", [self.known[id(node), index]], [name], name=name)
            )
            shape = _shape(node, index)
            outputs.append(_described(name, node.specs[index].dtype, shape))
        graph = helper.make_graph(
            w.nodes,
            title,
            [_described("input", np.dtype(np.float32), (BATCHES[0], *size))],
            outputs,
        )
        return helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid("", OPSET)],
            ir_version=IR_VERSION,
            producer_name="chainrule",
        )


def _shape(node: GraphNode, index: int) -> tuple[int, ...]:
    return tuple(int(n or 0) for n in node.specs[index].shape)


def _described(name: str, dtype: Any, shape: tuple[int, ...]) -> onnx.ValueInfoProto:
    """Describe an input or output whose first axis is free."""
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    free: list[str | int | None] = [*shape]
    if shape and shape[0] == BATCHES[0]:
        free[0] = "batch"
    info: onnx.ValueInfoProto = helper.make_tensor_value_info(name, kind, free)
    return info
