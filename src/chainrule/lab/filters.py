"""A layer's filters: the weights that each of its maps looks through, and the gradient by them."""

from __future__ import annotations

import numpy as np

from chainrule.engine.op import Array
from chainrule.inspection.circuits.gates import Gate
from chainrule.ops.conv import Conv
from chainrule.ops.linear import Linear
from chainrule.ops.shape import Flatten

COLOURS = 3


def filters(gate: Gate, backward: bool = False) -> Array | None:
    """Give a layer's filters (O, C, h, w), or the gradient of the target's score by them.

    A dense layer that reads an image's pixels has filters of the image's size.  None for layers
    without filters, and for a gradient where none arrives.
    """
    shape = _shape(gate)
    if shape is None:
        return None
    if not backward:
        value = gate.inputs[1].value
        return None if value is None else value.reshape(shape)
    if gate.pull is None or not gate.gradients or gate.gradients[0] is None:
        return None
    found = gate.pull(gate.gradients)[1]
    return None if found is None else np.asarray(found).reshape(shape)


def _shape(gate: Gate) -> tuple[int, ...] | None:
    if isinstance(gate.op, Conv) and len(gate.op.stride) == 2:
        return gate.inputs[1].shape
    if not isinstance(gate.op, Linear) or len(gate.inputs[1].shape) != 2:
        return None
    before = gate.inputs[0].gate
    if not isinstance(before.op, Flatten):
        return None
    source = before.inputs[0]
    if source.gate.kind != "input" or len(source.shape) != 4 or source.shape[1] not in (1, COLOURS):
        return None
    return (gate.inputs[1].shape[0], *source.shape[1:])
