"""Order, running extremes, norms, statistics, sets and counts, against PyTorch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.parity.test_gather import agree, lines, values, whole


def tied(*shape: int, seed: int = 0) -> Any:
    return np.round(values(*shape, seed=seed) * 1.5)


AXES = lines("""
    x.sort()
    x.sort(0)
    x.sort(-1, True)
    lib.sort(x, dim=1, descending=True)
    lib.sort(x, stable=True, dim=0)
    x.sort(3)
    x.sort(1.5)
    x.t().sort(0) if x.ndim == 2 else x.sort()
    x.argsort()
    lib.argsort(x, dim=0, descending=True)
    lib.msort(x)
    x.msort()
    x.topk(2)
    x.topk(2, 0)
    x.topk(1, largest=False)
    lib.topk(x, k=3, dim=-1, largest=True, sorted=True)
    x.topk(0)
    x.topk(99)
    x.topk(-1)
    x.topk(1, 5)
    x.kthvalue(1)
    x.kthvalue(2, 0, True)
    lib.kthvalue(x, k=2, dim=-1)
    x.kthvalue(0)
    x.kthvalue(99)
    x.median()
    x.median(0)
    x.median(-1, True)
    lib.median(x, dim=1)
    x.median(4)
    lib.nanmedian(x)
    x.nanmedian(1)
    x.mode()
    x.mode(0, keepdim=True)
    lib.mode(x, 1)
    x.mode(4)
    x.cumprod(0)
    x.cumprod(-1)
    lib.cumprod(x, dim=1, dtype=lib.float64)
    x.cumprod(4)
    x.cummax(0)
    lib.cummax(x, dim=1)
    x.cummin(-1)
    lib.cummin(x, 0)
    x.cummax(4)
    x.logcumsumexp(0)
    lib.logcumsumexp(x, dim=-1)
    x.logcumsumexp(4)
    lib.aminmax(x)
    x.aminmax(dim=0)
    x.aminmax(dim=1, keepdim=True)
    lib.var_mean(x)
    lib.var_mean(x, 1)
    lib.var_mean(x, (0, 1), correction=0, keepdim=True)
    lib.var_mean(x, False)
    lib.std_mean(x, dim=0, unbiased=False)
    lib.std_mean(x, 1, correction=0.5)
    lib.nansum(x)
    x.nansum(1, True)
    lib.nansum(x, dim=(0, 1), dtype=lib.float64)
    lib.nanmean(x)
    x.nanmean(0)
    x.nanmean((0, 1), keepdim=True)
    lib.quantile(x, 0.3)
    x.quantile(0.5, 1)
    x.quantile(0.25, dim=0, keepdim=True, interpolation="nearest")
    lib.quantile(x, lib.tensor([0.1, 0.9], dtype=x.dtype), 1, interpolation="midpoint")
    lib.nanquantile(x, 0.6, dim=1, interpolation="lower")
    x.nanquantile(0.6, interpolation="higher")
    x.quantile(1.5)
    x.quantile(0.5, 7)
    x.quantile(0.5, interpolation="no")
    lib.quantile(x, lib.tensor([[0.5]], dtype=x.dtype))
""")

SORTING = ("sort", "topk", "median", "nanmedian", "kthvalue", "argsort", "mode",
           "quantile", "nanquantile")  # fmt: skip


@pytest.mark.parametrize("expression", AXES)
def test_along_axes(expression: str) -> None:
    agree(expression, values(4, 5))
    agree(expression, values(3, 3))
    if not any(f".{name}(" in expression for name in SORTING):  # PyTorch's index is any of several
        agree(expression, tied(4, 5))
        x = values(4, 5)
        x[1, 2] = x[3, 0] = np.nan
        agree(expression, x)


@pytest.mark.parametrize(
    "expression",
    lines("""
    lib.sort(x, dim=0, stable=True)
    lib.sort(x, dim=1, stable=True, descending=True)
    x.argsort(stable=True)
    x.sort()[0]
    x.topk(3)[0]
    x.topk(3, 0, False)[0]
    x.kthvalue(3)[0]
    x.median()
    x.median(1)[0]
    x.nanmedian(0)[0]
    x.mode()
    x.mode(0)
    """),
)
def test_ties_and_nan(expression: str) -> None:
    ties = tied(6, 5)
    agree(expression, ties, gradients=" stable=True" in expression or expression == "x.median()")
    if "mode" in expression:  # which PyTorch sorts without regard to NaN
        return
    ties[2, 3] = ties[4, 3] = ties[4, 4] = np.nan
    agree(expression, ties, gradients=False)
    agree(expression, whole(6, 5, high=4))


@pytest.mark.parametrize(
    "expression",
    lines("""
    x.sort()
    x.sort(-1)
    x.sort(1)
    x.argsort()
    x.topk(1)
    x.topk(2)
    x.kthvalue(1)
    x.median()
    x.median(0)
    x.mode()
    x.cumprod(0)
    x.cummax(0)
    x.cummin(-1)
    x.logcumsumexp(0)
    lib.aminmax(x)
    x.norm()
    x.norm(3, 0)
    x.quantile(0.5)
    x.nansum()
    lib.msort(x)
    lib.histc(x, 3)
    """),
)
def test_no_axes(expression: str) -> None:
    agree(expression, values())


@pytest.mark.parametrize(
    "expression",
    lines("""
    x.sort()
    x.sort(0)
    x.topk(2)
    x.topk(1, 0)
    x.kthvalue(1)
    x.kthvalue(1, 0)
    x.median()
    x.median(1)
    x.median(0)
    x.mode(1)
    x.mode(0)
    x.cumprod(0)
    x.cummax(0)
    x.cummin(1)
    x.logcumsumexp(0)
    lib.aminmax(x)
    lib.aminmax(x, dim=1)
    lib.aminmax(x, dim=0)
    x.norm()
    x.norm(float("inf"))
    x.norm(1, 0)
    x.norm(float("inf"), 1)
    x.norm(-1, 0)
    x.nansum(0)
    lib.nanmean(x, 0)
    x.quantile(0.5)
    lib.msort(x)
    x.nonzero()
    lib.bincount(x.long().reshape(-1))
    lib.histc(x, 3, 0, 1)
    lib.isin(x, x)
    """),
)
def test_nothing_inside(expression: str) -> None:
    agree(expression, values(0, 3))


ORDERS = ["'fro'", "0", "0.5", "1", "1.5", "2", "3", "-1", "-2.5", "None", "'nuc'", "'no'"]
ORDERS += ["float('inf')", "-float('inf')"]


@pytest.mark.parametrize("p", ORDERS)
@pytest.mark.parametrize("rest", ["", ", 0", ", dim=1, keepdim=True", ", (0, 2)", ", (0, 1, 2)",
                                  ", 5", ", (0, 0)"])  # fmt: skip
def test_norm(p: str, rest: str) -> None:
    agree(f"x.norm({p}{rest})", values(3, 4, 2))
    agree(f"lib.norm(x.transpose(0, 2), {p}{rest})", values(3, 4, 2))
    if p not in ("'nuc'", "-1", "-2.5"):
        agree(f"lib.norm(x, {p}{rest})", tied(3, 4, 2))


@pytest.mark.parametrize(
    "expression",
    lines("""
    lib.linalg.vector_norm(x)
    lib.linalg.vector_norm(x, 3, 1, True)
    lib.linalg.vector_norm(x, ord=1, dim=(0, 1), dtype=lib.float64)
    lib.linalg.vector_norm(x, dtype=lib.int64)
    lib.linalg.vector_norm(x.long())
    lib.linalg.matrix_norm(x)
    lib.linalg.matrix_norm(x, "nuc")
    lib.linalg.matrix_norm(x, 1, (0, 1))
    lib.linalg.matrix_norm(x, -1, (0, 1), keepdim=True)
    lib.linalg.matrix_norm(x, float("inf"), (2, 0))
    lib.linalg.matrix_norm(x, -float("inf"), (2, 0))
    lib.linalg.matrix_norm(x, 2)
    lib.linalg.matrix_norm(x, -2, (0, 1), keepdim=True)
    lib.linalg.matrix_norm(x, 3)
    lib.linalg.matrix_norm(x, "no")
    lib.linalg.matrix_norm(x, 2, (1,))
    lib.linalg.matrix_norm(x[0, 0])
    lib.linalg.norm(x)
    lib.linalg.norm(x, 1)
    lib.linalg.norm(x[0], 1)
    lib.linalg.norm(x[0, 0], 3)
    lib.linalg.norm(x, 2, dim=(0, 2))
    lib.linalg.norm(x, dim=1, keepdim=True)
    lib.linalg.norm(x[0], "fro")
    lib.linalg.norm(x, "fro", 1)
    lib.linalg.vecdot(x, x[0])
    lib.linalg.vecdot(x, x, dim=0)
    lib.linalg.cross(x[:, :3, :2].transpose(1, 2), x[:, :3, 2:].transpose(1, 2))
    lib.linalg.cross(x, x, dim=1)
    lib.linalg.cross(x, x)
    lib.linalg.diagonal(x, offset=1)
    lib.linalg.multi_dot([x[0], x[1].T, x[0]])
    lib.linalg.multi_dot([x[0, 0], x[1].T, x[0, :, 0]])
    lib.linalg.multi_dot([x[0]])
    lib.linalg.matmul(x, x[0].T)
    """),
)
def test_linalg(expression: str) -> None:
    agree(expression, values(2, 3, 4))


def test_dist() -> None:
    for p in ("", ", 1", ", p=3", ", float('inf')"):
        agree(f"lib.dist(x, y{p})", values(3, 4), values(4, seed=1))
        agree(f"x.dist(y{p})", values(3, 4), values(3, 1, seed=1))
    agree("lib.dist(x, y)", values(3, 4), values(3, seed=1))


@pytest.mark.parametrize("kind", ["bool", "uint8", "int32", "int64", "float64"])
@pytest.mark.parametrize(
    "expression",
    lines("""
    x.unique()
    lib.unique(x, return_inverse=True, return_counts=True)
    lib.unique(x, sorted=True, return_counts=True, dim=0)
    x.unique(return_inverse=True, dim=-1)
    lib.unique(x, dim=3)
    lib.unique_consecutive(x)
    x.unique_consecutive(return_inverse=True, return_counts=True)
    x.unique_consecutive(return_counts=True, dim=1)
    lib.isin(x, y)
    lib.isin(x, y[0])
    lib.isin(x, 1)
    lib.isin(1, y)
    lib.isin(x, y[1], assume_unique=False, invert=True)
    lib.bincount(x.reshape(-1))
    lib.bincount(x.reshape(-1), minlength=9)
    x.reshape(-1).bincount(y.reshape(-1))
    x.reshape(-1).bincount(y.reshape(-1).float())
    x.bincount()
    lib.bincount(-x.reshape(-1))
    lib.bincount(x.reshape(-1), minlength=-1)
    lib.bincount(x.reshape(-1), y[0])
    x.sort(stable=True)
    x.topk(1)[0]
    x.median()
    x.mode()
    x.kthvalue(2)[0]
    x.cummax(0)
    x.cumprod(1)
    x.nansum(1)
    x.nanmean()
    x.norm()
    x.logcumsumexp(0)
    x.quantile(0.5)
    lib.aminmax(x, dim=1)
    """),
)
def test_kinds(expression: str, kind: str) -> None:
    x, y = whole(4, 3, high=3).astype(kind), whole(4, 3, high=3, seed=1).astype(kind)
    agree(expression, x, y, gradients=False)


def test_unique_of_one_and_of_nothing() -> None:
    agree("x.unique()", values(), gradients=False)
    agree("x.unique()", values(0, 3), gradients=False)


@pytest.mark.parametrize(
    "expression",
    lines("""
    lib.histc(x)
    lib.histc(x, bins=5)
    x.histc(4, -1, 1)
    x.histc(bins=4, min=0, max=0.5)
    lib.histc(x, 0)
    lib.histc(x, 5, 2, 1)
    lib.histc(x / 0)
    lib.histc(x.long(), 4)
    lib.searchsorted(y, x)
    lib.searchsorted(y, x, right=True)
    lib.searchsorted(y, x, side="right", out_int32=True)
    lib.searchsorted(y, x, side="left", right=True)
    lib.searchsorted(y, x, side="no")
    lib.searchsorted(y, 0.3)
    lib.searchsorted(y, x[0, 0])
    lib.searchsorted(x.sort(-1)[0], x)
    lib.searchsorted(x.sort(-1)[0], x[:, :2], right=True)
    lib.searchsorted(x, x, sorter=x.argsort())
    lib.searchsorted(x.sort(-1)[0], x[:2])
    lib.searchsorted(x.sort(-1)[0], 0.3)
    lib.searchsorted(y, x.long())
    lib.bucketize(x, y)
    lib.bucketize(x, boundaries=y, right=True, out_int32=True)
    lib.bucketize(0.3, y)
    lib.bucketize(x, x)
    """),
)
def test_places_in_order(expression: str) -> None:
    agree(expression, values(4, 5), np.sort(tied(7, seed=1)), gradients=False)
