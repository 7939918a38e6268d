"""Reductions, running sums and quantifiers, against PyTorch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import chainrule as cr
from tests.parity.harness import check, misuse
from tests.parity.test_elementwise import INF, NAN, agree, halves, lines, values

pytestmark = pytest.mark.filterwarnings("ignore:.*degrees of freedom is <= 0")

SEVERAL = ["sum", "mean", "var", "std", "amax", "amin", "logsumexp", "any", "all", "count_nonzero"]
ONE = ["prod", "max", "min", "argmax", "argmin", "cumsum"]
SHAPES = [(), (1,), (5,), (0,), (2, 3), (3, 0), (0, 3), (2, 3, 4), (2, 1, 3, 2), (2, 0, 3)]
DIMS: list[Any] = [
    0, 1, -1, -2, 2, -3, 5, -5, (0,), (0, 1), (-1, 0), (1, -1), (0, 2), (2, 1, 0), [0], [1, 0], (),
    None, (0, 0), (0, -1), (5,), 1.0, True, "a", (0.5,),
]  # fmt: skip
DOUBLED = [(-1, 0), (1, -1), (0, 0), (0, -1)]
KEEPS = ["", ", keepdim=True", ", keepdim=False"]

# Where we answer and PyTorch refuses by an accident of its parser (None for all, True by name) or
# of its kernel (logsumexp over (), the gradient of var over () with its count of 1).
LENIENT = [
    ("prod", None), ("max", None), ("min", None), ("var", True), ("std", True),
    ("logsumexp", ()), ("var", ()), ("std", ()),
]  # fmt: skip


def skip(name: str, dim: Any, keep: str) -> bool:
    """Tell where PyTorch has no `keepdim`, or no None, and we read None as all."""
    if keep and name in ("count_nonzero", "cumsum"):
        return True
    return any(name == n and (dim is d or dim == d == ()) for n, d in LENIENT)


@pytest.mark.parametrize("keep", KEEPS)
@pytest.mark.parametrize("dim", DIMS, ids=repr)
@pytest.mark.parametrize("name", SEVERAL + ONE)
def test_dims(name: str, dim: Any, keep: str) -> None:
    if skip(name, dim, keep):
        return
    for shape in SHAPES:
        if name in ("amax", "amin") and 0 in shape and dim in DOUBLED:
            continue  # one dimension named twice and empty: which is told first is no matter
        agree(f"lib.{name}(x, dim=y{keep})", values(*shape), dim)


@pytest.mark.parametrize("name", [n for n in SEVERAL + ONE if n not in ("logsumexp", "cumsum")])
def test_over_all(name: str) -> None:
    for shape in SHAPES:
        agree(f"lib.{name}(x)", values(*shape))
        agree(f"x.{name}()", values(*shape))


VIEWS = lines("""
    x.permute(0, 2, 3, 1)
    x.permute(3, 1, 0, 2)
    x.flip(0, 2)
    x[:, ::2, 1:]
    x[:, :, :1].expand(2, 3, 5, 4)
    x.transpose(1, 3)
""")


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("name", SEVERAL + ONE)
def test_strided_inputs(name: str, view: str) -> None:
    for dim in (0, 1, -1):
        agree(f"lib.{name}({view}, {dim})", values(2, 3, 5, 4))
    if name in SEVERAL:
        for dims in ((0, 2, 3), (1, 2), (3, 0)):
            agree(f"lib.{name}({view}, {dims})", values(2, 3, 5, 4))


TIED = np.array([[2.0, 2.0, 1.0], [0.0, -0.0, 0.0], [3.0, 3.0, 3.0], [1.0, 2.0, 2.0]])
ODD = np.array([
    [NAN, 1.0, 2.0], [INF, 1.0, 0.0], [INF, INF, 1.0], [-INF, 1.0, 2.0], [-INF, -INF, -INF],
    [INF, -INF, 0.0], [NAN, NAN, 1.0], [NAN, INF, -INF], [1.0, 1.0, 1.0], [0.0, 0.0, 0.0],
    [0.0, 2.0, 3.0], [0.0, 0.0, 3.0], [-0.0, 0.0, 1.0], [1e38, 1e38, 3e38], [1e-30, 1e-30, 1e-20],
    [1.0, NAN, NAN], [1000.0, 1000.0, -1000.0], [-1000.0, -1001.0, -1002.0],
])  # fmt: skip


@pytest.mark.parametrize("name", SEVERAL + ONE)
def test_ties(name: str) -> None:
    for dim in (0, 1):
        agree(f"lib.{name}(x, dim=y)", TIED, dim)
    if name not in ("logsumexp", "cumsum"):
        agree(f"lib.{name}(x)", TIED)
        agree(f"lib.{name}(x)", np.array([1.0, 1.0]))
        for row in TIED:
            agree(f"lib.{name}(x)", row)


@pytest.mark.parametrize("name", SEVERAL + ONE)
def test_special_values(name: str) -> None:
    for i, row in enumerate(ODD):
        if name in ("var", "std") and i == 13:
            continue  # whether the square overflows depends on the order of the steps
        agree(f"lib.{name}(x, 0)", row)
        agree(f"lib.{name}(x, 1)", row.reshape(1, 3))
        if name not in ("logsumexp", "cumsum"):
            agree(f"lib.{name}(x)", row)


CORRECTIONS = lines("""
    lib.var(x, correction=0)
    lib.var(x, 0, correction=2)
    lib.var(x, 1, correction=0.5)
    lib.var(x, 1, correction=-1)
    lib.var(x, 1, correction=3)
    lib.var(x, 1, correction=4)
    lib.var(x, 1, correction=7)
    lib.var(x, (0, 1), correction=1)
    lib.var(x, 1, correction=None)
    lib.var(x, unbiased=False)
    lib.var(x, unbiased=True)
    lib.var(x, False)
    lib.var(x, True)
    lib.var(x, 1, False)
    lib.var(x, 1, True)
    lib.var(x, 1, False, True)
    lib.var(x, 1, unbiased=False, keepdim=True)
    lib.var(x, dim=1, keepdim=True)
    lib.var(x, (0, 1), False, True)
    lib.var(x, 1, unbiased=True, correction=1)
    lib.var(x, 1, correction='a')
    lib.var(x.long(), 1)
    lib.var(x > 0, 1)
    x.var(1, keepdim=True)
    x.var(0, unbiased=False)
    x.var(False)
    x[:1].var(0)
    x[:1].var(0, correction=0)
    x[:0].var(0)
""")


@pytest.mark.parametrize("root", [False, True])
@pytest.mark.parametrize("expression", CORRECTIONS)
def test_corrections(expression: str, root: bool) -> None:
    text = expression.replace("var", "std") if root else expression
    agree(text, values(3, 4))
    agree(text, np.full((3, 4), 2.5))


KINDS = [
    np.array([[3, -2, 0], [7, 1, -1]]),
    np.array([[100, 100, -128]], np.int8),
    np.array([[100, 30000, 3]], np.int16),
    np.array([[2**30, 2**30, 2**30]], np.int32),
    np.array([[3, 200, 0]], np.uint8),
    np.array([[True, False], [True, True]]),
    np.array(4),
    np.array(True),
    np.zeros((0, 2), np.int64),
    np.zeros((2, 0), np.bool_),
]


@pytest.mark.parametrize("name", SEVERAL + ONE)
def test_integers_and_booleans(name: str) -> None:
    for x in KINDS:
        agree(f"lib.{name}(x, 0)", x)
        agree(f"lib.{name}(x, -1)", x)
        if name not in ("logsumexp", "cumsum"):
            agree(f"lib.{name}(x)", x)


DTYPES = ["float32", "float64", "float16", "int64", "int32", "int8", "uint8", "bool"]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["sum", "mean", "prod", "cumsum"])
def test_dtype(name: str, dtype: str) -> None:
    dim = ", 0" if name == "cumsum" else ""

    def run(lib: Any, x: Any) -> Any:
        return halves(lib, eval(f"lib.{name}(x{dim}, dtype=lib.{dtype})", {"lib": lib, "x": x}))

    for x in (np.array([1.5, 2.5, -0.5]), np.array([3, 0, 2]), np.array([True, False])):
        if name == "mean" and dtype not in ("float32", "float64", "float16"):
            misuse(run, x)
        elif (dtype == "uint8" and x.dtype.kind == "f") or (dtype == "bool" and name == "cumsum"):
            continue  # the conversion of negative floats is undefined; PyTorch has no such kernel
        else:
            rtol = {"float16": 2e-3, "float32": 1e-6}.get(dtype)
            check(run, x, gradients=dtype in ("float32", "float64"), rtol=rtol, atol=rtol)


FORMS = lines("""
    lib.sum(x, axis=1)
    lib.sum(x, axis=1, keepdims=True)
    lib.mean(x, axis=(0, 1), keepdims=True)
    lib.amax(x, axis=-1)
    lib.logsumexp(x, axis=1)
    lib.any(x > 0, axis=1)
    lib.argmax(x, axis=1, keepdims=True)
    lib.max(x, axis=0, keepdims=True)
    lib.var(x, axis=1, keepdims=True)
    lib.cumsum(x, axis=1)
    lib.prod(x, axis=0)
    lib.count_nonzero(x, axis=0)
    lib.sum(x, dim=1, axis=1)
    x.sum(1, True)
    x.sum(1, keepdim=True, dtype=lib.float64)
    x.sum([0, 1])
    x.sum(dim=(0, 1), keepdim=True)
    x.sum(None, True)
    x.mean(-1, True)
    x.mean(1, dtype=lib.float64)
    x.max(1, True)
    x.max(1)[0]
    x.max(1).values
    x.max(1).indices
    x.max(1, keepdim=True).indices
    x.min(dim=0).values
    x.max(x.abs())
    x.min(x[0])
    x.max(keepdim=True)
    lib.max(x, None, True)
    lib.max(x, 1.5)
    lib.max(x, x, True)
    lib.max(x, 0, other=x)
    x.amax()
    x.amax((0, 1), True)
    x.amin(keepdim=True)
    x.argmax()
    x.argmax(None, True)
    x.argmax(1, True)
    x.argmin(keepdim=True)
    x.argmax((0, 1))
    x.prod(1, True)
    x.prod((0, 1))
    x.any(1, True)
    x.all()
    (x > 0).any(())
    x.logsumexp(1, True)
    x.logsumexp([0, 1])
    lib.logsumexp(x, None)
    lib.cumsum(x, None)
    lib.cumsum(x, (0,))
    lib.sum(None)
    lib.sum([1.0, 2.0])
    lib.sum('a')
    lib.mean(None)
    lib.max(None)
    lib.argmax(x > 0)
    lib.argmin(x > 0, 0)
    lib.mean(x.long())
    lib.mean(x, dtype=lib.int64)
    lib.sum(x, dtype='nonsense')
""")


REFUSED_BY_PYTHON = lines("""
    lib.logsumexp(x)
    lib.cumsum(x)
    lib.max(x, 1, False, 3)
    lib.sum(x, unknown=1)
""")


@pytest.mark.parametrize("expression", FORMS + REFUSED_BY_PYTHON)
def test_forms(expression: str) -> None:
    if expression in REFUSED_BY_PYTHON:
        with pytest.raises(TypeError):
            eval(expression, {"lib": cr, "x": cr.ones(2, 3)})
    else:
        agree(expression, values(3, 4))


NARROW = np.array([0.0, 2.0, -3.0, 0.5])


@pytest.mark.parametrize("zeros", [0, 1, 2, 3])
def test_products_with_zeros(zeros: int) -> None:
    x = values(3, 4, 5)
    x.reshape(3, -1)[:, : 7 * zeros : 7] = 0.0
    for dim in (0, 1, 2, -1):
        agree("lib.prod(x, y)", x, dim)
        agree("lib.prod(x, y, keepdim=True)", x, dim)
    agree("lib.prod(x)", x[0, :2])
    agree("x.prod()", NARROW)
    agree("x.prod()", np.zeros(1))
    agree("x.prod()", np.zeros(()))
    agree("x.permute(1, 0).prod(0)", np.stack([NARROW, NARROW]))


def test_overlapping_graphs_of_one_input() -> None:
    """Gradients add up whatever views the reductions hand back."""
    for text in (
        "x.sum() + x.mean() + x.max() + x.amin(0).sum()",
        "(x - x.mean(1, keepdim=True)) / x.std(1, keepdim=True)",
        "x.sum(0) * x.sum(0) + x.mean(0)",
        "x / x.sum(1, keepdim=True) + x.logsumexp(0)",
        "x.mean() + x.mean() + (x * x).mean()",
        "x.max(0).values + x.max(0).values + x.sum(0)",
    ):
        agree(text, values(3, 4))


def test_long_sums_in_float32() -> None:
    """The error of a sum must not grow with its length, along whichever axis."""
    x = np.random.default_rng(0).uniform(0, 1, (100_000, 3)).astype(np.float32)
    for dim in (0, 1, (0, 1)):
        check(lambda lib, x, dim=dim: lib.sum(x, dim), x, dtypes=("float32",), rtol=2e-6, atol=2e-6)
        check(lambda lib, x, dim=dim: lib.var(x, dim), x, dtypes=("float32",), rtol=2e-5)
    check(lambda lib, x: lib.cumsum(x, 0)[::999], x, dtypes=("float32",), rtol=2e-6, atol=2e-6)
    y = np.asarray(x.reshape(100, 10, 10, 10, 3), np.float32)
    check(lambda lib, x: lib.mean(x, (0, 2, 3)), y, dtypes=("float32",), rtol=2e-6, atol=2e-6)
    check(lambda lib, b: lib.tensor(x) * b, np.ones(3), dtypes=("float32",), rtol=1e-5)


def test_half_precision_sums_in_float32() -> None:
    x = np.full((70_000,), 0.1, np.float16)
    for name in ("sum", "mean", "var", "std"):
        theirs = getattr(torch.tensor(x), name)()
        ours = getattr(cr.tensor(x), name)()
        assert ours.dtype == np.float16
        np.testing.assert_allclose(ours.numpy(), theirs.numpy(), rtol=2e-3, atol=2e-3)


def test_named_tuple_of_max() -> None:
    for lib in (torch, cr):
        result = lib.max(lib.tensor([[1.0, 5.0], [7.0, 2.0]]), 1)
        value, index = result
        assert result.values.tolist() == value.tolist() == [5.0, 7.0]
        assert result.indices.tolist() == index.tolist() == [1, 0]


def test_cumsum_has_no_boolean_sums() -> None:
    for x in (np.array([True, False]), np.array([1, 2]), np.array([1.0, 2.0])):
        misuse(lambda lib, x: lib.cumsum(x, 0, dtype=lib.bool), x)
