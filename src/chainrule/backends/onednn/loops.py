"""Functions of up to three arrays that broadcast, by our own kernel: one pass over all of them."""

from __future__ import annotations

from enum import IntEnum, auto
from typing import Any, NamedTuple

import numpy as np

from chainrule.backends.onednn.arrays import _FIRST, _LAST, FLOAT32, REORDERS, address, empty_last
from chainrule.backends.onednn.own import FLOAT, INT, POINTER, Kernel, kernel, sizes
from chainrule.backends.onednn.runtime import cached, threads_for, work
from chainrule.engine.op import Array
from chainrule.ops.broadcast import Shape, broadcast

DEPTH = 3  # nested loops of the kernel
ZERO = np.zeros(1, np.float32)


class Kind(IntEnum):
    """The functions, numbered as in the kernel's source, which says what each is."""

    ADD = 0
    SUB = auto()
    MUL = auto()
    DIV = auto()
    MAX = auto()
    MIN = auto()
    MUL_FIRST = auto()
    MUL_SECOND = auto()
    DIV_FIRST = auto()
    DIV_SECOND = auto()
    SHARE_FIRST = auto()
    SHARE_SECOND = auto()
    LESS_TIMES = auto()
    EQUAL_TIMES = auto()
    SAME_TIMES = auto()
    RATIO_TIMES = auto()
    EXP = auto()
    LOG = auto()
    SQRT = auto()
    RSQRT = auto()
    ABS = auto()
    NEG = auto()
    RECIPROCAL = auto()
    POWER = auto()
    CLAMP = auto()
    SCALE = auto()
    SQRT_BACK = auto()
    RSQRT_BACK = auto()
    ABS_BACK = auto()
    RECIPROCAL_BACK = auto()
    POWER_BACK = auto()
    CLAMP_BACK = auto()
    WHERE = auto()
    WHERE_NOT = auto()


class Loops(NamedTuple):
    """How the kernel walks through the operands."""

    shape: Shape
    size: int
    last: bool  # whether the result is channels-last, else in C order
    sizes: Any
    copied: tuple[int, ...]  # operands whose elements lie in another order
    run: Kernel


def plan_loops(
    operands: tuple[Array, ...], shape: Shape | None = None, last: bool | None = None
) -> Loops | None:
    """Give the plan for a result of the common shape, or of `shape`, None where there is none.

    Its layout is that of the first operand of this shape, or channels-last if so asked.
    """
    key = (Loops, shape, last, *[(a.shape, a.strides, a.itemsize) for a in operands])
    return cached(key, lambda: _build(operands, shape, last))


def compute(
    kind: Kind,
    *operands: Array,
    p: float = 0.0,
    q: float = 0.0,
    shape: Shape | None = None,
    last: bool | None = None,
) -> Array:
    """Give the function's values; there is a plan for the operands."""
    plan, operands = _ready(operands, shape, last)
    out = empty_last(plan.shape) if plan.last else np.empty(plan.shape, FLOAT32)
    _run(plan, operands, address(out), None, p, q, kind, 0)
    return out


def compute_both(kinds: tuple[Kind, Kind], *operands: Array) -> tuple[Array, Array]:
    """Give two functions' values, reading the operands from memory once."""
    plan, operands = _ready(operands, None, None)
    if plan.last:
        out, also = empty_last(plan.shape), empty_last(plan.shape)
    else:
        out, also = np.empty(plan.shape, FLOAT32), np.empty(plan.shape, FLOAT32)
    _run(plan, operands, address(out), address(also), 0.0, 0.0, *kinds)
    return out, also


def _run(plan: Loops, operands: tuple[Array, ...], *rest: Any) -> None:
    ends = [address(a) for a in operands]
    ends += ends[:1] * (3 - len(ends))
    threads = threads_for(work(3 * plan.size))
    plan.run(plan.sizes, *ends, *rest, threads)


def _ready(
    operands: tuple[Array, ...], shape: Shape | None, last: bool | None
) -> tuple[Loops, tuple[Array, ...]]:
    """Give the plan, and the operands as it walks through them."""
    plan = plan_loops(operands, shape, last)
    if plan is None:  # a gradient that needs more loops than its value did
        whole = shape or np.broadcast_shapes(*[a.shape for a in operands])
        operands = tuple([np.ascontiguousarray(np.broadcast_to(a, whole)) for a in operands])
        plan = plan_loops(operands, shape, last)
        assert plan is not None
    if plan.copied:
        order = _LAST[len(plan.shape)] if plan.last else None
        operands = tuple(
            [_moved(a, order, plan) if i in plan.copied else a for i, a in enumerate(operands)]
        )
    return plan, operands


def repeated(a: Array, shape: Shape, last: bool) -> Array:
    """Repeat a along axes of 1 to a shape, channels-last or in C order."""
    return compute(Kind.SCALE, a, p=1.0, shape=shape, last=last)


def _moved(a: Array, order: Shape | None, plan: Loops) -> Array:
    """Copy an operand into the order in which the loops run; of the result's shape, if need be."""
    REORDERS.activations += 1
    a = np.broadcast_to(a, plan.shape)
    if order is None:
        return np.array(a, order="C")
    return np.array(a.transpose(order), order="C").transpose(_FIRST[a.ndim])


def _build(operands: tuple[Array, ...], shape: Shape | None, last: bool | None) -> Loops | None:
    if shape is None:
        shape = broadcast("arithmetic", **{str(i): a.shape for i, a in enumerate(operands)})
    if last is None:
        last = _is_last(operands, shape)
        if last is None:
            return None
    order = _LAST[len(shape)] if last else tuple(range(len(shape)))
    axes = [i for i in order if shape[i] > 1]
    counts = [shape[i] for i in axes]
    dense = [int(np.prod(counts[i + 1 :])) for i in range(len(counts))]
    steps, copied = [], []
    for i, a in enumerate(operands):
        found = _steps(a, len(shape), axes)
        if found is None or (found and found[-1] not in (0, 1)):
            copied.append(i)
            found = dense
        steps.append(found)
    merged = _merged(counts, steps)
    if len(merged) > DEPTH:  # gradients that are views
        copied = [i for i, a in enumerate(operands) if i in copied or a.shape == shape]
        merged = _merged(counts, [dense if i in copied else s for i, s in enumerate(steps)])
    if len(merged) > DEPTH:
        return None
    numbers = [n for n, _ in merged]
    for k in range(3):
        numbers += [s[k] if k < len(operands) else 0 for _, s in merged]
    types = (*[POINTER] * 6, FLOAT, FLOAT, INT, INT, INT)
    size = int(np.prod(shape))
    return Loops(shape, size, last, sizes(*numbers), tuple(copied), kernel("elementwise", *types))


def _is_last(operands: tuple[Array, ...], shape: Shape) -> bool | None:
    """Tell in which layout the result is to be; None where operands of its shape have gaps."""
    whole = [a for a in operands if a.shape == shape]
    for a in whole:
        if a.flags.c_contiguous:
            return False
        if 2 < a.ndim < 7 and a.transpose(_LAST[a.ndim]).flags.c_contiguous:
            return True
    return None if whole else False


def _steps(a: Array, ndim: int, axes: list[int]) -> list[int] | None:
    """Give how far apart elements are along the axes, 0 where there is but one."""
    lead = ndim - a.ndim
    steps = []
    for i in axes:
        far = a.strides[i - lead] if i >= lead and a.shape[i - lead] > 1 else 0
        if far % a.itemsize:
            return None
        steps.append(far // a.itemsize)
    return steps


def _merged(counts: list[int], steps: list[list[int]]) -> list[tuple[int, list[int]]]:
    """Make one loop of neighbours that every operand walks through evenly; DEPTH at least."""
    loops: list[tuple[int, list[int]]] = []
    for i in reversed(range(len(counts))):
        here = [s[i] for s in steps]
        if loops and all(h == s * loops[0][0] for h, s in zip(here, loops[0][1], strict=True)):
            loops[0] = (loops[0][0] * counts[i], loops[0][1])
        else:
            loops.insert(0, (counts[i], here))
    while len(loops) < DEPTH:
        loops.insert(0, (1, [0] * len(steps)))
    return loops
