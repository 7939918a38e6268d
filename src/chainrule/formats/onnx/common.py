"""What reading and writing ONNX share."""

from __future__ import annotations

from chainrule.errors import ChainruleError

OPSET = 18
"""The version of the operators that are written; https://onnx.ai/onnx/operators."""

BUFFERS = "chainrule.buffers"
"""Under this name a file's notes list the initializers that are buffers, as JSON."""


class UnsupportedOperator(ChainruleError, NotImplementedError):
    """Operators or settings that cannot be written or read, all of them listed."""
