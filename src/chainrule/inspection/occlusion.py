"""What is missed when a part of the image is covered: occlusion maps."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from chainrule.engine.op import Array
from chainrule.errors import expect
from chainrule.inspection.given import counts, real
from chainrule.inspection.scores import Target, as_images, goals, plain_scores, values_at
from chainrule.nn.module import Module
from chainrule.nn.tracing import evaluating
from chainrule.ops.arguments import ntuple

Window = tuple[slice, slice]


def occlusion(
    model: Module,
    images: Any,
    target: Target = None,
    size: Any = 8,
    stride: Any = None,
    fill: Any = 0.0,
    *,
    batch_size: int = 64,
) -> Array:
    """Cover a window at each place and note what the score loses (Zeiler & Fergus, 2014).

    The windows are `size` pixels, (height, width) or one number, `stride` apart (half a window if
    left out); the last of each row and column ends at the edge, so that every pixel is covered, if
    the stride is not beyond the size.  Inside them the image is `fill`: a number, or an array that
    broadcasts to (C, height, width), such as a mean (C, 1, 1).  `batch_size` covered images run at
    a time.  Other arguments, state and errors are those of `saliency`.

    Returns (N, H, W): for each pixel the mean loss of score over the windows that cover it;
    positive where the class was seen; 0 where no window was.

    >>> import chainrule as cr
    >>> net = cr.nn.Sequential(cr.nn.Flatten(), cr.nn.Linear(4, 1, bias=False))
    >>> _ = net[1].load_state_dict({"weight": cr.tensor([[1.0, -2.0, 0.0, 3.0]])})
    >>> occlusion(net, cr.ones(1, 1, 2, 2), target=0, size=1).tolist()
    [[[1.0, -2.0], [0.0, 3.0]]]
    """
    x = as_images("occlusion", model, images)
    windows, (height, width) = _windows(x.shape[2:], size, stride)
    (batch_size,) = counts("occlusion", batch_size=batch_size)
    cover = _cover(fill, (x.shape[1], height, width)).astype(x.dtype)
    lost = np.zeros((len(x), *x.shape[2:]))
    count = np.zeros(x.shape[2:])
    with evaluating(model):
        scores = plain_scores("occlusion", model, x)
        places = goals("occlusion", scores, target)
        whole = values_at(scores, places)
        for image, place, before, losses in zip(x, places, whole, lost, strict=True):
            for some in _batches(windows, batch_size):
                covered = np.repeat(image[None], len(some), axis=0)
                for picture, (rows, columns) in zip(covered, some, strict=True):
                    picture[:, rows, columns] = cover
                after = plain_scores("occlusion", model, covered)
                left = values_at(after, np.full(len(some), place))
                for value, window in zip(before - left, some, strict=True):
                    losses[window] += value
    for window in windows:
        count[window] += 1
    return np.asarray((lost / np.maximum(count, 1)).astype(x.dtype))


def _batches(windows: list[Window], size: int) -> Iterator[list[Window]]:
    for begin in range(0, len(windows), size):
        yield windows[begin : begin + size]


def _windows(
    image: tuple[int, ...], size: Any, stride: Any
) -> tuple[list[Window], tuple[int, ...]]:
    """Give the windows in reading order, and their size."""
    extent = ntuple(size, 2, "occlusion size")
    fits = all(1 <= s <= n for s, n in zip(extent, image, strict=True))
    expect(fits, "occlusion", f"windows from 1x1 to the images' {image}", size=size)
    halves = tuple(max(1, s // 2) for s in extent)
    step = halves if stride is None else ntuple(stride, 2, "occlusion stride")
    expect(min(step) >= 1, "occlusion", "a stride of at least 1", stride=stride)
    rows, columns = (
        [*range(0, n - s, t), n - s] for n, s, t in zip(image, extent, step, strict=True)
    )
    height, width = extent
    found = [(slice(r, r + height), slice(c, c + width)) for r in rows for c in columns]
    return found, extent


def _cover(fill: Any, shape: tuple[int, ...]) -> Array:
    """Give what lies on the image inside a window, (C, height, width)."""
    given = real("occlusion", "fill", fill)
    try:
        return np.broadcast_to(given, shape)
    except ValueError:
        expect(False, "occlusion", f"a fill that broadcasts to {shape}", fill=given)
        raise
