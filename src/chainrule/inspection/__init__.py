"""Looking at networks: what they are made of and what they cost."""

from chainrule.inspection.summary import Summary, summary

__all__ = ["Summary", "summary"]
