"""Guessing from the pattern of wrong derivatives what is wrong with a backward."""

from __future__ import annotations

from typing import Any

import numpy as np

from chainrule.engine.op import Array

Pairs = list[tuple[int, float, float]]  # flat index, analytic, numeric


def likely_cause(values: Array, missing: bool, pairs: Pairs, sizes: dict[int, str]) -> str:
    """Name the mistake whose fingerprint the probes show."""
    places = np.array([p[0] for p in pairs])
    a = np.array([p[1] for p in pairs])
    n = np.array([p[2] for p in pairs])
    if not (np.isfinite(a).all() and np.isfinite(n).all()):
        return "a value that is not finite; run under detect_anomaly() to find where"
    if missing or not a.any():
        return "no gradient arrives: a backward returns None or zeros, or a value was detached"
    if not n.any():
        return "a gradient for something on which the output does not depend"
    return (
        _factor(a, n, sizes)
        or _transposed(values, places, a, n)
        or _region(values, places, a, n)
        or "the formula of the backward"
    )


def _close(a: Array, b: Array) -> bool:
    return bool(np.allclose(a, b, rtol=1e-4, atol=1e-7 * float(np.abs(b).max(initial=0.0))))


def _factor(a: Array, n: Array, sizes: dict[int, str]) -> str:
    """A constant factor between the two."""
    c = float(a @ n) / float(n @ n)
    if len(a) < 2 or not _close(a, c * n):
        return ""
    if abs(c + 1) < 1e-3:
        return "the sign is reversed"
    if abs(c - 1) < 1e-3:
        return ""  # right but for a few elements
    text = f"a constant factor {c:.4g} is too much"
    for value, how in ((c, "a sum that should be a mean"), (1 / c, "a mean taken twice")):
        if abs(value - round(value)) < 1e-3 and round(value) in sizes and round(value) > 1:
            return f"{text}, perhaps {how}: {round(value)} is {sizes[round(value)]}"
    return text


def _transposed(values: Array, places: Array, a: Array, n: Array) -> str:
    if values.ndim < 2 or len(places) != values.size or values.shape[-1] != values.shape[-2]:
        return ""
    full = n.reshape(values.shape)
    if _close(a.reshape(values.shape), np.swapaxes(full, -1, -2)):
        return "the last two axes are exchanged (a transpose too many or too few)"
    flipped = full[..., ::-1, ::-1]
    if _close(a.reshape(values.shape), flipped):
        return "the kernel is rotated by 180 degrees (correlation for convolution or the reverse)"
    return ""


def _region(values: Array, places: Array, a: Array, n: Array) -> str:
    """Wrong in one recognisable part only."""
    wrong = np.abs(a - n) > 1e-4 * np.maximum(np.abs(a), np.abs(n)) + 1e-9
    if wrong.all():
        return ""
    at = values.reshape(-1)[places]
    for name, mask in (("negative", at < 0), ("positive", at > 0), ("zero", at == 0)):
        if mask.any() and np.array_equal(mask, wrong):
            return f"wrong exactly where the value is {name}: the branch for that sign"
    index = np.unravel_index(places, values.shape) if values.ndim else ()
    for axis, along in enumerate(index):
        for name, end in (("first", 0), ("last", values.shape[axis] - 1)):
            if values.shape[axis] > 2 and (along[wrong] == end).all():
                return f"wrong only at the {name} index of axis {axis}: a border or an off-by-one"
    return ""


def readers(outputs: list[Any], tensor: Any) -> str:
    """Name the operations that read a leaf, from the graph behind the outputs."""
    stack = [y._node for y in outputs if y._node is not None]
    seen = {id(node) for node in stack}
    names: dict[str, None] = {}
    while stack:
        node = stack.pop()
        for edge in node.edges:
            if edge is tensor:
                names[repr(node.op)] = None
            elif type(edge) is tuple and id(edge[0]) not in seen:
                seen.add(id(edge[0]))
                stack.append(edge[0])
    return ", ".join(names)
