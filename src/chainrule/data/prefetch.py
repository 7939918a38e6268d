"""Batches made ahead by background threads, never more than the queue holds.

The caller alone decides what is begun: so many batches at the start, and another for each one
that it takes.  A batch is read in small chunks, which any thread claims, earliest batch first; who
reads the last chunk transforms and joins them.  A caller that must wait claims chunks of the batch
that it waits for itself.
"""

from __future__ import annotations

import atexit
import os
import sys
import threading
import weakref
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from contextvars import copy_context
from queue import SimpleQueue
from typing import Any

from chainrule.data.batches import Assembler, Part, Skipped, joined_parts
from chainrule.data.dataset import ArrayDataset
from chainrule.engine.op import Array
from chainrule.engine.workers import MOST, thread_count

CHUNK = 4
"""Images that a thread reads at a time: some milliseconds at most of somebody's waiting."""

PATIENCE = 5.0
"""Seconds that an ending walk gives its threads to finish the images that they are at."""


NICENESS = 10
"""How much lower: a thread then gets a tenth of the processor time of one that competes."""

_LIVE: weakref.WeakSet[Prefetcher] = weakref.WeakSet()


class Job:
    """One batch on its way."""

    def __init__(self, assembler: Assembler, batch: int, numbers: Array) -> None:
        self.assembler, self.batch = assembler, batch
        places = range(0, len(numbers), CHUNK)
        self.chunks = deque((k, numbers[at : at + CHUNK]) for k, at in enumerate(places))
        self.parts: list[Part | None] = [None] * len(places)
        self.errors: list[tuple[int, BaseException]] = []
        self.left = len(places)
        self.lock = threading.Lock()
        self.ready = threading.Event()
        self.result: tuple[Any, list[Skipped]] | None = None

    def work(self) -> bool:
        """Read a chunk that nobody has claimed; tell whether there was one."""
        try:
            place, numbers = self.chunks.popleft()
        except IndexError:
            return False
        try:
            self.parts[place] = self.assembler.read(numbers)
        except BaseException as error:
            self.errors.append((place, error))
        with self.lock:
            self.left -= 1
            last = not self.left
        if last:
            self._finish()
        return True

    def _finish(self) -> None:
        try:
            if not self.errors:
                parts = [part for part in self.parts if part is not None]
                self.result = self.assembler.finish(joined_parts(parts), self.batch)
        except BaseException as error:
            self.errors.append((0, error))
        self.parts.clear()
        self.ready.set()

    def wait(self) -> tuple[Any, list[Skipped]]:
        """Give the batch, or raise the error of its first chunk that failed; help meanwhile."""
        while not self.ready.is_set():
            if not self.work():
                self.ready.wait()
        if self.errors:
            _, error = min(self.errors, key=lambda entry: entry[0])
            self.errors.clear()
            try:
                raise error
            finally:
                del error  # it holds this frame, which would hold it
        assert self.result is not None
        return self.result


class Prefetcher:
    """Threads that make the batches of one walk, from number `first` on.

    `stop` may be called from anywhere, a finaliser included: it takes no lock.
    """

    def __init__(
        self, assembler: Assembler, batches: Sequence[Array], first: int, workers: int, most: int
    ) -> None:
        self.assembler, self.batches, self.next = assembler, batches, first
        self.orders: SimpleQueue[Job | None] = SimpleQueue()
        self.jobs: deque[Job] = deque()
        self.stopped = False
        self.most = most
        self.threads = [
            threading.Thread(
                target=copy_context().run, args=(self._serve,), name=f"loader-{k + 1}", daemon=True
            )
            for k in range(workers)
        ]

    def start(self) -> None:
        """Begin the first batches."""
        _LIVE.add(self)
        for _ in range(self.most):
            self._begin()
        for thread in self.threads:
            thread.start()

    def _begin(self) -> None:
        if self.next < len(self.batches):
            job = Job(self.assembler, self.next, self.batches[self.next])
            self.next += 1
            self.jobs.append(job)
            for _ in range(job.left):
                self.orders.put(job)

    def _serve(self) -> None:
        lower_priority()
        while (job := self.orders.get()) is not None and not self.stopped:
            job.work()
            del job  # what waits for the next order does not keep the last one's arrays

    def take(self) -> tuple[Any, list[Skipped]]:
        """Wait for the next batch, and begin another in its place."""
        result = self.jobs[0].wait()
        self.jobs.popleft()
        self._begin()
        return result

    def stop(self) -> None:
        """Tell the threads to end after the images that they are at."""
        self.stopped = True
        for _ in self.threads:
            self.orders.put(None)

    def join(self) -> None:
        """Wait until the threads have ended."""
        for thread in self.threads:
            if thread.ident is not None and thread is not threading.current_thread():
                thread.join(PATIENCE)


def lower_priority() -> None:
    """Let the kernels' threads go first: this thread takes what they leave (Linux).

    A thread of the same rank would take a processor from one of OpenMP's threads, for which all
    others then wait at the end of every loop.  Not the lowest rank: on a machine that is busy with
    other things, a thread that holds the interpreter must still get on.
    """
    if sys.platform == "linux":  # elsewhere priorities belong to processes
        thread = threading.get_native_id()
        with suppress(OSError):  # a sandbox may forbid it
            now = os.getpriority(os.PRIO_PROCESS, thread)
            os.setpriority(os.PRIO_PROCESS, thread, min(now + NICENESS, 19))


@atexit.register
def _end_all() -> None:
    """End the threads of walks that nobody ended, while they still can come to an end."""
    for crew in list(_LIVE):
        crew.stop()
    for crew in list(_LIVE):
        crew.join()


def suggested_workers(dataset: Any) -> int:
    """Say how many background threads pay: none for images in memory, else one below the budget.

    A caller that must wait reads too, so that no processor idles then; and while it trains, each
    thread in the background displaces one of the kernels'.

    >>> import numpy as np
    >>> suggested_workers(ArrayDataset(np.zeros((1, 1, 2, 2)), [0]))
    0
    """
    if in_memory(dataset):
        return 0
    return min(thread_count(), MOST) - 1


def in_memory(dataset: Any) -> bool:
    """Tell whether all images are in memory; parts of sets, and joined ones, ask those inside."""
    inner = getattr(dataset, "datasets", None) or [getattr(dataset, "dataset", None)]
    return isinstance(dataset, ArrayDataset) or all(
        part is not None and in_memory(part) for part in inner
    )
