"""Activation layers: made from the functions, but for PReLU, which learns its slope."""

from __future__ import annotations

from typing import Any

from chainrule.engine.creation import empty
from chainrule.engine.tensor import Tensor
from chainrule.nn import functional as F
from chainrule.nn import init as initialise
from chainrule.nn.module import Module
from chainrule.nn.parameter import Parameter
from chainrule.nn.stateless import stateless
from chainrule.ops.arguments import integer

FRAMES = 5
"""How far above a function's warning the line is that called its layer."""

ELU = stateless("ELU", F.elu)
LeakyReLU = stateless("LeakyReLU", F.leaky_relu)
LogSigmoid = stateless("LogSigmoid", F.logsigmoid)
LogSoftmax = stateless("LogSoftmax", F.log_softmax, ("dim",), _stacklevel=FRAMES)
Maxout = stateless("Maxout", F.maxout)
ReLU = stateless("ReLU", F.relu)
Sigmoid = stateless("Sigmoid", F.sigmoid)
Softmax = stateless("Softmax", F.softmax, ("dim",), _stacklevel=FRAMES)
Softmin = stateless("Softmin", F.softmin, ("dim",), _stacklevel=FRAMES)
Softplus = stateless("Softplus", F.softplus)
Tanh = stateless("Tanh", F.tanh)


class PReLU(Module):
    """max(0, x) + weight * min(0, x), with a slope that is learned (He et al., 2015).

    Shapes: any -> the same with one slope; with `num_parameters` slopes the input is
    (N, num_parameters, ...).  The slopes begin at `init`; weight decay would push them to 0.
    Raises TypeError for a `num_parameters` that is no integer; the forward raises ValueError where
    the channels do not fit.

    >>> import chainrule as cr
    >>> cr.nn.PReLU(2)(cr.tensor([[-4.0, -4.0]])).tolist()
    [[-1.0, -1.0]]
    """

    def __init__(
        self,
        num_parameters: int = 1,
        init: float = 0.25,
        device: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.num_parameters = integer(num_parameters, "PReLU num_parameters")
        self.init = init
        self.weight = Parameter(empty(self.num_parameters, dtype=dtype, device=device))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Set every slope to `init`."""
        initialise.constant_(self.weight, self.init)

    def forward(self, input: Tensor) -> Tensor:
        """Apply the slopes: any shape -> the same."""
        return F.prelu(input, self.weight)

    def extra_repr(self) -> str:
        """Show the number of slopes."""
        return f"num_parameters={self.num_parameters}"
