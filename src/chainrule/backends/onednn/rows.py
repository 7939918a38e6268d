"""Softmax and normalisation of rows, values that lie side by side, by our own kernels.

Softmax keeps NaN and infinity as the formulas have them; the normalisations leave what is not
finite to the reference.  Without the kernels oneDNN's pair serves where there is one.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any, ClassVar

import numpy as np

from chainrule.backends.onednn.arrays import (
    FLOAT32,
    LONG,
    address,
    as_plain,
    empty_as,
    is_float32,
    is_last,
    laid_as,
)
from chainrule.backends.onednn.backend import (
    ONEDNN,
    ByReference,
    Limits,
    reference_backward,
    run_reference,
)
from chainrule.backends.onednn.norm_rows import laid, lies_last, to_plain
from chainrule.backends.onednn.own import (
    DOUBLE,
    INT,
    POINTER,
    Kernel,
    kernel,
    scratch,
)
from chainrule.backends.onednn.own import LONG as C_LONG
from chainrule.backends.onednn.runtime import cached, threads_for, work
from chainrule.engine.op import Array
from chainrule.ops.norm_layer import LayerNorm, RMSNorm
from chainrule.ops.normalize import Normalize
from chainrule.ops.softmax import LogSoftmax, Softmax

Gradients = tuple[Array | None, ...]
Found = tuple[tuple[Array, ...], Any]


def is_row(x: Array, axis: int) -> bool:
    """Tell whether the values along an axis lie side by side, in an array without gaps."""
    shape = x.shape
    if x.flags.c_contiguous and shape and (axis == len(shape) - 1 or prod(shape[axis + 1 :]) == 1):
        return True
    return axis == 1 and 2 < len(shape) < 7 and is_last(x)


@ONEDNN.ours(Softmax)
class SoftmaxRows:
    """Softmax along the axis that is innermost in memory."""

    log: ClassVar[int] = 0

    def supports(self, op: Any, arrays: Sequence[Array]) -> bool:
        """Float32, dense, along the innermost axis, and large enough."""
        x = arrays[0]
        return x.size >= max(1, Limits.rows) and x.dtype == FLOAT32 and is_row(x, op.axis)

    def forward(self, op: Any, arrays: Sequence[Array]) -> Found:
        """Give y in x's layout, and save it."""
        y = self._run(op, arrays[0], None)
        return (y,), y

    def backward(self, op: Any, saved: Any, gy: Any, needs: tuple[bool, ...]) -> Gradients:
        """Give gx in x's layout."""
        return (self._run(op, saved, laid_as(saved, gy)),)

    def _run(self, op: Any, x: Array, g: Array | None) -> Array:
        """Give y, or of y and g gx."""
        run, out, length = cached("softmax rows", _softmax), empty_as(x), x.shape[op.axis]
        ends = address(x), None if g is None else address(g), address(out)
        run(*ends, x.size // length, length, self.log, threads_for(work(x.size)))
        return out


def _softmax() -> Kernel:
    return kernel("softmax", *[POINTER] * 3, C_LONG, C_LONG, INT, INT)


@ONEDNN.ours(LogSoftmax)
class LogSoftmaxRows(SoftmaxRows):
    """LogSoftmax along the axis that is innermost in memory."""

    log = 1


def rows_in_part(rows: int) -> int:
    """Give how many rows are summed apart from the others: the same for any number of threads."""
    return min(LONG, max(16, -(-rows // 64)))


class NormRows:
    """A normalisation of rows; subclasses say which, and what a row is."""

    kind: ClassVar[int]

    def fits(self, op: Any, x: Array) -> bool:
        """Rows that are all the same have a length to be divided by."""
        return bool(op.eps > 0)

    def length(self, op: Any, x: Array) -> int:
        """Give the number of values in a row."""
        return prod(op.shape)

    def rows(self, x: Array, like: Array) -> Array:
        """Give x in a layout in which the rows lie one after the other, that of `like`."""
        return to_plain(x)

    def back(self, y: Array, last: bool) -> Array:
        """Give y, laid out as `rows` gave it, in the layout that x had."""
        return laid(y, last)

    def supports(self, op: Any, arrays: Sequence[Array]) -> bool:
        """Float32, large enough, and what the kind asks for."""
        x = arrays[0]
        return x.size >= Limits.rows and is_float32(*arrays) and self.fits(op, x)

    def forward(self, op: Any, arrays: Sequence[Array]) -> Found:
        """Give y in x's layout; save x and what the kernel keeps of each row."""
        x, affine = self.rows(arrays[0], arrays[0]), [as_plain(a) for a in arrays[1:]]
        length, y = self.length(op, x), empty_as(x)
        rows = x.size // length
        kept = np.empty((rows, 4), FLOAT32)
        given = [None if a is None else address(a) for a in (*affine, None, None)[:2]]
        run = cached("norm of rows", _norm)
        sizes = rows, length, rows_in_part(rows), op.eps, self.kind
        ends = address(x), *given, address(y), address(kept)
        if run(*ends, *sizes, threads_for(work(x.size))):
            return run_reference(op, arrays)
        last = lies_last(arrays[0])
        return (self.back(y, last),), (x, last, kept, *affine[:1])

    def backward(self, op: Any, saved: Any, gy: Any, needs: tuple[bool, ...]) -> Gradients:
        """Give gx in x's layout, and the gradients of weight and bias."""
        if type(saved) is ByReference:
            return reference_backward(op, saved, gy, needs)
        x, last, kept, *weight = saved
        g, gx = self.rows(gy, x), empty_as(x)
        rows, length = len(kept), x.size // len(kept)
        each = rows_in_part(rows)
        sums = [np.empty(op.shape, FLOAT32) if need else None for need in needs[1:]]
        ends = [None if a is None else address(a) for a in (*sums, None, None)[:2]]
        parts = scratch(8 * length * -(-rows // each)) if True in needs[1:] else None
        run = cached("gradient of rows", _norm_back)
        given = address(x), address(g), address(kept), address(weight[0]) if weight else None
        sizes = rows, length, each, self.kind
        run(*given, address(gx), parts, *ends, *sizes, threads_for(work(2 * x.size)))
        return self.back(gx, last) if needs[0] else None, *sums


def _norm() -> Kernel:
    return kernel("row_norm", *[POINTER] * 5, *[C_LONG] * 3, DOUBLE, INT, INT)


def _norm_back() -> Kernel:
    return kernel("row_norm_back", *[POINTER] * 8, *[C_LONG] * 3, INT, INT)


@ONEDNN.ours(LayerNorm)
class LayerNormRows(NormRows):
    """LayerNorm in C order."""

    kind = 0


@ONEDNN.ours(RMSNorm)
class RMSNormRows(NormRows):
    """RMSNorm in C order."""

    kind = 1


@ONEDNN.ours(Normalize)
class NormalizeRows(NormRows):
    """Vectors along the innermost axis brought to the Euclidean length 1."""

    kind = 2

    def fits(self, op: Normalize, x: Array) -> bool:
        """Only one axis, p = 2, and an eps whose square is a normal number."""
        return len(op.axes) == 1 and op.p == 2.0 and op.eps > 1e-18 and is_row(x, op.axes[0])

    def length(self, op: Normalize, x: Array) -> int:
        """Give the size of the axis."""
        return int(x.shape[op.axes[0]])

    def rows(self, x: Array, like: Array) -> Array:
        """Give x in the layout of the other."""
        return x if x is like else laid_as(like, x)

    def back(self, y: Array, last: bool) -> Array:
        """Give y as it lies."""
        return y
