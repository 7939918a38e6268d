"""Matrix products and the fully connected layer, against PyTorch."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch

from tests.parity.harness import check, misuse

Shape = tuple[int, ...]


def values(*shape: int, seed: int = 0) -> Any:
    return np.asarray(np.random.default_rng((seed, *shape)).standard_normal(shape))


def agree(fn: Any, *inputs: Any) -> None:
    """Compare a call; where PyTorch refuses it, so must we."""
    try:
        fn(torch, *[torch.tensor(v) if isinstance(v, np.ndarray) else v for v in inputs])
    except Exception:
        misuse(fn, *inputs)
    else:
        check(fn, *inputs)


LEFT: list[Shape] = [
    (), (3,), (0,), (2, 3), (1, 3), (0, 3), (2, 0), (2, 2, 3), (1, 2, 3), (0, 2, 3), (2, 1, 2, 3),
    (1, 1, 1, 3), (2, 2, 0), (4, 2, 3), (2, 3, 2, 3),
]  # fmt: skip
RIGHT: list[Shape] = [
    (), (3,), (0,), (3, 4), (3, 1), (0, 4), (3, 0), (2, 3, 4), (1, 3, 4), (0, 3, 4), (2, 3, 3, 2),
    (1, 3, 3, 1), (2, 0, 4), (2, 2), (2, 2, 2),
]  # fmt: skip


@pytest.mark.parametrize(("left", "right"), list(itertools.product(LEFT, RIGHT)))
def test_matmul(left: Shape, right: Shape) -> None:
    agree(lambda lib, x, w: lib.matmul(x, w), values(*left), values(*right, seed=1))


NAMED = [
    (name, left, right)
    for name, left, right in itertools.product(
        ("mm", "bmm", "mv", "dot", "outer"), LEFT[:8], RIGHT[:8]
    )
    if (name, left) != ("mv", ())  # PyTorch's IndexError there is an accident of its own
]


@pytest.mark.parametrize(("name", "left", "right"), NAMED)
def test_named_products(name: str, left: Shape, right: Shape) -> None:
    agree(lambda lib, x, w: getattr(lib, name)(x, w), values(*left), values(*right, seed=1))


@pytest.mark.parametrize(
    ("name", "left", "right"),
    [
        ("mm", (2, 3), (2, 4)),
        ("bmm", (5, 2, 3), (5, 3, 4)),
        ("bmm", (1, 2, 3), (5, 3, 4)),
        ("bmm", (5, 2, 3), (1, 3, 4)),
        ("bmm", (5, 2, 3), (5, 2, 4)),
        ("bmm", (0, 2, 3), (0, 3, 4)),
        ("mv", (2, 3), (2,)),
        ("mv", (0, 3), (3,)),
        ("mv", (3, 0), (0,)),
        ("dot", (3,), (4,)),
        ("dot", (3,), (1,)),
    ],
)
def test_sizes(name: str, left: Shape, right: Shape) -> None:
    agree(lambda lib, x, w: getattr(lib, name)(x, w), values(*left), values(*right, seed=1))
    agree(lambda lib, x, w: getattr(x, name)(w), values(*left), values(*right, seed=1))


VIEWS = {
    "transposed": lambda x: x.transpose(-1, -2),
    "every second": lambda x: x[..., ::2, ::2],
    "every second column": lambda x: x[..., ::2],
    "repeated": lambda x: x[..., :1, :].expand(x.shape),
    "repeated column": lambda x: x[..., :1].expand(x.shape),
    "cut": lambda x: x[..., 1:, 1:],
    "moved": lambda x: x.movedim(-2, 0) if x.ndim > 2 else x,
}


@pytest.mark.parametrize("shapes", [((6, 6), (6, 6)), ((2, 6, 6), (6, 6)), ((6, 6), (2, 6, 6))])
@pytest.mark.parametrize("view", VIEWS)
def test_views(view: str, shapes: tuple[Shape, Shape]) -> None:
    see = VIEWS[view]
    x, w = values(*shapes[0]), values(*shapes[1], seed=1)
    agree(lambda lib, x, w: see(x) @ see(w), x, w)
    agree(lambda lib, x, w: see(x) @ w, x, w)
    agree(lambda lib, x, w: x @ see(w), x, w)
    agree(lambda lib, x, w: (x @ w).sum(), x, w)  # a gradient that is one number, repeated


@pytest.mark.parametrize("batch", [(), (2,), (1, 3)])
def test_a_matrix_times_itself(batch: Shape) -> None:
    agree(lambda lib, x: x @ x, values(*batch, 3, 3))
    agree(lambda lib, x: x @ x.transpose(-1, -2), values(*batch, 3, 4))
    agree(lambda lib, x: x @ x, values(3))


@pytest.mark.parametrize("left", ["bool", "uint8", "int8", "int32", "int64", "float64"])
@pytest.mark.parametrize("right", ["bool", "uint8", "int32", "int64", "float64"])
@pytest.mark.parametrize("name", ["matmul", "mm", "outer1", "linear", "dot1"])
def test_kinds(name: str, left: str, right: str) -> None:
    x = (values(3, 3) * 5).astype(left)
    w = (values(3, 3, seed=1) * 5).astype(right)

    def call(lib: Any, x: Any, w: Any) -> Any:
        if name == "linear":
            return lib.nn.functional.linear(x, w)
        if name.endswith("1"):
            return getattr(lib, name[:-1])(x[0], w[0])
        return getattr(lib, name)(x, w)

    agree(call, x, w)


def test_dtypes_must_agree() -> None:
    x = values(2, 2)
    misuse(lambda lib, x: x @ x.double(), x)
    misuse(lambda lib, x: lib.dot(x[0], x[0].double()), x)
    misuse(lambda lib, x: lib.nn.functional.linear(x, x.double()), x)
    misuse(lambda lib, x: lib.nn.functional.linear(x, x, x[0].double()), x)
    check(lambda lib, x: lib.outer(x[0], lib.tensor([1.0, 2.0], dtype=lib.float64)), x)


def test_what_is_no_tensor() -> None:
    x = values(2, 2)
    misuse(lambda lib, x: x @ 2.0, x)
    misuse(lambda lib, x: 2 @ x, x)
    misuse(lambda lib, x: lib.matmul(x, None), x)
    misuse(lambda lib, x: lib.matmul(x, [[1.0], [2.0]]), x)
    misuse(lambda lib, x: lib.nn.functional.linear(x, None), x)
    misuse(lambda lib, x: lib.nn.functional.linear(x, 2.0), x)


@pytest.mark.parametrize(
    ("x", "w", "b"),
    [
        ((2, 3), (4, 3), None),
        ((2, 3), (4, 3), (4,)),
        ((3,), (4, 3), (4,)),
        ((5, 2, 3), (4, 3), (4,)),
        ((2, 1, 2, 3), (4, 3), (4,)),
        ((3,), (3,), None),
        ((2, 3), (3,), None),
        ((5, 2, 3), (3,), None),
        ((5, 2, 3), (3,), ()),
        ((2, 3), (3,), (1,)),
        ((2, 3), (3,), (2,)),
        ((2, 3), (4, 3), (1,)),
        ((2, 3), (4, 3), ()),
        ((2, 3), (4, 3), (2, 4)),
        ((2, 3), (4, 3), (1, 4)),
        ((2, 3), (4, 3), (2, 1)),
        ((2, 3), (4, 3), (3, 1)),
        ((2, 3), (4, 3), (1, 2, 4)),
        ((5, 2, 3), (4, 3), (1,)),
        ((5, 2, 3), (4, 3), (2, 4)),
        ((5, 2, 3), (4, 3), (5, 1, 4)),
        ((5, 2, 3), (4, 3), (10, 4)),
        ((3,), (4, 3), (1,)),
        ((2, 3), (4, 3), (3,)),
        ((0, 3), (4, 3), (4,)),
        ((2, 0), (4, 0), (4,)),
        ((2, 3), (0, 3), (0,)),
        ((0,), (0,), None),
        ((0, 2, 3), (4, 3), (4,)),
        ((2, 3), (3, 4), None),
        ((2, 3), (4, 5), (4,)),
        ((2, 3, 4), (5, 12), (5,)),
        ((), (4, 3), None),
        ((2, 3), (1, 4, 3), None),
        ((2, 3), (), None),
        ((), (), None),
    ],
)
def test_linear(x: Shape, w: Shape, b: Shape | None) -> None:
    given = [values(*x), values(*w, seed=1), None if b is None else values(*b, seed=2)]
    agree(lambda lib, x, w, b: lib.nn.functional.linear(x, w, b), *given)
    if b is None:
        agree(lambda lib, x, w: lib.nn.functional.linear(x, w), *given[:2])
    agree(lambda lib, x, w, b: lib.nn.functional.linear(input=x, weight=w, bias=b), *given)


def test_linear_on_views() -> None:
    x, w, b = values(4, 6, 5), values(6, 3, seed=1), values(6, seed=2)
    run = lambda lib, x, w, b: lib.nn.functional.linear(x.transpose(1, 2), w.t(), b[::2])  # noqa: E731
    check(run, x, w, b)
    check(lambda lib, x, w, b: run(lib, x, w, b).sum(), x, w, b)
    check(lambda lib, x, w: lib.nn.functional.linear(x[::2, :, 1:4], w[::3]), x, w)


def test_special_values_spread_as_in_pytorch() -> None:
    x = np.array([[np.nan, 1.0, 0.0], [np.inf, 0.0, 2.0]])
    w = np.array([[0.0, 1.0], [np.inf, 1.0], [1.0, -1.0]])
    check(lambda lib, x, w: x @ w, x, w)
    check(lambda lib, x, w: lib.nn.functional.linear(x, w.t(), w[0]), x, w)
