"""Convolutions with what comes after them: bias, residual sum, ReLU."""

from __future__ import annotations

from math import prod
from typing import Any

from chainrule.backends.onednn import constants as c
from chainrule.backends.onednn.conv_plan import grouped, settings_of, spans
from chainrule.backends.onednn.inference.builder import (
    LAST,
    PLAIN,
    Aligned,
    Builder,
    alike,
    compiles,
    view,
)
from chainrule.backends.onednn.inference.dense import product
from chainrule.backends.onednn.inference.pointwise import add
from chainrule.backends.onednn.narrow import Narrow, few_channels
from chainrule.backends.onednn.primitives import (
    Primitive,
    any_layout,
    channels_last,
    describe,
    plain,
)
from chainrule.backends.onednn.runtime import planned_for, runtime, work
from chainrule.backends.onednn.winograd import Winograd, pays
from chainrule.engine.op import Array
from chainrule.engine.program import Step
from chainrule.ops.activation import ReLU
from chainrule.ops.conv import Conv
from chainrule.ops.elementwise import Add
from chainrule.ops.fused import ConvReLU


class Layer:
    """One convolution: its arrays, and what is done to its result."""

    def __init__(self, b: Builder, step: Step, op: Conv, w: Array, bias: Array | None) -> None:
        self.b, self.step, self.op = b, step, op
        self.x, self.w, self.bias = b.shape(step.inputs[0]), w, bias
        self.y = b.shape(step.outputs[0])
        self.value = step.outputs[0]  # what there is at the end
        self.more: int | None = None  # the value that is added
        self.relu = type(step.op) is ConvReLU
        self.taken: list[Step] = []

    def look_ahead(self) -> None:
        """Take the sum with a value that there is already, and the ReLU after it."""
        if self.relu:
            return
        after = self.b.following(self.value, Add)
        if after is not None:
            (other,) = [v for v in after.inputs if v != self.value] or (None,)
            if other in self.b.places and self.b.shape(other) == self.y:
                self.more, self.value = other, after.outputs[0]
                self.taken.append(after)
        relu = self.b.following(self.value, ReLU)
        if relu is not None:
            self.relu, self.value = True, relu.outputs[0]
            self.taken.append(relu)

    def bias_at(self) -> int | None:
        """Give the bias's address, None where there is none."""
        return None if self.bias is None else self.b.keep(self.bias)

    def taken_in(self) -> None:
        """Say that what was taken is done."""
        for step in self.taken:
            self.b.take(step)

    def without_sum(self) -> None:
        """Leave sum and ReLU to themselves."""
        self.more, self.relu, self.value, self.taken = None, False, self.step.outputs[0], []


@compiles(Conv, ConvReLU)
def conv(b: Builder, step: Step) -> bool:
    """Write a convolution of a batch by constants."""
    w = b.array(step.inputs[1])
    bias = b.array(step.inputs[2]) if len(step.inputs) == 3 else None
    if not isinstance(step.op, Conv) or w is None or (len(step.inputs) == 3 and bias is None):
        return False
    layer = Layer(b, step, step.op, w, bias)
    if len(layer.x) != layer.w.ndim or not 3 <= len(layer.x) <= 5:
        return False
    layer.look_ahead()
    written = _whole(layer) or _own(layer) or _direct(layer)
    if written:
        layer.taken_in()
    return written


def _whole(layer: Layer) -> bool:
    """Write a window as large as the image, as the dense layer that it is."""
    if not spans(layer.op, layer.x, layer.w.shape):
        return False
    if layer.more is not None:
        layer.without_sum()
    b = layer.b
    source = b.read(layer.step.inputs[0], LAST)
    n, k = layer.y[:2]
    rows = view(source, (n, prod(layer.x[1:])), PLAIN, layer.x[1:])
    target = b.result(layer.value, LAST)
    w = layer.w.reshape(k, -1)
    return product(b, rows, w, layer.bias, view(target, (n, k)), layer.relu)


def _own(layer: Layer) -> bool:
    """Write one of our own kernels, where it is the faster."""
    if pays(layer.op, layer.x, layer.w.shape, layer.y):
        return _winograd(layer)
    if few_channels(layer.op, layer.x, layer.w.shape, layer.y):
        return _narrow(layer)
    return False


def _effort(layer: Layer) -> float:
    return work(prod(layer.x) + prod(layer.y), prod(layer.y) * prod(layer.w.shape[1:]))


def _winograd(layer: Layer) -> bool:
    """Write our 3x3 convolution by Winograd's filters, transformed once."""
    b = layer.b
    with planned_for(_effort(layer)):
        own = Winograd(layer.op, layer.x, layer.w.shape, layer.y)
    b.kept.append(own)
    filters = b.shared(layer.w, "winograd", lambda: own.transform(layer.w, Aligned)).address
    source = b.read(layer.step.inputs[0], LAST)
    more = None if layer.more is None else b.read(layer.more, LAST)
    ends = source, None, layer.bias_at(), b.result(layer.value, LAST)
    memory = b.scratch(own.scratch_bytes(own.forth))
    arguments = own.arguments(own.forth, *ends, memory, layer.relu, filters, more)
    b.call(own.kernel, arguments, own.threads, strange=True)
    return True


def _narrow(layer: Layer) -> bool:
    """Write our convolution of few channels."""
    if layer.more is not None:
        layer.without_sum()
    b = layer.b
    with planned_for(_effort(layer)):
        own = Narrow(layer.op, layer.x, layer.w.shape, layer.y)
    b.kept.append(own)
    filters = b.shared(layer.w, ("narrow", own.few), lambda: own.lay_out(layer.w, Aligned)).address
    source = b.read(layer.step.inputs[0], LAST)
    ends = source, None, layer.bias_at(), b.result(layer.value, LAST)
    memory = b.scratch(own.scratch_bytes)
    b.call(own.kernel, own.arguments(*ends, memory, layer.relu, filters), own.threads)
    return True


def _direct(layer: Layer) -> bool:
    """Write the library's convolution; a sum goes into the memory of what is added."""
    b = layer.b
    apart = None
    if layer.more is not None and not _in_place(layer):
        apart, relu_too, end, taken = layer.more, layer.relu, layer.value, layer.taken
        layer.without_sum()
        first = b.new(layer.y, LAST)
    built = _build(layer)
    if built is None:
        return False
    weights = b.laid_out(layer.w, grouped(layer.op, layer.w.shape), built[1])
    source = b.read(layer.step.inputs[0], LAST)
    if apart is not None:
        target = first
    elif layer.more is not None:
        target = view(b.read(layer.more, LAST), layer.y, LAST)
        b.places[layer.value] = target
    else:
        target = b.result(layer.value, LAST)
    bias = [] if layer.bias is None else [b.keep(layer.bias)]
    b.primitive(built[0], [source, weights, *bias, target])
    if apart is not None:
        layer.value, layer.taken = end, taken
        add(b, first, b.read(apart, LAST), b.result(end, LAST), relu_too)
    return True


def _in_place(layer: Layer) -> bool:
    """Tell whether the sum may be written over what is added."""
    b = layer.b
    assert layer.more is not None
    place = b.place(layer.more)
    lies = place.flat is None and (place.layout == LAST or alike(place.shape))
    free = b.may_write(layer.more, layer.step, layer.taken[0])
    return lies and free and layer.value not in b.program.outputs


def _build(layer: Layer) -> tuple[Primitive, Any] | None:
    vector = None if layer.bias is None else plain(layer.w.shape[:1])
    ends = channels_last(layer.x), any_layout(grouped(layer.op, layer.w.shape)), vector
    kinds = c.FORWARD_INFERENCE, c.CONVOLUTION_DIRECT
    result, settings = channels_last(layer.y), settings_of(layer.op)
    with planned_for(_effort(layer)):
        found = describe(
            "convolution_forward", runtime().engine, *kinds, *ends, result, *settings,
            relu=layer.relu, added=layer.more is not None,
        )  # fmt: skip
        if found is None:
            return None
        arguments = (c.SRC, c.WEIGHTS, *((c.BIAS,) if vector else ()), c.DST)
        return Primitive(found, arguments, f"{layer.op!r} of {layer.x} with {layer.w.shape}"), found
