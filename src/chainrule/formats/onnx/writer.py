"""A graph of ONNX in the making: nodes with names, constants, the batch's size."""

from __future__ import annotations

from collections import Counter
from typing import Any, NamedTuple

import numpy as np
from onnx import NodeProto, helper, numpy_helper

from chainrule.engine.op import Array


class Call(NamedTuple):
    """An operation as it ran: its node's name, its inputs' names and shapes, its outputs' shapes.

    `arrays` are the inputs' values where they are constants, else None; `layer` is the module.
    """

    op: Any
    name: str
    inputs: list[str]
    shapes: list[tuple[int, ...]]
    arrays: list[Array | None]
    results: list[tuple[int, ...]]
    layer: Any = None


class Writer:
    """Collects nodes and constants under names of their own."""

    def __init__(self, batch: int) -> None:
        self.batch = batch  # the size of the captured batch, which becomes free
        self.nodes: list[NodeProto] = []
        self.state: dict[str, Array] = {}  # parameters and buffers, the file's initializers
        self._names: Counter[str] = Counter()
        self._known: dict[tuple[Any, ...], str] = {}

    def unique(self, base: str) -> str:
        """Give a name that nobody has."""
        self._names[base] += 1
        return base if self._names[base] == 1 else f"{base}_{self._names[base]}"

    def add(self, kind: str, inputs: list[str], call: Call, **attributes: Any) -> str:
        """Add a node of ONNX with one output; give its name."""
        return self._add(kind, inputs, call, 1, attributes)[0]

    def split(self, inputs: list[str], call: Call, parts: int, axis: int) -> list[str]:
        """Add a Split; give its outputs' names."""
        return self._add("Split", inputs, call, parts, {"axis": axis})

    def _add(
        self, kind: str, inputs: list[str], call: Call, outputs: int, attributes: dict[str, Any]
    ) -> list[str]:
        name = self.unique(f"{call.name}/{kind}")
        names = [f"{name}_output_{i}" if outputs > 1 else f"{name}_output" for i in range(outputs)]
        self.nodes.append(helper.make_node(kind, inputs, names, name=name, **attributes))
        return names

    def stored(self, array: Array, name: str) -> str:
        """Add a parameter or buffer under its own name."""
        own = self.unique(name)
        self.state[own] = array
        return own

    def constant(self, array: Any, base: str = "constant") -> str:
        """Add a node for a constant, which readers do not train; small equal ones are kept once."""
        value = np.asarray(array)
        key = (value.dtype.str, value.shape, value.tobytes()) if value.size <= 64 else None
        if key is None or key not in self._known:
            name = self.unique(base)
            tensor = numpy_helper.from_array(np.ascontiguousarray(value).reshape(value.shape), name)
            self.nodes.append(
                helper.make_node("Constant", [], [name], name=f"{name}/Constant", value=tensor)
            )
            if key is None:
                return name
            self._known[key] = name
        return self._known[key]

    def integers(self, *values: int) -> str:
        """Add a constant list of whole numbers."""
        return self.constant(np.array(values, np.int64), "axes")

    def number(self, value: float, dtype: Any = np.float32) -> str:
        """Add a constant number."""
        return self.constant(np.array(value, dtype), "number")


def refuse(reason: str) -> NotImplementedError:
    """Say why an operation has no form in ONNX."""
    return NotImplementedError(reason)
