"""Which arrays were written in place, and when: one clock for the process.

A node notes the clock when it saves values; at its backward a saved array that was written
later is an error.  Nothing is stored for the arrays that nobody writes, so that the usual
operation pays one integer for the protection.  Views count as the array that owns the memory.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Iterator
from typing import Any

import numpy as np

_lock = threading.Lock()
_last: dict[int, tuple[int, Any]] = {}


class _Clock:
    now = 0


CLOCK = _Clock()


def root(array: Any) -> Any:
    """Give the object that owns the array's memory."""
    while (base := getattr(array, "base", None)) is not None:
        array = base
    return array


def mark(*arrays: Any) -> None:
    """Note that the memory of these arrays was written just now."""
    with _lock:
        CLOCK.now = now = CLOCK.now + 1
        for owner in arrays:
            while (base := getattr(owner, "base", None)) is not None:
                owner = base
            key = id(owner)
            known = _last.get(key)
            _last[key] = (now, _anchor(owner, key) if known is None else known[1])


def _anchor(owner: Any, key: int) -> Any:
    """Watch the owner, so that its entry goes with it."""
    try:
        return weakref.ref(owner, lambda _: _last.pop(key, None))
    except TypeError:  # bytes and mappings cannot be watched: keep them, so the id stays theirs
        return owner


def version(array: Any) -> int:
    """Give the time of the last write, 0 if there was none."""
    return _last.get(id(root(array)), (0, None))[0]


def arrays_in(saved: Any) -> Iterator[Any]:
    """Walk the arrays inside a kernel's saved state."""
    if type(saved) is np.ndarray:  # before the others: its interface is made anew when asked for
        yield saved
    elif isinstance(saved, tuple | list):
        for item in saved:
            yield from arrays_in(item)
    elif hasattr(saved, "__array_interface__"):
        yield saved
    elif hasattr(saved, "saved_arrays"):
        yield from arrays_in(saved.saved_arrays)


def written_since(saved: Any, stamp: int) -> bool:
    """Tell whether any array in `saved` was written after the clock read `stamp`."""
    if stamp == CLOCK.now:
        return False
    return any(version(array) > stamp for array in arrays_in(saved))
