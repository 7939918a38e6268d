"""Convolution, forward and backward."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from chainrule.engine.op import Array
from chainrule.errors import failure
from chainrule.flat.arrays import back, check_same, floats, run, specs
from chainrule.ops.arguments import pair
from chainrule.ops.conv import Conv

Size = int | Sequence[int]


class _Case(NamedTuple):
    """The operation, its inputs with channel axes, and the shapes that the caller sees."""

    op: Conv
    image: Array
    filters: Array
    inner: tuple[int, ...]  # of the operation's output
    output: tuple[int, ...]
    bias: tuple[int, ...]


def _case(name: str, x: Array, w: Array, stride: Size, padding: Size) -> _Case:
    if x.ndim not in (2, 3, 4):
        raise failure(name, "x (H, W), (C, H, W) or (N, C, H, W)", x=x, w=w)
    plain = w.ndim == 2
    if not (w.ndim == 4 or (plain and x.ndim == 2)):
        rule = "w (filters, C, kh, kw), or for an image (H, W) one filter (kh, kw)"
        hint = "write w[None] for a single filter" if w.ndim == 3 else ""
        raise failure(name, rule, hint=hint, x=x, w=w)
    steps, pads = pair(stride, f"{name} stride"), pair(padding, f"{name} padding")
    if min(steps) < 1 or min(pads) < 0:
        rule = "a stride of at least 1 and a padding of at least 0"
        raise failure(name, rule, stride=stride, padding=padding)
    op = Conv(steps, ((pads[0], pads[0]), (pads[1], pads[1])))
    image = x[None] if x.ndim == 2 else x
    filters = w[None, None] if plain else w
    (y,) = op.infer(*specs(image, filters))
    output = y.shape[1:] if plain else y.shape
    return _Case(op, image, filters, y.shape, output, () if plain else w.shape[:1])


def conv(x: Any, w: Any, b: Any = None, stride: Size = 1, padding: Size = 0) -> Array:
    """Correlate an image with filters: y[o, k, l] = b[o] + sum w[o, c, i, j] x[c, k+i, l+j].

    x is (C, H, W) or a batch (N, C, H, W), w (filters, C, kh, kw), b (filters,) or None; the result
    is (filters, H', W') or (N, filters, H', W') with H' = floor((H + 2 padding - kh)/stride) + 1.
    An image (H, W) counts as one channel; with one filter (kh, kw) the result is (H', W') and b
    a number.  Stride and padding are numbers or (height, width).  Rows and columns at the end that
    no window reaches are dropped.  Raises ShapeError with the arithmetic where no window fits.

    >>> import numpy as np
    >>> from chainrule import flat
    >>> flat.conv([[1, 2, 3], [4, 5, 6]], np.ones((2, 2)))
    array([[12., 16.]])
    """
    if b is None:
        x, w = floats("conv", x=x, w=w)
    else:
        x, w, b = floats("conv", x=x, w=w, b=b)
    case = _case("conv", x, w, stride, padding)
    bias = () if b is None else (_bias("conv", b, w, case),)
    (y,) = run(case.op, case.image, case.filters, *bias)
    return y.reshape(case.output)


def _bias(name: str, b: Array, w: Array, case: _Case) -> Array:
    if b.shape != case.bias and not (w.ndim == 2 and b.shape == (1,)):
        rule = f"b of shape {case.bias}, a number for each filter"
        raise failure(name, rule, w=w, b=b)
    return b.reshape(-1)


def conv_back(
    dLdy: Any,
    x: Any,
    w: Any,
    b: Any = None,
    y: Any = None,
    stride: Size = 1,
    padding: Size = 0,
) -> tuple[Array, Array, Array]:
    """Gradients of `conv` by the image, the filters and the biases.

    dx[i, j] = sum dLdy[m, n] w[i-m, j-n], the full correlation with the reversed filter;
    dw[i, j] = sum dLdy[k, l] x[k+i, l+j]; db = the sum of dLdy of each filter.

    dx and dw have the shapes of x and w; db is (filters,), for one filter (kh, kw) a 0-d array, and
    comes also if b is None.  b and the output `y` are not needed; their shapes are checked.

    >>> import numpy as np
    >>> from chainrule import flat
    >>> dx, dw, db = flat.conv_back([[1.0, 10.0]], [[1, 2, 3], [4, 5, 6]], np.ones((2, 2)))
    >>> dx.tolist(), dw.tolist(), float(db)
    ([[1.0, 11.0, 10.0], [1.0, 11.0, 10.0]], [[21.0, 32.0], [54.0, 65.0]], 11.0)
    """
    name = "conv_back"
    gy, x, w = floats(name, dLdy=dLdy, x=x, w=w)
    case = _case(name, x, w, stride, padding)
    if b is not None:
        _bias(name, floats(name, b=b)[0], w, case)
    check_same(name, "y", y, case.output)
    check_same(name, "dLdy", gy, case.output)
    bias = np.zeros(len(case.filters), gy.dtype)
    dx, dw, db = back(name, case.op, gy.reshape(case.inner), case.image, case.filters, bias)
    return dx.reshape(x.shape), dw.reshape(w.shape), db.reshape(case.bias)
