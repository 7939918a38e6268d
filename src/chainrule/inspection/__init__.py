"""Looking at networks: what they are made of, what they cost, how they train."""

from chainrule.inspection.findings import Finding, Limits
from chainrule.inspection.health import Monitor, monitor
from chainrule.inspection.history import Measurement
from chainrule.inspection.summary import Summary, summary

__all__ = ["Finding", "Limits", "Measurement", "Monitor", "Summary", "monitor", "summary"]
