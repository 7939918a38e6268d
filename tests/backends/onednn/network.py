"""A small residual network of fast pairs, from arrays to a loss, for the tests of threads."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np

import chainrule as cr
from chainrule.nn import functional as F

SHAPES = {
    "w1": (16, 3, 3, 3), "b1": (16,), "g1": (16,), "s1": (16,),
    "w2": (16, 16, 3, 3), "g2": (16,), "s2": (16,), "w3": (5, 16), "b3": (5,),
}  # fmt: skip


def parameters(seed: int) -> dict[str, Any]:
    """Draw the network's parameters."""
    rng = np.random.default_rng(seed)
    arrays = {k: rng.standard_normal(s, np.float32) * np.float32(0.2) for k, s in SHAPES.items()}
    for name in ("g1", "g2"):
        arrays[name] += 1
    return {k: cr.tensor(a, requires_grad=True) for k, a in arrays.items()}


def last(a: np.ndarray) -> np.ndarray:
    """Lay out (N, C, H, W) as (N, H, W, C)."""
    return np.moveaxis(np.moveaxis(a, 1, -1).copy(), -1, 1)


def batch(seed: int, count: int = 8, size: int = 20) -> tuple[Any, Any]:
    """Draw images, channels-last, and labels."""
    rng = np.random.default_rng([seed, 1])
    x = last(rng.standard_normal((count, 3, size, size), np.float32))
    return cr.tensor(x), cr.tensor(rng.integers(0, 5, count))


def loss_of(p: dict[str, Any], x: Any, labels: Any) -> Any:
    """Run the network: convolutions, fused norms, a residual sum, pools, a fully connected end."""
    h = F.conv2d(x, p["w1"], p["b1"], padding=1)
    h = F.batch_norm_relu(h, None, None, p["g1"], p["s1"], training=True)
    h = F.max_pool2d(h, 3, 2, 1)
    r = F.conv2d(h, p["w2"], None, padding=1)
    r = F.batch_norm(r, None, None, p["g2"], p["s2"], training=True)
    h = F.add_relu(r, h)
    h = F.adaptive_avg_pool2d(h, 1).flatten(1)
    return F.cross_entropy(F.linear(h, p["w3"], p["b3"]), labels)


def train(seed: int, steps: int = 6, size: int = 20) -> str:
    """Train by hand with SGD and give a digest of every bit of the parameters and losses."""
    with cr.use_backend("onednn"):
        p, told = parameters(seed), hashlib.sha256()
        for step in range(steps):
            loss = loss_of(p, *batch(seed * 100 + step, size=size))
            loss.backward()
            told.update(loss.array.tobytes())
            for name, value in p.items():
                value = cr.tensor(value.array - np.float32(0.05) * value.grad.numpy())
                p[name] = value.requires_grad_()
        for value in p.values():
            told.update(value.array.tobytes())
    return told.hexdigest()
