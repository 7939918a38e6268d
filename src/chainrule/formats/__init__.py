"""Files that outlive a program: weights in safetensors and PyTorch's form, whole or not at all."""

from chainrule.formats.atomic import write_atomic
from chainrule.formats.safetensors import load_safetensors, read_metadata, save_safetensors
from chainrule.formats.torch_files import load_torch
from chainrule.formats.torch_save import save_torch
from chainrule.formats.weights import Loaded, load_weights, read_weights, save_weights

__all__ = [
    "Loaded",
    "load_safetensors",
    "load_torch",
    "load_weights",
    "read_metadata",
    "read_weights",
    "save_safetensors",
    "save_torch",
    "save_weights",
    "write_atomic",
]
