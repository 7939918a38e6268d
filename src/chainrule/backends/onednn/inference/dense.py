"""Fully connected layers with their ReLU, and what lies before them: flattened images."""

from __future__ import annotations

from math import prod

import numpy as np

from chainrule.backends.onednn import constants as c
from chainrule.backends.onednn.inference.builder import (
    LAST,
    PLAIN,
    Builder,
    Place,
    alike,
    compiles,
    view,
)
from chainrule.backends.onednn.primitives import Primitive, Shape, any_layout, describe, plain
from chainrule.backends.onednn.runtime import planned_for, runtime, work
from chainrule.engine.op import Array
from chainrule.engine.program import Step
from chainrule.ops.activation import ReLU
from chainrule.ops.linear import Linear
from chainrule.ops.shape import Flatten, Reshape, Squeeze, Unsqueeze


@compiles(Flatten, Reshape, Squeeze, Unsqueeze)
def flatten(b: Builder, step: Step) -> bool:
    """Give the same memory another shape; images that lie channels-last become rows as they lie."""
    (x,), (y,) = step.inputs, step.outputs
    shape, result = b.shape(x), b.shape(y)
    if y in b.program.outputs or len(result) > 5:
        return False
    place = b.place(x)
    rows = result == (shape[0], prod(shape[1:]))
    if place.layout == LAST and not alike(shape) and rows:
        b.places[y] = view(place, result, PLAIN, shape[1:])
    else:
        b.places[y] = view(b.read(x, PLAIN), result)
    return True


@compiles(Linear)
def linear(b: Builder, step: Step) -> bool:
    """Write a layer of rows by a constant matrix, and its ReLU."""
    w = b.array(step.inputs[1])
    bias = b.array(step.inputs[2]) if len(step.inputs) == 3 else None
    if w is None or w.ndim != 2 or (len(step.inputs) == 3 and bias is None):
        return False
    if bias is not None and bias.shape != w.shape[:1]:
        return False
    x, value = b.place(step.inputs[0]), step.outputs[0]
    if x.layout != PLAIN:
        x = b.read(step.inputs[0], PLAIN)
    relu = b.following(value, ReLU)
    if relu is not None:
        value = relu.outputs[0]
    rows = prod(x.shape[:-1])
    target = b.result(value)
    flat = view(x, (rows, w.shape[1]), PLAIN, x.flat)
    if not product(b, flat, w, bias, view(target, (rows, w.shape[0])), relu is not None):
        return False
    if relu is not None:
        b.take(relu)
    return True


def product(b: Builder, x: Place, w: Array, bias: Array | None, y: Place, relu: bool) -> bool:
    """Write y = x w^T + bias and its ReLU, by rows; w is laid out once, as x lies in memory."""
    flat = x.flat
    if flat is not None:
        w = b.shared(w, flat, lambda: _as_it_lies(w, flat))
    rows, (out, inner) = x.shape[0], w.shape
    vector = None if bias is None else plain((out,))
    # One row or two read plain weights sooner, by a fifth (measured); more of them packed ones.
    weight = (plain if rows <= 2 else any_layout)((out, inner))
    ends = plain((rows, inner)), weight, vector, plain((rows, out))
    with planned_for(work(inner * out, rows * inner * out)):
        found = describe(
            "inner_product_forward", runtime().engine, c.FORWARD_INFERENCE, *ends, relu=relu
        )
        if found is None:
            return False
        arguments = (c.SRC, c.WEIGHTS, *((c.BIAS,) if vector else ()), c.DST)
        built = Primitive(found, arguments, f"dense layer of {rows} rows, {inner} to {out}")
    weights = b.laid_out(w, (out, inner), found)
    b.primitive(built, [x, weights, *([] if bias is None else [b.keep(bias)]), y])
    return True


def _as_it_lies(w: Array, flat: Shape) -> Array:
    """Give the columns of w (out, C * sizes) in the order (sizes, C)."""
    channels, *sizes = flat
    turned = np.moveaxis(w.reshape(-1, channels, *sizes), 1, -1)
    return np.ascontiguousarray(turned).reshape(w.shape)
