"""Shapes, places, joining, splitting and padding, against PyTorch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from tests.parity.harness import check, misuse


def values(*shape: int, seed: int = 0) -> Any:
    return np.asarray(np.random.default_rng(seed).standard_normal(shape))


def agree(expression: str, *inputs: Any) -> None:
    """Compare an expression of lib, F, x, y, z; where PyTorch refuses it, so must we."""

    def run(lib: Any, *given: Any) -> Any:
        names = dict(zip("xyz", given, strict=False))
        return eval(expression, {"lib": lib, "F": lib.nn.functional, **names})

    try:
        run(torch, *[torch.tensor(v) for v in inputs])
    except Exception:
        misuse(run, *inputs)
    else:
        check(run, *inputs)


def lines(text: str) -> list[str]:
    return [line.strip() for line in text.strip().splitlines()]


RESHAPES = lines("""
    x.reshape(-1)
    x.reshape(6, -1)
    x.reshape((4, 6))
    x.reshape([4, -1, 1])
    lib.reshape(x, (2, 1, 12))
    lib.reshape(x, 24)
    x.reshape(5, -1)
    x.reshape(-1, -1)
    x.reshape(-2, 12)
    x.reshape(23)
    x.reshape(())
    x.reshape(0, -1)
    x.reshape(4.0, 6)
    x.reshape(True, 24)
    x.permute(2, 0, 1).reshape(4, 6)
    x.permute(2, 0, 1).reshape(-1)
    x.transpose(0, 1).flatten(1)
    x[:, ::2].reshape(-1, 2)
    x.flip(0, 1).reshape(24)
    x.expand(5, 2, 3, 4).reshape(30, 4)
    x.flatten()
    x.flatten(1)
    x.flatten(0, 1)
    x.flatten(-2)
    x.flatten(start_dim=1, end_dim=1)
    lib.flatten(x, end_dim=-2)
    x.flatten(2, 1)
    x.flatten(0, 3)
    x.flatten(-4)
    x.flatten(True)
    lib.ravel(x)
    x.unflatten(2, (2, 2))
    x.unflatten(-1, (2, -1))
    lib.unflatten(x, 1, (1, 3, 1))
    x.unflatten(1, (2, 2))
    x.unflatten(1, ())
    x.unflatten(1, (-1, -1))
    x.unflatten(0, (-1, 4))
    x.unflatten(3, (1,))
    lib.unflatten(x, axis=2, sizes=(4, 1))
""")

PLACES = lines("""
    x.permute(0, 2, 1)
    x.permute((2, 0, 1))
    x.permute(0, -1, 1)
    lib.permute(x, (2, 1, 0))
    lib.permute(x, dims=[1, 2, 0])
    x.permute(1, 2, 0).permute(1, 2, 0)
    x.permute(0, 1)
    x.permute(0, 1, 1)
    x.permute(0, 1, 3)
    x.permute(0, 1, -2)
    x.transpose(0, 1)
    x.transpose(-1, -3)
    x.transpose(1, 1)
    x.transpose(0, 3)
    x.transpose(0, 1.0)
    x.transpose(True, 0)
    x.swapaxes(0, 2)
    lib.swapaxes(x, axis0=0, axis1=-1)
    lib.swapdims(x, 0, 1)
    x.t()
    x[0].t()
    x[0, 0].t()
    lib.t(x[:, 1])
    x.mT
    x[0].T
    lib.movedim(x, 0, -1)
    lib.movedim(x, (0, 1), (1, 0))
    lib.movedim(x, (0, -1), (-1, 1))
    lib.movedim(x, (), ())
    lib.movedim(x, (0, 1), (1, 1))
    lib.movedim(x, (0, 0), (1, 0))
    lib.movedim(x, (0, 1), (1,))
    lib.movedim(x, 0, 5)
    lib.moveaxis(x, 2, 0)
    x.flip(0)
    x.flip(0, 1)
    x.flip((0, -1))
    lib.flip(x, [1])
    lib.flip(x, ())
    lib.flip(x, 0)
    lib.flip(x, (0, 0))
    lib.flip(x, (3,))
    lib.roll(x, 1)
    lib.roll(x, -25)
    lib.roll(x, 2, 1)
    lib.roll(x, (1, 2), (0, 1))
    lib.roll(x, (1, 2), (0, 0))
    lib.roll(x, (1, -5), (2, -2))
    lib.roll(x.permute(2, 0, 1), 3)
    lib.roll(x, (1, 2))
    lib.roll(x, 1, (0, 1))
    lib.roll(x, 1, 5)
    lib.roll(x, (), ())
""")

SIZES = lines("""
    x.squeeze()
    x.squeeze(0)
    x.squeeze(1)
    x.squeeze(-1)
    x.squeeze((0, 2))
    x.squeeze((0, 1))
    x.squeeze(())
    x.squeeze((0, 0))
    x.squeeze((0, -3))
    x.squeeze(3)
    lib.squeeze(x, dim=0)
    lib.squeeze(x, axis=0)
    x.unsqueeze(0)
    x.unsqueeze(-1)
    x.unsqueeze(3)
    x.unsqueeze(-4)
    x.unsqueeze(4)
    x.unsqueeze(-5)
    x.unsqueeze(1.0)
    x.unsqueeze(True)
    x.unsqueeze((0, 1))
    x.expand(1, 3, 1)
    x.expand(4, -1, 2)
    x.expand(2, 4, -1, 5)
    x.expand((2, 3, 2))
    x.expand(0, 3, 1)
    x.expand(-1, -1, 0)
    x.expand(-1, 1, 3, 1)
    x.expand(3, 1)
    x.expand(1, 2, 1)
    x.expand(1, 3, -2)
    x.expand(1, 0, 1)
    lib.broadcast_to(x, (2, 3, 4))
    lib.broadcast_to(x, (2, -1, 4))
    lib.broadcast_to(x, 4)
    lib.broadcast_to(x, (2, 2, 4))
    x.expand_as(x.reshape(3, 1).expand(5, 3, 2))
    x.clone()
    x.contiguous()
    x.permute(2, 1, 0).contiguous()
    x.expand(4, 3, 2).clone() * 2
    (x.expand(4, 3, 2) * x.expand(4, 3, 2)).sum(0)
""")


@pytest.mark.parametrize("expression", RESHAPES + PLACES)
def test_three_axes(expression: str) -> None:
    agree(expression, values(2, 3, 4))


@pytest.mark.parametrize("expression", SIZES)
def test_axes_of_size_one(expression: str) -> None:
    agree(expression, values(1, 3, 1))


@pytest.mark.parametrize(
    "expression",
    lines("""
    x.reshape(1, 1)
    x.reshape(-1)
    x.reshape(())
    x.reshape(2)
    x.flatten()
    x.flatten(0, -1)
    x.flatten(1)
    x.unflatten(0, (1,))
    x.permute(())
    x.permute(0)
    x.transpose(0, 0)
    x.transpose(0, -1)
    x.transpose(0, 1)
    x.t()
    lib.movedim(x, 0, 0)
    lib.movedim(x, 0, -1)
    x.squeeze()
    x.squeeze(0)
    x.squeeze(-1)
    x.squeeze(1)
    x.squeeze((0,))
    x.squeeze((0, -1))
    x.unsqueeze(0)
    x.unsqueeze(-1)
    x.unsqueeze(1)
    x.unsqueeze(-2)
    x.expand(2, 2)
    x.expand(())
    x.expand(-1)
    lib.flip(x, (0,))
    lib.flip(x, ())
    lib.roll(x, 1)
    lib.roll(x, 1, 0)
    x.clone()
    x.contiguous()
    x.narrow(0, 0, 1)
    x.narrow(0, 0, 0)
    x.select(0, 0)
    x.split(1)
    x.chunk(1)
    x.unbind()
    F.pad(x, ())
    F.pad(x, (1, 1))
    lib.cat([x, x])
    lib.stack([x, x])
    lib.stack([x, x], -1)
    lib.stack([x, x], 1)
    """),
)
def test_no_axes(expression: str) -> None:
    agree(expression, values())


@pytest.mark.parametrize(
    "expression",
    lines("""
    x.reshape(-1)
    x.reshape(-1, 0)
    x.reshape(5, 0)
    x.reshape(0, -1)
    x.reshape(3, -1)
    x.reshape(2)
    x.flatten()
    x.flatten(1)
    x.unflatten(0, (0, -1))
    x.unflatten(0, (-1, 3))
    x.unflatten(0, (2, -1))
    x.unflatten(0, (0, 2))
    x.transpose(0, 1)
    x.flip(0, 1)
    lib.roll(x, 1)
    lib.roll(x, 1, 0)
    x.squeeze()
    x.expand(0, 3)
    x.expand(2, 0, 3)
    x.expand(2, 3)
    x.split(2)
    x.split(0)
    x.split([])
    x.split([0, 0])
    x.split(2, 1)
    x.chunk(3)
    x.chunk(2, 1)
    x.unbind()
    x.unbind(1)
    x.clone()
    lib.cat([x, x])
    lib.cat([x, x], 1)
    lib.stack([x, x])
    F.pad(x, (1, 1))
    F.pad(x, (0, 0, 1, 1))
    F.pad(x, (1, 0, 0, 0), value=2.0)
    """),
)
def test_nothing_inside(expression: str) -> None:
    agree(expression, values(0, 3))


@pytest.mark.parametrize(
    "expression",
    lines("""
    lib.cat([x, y])
    lib.cat((x, x, x))
    lib.cat([x, y], dim=0)
    lib.cat([x, z], 1)
    lib.cat([x, z], -1)
    lib.cat([x, z], axis=1)
    lib.cat([x])
    lib.cat([x, y, x], -2)
    lib.concat([x, z], 1)
    lib.concatenate([x, z], 1)
    lib.cat([x.t(), z.t()])
    lib.cat([x[:, ::2], z.flip(1)], 1)
    lib.cat([lib.zeros(0), x, y])
    lib.cat([lib.zeros(0), x], 1)
    lib.cat([x, lib.zeros(0), z], 1)
    lib.cat([lib.zeros(0), lib.zeros(0)], 1)
    lib.cat([x, y[:0]])
    lib.cat([lib.zeros(0), x], 2)
    lib.cat([x, y], 1)
    lib.cat([x, x[0]])
    lib.cat([x, y], 2)
    lib.cat([x, y], -3)
    lib.cat([x, y], (0,))
    lib.cat([])
    lib.cat(x)
    lib.cat([x, 1.0])
    lib.cat([x, None])
    lib.stack([x, x])
    lib.stack((x, x * 2), 1)
    lib.stack([x, x], -1)
    lib.stack([x, x], dim=2)
    lib.stack([x, x], axis=1)
    lib.stack([x.t(), x.t()], 1)
    lib.stack([x, x], 3)
    lib.stack([x, x], -4)
    lib.stack([x, y])
    lib.stack([])
    lib.stack(x)
    lib.stack([x, 2.0])
    """),
)
def test_joining(expression: str) -> None:
    agree(expression, values(2, 3), values(4, 3), values(2, 5))


@pytest.mark.parametrize("first", ["bool", "uint8", "int8", "int32", "int64", "float32", "float64"])
@pytest.mark.parametrize("second", ["bool", "int16", "int64", "float32", "float64"])
def test_joining_promotes(first: str, second: str) -> None:
    x, y = np.array([[1, 0]]).astype(first), np.array([[2, 3]]).astype(second)

    def joined(lib: Any, name: str) -> Any:  # the harness would cast the floats
        return getattr(lib, name)([lib.tensor(x), lib.tensor(y)])

    check(lambda lib: joined(lib, "cat"))
    check(lambda lib: joined(lib, "stack"))


@pytest.mark.parametrize(
    "expression",
    lines("""
    x.split(2, dim=1)
    x.split(1)
    x.split([1, 2], dim=1)
    x.split((1, 0, 2), 1)
    x.split([4], -1)
    lib.split(x, 3, 2)
    lib.split(x, split_size_or_sections=2, dim=-1)
    x.split(10)
    x.transpose(0, 2).split(3)
    x.split([1, 1], dim=1)
    x.split([1, -1], dim=1)
    x.split([])
    x.split(0)
    x.split(-1)
    x.split(1.5)
    x.split(2, 3)
    x.chunk(2, 1)
    x.chunk(3, -1)
    x.chunk(5, 2)
    lib.chunk(x, chunks=1)
    lib.chunk(x, 2, axis=1)
    x.chunk(0)
    x.chunk(-1)
    x.chunk(3, 3)
    x.unbind()
    x.unbind(-1)
    x.unbind(dim=1)
    x.unbind(3)
    x.split(2, dim=1)[0]
    x.split([1, 2], dim=1)[1] * 3
    x.unbind(1)[2] + x.unbind(1)[0]
    [p * i for i, p in enumerate(x.chunk(4, 2))][1:3]
    """),
)
def test_splitting(expression: str) -> None:
    agree(expression, values(2, 3, 4))


@pytest.mark.parametrize(
    "expression",
    lines("""
    F.pad(x, (1, 2))
    F.pad(x, [1, 2, 0, 1])
    F.pad(x, (1, 2, 0, 1, 3, 3))
    F.pad(x, (1, 2), "constant", 0)
    F.pad(x, (1, 2), mode="constant", value=-2.5)
    F.pad(x, (1, 2), value=float("nan"))
    F.pad(x, (1, 2), value=float("inf"))
    F.pad(x, (0, 0))
    F.pad(x, ())
    F.pad(x, (-1, -1))
    F.pad(x, (-3, -1))
    F.pad(x, (-3, 2), value=7)
    F.pad(x, (5, -4))
    F.pad(x, (1, -1, -2, 3, 0, 1))
    F.pad(x.permute(2, 0, 1), (1, 1, -1, 0))
    F.pad(input=x, pad=(1, 1))
    F.pad(x, (-3, -2))
    F.pad(x, (6, -8))
    F.pad(x, (-5, 4))
    F.pad(x, (1,))
    F.pad(x, (1, 2, 0, 1, 3, 3, 1, 1))
    F.pad(x, 1)
    F.pad(x, (1.0, 1))
    F.pad(x, (True, 1))
    F.pad(x, (1, 1), mode="foo")
    F.pad(x, (1, 1), "reflect", 1.0)
    F.pad(x, (1, 1), value="a")
    F.pad(x.int(), (1, 1))
    F.pad((x * 10).long(), (1, 1), value=1.5)
    F.pad((x * 10).long(), (1, 1), value=-2)
    F.pad((x * 10).long(), (1, 1), value=float("nan"))
    F.pad((x * 10).int(), (1, 1), value=2**40)
    F.pad(x > 0, (1, 1), value=2)
    """),
)
def test_constant_padding(expression: str) -> None:
    agree(expression, values(2, 3, 4))


@pytest.mark.parametrize("mode", ["reflect", "replicate", "circular"])
@pytest.mark.parametrize(
    ("shape", "around"),
    [
        ((2, 3), (1, 1)),
        ((2, 3), (2, 0)),
        ((2, 3), (0, 2)),
        ((2, 3), (0, 0)),
        ((2, 3), (-1, -1)),
        ((2, 3), (2, -1)),
        ((2, 3), (-1, 1)),
        ((2, 2, 4), (3, 3)),
        ((2, 3, 4), (1, 2, 2, 0)),
        ((2, 3, 4), (1, 1, -1, -1)),
        ((1, 2, 3, 4), (1, -1, 0, 2)),
        ((2, 2, 3, 4), (3, 2, 1, 2)),
        ((1, 2, 3, 4), (1, 2, 1, 0, 0, 1)),
        ((1, 2, 3, 3, 2), (1, 0, 2, 1, 1, 2)),
        ((4,), (1, 1)),
        ((2, 3, 4), (1, 1, 1, 1, 1, 1)),
        ((1, 1, 2, 3, 4), (1, 1)),
        ((2, 3), ()),
        ((2, 3), (4, 0)),
        ((2, 3, 4), (0, 5, 0, 0)),
    ],
)
def test_border_padding(mode: str, shape: tuple[int, ...], around: tuple[int, ...]) -> None:
    agree(f"F.pad(x, {around}, mode={mode!r})", values(*shape))
    agree(f"F.pad(x, {around}, {mode!r}, 0)", values(*shape))


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int32", "int64"])
@pytest.mark.parametrize(
    "expression",
    lines("""
    x.reshape(-1)
    x.permute(1, 0)
    x.flip(1)
    lib.roll(x, 1, 1)
    x.expand(2, 2, 3)
    lib.cat([x, x], 1)
    lib.stack([x, x], 1)
    x.split(2, 1)
    F.pad(x, (1, -1))
    x.clone()
    """),
)
def test_other_kinds(expression: str, dtype: str) -> None:
    agree(expression, (values(2, 3) * 3).astype(dtype))


def test_reshape_takes_sizes_of_any_integer_kind() -> None:
    check(lambda lib, x: x.reshape(np.int64(4), np.int32(6)), values(2, 3, 4))
    check(lambda lib, x: lib.transpose(x, np.int64(0), np.int64(-1)), values(2, 3, 4))


def test_special_values_survive() -> None:
    x = np.array([[np.nan, np.inf, -0.0], [-np.inf, 0.0, 1.0]])
    for expression in ("x.flip(1)", "lib.cat([x, x])", "x.t().reshape(-1)", "F.pad(x, (1, 1))"):
        agree(expression, x)
