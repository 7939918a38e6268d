"""Sliding windows in any number of spatial dimensions, shared by convolution and pooling.

Output-size arithmetic, padding, strided windows, im2col and col2im, all on plain arrays.
Settings are tuples with one entry for each spatial dimension; padding is a (before, after) pair
for each.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product
from math import prod
from operator import index
from typing import Any

import numpy as np

from chainrule.engine.op import Array
from chainrule.errors import failure

Sizes = tuple[int, ...]
Pads = tuple[tuple[int, int], ...]

AXES = {1: "L", 2: "H, W", 3: "D, H, W"}
"""How messages name the spatial axes."""


def output_size(
    n: int,
    k: int,
    stride: int = 1,
    padding: int | tuple[int, int] = 0,
    dilation: int = 1,
    ceil_mode: bool = False,
) -> int:
    """Count the windows of size k along an axis of size n; below 1 where none fits.

    floor((n + before + after - dilation*(k - 1) - 1) / stride) + 1.  With `ceil_mode` the division
    rounds up, and a last window that would start beyond the input and the padding before it is
    left out, as PyTorch does.

    Rounding down is Torch 7's, PyTorch's and every convolution's rule.  Caffe's pooling always
    rounds up, `ceil_mode=True` here, as Torch 7's does after `:ceil()`; they leave that last window
    out only where there is padding, and without it pool over nothing if the stride exceeds k.

    >>> from chainrule.ops.window import output_size
    >>> output_size(7, 3), output_size(7, 3, 2, 1), output_size(8, 3, 2, ceil_mode=True)
    (5, 4, 4)
    """
    before, after = (padding, padding) if isinstance(padding, int) else padding
    room = n + before + after - dilation * (k - 1) - 1
    if not ceil_mode:
        return room // stride + 1
    out = -(-room // stride) + 1
    return out - 1 if (out - 1) * stride >= n + before else out


def arithmetic(
    n: int,
    k: int,
    stride: int = 1,
    padding: int | tuple[int, int] = 0,
    dilation: int = 1,
    ceil_mode: bool = False,
) -> str:
    """Write the rule of `output_size` with its numbers, before rounding.

    >>> from chainrule.ops.window import arithmetic
    >>> arithmetic(7, 9)
    '(7 + 2*0 - 9)/1 + 1 = -1'
    >>> arithmetic(7, 3, stride=3, padding=(0, 1), dilation=2)
    '(7 + 0 + 1 - (2*(3 - 1) + 1))/3 + 1 = 2'
    """
    before, after = (padding, padding) if isinstance(padding, int) else padding
    pads = f"2*{before}" if before == after else f"{before} + {after}"
    extent = dilation * (k - 1) + 1
    reach = str(k) if dilation == 1 else f"({dilation}*({k} - 1) + 1)"
    value = (n + before + after - extent) / stride + 1
    rounding = ", rounded up" if ceil_mode and value != int(value) else ""
    return f"({n} + {pads} - {reach})/{stride} + 1 = {value:.4g}{rounding}"


def output_sizes(
    op: Any,
    sizes: Sequence[int],
    kernel: Sizes,
    stride: Sizes,
    padding: Pads,
    dilation: Sizes,
    ceil_mode: bool = False,
    **facts: Any,
) -> Sizes:
    """Count the windows along every axis; raise ShapeError with the arithmetic where none fits.

    `op` and `facts` are those of `errors.failure`.
    """
    out = tuple(
        output_size(*setting, ceil_mode)
        for setting in zip(sizes, kernel, stride, padding, dilation, strict=True)
    )
    if out and min(out) < 1:
        axis = next(i for i, size in enumerate(out) if size < 1)
        setting = (sizes[axis], kernel[axis], stride[axis], padding[axis], dilation[axis])
        rule = f"at least one window along spatial axis {axis}: {arithmetic(*setting, ceil_mode)}"
        hint = "use a smaller kernel, less dilation, more padding or a larger input"
        raise failure(op, rule, hint=hint, **facts)
    return out


def transposed_size(
    n: int,
    k: int,
    stride: int = 1,
    padding: int = 0,
    output_padding: int = 0,
    dilation: int = 1,
) -> int:
    """Give the size along an axis that a transposed convolution makes of n.

    (n - 1)*stride - 2*padding + dilation*(k - 1) + 1 + output_padding: what n windows span, without
    the padding.  With output_padding < stride, `output_size` of it is n.

    >>> from chainrule.ops.window import transposed_size
    >>> transposed_size(4, 3, 2, 1), transposed_size(4, 3, 2, 1, 1)
    (7, 8)
    """
    return (n - 1) * stride - 2 * padding + dilation * (k - 1) + 1 + output_padding


def transposed_sizes(
    op: Any,
    sizes: Sequence[int],
    kernel: Sizes,
    stride: Sizes,
    padding: Sizes,
    output_padding: Sizes,
    dilation: Sizes,
    **facts: Any,
) -> Sizes:
    """Give `transposed_size` for every axis; raise ShapeError with the arithmetic where below 1.

    `op` and `facts` are those of `errors.failure`.
    """
    axes = list(zip(sizes, kernel, stride, padding, output_padding, dilation, strict=True))
    out = tuple(transposed_size(*axis) for axis in axes)
    for axis, size in enumerate(out):
        if size < 1:
            n, k, s, p, more, d = axes[axis]
            reason = f"({n} - 1)*{s} - 2*{p} + {d}*({k} - 1) + 1 + {more} = {size}"
            rule = f"an output of at least 1 along spatial axis {axis}: {reason}"
            raise failure(op, rule, hint="use less padding or a larger kernel", **facts)
    return out


def same_padding(n: int, k: int, stride: int = 1, dilation: int = 1) -> tuple[int, int]:
    """Give the padding (before, after) for ceil(n / stride) windows; what is odd goes last.

    Keras's rule for "same".  At stride 1 it is dilation*(k - 1) in all, which is PyTorch's.

    >>> from chainrule.ops.window import same_padding
    >>> same_padding(5, 3, 2), same_padding(4, 3, 2), same_padding(6, 4)
    ((1, 1), (0, 1), (1, 2))
    """
    out = -(-n // stride)
    total = max(0, (out - 1) * stride + dilation * (k - 1) + 1 - n)
    return total // 2, total - total // 2


def same_pooling(n: int, k: int, stride: int = 1) -> tuple[int, int]:
    """Give (padding, extra): how pooling, whose padding is even, makes the windows of "same".

    In ceil mode the windows are those of `same_padding` but for the first `extra`, which are none
    of them: at stride 1 rounding up adds no window, so that the odd place is added in front.

    >>> from chainrule.ops.window import same_pooling
    >>> same_pooling(5, 3, 2), same_pooling(4, 3, 2), same_pooling(6, 4)
    ((1, 0), (0, 0), (2, 1))
    """
    before, after = same_padding(n, k, stride)
    return (after, after - before) if stride == 1 else (before, 0)


def dropped(
    n: int, k: int, stride: int = 1, padding: int | tuple[int, int] = 0, dilation: int = 1
) -> int:
    """Count the rows (or columns) at the end of the padded axis that no window reaches.

    A 3-wide window at stride 3 fits twice into 7, (7 - 3)/3 + 1 = 2.33, and drops one column.

    >>> from chainrule.ops.window import dropped
    >>> dropped(7, 3, stride=3), dropped(7, 3, stride=2)
    (1, 0)
    """
    before, after = (padding, padding) if isinstance(padding, int) else padding
    room = n + before + after - dilation * (k - 1) - 1
    return n + before + after if room < 0 else room % stride


def pad(xp: Any, x: Array, padding: Pads, value: float = 0) -> Array:
    """Surround the last len(padding) axes with `value`, in the memory order of x.

    Gives x itself where there is nothing to add.
    """
    if not any(before or after for before, after in padding):
        return x
    lead = x.ndim - len(padding)
    shape = x.shape[:lead] + tuple(
        before + n + after for n, (before, after) in zip(x.shape[lead:], padding, strict=True)
    )
    padded = xp.empty_like(x, shape=shape)
    padded.fill(value)
    crop(padded, padding)[...] = x
    result: Array = padded
    return result


def crop(x: Array, padding: Pads) -> Array:
    """View the part of a padded array that is not padding: the inverse of `pad`."""
    sizes = x.shape[x.ndim - len(padding) :]
    inside: Any = [slice(b, n - a) for n, (b, a) in zip(sizes, padding, strict=True)]
    return x[(..., *inside)]


def windows(xp: Any, x: Array, kernel: Sizes, stride: Sizes, dilation: Sizes) -> Array:
    """View every window: (*lead, *spatial) -> (*lead, *out, *kernel), without a copy.

    The view is for reading: where windows overlap, its entries share memory.

    >>> import numpy as np
    >>> from chainrule.ops.window import windows
    >>> windows(np, np.arange(5.0), (2,), (2,), (1,))
    array([[0., 1.],
           [2., 3.]])
    """
    lead = x.ndim - len(kernel)
    out = tuple(
        max(0, output_size(n, k, s, 0, d))
        for n, k, s, d in zip(x.shape[lead:], kernel, stride, dilation, strict=True)
    )
    steps = x.strides[lead:]
    outer = tuple(t * s for t, s in zip(steps, stride, strict=True))
    inner = tuple(t * d for t, d in zip(steps, dilation, strict=True))
    view: Array = xp.lib.stride_tricks.as_strided(
        x, x.shape[:lead] + out + kernel, x.strides[:lead] + outer + inner
    )
    return view


def add_windows(
    xp: Any, image: Array, values: Array, stride: Sizes, padding: Pads, dilation: Sizes
) -> None:
    """Add values (*lead, *out, *kernel) to the image (*lead, *spatial) where `windows` saw them.

    The transpose of padding and taking windows: what falls on the padding is dropped.  `image` is
    written.

    >>> import numpy as np
    >>> from chainrule.ops.window import add_windows
    >>> image = np.zeros(3)
    >>> add_windows(np, image, np.ones((2, 2)), (1,), ((0, 0),), (1,)); image
    array([1., 2., 1.])
    """
    d = len(stride)
    lead = image.ndim - d
    out, kernel = values.shape[lead : lead + d], values.shape[lead + d :]
    apart = all(
        m == 1 or s > t * (k - 1) for m, s, t, k in zip(out, stride, dilation, kernel, strict=True)
    )
    if apart and not any(before or after for before, after in padding):
        view = windows(xp, image, kernel, stride, dilation)
        if view.shape == values.shape:  # no entry of the view shares its place with another
            view += values
            return
    sizes = image.shape[lead:]
    for offset, target, source in taps(kernel, stride, padding, dilation, sizes, out):
        image[source] += values[target + offset]


def taps(
    kernel: Sizes, stride: Sizes, padding: Pads, dilation: Sizes, sizes: Sizes, out: Sizes
) -> Iterator[tuple[Sizes, tuple[Any, ...], tuple[Any, ...]]]:
    """Walk over the kernel's entries: (offset, target, source) of each.

    `x[source]` is what that entry sees of an unpadded array (*lead, *sizes), and `y[target]` the
    windows (*lead, *out) whose entry lies on it and not on the padding.  Entries that see nothing
    but padding are left out.  Both indices start with an Ellipsis.
    """
    cuts = []
    for k, s, (before, _), d, n, m in zip(
        kernel, stride, padding, dilation, sizes, out, strict=True
    ):
        axis = []
        for offset in range(k):
            start = offset * d - before  # where window 0 has this entry
            low, high = max(0, -(start // s)), min(m, (n - 1 - start) // s + 1)
            if low < high:
                first, last = low * s + start, (high - 1) * s + start
                axis.append((offset, slice(low, high), slice(first, last + 1, s)))
        cuts.append(axis)
    for entry in product(*cuts):
        offset, target, source = zip(*entry, strict=True)
        yield offset, (..., *target), (..., *source)


def _settings(d: int, *values: int | Sequence[int]) -> list[Sizes]:
    return [tuple(v) if isinstance(v, Sequence) else (index(v),) * d for v in values]


def im2col(
    x: Array,
    size: int | Sequence[int],
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
    xp: Any = np,
) -> Array:
    """Write every window as a column: (N, C, H, W) -> (N, C*kh*kw, oh*ow), on plain arrays.

    The number of spatial dimensions is that of `size` (two for an int); the axes before them are
    [N,] C, or none for a bare image, whose columns are (kh*kw, oh*ow).  Windows and entries are in
    row order; Matlab's column order is that of the transposed image.  A window that does not
    fit raises ShapeError; rows and columns that no window reaches are left out.

    >>> import numpy as np
    >>> from chainrule.ops.window import im2col
    >>> im2col(np.arange(6.0).reshape(2, 3), 2)
    array([[0., 1.],
           [1., 2.],
           [3., 4.],
           [4., 5.]])
    """
    d = len(size) if isinstance(size, Sequence) else 2
    k, s, p, t = _settings(d, size, stride, padding, dilation)
    pads = tuple((q, q) for q in p)
    lead = x.ndim - d
    if lead < 0:
        raise failure("im2col", f"at least {d} axes", x=x)
    out = output_sizes("im2col", x.shape[lead:], k, s, pads, t, x=x)
    view = windows(xp, pad(xp, x, pads), k, s, t)
    view = view.transpose(*range(lead), *range(lead + d, lead + 2 * d), *range(lead, lead + d))
    rows = prod(k) * (x.shape[lead - 1] if lead else 1)
    columns: Array = xp.array(view, order="C")
    return columns.reshape(*x.shape[: max(lead - 1, 0)], rows, prod(out))


def col2im(
    columns: Array,
    shape: Sequence[int],
    size: int | Sequence[int],
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
    xp: Any = np,
) -> Array:
    """Add columns back to where `im2col` took them: the transpose of im2col, its gradient.

    `shape` is that of the image, (N, C, H, W), (C, H, W) or (H, W); where windows overlap
    their entries add up.  ShapeError if the columns are not those of such an image.

    >>> import numpy as np
    >>> from chainrule.ops.window import col2im
    >>> col2im(np.ones((4, 2)), (2, 3), 2)
    array([[1., 2., 1.],
           [1., 2., 1.]])
    """
    d = len(size) if isinstance(size, Sequence) else 2
    k, s, p, t = _settings(d, size, stride, padding, dilation)
    pads = tuple((q, q) for q in p)
    shape = tuple(shape)
    lead = len(shape) - d
    if lead < 0:
        raise failure("col2im", f"a shape of at least {d} axes", shape=shape)
    out = output_sizes("col2im", shape[lead:], k, s, pads, t, shape=shape)
    rows = prod(k) * (shape[lead - 1] if lead else 1)
    expected = (*shape[: max(lead - 1, 0)], rows, prod(out))
    if columns.shape != expected:
        raise failure("col2im", f"columns {expected} for an image {shape}", columns=columns)
    image: Array = xp.zeros(shape, dtype=columns.dtype)
    values = columns.reshape(shape[:lead] + k + out)
    order = (*range(lead), *range(lead + d, lead + 2 * d), *range(lead, lead + d))
    add_windows(xp, image, values.transpose(order), s, pads, t)
    return image
