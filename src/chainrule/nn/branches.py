"""Containers of branches: modules that work side by side, on one input or on one each."""

from __future__ import annotations

from typing import Any

from chainrule.engine.tensor import Tensor
from chainrule.errors import failure
from chainrule.nn import functional as F
from chainrule.nn.container import _Listed, _place
from chainrule.nn.module import Module
from chainrule.nn.table import table
from chainrule.ops.arguments import axis, integer
from chainrule.ops.join import cat, unbind


class Branches(_Listed):
    """Base of the containers whose modules work side by side, named "0", "1", ...

    Like a list they have a length, indices, append, extend, pop and del.
    """

    def __init__(self, *modules: Module) -> None:
        super().__init__()
        self._fill(modules)

    def __getitem__(self, index: int) -> Any:
        return self._values()[_place(self, index)]


class ConcatTable(Branches):
    """Give the same input to every module: x -> (m0(x), m1(x), ...).

    >>> import chainrule as cr
    >>> net = cr.nn.ConcatTable(cr.nn.Identity(), cr.nn.ReLU())
    >>> net(cr.tensor([-1.0, 2.0]))
    (tensor([-1.0, 2.0]), tensor([0.0, 2.0]))
    """

    def forward(self, *inputs: Any) -> tuple[Any, ...]:
        """Apply every module to the input."""
        return tuple([module(*inputs) for module in self])


class ParallelTable(Branches):
    """Give each module its own value of the table: (x0, x1, ...) -> (m0(x0), m1(x1), ...).

    Raises ValueError unless there are as many values as modules.

    >>> import chainrule as cr
    >>> net = cr.nn.ParallelTable(cr.nn.Identity(), cr.nn.ReLU())
    >>> net((cr.tensor([-1.0]), cr.tensor([-2.0])))
    (tensor([-1.0]), tensor([0.0]))
    """

    def forward(self, *inputs: Any) -> tuple[Any, ...]:
        """Apply each module to its value."""
        values = table(type(self).__name__, inputs, len(self))
        return tuple([module(x) for module, x in zip(self, values, strict=True)])


class Concat(Branches):
    """Give the same input to every module and join the outputs along `dim`.

    Shapes: outputs (N, C0, ...), (N, C1, ...), ... -> (N, C0 + C1 + ..., ...) for dim=1.
    Raises ValueError for outputs whose other sizes differ: DepthConcat pads them.

    >>> import chainrule as cr
    >>> cr.nn.Concat(cr.nn.Linear(3, 2), cr.nn.Linear(3, 5))(cr.zeros(4, 3)).shape
    (4, 7)
    """

    def __init__(self, *modules: Module, dim: int = 1) -> None:
        super().__init__(*modules)
        self.dim = integer(dim, f"{type(self).__name__} dim")

    def forward(self, *inputs: Any) -> Tensor:
        """Apply every module to the input and join what they give."""
        return cat([module(*inputs) for module in self], self.dim)

    def extra_repr(self) -> str:
        """Show the axis."""
        return f"dim={self.dim}"


class DepthConcat(Concat):
    """A Concat whose outputs may differ in the axes after `dim`: zeros are put around small ones.

    Each is put into the middle, with the odd row or column of zeros after it: Torch's rule, for the
    branches of an Inception block (Szegedy et al., 2014).

    >>> import chainrule as cr
    >>> net = cr.nn.DepthConcat(cr.nn.Conv2d(1, 2, 1), cr.nn.Conv2d(1, 3, 4))
    >>> net(cr.zeros(1, 1, 8, 8)).shape
    (1, 5, 8, 8)
    """

    def forward(self, *inputs: Any) -> Tensor:
        """Apply every module, pad the outputs to the largest, and join them."""
        outputs = [module(*inputs) for module in self]
        ranks = {y.ndim for y in outputs}
        if len(ranks) != 1:
            rule = "modules whose outputs have one number of axes"
            raise failure("DepthConcat", rule, shapes=[y.shape for y in outputs])
        (ndim,) = ranks
        first = axis(self.dim, ndim, "DepthConcat") + 1
        largest = [max(y.shape[d] for y in outputs) for d in range(first, ndim)]
        return cat([F.pad(y, _around(y.shape[first:], largest)) for y in outputs], self.dim)


def _around(sizes: tuple[int, ...], wanted: list[int]) -> tuple[int, ...]:
    """Give the widths, the last axis first, that put an array into the middle of a larger one."""
    pairs = [((m - n) // 2, m - n - (m - n) // 2) for n, m in zip(sizes, wanted, strict=True)]
    return tuple([width for pair in reversed(pairs) for width in pair])


class Parallel(Branches):
    """Give each module its own slice of the input along `input_dim`, join along `output_dim`.

    Shapes: (N, n, ...) is taken apart into n times (N, ...) for input_dim=1.
    Raises ValueError unless there are as many slices as modules.

    >>> import chainrule as cr
    >>> net = cr.nn.Parallel(cr.nn.Linear(3, 2), cr.nn.Linear(3, 5))
    >>> net(cr.zeros(4, 2, 3)).shape
    (4, 7)
    """

    def __init__(self, *modules: Module, input_dim: int = 1, output_dim: int = 1) -> None:
        super().__init__(*modules)
        self.input_dim = integer(input_dim, "Parallel input_dim")
        self.output_dim = integer(output_dim, "Parallel output_dim")

    def forward(self, input: Tensor) -> Tensor:
        """Apply each module to its slice and join what they give."""
        slices = unbind(input, self.input_dim)
        if len(slices) != len(self):
            rule = f"a slice for each of {len(self)} modules along dim {self.input_dim}"
            raise failure("Parallel", f"{rule}, not {len(slices)}", input=input)
        outputs = [module(x) for module, x in zip(self, slices, strict=True)]
        return cat(outputs, self.output_dim)

    def extra_repr(self) -> str:
        """Show the axes."""
        return f"input_dim={self.input_dim}, output_dim={self.output_dim}"
