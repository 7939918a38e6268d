"""Indexing, narrow and select, against PyTorch: results' shapes, values, gradients, refusals."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch

from tests.parity.harness import check, misuse


def values(*shape: int, seed: int = 0) -> Any:
    return np.asarray(np.random.default_rng(seed).standard_normal(shape))


def agree(expression: str, *inputs: Any) -> None:
    """Compare an expression of lib, T, x; where PyTorch refuses it, so must we."""

    def run(lib: Any, *given: Any) -> Any:
        names = dict(zip("xyz", given, strict=False))
        return eval(expression, {"lib": lib, "T": lib.tensor, "np": np, **names})

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            run(torch, *[torch.tensor(v) for v in inputs])
        except Exception:
            misuse(run, *inputs)
        else:
            check(run, *inputs)


def lines(text: str) -> list[str]:
    return [line.strip() for line in text.strip().splitlines()]


BASIC = lines("""
    x[0]
    x[-1]
    x[1, 2]
    x[1, 2, 3]
    x[-2, -3, -4]
    x[()]
    x[...]
    x[:]
    x[:, :, :]
    x[None]
    x[..., None]
    x[None, ..., None]
    x[:, None, 1:]
    x[0, ..., 1]
    x[..., 1]
    x[..., 1, :]
    x[:, ..., 1:3]
    x[1:1]
    x[5:]
    x[-1:]
    x[2:1]
    x[-100:100]
    x[:, 1:-1]
    x[:, ::2]
    x[..., 1::2]
    x[..., 3:0:2]
    x[0:2, 1, ..., None]
    x[None, None, 0, None]
    x[np.int64(1), np.int32(-1)]
    x[:, :T(2)]
    x[::T(2)]
    x[: 10**30]
    x.transpose(0, 2)[1:, None, 1]
    x.expand(3, 2, 3, 4)[1:, 0]
    x[1][1:][0]
    x[1:] * x[:1]
    x[0, 0] + x[0, 1] + x[0, 0]
    x[5]
    x[-3]
    x[0, 3]
    x[0, 0, 0, 0]
    x[..., 0, 0, 0, 0]
    x[::-1]
    x[::0]
    x[:, 2:0:-1]
    x[1.0]
    x[0, 1.5]
    x[1.5:]
    x["a"]
    x[{}]
    x[len]
    x[10**30]
""")

ARRAYS = lines("""
    x[[0, 1]]
    x[[1, 0, 1, 1]]
    x[[-1, -2]]
    x[[]]
    x[[], []]
    x[range(2)]
    x[(0, 1), (1, 2)]
    x[((0, 1),)]
    x[T([0, 1])]
    x[T([[0, 1], [1, 1]])]
    x[T([1], dtype=lib.int32)]
    x[T([], dtype=lib.int64)]
    x[lib.zeros(0, 3, dtype=lib.int64)]
    x[np.array([1, 0])]
    x[np.array([[1, 0], [0, 0]])]
    x[np.array(1)]
    x[T(1)]
    x[T(-1), T(2)]
    x[:, T(1)]
    x[..., T(1)]
    x[0, [1, 2]]
    x[:, [0, 2]]
    x[..., [0, 2, 0]]
    x[[0, 1], [1, 2]]
    x[[0, 1], :, [1, 2]]
    x[0, :, [1, 2]]
    x[T(0), :, [1, 2]]
    x[:, 0, [1, 2]]
    x[[0, 1], None, [1, 2]]
    x[[0, 1], ..., [0, 1]]
    x[T([0]), 0]
    x[0, T([0]), 0]
    x[T([0]), :, 0]
    x[T([0]), None, 0]
    x[T([0]), None, T([0])]
    x[0:2, T([0, 2]), 1:, None]
    x[None, T([1]), 1:]
    x[T([0, 1]), 1:3]
    x[1:, T([0, 1]), T([[3], [2]])]
    x[[0, 1], [[0], [1]]]
    x[[0, 1], [[0], [1]], [[1, 2]]]
    x[T([0, 1]), T([0, 1]), T([0, 1])]
    x[T([1, 1, 1]), T([2, 2, 2])]
    x[:, :, [0, 0, 0, 3]]
    x[T([0]), T([0, 1, 2])]
    x[[[0, 1], [1, 0]]]
    x[[0, slice(None)]]
    x[[T([0, 1]), T([1, 0])]]
    x[[None, 0]]
    x[[0, ...]]
    x[[[0]] * 40]
    x.permute(2, 0, 1)[[3, 0], 1]
    x.permute(2, 0, 1)[1:, [0, 1, 1]]
    x[T([0, 1]), T([0, 1, 2])]
    x[T([0, 5])]
    x[T([-3])]
    x[:, T([0, 3])]
    x[T(2)]
    x[:, T(-4)]
    x[T([[0], [2]]), T([0, 1])]
    x[T([1.0])]
    x[T(1.0)]
    x[T([])]
    x[[0, 1], [0, 1], [0, 1], [0, 1]]
    x[["a"]]
""")

MASKS = lines("""
    x[x > 0]
    x[x > 100]
    x[x == x]
    x[True]
    x[False]
    x[T(True)]
    x[T(False)]
    x[True, 0]
    x[0, True]
    x[None, True]
    x[..., True]
    x[True, True]
    x[True, [0, 1]]
    x[True, None, 0]
    x[[True, False]]
    x[T([True, False])]
    x[:, T([True, False, True])]
    x[..., T([True, False, True, True])]
    x[T([[True, False, True], [False, True, True]])]
    x[T([[True] * 3] * 2), 1:]
    x[0, T([[True] * 4] * 3)]
    x[T([True, False]), 1]
    x[T([True, False]), :, T([0, 1])]
    x[:, T([True, False, True]), T([0, 1])]
    x[:, T([True, False, True]), T([2])]
    x[T([True, True]), T([True, False, True])]
    x[T([True, False]), T([0, 1, 2])]
    x[[0, 1], [True, False, True]]
    x[[True, False], [True, False, True]]
    x[np.array([False, True])]
    x[T([False, False])]
    x[T([1, 0], dtype=lib.uint8)]
    x[T(1, dtype=lib.uint8)]
    x[T([[1, 0, 2]] * 2, dtype=lib.uint8)]
    x.transpose(0, 2)[:, T([True, False, True])]
    x[T([True])]
    x[T([True, False, True])]
    x[T([[True] * 4] * 2)]
    x[lib.zeros(0, dtype=lib.bool)]
    x[lib.zeros(2, 0, dtype=lib.bool)]
    x[T([True, True]), T([0, 1, 2])]
    x[lib.ones(2, 3, 4, 1, dtype=lib.bool)]
""")

NARROW = lines("""
    x.narrow(0, 1, 1)
    x.narrow(-1, 1, 2)
    x.narrow(1, -2, 2)
    x.narrow(1, -1, 1)
    x.narrow(0, 2, 0)
    x.narrow(0, 0, 2)
    x.narrow(0, T(1), 1)
    lib.narrow(x, dim=2, start=0, length=3)
    x.narrow(0, 3, 0)
    x.narrow(0, 1, 2)
    x.narrow(0, -3, 1)
    x.narrow(0, 0, -1)
    x.narrow(3, 0, 1)
    x.narrow(0, 0.5, 1)
    x.select(0, 1)
    x.select(-1, -1)
    x.select(1, 2)
    lib.select(x, dim=1, index=0)
    x.select(0, 2)
    x.select(0, -3)
    x.select(3, 0)
    x.select(True, 0)
    x.select(0, 1.0)
""")


@pytest.mark.parametrize("expression", BASIC + ARRAYS + MASKS + NARROW)
def test_three_axes(expression: str) -> None:
    agree(expression, values(2, 3, 4))


@pytest.mark.parametrize(
    "expression",
    lines("""
    x[None]
    x[...]
    x[()]
    x[True]
    x[False]
    x[T(True)]
    x[T(False)]
    x[None, True]
    x[..., None]
    x[0]
    x[:]
    x[T(0)]
    x[[0]]
    x[T([True])]
    """),
)
def test_no_axes(expression: str) -> None:
    agree(expression, values())


@pytest.mark.parametrize(
    "expression",
    lines("""
    x[:]
    x[0:0]
    x[:, 1]
    x[:, [2, 0]]
    x[[]]
    x[[], [0]]
    x[x > 0]
    x[:, T([True, False, True])]
    x[T([], dtype=lib.bool)]
    x[0]
    x[-1]
    x[[0]]
    """),
)
def test_nothing_inside(expression: str) -> None:
    agree(expression, values(0, 3))


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int32", "int64"])
@pytest.mark.parametrize("expression", ["x[1, 1:]", "x[[1, 0, 1]]", "x[:, [True, False, True]]"])
def test_other_kinds(expression: str, dtype: str) -> None:
    agree(expression, (values(2, 3) * 3).astype(dtype))


ENTRIES = ["1", "-1", "1:", "::2", "None", "[1, 0, 1]", "T([[0], [1]])", "T([True, False])", "..."]


def mixtures() -> Iterator[str]:
    """Every key of up to three entries that names at most three axes and has one ellipsis."""
    for count in (2, 3):
        for entries in itertools.product(ENTRIES, repeat=count):
            if entries.count("...") <= 1 and entries.count("None") <= 1:
                yield f"x[{', '.join(entries)}]"


def test_every_mixture() -> None:
    x = values(2, 2, 2)
    for expression in mixtures():
        agree(expression, x)


@pytest.mark.parametrize("seed", range(20))
def test_repeats_add_up(seed: int) -> None:
    rng = np.random.default_rng(seed)
    shape = tuple(int(n) for n in rng.integers(1, 6, 3))
    at = rng.integers(0, 3)
    count = tuple(int(n) for n in rng.integers(0, 6, rng.integers(1, 3)))
    index = rng.integers(-shape[at], shape[at], count)
    check(lambda lib, x, i: x[(slice(None),) * at + (i,)], values(*shape), index)
    first = rng.integers(0, shape[0], count)
    last = rng.integers(0, shape[2], count)
    check(lambda lib, x, i, j: x[i, :, j], values(*shape), first, last)
    check(lambda lib, x, i, j: x.transpose(0, 1)[:, i, j], values(*shape), first, last)
