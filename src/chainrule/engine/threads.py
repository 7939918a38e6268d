"""How many threads a computation may use: one budget for the process, which BLAS obeys too.

The budget is, the first of these that is given:

1. what `set_num_threads` was told,
2. CHAINRULE_NUM_THREADS,
3. OMP_NUM_THREADS (the first number of a list; what OpenMP would not accept is passed over),
4. the processors this process may use: its affinity, and at most the CPU quota of its
   container (cgroup's cpu.max or cpu.cfs_quota_us, rounded up).

It is found out when it is first asked for, never at import.

BLAS keeps threads of its own.  They spin for milliseconds after each product, against whatever
else computes; a backend with threads of its own therefore holds BLAS to one thread
(`hold_blas`) and large products are shared between our workers instead (see ops/products.py).
"""

from __future__ import annotations

import importlib
import os
import threading
from operator import index
from pathlib import Path
from typing import Any

import numpy as np  # loads its BLAS, which could not be found otherwise

from chainrule.errors import KindError, expect, failure

OURS, OPENMP = "CHAINRULE_NUM_THREADS", "OMP_NUM_THREADS"

LIMIT = 1024
"""More threads than this is a slip of the hand, which OpenMP would answer by ending the process."""


class Budget:
    """The number of threads, and the version of all that a thread pool should know.

    OpenMP keeps its number of threads for each calling thread.  Who uses it remembers, for each
    thread, the `version` that it applied, and applies `threads` anew when the two differ.

    >>> from chainrule.engine.threads import BUDGET
    >>> seen = BUDGET.version
    >>> BUDGET.version == seen  # nothing to apply
    True
    """

    def __init__(self) -> None:
        self.version = 0
        self.lock = threading.RLock()
        self._threads = 0

    @property
    def threads(self) -> int:
        """The number of threads, found out at the first call; see the module for from where."""
        return self._threads or self._find()

    def set(self, threads: int) -> None:
        """Change the number, for BLAS at once and for others when they next compare versions."""
        with self.lock:
            self._threads = threads
            BLAS.assign(threads)
            self.version += 1

    def _find(self) -> int:
        with self.lock:
            if not self._threads:
                threads, binding = default_threads()
                if binding:
                    BLAS.assign(threads, only_below=binding == "quota")
                self._threads = threads
            return self._threads


class Blas:
    """The BLAS libraries of this process, found through threadpoolctl when first needed.

    What cannot be steered (Accelerate, or a NumPy without BLAS) is no library here.
    """

    def __init__(self) -> None:
        self.held = 0
        self._libraries: list[Any] | None = None
        self._own: list[int] = []  # what each used before it was held

    @property
    def libraries(self) -> list[Any]:
        """Controllers, which have `num_threads` and `set_num_threads`."""
        if self._libraries is None:
            pools = importlib.import_module("threadpoolctl").ThreadpoolController()
            self._libraries = list(pools.select(user_api="blas").lib_controllers)
        return self._libraries

    def assign(self, threads: int, only_below: bool = False) -> None:
        """Let BLAS use so many threads, at once or when it is given back."""
        if self.held:
            self._own = [min(own, threads) if only_below else threads for own in self._own]
            return
        for library in self.libraries:
            if not only_below or library.num_threads > threads:
                library.set_num_threads(threads)

    def hold(self, threads: int) -> None:
        """Keep BLAS to so many threads; see `hold_blas`."""
        if not self.held:
            self._own = [library.num_threads for library in self.libraries]
        self.held = threads
        for library in self.libraries:
            library.set_num_threads(threads)

    def release(self) -> None:
        """Give each library the threads it had, or was assigned meanwhile."""
        if self.held:
            self.held = 0
            for library, own in zip(self.libraries, self._own, strict=True):
                library.set_num_threads(own)


BUDGET = Budget()
BLAS = Blas()


def _renew_lock() -> None:
    BUDGET.lock = threading.RLock()


if hasattr(os, "register_at_fork"):  # another thread may have held it
    os.register_at_fork(after_in_child=_renew_lock)


def set_num_threads(threads: int) -> None:
    """Let operations use at most so many threads, from now on and in the whole process.

    Holds for the backends, for NumPy's BLAS (OpenBLAS, MKL, BLIS) and for our own workers.
    Results do not depend on it, but for the last digits of products that BLAS shares by itself.
    Raises KindError (a TypeError) for what is no integer, ShapeError (a ValueError) for numbers
    outside 1 to 1024.

    >>> import chainrule as cr
    >>> from chainrule.engine.threads import get_num_threads, set_num_threads
    >>> before = get_num_threads()
    >>> set_num_threads(1); get_num_threads()
    1
    >>> set_num_threads(before)
    """
    BUDGET.set(_checked("set_num_threads", threads))


def get_num_threads() -> int:
    """Give the number of threads that operations may use.

    It is what `set_num_threads` was told, else CHAINRULE_NUM_THREADS, else OMP_NUM_THREADS, else
    the processors that this process may use (affinity and the container's CPU quota).
    Raises ShapeError (a ValueError) where CHAINRULE_NUM_THREADS is not a number from 1 to 1024.

    >>> from chainrule.engine.threads import get_num_threads
    >>> get_num_threads() >= 1
    True
    """
    return BUDGET.threads


def hold_blas(threads: int = 1) -> None:
    """Keep NumPy's BLAS to one thread (or so many) until `release_blas`, whatever the budget.

    For a backend that has threads of its own, when it is chosen for the process.  The libraries
    are those loaded now.  Where BLAS itself runs on OpenMP this changes the number of OpenMP's
    threads too, hence the new `BUDGET.version`.  Calling it twice is calling it once.

    >>> from chainrule.engine.threads import blas_threads, hold_blas, release_blas
    >>> hold_blas(); blas_threads() in (1, None)
    True
    >>> release_blas()
    """
    with BUDGET.lock:
        count = _checked("hold_blas", threads)
        if BLAS.held != count:
            BLAS.hold(count)
            BUDGET.version += 1


def release_blas() -> None:
    """Give BLAS back the threads that it had before `hold_blas`, or that the budget says since.

    Without a hold it does nothing.

    >>> from chainrule.engine.threads import release_blas
    >>> release_blas()
    """
    with BUDGET.lock:
        if BLAS.held:
            BLAS.release()
            BUDGET.version += 1


def blas_threads() -> int | None:
    """Give the most threads that a BLAS library uses now; None where none can be steered.

    Looks the libraries up if nobody did before: some milliseconds.

    >>> from chainrule.engine.threads import blas_threads
    >>> blas_threads() is None or blas_threads() >= 1
    True
    """
    with BUDGET.lock:
        return max((library.num_threads for library in BLAS.libraries), default=None)


def blas_held() -> bool:
    """Tell whether BLAS is held to one thread, so that we share large products ourselves.

    Cheap; makes BLAS obey the budget before a first large product.

    >>> from chainrule.engine.threads import blas_held
    >>> blas_held() in (True, False)
    True
    """
    return BUDGET.threads > 0 and BLAS.held == 1


def default_threads() -> tuple[int, str]:
    """Give the number that the environment asks for, and what BLAS does not know by itself.

    That is the name of our variable, "quota" for a container's quota, or nothing.
    """
    ours = os.environ.get(OURS, "").strip()
    if ours:
        rule = f"a whole number from 1 to {LIMIT}"
        expect(ours.isdecimal() and 1 <= int(ours) <= LIMIT, OURS, rule, value=ours)
        return int(ours), OURS
    openmp = openmp_threads()
    if openmp is not None:
        return openmp, ""
    affinity = getattr(os, "sched_getaffinity", None)
    count = len(affinity(0)) if affinity else os.cpu_count() or 1
    quota = cpu_quota()
    return (quota, "quota") if quota is not None and quota < count else (count, "")


def openmp_threads() -> int | None:
    """Give the first number of OMP_NUM_THREADS, None where OpenMP would not accept it."""
    text = os.environ.get(OPENMP, "").split(",")[0].strip()
    return int(text) if text.isdecimal() and 1 <= int(text) <= LIMIT else None


def cpu_quota(groups: str = "/proc/self/cgroup", mount: str = "/sys/fs/cgroup") -> int | None:
    """Give the processors' worth of time that this process's control groups allow, rounded up.

    None without a limit, and where there are no control groups.  A group obeys all above it; a
    container sees its own group as the mount itself, whatever path it is told.

    >>> from chainrule.engine.threads import cpu_quota
    >>> cpu_quota() is None or cpu_quota() >= 1
    True
    """
    try:
        lines = Path(groups).read_text("utf-8").splitlines()
    except (OSError, UnicodeError):
        return None
    found: list[int] = []
    for line in lines:
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if number == "0":
            bases = [Path(mount), Path(mount, "unified")]
        elif "cpu" in controllers.split(","):
            bases = [Path(mount, controllers), Path(mount, "cpu")]
        else:
            continue
        steps = [part for part in path.split("/") if part]
        for base in bases:
            folders = [base.joinpath(*steps[:n]) for n in range(len(steps) + 1)]
            found += [limit for folder in folders if (limit := _limit(folder))]
    return min(found, default=None)


def _limit(folder: Path) -> int | None:
    """Read one group's limit, of either version of control groups."""
    try:
        if (folder / "cpu.max").exists():
            quota, period = (folder / "cpu.max").read_text("ascii").split()
        else:
            names = ("cpu.cfs_quota_us", "cpu.cfs_period_us")
            quota, period = ((folder / name).read_text("ascii") for name in names)
        return -(-int(quota) // int(period)) if int(quota) > 0 else None
    except (OSError, ValueError, ZeroDivisionError):  # "max" is no number
        return None


def _checked(name: str, threads: Any) -> int:
    """Give a number of threads as int, or raise."""
    rule = "a whole number of threads"
    if isinstance(threads, bool | np.ndarray):
        raise failure(name, rule, error=KindError, threads=threads)
    try:
        count = index(threads)
    except TypeError as error:
        raise failure(name, rule, error=KindError, threads=threads) from error
    expect(1 <= count <= LIMIT, name, f"from 1 to {LIMIT} threads", threads=count)
    return count
