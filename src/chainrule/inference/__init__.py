"""Networks made ready for use: `cr.fuse(model)`."""

from chainrule.inference.fuse import Fused, fuse

__all__ = ["Fused", "fuse"]
