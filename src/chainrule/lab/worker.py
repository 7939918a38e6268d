"""A training in a process of its own: `python -m chainrule.lab.worker`, begun by `jobs.py`.

It is the training of `chainrule train`, with orders taken between two steps.  When the server goes,
however that happens, it saves and ends.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from chainrule.errors import ChainruleError, DataError
from chainrule.lab.live import LiveWriter
from chainrule.lab.pipes import (
    DRAWING,
    ENDED,
    FAILED,
    FINISHED,
    PAUSED,
    RUNNING,
    STOPPED,
    Order,
    Orders,
    Speaker,
    in_words,
)
from chainrule.training.config import TrainConfig
from chainrule.training.loop import Callback, Trainer
from chainrule.training.task import TrainTask
from chainrule.watching import HealthWatch

try:
    import fcntl
except ImportError:  # Windows has no such locks
    fcntl = None  # type: ignore[assignment]

_LOCKS = fcntl is not None

LOCK_PATIENCE = 20.0
"""Seconds to wait for a training that is just being saved."""

_PATIENCE = 300.0  # seconds to save and end once the server has gone
_SAVE_PAUSED = 1.0  # seconds of a pause after which the state is saved


def main() -> int:
    """Train what the first order says; gives the exit code."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's "&" has it ignored
    speaker = Speaker()
    # Without a buffer, whose lock a thread that waits would hold when the interpreter ends.
    orders = Orders(open(0, "rb", buffering=0, closefd=False))  # noqa: SIM115
    try:
        orders.listen()
        threading.Thread(target=_end_for_sure, args=(orders,), daemon=True).start()
        with only_one(Path(orders.first["lock"]), speaker):
            how = _train(orders, speaker)
        speaker.tell(state=ENDED, how=how)
    except KeyboardInterrupt:
        speaker.tell(state=ENDED, how=STOPPED)
    except Exception as error:
        if not isinstance(error, ChainruleError | OSError | MemoryError):
            traceback.print_exc()
        speaker.tell(state=ENDED, how=FAILED, said=in_words(error))
        return 1
    return 0


@contextlib.contextmanager
def only_one(path: Path, speaker: Speaker) -> Iterator[None]:
    """Hold a lock that goes with the process; DataError if another process keeps it for long."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with open(path, "ab") as file:
        deadline, waited = time.monotonic() + LOCK_PATIENCE, False
        while not locked(file.fileno()):
            if not waited:
                speaker.tell(note="waits for another training in this folder, which is being saved")
            waited = True
            if time.monotonic() > deadline:
                raise DataError(
                    f"{path.parent.parent}: another lab trains in this folder; end its training "
                    "first"
                )
            time.sleep(0.1)
        yield


def locked(descriptor: int) -> bool:
    """Take the lock of an open file if it is free; where there are no locks it is."""
    if not _LOCKS:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # some network drives have none
        return True
    return True


def _train(orders: Orders, speaker: Speaker) -> str:
    first = orders.first
    if first.get("config") is None:
        task = TrainTask.resume(first["run"])
    else:
        task = TrainTask(TrainConfig.from_dict(first["config"]), first["run"])
        task.command = first.get("command")

    def note(text: str) -> None:
        speaker.tell(note=text)

    try:
        for text in (*(f"passed over {bad}" for bad in task.damaged), *task.data.notes):
            note(text)
        if not task.trainer.rows and not task.trainer.step:
            for text in task.warnings():
                note(text)
    except BaseException:
        task.folder.discard_if_empty()
        raise
    with ExitStack() as stack:
        live = LiveWriter(task.folder.path, lambda moment: speaker.tell(moment=moment), note)
        stack.callback(live.close)
        watch = stack.enter_context(HealthWatch(task, note))
        obedient = Obedient(task, orders, speaker, live)
        try:
            # The folder is claimed by the first of these, before others write into it.
            task.run([obedient, watch, live])
        except KeyboardInterrupt:
            if not task.rows and not task.folder.claimed:
                raise  # nothing was begun
    how = STOPPED if _unfinished(task) else FINISHED
    if not orders.alone:
        _draw(task, speaker, how)
    return how


def _unfinished(task: TrainTask) -> bool:
    return len(task.rows) < task.config.epochs and not task.trainer.ending


def _draw(task: TrainTask, speaker: Speaker, how: str) -> None:
    """Write tables and plots, as `chainrule train` does; what it ended by is told before."""
    speaker.tell(state=DRAWING, how=how, note=task.trainer.ending)
    try:
        problem = task.draw() if task.rows else ""
    except (OSError, KeyboardInterrupt) as error:
        problem = in_words(error) if isinstance(error, OSError) else "the lab was ended"
    if problem:
        speaker.tell(note=f"no plots ({problem})")


class Obedient(Callback):
    """Obeys orders between two steps, and between two batches of a test."""

    def __init__(self, task: TrainTask, orders: Orders, speaker: Speaker, live: LiveWriter) -> None:
        self._task, self._orders, self._speaker, self._live = task, orders, speaker, live
        self._paused = False

    def on_begin(self, trainer: Trainer) -> None:
        """Save the first state, so that there is one to go on from at every moment."""
        if not self._task.folder.claimed:
            self._task.keeper.checkpoint(trainer)
        if self._orders.first.get("peak") is not None:
            self._task.change_rate(float(self._orders.first["peak"]))
        ended = trainer.interrupted

        def between() -> None:
            if self._orders.waiting:
                self._obey(trainer, ended)
            ended()

        trainer.interrupted = between
        self._speaker.tell(state=RUNNING, steps=trainer.steps, peak=trainer.rate.peak)

    def _obey(self, trainer: Trainer, ended: Any) -> None:
        """Do what waits; in a pause, wait for more."""
        begun, saved = time.monotonic(), False
        orders = self._orders
        while not orders.stopped:
            with orders.come:
                if not orders.waiting and self._paused:
                    orders.come.wait(0.2)
                order = orders.waiting.popleft() if orders.waiting else None
            if order is not None:
                self._do(order, trainer)
            elif self._paused:
                ended()  # a signal from elsewhere
                if not saved and time.monotonic() - begun > _SAVE_PAUSED:
                    saved = True
                    self._save(trainer)
            if not self._paused and not orders.waiting:
                break
        self._live.skip(time.monotonic() - begun)

    def _do(self, order: Order, trainer: Trainer) -> None:
        refused = ""
        if order["do"] == "rate":
            try:
                self._task.change_rate(float(order["peak"]))
            except (ChainruleError, OSError) as error:
                refused = in_words(error)
        else:
            self._paused = order["do"] == "pause"
        self._speaker.tell(
            state=PAUSED if self._paused else RUNNING,
            peak=trainer.rate.peak,
            done=order["number"],
            refused=refused,
        )

    def _save(self, trainer: Trainer) -> None:
        """Save in a long pause; a disk that is full now may have room when the training goes on."""
        try:
            self._task.keeper.checkpoint(trainer)
        except OSError as error:
            self._speaker.tell(note=f"the pause's state could not be saved ({in_words(error)})")


def _end_for_sure(orders: Orders) -> None:
    """See to it that nothing stays behind when the server has gone, whatever it hangs in."""
    orders.join()
    time.sleep(_PATIENCE)
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main())
