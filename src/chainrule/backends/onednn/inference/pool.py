"""Pooling, and normalisation across channels."""

from __future__ import annotations

from math import prod

from chainrule.backends.onednn import constants as c
from chainrule.backends.onednn.inference.builder import LAST, Builder, compiles
from chainrule.backends.onednn.pool import Windows, asked_of_library, reach
from chainrule.backends.onednn.primitives import Shape, channels_last
from chainrule.backends.onednn.runtime import planned_for, work
from chainrule.backends.onednn.winners import SideBySide, side_by_side
from chainrule.engine.program import Step
from chainrule.ops.fused import ReLUMaxPool
from chainrule.ops.norm_local import LocalResponseNorm
from chainrule.ops.pool_average import AdaptiveAvgPool, AvgPool
from chainrule.ops.pool_max import MaxPool


@compiles(MaxPool, ReLUMaxPool, AvgPool, AdaptiveAvgPool)
def pool(b: Builder, step: Step) -> bool:
    """Write a pooling of a batch: our kernel's for windows side by side, else the library's."""
    op, x, y = step.op, b.shape(step.inputs[0]), b.shape(step.outputs[0])
    relu = isinstance(op, ReLUMaxPool)
    if len(step.outputs) > 1 or not 3 <= len(x) <= 5:
        return False
    if isinstance(op, MaxPool) and len(x) != len(op.kernel) + 2:
        return False
    if isinstance(op, MaxPool) and side_by_side(op):
        return _own(b, step, op, x, y)
    windows = None if relu else asked_of_library(op, x, y)
    return windows is not None and _library(b, step, windows, x, y)


def _own(b: Builder, step: Step, op: MaxPool, x: Shape, y: Shape) -> bool:
    with planned_for(work(2 * prod(x))):
        own = SideBySide(op, x, y)
    b.kept.append(own)
    source, target = b.read(step.inputs[0], LAST), b.result(step.outputs[0], LAST)
    arguments = own.arguments(source, target, b.scratch(own.entries), isinstance(op, ReLUMaxPool))
    b.call(own.kernel, arguments, own.threads, strange=True)
    return True


def _library(b: Builder, step: Step, w: Windows, x: Shape, y: Shape) -> bool:
    after = tuple(map(max, w.padding, reach(x, y, w)))
    settings = w.stride, w.kernel, (0,) * len(w.kernel), w.padding, after
    ends = c.FORWARD_INFERENCE, w.alg, channels_last(x), channels_last(y), *settings
    places = b.read(step.inputs[0], LAST), b.result(step.outputs[0], LAST)
    effort = work(prod(x) + prod(y) * prod(w.kernel))
    return b.library("pooling_forward", *ends, effort=effort, places=places)


@compiles(LocalResponseNorm)
def local_response_norm(b: Builder, step: Step) -> bool:
    """Write the library's, where the pair for training has it."""
    op, x = step.op, b.shape(step.inputs[0])
    assert isinstance(op, LocalResponseNorm)
    if op.within or op.size not in (3, 5) or len(x) != 4:
        return False
    settings = op.size, float(op.alpha), float(op.beta), float(op.k)
    layout = channels_last(x)
    ends = c.FORWARD_INFERENCE, c.LRN_ACROSS_CHANNELS, layout, layout, *settings
    places = b.read(step.inputs[0], LAST), b.result(step.outputs[0], LAST)
    return b.library("lrn_forward", *ends, effort=work(10 * prod(x)), places=places)
