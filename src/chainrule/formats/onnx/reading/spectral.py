"""Fourier transforms, as products with matrices."""

from __future__ import annotations

import numpy as np

from chainrule.engine.tensor import Tensor
from chainrule.formats.onnx.reading.table import Node, axis_of, need_floating, number, reads, refuse
from chainrule.ops.elementwise import add, mul, neg, sub
from chainrule.ops.gather import index_select
from chainrule.ops.join import stack
from chainrule.ops.matmul import matmul
from chainrule.ops.pad import pad
from chainrule.ops.permute import moveaxis
from chainrule.ops.shape import reshape


def _inverse(n: Node) -> str | None:
    return "the inverse transform" if n.flag("inverse") else None


def _turn(length: int, kept: int, real: Tensor, imaginary: Tensor | None) -> Tensor:
    """Transform along the last axis; the result's last axis is (real, imaginary)."""
    angle = 2 * np.pi * (np.outer(np.arange(length), np.arange(kept)) % length) / length
    cosine, sine = (Tensor(f(angle).astype(real.dtype)) for f in (np.cos, np.sin))
    sine = neg(sine)
    a, b = matmul(real, cosine), matmul(real, sine)
    if imaginary is not None:
        a, b = sub(a, matmul(imaginary, sine)), add(b, matmul(imaginary, cosine))
    return stack((a, b), -1)


@reads("DFT", since="17 20", settings=(1, 2), check=_inverse)
def _dft(n: Node, x: Tensor, length: Tensor | None = None, axis: Tensor | None = None) -> Tensor:
    """Transform along an axis; the last axis is (real), or (real, imaginary)."""
    need_floating(n, x)
    given = n.get("axis", 1) if axis is None else int(number(axis))
    given = -2 if n.version >= 20 and axis is None else given
    along = axis_of(n, given, x.ndim)
    parts = [moveaxis(x[..., i], along, -1) for i in range(x.shape[-1])]
    size = parts[0].shape[-1] if length is None else int(number(length))
    parts = [pad(part, (0, size - part.shape[-1])) for part in parts]
    kept = size // 2 + 1 if n.flag("onesided") else size
    y = _turn(size, kept, parts[0], parts[1] if len(parts) > 1 else None)
    return moveaxis(y, -2, along)


@reads("STFT", since="17", settings=(1, 3))
def _stft(
    n: Node, x: Tensor, step: Tensor, window: Tensor | None = None, length: Tensor | None = None
) -> Tensor:
    """Transform frames of a signal (N, L, 1)."""
    need_floating(n, x)
    if x.ndim == 3 and x.shape[2] == 2:
        raise refuse(n, "a complex signal")
    signal = reshape(x, x.shape[:2])
    if window is None and length is None:
        raise refuse(n, "frames of no length")
    size = (
        int(number(length)) if length is not None else window.shape[0] if window is not None else 0
    )
    hop = int(number(step))
    count = (signal.shape[1] - size) // hop + 1
    places = np.arange(count)[:, None] * hop + np.arange(size)
    frames = reshape(index_select(signal, 1, Tensor(places.reshape(-1))), (-1, count, size))
    frames = frames if window is None else mul(frames, window)
    return _turn(size, size // 2 + 1 if n.flag("onesided", 1) else size, frames, None)
