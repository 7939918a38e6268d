"""Threads: the same bits however many train beside each other; forks; other thread counts."""

from __future__ import annotations

import gc
import itertools
import os
import subprocess
import sys
import threading
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule.backends.onednn import primitives
from chainrule.backends.onednn.arrays import address
from chainrule.backends.onednn.backend import sum_plan
from chainrule.backends.onednn.runtime import Current
from chainrule.engine.dispatch import Backend
from chainrule.engine.op import OPS
from chainrule.engine.threads import get_num_threads, set_num_threads
from tests.backends.onednn import network
from tests.backends.onednn.compare import Run, differentiable
from tests.backends.onednn.conftest import BACKEND, of_kernels
from tests.backends.onednn.grid import LAYOUTS, cases

PAIRS = sorted(op.__name__ for op in BACKEND.table) if BACKEND else []
ROOT = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def _threads_as_before() -> Iterator[None]:
    before = get_num_threads()
    yield
    set_num_threads(before)


def in_threads(*jobs: Any) -> list[Any]:
    """Run the jobs beside each other and give their results; an error in one is raised."""
    results: list[Any] = [None] * len(jobs)
    errors: list[BaseException] = []
    start = threading.Barrier(len(jobs))

    def work(i: int) -> None:
        try:
            start.wait()
            results[i] = jobs[i]()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(len(jobs))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for error in errors:
        raise error
    return results


@pytest.mark.parametrize("budget", [1, 2])
def test_training_beside_another_gives_the_same_bits(
    budget: int, no_limits: None, backend: Backend
) -> None:
    set_num_threads(budget)
    before = backend.calls.total()
    alone = [network.train(seed) for seed in (1, 2)]
    assert backend.calls.total() >= before + 2 * 6 * 8
    assert alone[0] != alone[1]
    for _ in range(3):
        assert in_threads(*(lambda s=s: network.train(s) for s in (1, 2))) == alone
    sizes = in_threads(lambda: network.train(1, size=20), lambda: network.train(2, size=33))
    assert sizes == [alone[0], network.train(2, size=33)]


def test_the_digest_sees_one_pixel(no_limits: None, monkeypatch: pytest.MonkeyPatch) -> None:
    right = network.train(1, steps=2)
    draw = network.batch

    def changed(seed: int, *args: Any, **settings: Any) -> Any:
        x, labels = draw(seed, *args, **settings)
        array = x.numpy().copy()
        array[0, 0, 5, 5] += np.float32(1e-3)
        return cr.tensor(array), labels

    monkeypatch.setattr(network, "batch", changed)
    assert network.train(1, steps=2) != right


@pytest.mark.parametrize("name", PAIRS)
def test_one_thread_or_two(backend: Backend, name: str, no_limits: None, traps: None) -> None:
    """To rounding the same for every number of threads, and with a change between the passes."""
    ran = 0
    for number, (op, arrays) in cases(name, 20, seed=11):
        if backend.select(op, arrays) is backend.reference:
            continue
        results = []
        for forward, backward in ((1, 1), (2, 2), (1, 2), (2, 1), (5, 5), (1, 5)):
            set_num_threads(forward)
            run = _run(backend, op, arrays)
            gys = run.upstream(np.random.default_rng(number), LAYOUTS["C order"])
            if name.endswith("ReLU"):  # where rounding decides
                gys[0] = np.where(np.abs(run.outputs[0]) < 1e-5, np.float32(0), gys[0])
            set_num_threads(backward)
            gradients = run.backward(gys, differentiable(arrays))
            results.append([*run.outputs, *[g for g in gradients if g is not None]])
        for other in results[1:]:
            for a, b in zip(results[0], other, strict=True):
                if a is None:  # a mask's gradient
                    continue
                scale = max(1.0, float(np.abs(a).max()))
                assert np.abs(a - b).max() <= 2e-5 * scale, op
        ran += 1
    assert ran >= 3


def _run(backend: Backend, op: Any, arrays: Any) -> Run:
    run = Run.__new__(Run)
    run._executing = lambda method, *a: method(*a)  # type: ignore[method-assign]
    run.__init__(backend, op, arrays)  # type: ignore[misc]
    return run


@of_kernels
def test_helpers_that_may_have_slept_are_woken_before_the_librarys_work(
    backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a pause longer than they spin, and only before work for several threads."""
    set_num_threads(2)
    clock, settled = [10 * primitives.ASLEEP], list[int]()
    many, one = sum_plan(1 << 20, relu=False), sum_plan(64, relu=False)
    assert many is not None
    assert one is not None
    kernels = Current.runtime.kernels
    assert kernels is not None, Current.runtime.kernels_reason
    monkeypatch.setattr(kernels, "settle", settled.append)
    monkeypatch.setattr(primitives, "perf_counter_ns", lambda: clock[0])
    monkeypatch.setattr(Current.thread, "ran", 0)
    a = np.ones(1 << 20, np.float32)
    b = np.empty_like(a)

    def after(pause: int, plan: primitives.Primitive) -> list[int]:
        clock[0] += pause
        settled.clear()
        plan(address(a), address(a), address(b))
        assert (b[:64] == 2).all()
        return list(settled)

    assert after(0, one) == []
    assert after(0, many) == [2]
    assert after(primitives.ASLEEP, many) == []
    assert after(primitives.ASLEEP, many) == []  # the pause begins where the last work ended
    assert after(primitives.ASLEEP + 1, one) == []
    assert after(0, many) == [2]


@pytest.mark.parametrize("name", PAIRS)
def test_backward_in_another_thread(backend: Backend, name: str, no_limits: None) -> None:
    for number, (op, arrays) in itertools.islice(cases(name, 20, seed=12), 20):
        if backend.select(op, arrays) is backend.reference:
            continue
        run = _run(backend, op, arrays)
        gys = run.upstream(np.random.default_rng(number), LAYOUTS["C order"])
        needs = (True,) * len(arrays)
        (there,) = in_threads(lambda run=run, gys=gys, needs=needs: run.backward(gys, needs))
        assert all(map(np.array_equal, there, run.backward(gys, needs))), op


def test_many_threads_share_one_pair(backend: Backend, no_limits: None) -> None:
    """Eight threads beside each other on one plan's shapes: each has its own memory objects."""
    rng = np.random.default_rng(0)
    op, w = OPS["Conv"](), rng.standard_normal((8, 4, 3, 3), np.float32)
    images = [rng.standard_normal((2, 4, 9, 9), np.float32) for _ in range(8)]

    def work(x: np.ndarray) -> list[np.ndarray]:
        found = []
        for _ in range(60):
            kernel = backend.select(op, [x, w])
            (y,), saved = kernel.forward(op, [x, w])
            found.append(
                np.concatenate(
                    [g.ravel() for g in (y, *kernel.backward(op, saved, y, (True, True)))]
                )
            )
        return found

    alone = [work(x)[0] for x in images]
    for right, found in zip(alone, in_threads(*(lambda x=x: work(x) for x in images)), strict=True):
        assert all(np.array_equal(right, again) for again in found)


def test_a_thread_that_ends_frees_its_plans(no_limits: None) -> None:
    from chainrule.backends.onednn import runtime

    known: list[weakref.ref[Any]] = []

    def work() -> None:
        network.train(1, steps=1)
        plans = runtime.Current.thread.plans
        assert len(plans) > 8
        known.extend(weakref.ref(p) for p in plans.values() if hasattr(p, "__weakref__"))

    for _ in range(5):
        in_threads(work)
    gc.collect()
    assert len(known) > 20
    assert not [k for k in known if k() is not None]


FORK = """
import faulthandler, multiprocessing, os, sys, threading
import numpy as np
import chainrule as cr
from chainrule.engine import dispatch
from chainrule.engine.threads import set_num_threads
from tests.backends.onednn import network

set_num_threads(2)
context = multiprocessing.get_context("fork")

def losses():
    with cr.use_backend("onednn") as backend:
        p = network.parameters(1)
        before = backend.calls.total()
        told = []
        for step in range(3):
            loss = network.loss_of(p, *network.batch(step, count=16, size=64))
            loss.backward()
            told += [float(loss.item()), float(np.abs(p["w1"].grad.numpy()).sum())]
        assert backend.calls.total() > before
    a = np.ones((600, 600), np.float32)
    return [*told, float((a @ a).sum())]

def child(queue):
    faulthandler.dump_traceback_later(20)
    queue.put(losses())

def fork():
    queue = context.Queue()
    process = context.Process(target=child, args=(queue,), daemon=True)
    process.start()
    told = queue.get(timeout=30)
    process.join(60)
    assert process.exitcode == 0, process.exitcode
    return told

before = losses()
for how in sys.argv[1:]:
    if how == "thread":
        told = []
        thread = threading.Thread(target=lambda: told.extend(fork()))
        thread.start(); thread.join()
    elif how == "locked":
        held, stop = threading.Event(), threading.Event()
        def hold():
            with dispatch._Process.lock:
                held.set()
                stop.wait()
        thread = threading.Thread(target=hold, daemon=True)
        thread.start()
        held.wait()
        told = fork()
        stop.set(); thread.join()
    elif how == "busy":
        stop = threading.Event()
        def busy():
            while not stop.is_set():
                losses()
        thread = threading.Thread(target=busy, daemon=True)
        thread.start()
        told = fork()
        stop.set(); thread.join()
    else:
        told = fork()
    assert np.allclose(told, before, rtol=1e-4), (how, told, before)
assert losses() == before  # the parent goes on as before
print("right")
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this platform")
@pytest.mark.parametrize("how", ["main", "thread", "locked", "busy"])
def test_a_forked_child_computes(how: str) -> None:
    environment = os.environ | {"PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}"}
    found = subprocess.run(
        [sys.executable, "-c", FORK, how],
        env=environment, capture_output=True, text=True, timeout=180, cwd=ROOT,
    )  # fmt: skip
    assert found.stdout.strip() == "right", found.stderr[-3000:]
