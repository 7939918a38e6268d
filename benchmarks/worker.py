"""Processes that wait for orders: each side of a comparison lives in one of its own.

So neither's threads or allocator reach the other.  Orders and answers are lines of JSON; only
the process that was asked computes.  `python worker.py SIDE THREADS [BACKEND]` is the other end.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import select
import signal
import subprocess
import sys
import time
import traceback
from pathlib import Path
from typing import Any, Self

import psutil

SIDES = {
    "chainrule": "ours:Ours",
    "torch": "peers.pytorch:PyTorch",
    "yardstick": "side:Yardstick",
    "using": "using:Using",
    "torch_using": "peers.pytorch_using:PyTorchUsing",
    "onnxruntime": "peers.onnx_runtime:OnnxRuntime",
}
FOREIGN = ("OMP_", "GOMP_", "KMP_", "MKL_", "OPENBLAS_", "BLIS_", "ONEDNN_", "DNNL_", "ATEN_")
OURS = ("CHAINRULE_NUM_THREADS", "CHAINRULE_BACKEND")
"""Settings in the user's shell that would change one side or the other."""


class WorkerError(RuntimeError):
    """A worker could not do what it was asked."""


class WorkerTimeout(WorkerError):
    """A worker took longer than it was given; it has been stopped."""


def clean_environment(threads: int, **extra: str) -> dict[str, str]:
    """Give the environment of a worker: the user's without what tunes a library."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith((*FOREIGN, *OURS))}
    kept |= {"CHAINRULE_NUM_THREADS": str(threads), **extra}
    if threads < processors():  # the user's wish, for libraries that read nothing else
        kept |= {"OMP_NUM_THREADS": str(threads), "OPENBLAS_NUM_THREADS": str(threads)}
    return kept


def processors() -> int:
    """Count the processors that this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


class Worker:
    """A side in a process of its own; `with` ends the process."""

    def __init__(
        self, side: str, threads: int, backend: str | None = None, **environment: str
    ) -> None:
        program = [sys.executable, str(Path(__file__)), side, str(threads)]
        self.side = side
        self.buffer = b""
        self.process = subprocess.Popen(
            program + ([backend] if backend else []),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=clean_environment(threads, **environment),
            start_new_session=True,  # so that a compiler which it started ends with it
        )
        self.watched = psutil.Process(self.process.pid)

    def ask(self, order: str, timeout: float | None = None, **arguments: Any) -> Any:
        """Send one order and wait for its answer.

        Raises WorkerTimeout after `timeout` seconds, WorkerError with the worker's own traceback
        if it failed, or with its exit status if it died.
        """
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(json.dumps({"order": order, **arguments}).encode() + b"\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            raise self._died(order) from None
        answer = json.loads(self._line(order, timeout))
        if "error" in answer:
            raise WorkerError(f"{self.side}, {order}: {answer['error']}")
        return answer["result"]

    def _line(self, order: str, timeout: float | None) -> bytes:
        assert self.process.stdout is not None
        pipe = self.process.stdout.fileno()
        until = None if timeout is None else time.monotonic() + timeout
        while b"\n" not in self.buffer:
            left = None if until is None else max(0.0, until - time.monotonic())
            if not select.select([pipe], [], [], left)[0]:
                self.close()
                raise WorkerTimeout(f"{self.side}, {order}: not done after {timeout:g} s")
            piece = os.read(pipe, 1 << 16)
            if not piece:
                raise self._died(order)
            self.buffer += piece
        line, self.buffer = self.buffer.split(b"\n", 1)
        return line

    def _died(self, order: str) -> WorkerError:
        status = self.process.wait()
        self._shut()
        return WorkerError(f"{self.side}, {order}: the process ended with {status}")

    def busy(self) -> float:
        """Give the processor seconds that this process has used so far."""
        with contextlib.suppress(psutil.Error):
            times = self.watched.cpu_times()
            return float(times.user + times.system)
        return 0.0

    def close(self) -> None:
        """End the process and whatever it started; once is enough."""
        if self.process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self._shut()

    def _shut(self) -> None:
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def serve(side: Any) -> None:
    """Obey the orders that arrive on standard input until it ends."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a library prints must not be taken for an answer
    for line in sys.stdin:
        order = json.loads(line)
        name = order.pop("order")
        try:
            if name.startswith("_"):
                raise AttributeError(name)
            answer = {"result": getattr(side, name)(**order)}
        except Exception:
            answer = {"error": traceback.format_exc()}
        print(json.dumps(answer), file=answers, flush=True)


def main() -> None:
    """Make the side named on the command line and serve."""
    name, threads, *backend = sys.argv[1:]
    module, _, kind = SIDES[name].partition(":")
    serve(getattr(importlib.import_module(module), kind)(int(threads), *backend))


if __name__ == "__main__":
    main()
