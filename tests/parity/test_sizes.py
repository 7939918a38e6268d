"""The sizes of all that slides: every combination of settings, refusals too, as PyTorch has them.

Only shapes are computed here (on tensors without data), so that all combinations can be tried.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch

import chainrule as cr

SIZES, KERNELS, STRIDES, PADDINGS, DILATIONS = (
    range(1, 13), range(1, 6), range(1, 5), range(4), range(1, 4),
)  # fmt: skip

Call = Callable[[Any, Any, tuple[Any, ...]], Any]
Grid = Iterator[tuple[Any, ...]]


def _weighted(d: int, name: str) -> Call:
    def call(lib: Any, x: Any, setting: tuple[Any, ...]) -> Any:
        kernel, *rest = setting
        w = (lib.zeros if lib is torch else _meta)(1, 1, *_each(kernel, d))
        return getattr(lib.nn.functional, f"{name}{d}d")(x, w, None, *rest)

    return call


def _pool(d: int, name: str) -> Call:
    return lambda lib, x, setting: getattr(lib.nn.functional, f"{name}{d}d")(x, *setting)


def _meta(*shape: int) -> Any:
    return cr.zeros(*shape, device="meta")


def _each(value: Any, d: int) -> tuple[int, ...]:
    return value if isinstance(value, tuple) else (value,) * d


def conv() -> Grid:
    """(kernel, stride, padding, dilation)."""
    return product(KERNELS, STRIDES, PADDINGS, DILATIONS)


def transposed() -> Grid:
    """(kernel, stride, padding, output_padding, groups, dilation)."""
    return product(KERNELS, STRIDES, PADDINGS, range(4), (1,), DILATIONS)


def max_pool() -> Grid:
    """(kernel, stride, padding, dilation, ceil_mode)."""
    return product(KERNELS, STRIDES, PADDINGS, DILATIONS, (False, True))


def avg_pool() -> Grid:
    """(kernel, stride, padding, ceil_mode)."""
    return product(KERNELS, STRIDES, PADDINGS, (False, True))


KINDS: dict[str, tuple[Callable[[int], Call], Callable[[], Grid], int]] = {
    "conv": (lambda d: _weighted(d, "conv"), conv, 2000),
    "conv_transpose": (lambda d: _weighted(d, "conv_transpose"), transposed, 4000),
    "max_pool": (lambda d: _pool(d, "max_pool"), max_pool, 2000),
    "avg_pool": (lambda d: _pool(d, "avg_pool"), avg_pool, 900),
}
"""By what slides: its call in d dimensions, its settings along one axis, how many must fit."""


def outcome(call: Call, lib: Any, sizes: tuple[int, ...], setting: tuple[Any, ...]) -> Any:
    """Give the output's shape, None where the call is refused."""
    x = torch.zeros(1, 1, *sizes) if lib is torch else _meta(1, 1, *sizes)
    try:
        return tuple(call(lib, x, setting).shape)
    except (RuntimeError, ValueError):
        return None


def compare(call: Call, sizes: tuple[int, ...], setting: tuple[Any, ...]) -> bool:
    """Require one outcome; tell whether it is a shape."""
    theirs, ours = (outcome(call, lib, sizes, setting) for lib in (torch, cr))
    assert ours == theirs, f"{sizes} with {setting}: {ours}, torch has {theirs}"
    return theirs is not None


@pytest.mark.parametrize("kind", KINDS)
def test_every_combination_along_one_axis(kind: str) -> None:
    make, grid, least = KINDS[kind]
    call = make(1)
    fitting = sum(compare(call, (n,), setting) for setting in grid() for n in SIZES)
    assert fitting > least


def _refused_by_torch_alone(kind: str, sizes: tuple[int, ...], kernel: tuple[int, ...]) -> bool:
    """PyTorch's avg_pool3d wants every kernel within the image; avg_pool2d counts the padding."""
    beyond = any(k > n for n, k in zip(sizes, kernel, strict=True))
    return kind == "avg_pool" and len(sizes) == 3 and beyond


def _joined(first: tuple[Any, ...], more: list[tuple[Any, ...]]) -> tuple[Any, ...]:
    """Give settings with an entry for each axis; switches and groups are the first's."""
    every = zip(first, *more, strict=True)
    groups = 4 if len(first) == 6 else None
    return tuple(v[0] if isinstance(v[0], bool) or i == groups else v for i, v in enumerate(every))


@pytest.mark.parametrize("d", [2, 3])
@pytest.mark.parametrize("kind", KINDS)
def test_random_combinations_of_axes(kind: str, d: int) -> None:
    make, grid, _ = KINDS[kind]
    call, settings, rng = make(d), list(grid()), np.random.default_rng(d)
    fitting = 0
    for _ in range(600):
        first, *more = (settings[int(rng.integers(len(settings)))] for _ in range(d))
        sizes = tuple(int(n) for n in rng.integers(1, 13, d))
        setting = _joined(first, more)
        if not _refused_by_torch_alone(kind, sizes, setting[0]):
            fitting += compare(call, sizes, setting)
    assert fitting > 30
