"""`draw`: the computational graph behind a value as a picture, and `circuit` for expressions."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from types import FrameType
from typing import Any

from chainrule.engine.tensor import Tensor
from chainrule.errors import DataError, KindError, expect, failure
from chainrule.formats.atomic import write_atomic
from chainrule.inspection.circuits.asking import checked_digits, checked_names, checked_values
from chainrule.inspection.circuits.dot import dot_of
from chainrule.inspection.circuits.expression import circuit_of_expression
from chainrule.inspection.circuits.folding import folded
from chainrule.inspection.circuits.gates import Circuit, circuit_of
from chainrule.inspection.circuits.image import png_of
from chainrule.inspection.circuits.layout import arranged
from chainrule.inspection.circuits.picture import whole
from chainrule.inspection.circuits.steps import text_of
from chainrule.inspection.circuits.svg import svg_of
from chainrule.nn.module import Module
from chainrule.nn.tracing import trace
from chainrule.ops.arguments import integer

MOST = 60
"""Gates up to which each is drawn; more are folded to as many groups at most."""

MOST_BOXES = 1000
"""The most that can be drawn one by one: beyond it neither layout nor reader keeps up."""

_ENDINGS = (".svg", ".png", ".dot", ".gv")


class Drawing:
    """A drawn circuit: shown by Jupyter as a picture, by `print` as text, saved by `save`.

    `circuit` has the gates with values and gradients.
    """

    def __init__(
        self, circuit: Circuit, title: str, most: int, depth: int | None, digits: int
    ) -> None:
        self.circuit, self.title, self.digits = circuit, title, digits
        self.folded = depth is not None or len(circuit.gates) > most
        if self.folded:
            self._picture = folded(circuit, most, depth)
        else:
            self._picture = whole(circuit, digits)
        self._layout = arranged(self._picture)

    @property
    def svg(self) -> str:
        """The picture as SVG, an XML document that needs nothing else."""
        return svg_of(self._picture, self._layout, self.title)

    @property
    def dot(self) -> str:
        """The picture in Graphviz's language."""
        return dot_of(self._picture, self.title)

    @property
    def png(self) -> bytes:
        """The picture as PNG; raises DataError without matplotlib (extra `demo`)."""
        return png_of(self._picture, self._layout)

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write a file whose name ends in .svg, .png, .dot or .gv.

        Raises DataError for other endings, KindError for what is no path.
        """
        if not isinstance(path, str | os.PathLike):
            raise failure("save", "the path of a file", error=KindError, path=path)
        target = Path(path)
        ending = target.suffix.lower()
        if ending not in _ENDINGS:
            raise DataError(f"{target}: expected a name that ends in {', '.join(_ENDINGS)}")
        if ending == ".png":
            write_atomic(target, self.png)
        else:
            write_atomic(target, self.svg if ending == ".svg" else self.dot)
        return target

    def _repr_svg_(self) -> str:
        return self.svg

    def __str__(self) -> str:
        if self.folded:
            boxes = [" - ".join((box.title, *box.lines)) for box in self._picture.boxes]
            return "\n".join(boxes)
        return text_of(self.circuit, self.digits)

    def __repr__(self) -> str:
        kind = "folded, " if self.folded else ""
        return f"<Drawing of {len(self.circuit.gates):,} gates, {kind}str() shows the steps>"


def draw(
    what: Any,
    *inputs: Any,
    gradient: Any = None,
    names: Mapping[str, Tensor] | None = None,
    most: int = MOST,
    depth: int | None = None,
    digits: int = 4,
    output: int | str | None = None,
) -> Drawing:
    """Draw the graph behind a tensor, a captured graph, or a network on `inputs`.

    Values stand above the wires, gradients of the output below them, each gate's derivative by
    its input where the wire ends; where a value is read several times the box says the sum.  The
    gradients are computed for the picture alone, from 1 or from `gradient`; tensors keep theirs.
    After a backward that freed the graph only the leaves' own gradients are known.  A graph of
    several outputs shows the gradients of the first, or of the one that `output` names (its number
    or its name), and says so; if the graph's own backward has run, what that left.

    `names` calls tensors by name; else the variables of the caller are looked through.  More than
    `most` gates are folded, by layers where the graph knows them; `depth` cuts their names.  A
    folded picture shows shapes and no gradients; what stands side by side is joined where it is
    more than a row holds, and so are inputs.

    Raises KindError for other things, ShapeError for a gradient of another shape, AxisError for an
    output that there is not.

    >>> import chainrule as cr
    >>> x, y, z = [cr.tensor(v, requires_grad=True) for v in (-2.0, 5.0, -4.0)]
    >>> f = (x + y) * z
    >>> print(str(cr.draw(f)).splitlines()[-1])
    df/dz = 3
    """
    if isinstance(what, Module):
        if not inputs:
            rule = "a network's inputs after it: draw(model, x)"
            raise failure("draw", rule, error=KindError, what=type(what))
        title = type(what).__name__
        names = {**dict(what.named_parameters()), **(names or {})}
        what = trace(what, *inputs)
    elif inputs:
        raise failure("draw", "inputs after a network alone", error=KindError, what=type(what))
    else:
        title = "circuit"
    digits, names = checked_digits(digits, "draw"), checked_names(names, "draw")
    if isinstance(what, Tensor) and names is None:
        names = names_of(sys._getframe(1))
    most, depth = _bounds(most, depth)
    circuit = circuit_of(what, names, output)
    shown = depth is None and len(circuit.gates) <= most  # folded boxes show no gradients
    asked = gradient is not None or output is not None
    if shown and (asked or not circuit.gathered):
        circuit.backward(gradient)
    elif gradient is not None:
        circuit.seed(gradient)  # refused if it does not fit
    return Drawing(circuit, title, most, depth, digits)


def _bounds(most: Any, depth: Any) -> tuple[int, int | None]:
    rule = f"most from 1 to {MOST_BOXES:,}"
    most = integer(most, "draw", "most, a whole number of gates")
    expect(1 <= most <= MOST_BOXES, "draw", rule, most=most)
    if depth is not None:
        depth = integer(depth, "draw", "depth, a whole number of names of layers")
        expect(depth >= 1, "draw", "a depth of at least 1", depth=depth)
    return most, depth


def circuit(
    expression: str, values: Mapping[str, Any] | None = None, /, *, digits: int = 4, **more: Any
) -> Drawing:
    """Draw the circuit of an expression, as `chainrule circuit` does.

    Values are given by name, or in a mapping, where a name may be anything.

    See `circuit_of_expression` for what may be written and what is raised; KindError for what is no
    text, no mapping or no number of digits.

    >>> print(circuit("w * x + b", w=2, x=3, b=1))  # doctest: +ELLIPSIS
    forward
    w = 2
    ...
    """
    digits = checked_digits(digits, "circuit")
    found = circuit_of_expression(expression, checked_values(values, more))
    return Drawing(found, expression, MOST, None, digits)


def names_of(frame: FrameType) -> dict[str, Tensor]:
    """Find the tensors among the variables that a frame sees."""
    found = {**frame.f_globals, **frame.f_locals}
    return {
        name: value
        for name, value in found.items()
        if isinstance(value, Tensor) and not name.startswith("_")
    }
