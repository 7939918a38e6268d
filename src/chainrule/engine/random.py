"""Randomness only through generators: Philox streams keyed by a seed and a path.

The values that a layer draws while it is built come from (seed, its place in the
construction): every constructor call opens a stream of its own, counted within the one that
encloses it.  So a layer that grows, or draws more, leaves the initial values of all others as
they were.  The place is counted and not named, because an attribute's name is not known
until after its layer was built.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import numpy as np

from chainrule.engine import state
from chainrule.engine.op import Array, DType
from chainrule.errors import KindError, failure


class Generator:
    """A seeded stream of random numbers (Philox 4x64), safe to share between threads.

    `Generator(seed)` with an integer from 0 to 2**64 - 1 repeats its stream; without a seed
    it is different each time.

    >>> import chainrule as cr
    >>> a, b = cr.Generator(7), cr.Generator(7)
    >>> bool(cr.rand(3, generator=a)[0] == cr.rand(3, generator=b)[0])
    True
    """

    def __init__(self, seed: int | None = None, *, path: tuple[int, ...] = ()) -> None:
        self._lock = threading.RLock()
        self._begin(seed, path)

    def _begin(self, seed: int | None, path: tuple[int, ...]) -> None:
        if seed is None:
            seed = int(np.random.SeedSequence().generate_state(1, np.uint64)[0])
        if isinstance(seed, bool) or not isinstance(seed, int | np.integer):
            raise failure("Generator", "an integer seed", error=KindError, seed=seed)
        self._seed = int(seed) % 2**64  # negative seeds wrap, as PyTorch's do
        self._path = path
        self._children = 0
        self._made: np.random.Generator | None = None

    @property
    def _rng(self) -> np.random.Generator:
        tracer = state.TRACER.get()
        if tracer is not None:
            tracer.drew()
        if self._made is None:
            sequence = np.random.SeedSequence(self._seed, spawn_key=self._path)
            self._made = np.random.Generator(np.random.Philox(sequence))
        return self._made

    def manual_seed(self, seed: int) -> Generator:
        """Begin the stream of `seed` anew; returns the generator itself."""
        with self._lock:
            self._begin(seed, ())
        return self

    def initial_seed(self) -> int:
        """Give the seed that the stream began with."""
        return self._seed

    def spawn(self) -> Generator:
        """Open the next of this generator's child streams, independent of its own numbers."""
        with self._lock:
            child = Generator(self._seed, path=(*self._path, self._children))
            self._children += 1
        return child

    def get_state(self) -> dict[str, Any]:
        """Give all that `set_state` needs to go on from here; plain values, JSON-ready."""
        with self._lock:
            state = None if self._made is None else _plain(self._made.bit_generator.state)
            return {
                "seed": self._seed,
                "path": list(self._path),
                "children": self._children,
                "stream": state,
            }

    def set_state(self, state: dict[str, Any]) -> None:
        """Go on from a state that `get_state` gave."""
        with self._lock:
            self._begin(int(state["seed"]), tuple(state["path"]))
            self._children = int(state["children"])
            if state["stream"] is not None:
                self._rng.bit_generator.state = _arrays(state["stream"])

    def uniform(self, shape: tuple[int, ...], dtype: DType, low: float, high: float) -> Array:
        """Draw uniform values in [low, high)."""
        with self._lock:
            x = self._rng.random(shape, dtype=_draw_dtype(dtype))
        if (low, high) != (0.0, 1.0):
            x *= high - low
            x += low
        return np.asarray(x, dtype=dtype)

    def normal(self, shape: tuple[int, ...], dtype: DType, mean: float, std: float) -> Array:
        """Draw normal values."""
        with self._lock:
            x = np.asarray(self._rng.standard_normal(shape, dtype=_draw_dtype(dtype)))
        if (mean, std) != (0.0, 1.0):
            x *= std
            x += mean
        return np.asarray(x, dtype=dtype)

    def integers(self, low: int, high: int, shape: tuple[int, ...]) -> Array:
        """Draw integers in [low, high), int64."""
        with self._lock:
            return np.asarray(self._rng.integers(low, high, shape, dtype=np.int64))

    def bernoulli(self, p: float, shape: tuple[int, ...]) -> Array:
        """Draw booleans that are true with probability p."""
        with self._lock:
            return np.asarray(self._rng.random(shape, dtype=np.float32) < p)

    def permutation(self, n: int) -> Array:
        """Draw a permutation of 0..n-1."""
        with self._lock:
            return np.asarray(self._rng.permutation(n))

    def __deepcopy__(self, memo: dict[int, Any]) -> Generator:
        copy = Generator(self._seed)
        copy.set_state(self.get_state())
        return copy

    def __reduce__(self) -> Any:
        return _restore, (self.get_state(),)

    def __repr__(self) -> str:
        return f"Generator(seed={self._seed})"


def _restore(state: dict[str, Any]) -> Generator:
    generator = Generator(0)
    generator.set_state(state)
    return generator


def _draw_dtype(dtype: DType) -> Any:
    return np.float64 if dtype.itemsize == 8 else np.float32


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else value


def _arrays(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _arrays(item) for key, item in value.items()}
    return np.array(value, dtype=np.uint64) if isinstance(value, list) else value


_global = Generator(0)
_seeded = False
_scope: ContextVar[Generator | None] = ContextVar("chainrule_construction", default=None)
_global_lock = threading.Lock()


def default_generator() -> Generator:
    """Give the generator that serves where none is passed; unseeded until `manual_seed`."""
    global _seeded
    if not _seeded:
        with _global_lock:
            if not _seeded:
                _global._begin(None, ())
                _seeded = True
    return _global


def manual_seed(seed: int) -> Generator:
    """Seed the global generator, from which all draws without an explicit one come.

    Shapes and layers drawn afterwards repeat exactly for the same seed.  Raises TypeError if
    the seed is no integer.

    >>> import chainrule as cr
    >>> _ = cr.manual_seed(0); a = cr.rand(2)
    >>> _ = cr.manual_seed(0); bool((a == cr.rand(2)).all())
    True
    """
    global _seeded
    with _global_lock:
        _global.manual_seed(seed)
        _seeded = True
    return _global


def initial_seed() -> int:
    """Give the global generator's seed.

    >>> import chainrule as cr
    >>> _ = cr.manual_seed(3)
    >>> cr.initial_seed()
    3
    """
    return default_generator().initial_seed()


def initialization_generator() -> Generator:
    """Give the stream of the layer that is being built, else the global generator."""
    return _scope.get() or default_generator()


@contextmanager
def construction() -> Iterator[None]:
    """Give what is built inside a stream of its own, counted within the enclosing one."""
    token = _scope.set(initialization_generator().spawn())
    try:
        yield
    finally:
        _scope.reset(token)


@contextmanager
def drawing_from(stream: Generator) -> Iterator[None]:
    """Take initial values inside from a stream: that of a layer whose shapes came later."""
    token = _scope.set(stream)
    try:
        yield
    finally:
        _scope.reset(token)
