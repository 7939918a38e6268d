"""The readers of ONNX's operators, one family a file; importing this room fills the table."""

from chainrule.formats.onnx.reading import (
    activations,
    arithmetic,
    constants,
    control,
    convolution,
    fused,
    indices,
    logic,
    loss,
    matrices,
    normalization,
    pooling,
    quantize,
    reduce,
    resizing,
    shapes,
)

__all__ = [
    "activations",
    "arithmetic",
    "constants",
    "control",
    "convolution",
    "fused",
    "indices",
    "logic",
    "loss",
    "matrices",
    "normalization",
    "pooling",
    "quantize",
    "reduce",
    "resizing",
    "shapes",
]
