"""Windows of random configurations, every number of the text against forward and gradients."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule.errors import ChainruleError

F = cr.nn.functional
SEEDS = range(25)
NUMBER = r"(-?[\d.]+(?:e[-+]\d+)?)"


def spot(text: str) -> tuple[int, ...]:
    return tuple(map(int, text.split(", ")))


def draw_int(rng: np.random.Generator, low: int, high: int) -> int:
    return int(rng.integers(low, high + 1))


def sizes(rng: np.random.Generator, d: int, low: int, high: int) -> Any:
    """One setting for all axes, or one each."""
    found = tuple(draw_int(rng, low, high) for _ in range(d))
    return found[0] if rng.random() < 0.3 else found


def images(rng: np.random.Generator, d: int, channels: int, largest: int = 7) -> cr.Tensor:
    """A batch, or a single image."""
    shape = (channels, *(draw_int(rng, 3, largest - d) for _ in range(d)))
    shape = shape if rng.random() < 0.3 else (2, *shape)
    return cr.tensor(rng.standard_normal(shape), requires_grad=True)


def places(rng: np.random.Generator, shape: tuple[int, ...]) -> list[tuple[int, ...]]:
    """The first number, the last, and two others."""
    last = tuple(size - 1 for size in shape)
    some = [tuple(draw_int(rng, 0, size - 1) for size in shape) for _ in range(2)]
    return [(0,) * len(shape), last, *some]


def made(rng: np.random.Generator, make: Callable[[], cr.Tensor]) -> cr.Tensor:
    """A value of settings that fit; the others are refused with a ChainruleError."""
    for _ in range(200):
        try:
            return make()
        except ChainruleError:
            continue
    raise AssertionError("no settings fit")


def check_products(text: str, y: cr.Tensor, place: Any, x: Any, w: Any, b: Any = None) -> None:
    """Compare the value with the sum of the lines, all gradients with those that are told."""
    lines = re.findall(
        rf"^  x\[([\d, ]+)\] \* w\[([\d, ]+)\] = {NUMBER} \* {NUMBER} = {NUMBER}$", text, re.M
    )
    total = 0.0
    for i, j, left, right, product in lines:
        assert float(left) == x[spot(i)].item()
        assert float(right) == w[spot(j)].item()
        assert float(product) == pytest.approx(float(left) * float(right), abs=1e-14)
        total += float(product)
    assert float(re.search(rf"sum of the products = {NUMBER}", text)[1]) == pytest.approx(total)
    assert f"is the sum of {len(lines)} product" in text
    gx, gw = np.zeros(x.shape), np.zeros(w.shape)
    for i, to_x, j, to_w in re.findall(
        rf"^  x\[([\d, ]+)\] gets w\[[\d, ]+\] = {NUMBER}, w\[([\d, ]+)\] gets {NUMBER}$",
        text,
        re.M,
    ):
        gx[spot(i)] += float(to_x)
        gw[spot(j)] += float(to_w)
    given = [x, w]
    if b is not None:
        at, said = re.search(rf"^  \+ b\[(\d+)\] = {NUMBER}$", text, re.M).groups()
        total += float(said)
        assert float(re.search(rf"^  = {NUMBER}$", text, re.M)[1]) == pytest.approx(total)
        assert f"  b[{at}] gets 1" in text
        given.append(b)
    assert total == pytest.approx(y[place].item(), abs=1e-12)
    gradients = cr.grad(y[place], given, retain_graph=True)
    np.testing.assert_allclose(gx, gradients[0].numpy(), atol=1e-12)
    np.testing.assert_allclose(gw, gradients[1].numpy(), atol=1e-12)
    if b is not None:
        assert gradients[2][int(at)].item() == 1


@pytest.mark.parametrize("d", [1, 2, 3])
@pytest.mark.parametrize("seed", SEEDS)
def test_convolutions(d: int, seed: int) -> None:
    rng = np.random.default_rng((seed, d))
    groups = draw_int(rng, 1, 2)
    x = images(rng, d, 2 * groups)
    kernel = tuple(draw_int(rng, 1, 4 - d) for _ in range(d))
    w = cr.tensor(rng.standard_normal((2 * groups, 2, *kernel)), requires_grad=True)
    b = cr.tensor(rng.standard_normal(2 * groups), requires_grad=True) if seed % 2 else None
    function = getattr(F, f"conv{d}d")
    y = made(
        rng,
        lambda: function(
            x, w, b, sizes(rng, d, 1, 3), sizes(rng, d, 0, 2), sizes(rng, d, 1, 2), groups
        ),
    )
    for place in places(rng, y.shape):
        check_products(cr.explain(y, place, digits=17), y, place, x, w, b)


@pytest.mark.parametrize("d", [1, 2, 3])
@pytest.mark.parametrize("seed", SEEDS)
def test_transposed_convolutions(d: int, seed: int) -> None:
    rng = np.random.default_rng((seed, d))
    groups = draw_int(rng, 1, 2)
    x = images(rng, d, 2 * groups, 6)
    kernel = tuple(draw_int(rng, 1, 3) for _ in range(d))
    w = cr.tensor(rng.standard_normal((2 * groups, 3, *kernel)), requires_grad=True)
    b = cr.tensor(rng.standard_normal(3 * groups), requires_grad=True) if seed % 2 else None
    function = getattr(F, f"conv_transpose{d}d")
    y = made(
        rng,
        lambda: function(
            *(x, w, b, sizes(rng, d, 1, 3), sizes(rng, d, 0, 2), sizes(rng, d, 0, 2), groups),
            sizes(rng, d, 1, 2),
        ),
    )
    for place in places(rng, y.shape):
        text = cr.explain(y, place, digits=17)
        check_products(text, y, place, x, w, b)
        count = int(re.search(r"the sum of (\d+) product", text)[1])
        rest = re.search(r"; (\d+) of the filter's (\d+) numbers? meet none of x", text)
        assert count + (int(rest[1]) if rest else 0) == 2 * math.prod(kernel)


def check_average(text: str, y: cr.Tensor, place: Any, x: cr.Tensor) -> None:
    """Compare sum, divisor and quotient, and the share of each number that is listed."""
    lines = re.findall(rf"^  x\[([\d, ]+)\] = {NUMBER}$", text, re.M)
    assert all(float(value) == x[spot(at)].item() for at, value in lines)
    total = float(re.search(rf"^  sum = {NUMBER}$", text, re.M)[1])
    assert total == pytest.approx(math.fsum(float(value) for _, value in lines), abs=1e-12)
    divisor, quotient = re.search(rf"^  divided by (-?\d+), .* = {NUMBER}$", text, re.M).groups()
    assert float(quotient) == pytest.approx(total / int(divisor), abs=1e-12)
    assert float(quotient) == pytest.approx(y[place].item(), abs=1e-12)
    share = float(re.search(rf" gets? 1 / -?\d+ = {NUMBER}$", text, re.M)[1])
    gx = np.zeros(x.shape)
    for at, _ in lines:
        gx[spot(at)] += share
    (gradient,) = cr.grad(y[place], (x,), retain_graph=True)
    np.testing.assert_allclose(gx, gradient.numpy(), atol=1e-12)


@pytest.mark.parametrize("d", [1, 2, 3])
@pytest.mark.parametrize("seed", SEEDS)
def test_averages(d: int, seed: int) -> None:
    rng = np.random.default_rng((seed, d))
    x = images(rng, d, 2, 9)
    divisor = {} if d == 1 or seed % 3 else {"divisor_override": int(rng.choice([-3, 1, 5]))}
    function = getattr(F, f"avg_pool{d}d")

    def make() -> cr.Tensor:
        settings = sizes(rng, d, 1, 5 - d), sizes(rng, d, 1, 3), sizes(rng, d, 0, 2)
        flags = {"ceil_mode": rng.random() < 0.6, "count_include_pad": rng.random() < 0.5}
        return function(x, *settings, **flags, **divisor)

    y = made(rng, make)
    for place in places(rng, y.shape):
        text = cr.explain(y, place, digits=17)
        check_average(text, y, place, x)
        outside = sum(map(int, re.findall(r"; (\d+) (?:of the window|beyond)", text)))
        assert len(re.findall(r"^  x\[", text, re.M)) + outside == math.prod(
            y._node.op.kernel
        )  # every entry of the window is told of


def outputs(rng: np.random.Generator, d: int) -> Any:
    found = [None if rng.random() < 0.2 else draw_int(rng, 1, 9) for _ in range(d)]
    return draw_int(rng, 1, 3) if rng.random() < 0.3 else tuple(found)


@pytest.mark.parametrize("d", [1, 2, 3])
@pytest.mark.parametrize("seed", SEEDS)
def test_adaptive_averages(d: int, seed: int) -> None:
    rng = np.random.default_rng((seed, d))
    x = images(rng, d, 2, 6)
    y = getattr(F, f"adaptive_avg_pool{d}d")(x, outputs(rng, d))
    for place in places(rng, y.shape):
        check_average(cr.explain(y, place, digits=17), y, place, x)


def check_maximum(text: str, y: cr.Tensor, place: Any, x: cr.Tensor) -> None:
    """Compare the winner's value with y and its place with where the gradient goes."""
    lines = re.findall(rf"^  x\[([\d, ]+)\] = (nan|{NUMBER})(   <- wins)?$", text, re.M)
    (gradient,) = cr.grad(y[place], (x,), retain_graph=True)
    gx = np.zeros(x.shape)
    if lines:
        assert f"is the largest of {len(lines)} number" in text
        ((at, value),) = [(at, value) for at, value, _, wins in lines if wins]
        np.testing.assert_array_equal(float(value), y[place].item())
        assert f"the whole gradient goes to x[{at}]" in text
        gx[spot(at)] = 1
    else:
        assert text.endswith("no number gets a gradient")
    np.testing.assert_array_equal(gx, gradient.numpy())


@pytest.mark.parametrize("d", [1, 2, 3])
@pytest.mark.parametrize("seed", SEEDS)
def test_maxima(d: int, seed: int) -> None:
    rng = np.random.default_rng((seed, d))
    x = images(rng, d, 2, 8)
    if seed % 3 == 0:  # equal numbers
        x.array[...] = np.round(x.array)
    if seed % 3 == 1:  # several NaN
        x.array[rng.random(x.shape) < 0.3] = np.nan
    function = getattr(F, f"max_pool{d}d")

    def make() -> Any:
        settings = sizes(rng, d, 1, 5 - d), sizes(rng, d, 1, 3), sizes(rng, d, 0, 2)
        ceil = bool(rng.random() < 0.5)
        indices = bool(seed % 2)
        return function(x, *settings, sizes(rng, d, 1, 3), ceil, indices)

    y = made(rng, make)
    y = y[0] if seed % 2 else y
    for place in places(rng, y.shape):
        check_maximum(cr.explain(y, place, digits=17), y, place, x)


@pytest.mark.parametrize("d", [1, 2, 3])
@pytest.mark.parametrize("seed", SEEDS)
def test_adaptive_maxima(d: int, seed: int) -> None:
    rng = np.random.default_rng((seed, d))
    x = images(rng, d, 2, 6)
    if seed % 2:
        x.array[...] = np.round(x.array)
    y = getattr(F, f"adaptive_max_pool{d}d")(x, outputs(rng, d))
    for place in places(rng, y.shape):
        check_maximum(cr.explain(y, place, digits=17), y, place, x)


@pytest.mark.parametrize("seed", SEEDS)
def test_products_of_all_axes(seed: int) -> None:
    rng = np.random.default_rng(seed)
    left, right = [
        ((3,), (3,)), ((2, 3), (3,)), ((3,), (3, 2)), ((2, 3), (3, 2)), ((2, 2, 3), (3, 2)),
        ((2, 1, 2, 3), (4, 3, 2)), ((3,), (2, 3, 2)), ((2, 2, 3), (3,)), ((1, 2, 3), (2, 3, 2)),
    ][seed % 9]  # fmt: skip
    x, w = (cr.tensor(rng.standard_normal(s), requires_grad=True) for s in (left, right))
    y = x @ w
    for place in places(rng, y.shape):
        check_products(cr.explain(y, place, digits=17), y, place, x, w)


def test_a_value_times_itself() -> None:
    x = cr.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
    y = x @ x
    text = cr.explain(y, (0, 0))
    assert "x[0, 1] gets x[1, 0] = 3, x[1, 0] gets 2" in text
    assert text.endswith("x is both factors: what a number of it gets adds up")


@pytest.mark.parametrize("seed", SEEDS)
def test_fused_with_relu(seed: int) -> None:
    rng = np.random.default_rng(seed)
    x = images(rng, 2, 2)
    w = cr.tensor(rng.standard_normal((2, 2, 2, 2)), requires_grad=True)
    b = cr.tensor(rng.standard_normal(2), requires_grad=True)
    y, p = F.conv2d_relu(x, w, b), F.relu_max_pool2d(x - 0.7, 2, 1)
    inner = x - 0.7
    p = F.relu_max_pool2d(inner, 2, 1)
    for place in places(rng, y.shape):
        text = cr.explain(y, place, digits=17)
        kept = float(re.search(rf"ReLU keeps what is positive: {NUMBER}", text)[1])
        assert kept == pytest.approx(y[place].item(), abs=1e-12)
        if kept:
            check_products(text, y, place, x, w, b)
        else:
            assert text.endswith(
                "backward: what is not positive passes nothing, every factor gets 0"
            )
            assert not cr.grad(y[place], (x,), retain_graph=True)[0].numpy().any()
        text = cr.explain(p, place, digits=17)
        assert text.startswith(f"p[{', '.join(map(str, place))}] = ")
        gradient = cr.grad(p[place], (x,), retain_graph=True)[0].numpy()
        if p[place].item() > 0:
            winner = re.search(r"gradient goes to inner\[([\d, ]+)\]", text)[1]
            assert gradient[spot(winner)] == 1
        assert gradient.any() == ("all get 0" not in text)


def test_global_average_pooling_reads_well() -> None:
    planes = cr.tensor([[[[1.0, 2.0], [3.0, 6.0]]]], requires_grad=True)
    y = F.adaptive_avg_pool2d(planes, 1)
    assert cr.explain(y, (0, 0, 0, 0)).splitlines() == [
        "y[0, 0, 0, 0] = 3 is the average of 4 numbers",
        "  planes[0, 0, 0, 0] = 1",
        "  planes[0, 0, 0, 1] = 2",
        "  planes[0, 0, 1, 0] = 3",
        "  planes[0, 0, 1, 1] = 6",
        "  sum = 12",
        "  divided by 4, how many they are = 3",
        "backward: of a gradient of 1 at y[0, 0, 0, 0] each of the 4 gets 1 / 4 = 0.25",
    ]


def test_a_transposed_convolution_reads_well() -> None:
    x = cr.tensor([[1.0, 10.0]], requires_grad=True)
    w = cr.tensor([[[1.0, 2.0, 3.0]]], requires_grad=True)
    y = F.conv_transpose1d(x, w, stride=2)
    assert cr.explain(y, (0, 2)).splitlines() == [
        "y[0, 2] = 13 is the sum of 2 products; 1 of the filter's 3 numbers meet none of x",
        "  x[0, 1] * w[0, 0, 0] = 10 * 1 = 10",
        "  x[0, 0] * w[0, 0, 2] = 1 * 3 = 3",
        "  sum of the products = 13",
        "backward: of a gradient of 1 at y[0, 2] each factor gets the other",
        "  x[0, 1] gets w[0, 0, 0] = 1, w[0, 0, 0] gets 10",
        "  x[0, 0] gets w[0, 0, 2] = 3, w[0, 0, 2] gets 1",
    ]


def test_where_the_numbers_of_a_window_lie() -> None:
    x = cr.ones(1, 1, 5, 5, requires_grad=True)
    corner, last = (0, 0, 0, 0), (0, 0, 2, 2)
    y = F.avg_pool2d(x, 3, 2, 1, ceil_mode=True)
    assert "4 numbers; 5 of the window lie in the padding and count 0\n" in cr.explain(y, corner)
    assert "divided by 9, the window with its padding = 0.4444" in cr.explain(y, corner)
    y = F.avg_pool2d(x, 3, 2, 1, count_include_pad=False)
    assert "5 of the window lie in the padding and are not counted\n" in cr.explain(y, corner)
    assert "divided by 4, how many they are = 1" in cr.explain(y, corner)
    y = F.avg_pool2d(x, 2, 2, ceil_mode=True)
    text = cr.explain(y, last)
    assert "is the average of 1 number; 3 beyond the padding are not counted\n" in text
    assert "it gets 1 / 1 = 1" in text
    y = F.avg_pool2d(x, 2, divisor_override=3)
    assert "is the sum of 4 numbers, divided\n" in cr.explain(y, corner)
    assert "divided by 3, the divisor_override = 1.333" in cr.explain(y, corner)
    y = F.max_pool2d(x, 3, 2, 1)
    assert "4 numbers; 5 of the window lie outside and never win" in cr.explain(y, corner)


def test_whole_numbers_pass_no_gradient() -> None:
    images = cr.tensor([[[-7, 2], [3, 0]]])
    graph = cr.capture(lambda x: F.avg_pool2d(x, 2), images)
    text = cr.explain(graph, (0, 0, 0))
    assert "divided by 4, how many they are = 0, rounded towards 0" in text
    assert text.endswith("is of int64: no gradient passes")
    graph = cr.capture(lambda x: F.max_pool2d(x, 2, return_indices=True), images)
    assert cr.explain(graph, (0, 0, 0), output=0).endswith("is of int64: no gradient passes")
    assert cr.explain(graph, (0, 0, 0), output=1).startswith("max_pool[1][0, 0, 0] = 2 of ")
    graph = cr.capture(lambda x: x @ x, cr.tensor([[1, 2], [3, 4]]))
    assert cr.explain(graph, (0, 0)).endswith("is of int64: no gradient passes")


def test_large_windows_are_cut_and_show_the_winner() -> None:
    x = cr.arange(400.0).reshape(1, 1, 20, 20).requires_grad_()
    lines = cr.explain(F.adaptive_max_pool2d(x, 1), (0, 0, 0, 0)).splitlines()
    assert lines[-3:] == [
        "  x[0, 0, 19, 19] = 399   <- wins",
        "  ... and 339 more",
        "backward: the whole gradient goes to x[0, 0, 19, 19], 0 to the rest",
    ]
    lines = cr.explain(F.adaptive_avg_pool2d(x, 1), (0, 0, 0, 0)).splitlines()
    assert lines[-4:-1] == [
        "  ... and 340 more",
        "  sum = 7.98e+04",
        "  divided by 400, how many they are = 199.5",
    ]
    w = cr.ones(1, 100, requires_grad=True)
    lines = cr.explain(F.linear(x.detach().reshape(4, 100), w), (0, 0)).splitlines()
    assert lines.count("  ... and 40 more") == 2
    assert len(lines) == 60 * 2 + 5
