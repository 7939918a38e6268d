"""Attention, and the rotation that tells it places."""

from __future__ import annotations

from math import sqrt
from typing import Any

import numpy as np

from chainrule.engine.op import Array
from chainrule.engine.tensor import Tensor
from chainrule.errors import DataError
from chainrule.formats.onnx.reading.table import Node, integers, need_floating, reads
from chainrule.formats.onnx.tensors import DTYPES, kind_name
from chainrule.nn import functional as F
from chainrule.ops.cast import cast
from chainrule.ops.elementwise import add, mul, sub
from chainrule.ops.join import cat, stack
from chainrule.ops.matmul import matmul
from chainrule.ops.pad import pad
from chainrule.ops.permute import permute, transpose
from chainrule.ops.repeat import repeat_interleave
from chainrule.ops.select import where
from chainrule.ops.shape import reshape, unsqueeze


def _precision(n: Node) -> str | None:
    kind = n.get("softmax_precision")
    return f"softmax in {kind_name(kind)}" if kind and kind not in DTYPES else None


@reads("Attention", since="23 24 25", check=_precision)
def _attention(
    n: Node,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    mask: Tensor | None = None,
    past_k: Tensor | None = None,
    past_v: Tensor | None = None,
    lengths: Tensor | None = None,
) -> tuple[Tensor, ...]:
    """Mix values by how much their keys agree with each query (Vaswani et al., 2017)."""
    need_floating(n, q, k, v)
    flat = q.ndim == 3
    if flat:
        heads, kv_heads = n.get("q_num_heads"), n.get("kv_num_heads")
        if not heads or not kv_heads:
            raise DataError(f"onnx: {n}: q_num_heads and kv_num_heads say how 3 axes are divided")
        q, k, v = _heads(q, heads), _heads(k, kv_heads), _heads(v, kv_heads)
    if past_k is not None and past_v is not None:
        k, v = cat((past_k, k), 2), cat((past_v, v), 2)
    present = k, v
    groups = q.shape[1] // k.shape[1]
    if groups > 1:
        k, v = repeat_interleave(k, groups, 1), repeat_interleave(v, groups, 1)
    scale = n.get("scale")
    factor = sqrt(scale if scale is not None else 1 / sqrt(q.shape[3]))
    scores = matmul(mul(q, factor), mul(transpose(k, 2, 3), factor))
    allowed = _allowed(n, q.shape[2], k.shape[2], past_k, lengths)
    y, shown = _mixed(n, scores, v, mask, allowed)
    if flat:
        y = reshape(transpose(y, 1, 2), (y.shape[0], y.shape[2], -1))
    return y, *present, shown


def _heads(x: Tensor, heads: int) -> Tensor:
    """Divide (N, L, heads * size) into heads: (N, heads, L, size)."""
    return transpose(reshape(x, (x.shape[0], x.shape[1], heads, -1)), 1, 2)


def _allowed(
    n: Node, queries: int, keys: int, past: Tensor | None, lengths: Tensor | None
) -> Array:
    """Tell which keys each query may see: (queries, keys), or (N, 1, queries, keys)."""
    i, j = np.arange(queries)[:, None], np.arange(keys)
    offset: Any = past.shape[2] if past is not None else 0
    if past is None and lengths is not None:
        offset = lengths.array.reshape(-1, 1, 1, 1).astype(np.int64) - queries
    ahead = j - (i + offset)
    found = np.ones(ahead.shape, bool)
    if n.flag("is_causal"):
        found &= ahead <= 0
    left, right = n.get("left_window_size", -1), n.get("right_window_size", -1)
    if left >= 0:
        found &= -ahead <= left
    if right >= 0:
        found &= ahead <= right
    if lengths is not None:
        found = found & (j < lengths.array.reshape(-1, 1, 1, 1))
    return found


def _mixed(
    n: Node, scores: Tensor, v: Tensor, mask: Tensor | None, allowed: Array
) -> tuple[Tensor, Tensor]:
    """Give the mixed values, and the stage of the scores that the node wants to show."""
    cap, mode = n.get("softcap", 0.0), n.get("qk_matmul_output_mode", 0)
    shown = scores
    keys, low = scores.shape[3], Tensor(np.array(-np.inf, scores.dtype))
    if mask is not None and mask.shape[-1] < keys:
        width = keys - mask.shape[-1]
        if mask.dtype.kind == "b":
            mask = pad(mask.to(np.uint8), (0, width)).to(np.bool_)
        else:
            mask = pad(mask, (0, width), value=-np.inf)
    if mask is not None and mask.dtype.kind == "b":
        allowed, mask = allowed & mask.array, None
    if cap > 0:
        scores = mul(F.tanh(scores / cap), cap)
        shown = scores if mode else shown
    biased = scores if mask is None else add(scores, mask)
    biased = biased if allowed.all() else where(Tensor(allowed), biased, low)
    if mode == 2:
        shown = biased
    seen = allowed if mask is None else allowed & ~np.isneginf(mask.array)
    blind = np.broadcast_to(~seen.any(-1, keepdims=True), (*biased.shape[:3], 1))
    kind = n.get("softmax_precision")
    wide = cast(biased, DTYPES[kind]) if kind else biased
    if blind.any():  # a query that sees nothing gives 0
        wide = where(Tensor(blind), Tensor(np.zeros((), wide.dtype)), wide)
    shares = cast(F.softmax(wide, -1), v.dtype)
    if blind.any():
        shares = where(Tensor(blind), Tensor(np.zeros((), shares.dtype)), shares)
    return matmul(shares, v), shares if mode == 3 else shown


@reads("RotaryEmbedding", since="23", settings=(1, 2))
def _rotary(
    n: Node, x: Tensor, cosines: Tensor, sines: Tensor, places: Tensor | None = None
) -> Tensor:
    """Turn pairs of features by angles that grow with the place (Su et al., 2021)."""
    need_floating(n, x)
    y = (
        permute(x, (0, 2, 1, 3))
        if x.ndim == 4
        else reshape(x, (*x.shape[:2], n.get("num_heads"), -1))
    )
    turned = n.get("rotary_embedding_dim", 0) or y.shape[3]
    if places is not None:
        rows = Tensor(np.array(integers(places), np.int64).reshape(places.shape))
        cosines, sines = cosines[rows], sines[rows]
    cosines, sines = unsqueeze(cosines, 2), unsqueeze(sines, 2)
    part, rest = y[..., :turned], y[..., turned:]
    half = turned // 2
    if n.flag("interleaved"):
        a, b = part[..., 0::2], part[..., 1::2]
    else:
        a, b = part[..., :half], part[..., half:]
    real = sub(mul(cosines, a), mul(sines, b))
    other = add(mul(sines, a), mul(cosines, b))
    if n.flag("interleaved"):
        part = reshape(stack((real, other), -1), part.shape)
    else:
        part = cat((real, other), -1)
    y = cat((part, rest), -1) if rest.shape[-1] else part
    return permute(y, (0, 2, 1, 3)) if x.ndim == 4 else reshape(y, x.shape)
