"""Looking at networks: what they are made of and what they cost."""

from chainrule.inspection.regions import Regions, deep_bound, linear_regions, zaslavsky
from chainrule.inspection.summary import Summary, summary

__all__ = ["Regions", "Summary", "deep_bound", "linear_regions", "summary", "zaslavsky"]
