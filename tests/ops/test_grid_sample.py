"""Sampling at the places of a grid: against loops, at edges, kinks and beyond; affine grids."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule.errors import KindError, ShapeError, UndefinedKindError
from chainrule.ops import grid_sample as module
from tests.layouts import LAYOUTS

F = cr.nn.functional
RNG = np.random.default_rng(0)
NAN = math.nan


def fold(at: float, n: int, padding: str, align: bool) -> float:
    """Move a place into the image, one reflection after the other."""
    low, high = (0.0, n - 1.0) if align else (-0.5, n - 0.5)
    if padding == "reflection":
        if low == high:
            return 0.0
        while not low <= at <= high:
            at = 2 * low - at if at < low else 2 * high - at
    return at if padding == "zeros" else min(max(at, 0.0), n - 1.0)


def keys(x: float, a: float = -0.75) -> float:
    x = abs(x)
    if x <= 1:
        return (a + 2) * x**3 - (a + 3) * x**2 + 1
    return a * x**3 - 5 * a * x**2 + 8 * a * x - 4 * a if x < 2 else 0.0


def terms(c: float, n: int, mode: str, padding: str, align: bool) -> list[tuple[int, float]]:
    """The elements that one coordinate sees, and their weights."""
    at = (c + 1) / 2 * (n - 1) if align else ((c + 1) * n - 1) / 2
    if mode == "bicubic":
        low = math.floor(at)
        return [(int(fold(j, n, padding, align)), keys(at - j)) for j in range(low - 1, low + 3)]
    at = fold(at, n, padding, align)
    if mode == "nearest":
        return [(round(at), 1.0)]
    low = math.floor(at)
    return [(low, low + 1 - at), (low + 1, at - low)]


def by_loop(x: Any, grid: Any, mode: str, padding: str, align: bool) -> Any:
    y = np.zeros((*x.shape[:2], *grid.shape[1:-1]))
    sizes = x.shape[2:]
    for n, *place in np.ndindex(grid.shape[:-1]):
        coordinates = grid[(n, *place)][::-1]
        seen = [
            terms(c, size, mode, padding, align) for c, size in zip(coordinates, sizes, strict=True)
        ]
        for choice in itertools.product(*seen):
            index, weights = zip(*choice, strict=True)
            if all(0 <= i < size for i, size in zip(index, sizes, strict=True)):
                y[(n, slice(None), *place)] += x[(n, slice(None), *index)] * math.prod(weights)
    return y


@pytest.mark.parametrize("align", [False, True])
@pytest.mark.parametrize("padding", ["zeros", "border", "reflection"])
@pytest.mark.parametrize(
    ("d", "mode"),
    [(2, "bilinear"), (2, "nearest"), (2, "bicubic"), (3, "bilinear"), (3, "nearest")],
)
def test_by_a_loop(mode: str, padding: str, align: bool, d: int) -> None:
    for size in ((4, 3, 5), (1, 2, 1)):
        x = RNG.standard_normal((2, 3, *size[:d]))
        grid = RNG.uniform(-3, 3, (2, *(3, 2, 4)[:d], d))
        y = F.grid_sample(cr.tensor(x), cr.tensor(grid), mode, padding, align)
        np.testing.assert_allclose(y.numpy(), by_loop(x, grid, mode, padding, align), atol=1e-12)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts(layout: str) -> None:
    x, grid = RNG.standard_normal((2, 3, 4, 5)), RNG.uniform(-1.5, 1.5, (2, 3, 4, 2))
    expected = by_loop(x, grid, "bilinear", "border", False)
    change = LAYOUTS[layout]
    y = F.grid_sample(cr.Tensor(change(x)), cr.Tensor(change(grid)), padding_mode="border")
    np.testing.assert_allclose(y.numpy(), expected, atol=1e-12)
    last = layout in ("channels last", "Fortran order")
    assert y.array.transpose(0, 2, 3, 1).flags.c_contiguous == last


def test_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    x, grid = RNG.standard_normal((2, 3, 4, 5)), RNG.uniform(-1.5, 1.5, (2, 5, 4, 2))

    def run() -> list[Any]:
        leaves = [cr.tensor(v, requires_grad=True) for v in (x, grid)]
        y = F.grid_sample(*leaves)
        y.backward(cr.tensor(np.cos(np.arange(y.numel())).reshape(y.shape)))
        return [y.detach().numpy(), *(leaf.grad.numpy() for leaf in leaves)]

    whole = run()
    monkeypatch.setattr(module, "PART", 7 * 3)
    for a, b in zip(run(), whole, strict=True):
        assert np.array_equal(a, b)


def test_of_two_equally_near_the_even_one() -> None:
    x = cr.arange(4.0).reshape(1, 1, 1, 4)
    grid = cr.tensor([[[[c, 0.0] for c in (-0.5, 0.0, 0.5)]]])  # places 1/2, 3/2, 5/2
    assert F.grid_sample(x, grid, "nearest", align_corners=False).flatten().tolist() == [0, 2, 2]


def test_the_border_itself_does_not_move() -> None:
    """As in PyTorch: a place that padding holds to the border has no gradient, nor the border."""
    x = cr.tensor([[[[1.0, 2.0, 4.0]]]], dtype=cr.float64)
    for padding in ("border", "reflection"):
        places = [[-1.0, 0.0], [1.0, 0.0], [-0.5, 0.0]]
        grid = cr.tensor([[places]], dtype=cr.float64, requires_grad=True)
        F.grid_sample(x, grid, padding_mode=padding, align_corners=True).sum().backward()
        assert grid.grad.numpy()[0, 0, :, 0].tolist() == [0, 0, 1]


def test_nan_is_the_first_pixel_where_places_are_padded() -> None:
    x = cr.tensor([[[[5.0, 2.0]]]])
    grid = cr.tensor([[[[NAN, 0.0]]]])
    assert F.grid_sample(x, grid, padding_mode="border").item() == 5
    assert math.isnan(F.grid_sample(x, grid).item())
    assert F.grid_sample(x, grid, "nearest").item() == 0


def test_infinite_pixels_stay_where_they_are() -> None:
    """What lies outside is no pixel times 0: the first one does not reach it."""
    x = cr.tensor([[[[math.inf, 1.0], [1.0, 1.0]]]])
    grid = cr.tensor([[[[5.0, 5.0], [0.5, 0.5]]]])
    assert F.grid_sample(x, grid, align_corners=False).flatten().tolist() == [0.0, 1.0]


def test_empty_grids_and_batches() -> None:
    assert F.grid_sample(cr.zeros(0, 2, 3, 3), cr.zeros(0, 4, 5, 2)).shape == (0, 2, 4, 5)
    x = cr.zeros(1, 2, 3, 3, requires_grad=True)
    y = F.grid_sample(x, cr.zeros(1, 0, 5, 2))
    assert y.shape == (1, 2, 0, 5)
    y.sum().backward()
    assert x.grad.numpy().tolist() == np.zeros((1, 2, 3, 3)).tolist()


@pytest.mark.parametrize("align", [False, True])
@pytest.mark.parametrize("size", [(2, 3, 4, 5), (2, 1, 1, 3), (1, 2, 3, 2, 4)])
def test_affine_grid_by_a_loop(size: tuple[int, ...], align: bool) -> None:
    d, sizes = len(size) - 2, size[2:]
    theta = RNG.standard_normal((size[0], d, d + 1))
    grid = F.affine_grid(cr.tensor(theta), size, align).numpy()
    assert grid.shape == (size[0], *sizes, d)
    for n, *place in np.ndindex(grid.shape[:-1]):
        centre = [
            0.0 if k == 1 else -1 + 2 * i / (k - 1) if align else -1 + (2 * i + 1) / k
            for i, k in zip(place, sizes, strict=True)
        ]
        expected = theta[n] @ [*centre[::-1], 1]
        np.testing.assert_allclose(grid[(n, *place)], expected, atol=1e-14)


def test_the_identity_shows_the_image_itself() -> None:
    x = RNG.standard_normal((2, 3, 4, 5))
    same = cr.tensor(np.stack([np.eye(2, 3)] * 2), requires_grad=True)
    for align in (False, True):
        y = F.grid_sample(cr.tensor(x), F.affine_grid(same, x.shape, align), align_corners=align)
        np.testing.assert_allclose(y.detach().numpy(), x, atol=1e-14)
    y.sum().backward()
    assert same.grad.shape == (2, 2, 3)


IMAGE, GRID = cr.zeros(1, 2, 3, 3), cr.zeros(1, 2, 2, 2)
MAP = cr.zeros(1, 2, 3)


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: F.grid_sample(IMAGE, GRID, "cubic"), ShapeError, "got mode 'cubic'"),
        (lambda: F.grid_sample(IMAGE, GRID, "nearest", "wrap"), ShapeError, "padding_mode 'wrap'"),
        (lambda: F.grid_sample(IMAGE, GRID, align_corners="x"), KindError, "True or False"),
        (lambda: F.grid_sample(IMAGE, cr.zeros(1, 2, 2)), ShapeError, "a grid (N, *sizes, 2)"),
        (lambda: F.grid_sample(IMAGE, cr.zeros(1, 2, 2, 3)), ShapeError, "2 coordinates"),
        (lambda: F.grid_sample(IMAGE, cr.zeros(2, 2, 2, 2)), ShapeError, "one batch size: 1 = 2"),
        (lambda: F.grid_sample(cr.zeros(1, 2, 0, 3), GRID), ShapeError, "no empty axis"),
        (
            lambda: F.grid_sample(cr.zeros(1, 1, 2, 2, 2), cr.zeros(1, 1, 1, 1, 3), "bicubic"),
            ShapeError,
            "(N, C, H, W) in mode 'bicubic'",
        ),
        (lambda: F.grid_sample(IMAGE.long(), GRID), UndefinedKindError, "floating-point input"),
        (lambda: F.grid_sample(IMAGE, GRID.double()), KindError, "of one dtype"),
        (lambda: F.affine_grid(MAP, (1, 1, 2)), NotImplementedError, "a size (N, C, H, W)"),
        (lambda: F.affine_grid(MAP, (1, 1, 2, 2, 2)), ShapeError, "theta (N, 3, 4) for 3 axes"),
        (lambda: F.affine_grid(MAP, (2, 1, 2, 2)), ShapeError, "a batch of 2 maps"),
        (lambda: F.affine_grid(MAP, (1, 1, 0, 2)), ShapeError, "sizes of at least 1, not 0"),
        (lambda: F.affine_grid(MAP, (1, 1, 2.0, 2)), KindError, "affine_grid size"),
        (lambda: F.affine_grid(MAP, 4), KindError, "affine_grid size"),
        (lambda: F.affine_grid(MAP.long(), (1, 1, 2, 2)), ShapeError, "floating-point theta"),
        (lambda: F.affine_grid(MAP, (1, 1, 2, 2), "x"), KindError, "True or False"),
    ],
)
def test_misuse(call: Callable[[], Any], error: type[Exception], text: str) -> None:
    with pytest.raises(error) as caught:
        call()
    assert text in str(caught.value)
