"""Caffe's small layers that PyTorch has not, as functions; most are one line of others."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np

from chainrule.engine.op import Array, Spec, public
from chainrule.engine.sample import Sample, integers, normal
from chainrule.engine.tensor import Tensor, apply_all, as_tensor
from chainrule.errors import KindError, failure
from chainrule.ops.arguments import axis, flag, int_tuple, integer, numpy_names
from chainrule.ops.cast import cast
from chainrule.ops.compare import gt, ne
from chainrule.ops.elementwise import add, mul
from chainrule.ops.extrema import amax
from chainrule.ops.formulas import number
from chainrule.ops.index import getitem
from chainrule.ops.join import stack
from chainrule.ops.linear import linear
from chainrule.ops.loss_labels import Labelled, classes_last, pick
from chainrule.ops.permute import t
from chainrule.ops.power import pow
from chainrule.ops.reduce import mean, sum
from chainrule.ops.rounding import abs
from chainrule.ops.shape import flatten
from chainrule.ops.sort import topk
from chainrule.ops.unary import exp, log, square


@public
def eltwise(
    inputs: Sequence[Tensor], operation: str = "sum", coefficients: Sequence[float] | None = None
) -> Tensor:
    """Combine tensors of one shape, element by element, by their sum, product or largest.

    `operation` is "sum", with `coefficients` a weighed one, "product" or "max", where equal ones
    share the gradient.  Shapes: n times (...) -> (...).
    Raises ValueError for shapes that differ, for no tensors, for another operation and for
    coefficients that do not fit, TypeError for what is not a tuple or list.

    >>> import chainrule as cr
    >>> x, y = cr.tensor([1.0, 5.0]), cr.tensor([3.0, 2.0])
    >>> cr.eltwise((x, y), "sum", (1, -1)), cr.eltwise((x, y), "max")
    (tensor([-2.0, 3.0]), tensor([3.0, 5.0]))
    """
    name = "eltwise"
    if not isinstance(inputs, tuple | list):
        raise failure(name, "a tuple or list of tensors", error=KindError, inputs=inputs)
    xs = [as_tensor(x, name) for x in inputs]
    if not xs or any(x.shape != xs[0].shape for x in xs):
        raise failure(name, "tensors of one shape, at least one", shapes=[x.shape for x in xs])
    if operation not in ("sum", "product", "max"):
        raise failure(name, 'operation "sum", "product" or "max"', operation=operation)
    if coefficients is None:
        factors = [1.0] * len(xs)
    else:
        factors = [number(c, f"{name} coefficients") for c in coefficients]
        if operation != "sum" or len(factors) != len(xs):
            rule = f"coefficients for sums alone, one for each of {len(xs)} inputs"
            raise failure(name, rule, operation=operation, coefficients=tuple(factors))
    if operation == "max":
        return amax(stack(xs), 0)
    if operation == "product":
        return reduce(mul, xs)
    return reduce(add, [x if c == 1 else mul(x, c) for x, c in zip(xs, factors, strict=True)])


_REDUCTIONS: dict[str, Any] = {
    "sum": sum,
    "asum": lambda x, dims: sum(abs(x), dims),
    "sumsq": lambda x, dims: sum(square(x), dims),
    "mean": mean,
}


@public
@numpy_names
def reduction(
    input: Tensor, operation: str = "sum", dim: int = 0, coefficient: float = 1.0
) -> Tensor:
    """Reduce all axes from `dim` on to one number, times a coefficient.

    `operation`: "sum", "asum" (of absolute values), "sumsq" (of squares) or "mean".
    Shapes: (A, B, C) -> () for dim=0, (A,) for dim=1.
    Raises ValueError for another operation, IndexError for a wrong `dim`.

    >>> import chainrule as cr
    >>> cr.reduction(cr.tensor([[1.0, -2.0], [3.0, 4.0]]), "asum", dim=1, coefficient=2)
    tensor([6.0, 14.0])
    """
    x = as_tensor(input)
    if operation not in _REDUCTIONS:
        raise failure("reduction", f"one of {tuple(_REDUCTIONS)}", operation=operation)
    dims = tuple(range(axis(dim, x.ndim, "reduction"), x.ndim))
    y: Tensor = _REDUCTIONS[operation](x, dims)
    factor = number(coefficient, "reduction coefficient")
    return y if factor == 1 else mul(y, factor)


@dataclass(frozen=True)
class Accuracy(Labelled):
    """y = the share of labels whose score is among the `top_k` highest; also for each class.

    A score that equals the label's counts as a higher one.  Nothing flows back.
    """

    top_k: int = 1
    ignore_index: int | None = None  # type: ignore[assignment]

    reduction = "mean"

    def infer(self, x: Spec, t: Spec) -> tuple[Spec, ...]:  # type: ignore[override]
        super().infer(x, t)
        classes = x.shape[1 if x.ndim > 1 else 0]
        if not 1 <= self.top_k <= classes:
            raise failure(self, f"top_k in [1, {classes}], the number of classes", input=x)
        return Spec((), x.dtype, False), Spec((classes,), x.dtype, False)

    def forward(self, xp: Any, x: Array, t: Array) -> tuple[tuple[Array, ...], Any]:
        scores = classes_last(x)
        picked = pick(self, xp, scores, t, None)
        labels, classes = picked.at[-1].reshape(-1), scores.shape[-1]
        with xp.errstate(invalid="ignore"):
            lower = xp.sum(scores < xp.asarray(scores[picked.at])[..., None], axis=-1)
        right = (classes - 1 - lower < self.top_k).reshape(-1)
        valid = xp.ones_like(right) if picked.valid is None else picked.valid.reshape(-1)
        hits = xp.bincount(labels[right & valid], minlength=classes)
        seen = xp.bincount(labels[valid], minlength=classes)
        share = xp.asarray(hits.sum() / max(int(seen.sum()), 1))
        return (share.astype(x.dtype), (hits / xp.maximum(seen, 1)).astype(x.dtype)), None

    def backward(self, xp: Any, saved: Any, gy: Any, needs: tuple[bool, ...]) -> tuple[Any, ...]:
        return None, None

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        yield Sample(cls(), normal(6, 4), integers(6, high=4))
        yield Sample(cls(2), normal(2, 4, 3), integers(2, 3, high=4))
        yield Sample(cls(1, 0), normal(6, 4), integers(6, high=4))
        yield Sample(cls(2), normal(4), integers(high=4))


@public
def accuracy(
    input: Tensor,
    target: Tensor,
    top_k: int = 1,
    ignore_index: int | None = None,
    per_class: bool = False,
) -> Any:
    """Give the share of labels whose score is among the `top_k` highest, from 0 to 1.

    Shapes: scores (N, C), (N, C, d1, ...) or (C,), labels of that shape without C -> (); with
    `per_class` a pair of that and (C,), the shares for each class.  Labels equal to
    `ignore_index` do not count; the share of no labels is 0.  Another score equal to the label's
    counts as a higher one.  Nothing flows back.
    Raises IndexError for labels outside 0..C-1, ValueError for shapes and for top_k outside 1..C.

    >>> import chainrule as cr
    >>> scores = cr.tensor([[3.2, 5.1, -1.7], [1.3, 4.9, 2.0], [2.2, 2.5, -3.1]])
    >>> cr.accuracy(scores, cr.tensor([1, 1, 0])), cr.accuracy(scores, cr.tensor([1, 1, 0]), 2)
    (tensor(0.6667), tensor(1.0))
    """
    ignored = None if ignore_index is None else integer(ignore_index, "accuracy ignore_index")
    op = Accuracy(integer(top_k, "accuracy top_k"), ignored)
    share, by_class = apply_all(op, input, target)
    return (share, by_class) if flag(per_class, "accuracy per_class") else share


@public
def argmax_top_k(
    input: Tensor, top_k: int = 1, out_max_val: bool = False, dim: int | None = None
) -> Any:
    """Give the indices of the `top_k` highest values along `dim`, the highest first.

    Without `dim` each image is flattened first.  Shapes: (N, ...) -> (N, top_k), or with `dim`
    (..., C, ...) -> (..., top_k, ...), int64; with `out_max_val` a pair of that and the values.
    Raises ValueError for top_k out of range, IndexError for a wrong `dim`.

    >>> import chainrule as cr
    >>> cr.argmax_top_k(cr.tensor([[1.0, 7.0, 5.0]]), 2, out_max_val=True)
    (tensor([[1, 2]]), tensor([[7.0, 5.0]]))
    """
    x = as_tensor(input)
    values, indices = topk(flatten(x, 1), top_k, 1) if dim is None else topk(x, top_k, dim)
    return (indices, values) if flag(out_max_val, "argmax_top_k out_max_val") else indices


@public
def batch_reindex(input: Tensor, index: Tensor) -> Tensor:
    """Choose images of a batch anew: y[i] = input[index[i]]; one may come several times, or never.

    Shapes: (N, ...), (M,) -> (M, ...).  Raises IndexError for an index outside the batch,
    ValueError for an index that is no vector, TypeError for one that holds no integers.

    >>> import chainrule as cr
    >>> cr.batch_reindex(cr.tensor([[1.0], [2.0], [3.0]]), cr.tensor([2, 0, 2]))
    tensor([[3.0],
            [1.0],
            [3.0]])
    """
    x, i = as_tensor(input), as_tensor(index)
    if i.dtype.kind not in "iu":
        raise failure("batch_reindex", "an index of integers", error=KindError, index=i)
    if i.ndim != 1:
        raise failure("batch_reindex", "a vector of indices", index=i)
    return getitem(x, cast(i, np.int64))


@public
@numpy_names
def crop(input: Tensor, reference: Any, dim: int = 2, offset: Any = 0) -> Tensor:
    """Cut the axes from `dim` on to the sizes of a reference, a tensor or a shape.

    `offset` says where the cut begins, in all these axes or one by one.
    Shapes: (N, C, H, W), (..., h, w) -> (N, C, h, w) for dim=2.
    Raises ValueError where the cut does not fit, IndexError for a wrong `dim`.

    >>> import chainrule as cr
    >>> cr.crop(cr.zeros(1, 2, 8, 9), cr.zeros(1, 5, 6, 6), offset=(1, 2)).shape
    (1, 2, 6, 6)
    """
    x = as_tensor(input)
    first = axis(dim, x.ndim, "crop")
    sizes = int_tuple(getattr(reference, "shape", reference), "crop reference", bare=False)
    if len(sizes) != x.ndim:
        raise failure("crop", f"a reference of {x.ndim} axes", input=x, reference=sizes)
    offsets = int_tuple(offset, "crop offset")
    count = x.ndim - first
    if len(offsets) not in (1, count):
        raise failure("crop", f"1 or {count} offsets, for the axes from {first} on", offset=offset)
    offsets = offsets * count if len(offsets) == 1 else offsets
    cut = []
    for d, start in enumerate(offsets, first):
        if start < 0 or start + sizes[d] > x.shape[d]:
            rule = f"offset + size within dim {d}: {start} + {sizes[d]} <= {x.shape[d]}"
            raise failure("crop", rule, input=x, reference=sizes)
        cut.append(slice(start, start + sizes[d]))
    return getitem(x, (*(slice(None),) * first, *cut))


@public
def filter_batch(inputs: Sequence[Tensor], selector: Tensor) -> tuple[Tensor, ...]:
    """Keep, in each of several batches, the images whose selector is not 0.

    Shapes: (N, ...) each, selector (N,) or (N, 1, ...) -> (M, ...) each, M the number kept.
    Raises ValueError for batches of another size than the selector's.

    >>> import chainrule as cr
    >>> cr.filter_batch((cr.tensor([1.0, 2.0, 3.0]),), cr.tensor([1, 0, 1]))
    (tensor([1.0, 3.0]),)
    """
    mask = ne(flatten(as_tensor(selector)), 0)
    xs = [as_tensor(x, "filter_batch") for x in inputs]
    for x in xs:
        if x.shape[:1] != mask.shape:
            rule = f"batches of {mask.shape[0]}, one for each element of the selector"
            raise failure("filter_batch", rule, input=x, selector=mask)
    return tuple([getitem(x, mask) for x in xs])


@public
@numpy_names
def inner_product(
    input: Tensor, weight: Tensor, bias: Tensor | None = None, dim: int = 1, transpose: bool = False
) -> Tensor:
    """Connect fully all that stands from axis `dim` on: `linear` after `flatten(input, dim)`.

    Shapes: (N, ...), (out, in), (out,) -> (N, out) for dim=1, in the product of the rest; a weight
    (in, out) with `transpose`.  Raises as `linear` and `flatten` do.

    >>> import chainrule as cr
    >>> cr.inner_product(cr.ones(2, 3, 4), cr.ones(5, 12)).shape
    (2, 5)
    """
    turned = flag(transpose, "inner_product transpose")
    return linear(flatten(input, dim), t(as_tensor(weight)) if turned else weight, bias)


@public
def binary_threshold(input: Tensor, threshold: float = 0.0) -> Tensor:
    """Give 1 where the input is above a threshold, else 0; Caffe's `threshold`, not PyTorch's.

    Shapes: any -> the same, in the input's dtype.  Nothing flows back.

    >>> import chainrule as cr
    >>> cr.binary_threshold(cr.tensor([-1.0, 0.5, 2.0]), 0.5)
    tensor([0.0, 0.0, 1.0])
    """
    x = as_tensor(input)
    return cast(gt(x, number(threshold, "binary_threshold threshold")), x.dtype)


def _affine(name: str, input: Any, scale: Any, shift: Any) -> Tensor:
    """Give shift + scale * x, without the steps that change nothing."""
    x = as_tensor(input)
    factor, offset = number(scale, f"{name} scale"), number(shift, f"{name} shift")
    x = x if factor == 1 else mul(x, factor)
    return x if offset == 0 else add(x, offset)


def _log_of_base(name: str, base: Any) -> float:
    value = number(base, f"{name} base")
    if not value > 0:
        raise failure(name, "a base above 0, or None for e", base=base)
    return math.log(value)


@public
def scaled_power(
    input: Tensor, power: float = 1.0, scale: float = 1.0, shift: float = 0.0
) -> Tensor:
    """Give (shift + scale * input) ** power, as Caffe's `power`.

    Shapes: any -> the same.  A negative number with a fractional power gives NaN.

    >>> import chainrule as cr
    >>> cr.scaled_power(cr.tensor([1.0, 2.0]), 2, scale=3, shift=1)
    tensor([16.0, 49.0])
    """
    y = _affine("scaled_power", input, scale, shift)
    return pow(y, number(power, "scaled_power power"))


@public
def scaled_exp(
    input: Tensor, base: float | None = None, scale: float = 1.0, shift: float = 0.0
) -> Tensor:
    """Give base ** (shift + scale * input), as Caffe's `exp`; e is the base unless one is given.

    Shapes: any -> the same.  Raises ValueError for a base that is not above 0.

    >>> import chainrule as cr
    >>> cr.scaled_exp(cr.tensor([0.0, 1.0]), base=2, scale=3)
    tensor([1.0, 8.0])
    """
    y = _affine("scaled_exp", input, scale, shift)
    return exp(y if base is None else mul(y, _log_of_base("scaled_exp", base)))


@public
def scaled_log(
    input: Tensor, base: float | None = None, scale: float = 1.0, shift: float = 0.0
) -> Tensor:
    """Give the logarithm of shift + scale * input, as Caffe's `log`; to base e unless given.

    Shapes: any -> the same.  Raises ValueError for a base that is 1 or not above 0.

    >>> import chainrule as cr
    >>> cr.scaled_log(cr.tensor([1.0, 8.0]), base=2)
    tensor([0.0, 3.0])
    """
    y = log(_affine("scaled_log", input, scale, shift))
    if base is None:
        return y
    natural = _log_of_base("scaled_log", base)
    if natural == 0:
        raise failure("scaled_log", "a base other than 1", base=base)
    return mul(y, 1 / natural)
