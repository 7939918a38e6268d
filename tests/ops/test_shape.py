"""Shapes, places, joining, splitting, padding: against loops, in every layout, and misused."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import chainrule as cr
from chainrule.errors import AxisError, KindError, ShapeError
from chainrule.ops.pad import Pad

pad: Callable[..., cr.Tensor] = cr.pad


def numbers(*shape: int) -> Any:
    return np.arange(np.prod(shape, dtype=int), dtype=np.float32).reshape(shape)


def channels_last(*shape: int) -> Any:
    """Give an array of logical shape (N, C, H, W) that lies in memory as (N, H, W, C)."""
    n, c, h, w = shape
    return np.moveaxis(numbers(n, h, w, c), -1, 1)


def is_channels_last(array: Any) -> bool:
    return bool(np.moveaxis(array, 1, -1).flags.c_contiguous)


# Shapes


@given(st.permutations([2, 3, 4]), st.permutations(range(3)))
def test_reshape_follows_the_logical_order(sizes: list[int], dims: list[int]) -> None:
    x = numbers(4, 3, 2).transpose(dims)
    flat = [x[i] for i in itertools.product(*map(range, x.shape))]  # the last axis runs fastest
    y = cr.reshape(cr.tensor(x), sizes).numpy()
    assert y.shape == tuple(sizes)
    assert [y[i] for i in itertools.product(*map(range, sizes))] == flat
    assert cr.flatten(cr.tensor(x)).tolist() == flat


def test_views_share_memory_and_copies_do_not() -> None:
    x = cr.tensor(numbers(2, 3, 4))
    views = [
        x.reshape(6, 4), x.flatten(1), x.unflatten(2, (2, 2)), x.unsqueeze(1), x[:1].squeeze(0),
        x.expand(5, 2, 3, 4), x.permute(2, 0, 1), x.transpose(0, 1), cr.movedim(x, 0, 2),
        x.narrow(1, 0, 2), x.select(2, 1), x[..., 1:], *x.split(2, 1), *x.chunk(2), *x.unbind(),
    ]  # fmt: skip
    assert all(np.shares_memory(v.array, x.array) for v in views)
    copies = [x.clone(), x.flip(0), cr.roll(x, 1), cr.cat((x,)), cr.stack((x,)), pad(x, (0, 0)),
              x.mT.contiguous(), x.mT.reshape(-1), x[[0, 1]]]  # fmt: skip
    assert not any(np.shares_memory(c.array, x.array) for c in copies)
    assert x.contiguous() is x


def test_clone_and_contiguous_keep_or_change_the_layout() -> None:
    x = cr.tensor(np.ones(1)).detach()
    x.data = channels_last(2, 3, 4, 5)
    assert is_channels_last(x.clone().array)
    assert x.contiguous().array.flags.c_contiguous
    assert is_channels_last(x.flip((2, 3)).array)
    assert is_channels_last(cr.roll(x, 1, 2).array)
    assert is_channels_last(cr.cat((x, x), 1).array)
    assert is_channels_last(cr.cat((x, x)).array)
    assert is_channels_last(pad(x, (1, 2, 0, -1), value=3.0).array)
    assert is_channels_last(pad(x, (1, 2, 1, 1), mode="reflect").array)
    assert is_channels_last(x[[1, 0, 1]].array)
    reversed_rows = cr.Tensor(numbers(3, 2)[::-1])
    assert reversed_rows.clone().array.strides == (8, 4)


@pytest.mark.parametrize("op", ["narrow", "unbind", "split", "crop"])
def test_gradients_of_parts_keep_the_layout(op: str) -> None:
    x = cr.Tensor(channels_last(2, 3, 4, 4), requires_grad=True)
    part = {
        "narrow": lambda: x[:, :, 1:3],
        "unbind": lambda: x.split(3, 2)[1],
        "split": lambda: x.split((1, 3), 3)[0],
        "crop": lambda: pad(x, (-1, -1)),
    }[op]()
    (part * 2).backward(cr.ones_like(part))
    assert is_channels_last(x.grad.array)
    assert x.grad.array.sum() == 2 * part.array.size


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda x: x.reshape(5, -1), ShapeError, "other sizes, 5, to divide 24: 24/5 = 4.8"),
        (lambda x: x.reshape(5, 5), ShapeError, "sizes that multiply to 24, not 5*5 = 25"),
        (lambda x: x.reshape(()), ShapeError, "sizes that multiply to 24, not 1"),
        (lambda x: x.reshape(-1, -1), ShapeError, "one size at most given as -1, not 2"),
        (lambda x: x.reshape(-3, 8), ShapeError, "sizes of 0 or more, or -1, not -3"),
        (lambda x: x.reshape(-1, 0), ShapeError, "could be anything"),
        (lambda x: cr.reshape(x, 24), KindError, r"write (24,)"),
        (lambda x: x.flatten(2, 1), ShapeError, "start_dim at most end_dim, not 2 > 1"),
        (lambda x: x.flatten(0, 3), AxisError, "flatten end_dim: expected dim in [-3, 2]"),
        (lambda x: x.unflatten(1, (2, 2)), ShapeError, "multiply to 3, not 2*2 = 4"),
        (lambda x: x.expand(2, 5, 4), ShapeError, "size 3 or -1 at dim 1, not 5"),
        (lambda x: x.expand(-1, 2, 3, 4), ShapeError, "a size for every new axis, not -1 at dim 0"),
        (lambda x: x.expand(4), ShapeError, "3 sizes or more, not 1"),
        (lambda x: x.permute(0, 1), ShapeError, "3 dims, one for each axis, not 2"),
        (lambda x: x.permute(0, 1, 1), ShapeError, "every dimension once"),
        (lambda x: x.t(), ShapeError, "mT"),
        (lambda x: cr.movedim(x, (0, 1), 0), ShapeError, "as many destinations as sources, not 1"),
        (lambda x: cr.roll(x, (1, 2), 0), ShapeError, "one shift for each of 1 dims, not 2"),
        (lambda x: cr.cat((x, x[0])), ShapeError, "except along dim 0, not in element 1"),
        (lambda x: cr.cat((x, x[:, 1:])), ShapeError, "(2, 3, 4), this float32 (2, 2, 4)"),
        (lambda x: cr.cat((x.sum(), x.sum())), ShapeError, "use stack"),
        (lambda x: cr.cat(()), ShapeError, "at least one tensor"),
        (lambda x: cr.cat(x), KindError, "write cat((a, b))"),
        (lambda x: cr.stack((x, [1.0])), KindError, "a tensor as element 1"),
        (lambda x: cr.stack((x, x[1:])), ShapeError, "equal shapes, not in element 1"),
        (lambda x: x.split((1, 1), 1), ShapeError, "sizes that sum to 3 at dim 1, not 1 + 1 = 2"),
        (lambda x: x.split(0), ShapeError, "a size of 1 or more, not 0"),
        (lambda x: x.chunk(0), ShapeError, "1 chunk or more, not 0"),
        (lambda x: pad(x, (-3, -2)), ShapeError, "than there is: 4 + (-3) + (-2) = -1"),
        (lambda x: pad(x, (1,)), ShapeError, "two widths for each of at most 3 axes, not 1 in all"),
        (lambda x: pad(x, 1), KindError, "write (1,)"),
        (lambda x: pad(x, (4, 0), "reflect"), ShapeError, "max(4, 0) < 4"),
        (lambda x: pad(x, (5, 0), "circular"), ShapeError, "once around: max(5, 0) <= 4"),
        (lambda x: pad(x, (1, 0), "reflect", 3.0), ShapeError, "no value in mode 'reflect'"),
        (lambda x: pad(x, (1, 0), "mirror"), NotImplementedError, "got 'mirror'"),
        (lambda x: pad(x.int(), (1, 0), value=2.0**31), ShapeError, "that int32 can hold"),
        (lambda x: pad(x, (1, 0), value=1e300), ShapeError, "that float32 can hold"),
    ],
)  # fmt: skip
def test_errors_say_what_is_wrong(call: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=re.escape(words)):
        call(cr.tensor(numbers(2, 3, 4)))


# Places


@given(st.permutations(range(4)), st.integers(0, 3), st.integers(0, 3))
def test_axes_go_where_they_are_sent(dims: list[int], a: int, b: int) -> None:
    x = numbers(2, 3, 4, 5)
    y = cr.permute(cr.tensor(x), dims).numpy()
    for i in ((0, 0, 0, 0), (1, 2, 3, 4), (1, 0, 2, 3), (0, 1, 1, 4)):
        assert y[tuple(i[d] for d in dims)] == x[i]
    assert cr.transpose(cr.tensor(x), a, b).shape == np.swapaxes(x, a, b).shape
    np.testing.assert_array_equal(
        cr.transpose(cr.tensor(x), a, b - 4).numpy(), np.swapaxes(x, a, b)
    )
    np.testing.assert_array_equal(cr.movedim(cr.tensor(x), a, b).numpy(), np.moveaxis(x, a, b))


@given(st.lists(st.integers(-7, 7), min_size=1, max_size=3), st.data())
def test_roll_and_flip(shifts: list[int], data: st.DataObject) -> None:
    dims = [data.draw(st.integers(0, 1)) for _ in shifts]
    x, y = numbers(3, 4), np.empty((3, 4), np.float32)
    moves = [sum(s for s, d in zip(shifts, dims, strict=True) if d == k) for k in (0, 1)]
    for i, j in np.ndindex(3, 4):
        y[(i + moves[0]) % 3, (j + moves[1]) % 4] = x[i, j]
    np.testing.assert_array_equal(cr.roll(cr.tensor(x), shifts, dims).numpy(), y)
    assert cr.roll(cr.tensor(x), shifts[0]).flatten().tolist() == [
        (k - shifts[0]) % 12 for k in range(12)
    ]
    assert cr.flip(cr.tensor(x), (0,)).tolist() == x.tolist()[::-1]
    assert cr.flip(cr.tensor(x), (1,)).tolist() == [row[::-1] for row in x.tolist()]


# Joining and dividing


def test_cat_and_stack_by_hand() -> None:
    a, b = cr.tensor([[1, 2], [3, 4]]), cr.tensor([[5, 6]])
    assert cr.cat((a, b)).tolist() == [[1, 2], [3, 4], [5, 6]]
    assert cr.cat([a, a], 1).tolist() == [[1, 2, 1, 2], [3, 4, 3, 4]]
    assert cr.stack((b, b), -1).tolist() == [[[5, 5], [6, 6]]]
    assert cr.cat((a, np.array([[0.5, 0.5]]))).dtype == np.float64


def test_cat_leaves_out_empty_vectors_but_gives_them_a_gradient() -> None:
    nothing = cr.zeros(0, requires_grad=True)
    x = cr.ones(2, 3, requires_grad=True)
    y = cr.cat((nothing, x, nothing), 1)
    assert y.shape == (2, 3)
    y.sum().backward()
    assert nothing.grad.shape == (0,)
    assert cr.cat((nothing, nothing), 5).shape == (0,)
    with pytest.raises(AxisError):
        cr.cat((nothing, x), 2)


def test_gradient_goes_only_to_parts_that_were_used() -> None:
    x = cr.tensor(numbers(4, 3), requires_grad=True)
    first, _, _ = x.split((1, 2, 1))
    (first * 5).sum().backward()
    assert x.grad.tolist() == [[5.0] * 3, [0.0] * 3, [0.0] * 3, [0.0] * 3]
    x.grad = None
    x.unbind(1)[2].sum().backward()
    assert x.grad.tolist() == [[0.0, 0.0, 1.0]] * 4
    a, b = cr.ones(2, requires_grad=True), cr.ones(2)
    cr.cat((a, b, a)).backward(cr.tensor([1.0, 2.0, 3.0, 4.0, 5.0, 6.0]))
    assert a.grad.tolist() == [6.0, 8.0]


def test_expanded_gradients_are_summed() -> None:
    x = cr.ones(3, 1, requires_grad=True)
    x.expand(2, -1, 4).sum().backward()
    assert x.grad.tolist() == [[8.0]] * 3
    assert not x.expand(3, 4).array.flags.writeable


def test_numbers_and_sizes_of_parts() -> None:
    assert cr.zeros(0, 2).split([]) == ()
    assert cr.zeros(0, 2).unbind() == ()
    assert [p.shape for p in cr.zeros(0).chunk(3)] == [(0,)] * 3
    assert [p.shape for p in cr.zeros(7).chunk(3)] == [(3,), (3,), (1,)]
    assert [p.shape for p in cr.zeros(4).chunk(3)] == [(2,), (2,)]
    with cr.detect_anomaly():
        assert cr.zeros(0, 2).unbind() == ()


# Padding


@given(
    st.lists(st.integers(-2, 3), min_size=2, max_size=2),
    st.lists(st.integers(-1, 2), min_size=2, max_size=2),
)
def test_constant_padding_by_loops(columns: list[int], rows: list[int]) -> None:
    x = numbers(4, 5) + 1
    y = pad(cr.tensor(x), (*columns, *rows), value=-7.0).numpy()
    assert y.shape == (4 + sum(rows), 5 + sum(columns))
    for i, j in np.ndindex(y.shape):
        a, b = i - rows[0], j - columns[0]
        assert y[i, j] == (x[a, b] if 0 <= a < 4 and 0 <= b < 5 else -7.0)


def test_border_padding_by_hand() -> None:
    x = cr.tensor([[1, 2, 3]])
    assert pad(x, (2, 1), "reflect").tolist() == [[3, 2, 1, 2, 3, 2]]
    assert pad(x, (2, 1), "replicate").tolist() == [[1, 1, 1, 2, 3, 3]]
    assert pad(x, (2, 1), "circular").tolist() == [[2, 3, 1, 2, 3, 1]]
    assert pad(x, (3, 3), "circular").tolist() == [[1, 2, 3] * 3]
    assert pad(x, (-1, 1), "circular").tolist() == [[2, 3, 2]]
    assert pad(x, (-2, 2), "reflect").tolist() == [[3, 2, 1]]


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int32", "int64", "float32", "float64"])
def test_padding_keeps_the_dtype(dtype: str) -> None:
    x = cr.tensor(np.ones((1, 2), dtype))
    for mode in ("constant", "reflect", "replicate", "circular"):
        y = pad(x, (1, 1), mode)
        assert y.dtype == np.dtype(dtype)
        assert y.tolist()[0][1:3] == [1, 1]
    assert pad(x, (1, 0), value=np.float32(1)).tolist() == [[1, 1, 1]]


# The other ways in


def test_arrays_and_meta_tensors() -> None:
    assert cr.reshape(np.arange(4), (2, 2)).tolist() == [[0, 1], [2, 3]]
    assert cr.stack((np.zeros(2), np.ones(2))).shape == (2, 2)
    x = cr.zeros(4, 3, 8, device="meta")
    for y, shape in [
        (x.reshape(-1, 4), (24, 4)),
        (x.permute(2, 0, 1), (8, 4, 3)),
        (x.contiguous(), (4, 3, 8)),
        (cr.cat((x, x), 1), (4, 6, 8)),
        (x.split(3)[1], (1, 3, 8)),
        (pad(x, (1, 1, 1, 1)), (4, 5, 10)),
        (x[1:, None, 0], (3, 1, 8)),
        (x.expand(2, -1, -1, -1), (2, 4, 3, 8)),
    ]:
        assert y.shape == shape
        assert y.is_meta


def test_settings_print_themselves() -> None:
    x = cr.ones(2, 6, requires_grad=True)
    assert repr(x.reshape(3, -1).grad_fn) == "<Reshape(shape=(3, -1))>"
    assert repr(x.split(4, 1)[0].grad_fn) == "<Split(sizes=4, dim=1)>"
    assert hash(Pad((1, 1))) == hash(Pad((1, 1), 0.0))


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
def test_gradients_keep_the_dtype(dtype: str) -> None:
    x = cr.tensor(numbers(2, 3).astype(dtype), requires_grad=True)
    for f in (
        lambda: x.reshape(6), lambda: x.t(), lambda: x.expand(4, 2, 3), lambda: x.flip(0),
        lambda: cr.cat((x, x)), lambda: x.split(2, 1)[0], lambda: pad(x, (1, -1), value=2.0),
        lambda: pad(x, (1, 1), "reflect"), lambda: cr.roll(x, 1), lambda: x[:, 1:],
        lambda: x[[0, 0]],
    ):  # fmt: skip
        x.grad = None
        y = f()
        y.backward(cr.ones_like(y))
        assert y.dtype == x.grad.dtype == np.dtype(dtype)
