"""Recurrent layers: one step after the other, so that gradients flow back through time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from chainrule.engine.op import Array
from chainrule.engine.tensor import Tensor
from chainrule.errors import DataError
from chainrule.formats.onnx.reading.indices import reverse
from chainrule.formats.onnx.reading.table import Node, need_floating, reads
from chainrule.nn import functional as F
from chainrule.ops.elementwise import add, mul
from chainrule.ops.join import split, stack
from chainrule.ops.linear import linear
from chainrule.ops.permute import flip
from chainrule.ops.select import clamp, where

Act = Callable[[Tensor], Tensor]
States = tuple[Tensor, ...]
Step = Callable[[Tensor, States], States]


def _act(name: str, alpha: float | None, beta: float | None) -> Act | None:
    """Give an activation by ONNX's name, with its two numbers or what they usually are."""

    def or_(value: float | None, usual: float) -> float:
        return usual if value is None else value

    known: dict[str, Act] = {
        "relu": F.relu,
        "tanh": F.tanh,
        "sigmoid": F.sigmoid,
        "softsign": F.softsign,
        "softplus": F.softplus,
        "affine": lambda x: add(mul(x, or_(alpha, 1.0)), or_(beta, 0.0)),
        "leakyrelu": lambda x: F.leaky_relu(x, or_(alpha, 0.01)),
        "thresholdedrelu": lambda x: F.threshold(x, or_(alpha, 1.0), 0.0),
        "scaledtanh": lambda x: mul(F.tanh(mul(x, or_(beta, 1.0))), or_(alpha, 1.0)),
        "hardsigmoid": lambda x: clamp(add(mul(x, or_(alpha, 0.2)), or_(beta, 0.5)), 0.0, 1.0),
        "elu": lambda x: F.elu(x, or_(alpha, 1.0)),
    }
    return known.get(name.lower())


TAKES = {"affine": 2, "leakyrelu": 1, "thresholdedrelu": 1, "scaledtanh": 2, "hardsigmoid": 2,
         "elu": 1}  # fmt: skip


def _acts(n: Node, usual: tuple[str, ...], directions: int) -> list[list[Act]]:
    """Give each direction's activations, which clip what they are given."""
    names = n.get("activations") or list(usual) * directions
    alphas, betas = list(n.get("activation_alpha") or ()), list(n.get("activation_beta") or ())
    found: list[Act] = []
    for name in names:
        takes = TAKES.get(name.lower(), 0)
        alpha = alphas.pop(0) if takes > 0 and alphas else None
        beta = betas.pop(0) if takes > 1 and betas else None
        act = _act(name, alpha, beta)
        if act is None:
            raise DataError(f"onnx: {n}: no activation {name!r}")
        found.append(_clipped(act, n.get("clip")))
    if len(found) < len(usual) * directions:  # RNN's default has two, whatever the directions
        raise DataError(f"onnx: {n}: {len(found)} activations for {directions} directions")
    found = found[: len(usual) * directions]
    return [found[i : i + len(usual)] for i in range(0, len(found), len(usual))]


def _clipped(act: Act, limit: float | None) -> Act:
    return act if not limit else lambda x: act(clamp(x, -limit, limit))


class Weights(NamedTuple):
    """One direction's: of the input, of the state, the biases of both, the peepholes."""

    w: Tensor
    r: Tensor
    bw: Tensor | None
    br: Tensor | None
    p: Tensor | None


Make = Callable[[Node, Weights, list[Act]], Step]


def _rnn(n: Node, k: Weights, acts: list[Act]) -> Step:
    def step(x: Tensor, states: States) -> States:
        (h,) = states
        return (acts[0](add(linear(x, k.w, k.bw), linear(h, k.r, k.br))),)

    return step


def _gru(n: Node, k: Weights, acts: list[Act]) -> Step:
    gate, new = acts
    size = k.r.shape[1]
    parts = [2 * size, size]
    r_gates, r_new = split(k.r, parts, 0)
    b_gates, b_new = split(k.br, parts, 0) if k.br is not None else (None, None)

    def step(x: Tensor, states: States) -> States:
        (h,) = states
        given, given_new = split(linear(x, k.w, k.bw), parts, 1)
        z, r = split(gate(add(given, linear(h, r_gates, b_gates))), size, 1)
        if n.flag("linear_before_reset"):
            inner = mul(r, linear(h, r_new, b_new))
        else:
            inner = linear(mul(r, h), r_new, b_new)
        fresh = new(add(given_new, inner))
        return (add(mul(1 - z, fresh), mul(z, h)),)

    return step


def _lstm(n: Node, k: Weights, acts: list[Act]) -> Step:
    gate, new, out = acts
    size = k.r.shape[1]
    peep = split(k.p, size, 0) if k.p is not None else None

    def step(x: Tensor, states: States) -> States:
        h, c = states
        i, o, f, g = split(add(linear(x, k.w, k.bw), linear(h, k.r, k.br)), size, 1)
        if peep is not None:
            i, f = add(i, mul(peep[0], c)), add(f, mul(peep[2], c))
        i = gate(i)
        f = 1 - i if n.flag("input_forget") else gate(f)
        c = add(mul(f, c), mul(i, new(g)))
        o = gate(o if peep is None else add(o, mul(peep[1], c)))
        return mul(o, out(c)), c

    return step


def _run(
    n: Node, make: Make, usual: tuple[str, ...], states: int, x: Tensor, w: Tensor, r: Tensor,
    b: Tensor | None = None, lengths: Tensor | None = None, *rest: Tensor | None,
) -> tuple[Tensor, ...]:  # fmt: skip
    """Run a layer in its directions: (L, N, C) -> (L, directions, N, H) and the last states."""
    need_floating(n, x, w, r)
    turned = n.flag("layout")
    first = [None if s is None else s.transpose(0, 1) if turned else s for s in rest[:states]]
    first += [None] * (states - len(first))
    peep = rest[states] if len(rest) > states else None
    x = x.transpose(0, 1) if turned else x
    ways = {"forward": [False], "reverse": [True], "bidirectional": [False, True]}
    backward = ways.get(n.get("direction"), [])
    if not backward or w.shape[0] != len(backward):
        raise DataError(f"onnx: {n}: {w.shape[0]} sets of weights, {n.get('direction')!r}")
    acts = _acts(n, usual, len(backward))
    rows: list[Tensor] = []
    last: list[States] = []
    for d, back in enumerate(backward):
        bw, br = split(b[d], b.shape[1] // 2, 0) if b is not None else (None, None)
        weights = Weights(w[d], r[d], bw, br, peep[d] if peep is not None else None)
        begin = tuple(
            Tensor(np.zeros((x.shape[1], r.shape[2]), x.dtype)) if s is None else s[d]
            for s in first
        )
        y, end = _walk(make(n, weights, acts[d]), x, begin, lengths, back)
        rows.append(y)
        last.append(end)
    y = stack(rows, 1)
    finals = [stack([end[i] for end in last], 0) for i in range(states)]
    if turned:
        return y.permute((2, 0, 1, 3)), *[final.transpose(0, 1) for final in finals]
    return y, *finals


def _walk(
    step: Step, x: Tensor, states: States, lengths: Tensor | None, back: bool
) -> tuple[Tensor, States]:
    """Take all steps; after the end of its own sequence an item keeps its state and gives 0."""
    ends: Array | None = None if lengths is None else lengths.array.astype(np.int64)
    x = _turned(x, ends) if back else x
    found = []
    for t in range(x.shape[0]):
        new = step(x[t], states)
        if ends is not None and (ends <= t).any():
            alive = Tensor((ends > t)[:, None])
            found.append(where(alive, new[0], Tensor(np.zeros((), x.dtype))))
            states = tuple(where(alive, a, b) for a, b in zip(new, states, strict=True))
        else:
            found.append(new[0])
            states = new
    if not found:
        raise DataError("onnx: a recurrent layer over a sequence of no steps")
    y = stack(found, 0)
    return (_turned(y, ends) if back else y), states


def _turned(x: Tensor, ends: Any) -> Tensor:
    return flip(x, (0,)) if ends is None else reverse(x, ends, 0, 1)


@reads("RNN", since="7 14 22")
def _rnn_layer(n: Node, *given: Any) -> tuple[Tensor, ...]:
    """Elman's layer."""
    return _run(n, _rnn, ("Tanh",), 1, *given)


@reads("GRU", since="7 14 22")
def _gru_layer(n: Node, *given: Any) -> tuple[Tensor, ...]:
    """Gated recurrent units (Cho et al., 2014)."""
    return _run(n, _gru, ("Sigmoid", "Tanh"), 1, *given)


@reads("LSTM", since="7 14 22")
def _lstm_layer(n: Node, *given: Any) -> tuple[Tensor, ...]:
    """Long short-term memory (Hochreiter and Schmidhuber, 1997), with peepholes on demand."""
    return _run(n, _lstm, ("Sigmoid", "Tanh", "Tanh"), 2, *given)
