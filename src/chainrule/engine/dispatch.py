"""Which kernel runs an operation: a backend is a table of kernel pairs over one namespace."""

from __future__ import annotations

import importlib
from collections import Counter
from collections.abc import Callable, Sequence
from contextvars import ContextVar, Token
from typing import Any, Protocol, TypeVar

import numpy as np

from chainrule.engine.op import Op
from chainrule.engine.state import ANOMALY


class Kernel(Protocol):
    """A forward and its backward; what one saves is private to the pair."""

    def supports(self, op: Any, arrays: Sequence[Any]) -> bool:
        """Tell whether this pair computes the operation on these arrays."""

    def forward(self, op: Any, arrays: Sequence[Any]) -> tuple[tuple[Any, ...], Any]:
        """Compute (outputs, saved)."""

    def backward(self, op: Any, saved: Any, gy: Any, needs: tuple[bool, ...]) -> tuple[Any, ...]:
        """Compute the inputs' gradients from the output's."""


class Reference:
    """The operation's own formulas on a NumPy-compatible namespace; supports everything."""

    def __init__(self, xp: Any) -> None:
        self.xp = xp

    def supports(self, op: Any, arrays: Sequence[Any]) -> bool:
        """Every operation has its reference."""
        return True

    def forward(self, op: Any, arrays: Sequence[Any]) -> tuple[tuple[Any, ...], Any]:
        """Run the operation's forward."""
        result: tuple[tuple[Any, ...], Any] = op.forward(self.xp, *arrays)
        return result

    def backward(self, op: Any, saved: Any, gy: Any, needs: tuple[bool, ...]) -> tuple[Any, ...]:
        """Run the operation's backward."""
        result: tuple[Any, ...] = op.backward(self.xp, saved, gy, needs)
        return result


K = TypeVar("K")


class Backend:
    """Kernel pairs by operation class, over a namespace that runs every reference.

    `calls` counts how often each pair ran forward, so that a test can prove that it did.
    """

    def __init__(self, name: str, xp: Any = np) -> None:
        self.name = name
        self.reference = Reference(xp)
        self.table: dict[type[Op], Kernel] = {}
        self.calls: Counter[str] = Counter()

    def kernel(self, op_class: type[Op]) -> Callable[[type[K]], type[K]]:
        """Register the decorated class, one instance of it, as the pair for an operation."""

        def register(pair: type[K]) -> type[K]:
            self.table[op_class] = pair()  # type: ignore[assignment]
            return pair

        return register

    def select(self, op: Op, arrays: Sequence[Any]) -> Kernel:
        """Choose the kernel: the only such choice in the program."""
        if self.table and not ANOMALY.get():
            pair = self.table.get(type(op))
            if pair is not None and pair.supports(op, arrays):
                self.calls[type(op).__name__] += 1
                return pair
        return self.reference

    def __repr__(self) -> str:
        return f"Backend({self.name!r}, {len(self.table)} kernel pairs)"


NUMPY = Backend("numpy")
_override: ContextVar[Backend | None] = ContextVar("chainrule_backend", default=None)


class _Process:
    backend = NUMPY


def current_backend() -> Backend:
    """Give the backend that runs operations in this thread.

    >>> import chainrule as cr
    >>> cr.current_backend()
    Backend('numpy', 0 kernel pairs)
    """
    return _override.get() or _Process.backend


def _find(name: str) -> Backend:
    if name == "numpy":
        return NUMPY
    try:
        module = importlib.import_module(f"chainrule.backends.{name}")
    except ModuleNotFoundError as error:
        raise ValueError(
            f"use_backend: no backend is named {name!r} ({error}); 'numpy' is always there"
        ) from error
    backend: Backend = module.BACKEND
    return backend


class use_backend:
    """Choose by name the backend that runs operations: at once for the whole process.

    In a `with` statement the choice is this thread's and lasts to the end of the block.
    Raises ValueError for an unknown name.

    >>> import chainrule as cr
    >>> with cr.use_backend("numpy"):
    ...     cr.current_backend().name
    'numpy'
    """

    def __init__(self, name: str) -> None:
        self._backend = _find(name)
        self._before = _Process.backend
        self._tokens: list[Token[Backend | None]] = []
        _Process.backend = self._backend

    def __enter__(self) -> Backend:
        _Process.backend = self._before
        self._tokens.append(_override.set(self._backend))
        return self._backend

    def __exit__(self, *exc: object) -> None:
        _override.reset(self._tokens.pop())
