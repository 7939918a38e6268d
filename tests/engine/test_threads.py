"""The budget of threads: where it comes from, what is refused, what BLAS is told."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from chainrule.engine import threads
from chainrule.engine.threads import (
    BUDGET,
    LIMIT,
    Blas,
    Budget,
    blas_held,
    blas_threads,
    cpu_quota,
    default_threads,
    get_num_threads,
    hold_blas,
    release_blas,
    set_num_threads,
)
from chainrule.errors import KindError, ShapeError


class Library:
    """A BLAS that remembers what it was told."""

    def __init__(self, count: int) -> None:
        self.num_threads = count
        self.told: list[int] = []

    def set_num_threads(self, count: int) -> None:
        self.num_threads = count
        self.told.append(count)


@pytest.fixture
def budget(monkeypatch: pytest.MonkeyPatch) -> Budget:
    """A budget of its own that nobody has asked yet, on 16 processors without a quota."""
    for name in (threads.OURS, threads.OPENMP):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(16)), raising=False)
    monkeypatch.setattr(threads, "cpu_quota", lambda: None)
    fresh = Budget()
    monkeypatch.setattr(threads, "BUDGET", fresh)
    return fresh


@pytest.fixture
def libraries(monkeypatch: pytest.MonkeyPatch) -> list[Library]:
    """Two BLAS libraries in place of the real ones."""
    found = [Library(16), Library(4)]
    blas = Blas()
    blas._libraries = list(found)
    monkeypatch.setattr(threads, "BLAS", blas)
    return found


def counts(libraries: list[Library]) -> list[int]:
    return [library.num_threads for library in libraries]


@pytest.mark.parametrize(
    ("ours", "openmp", "quota", "expected"),
    [
        (None, None, None, (16, "")),
        (None, "3", None, (3, "")),
        (None, "3,2", None, (3, "")),
        (None, "0", None, (16, "")),
        (None, "many", None, (16, "")),
        (None, "-2", None, (16, "")),
        (None, "", 2, (2, "quota")),
        (None, None, 16, (16, "")),
        (None, "6", 2, (6, "")),
        ("5", "3", 2, (5, threads.OURS)),
        (" 7 ", None, None, (7, threads.OURS)),
        ("", "3", None, (3, "")),
        (str(LIMIT), None, None, (LIMIT, threads.OURS)),
    ],
)
@pytest.mark.usefixtures("budget")
def test_where_the_budget_comes_from(
    monkeypatch: pytest.MonkeyPatch,
    ours: str | None,
    openmp: str | None,
    quota: int | None,
    expected: tuple[int, str],
) -> None:
    for name, value in ((threads.OURS, ours), (threads.OPENMP, openmp)):
        if value is not None:
            monkeypatch.setenv(name, value)
    monkeypatch.setattr(threads, "cpu_quota", lambda: quota)
    assert default_threads() == expected


@pytest.mark.usefixtures("budget", "libraries")
@pytest.mark.parametrize(
    "value", ["abc", "0", "-1", "1.5", "2,2", str(LIMIT + 1), "\N{DIGIT ONE}x"]
)
def test_a_bad_variable_is_named(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv(threads.OURS, value)
    with pytest.raises(ShapeError, match=r"CHAINRULE_NUM_THREADS.*from 1 to 1024.*got value"):
        get_num_threads()
    set_num_threads(2)  # what the program says goes before
    assert get_num_threads() == 2


@pytest.mark.parametrize("call", [set_num_threads, hold_blas])
def test_bad_numbers_are_refused_and_change_nothing(call: Any) -> None:
    before = get_num_threads(), BUDGET.version, blas_threads()
    for value in (0, -1, LIMIT + 1, np.int64(0)):
        with pytest.raises(ShapeError, match=rf"{call.__name__}: .*1 to 1024.*{int(value)}"):
            call(value)
    for wrong in (True, False, 2.0, "2", None, np.True_, np.ones(2, int), [2]):
        with pytest.raises(KindError, match=rf"{call.__name__}: .*whole number"):
            call(wrong)
    assert (get_num_threads(), BUDGET.version, blas_threads()) == before


def test_integers_of_numpy_are_numbers(budget: Budget, libraries: list[Library]) -> None:
    set_num_threads(np.int32(3))
    assert get_num_threads() == 3
    assert type(budget.threads) is int


def test_the_default_is_found_once_and_leaves_blas_alone(
    budget: Budget, libraries: list[Library], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert get_num_threads() == 16
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0}, raising=False)
    assert get_num_threads() == 16
    assert [library.told for library in libraries] == [[], []]


def test_blas_is_told_what_it_cannot_know(
    budget: Budget, libraries: list[Library], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threads, "cpu_quota", lambda: 6)
    assert get_num_threads() == 6
    assert counts(libraries) == [6, 4]  # the second was limited by its own variable
    budget._threads = 0
    monkeypatch.setenv(threads.OURS, "9")
    assert not blas_held()  # asked before a large product
    assert counts(libraries) == [9, 9]


def test_setting_tells_blas_at_once_and_raises_the_version(
    budget: Budget, libraries: list[Library]
) -> None:
    seen = budget.version
    set_num_threads(3)
    assert counts(libraries) == [3, 3]
    assert budget.version != seen


def test_a_hold_outlives_changes_and_gives_back(budget: Budget, libraries: list[Library]) -> None:
    version = budget.version
    hold_blas()
    assert counts(libraries) == [1, 1]
    assert blas_held()
    assert blas_threads() == 1
    assert budget.version == version + 1
    hold_blas()  # again: nothing
    assert budget.version == version + 1
    release_blas()
    assert counts(libraries) == [16, 4]
    assert not blas_held()
    assert budget.version == version + 2
    release_blas()
    assert budget.version == version + 2

    hold_blas()
    set_num_threads(5)
    assert counts(libraries) == [1, 1]
    hold_blas(2)
    assert counts(libraries) == [2, 2]
    assert not blas_held()  # not to one thread
    release_blas()
    assert counts(libraries) == [5, 5]


def test_a_quota_found_during_a_hold(
    budget: Budget, libraries: list[Library], monkeypatch: pytest.MonkeyPatch
) -> None:
    hold_blas()
    monkeypatch.setattr(threads, "cpu_quota", lambda: 6)
    assert get_num_threads() == 6
    release_blas()
    assert counts(libraries) == [6, 4]


def test_without_a_library_that_can_be_steered(
    budget: Budget, monkeypatch: pytest.MonkeyPatch
) -> None:
    blas = Blas()
    blas._libraries = []
    monkeypatch.setattr(threads, "BLAS", blas)
    set_num_threads(2)
    hold_blas()
    assert blas_threads() is None
    release_blas()
    assert get_num_threads() == 2


@pytest.fixture
def own_threads() -> Iterator[None]:
    before, held = get_num_threads(), threads.BLAS.held
    release_blas()
    yield
    set_num_threads(before)
    release_blas()
    if held:
        hold_blas(held)


@pytest.mark.usefixtures("own_threads")
@pytest.mark.skipif(blas_threads() is None, reason="this BLAS cannot be steered")
def test_the_real_blas_obeys() -> None:
    set_num_threads(2)
    assert blas_threads() == 2
    hold_blas()
    assert blas_threads() == 1
    release_blas()
    assert blas_threads() == 2


@pytest.mark.usefixtures("own_threads")
@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_keeps_the_budget_and_can_change_it() -> None:
    set_num_threads(3)
    hold_blas()
    holding, done = threading.Event(), threading.Event()

    def hold() -> None:
        with BUDGET.lock:
            holding.set()
            done.wait(30)

    other = threading.Thread(target=hold)
    other.start()
    holding.wait(30)
    child = os.fork()
    if child == 0:
        try:
            signal.alarm(20)  # ends a child that waits for ever
            assert (get_num_threads(), blas_threads() or 1) == (3, 1)
            np.ones((300, 300)) @ np.ones((300, 300))
            set_num_threads(1)
            release_blas()
            assert get_num_threads() == 1
        except BaseException:
            os._exit(1)
        os._exit(0)
    done.set()
    other.join()
    assert os.waitpid(child, 0)[1] == 0
    assert get_num_threads() == 3


def run(code: str, **environment: str) -> str:
    """Run a program in a fresh process and give what it prints."""
    kept = {k: v for k, v in os.environ.items() if not k.endswith("_NUM_THREADS")}
    path = str(Path(threads.__file__).parents[2])
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**kept, "PYTHONPATH": path, "CHAINRULE_BACKEND": "numpy", **environment},
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()


def test_nothing_happens_at_import() -> None:
    """A bad variable is no reason for an import to fail, and threadpoolctl is loaded late."""
    code = """
import sys, chainrule as cr, numpy as np
import chainrule.engine.threads, chainrule.engine.workers, chainrule.ops
print("threadpoolctl" in sys.modules)
cr.ones(8, 8) @ cr.ones(8, 8)
print("threadpoolctl" in sys.modules)
try:
    cr.ones(512, 512) @ cr.ones(512, 512)
except ValueError as error:
    print(error)
"""
    first, second, third = run(code, CHAINRULE_NUM_THREADS="abc").splitlines()
    assert (first, second) == ("False", "False")
    assert third.startswith("CHAINRULE_NUM_THREADS: expected a whole number")


@pytest.mark.skipif(blas_threads() is None, reason="this BLAS cannot be steered")
def test_blas_obeys_the_variable_from_the_first_large_product_on() -> None:
    code = """
import chainrule as cr
from chainrule.engine.threads import BLAS
cr.ones(512, 512) @ cr.ones(512, 512)
print([library.num_threads for library in BLAS.libraries])
"""
    assert set(eval(run(code, CHAINRULE_NUM_THREADS="3"))) == {3}


# The quotas of containers


def write(folder: Path, **files: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text + "\n")


def quota(tmp_path: Path, lines: str) -> int | None:
    (tmp_path / "cgroup").write_text(lines)
    return cpu_quota(str(tmp_path / "cgroup"), str(tmp_path / "mount"))


def test_quota_of_the_second_version(tmp_path: Path) -> None:
    mount = tmp_path / "mount"
    write(mount / "a" / "b", cpu__max="max 100000")
    assert quota(tmp_path, "0::/a/b\n") is None
    write(mount / "a", cpu__max="250000 100000")  # a group obeys those above it
    assert quota(tmp_path, "0::/a/b\n") == 3
    write(mount / "a" / "b", cpu__max="50000 100000")
    assert quota(tmp_path, "0::/a/b\n") == 1
    assert quota(tmp_path, "0::/a/b/new\n") == 1
    assert quota(tmp_path, "0::/other\n") is None
    write(mount, cpu__max="400000 100000")  # inside a container: the mount is its group
    assert quota(tmp_path, "0::/\n") == 4
    assert quota(tmp_path, "0::/docker/1234\n") == 4


@pytest.mark.parametrize("name", ["cpu", "cpu,cpuacct"])
def test_quota_of_the_first_version(tmp_path: Path, name: str) -> None:
    group = tmp_path / "mount" / name / "docker"
    lines = f"5:memory:/else\n3:{name}:/docker\n0::/\n"
    write(group, cpu__cfs_quota_us="-1", cpu__cfs_period_us="100000")
    write(tmp_path / "mount" / "memory" / "else", cpu__max="1 1")
    assert quota(tmp_path, lines) is None
    write(group, cpu__cfs_quota_us="150000")
    assert quota(tmp_path, lines) == 2


@pytest.mark.parametrize("text", ["", "max", "many 100000", "0 100000", "5 0", "1 2 3", "\xe9 1"])
def test_what_is_no_quota(tmp_path: Path, text: str) -> None:
    write(tmp_path / "mount", cpu__max=text)
    assert quota(tmp_path, "0::/\n") is None
    assert cpu_quota(str(tmp_path / "missing"), str(tmp_path / "mount")) is None
    assert quota(tmp_path, "nonsense\n0\n\n") is None
