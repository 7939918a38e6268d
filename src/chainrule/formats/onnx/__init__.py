"""ONNX: `cr.onnx.export(model, (3, 224, 224), "m.onnx")` and `cr.onnx.load("m.onnx")`.

It needs the package onnx: `pip install chainrule[onnx]`.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from chainrule.errors import ChainruleError

_ROOMS = {
    "export": "exporting",  # not of the function's name, which the module would hide
    "load": "loading",
    "OnnxModule": "module",
    "UnsupportedOperator": "common",
}

__all__ = ["OnnxModule", "UnsupportedOperator", "export", "load"]


def __getattr__(name: str) -> Any:
    """Load what needs the package onnx when it is first used."""
    if name not in _ROOMS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        module = import_module(f"chainrule.formats.onnx.{_ROOMS[name]}")
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] != "onnx":
            raise
        raise ChainruleError(
            "ONNX files need the package onnx: pip install 'chainrule[onnx]'"
        ) from error
    value = getattr(module, name)
    globals()[name] = value
    return value
