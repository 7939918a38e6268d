"""Pictures that take a while: each made once in the background, and kept for the next request."""

from __future__ import annotations

import math
import struct
import sys
import threading
import time
import traceback
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import NamedTuple

from chainrule.errors import ChainruleError

MOST_BYTES = 64_000_000
"""Bytes of pictures that are kept; those that were not asked for the longest go."""

MOST = 400
"""Pictures and refusals that are kept."""

PATIENCE = 4.0
"""Seconds without anybody asking after which work is given up; pages ask every second."""

_AGAIN = 10.0  # seconds after which what failed unforeseen is tried again


class Abandoned(Exception):
    """Raised within work that nobody waits for any more."""


class Made(NamedTuple):
    """A picture as PNG, its title in words, and what else is to be said of it."""

    png: bytes
    title: str
    note: str = ""

    @property
    def size(self) -> tuple[int, int]:
        """The width and height in pixels, as the file's head tells them."""
        width, height = struct.unpack_from(">II", self.png, 16)
        return width, height


@dataclass(eq=False)
class Drawing:
    """One picture, in the making or made: then it has `made`, or `words` that say why not.

    `runs` counts what was done so far, `began` is when the work began, 0 while it waits.
    """

    make: Callable[[Drawing], Made] | None = field(repr=False)
    slow: bool
    turn: int
    number: int
    asked: float
    began: float = 0.0
    ended: float = 0.0
    runs: int = 0
    made: Made | None = None
    words: str = ""
    foreseen: bool = True

    @property
    def done(self) -> bool:
        """Whether nothing more will come."""
        return self.ended > 0

    @property
    def seconds(self) -> float:
        """How long the work took, or takes so far."""
        return (self.ended or time.monotonic()) - self.began if self.began else 0.0

    @property
    def stale(self) -> bool:
        """Whether nobody waits for it any more."""
        return time.monotonic() - self.asked > PATIENCE

    def step(self) -> None:
        """Count a step of the work; raises Abandoned where nobody waits for it any more."""
        self.runs += 1
        if self.stale:
            raise Abandoned

    def run(self) -> None:
        """Do the work, whatever comes of it."""
        assert self.make is not None
        try:
            self.made = self.make(self)
        except Abandoned:
            return
        except ChainruleError as error:
            self.words = str(error)
        except Exception as error:  # the worker goes on
            traceback.print_exception(error, file=sys.stderr)
            self.words = f"this failed here ({type(error).__name__}: {error}); look again later"
            self.foreseen = False
        self.make = None
        self.ended = time.monotonic()


class Drawings:
    """Makes pictures in two threads, what is quick beside what is slow, and keeps what was made.

    Each picture has a key, under which it is made once, however many ask for it.  The newest turn
    comes first, and within it the order of asking; what nobody asks for any more is given up.

    >>> drawings = Drawings()
    >>> drawing = drawings.ask("dot", lambda drawing: Made(b"...", "a dot"), drawings.turn())
    >>> drawings.wait(drawing, 10.0).made
    Made(png=b'...', title='a dot', note='')
    """

    def __init__(self) -> None:
        self._known: OrderedDict[Hashable, Drawing] = OrderedDict()
        self._changed = threading.Condition()
        self._turns = self._number = 0
        self._threads: list[threading.Thread] = []
        self._closed = False

    def turn(self) -> int:
        """Give the number of a new page, whose pictures come before those of older ones."""
        with self._changed:
            self._turns += 1
            return self._turns

    def ask(
        self,
        key: Hashable,
        make: Callable[[Drawing], Made],
        turn: int = 0,
        slow: bool = False,
    ) -> Drawing:
        """Give the drawing of a key; it is begun with `make` unless it is there."""
        now = time.monotonic()
        with self._changed:
            known = self._known.get(key)
            if known is not None and known.done and not known.foreseen:
                known = None if now - known.ended > _AGAIN else known
            if known is None:
                self._number += 1
                known = self._known[key] = Drawing(make, slow, turn, self._number, now)
                self._begin()
                self._changed.notify_all()
            known.asked = -math.inf if self._closed else now
            known.turn = max(known.turn, turn)
            self._known.move_to_end(key)
            return known

    def wait(self, drawing: Drawing, seconds: float) -> Drawing:
        """Wait until a drawing is done, at most so long."""
        end = time.monotonic() + seconds
        with self._changed:
            while not drawing.done and not self._closed and (left := end - time.monotonic()) > 0:
                drawing.asked = time.monotonic()
                self._changed.wait(min(left, PATIENCE / 4))
        return drawing

    def _begin(self) -> None:
        """Start the threads when they are first needed; they end with the process."""
        if not self._threads and not self._closed:
            for slow in (False, True):
                name = "drawings, slow" if slow else "drawings, quick"
                thread = threading.Thread(target=self._work, args=(slow,), name=name, daemon=True)
                self._threads.append(thread)
                thread.start()

    def close(self, seconds: float) -> bool:
        """Give all work up, and say whether it has ended after so long: a step is never cut."""
        with self._changed:
            self._closed = True
            for drawing in self._known.values():
                drawing.asked = -math.inf
            self._changed.notify_all()
        end = time.monotonic() + seconds
        for thread in self._threads:
            thread.join(max(0.0, end - time.monotonic()))
        return not any(thread.is_alive() for thread in self._threads)

    def _work(self, slow: bool) -> None:
        while True:
            with self._changed:
                while (found := self._next(slow)) is None:
                    if self._closed:
                        return
                    self._changed.wait()
                key, drawing = found
                drawing.began = time.monotonic()
            drawing.run()
            with self._changed:
                if not drawing.done and self._known.get(key) is drawing:
                    self._again(key, drawing)
                self._trim()
                self._changed.notify_all()
            del found, drawing

    def _again(self, key: Hashable, drawing: Drawing) -> None:
        """Forget what was given up, unless somebody came back in that moment."""
        drawing.began, drawing.runs = 0.0, 0
        if drawing.stale:
            del self._known[key]

    def _next(self, slow: bool) -> tuple[Hashable, Drawing] | None:
        """Find what to do next; what nobody waits for is forgotten."""
        for key, drawing in list(self._known.items()):
            if not drawing.done and not drawing.began and drawing.stale:
                del self._known[key]
        waiting = [
            (-drawing.turn, drawing.number, key, drawing)
            for key, drawing in self._known.items()
            if not drawing.done and not drawing.began and drawing.slow == slow
        ]
        return min(waiting, key=lambda found: found[:2])[2:] if waiting else None

    def _trim(self) -> None:
        done = [(key, d) for key, d in self._known.items() if d.done]
        size = sum(len(d.made.png) for _, d in done if d.made is not None)
        while done and (size > MOST_BYTES or len(done) > MOST):
            key, drawing = done.pop(0)
            size -= len(drawing.made.png) if drawing.made is not None else 0
            del self._known[key]
