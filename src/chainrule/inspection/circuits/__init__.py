"""Circuits: computational graphs drawn and explained, with every value and every gradient."""

from chainrule.inspection.circuits.circuit import Circuit, Gate, Wire, circuit_of
from chainrule.inspection.circuits.draw import Drawing, circuit, draw
from chainrule.inspection.circuits.explain import explain
from chainrule.inspection.circuits.expression import circuit_of_expression, read_value

__all__ = [
    "Circuit",
    "Drawing",
    "Gate",
    "Wire",
    "circuit",
    "circuit_of",
    "circuit_of_expression",
    "draw",
    "explain",
    "read_value",
]
