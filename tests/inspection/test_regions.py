"""Linear regions: known counts, exact arithmetic, dense grids, degenerate cuts, refusals."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn
from chainrule.inspection import Regions, deep_bound, zaslavsky
from chainrule.inspection import cells as cutting
from tests.inspection import exact

BOX = (-3.0, 3.0, -2.0, 2.0)


def layer(weight: Any, bias: Any) -> nn.Linear:
    """A linear layer with these numbers, in float64."""
    made = nn.Linear(len(weight[0]), len(weight)).double()
    made.weight.data = cr.tensor(np.array(weight, dtype=np.float64))
    made.bias.data = cr.tensor(np.array(bias, dtype=np.float64))
    return made


def random_net(seed: int, *widths: int, bent: Any = nn.ReLU) -> nn.Sequential:
    """Layers of these widths whose kinks fall into the plane."""
    random = np.random.default_rng(seed)
    layers: list[Any] = []
    for n, m in pairwise(widths):
        layers += [layer(random.normal(size=(m, n)), random.normal(size=m)), bent()]
    return nn.Sequential(*layers[:-1])


def patterns(model: nn.Sequential, x: Any) -> list[bytes]:
    """What is above its kink at each point, by running layer after layer: an oracle."""
    seen = []
    with cr.no_grad():
        for module in model:
            if isinstance(module, nn.ReLU | nn.LeakyReLU):
                seen.append(x.numpy() > 1e-12)  # what is 0 all over a cell may be rounded
            x = module(x)
    bits = np.concatenate(seen, axis=1)
    return [row.tobytes() for row in bits.astype(np.int8)]


def grid(bounds: Sequence[float], n: int) -> Any:
    """Points of a dense grid, not on its rectangle's border."""
    x0, x1, y0, y1 = bounds
    x, y = np.meshgrid(np.linspace(x0, x1, n + 2)[1:-1], np.linspace(y0, y1, n + 2)[1:-1])
    return np.stack([x.ravel(), y.ravel()], axis=1)


def inside(polygon: Any, points: Any) -> Any:
    """Which points a convex polygon holds, its border left out."""
    sides = np.roll(polygon, -1, axis=0) - polygon
    away = points[:, None] - polygon
    turn = sides[:, 0] * away[..., 1] - sides[:, 1] * away[..., 0]
    return (turn > 1e-9 * np.linalg.norm(sides, axis=1)).all(axis=1)


def check_whole(found: Regions, model: Any) -> None:
    """Cells fill the plane, differ in pattern, have it everywhere, and say the network's map.

    Cells of different patterns that fill the plane are all there are.
    """
    x0, x1, y0, y1 = found.bounds
    areas = [cell.area for cell in found.cells]
    assert min(areas) > 0
    assert sum(areas) == pytest.approx((x1 - x0) * (y1 - y0), rel=1e-9)
    keys = [np.concatenate(cell.pattern).tobytes() for cell in found.cells]
    assert len(set(keys)) == found.count
    for cell, key in zip(found.cells, keys, strict=True):
        points = 0.999 * cell.polygon + 0.001 * cell.centre  # near every corner, and the middle
        x = cr.tensor(np.concatenate([points, cell.centre[None]]))
        assert set(patterns(model, x)) == {key}
        with cr.no_grad():
            y = model(x).numpy()
        np.testing.assert_allclose(x.numpy() @ cell.weight.T + cell.bias, y, atol=1e-9)


def test_the_lectures_three_lines_make_six_regions_under_a_bound_of_seven() -> None:
    # y = -2x - 8, y = 3x + 12 and y = x + 4 all pass through (-4, 0)
    model = nn.Sequential(layer([[2, 1], [-3, 1], [-1, 1]], [8, -12, -4]), nn.ReLU())
    found = cr.linear_regions(model, (-10, 10, -10, 10))
    assert (found.count, found.affine_count, found.bound) == (6, 6, 7)
    assert found.bound_name == "Zaslavsky"
    check_whole(found, model)
    model[0].bias.data = cr.tensor(
        [8.0, -12.0, -4.5]
    ).double()  # moved a little: a triangle appears
    assert cr.linear_regions(model, (-10, 10, -10, 10)).count == 7
    # where the point is outside, the three lines do not cross inside
    assert cr.linear_regions(model, (2, 9, -10, 20)).count == 3


def exact_count(lines: list[tuple[int, int, int]], box: tuple[int, int, int, int]) -> int:
    """Count faces in whole numbers: 1 + lines + (lines - 1) at every crossing, all inside."""
    x0, x1, y0, y1 = box
    alike = set()
    for a, b, c in lines:
        corners = [a * x + b * y + c for x in (x0, x1) for y in (y0, y1)]
        if (a or b) and min(corners) < 0 < max(corners):
            first = Fraction(a or b)
            alike.add((a / first, b / first, c / first))
    crossing: dict[tuple[Fraction, Fraction], set[Any]] = {}
    for one in alike:
        for other in alike:
            d = one[0] * other[1] - one[1] * other[0]
            if d:
                x = (one[1] * other[2] - other[1] * one[2]) / d
                y = (other[0] * one[2] - one[0] * other[2]) / d
                if x0 < x < x1 and y0 < y < y1:
                    crossing.setdefault((x, y), set()).update({one, other})
    return 1 + len(alike) + sum(len(through) - 1 for through in crossing.values())


@pytest.mark.parametrize("seed", range(20))
def test_lines_of_small_whole_numbers_are_counted_as_in_exact_arithmetic(seed: int) -> None:
    """Most are degenerate: parallel, equal, opposite, through one point or a corner, no line."""
    random = np.random.default_rng(seed)
    lines = random.integers(-2, 3, size=(random.integers(1, 12), 3))
    model = nn.Sequential(layer(lines[:, :2], lines[:, 2]), nn.ReLU())
    found = cr.linear_regions(model, (-2, 3, -2, 2))
    wanted = exact_count([tuple(map(int, line)) for line in lines], (-2, 3, -2, 2))
    assert found.count == wanted <= found.bound
    check_whole(found, model)


def test_lines_in_general_position_reach_the_bound() -> None:
    angles = np.linspace(0.1, 3.0, 9)
    lines = np.stack([np.cos(angles), np.sin(angles)], axis=1)  # tangents of the unit circle
    model = nn.Sequential(layer(lines, [-1.0] * 9), nn.LeakyReLU())
    found = cr.linear_regions(model, (-300, 300, -300, 300))
    assert found.count == found.bound == zaslavsky(9) == 46


@pytest.mark.parametrize("seed", range(12))
def test_deep_networks_against_a_dense_grid(seed: int) -> None:
    widths = [(2, 5, 5, 1), (2, 7, 4, 4, 2), (2, 3, 3, 3, 3, 3, 1), (2, 12, 2)][seed % 4]
    model = random_net(seed, *widths, bent=nn.ReLU if seed % 3 else nn.LeakyReLU)
    found = cr.linear_regions(model, BOX)
    check_whole(found, model)
    assert found.affine_count <= found.count <= found.bound
    points = grid(BOX, 150)
    on_grid = patterns(model, cr.tensor(points))
    keys = [np.concatenate(cell.pattern).tobytes() for cell in found.cells]
    assert set(on_grid) <= set(keys)
    for cell, key in zip(found.cells, keys, strict=True):
        held = np.flatnonzero(inside(cell.polygon, points))
        assert {on_grid[i] for i in held} <= {key}
    seen = [inside(cell.polygon, points).any() for cell in found.cells]
    assert len(set(on_grid)) == sum(seen)


@pytest.mark.parametrize("seed", range(40))
def test_networks_of_small_whole_numbers_as_in_fractions(seed: int) -> None:
    """Most are degenerate: equal and parallel lines, cuts through corners, units that are 0."""
    random = np.random.default_rng(seed)
    widths = [2, *random.integers(1, 6, size=random.integers(1, 4)), random.integers(1, 3)]
    top = int(random.integers(1, 4))
    layers = [
        (random.integers(-top, top + 1, size=(m, n)), random.integers(-top, top + 1, size=m))
        for n, m in pairwise(map(int, widths))
    ]
    modules = [module for w, b in layers for module in (layer(w, b), nn.ReLU())]
    found = cr.linear_regions(nn.Sequential(*modules[:-1]), (-3, 3, -2, 4))
    assert (found.count, found.affine_count) == exact.count(layers, (-3, 3, -2, 4))
    assert found.count <= found.bound


@pytest.mark.parametrize("seed", range(3))
def test_patterns_are_those_that_linear_programs_find(seed: int) -> None:
    """Every pattern of two layers is tried: the widest circle in it, by SciPy."""
    optimize = pytest.importorskip("scipy.optimize")
    model = random_net(50 + seed, 2, 4, 3, 1)
    found = cr.linear_regions(model, BOX)
    weights = [m.weight.detach().numpy() for m in model if isinstance(m, nn.Linear)]
    biases = [np.array(m.bias.tolist()) for m in model if isinstance(m, nn.Linear)]
    box = np.array([[-1, 0], [1, 0], [0, -1], [0, 1]]), np.array([3.0, 3, 2, 2])
    wanted = set()
    for number in range(2**7):
        bits = np.array([number >> k & 1 for k in range(7)], dtype=np.int8)
        first, second = bits[:4], bits[4:]
        inner = weights[1] * first  # what the second layer sees where the first is so
        a = np.concatenate([weights[0], inner @ weights[0]])
        b = np.concatenate([biases[0], inner @ biases[0] + biases[1]])
        sign = np.where(np.concatenate([first, second]) > 0, -1.0, 1.0)
        rows = np.concatenate([sign[:, None] * a, box[0]])
        right = np.concatenate([-sign * b, box[1]])
        norms = np.linalg.norm(rows, axis=1, keepdims=True)
        answer = optimize.linprog(
            [0, 0, -1], np.hstack([rows, norms]), right, bounds=[(None, None)] * 2 + [(0, None)]
        )
        if answer.status == 0 and answer.x[2] > 1e-8:
            wanted.add(bits.tobytes())
    assert {np.concatenate(cell.pattern).tobytes() for cell in found.cells} == wanted


def test_neighbours_of_one_affine_map_are_joined_and_others_are_not() -> None:
    # a hat over x0: 0, rising, falling, and 0 again beyond, which is another region
    hat = layer([[1, 0], [1, 0], [1, 0]], [1, 0, -1])
    found = cr.linear_regions(nn.Sequential(hat, nn.ReLU(), layer([[1, -2, 1]], [0])), BOX)
    assert (found.count, found.affine_count) == (4, 4)
    # quarters are neighbours of two others each, and not of the one across
    quarters = cr.linear_regions(nn.Sequential(layer([[1, 0], [0, 1]], [0, 0]), nn.ReLU()), BOX)
    above = [cell.pattern[0].astype(int) for cell in quarters.cells]
    assert len(quarters.neighbours) == 4
    assert all(abs(above[i] - above[j]).sum() == 1 for i, j in quarters.neighbours)
    # the second unit does not reach the output
    quiet = nn.Sequential(layer([[1, 0], [0, 1]], [0, 0]), nn.ReLU(), layer([[1, 0]], [0]))
    found = cr.linear_regions(quiet, BOX)
    assert (found.count, found.affine_count) == (4, 2)
    assert "4 linear regions by activation pattern, 2 with" in str(found)
    # relu(x) - relu(-x) is x
    same = nn.Sequential(
        layer([[0.3, 0.7], [-0.3, -0.7]], [0, 0]), nn.ReLU(), layer([[1, -1]], [0])
    )
    found = cr.linear_regions(same, BOX)
    assert (found.count, found.affine_count) == (2, 1)
    assert found.cells[0].weight == pytest.approx(np.array([[0.3, 0.7]]))
    # the same, rounded differently on both sides
    for seed in range(10):
        u = np.random.default_rng(seed).normal(size=2)
        same[0], same[2] = layer([u, -3 * u], [0.1, -0.3]), layer([[1, -1 / 3]], [0])
        assert cr.linear_regions(same, BOX).affine_count == 1
    one = nn.Sequential(layer([[1, 0], [1, 1]], [0, 0]), nn.LeakyReLU(1.0))
    assert cr.linear_regions(one, BOX).affine_count == 1


@pytest.mark.parametrize("seed", range(6))
def test_joined_regions_against_flood_filling_of_gradients(seed: int) -> None:
    ndimage = pytest.importorskip("scipy.ndimage")
    random = np.random.default_rng(seed)
    a = layer(random.integers(-2, 3, size=(4, 2)), random.integers(-2, 3, size=4))
    b = layer(random.integers(-1, 2, size=(1, 4)), [0])
    model = nn.Sequential(a, nn.ReLU(), b, nn.ReLU())
    found = cr.linear_regions(model, (-3, 3, -3, 3))
    n = 401
    x = cr.tensor(grid((-3, 3, -3, 3), n) + np.array([1.3e-4, 0.7e-4]), requires_grad=True)
    y = model(x)
    y.sum().backward()
    assert x.grad is not None
    slopes = x.grad.numpy()
    heights = y.detach().numpy()[:, 0] - (slopes * x.detach().numpy()).sum(axis=1)
    maps = np.round(np.column_stack([slopes, heights]), 6) + 0.0
    _, kind = np.unique(maps, axis=0, return_inverse=True)
    picture = kind.reshape(n, n)
    regions = 0
    for k in np.unique(picture):
        labels, count = ndimage.label(picture == k)
        regions += sum((labels == i).sum() > 1 for i in range(1, count + 1))
    assert found.affine_count == regions


@pytest.mark.parametrize("seed", range(10))
def test_a_value_that_is_0_but_for_rounding_is_no_cut(seed: int) -> None:
    # in the second layer relu(u) - relu(-u) - relu(u + 10) + 10 is 0, but its terms are rounded
    random = np.random.default_rng(seed)
    u, scale = random.uniform(-1, 1, size=2), random.uniform(0.5, 2, size=3)
    a = layer(np.outer(scale, u) * [[1], [-1], [1]], [0, 0, 10 * scale[2]])
    b = layer([[1 / scale[0], -1 / scale[1], -1 / scale[2]]], [10])
    model = nn.Sequential(a, nn.ReLU(), b, nn.ReLU())
    found = cr.linear_regions(model, BOX)
    assert found.count == 2
    assert [cell.pattern[1].tolist() for cell in found.cells] == [[0], [0]]


def test_bounds() -> None:
    assert [zaslavsky(n) for n in range(5)] == [1, 2, 4, 7, 11]
    assert zaslavsky(4, 9) == 16
    assert deep_bound([4], 2) == 11
    # one line, and on its active side five parallel ones: 1 + 6
    assert deep_bound([1, 5]) == 7
    assert deep_bound([]) == 1
    # 3 of 3 active (1 way) or 2 of 3 (3 ways): 7 each; 1 of 3 (3 ways): 4 in what is a line
    assert deep_bound([3, 3]) == 7 + 3 * 7 + 3 * 4
    assert deep_bound([20] * 40) < zaslavsky(20) ** 40 + 1  # at once
    with pytest.raises(cr.ShapeError, match="units of 0 or more"):
        zaslavsky(-1)
    narrow = cr.linear_regions(nn.Sequential(*random_net(3, 2, 1, 5), nn.ReLU()), (-9, 9, -9, 9))
    assert narrow.count <= narrow.bound == 7
    assert narrow.bound_name == "Serra et al."
    leaky = cr.linear_regions(random_net(3, 2, 2, 3, 1, bent=nn.LeakyReLU), BOX)
    assert (leaky.bound, leaky.bound_name) == (4 * 7, "the layers' product")
    flat = cr.linear_regions(nn.Linear(2, 1), BOX)
    assert (flat.count, flat.bound) == (1, 1)


class Residual(nn.Module):
    """A sum of two ways, with numbers of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = layer([[1, 2], [-1, 1]], [0.5, 0])

    def forward(self, x: cr.Tensor) -> cr.Tensor:
        y = cr.relu(self.inner(x)) - 0.5 * x
        return cr.abs(y) + nn.functional.relu6(3 * y - 1)


class Skip(nn.Module):
    """ReLU alone, but with a way round."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = layer([[1, 0.3], [-0.2, 1]], [0.5, 0])

    def forward(self, x: cr.Tensor) -> cr.Tensor:
        y: cr.Tensor = cr.relu(x + cr.relu(self.inner(x)))
        return y


class Fused(nn.Module):
    """A convolution and its ReLU in one operation."""

    def forward(self, x: cr.Tensor) -> cr.Tensor:
        y: cr.Tensor = nn.functional.conv2d_relu(x, cr.ones(1, 1, 1, 1))
        return y


def test_ways_round_have_the_plain_bound_and_fused_kinks_are_not_overlooked() -> None:
    found = cr.linear_regions(Skip(), BOX)
    assert (found.bound, found.bound_name) == (16, "the layers' product")
    with pytest.raises(cr.KindError, match="conv2d_relu is none of them"):
        cr.linear_regions(Fused(), cr.randn(3, 1, 2, 2))


def test_cuts_are_pieces_of_the_kinks() -> None:
    lines = np.array([[2, 1, 8], [-3, 1, -12], [-1, 1, -4]], dtype=float)
    found = cr.linear_regions(
        nn.Sequential(layer(lines[:, :2], lines[:, 2]), nn.ReLU()), (-10, 10, -5, 10)
    )
    assert len(found.cuts) == 5  # the first line cuts once, the others what that left
    for cut in found.cuts:
        assert cut.layer == 0
        np.testing.assert_allclose(
            cut.ends @ lines[cut.unit, :2] + lines[cut.unit, 2], 0, atol=1e-9
        )
    lengths = [0.0, 0.0, 0.0]
    for cut in found.cuts:
        lengths[cut.unit] += float(np.linalg.norm(cut.ends[1] - cut.ends[0]))
    # from border to border: the slopes are -2, 3 and 1
    heights = [15, 15, 15]
    wanted = [h * np.hypot(1, s) / abs(s) for h, s in zip(heights, (-2, 3, 1), strict=True)]
    assert lengths == pytest.approx([*wanted[:2], np.hypot(15, 15)])


def test_hard_tanh_has_two_kinks() -> None:
    found = cr.linear_regions(nn.Sequential(layer([[1, 0]], [0]), nn.Hardtanh(-1, 2)), BOX)
    ends = {int(c.pattern[0][0]): (*c.weight[0].tolist(), float(c.bias[0])) for c in found.cells}
    assert {k: pytest.approx(v) for k, v in ends.items()} == {
        0: (0, 0, -1), 1: (1, 0, 0), 2: (0, 0, 2)
    }  # fmt: skip


def test_other_kinks_and_sums_of_ways() -> None:
    model = Residual()
    found = cr.linear_regions(model, BOX)
    assert [layer.units for layer in found.layers] == [2, 2, 2]
    assert found.bound_name == "the layers' product"
    points = cr.tensor(grid(BOX, 60))
    with cr.no_grad():
        y = model(points).numpy()
    held = np.zeros(len(y), dtype=int)
    for cell in found.cells:
        here = inside(cell.polygon, points.numpy())
        held += here
        line = points.numpy()[here] @ cell.weight.T + cell.bias
        np.testing.assert_allclose(line, y[here], atol=1e-12)
    assert held.max() == 1
    assert held.mean() > 0.98
    assert max(int(cell.pattern[2].max()) for cell in found.cells) == 2  # above 6


def test_a_plane_through_three_images() -> None:
    cr.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 2, 3), nn.ReLU(), nn.AvgPool2d(2), nn.Flatten(), nn.Identity(),
        nn.Dropout(), nn.Linear(8, 4), nn.ReLU6(), nn.Linear(4, 3),
    )  # fmt: skip
    images = cr.randn(3, 1, 6, 6)
    found = cr.linear_regions(model, images)
    assert model.training
    assert found.bounds == (-0.25, 1.25, -0.25, 1.25)
    assert sum(cell.area for cell in found.cells) == pytest.approx(2.25)
    model.eval()
    origin, a, b = images
    with cr.no_grad():
        for cell in found.cells:
            s, t = map(float, cell.centre)
            y = model((origin + s * (a - origin) + t * (b - origin))[None]).numpy()[0]
            np.testing.assert_allclose(cell.weight @ cell.centre + cell.bias, y, atol=1e-5)
    near = cr.linear_regions(model, [origin, a, b], bounds=(0, 0.1, 0, 0.1))
    assert near.count < found.count


def test_what_has_no_regions_is_refused_in_words() -> None:
    relu, linear = nn.ReLU(), nn.Linear(2, 2)
    for wrong in (nn.Tanh(), nn.LPPool1d(2, 2), nn.Softmax(1), nn.GELU()):
        with pytest.raises(cr.KindError, match=r"in layer '1' is none of them"):
            cr.linear_regions(nn.Sequential(linear, wrong), BOX)
    with pytest.raises(cr.KindError, match="a Module"):
        cr.linear_regions(lambda x: x, BOX)
    with pytest.raises(cr.ShapeError, match="in_features"):
        cr.linear_regions(nn.Linear(3, 1), BOX)
    for plane in ((1, 1, 0, 2), (0, 1, 3, 2), (0, float("nan"), 0, 1)):
        with pytest.raises(cr.ShapeError, match="x0 < x1"):
            cr.linear_regions(relu, plane)
    for plane in ((0, 1), [np.zeros(3), np.zeros(3)], [np.zeros(2), np.zeros(3), np.ones(3)], 4):
        with pytest.raises(cr.ShapeError, match="three inputs of one shape"):
            cr.linear_regions(relu, plane)
    with pytest.raises(cr.ShapeError, match="not on one line"):
        cr.linear_regions(relu, [np.zeros(3), np.ones(3), 2 * np.ones(3)])
    with pytest.raises(cr.ShapeError, match="bounds only beside"):
        cr.linear_regions(relu, BOX, bounds=BOX)
    with pytest.raises(cr.ShapeError, match=r"at most 10 cells.*smaller plane"):
        cr.linear_regions(random_net(0, 2, 9, 1), BOX, limit=10)


LINES = [[2, 1], [-3, 1], [-1, 1]]


@pytest.mark.parametrize("size", [1e3, 1e7, 1e8, 1e9, 1e12, 1e15, 1e200])
def test_large_and_far_planes_have_the_right_count_or_are_refused(size: float) -> None:
    """Three lines around a triangle of a side of about 0.1, in the middle of the plane."""
    for at in (0.0, size):
        biases = [b - at * (u + v) for (u, v), b in zip(LINES, (8, -12, -4.5), strict=True)]
        model = nn.Sequential(layer(LINES, biases), nn.ReLU())
        half = 10 if at else size
        box = (at - half, at + half) * 2
        if size < 1e7 or (size == 1e7 and not at):
            assert cr.linear_regions(model, box).count == 7
        else:
            with pytest.raises(cr.ShapeError, match=r"float64 tells no finer|x0 < x1"):
                cr.linear_regions(model, box)


def test_far_images_are_refused_too() -> None:
    near = np.random.default_rng(0).random((3, 2))
    model = random_net(0, 2, 4, 1)
    assert cr.linear_regions(model, near).count > 1
    for wrong in (near + 1e9, near * 1e9, 1e-8 * near + 1):
        with pytest.raises(cr.ShapeError, match=r"float64 tells no finer|not on one line"):
            cr.linear_regions(model, wrong)


def test_a_plane_is_what_it_says_in_float64() -> None:
    model = nn.Sequential(layer([[1, 0]], [-0.1]), nn.ReLU())
    for box in ((0.1, 1.0, 0.0, 1.0), np.array([0.1, 1.0, 0.0, 1.0])):
        found = cr.linear_regions(model, box)
        assert found.bounds[0] == 0.1
        assert found.count == 1  # in float32 0.1 lies beyond the kink


def test_what_cannot_be_told_is_refused_and_not_counted_wrong() -> None:
    # the kink cuts a corner off, of 3e-10 of the side: neither certain nor nothing
    for part, expected in ((1e-15, 1), (3e-10, None), (1e-8, 2)):
        model = nn.Sequential(layer([[1, 1]], [-2 + part]), nn.ReLU())
        if expected is None:
            with pytest.raises(cr.ShapeError, match=r"kink of unit 0 of layer '1'.*moved a little"):
                cr.linear_regions(model, (0, 1, 0, 1))
        else:
            assert cr.linear_regions(model, (0, 1, 0, 1)).count == expected


def test_a_layer_of_very_many_units_stops_at_the_limit_and_not_at_the_memorys() -> None:
    model = random_net(0, 2, 3000, 1)
    with pytest.raises(cr.ShapeError, match="at most 2000 cells"):
        cr.linear_regions(model, BOX, limit=2000)


def test_batch_norm_is_affine_and_weights_must_be_finite() -> None:
    first, norm = layer([[1, 2], [-1, 1]], [3, 0]), nn.BatchNorm1d(2).double()
    norm.running_mean.data = cr.tensor([3.0, 0.5]).double()
    norm.running_var.data = cr.tensor([4.0, 0.25]).double()
    model = nn.Sequential(first, norm, nn.ReLU())
    found = cr.linear_regions(model, BOX)
    # x + 2 y = 0 and -x + y = 0.5: the mean takes the first bias away
    assert found.count == 4
    with cr.no_grad():
        for cell in found.cells:
            y = model.eval()(cr.tensor(cell.centre[None])).numpy()[0]
            np.testing.assert_allclose(cell.weight @ cell.centre + cell.bias, y, atol=1e-12)
    # 0.1 * 3 - 0.3 is rounding and no value above 0
    flat, norm = layer([[0, 0]], [0.1]), nn.BatchNorm1d(1).double()
    norm.running_mean.data = cr.tensor(np.array([0.3]))
    zero = nn.Sequential(flat, nn.ReLU(), layer([[3]], [0]), norm, nn.ReLU())
    assert cr.linear_regions(zero, BOX).cells[0].pattern[1].tolist() == [0]
    first.bias.data = cr.tensor([float("nan"), 0.0]).double()
    with pytest.raises(cr.DataError, match="weights of 0 are not finite"):
        cr.linear_regions(model, BOX)


class Mixing(nn.Module):
    """Adds something else to each input of a batch, or mixes them."""

    def __init__(self, way: str) -> None:
        super().__init__()
        self.way = way

    def forward(self, x: cr.Tensor) -> Any:
        if self.way == "flat":
            return x.reshape(-1)
        if self.way == "constant":
            return x + cr.arange(3).float()[:, None]
        if self.way == "product":
            return x * x
        return (x, 2 * x)


@pytest.mark.parametrize("way", ["flat", "constant", "product", "two"])
def test_what_mixes_inputs_is_refused(way: str) -> None:
    with pytest.raises(cr.KindError, match="linear_regions: expected"):
        cr.linear_regions(Mixing(way), BOX)


def test_pictures(tmp_path: Any) -> None:
    pytest.importorskip("matplotlib", reason="plots are in the demo extra")
    found = cr.linear_regions(random_net(1, 2, 6, 6, 2), BOX)
    figure = found.plot(title="a net")
    axes = figure.axes[0]
    assert axes.get_title().startswith(
        f"a net\n{found.count} linear regions, at most {found.bound:,}"
    )
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("x0", "x1")
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert len(labels) == 2
    assert labels[0].startswith("kinks of layer '1': ")
    # neighbouring regions have different colours
    faces = axes.collections[0].get_facecolor()
    for i, j in found.neighbours:
        if found.cells[i].region != found.cells[j].region:
            assert tuple(faces[i]) != tuple(faces[j])
    shaded = found.plot(output=1)
    assert shaded.axes[1].get_ylabel() == "output 1"
    shaded.savefig(tmp_path / "a.png")
    with pytest.raises(cr.ShapeError, match="one of 2 outputs"):
        found.plot(output=2)
    inputs = cr.linear_regions(random_net(1, 3, 6, 1), np.eye(3)).plot()
    assert [text.get_text() for text in inputs.axes[0].texts] == ["origin", "a", "b"]


def test_without_matplotlib_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    found = cr.linear_regions(nn.Linear(2, 1), BOX)
    with pytest.raises(cr.DataError, match=r"pip install chainrule\[demo\]"):
        found.plot()


def test_the_grid_sees_a_lost_cell(monkeypatch: pytest.MonkeyPatch) -> None:
    """The checks above can fail: a cutter that overlooks narrow cells is caught."""
    monkeypatch.setattr(cutting, "_THIN", 0.05)
    monkeypatch.setattr(cutting, "_SURE", 1.0)
    model = random_net(0, 2, 7, 4, 2)
    with pytest.raises(AssertionError):
        check_whole(cr.linear_regions(model, BOX), model)
