"""What the server and the process of a training say to each other: a line of JSON each."""

from __future__ import annotations

import _thread
import contextlib
import io
import json
import os
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable
from typing import Any, BinaryIO

from chainrule.errors import ChainruleError

PREPARING, RUNNING, PAUSED, DRAWING, ENDED = "preparing", "running", "paused", "drawing", "ended"
"""What a training is doing."""

FINISHED, STOPPED, FAILED = "finished", "stopped", "failed"
"""How it ends."""

Order = dict[str, Any]
"""`do` is one of "pause", "go", "stop", "rate" (with its `peak`); `number` is what is answered."""


class Orders:
    """The orders that come on a pipe, the first of which says what is to be trained.

    "stop", and the pipe's end, which comes when the server is no more, act as Ctrl-C does: it is
    raised where nothing has begun, and waits for the end of a step while the network is trained.
    """

    def __init__(
        self, pipe: io.RawIOBase | BinaryIO, stop: Callable[[], None] | None = None
    ) -> None:
        self._pipe, self._stop = pipe, stop or _interrupt
        self.first: Order = json.loads(pipe.readline() or b"{}")
        self.waiting: deque[Order] = deque()
        self.alone = False  # the server has gone
        self.stopped = False  # the end was asked for
        self._ending = False
        self.come = threading.Condition()
        self._thread = threading.Thread(target=self._read, name="orders", daemon=True)

    def listen(self) -> None:
        """Begin to take orders, in a thread of its own."""
        self._thread.start()

    def _read(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            for line in self._pipe:
                order = json.loads(line)
                if order["do"] == "stop":
                    self._end()
                else:
                    with self.come:
                        self.waiting.append(order)
                        self.come.notify_all()
        self.alone = True
        self._end()

    def _end(self) -> None:
        """Ask for the end, once: a second Ctrl-C would not wait for the step."""
        if self._ending:
            return
        self._ending = True
        self._stop()  # before anybody is told: who waits in a pause shall not take a step more
        with self.come:
            self.stopped = True
            self.come.notify_all()

    def join(self) -> None:
        """Wait until the server has gone."""
        self._thread.join()


def _interrupt() -> None:
    """Do as Ctrl-C does, to the main thread, which may be waiting for a file to open."""
    if hasattr(signal, "pthread_kill") and (main := threading.main_thread().ident) is not None:
        signal.pthread_kill(main, signal.SIGINT)
    else:
        _thread.interrupt_main()


class Speaker:
    """The pipe to the server, over which nothing else is written: what prints goes to stderr."""

    def __init__(self) -> None:
        self._pipe = os.dup(1)
        os.dup2(2, 1)
        sys.stdout = sys.stderr

    def tell(self, **what: Any) -> None:
        """Tell the server; nothing happens if it has gone."""
        line = json.dumps(what).encode() + b"\n"
        with contextlib.suppress(OSError):
            while line:
                line = line[os.write(self._pipe, line) :]


def in_words(error: BaseException) -> str:
    """Say what went wrong.

    >>> in_words(OSError(28, "No space left on device", "runs/a/weights"))
    'runs/a/weights: No space left on device'
    """
    if isinstance(error, ChainruleError):
        return str(error)
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        return f"{where}{error.strerror or error}"
    if isinstance(error, MemoryError):
        return "the memory was not enough; a smaller batch size needs less"
    return f"{type(error).__name__}: {error} (not foreseen; the output below shows where)"
