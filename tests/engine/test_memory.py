"""Freed memory that is kept, in fresh processes since a process is told once."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from chainrule.engine import memory
from chainrule.engine.memory import keep_freed_memory, return_freed_memory

GLIBC = memory._glibc() is not None
glibc = pytest.mark.skipif(not GLIBC, reason="another C library's allocator")

PRELUDE = """
import resource, threading
import numpy as np
from chainrule.engine.memory import keep_freed_memory, return_freed_memory

def used(count, mb):
    blocks = [np.empty(mb << 20, np.uint8) for _ in range(count)]
    for block in blocks:
        block[::4096] = 1

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize() >> 20
"""


def run(code: str, **environment: str) -> list[str]:
    """Run a program in a fresh process, without huge pages; give the words that it prints."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("MALLOC_", "GLIBC_"))}
    path = str(Path(memory.__file__).parents[2])
    return subprocess.run(
        [sys.executable, "-c", PRELUDE + code],
        env={**kept, "PYTHONPATH": path, "NUMPY_MADVISE_HUGEPAGE": "0", **environment},
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()


@glibc
@pytest.mark.parametrize("place", ["main thread", "helper thread"])
def test_freed_blocks_of_any_size_are_used_again(place: str) -> None:
    code = """
def work():
    for mb in (40, 100, 7):
        used(3, mb)
        before = faults()
        used(3, mb)
        print(faults() - before)
print(keep_freed_memory(), keep_freed_memory())
"""
    start = "work()" if place == "main thread" else "t = threading.Thread(target=work); t.start()"
    first, second, *found = run(code + start)
    assert (first, second) == ("True", "True")
    if place == "main thread":  # 7 MB alone are 1792 pages of 4096 bytes
        assert all(int(count) < 500 for count in found), found
    assert len(found) == 3


@glibc
def test_the_peak_stays_what_it_was() -> None:
    code = """
rng = np.random.default_rng(0)
for step in range(60):
    saved = []
    for _ in range(12):
        saved.append(np.ones(int(rng.integers(1 << 10, 12 << 20)), np.uint8))
    while saved:
        g = np.ones(saved.pop().size, np.uint8)
print(peak())
"""
    (plain,), (kept,) = run(code), run("keep_freed_memory()\n" + code)
    assert int(kept) < 1.05 * int(plain)


@glibc
def test_what_is_kept_can_be_returned() -> None:
    code = """
keep_freed_memory()
blocks = [np.ones(30 << 20, np.uint8) for _ in range(10)]
pin = np.ones(1 << 20, np.uint8)
del blocks
before = resident()
print(return_freed_memory(), before - resident())
"""
    done, less = run(code)
    assert done == "True"
    assert int(less) > 250


@glibc
@pytest.mark.parametrize(
    "setting",
    [{"MALLOC_MMAP_MAX_": "65536"}, {"GLIBC_TUNABLES": "glibc.malloc.mmap_max=65536"}],
)
def test_the_users_own_settings_stand(setting: dict[str, str]) -> None:
    code = """
print(keep_freed_memory())
used(1, 40)
before = faults()
used(1, 40)
print(faults() - before)
"""
    done, count = run(code, **setting)
    assert done == "False"
    assert int(count) > 5000
    assert run(code, GLIBC_TUNABLES="glibc.rtld.optional_static_tls=512")[0] == "True"


def test_nothing_is_told_at_import() -> None:
    code = """
import chainrule as cr, chainrule.ops, chainrule.nn
print(keep_freed_memory.cache_info().currsize)
with cr.use_backend("numpy"):
    cr.nn.functional.conv2d(cr.ones(1, 1, 4, 4), cr.ones(1, 1, 3, 3))
print(keep_freed_memory.cache_info().currsize)
"""
    assert run(code) == ["0", "1"]


def test_other_c_libraries_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_glibc", lambda: None)
    assert keep_freed_memory.__wrapped__() is False
    assert return_freed_memory() is False
    monkeypatch.undo()
    monkeypatch.setattr(sys, "platform", "darwin")
    assert memory._glibc.__wrapped__() is None
    monkeypatch.setattr(sys, "platform", "linux")
    for library in (SimpleNamespace(), SimpleNamespace(mallopt=print)):  # musl has no such names
        monkeypatch.setattr(memory.ctypes, "CDLL", lambda name, library=library: library)
        assert memory._glibc.__wrapped__() is None

    def refuse(name: Any) -> Any:
        raise OSError("static")

    monkeypatch.setattr(memory.ctypes, "CDLL", refuse)
    assert memory._glibc.__wrapped__() is None


@glibc
def test_little_is_kept_once_that_is_asked_for() -> None:
    code = """
from chainrule.engine.memory import keep_little_freed_memory
keep_freed_memory()
before = resident()
used(4, 100)
kept = resident() - before
told = keep_little_freed_memory()
returned = resident() - before
used(4, 100)
print(told, kept > 300, returned < 50, resident() - before < 50)
"""
    assert run(code) == ["True"] * 4


@glibc
def test_a_small_block_holds_no_large_ones_then() -> None:
    code = """
from chainrule.engine.memory import keep_little_freed_memory
keep_freed_memory()
keep_little_freed_memory()
before = resident()
blocks = [np.ones(30 << 20, np.uint8) for _ in range(10)]
pin = np.ones(1 << 16, np.uint8)
del blocks
print(resident() - before < 50)
"""
    assert run(code) == ["True"]


@glibc
def test_little_is_not_asked_for_where_the_user_has_set_the_allocator() -> None:
    code = """
from chainrule.engine.memory import keep_little_freed_memory
print(keep_little_freed_memory())
"""
    assert run(code, MALLOC_TRIM_THRESHOLD_="1000000") == ["False"]
