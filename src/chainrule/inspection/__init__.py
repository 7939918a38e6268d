"""Looking at networks: what they are made of, what they cost, how their numbers come about."""

from chainrule.inspection.circuits import Drawing, circuit, draw, explain
from chainrule.inspection.summary import Summary, summary

__all__ = ["Drawing", "Summary", "circuit", "draw", "explain", "summary"]
