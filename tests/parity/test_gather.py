"""Reading and writing by index and mask, and the in-place forms, against PyTorch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from tests.parity.harness import check, misuse


def values(*shape: int, seed: int = 0) -> Any:
    return np.asarray(np.random.default_rng(seed).standard_normal(shape))


def whole(*shape: int, high: int, seed: int = 0) -> Any:
    return np.random.default_rng(seed).integers(0, high, shape)


def agree(expression: str, *inputs: Any, gradients: bool = True) -> None:
    """Compare an expression of lib, x, y, z, w; where PyTorch refuses it, so must we."""

    def run(lib: Any, *given: Any) -> Any:
        names = dict(zip("xyzw", given, strict=False))
        return eval(expression, {"lib": lib, "T": lib.tensor, **names})

    try:
        run(torch, *[torch.tensor(v) for v in inputs])
    except Exception:
        misuse(run, *inputs)
    else:
        check(run, *inputs, gradients=gradients)


def lines(text: str) -> list[str]:
    return [line.strip() for line in text.strip().splitlines()]


SHAPES = [
    ((3,), 0, (5,)),
    ((3, 4), 0, (5, 4)),
    ((3, 4), 1, (2, 7)),
    ((3, 4), -1, (3, 1)),
    ((2, 3, 4), 1, (2, 5, 3)),
    ((2, 3, 4), 2, (1, 3, 2)),
    ((), 0, ()),
    ((), 0, (1,)),
    ((3, 4), 1, (3, 0)),
    ((0, 3), 1, (0, 2)),
]


@pytest.mark.parametrize(("shape", "dim", "size"), SHAPES)
def test_gather_and_scatter(shape: Any, dim: int, size: Any) -> None:
    n = shape[dim] if shape else 1
    x, index, src = values(*shape), whole(*size, high=n), values(*size, seed=1)
    agree(f"x.gather({dim}, y)", x, index)
    agree(f"lib.gather(x, dim={dim}, index=y)", x, index)
    agree(f"x.scatter_add({dim}, y, z)", x, index, src)
    agree(f"lib.scatter_add(input=x, dim={dim}, index=y, src=z)", x, index, src)
    agree(f"x.scatter({dim}, y, 2.5)", x, index)
    agree(f"lib.scatter(x, {dim}, y, value=-1)", x, index)
    agree(f"x.scatter({dim}, y, z, reduce='add')", x, index, src, gradients=False)
    agree(f"x.scatter({dim}, y, 3.0, reduce='multiply')", x, index, gradients=False)


@pytest.mark.parametrize("reduce", ["sum", "prod", "mean", "amax", "amin"])
@pytest.mark.parametrize("include", [True, False])
@pytest.mark.parametrize(("shape", "dim", "size"), SHAPES)
def test_scatter_reduce(shape: Any, dim: int, size: Any, reduce: str, include: bool) -> None:
    n = shape[dim] if shape else 1
    x, index, src = values(*shape), whole(*size, high=n), values(*size, seed=1)
    call = f"x.scatter_reduce({dim}, y, z, {reduce!r}, include_self={include})"
    agree(call, x, index, src)
    agree(call, np.asarray(np.round(x)), index, np.asarray(np.round(src)))  # ties and zeros
    agree(call, np.asarray(x * 9).astype(int), index, np.asarray(src * 9).astype(int))


def test_other_names_of_the_extremes() -> None:
    x, index, src = values(2, 4), whole(2, 3, high=4), values(2, 3, seed=1)
    agree("x.scatter_reduce(1, y, z, 'max')", x, index, src, gradients=False)
    agree("x.scatter_reduce(1, y, z, 'min', include_self=False)", x, index, src, gradients=False)


def test_a_scattered_place_is_named_once() -> None:
    index = np.array([[2, 0, 1], [0, 1, 3]])
    agree("x.scatter(1, y, z)", values(2, 4), index, values(2, 3, seed=1))
    agree("x.t().scatter(0, y.t(), z.t())", values(2, 4), index, values(2, 3, seed=1))
    agree("x.scatter(1, y, z)", values(2, 4) > 0, index, values(2, 3, seed=1) > 0)


@pytest.mark.parametrize(
    "expression",
    lines("""
    x.gather(1, y.t())
    x.t().gather(0, y.t())
    x.flip(0).gather(1, y)
    x.gather(2, y)
    x.gather(-3, y)
    x.gather(1, y + 9)
    x.gather(1, -y - 1)
    x.gather(1, y.float())
    x.gather(1, y.int())
    x.gather(1, y[0])
    x.gather(0, y)
    x.gather(1, y, sparse_grad=False)
    x.scatter(1, y, z[:, :1])
    x.scatter(1, y, z.double() if z.dtype == lib.float32 else z.float())
    x.scatter(1, y, z.long())
    x.scatter(1, y + 9, z)
    x.scatter(1, y[0], z)
    x.scatter(1, y, z, reduce="mean")
    x.scatter(1, y, z, reduce="sum")
    x.scatter_add(1, y, z[0])
    x.scatter_add(1, y.float(), z)
    x.scatter_reduce(1, y, z, "median")
    x.scatter_reduce(1, y, z, "sum", include_self=1.5)
    lib.cat([x, x]).gather(1, lib.cat([y, y]))
    x.take(y)
    x.take(y - 8)
    x.take(y + 9)
    x.take(y.float())
    lib.take(x, y)
    x.t().take(y)
    x.take_along_dim(y, 1)
    x.take_along_dim(y[:1], dim=1)
    x.take_along_dim(y - 3, 1)
    x.take_along_dim(y)
    lib.take_along_dim(x, indices=y[:, :1], dim=-1)
    x.take_along_dim(y[0], 1)
    x.take_along_dim(y, 2)
    x.take_along_dim(y.float(), 1)
    x.index_select(0, y[0, :2] % 2)
    x.index_select(1, y.reshape(-1))
    x.index_select(-1, y[0, 0])
    lib.index_select(x, dim=1, index=y[1].int())
    x.t().index_select(0, y[1])
    x.index_select(1, y)
    x.index_select(1, y[0] + 9)
    x.index_select(1, -y[0] - 1)
    x.index_select(1, y[0].float())
    x.index_select(2, y[0])
    x.index_select(1, y[0, :0])
    x.index_add(1, y[0], z)
    x.index_add(1, y[0], z, alpha=-2.5)
    lib.index_add(x, 1, y[0], z)
    x.index_add(1, y[0], z[:, :1])
    x.index_add(1, y[0] + 9, z)
    x.index_add(1, y, z)
    x.index_add(1, y[0].float(), z)
    x.index_add(0, y[0], z)
    x.index_add(1, y[0], z.long())
    x.long().index_add(1, y[0], z.long(), alpha=2)
    x.long().index_add(1, y[0], z.long(), alpha=0.5)
    x.index_copy(1, T([2, 0]), z[:, :2])
    lib.index_copy(x, -1, T([1]), z[:, :1])
    x.index_copy(1, T([2, 0]), z)
    x.index_copy(1, T([9, 0]), z[:, :2])
    x.index_copy(1, T([2, 0]), z[:, :2].long())
    x.index_fill(1, y[0], 2.0)
    lib.index_fill(x, 0, T([1, -1]), 3)
    x.index_fill(1, T([0, 2, 0]), z[0, 0])
    x.index_fill(1, T([9]), 1.0)
    x.index_fill(1, y, 1.0)
    x.index_fill(1, T([0]), z[0])
    x.index_fill(1, T([0.0]), 1.0)
    x.index_reduce(1, y[0], z, "prod")
    x.index_reduce(1, y[0], z, "mean", include_self=False)
    lib.index_reduce(x, dim=-1, index=y[0], source=z, reduce="amax")
    x.index_reduce(1, y[0], z, "amin")
    x.index_reduce(1, y[0], z, "sum")
    x.index_reduce(1, y[0], z[:, :1], "amin")
    x.index_put((T([0, 1]), T([2, 2])), z[0, :2])
    x.index_put((T([0, 1]),), z[0, 0])
    x.index_put([T([1, 1]), T([2, 2])], z[0, :2], accumulate=True)
    lib.index_put(x, (x.detach() > 0,), z[0, 0])
    x.index_put((None, T([1, 1])), z[:, :1], True)
    x.index_put((T([5]),), z[0, 0])
    x.index_put((T([0]),), z)
    x.index_put((T([0]),), z[0, 0].long())
    x.put(T([[3, 0, 7]]), z[:1])
    lib.put(x, y - 8, z, accumulate=True)
    x.put(y, z, accumulate=True)
    x.put(y + 9, z)
    x.put(y, z[0])
    x.put(y, z.long())
    """),
)
def test_by_index(expression: str) -> None:
    agree(expression, values(2, 4), whole(2, 3, high=4), values(2, 3, seed=1))


@pytest.mark.parametrize(
    "expression",
    lines("""
    x.masked_select(y)
    x.masked_select(y[0])
    x.masked_select(y[:, :1])
    lib.masked_select(x[0], y)
    lib.masked_select(x, ~y)
    x.t().masked_select(y.t())
    x.masked_select(y[0, :3])
    x.masked_select(x)
    x.masked_scatter(y, z)
    x.masked_scatter(y[0], z)
    lib.masked_scatter(x[0], y, z)
    x.masked_scatter(y, z[0])
    x.masked_scatter(y, z.long())
    x.masked_scatter(x, z)
    x.masked_scatter(~y, z)
    x.nonzero()
    y.nonzero()
    lib.nonzero(y, as_tuple=True)
    y.nonzero(as_tuple=False)
    y[0, 0].nonzero()
    y[0, 0].nonzero(as_tuple=True)
    y[:0].nonzero()
    y.t().nonzero()
    lib.argwhere(y)
    y.argwhere()
    """),
)
def test_by_mask(expression: str) -> None:
    agree(expression, values(3, 4), values(3, 4, seed=1) > 0, values(3, 5, seed=2))


IN_PLACE = lines("""
    v.scatter_(0, T([1, 0]), w[:2])
    v.scatter_(0, T([1]), 2.0)
    v.scatter_add_(0, T([1, 1]), w[:2])
    v.scatter_reduce_(0, T([1, 1]), w[:2], "amax")
    v.index_add_(0, T([1, 1]), w[:2])
    v.index_copy_(0, T([2]), w[:1])
    v.index_fill_(0, T([2]), 1.0)
    v.masked_fill_(w > 0, 1.0)
    v.masked_scatter_(w > 0, w)
    v.abs_()
    v.neg_()
    v.exp_()
    v.expm1_()
    v.square_()
    v.reciprocal_()
    v.sin_()
    v.cos_()
    v.floor_()
    v.ceil_()
    v.round_()
    v.trunc_()
    v.sign_()
    v.clamp_(-1, 1)
    v.clip_(min=0)
    v.pow_(2)
    v.remainder_(1.5)
    v.sigmoid_()
    v.tanh_()
    v.relu_()
    v.index_reduce_(0, T([1, 1]), w[:2], "prod")
    v.index_put_((T([1, 1]),), w[:2], accumulate=True)
    v.index_put_((w > 0,), w[0])
    v.put_(T([1, 0]), w[:2])
    v.fill_(2.5)
    v.fill_(w[0])
    v.zero_()
    v.copy_(w)
    v.copy_(w[0]).mul_(w)
    v.true_divide_(w)
    v.div_(w, rounding_mode="floor")
    v.cumsum_(0)
    v.cumprod_(0)
    v.mul_(w)
    v.add_(w, alpha=2)
    v.sub_(w)
    v.div_(w)
    v.mul_(2).exp_()
    v.abs_().sqrt_()
    v.abs_().log_()
    v.abs_().log1p_()
    v.abs_().log2_()
    v.abs_().log10_()
    v.abs_().rsqrt_()
    v.addmv_(w.outer(w), w)
    v.unsqueeze_(0)
    v.unsqueeze_(0).squeeze_()
    v.unsqueeze_(0).t_()
    v.unsqueeze_(0).transpose_(0, 1).mul_(w)
    v.unsqueeze_(0).swapaxes_(0, 1)
    v.unsqueeze_(0).swapdims_(0, 1)
    v.scatter_(0, T([[1]]), 2.0)
    v.masked_fill_((w > 0).unsqueeze(0), 1.0).unsqueeze_(0).masked_fill_(T([[True], [True]]), 1.0)
""")


@pytest.mark.parametrize("expression", IN_PLACE)
@pytest.mark.parametrize("how", ["x * 1", "x.detach().clone()", "lib.zeros_like(x) + 0.5"])
def test_in_place(expression: str, how: str) -> None:
    def run(lib: Any, x: Any, w: Any) -> Any:
        v = eval(how, {"lib": lib, "x": x})
        eval(expression, {"lib": lib, "T": lib.tensor, "v": v, "w": w})
        return v * 1  # what the name holds, not what the call gave

    x, w = values(4), values(4, seed=1) + 0.1
    try:
        run(torch, torch.tensor(x), torch.tensor(w))
    except Exception:
        misuse(run, x, w)
    else:
        check(run, x, w)


@pytest.mark.parametrize(
    "expression",
    lines("""
    v.tril_()
    v.triu_(1)
    v.addmm_(w, w, beta=0.5, alpha=2)
    v.addr_(w[0], w[1])
    v.unsqueeze_(0).baddbmm_(w[None], w[None])
    v.addbmm_(w[None], w[None])
    """),
)
def test_matrices_in_place(expression: str) -> None:
    def run(lib: Any, x: Any, w: Any) -> Any:
        v = x * 1
        eval(expression, {"v": v, "w": w})
        return v

    check(run, values(3, 3), values(3, 3, seed=1))


@pytest.mark.parametrize("name", ["eq_", "ne_", "lt_", "le_", "gt_", "ge_", "logical_and_",
                                  "logical_or_", "logical_xor_"])  # fmt: skip
@pytest.mark.parametrize("kind", ["float32", "int64", "bool"])
def test_questions_in_place(name: str, kind: str) -> None:
    x, y = whole(4, high=3).astype(kind), whole(4, high=3, seed=1).astype(kind)
    check(lambda lib, x, y: getattr(x, name)(y), x, y, gradients=False)
    check(lambda lib, x: x.logical_not_(), x, gradients=False)


@pytest.mark.parametrize("name", ["bitwise_and_", "bitwise_or_", "bitwise_xor_",
                                  "bitwise_left_shift_", "bitwise_right_shift_"])  # fmt: skip
def test_bits_in_place(name: str) -> None:
    check(lambda lib, x, y: getattr(x, name)(y), whole(4, high=9), whole(4, high=9, seed=1))
    check(lambda lib, x: x.bitwise_not_(), whole(4, high=9))
    check(lambda lib, x: x.floor_divide_(2), whole(4, high=9))


@pytest.mark.parametrize(
    "call",
    [
        lambda lib, x: x.requires_grad_().exp_(),
        lambda lib, x: x.requires_grad_().scatter_(0, lib.tensor([0]), 1.0),
        lambda lib, x: x.requires_grad_().unsqueeze_(0),
        lambda lib, x: x.long().exp_(),
        lambda lib, x: lib.zeros(1).mul_(x),
        lambda lib, x: lib.zeros(1).expand(3).exp_(),
    ],
)
def test_what_cannot_be_in_place(call: Any) -> None:
    misuse(call, values(3))
