"""Nodes of a file as the readers take them: attributes, versions, and what is not supported."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
from onnx import AttributeProto, GraphProto, NodeProto

from chainrule.engine.tensor import Tensor
from chainrule.errors import DataError
from chainrule.formats.onnx.checking import plain
from chainrule.formats.onnx.common import UnsupportedOperator
from chainrule.formats.onnx.reading.table import READERS, Node, Reader
from chainrule.formats.onnx.tensors import Store, Unreadable

Schema = onnx.defs.OpSchema
Kind = Schema.AttrType
KINDS: dict[Kind, int] = {
    Kind.FLOAT: AttributeProto.FLOAT,
    Kind.INT: AttributeProto.INT,
    Kind.STRING: AttributeProto.STRING,
    Kind.TENSOR: AttributeProto.TENSOR,
    Kind.GRAPH: AttributeProto.GRAPH,
    Kind.FLOATS: AttributeProto.FLOATS,
    Kind.INTS: AttributeProto.INTS,
    Kind.STRINGS: AttributeProto.STRINGS,
    Kind.SPARSE_TENSOR: AttributeProto.SPARSE_TENSOR,
    Kind.TYPE_PROTO: AttributeProto.TYPE_PROTO,
}
SHOWN = 3  # nodes named for each thing that is not supported


class Problems:
    """What is not supported, each with the nodes in which it was found."""

    def __init__(self) -> None:
        self._found: dict[str, list[str]] = {}

    def add(self, what: str, where: str) -> None:
        """Note one thing."""
        self._found.setdefault(what, []).append(where)

    def raise_all(self) -> None:
        """Raise UnsupportedOperator with all of them, if there are any."""
        if not self._found:
            return
        lines = []
        for what, where in self._found.items():
            shown = ", ".join(where[:SHOWN])
            rest = f" and {len(where) - SHOWN} more" if len(where) > SHOWN else ""
            lines.append(f"{what}, {len(where)} x: {shown}{rest}")
        raise UnsupportedOperator(f"onnx.load: not supported: {'; '.join(lines)}")


def find(node: NodeProto, opsets: dict[str, int]) -> tuple[Reader, Schema] | str:
    """Give a node's reader and its operator's description, or what is not supported."""
    domain = plain(node.domain)
    shown = f"{node.op_type} ({f'domain {domain}, ' if domain else ''}opset {opsets.get(domain)})"
    if domain not in opsets:
        raise DataError(
            f"onnx.load: node {node.name!r} is of the domain {domain!r}, which is not imported"
        )
    reader = None if domain else READERS.get(node.op_type)
    if reader is None:
        return shown
    try:
        schema = onnx.defs.get_schema(node.op_type, opsets[domain], domain)
    except onnx.defs.SchemaError:
        return f"{shown}, which has no such operator"
    if schema.since_version not in reader.since:
        known = ", ".join(map(str, sorted(reader.since)))
        return f"{shown}: its version {schema.since_version}; versions {known} are read"
    return reader, schema


def attributes(
    node: NodeProto, schema: Schema, store: Store, inner: Callable[[GraphProto], Any]
) -> tuple[dict[str, Any], list[str]]:
    """Give a node's attributes, with the defaults of those left out, and what is unknown.

    Raises DataError for what the operator's description does not allow.
    """
    where = f"onnx.load: node {node.name!r} ({node.op_type})"
    found: dict[str, Any] = {}
    unknown = []
    for given in node.attribute:
        known = schema.attributes.get(given.name)
        if known is None:
            unknown.append(f"attribute {given.name!r} of {node.op_type}")
            continue
        if given.type != KINDS.get(known.type) or given.ref_attr_name:
            raise DataError(f"{where}: attribute {given.name!r} is of the wrong kind")
        try:
            found[given.name] = _value(given, store, inner)
        except Unreadable as error:
            unknown.append(f"values of {error} in {node.op_type}")
        except UnicodeDecodeError as error:
            raise DataError(f"{where}: attribute {given.name!r} is no text") from error
    for name, known in schema.attributes.items():
        if name in found or any(given.name == name for given in node.attribute):
            continue
        if known.required:
            raise DataError(f"{where}: the attribute {name!r} is missing")
        if known.default_value.type != AttributeProto.UNDEFINED:
            found[name] = _value(known.default_value, store, inner)
    return found, unknown


def _value(given: AttributeProto, store: Store, inner: Callable[[GraphProto], Any]) -> Any:
    if given.type == AttributeProto.FLOAT:
        return shortest(given.f)
    if given.type == AttributeProto.INT:
        return int(given.i)
    if given.type == AttributeProto.STRING:
        return given.s.decode()
    if given.type == AttributeProto.TENSOR:
        return Tensor(store.array(given.t))
    if given.type == AttributeProto.GRAPH:
        return inner(given.g)
    if given.type == AttributeProto.FLOATS:
        return [shortest(value) for value in given.floats]
    if given.type == AttributeProto.INTS:
        return [int(value) for value in given.ints]
    if given.type == AttributeProto.STRINGS:
        return [value.decode() for value in given.strings]
    raise Unreadable(f"attribute {given.name!r}")


def shortest(value: float) -> float:
    """Give the number that was meant: 1e-05 for the float32 next to it, which a file holds.

    >>> shortest(9.999999747378752e-06)
    1e-05
    """
    return float(str(np.float32(value)))


def check_counts(node: NodeProto, schema: Schema) -> None:
    """Raise DataError for inputs or outputs that are too few, too many or left out."""
    where = f"onnx.load: node {node.name!r} ({node.op_type})"
    for what, count, low, high in (
        ("inputs", len(node.input), schema.min_input, schema.max_input),
        ("outputs", len(node.output), schema.min_output, schema.max_output),
    ):
        if not low <= count <= high:
            raise DataError(f"{where}: {count} {what}, expected {low} to {high}")
    single = Schema.FormalParameterOption.Single
    for name, formal in zip(node.input, schema.inputs, strict=False):
        if not name and formal.option == single:
            raise DataError(f"{where}: the input {formal.name!r} is left out")
    if not any(node.output):
        raise DataError(f"{where}: no output has a name")


def described(
    node: NodeProto,
    reader: Reader,
    schema: Schema,
    values: dict[str, Any],
    read: tuple[str, ...],
    owner: Any,
) -> tuple[Node, str | None]:
    """Make the reader's node, and give what its `check` finds not supported.

    `read` has the outputs' names, those that nobody reads left empty.
    """
    made = Node(
        kind=node.op_type,
        name=node.name or next(filter(None, node.output), ""),
        version=schema.since_version,
        attributes=values,
        wanted=tuple(map(bool, read)),
        owner=owner,
    )
    return made, reader.check(made) if reader.check is not None else None
