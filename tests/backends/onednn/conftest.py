"""The backend under test, without the sizes below which it declines, and traps for stray memory."""

from __future__ import annotations

import ctypes
import platform
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from chainrule.engine import dispatch
from chainrule.engine.dispatch import Backend
from chainrule.errors import BackendError
from chainrule.native.library import wanted

PERTURB = -6  # glibc's mallopt(M_PERTURB, byte)
TRAP = 0x40  # freed memory holds 3.0, allocated memory -1.5


def _load() -> Backend | None:
    try:
        return dispatch._find("onednn")
    except BackendError:
        # Where the wheel is a dependency the library must be there, and these tests must run.
        if sys.platform == "linux" and platform.machine() == "x86_64":
            raise
        return None


BACKEND = _load()
KERNELS = wanted()
"""Whether our own kernels compute: CHAINRULE_KERNELS."""

of_kernels = pytest.mark.skipif(not KERNELS, reason="our own kernels are switched off")
"""Marks a test of kernels among others."""

HERE = Path(__file__).parent
NO_LIBRARY = {"test_library.py", "test_networks.py", "test_update.py"}  # these need none
OF_KERNELS = {p.name for p in HERE.glob("test_own*.py")} | {
    f"test_{name}.py" for name in ("windows", "join", "taps", "grid_sample", "programs")
}
"""Tests of our own kernels alone.  Where they are switched off, loading these would put our pairs
into the table; where they are missing for another reason, these fail."""

collect_ignore = sorted(
    ({p.name for p in HERE.glob("test_*.py")} - NO_LIBRARY if BACKEND is None else set())
    | (set() if KERNELS else OF_KERNELS)
)


AVX512_ONLY = {"LocalResponseNorm"} | (set() if KERNELS else {"Softmax", "LogSoftmax"})
"""Pairs that the library computes by a slow reference on other processors: declined there."""


@pytest.fixture(autouse=True)
def _on_this_processor(request: pytest.FixtureRequest) -> None:
    spec = getattr(request.node, "callspec", None)
    name = spec.params.get("name") if spec else None
    if "local_response_norm" in request.node.name:
        name = "LocalResponseNorm"
    if name in AVX512_ONLY:
        from chainrule.backends.onednn.library import search

        library = search().library
        if library is not None and not library.isa.startswith(("AVX-512", "AMX")):
            pytest.skip(f"the library has no fast {name} for {library.isa}")


@pytest.fixture
def backend() -> Backend:
    """The table of kernel pairs; not the backend of the process."""
    assert BACKEND is not None
    return BACKEND


@pytest.fixture
def no_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the fast pairs run on arrays of any size."""
    from chainrule.backends.onednn.backend import Limits

    limits = [name for name, value in vars(Limits).items() if isinstance(value, int)]
    assert len(limits) >= 3
    for name in limits:
        monkeypatch.setattr(Limits, name, 0)


@pytest.fixture
def count_primitives(monkeypatch: pytest.MonkeyPatch) -> None:
    """Count every primitive, and every kernel of our own, that runs."""
    from chainrule.backends.onednn.own import Kernel
    from chainrule.backends.onednn.primitives import Primitive
    from tests.backends.onednn.compare import Executed

    for kind in (Primitive, Kernel):

        def counting(self: Any, *addresses: Any, call: Any = kind.__call__) -> Any:
            Executed.count += 1
            return call(self, *addresses)

        monkeypatch.setattr(kind, "__call__", counting)


@pytest.fixture
def traps(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Fill freed and new memory with values that show, and watch the ends of shared buffers."""
    from chainrule.backends.onednn import runtime

    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt:
        mallopt(PERTURB, TRAP)
    zones: dict[tuple[int, int], int] = {}
    buffer, fence = runtime.Thread.buffer, bytes(range(256)) * 256

    def check() -> None:
        for where in zones.values():
            kept = ctypes.string_at(where, len(fence))
            assert kept == fence, "the library wrote beyond a buffer that it was given"

    def watched(self: Any, slot: int, nbytes: int) -> int:
        check()
        zones.pop((id(self.plans), slot), None)
        start = buffer(self, slot, nbytes + len(fence))
        ctypes.memmove(start + nbytes, fence, len(fence))
        zones[id(self.plans), slot] = start + nbytes
        return start

    monkeypatch.setattr(runtime.Thread, "buffer", watched)
    yield
    check()
    if mallopt:
        mallopt(PERTURB, 0)
