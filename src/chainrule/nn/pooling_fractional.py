"""Fractional max pooling layers: random windows, drawn anew at each call."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from chainrule.engine.random import Generator
from chainrule.engine.tensor import Tensor
from chainrule.errors import failure
from chainrule.nn import functional as F
from chainrule.nn.dropout import DrawingLayer
from chainrule.ops.arguments import ntuple
from chainrule.ops.formulas import number

Size = int | Sequence[int]
Ratio = float | Sequence[float]


class FractionalMaxPooling(DrawingLayer):
    """Base of the fractional max pooling layers; random in evaluation too, as in PyTorch."""

    draws_always = True
    _spatial: int
    _function: Callable[..., Any]

    def __init__(
        self,
        kernel_size: Size,
        output_size: Size | None = None,
        output_ratio: Ratio | None = None,
        return_indices: bool = False,
        _random_samples: Tensor | None = None,
        *,
        generator: Generator | None = None,
    ) -> None:
        super().__init__(generator)
        name, d = type(self).__name__, self._spatial
        self.kernel_size = ntuple(kernel_size, d, f"{name} kernel_size")
        if min(self.kernel_size) < 1:
            raise failure(name, "kernel_size of at least 1", kernel_size=kernel_size)
        self.return_indices = return_indices
        self.register_buffer("_random_samples", _random_samples)
        if (output_size is None) == (output_ratio is None):
            rule = "either an output_size or an output_ratio"
            raise failure(name, rule, output_size=output_size, output_ratio=output_ratio)
        self.output_size = (
            None if output_size is None else ntuple(output_size, d, f"{name} output_size")
        )
        self.output_ratio = None if output_ratio is None else self._ratios(output_ratio)

    def _ratios(self, value: Ratio) -> tuple[float, ...]:
        name, d = type(self).__name__, self._spatial
        ratios = tuple(value) if isinstance(value, Sequence) else (value,) * d
        for ratio in ratios:
            if not 0 < number(ratio, f"{name} output_ratio") < 1:
                raise failure(name, "an output_ratio between 0 and 1", output_ratio=value)
        if len(ratios) != d:
            raise failure(name, f"an output_ratio or {d} of them", output_ratio=value)
        return ratios

    def forward(self, input: Tensor) -> Any:
        """Take the largest value of each window; with `return_indices` also where it was."""
        generator = self._generator_for(input) if self._random_samples is None else None
        return type(self)._function(
            input,
            self.kernel_size,
            self.output_size,
            self.output_ratio,
            self.return_indices,
            self._random_samples,
            generator=generator,
        )

    def extra_repr(self) -> str:
        """Show nothing, as PyTorch does."""
        return ""


class FractionalMaxPool2d(FractionalMaxPooling):
    """The largest value of each of windows at random places (Graham, 2014).

    Shapes: (N, C, H, W) or (C, H, W) -> (..., *output_size), or floor(output_ratio * size).  Either
    is given, as a number or as (height, width).  Settings and `_random_samples`, which take
    the place of random ones, are those of `functional.fractional_max_pool2d`; random ones
    come from `generator` (the global one if None).  Raises ValueError for both or neither size, for
    ratios outside (0, 1) and windows below 1.

    >>> import chainrule as cr
    >>> cr.nn.FractionalMaxPool2d(2, output_ratio=0.7)(cr.zeros(1, 3, 10, 20)).shape
    (1, 3, 7, 14)
    """

    _spatial = 2
    _function = staticmethod(F.fractional_max_pool2d)


class FractionalMaxPool3d(FractionalMaxPooling):
    """The largest value of each of windows at random places of a volume; see FractionalMaxPool2d.

    Shapes: (N, C, D, H, W) or (C, D, H, W).

    >>> import chainrule as cr
    >>> cr.nn.FractionalMaxPool3d(2, output_size=(2, 3, 4))(cr.zeros(1, 3, 6, 6, 6)).shape
    (1, 3, 2, 3, 4)
    """

    _spatial = 3
    _function = staticmethod(F.fractional_max_pool3d)
