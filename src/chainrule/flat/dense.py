"""The fully connected layer and flatten."""

from __future__ import annotations

from math import prod
from typing import Any

from chainrule.engine.op import Array
from chainrule.errors import failure
from chainrule.flat.arrays import back, check_same, floats, own, run
from chainrule.ops.linear import Linear


def _rows(name: str, x: Array, w: Array) -> Array:
    """See x as what Linear takes: a vector or a batch as they are, a column as a batch of one."""
    if w.ndim != 2:
        raise failure(name, "w (out, in)", w=w)
    inputs = w.shape[1]
    if x.ndim in (1, 2) and x.shape[-1] == inputs:
        return x
    if x.shape == (inputs, 1):
        return x.T
    rule = f"x ({inputs},), ({inputs}, 1) or (N, {inputs}), as w is {w.shape}"
    hint = ""
    if x.ndim > 1 and prod(x.shape) == inputs:
        hint = f"{'*'.join(map(str, x.shape))} = {inputs}: flatten(x) is missing"
    elif x.ndim > 2 and prod(x.shape[1:]) == inputs:
        hint = f"{'*'.join(map(str, x.shape[1:]))} = {inputs}: flatten(x) is missing"
    elif w.shape[0] == x.shape[-1 if x.ndim < 2 or x.shape[-1] != 1 else 0]:
        hint = "w seems transposed: it is (out, in)"
    raise failure(name, rule, hint=hint, x=x, w=w)


def _output(x: Array, rows: Array, w: Array) -> tuple[int, ...]:
    outputs = w.shape[0]
    if rows is x:
        return (*x.shape[:-1], outputs)
    return outputs, 1


def fc(x: Any, w: Any, b: Any = None) -> Array:
    """Fully connected layer: y = W x + b; deck 004.

    W is (out, in).  x is a vector (in,) -> (out,), a column (in, 1) -> (out, 1), or a batch
    (N, in) -> (N, out).  Where both readings fit, x (1, 1) with in = 1, it is a batch of one.
    b is (out,), or (out, 1) like a column.  Raises ShapeError where the sizes do not agree, and
    says if a flatten is missing.

    >>> from chainrule import flat
    >>> flat.fc([1.0, 2.0], [[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]], [0.5, 0.5, 0.5])
    array([1.5, 2.5, 3.5])
    """
    if b is None:
        x, w = floats("fc", x=x, w=w)
        bias: tuple[Array, ...] = ()
    else:
        x, w, b = floats("fc", x=x, w=w, b=b)
        if w.ndim == 2 and b.shape not in ((w.shape[0],), (w.shape[0], 1)):
            rule = f"b ({w.shape[0]},) or ({w.shape[0]}, 1), one for each row of w"
            raise failure("fc", rule, w=w, b=b)
        bias = (b.reshape(-1),)
    rows = _rows("fc", x, w)
    (y,) = run(Linear(), rows, w, *bias)
    return y.reshape(_output(x, rows, w))


def fc_back(dLdy: Any, x: Any, w: Any, y: Any = None) -> tuple[Array, Array, Array]:
    """Gradients of `fc`: dx = W^T dLdy, dw = dLdy x^T, db = dLdy, summed over a batch.

    dx has the shape of x, dw of w; db is (out,), for a column x (out, 1).  dLdy has the shape of
    the output; for a single x any form of out numbers in a line will do: (out,), (out, 1) or the
    row (1, out) of deck 004.  The output `y` is not needed.

    >>> from chainrule import flat
    >>> dx, dw, db = flat.fc_back([1.0, 10.0], [1.0, 2.0], [[1.0, 0.0], [0.0, 1.0]])
    >>> dx, dw.tolist(), db
    (array([ 1., 10.]), [[1.0, 2.0], [10.0, 20.0]], array([ 1., 10.]))
    """
    gy, x, w = floats("fc_back", dLdy=dLdy, x=x, w=w)
    rows = _rows("fc_back", x, w)
    shape = _output(x, rows, w)
    check_same("fc_back", "y", y, shape)
    outputs = w.shape[0]
    single = x.ndim == 1 or rows is not x
    if single and gy.shape in ((outputs,), (outputs, 1), (1, outputs)):
        gy = gy.reshape(shape)
    check_same("fc_back", "dLdy", gy, shape)
    gy_rows = gy.reshape((*rows.shape[:-1], outputs))
    dx, dw = back("fc_back", Linear(), gy_rows, rows, w)
    db = gy if single else gy.sum(axis=0)
    return dx.reshape(x.shape), dw, own(db, gy)


def flatten(x: Any) -> Array:
    """Write an image as a vector, a batch of images as a batch of vectors, row by row.

    (H, W) or (C, H, W) -> (C*H*W,); (N, C, H, W) -> (N, C*H*W); a vector stays.  A batch of
    vectors (N, F) is flat already, but cannot be told from an image (H, W): leave it out.

    >>> import numpy as np
    >>> from chainrule import flat
    >>> flat.flatten(np.zeros((2, 3, 4))).shape, flat.flatten(np.zeros((5, 2, 3, 4))).shape
    ((24,), (5, 24))
    """
    (x,) = floats("flatten", x=x)
    _check_images("flatten", x)
    return own(x.reshape((x.shape[0], prod(x.shape[1:])) if x.ndim == 4 else -1), x)


def flatten_back(dLdy: Any, x: Any, y: Any = None) -> Array:
    """Give the gradient of `flatten` the shape of x.

    >>> import numpy as np
    >>> from chainrule import flat
    >>> flat.flatten_back(np.arange(4.0), np.zeros((1, 2, 2))).tolist()
    [[[0.0, 1.0], [2.0, 3.0]]]
    """
    gy, x = floats("flatten_back", dLdy=dLdy, x=x)
    _check_images("flatten_back", x)
    shape = (x.shape[0], prod(x.shape[1:])) if x.ndim == 4 else (x.size,)
    check_same("flatten_back", "y", y, shape)
    check_same("flatten_back", "dLdy", gy, shape)
    return own(gy.reshape(x.shape), gy)


def _check_images(name: str, x: Array) -> None:
    if x.ndim not in (1, 2, 3, 4):
        raise failure(name, "x (F,), (H, W), (C, H, W) or (N, C, H, W)", x=x)
