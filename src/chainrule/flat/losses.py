"""Softmax, and the losses of decks 002 to 004 on class scores."""

from __future__ import annotations

from typing import Any

import numpy as np

from chainrule.engine.op import Array, Op
from chainrule.errors import KindError, LabelError, failure
from chainrule.flat.arrays import back, check_same, floats, plain, run
from chainrule.ops.loss_class import CrossEntropy, SoftCrossEntropy
from chainrule.ops.loss_margin import MultiMarginLoss
from chainrule.ops.softmax import Softmax


def _batch(name: str, x: Array) -> Array:
    """See scores as (N, C): a vector (C,) and a column (C, 1) are one image's."""
    if x.ndim not in (1, 2) or x.size == 0:
        raise failure(name, "scores (C,), (C, 1) or (N, C), at least one of each", x=x)
    if x.ndim == 1 or _is_column(x):
        return x.reshape(1, -1)
    return x


def _is_column(x: Array) -> bool:
    return x.ndim == 2 and x.shape[1] == 1 and x.shape[0] > 1


def softmax(x: Any) -> Array:
    """exp(x) / sum(exp(x)) over the classes: of a vector (C,), a column (C, 1), each row (N, C).

    >>> from chainrule import flat
    >>> flat.softmax([3.2, 5.1, -1.7]).round(5)
    array([0.12998, 0.86905, 0.00097])
    """
    (x,) = floats("softmax", x=x)
    (y,) = run(Softmax(1), _batch("softmax", x))
    return y.reshape(x.shape)


def softmax_back(dLdy: Any, x: Any, y: Any = None) -> Array:
    """Gradient of `softmax`: y (dLdy - sum(dLdy y)); `y` is not needed.

    >>> from chainrule import flat
    >>> flat.softmax_back([1.0, 0.0], [0.0, 0.0])
    array([ 0.25, -0.25])
    """
    gy, x = floats("softmax_back", dLdy=dLdy, x=x)
    check_same("softmax_back", "y", y, x.shape)
    check_same("softmax_back", "dLdy", gy, x.shape)
    rows = _batch("softmax_back", x)
    (dx,) = back("softmax_back", Softmax(1), gy.reshape(rows.shape), rows)
    return np.asarray(dx).reshape(x.shape)


def _target(name: str, x: Array, rows: Array, y_gt: Any) -> tuple[Array, bool]:
    """Give labels (N,), or probabilities (N, C) and True."""
    target = plain(name, "y_gt", y_gt)
    images, classes = rows.shape
    single = x.ndim == 1 or _is_column(x)
    one_hot = [x.shape, *([(classes,)] if single else [])]
    labels = [(images,), *([()] if single else [])]
    if target.shape in labels and target.shape not in one_hot:
        return _labels(name, target.reshape(-1), classes), False
    if target.shape not in one_hot:
        rule = f"y_gt: labels {labels[-1]}, or one-hot {' or '.join(map(str, one_hot))}"
        raise failure(name, rule, x=x, y_gt=target)
    shares = target.reshape(rows.shape)
    sums = shares.sum(axis=1)
    if not (shares >= 0).all() or not np.allclose(sums, 1, rtol=0, atol=1e-4):
        bad = int(np.argmax(~np.isclose(sums, 1, rtol=0, atol=1e-4) | (shares < 0).any(axis=1)))
        rule = f"one-hot rows, not negative and summing to 1; row {bad} sums to {sums[bad]:.6g}"
        raise failure(name, rule, error=LabelError, y_gt=target)
    return shares.astype(x.dtype, copy=False), True


def _labels(name: str, target: Array, classes: int) -> Array:
    if target.dtype.kind not in "iu":
        rule = "labels that are integers"
        raise failure(name, rule, error=KindError, hint="write y.astype(int)", y_gt=target)
    wrong = (target < 0) | (target >= classes)
    if wrong.any():
        at = int(wrong.argmax())
        rule = f"labels in 0..{classes - 1}; label {at} is {target[at]}"
        raise failure(name, rule, error=LabelError)
    return target


def _cross_entropy(name: str, x: Any, y_gt: Any) -> tuple[Op, Array, Array, Array]:
    (x,) = floats(name, x=x)
    rows = _batch(name, x)
    target, shares = _target(name, x, rows, y_gt)
    return (SoftCrossEntropy() if shares else CrossEntropy()), x, rows, target


def loss_cross_entropy_softmax(x: Any, y_gt: Any) -> tuple[Any, Array]:
    """Softmax and cross-entropy in one: L = -sum(y_gt log softmax(x)), dLdx = softmax(x) - y_gt.

    Scores x are (C,), a column (C, 1) or a batch (N, C), whose mean it is; y_gt are labels (a
    number, or (N,)) or one-hot rows (or probabilities that sum to 1) in the shape of x.  Gives
    (L, dLdx); deck 004.  Raises IndexError for labels outside 0..C-1 and for rows that do not sum
    to 1.

    >>> from chainrule import flat
    >>> loss, dLdx = flat.loss_cross_entropy_softmax([3.2, 5.1, -1.7], 0)
    >>> float(loss.round(5)), dLdx.round(5)
    (2.04036, array([-0.87002,  0.86905,  0.00097]))
    """
    op, x, rows, target = _cross_entropy("loss_cross_entropy_softmax", x, y_gt)
    (loss,) = run(op, rows, target)
    return loss[()], _descend("loss_cross_entropy_softmax", op, x, rows, target)


def loss_ce_back(x: Any, y_gt: Any) -> Array:
    """Give only the gradient of `loss_cross_entropy_softmax` by the scores.

    >>> from chainrule import flat
    >>> flat.loss_ce_back([0.0, 0.0], [1, 0])
    array([-0.5,  0.5])
    """
    op, x, rows, target = _cross_entropy("loss_ce_back", x, y_gt)
    return _descend("loss_ce_back", op, x, rows, target)


def _descend(name: str, op: Op, x: Array, rows: Array, target: Array) -> Array:
    """Give the gradient of a loss by the scores, in their shape."""
    dx, _ = back(name, op, np.ones((), x.dtype), rows, target, needs=(True, False))
    return np.asarray(dx).reshape(x.shape)


def _svm(name: str, x: Any, y_gt: Any, margin: Any) -> tuple[Op, Array, Array, Array]:
    if isinstance(margin, bool) or not isinstance(margin, int | float | np.number):
        raise failure(name, "a number as margin", error=KindError, margin=margin)
    (x,) = floats(name, x=x)
    rows = _batch(name, x)
    target, shares = _target(name, x, rows, y_gt)
    if shares:
        if not np.isin(target, (0, 1)).all():
            raise failure(name, "labels or one-hot rows", error=LabelError, y_gt=target)
        target = target.argmax(axis=1)
    return MultiMarginLoss(1, float(margin), "mean"), x, rows, target


def svm_loss(x: Any, y_gt: Any, margin: float = 1.0) -> Any:
    """Multiclass SVM loss of the slides: sum over wrong classes j of max(0, x[j] - x[right] + 1).

    The mean over a batch (N, C); scores and labels as in `loss_cross_entropy_softmax`.  Not divided
    by the number of classes, as `multi_margin_loss` is.

    >>> from chainrule import flat
    >>> float(flat.svm_loss([3.2, 5.1, -1.7], 0).round(4))
    2.9
    """
    op, _, rows, target = _svm("svm_loss", x, y_gt, margin)
    (loss,) = run(op, rows, target)
    return (loss * rows.dtype.type(rows.shape[1]))[()]


def svm_loss_back(x: Any, y_gt: Any, margin: float = 1.0) -> Array:
    """Give the gradient of `svm_loss` by the scores: 1/N where a margin is broken, less at y_gt.

    >>> from chainrule import flat
    >>> flat.svm_loss_back([3.2, 5.1, -1.7], 0)
    array([-1.,  1.,  0.])
    """
    op, x, rows, target = _svm("svm_loss_back", x, y_gt, margin)
    scale = np.full((), rows.shape[1], x.dtype)  # undoes the division by C
    dx, _ = back("svm_loss_back", op, scale, rows, target, needs=(True, False))
    return np.asarray(dx).reshape(x.shape)
