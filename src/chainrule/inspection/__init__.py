"""Looking at networks: what they are made of, what they cost, how they bend and learn."""

from chainrule.inspection.regions import Regions, deep_bound, linear_regions, zaslavsky
from chainrule.inspection.summary import Summary, summary
from chainrule.inspection.surface import SURFACES, Race, Surface, loss_surface

__all__ = [
    "SURFACES",
    "Race",
    "Regions",
    "Summary",
    "Surface",
    "deep_bound",
    "linear_regions",
    "loss_surface",
    "summary",
    "zaslavsky",
]
