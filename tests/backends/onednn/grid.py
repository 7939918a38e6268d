"""Random cases for every operation that has a kernel pair: odd sizes, every setting, every layout.

A draw is (operation, arrays); arrays are float32.  Where an operation ends in a ReLU its inputs
are whole numbers and halves, so that no value before the ReLU is near its kink at 0.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import prod
from typing import Any

import numpy as np

from chainrule.engine.op import OPS, Op, Spec
from chainrule.errors import ShapeError
from tests.layouts import backwards, channels_last, strided

Rng = np.random.Generator
Arrays = tuple[np.ndarray, ...]
Case = tuple[Op, Arrays]

CHANNELS = (1, 2, 3, 5, 16, 17, 32)
SPATIAL = {1: 60, 2: 23, 3: 9}  # the largest size in so many dimensions

GRID: dict[str, Callable[[Rng], Case]] = {}
"""By the operation's class name: how to draw a case."""


def grid(*names: str) -> Callable[[Callable[[Rng, str], Case]], Callable[[Rng, str], Case]]:
    """Register the draw for these operations; it is told for which it draws."""

    def register(draw: Callable[[Rng, str], Case]) -> Callable[[Rng, str], Case]:
        for name in names:
            GRID[name] = lambda rng, name=name: draw(rng, name)
        return draw

    return register


def cases(name: str, count: int, seed: int = 0) -> Iterator[tuple[int, Case]]:
    """Draw so many cases, each from a seed of its own."""
    for number in range(count):
        rng = np.random.default_rng([seed, number])
        while True:
            op, arrays = GRID[name](rng)
            try:
                op.infer(*(Spec(a.shape, a.dtype) for a in arrays))
            except ShapeError:  # a kernel beyond the image: draw again
                continue
            break
        yield number, (op, tuple(map(np.asarray, arrays)))


# Values


def normal(rng: Rng, shape: tuple[int, ...]) -> np.ndarray:
    return rng.standard_normal(shape, np.float32)


def whole(rng: Rng, shape: tuple[int, ...]) -> np.ndarray:
    """Whole numbers from -2 to 2: their sums and products are exact, and ties are many."""
    return rng.integers(-2, 3, shape).astype(np.float32)


def halves(rng: Rng, shape: tuple[int, ...]) -> np.ndarray:
    """Odd multiples of 1/2."""
    return (rng.integers(-2, 2, shape) + 0.5).astype(np.float32)


def balanced(rng: Rng, shape: tuple[int, ...]) -> np.ndarray:
    """Values for each channel in (1, 1.5) or (-1.5, -1): none is near the channel's mean."""
    n, c, *rest = shape
    count = n * prod(rest)
    signs = np.where(np.arange(count) % 2, 1.0, -1.0)
    values = rng.permuted(np.tile(signs, (c, 1)), axis=1) * rng.uniform(1.0, 1.5, (c, count))
    return values.reshape(c, n, *rest).swapaxes(0, 1).astype(np.float32)


def pick(rng: Rng, choices: Any) -> Any:
    return choices[int(rng.integers(len(choices)))]


def sizes(rng: Rng, d: int, least: int = 1) -> tuple[int, ...]:
    return tuple(int(n) for n in rng.integers(least, SPATIAL[d] + 1, d))


def images(rng: Rng, single: float = 0.1) -> tuple[int, ...]:
    """A batch's axis, sometimes none."""
    return () if rng.random() < single else (int(pick(rng, (1, 1, 2, 3))),)


# Layouts


def stretched(a: np.ndarray) -> np.ndarray:
    """The first entry along some axis seen through a stride of 0; the values change."""
    if not a.ndim:
        return a
    axis = a.size % a.ndim
    first = a[(slice(None),) * axis + (slice(0, 1),)]
    return np.broadcast_to(first, a.shape)


def axes_of_one(a: np.ndarray) -> np.ndarray:
    """Axes of size 1 by indexing with None, whose stride is 0."""
    index = tuple(0 if n == 1 else slice(None) for n in a.shape)
    back = tuple(None if n == 1 else slice(None) for n in a.shape)
    return np.ascontiguousarray(a[index])[back] if a.ndim and a.size > 1 else a


def exchanged(a: np.ndarray) -> np.ndarray:
    """The last two axes lie the other way round in memory."""
    return a.swapaxes(-1, -2).copy().swapaxes(-1, -2) if a.ndim > 1 else a


LAYOUTS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "C order": lambda a: np.array(a, order="C"),
    "channels last": channels_last,
    "every other element": strided,
    "negative strides": backwards,
    "Fortran order": lambda a: np.array(a, order="F"),
    "stride 0": stretched,
    "axes of size 1": axes_of_one,
    "the last axes exchanged": exchanged,
}


def laid_out(rng: Rng, a: np.ndarray, plain: float = 0.35) -> np.ndarray:
    """Give the array in a random layout, mostly C order and channels-last; read-only."""
    draw = rng.random()
    name = "C order" if draw < plain else "channels last" if draw < 2 * plain else None
    view = np.asarray(LAYOUTS[name or pick(rng, list(LAYOUTS))](a)).view()
    view.flags.writeable = False
    return view


# One element at a time


def any_shape(rng: Rng, most: int = 5) -> tuple[int, ...]:
    """Up to five axes, odd sizes, one element to some thousands."""
    d = int(rng.integers(0, most + 1))
    if d < 3:
        return tuple(int(n) for n in rng.integers(1, 61, d))
    n, c, *rest = (1, 2, 3)[int(rng.integers(3))], pick(rng, CHANNELS), *sizes(rng, d - 2)
    return (n, c, *(max(1, size // (d - 2)) for size in rest))


@grid("ReLU", "Sigmoid", "Tanh", "Hardsigmoid", "Hardswish", "SiLU", "Mish", "SELU", "LogSigmoid")
def _plain(rng: Rng, name: str) -> Case:
    return OPS[name](), (normal(rng, any_shape(rng)) * pick(rng, (1, 10)),)


@grid("LeakyReLU", "ELU")
def _sloped(rng: Rng, name: str) -> Case:
    setting = pick(rng, (0.01, 0.2, 1.0, 1.7, 0.0, -0.3))
    return OPS[name](setting), (normal(rng, any_shape(rng)),)


@grid("CELU")
def _celu(rng: Rng, name: str) -> Case:
    return OPS[name](pick(rng, (0.3, 1.0, 2.0, -2.0))), (normal(rng, any_shape(rng)),)


@grid("GELU")
def _gelu(rng: Rng, name: str) -> Case:
    how = pick(rng, ("none", "tanh"))
    return OPS[name](how), (normal(rng, any_shape(rng)) * pick(rng, (1, 10)),)


@grid("Hardtanh")
def _hardtanh(rng: Rng, name: str) -> Case:
    limits = pick(rng, ((-1.0, 1.0), (0.0, 6.0), (-0.3, 2.5), (1.0, 1.0), (-np.inf, 1.0)))
    return OPS[name](*limits), (normal(rng, any_shape(rng)) * pick(rng, (1, 10)),)


@grid("Hardshrink", "Softshrink", "Threshold")
def _shrinking(rng: Rng, name: str) -> Case:
    settings = (pick(rng, (0.5, 1.0, 0.0)), pick(rng, (0.0, -3.0)))
    return OPS[name](*settings[: 1 + (name == "Threshold")]), (normal(rng, any_shape(rng)),)


@grid("Softplus")
def _softplus(rng: Rng, name: str) -> Case:
    settings = pick(rng, (0.5, 1.0, 3.0, -1.5)), pick(rng, (20.0, 20.0, 30.0, 5.0))
    return OPS[name](*settings), (normal(rng, any_shape(rng)) * pick(rng, (1, 10)),)


@grid("PReLU")
def _prelu(rng: Rng, name: str) -> Case:
    x = normal(rng, any_shape(rng))
    channels = x.shape[1] if x.ndim > 1 else 1
    return OPS[name](), (x, normal(rng, pick(rng, ((), (1,), (channels,), (channels,)))))


@grid("Softmax", "LogSoftmax")
def _softmax(rng: Rng, name: str) -> Case:
    x = normal(rng, any_shape(rng)) * pick(rng, (1, 20))
    return OPS[name](int(rng.integers(max(1, x.ndim)))), (x,)


@grid("Add", "AddReLU")
def _add(rng: Rng, name: str) -> Case:
    shape = any_shape(rng)
    other = pick(rng, (shape,) * 9 + (shape[1:],))
    op = OPS[name](*([pick(rng, (1, 1, 1, 1, 1.0, 2))] if name == "Add" else []))
    return op, (whole(rng, shape), halves(rng, other))


def _broadcasting(rng: Rng) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Two shapes: equal, or one that is stretched along some axes or lacks the first."""
    shape = any_shape(rng)
    thin = tuple(n if rng.random() < 0.5 else 1 for n in shape)
    if rng.random() < 0.3:
        return thin, shape
    return shape, pick(rng, (shape, shape, thin, thin[len(thin) // 2 :], ()))


@grid("Sub", "Mul", "Div", "Extremum")
def _two(rng: Rng, name: str) -> Case:
    first, second = _broadcasting(rng)
    if name == "Extremum":
        kind = pick(rng, ("maximum", "minimum"))
        return OPS[name](kind), (whole(rng, first), whole(rng, second))
    b = normal(rng, second)
    if name == "Div":
        return OPS[name](pick(rng, (None, None, None, "floor"))), (
            normal(rng, first),
            _away(b, 0.5),
        )
    return OPS[name](*([pick(rng, (1, 1, 1, 2))] if name == "Sub" else [])), (normal(rng, first), b)


@grid("Where")
def _where(rng: Rng, name: str) -> Case:
    first, second = _broadcasting(rng)
    mask = rng.random(pick(rng, (first, second))) < 0.5
    return OPS[name](), (mask, normal(rng, first), normal(rng, second))


@grid("Exp", "Abs", "Neg", "Square", "Reciprocal", "Log", "Sqrt", "Rsqrt")
def _function(rng: Rng, name: str) -> Case:
    x = _away(normal(rng, any_shape(rng)), 0.3)
    x = np.abs(x) if name in ("Log", "Sqrt", "Rsqrt") else x
    return OPS[name](*([pick(rng, (None, None, 2))] if name == "Log" else [])), (x,)


@grid("PowScalar")
def _power(rng: Rng, name: str) -> Case:
    return OPS[name](pick(rng, (2, 3, 4, 5.0, 1.5, -1))), (normal(rng, any_shape(rng)),)


@grid("Clamp")
def _clamp(rng: Rng, name: str) -> Case:
    limits = pick(rng, ((-1.0, 0.5), (None, 0.5), (0.1, None), (1, -1), (np.nan, 1.0)))
    return OPS[name](*limits), (normal(rng, any_shape(rng)),)


@grid("Sum", "Mean", "Var", "VectorNorm", "Extreme")
def _reduction(rng: Rng, name: str) -> Case:
    shape = any_shape(rng) or (5,)
    axes = tuple(i for i in range(len(shape)) if rng.random() < 0.6)
    keep = bool(rng.random() < 0.5)
    x = whole(rng, shape) if name == "Extreme" else normal(rng, shape)
    settings: dict[str, Any] = {
        "Var": (axes, pick(rng, (1, 0, 0.5)), keep, bool(rng.random() < 0.5)),
        "VectorNorm": (axes, pick(rng, (2.0, 2.0, 2.0, 1.0)), keep),
        "Extreme": (pick(rng, ("amax", "amin", "max", "min")), axes, keep),
    }
    return OPS[name](*settings.get(name, (axes, keep))), (x,)


@grid("Cat")
def _cat(rng: Rng, name: str) -> Case:
    shape = list(any_shape(rng) or (3,))
    dim = int(rng.integers(len(shape)))
    arrays = []
    for _ in range(int(rng.integers(1, 5))):
        shape[dim] = int(rng.integers(1, 18))
        arrays.append(normal(rng, tuple(shape)))
    return OPS[name](dim), tuple(arrays)


@grid("Pad")
def _pad(rng: Rng, name: str) -> Case:
    shape = any_shape(rng) or (3,)
    count = int(rng.integers(0, len(shape) + 1))
    pad = tuple(int(n) for n in rng.integers(-2, 4, 2 * count) * (rng.random(2 * count) < 0.6))
    return OPS[name](pad, pick(rng, (0.0, 1.5))), (normal(rng, shape),)


@grid("PadBorder")
def _pad_border(rng: Rng, name: str) -> Case:
    d = int(rng.integers(1, 4))
    shape = (*(2, pick(rng, CHANNELS))[int(rng.integers(2)) :], *sizes(rng, d))
    pad = tuple(int(n) for n in rng.integers(-1, 5, 2 * d) * (rng.random(2 * d) < 0.8))
    return OPS[name](pad, pick(rng, ("reflect", "replicate", "circular"))), (normal(rng, shape),)


@grid("ChannelShuffle")
def _channel_shuffle(rng: Rng, name: str) -> Case:
    groups, each = (int(pick(rng, (1, 2, 3, 4, 8, 16))) for _ in range(2))
    shape = (int(pick(rng, (1, 2, 3))), groups * each, *sizes(rng, int(rng.integers(1, 4))))
    return OPS[name](groups), (normal(rng, shape),)


@grid("PixelShuffle", "PixelUnshuffle")
def _cells(rng: Rng, name: str) -> Case:
    r, (h, w) = int(rng.integers(1, 4)), (int(n) for n in rng.integers(1, 12, 2))
    n, c = int(pick(rng, (1, 2, 3))), pick(rng, CHANNELS)
    shape = (c * r * r, h, w) if name == "PixelShuffle" else (c, h * r, w * r)
    return OPS[name](r), (normal(rng, (*(n,) * int(rng.random() < 0.9), *shape)),)


# Losses


@grid("MSELoss", "L1Loss", "SmoothL1Loss", "HuberLoss")
def _differences(rng: Rng, name: str) -> Case:
    shape = any_shape(rng)
    other = pick(rng, (shape,) * 9 + (shape[1:],))
    width = [] if name in ("MSELoss", "L1Loss") else [pick(rng, (1.0, 0.5, 3.0))]
    op = OPS[name](*width, pick(rng, ("none", "mean", "sum")))
    return op, (whole(rng, shape), halves(rng, other) * np.float32(pick(rng, (1, 0.3))))


@grid("BinaryCrossEntropyWithLogits", "SoftMarginLoss")
def _logistic(rng: Rng, name: str) -> Case:
    x = normal(rng, any_shape(rng)) * pick(rng, (1, 10))
    t = rng.random(x.shape, np.float32)
    odd = rng.random() < 0.1
    weights = (1 + t,) if odd and name[0] == "B" else ()
    t = t[0] if odd and name[0] == "S" and t.ndim else t
    return OPS[name](pick(rng, ("none", "mean", "sum"))), (x, t, *weights)


@grid("PairwiseDistance")
def _distance(rng: Rng, name: str) -> Case:
    x = normal(rng, any_shape(rng, 3) or (5,))
    other = pick(rng, (x.shape,) * 9 + (x.shape[1:],))
    settings = pick(rng, (2.0,) * 9 + (3.0,)), pick(rng, (1e-6, 0.1)), bool(rng.random() < 0.3)
    return OPS[name](*settings), (x, normal(rng, other))


# Along an axis


@grid("CumSum", "CumProd")
def _running(rng: Rng, name: str) -> Case:
    x = normal(rng, any_shape(rng) or (3,))
    x = _away(x * np.float32(0.3), 0.7) if name == "CumProd" else x
    if name == "CumProd" and rng.random() < 0.1:
        x.flat[int(rng.integers(x.size))] = 0
    return OPS[name](int(rng.integers(x.ndim))), (x,)


def _once(rng: Rng, shape: tuple[int, ...]) -> np.ndarray:
    """No value comes twice, so that their order is certain."""
    size = prod(shape)
    return ((rng.permutation(size) - size // 2) * 0.37).astype(np.float32).reshape(shape)


@grid("Sort", "TopK")
def _ordered(rng: Rng, name: str) -> Case:
    x = _once(rng, any_shape(rng, 3) or (3,))
    dim = int(rng.integers(x.ndim))
    if name == "Sort":
        return OPS[name](dim, bool(rng.random() < 0.5)), (x,)
    k = 0 if rng.random() < 0.05 else int(rng.integers(1, x.shape[dim] + 1))
    return OPS[name](k, dim, bool(rng.random() < 0.5)), (x,)


@grid("Gather", "IndexSelect")
def _by_index(rng: Rng, name: str) -> Case:
    x = normal(rng, any_shape(rng, 3) or (3,))
    dim, count = int(rng.integers(x.ndim)), int(rng.integers(1, 40))
    shape = [count]
    if name == "Gather":
        shape = list(x.shape)
        shape[dim] = count
        if rng.random() < 0.2:
            shape[dim - 1] = int(rng.integers(1, shape[dim - 1] + 1))
    index = rng.integers(0, x.shape[dim], shape)
    return OPS[name](dim), (x, index.astype(pick(rng, (np.int64, np.int32))))


@grid("Embedding", "EmbeddingBag")
def _table(rng: Rng, name: str) -> Case:
    w = normal(rng, (int(rng.integers(1, 20)), int(rng.integers(1, 300))))
    padding, often = int(rng.integers(-1, len(w))), bool(rng.random() < 0.1)
    if name == "Embedding":
        shape = tuple(int(n) for n in rng.integers(1, 12, int(rng.integers(0, 3))))
        return OPS[name](padding, often), (rng.integers(0, len(w), shape), w)
    count = int(rng.integers(1, 60))
    offsets = np.sort(rng.integers(0, count + 1, int(rng.integers(1, 10))))
    offsets[0] = 0
    i = rng.integers(0, len(w), count)
    mode = pick(rng, ("sum", "mean", "mean", "sum", "max"))
    weights = (normal(rng, i.shape),) if mode == "sum" and rng.random() < 0.2 else ()
    return OPS[name](mode, often, False, padding), (i, offsets, w, *weights)


# Products


@grid("Linear")
def _linear(rng: Rng, name: str) -> Case:
    lead = tuple(int(n) for n in rng.integers(1, 20, int(rng.integers(0, 3))))
    inner, out = (int(n) for n in rng.integers(1, 61, 2))
    arrays = normal(rng, (*lead, inner)), normal(rng, (out, inner)), normal(rng, (out,))
    return OPS[name](), arrays[: int(rng.integers(2, 4))]


@grid("Matmul")
def _matmul(rng: Rng, name: str) -> Case:
    lead = tuple(int(n) for n in rng.integers(1, 5, int(rng.integers(0, 4))))
    m, k, n = (int(n) for n in rng.integers(1, 61, 3))
    other = pick(rng, (lead,) * 6 + (lead[1:], (1,) * len(lead)))
    return OPS[name](), (normal(rng, (*lead, m, k)), normal(rng, (*other, k, n)))


# Windows


def _pads(rng: Rng, d: int, most: tuple[int, ...], even: bool) -> tuple[tuple[int, int], ...]:
    before = [int(rng.integers(0, m + 1)) for m in most]
    after = before if even else [int(rng.integers(0, m + 1)) for m in most]
    return tuple(zip(before, after, strict=True))


@grid("Conv", "ConvReLU")
def _conv(rng: Rng, name: str) -> Case:
    d = int(pick(rng, (1, 2, 2, 2, 3)))
    kernel = tuple(int(n) for n in rng.integers(1, (0, 8, 6, 4)[d], d))
    stride = tuple(int(pick(rng, (1, 1, 2, 3, k + 1))) for k in kernel)
    spread = tuple(int(pick(rng, (1, 1, 1, 2, 3))) for _ in kernel)
    padding = _pads(rng, d, kernel if rng.random() < 0.7 else (0,) * d, rng.random() < 0.5)
    groups = int(pick(rng, (1, 1, 1, 2, 3, 5, 16, 17)))
    per = 1 if groups > 2 and rng.random() < 0.6 else int(pick(rng, (1, 2, 3, 8)))
    c, o = groups * per, groups * (per if rng.random() < 0.5 else int(pick(rng, (1, 2, 3, 8))))
    if groups == 1:
        c, o = pick(rng, CHANNELS), pick(rng, CHANNELS)
    draw = whole if name == "ConvReLU" else normal
    x, w = draw(rng, (*images(rng), c, *sizes(rng, d))), draw(rng, (o, c // groups, *kernel))
    bias = (halves(rng, (o,)),) if rng.random() < 0.5 else ()
    return OPS[name](stride, padding, spread, groups), (x, w, *bias)


@grid("ConvTranspose")
def _conv_transpose(rng: Rng, name: str) -> Case:
    d = int(pick(rng, (1, 2, 2, 2, 3)))
    kernel = tuple(int(n) for n in rng.integers(1, (0, 8, 6, 4)[d], d))
    stride = tuple(int(pick(rng, (1, 2, 2, 3, k))) for k in kernel)
    spread = tuple(int(pick(rng, (1, 1, 1, 2, 3))) for _ in kernel)
    padding = tuple(int(rng.integers(0, k)) for k in kernel)
    more = tuple(int(rng.integers(0, max(s, t))) for s, t in zip(stride, spread, strict=True))
    groups = int(pick(rng, (1, 1, 1, 2, 3, 16)))
    per = 1 if groups > 2 and rng.random() < 0.6 else int(pick(rng, (1, 2, 3, 8)))
    c, o = groups * per, groups * (per if rng.random() < 0.5 else int(pick(rng, (1, 2, 3, 8))))
    if groups == 1:
        c, o = pick(rng, CHANNELS), pick(rng, CHANNELS)
    image = tuple(1 + n // 3 for n in sizes(rng, d))
    x, w = normal(rng, (*images(rng), c, *image)), normal(rng, (c, o // groups, *kernel))
    bias = (normal(rng, (o,)),) if rng.random() < 0.5 else ()
    return OPS[name](stride, padding, more, spread, groups), (x, w, *bias)


def _pool(rng: Rng) -> tuple[int, tuple[tuple[int, ...], ...]]:
    d = int(pick(rng, (1, 2, 2, 2, 3)))
    kernel = tuple(int(n) for n in rng.integers(1, (0, 8, 6, 4)[d], d))
    stride = tuple(int(pick(rng, (1, 2, 3, k, k, k + 1))) for k in kernel)
    padding = tuple(int(rng.integers(0, k // 2 + 1)) for k in kernel)
    return d, (kernel, stride, padding)


@grid("MaxPool", "ReLUMaxPool")
def _max_pool(rng: Rng, name: str) -> Case:
    d, settings = _pool(rng)
    spread = (1,) * d if rng.random() < 0.85 else tuple(int(n) for n in rng.integers(1, 4, d))
    ceil = bool(rng.random() < 0.4)
    indices = [bool(rng.random() < 0.2)] if name == "MaxPool" else []
    shape = (*images(rng), pick(rng, CHANNELS), *sizes(rng, d))
    draw = whole if rng.random() < 0.4 else normal
    return OPS[name](*settings, spread, ceil, *indices), (draw(rng, shape),)


@grid("AvgPool")
def _avg_pool(rng: Rng, name: str) -> Case:
    d, settings = _pool(rng)
    more = bool(rng.random() < 0.4), bool(rng.random() < 0.5), pick(rng, (None,) * 9 + (3,))
    shape = (*images(rng), pick(rng, CHANNELS), *sizes(rng, d))
    return OPS[name](*settings, *more), (normal(rng, shape),)


@grid("AdaptiveAvgPool", "AdaptiveMaxPool")
def _adaptive(rng: Rng, name: str) -> Case:
    d = int(pick(rng, (1, 2, 2, 3)))
    size = sizes(rng, d)
    divisors = [[k for k in range(1, n + 1) if n % k == 0] for n in size]
    out: list[Any] = [int(pick(rng, k)) for k in divisors]
    if rng.random() < 0.5:
        out = [int(rng.integers(1, n + 3)) for n in size]
    if rng.random() < 0.2:
        out[0] = None
    indices = [bool(rng.random() < 0.3)] if name == "AdaptiveMaxPool" else []
    draw = whole if rng.random() < 0.4 else normal
    x = draw(rng, (*images(rng), pick(rng, CHANNELS), *size))
    return OPS[name](tuple(out), *indices), (x,)


@grid("Interpolate")
def _interpolate(rng: Rng, name: str) -> Case:
    d = int(pick(rng, (1, 2, 2, 3)))
    mode = pick(rng, ("linear", "nearest", "nearest-exact", "cubic"))
    size = sizes(rng, d)
    out = tuple(int(n) * pick(rng, (1, 2, 2, 3)) for n in size)
    if rng.random() < 0.5:
        out = sizes(rng, d)
    smooth = mode in ("linear", "cubic")
    scales = None
    if rng.random() < 0.3:
        scales = tuple(pick(rng, (2.0, 2.0, 1.5, 3.0)) for _ in size)
        out = tuple(int(n * s) for n, s in zip(size, scales, strict=True))
    more = smooth and bool(rng.random() < 0.15), smooth and d == 2 and bool(rng.random() < 0.1)
    shape = (int(pick(rng, (1, 2, 3))), pick(rng, CHANNELS), *size)
    return OPS[name](out, mode, *more, scales), (normal(rng, shape),)


@grid("GridSample")
def _grid_sample(rng: Rng, name: str) -> Case:
    """Places inside and outside the image, away from kinks."""
    d = int(pick(rng, (2, 2, 3)))
    mode = pick(rng, ("bilinear", "nearest", "bicubic")[: 5 - d])
    op: Any = OPS[name](mode, pick(rng, ("zeros", "border", "reflection")), bool(rng.integers(2)))
    n, size, places = int(pick(rng, (1, 2, 3))), sizes(rng, d), sizes(rng, d)
    along = []
    for m in size[::-1]:
        at = rng.integers(-m, 2 * m, (n, *places)) + rng.uniform(0.1, 0.4, (n, *places))
        along.append(2 * at / max(1, m - 1) - 1 if op.align_corners else (2 * at + 1) / m - 1)
    return op, (normal(rng, (n, pick(rng, CHANNELS), *size)), np.stack(along, -1, dtype=np.float32))


# Normalisation


@grid("BatchNorm", "BatchNormReLU")
def _batch_norm(rng: Rng, name: str) -> Case:
    d = int(pick(rng, (0, 1, 2, 2, 3)))
    c = pick(rng, CHANNELS)
    shape = (int(pick(rng, (1, 2, 3, 5))), c, *(sizes(rng, d) if d else ()))
    training = bool(rng.random() < 0.6)
    draw = balanced if name == "BatchNormReLU" else normal
    rest = [] if training else [normal(rng, (c,)) * 0.1, rng.uniform(0.5, 2, c).astype(np.float32)]
    if rng.random() < 0.7:
        rest += [_away(normal(rng, (c,)), 0.5), normal(rng, (c,)) * np.float32(0.02)]
    return OPS[name](training, pick(rng, (1e-5, 1e-3, 0.1))), (draw(rng, shape), *rest)


def _away(x: np.ndarray, margin: float) -> np.ndarray:
    return x + np.copysign(np.float32(margin), x)


@grid("LocalResponseNorm")
def _lrn(rng: Rng, name: str) -> Case:
    settings = pick(rng, (1e-4, 0.5)), pick(rng, (0.75, 0.75, 0.5, 1.3)), pick(rng, (1.0, 2.0))
    d = int(pick(rng, (2, 2, 2, 2, 1, 3)))
    shape = (int(pick(rng, (1, 2, 3))), pick(rng, CHANNELS), *sizes(rng, d))
    size = int(pick(rng, (1, 3, 5, 5, 5, 7, 4)))
    within = size % 2 == 1 and bool(rng.random() < 0.1)
    return OPS[name](size, *settings, within), (normal(rng, shape),)


@grid("LayerNorm")
def _layer_norm(rng: Rng, name: str) -> Case:
    x = normal(rng, any_shape(rng) or (7,)) * pick(rng, (1, 10)) + pick(rng, (0, 3))
    shape = x.shape[-int(rng.integers(1, x.ndim + 1)) :]
    affine = _affine(rng, shape) if rng.random() < 0.7 else ()
    return OPS[name](shape, pick(rng, (1e-5, 1e-3, 0.1, 0.1, 0.0))), (x, *affine)


@grid("RMSNorm")
def _rms_norm(rng: Rng, name: str) -> Case:
    op, (x, *affine) = _layer_norm(rng, "LayerNorm")
    return OPS[name](op.shape, op.eps), (x, *affine[:1])  # type: ignore[attr-defined]


@grid("Normalize")
def _normalize(rng: Rng, name: str) -> Case:
    x = normal(rng, any_shape(rng) or (7,)) * pick(rng, (1, 10))
    first = int(rng.integers(x.ndim))
    axes = (first,) if rng.random() < 0.9 else tuple(range(x.ndim))
    return OPS[name](axes, pick(rng, (2.0, 2.0, 2.0, 2.0, 1.0)), pick(rng, (1e-12, 0.1, 3.0))), (x,)


@grid("CrossEntropy", "NLLLoss")
def _labelled(rng: Rng, name: str) -> Case:
    x = any_shape(rng, pick(rng, (2, 2, 5))) or (3,)
    classes = x[1] if len(x) > 1 else x[0]
    t = rng.integers(0, classes, (*x[:1], *x[2:]) if len(x) > 1 else ())
    w = (rng.random(classes, np.float32) + np.float32(0.1),)
    w = w if rng.random() < 0.5 and classes > 1 else ()  # of one class the gradient cancels
    ignored = int(rng.integers(classes)) if rng.random() < 0.5 and classes > 1 else -100
    smoothing = (pick(rng, (0.0, 0.0, 0.1, 1.0)),) if name == "CrossEntropy" else ()
    reduction = pick(rng, ("none", "sum", "mean") if ignored < 0 else ("none", "sum"))
    op = OPS[name](reduction, ignored, *smoothing)  # the mean may be one of nothing
    return op, (normal(rng, x) * pick(rng, (1, 20)), np.asarray(t), *w)


@grid("GroupNorm")
def _group_norm(rng: Rng, name: str) -> Case:
    d = int(pick(rng, (0, 1, 2, 2, 3)))
    groups, per = int(pick(rng, (1, 2, 3, 16))), int(pick(rng, (1, 1, 2, 3, 5)))
    shape = (int(pick(rng, (1, 2, 3))), groups * per, *(sizes(rng, d) if d else ()))
    affine = _affine(rng, shape[1:2]) if rng.random() < 0.7 else ()
    return OPS[name](groups, pick(rng, (1e-5, 1e-3, 0.1, 0.1, 0.0))), (normal(rng, shape), *affine)


def _affine(rng: Rng, shape: tuple[int, ...]) -> Arrays:
    """Weight and bias."""
    return _away(normal(rng, shape), 0.5), normal(rng, shape)


# Masks


@grid("Dropout")
def _dropout(rng: Rng, name: str) -> Case:
    shape = any_shape(rng) or (7,)
    how = pick(rng, ("values", "values", "channels", "channels", "one axis"))
    mask = shape if how == "values" else shape[:2] + (1,) * (len(shape) - 2)
    mask = (1, *shape[1:]) if how == "one axis" else mask
    p = pick(rng, (0.2, 0.5, 0.9))
    moved = (0.5, -0.25) if rng.random() < 0.3 else ()
    scale = 0.0 if rng.random() < 0.1 else 1 / p
    return OPS[name](scale, *moved), (normal(rng, shape), rng.random(mask) < p)
