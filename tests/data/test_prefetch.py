from __future__ import annotations

import gc
import os
import subprocess
import sys
import textwrap
import threading
import time
import weakref
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chainrule.data import DataLoader, prefetch
from chainrule.data.dataset import Dataset
from chainrule.errors import DataError

LONG = 20.0
"""Seconds after which something that should have happened has not."""


class Counted(Dataset):
    """Notes which images were asked for, and by which thread."""

    def __init__(self, n: int) -> None:
        super().__init__(np.zeros(n, int), ["a"])
        self.asked: list[int] = []
        self.threads: set[str] = set()
        self.before: Callable[[int], None] = lambda index: None

    def image(self, index: int) -> np.ndarray:
        self.asked.append(index)
        self.threads.add(threading.current_thread().name)
        self.before(index)
        return np.full((1, 1, 1), index)


def eventually(true: Callable[[], bool]) -> bool:
    end = time.monotonic() + LONG
    while not true() and time.monotonic() < end:
        time.sleep(0.002)
    return true()


def loaders() -> list[threading.Thread]:
    return [t for t in threading.enumerate() if t.name.startswith("loader-")]


@pytest.fixture(autouse=True)
def _no_thread_stays() -> Any:
    gc.collect()
    assert eventually(lambda: not loaders())
    yield
    gc.collect()
    assert eventually(lambda: not loaders()), "a loader's thread outlived its walk"


@given(
    workers=st.integers(1, 4), factor=st.integers(1, 3), size=st.integers(1, 9), seed=st.integers()
)
@settings(max_examples=25, deadline=None)
def test_never_more_is_begun_than_the_queue_holds(
    workers: int, factor: int, size: int, seed: int
) -> None:
    data = Counted(60)
    walk = iter(DataLoader(data, size, num_workers=workers, prefetch_factor=factor))
    pause = np.random.default_rng(abs(seed)).random(60) < 0.3
    most = workers * factor
    batches = -(-60 // size)
    for taken in range(batches + 1):
        if pause[taken % 60]:  # time for the threads to go on, as far as they may
            due = min(60, (taken + most) * size)
            assert eventually(lambda due=due: len(data.asked) >= due)  # type: ignore[misc]
            time.sleep(0.002)
        assert len({index // size for index in data.asked}) <= min(taken + most, batches)
        if taken < batches:
            next(walk)
    assert sorted(data.asked) == list(range(60))  # each once
    assert list(walk) == []


def test_threads_do_the_work_and_the_caller_helps_where_it_waits() -> None:
    data = Counted(8)
    caller = threading.current_thread().name
    held = threading.Event()

    def hold(index: int) -> None:
        if threading.current_thread().name != caller:
            assert held.wait(LONG)

    data.before = hold
    walk = iter(DataLoader(data, 8, num_workers=1))  # two chunks: one is held, one free
    assert eventually(lambda: bool(data.asked))
    timer = threading.Timer(0.05, held.set)
    timer.start()
    images, _ = next(walk)
    timer.join()
    assert images.ravel().tolist() == list(range(8))
    assert data.threads == {caller, "loader-1"}


def test_a_walk_that_is_not_walked_is_made_ahead() -> None:
    data = Counted(20)
    walk = iter(DataLoader(data, 4, num_workers=2))
    assert eventually(lambda: len(data.asked) == 16)
    assert threading.current_thread().name not in data.threads
    assert len(list(walk)) == 5


def test_several_walks_at_once() -> None:
    loader = DataLoader(Counted(30), 4, num_workers=2)
    for (a, _), (b, _), (c, _) in zip(loader, loader, loader, strict=True):
        assert (a == b).all()
        assert (b == c).all()
    walks = [iter(loader) for _ in range(3)]
    sizes: list[list[int]] = [[] for _ in walks]

    def walk(place: int) -> None:
        sizes[place] = [len(images) for images, _ in walks[place]]

    threads = [threading.Thread(target=walk, args=(place,)) for place in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LONG)
    assert sizes == [[4] * 7 + [2]] * 3


def test_leaving_early_ends_the_threads() -> None:
    loader = DataLoader(Counted(1000), 4, num_workers=3)
    for _ in loader:
        break
    assert eventually(lambda: not loaders())

    with pytest.raises(RuntimeError, match="in the body"):
        _raise_in(loader)
    assert eventually(lambda: not loaders())

    walk = iter(loader)
    next(walk)
    walk.close()
    assert not loaders()  # closing waits for them
    assert list(walk) == []


def _raise_in(loader: DataLoader) -> None:
    for _ in loader:
        raise RuntimeError("in the body")


def test_a_walk_in_a_cycle_is_collected() -> None:
    walk: Any = iter(DataLoader(Counted(1000), 4, num_workers=2))
    cycle = [walk]
    cycle.append(cycle)
    del walk, cycle
    gc.collect()
    assert eventually(lambda: not loaders())


def test_collection_in_a_worker_does_not_hang() -> None:
    """The last reference to another walk goes in a thread of this one."""
    others = [iter(DataLoader(Counted(1000), 4, num_workers=2)) for _ in range(8)]
    data = Counted(32)
    data.before = lambda index: others.clear()
    assert len(list(DataLoader(data, 4, num_workers=2))) == 8
    assert eventually(lambda: not loaders())


def test_an_error_ends_the_threads_and_is_the_first_in_order() -> None:
    data = Counted(40)

    def torn(index: int) -> None:
        if index in (9, 13, 14):
            if index == 9:
                time.sleep(0.02)  # the others come first in time
            raise ValueError(f"image {index}")

    data.before = torn
    for _ in range(5):
        walk = iter(DataLoader(data, 8, num_workers=4))
        next(walk)
        with pytest.raises(DataError, match="image 9: ValueError: image 9") as caught:
            next(walk)
        assert not loaders()
        frames = [entry.name for entry in caught.traceback]
        assert "read" in frames
        assert list(walk) == []


def test_an_error_goes_when_its_handler_ends() -> None:
    """Without the collector: an error in a cycle would keep a batch's arrays with it."""

    def torn(index: int) -> None:
        raise ValueError(f"image {index}")

    data = Counted(8)
    data.before = torn
    walk = iter(DataLoader(data, 4, num_workers=2))
    gc.disable()
    try:
        try:
            next(walk)
        except DataError as error:
            kept = weakref.ref(error)
        assert eventually(lambda: kept() is None)
    finally:
        gc.enable()


def test_batches_are_not_kept() -> None:
    """What was taken is held by the caller alone."""
    alive: list[Any] = []

    class Tracked:
        pass

    def collate(samples: list[Any]) -> Any:
        batch = Tracked()
        alive.append(weakref.ref(batch))
        return batch

    walk = iter(DataLoader(Counted(60), 2, num_workers=2, collate_fn=collate))
    for _ in range(30):
        batch = next(walk)
        del batch
        assert eventually(lambda: sum(ref() is not None for ref in list(alive)) <= 4)
    assert list(walk) == []
    assert eventually(lambda: not any(ref() for ref in alive))


def test_threads_see_the_callers_context() -> None:
    setting: ContextVar[str] = ContextVar("setting", default="outside")
    seen: set[str] = set()
    data = Counted(40)
    data.before = lambda index: seen.add(setting.get())
    token = setting.set("inside")
    try:
        walk = iter(DataLoader(data, 4, num_workers=3))
    finally:
        setting.reset(token)
    assert eventually(lambda: len(data.asked) == 24)
    assert seen == {"inside"}
    walk.close()


@pytest.mark.skipif(sys.platform != "linux", reason="priorities of threads are Linux's")
def test_threads_give_way_to_the_kernels() -> None:
    def priority() -> int:
        return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

    seen: dict[str, int] = {}
    data = Counted(40)
    data.before = lambda index: seen.setdefault(threading.current_thread().name, priority())
    here = priority()
    walk = iter(DataLoader(data, 4, num_workers=2))
    assert eventually(lambda: len(data.asked) == 16)
    assert set(seen.values()) == {min(here + prefetch.NICENESS, 19)}
    assert len(list(walk)) == 10
    assert priority() == here


def run(program: str) -> subprocess.CompletedProcess[str]:
    """Run a program in a process of its own; whatever it does, it must come to its end."""
    setup = """
    import gc, os, signal, sys, threading, time
    import numpy as np
    from chainrule.data import DataLoader
    from chainrule.data.dataset import Dataset

    class Slow(Dataset):
        def __init__(self, n=1000):
            super().__init__(np.zeros(n, int), ["a"])
        def image(self, index):
            time.sleep(0.001)
            return np.full((1, 4, 4), index)
    """
    text = textwrap.dedent(setup) + textwrap.dedent(program)
    return subprocess.run(
        [sys.executable, "-X", "dev", "-c", text],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize(
    "program",
    [
        "walk = iter(DataLoader(Slow(), 8, num_workers=4)); next(walk)",
        "walk = iter(DataLoader(Slow(), 8, num_workers=4)); walk.me = walk",
        "for _ in DataLoader(Slow(), 8, num_workers=4): break",
        "walk = iter(DataLoader(Slow(), 8, num_workers=4)); next(walk); sys.exit(0)",
        "loader = DataLoader(Slow(40), 8, num_workers=4); list(loader); list(loader)",
        "walks = [iter(DataLoader(Slow(), 8, num_workers=2)) for _ in range(5)]",
    ],
)
def test_the_program_ends_in_silence(program: str) -> None:
    done = run(program)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_end_waits_for_the_images_that_are_being_read() -> None:
    """A thread that the interpreter's end cuts off in a library's code may take it down."""
    done = run(
        """
        begun = threading.Event()
        class Told(Slow):
            def image(self, index):
                begun.set()
                time.sleep(0.1)
                print(index, flush=True)
                return super().image(index)
        walk = iter(DataLoader(Told(), 2, num_workers=1))
        assert begun.wait(20)
        """
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "0\n1\n", "")


def test_ctrl_c_ends_a_walk() -> None:
    done = run(
        """
        def interrupt():
            time.sleep(0.2)
            os.kill(os.getpid(), signal.SIGINT)

        for wait in (0.0, 0.001, 0.05):  # in the waiting, or in the body
            threading.Thread(target=interrupt).start()
            taken = 0
            loader = DataLoader(Slow(100_000), 8, num_workers=2)
            try:
                for _ in loader:
                    taken += 1
                    time.sleep(wait)
            except KeyboardInterrupt:
                pass
            assert abs(loader.state_dict()["walk"]["batches"] - taken) <= 1
            end = time.monotonic() + 20
            while threading.active_count() > 1 and time.monotonic() < end:
                time.sleep(0.01)
            assert threading.active_count() == 1, threading.enumerate()
        print("over")
        """
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "over\n", "")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.filterwarnings("ignore:This process.*is multi-threaded:DeprecationWarning")
def test_a_walk_goes_on_after_a_fork() -> None:
    done = run(
        """
        import warnings
        warnings.simplefilter("ignore", DeprecationWarning)  # of forking with threads
        def rest(walk):
            return [int(images[0, 0, 0, 0]) for images, _ in walk]
        reached, forked = threading.Event(), threading.Event()
        class Held(Slow):
            def image(self, index):
                if index == 10 and threading.current_thread() is not threading.main_thread():
                    reached.set()
                    forked.wait()  # the child's copy of this batch will never be done
                return super().image(index)
        loader = DataLoader(Held(64), 4, num_workers=3)
        walk = iter(loader)
        next(walk)
        assert reached.wait(20)
        child = os.fork()
        forked.set()
        found = rest(walk)
        assert found == list(range(4, 64, 4)), found
        assert rest(loader) == list(range(0, 64, 4))
        if not child:
            os._exit(7)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
        print("over")
        """
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "over\n", "")


@pytest.mark.slow
def test_memory_stays_flat() -> None:
    """Fifty walks take no more memory than five."""
    done = run(
        """
        import resource
        class Large(Slow):
            def image(self, index):
                return np.zeros((1, 128, 128), np.float32)
        loader = DataLoader(Large(200), 16, num_workers=2)
        def walks(n):
            for _ in range(n):
                for images, _ in loader:
                    pass
            return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        early = walks(5)
        print(walks(50) - early)
        """
    )
    assert done.stderr == ""
    assert int(done.stdout) < 8 * 1024  # KiB: two batches are 2 MiB
