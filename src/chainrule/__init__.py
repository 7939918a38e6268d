"""chainrule: deep learning for computer vision that shows every gradient.

This is the public face: names only.  Each is loaded from its room when it is first used, so
that importing the package costs little more than importing NumPy.
"""

from __future__ import annotations

import importlib
from typing import Any

from chainrule.engine.op import FUNCTIONS

__version__ = "0.1.0"

_ROOMS = (
    "data",
    "engine",
    "errors",
    "flat",
    "formats",
    "inference",
    "inspection",
    "models",
    "nn",
    "ops",
    "optim",
    "retrieval",
    "training",
)
_INNER = {"onnx": "chainrule.formats.onnx"}
"""Rooms within rooms."""

_ENGINE = {
    "chainrule.errors": "AnomalyError AxisError BackendError ChainruleError CheckpointError "
    "DataError GraphError KindError LabelError ShapeError UndefinedKindError",
    "chainrule.engine.capture": "capture Graph",
    "chainrule.engine.creation": "arange empty empty_like eye from_dlpack from_numpy full "
    "full_like linspace ones ones_like tensor zeros zeros_like",
    "chainrule.engine.device": "device",
    "chainrule.engine.drawing": "rand rand_like randint randn randn_like randperm",
    "chainrule.engine.dispatch": "current_backend use_backend",
    "chainrule.engine.function": "Function",
    "chainrule.engine.gradcheck": "gradcheck",
    "chainrule.engine.graph": "grad",
    "chainrule.engine.jacobian": "jacobian vjp",
    "chainrule.engine.random": "Generator initial_seed manual_seed",
    "chainrule.engine.state": "detect_anomaly enable_grad inference_mode is_grad_enabled "
    "is_inference_mode_enabled no_grad set_grad_enabled",
    "chainrule.engine.tensor": "Tensor",
    "chainrule.engine.threads": "get_num_threads set_num_threads",
    "chainrule.formats.torch_save": "save_torch",
    "chainrule.formats.weights": "load_weights save_weights",
    "chainrule.inference": "fuse",
    "chainrule.inspection.circuits": "draw explain",
    "chainrule.inspection.regions": "linear_regions",
    "chainrule.inspection.health": "monitor",
    "chainrule.inspection.summary": "summary",
    "chainrule.inspection.surface": "loss_surface",
    "chainrule.models.registry": "create_model",
    "chainrule.nn.module": "Module",
    "chainrule.ops": "linalg",
    "chainrule.ops.cast": "result_type",
}
_HOME = {name: room for room, names in _ENGINE.items() for name in names.split()}
_HOME |= {"as_tensor": "chainrule.engine.creation:asarray", "asarray": "chainrule.engine.creation"}
_DTYPES = {
    "float16", "float32", "float64", "int8", "int16", "int32", "int64",
    "uint8", "uint16", "uint32", "uint64",
}  # fmt: skip
_DTYPE_ALIASES = {
    "bool": "bool", "float": "float32", "double": "float64", "half": "float16",
    "short": "int16", "int": "int32", "long": "int64",
}  # fmt: skip


_METHODS_ONLY = {"backward"}


def _load_operations() -> None:
    """Load the rooms whose functions the tensors' operators look up."""
    importlib.import_module("chainrule.engine.graph")
    importlib.import_module("chainrule.ops")


FUNCTIONS.loader = _load_operations


def __getattr__(name: str) -> Any:
    value = _find(name)
    globals()[name] = value
    return value


def _find(name: str) -> Any:
    if name in _ROOMS:
        return importlib.import_module(f"chainrule.{name}")
    if name in _INNER:
        return importlib.import_module(_INNER[name])
    if name in _HOME:
        room, _, original = _HOME[name].partition(":")
        return getattr(importlib.import_module(room), original or name)
    if name in _DTYPES or name in _DTYPE_ALIASES:
        return importlib.import_module("numpy").dtype(_DTYPE_ALIASES.get(name, name))
    if not name.startswith("_"):
        importlib.import_module("chainrule.ops")
        if name in FUNCTIONS and name not in _METHODS_ONLY:
            return FUNCTIONS[name]
    raise AttributeError(f"module 'chainrule' has no attribute {name!r}")


def __dir__() -> list[str]:
    importlib.import_module("chainrule.ops")
    return sorted(
        {*globals(), *_ROOMS, *_INNER, *_HOME, *_DTYPES, *_DTYPE_ALIASES, *FUNCTIONS}
        - _METHODS_ONLY
    )
