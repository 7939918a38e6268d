"""Memory for large arrays: kept when it is freed.

A training step allocates and frees the same hundreds of megabytes again and again.  The C
library gives large blocks back to the system, which hands them out anew page by page, each
filled with zeros: in a VGG-16 step 60 to 220 ms, depending on the size of pages.
"""

from __future__ import annotations

import ctypes
import os
import sys
from functools import cache
from typing import Any

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _MMAP_MAX = -1, -3, -4  # the names of mallopt, in malloc.h
_MOST_KEPT, _LITTLE = (1 << 31) - 1, 32 << 20
_MAPPED, _MANY = 1 << 20, 1 << 16  # bytes of a block that is mapped on its own, and such blocks
_SETTINGS = ("MALLOC_MMAP_MAX_", "MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_")


@cache
def keep_freed_memory() -> bool:
    """Have the C library keep freed blocks of every size for the next array; tell whether it does.

    For glibc: no block is mapped on its own, and of the free memory at the end of its heap up to
    2 GB stay.  The peak is what it was; between peaks the process stays as large as it was at its
    largest, less what `return_freed_memory` returns.  Elsewhere, and where the user has set the
    allocator by MALLOC_... or GLIBC_TUNABLES, nothing is done.  Called by those who allocate much,
    never at import; the first call counts.

    >>> from chainrule.engine.memory import keep_freed_memory
    >>> keep_freed_memory() in (True, False)
    True
    """
    chosen = any(name in os.environ for name in _SETTINGS)
    if chosen or "glibc.malloc" in os.environ.get("GLIBC_TUNABLES", ""):
        return False
    library = _glibc()
    if library is None:
        return False
    done = library.mallopt(_MMAP_MAX, 0) and library.mallopt(_TRIM_THRESHOLD, _MOST_KEPT)
    return bool(done)


def keep_little_freed_memory() -> bool:
    """Return what was freed; from now on map blocks of 1 MB on their own, and keep 32 MB at most.

    For work whose shapes keep changing, where what is kept for the same shape again only adds up,
    and where a small block that outlives its step would hold large ones below it.  Does nothing,
    and tells so, unless `keep_freed_memory` is in force.

    >>> from chainrule.engine.memory import keep_little_freed_memory
    >>> keep_little_freed_memory() in (True, False)
    True
    """
    if not keep_freed_memory():
        return False
    return_freed_memory()
    settings = (_MMAP_MAX, _MANY), (_MMAP_THRESHOLD, _MAPPED), (_TRIM_THRESHOLD, _LITTLE)
    return all(_glibc().mallopt(name, value) for name, value in settings)


def return_freed_memory() -> bool:
    """Return to the system what was freed and kept; tell whether anything was returned.

    After a large piece of work whose memory the process will not need again.  It costs the time of
    one pass over the free blocks, and the next arrays are faulted in anew.

    >>> from chainrule.engine.memory import return_freed_memory
    >>> return_freed_memory() in (True, False)
    True
    """
    library = _glibc()
    return library is not None and bool(library.malloc_trim(ctypes.c_size_t(0)))


@cache
def _glibc() -> Any:
    """Give the C library if it is glibc, whose allocator can be told."""
    if not sys.platform.startswith("linux"):
        return None
    try:
        library = ctypes.CDLL(None)
    except OSError:
        return None
    names = ("gnu_get_libc_version", "mallopt", "malloc_trim")
    return library if all(hasattr(library, name) for name in names) else None
