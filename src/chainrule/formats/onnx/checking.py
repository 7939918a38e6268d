"""What a model of ONNX must be before anything of it is built."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import onnx
from onnx import AttributeProto, GraphProto, ModelProto, NodeProto

from chainrule.errors import DataError
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
    """Raise DataError unless every value is made once, before it is read, and outputs are made."""
    where = f"onnx.load: graph {graph.name!r}"
    if depth > DEEPEST:
        raise DataError(f"{where}: more than {DEEPEST} graphs within each other")
    _check_texts(where, _texts(graph))
    stored = [one.name for one in graph.initializer]
    twice = {name for name in stored if stored.count(name) > 1} if len(set(stored)) < len(
        stored
    ) else set()  # fmt: skip
    given = [one.name for one in graph.input]
    if twice or len(set(given)) < len(given) or "" in given or "" in stored:
        raise DataError(f"{where}: inputs and initializers need names of their own {sorted(twice)}")
    made = {*stored, *given}
    every = {name for node in graph.node for name in node.output}
    for node in graph.node:
        _check_node(where, node, made | around, every)
        for name in node.output:
            if name and name in made:
                raise DataError(f"{where}: two values have the name {name!r}")
            made.add(name)
        made.discard("")
        inside = frozenset(made | around) if has_graphs(node) else frozenset()
        for inner in graphs_of(node):
            check_graph(inner, inside, depth + 1)
    lost = [one.name for one in graph.output if one.name not in made | around]
    if lost or not graph.output:
        raise DataError(
            f"{where}: no node makes the outputs {lost}" if lost else f"{where}: no outputs"
        )


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


def _check_node(
    where: str, node: NodeProto, known: set[str] | frozenset[str], every: set[str]
) -> None:
    for name in node.input:
        if name and name not in known:
            what = "made later, or in a circle" if name in every else "which nothing makes"
            raise DataError(f"{where}: node {node.name!r} ({node.op_type}) reads {name!r}, {what}")


def graphs_of(node: NodeProto) -> list[GraphProto]:
    """Give the graphs inside a node: If's branches, a loop's body."""
    found = [a.g for a in node.attribute if a.type == AttributeProto.GRAPH]
    return found + [g for a in node.attribute if a.type == AttributeProto.GRAPHS for g in a.graphs]


def has_graphs(node: NodeProto) -> bool:
    """Tell whether there are graphs inside a node."""
    return any(a.type in (AttributeProto.GRAPH, AttributeProto.GRAPHS) for a in node.attribute)
