"""Sums of two values and ReLU, where no product takes them in."""

from __future__ import annotations

from math import prod

from chainrule.backends.onednn import constants as c
from chainrule.backends.onednn.inference.builder import LAST, Builder, Place, compiles
from chainrule.backends.onednn.primitives import Primitive, describe, plain
from chainrule.backends.onednn.runtime import planned_for, runtime, work
from chainrule.engine.program import Step
from chainrule.ops.activation import ReLU
from chainrule.ops.elementwise import Add
from chainrule.ops.fused import AddReLU


@compiles(Add, AddReLU)
def total(b: Builder, step: Step) -> bool:
    """Write the sum of two values of one shape, and its ReLU."""
    first, second = step.inputs
    if b.shape(first) != b.shape(second):
        return False
    value, after = step.outputs[0], b.following(step.outputs[0], ReLU)
    if after is not None:
        value = after.outputs[0]
        b.take(after)
    places = [b.place(v) for v in (first, second)]
    layout = LAST if any(p.layout == LAST for p in places) else places[0].layout
    one, other = b.read(first, layout), b.read(second, layout)
    relu = after is not None or type(step.op) is AddReLU
    add(b, one, other, b.result(value, layout), relu)
    return True


def add(b: Builder, first: Place, second: Place, y: Place, relu: bool) -> None:
    """Write y = first + second, which lie alike, and its ReLU."""
    flat = plain((prod(y.shape),))
    with planned_for(work(3 * prod(y.shape))):
        found = describe(
            "binary", runtime().engine, c.BINARY_ADD, flat, flat, flat, relu=relu, slow=True
        )
        assert found is not None
        built = Primitive(found, (c.SRC, c.SRC_1, c.DST), f"sum of two of {y.shape}")
    b.primitive(built, [first, second, y])


@compiles(ReLU)
def relu(b: Builder, step: Step) -> bool:
    """Write max(x, 0)."""
    place = b.place(step.inputs[0])
    if place.flat is not None:
        return False
    y = b.result(step.outputs[0], place.layout)
    flat = plain((prod(y.shape),))
    ends = c.FORWARD_INFERENCE, c.ELTWISE_RELU, flat, flat, 0.0, 0.0
    places = b.read(step.inputs[0], place.layout), y
    return b.library("eltwise_forward", *ends, effort=work(2 * prod(y.shape)), places=places)
