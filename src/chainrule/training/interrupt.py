"""Ctrl-C and SIGTERM, which wait until what matters is written."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from typing import Any


class Terminated(KeyboardInterrupt):
    """The process was asked to end by SIGTERM; raised where Ctrl-C raises KeyboardInterrupt."""


class Interrupts:
    """Signals that came: `caught` is the first one's number, or None."""

    def __init__(self) -> None:
        self.caught: int | None = None

    def error(self) -> KeyboardInterrupt:
        """Give what is to be raised for the signal."""
        return (
            Terminated()
            if self.caught == getattr(signal, "SIGTERM", None)
            else (KeyboardInterrupt())
        )


@contextlib.contextmanager
def interrupts_noted() -> Iterator[Interrupts]:
    """Note SIGINT and SIGTERM instead of raising, so that a loop ends where it can be gone on with.

    A second Ctrl-C raises at once.  A signal that nobody asked about raises at the end of the
    block.  Signals reach only the main thread; in others the block simply runs.

    >>> with interrupts_noted() as interrupts:
    ...     interrupts.caught is None
    True
    """
    noted = Interrupts()
    if threading.current_thread() is not threading.main_thread():
        yield noted
        return

    def note(number: int, frame: Any) -> None:
        if noted.caught is not None:
            raise KeyboardInterrupt
        noted.caught = number

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield noted
    finally:
        for number, handler in before.items():
            default = signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL
            signal.signal(number, handler if handler is not None else default)
    if noted.caught is not None:
        raise noted.error()


@contextlib.contextmanager
def interrupts_deferred() -> Iterator[None]:
    """Hold back SIGINT and SIGTERM until the end of the block, then do as they would have.

    >>> with interrupts_deferred():
    ...     print("whole")
    whole
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    caught: list[int] = []

    def note(number: int, frame: Any) -> None:
        caught.append(number)

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            default = signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL
            signal.signal(number, handler if handler is not None else default)
    for late in caught:
        now = signal.getsignal(late)
        if callable(now):
            now(late, None)
        else:
            signal.raise_signal(late)
