"""One walk over a data set: batch after batch, made here or by threads."""

from __future__ import annotations

import os
import weakref
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from chainrule.data.batches import EMPTY, Assembler, Skipped
from chainrule.data.prefetch import Prefetcher
from chainrule.engine.op import Array
from chainrule.errors import DataError

State = dict[str, Any]


@dataclass
class Position:
    """Where a walk stands: the generators' states as it began, and the batches taken from it.

    Nothing is `begun` before the first walk and after a finished one.  One that was `loaded`
    waits for the walk that goes on from it.
    """

    begun: State = field(default_factory=dict)
    taken: int = 0
    loaded: bool = False

    def state(self) -> State | None:
        """Give it in plain values, None where nothing is begun."""
        return {**self.begun, "batches": self.taken} if self.begun else None

    @classmethod
    def of(cls, state: Mapping[str, Any] | None) -> Position:
        """Read what `state` gave."""
        if state is None:
            return cls()
        begun = {key: dict(state[key]) for key in ("order", "number")}
        return cls(begun, int(state["batches"]), loaded=True)

    def again(self) -> Position:
        """Give the position of the walk that goes on from a loaded one."""
        return Position(self.begun, self.taken)

    def finish(self) -> None:
        """Forget the walk: the next one begins anew."""
        self.begun, self.taken = {}, 0


class Walk(Iterator[Any]):
    """Yields the batches of one walk in order, from where its position says.

    `close` ends it and its threads; so does leaving a loop early, since nobody holds it then.  In
    a process that was forked meanwhile, where the threads are not, it makes the rest itself.
    """

    def __init__(
        self,
        assembler: Assembler,
        batches: Sequence[Array],
        position: Position,
        found: dict[str, str],
        workers: int,
        ahead: int,
    ) -> None:
        self._assembler, self._batches = assembler, batches
        self._position, self._found = position, found
        self._next, self._end = position.taken, len(batches)
        self._bare = self._next == 0
        self._process = os.getpid()
        self._crew: Prefetcher | None = None
        if workers and self._next < self._end:
            crew = Prefetcher(assembler, batches, self._next, workers, ahead)
            weakref.finalize(self, crew.stop)  # before the threads are: nothing may come between
            self._crew = crew
            crew.start()

    def __iter__(self) -> Walk:
        return self

    def __next__(self) -> Any:
        while self._next < self._end:
            try:
                value, skipped = self._made()
            except BaseException:
                self.close()
                raise
            self._next += 1
            if skipped:
                self._note(skipped)
            self._position.taken = self._next
            if value is not EMPTY:
                self._bare = False
                return value
        if self._end >= 0:
            self._finish()
        raise StopIteration

    def _made(self) -> tuple[Any, list[Skipped]]:
        if self._crew is not None:
            if os.getpid() == self._process:
                return self._crew.take()
            self._crew = None
        part = self._assembler.read(self._batches[self._next])
        return self._assembler.finish(part, self._next)

    def _note(self, skipped: list[Skipped]) -> None:
        for where, why in skipped:
            self._found.setdefault(where, why)

    def _finish(self) -> None:
        self.close()
        self._position.finish()
        if self._bare and self._batches:
            where, why = next(iter(self._found.items()))
            raise DataError(
                f"DataLoader: expected at least one image that can be used; all were left out, "
                f"{where}: {why}"
            )

    def close(self) -> None:
        """End the walk, and wait until its threads have finished the images that they are at."""
        self._end = -1
        crew, self._crew = self._crew, None
        if crew is not None and os.getpid() == self._process:
            crew.stop()
            crew.join()
