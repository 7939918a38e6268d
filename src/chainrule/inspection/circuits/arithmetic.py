"""One number's arithmetic there and back, as data: what it was made of, and who reads it.

`explanations.py` writes such things as text; pages that show them as tables begin here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from chainrule.engine.detach import Detach
from chainrule.engine.op import Op
from chainrule.inspection.circuits.gates import Gate, Wire
from chainrule.inspection.circuits.places import Index
from chainrule.inspection.circuits.terms import Back, Made, Terms, numbers_at
from chainrule.inspection.circuits.terms_elements import (
    copy_back,
    copy_made,
    element_back,
    element_made,
    local_back,
    local_made,
    norm_back,
    norm_made,
    pulled_made,
    sum_back,
    sum_made,
)
from chainrule.inspection.circuits.terms_windows import (
    average_back,
    average_made,
    conv_back,
    conv_made,
    linear_back,
    linear_made,
    max_back,
    max_made,
)
from chainrule.ops.activation import (
    Exponential,
    LeakyReLU,
    LogSigmoid,
    ReLU,
    Sigmoid,
    Softplus,
    Tanh,
)
from chainrule.ops.activation_hard import (
    Hardshrink,
    Hardsigmoid,
    Hardswish,
    Hardtanh,
    Softshrink,
    Threshold,
)
from chainrule.ops.activation_smooth import GELU, Mish, SiLU, Softsign, Tanhshrink
from chainrule.ops.broadcast import Pairwise
from chainrule.ops.conv import Conv
from chainrule.ops.elementwise import Neg
from chainrule.ops.index import Index as Indexing
from chainrule.ops.join import Cat, Stack
from chainrule.ops.linear import Linear
from chainrule.ops.norm import BatchNorm
from chainrule.ops.norm_local import LocalResponseNorm
from chainrule.ops.permute import Flip, Permute, Roll
from chainrule.ops.pool_average import AdaptiveAvgPool, AvgPool
from chainrule.ops.pool_max import AdaptiveMaxPool, MaxPool
from chainrule.ops.power import PowScalar
from chainrule.ops.reduce import Mean, Sum
from chainrule.ops.shape import (
    Clone,
    Contiguous,
    Expand,
    Flatten,
    Reshape,
    Squeeze,
    Unflatten,
    Unsqueeze,
)
from chainrule.ops.slicing import Slice
from chainrule.ops.ternary import Ternary
from chainrule.ops.unary import Unary

Users = Mapping[tuple[int, int], Sequence[tuple[Gate, int]]]
"""Who reads each wire: what `Circuit.users` gives."""


class _Rule(NamedTuple):
    made: Callable[[Gate, Index], Made]
    back: Callable[[Gate, int, Index], Back | None]


_ELEMENTS = _Rule(element_made, element_back)
_COPIES = _Rule(copy_made, copy_back)
_AVERAGES = _Rule(average_made, average_back)
_LARGEST = _Rule(max_made, max_back)
_SUMS = _Rule(sum_made, sum_back)

RULES: dict[type[Op], _Rule] = {
    Conv: _Rule(conv_made, conv_back),
    Linear: _Rule(linear_made, linear_back),
    AvgPool: _AVERAGES,
    AdaptiveAvgPool: _AVERAGES,
    MaxPool: _LARGEST,
    AdaptiveMaxPool: _LARGEST,
    BatchNorm: _Rule(norm_made, norm_back),
    LocalResponseNorm: _Rule(local_made, local_back),
    Sum: _SUMS,
    Mean: _SUMS,
    **dict.fromkeys((Cat, Stack, Reshape, Flatten, Unflatten, Squeeze, Unsqueeze, Expand), _COPIES),
    **dict.fromkeys((Permute, Flip, Roll, Slice, Indexing, Clone, Contiguous, Detach), _COPIES),
    **dict.fromkeys((Pairwise, Unary, Ternary, Exponential, Neg, PowScalar), _ELEMENTS),
    **dict.fromkeys((ReLU, LeakyReLU, Sigmoid, Tanh, Softplus, LogSigmoid), _ELEMENTS),
    **dict.fromkeys((GELU, SiLU, Mish, Softsign, Tanhshrink, Threshold), _ELEMENTS),
    **dict.fromkeys((Hardtanh, Hardshrink, Softshrink, Hardsigmoid, Hardswish), _ELEMENTS),
}
"""How numbers of an operation are made and read, by its class or one that it is built on."""


def made(gate: Gate, place: Index) -> Made:
    """Say how one number of a gate's first value came about.

    The factors of what it read are its derivatives by each.  An operation without a rule is known
    by its derivatives alone.  Raises GraphError where values were not kept.

    >>> import chainrule as cr
    >>> from chainrule.inspection.circuits import circuit_of
    >>> graph = cr.capture(lambda x: cr.max_pool2d(x, 2), cr.tensor([[[[1.0, 7.0], [3.0, 5.0]]]]))
    >>> found = made(circuit_of(graph).outputs[0].gate, (0, 0, 0, 0))
    >>> found.kind, found.result, found.reads[0].factors.tolist()
    ('largest', 7.0, [0.0, 1.0, 0.0, 0.0])
    """
    rule = _rule(gate)
    return pulled_made(gate, place) if rule is None else rule.made(gate, place)


@dataclass(frozen=True, eq=False)
class Arrival:
    """What one reader hands back to a number: the gradients of its own numbers, by derivatives.

    `number` says which of the gate's inputs it is.  `terms` is None for an operation that is known
    by the whole alone.
    """

    gate: Gate
    number: int
    terms: Terms | None
    total: float


def arrivals(users: Users, wire: Wire, place: Index) -> list[Arrival]:
    """Say what each reader of a number hands back to it; gradients must have been walked.

    Readers that no gradient reached are left out.

    >>> import chainrule as cr
    >>> from chainrule.inspection.circuits import circuit_of
    >>> circuit = circuit_of(cr.capture(lambda x: (x * x + 3 * x).sum(), cr.tensor([2.0, 5.0])))
    >>> circuit.backward()
    >>> found = arrivals(circuit.users(), circuit.gates[0].wires[0], (1,))
    >>> [(arrival.gate.name, arrival.total) for arrival in found]
    [('mul', 5.0), ('mul', 5.0), ('mul_2', 3.0)]
    """
    found = []
    for gate, number in users.get((id(wire.gate), wire.number), ()):
        if not gate.gradients or all(g is None for g in gate.gradients):
            continue
        rule = _rule(gate)
        back = None if rule is None or gate.gradients[0] is None else rule.back(gate, number, place)
        if back is None:
            found.append(Arrival(gate, number, None, _whole(gate, number, place)))
            continue
        upstream = numbers_at(np.asarray(gate.gradients[0]), back.places)
        terms = Terms(Wire(gate, 0), back.places, upstream, back.slopes, back.by, back.by_places)
        found.append(Arrival(gate, number, terms, terms.total))
    return found


def handed_on(found: Made, gradient: float) -> list[Terms]:
    """Say what a number with a gradient gives to each number behind it: derivative by gradient."""
    shares = []
    for reads in found.reads:
        factors = np.full(len(reads.places), gradient)
        shares.append(Terms(reads.wire, reads.places, reads.factors, factors))
        if reads.by is not None and reads.by_places is not None:
            shares.append(Terms(reads.by, reads.by_places, reads.numbers, factors))
    if found.bias is not None:
        bias = found.bias
        shares.append(Terms(bias.wire, bias.places, bias.factors, np.array([gradient])))
    return shares


def _rule(gate: Gate) -> _Rule | None:
    """Find the rule of a gate's operation; None for cases that it does not cover."""
    op = gate.op
    if isinstance(op, BatchNorm) and op.training:
        return None
    if isinstance(op, Linear) and len(gate.inputs[1].shape) != 2:
        return None
    return next((RULES[kind] for kind in type(op).__mro__ if kind in RULES), None)


def _whole(gate: Gate, number: int, place: Index) -> float:
    passed = None if gate.pull is None else gate.pull(gate.gradients)[number]
    return 0.0 if passed is None else float(passed[place])
