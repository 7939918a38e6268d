"""Distances between vectors side by side, by our own kernel: one pass each way."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from chainrule.backends.onednn.arrays import FLOAT32, address, as_plain
from chainrule.backends.onednn.backend import ONEDNN, Limits
from chainrule.backends.onednn.own import FLOAT, INT, LONG, POINTER, Kernel, kernel
from chainrule.backends.onednn.runtime import cached, threads_for, work
from chainrule.engine.op import Array
from chainrule.ops.distance import PairwiseDistance


def _build() -> tuple[Kernel, Kernel]:
    settings = LONG, LONG, FLOAT, INT
    forward = kernel("distance", *[POINTER] * 3, *settings)
    return forward, kernel("distance_back", *[POINTER] * 6, *settings)


@ONEDNN.ours(PairwiseDistance)
class DistancePair:
    """Euclid's distance of two arrays of one shape."""

    def supports(self, op: PairwiseDistance, arrays: Sequence[Array]) -> bool:
        """Float32, with axes, in C order, and large enough."""
        x, y = arrays
        return (
            x.size >= max(1, Limits.small)
            and x.ndim > 0
            and x.shape == y.shape
            and op.p == 2
            and x.dtype == y.dtype == FLOAT32
            and x.flags.c_contiguous
            and y.flags.c_contiguous
        )

    def _settings(self, op: PairwiseDistance, x: Array) -> tuple[int, int, float, int]:
        columns = x.shape[-1]
        threads = threads_for(work(3 * x.size))
        return x.size // columns, columns, op.eps, threads

    def forward(
        self, op: PairwiseDistance, arrays: Sequence[Array]
    ) -> tuple[tuple[Array, ...], Any]:
        """Give the distances; save all."""
        x, y = arrays
        z = np.empty((*x.shape[:-1], 1) if op.keepdim else x.shape[:-1], FLOAT32)
        run = cached(("distance",), _build)[0]
        run(address(x), address(y), address(z), *self._settings(op, x))
        return (z,), (x, y, z)

    def backward(
        self, op: PairwiseDistance, saved: Any, gy: Any, needs: tuple[bool, ...]
    ) -> tuple[Array | None, ...]:
        """Give both gradients in C order."""
        x, y, z = saved
        found = [np.empty(x.shape, FLOAT32) if need else None for need in needs]
        ends = [None if a is None else address(a) for a in (x, y, z, as_plain(gy), *found)]
        cached(("distance",), _build)[1](*ends, *self._settings(op, x))
        return tuple(found)
