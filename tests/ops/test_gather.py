"""Reading and writing by index and mask: against loops and NumPy, at the edges, and misused."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import chainrule as cr
from chainrule.errors import AxisError, KindError, LabelError, ShapeError

RNG = np.random.default_rng(0)


def numbers(*shape: int) -> Any:
    return np.arange(np.prod(shape, dtype=int), dtype=np.float64).reshape(shape)


@st.composite
def indexed(draw: Any) -> Any:
    """Draw an array, an axis, and an index no larger along the others."""
    shape = draw(st.lists(st.integers(1, 4), min_size=1, max_size=3))
    dim = draw(st.integers(0, len(shape) - 1))
    size = [draw(st.integers(1, 6 if d == dim else n)) for d, n in enumerate(shape)]
    seed = draw(st.integers(0, 1000))
    index = np.random.default_rng(seed).integers(0, shape[dim], size)
    return np.random.default_rng(seed + 1).standard_normal(shape), dim, index


def at(where: tuple[int, ...], dim: int, index: Any) -> tuple[int, ...]:
    return (*where[:dim], int(index[where]), *where[dim + 1 :])


@given(indexed())
def test_gather_is_the_loop_and_its_gradient_adds_up(case: Any) -> None:
    x, dim, index = case
    t = cr.tensor(x, requires_grad=True)
    y = cr.gather(t, dim, cr.tensor(index))
    expected, gradient = np.zeros(index.shape), np.zeros(x.shape)
    for where in np.ndindex(index.shape):
        expected[where] = x[at(where, dim, index)]
        gradient[at(where, dim, index)] += 2
    np.testing.assert_array_equal(y.detach().numpy(), expected)
    (y * 2).sum().backward()
    np.testing.assert_array_equal(t.grad.numpy(), gradient)


REDUCES: dict[str, Callable[[list[float]], float]] = {
    "sum": lambda v: float(np.sum(v)),
    "prod": lambda v: float(np.prod(v)),
    "mean": lambda v: float(np.mean(v)),
    "amax": max,
    "amin": min,
}


@given(indexed(), st.sampled_from(sorted(REDUCES)), st.booleans())
def test_scatter_reduce_is_the_loop(case: Any, reduce: str, include: bool) -> None:
    x, dim, index = case
    src = np.random.default_rng(1).standard_normal(index.shape)
    y = cr.scatter_reduce(
        cr.tensor(x), dim, cr.tensor(index), cr.tensor(src), reduce, include_self=include
    )
    found: dict[tuple[int, ...], list[float]] = {}
    for where in np.ndindex(index.shape):
        place = at(where, dim, index)
        found.setdefault(place, [x[place]] if include else []).append(src[where])
    expected = x.copy()
    for place, values in found.items():
        expected[place] = REDUCES[reduce](values)
    np.testing.assert_allclose(y.numpy(), expected, rtol=1e-12, atol=1e-12)


@given(indexed())
def test_scatter_and_scatter_add_are_the_loop(case: Any) -> None:
    x, dim, index = case
    src = np.random.default_rng(1).standard_normal([n + 1 for n in index.shape])
    put, added = x.copy(), x.copy()
    for where in np.ndindex(index.shape):
        put[at(where, dim, index)] = src[where]
        added[at(where, dim, index)] += src[where]
    t, i, s = cr.tensor(x), cr.tensor(index), cr.tensor(src)
    np.testing.assert_array_equal(cr.scatter(t, dim, i, s).numpy(), put)
    np.testing.assert_allclose(cr.scatter_add(t, dim, i, s).numpy(), added, rtol=1e-12)
    np.testing.assert_array_equal(t.numpy(), x)


@pytest.mark.parametrize("dim", [0, 1, -1])
def test_slices_by_a_vector_of_indices(dim: int) -> None:
    x, index = numbers(4, 3, 2), np.array([1, 0, 1])
    t, i = cr.tensor(x), cr.tensor(index)
    taken = np.take(x, index, axis=dim)
    np.testing.assert_array_equal(cr.index_select(t, dim, i).numpy(), taken)
    key = (slice(None),) * (dim % 3) + (index,)
    added, copied, filled = x.copy(), x.copy(), x.copy()
    np.add.at(added, key, -3 * taken)
    copied[key] = taken + 0.5
    filled[key] = 7
    s = cr.tensor(taken)
    np.testing.assert_array_equal(cr.index_add(t, dim, i, s, alpha=-3).numpy(), added)
    np.testing.assert_array_equal(cr.index_copy(t, dim, i, s + 0.5).numpy(), copied)
    np.testing.assert_array_equal(cr.index_fill(t, dim, i, 7).numpy(), filled)
    np.testing.assert_array_equal(t.numpy(), x)


def test_values_put_by_any_key_and_slices_reduced() -> None:
    x, v = numbers(2, 3, 2), np.array([[10.0], [20.0]])
    key = (np.array([1, 0]), np.array([2, 2]))
    expected, added = x.copy(), x.copy()
    expected[key] = v
    np.add.at(added, (np.array([1, 1]),), 5.0)
    t = cr.tensor(x)
    at = tuple(map(cr.tensor, key))
    np.testing.assert_array_equal(cr.index_put(t, at, cr.tensor(v)), expected)
    five = cr.tensor(5.0, dtype=cr.float64)
    np.testing.assert_array_equal(t.index_put((cr.tensor([1, 1]),), five, True), added)
    put = cr.put(t, cr.tensor([[0, -1]]), cr.tensor(v.T))
    assert put.reshape(-1)[[0, 1, -1]].tolist() == [10.0, 1.0, 20.0]
    s = cr.tensor(np.stack([x[0] + 3, x[1] - 9]))
    y = cr.index_reduce(t, 0, cr.tensor([1, 1]), s, "amin", include_self=False)
    np.testing.assert_array_equal(y, np.stack([x[0], np.minimum(x[0] + 3, x[1] - 9)]))


def test_flat_and_along() -> None:
    x = cr.tensor(numbers(2, 3))
    assert cr.take(x, cr.tensor([[-1, 0], [2, 2]])).tolist() == [[5.0, 0.0], [2.0, 2.0]]
    order = cr.argsort(x, dim=1, descending=True)
    assert cr.take_along_dim(x, order, 1).tolist() == [[2.0, 1.0, 0.0], [5.0, 4.0, 3.0]]
    assert cr.take_along_dim(x, cr.tensor([[1]]), 0).tolist() == [[3.0, 4.0, 5.0]]
    assert cr.take_along_dim(x, cr.tensor([-1, 1])).tolist() == [5.0, 1.0]


@given(st.integers(0, 500))
def test_masks(seed: int) -> None:
    rng = np.random.default_rng(seed)
    x, mask = rng.standard_normal((3, 4)), rng.random((3, 1)) < 0.5
    whole = np.broadcast_to(mask, (3, 4))
    t, m = cr.tensor(x), cr.tensor(mask)
    np.testing.assert_array_equal(cr.masked_select(t, m).numpy(), x[whole])
    source, expected = numbers(4, 4), x.copy()
    expected[whole] = source.reshape(-1)[: whole.sum()]
    put = cr.masked_scatter(t, m, cr.tensor(source))
    np.testing.assert_array_equal(put.numpy(), expected)
    found = cr.nonzero(m)
    np.testing.assert_array_equal(found.numpy(), np.argwhere(mask))
    np.testing.assert_array_equal(cr.argwhere(m).numpy(), np.argwhere(mask))
    assert [v.tolist() for v in m.nonzero(as_tuple=True)] == [v.tolist() for v in mask.nonzero()]


def test_tensors_without_axes() -> None:
    x, zero = cr.tensor(3.0), cr.tensor(0)
    assert cr.gather(x, 0, zero).tolist() == 3.0
    assert cr.gather(x, 0, cr.tensor([0])).tolist() == [3.0]
    assert cr.index_select(x, 0, cr.tensor([0])).tolist() == 3.0
    assert cr.scatter_add(x, 0, zero, cr.tensor(2.0)).tolist() == 5.0
    assert cr.index_add(x, 0, zero, cr.tensor(2.0)).tolist() == 5.0
    assert cr.index_fill(x, 0, zero, 1).tolist() == 1.0
    assert cr.masked_select(x, cr.tensor(True)).tolist() == [3.0]
    assert cr.nonzero(x).shape == (1, 0)
    assert [v.tolist() for v in cr.nonzero(x, as_tuple=True)] == [[0]]


def test_nothing_to_take() -> None:
    none = cr.zeros(0, dtype=cr.int64)
    x = cr.tensor(numbers(2, 3), requires_grad=True)
    assert cr.gather(x, 1, cr.zeros(2, 0, dtype=cr.int64)).shape == (2, 0)
    assert cr.index_select(x, 1, none).shape == (2, 0)
    y = cr.scatter(x, 1, none, cr.ones(4, dtype=cr.float64))
    y.sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), np.ones((2, 3)))
    assert cr.index_select(cr.zeros(0, 3), 0, none).shape == (0, 3)


def test_meta_tensors_have_shapes() -> None:
    x = cr.zeros(2, 3, device="meta")
    i = cr.zeros(2, 5, dtype=cr.int64, device="meta")
    assert cr.gather(x, 1, i).shape == (2, 5)
    assert cr.scatter_add(x, 1, i, cr.zeros(2, 5, device="meta")).shape == (2, 3)
    with pytest.raises(ShapeError, match="depends on them"):
        cr.nonzero(x)


I0, I5 = np.array([[0, 1, 0]]), np.array([[0, 5, 0]])
X = numbers(2, 3)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda x: x.gather(0, cr.tensor(I5)), LabelError, "indices in [0, 1] at dim 0, not 5"),
        (lambda x: x.gather(0, cr.tensor(-I0)), LabelError, "indices in [0, 1] at dim 0, not -1"),
        (lambda x: x.gather(2, cr.tensor(I0)), AxisError, "dim in [-2, 1]"),
        (lambda x: x.gather(0, cr.tensor([0])), ShapeError, "an index of as many axes as input"),
        (lambda x: x.gather(0, cr.zeros(2, 3)), KindError, "an index of int64 or int32"),
        (
            lambda x: x.gather(1, cr.zeros(3, 1, dtype=cr.int64)),
            ShapeError,
            "an index no larger than input: 3 <= 2 at dim 0",
        ),
        (
            lambda x: x.scatter(0, cr.tensor(I0), cr.zeros(1, 2, dtype=cr.float64)),
            ShapeError,
            "an index no larger than src: 3 <= 2 at dim 1",
        ),
        (
            lambda x: x.scatter(0, cr.tensor(I0), cr.zeros(1, 3)),
            KindError,
            "src of the input's dtype, float64",
        ),
        (lambda x: x.scatter(0, cr.tensor(I0)), KindError, "either src or value"),
        (
            lambda x: x.scatter(0, cr.tensor(I0), 1.0, reduce="sum"),
            ShapeError,
            'reduce "add" or "multiply"; got reduce \'sum\'',
        ),
        (
            lambda x: x.scatter_reduce(0, cr.tensor(I0), x, "median"),
            ShapeError,
            "reduce among sum, mean, prod, amax, amin; got reduce 'median'",
        ),
        (
            lambda x: x.index_select(0, cr.tensor([2])),
            LabelError,
            "indices in [0, 1] at dim 0, not 2",
        ),
        (lambda x: x.index_select(0, cr.tensor(I0)), LabelError, "one axis at most, not 2"),
        (
            lambda x: x.index_add(0, cr.tensor([0]), x),
            LabelError,
            "a source of shape (1, 3), a slice for each index",
        ),
        (
            lambda x: x.index_add(0, cr.tensor([0, 1]), x, alpha="2"),
            KindError,
            "index_add alpha: expected a number; got value '2'",
        ),
        (lambda x: x.index_fill(0, cr.tensor([-3]), 1), LabelError, "[-2, 1] at dim 0, not -3"),
        (
            lambda x: x.index_fill(0, cr.tensor([0]), cr.tensor([1.0])),
            ShapeError,
            "a number or a 0-d tensor; got value float64 (1,)",
        ),
        (
            lambda x: x.index_reduce(0, cr.tensor([0, 1]), x, "sum"),
            ShapeError,
            "reduce among prod, mean, amax, amin; got reduce 'sum'",
        ),
        (lambda x: x.index_put(cr.tensor([0]), x), KindError, "a tuple of tensors"),
        (
            lambda x: x.index_put((cr.tensor([0]),), cr.tensor(1.0)),
            KindError,
            "values of the input's dtype, float64",
        ),
        (lambda x: x.put(cr.tensor([0]), x), LabelError, "a value for each index"),
        (lambda x: x.put(cr.tensor([9]), x[0, 0]), LabelError, "[-6, 5] at dim 0, not 9"),
        (lambda x: x.take(cr.tensor([6])), LabelError, "indices in [-6, 5] at dim 0, not 6"),
        (lambda x: x.take(cr.tensor([0.0])), KindError, "an index of int64"),
        (
            lambda x: x.take_along_dim(cr.tensor([0]), 0),
            ShapeError,
            "indices of 2 axes, as the input has, not 1",
        ),
        (lambda x: x.masked_select(x), KindError, "a mask of booleans"),
        (
            lambda x: x.masked_scatter(x > -1, cr.zeros(5, dtype=cr.float64)),
            ShapeError,
            "at least 6 values for the mask, not 5",
        ),
        (lambda x: x.nonzero(as_tuple=1), KindError, "True or False; got value 1"),
    ],
)
def test_errors_say_what_is_wrong(call: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=re.escape(words)):
        call(cr.tensor(X))


def test_in_place_forms_write_the_memory() -> None:
    x = cr.zeros(2, 3)
    view = x[0]
    assert x.scatter_(1, cr.tensor([[2], [0]]), 1.0) is x
    assert view.tolist() == [0.0, 0.0, 1.0]
    x.index_add_(0, cr.tensor([1, 1]), cr.ones(2, 3)).masked_fill_(x == 0, -1.0)
    assert x.tolist() == [[-1.0, -1.0, 1.0], [3.0, 2.0, 2.0]]
    x.unsqueeze_(0).transpose_(0, 2)
    assert x.shape == (3, 2, 1)
    x.squeeze_(-1).t_()
    assert x.shape == (2, 3)


def test_in_place_forms_inside_the_graph() -> None:
    w = cr.tensor([1.0, 2.0], requires_grad=True)
    total = cr.zeros(3)
    total.scatter_add_(0, cr.tensor([2, 2]), w)
    total.mul_(w.sum())
    total.add_(1.0)
    assert total.tolist() == [1.0, 1.0, 10.0]
    total.sum().backward()
    assert w.grad.tolist() == [6.0, 6.0]
    y = w * w
    y.exp_()  # the product keeps what it saved
    y.sum().backward()
    np.testing.assert_allclose(w.grad, 6 + 2 * np.array([1, 2]) * np.exp([1.0, 4.0]), rtol=1e-6)


def test_filling_and_copying_inside_the_graph() -> None:
    w = cr.tensor([1.0, 2.0], requires_grad=True)
    y = w * 3
    y.fill_(5.0)
    z = w * 3
    z.copy_(w[0])
    assert (y.tolist(), z.tolist()) == ([5.0, 5.0], [1.0, 1.0])
    (y + z).sum().backward()
    assert w.grad.tolist() == [2.0, 0.0]
    y = w * 2
    y.zero_()
    assert y.tolist() == [0.0, 0.0]


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda w: w.exp_(), cr.GraphError, "exp_: a leaf tensor that requires grad"),
        (lambda w: w.t_(), cr.GraphError, "t_: a leaf tensor that requires grad"),
        (lambda w: (w * 2)[0].exp_(), cr.GraphError, "a part of another tensor"),
        (lambda w: (w * 2)[0].mul_(2), cr.GraphError, "a part of another tensor"),
        (lambda w: cr.tensor([1, 2]).exp_(), KindError, "fits the tensor's dtype, int64"),
        (lambda w: cr.zeros(1).masked_fill_(w > 0, 1.0), ShapeError, "the tensor's shape, (1,)"),
        (lambda w: cr.zeros(1).expand(3).exp_(), ShapeError, "a tensor that can be written"),
        (lambda w: cr.zeros(3, device="meta").exp_(), cr.GraphError, "no values"),
        (
            lambda w: cr.capture(lambda x: (x * 2).exp_(), cr.ones(2)),
            cr.GraphError,
            "capture() follows",
        ),
    ],
)
def test_what_cannot_be_in_place_is_refused(call: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=re.escape(words)):
        call(cr.tensor([[1.0, 2.0, 3.0]] * 2, requires_grad=True))
