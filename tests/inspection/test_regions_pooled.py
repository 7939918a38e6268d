"""Linear regions of networks with max pooling and PReLU: in fractions, on grids, as a CNN."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn
from chainrule.inspection import Regions, cells, zaslavsky
from chainrule.inspection.winners import window_table
from chainrule.ops.pool_max import AdaptiveMaxPool, MaxPool
from tests.inspection import exact
from tests.inspection.test_regions import BOX, grid, inside, layer

Images = Any


def pool(op: Any, x: Images) -> tuple[Images, Images]:
    """Pool by loops over windows: values, and the first winner's place in its window."""
    table = window_table(op, x.shape[1:])
    there = np.where(table >= 0, x.reshape(len(x), -1)[:, table], -np.inf)
    return there.max(axis=2), there.argmax(axis=2)


@pytest.mark.parametrize(
    ("op", "shape"),
    [
        (MaxPool((2, 2), (2, 2), (0, 0), (1, 1)), (2, 5, 4)),
        (MaxPool((3, 3), (2, 2), (1, 1), (1, 1)), (2, 6, 7)),
        (MaxPool((3, 2), (2, 1), (1, 0), (1, 2), True), (1, 7, 6)),
        (MaxPool((3,), (1,), (1,), (1,)), (3, 5)),
        (MaxPool((2,), (2,), (0,), (1,)), (6,)),
        (AdaptiveMaxPool((2, 3)), (2, 5, 7)),
        (AdaptiveMaxPool((None, 1)), (2, 3, 4)),
    ],
)
def test_windows_are_those_of_the_operation(op: Any, shape: tuple[int, ...]) -> None:
    x = np.random.default_rng(0).normal(size=(3, *shape))
    (y, *_), _ = op.forward(np, x)
    np.testing.assert_array_equal(pool(op, x)[0], y.reshape(3, -1))


@pytest.mark.parametrize("seed", range(40))
def test_maxima_of_whole_numbers_as_in_fractions(seed: int) -> None:
    """Most are degenerate: equal maps, parallel ones, three that meet, windows of one number."""
    random = np.random.default_rng(seed)
    width, length = int(random.integers(2, 5)), int(random.integers(2, 4))
    top = int(random.integers(1, 4))

    def numbers(*shape: int) -> Any:
        return random.integers(-top, top + 1, size=shape)

    a, b, c = numbers(width * length, 2), numbers(width * length), numbers(2, width)
    d = numbers(2)
    slopes = random.integers(-2, 3, size=width)
    bent = nn.PReLU(width).double()
    bent.weight.data = cr.tensor(slopes.astype(float))
    first = [nn.ReLU()] if seed % 2 else []
    table = [[length * k + i for i in range(length)] for k in range(width)]
    model = nn.Sequential(layer(a, b), *first, nn.MaxPool1d(length), bent, layer(c, d))
    steps: list[exact.Step] = [("affine", a, b)]
    steps += [("bent", [0] * len(b), None)] if first else []
    steps += [("max", table, None), ("bent", slopes.tolist(), None), ("affine", c, d)]
    found = cr.linear_regions(model, (-3, 3, -2, 4))
    assert (found.count, found.affine_count) == exact.count_steps(steps, (-3, 3, -2, 4))
    assert found.count <= found.bound


@pytest.mark.parametrize("seed", range(10))
def test_overlapping_windows_as_in_fractions(seed: int) -> None:
    random = np.random.default_rng(100 + seed)
    a, b = random.integers(-3, 4, size=(6, 2)), random.integers(-3, 4, size=6)
    model = nn.Sequential(layer(a, b), nn.MaxPool1d(3, 1, 1), nn.ReLU())
    table = [[j for j in (k - 1, k, k + 1) if 0 <= j < 6] for k in range(6)]
    steps: list[exact.Step] = [("affine", a, b), ("max", table, None), ("bent", [0] * 6, None)]
    found = cr.linear_regions(model, (-3, 3, -2, 4))
    assert (found.count, found.affine_count) == exact.count_steps(steps, (-3, 3, -2, 4))


def test_a_maxout_of_planes_by_hand() -> None:
    # x, -x, y and -y: four parts that meet in the middle, each touching two others
    sides = layer([[1, 0], [-1, 0], [0, 1], [0, -1]], [0, 0, 0, 0])
    found = cr.linear_regions(nn.Sequential(sides, nn.MaxPool1d(4)), (-1, 1, -1, 1))
    assert (found.count, found.affine_count, len(found.neighbours)) == (4, 4, 4)
    assert found.bound == zaslavsky(6)
    assert sorted(int(cell.pattern[0][0]) for cell in found.cells) == [0, 1, 2, 3]
    assert sum(cell.area for cell in found.cells) == pytest.approx(4)
    assert len(found.cuts) == 4
    for cut in found.cuts:
        assert abs(cut.ends[:, 0]) == pytest.approx(abs(cut.ends[:, 1]), abs=1e-12)
    # 0.5 is never the largest of x + 1, -x + 1 and itself; a lower one is cut by it
    for least, parts in ((0.5, 2), (1.5, 3)):
        three = layer([[1, 0], [-1, 0], [0, 0]], [1, 1, least])
        found = cr.linear_regions(nn.Sequential(three, nn.MaxPool1d(3)), (-1, 1, -1, 1))
        assert found.count == parts


def small_cnn(seed: int) -> nn.Sequential:
    cr.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(1, 2, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(2, 3, 3, padding=1),
        nn.PReLU(3), nn.MaxPool2d(3, 2, 1), nn.Flatten(), nn.Linear(12, 3),
    ).double()  # fmt: skip


def winners(model: nn.Sequential, x: Any) -> list[bytes]:
    """What is above its kink and who wins each window, for each image, layer after layer."""
    seen = []
    with cr.no_grad():
        for module in model:
            if isinstance(module, nn.ReLU | nn.PReLU):
                seen.append((x.numpy() > 0).reshape(len(x), -1))
            if isinstance(module, nn.MaxPool2d):
                (node,) = [n for n in cr.capture(module, x[:2]) if n.op is not None]
                seen.append(pool(node.op, x.numpy())[1])
            x = module(x)
    bits = np.concatenate(seen, axis=1).astype(np.int8)
    return [row.tobytes() for row in bits]


def check_images(found: Regions, model: nn.Sequential, images: Any, points: Any) -> None:
    """Each point's pattern and value are those of the cell that holds it; all cells are there."""
    origin, a, b = images
    s, t = points[:, 0, None, None, None], points[:, 1, None, None, None]
    x = cr.tensor(origin + s * (a - origin) + t * (b - origin))
    with cr.no_grad():
        y = model(x).numpy()
    patterns = winners(model, x)
    held = np.zeros(len(points), dtype=int)
    keys = []
    for cell in found.cells:
        here = inside(cell.polygon, points)
        held += here
        keys.append(np.concatenate([each.ravel() for each in cell.pattern]).astype(np.int8))
        assert {patterns[i] for i in np.flatnonzero(here)} <= {keys[-1].tobytes()}
        np.testing.assert_allclose(points[here] @ cell.weight.T + cell.bias, y[here], atol=1e-9)
    assert held.max() == 1
    assert held.mean() > 0.95
    assert set(patterns) <= {key.tobytes() for key in keys}
    assert len({key.tobytes() for key in keys}) == found.count


@pytest.mark.parametrize("seed", range(4))
def test_a_cnn_with_max_pooling_against_a_dense_grid(seed: int) -> None:
    model = small_cnn(seed)
    images = np.random.default_rng(seed).random((3, 1, 8, 8))
    found = cr.linear_regions(model, images)
    assert [each.units for each in found.layers] == [2 * 36, 2 * 9, 3 * 9, 3 * 4]
    assert found.bound_name == "the layers' product"
    assert 20 < found.count <= found.bound
    assert sum(cell.area for cell in found.cells) == pytest.approx(2.25, rel=1e-9)
    assert min(cell.area for cell in found.cells) > 0
    check_images(found, model, images, grid(found.bounds, 90))


def test_neighbours_are_those_whose_cells_touch() -> None:
    model = nn.Sequential(layer(np.random.default_rng(1).normal(size=(8, 2)), [0.3] * 8))
    found = cr.linear_regions(nn.Sequential(model[0], nn.MaxPool1d(4)), BOX)
    step = 1e-6
    expected = set()
    for i, one in enumerate(found.cells):
        following = np.roll(one.polygon, -1, axis=0)
        for p, q in zip(one.polygon, following, strict=True):
            normal = np.array([q[1] - p[1], p[0] - q[0]]) / np.linalg.norm(q - p)
            for share in (0.1, 0.5, 0.9):
                point = p + share * (q - p) + step * normal
                for j, other in enumerate(found.cells):
                    if i != j and inside(other.polygon, point[None])[0]:
                        expected.add((min(i, j), max(i, j)))
    assert expected
    assert set(found.neighbours) == expected


def test_a_network_with_max_pooling_is_drawn(tmp_path: Any) -> None:
    pytest.importorskip("matplotlib", reason="plots are in the demo extra")
    found = cr.linear_regions(small_cnn(0), np.random.default_rng(0).random((3, 1, 8, 8)))
    figure = found.plot(output=1)
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert [label.split(":")[0] for label in labels] == [
        f"kinks of layer '{number}'" for number in (1, 2, 4, 5)
    ]
    figure.savefig(tmp_path / "a.png")


def test_a_lost_part_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """The checks above can fail: a contest that drops thin parts is caught."""
    monkeypatch.setattr(cells, "_THIN", 0.08)
    monkeypatch.setattr(cells, "_SURE", 1.0)
    model, images = small_cnn(0), np.random.default_rng(0).random((3, 1, 8, 8))
    with pytest.raises(AssertionError):
        check_images(cr.linear_regions(model, images), model, images, grid((-0.25, 1.25) * 2, 90))
