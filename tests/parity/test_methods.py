"""Every operation that is a method of torch.Tensor is one here, and gives the same."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import chainrule as cr
from chainrule.engine.op import FUNCTIONS
from tests.parity.harness import check, misuse

X = np.arange(12.0).reshape(3, 4) - 5.5
ELSEWHERE = {"unfold"}  # torch.Tensor.unfold slides along one axis; nn.functional.unfold is ours


def test_no_method_is_missing() -> None:
    cr.exp  # noqa: B018 - loads the operations
    names = {n for n in FUNCTIONS if hasattr(torch.Tensor, n)} - ELSEWHERE
    assert [n for n in sorted(names) if not hasattr(cr.Tensor, n)] == []


@pytest.mark.parametrize(
    "fn",
    [
        lambda lib, x: x + 2,
        lambda lib, x: 2 - x,
        lambda lib, x: x * x - x / 3,
        lambda lib, x: 1 / (x * x + 1),
        lambda lib, x: x**2,
        lambda lib, x: 2**x,
        lambda lib, x: -x + abs(x),
        lambda lib, x: x @ x.T,
        lambda lib, x: x.detach() // 2.0,
        lambda lib, x: x % 2.0,
        lambda lib, x: x.reshape(4, 3) @ x,
        lambda lib, x: x.reshape((2, -1)),
        lambda lib, x: x.view(6, 2).permute(1, 0),
        lambda lib, x: x.expand(2, 3, 4),
        lambda lib, x: x.flip(0, 1),
        lambda lib, x: x.sum(0, keepdim=True) + x.mean(-1, True),
        lambda lib, x: x.mT.where(x.mT > 0, x.mT * 0),
        lambda lib, x: x.masked_fill(x > 0, 7.0),
        lambda lib, x: lib.stack([row * i for i, row in enumerate(x)]),
        lambda lib, x: (x > 0) & ~(x > 3) | (x < -4) ^ (x == 0.5),
        lambda lib, x: x[1:, ::2],
        lambda lib, x: x[x > 0],
        lambda lib, x: x.double() + x.float(),
        lambda lib, x: x.long(),
        lambda lib, x: x.to(lib.float64),
    ],
)
def test_operators_and_methods(fn: object) -> None:
    check(fn, X)  # type: ignore[arg-type]


def fill(key: object, value: object) -> object:
    def run(lib: object, x: object) -> object:
        y = x * 1  # type: ignore[operator]
        with lib.no_grad():  # type: ignore[attr-defined]
            y = y.clone().detach()
            y[key(lib)] = value  # type: ignore[operator]
        return y

    return run


@pytest.mark.parametrize(
    "key",
    [
        lambda lib: 1,
        lambda lib: (slice(None), 2),
        lambda lib: (..., slice(0, 4, 2)),
        lambda lib: lib.tensor([0, 1]),
        lambda lib: (0, slice(None), lib.tensor([1, 2])),
        lambda lib: (lib.tensor([0, 1]), slice(None), lib.tensor([1, 0])),
        lambda lib: (slice(None), [0, 1]),
        lambda lib: lib.tensor([True, False]),
    ],
)
def test_assignment_lands_where_torch_puts_it(key: object) -> None:
    check(fill(key, 9.0), np.zeros((2, 3, 4)), gradients=False)


def test_assignment_of_shaped_values_and_misuse() -> None:
    check(
        fill(lambda lib: (0, slice(None), np.array([1, 2])), 5.0),
        np.zeros((2, 3, 4)),
        gradients=False,
    )
    misuse(fill(lambda lib: 5, 1.0), np.zeros((2, 3)))
    misuse(fill(lambda lib: (0, 0, 0), 1.0), np.zeros((2, 3)))


@pytest.mark.parametrize(
    "fn",
    [
        lambda lib, x: bool(x),
        lambda lib, x: x.item(),
        lambda lib, x: float(x),
        lambda lib, x: x.backward(),
        lambda lib, x: x.requires_grad_().numpy(),
        lambda lib, x: (x > 0).requires_grad_(),
        lambda lib, x: lib.tensor([[1.0], [1.0, 2.0]]),
        lambda lib, x: lib.tensor("no"),
        lambda lib, x: lib.zeros(-1),
        lambda lib, x: x.size(5),
        lambda lib, x: x.no_such_method(),
    ],
)
def test_misuse_is_refused_alike(fn: object) -> None:
    if "no_such" in str(getattr(fn, "__code__", None) and fn.__code__.co_names):  # type: ignore[attr-defined]
        with pytest.raises(AttributeError):
            fn(cr, cr.tensor(X))  # type: ignore[operator]
        return
    misuse(fn, X)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "fn",
    [
        lambda lib: lib.arange(5),
        lambda lib: lib.arange(1, 2, 0.25),
        lambda lib: lib.arange(5, 0, -2),
        lambda lib: lib.linspace(0, 1, 7),
        lambda lib: lib.eye(3),
        lambda lib: lib.eye(2, 4),
        lambda lib: lib.full((2, 3), 2),
        lambda lib: lib.full((2,), 2.5),
        lambda lib: lib.full((2,), True),
        lambda lib: lib.ones_like(lib.zeros(2, dtype=lib.int32)),
        lambda lib: lib.tensor([1, 2.5]),
        lambda lib: lib.tensor([True, False]),
        lambda lib: lib.tensor([[], []]),
        lambda lib: lib.as_tensor(np.array([1, 2], np.int32)),
        lambda lib: lib.tensor(np.float64(1.5)),
        lambda lib: lib.tensor([np.float64(1.5)]),
    ],
)
def test_making_tensors(fn: object) -> None:
    check(fn, dtypes=["float32"], gradients=False)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ["float32", "float64", "int64", "int32", "uint8", "bool"])
@pytest.mark.parametrize("value", [10, 1.5, True, -1, float("nan")])
def test_masked_fill_keeps_the_dtype(kind: str, value: float) -> None:
    x, mask = np.ones((2, 3), kind), np.array([True, False, True])
    if value != value and kind not in ("float32", "float64", "bool"):
        misuse(lambda lib, x, m: x.masked_fill(m, value), x, mask)
        return
    for fn in (
        lambda lib, x, m: x.masked_fill(m, value),
        lambda lib, x, m: lib.masked_fill(x, m, value),
    ):
        check(fn, x, mask, dtypes=[kind] if kind.startswith("f") else ["float32"])


def test_masked_fill_by_a_tensor() -> None:
    def fn(lib: object, x: object, m: object, v: object) -> object:
        return lib.masked_fill(x, m, v)  # type: ignore[attr-defined]

    mask = np.array([[True], [False], [True]])
    check(fn, X, mask, np.array(3.0))
    check(fn, X[0], mask, np.array(3.0))  # the mask has more axes than what is filled
    check(fn, X, mask, np.array(2))
    check(fn, np.arange(12).reshape(3, 4), mask, np.array(2.5), gradients=False)
    for bad in (np.array([3.0]), np.zeros((3, 4))):
        misuse(fn, X, mask, bad)
    misuse(fn, X, mask.astype(np.float64), np.array(1.0))
    misuse(fn, X, mask.astype(np.int64), np.array(1.0))
    misuse(fn, X, np.ones(5, bool), np.array(1.0))
    for number in (300, 2**40):
        misuse(
            lambda lib, x, m, n=number: lib.masked_fill(x, m, n), np.ones((3, 1), np.uint8), mask
        )
