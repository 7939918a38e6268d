"""Which kernel runs an operation: a backend is a table of kernel pairs over one namespace.

The fast backend is looked for when the first operation runs; where it cannot be had, NumPy
serves, and one warning says why.  CHAINRULE_BACKEND names another choice.
"""

from __future__ import annotations

import importlib
import os
import threading
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar, Token
from types import SimpleNamespace
from typing import Any, Protocol, TypeVar

import numpy as np

from chainrule.engine.op import Op
from chainrule.engine.state import ANOMALY
from chainrule.errors import BackendError


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

    `calls` counts how often each pair ran forward, so that a test can prove that it did;
    `limits` has the sizes below which pairs leave an operation to its reference.
    """

    limits: Any = SimpleNamespace()

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

    def run(self, program: Any, arrays: Sequence[Any]) -> list[Any]:
        """Run an `engine.program.Program` on its inputs; give its outputs."""
        found: list[Any] = program.run(arrays, self)
        return found

    def add(self, a: Any, b: Any, out: Any = None) -> Any:
        """Give a + b, in `out` if it is given: how gradients are added where branches meet."""
        return self.reference.xp.add(a, b, out=out)

    def copy(self, a: Any, like: Any) -> Any:
        """Give a copy of a gradient, which may be laid out as its value `like`."""
        return a.copy(order="K")

    def update(self, rule: Any, w: Any, g: Any, states: Sequence[Any]) -> bool:
        """Change a parameter w and its state (None: not wanted) by the gradient g, all flat.

        `rule` is an optimiser's, an `optim.rules.Rule`.  False, and nothing is done, where the
        backend has nothing faster than NumPy.
        """
        return False

    def finite(self, arrays: Sequence[Any]) -> bool:
        """Tell whether all arrays are known to be finite throughout: a quick look.

        False says nothing: the backend may have no quick look at such arrays.
        """
        return False

    def enter(self) -> None:
        """Prepare, when this becomes the process's backend."""

    def leave(self) -> None:
        """Undo what `enter` did, when another becomes the process's backend."""

    def __repr__(self) -> str:
        return f"Backend({self.name!r}, {len(self.table)} kernel pairs)"


class Overlay(Backend):
    """Another backend with some operations' pairs replaced: `table` has those that come first.

    All else is the other's.  What runs on it is chosen by `running_on`, not by name.
    """

    def __init__(self, name: str, base: Backend) -> None:
        super().__init__(name, base.reference.xp)
        self.base, self.reference, self.limits = base, base.reference, base.limits

    def select(self, op: Op, arrays: Sequence[Any]) -> Kernel:
        """Choose the pair of our own, and leave all other operations to the base."""
        pair = self.table.get(type(op))
        return self.base.select(op, arrays) if pair is None else pair

    def run(self, program: Any, arrays: Sequence[Any]) -> list[Any]:
        """Run a program as the base does."""
        return self.base.run(program, arrays)

    def add(self, a: Any, b: Any, out: Any = None) -> Any:
        """Add as the base does."""
        return self.base.add(a, b, out)

    def copy(self, a: Any, like: Any) -> Any:
        """Copy as the base does."""
        return self.base.copy(a, like)

    def update(self, rule: Any, w: Any, g: Any, states: Sequence[Any]) -> bool:
        """Change a parameter as the base does."""
        return self.base.update(rule, w, g, states)

    def finite(self, arrays: Sequence[Any]) -> bool:
        """Look as the base does."""
        return self.base.finite(arrays)


NUMPY = Backend("numpy")
_override: ContextVar[Backend | None] = ContextVar("chainrule_backend", default=None)


FAST, VARIABLE = "onednn", "CHAINRULE_BACKEND"


class _Process:
    backend: Backend | None = None  # until the first operation asks
    lock = threading.RLock()


def _renew_lock() -> None:
    _Process.lock = threading.RLock()


if hasattr(os, "register_at_fork"):  # another thread may have held it
    os.register_at_fork(after_in_child=_renew_lock)


def current_backend() -> Backend:
    """Give the backend that runs operations in this thread.

    It is the one that `use_backend` chose, else the one that CHAINRULE_BACKEND names, else
    oneDNN's if it can be loaded, else 'numpy', with a warning that says why.

    >>> import chainrule as cr
    >>> with cr.use_backend("numpy"):
    ...     cr.current_backend()
    Backend('numpy', 0 kernel pairs)
    """
    return _override.get() or _Process.backend or _first_choice()


def _first_choice() -> Backend:
    with _Process.lock:
        if _Process.backend is None:
            named = os.environ.get(VARIABLE, "").strip()
            _install(_find(named, VARIABLE) if named else _fastest())
        assert _Process.backend is not None
        return _Process.backend


def _fastest() -> Backend:
    try:
        return _find(FAST)
    except BackendError as error:
        warnings.warn(
            f"operations run on NumPy, more slowly than on oneDNN: {error} "
            f"(`chainrule doctor` tells more; {VARIABLE}=numpy asks for this without a warning)",
            RuntimeWarning,
            stacklevel=2,
        )
        return NUMPY


def _install(backend: Backend) -> None:
    """Make it the process's backend."""
    with _Process.lock:
        before = _Process.backend
        if before is not backend:
            if before is not None:
                before.leave()
            backend.enter()
            _Process.backend = backend


def _find(name: str, asked: str = "use_backend") -> Backend:
    if name == "numpy":
        return NUMPY
    if not name.isidentifier():
        raise ValueError(f"{asked}: expected the name of a backend, got {name!r}")
    folder = f"chainrule.backends.{name}"
    try:
        module = importlib.import_module(folder)
    except ImportError as error:
        if error.name not in (folder, "chainrule.backends"):  # it lacks something, such as ctypes
            raise BackendError(f"{asked}: {name!r} cannot be loaded: {error}") from error
        raise ValueError(
            f"{asked}: no backend is named {name!r} ({error}); 'numpy' is always there"
        ) from error
    backend: Backend = module.BACKEND
    return backend


class use_backend:
    """Choose by name the backend that runs operations: at once for the whole process.

    In a `with` statement the choice is this thread's and lasts to the end of the block.
    Raises ValueError for an unknown name, BackendError (a RuntimeError) where it cannot be loaded.

    >>> import chainrule as cr
    >>> with cr.use_backend("numpy"):
    ...     cr.current_backend().name
    'numpy'
    """

    def __init__(self, name: str) -> None:
        self._backend = _find(name)
        self._before = _Process.backend
        self._tokens: list[Token[Backend | None]] = []
        _install(self._backend)

    def __enter__(self) -> Backend:
        if self._before is not self._backend:
            _restore(self._before)
        self._tokens.append(_override.set(self._backend))
        return self._backend

    def __exit__(self, *exc: object) -> None:
        _override.reset(self._tokens.pop())


@contextmanager
def running_on(backend: Backend) -> Iterator[Backend]:
    """Have a backend that has no name run this thread's operations inside, an `Overlay` say.

    The graph's nodes keep its pairs, so that a backward may come after the end.
    """
    token = _override.set(backend)
    try:
        yield backend
    finally:
        _override.reset(token)


def _restore(backend: Backend | None) -> None:
    """Give the process the backend it had; None for one that has not chosen yet."""
    if backend is not None:
        _install(backend)
        return
    with _Process.lock:
        if _Process.backend is not None:
            _Process.backend.leave()
        _Process.backend = None
