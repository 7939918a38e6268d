"""What an operation is: settings as fields, arrays as arguments, four methods.

`Op` is the base of every differentiable operation; `Spec` is an array without its data;
`OPS` and `FUNCTIONS` are the two registries that suites walk and tensors look up.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from chainrule.engine.sample import Sample

Array = NDArray[Any]
DType = np.dtype[Any]
F = TypeVar("F", bound=Callable[..., Any])

OPS: dict[str, type[Op]] = {}
"""Every operation class by its class name; filled by defining the class."""


class Spec(NamedTuple):
    """Shape and dtype of an array, and whether a gradient may flow through it."""

    shape: tuple[int, ...]
    dtype: DType
    differentiable: bool = True

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def is_floating(self) -> bool:
        """Whether the dtype is a real floating-point one."""
        return self.dtype.kind == "f"


class Op:
    """One operation: subclasses are frozen dataclasses whose fields are its settings.

    Settings are int, float, bool, str, None and tuples of these, so that an operation prints
    itself in errors, compares, and hashes.  Arrays are always inputs.
    """

    infers = True  # whether `infer` tells the outputs without running the operation
    fresh = True  # whether backward returns new arrays or views of gy, never somebody else's

    def __init_subclass__(cls, register: bool = True, **options: Any) -> None:
        super().__init_subclass__(**options)
        if register:
            OPS[cls.__name__] = cls

    @property
    def name(self) -> str:
        """The operation's name in errors and drawings: LeakyReLU -> leaky_relu."""
        words = re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", type(self).__name__)
        return re.sub(r"([A-Z]+)([A-Z][a-z])", r"\1_\2", words).lower()

    def infer(self, *specs: Any, **_: Any) -> tuple[Spec, ...]:
        """Give the outputs' specs, or raise ShapeError with the rule and the numbers."""
        raise NotImplementedError(f"{type(self).__name__}.infer")

    def forward(self, xp: Any, *arrays: Any, **_: Any) -> tuple[tuple[Any, ...], Any]:
        """Compute (outputs, saved) on arrays of the namespace `xp`; inputs are never written."""
        raise NotImplementedError(f"{type(self).__name__}.forward")

    def backward(self, xp: Any, saved: Any, gy: Any, needs: tuple[bool, ...]) -> tuple[Any, ...]:
        """Give the gradient of each input, None where `needs` is false.

        `gy` is the gradient of the single output, or a tuple (None where no gradient came)
        if the operation has several.
        """
        raise NotImplementedError(f"{type(self).__name__}.backward")

    def describe(self, outputs: tuple[Any, ...], saved: Any) -> tuple[Spec, ...]:
        """Give the outputs' specs after the fact; used only where `infers` is false."""
        return tuple([Spec(np.shape(y), np.asarray(y).dtype) for y in outputs])

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        """Yield the inputs on which the operation is verified."""
        raise NotImplementedError(f"{cls.__name__}.samples")


class _Functions(dict[str, Callable[..., Any]]):
    """Public functions by name; asks `loader` once for the rooms above when a name is missing."""

    loader: Callable[[], None] | None = None

    def __missing__(self, name: str) -> Callable[..., Any]:
        loader = self.loader
        if loader is not None:
            loader()
            self.loader = None  # afterwards: another thread that comes meanwhile has to wait, too
        if name not in self:
            raise KeyError(f"no operation is registered under the name {name!r}")
        return self[name]


FUNCTIONS = _Functions()
"""Public functions by name: the tensors' operators and methods look here when they are called."""


def public(function: F) -> F:
    """Register a public function under its name, so that tensors have it as a method."""
    FUNCTIONS[function.__name__] = function
    return function
