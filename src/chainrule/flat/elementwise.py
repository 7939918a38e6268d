"""Activations, dropout and batch normalisation."""

from __future__ import annotations

from typing import Any

import numpy as np

from chainrule.engine.op import Array, Op
from chainrule.engine.random import Generator, default_generator
from chainrule.errors import KindError, failure
from chainrule.flat.arrays import back, check_same, floats, plain, run
from chainrule.ops.activation import ReLU, Sigmoid, Tanh
from chainrule.ops.dropout import Dropout
from chainrule.ops.norm import BatchNorm


def _each(name: str, op: Op, x: Any) -> Array:
    (y,) = run(op, *floats(name, x=x))
    return y


def _each_back(name: str, op: Op, gy: Any, x: Any, y: Any) -> Array:
    gy, x = floats(name, dLdy=gy, x=x)
    check_same(name, "y", y, x.shape)
    (dx,) = back(name, op, gy, x)
    return np.asarray(dx)


def relu(x: Any) -> Array:
    """max(0, x), any shape.

    >>> from chainrule import flat
    >>> flat.relu([1, -2, 3, -1])
    array([1., 0., 3., 0.])
    """
    return _each("relu", ReLU(), x)


def relu_back(dLdy: Any, x: Any, y: Any = None) -> Array:
    """Gradient of `relu`: dLdy where x > 0, else 0, at exactly 0 too; `y` is not needed.

    >>> from chainrule import flat
    >>> flat.relu_back([4, -1, 5, 9], [1, -2, 3, -1])
    array([4., 0., 5., 0.])
    """
    return _each_back("relu_back", ReLU(), dLdy, x, y)


def sigmoid(x: Any) -> Array:
    """1 / (1 + exp(-x)), any shape.

    >>> from chainrule import flat
    >>> flat.sigmoid([0.0, 1.0]).round(4)
    array([0.5   , 0.7311])
    """
    return _each("sigmoid", Sigmoid(), x)


def sigmoid_back(dLdy: Any, x: Any, y: Any = None) -> Array:
    """Gradient of `sigmoid`: dLdy (1 - s) s with s = sigmoid(x); `y` is not needed.

    >>> from chainrule import flat
    >>> flat.sigmoid_back([1.0], [0.0])
    array([0.25])
    """
    return _each_back("sigmoid_back", Sigmoid(), dLdy, x, y)


def tanh(x: Any) -> Array:
    """(exp(x) - exp(-x)) / (exp(x) + exp(-x)), any shape.

    >>> from chainrule import flat
    >>> flat.tanh([0.0, 100.0])
    array([0., 1.])
    """
    return _each("tanh", Tanh(), x)


def tanh_back(dLdy: Any, x: Any, y: Any = None) -> Array:
    """Gradient of `tanh`: dLdy (1 - tanh(x)^2); `y` is not needed.

    >>> from chainrule import flat
    >>> flat.tanh_back([2.0], [0.0])
    array([2.])
    """
    return _each_back("tanh_back", Tanh(), dLdy, x, y)


def _dropout(name: str, p: Any) -> Dropout:
    if isinstance(p, bool) or not isinstance(p, int | float | np.number):
        raise failure(name, "a number as p", error=KindError, p=p)
    if not 0 <= p <= 1:
        raise failure(name, "a probability p in [0, 1]", p=p)
    return Dropout(0.0 if p == 1 else 1 / (1 - float(p)))


def dropout(x: Any, p: float = 0.5, generator: Generator | None = None) -> tuple[Array, Array]:
    """Set each value to 0 with probability p, divide the others by 1 - p; give (y, mask).

    The boolean mask says what stays; the backward wants it.  It comes from `generator`, or from
    the global one.

    >>> import chainrule as cr
    >>> y, mask = cr.flat.dropout([1.0] * 100, 0.75, cr.Generator(0))
    >>> sorted(set(y.tolist())), bool(((y == 4) == mask).all())
    ([0.0, 4.0], True)
    """
    op = _dropout("dropout", p)
    (x,) = floats("dropout", x=x)
    mask = (generator or default_generator()).bernoulli(1 - float(p), x.shape)
    (y,) = run(op, x, mask)
    return y, mask


def dropout_back(dLdy: Any, mask: Any, p: float = 0.5) -> Array:
    """Gradient of `dropout`: dLdy / (1 - p) where the mask is true, else 0.

    >>> from chainrule import flat
    >>> flat.dropout_back([1.0, 1.0], [True, False], 0.75)
    array([4., 0.])
    """
    op = _dropout("dropout_back", p)
    (gy,) = floats("dropout_back", dLdy=dLdy)
    kept = plain("dropout_back", "mask", mask)
    if kept.dtype != np.bool_:
        raise failure("dropout_back", "a boolean mask", error=KindError, mask=kept)
    check_same("dropout_back", "dLdy", gy, kept.shape)
    dx, _ = back("dropout_back", op, gy, np.zeros_like(gy), kept, needs=(True, False))
    return np.asarray(dx)


def _normalised(
    name: str, x: Array, gamma: Array, beta: Array, mean: Array | None, var: Array | None, eps: Any
) -> tuple[Op, list[Array]]:
    """Give the operation and its inputs; an image (C, H, W) counts as a batch of one."""
    if x.ndim not in (2, 3, 4):
        raise failure(name, "x (N, C), (C, H, W) or (N, C, H, W)", x=x)
    if (mean is None) != (var is None):
        raise failure(name, "mean and var both or neither")
    if not isinstance(eps, int | float | np.number) or not eps > 0:
        raise failure(name, "eps > 0", eps=eps)
    batch = x[None] if x.ndim == 3 else x
    if mean is None or var is None:
        return BatchNorm(True, float(eps)), [batch, gamma, beta]
    return BatchNorm(False, float(eps)), [batch, mean, var, gamma, beta]


def _batch_norm_inputs(
    name: str, mean: Any, var: Any, **values: Any
) -> tuple[list[Array], Array | None, Array | None]:
    statistics = {k: v for k, v in (("mean", mean), ("var", var)) if v is not None}
    arrays = floats(name, **values, **statistics)
    given = dict(zip((*values, *statistics), arrays, strict=True))
    return [given[k] for k in values], given.get("mean"), given.get("var")


def batch_norm(
    x: Any, gamma: Any, beta: Any, eps: float = 1e-5, mean: Any = None, var: Any = None
) -> Array:
    """Normalise each channel: (x - mean) / sqrt(var + eps) * gamma + beta.

    x is (N, C), (N, C, H, W), or one image (C, H, W); gamma and beta are (C,).  Mean and variance
    are the batch's own, as in training, or those that are given, as in evaluation.

    >>> from chainrule import flat
    >>> flat.batch_norm([[1.0], [3.0]], [1.0], [0.5]).round(2)
    array([[-0.5],
           [ 1.5]])
    """
    values, mean, var = _batch_norm_inputs("batch_norm", mean, var, x=x, gamma=gamma, beta=beta)
    x, gamma, beta = values
    op, inputs = _normalised("batch_norm", x, gamma, beta, mean, var, eps)
    return run(op, *inputs)[0].reshape(x.shape)


def batch_norm_back(
    dLdy: Any,
    x: Any,
    gamma: Any,
    eps: float = 1e-5,
    mean: Any = None,
    var: Any = None,
) -> tuple[Array, Array, Array]:
    """Gradients of `batch_norm`: dx (through the batch's mean and variance too), dgamma, dbeta.

    >>> from chainrule import flat
    >>> dx, dgamma, dbeta = flat.batch_norm_back([[1.0], [1.0]], [[1.0], [3.0]], [1.0])
    >>> abs(dx).max() < 1e-9, dbeta
    (np.True_, array([2.]))
    """
    name = "batch_norm_back"
    values, mean, var = _batch_norm_inputs(name, mean, var, dLdy=dLdy, x=x, gamma=gamma)
    gy, x, gamma = values
    check_same(name, "dLdy", gy, x.shape)
    op, inputs = _normalised(name, x, gamma, np.zeros_like(gamma), mean, var, eps)
    needs = (True, *[False] * (len(inputs) - 3), True, True)
    gradients = back(name, op, gy.reshape(inputs[0].shape), *inputs, needs=needs)
    return gradients[0].reshape(x.shape), gradients[-2], gradients[-1]
