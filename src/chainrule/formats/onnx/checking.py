"""What a model of ONNX must be before anything of it is built."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import onnx
from onnx import AttributeProto, GraphProto, ModelProto, NodeProto

from chainrule.errors import DataError, KindError, failure
from chainrule.formats.onnx.common import UnsupportedOperator

OLDEST = 7
"""The first version of the operators that is read; before it broadcasting was another."""

DEEPEST = 20  # graphs within graphs


def parse(source: str | os.PathLike[str] | bytes | ModelProto) -> tuple[ModelProto, Path | None]:
    """Give the model, and the folder in which its file is.  DataError if it is none."""
    if isinstance(source, ModelProto):
        return source, None
    if isinstance(source, bytes | bytearray | memoryview):
        return _decoded("the bytes given", bytes(source)), None
    if not isinstance(source, str | os.PathLike):
        rule = "a path, the bytes of a file, or a ModelProto"
        raise failure("onnx.load", rule, error=KindError, source=type(source))
    path = Path(source)
    if path.is_dir():
        raise DataError(f"{path}: a folder; give the file model.onnx in it")
    return _decoded(str(path), path.read_bytes()), path.parent


def _decoded(what: str, data: bytes) -> ModelProto:
    if not data:
        raise DataError(f"{what}: empty, not a model of ONNX")
    if data.startswith(b"version https://git-lfs"):
        raise DataError(f"{what}: a pointer of git-lfs, not the model: run git lfs pull")
    model = ModelProto()
    try:
        model.ParseFromString(data)
    except Exception as error:  # the parser's own class, which differs between its versions
        raise DataError(f"{what}: not a model of ONNX, or one that was cut off") from error
    if not model.HasField("graph") or not (model.graph.node or model.graph.output):
        raise DataError(f"{what}: not a model of ONNX: there is no graph in it")
    return model


def plain(domain: str) -> str:
    """Give a domain's one name: ONNX's own has two."""
    return "" if domain == "ai.onnx" else domain


def versions(model: ModelProto) -> dict[str, int]:
    """Give the version of each domain's operators; UnsupportedOperator for what is too old or new.

    A model without any is of the first.
    """
    notes = [text for entry in model.metadata_props for text in (entry.key, entry.value)]
    _check_texts("onnx.load", [*(entry.domain for entry in model.opset_import), *notes])
    found = {plain(entry.domain): int(entry.version) for entry in model.opset_import}
    opset = found.setdefault("", 1) if not found else found.get("", OLDEST)
    newest = onnx.defs.onnx_opset_version()
    if opset < OLDEST:
        raise UnsupportedOperator(
            f"onnx.load: opset {opset}; {OLDEST} and later are read: convert it by "
            f"onnx.version_converter"
        )
    if opset > newest:
        raise UnsupportedOperator(
            f"onnx.load: opset {opset}; the installed onnx {onnx.__version__} knows {newest}: "
            "update it"
        )
    return found


def check_graph(graph: GraphProto, around: frozenset[str] = frozenset(), depth: int = 0) -> None:
    """Raise DataError unless every value is made once and what is read is made by something else.

    Nodes need not be in order, as the standard wants them: converters add theirs at the end.
    """
    where = f"onnx.load: graph {graph.name!r}"
    if depth > DEEPEST:
        raise DataError(f"{where}: more than {DEEPEST} graphs within each other")
    _check_texts(where, _texts(graph))
    given = [one.name for one in graph.input]
    stored = [one.name for one in graph.initializer]
    for names in (given, stored):
        if len(set(names)) < len(names) or "" in names:
            raise DataError(f"{where}: inputs and initializers need names of their own")
    made = {*stored, *given}
    for name in (name for node in graph.node for name in node.output if name):
        if name in made:
            raise DataError(f"{where}: two values have the name {name!r}")
        made.add(name)
    known = made | around
    for node in graph.node:
        for name in node.input:
            if name and name not in known:
                what = f"node {node.name!r} ({node.op_type})"
                raise DataError(f"{where}: {what} reads {name!r}, which nothing makes")
        for inner in graphs_of(node):
            check_graph(inner, frozenset(known), depth + 1)
    ordered(graph)
    lost = [one.name for one in graph.output if one.name not in known]
    if lost or not graph.output:
        what = f"no node makes the outputs {lost}" if lost else "no outputs"
        raise DataError(f"{where}: {what}")


def ordered(graph: GraphProto) -> list[NodeProto]:
    """Give the nodes so that each comes after those whose results it reads.

    Raises DataError where nodes read each other in a circle.
    """
    nodes = list(graph.node)
    makers = {name: i for i, node in enumerate(nodes) for name in node.output if name}
    before = [{makers[name] for name in _reads(node) if name in makers} for node in nodes]
    if all(max(earlier, default=-1) < i for i, earlier in enumerate(before)):
        return nodes
    try:
        order = list(TopologicalSorter(dict(enumerate(before))).static_order())
    except CycleError as error:
        names = ", ".join(repr(nodes[i].name or nodes[i].op_type) for i in error.args[1])
        raise DataError(
            f"onnx.load: graph {graph.name!r}: nodes read each other in a circle: {names}"
        ) from error
    return [nodes[i] for i in order]


def _reads(node: NodeProto) -> set[str]:
    """Name what a node reads, and what the graphs inside it read from around them."""
    found = set(node.input)
    for graph in graphs_of(node):
        own = {one.name for one in (*graph.input, *graph.initializer)}
        own |= {name for inner in graph.node for name in inner.output}
        read = {name for inner in graph.node for name in _reads(inner)}
        found |= (read | {one.name for one in graph.output}) - own
    return found - {""}


def _texts(graph: GraphProto) -> Iterator[object]:
    """Give all names in a graph, but those of the graphs inside it."""
    for value in (*graph.input, *graph.output):
        yield value.name
        yield from (size.dim_param for size in value.type.tensor_type.shape.dim)
    for stored in graph.initializer:
        yield stored.name
        yield from (text for entry in stored.external_data for text in (entry.key, entry.value))
    for node in graph.node:
        yield from (*node.input, *node.output, node.name, node.op_type, node.domain)
        for attribute in node.attribute:
            yield from (attribute.name, attribute.ref_attr_name)


def _check_texts(where: str, texts: Iterable[object]) -> None:
    """Refuse names that are no text: the parser hands on what is not UTF-8 as bytes."""
    for text in texts:
        if not isinstance(text, str):
            raise DataError(f"{where}: a name is no text: {text!r}")


def graphs_of(node: NodeProto) -> list[GraphProto]:
    """Give the graphs inside a node: If's branches, a loop's body."""
    found = [a.g for a in node.attribute if a.type == AttributeProto.GRAPH]
    return found + [g for a in node.attribute if a.type == AttributeProto.GRAPHS for g in a.graphs]
