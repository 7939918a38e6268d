"""What a program need not compute each time: constants, batch norms, what changes nothing."""

from __future__ import annotations

import numpy as np

from chainrule.engine.op import Array, Op, Spec
from chainrule.engine.program import Program, Step
from chainrule.ops.cast import Cast
from chainrule.ops.conv import Conv
from chainrule.ops.linear import Linear
from chainrule.ops.norm import BatchNorm
from chainrule.ops.passthrough import GradientReversal, L1Penalty
from chainrule.ops.pool_average import AdaptiveAvgPool
from chainrule.ops.pool_max import AdaptiveMaxPool
from chainrule.ops.shape import Clone, Contiguous, Expand, Flatten, Reshape, Squeeze, Unflatten

_SAME_IF_ALIKE = (
    *(Clone, Contiguous, GradientReversal, L1Penalty, Cast),
    *(Reshape, Flatten, Squeeze, Unflatten, Expand, AdaptiveAvgPool, AdaptiveMaxPool),
)
"""Operations that give their input's values where the output has its shape and dtype."""

_TAKES_NORM: tuple[type[Op], ...] = (Conv, Linear)


def simplify(program: Program) -> Program:
    """Give a program of the same values: constants computed, batch norms folded into products."""
    for rewrite in (_without_identities, _constants_computed, _norms_folded, _pruned):
        program = rewrite(program)
    return program


def _without_identities(program: Program) -> Program:
    """Leave out the operations whose output is their input."""
    same: dict[int, int] = {}
    steps = []
    for step in program.steps:
        read = tuple([same.get(v, v) for v in step.inputs])
        if len(read) == len(step.outputs) == 1 and isinstance(step.op, _SAME_IF_ALIKE):
            before, after = (program.specs[v] for v in (read[0], step.outputs[0]))
            if before[:2] == after[:2] and not getattr(step.op, "indices", False):
                same[step.outputs[0]] = read[0]
                continue
        steps.append(step._replace(inputs=read))
    return program.changed(steps, outputs=[same.get(v, v) for v in program.outputs])


def _constants_computed(program: Program) -> Program:
    """Run the steps that read constants alone."""
    constants = dict(program.constants)
    steps = []
    for step in program.steps:
        if not all(v in constants for v in step.inputs):
            steps.append(step)
            continue
        outputs, _ = step.op.forward(np, *[constants[v] for v in step.inputs])
        constants.update(zip(step.outputs, outputs, strict=True))
    return program.changed(steps, constants=constants)


def _norms_folded(program: Program) -> Program:
    """Let convolutions and dense layers do what the batch norm after them does, by their weights.

    With s = weight / sqrt(variance + eps) it is s (w x + b - mean) + bias, that is
    (s w) x + (s (b - mean) + bias).
    """
    users, constants, specs = program.users(), dict(program.constants), dict(program.specs)
    steps: dict[int, Step | None] = dict(enumerate(program.steps))
    for i, step in enumerate(program.steps):
        if type(step.op) not in _TAKES_NORM or not all(v in constants for v in step.inputs[1:]):
            continue
        (y,) = step.outputs
        if len(users[y]) != 1 or y in program.outputs:
            continue
        after = program.steps[users[y][0]]
        if not _folds(after, y, constants) or specs[step.inputs[1]].ndim < 2:
            continue
        if type(step.op) is Linear and specs[y].ndim != 2:
            continue  # the norm's channels are then not the product's outputs
        product = tuple([constants[v] for v in step.inputs[1:]])
        found = _kept(program, after.op, product, tuple([constants[v] for v in after.inputs[1:]]))
        numbers = [len(specs), len(specs) + 1]
        for number, array in zip(numbers, found, strict=True):
            constants[number], specs[number] = array, Spec(array.shape, array.dtype)
        steps[i] = step._replace(inputs=(step.inputs[0], *numbers), outputs=after.outputs)
        steps[users[y][0]] = None
    kept = [step for step in steps.values() if step is not None]
    return program.changed(kept, constants=constants, specs=specs)


def _folds(step: Step, y: int, constants: dict[int, Array]) -> bool:
    """Tell whether a step is a batch norm of y by constants."""
    norm = type(step.op) is BatchNorm and not step.op.training
    return norm and step.inputs[0] == y and all(v in constants for v in step.inputs[1:])


def _kept(
    program: Program, op: Op, product: tuple[Array, ...], norm: tuple[Array, ...]
) -> tuple[Array, Array]:
    """Give what `_folded` gives: the same arrays to every program of these constants."""
    key = ("folded", op, *map(id, (*product, *norm)))
    if key not in program.shared:
        assert isinstance(op, BatchNorm)
        # With the sources, whose ids are then nobody else's.
        program.shared[key] = _folded(op, *product, norm=norm), (product, norm)
    found: tuple[Array, Array] = program.shared[key][0]
    return found


def _folded(op: BatchNorm, w: Array, *bias: Array, norm: tuple[Array, ...]) -> tuple[Array, Array]:
    """Give the weight and the bias that make the norm part of the product."""
    mean, variance, *affine = (a.astype(np.float64) for a in norm)
    with np.errstate(all="ignore"):  # what is not finite stays so
        scale = 1 / np.sqrt(variance + op.eps)
        if affine:
            scale *= affine[0]
        shift = ((bias[0] if bias else 0.0) - mean) * scale
        if len(affine) == 2:
            shift += affine[1]
        weight = w * scale.reshape(-1, *(1,) * (w.ndim - 1))
        return weight.astype(w.dtype), shift.astype(w.dtype)


def _pruned(program: Program) -> Program:
    """Leave out what no output needs."""
    wanted = set(program.outputs)
    steps = []
    for step in reversed(program.steps):
        if wanted.intersection(step.outputs):
            wanted.update(step.inputs)
            steps.append(step)
    constants = {v: a for v, a in program.constants.items() if v in wanted}
    return program.changed(steps[::-1], constants=constants)
