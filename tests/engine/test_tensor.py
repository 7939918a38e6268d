"""Tensors: making, promoting, printing, converting, copying, writing."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import chainrule as cr


def test_python_floats_become_float32_and_arrays_keep_their_dtype() -> None:
    assert cr.tensor([1.0]).dtype == cr.float32
    assert cr.tensor(1.0).dtype == cr.float32
    assert cr.tensor([1, 2]).dtype == cr.int64
    assert cr.tensor([True]).dtype == cr.bool
    for dtype in ("float64", "float32", "int32", "uint8", "bool", "float16"):
        assert cr.tensor(np.zeros(3, dtype)).dtype == dtype


def test_a_given_dtype_is_reached_without_a_detour() -> None:
    exact = 1.3666069578957831
    assert cr.tensor([exact], dtype=cr.float64)[0].item() == exact
    assert cr.tensor(exact, dtype=cr.float64).item() == exact
    assert cr.tensor([2**53 + 1], dtype=cr.int64).item() == 2**53 + 1


def test_tensor_copies_and_from_numpy_shares() -> None:
    array = np.zeros(3)
    cr.tensor(array).fill_(1)
    assert not array.any()
    cr.from_numpy(array).fill_(1)
    assert array.all()


def test_tensor_keeps_channels_last_strides() -> None:
    nhwc = np.zeros((2, 4, 5, 3), np.float32).transpose(0, 3, 1, 2)
    assert cr.tensor(nhwc).array.strides == nhwc.strides


@pytest.mark.parametrize(
    "array",
    [
        np.arange(6.0)[::-1],
        np.arange(12.0).reshape(3, 4)[::-2, ::3],
        np.arange(6.0).astype(">f8"),
        np.zeros((0, 3)),
        np.array(5.0),
    ],
)
def test_odd_arrays_come_through_right(array: np.ndarray) -> None:
    t = cr.tensor(array, requires_grad=True)
    np.testing.assert_array_equal(t.detach().numpy(), array)
    assert t.dtype.isnative
    (t * 2).sum().backward()
    np.testing.assert_array_equal(t.grad.numpy(), np.full(array.shape, 2.0))


@pytest.mark.parametrize("data", ["text", [1, "a"], object(), [1j], np.array(["a"]), None])
def test_what_is_no_number_is_a_type_error(data: object) -> None:
    with pytest.raises(TypeError):
        cr.tensor(data)


def test_ragged_lists_are_a_value_error() -> None:
    with pytest.raises(ValueError, match="equal lengths"):
        cr.tensor([[1, 2], [3]])


def test_integers_asked_for_gradients() -> None:
    with pytest.raises(TypeError, match=r"floating-point.*x\.float\(\)"):
        cr.tensor([1, 2], requires_grad=True)
    with pytest.raises(TypeError, match="floating-point"):
        cr.tensor([1, 2]).requires_grad_()


def test_an_inner_value_cannot_drop_its_gradient() -> None:
    y = cr.tensor([1.0], requires_grad=True) * 2
    with pytest.raises(RuntimeError, match="detach"):
        y.requires_grad = False


def test_numpy_refuses_to_lose_a_gradient() -> None:
    x = cr.tensor([1.0], requires_grad=True)
    for take in (x.numpy, lambda: np.asarray(x), lambda: np.from_dlpack(x)):
        with pytest.raises(RuntimeError, match=r"detach\(\)"):
            take()
    np.testing.assert_array_equal(np.asarray(x.detach()), [1.0])


def test_dlpack_shares_memory_both_ways() -> None:
    x = cr.tensor([1.0, 2.0])
    there = np.from_dlpack(x)
    assert np.shares_memory(there, x.numpy())
    back = cr.from_dlpack(there)
    assert np.shares_memory(back.numpy(), x.numpy())


def test_array_times_tensor_is_a_tensor_with_gradient() -> None:
    x = cr.tensor(np.array([1.0, 2.0]), requires_grad=True)
    y = np.array([3.0, 4.0]) * x
    assert isinstance(y, cr.Tensor)
    y.sum().backward()
    np.testing.assert_array_equal(x.grad, [3, 4])


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda: cr.tensor([1.0]) + 1, "float32"),
        (lambda: cr.tensor([1.0]) + np.float64(1), "float32"),
        (lambda: cr.tensor([1]) + 1.5, "float32"),
        (lambda: cr.tensor([1]) + True, "int64"),
        (lambda: cr.tensor([1]) / 2, "float32"),
        (lambda: cr.tensor([1.0]) + cr.tensor(1.0, dtype=cr.float64), "float32"),
        (lambda: cr.tensor([1]) + cr.tensor(1.0, dtype=cr.float64), "float64"),
        (lambda: cr.tensor([1.0]) + cr.tensor([1.0], dtype=cr.float64), "float64"),
        (lambda: cr.tensor([1], dtype=cr.int64) * cr.tensor([1.0]), "float32"),
        (lambda: cr.tensor([1], dtype=cr.uint8) + cr.tensor([1], dtype=cr.int8), "int16"),
        (lambda: np.array([1.0]) + cr.tensor([1.0]), "float64"),
    ],
)
def test_promotion_follows_pytorch(make: object, expected: str) -> None:
    assert make().dtype == expected  # type: ignore[operator]


def test_repr_shows_values_and_the_operation() -> None:
    x = cr.tensor([-0.2, 3.0], requires_grad=True)
    assert repr(x) == "tensor([-0.2, 3.0], requires_grad=True)"
    assert repr(x * 2) == "tensor([-0.4, 6.0], op=Mul())"
    assert (
        repr(cr.tensor([[1.0, -2.5], [10.0, 4.0]]))
        == "tensor([[ 1.0, -2.5],\n        [10.0,  4.0]])"
    )
    assert repr(cr.tensor([1e-9, 1.0])) == "tensor([1.0000e-09, 1.0000e+00])"
    assert repr(cr.tensor([float("nan"), float("inf")])) == "tensor([nan, inf])"
    assert repr(cr.tensor(True)) == "tensor(True)"
    assert repr(cr.tensor([1.0], dtype=cr.float64)) == "tensor([1.0], dtype=float64)"
    assert "shape=(0, 3)" in repr(cr.zeros(0, 3))
    assert "device='meta'" in repr(cr.zeros(2, device="meta"))
    assert len(repr(cr.zeros(1000, 1000))) < 1000


def test_bool_of_many_values_is_refused_with_advice() -> None:
    with pytest.raises(RuntimeError, match=r"\.any\(\) or \.all\(\)"):
        bool(cr.tensor([1.0, 2.0]))
    assert not cr.tensor([0.0])


def test_python_protocols() -> None:
    x = cr.tensor([[1.0, 2.0], [3.0, 4.0]])
    assert len(x) == 2
    assert [row.tolist() for row in x] == [[1, 2], [3, 4]]
    assert 3.0 in x
    assert f"{cr.tensor(2.345):.2f}" == "2.35" or f"{cr.tensor(2.345):.2f}" == "2.34"
    assert [10, 20][cr.tensor(1)] == 20
    assert float(cr.tensor(2.5)) == 2.5
    assert hash(x) != hash(x.detach())
    with pytest.raises(TypeError):
        len(cr.tensor(1.0))


def test_copies_and_pickles_of_leaves() -> None:
    x = cr.tensor([1.0, 2.0], requires_grad=True)
    for twin in (copy.deepcopy(x), pickle.loads(pickle.dumps(x))):
        np.testing.assert_array_equal(twin.detach(), [1, 2])
        assert twin.requires_grad
        assert not np.shares_memory(twin.array, x.array)


def test_tensors_with_history_refuse_to_be_copied() -> None:
    y = cr.tensor([1.0], requires_grad=True) * 2
    for attempt in (copy.deepcopy, pickle.dumps):
        with pytest.raises(RuntimeError, match="history"):
            attempt(y)


def test_in_place_arithmetic_writes_outside_the_graph() -> None:
    w = cr.tensor([1.0, 2.0], requires_grad=True)
    array = w.array
    with cr.no_grad():
        w -= 0.5 * cr.ones(2)
    assert w.array is array
    np.testing.assert_array_equal(array, [0.5, 1.5])


def test_in_place_on_a_leaf_inside_the_graph_is_refused() -> None:
    w = cr.tensor([1.0, 2.0], requires_grad=True)
    with pytest.raises(RuntimeError, match=r"no_grad\(\)"):
        w += 1
    with pytest.raises(RuntimeError, match=r"no_grad\(\)"):
        w[0] = 1.0


def test_augmented_assignment_of_an_inner_value_keeps_the_gradient() -> None:
    x = cr.tensor([1.0, 2.0], requires_grad=True)
    y = x * x
    y += x
    y.sum().backward()
    np.testing.assert_array_equal(x.grad, [3, 5])


def test_in_place_of_another_kind_is_a_type_error() -> None:
    x = cr.tensor([1, 2])
    with pytest.raises(TypeError):
        x += 0.5
    with pytest.raises(ValueError, match="fits"):
        x += cr.tensor([1, 2, 3])


def test_assignment_to_elements() -> None:
    x = cr.zeros(3, 3)
    x[1] = 5.0
    x[x == 5.0] = cr.tensor(7.0)
    x[cr.tensor([0]), 2] = 1.0
    np.testing.assert_array_equal(x, [[0, 0, 1], [7, 7, 7], [0, 0, 0]])


def test_meta_tensors_hold_no_data() -> None:
    x = cr.zeros(10**6, 10**6, device="meta", requires_grad=True)
    y = (x @ x.T).sum()
    assert y.shape == ()
    assert y.is_meta
    assert y.requires_grad
    assert x.array.base.nbytes <= 8
    for take in (x.detach().numpy, y.item, lambda: bool(y), y.backward):
        with pytest.raises(RuntimeError, match="meta"):
            take()


def test_other_devices_are_refused() -> None:
    with pytest.raises(NotImplementedError, match="cuda"):
        cr.zeros(2, device="cuda")
    with pytest.raises(NotImplementedError, match="cuda"):
        cr.zeros(2).to("cuda")
    for name in ("cuda:0", "mps", "xpu"):
        with pytest.raises(NotImplementedError, match=name):
            cr.zeros(2).to(name)
        with pytest.raises(NotImplementedError, match=name):
            cr.nn.Linear(2, 2).to(name)
    for wrong in ("cuda", "", None, 0):
        with pytest.raises(NotImplementedError, match="expected 'cpu' or 'meta'"):
            cr.device(wrong)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="expected a dtype"):
        cr.zeros(2).to("float31")
    assert cr.zeros(2).to("float64").dtype == cr.float64


def test_making_tensors() -> None:
    np.testing.assert_array_equal(cr.arange(2, 11, 3), [2, 5, 8])
    assert cr.arange(3).dtype == cr.int64
    assert cr.arange(0.0, 1.0, 0.25).dtype == cr.float32
    assert cr.full((2, 2), 3).dtype == cr.int64
    assert cr.full((2, 2), 3.5).dtype == cr.float32
    assert cr.zeros((2, 3)).shape == cr.zeros(2, 3).shape == (2, 3)
    assert cr.ones_like(cr.zeros(2, dtype=cr.float64)).dtype == cr.float64
    np.testing.assert_allclose(cr.linspace(0, 1, 5), [0, 0.25, 0.5, 0.75, 1])
    with pytest.raises(ValueError, match="not negative"):
        cr.zeros(-1)
    with pytest.raises(TypeError):
        cr.zeros(1.5)


@given(
    hnp.mutually_broadcastable_shapes(num_shapes=2, max_dims=4, max_side=4),
    st.sampled_from(["add", "sub", "mul", "maximum"]),
)
def test_gradients_have_the_shape_of_what_was_broadcast(
    shapes: hnp.BroadcastableShapes, name: str
) -> None:
    (a, b), rng = shapes.input_shapes, np.random.default_rng(0)
    x = cr.tensor(rng.standard_normal(a), requires_grad=True)
    y = cr.tensor(rng.standard_normal(b), requires_grad=True)
    out = getattr(cr, name)(x, y)
    assert out.shape == shapes.result_shape
    out.backward(cr.ones(out.shape, dtype=cr.float64))
    assert x.grad.shape == a
    assert y.grad.shape == b
    if name == "add":
        np.testing.assert_allclose(x.grad.numpy().sum(), out.array.size)


def test_compared_with_none_and_numbers_that_do_not_fit() -> None:
    x = cr.tensor([1.0])
    assert (x == None) is False  # noqa: E711
    assert x != None  # noqa: E711
    with pytest.raises(TypeError, match="uint8 can hold"):
        cr.tensor([1], dtype=cr.uint8) + 300
    with pytest.raises(TypeError, match="add: expected a tensor"):
        cr.add(x, None)
    with pytest.raises(TypeError, match=r"cr\.float32"):
        cr.zeros(2, dtype="a")
