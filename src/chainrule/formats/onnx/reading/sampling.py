"""Values between pixels."""

from __future__ import annotations

from functools import reduce
from itertools import product

import numpy as np

from chainrule.engine.tensor import Tensor
from chainrule.ops.elementwise import add, mul, sub
from chainrule.ops.gather import gather
from chainrule.ops.shape import reshape, unsqueeze


def bilinear(x: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Read images (N, C, H, W) at places (N, L) between their pixels, zeros around: (N, C, L).

    Gradients go to the images and to the places.
    """
    images, channels, *sizes = x.shape
    flat = reshape(x, (images, channels, sizes[0] * sizes[1]))
    floors = [np.floor(place.array).astype(np.int64) for place in (rows, columns)]
    parts = [
        sub(place, Tensor(whole.astype(place.dtype)))
        for place, whole in zip((rows, columns), floors, strict=True)
    ]
    found = []
    for down, right in product((0, 1), (0, 1)):
        at = floors[0] + down, floors[1] + right
        inside = (at[0] >= 0) & (at[0] < sizes[0]) & (at[1] >= 0) & (at[1] < sizes[1])
        index = np.where(inside, at[0] * sizes[1] + at[1], 0)
        index = np.broadcast_to(index[:, None], (images, channels, index.shape[1]))
        share = mul(parts[0] if down else 1 - parts[0], parts[1] if right else 1 - parts[1])
        share = unsqueeze(mul(share, Tensor(inside.astype(x.dtype))), 1)
        found.append(mul(gather(flat, 2, Tensor(np.ascontiguousarray(index))), share))
    return reduce(add, found)
