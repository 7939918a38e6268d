"""Helper threads: order, errors, nesting, waiting for nobody, forks."""

from __future__ import annotations

import os
import threading
import time
from functools import partial
from typing import Any

import numpy as np
import pytest

from chainrule.engine import workers
from chainrule.engine.threads import get_num_threads, set_num_threads
from chainrule.engine.workers import run_all, thread_count


@pytest.fixture(params=[1, 2, 4], ids="{} threads".format)
def threads(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(workers, "thread_count", lambda: request.param)
    return int(request.param)


def test_results_come_in_order(threads: int) -> None:
    def task(i: int) -> int:
        time.sleep(0.002 * (7 - i % 7))
        return i * i

    assert run_all([partial(task, i) for i in range(20)]) == [i * i for i in range(20)]
    assert run_all([]) == []


def test_each_task_runs_once(threads: int) -> None:
    counts = np.zeros(200, int)

    def task(i: int) -> None:
        counts[i] += 1

    for _ in range(20):
        run_all([partial(task, i) for i in range(200)])
    assert (counts == 20).all()


def test_an_error_is_raised_and_the_rest_left_out(threads: int) -> None:
    done = []

    def task(i: int) -> None:
        if i == 3:
            raise KeyError("three")
        time.sleep(0.001)
        done.append(i)

    with pytest.raises(KeyError, match="three"):
        run_all([partial(task, i) for i in range(100)])
    time.sleep(0.01)
    assert len(done) < 100
    assert run_all([partial(int, 1)] * 3) == [1, 1, 1]


def test_tasks_may_ask_for_help_themselves(threads: int) -> None:
    def outer(i: int) -> int:
        return sum(run_all([partial(int, i + j) for j in range(5)]))

    assert run_all([partial(outer, i) for i in range(8)]) == [5 * i + 10 for i in range(8)]


def test_helpers_see_the_callers_context(threads: int) -> None:
    def task() -> Any:
        time.sleep(0.002)
        return np.geterr()["over"]

    with np.errstate(over="raise"):
        assert set(run_all([task] * 8)) == {"raise"}
    with np.errstate(over="ignore"):
        assert set(run_all([task] * 8)) == {"ignore"}


def test_two_threads_do_share(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "thread_count", lambda: 2)
    meet = threading.Barrier(2, timeout=30)
    run_all([meet.wait, meet.wait])  # one thread alone would wait for ever


def test_nobody_waits_for_a_helper_that_has_not_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "thread_count", lambda: 3)
    monkeypatch.setattr(workers._crew, "call", lambda count, work: None)
    assert run_all([partial(int, i) for i in range(5)]) == list(range(5))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_has_helpers_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "thread_count", lambda: 2)
    run_all([partial(time.sleep, 0.01)] * 2)
    child = os.fork()
    if child == 0:
        try:
            meet = threading.Barrier(2, timeout=20)
            run_all([meet.wait, meet.wait])
        except BaseException:
            os._exit(1)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0


def test_no_more_threads_than_the_budget_nor_than_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    monkeypatch.setattr(workers._crew, "call", lambda count, work: asked.append(count))
    before = get_num_threads()
    try:
        set_num_threads(20)
        assert thread_count() == 20
        tasks = [partial(int, 1)] * 30
        run_all(tasks)
        run_all(tasks, most=100)
        run_all(tasks[:3])
        set_num_threads(1)
        run_all(tasks)
    finally:
        set_num_threads(before)
    assert asked == [workers.MOST - 1, 19, 2]
