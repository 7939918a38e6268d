"""Activation layers: made from the functions, but for those with manners of their own."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

from chainrule.engine.creation import empty
from chainrule.engine.random import Generator
from chainrule.engine.tensor import Tensor
from chainrule.errors import failure
from chainrule.nn import functional as F
from chainrule.nn import init as initialise
from chainrule.nn.dropout import DrawingLayer
from chainrule.nn.module import Module
from chainrule.nn.parameter import Parameter
from chainrule.nn.stateless import stateless
from chainrule.ops.arguments import integer

FRAMES = 5
"""How far above a function's warning the line is that called its layer."""

BNLL = stateless("BNLL", F.bnll)
CELU = stateless("CELU", F.celu)
ELU = stateless("ELU", F.elu)
GELU = stateless("GELU", F.gelu)
GLU = stateless("GLU", F.glu)
Hardsigmoid = stateless("Hardsigmoid", F.hardsigmoid)
Hardswish = stateless("Hardswish", F.hardswish)
LeakyReLU = stateless("LeakyReLU", F.leaky_relu)
LogSigmoid = stateless("LogSigmoid", F.logsigmoid)
LogSoftmax = stateless("LogSoftmax", F.log_softmax, ("dim",), _stacklevel=FRAMES)
Maxout = stateless("Maxout", F.maxout)
Mish = stateless("Mish", F.mish)
ReLU = stateless("ReLU", F.relu)
SELU = stateless("SELU", F.selu)
SiLU = stateless("SiLU", F.silu)
Sigmoid = stateless("Sigmoid", F.sigmoid)
Softmax = stateless("Softmax", F.softmax, ("dim",), _stacklevel=FRAMES)
Softmin = stateless("Softmin", F.softmin, ("dim",), _stacklevel=FRAMES)
Softplus = stateless("Softplus", F.softplus)
Softsign = stateless("Softsign", F.softsign)
Tanh = stateless("Tanh", F.tanh)
Tanhshrink = stateless("Tanhshrink", F.tanhshrink)
Threshold = stateless("Threshold", F.threshold)


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


class Hardtanh(Module):
    """min(max(x, min_val), max_val); see `functional.hardtanh`.

    Raises ValueError unless min_val < max_val.  `min_value` and `max_value` are older names.

    >>> import chainrule as cr
    >>> cr.nn.Hardtanh(-2.0, 2.0)(cr.tensor([-3.0, 0.5]))
    tensor([-2.0, 0.5])
    """

    def __init__(
        self,
        min_val: float = -1.0,
        max_val: float = 1.0,
        inplace: bool = False,
        min_value: float | None = None,
        max_value: float | None = None,
    ) -> None:
        super().__init__()
        for old, value in (("min", min_value), ("max", max_value)):
            if value is not None:
                text = f"{type(self).__name__}: {old}_value is an older name of {old}_val"
                warnings.warn(text, FutureWarning, stacklevel=2)
        self.min_val = min_val if min_value is None else min_value
        self.max_val = max_val if max_value is None else max_value
        self.inplace = inplace
        if not self.min_val < self.max_val:
            rule = "min_val < max_val"
            raise failure(type(self).__name__, rule, min_val=self.min_val, max_val=self.max_val)

    def forward(self, input: Tensor) -> Tensor:
        """Limit the values: any shape -> the same."""
        return F.hardtanh(input, self.min_val, self.max_val, self.inplace)

    def extra_repr(self) -> str:
        """Show the limits."""
        inplace = ", inplace=True" if self.inplace else ""
        return f"min_val={self.min_val}, max_val={self.max_val}{inplace}"


class ReLU6(Hardtanh):
    """min(max(x, 0), 6); see `functional.relu6`.

    >>> import chainrule as cr
    >>> cr.nn.ReLU6()(cr.tensor([-3.0, 0.5, 7.0]))
    tensor([0.0, 0.5, 6.0])
    """

    def __init__(self, inplace: bool = False) -> None:
        super().__init__(0.0, 6.0, inplace)

    def extra_repr(self) -> str:
        """Show `inplace` where it is asked for."""
        return "inplace=True" if self.inplace else ""


class Shrinking(Module):
    """Base of Hardshrink and Softshrink."""

    _function: Callable[..., Tensor]

    def __init__(self, lambd: float = 0.5) -> None:
        super().__init__()
        self.lambd = lambd

    def forward(self, input: Tensor) -> Tensor:
        """Shrink the values: any shape -> the same."""
        return type(self)._function(input, self.lambd)

    def extra_repr(self) -> str:
        """Show the number alone, as PyTorch does."""
        return str(self.lambd)


class Hardshrink(Shrinking):
    """0 where |x| <= lambd, else x; see `functional.hardshrink`.

    >>> import chainrule as cr
    >>> cr.nn.Hardshrink(1)(cr.tensor([-3.0, 0.5]))
    tensor([-3.0, 0.0])
    """

    _function = staticmethod(F.hardshrink)


class Softshrink(Shrinking):
    """x moved by lambd towards 0; see `functional.softshrink`.

    >>> import chainrule as cr
    >>> cr.nn.Softshrink(1)(cr.tensor([-3.0, 0.5]))
    tensor([-2.0, 0.0])
    """

    _function = staticmethod(F.softshrink)


class RReLU(DrawingLayer):
    """Leaky ReLU with a random slope for each value while training; see `functional.rrelu`.

    In evaluation the slope is (lower + upper) / 2.

    >>> import chainrule as cr
    >>> cr.nn.RReLU(0.25, 0.75).eval()(cr.tensor([-2.0, 3.0]))
    tensor([-1.0, 3.0])
    """

    def __init__(
        self,
        lower: float = 1 / 8,
        upper: float = 1 / 3,
        inplace: bool = False,
        *,
        generator: Generator | None = None,
    ) -> None:
        super().__init__(generator)
        self.lower = lower
        self.upper = upper
        self.inplace = inplace

    def forward(self, input: Tensor) -> Tensor:
        """Apply the slopes: any shape -> the same."""
        generator = self._generator_for(input)
        bounds = self.lower, self.upper
        return F.rrelu(input, *bounds, self.training, self.inplace, generator=generator)

    def extra_repr(self) -> str:
        """Show the bounds."""
        inplace = ", inplace=True" if self.inplace else ""
        return f"lower={self.lower}, upper={self.upper}{inplace}"


class Softmax2d(Module):
    """Softmax over the channels of images, at every pixel by itself.

    Shapes: (N, C, H, W) or (C, H, W) -> the same.  Raises ValueError for others.

    >>> import chainrule as cr
    >>> cr.nn.Softmax2d()(cr.zeros(2, 1, 1)).flatten()
    tensor([0.5, 0.5])
    """

    def forward(self, input: Tensor) -> Tensor:
        """Make the channels sum to 1."""
        if input.ndim not in (3, 4):
            raise failure("Softmax2d", "a tensor (N, C, H, W) or (C, H, W)", input=input)
        return F.softmax(input, -3)
