"""Products of matrices: fully connected layers and matmul, on plain arrays."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from chainrule.backends.onednn import constants as c
from chainrule.backends.onednn.arrays import FLOAT32, LONG, address, as_plain, is_float32
from chainrule.backends.onednn.backend import ONEDNN, Limits, needed
from chainrule.backends.onednn.primitives import (
    Description,
    Primitive,
    Shape,
    built,
    c_strides,
    describe,
    plain,
    strided,
)
from chainrule.backends.onednn.runtime import cached, runtime, work
from chainrule.engine.op import Array
from chainrule.errors import BackendError
from chainrule.ops.linear import Linear
from chainrule.ops.matmul import Matmul


class LinearPlan:
    """A fully connected layer of `rows` rows: x (rows, inner), w (out, inner)."""

    def __init__(self, found: tuple[Description, ...], bias: bool, long: bool, what: str) -> None:
        self._forward, self._data, self._weights = found
        self.bias, self.long, self.what = bias, bias and long, what

    @built
    def run_forward(self) -> Primitive:
        """(x, w [, b], y)."""
        bias = (c.BIAS,) if self.bias else ()
        return Primitive(self._forward, (c.SRC, c.WEIGHTS, *bias, c.DST), self.what)

    @built
    def run_data(self) -> Primitive:
        """(gy, w, gx)."""
        what = f"gradient by the input of {self.what}"
        return Primitive(self._data, (c.DIFF_DST, c.WEIGHTS, c.DIFF_SRC), what)

    @built
    def run_weights(self) -> Primitive:
        """(x, gy, gw [, gb])."""
        bias = (c.DIFF_BIAS,) if self.bias and not self.long else ()
        what = f"gradient by the weight of {self.what}"
        return Primitive(self._weights, (c.SRC, c.DIFF_DST, c.DIFF_WEIGHTS, *bias), what)


def plan_linear(rows: int, inner: int, out: int, bias: bool) -> LinearPlan | None:
    """Give the plan of these sizes, None where the library has no fast one."""
    key = ("linear", rows, inner, out, bias)
    effort = work(inner * out, rows * inner * out)
    return cached(key, lambda: _build(rows, inner, out, bias), effort)


def _build(rows: int, inner: int, out: int, bias: bool) -> LinearPlan | None:
    """Describe the three products, each by what reads plain weights fastest (measured).

    That is matmul forward, up to five times as fast on few rows as the inner product, which does
    the gradients.
    """
    engine = runtime().engine
    x, w, y = plain((rows, inner)), plain((out, inner)), plain((rows, out))
    row = plain((1, out)) if bias else None
    forward = describe("matmul", engine, x, strided((inner, out), (1, inner)), row, y)
    b = plain((out,)) if bias and rows <= LONG else None
    kind = "inner_product"
    hint = describe(f"{kind}_forward", engine, c.FORWARD_TRAINING, x, w, b, y)
    if forward is None or hint is None:
        return None
    data = describe(f"{kind}_backward_data", engine, x, w, y, hint)
    weights = describe(f"{kind}_backward_weights", engine, x, w, b, y, hint)
    if data is None or weights is None:
        return None
    what = f"fully connected layer of {rows} rows, {inner} to {out}"
    return LinearPlan((forward, data, weights), bias, rows > LONG, what)


@ONEDNN.kernel(Linear)
class LinearPair:
    """Linear with a matrix as weight and one bias for each of its rows."""

    def supports(self, op: Linear, arrays: Sequence[Array]) -> bool:
        """Float32, nothing empty, and enough work."""
        x, w = arrays[0], arrays[1]
        if not is_float32(*arrays) or w.ndim != 2 or x.size * w.shape[0] < Limits.product:
            return False
        if len(arrays) == 3 and arrays[2].shape != w.shape[:1]:
            return False
        return plan_linear(*self._sizes(x, w), len(arrays) == 3) is not None

    def _sizes(self, x: Array, w: Array) -> tuple[int, int, int]:
        return prod(x.shape[:-1]), x.shape[-1], w.shape[0]

    def forward(self, op: Linear, arrays: Sequence[Array]) -> tuple[tuple[Array, ...], Any]:
        """Give y in C order; save x and w so too."""
        x, w, *bias = [as_plain(a) for a in arrays]
        plan = plan_linear(*self._sizes(x, w), bool(bias))
        assert plan is not None
        y = np.empty((*x.shape[:-1], w.shape[0]), FLOAT32)
        plan.run_forward(address(x), address(w), *[address(b) for b in bias], address(y))
        return (y,), (x, w, bool(bias))

    def backward(
        self, op: Linear, saved: Any, gy: Any, needs: tuple[bool, ...]
    ) -> tuple[Array | None, ...]:
        """Give gx, gw and gb in C order."""
        x, w, bias = saved
        plan = plan_linear(*self._sizes(x, w), bias)
        assert plan is not None
        g = as_plain(gy)
        gx = gw = gb = None
        if needs[0]:
            gx = np.empty(x.shape, FLOAT32)
            plan.run_data(address(g), address(w), address(gx))
        if any(needs[1:]):
            gw, gb = np.empty(w.shape, FLOAT32), np.empty(w.shape[0] if bias else 0, FLOAT32)
            more = [address(gb)] if bias else []
            plan.run_weights(address(x), address(g), address(gw), *more)
            rows = g.reshape(-1, w.shape[0])
            if plan.long:
                gb = column_sums(rows)
            if rows.shape[0] > LONG and w.size <= PART:
                gw = long_product(rows, x.reshape(-1, w.shape[1]))
        return needed((gx, gw, gb)[: len(needs)], needs)


# Matmul


def readable(x: Array) -> Array:
    """Give x, or a copy in C order where neither its rows nor its columns lie without gaps."""
    if x.flags.c_contiguous or x.swapaxes(-1, -2).flags.c_contiguous:
        return x
    return np.ascontiguousarray(x)


def _layout(shape: Shape, turned: bool) -> Any:
    """Describe a batch of matrices in C order, or with each matrix by columns."""
    if not turned:
        return plain(shape)
    *batch, m, n = shape
    *steps, s, t = c_strides((*batch, n, m))
    return strided(shape, (*steps, t, s))


def multiply(a: Array, b: Array) -> Array:
    """Give a (..., m, k) times b (..., k, n), of equal batches; by BLAS where that is faster."""
    shape = (*a.shape[:-1], b.shape[-1])
    turned = not a.flags.c_contiguous, not b.flags.c_contiguous
    effort = work(a.size + b.size, a.size * b.shape[-1])
    key = ("matmul", a.shape, b.shape, turned)
    run = cached(key, lambda: _build_product(a.shape, b.shape, turned, shape), effort)
    y: Array = np.empty(shape, FLOAT32)
    if run is None:
        np.matmul(a, b, out=y)
    else:
        run(address(a), address(b), address(y))
    return y


def _build_product(a: Shape, b: Shape, turned: tuple[bool, bool], y: Shape) -> Primitive | None:
    layouts = _layout(a, turned[0]), _layout(b, turned[1]), None, plain(y)
    description = describe("matmul", runtime().engine, *layouts)
    if description is None:
        return None
    return Primitive(description, (c.SRC, c.WEIGHTS, c.DST), f"matmul of {a} and {b}")


# Sums of columns

PART = 256
"""Rows that are added in float32; the sums of such parts are added in float64."""


def column_sums(x: Array) -> Array:
    """Sum the rows of (rows, columns) in C order: as products with rows of ones."""
    rows, columns = x.shape
    parts = rows // PART
    key = ("column sums", parts, columns)
    run, ones = cached(key, lambda: _build_sums(parts, columns), work(rows * columns))
    sums = np.empty((parts, columns), FLOAT32)
    run(address(ones), address(x), address(sums))
    with np.errstate(all="ignore"):
        total: Array = np.add.reduce(sums, axis=0, dtype=np.float64)
        total += np.add.reduce(x[parts * PART :], axis=0, dtype=np.float64)
    result: Array = total.astype(FLOAT32)
    return result


def long_product(a: Array, b: Array) -> Array:
    """Give a^T b for (rows, m) and (rows, k) of many rows and few columns, summed as above."""
    parts = a.shape[0] // PART
    whole = parts * PART
    first, second = (x[:whole].reshape(parts, PART, -1) for x in (a, b))
    sums = multiply(first.swapaxes(1, 2), second)
    with np.errstate(all="ignore"):
        total: Array = np.add.reduce(sums, axis=0, dtype=np.float64)
        total += a[whole:].T.astype(np.float64) @ b[whole:]
        result: Array = total.astype(FLOAT32)
    return result


def _build_sums(parts: int, columns: int) -> tuple[Primitive, Array]:
    shapes = (parts, 1, PART), (parts, PART, columns), (parts, 1, columns)
    a, b, y = map(plain, shapes)
    description = describe("matmul", runtime().engine, a, b, None, y, slow=True)
    if description is None:
        raise BackendError(f"oneDNN has no matmul of {shapes}")
    what = f"sums of {parts} times {PART} rows of {columns}"
    primitive = Primitive(description, (c.SRC, c.WEIGHTS, c.DST), what)
    return primitive, np.ones(shapes[0], FLOAT32)


@ONEDNN.kernel(Matmul)
class MatmulPair:
    """Matmul of two matrices, or of two equal batches of them."""

    def supports(self, op: Matmul, arrays: Sequence[Array]) -> bool:
        """Float32, the same leading axes, and enough work."""
        x, w = arrays
        if not 2 <= x.ndim == w.ndim <= 5 or x.shape[:-2] != w.shape[:-2]:
            return False
        if x.size * w.shape[-1] < Limits.product:
            return False
        return is_float32(x, w)

    def forward(self, op: Matmul, arrays: Sequence[Array]) -> tuple[tuple[Array, ...], Any]:
        """Give y in C order; save both factors."""
        x, w = (readable(a) for a in arrays)
        return (multiply(x, w),), (x, w)

    def backward(
        self, op: Matmul, saved: Any, gy: Any, needs: tuple[bool, ...]
    ) -> tuple[Array | None, ...]:
        """Give gy w^T and x^T gy in C order."""
        x, w = saved
        g = readable(gy)
        gx = multiply(g, w.swapaxes(-1, -2)) if needs[0] else None
        return gx, multiply(x.swapaxes(-1, -2), g) if needs[1] else None
