"""Several threads for independent tasks: NumPy lets go of the interpreter while it computes.

A caller takes tasks itself and never waits for a helper that has not begun one, so that on a
busy machine it is at worst as slow as alone.  Which thread runs a task makes no difference to
what the task computes.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from contextvars import Context, copy_context
from queue import SimpleQueue
from typing import Any, Generic, TypeVar

from chainrule.engine.threads import BUDGET

T = TypeVar("T")

MOST = 8
"""Threads beyond which tasks that mostly move memory gain nothing."""


def thread_count() -> int:
    """Give the number of threads that the budget allows; see engine/threads.py.

    >>> from chainrule.engine.workers import thread_count
    >>> thread_count() >= 1
    True
    """
    return BUDGET.threads


class _Crew:
    """Helper threads, begun when first asked for; after a fork the child begins its own."""

    def __init__(self) -> None:
        self.begun = 0
        self.lock = threading.Lock()
        self.orders: SimpleQueue[tuple[Context, Callable[[], None]]] = SimpleQueue()

    def call(self, count: int, work: Callable[[], None]) -> None:
        """Ask `count` helpers to run `work`, each in a copy of the caller's context."""
        with self.lock:
            while self.begun < count:
                name = f"chainrule-{self.begun + 1}"
                threading.Thread(target=self._serve, name=name, daemon=True).start()
                self.begun += 1
        for _ in range(count):
            self.orders.put((copy_context(), work))

    def _serve(self) -> None:
        while True:
            context, work = self.orders.get()
            context.run(work)
            del context, work  # do not keep the last order's arrays alive


_crew = _Crew()

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_crew.__init__)  # type: ignore[misc]


class _Job(Generic[T]):
    """Tasks that threads claim one by one."""

    def __init__(self, tasks: Sequence[Callable[[], T]]) -> None:
        self.tasks = tasks
        self.results: list[Any] = [None] * len(tasks)
        self.error: BaseException | None = None
        self.claimed = 0
        self.running = 0
        self.change = threading.Condition()

    def work(self) -> None:
        """Claim and run tasks until none is left; the first error stops all threads."""
        while True:
            with self.change:
                if self.claimed == len(self.tasks):
                    return
                index = self.claimed
                self.claimed += 1
                self.running += 1
            try:
                self.results[index] = self.tasks[index]()
            except BaseException as error:
                with self.change:
                    self.error = self.error or error
                    self.claimed = len(self.tasks)
            finally:
                with self.change:
                    self.running -= 1
                    self.change.notify_all()

    def finish(self) -> list[T]:
        """Wait for the tasks that helpers have begun; give the results in the tasks' order."""
        with self.change:
            while self.running:
                self.change.wait()
        if self.error is not None:
            raise self.error
        return self.results


def run_all(tasks: Sequence[Callable[[], T]], most: int = MOST) -> list[T]:
    """Run independent tasks on as many threads as the budget allows; give results in order.

    At most `most` threads take part: tasks that mostly compute may have more than eight.

    Raises the error of a task that failed; those not begun by then are left out.

    >>> from functools import partial
    >>> from chainrule.engine.workers import run_all
    >>> run_all([partial(pow, 2, n) for n in range(5)])
    [1, 2, 4, 8, 16]
    """
    helpers = min(thread_count(), most, len(tasks)) - 1
    if helpers < 1:
        return [task() for task in tasks]
    job = _Job(tasks)
    _crew.call(helpers, job.work)
    job.work()
    return job.finish()
