"""Cross-entropy and negative log-likelihood against labels, by our own kernels.

The classes are the innermost axis in memory, as in (N, C) or in channels-last images.  The
forward keeps e^(x - max), so that the gradient needs no other exponential.
"""

from __future__ import annotations

from collections.abc import Sequence
from ctypes import Structure, addressof, c_double, c_long
from math import prod
from typing import Any, ClassVar

import numpy as np

from chainrule.backends.onednn.arrays import FLOAT32, address, as_plain, empty_last
from chainrule.backends.onednn.backend import (
    ONEDNN,
    ByReference,
    Limits,
    reference_backward,
    run_reference,
)
from chainrule.backends.onednn.own import INT, POINTER, Kernel, kernel
from chainrule.backends.onednn.primitives import Shape
from chainrule.backends.onednn.rows import Found, Gradients, is_row
from chainrule.backends.onednn.runtime import cached, threads_for, work
from chainrule.engine.op import Array
from chainrule.ops.loss_class import CrossEntropy
from chainrule.ops.loss_labels import NLLLoss, places

INT64 = np.dtype(np.int64)


class _Settings(Structure):
    _fields_: ClassVar[Any] = [
        ("rows", c_long),
        ("classes", c_long),
        ("ignored", c_long),
        ("reduction", c_long),
        ("smoothing", c_double),
    ]


_REDUCTIONS = ("none", "sum", "mean")


class LossPlan:
    """The kernels for rows of one number and length, and one operation's settings."""

    def __init__(self, op: Any, shape: Shape, last: bool) -> None:
        self.shape, self.last, self.likelihood = shape, last, type(op) is NLLLoss
        rows, classes = prod(places(shape)), shape[1]
        self.rows = rows
        smoothing = 0.0 if self.likelihood else op.label_smoothing
        how = _REDUCTIONS.index(op.reduction)
        self._settings = _Settings(rows, classes, op.ignore_index, how, smoothing)
        self.settings, self.each = addressof(self._settings), not how
        self.kept = 2 * rows + 1 + (0 if self.each else rows)  # for each row; divisor; errors
        effort = work(rows * classes)
        self.threads = 1 if self.likelihood else threads_for(effort), threads_for(effort)
        self.forward: Kernel = kernel("row_loss", *[POINTER] * 8, INT)
        self.backward: Kernel = kernel("row_loss_back", *[POINTER] * 7, INT)

    def empty(self) -> Array:
        """Allocate an array laid out as the scores are."""
        return empty_last(self.shape) if self.last else np.empty(self.shape, FLOAT32)


@ONEDNN.ours(NLLLoss)
@ONEDNN.ours(CrossEntropy)
class LabelledRows:
    """A loss against labels; one that is no class's is the reference's to refuse."""

    def supports(self, op: Any, arrays: Sequence[Array]) -> bool:
        """Float32 scores, large enough; labels of 64 bits, smoothed ones without weights."""
        x, t, *weight = arrays
        if x.size < max(1, Limits.rows) or x.dtype != FLOAT32 or t.dtype != INT64:
            return False
        if weight and type(op) is CrossEntropy and op.label_smoothing:
            return False
        return x.ndim > 1 and is_row(x, 1)

    def forward(self, op: Any, arrays: Sequence[Array]) -> Found:
        """Give the errors, or what they are reduced to."""
        x, t, *weight = arrays
        shape, last = x.shape, not x.flags.c_contiguous
        plan = cached((op, shape, last), lambda: LossPlan(op, shape, last))
        t, w = as_plain(t), as_plain(weight[0]) if weight else None
        e = None if plan.likelihood else plan.empty()
        y = np.empty(t.shape if plan.each else (), FLOAT32)
        kept = np.empty(plan.kept, FLOAT32)
        first, result = address(kept), address(y)
        errors = result if plan.each else first + 4 * (2 * plan.rows + 1)
        given = address(x), address(t), _address(w), _address(e), first, errors
        if plan.forward(plan.settings, *given, result, plan.threads[0]):
            return run_reference(op, arrays)
        return (y,), (plan, e, t, w, kept)

    def backward(self, op: Any, saved: Any, gy: Any, needs: tuple[bool, ...]) -> Gradients:
        """Give the gradients of the scores and the weights."""
        if type(saved) is ByReference:
            return reference_backward(op, saved, gy, needs)
        plan, e, t, w, kept = saved
        g, gx = as_plain(gy), plan.empty()
        given = _address(e), address(t), _address(w), address(kept), address(g), address(gx)
        plan.backward(plan.settings, *given, plan.threads[1])
        first = gx if needs[0] else None
        if w is None:
            return first, None
        return first, None, _by_weight(op, t, w, kept, g) if needs[2] else None


def _address(a: Array | None) -> int | None:
    return None if a is None else address(a)


def _by_weight(op: Any, t: Array, w: Array, kept: Array, g: Array) -> Array:
    """Give -(sum of g (lp + y) over the places of each class), the y for the mean alone."""
    labels = t.ravel()
    counts = labels != op.ignore_index
    labels, values = labels[counts], kept[1 : 2 * t.size : 2][counts].astype(np.float64)
    with np.errstate(all="ignore"):
        scale = -g.ravel().astype(np.float64) / kept[2 * t.size]
        if op.reduction == "mean":  # y anew: what rounding took of it would count for each place
            values += -(w[labels] * values).sum() / w[labels].sum(dtype=np.float64)
        terms = values * (scale if scale.size == 1 else scale[counts])
    gw = np.bincount(labels, weights=terms, minlength=w.size)
    return gw.astype(FLOAT32)
