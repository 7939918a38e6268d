"""Fractional max pooling in two and three spatial dimensions: windows at random places."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from chainrule.engine.op import Array, Op, Spec, public
from chainrule.engine.random import Generator, default_generator
from chainrule.engine.sample import Sample, distinct
from chainrule.engine.tensor import Tensor, apply_all, as_tensor, meta_tensor
from chainrule.errors import AxisError, KindError, ShapeError, failure
from chainrule.ops.formulas import need_float, number
from chainrule.ops.pool_windows import (
    Strided,
    allocate,
    channels_last,
    check_axes,
    check_not_empty,
    memory_order,
    one_or_each,
)
from chainrule.ops.pool_winners import entry_offsets, largest, lead_places, memory_steps
from chainrule.ops.window import Sizes


@dataclass(frozen=True)
class FractionalMaxPool(Op):
    """y = the largest entry of windows whose places follow from random samples; gx as in MaxPool.

    Along an axis of n positions window i of m, of size k, begins at trunc((i + u) a) - trunc(u a)
    with a = (n - k) / (m - 1), the last one at n - k.  The samples u are (N, C, axes), which in two
    dimensions hold the width's first, in three the depth's.
    """

    kernel: Sizes
    output_size: Sizes
    indices: bool = False

    def _windows(self, sizes: Sizes) -> list[Strided]:
        """Lay out every window there could be; the samples choose among them."""
        return [Strided(n, n - k + 1, k, 1, 0, 1) for n, k in zip(sizes, self.kernel, strict=True)]

    def infer(self, x: Spec, samples: Spec) -> tuple[Spec, ...]:
        d = len(self.kernel)
        need_float(self, x)
        check_axes(self, x, d)
        check_not_empty(self, x, x.ndim - 1)
        for n, k, m in zip(x.shape[-d:], self.kernel, self.output_size, strict=True):
            if m + k - 1 > n - (d == 3):  # PyTorch's volumes need one more
                sign = "<" if d == 3 else "<="
                numbers = f"{m} + {k} - 1 {sign} {n}"
                rule = f"output_size + kernel_size - 1 {sign} the input's size: {numbers}"
                raise failure(self, rule, input=x)
        images = x.shape[0] if x.ndim == d + 2 else 1
        given, wanted = samples.shape, (x.shape[-d - 1], d)
        if len(given) != 3 or given[1:] != wanted or given[0] < images:
            rule = f"_random_samples ({images}, {wanted[0]}, {d}), or more along the first axis"
            raise failure(self, rule, input=x, _random_samples=samples)
        if samples.dtype != x.dtype:
            rule = "_random_samples of the input's dtype"
            raise failure(self, rule, error=KindError, input=x, _random_samples=samples)
        shape = x.shape[:-d] + self.output_size
        index = (Spec(shape, np.dtype(np.int64), False),) if self.indices else ()
        return (Spec(shape, x.dtype), *index)

    def _starts(self, xp: Any, shape: Sizes, samples: Array) -> list[Array]:
        """Give where the windows begin along each axis: (*lead, 1, ..., windows, ..., 1)."""
        d = len(self.kernel)
        own = samples[: shape[0]] if len(shape) == d + 2 else samples[0]  # (*lead, d)
        real, every = samples.dtype.type, []
        for axis, (n, k, m) in enumerate(
            zip(shape[-d:], self.kernel, self.output_size, strict=True)
        ):
            starts = xp.full((*shape[:-d], m), n - k, np.intp)
            if m > 1:
                u = own[..., 1 - axis if d == 2 else axis, None]  # as PyTorch orders them
                step = real(n - k) / real(m - 1)
                with np.errstate(all="ignore"):
                    begin = xp.trunc((xp.arange(m - 1, dtype=samples.dtype) + u) * step)
                    begin = (begin - xp.trunc(u * step)).astype(np.intp)
                starts[..., :-1] = xp.clip(begin, 0, n - k)
            every.append(starts.reshape(*shape[:-d], *(m if a == axis else 1 for a in range(d))))
        return every

    def forward(self, xp: Any, x: Array, samples: Array) -> tuple[tuple[Array, ...], Any]:
        d = len(self.kernel)
        order = memory_order(x.ndim, d, channels_last(x, d))
        windows, starts = self._windows(x.shape[-d:]), self._starts(xp, x.shape, samples)
        y, code = largest(xp, x, windows, order)
        places = _places(xp, starts, memory_steps(y.shape, order), y.shape)
        y, code = (_taken(xp, v, places, order) for v in (y, code))
        outputs: tuple[Array, ...] = (y,)
        if self.indices:
            steps = memory_steps(x.shape[-d:], range(d))
            outputs = (y, _winners(xp, code, starts, windows, (0,) * (x.ndim - d) + steps, x.shape))
        return outputs, (code, starts, x.shape, order)

    def backward(self, xp: Any, saved: Any, gy: Any, needs: tuple[bool, ...]) -> tuple[Any, ...]:
        code, starts, shape, order = saved
        if not needs[0]:
            return None, None
        g = gy[0] if self.indices else gy
        steps = memory_steps(shape, order)
        windows = self._windows(shape[-len(self.kernel) :])
        index = _winners(xp, code, starts, windows, steps, shape)
        gx = allocate(xp, shape, g.dtype, order, zero=True)
        with np.errstate(all="ignore"):
            memory = gx.transpose(order).reshape(-1)  # a view: this is the order of memory
            xp.add.at(memory, index.transpose(order).reshape(-1), g.transpose(order).reshape(-1))
        return gx, None

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        def u(*shape: int) -> Array:
            return np.random.default_rng(0).uniform(0.05, 0.95, shape)

        yield Sample(cls((2, 2), (3, 3)), distinct(2, 2, 6, 5), u(2, 2, 2))
        yield Sample(cls((3, 2), (2, 4), True), distinct(2, 7, 6), u(1, 2, 2))
        yield Sample(cls((1, 3), (4, 1)), distinct(1, 3, 6, 5), u(2, 3, 2))
        yield Sample(cls((2, 1, 2), (2, 3, 2)), distinct(1, 2, 4, 4, 5), u(1, 2, 3))
        yield Sample(cls((2, 2, 2), (1, 2, 2), True), distinct(2, 3, 4, 4), u(1, 2, 3))


def _places(xp: Any, starts: Sequence[Array], steps: Sequence[int], shape: Sizes) -> Array:
    """Give where each window's first entry lies in memory: (*lead, *windows)."""
    d = len(starts)
    places: Array = lead_places(xp, shape, d, steps)
    for start, step in zip(starts, steps[-d:], strict=True):
        places = places + start * step
    return places


def _winners(
    xp: Any,
    code: Array,
    starts: Sequence[Array],
    windows: Sequence[Strided],
    steps: Sequence[int],
    shape: Sizes,
) -> Array:
    """Give where each window's winner lies in memory."""
    table = xp.asarray(entry_offsets(windows, steps[-len(starts) :]))
    index: Array = xp.take(table, code)
    index += _places(xp, starts, steps, shape)
    return index


def _taken(xp: Any, array: Array, places: Array, order: tuple[int, ...]) -> Array:
    """Take what lies at the places in memory; the result is in the same order."""
    memory = array.transpose(order).reshape(-1)
    found: Array = xp.take(memory, places.transpose(order))
    return found.transpose([order.index(axis) for axis in range(len(order))])


def _sizes(name: str, d: int, x: Tensor, output_size: Any, output_ratio: Any) -> Sizes:
    if output_size is not None:
        return one_or_each(output_size, d, f"{name} output_size")
    if output_ratio is None:
        raise failure(name, "an output_size or an output_ratio, not neither")
    several = isinstance(output_ratio, tuple | list)
    ratios = tuple(output_ratio) if several else (output_ratio,) * d
    if len(ratios) != d:
        kind = AxisError if len(ratios) < d else ShapeError
        rule = f"an output_ratio or {d} of them, not {len(ratios)}"
        raise failure(name, rule, error=kind, output_ratio=output_ratio)
    what = f"{name} output_ratio"
    return tuple(int(n * number(r, what)) for n, r in zip(x.shape[-d:], ratios, strict=True))


def _fractional_max_pool(
    d: int,
    input: Any,
    kernel_size: Any,
    output_size: Any,
    output_ratio: Any,
    samples: Any,
    generator: Generator | None,
    indices: bool,
) -> tuple[Tensor, ...]:
    name = f"fractional_max_pool{d}d"
    x = as_tensor(input)
    check_axes(name, x, d, AxisError if samples is None and x.ndim <= d else ShapeError)
    need_float(name, x)
    kernel = one_or_each(kernel_size, d, f"{name} kernel_size")
    target = _sizes(name, d, x, output_size, output_ratio)
    for what, values, least in (("kernel_size", kernel, 1), ("output_size", target, 0)):
        if min(values) < least:
            raise failure(name, f"{what} of at least {least}, not {min(values)}", given=values)
    if samples is None:
        shape = (x.shape[0] if x.ndim == d + 2 else 1, x.shape[-d - 1], d)
        if x.is_meta:
            samples = meta_tensor(shape, x.dtype)
        else:
            draw = (generator or default_generator()).uniform
            samples = Tensor(draw(shape, x.dtype, 0.0, 1.0))
    u = as_tensor(samples, f"{name} _random_samples").detach()
    return apply_all(FractionalMaxPool(kernel, target, indices), x, u)


@public
def fractional_max_pool2d(
    input: Tensor,
    kernel_size: Any,
    output_size: Any = None,
    output_ratio: Any = None,
    return_indices: bool = False,
    _random_samples: Tensor | None = None,
    *,
    generator: Generator | None = None,
) -> Any:
    """Keep the largest entry of windows at random places, to an output of any size.

    Window i of m along n rows begins at trunc((i + u) a) - trunc(u a), a = (n - kernel)/(m - 1),
    the last at n - kernel, with one u in [0, 1) for each image, channel and axis: steps of two
    lengths in random order.  So an image can shrink by less than a half.  The output's size is
    `output_size`, or floor(output_ratio * size), with output_size + kernel_size - 1 <= size.
    Values, ties, NaN, indices and gradients are those of `max_pool2d`.

    The u are `_random_samples` (N, C, 2), width first, of the input's dtype, or are drawn from
    `generator` (the global one if None).

    Shapes: (N, C, H, W) -> (N, C, *output_size), or without N; N may be 0.
    Source: Graham, Fractional max-pooling (2014).  Raises ShapeError for sizes that do not fit, and
    without output_size and output_ratio; KindError for integer inputs and settings of other kinds.

    >>> import chainrule as cr
    >>> u = cr.tensor([[[0.5, 0.5]]])
    >>> x = cr.arange(25.0).reshape(1, 5, 5)
    >>> cr.nn.functional.fractional_max_pool2d(x, 2, (3, 1), _random_samples=u)
    tensor([[[ 9.0],
             [19.0],
             [24.0]]])
    """
    found = _fractional_max_pool(
        2, input, kernel_size, output_size, output_ratio, _random_samples, generator,
        bool(return_indices),
    )  # fmt: skip
    return found if return_indices else found[0]


@public
def fractional_max_pool2d_with_indices(
    input: Tensor,
    kernel_size: Any,
    output_size: Any = None,
    output_ratio: Any = None,
    return_indices: bool = False,
    _random_samples: Tensor | None = None,
    *,
    generator: Generator | None = None,
) -> tuple[Tensor, ...]:
    """Give (maxima, indices) of `fractional_max_pool2d`, whatever `return_indices` is.

    >>> import chainrule as cr
    >>> x = cr.arange(9.0).reshape(1, 3, 3)
    >>> cr.nn.functional.fractional_max_pool2d_with_indices(x, 2, 2)[1].tolist()
    [[[4, 5], [7, 8]]]
    """
    return _fractional_max_pool(
        2, input, kernel_size, output_size, output_ratio, _random_samples, generator, True
    )


@public
def fractional_max_pool3d(
    input: Tensor,
    kernel_size: Any,
    output_size: Any = None,
    output_ratio: Any = None,
    return_indices: bool = False,
    _random_samples: Tensor | None = None,
    *,
    generator: Generator | None = None,
) -> Any:
    """Keep the largest entry of windows at random places of a volume; as `fractional_max_pool2d`.

    Shapes: (N, C, D, H, W) -> (N, C, *output_size), or without N.  `_random_samples` are
    (N, C, 3), depth first.  A size allows one window less than in an image, as in PyTorch:
    output_size + kernel_size - 1 < size.

    >>> import chainrule as cr
    >>> cr.nn.functional.fractional_max_pool3d(cr.zeros(1, 5, 6, 7), 2, output_ratio=0.6).shape
    (1, 3, 3, 4)
    """
    found = _fractional_max_pool(
        3, input, kernel_size, output_size, output_ratio, _random_samples, generator,
        bool(return_indices),
    )  # fmt: skip
    return found if return_indices else found[0]


@public
def fractional_max_pool3d_with_indices(
    input: Tensor,
    kernel_size: Any,
    output_size: Any = None,
    output_ratio: Any = None,
    return_indices: bool = False,
    _random_samples: Tensor | None = None,
    *,
    generator: Generator | None = None,
) -> tuple[Tensor, ...]:
    """Give (maxima, indices) of `fractional_max_pool3d`, whatever `return_indices` is.

    >>> import chainrule as cr
    >>> x = cr.arange(27.0).reshape(1, 3, 3, 3)
    >>> cr.nn.functional.fractional_max_pool3d_with_indices(x, 2, 1)[1].tolist()
    [[[[26]]]]
    """
    return _fractional_max_pool(
        3, input, kernel_size, output_size, output_ratio, _random_samples, generator, True
    )
