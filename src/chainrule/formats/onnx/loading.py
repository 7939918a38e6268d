"""Reading a network from ONNX."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable

import onnx.inliner
from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto

import chainrule.formats.onnx.reading  # noqa: F401 - fills the table
from chainrule.engine.op import Array
from chainrule.engine.tensor import Tensor
from chainrule.errors import DataError
from chainrule.formats.onnx.checking import check_graph, graphs_of, ordered, parse, plain, versions
from chainrule.formats.onnx.common import BUFFERS
from chainrule.formats.onnx.module import Input, OnnxModule
from chainrule.formats.onnx.nodes import Problems, attributes, check_counts, described, find
from chainrule.formats.onnx.program import Program, Step, finish
from chainrule.formats.onnx.reading.table import READERS, Node, Reader
from chainrule.formats.onnx.tensors import DTYPES, Store, Unreadable, kind_name


def load(source: str | os.PathLike[str] | bytes | ModelProto) -> OnnxModule:
    """Read a network from a file of ONNX, its bytes, or the model itself; nothing in it is run.

    Opsets 7 and later.  Floating-point initializers become parameters under their names, of which
    dots make submodules; batch norm's statistics become buffers.  What is a setting (the bounds of
    Clip, the scales of Resize), what is no float and what stands in Constant nodes stays fixed.
    The network begins in evaluation mode; `train()` switches batch norm and dropout.  Values in
    files beside the model are mapped; only files of the model's own folder are read.

    Raises UnsupportedOperator, which lists every operator and setting that is not here, DataError
    for what is no model or a damaged one, and OSError for a file that is not there.

    >>> import chainrule as cr
    >>> net = cr.create_model("lenet5").eval()
    >>> again = cr.onnx.load(cr.onnx.export(net, (1, 32, 32)))
    >>> x = cr.rand(2, 1, 32, 32)
    >>> (again(x) == net(x)).all(), list(again.state_dict()) == list(net.state_dict())
    (tensor(True), True)
    """
    model, folder = parse(source)
    if model.functions:
        model = _inlined(model)
    opsets = versions(model)
    check_graph(model.graph)
    return _Builder(model, opsets, Store(folder)).module()


def _inlined(model: ModelProto) -> ModelProto:
    """Put the model's own functions in place of the nodes that call them."""
    calls = {
        (plain(function.domain), function.name): {
            (plain(node.domain), node.op_type) for node in function.node
        }
        for function in model.functions
    }
    open_ = dict(calls)
    while open_:
        done = [name for name, used in open_.items() if not used & open_.keys()]
        if not done:
            names = ", ".join(name for _, name in open_)
            raise DataError(f"onnx.load: the functions {names} call themselves")
        for name in done:
            del open_[name]
    try:
        return onnx.inliner.inline_local_functions(model)
    except (RuntimeError, ValueError) as error:
        raise DataError(f"onnx.load: its functions cannot be put in place: {error}") from error


class _Builder:
    """Makes the module of a checked model."""

    def __init__(self, model: ModelProto, opsets: dict[str, int], store: Store) -> None:
        self.model, self.opsets, self.store = model, opsets, store
        self.problems = Problems()
        self.metadata = {entry.key: entry.value for entry in model.metadata_props}
        self.buffers = _names(self.metadata.get(BUFFERS))
        self.roles: dict[str, set[str]] = {}  # how values are read: value, setting, statistic
        self.owner = OnnxModule([], [], self.metadata)
        self.stored: set[str] = set()  # values that stand in the file
        self.alias: dict[str, str] = {}
        self.floats: dict[str, Array] = {}  # those of them that state can be made of
        self.bound: set[str] = set()  # those that are parameters and buffers
        self.moved: set[str] = set()  # statistics that a node has for its own

    def module(self) -> OnnxModule:
        """Build everything, and raise what is not supported once all of it is known."""
        graph = self.model.graph
        stored = {one.name for one in graph.initializer}
        inputs = [self._input(one) for one in graph.input if one.name not in stored]
        outputs = [one.name for one in graph.output]
        self.owner = OnnxModule(inputs, outputs, self.metadata)
        self._note_roles(graph)
        program = self.program(graph)
        self.problems.raise_all()
        self.owner.program = program
        return self.owner.eval()

    def _input(self, given: ValueInfoProto) -> Input:
        kind = given.type.WhichOneof("value")
        if kind not in (None, "tensor_type"):
            self.problems.add(f"an input of the type {kind[:-5]}", given.name)
            return Input(given.name, None, None)
        described = given.type.tensor_type
        dtype = DTYPES.get(described.elem_type)
        if dtype is None and described.elem_type != TensorProto.UNDEFINED:
            self.problems.add(f"an input of {kind_name(described.elem_type)}", given.name)
        if not described.HasField("shape"):
            return Input(given.name, dtype, None)
        sizes = tuple(
            d.dim_value if d.HasField("dim_value") else d.dim_param for d in described.shape.dim
        )
        return Input(given.name, dtype, sizes)

    def _note_roles(self, graph: GraphProto) -> None:
        """Note for every name how it is read, in this graph and those inside it."""
        for one in graph.output:
            self.roles.setdefault(one.name, set()).add("value")
        for node in graph.node:
            reader = READERS.get(node.op_type)
            for place, name in enumerate(node.input):
                role = "value"
                if reader is not None and place in reader.settings:
                    role = "setting"
                elif reader is not None and place in reader.statistics:
                    role = "statistic"
                self.roles.setdefault(name, set()).add(role)
            for inner in graphs_of(node):
                self._note_roles(inner)
        for node in reversed(ordered(graph)):  # what reads an Identity reads its input
            if node.op_type == "Identity":
                self.roles[node.input[0]] |= self.roles.get(node.output[0], set())

    def program(self, graph: GraphProto) -> Program:
        """Make the program of a graph; those inside its nodes are made on the way."""
        return _Assembly(self, graph).run()


class _Assembly:
    """Makes the program of one graph."""

    def __init__(self, builder: _Builder, graph: GraphProto) -> None:
        self.builder, self.graph = builder, graph
        self.outputs = [one.name for one in graph.output]
        self.program = Program([], self.outputs, {}, {}, [], builder.owner)
        self.inner: list[Program] = []  # of the node that is being made

    def run(self) -> Program:
        """Take in what is stored, then the nodes in order."""
        stored = {one.name for one in self.graph.initializer}
        self.program.inputs = [one.name for one in self.graph.input if one.name not in stored]
        for one in self.graph.initializer:
            self._store(one)
        for sparse in self.graph.sparse_initializer:
            self.builder.problems.add("a sparse initializer", sparse.values.name)
        for node in ordered(self.graph):
            self._add(node)
        finish(self.program)
        return self.program

    def _store(self, one: TensorProto) -> None:
        if one.name not in self.builder.roles:
            return  # nobody reads it
        try:
            self._place(one.name, self.builder.store.array(one))
        except Unreadable as error:
            self.builder.problems.add(f"an initializer of {error}", one.name)

    def _place(self, name: str, array: Array) -> None:
        """Make a value of the file a parameter, a buffer or a constant."""
        roles = self.builder.roles.get(name, set())
        self.builder.stored.add(name)
        if name in self.builder.buffers:
            self._bind(name, name, array, learned=False)
        elif array.dtype.kind != "f" or roles <= {"setting"}:
            self.program.constants[name] = Tensor(array)
            return
        elif "value" in roles:
            self._bind(name, name, array, learned=True)
        self.builder.floats[name] = array  # statistics get buffers with the nodes that read them

    def _bind(self, name: str, wanted: str, array: Array, learned: bool) -> None:
        path = self.builder.owner.add_state(wanted, Tensor(array), learned)
        self.program.bound[name] = path
        self.builder.bound.add(name)

    def _statistic(self, name: str) -> str:
        """Give the value's name of a buffer that no other node moves."""
        builder = self.builder
        array = builder.floats.get(name)
        constant = self.program.constants.get(name)
        if array is None and constant is not None and constant.dtype.kind == "f":
            array = constant.array
        if array is None:
            return name  # computed, or an input
        own, count = name, 1
        while own in builder.moved or (own in builder.bound and name not in builder.buffers):
            count += 1
            own = f"{name}\0{count}"
        if own not in builder.bound:
            value = array if own == name else array.copy()
            self._bind(own, name if own == name else f"{name}_{count}", value, learned=False)
        builder.moved.add(own)
        return own

    # Nodes

    def _add(self, node: NodeProto) -> None:
        builder = self.builder
        where = node.name or (node.output[0] if node.output else "?")
        found = find(node, builder.opsets)
        if isinstance(found, str):
            builder.problems.add(found, where)
            for graph in graphs_of(node):
                builder.program(graph)  # for what is not supported in it
            return
        reader, schema = found
        check_counts(node, schema)
        if node.op_type == "Identity" and self._renamed(node):
            return
        self.inner = []
        node = self._decided(node)
        values, unknown = attributes(node, schema, builder.store, self._graph)
        read = tuple(name if name in builder.roles else "" for name in node.output)
        made, refused = described(node, reader, schema, values, read, builder.owner)
        for what in (*unknown, *([f"{node.op_type}: {refused}"] if refused else [])):
            builder.problems.add(what, where)
        if node.op_type == "Constant":
            if not unknown and not refused:
                builder.stored.add(node.output[0])
                self.program.constants[node.output[0]] = reader.run(made)
            return
        self.program.steps.append(self._step(node, made, reader))

    def _step(self, node: NodeProto, made: Node, reader: Reader) -> Step:
        inputs = [self.builder.alias.get(name, name) for name in node.input]
        made.constant = tuple(name in self.builder.stored for name in inputs)
        for place in reader.statistics:
            if place < len(inputs):
                inputs[place] = self._statistic(inputs[place])
        captures = frozenset(name for program in self.inner for name in program.free())
        read = tuple(name if name in self.builder.roles else "" for name in node.output)
        layer = self._layer(node, inputs)
        return Step(made, reader.run, tuple(inputs), read, captures, reader.scoped, layer)

    def _layer(self, node: NodeProto, inputs: Iterable[str]) -> str:
        """Give the path of the module that a node belongs to, by its parameters or its name."""
        paths = [self.program.bound[name] for name in inputs if name in self.program.bound]
        if paths:
            return paths[0].rpartition(".")[0]
        named = node.name.rpartition("/")[0]
        return named if named in self.builder.owner.groups else ""

    def _graph(self, graph: GraphProto) -> Program:
        outer, program = self.inner, self.builder.program(graph)
        self.inner = [*outer, program]
        return program

    def _decided(self, node: NodeProto) -> NodeProto:
        """Give an If whose condition stands in the file only the branch that is taken."""
        condition = self.program.constants.get(node.input[0]) if node.op_type == "If" else None
        if condition is None or condition.array.size != 1:
            return node
        name = "then_branch" if condition.item() else "else_branch"
        made = NodeProto()
        made.CopyFrom(node)
        taken = [one.g for one in node.attribute if one.name == name]
        for one in made.attribute:
            if taken and one.type == AttributeProto.GRAPH:
                one.g.CopyFrom(taken[0])
        return made

    def _renamed(self, node: NodeProto) -> bool:
        """Take an Identity of a stored value for another name of it, or for a value of its own.

        PyTorch writes equal parameters once, and Identity under each other one's name.
        """
        source, result = node.input[0], node.output[0]
        source = self.builder.alias.get(source, source)
        if source not in self.builder.stored or result in self.outputs:
            return False
        if source in self.builder.floats and "." in result:
            self._place(result, self.builder.floats[source].copy())
        else:
            self.builder.alias[result] = source
            self.builder.stored.add(result)
        return True


def _names(text: str | None) -> set[str]:
    """Read the list of buffers that our own files keep."""
    try:
        found = json.loads(text) if text else []
    except ValueError:
        return set()
    return {name for name in found if isinstance(name, str)} if isinstance(found, list) else set()
