"""The table of a network: shapes, memory, parameters, multiply-adds, what each layer sees."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import prod
from typing import Any, NamedTuple

from chainrule.engine.capture import Graph
from chainrule.engine.creation import zeros
from chainrule.engine.gate import GraphNode
from chainrule.engine.op import Op
from chainrule.engine.state import no_grad
from chainrule.errors import KindError, failure
from chainrule.inspection import summary_text
from chainrule.inspection.costs import multiply_adds, new_values, windows
from chainrule.nn.conv_map import MapConvolution
from chainrule.nn.module import Module
from chainrule.nn.tracing import trace
from chainrule.ops.arguments import int_tuple


class Row(NamedTuple):
    """One layer, or one operation between layers.

    `values` are those that the forward keeps; a ReLU, dropout or reshaping, which can work in place
    or gives a view, keeps none.  `sees` is the receptive field, height and width in pixels, None
    for the whole image; `stride` how many pixels lie between two positions; `dropped` how many rows
    and columns of its input no window reaches.
    """

    layer: str
    kind: str
    shape: tuple[int, ...]
    values: int
    parameters: int
    multiply_adds: int
    sees: tuple[int, ...] | None
    stride: tuple[int, ...] | None
    dropped: tuple[int, ...]


class Summary:
    """What `summary` found: `rows`, totals, and `str()`, `json()`, `html()` of both.

    Counts are of the whole batch; `parameters` are the model's own, whether they ran or not, and
    `unused` names the modules whose parameters did not.
    """

    def __init__(
        self, model: Module, shape: tuple[int, ...], rows: list[Row], unused: dict[str, int]
    ) -> None:
        self.name = type(model).__name__
        self.input, self.rows, self.unused = shape, rows, unused
        counts = {id(p): p.numel() for p in model.parameters()}
        self.parameters = sum(counts.values())
        self.trainable = sum(p.numel() for p in model.parameters() if p.requires_grad)
        sizes = [p.numel() * p.dtype.itemsize for p in model.parameters()]
        self.parameter_bytes = sum(sizes)

    @property
    def multiply_adds(self) -> int:
        """Those of convolutions, dense layers and matrix products."""
        return sum(row.multiply_adds for row in self.rows)

    @property
    def forward_values(self) -> int:
        """The values that a forward keeps: the input and what each layer adds."""
        return prod(self.input) + sum(row.values for row in self.rows)

    @property
    def training_values(self) -> int:
        """The values of forward and backward: each has a gradient of its size."""
        return 2 * self.forward_values

    def totals(self) -> dict[str, Any]:
        """Give the totals by name, bytes of float32."""
        return {
            "parameters": self.parameters,
            "trainable_parameters": self.trainable,
            "parameter_bytes": self.parameter_bytes,
            "multiply_adds": self.multiply_adds,
            "forward_values": self.forward_values,
            "forward_bytes": 4 * self.forward_values,
            "training_values": self.training_values,
            "training_bytes": 4 * self.training_values,
            "unused_parameters": self.unused,
        }

    def as_dict(self) -> dict[str, Any]:
        """Give everything as plain dicts and lists."""
        rows = [row._asdict() for row in self.rows]
        return {"model": self.name, "input": self.input, "rows": rows, "totals": self.totals()}

    def json(self) -> str:
        """Write everything as JSON."""
        return summary_text.as_json(self.as_dict())

    def html(self) -> str:
        """Write a page with the table, which needs nothing beside it."""
        return summary_text.as_html(self.as_dict())

    def __str__(self) -> str:
        return summary_text.as_text(self.as_dict())

    __repr__ = __str__


def summary(
    model: Module, input_size: Sequence[int], batch_size: int = 1, dtype: Any = None
) -> Summary:
    """Tell what a network is made of: deck 003's table of VGG, for any network.

    `input_size` is one input's shape without the batch, (C, H, W) say.  The model runs in
    evaluation mode on device "meta", where shapes alone are computed: nothing is allocated, and no
    value changes.  Raises ShapeError where the input does not fit, with the layer.

    Each layer has its output's shape, the values it keeps, its parameters, multiply-adds (of
    convolutions, dense layers and matrix products), receptive field and stride, and the rows and
    columns that windows leave out because they do not fit.

    >>> import chainrule as cr
    >>> found = summary(cr.create_model("lenet5"), (1, 32, 32))
    >>> found.parameters, found.multiply_adds, found.rows[0].shape, found.rows[0].sees
    (61706, 416520, (1, 6, 28, 28), (5, 5))
    >>> with cr.device("meta"):
    ...     model = cr.create_model("vgg16")  # needs no memory
    >>> summary(model, (3, 224, 224)).forward_values
    15237608
    """
    if not isinstance(model, Module):
        raise failure("summary", "a Module", error=KindError, model=type(model))
    shape = (batch_size, *int_tuple(input_size, "summary input_size", bare=False))
    modes = [(module, module.training) for module in model.modules()]
    try:
        with no_grad():
            x = zeros(*shape, dtype=dtype, device="meta")
            graph = trace(model.eval(), x)
    finally:
        for module, training in modes:
            module.training = training
    table = _Table(model, graph)
    rows = [row for row, _ in table.rows()]
    return Summary(model, shape, rows, _unused(model, table.used))


def rows_of(model: Module, graph: Graph) -> list[tuple[Row, list[GraphNode]]]:
    """Give the table of a network that was traced: each row with the operations that it counts."""
    return _Table(model, graph).rows()


def _unused(model: Module, used: set[int]) -> dict[str, int]:
    """Count the parameters that did not run, by the module of the network that has them."""
    found: dict[str, int] = {}
    seen = set(used)
    for path, parameter in model.named_parameters():
        if id(parameter) not in seen:
            seen.add(id(parameter))
            top = path.split(".")[0]
            found[top] = found.get(top, 0) + parameter.numel()
    return found


class _Field(NamedTuple):
    """What a value's positions see of the input: extent and step an axis; None is all of it."""

    extents: tuple[int, ...] | None
    steps: tuple[int, ...] | None


class _Table:
    """Makes the rows of a traced graph."""

    def __init__(self, model: Module, graph: Graph) -> None:
        self.modules = dict(model.named_modules())
        self.leaves = {
            path for path, m in self.modules.items() if not any(True for _ in m.children())
        }
        self.graph = graph
        self.fields: dict[int, _Field] = {}
        self.used: set[int] = set()

    def rows(self) -> list[tuple[Row, list[GraphNode]]]:
        """Give the rows in the order in which they ran; `used` are then the parameters that did."""
        for node in self.graph.inputs:
            axes = len(node.specs[0].shape) - 2
            self.fields[id(node)] = _Field((1,) * axes, (1,) * axes)
        return [(self._row(gates), [node for _, node in gates]) for gates in self._groups()]

    def _groups(self) -> Iterator[list[tuple[Op, GraphNode]]]:
        """Give the operations of a layer without parts together, others alone."""
        group: list[tuple[Op, GraphNode]] = []
        layer = ""
        for op, node in self.graph.operations():
            if group and (node.layer != layer or layer not in self.leaves):
                yield group
                group = []
            group.append((op, node))
            layer = node.layer
        if group:
            yield group

    def _row(self, gates: list[tuple[Op, GraphNode]]) -> Row:
        op, last = gates[-1]
        nodes = [node for _, node in gates]
        parameters = self._parameters(nodes)
        products = 0
        dropped: tuple[int, ...] = ()
        for each, node in gates:
            inputs = [n.specs[i] for n, i in node.edges]
            products += multiply_adds(each, inputs, node.specs[0])
            dropped = self._look(each, node, inputs) or dropped
        leaf = last.layer in self.leaves
        module = self.modules[last.layer]
        if leaf and isinstance(module, MapConvolution):
            products = (
                module.weight.numel() * prod(last.specs[0].shape[2:]) * last.specs[0].shape[0]
            )
        first = nodes[0].inputs[0].specs[0]
        values = new_values(op, first, last.specs[0])
        kind = type(module).__name__ if leaf else str(op.name)
        field = self.fields[id(last)]
        shape = tuple(int(n or 0) for n in last.specs[0].shape)
        return Row(last.layer, kind, shape, values, parameters, products, *field, tuple(dropped))

    def _parameters(self, nodes: list[GraphNode]) -> int:
        """Count the parameters that these nodes are the first to read."""
        count = 0
        for node in nodes:
            for source in node.inputs:
                learned = source.tensor if source.kind == "parameter" else None
                if learned is not None and id(learned) not in self.used:
                    self.used.add(id(learned))
                    count += learned.numel()
        return count

    def _look(self, op: Op, node: GraphNode, inputs: list[Any]) -> tuple[int, ...]:
        """Follow what the node's positions see; give the rows and columns that it leaves out."""
        seen = [self.fields[id(n)] for n in node.inputs if id(n) in self.fields]
        field = _joined(seen)
        moves = windows(op, inputs, node.specs[0])
        dropped: tuple[int, ...] = ()
        if moves is None:
            field = _Field(None, None)
        elif moves and field.extents is not None and field.steps is not None:
            moves = moves[-len(field.extents) :]  # sequences are images of one row
            pairs = list(zip(moves, field.extents, field.steps, strict=False))
            extents = tuple(extent + (move.extent - 1) * step for move, extent, step in pairs)
            field = _Field(extents, tuple(move.stride * step for move, _, step in pairs))
            dropped = tuple(move.dropped for move in moves)
        self.fields[id(node)] = field
        return dropped


def _joined(fields: list[_Field]) -> _Field:
    """What a value sees that is made of several."""
    if not fields or any(field.extents is None for field in fields):
        return _Field(None, None) if fields else _Field((), ())
    longest = max(len(f.extents) for f in fields if f.extents is not None)
    whole = [f for f in fields if f.extents is not None and len(f.extents) == longest]
    extents = tuple(max(values) for values in zip(*[f.extents or () for f in whole], strict=True))
    steps = tuple(max(values) for values in zip(*[f.steps or () for f in whole], strict=True))
    return _Field(extents, steps)
