"""How one number of a value is named, looked up and counted in explanations."""

from __future__ import annotations

from chainrule.engine.op import Array
from chainrule.errors import GraphError
from chainrule.inspection.circuits.gates import Wire
from chainrule.inspection.circuits.places import Index
from chainrule.inspection.circuits.signs import number

MOST_LINES = 60
"""Numbers that are written one by one."""


def at(name: str, index: Index) -> str:
    """Name one number: "x[0, 2]"; a value of one number by its name alone."""
    return f"{name}[{', '.join(map(str, index))}]" if index else name


def counted(count: int, one: str) -> str:
    """Write a count with its noun: "1 product", "1,000 products"."""
    return f"{count:,} {one}" if count == 1 else f"{count:,} {one}s"


def known(wire: Wire) -> Array:
    """Give a wire's values; GraphError where they were not kept."""
    if wire.value is None:
        raise GraphError(
            f"explain: the values of {wire.name} {wire.shape} are not known: only small ones are "
            "kept, and those that a variable of yours holds, and none that was written since; give "
            "it a name, or explain a graph: cr.capture(function, x) or nn.tracing.trace(model, x)"
        )
    return wire.value


def headline(end: Wire, place: Index, digits: int, value: float | None = None) -> str:
    """Begin an explanation: the number's name, and its value where it is known."""
    if value is None and end.value is not None:
        value = end.value[place].item()
    return at(end.name, place) + ("" if value is None else f" = {number(value, digits)}")


def no_gradient(end: Wire) -> str:
    """Say that whole numbers pass no gradient; nothing for others."""
    if end.value is None or end.value.dtype.kind == "f":
        return ""
    return f"backward: {end.name} is of {end.value.dtype}: no gradient passes"
