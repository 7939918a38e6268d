"""Running sums and products along an axis, by our own kernel: one pass each way."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from chainrule.backends.onednn.arrays import (
    FLOAT32,
    address,
    empty_as,
    is_dense,
    laid_as,
    to_dense,
)
from chainrule.backends.onednn.backend import ONEDNN, Limits
from chainrule.backends.onednn.own import INT, LONG, POINTER, Kernel, kernel
from chainrule.backends.onednn.runtime import cached, threads_for, work
from chainrule.engine.op import Array
from chainrule.ops.accumulate import CumSum
from chainrule.ops.cumulate import CumProd

_SUM, _PRODUCT, _SHARES = range(3)  # the kernel's kinds


def _build() -> Kernel:
    return kernel("scan", *[POINTER] * 4, LONG, LONG, LONG, INT, INT, INT)


def _run(kind: int, dim: int, back: bool, x: Array, *more: Array) -> Array | None:
    """Give the scan of the dense x along an axis; None where the kernel leaves it to formulas."""
    shape = x.shape
    if not x.flags.c_contiguous:  # as it lies, (N, *sizes, C)
        shape = (shape[0], *shape[2:], shape[1])
        dim = (0, len(shape) - 1, *range(1, len(shape)))[dim]
    out = empty_as(x)
    ends = address(x), *([address(a) for a in more] or (None, None)), address(out)
    sizes = prod(shape[:dim]), shape[dim], prod(shape[dim + 1 :])
    threads = threads_for(work(4 * x.size))
    failed = cached(("scan",), _build)(*ends, *sizes, kind, back, threads)
    return None if failed else out


class Scan:
    """What the pairs share."""

    def supports(self, op: Any, arrays: Sequence[Array]) -> bool:
        """Float32, dense, with axes, and large enough."""
        x = arrays[0]
        large = x.ndim > 0 and x.size >= max(1, Limits.small)
        return large and x.dtype == FLOAT32 and is_dense(x)


@ONEDNN.ours(CumSum)
class CumSumPair(Scan):
    """Running sums; the gradient runs from the end."""

    def forward(self, op: CumSum, arrays: Sequence[Array]) -> tuple[tuple[Array, ...], Any]:
        """Give y in x's layout."""
        (x,) = arrays
        y = _run(_SUM, op.axis, False, x)
        assert y is not None
        return (y,), None

    def backward(
        self, op: CumSum, saved: Any, gy: Any, needs: tuple[bool, ...]
    ) -> tuple[Array | None, ...]:
        """Give gx in gy's layout."""
        return (_run(_SUM, op.axis, True, to_dense(gy)),)


@ONEDNN.ours(CumProd)
class CumProdPair(Scan):
    """Running products; the gradient of what holds a 0 is for the formulas."""

    def forward(self, op: CumProd, arrays: Sequence[Array]) -> tuple[tuple[Array, ...], Any]:
        """Give y in x's layout; save both."""
        (x,) = arrays
        y = _run(_PRODUCT, op.dim, False, x)
        assert y is not None
        return (y,), (x, y)

    def backward(
        self, op: CumProd, saved: Any, gy: Any, needs: tuple[bool, ...]
    ) -> tuple[Array | None, ...]:
        """Give gx in x's layout."""
        x, y = saved
        gx = _run(_SHARES, op.dim, True, x, y, laid_as(x, gy))
        if gx is None:
            return op.backward(np, saved, gy, needs)
        return (gx,)
