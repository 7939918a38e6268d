"""Files that outlive a program: weights in safetensors, written whole or not at all."""

from chainrule.formats.atomic import write_atomic
from chainrule.formats.safetensors import load_safetensors, read_metadata, save_safetensors

__all__ = ["load_safetensors", "read_metadata", "save_safetensors", "write_atomic"]
