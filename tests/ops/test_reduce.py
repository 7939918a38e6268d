"""Reductions, running sums, extremes and quantifiers: against plain loops and SciPy."""

from __future__ import annotations

import math
import statistics
import warnings
from collections.abc import Callable
from itertools import accumulate
from typing import Any

import numpy as np
import pytest
import scipy.special
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import chainrule as cr
from chainrule.ops.accumulate import CumSum, LogSumExp, Prod
from chainrule.ops.broadcast import sum_to, total
from chainrule.ops.extrema import Extreme, ExtremeAlong
from chainrule.ops.reduce import Mean, Sum, Var
from tests.ops.test_elementwise import channels_last, drawn, order

NAN, INF = math.nan, math.inf


def cells(shape: tuple[int, ...], axes: tuple[int, ...]) -> dict[tuple[int, ...], list[Any]]:
    """List, for each place of a reduction's result, the places that go into it, in order."""
    kept = tuple(1 if i in axes else n for i, n in enumerate(shape))
    groups: dict[tuple[int, ...], list[Any]] = {place: [] for place in np.ndindex(*kept)}
    for place in np.ndindex(*shape):
        groups[tuple(0 if i in axes else p for i, p in enumerate(place))].append(place)
    return groups


def looped(fn: Callable[[list[float]], Any], a: Any, axes: tuple[int, ...]) -> Any:
    """Apply a function of a list of numbers to each group of elements; axes are kept."""
    result = np.zeros(tuple(1 if i in axes else n for i, n in enumerate(a.shape)))
    for place, group in cells(a.shape, axes).items():
        result[place] = fn([a[p].item() for p in group])
    return result


def softmaxed(v: list[float]) -> list[float]:
    return [math.exp(x) / sum(math.exp(y) for y in v) for x in v]


def shared(best: Callable[[list[float]], float]) -> Callable[[list[float]], list[float]]:
    return lambda v: [(x == best(v)) / v.count(best(v)) for x in v]


def centred(v: list[float]) -> list[float]:
    return [2 * (x - statistics.fmean(v)) / (len(v) - 1) for x in v]


def scaled(v: list[float]) -> list[float]:
    return [g / (2 * statistics.stdev(v)) for g in centred(v)]


Oracle = tuple[Callable[[list[float]], float], Callable[[list[float]], list[float]]]
ORACLES: dict[str, Oracle] = {  # the value, and the slope by each element
    "sum": (math.fsum, lambda v: [1.0] * len(v)),
    "mean": (statistics.fmean, lambda v: [1 / len(v)] * len(v)),
    "var": (statistics.variance, centred),
    "std": (statistics.stdev, scaled),
    "prod": (math.prod, lambda v: [math.prod(v[:i] + v[i + 1 :]) for i in range(len(v))]),
    "logsumexp": (lambda v: math.log(math.fsum(map(math.exp, v))), softmaxed),
    "amax": (max, shared(max)),
    "amin": (min, shared(min)),
}
DIMS: list[tuple[Any, tuple[int, ...]]] = [
    (0, (0,)), (1, (1,)), (-1, (2,)), ((0, 1), (0, 1)), ((2, 0), (0, 2)), ([1, -1], (1, 2)),
    ((0, 1, 2), (0, 1, 2)), (None, (0, 1, 2)), ((), (0, 1, 2)),
]  # fmt: skip


@pytest.mark.parametrize("keepdim", [False, True])
@pytest.mark.parametrize(("dim", "axes"), DIMS, ids=str)
@pytest.mark.parametrize("name", ORACLES)
def test_against_loops(name: str, dim: Any, axes: tuple[int, ...], keepdim: bool) -> None:
    if (name == "prod" and not isinstance(dim, int | None)) or (name, dim) == ("logsumexp", None):
        return
    value, slope = ORACLES[name]
    a = drawn(2, 3, 4).round(1 if name in ("amax", "amin") else 9)  # ties for these two
    x = cr.tensor(a, requires_grad=True)
    y = getattr(cr, name)(x, dim=dim, keepdim=keepdim)
    expected = looped(value, a, axes)
    shape = expected.shape if keepdim else tuple(n for i, n in enumerate(a.shape) if i not in axes)
    assert y.shape == shape
    np.testing.assert_allclose(y.detach().numpy(), expected.reshape(shape), rtol=1e-11)
    gy = drawn(*shape, seed=1)
    y.backward(cr.tensor(gy))
    gx = np.zeros(a.shape)
    for place, group in cells(a.shape, axes).items():
        for p, s in zip(group, slope([a[p].item() for p in group]), strict=True):
            gx[p] = gy.reshape(expected.shape)[place] * s
    assert x.grad is not None
    np.testing.assert_allclose(x.grad.numpy(), gx, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", ["max", "min", "argmax", "argmin"])
@pytest.mark.parametrize("dim", [0, 1, 2, -1, -3])
def test_extremes_along_an_axis(name: str, dim: int) -> None:
    a = drawn(3, 4, 5).round(0)  # many ties: the first counts
    best = max if name.endswith("max") else min
    first = looped(lambda v: v.index(best(v)), a, (dim % 3,))
    for keepdim in (False, True):
        x = cr.tensor(a, requires_grad=True)
        result = getattr(cr, name)(x, dim, keepdim)
        index = result if name.startswith("arg") else result.indices
        np.testing.assert_array_equal(index.numpy(), first if keepdim else first.squeeze(dim))
        assert index.dtype == np.int64
        if name.startswith("arg"):
            continue
        values = np.take_along_axis(a, first.astype(int), dim)
        assert result.values.tolist() == (values if keepdim else values.squeeze(dim)).tolist()
        result.values.sum().backward()
        gx = np.zeros(a.shape)
        np.put_along_axis(gx, first.astype(int), 1.0, dim)
        assert x.grad is not None
        np.testing.assert_array_equal(x.grad.numpy(), gx)


def test_flat_index_is_in_the_logical_order() -> None:
    a = channels_last(2, 3, 4, 5)
    assert cr.argmax(cr.from_numpy(a)).item() == int(np.argmax(np.ascontiguousarray(a)))
    assert cr.argmin(cr.from_numpy(a[::-1, :, ::2]), keepdim=True).shape == (1, 1, 1, 1)


def test_nan_is_the_extreme() -> None:
    x = cr.tensor([1.0, NAN, 3.0, NAN], requires_grad=True)
    for name in ("max", "min"):
        value, index = getattr(cr, name)(x, 0)
        assert math.isnan(value.item())
        assert index.item() == 1
        x.grad = None
        getattr(cr, name)(x).backward()
        assert x.grad is not None
        assert x.grad.tolist() == [0.0, 0.5, 0.0, 0.5]


def test_max_of_two_and_its_forms() -> None:
    x, y = cr.tensor([1.0, 5.0]), cr.tensor([4.0, 2.0])
    assert cr.max(x, y).tolist() == cr.max(x, other=y).tolist() == x.max(y).tolist() == [4.0, 5.0]
    assert cr.min(x, y.numpy()).tolist() == [1.0, 2.0]
    assert cr.max(x).shape == ()
    values, indices = cr.max(x, dim=0)
    assert (values.item(), indices.item()) == (5.0, 1)


@pytest.mark.parametrize("dtype", [np.bool_, np.uint8, np.int8, np.int16, np.int32, np.int64])
def test_integers_are_summed_in_int64(dtype: Any) -> None:
    a = np.array([[100, 100, 1], [0, 27, 3]]).astype(dtype)
    for name in ("sum", "prod", "cumsum"):
        y = getattr(cr, name)(cr.tensor(a), 1)
        assert y.dtype == np.int64
        assert y.tolist() == getattr(np, name)(a.astype(np.int64), 1).tolist()
    assert cr.count_nonzero(cr.tensor(a)).item() == 5
    assert cr.amax(cr.tensor(a)).dtype == dtype


def test_dtype_converts_before_the_sum() -> None:
    half = cr.tensor(np.full(3000, 100.0, np.float16))
    assert half.sum(dtype=cr.float32).item() == 300_000
    assert half.sum().item() == INF
    assert half.mean().item() == 100.0
    assert cr.tensor([1.9, 1.9]).sum(dtype=cr.int64).item() == 2
    assert cr.tensor([3, 4]).mean(dtype=cr.float64).item() == 3.5


@given(
    hnp.array_shapes(min_dims=1, max_dims=4, max_side=60),
    st.data(),
    st.sampled_from(["C", "F", "last", "flipped", "sliced"]),
)
def test_total_adds_every_element_once(shape: Any, data: Any, kind: str) -> None:
    """Whole numbers small enough make float32 sums exact, however they are split."""
    axes = tuple(data.draw(st.sets(st.integers(0, len(shape) - 1), min_size=1)))
    a = np.random.default_rng(0).integers(-4, 5, shape).astype(np.float32)
    if kind == "last" and a.ndim > 2:
        a = np.moveaxis(np.ascontiguousarray(np.moveaxis(a, 1, -1)), -1, 1)
    a = {"F": np.asfortranarray(a), "flipped": a[::-1], "sliced": a[..., ::2]}.get(kind, a)
    for keepdims in (False, True):
        expected = a.astype(np.float64).sum(axis=axes, keepdims=keepdims)
        y = total(np, a, axes, keepdims)
        assert y.dtype == np.float32
        np.testing.assert_array_equal(y, expected)


LONG: list[tuple[tuple[int, ...], tuple[int, ...]]] = [
    ((200_003, 2), (0,)),
    ((2, 200_003), (1,)),
    ((300, 7, 301, 2), (0, 2)),
    ((40, 3, 41, 43), (0, 2, 3)),
    ((5, 1100, 1100), (1, 2)),
    ((1100, 5, 1100), (0, 1)),
]


@pytest.mark.parametrize(("shape", "axes"), LONG, ids=str)
def test_long_float32_sums_are_accurate(shape: Any, axes: Any) -> None:
    a = np.random.default_rng(0).uniform(0.5, 1, shape).astype(np.float32)
    for x in (a, np.asfortranarray(a), a[::-1]):
        exact = x.sum(axis=axes, dtype=np.float64)
        y = cr.from_numpy(x).sum(axes)
        np.testing.assert_allclose(y.numpy(), exact, rtol=1e-6)
        mean = cr.from_numpy(x).mean(axes)
        np.testing.assert_allclose(mean.numpy(), exact / (a.size / exact.size), rtol=1e-6)
    running = cr.cumsum(cr.from_numpy(a), axes[0])
    double = np.cumsum(a, axis=axes[0], dtype=np.float64)
    np.testing.assert_allclose(running.numpy(), double, rtol=1e-7)


def test_gradient_of_a_bias_is_accurate() -> None:
    g = np.random.default_rng(0).uniform(0.5, 1, (150_000, 3)).astype(np.float32)
    exact = g.sum(axis=0, dtype=np.float64)
    np.testing.assert_allclose(sum_to(np, g, (3,)), exact, rtol=1e-6)
    np.testing.assert_allclose(sum_to(np, g, (1, 3)), exact[None], rtol=1e-6)


def test_variance_does_not_cancel() -> None:
    a = 10_000 + np.random.default_rng(0).standard_normal(5000).astype(np.float32)
    expected = a.astype(np.float64).var(ddof=1)
    np.testing.assert_allclose(cr.tensor(a).var().item(), expected, rtol=1e-5)
    np.testing.assert_allclose(cr.tensor(a).std().item(), math.sqrt(expected), rtol=1e-5)


@pytest.mark.parametrize("correction", [0, 1, 2, 0.5, -1])
def test_corrections(correction: float) -> None:
    a = drawn(3, 5)
    squares = ((a - a.mean(1, keepdims=True)) ** 2).sum(1)
    y = cr.var(cr.tensor(a), 1, correction=correction)
    np.testing.assert_allclose(y.numpy(), squares / (5 - correction))


def test_old_ways_to_write_a_correction() -> None:
    x = cr.tensor(drawn(3, 5))
    biased, unbiased = x.var(correction=0).item(), x.var().item()
    assert x.var(False).item() == x.var(unbiased=False).item() == biased
    assert x.var(True).item() == x.var(None, True).item() == unbiased
    assert x.std(1, False).tolist() == x.std(1, correction=0).tolist()
    assert x.std(1, True, True).shape == (3, 1)


def test_deviation_of_equal_values_has_gradient_0() -> None:
    x = cr.tensor([2.0, 2.0, 2.0], requires_grad=True)
    y = x.std()
    y.backward()
    assert x.grad is not None
    assert (y.item(), x.grad.tolist()) == (0.0, [0.0, 0.0, 0.0])


@pytest.mark.parametrize("zeros", [(), (1,), (0, 3), (0, 1, 2, 3)])
def test_product_with_zeros(zeros: tuple[int, ...]) -> None:
    a = np.array([2.0, -3.0, 0.5, 4.0])
    a[list(zeros)] = 0
    slope = ORACLES["prod"][1](a.tolist())
    for x in (cr.tensor(a, requires_grad=True), cr.tensor(a[:, None], requires_grad=True)):
        cr.prod(x, 0).sum().backward()
        assert x.grad is not None
        assert x.grad.reshape(-1).tolist() == slope


def test_logsumexp_against_scipy() -> None:
    a = drawn(4, 5) * 300
    for dim in (0, 1, (0, 1)):
        y = cr.logsumexp(cr.tensor(a), dim)
        np.testing.assert_allclose(y.numpy(), scipy.special.logsumexp(a, axis=dim), rtol=1e-13)
    big = cr.tensor([[1e30, 1e30], [-1e30, -1e30], [-INF, 0.0], [INF, 0.0], [-INF, -INF]])
    assert cr.logsumexp(big, 1).tolist()[2:] == [0.0, INF, -INF]
    assert cr.isfinite(cr.logsumexp(big[:2], 1)).all()


@given(st.lists(st.floats(-100, 100), min_size=1, max_size=30))
def test_running_sum(values: list[float]) -> None:
    x = cr.tensor(np.array(values), requires_grad=True)
    y = cr.cumsum(x, 0)
    np.testing.assert_allclose(y.detach().numpy(), list(accumulate(values)), rtol=1e-12, atol=1e-12)
    y.backward(cr.tensor(np.array(values)))
    backwards = list(accumulate(values[::-1]))[::-1]
    assert x.grad is not None
    np.testing.assert_allclose(x.grad.numpy(), backwards, rtol=1e-12, atol=1e-12)


def test_of_nothing() -> None:
    """The neutral element where there is one, NaN for averages, an error for extremes."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        x = cr.zeros(2, 0, requires_grad=True)
        assert cr.sum(x).item() == 0
        assert cr.prod(x).item() == 1
        assert math.isnan(cr.mean(x).item())
        assert math.isnan(cr.var(x).item())
        assert cr.logsumexp(x, 1).tolist() == [-INF, -INF]
        assert cr.any(x).item() is False
        assert cr.all(x).item() is True
        assert cr.max(x, 0).values.shape == cr.argmax(x, 0).shape == cr.amin(x, 0).shape == (0,)
        assert cr.cumsum(x, 1).shape == (2, 0)
        assert cr.mean(x, 0).shape == (0,)
        for y in (x.sum(), x.mean(), x.var(), x.prod(), x.std(0).sum(), x.logsumexp(1).sum()):
            x.grad = None
            y.backward()
            assert x.grad is not None
            assert x.grad.shape == (2, 0)


REFUSALS: list[tuple[Callable[[], Any], type[Exception], str]] = [
    (lambda: cr.max(cr.zeros(0)), RuntimeError, "max: expected at least one element; .*name a dim"),
    (lambda: cr.amin(cr.zeros(2, 0)), RuntimeError, "amin: expected at least one element"),
    (lambda: cr.max(cr.zeros(2, 0), 1), IndexError, "max: .* at least one element along dim 1"),
    (lambda: cr.amax(cr.zeros(2, 0), 1), IndexError, "amax: .* at least one element along dim 1"),
    (lambda: cr.argmax(cr.zeros(0)), IndexError, "argmax: expected at least one element"),
    (lambda: cr.argmin(cr.zeros(2, 0), 1), IndexError, "argmin: .* along dim 1"),
    (lambda: cr.argmax(cr.tensor([True])), RuntimeError, "argmax: expected numbers, not booleans"),
    (lambda: cr.sum(cr.ones(2), 1), IndexError, r"sum: expected dim in \[-1, 0\].*got dim 1"),
    (lambda: cr.sum(cr.ones(2), (0, -1)), RuntimeError, "sum: expected every dimension once"),
    (lambda: cr.sum(cr.ones(2), "0"), TypeError, "sum: expected dim"),
    (lambda: cr.sum(cr.ones(2), dim=0, axis=0), TypeError, "sum: expected one of dim and axis"),
    (lambda: cr.mean(cr.tensor([1])), RuntimeError, "mean: .* convert first: dtype=cr.float32"),
    (lambda: cr.var(cr.tensor([1])), RuntimeError, "var: expected a floating-point input"),
    (lambda: cr.std(cr.tensor([1])), TypeError, "std: expected a floating-point input"),
    (lambda: cr.var(cr.ones(2), 0, True, correction=1), TypeError, "either unbiased.* or correct"),
    (lambda: cr.var(cr.ones(2), correction="1"), TypeError, "either unbiased"),
    (lambda: cr.var(cr.ones(2), True, False), TypeError, "var: expected an integer"),
    (lambda: cr.logsumexp(cr.ones(2), None), TypeError, "logsumexp: expected an integer"),
    (lambda: cr.prod(cr.ones(2, 2), (0, 1)), TypeError, "prod: expected a dimension"),
    (lambda: cr.cumsum(cr.ones(2), 1), IndexError, "cumsum: expected dim"),
    (lambda: cr.max(cr.ones(2), keepdim=True), TypeError, "max: expected dim together"),
    (lambda: cr.max(cr.ones(2), 0, other=cr.ones(2)), TypeError, "max: expected either other"),
    (lambda: cr.sum([1.0]), TypeError, "expected a tensor, an array or a number"),
]


@pytest.mark.parametrize(("call", "kind", "text"), REFUSALS)
def test_refusals(call: Callable[[], Any], kind: type[Exception], text: str) -> None:
    with pytest.raises(kind, match=text) as caught:
        call()
    assert isinstance(caught.value, cr.ChainruleError)


def test_numpys_names() -> None:
    x = cr.tensor(drawn(2, 3))
    assert x.sum(axis=1, keepdims=True).shape == (2, 1)
    assert x.max(axis=0).values.shape == (3,)
    assert cr.any(x > 0, axis=1).shape == (2,)
    assert cr.sum.__name__ == "sum"
    assert cr.sum.__doc__


def test_quantifiers() -> None:
    x = cr.tensor([[0, 1], [2, 3]])
    assert cr.any(x, 1).tolist() == [True, True]
    assert cr.all(x, 1).tolist() == [False, True]
    assert cr.all(x, (0, 1)).item() is False
    assert cr.any(x, ()).tolist() == [[False, True], [True, True]]
    assert cr.any(cr.tensor([NAN])).item() is True
    assert cr.any(cr.tensor(np.uint8([0, 7]))).dtype == np.uint8
    assert cr.any(cr.tensor(np.uint8([0, 7]))).item() == 1


LAYOUTS: list[Callable[[Any], Any]] = [
    lambda x: x.mean((2, 3)),
    lambda x: x.var((0, 2, 3)),
    lambda x: x.std(1),
    lambda x: x.logsumexp(1),
    lambda x: x.amax((2, 3)),
    lambda x: x.max(1).values,
    lambda x: x.prod(2),
    lambda x: (x * (x > 0)).prod(2),
    lambda x: cr.cumsum(x, 1),
    lambda x: x * x.sum(1, keepdim=True),
]


@pytest.mark.parametrize("fn", LAYOUTS)
def test_gradients_keep_channels_last(fn: Callable[[Any], Any]) -> None:
    a = channels_last(2, 3, 4, 5)
    x = cr.from_numpy(a).requires_grad_()
    y = fn(x)
    gy = channels_last(2, 3, 4, 5) if y.ndim == 4 else np.ones(y.shape, np.float32)
    y.backward(cr.from_numpy(gy))
    assert x.grad is not None
    assert order(x.grad.array) == order(a)
    if y.ndim == 4:
        assert order(y.array) == order(a)


def test_what_is_kept_is_small() -> None:
    x = drawn(6, 7)
    assert Sum((0,)).forward(np, x)[1] == (6, 7)
    assert Mean((0,)).forward(np, x)[1] == ((6, 7), (0, 1))
    assert Extreme("amax", (0,)).forward(np, x)[1].dtype == np.bool_
    index, _ = ExtremeAlong("max", 0).forward(np, x)[1]
    assert index.shape == (1, 7)
    assert CumSum(0).forward(np, x)[1] is None
    for op in (Var((0,)), Prod((0,)), LogSumExp((0,))):
        kept = op.forward(np, x)[1]
        assert kept[0] is x
        assert kept[1].shape == (1, 7)


def test_gradient_of_a_sum_is_a_view() -> None:
    gy = np.ones((3,), np.float32)
    (gx,) = Sum((0,)).backward(np, (1000, 3), gy, (True,))
    assert gx.shape == (1000, 3)
    assert np.shares_memory(gx, gy)


def test_special_values_are_silent() -> None:
    odd = np.array(
        [[NAN, 1.0, 2.0], [INF, 1.0, 0.0], [INF, -INF, 0.0], [3e38, 3e38, 3e38], [0.0, 0.0, 0.0]],
        np.float32,
    )
    halves = np.array([[NAN, 1, 2], [INF, 1, 0], [INF, -INF, 0], [6e4, 6e4, 6e4]], np.float16)
    names = ["sum", "mean", "var", "std", "prod", "amax", "amin", "logsumexp", "cumsum", "any"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for name in names:
            for a in (odd, halves):
                x = cr.tensor(a, requires_grad=True)
                y = getattr(cr, name)(x, 1)
                if y.requires_grad:
                    y.backward(cr.full(y.shape, 3e38).to(y.dtype))


def test_one_input_reduced_many_ways() -> None:
    """Gradients of views and of fresh arrays add up at the branch."""
    x = cr.tensor([[1.0, 2.0], [3.0, 5.0]], requires_grad=True)
    (x.sum() + x.sum() + x.mean() + x.mean(0).sum() + x.max() + x.max(0).values.sum()).backward()
    assert x.grad is not None
    assert x.grad.tolist() == [[2.75, 2.75], [3.75, 4.75]]


def test_meta_tensors_have_shapes_only() -> None:
    x = cr.zeros(3, 4, device="meta", requires_grad=True)
    for y in (x.sum(1), x.mean(1), x.var(1), x.max(1).values, x.logsumexp(1), x.prod(1)):
        assert y.is_meta
        assert y.requires_grad
        assert y.shape == (3,)
    assert x.argmax(1).shape == (3,)
