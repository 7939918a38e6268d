"""Other backward rules at ReLU, for guided backpropagation and the deconvnet.

Networks run ReLU in several operations: alone and fused with what comes before or after.  Each is
run here as its members one after the other, by whatever kernels the backend has for them, and only
the backward at the ReLU is another one.  ReLU6 and clamp from 0 on are ReLUs with a lid.  It works
at the operations, not at layers, so that a ReLU that a network calls as a function is met, too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields
from typing import Any, NamedTuple, TypeVar

from chainrule.engine.dispatch import Backend, Kernel, Overlay, current_backend, running_on
from chainrule.engine.op import Op
from chainrule.ops.activation import ReLU
from chainrule.ops.activation_hard import Hardtanh
from chainrule.ops.conv import Conv
from chainrule.ops.elementwise import Add
from chainrule.ops.fused import AddReLU, BatchNormReLU, ConvReLU, ReLUMaxPool
from chainrule.ops.norm import BatchNorm
from chainrule.ops.pool_max import MaxPool
from chainrule.ops.select import Clamp

O = TypeVar("O", bound=Op)  # noqa: E741


def _as(kind: type[O], op: Op) -> O:
    """Give the operation of another class that has the same settings."""
    return kind(**{field.name: getattr(op, field.name) for field in fields(op)})  # type: ignore[arg-type]


_RELU = ReLU()

MEMBERS: dict[type[Op], Callable[[Op], tuple[Op, ...]]] = {
    ReLU: lambda op: (op,),
    ConvReLU: lambda op: (_as(Conv, op), _RELU),
    BatchNormReLU: lambda op: (_as(BatchNorm, op), _RELU),
    AddReLU: lambda op: (Add(), _RELU),
    ReLUMaxPool: lambda op: (_RELU, _as(MaxPool, op)),
    Hardtanh: lambda op: (op,),
    Clamp: lambda op: (op,),
}
"""The operations that may rectify, and what each consists of, in the order in which that runs."""


def rectifies(op: Op) -> bool:
    """Tell whether an operation is ReLU, or ReLU with a lid: ReLU6, clamp from 0 on.

    >>> rectifies(Hardtanh(0.0, 6.0)), rectifies(Hardtanh(-1.0, 1.0))
    (True, False)
    """
    return isinstance(op, ReLU) or (isinstance(op, Hardtanh | Clamp) and op.low == 0)


class _Ran(NamedTuple):
    """A member that ran, its kernel, and what that saved; the graph looks for arrays in tuples."""

    op: Op
    kernel: Kernel
    saved: Any


class _MemberByMember:
    """A pair that runs an operation's members, with a rule of its own at the ReLU.

    The gradient that comes from above is cut to what is positive.  `masked`: it then stops where
    it does in every backward, where the ReLU's input was not positive (or under the lid); else it
    goes on everywhere.
    """

    def __init__(self, base: Backend, masked: bool) -> None:
        self.base, self.masked = base, masked

    def supports(self, op: Any, arrays: Sequence[Any]) -> bool:
        """It runs what is in its table, on all arrays."""
        return True

    def forward(self, op: Any, arrays: Sequence[Any]) -> tuple[tuple[Any, ...], Any]:
        """Run the members; further outputs, such as a batch's statistics, are handed out."""
        ran, others = [], ()
        for member in MEMBERS[type(op)](op):
            kernel = self.base.select(member, arrays)
            (first, *rest), saved = kernel.forward(member, arrays)
            ran.append(_Ran(member, kernel, saved))
            arrays, others = (first,), (*others, *rest)
        return (arrays[0], *others), tuple(ran)

    def backward(self, op: Any, saved: Any, gy: Any, needs: tuple[bool, ...]) -> tuple[Any, ...]:
        """Walk the members backwards."""
        gradients: tuple[Any, ...] = gy if isinstance(gy, tuple) else (gy,)
        for place in range(len(saved) - 1, -1, -1):
            member, kernel, kept = saved[place]
            wanted = needs if place == 0 else (True,)
            if rectifies(member):
                g = self.base.reference.xp.maximum(gradients[0], 0)
                if self.masked:
                    (g,) = kernel.backward(member, kept, g, (True,))
                gradients = (g, *gradients[1:])
            else:
                given = gradients if len(gradients) > 1 else gradients[0]
                gradients = kernel.backward(member, kept, given, wanted)
        return gradients


@contextmanager
def relu_rule(masked: bool) -> Iterator[None]:
    """Record graphs inside whose backward passes only positive gradients through ReLUs.

    `masked` True is guided backpropagation's rule: the gradient stops as well where the ReLU's
    input was not positive.  False is the deconvnet's.  Values are what they are without.

    >>> import chainrule as cr
    >>> x = cr.tensor([-1.0, 1.0, 1.0], requires_grad=True)
    >>> weights = cr.tensor([2.0, 3.0, -4.0])
    >>> for masked in (True, False):
    ...     with relu_rule(masked):
    ...         y = (cr.relu(x) * weights).sum()
    ...     print(cr.grad(y, x)[0])
    tensor([0.0, 3.0, 0.0])
    tensor([2.0, 3.0, 0.0])
    """
    base = current_backend()
    overlay = Overlay(f"{base.name} with another rule at ReLU", base)
    overlay.table = dict.fromkeys(MEMBERS, _MemberByMember(base, masked))
    with running_on(overlay):
        yield
