"""Indexing: against NumPy where the two agree, by hand where they differ, and misused."""

from __future__ import annotations

import re
import warnings
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import chainrule as cr
from chainrule.errors import AxisError, KindError, LabelError, ShapeError
from chainrule.ops import index as index_module
from chainrule.ops.index import Index, scatter_add
from chainrule.ops.slicing import Slice


def numbers(*shape: int) -> Any:
    return np.arange(np.prod(shape, dtype=int), dtype=np.float32).reshape(shape)


@st.composite
def parts(draw: Any, shape: tuple[int, ...]) -> tuple[Any, ...]:
    """Draw a key of numbers, slices, None and an ellipsis."""
    key: list[Any] = []
    for n in shape[: draw(st.integers(0, len(shape)))]:
        bound = st.none() | st.integers(-n - 2, n + 2)
        a_slice = st.builds(slice, bound, bound, st.none() | st.integers(1, 3))
        key.append(draw(a_slice | st.integers(-n, n - 1) if n else a_slice))
        if draw(st.booleans()):
            key.append(None)
    if len([k for k in key if k is not None]) < len(shape) and draw(st.booleans()):
        key.append(...)
    return tuple(key)


@given(hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4), st.data())
def test_basic_keys_as_in_numpy(shape: tuple[int, ...], data: st.DataObject) -> None:
    x, key = numbers(*shape), data.draw(parts(shape))
    t = cr.tensor(x, requires_grad=True)
    y = t[key]
    np.testing.assert_array_equal(y.detach().numpy(), np.asarray(x[key]))
    assert np.shares_memory(y.array, t.array) or y.array.size == 0
    y.backward(y.detach() + 1)
    expected = np.zeros_like(x)
    expected[key] = x[key] + 1
    np.testing.assert_array_equal(t.grad.numpy(), expected)


@given(hnp.array_shapes(min_dims=1, max_dims=4, min_side=1, max_side=4), st.data())
def test_index_arrays_as_in_numpy(shape: tuple[int, ...], data: st.DataObject) -> None:
    key = data.draw(hnp.integer_array_indices(shape))
    key += (slice(None),) * data.draw(st.integers(0, len(shape) - len(key)))
    x = numbers(*shape)
    t = cr.tensor(x, requires_grad=True)
    y = t[tuple(cr.tensor(k) if isinstance(k, np.ndarray) and k.ndim else k for k in key)]
    np.testing.assert_array_equal(y.detach().numpy(), np.asarray(x[key]))
    y.backward(y.detach() + 1)
    expected = np.zeros_like(x)
    np.add.at(expected, key, x[key] + 1)
    np.testing.assert_allclose(t.grad.numpy(), expected, rtol=1e-6)


@given(hnp.array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=4), st.data())
def test_masks_as_in_numpy(shape: tuple[int, ...], data: st.DataObject) -> None:
    covered = data.draw(st.integers(1, len(shape)))
    mask = data.draw(hnp.arrays(np.bool_, shape[:covered]))
    x = numbers(*shape)
    t = cr.tensor(x, requires_grad=True)
    y = t[cr.tensor(mask)]
    np.testing.assert_array_equal(y.detach().numpy(), x[mask])
    y.sum().backward()
    np.testing.assert_array_equal(
        t.grad.numpy(), np.broadcast_to(mask.reshape(mask.shape + (1,) * (x.ndim - covered)), shape)
    )


def test_numbers_are_taken_before_arrays() -> None:
    """Where PyTorch and NumPy differ, ours are PyTorch's shapes."""
    x = cr.tensor(numbers(2, 3, 4))
    assert x.numpy()[0, :, [1, 2]].shape == (2, 3)
    assert x[0, :, [1, 2]].tolist() == [[1.0, 2.0], [5.0, 6.0], [9.0, 10.0]]
    assert x[cr.tensor(0), :, [1, 2]].shape == (3, 2)
    assert x[[0, 1], :, 0].shape == (2, 3)
    assert x[[0, 1], :, [0, 1]].shape == (2, 3)
    assert x[:, [0, 1], None, [0, 1]].shape == (2, 2, 1)  # the arrays apart: their axis in front
    assert x[:, [0, 1], [0, 1], None].shape == (2, 2, 1)


def test_truth_values_put_in_an_axis() -> None:
    x = cr.tensor(numbers(2, 3))
    assert x[True].shape == x[np.True_].shape == x[cr.tensor(True)].shape == (1, 2, 3)
    assert x[False].shape == (0, 2, 3)
    assert x[..., True].shape == (2, 3, 1)
    assert x[True, [0, 1]].shape == (2, 3)
    assert cr.tensor(3.0)[False].shape == (0,)


def test_labels_pick_one_score_a_row() -> None:
    scores = cr.tensor([[0.1, 0.7], [0.6, 0.4], [0.2, 0.8]], requires_grad=True)
    picked = scores[cr.arange(3), cr.tensor([1, 0, 1])]
    np.testing.assert_allclose(picked.detach().numpy(), [0.7, 0.6, 0.8], rtol=1e-6)
    picked.backward(cr.tensor([1.0, 2.0, 3.0]))
    assert scores.grad.tolist() == [[0.0, 1.0], [2.0, 0.0], [0.0, 3.0]]


@pytest.mark.parametrize("dtype", ["int8", "int16", "int32", "int64", "uint16", "uint32", "uint64"])
def test_every_integer_dtype_indexes(dtype: str) -> None:
    x = cr.tensor(numbers(4, 2), requires_grad=True)
    y = x[cr.tensor(np.array([3, 0, 3], dtype))]
    assert y.tolist() == [[6.0, 7.0], [0.0, 1.0], [6.0, 7.0]]
    y.sum().backward()
    assert x.grad.tolist() == [[1.0, 1.0], [0.0, 0.0], [0.0, 0.0], [2.0, 2.0]]


def test_gradients_of_views_and_shared_branches() -> None:
    x = cr.tensor(numbers(3, 4), requires_grad=True)
    y = x.t()[[0, 0, 3]][:, 1:]  # rows 0, 0, 3 of the transposed, without its first column
    (y.sum() + x[0, 0] + x[0].sum()).backward()
    expected = np.zeros((3, 4))
    expected[1:, 0] += 2
    expected[1:, 3] += 1
    expected[0, 0] += 1
    expected[0] += 1
    np.testing.assert_array_equal(x.grad.numpy(), expected)


def test_scatter_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    key = (rng.integers(-5, 5, 40), slice(None), rng.integers(0, 3, (2, 40)))
    gy = rng.standard_normal((2, 40, 4, 7))
    expected = np.zeros((5, 4, 3, 7))
    np.add.at(expected, key, gy)
    for at_once in (1, 7, 50, 1 << 20):
        monkeypatch.setattr(index_module, "_AT_ONCE", at_once)
        np.testing.assert_allclose(scatter_add(np, (5, 4, 3, 7), key, gy), expected, rtol=1e-12)


def test_one_axis_of_size_zero_beside() -> None:
    x = cr.zeros(3, 0, requires_grad=True)
    y = x[[0, 2, 2]]
    assert y.shape == (3, 0)
    y.sum().backward()
    assert x.grad.shape == (3, 0)


@pytest.mark.parametrize(
    ("key", "error", "words"),
    [
        (3, LabelError, "an index in [-3, 2] at dim 0, not 3; got x float32 (3, 4)"),
        ((0, -5), LabelError, "an index in [-4, 3] at dim 1, not -5"),
        (10**30, LabelError, "at dim 0, not 1000"),
        ((0, 0, 0), AxisError, "at most 2 indices, not 3"),
        (slice(None, None, -1), ShapeError, "step of 1 or more, not -1; flip(input, (dim,))"),
        (slice(0, 2, 0), ShapeError, "step of 1 or more, not 0"),
        (slice(0.5, None), KindError, "a slice of integers; got value 0.5"),
        (1.0, LabelError, "indices that are integers"),
        ("a", KindError, "indices that are integers"),
        (["a"], KindError, "indices that are integers"),
        ([1.5], LabelError, "got index [1.5]"),
        ((0, {}), LabelError, "got index {}"),
        (([[0, 1], [2]],), LabelError, "rows have one length"),
        (np.array([0.5]), LabelError, "index.long()"),
        ([0, 3], LabelError, "indices in [-3, 2] at dim 0, not 3"),
        ((slice(None), [[0], [-5]]), LabelError, "indices in [-4, 3] at dim 1, not -5"),
        (([0, 1], [0, 1, 2]), LabelError, "index shapes that broadcast, not 2 and 3"),
        ([True, False], LabelError, "a mask of shape (3,) at dim 0, not (2,)"),
        ((0, [True, False]), LabelError, "a mask of shape (4,) at dim 0, not (2,)"),
        (np.ones((3, 4, 1), bool), AxisError, "at most 2 indices, not 3"),
        (([True, True, False], [0, 1, 2]), LabelError, "indices that broadcast, not [2, (3,)]"),
    ],
)
def test_errors_say_what_is_wrong(key: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=re.escape(words)):
        cr.tensor(numbers(3, 4))[key]


def test_a_scalar_has_no_elements_to_name() -> None:
    with pytest.raises(AxisError, match="item\\(\\) gives the value"):
        cr.tensor(1.0)[0]
    with pytest.raises(LabelError, match="no index of size 0"):
        cr.zeros(0, 2)[0]
    with pytest.raises(LabelError, match="no index of size 0"):
        cr.zeros(0, 2)[[0]]


def test_a_nested_list_is_a_tuple_and_says_so_at_the_callers_line() -> None:
    x = cr.tensor(numbers(2, 3))
    with pytest.warns(UserWarning, match="nested list") as caught:
        y = x[[[0, 1], [2, 0]]]
    assert y.tolist() == [2.0, 3.0]
    assert caught[0].filename == __file__
    with pytest.warns(UserWarning, match="uint8 index is read as a mask") as caught:
        y = x[cr.tensor(np.array([0, 1], np.uint8))]
    assert y.tolist() == [[3.0, 4.0, 5.0]]
    assert caught[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert x[([0, 1], [2, 0])].tolist() == [2.0, 3.0]
        assert x[np.array([[0, 1], [1, 0]])].shape == (2, 2, 3)


def test_narrow_and_select() -> None:
    x = cr.tensor(numbers(3, 4), requires_grad=True)
    assert x.narrow(1, -3, 2).tolist() == [[1.0, 2.0], [5.0, 6.0], [9.0, 10.0]]
    assert x.narrow(0, -1, 1).tolist() == x.narrow(0, 2, 1).tolist() == [[8.0, 9.0, 10.0, 11.0]]
    assert x.select(0, -1).tolist() == [8.0, 9.0, 10.0, 11.0]
    x.narrow(0, 1, 1).select(1, 2).backward(cr.tensor([5.0]))
    assert np.argwhere(x.grad.numpy()).tolist() == [[1, 2]]
    for call, error, words in [
        (lambda: x.narrow(0, 2, 2), ShapeError, "start + length <= 3 at dim 0: 2 + 2 = 4"),
        (lambda: x.narrow(0, 4, 0), LabelError, "a start in [-3, 3] at dim 0, not 4"),
        (lambda: x.narrow(0, 0, -1), ShapeError, "a length of 0 or more, not -1"),
        (lambda: x.select(1, 4), LabelError, "an index in [-4, 3] at dim 1, not 4"),
        (lambda: x.select(2, 0), AxisError, "dim in [-2, 1]"),
    ]:
        with pytest.raises(error, match=re.escape(words)):
            call()


def test_keys_become_settings() -> None:
    x = cr.tensor(numbers(3, 4), requires_grad=True)
    assert x[1:, 2].grad_fn.op == Slice(((1, None, 1), 2))
    assert x[:, ::2].grad_fn.op == Slice(((0, None, 1), (0, None, 2)))
    assert x[...].grad_fn.op == x[:, :].grad_fn.op == Slice()
    assert x[:, [0, 1]].grad_fn.op == Index((1,))
    assert repr(x[None, 0].grad_fn) == "<Slice(key=(None, 0))>"


def test_a_written_index_is_noticed() -> None:
    x, index = cr.tensor(numbers(3, 4), requires_grad=True), cr.tensor([0, 2])
    y = x[index].sum()
    index[0] = 1
    with pytest.raises(cr.GraphError, match="written in place"):
        y.backward()


def test_meta_tensors() -> None:
    x = cr.zeros(3, 4, 5, device="meta")
    assert x[1:, None, :, ::2].shape == (2, 1, 4, 3)
    assert x[:, [0, 1, 1]].shape == (3, 3, 5)
    assert x[[0, 1], :, [[1], [2]]].shape == (2, 2, 4)
    assert x[:, [0, 1], [[1], [2]]].shape == (3, 2, 2)
    with pytest.raises(LabelError):
        x[3]
    with pytest.raises(ShapeError, match="depends on them"):
        x[np.ones((3, 4), bool)]
