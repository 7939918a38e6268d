"""Circuits: computational graphs drawn and explained, with every value and every gradient."""

from chainrule.inspection.circuits.drawings import Drawing, circuit, draw
from chainrule.inspection.circuits.explanations import explain
from chainrule.inspection.circuits.expression import (
    circuit_of_expression,
    read_value,
    read_values,
    split_values,
)
from chainrule.inspection.circuits.gates import Circuit, Gate, Wire, circuit_of

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
    "read_values",
    "split_values",
]
