"""The readers of ONNX's operators, one family a file; importing this room fills the table."""

from chainrule.formats.onnx.reading import (
    activations,
    arithmetic,
    constants,
    convolution,
    fused,
    logic,
    matrices,
    normalization,
    pooling,
    reduce,
    resizing,
    shapes,
)

__all__ = [
    "activations",
    "arithmetic",
    "constants",
    "convolution",
    "fused",
    "logic",
    "matrices",
    "normalization",
    "pooling",
    "reduce",
    "resizing",
    "shapes",
]
