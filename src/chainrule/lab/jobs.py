"""The training that runs: begun in a process of its own, given orders, followed to its end."""

from __future__ import annotations

import contextlib
import hmac
import json
import math
import os
import secrets
import subprocess
import sys
import sysconfig
import threading
from collections import OrderedDict, deque
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

from chainrule.errors import DataError
from chainrule.formats.atomic import write_atomic
from chainrule.lab.pipes import DRAWING, ENDED, FAILED, PREPARING, in_words
from chainrule.training.config import TrainConfig
from chainrule.training.folder import CONFIG, FAILURE

ANSWER = 0.5
"""Seconds to wait until an order was obeyed; a step that takes longer ends first."""

HIGHEST = 1e6
"""No rate above it is taken: it would be a slip of the pen."""

_KEPT = 20  # trainings that are remembered, and numbers of forms
_LINES, _LONGEST = 60, 500  # of the process's output
_SAVING, _ENDING = 120.0, 10.0  # seconds for saving, and for ending when it was made to


class Busy(DataError):
    """Another training runs; `name` is that run's."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"one training runs at a time, and {name} does; stop it first, or wait for its end"
        )
        self.name = name


class Job:
    """A training's process and what it told.

    `state` is what it does and `how` how it ended, in the words of `pipes.py`, `said` why,
    `moment` the newest of `live.py`, `notes` what else it had to say, `output` what it printed.
    """

    def __init__(self, name: str, path: Path, config: TrainConfig) -> None:
        self.name, self.path, self.config = name, path, config
        self.state, self.how, self.said = PREPARING, "", ""
        self.asked = ""  # the last order that was not obeyed yet
        self.moment: dict[str, Any] = {}
        self.steps, self.peak = 0, config.lr
        self.notes: deque[str] = deque(maxlen=_KEPT)
        self.output: deque[str] = deque(maxlen=_LINES)
        self.changed = threading.Condition()
        self._number = self._done = 0
        self._refused = ""
        self._threads: list[threading.Thread] = []

    @property
    def alive(self) -> bool:
        """Say whether the process still has something to do."""
        return self.state != ENDED

    @property
    def trains(self) -> bool:
        """Say whether it takes orders: not any more while its pictures are drawn."""
        return self.state not in (DRAWING, ENDED)

    def begin(self, first: dict[str, Any]) -> None:
        """Start the process; raises OSError where that cannot be."""
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "chainrule.lab.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C is for the server, which then has it saved
            env=_environment(),
        )
        self._write(first)
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        reader = threading.Thread(target=self._collect, args=(self._process.stderr,), daemon=True)
        follower = threading.Thread(
            target=self._follow, args=(self._process.stdout, reader), daemon=True
        )
        self._threads = [reader, follower]
        for thread in self._threads:
            thread.start()

    def order(self, do: str, **more: Any) -> None:
        """Give an order, and wait a moment until it is obeyed.

        Raises DataError where the training has ended, or where the order was refused.
        """
        with self.changed:
            if not self.trains:
                raise DataError(f"{self.name}: this training has ended")
            self._number += 1
            number, self.asked, self._refused = self._number, do, ""
            self._write({"do": do, "number": number, **more})
            self.changed.wait_for(lambda: self._done >= number or not self.trains, ANSWER)
            if self._done == number and self._refused:
                raise DataError(self._refused)

    def wait(self, seconds: float) -> bool:
        """Wait until it has ended; says whether it has."""
        with self.changed:
            return self.changed.wait_for(lambda: not self.alive, seconds)

    def close(self) -> None:
        """Let it save and end, and wait for that."""
        with contextlib.suppress(DataError):
            self.order("stop")
        with self.changed, contextlib.suppress(OSError):
            if self._process.stdin is not None:
                self._process.stdin.close()
        process = self._process
        for seconds, then in ((_SAVING, process.terminate), (_ENDING, process.kill)):
            try:
                process.wait(seconds)
                break
            except subprocess.TimeoutExpired:
                then()
        for thread in self._threads:
            thread.join(_ENDING)

    # What it tells

    def _write(self, order: dict[str, Any]) -> None:
        """Send a line; a process that has just ended is told of by its end."""
        pipe = self._process.stdin
        with contextlib.suppress(OSError, ValueError):
            if pipe is not None:
                pipe.write(json.dumps(order).encode() + b"\n")
                pipe.flush()

    def _collect(self, pipe: IO[bytes]) -> None:
        with pipe:
            for line in pipe:
                self.output.append(line.decode(errors="replace").rstrip()[:_LONGEST])

    def _follow(self, pipe: IO[bytes], reader: threading.Thread) -> None:
        with pipe:
            for line in pipe:
                with contextlib.suppress(ValueError), self.changed:
                    self._take(json.loads(line))
                    self.changed.notify_all()
        code = self._process.wait()
        reader.join(_ENDING)
        with self.changed:
            if not self.how:
                self.how, self.said = FAILED, _ended(code)
            self.state, self.asked = ENDED, ""
            with contextlib.suppress(OSError):
                if self._process.stdin is not None:
                    self._process.stdin.close()
            if self.how == FAILED:
                self._keep_failure()
            self.changed.notify_all()

    def _take(self, told: dict[str, Any]) -> None:
        """Take in what the process told."""
        for name in ("how", "said", "moment", "steps", "peak"):
            if name in told:
                setattr(self, name, told[name])
        if told.get("note"):
            self.notes.append(told["note"])
        if "done" in told:
            self._done, self._refused = told["done"], told["refused"]
            if self._done == self._number:
                self.asked = ""
        if told.get("state", ENDED) != ENDED:  # it has ended once the process has
            self.state = told["state"]
        if not self.trains:
            self.asked = ""

    def _keep_failure(self) -> None:
        """Write down why it failed, for whoever looks at the run later."""
        if self.steps and (self.path / CONFIG).is_file():  # it had begun
            with contextlib.suppress(OSError):  # the disk may be what failed
                write_atomic(self.path / FAILURE, "\n".join([self.said, *self.output]) + "\n")


class Jobs:
    """Starts trainings, one at a time, and remembers the last ones."""

    def __init__(self, lock: Path) -> None:
        self._lock_file = lock
        self._lock = threading.RLock()
        self._jobs: OrderedDict[str, Job] = OrderedDict()
        self._secret = secrets.token_bytes(16)
        self._used: OrderedDict[str, str] = OrderedDict()  # a form's number, and its run
        self._closed = False

    @property
    def current(self) -> Job | None:
        """The training that runs."""
        return next((job for job in self._jobs.copy().values() if job.alive), None)

    def get(self, name: str) -> Job | None:
        """Give the last training of a run that this server began."""
        return self._jobs.get(name)

    # Numbers that make a form count once

    def number(self) -> str:
        """Draw a number for a form."""
        drawn = secrets.token_hex(8)
        return f"{drawn}-{self._signed(drawn)}"

    def used(self, number: str) -> str:
        """Give the run that was begun by the form of this number, "" if none was."""
        return self._used.get(number, "")

    def known(self, number: str) -> bool:
        """Say whether a number was drawn by this server."""
        drawn, _, signed = number.partition("-")
        return hmac.compare_digest(signed.encode(), self._signed(drawn).encode())

    def _signed(self, drawn: str) -> str:
        return hmac.new(self._secret, drawn.encode(), "sha256").hexdigest()[:16]

    # Trainings

    def start(
        self, path: Path, config: TrainConfig, number: str, command: Sequence[str] = ()
    ) -> Job:
        """Begin a training in a folder that is not there yet, once for the form's number.

        Raises Busy where another one runs, DataError where the folder is there.
        """
        with self._lock:
            earlier = self._jobs.get(self.used(number))
            if earlier is not None and earlier.config == config:
                return earlier
            if earlier is not None:
                raise DataError(
                    f"this form has begun the run {earlier.name}, and now holds other choices; "
                    "they are kept in it: press Start again to begin another run"
                )
            self._check_free()
            if os.path.lexists(path):
                raise DataError(
                    f"{path.name}: expected the name of a run that is not there yet; this one is, "
                    "and nothing is replaced here"
                )
            job = self._begin(path, config, config=config.to_dict(), command=list(command))
            self._used[number] = job.name
            while len(self._used) > _KEPT:
                self._used.popitem(last=False)
            return job

    def resume(self, path: Path, config: TrainConfig, peak: float | None = None) -> Job:
        """Go on with a run where it stopped; one that goes on already is given.

        `peak` is a new peak of the rate from there on.  Raises Busy where another one runs.
        """
        with self._lock:
            job = self._jobs.get(path.name)
            if job is not None and job.alive:
                return job
            self._check_free()
            (path / FAILURE).unlink(missing_ok=True)
            return self._begin(path, config, config=None, peak=peak)

    def _check_free(self) -> None:
        if self._closed:
            raise DataError("the lab is being ended")
        job = self.current
        if job is not None and job.state == DRAWING:  # it has ended but for its pictures
            job.wait(_ENDING)
            job = self.current
        if job is not None:
            raise Busy(job.name)

    def _begin(self, path: Path, config_: TrainConfig, **first: Any) -> Job:
        job = Job(path.name, path, config_)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            job.begin({"run": str(path), "lock": str(self._lock_file), **first})
        except OSError as error:
            raise DataError(f"the training could not be started: {in_words(error)}") from error
        self._jobs.pop(path.name, None)
        self._jobs[path.name] = job
        while len(self._jobs) > _KEPT:
            self._jobs.popitem(last=False)
        return job

    def close(self) -> None:
        """Let the training that runs save and end, and wait for that."""
        with self._lock:
            self._closed = True
            job = self.current
            if job is not None:
                print(f"saving the training {job.name} ...", file=sys.stderr)
            for each in self._jobs.values():
                if each.alive:
                    each.close()


def rate(text: str) -> float:
    """Read a rate that somebody typed.

    >>> rate(" 0.05 ")
    0.05
    >>> rate("fast")
    Traceback (most recent call last):
    chainrule.errors.DataError: rate: expected a number above 0 and at most 1e+06; got 'fast'
    """
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 1e-30 < value <= HIGHEST:
        rule = f"a number above 0 and at most {HIGHEST:g}"
        raise DataError(f"rate: expected {rule}; got {text.strip()[:40]!r}")
    return value


def _environment() -> dict[str, str]:
    """Give the process's environment: it finds this very package, and nothing else first."""
    root = str(Path(__file__).resolve().parents[2])
    paths = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    if root not in (*paths, *map(sysconfig.get_path, ("purelib", "platlib"))):
        paths.append(root)
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths)} if paths else dict(os.environ)


def _ended(code: int) -> str:
    """Say how a process ended that did not say so itself.

    >>> _ended(-9)
    'its process was killed (signal 9), as the system does where the memory is full'
    """
    if code == -9:
        return "its process was killed (signal 9), as the system does where the memory is full"
    return f"its process ended unexpectedly ({'signal' if code < 0 else 'code'} {abs(code)})"
