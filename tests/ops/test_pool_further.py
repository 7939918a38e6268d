"""LP, fractional and pyramid pooling, unpooling and subsampling against loops, and their edges."""

from __future__ import annotations

import itertools
import math
import pickle
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule.nn import functional as F
from chainrule.ops.pool_fractional import FractionalMaxPool
from chainrule.ops.pool_power import Root
from chainrule.ops.pool_windows import one_or_each
from chainrule.ops.pool_winners import entry_offsets, memory_steps
from chainrule.ops.unpool import MaxUnpool

INF, NAN = float("inf"), float("nan")
SIZES = {1: (9,), 2: (7, 6), 3: (6, 5, 5)}


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape)


def coarse(*shape: int, seed: int = 0) -> np.ndarray:
    """Few different values: windows full of ties."""
    return np.random.default_rng(seed).integers(-1, 2, shape).astype(np.float64)


def layouts(x: np.ndarray) -> Iterator[np.ndarray]:
    """The same values in row order, channels-last, and as every other element of more."""
    yield x
    if x.ndim == 4:
        yield np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    big = np.full([2 * n for n in x.shape], 99.0)
    big[tuple(slice(None, None, -2) for _ in x.shape)] = x
    yield big[tuple(slice(None, None, -2) for _ in x.shape)]


def leaf(x: np.ndarray) -> cr.Tensor:
    t = cr.tensor(0.0, dtype=cr.float64)
    t.data = x  # as it lies in memory
    return t.requires_grad_()


# LP pooling


def lp_oracle(x: np.ndarray, p: float, k: int, s: int) -> np.ndarray:
    """Norms of the windows of the last two axes, one after the other."""
    outs = [(n - k) // s + 1 for n in x.shape[-2:]]
    y = np.zeros((*x.shape[:-2], *outs))
    for *lead, i, j in np.ndindex(*y.shape):
        window = x[(*lead, slice(i * s, i * s + k), slice(j * s, j * s + k))].ravel().tolist()
        y[(*lead, i, j)] = sum(v**p for v in window) ** (1 / p)
    return y


@pytest.mark.parametrize("p", [1, 2, 3, 1.5, 0.5, -1, 4.0])
@pytest.mark.parametrize(("k", "s"), [(2, 2), (3, 1), (2, 3), (1, 1)])
def test_lp_pool_is_the_loop(p: float, k: int, s: int) -> None:
    x = np.abs(normal(2, 3, 7, 6)) + 0.1
    for given in layouts(x):
        ours = F.lp_pool2d(leaf(given), p, k, s).detach().numpy()
        np.testing.assert_allclose(ours, lp_oracle(x, p, k, s), rtol=1e-12)


@pytest.mark.parametrize("d", [1, 2, 3])
def test_lp_pool_in_every_dimension(d: int) -> None:
    """One window over all is the norm; infinite p takes the largest and smallest magnitude."""
    x = normal(2, 3, *(4,) * d)
    flat = x.reshape(2, 3, -1)
    pool = getattr(F, f"lp_pool{d}d")
    one = (2, 3, *(1,) * d)
    for p, norm in ((2, np.linalg.norm(flat, axis=2)), (1, flat.sum(2)),
                    (INF, np.abs(flat).max(2)), (-INF, np.abs(flat).min(2))):  # fmt: skip
        ours = pool(cr.tensor(x), p, 4)
        np.testing.assert_allclose(ours.numpy(), norm.reshape(one), rtol=1e-12)
        np.testing.assert_array_equal(pool(cr.tensor(x[0]), p, 4).numpy(), ours.numpy()[0])


def test_lp_pool_has_no_gradient_where_the_powers_sum_to_zero() -> None:
    for p in (1, 2, 3.0):
        x = cr.tensor([[0.0, 0.0, 3.0, 4.0, 1.0, -1.0]], requires_grad=True)
        F.lp_pool1d(x, p, 2).backward(cr.tensor([[INF, 1.0, 1.0]]))
        assert x.grad is not None
        assert x.grad.tolist()[0][:2] == [0, 0]
        assert all(math.isfinite(g) for g in x.grad.tolist()[0])
        if p == 1:
            assert x.grad.tolist()[0] == [0, 0, 1, 1, 0, 0]


def test_lp_pool_in_ceil_mode_takes_the_mean_of_what_is_there() -> None:
    """The last window has one value, whose power counts twice, as in PyTorch."""
    y = F.lp_pool1d(cr.tensor([[3.0, 4.0, 2.0]]), 2, 2, ceil_mode=True)
    np.testing.assert_allclose(y.numpy(), [[5, math.sqrt(8)]], rtol=1e-6)


def test_lp_pool_of_integers() -> None:
    y = F.lp_pool2d(cr.tensor([[[3, 0], [0, 4]]]), 1, 2)
    assert (y.dtype, y.tolist()) == (np.float32, [[[4.0]]])  # the mean 7/4 is cut to 1


# Fractional max pooling


def begins(n: int, k: int, m: int, u: float) -> list[int]:
    """Where the windows of one axis begin."""
    step = (n - k) / (m - 1) if m > 1 else 0.0
    return [int((i + u) * step) - int(u * step) for i in range(m - 1)] + [n - k]


def fractional_oracle(x: np.ndarray, k: Any, m: Any, u: np.ndarray, gy: np.ndarray) -> Any:
    d = len(k)
    y, gx = np.zeros((*x.shape[:-d], *m)), np.zeros(x.shape)
    index = np.zeros(y.shape, np.int64)
    for lead in np.ndindex(*x.shape[:-d]):
        own = u[lead if len(lead) == 2 else (0, *lead)]
        own = own[::-1] if d == 2 else own
        axes = [begins(n, a, b, v) for n, a, b, v in zip(x.shape[-d:], k, m, own, strict=True)]
        for place in np.ndindex(*m):
            window = [range(s[i], s[i] + a) for s, i, a in zip(axes, place, k, strict=True)]
            best = None
            for q in itertools.product(*window):
                v = x[lead + q]
                if best is None or v > x[lead + best] or np.isnan(v):
                    best = q
            assert best is not None
            y[lead + place] = x[lead + best]
            index[lead + place] = np.ravel_multi_index(best, x.shape[-d:])
            gx[lead + best] += gy[lead + place]
    return y, index, gx


FRACTIONAL: list[tuple[Any, Any, Any]] = [
    ((2, 3, 7, 6), (2, 2), (4, 3)),
    ((2, 3, 7, 6), (3, 2), (5, 5)),
    ((3, 9, 8), (1, 4), (6, 2)),
    ((1, 2, 5, 5), (5, 1), (1, 5)),
    ((2, 2, 6, 5, 7), (2, 2, 3), (3, 3, 4)),
    ((2, 4, 6, 5), (1, 3, 2), (3, 1, 3)),
]


@pytest.mark.parametrize(("shape", "k", "m"), FRACTIONAL)
@pytest.mark.parametrize("seed", range(3))
def test_fractional_max_pool_is_the_loop(shape: Any, k: Any, m: Any, seed: int) -> None:
    d = len(k)
    u = np.random.default_rng(seed).random((3, shape[-d - 1], d))
    gy = normal(*shape[:-d], *m, seed=1)
    for x in (normal(*shape, seed=seed), coarse(*shape, seed=seed)):
        if seed == 2:
            x.ravel()[::7] = NAN
        y, index, gx = fractional_oracle(x, k, m, u, gy)
        for given in layouts(x):
            op = FractionalMaxPool(k, m, True)
            (ours, indices), saved = op.forward(np, given, u)
            np.testing.assert_array_equal(ours, y)
            np.testing.assert_array_equal(indices, index)
            ours, none = op.backward(np, saved, (gy, None), (True, False))
            np.testing.assert_allclose(ours, gx, rtol=1e-12, atol=1e-14)
            assert none is None


@pytest.mark.parametrize("n", [7, 12, 13])
@pytest.mark.parametrize(("k", "m"), [(2, 5), (3, 3), (1, 6), (2, 1)])
def test_fractional_windows_cover_the_axis_in_order(n: int, k: int, m: int) -> None:
    """From 0 to the end, by steps of two lengths, and a last one."""
    for u in np.linspace(0, 0.999, 17):
        starts = FractionalMaxPool((k,), (m,))._starts(np, (1, 1, n), np.full((1, 1, 1), u))[0]
        starts = starts.ravel().tolist()
        assert starts == begins(n, k, m, float(u))
        assert starts[-1] == n - k
        assert m == 1 or starts[0] == 0
        assert len(set(np.diff(starts).tolist())) <= 3


def test_fractional_max_pool_is_random_by_its_generator() -> None:
    x = cr.tensor(normal(4, 8, 12, 12))
    a, b, c = (
        F.fractional_max_pool2d(x, 2, 7, generator=cr.Generator(seed)).numpy() for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(a, b)
    assert (a != c).any()
    cr.manual_seed(3)
    a = F.fractional_max_pool3d(cr.tensor(normal(2, 7, 7, 7)), 2, 3).numpy()
    cr.manual_seed(3)
    b = F.fractional_max_pool3d(cr.tensor(normal(2, 7, 7, 7)), 2, 3).numpy()
    np.testing.assert_array_equal(a, b)


def test_fractional_sizes() -> None:
    x = cr.zeros(1, 2, 10, 7)
    assert F.fractional_max_pool2d(x, 2, output_ratio=(0.7, 0.5)).shape == (1, 2, 7, 3)
    assert F.fractional_max_pool2d(x, 2, output_ratio=0.7).shape == (1, 2, 7, 4)
    assert F.fractional_max_pool2d(x, 2, (3, 4), (0.9, 0.9)).shape == (1, 2, 3, 4)
    y, index = F.fractional_max_pool2d(x[:0], 2, 3, return_indices=True)
    assert (y.shape, index.dtype) == ((0, 2, 3, 3), np.int64)
    assert F.fractional_max_pool2d(x, 2, 0).shape == (1, 2, 0, 0)
    meta = cr.zeros(5, 2, 9, 9, 9, device="meta")
    assert F.fractional_max_pool3d(meta, 2, 4).shape == (5, 2, 4, 4, 4)


def test_samples_outside_0_to_1_stay_in_the_image() -> None:
    x = cr.tensor(normal(1, 2, 9, 9))
    for value in (-7.3, 5.5, 1e18, INF, NAN):
        u = cr.full((1, 2, 2), value, dtype=cr.float64)
        y = F.fractional_max_pool2d(x, 2, 5, _random_samples=u)
        assert np.isin(y.numpy(), x.numpy()).all()
        assert (y.numpy()[0, 0] <= x.numpy()[0, 0].max()).all()


def test_fractional_layers_draw_in_evaluation_too() -> None:
    layer = cr.nn.FractionalMaxPool2d(2, 7, generator=cr.Generator(0)).eval()
    x = cr.randn(2, 4, 11, 11, requires_grad=True)
    first, second = layer(x), layer(x)
    assert (first.detach().numpy() != second.detach().numpy()).any()
    gy = cr.randn(*second.shape)
    second.backward(gy)
    assert x.grad is not None
    by_hand = layer.backward(x.detach(), gy)  # the last windows again
    np.testing.assert_array_equal(by_hand.numpy(), x.grad.numpy())


def test_random_samples_want_no_gradient() -> None:
    u = cr.full((1, 2, 2), 0.5, requires_grad=True)
    assert not F.fractional_max_pool2d(cr.ones(1, 2, 5, 5), 2, 2, _random_samples=u).requires_grad


# Unpooling


@pytest.mark.parametrize("d", [1, 2, 3])
def test_unpooling_puts_maxima_back(d: int) -> None:
    x = normal(2, 3, *SIZES[d])
    pool, unpool = getattr(F, f"max_pool{d}d"), getattr(F, f"max_unpool{d}d")
    for given in layouts(x):
        y, index = pool(leaf(given), 2, return_indices=True)
        back = unpool(y, index, 2, output_size=x.shape).detach().numpy()
        winners = np.isin(x, y.detach().numpy())
        np.testing.assert_array_equal(back, np.where(winners, x, 0))
        again, there = pool(cr.tensor(np.where(back == 0, -INF, back)), 2, return_indices=True)
        np.testing.assert_array_equal(again.numpy(), y.detach().numpy())
        np.testing.assert_array_equal(there.numpy(), index.numpy())


def test_unpooling_by_a_loop() -> None:
    x, index = normal(2, 3, 4, 2), np.random.default_rng(1).integers(0, 30, (2, 3, 4, 2))
    gy = normal(2, 3, 5, 6, seed=2)
    y, gx = np.zeros((2, 3, 5, 6)), np.zeros(x.shape)
    for place in np.ndindex(*x.shape):
        at = (*place[:2], *divmod(int(index[place]), 6))
        y[at], gx[place] = x[place], gy[at]  # the last one stays; all have the gradient
    for given in layouts(x):
        op = MaxUnpool((5, 6))
        (ours,), saved = op.forward(np, given, index)
        np.testing.assert_array_equal(ours, y)
        np.testing.assert_array_equal(op.backward(np, saved, gy, (True, False))[0], gx)
        assert op.backward(np, saved, gy, (False, False)) == (None, None)


def test_unpooling_keeps_the_order_in_memory() -> None:
    x = np.ascontiguousarray(normal(2, 3, 3, 4).transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    (y,), saved = MaxUnpool((4, 4)).forward(np, x, np.arange(12).reshape(3, 4) + 0 * x.astype(int))
    assert y.transpose(0, 2, 3, 1).flags.c_contiguous
    (gx,) = MaxUnpool((4, 4)).backward(np, saved, y, (True, False))[:1]
    assert gx.strides == x.strides


def test_unpooling_layers() -> None:
    x, index = cr.randn(2, 3, 4), cr.tensor(np.arange(4) * np.ones((2, 3, 1), np.int64))
    layer = pickle.loads(pickle.dumps(cr.nn.MaxUnpool1d(2, padding=0)))
    assert repr(layer) == "MaxUnpool1d(kernel_size=(2,), stride=(2,), padding=(0,))"
    y = layer(x, index, output_size=(7,))
    np.testing.assert_array_equal(y.numpy()[..., :4], x.numpy())
    assert not y.numpy()[..., 4:].any()
    gx, none = layer.backward(x, index, cr.ones(2, 3, 8))
    assert (gx.numpy() == 1).all()
    assert none is None
    meta = cr.zeros(2, 3, 4, device="meta"), cr.zeros(2, 3, 4, dtype=cr.int64, device="meta")
    assert layer(*meta).shape == (2, 3, 8)


def test_sizes_of_unpooling() -> None:
    x, index = cr.ones(2, 3, 3), cr.zeros(2, 3, 3, dtype=cr.int64)
    sizes = {
        (2, None, 0, None): (6, 6),
        (3, 2, 1, None): (5, 5),
        (2, 2, 0, (7, 5)): (7, 5),
        (2, (2, 3), 0, (9, 9, 7, 10)): (7, 10),
    }
    for arguments, size in sizes.items():
        assert F.max_unpool2d(x, index, *arguments).shape == (2, *size)
    assert F.max_unpool2d(x[:, None][:0], index[:, None][:0], 2).shape == (0, 1, 6, 6)


# Global and pyramid pooling, subsampling


@pytest.mark.parametrize("d", [1, 2, 3])
def test_global_pooling(d: int) -> None:
    x = coarse(2, 3, *SIZES[d])
    flat = x.reshape(2, 3, -1)
    for given in layouts(x):
        t = leaf(given)
        mean, (largest, index) = F.global_avg_pool(t), F.global_max_pool(t, return_indices=True)
        assert mean.shape == largest.shape == index.shape == (2, 3, *(1,) * d)
        np.testing.assert_allclose(mean.detach().numpy().reshape(2, 3), flat.mean(2), rtol=1e-12)
        np.testing.assert_array_equal(largest.detach().numpy().reshape(2, 3), flat.max(2))
        np.testing.assert_array_equal(index.numpy().reshape(2, 3), flat.argmax(2))
        (mean.sum() + largest.sum()).backward()
        assert t.grad is not None
        wanted = np.full(flat.shape, 1 / flat.shape[2])
        np.put_along_axis(wanted, flat.argmax(2)[..., None], 1 + 1 / flat.shape[2], 2)
        np.testing.assert_allclose(t.grad.numpy().reshape(flat.shape), wanted, rtol=1e-12)
    assert F.global_avg_pool(t, keepdim=False).shape == (2, 3)
    values, index = F.global_max_pool(t, False, True)
    assert values.shape == index.shape == (2, 3)
    assert F.global_avg_pool(t[:0]).shape == F.global_max_pool(t[:0]).shape == mean[:0].shape


def pyramid_oracle(x: np.ndarray, parts: list[int], mode: str) -> np.ndarray:
    """He et al.'s grids over (C, H, W), one window after the other."""
    row = []
    for b, c in itertools.product(parts, range(len(x))):
        for i, j in itertools.product(range(b), repeat=2):
            (h, w), least = x.shape[1:], math.floor
            window = x[c, least(i * h / b) : math.ceil((i + 1) * h / b),
                       least(j * w / b) : math.ceil((j + 1) * w / b)]  # fmt: skip
            row.append(window.max() if mode == "max" else window.mean())
    return np.array(row)


@pytest.mark.parametrize("mode", ["max", "avg"])
@pytest.mark.parametrize("sizes", [(7, 9), (8, 8), (3, 2), (13, 5)])
def test_spatial_pyramid_pool_is_the_loop(mode: str, sizes: tuple[int, int]) -> None:
    x = normal(2, 3, *sizes)
    for levels, parts in ((3, [1, 2, 4]), ((3, 1), [3, 1]), ([6], [6]), (1, [1])):
        y = F.spatial_pyramid_pool2d(cr.tensor(x), levels, mode).numpy()
        assert y.shape == (2, 3 * sum(b * b for b in parts))
        for row, image in zip(y, x, strict=True):
            np.testing.assert_allclose(row, pyramid_oracle(image, parts, mode), rtol=1e-12)
        one = F.spatial_pyramid_pool2d(cr.tensor(x[0]), levels, mode).numpy()
        np.testing.assert_array_equal(one, y[0])


def caffe_oracle(x: np.ndarray, b: int, mode: str) -> np.ndarray:
    """One level of Caffe's SPP over (C, H, W): windows side by side over a padded image."""
    kernel = [-(-n // b) for n in x.shape[1:]]
    pads = [(k * b - n + 1) // 2 for n, k in zip(x.shape[1:], kernel, strict=True)]
    row = []
    for c, i, j in np.ndindex(len(x), b, b):
        spans, area = [], 1
        for q, n, k, p in zip((i, j), x.shape[1:], kernel, pads, strict=True):
            start = q * k - p
            end = min(start + k, n + p)
            area *= end - start
            spans.append(slice(max(start, 0), min(end, n)))
        window = x[(c, *spans)]
        row.append(window.max() if mode == "max" else window.sum() / area)
    return np.array(row)


@pytest.mark.parametrize("mode", ["max", "avg"])
@pytest.mark.parametrize(("n", "parts"), [(7, 4), (9, 4), (9, 2), (13, 4), (8, 4), (11, 5), (5, 1)])
@pytest.mark.parametrize("backend", ["numpy", None])
def test_padded_pyramids_are_caffes(mode: str, n: int, parts: int, backend: Any) -> None:
    x = normal(2, 3, n, n + parts).astype(np.float32)
    if backend is None:
        y = F.spatial_pyramid_pool2d(cr.tensor(x), [parts], mode, padded=True)
    else:
        with cr.use_backend(backend):
            y = F.spatial_pyramid_pool2d(cr.tensor(x), [parts], mode, padded=True)
    for row, image in zip(y.numpy(), x, strict=True):
        np.testing.assert_allclose(row, caffe_oracle(image, parts, mode), rtol=2e-6, atol=1e-6)
    if (n % parts, (n + parts) % parts) == (0, 0):
        same = F.spatial_pyramid_pool2d(cr.tensor(x), [parts], mode)
        np.testing.assert_allclose(y.numpy(), same.numpy(), rtol=1e-6, atol=1e-6)


def test_pyramids_of_sequences_and_volumes() -> None:
    x = normal(2, 3, 7)
    y = F.spatial_pyramid_pool1d(cr.tensor(x), (1, 2), "avg").numpy()
    for c in range(3):
        np.testing.assert_allclose(y[:, c], x[:, c].mean(1), rtol=1e-12)
        halves = np.stack([x[:, c, :4].mean(1), x[:, c, 3:].mean(1)], 1)
        np.testing.assert_allclose(y[:, 3 + 2 * c : 5 + 2 * c], halves, rtol=1e-12)
    z = cr.tensor(normal(0, 2, 4, 5, 6), requires_grad=True)
    F.spatial_pyramid_pool3d(z, 2).sum().backward()
    assert z.grad is not None
    assert F.spatial_pyramid_pool3d(z, 2, padded=True).shape == (0, 2 * 9)


@pytest.mark.parametrize("d", [1, 2, 3])
@pytest.mark.parametrize("divisor", [None, 1])
def test_subsampling_by_a_loop(d: int, divisor: int | None) -> None:
    x, w, b = normal(2, 3, *SIZES[d]), normal(3, seed=1), normal(3, seed=2)
    leaves = [leaf(v) for v in (x, w, b)]
    subsample = getattr(F, f"subsampling{d}d")
    y = subsample(*leaves, 2, 3, divisor)
    gy = normal(*y.shape, seed=3)
    y.backward(cr.tensor(gy))
    by = divisor or 2**d
    expected, gx, gw = np.zeros(y.shape), np.zeros(x.shape), np.zeros(3)
    for n, c, *place in np.ndindex(*y.shape):
        window = (n, c, *(slice(3 * i, 3 * i + 2) for i in place))
        at = (n, c, *place)
        expected[at] = w[c] * x[window].sum() / by + b[c]
        gx[window] += gy[at] * w[c] / by
        gw[c] += gy[at] * x[window].sum() / by
    np.testing.assert_allclose(y.detach().numpy(), expected, rtol=1e-12)
    for t, g in zip(leaves, (gx, gw, np.moveaxis(gy, 1, 0).reshape(3, -1).sum(1)), strict=True):
        assert t.grad is not None
        np.testing.assert_allclose(t.grad.numpy(), g, rtol=1e-12, atol=1e-14)
    bare = subsample(*leaves[:2], None, 2, 3, divisor).detach().numpy()
    np.testing.assert_allclose(bare, expected - b.reshape(3, *(1,) * d), rtol=1e-10, atol=1e-14)


def test_subsampling_layer_is_lenets() -> None:
    """S2 has 6 weights and 6 biases; it begins as plain average pooling."""
    layer = cr.nn.SubSampling2d(6, 2)
    x = cr.randn(2, 6, 28, 28)
    assert sum(p.numel() for p in layer.parameters()) == 12
    assert layer(x).shape == (2, 6, 14, 14)
    np.testing.assert_allclose(layer(x).detach(), F.avg_pool2d(x, 2), rtol=1e-6, atol=1e-7)
    summing = cr.nn.SubSampling2d(6, (2, 1), (1, 2), bias=False, divisor_override=1)
    assert [n for n, _ in summing.named_parameters()] == ["weight"]
    np.testing.assert_allclose(
        summing(x).detach(), F.avg_pool2d(x, (2, 1), (1, 2), divisor_override=1), rtol=1e-6
    )


# What they share


def test_places_in_memory() -> None:
    assert memory_steps((2, 3, 4), (0, 1, 2)) == (12, 4, 1)
    assert memory_steps((2, 3, 4), (0, 2, 1)) == (12, 1, 3)
    windows = FractionalMaxPool((2, 2), (1, 1))._windows((5, 6))
    assert entry_offsets(windows, (6, 1)).tolist() == [0, 1, 6, 7]


def test_one_or_each() -> None:
    assert one_or_each(3, 2, "x") == one_or_each([3, 3], 2, "x") == (3, 3)
    assert one_or_each((4,), 1, "x") == (4,)
    with pytest.raises(cr.ShapeError, match="x: expected an integer or a tuple of 2, not of 1"):
        one_or_each((3,), 2, "x")


def test_root_at_zero_and_beyond() -> None:
    (y,), saved = Root(0.5, 2).forward(np, np.array([0.0, 2.0, -2.0, INF]))
    np.testing.assert_equal(y, [0, 2, NAN, INF])
    (gx,) = Root(0.5, 2).backward(np, saved, np.array([NAN, 1.0, 1.0, 1.0]), (True,))
    np.testing.assert_equal(gx, [0, 0.5, NAN, 0])


X, U = np.zeros((2, 3, 6, 7)), cr.full((2, 3, 2), 0.5, dtype=cr.float64)
INDEX = cr.zeros(2, 3, 6, 7, dtype=cr.int64)
ONES = cr.ones(3, dtype=cr.float64)


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda x: F.lp_pool2d(x, 0, 2), cr.ShapeError, "norm_type other than 0"),
        (lambda x: F.lp_pool2d(x, "2", 2), cr.KindError, "lp_pool2d norm_type: expected a number"),
        (lambda x: F.lp_pool2d(x, 2, (2,)), cr.ShapeError, "a tuple of 2, not of 1; got value"),
        (lambda x: F.lp_pool2d(x, 2, 9), cr.ShapeError, r"\(6 \+ 2\*0 - 9\)/9 \+ 1 = "),
        (lambda x: F.lp_pool2d(x, 2, 2, 0), cr.ShapeError, "lp_pool2d: .*stride of at least 1"),
        (lambda x: F.lp_pool2d(x, 2, 2, ceil_mode=1), cr.KindError, "lp_pool2d ceil_mode"),
        (lambda x: F.lp_pool1d(x[0], 2, (2,)), cr.KindError, "lp_pool1d kernel_size: expected an"),
        (lambda x: F.lp_pool3d(x[0], 2, 2), cr.ShapeError, r"\(C, D, H, W\) or \(N, C, D, H, W\)"),
        (lambda x: F.fractional_max_pool2d(x, 2), cr.ShapeError, "output_size or an output_ratio"),
        (lambda x: F.fractional_max_pool2d(x, 0, 2), cr.ShapeError, "kernel_size of at least 1"),
        (lambda x: F.fractional_max_pool2d(x, 2, -1), cr.ShapeError, "output_size of at least 0"),
        (lambda x: F.fractional_max_pool2d(x, 2, 6), cr.ShapeError, r"6 \+ 2 - 1 <= 6"),
        (lambda x: F.fractional_max_pool3d(x, 2, 5), cr.ShapeError, r"5 \+ 2 - 1 < 3"),
        (lambda x: F.fractional_max_pool2d(x, 2, (3,)), cr.ShapeError, "tuple of 2, not of 1"),
        (lambda x: F.fractional_max_pool2d(x, 2, None, (0.5,)), IndexError, "or 2 of them, not 1"),
        (lambda x: F.fractional_max_pool2d(x, 2, None, "a"), cr.KindError, "output_ratio: expec"),
        (lambda x: F.fractional_max_pool2d(x[0, 0], 2, 2), IndexError, r"\(C, H, W\) or \(N"),
        (lambda x: F.fractional_max_pool2d(x.long(), 2, 2), TypeError, "floating-point"),
        (lambda x: F.fractional_max_pool2d(x, 2, 2, _random_samples=U[:1]), cr.ShapeError,
         r"_random_samples \(2, 3, 2\), or more along the first axis; got input"),
        (lambda x: F.fractional_max_pool2d(x, 2, 2, _random_samples=U.float()), cr.KindError,
         "_random_samples of the input's dtype"),
        (lambda x: F.fractional_max_pool2d(x, 2, 2, _random_samples=[1]), cr.KindError,
         "fractional_max_pool2d _random_samples: expected a tensor"),
        (lambda x: F.max_unpool2d(x, INDEX[:1], 2), cr.ShapeError, "an index for every value"),
        (lambda x: F.max_unpool2d(x, INDEX.int(), 2), cr.KindError, "int64 indices"),
        (lambda x: F.max_unpool2d(x, INDEX - 1, 2), cr.LabelError, r"\[0, 167\], not -1"),
        (lambda x: F.max_unpool2d(x, INDEX + 168, 2), IndexError, r"\[0, 167\], not 168"),
        (lambda x: F.max_unpool2d(x.long(), INDEX, 2), TypeError, "floating-point"),
        (lambda x: F.max_unpool2d(x, INDEX, 2, output_size=(14, 14)), cr.ShapeError,
         "between 10 and 14, both left out, not 14; got input"),
        (lambda x: F.max_unpool2d(x, INDEX, 2, output_size=(2, 3, 4)), cr.ShapeError,
         "2 or 4 output sizes, not 3"),
        (lambda x: F.max_unpool2d(x, INDEX, 2, output_size=12), cr.KindError, "output_size"),
        (lambda x: F.max_unpool2d(x, INDEX, 1, padding=4), cr.ShapeError, "at least 0, not -2"),
        (lambda x: F.max_unpool3d(x[None], INDEX[None], 2, 0), cr.ShapeError,
         "stride of at least 1, not 0"),
        (lambda x: F.max_unpool2d(x, INDEX, (2,)), cr.ShapeError, "kernel_size: .*not of 1"),
        (lambda x: F.max_unpool2d(x[0, 0], INDEX[0, 0], 2), cr.ShapeError, "3 or 4 axes"),
        (lambda x: F.max_unpool2d(x[0, 0, 0], INDEX, 2), IndexError, "3 or 4 axes"),
        (lambda x: F.max_unpool2d(x[:, :0], INDEX[:, :0], 2), cr.ShapeError, "axis 1 has size 0"),
        (lambda x: F.global_avg_pool(x[0, 0]), cr.ShapeError, r"\(N, C, L\), .*unsqueeze\(0\)"),
        (lambda x: F.global_max_pool(x[:, :, :0]), cr.ShapeError, "images that are not empty"),
        (lambda x: F.global_avg_pool(x[:, :, :0]), cr.ShapeError, "axis 2 has size 0"),
        (lambda x: F.spatial_pyramid_pool2d(x, 0), cr.ShapeError, "levels of at least 1"),
        (lambda x: F.spatial_pyramid_pool2d(x, ()), cr.ShapeError, r"at least 1; got levels \(\)"),
        (lambda x: F.spatial_pyramid_pool2d(x, 1.5), cr.KindError, "spatial_pyramid_pool2d levels"),
        (lambda x: F.spatial_pyramid_pool2d(x, 1, "mean"), cr.ShapeError, "got mode 'mean'"),
        (lambda x: F.spatial_pyramid_pool3d(x[0], 1), cr.ShapeError, r"\(C, D, H, W\) or"),
        (lambda x: F.spatial_pyramid_pool2d(x, [5], padded=True), cr.ShapeError,
         "6 in 5 windows of 2 needs 2; got input .*padded=False"),
        (lambda x: F.subsampling2d(x, ONES[:2], None, 2), cr.ShapeError,
         "subsampling2d: expected a weight for each of 3 channels; got input"),
        (lambda x: F.subsampling2d(x, ONES, ONES[:1], 2), cr.ShapeError, "a bias for each of 3"),
        (lambda x: F.subsampling2d(x, ONES, None, 2, divisor_override=0), cr.ShapeError, "than 0"),
        (lambda x: F.subsampling2d(x, ONES, None, 9), cr.ShapeError, r"\(6 \+ 2\*0 - 9\)/9"),
        (lambda x: F.subsampling2d(x.long(), ONES, None, 2), TypeError, "floating-point"),
        (lambda x: F.subsampling2d(x, None, None, 2), cr.KindError, "subsampling2d weight"),
        (lambda x: cr.nn.FractionalMaxPool2d(2), ValueError, "either an output_size or"),
        (lambda x: cr.nn.FractionalMaxPool2d(2, 3, 0.5), ValueError, "either an output_size or"),
        (lambda x: cr.nn.FractionalMaxPool3d(2, None, (0.5, 0.5, 1.0)), ValueError, "between 0"),
        (lambda x: cr.nn.FractionalMaxPool3d(2, None, (0.5, 0.5)), ValueError, "or 3 of them"),
        (lambda x: cr.nn.FractionalMaxPool2d(0, 3), ValueError, "kernel_size of at least 1"),
        (lambda x: cr.nn.MaxUnpool2d("2"), TypeError, "MaxUnpool2d kernel_size"),  # type: ignore[arg-type]
        (lambda x: cr.nn.SubSampling2d(-1, 2), ValueError, "SubSampling2d num_channels"),
        (lambda x: cr.nn.SubSampling2d(4, 2, dtype=cr.float64)(x), ValueError, "3 channels"),
    ],
)  # fmt: skip
def test_errors(call: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text) as caught:
        call(cr.tensor(X))
    assert isinstance(caught.value, cr.ChainruleError)
