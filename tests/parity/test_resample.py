"""Resampling, sampling by grids, shuffles and padding layers, against PyTorch."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest
import torch

import chainrule as cr
from tests.parity.harness import check, misuse

SHAPES = {1: (2, 3, 5), 2: (2, 3, 4, 5), 3: (1, 2, 3, 4, 5)}
LINEAR = {1: "linear", 2: "bilinear", 3: "trilinear"}
FINE = {"rtol": 3e-6, "atol": 3e-6}  # places are computed as PyTorch does


def values(*shape: int, seed: int = 0) -> Any:
    return np.asarray(np.random.default_rng(seed).standard_normal(shape))


def interpolate(**settings: Any) -> Any:
    return lambda lib, x: lib.nn.functional.interpolate(x, **settings)


def modes(d: int) -> list[dict[str, Any]]:
    """Every mode of d axes with every setting."""
    found: list[dict[str, Any]] = [{"mode": m} for m in ("nearest", "nearest-exact", "area")]
    smooth = [LINEAR[d], *(["bicubic"] if d == 2 else [])]
    for mode, align in product(smooth, (None, False, True)):
        found.append({"mode": mode, "align_corners": align})
        if d == 2:
            found.append({"mode": mode, "align_corners": align, "antialias": True})
    if d == 2:
        found.append({"mode": "lanczos", "antialias": True})
    return found


@pytest.mark.parametrize("d", [1, 2, 3])
def test_interpolate_to_a_size(d: int) -> None:
    x = values(*SHAPES[d])
    for settings, size in product(modes(d), (1, 3, 7, 12)):
        check(interpolate(size=size, **settings), x, **FINE)
        check(interpolate(size=(size, 4, 6)[:d], **settings), x, **FINE)


@pytest.mark.parametrize("d", [1, 2, 3])
@pytest.mark.parametrize("recompute", [None, False, True])
def test_interpolate_by_a_factor(d: int, recompute: bool | None) -> None:
    x = values(*SHAPES[d])
    for settings, scale in product(modes(d), (0.4, 0.6, 1.0, 1.7, 2, 2.5, 3.0)):
        more = {**settings, "recompute_scale_factor": recompute}
        check(interpolate(scale_factor=scale, **more), x, **FINE)
        check(interpolate(scale_factor=(scale, 1.5, 0.7)[:d], **more), x, **FINE)


@pytest.mark.parametrize("mode", ["nearest", "nearest-exact", "linear"])
@pytest.mark.parametrize("n", [1, 2, 3, 7, 12, 49])
def test_places_of_many_sizes(mode: str, n: int) -> None:
    x = values(1, 1, n)
    for m in (*range(1, 26), 49, 98, 147, 200):
        check(interpolate(size=m, mode=mode), x, **FINE)
    for scale in (0.3, 0.55, 1.9, 2.0, 3.3, 4.0, 49.0):
        if int(n * scale) > 0:
            check(interpolate(scale_factor=scale, mode=mode), x, **FINE)


def test_large_images() -> None:
    x = np.random.default_rng(0).integers(0, 256, (1, 2, 173, 228)).astype(np.float64)
    for settings in modes(2):
        for call in (
            interpolate(size=(135, 300), **settings),
            interpolate(scale_factor=1.37, **settings),
        ):
            check(call, x, gradients=False, **FINE)
            check(call, x)  # where PyTorch's gradient rounds places otherwise than its forward


@pytest.mark.parametrize("d", [1, 2, 3])
def test_interpolate_views_and_empty_batches(d: int) -> None:
    x = values(*SHAPES[d])
    axes = (1, 0, *range(2, d + 2))
    turned = (0, d + 1, *range(1, d + 1))  # channels-last, if x is (N, *sizes, C)
    for settings in modes(d):
        call = interpolate(size=(3, 7, 2)[:d], **settings)
        check(lambda lib, t, call=call: call(lib, lib.permute(t, axes)), x, **FINE)
        check(lambda lib, t, call=call: call(lib, lib.permute(t, turned)), x, **FINE)
        check(lambda lib, t, call=call: call(lib, t[:, ::2, 1:]), x, **FINE)
        check(call, x[:0])


def test_interpolate_infinity() -> None:
    x = np.zeros((1, 1, 9, 8))
    x[0, 0, 4, 3], x[0, 0, 7, 1] = np.inf, np.nan
    for mode in ("nearest", "bilinear", "bicubic"):
        check(interpolate(size=(13, 6), mode=mode), x, gradients=False)


def test_bytes() -> None:
    x = np.arange(40, dtype=np.uint8).reshape(1, 2, 4, 5)
    for mode in ("nearest", "nearest-exact"):
        check(interpolate(size=(3, 9), mode=mode), x)


@pytest.mark.parametrize("align", [False, True])
@pytest.mark.parametrize("antialias", [False, True])
@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
def test_bytes_are_weighed_in_whole_numbers(mode: str, antialias: bool, align: bool) -> None:
    rng = np.random.default_rng(0)
    sizes: list[dict[str, Any]] = [{"size": s} for s in ((14, 18), (3, 4), (5, 20), (40, 2))]
    sizes += [{"scale_factor": (1.7, 0.6)}, {"scale_factor": 2.0}]
    for shape in ((2, 3, 7, 9), (1, 5, 33, 8), (1, 1, 4, 2), (2, 4, 12, 70)):
        x = rng.integers(0, 256, shape, dtype=np.uint8)
        for size in sizes:
            run = interpolate(mode=mode, antialias=antialias, align_corners=align, **size)
            check(run, x)
            check(lambda lib, t, run=run: run(lib, lib.permute(t, (0, 3, 1, 2))), x)


@pytest.mark.filterwarnings("ignore:.*deprecated")
def test_older_names() -> None:
    x = values(2, 3, 4, 5)
    check(lambda lib, x: lib.nn.functional.upsample(x, 3), x)
    check(lambda lib, x: lib.nn.functional.upsample(x, None, 1.7, "bicubic", True), x, **FINE)
    check(lambda lib, x: lib.nn.functional.upsample_nearest(x, scale_factor=2), x)
    check(lambda lib, x: lib.nn.functional.upsample_nearest(x[..., 0], 3), x)
    check(lambda lib, x: lib.nn.functional.upsample_bilinear(x, (3, 9)), x, **FINE)
    check(lambda lib, x: lib.nn.functional.upsample_bilinear(x, scale_factor=1.7), x, **FINE)


# Grids


def grids(d: int, batch: int = 2) -> Any:
    return np.random.default_rng(d).uniform(-2.5, 2.5, (batch, *(4, 3, 5)[:d], d))


@pytest.mark.parametrize("align", [False, True])
@pytest.mark.parametrize("padding", ["zeros", "border", "reflection"])
@pytest.mark.parametrize(
    ("d", "mode"),
    [(2, "bilinear"), (2, "nearest"), (2, "bicubic"), (3, "bilinear"), (3, "nearest")],
)
def test_grid_sample(d: int, mode: str, padding: str, align: bool) -> None:
    def call(lib: Any, x: Any, grid: Any) -> Any:
        return lib.nn.functional.grid_sample(x, grid, mode, padding, align)

    for shape in ((2, 3, 4, 5, 3), (2, 1, 1, 6, 1), (2, 2, 7, 1, 2)):
        check(call, values(*shape[: d + 2]), grids(d), **FINE)
    x, grid = values(2, 3, 4, 5, 3)[(..., *(0,) * (3 - d))], grids(d)
    check(call, x[:0], grid[:0])
    check(call, x, grid[:, :0])
    check(lambda lib, x, g: call(lib, x[:, ::2], lib.flip(g, (1,))), x, grid, **FINE)
    last = (0, d + 1, *range(1, d + 1))
    check(lambda lib, x, g: call(lib, lib.permute(x, last), g), np.moveaxis(x, 1, -1), grid, **FINE)
    check(lambda lib, x, g: call(lib, x.detach(), g), x, grid, **FINE)
    check(lambda lib, x, g: call(lib, x, g.detach()), x, grid, **FINE)


@pytest.mark.parametrize("padding", ["zeros", "border", "reflection"])
@pytest.mark.parametrize("mode", ["bilinear", "nearest", "bicubic"])
def test_grids_on_kinks(mode: str, padding: str) -> None:
    """Places at pixels, at borders, half way: 4 pixels, so that all are exact."""
    places = np.array([-2.0, -1.25, -1.0, -0.75, -0.5, -0.25, 0.0, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0])
    grid = np.stack(np.meshgrid(places, places), -1)[None]

    def call(lib: Any, x: Any, grid: Any) -> Any:
        return lib.nn.functional.grid_sample(x, grid, mode, padding, False)

    check(call, values(1, 2, 4, 4), grid)
    check(call, values(1, 2, 2, 8), grid)


@pytest.mark.filterwarnings("ignore:Default grid_sample")
def test_grid_sample_defaults_and_large_images() -> None:
    image = np.random.default_rng(0).integers(0, 256, (1, 2, 173, 228)).astype(np.float64)
    for mode, padding in product(("bilinear", "bicubic"), ("zeros", "border", "reflection")):

        def call(lib: Any, x: Any, theta: Any, mode: str = mode, padding: str = padding) -> Any:
            grid = lib.nn.functional.affine_grid(theta, (1, 2, 120, 150))
            return lib.nn.functional.grid_sample(x, grid, mode, padding_mode=padding)

        theta = np.array([[[0.8, 0.7, 0.1], [-0.6, 0.9, 0.2]]])
        check(call, image, theta, rtol=1e-4, atol=1e-4)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("align", [None, False, True])
def test_affine_grid(align: bool | None) -> None:
    def call(size: Any) -> Any:
        return lambda lib, theta: lib.nn.functional.affine_grid(theta, size, align_corners=align)

    for size in ((2, 3, 4, 5), [2, 1, 1, 6], (2, 3, 4, 1)):
        check(call(size), values(2, 2, 3))
    for size in ((2, 3, 4, 5, 2), (2, 1, 1, 6, 1)):
        check(call(size), values(2, 3, 4))


# Shuffles


@pytest.mark.parametrize("lead", [(), (2,), (2, 3), (0,)])
def test_pixel_shuffles(lead: tuple[int, ...]) -> None:
    for r in (1, 2, 3):
        x, y = values(*lead, 2 * r * r, 3, 2), values(*lead, 2, 3 * r, 2 * r)
        full = lead != (0,)  # of nothing PyTorch has wrong shapes
        check(lambda lib, x, r=r: lib.nn.functional.pixel_shuffle(x, r), x, gradients=full)
        check(lambda lib, x, r=r: lib.pixel_shuffle(x, upscale_factor=r), (9 * x).astype(int))
        if full:
            check(lambda lib, x, r=r: lib.nn.functional.pixel_unshuffle(x, r), y)
            check(lambda lib, x, r=r: lib.pixel_unshuffle(x, downscale_factor=r), y > 0)
    wide = values(8, 3, 2, 2)
    check(lambda lib, x: lib.nn.functional.pixel_shuffle(lib.permute(x, (3, 0, 1, 2)), 2), wide)


def test_channel_shuffles() -> None:
    for shape, groups in (((1, 4, 3, 2), 2), ((2, 6, 5), 3), ((2, 6, 1, 2, 3), 6), ((0, 4, 2), 4)):
        x = values(*shape)
        check(lambda lib, x, g=groups: lib.nn.functional.channel_shuffle(x, g), x)
        native = lambda lib, x, g=groups: lib.nn.functional.native_channel_shuffle(x, g)  # noqa: E731
        check(native, x, gradients=False)  # PyTorch has none for it
    check(lambda lib, x: lib.channel_shuffle(x, groups=2), (9 * values(1, 4, 2)).astype(int))
    check(lambda lib, x: lib.channel_shuffle(x.permute(1, 0, 2), 2), values(4, 2, 3))


# Layers

PADS = [
    "ConstantPad{d}d",
    "ZeroPad{d}d",
    "ReflectionPad{d}d",
    "ReplicationPad{d}d",
    "CircularPad{d}d",
]


@pytest.mark.parametrize("kind", PADS)
@pytest.mark.parametrize("d", [1, 2, 3])
def test_padding_layers(kind: str, d: int) -> None:
    value = (1.5,) if kind == "ConstantPad{d}d" else ()
    x = values(*SHAPES[d])
    for padding in (0, 1, 2, -1, (1, 2, 0, 1, 2, 0)[: 2 * d], [2, -1, -1, 1, 0, 0][: 2 * d]):

        def layer(lib: Any, padding: Any = padding) -> Any:
            return getattr(lib.nn, kind.format(d=d))(padding, *value)

        check(lambda lib, x, layer=layer: layer(lib)(x), x)
        check(lambda lib, x, layer=layer: layer(lib)(x), x[0])
        check(lambda lib, x, layer=layer: layer(lib)(x), x[:0])
        assert repr(layer(cr)) == repr(layer(torch))
        assert layer(cr).padding == layer(torch).padding


LAYERS = {
    "Upsample": [(3,), (None, 2), ((2, 7),), (None, (1.5, 2), "bilinear", True), (4, None, "area"),
                 (None, 1.7, "bicubic", None, True), ((3, 3), None, "nearest-exact")],
    "UpsamplingNearest2d": [(3,), ((2, 5),), (None, 1.7), (None, (2, 3))],
    "UpsamplingBilinear2d": [(3,), ((2, 5),), (None, 1.7), (None, (2, 3))],
    "PixelShuffle": [(1,), (2,)],
    "PixelUnshuffle": [(1,), (2,)],
    "ChannelShuffle": [(1,), (2,), (4,)],
}  # fmt: skip


@pytest.mark.parametrize("name", LAYERS)
def test_layers(name: str) -> None:
    x = values(2, 8, 4, 6)
    for settings in LAYERS[name]:
        theirs, ours = (getattr(lib.nn, name)(*settings) for lib in (torch, cr))
        assert repr(ours) == repr(theirs)
        for key, value in vars(theirs).items():
            if not key.startswith("_") and key != "training":
                assert getattr(ours, key) == value, key
                assert type(getattr(ours, key)) is type(value), key
        check(lambda lib, x, s=settings: getattr(lib.nn, name)(*s)(x), x, **FINE)


# Refusals

REFUSED = """
F.interpolate(z(2, 2, 4))
F.interpolate(z(2, 2, 4), 3, 2.0)
F.interpolate(z(2, 2, 4), (3, 3))
F.interpolate(z(2, 2, 4, 4), (3,))
F.interpolate(z(2, 2, 4, 4), scale_factor=(2.0,))
F.interpolate(z(2, 2, 4, 4), (3.0, 3))
F.interpolate(z(2, 2, 4, 4), 3.0)
F.interpolate(z(2, 2, 4, 4), "3")
F.interpolate(z(2, 2, 4, 4), scale_factor="3")
F.interpolate(z(2, 2, 4, 4), 3, recompute_scale_factor=True)
F.interpolate(z(2, 2, 4, 4), 3, align_corners=False)
F.interpolate(z(2, 2, 4, 4), 3, align_corners=True, mode="area")
F.interpolate(z(2, 2, 4, 4), 3, align_corners=True, mode="nearest-exact")
F.interpolate(z(2, 2, 4, 4), 3, mode="bilinear", align_corners="x")
F.interpolate(z(2, 2, 4, 4), 3, antialias=True)
F.interpolate(z(2, 2, 4), 3, mode="linear", antialias=True)
F.interpolate(z(2, 2, 4), 3, mode="bilinear")
F.interpolate(z(2, 2, 4), 3, mode="bicubic")
F.interpolate(z(2, 2, 4), 3, mode="lanczos", antialias=True)
F.interpolate(z(2, 2, 4, 4), 3, mode="linear")
F.interpolate(z(2, 2, 4, 4), 3, mode="trilinear")
F.interpolate(z(2, 2, 4, 4), 3, mode="lanczos")
F.interpolate(z(2, 2, 4, 4), 3, mode="lanczos", antialias=True, align_corners=True)
F.interpolate(z(2, 2, 4, 4, 4), 3, mode="bilinear")
F.interpolate(z(2, 2, 4, 4, 4), 3, mode="bicubic")
F.interpolate(z(2, 2, 4, 4), 3, mode="foo")
F.interpolate(z(2, 4), 3)
F.interpolate(z(2, 2, 2, 4, 4, 4), 3)
F.interpolate(z(2, 2, 4, 4), 0)
F.interpolate(z(2, 2, 4, 4), -1)
F.interpolate(z(2, 2, 4, 4), scale_factor=0.1)
F.interpolate(z(2, 2, 4, 4), scale_factor=-1.0)
F.interpolate(z(2, 2, 0, 4), 3)
F.interpolate(z(2, 0, 4, 4), 3)
F.interpolate(z(0, 0, 4, 4), 3, mode="bilinear")
F.interpolate(z(2, 2, 4, 4).long(), 3)
F.interpolate(z(2, 2, 4, 4) > 0, 3)
F.interpolate(z(2, 2, 4, 4).long(), 3, mode="bilinear")
F.interpolate(z(2, 2, 4, 4).long(), 3, mode="bicubic")
F.interpolate(z(2, 2, 4, 4).long(), 3, mode="area")
F.upsample_bilinear(z(2, 2, 4), 3)
F.grid_sample(z(1, 1, 2, 2), z(1, 2, 2, 2), "cubic")
F.grid_sample(z(1, 1, 2, 2), z(1, 2, 2, 2), padding_mode="wrap")
F.grid_sample(z(1, 1, 2, 2), z(1, 2, 2, 3))
F.grid_sample(z(1, 1, 2, 2), z(2, 2, 2, 2))
F.grid_sample(z(1, 1, 2, 2), z(1, 2, 2, 2, 2))
F.grid_sample(z(1, 1, 2, 2, 2), z(1, 2, 2, 2, 3), "bicubic")
F.grid_sample(z(1, 1, 2), z(1, 2, 1))
F.grid_sample(z(1, 1, 0, 2), z(1, 2, 2, 2))
F.grid_sample(z(1, 1, 2, 2).long(), z(1, 2, 2, 2).long())
F.grid_sample(z(1, 1, 2, 2).long(), z(1, 2, 2, 2))
F.grid_sample(z(1, 1, 2, 2), z(1, 2, 2, 2).double())
F.grid_sample(z(1, 1, 2, 2), z(1, 2, 2, 2), align_corners="x")
F.grid_sample(z(1, 1, 2, 2), [1])
F.affine_grid(z(1, 3, 4), (1, 1, 2, 2))
F.affine_grid(z(1, 2, 3), (1, 1, 2, 2, 2))
F.affine_grid(z(1, 2, 3), (1, 1, 2))
F.affine_grid(z(1, 2, 3), (2, 1, 2, 2))
F.affine_grid(z(1, 2, 3), (1, 0, 2, 2))
F.affine_grid(z(0, 2, 3), (0, 1, 2, 2))
F.affine_grid(z(2, 3), (1, 1, 2, 2))
F.affine_grid(z(1, 2, 3).long(), (1, 1, 2, 2))
F.affine_grid(z(1, 2, 3), (1, 1, 2.0, 2))
F.affine_grid(z(1, 2, 3), 4)
F.pixel_shuffle(z(4, 2, 2), 2.0)
F.pixel_shuffle(z(4, 2, 2), True)
F.pixel_shuffle(z(4, 2, 2), 0)
F.pixel_shuffle(z(4, 2, 2), 3)
F.pixel_shuffle(z(4, 2), 2)
F.pixel_unshuffle(z(4, 2, 2), 2.0)
F.pixel_unshuffle(z(4, 2, 2), 0)
F.pixel_unshuffle(z(4, 2, 3), 2)
F.pixel_unshuffle(z(4, 2), 2)
F.channel_shuffle(z(2, 4), 2)
F.channel_shuffle(z(2, 4, 2), 3)
F.channel_shuffle(z(2, 4, 2), 0)
F.channel_shuffle(z(2, 4, 2), 2.0)
F.native_channel_shuffle(z(2, 4, 2), 3)
nn.ZeroPad2d((1.0, 1, 1, 1))(z(2, 3, 4))
nn.ZeroPad2d(1)(z(4))
nn.ConstantPad1d(-3, 1.0)(z(2, 4))
nn.ReflectionPad1d(5)(z(2, 3, 4))
nn.ReflectionPad2d(1)(z(3, 4))
nn.ReplicationPad1d(1)(z(2, 3, 4, 5))
nn.CircularPad1d(3)(z(2, 3, 4, 5))
nn.CircularPad2d(3)(z(2, 3))
nn.CircularPad3d(3)(z(2, 3))
nn.CircularPad2d(5)(z(2, 3, 4))
nn.Upsample()(z(1, 2, 3))
nn.Upsample(2, 2)(z(1, 2, 3))
nn.Upsample(scale_factor=[2, 2])
nn.Upsample(size=3, mode="foo")(z(1, 2, 3))
nn.UpsamplingNearest2d()(z(1, 2, 3, 3))
nn.PixelShuffle(2)(z(3, 2, 2))
nn.ChannelShuffle(3)(z(1, 4, 2))
"""


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("expression", REFUSED.strip().splitlines())
def test_misuse(expression: str) -> None:
    def run(lib: Any) -> Any:
        names = {"F": lib.nn.functional, "nn": lib.nn, "z": lib.zeros}
        return eval(expression, names)

    misuse(run)


@pytest.mark.parametrize("name", ["ConstantPad1d", "ZeroPad2d", "CircularPad3d", "PixelShuffle"])
def test_missing_arguments(name: str) -> None:
    for lib in (torch, cr):
        with pytest.raises(TypeError):
            getattr(lib.nn, name)()
