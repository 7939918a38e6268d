"""A whole job: data, network, training, run folder."""

from __future__ import annotations

import inspect
import os
import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from chainrule import __version__
from chainrule.data.dataset import ImageData
from chainrule.data.download import Progress
from chainrule.data.loader import DataLoader
from chainrule.data.prefetch import suggested_workers
from chainrule.data.sources import load_dataset
from chainrule.data.transforms import parse_mix
from chainrule.engine.random import Generator, manual_seed
from chainrule.errors import CheckpointError, DataError
from chainrule.models.pattern import PatternNet, is_pattern
from chainrule.models.registry import find
from chainrule.training.changes import RateChanges
from chainrule.training.check import check_network
from chainrule.training.checkpoint import Checkpoints
from chainrule.training.config import TrainConfig
from chainrule.training.environment import describe_environment
from chainrule.training.events import EventWriter, require_tensorboardx
from chainrule.training.folder import EVENTS, RunConfig, RunFolder
from chainrule.training.interrupt import Interrupts, interrupts_deferred, interrupts_noted
from chainrule.training.loop import Callback, Trainer
from chainrule.training.metrics import Evaluation
from chainrule.training.pipeline import fixed_frame, input_shape, training_transforms
from chainrule.training.report import Report
from chainrule.training.rows import Row

_ORDER = (1 << 20,)  # path of the random stream of orders and changes, beside the network's own
TEST_BATCH = 200
_COST = 50  # what is written within the training takes at most one part in so many of its time


class Prepared:
    """A training before its first step: the data, the network, the loaders, the trainer.

    `data`, `transforms` (fitted), `shape` of the images that reach the network, `model` with
    initial values from the seed, `trainer`.  `kept` is what an interrupted run knew; `fetch` asks
    for a standard set to be fetched if it is not there, and `progress` is told of it.
    Raises DataError and ValueError as their causes do.
    """

    def __init__(
        self,
        config: TrainConfig,
        kept: RunConfig | None = None,
        fetch: bool = False,
        progress: Progress | None = None,
    ) -> None:
        self.config = config
        self.data: ImageData = load_dataset(
            config.data, config.data_dir, fetch, progress=progress, validation=config.validation
        )
        fingerprint = _fingerprint(self.data)
        if kept is not None and kept.fingerprint != fingerprint:
            raise CheckpointError(
                f"{config.data}: expected the data that the run began with; it has changed "
                f"({len(self.data.train):,} training images now)"
            )
        size = config.size or _own_size(config.model)
        self.transforms = (
            kept.transforms
            if kept is not None
            else training_transforms(
                config.transforms, self.data, size, config.shift, config.skip_bad
            )
        )
        self.shape = input_shape(self.transforms, self.data.train, config.skip_bad)
        options = dict(config.model_options)
        if "image_size" in _parameters(config.model):
            options.setdefault("image_size", self.shape[-1])
        classes, task = tuple(self.data.classes), self.data.task
        frame = fixed_frame(self.data.train)
        self.run_config = RunConfig(
            *(config, self.transforms, classes, self.shape, __version__, task),
            *(options, fingerprint, frame),
        )
        manual_seed(config.seed)
        self.model = self.run_config.build()
        self.trainer = self._trainer()

    def _trainer(self) -> Trainer:
        """Make the loaders and the trainer."""
        config, data = self.config, self.data
        workers = suggested_workers(data.train) if config.workers < 0 else config.workers
        shared: dict[str, Any] = {"num_workers": workers, "skip_bad": config.skip_bad}
        train = DataLoader(
            data.train,
            config.batch_size,
            shuffle=True,
            generator=Generator(config.seed, path=_ORDER),
            transform=self.transforms,
            mix=parse_mix(config.mix) if config.mix else None,
            **shared,
        )
        use = self.transforms.eval()
        shared["generator"] = Generator(0)  # nothing is drawn: the global stream stays as it is
        test = DataLoader(data.test, TEST_BATCH, transform=use, **shared)
        held = None
        if data.validation is not None:
            held = DataLoader(data.validation, TEST_BATCH, transform=use, **shared)
        return Trainer(self.model, train, test, config, (), held)

    @property
    def skipped(self) -> list[tuple[str, str]]:
        """The files that could not be read and were left out, each with the reason."""
        trainer = self.trainer
        loaders = [trainer.train, trainer.test, trainer.validation]
        return [entry for loader in loaders if loader is not None for entry in loader.skipped]


class TrainTask(Prepared):
    """One training from files to files.

    Everything is checked and loaded by the constructor, in which nothing of an older run is
    touched; see `Prepared`.  `run` then trains, and writes the folder as it goes.

    The same configuration gives the same weights and metrics, bit for bit, on the same machine
    with the same number of threads; so does one that was stopped and gone on with (`resume`).
    `command` is what to type to repeat it, if it is not this process's.  Raises DataError, OSError
    and ValueError as their causes do.
    """

    command: Sequence[str] | None = None

    def __init__(
        self,
        config: TrainConfig,
        out: str | os.PathLike[str],
        overwrite: bool = False,
        fetch: bool = False,
        progress: Progress | None = None,
    ) -> None:
        super().__init__(config, None, fetch, progress)
        self.folder = RunFolder.create(out, overwrite)
        self.damaged: list[str] = []
        self.keeper, self.changes = _Keeper(self), RateChanges(self.folder)

    @classmethod
    def resume(cls, run: str | os.PathLike[str], **places: Any) -> TrainTask:
        """Take up a run where its newest readable checkpoint stands.

        `places` are what may be elsewhere now: data_dir, workers.  Without a checkpoint the
        training begins anew, with the same result; `damaged` tells of checkpoints that were
        passed over.  Raises CheckpointError for what is no run, for other data than it was made
        for, and for one that is finished.
        """
        task = cls.__new__(cls)
        task.folder = RunFolder.reopen(run)
        kept = task.folder.read_config()
        given = {key: value for key, value in places.items() if value is not None}
        Prepared.__init__(task, replace(kept.train, **given), kept)
        task.damaged = []
        task.keeper, task.changes = _Keeper(task), RateChanges(task.folder)
        task._go_on()
        return task

    def _go_on(self) -> None:
        checkpoints = Checkpoints(self.folder.path)
        if checkpoints.paths():
            state, path, self.damaged = checkpoints.newest()
            try:
                self.trainer.load_state_dict(state)
            except (KeyError, TypeError, ValueError) as error:
                raise CheckpointError(f"{path}: of another training ({error})") from error
        if self.trainer.epoch > self.config.epochs or self.trainer.ending:
            raise CheckpointError(
                f"{self.folder.path}: this run is finished ({len(self.trainer.rows)} epochs)"
            )
        self.folder.go_on_after(self.trainer.rows)
        self.keeper.rows = list(self.trainer.rows)

    def warnings(self) -> list[str]:
        """Look at network and data before the first step; say what does not look right.

        Raises DataError where nothing could be learnt.  See `check_network`.
        """
        objective, skip_bad = self.trainer.objective, self.config.skip_bad
        given = (self.model, self.data.train, self.transforms, objective)
        found = [item for item in check_network(*given, skip_bad=skip_bad) if not item.ok]
        for finding in found:
            if finding.name == "shapes":
                self.folder.discard_if_empty()
                raise DataError(finding.text)
        return [finding.text for finding in found]

    def change_rate(self, peak: float) -> None:
        """Change the rate's peak between two steps of the training that runs; see `RateChanges`.

        Raises ShapeError for what is no rate, OSError if the disk refuses; nothing is changed then.
        """
        if not self.folder.claimed:
            self.keeper.checkpoint(self.trainer)
        self.changes.make(self.trainer, peak)

    @property
    def rows(self) -> list[Row]:
        """The rows of the epochs that were finished and saved."""
        return self.keeper.rows

    def run(self, callbacks: Sequence[Callback] = ()) -> list[Row]:
        """Train; after every epoch the folder holds weights, metrics and configuration up to there.

        Ctrl-C and SIGTERM end it with KeyboardInterrupt after the step that runs, and after a
        checkpoint; `rows` are then the epochs that are saved.  A folder in which nothing was
        saved is removed again.
        """
        trainer = self.trainer
        trainer.callbacks = [self.keeper, self.changes, *callbacks]
        try:
            with interrupts_noted() as interrupts:
                trainer.interrupted = self._ask(interrupts)
                return trainer.fit()
        except BaseException:
            self.folder.discard_if_empty()
            raise

    def _ask(self, interrupts: Interrupts) -> Callable[[], None]:
        def ask() -> None:
            if interrupts.caught is not None:
                error, interrupts.caught = interrupts.error(), None
                if not self.folder.holds_another_run:
                    self.keeper.checkpoint(self.trainer)
                raise error

        return ask

    def draw(self) -> str:
        """Write the tables and plots of the epochs finished so far; returns why not, or nothing.

        Raises OSError if the disk refuses.
        """
        if self.keeper.evaluation is None:
            return "no epoch was finished"
        return self.keeper.report.write(self.rows, self.keeper.evaluation)


class _Keeper(Callback):
    """Writes the folder while a training runs, and remembers what is in it.

    After each epoch weights and metrics; a checkpoint then too, and within an epoch every
    `checkpoint_minutes`.  Checkpoints and plots of epochs that take a moment are left out as far as
    writing them would cost more than a fiftieth of the time.
    """

    def __init__(self, task: TrainTask) -> None:
        self._task, self.folder, self.config = task, task.folder, task.run_config
        self.rows: list[Row] = []
        self.evaluation: Evaluation | None = None
        title = f"{task.config.model} on {task.data.name}"
        self.report = Report(task.folder.path, self.config.classes, self.config.task, title)
        self._checkpoints = Checkpoints(task.folder.path, task.config.keep)
        self._events: EventWriter | None = None
        if task.config.tensorboard:
            require_tensorboardx()  # before the training, not after its first epoch
        self._saved, self._drawn = _Pace(), _Pace()
        self._begun = time.monotonic()

    def on_begin(self, trainer: Trainer) -> None:
        """Start the clock."""
        self._begun = time.monotonic()

    def on_step(self, trainer: Trainer) -> None:
        """Save within a long epoch."""
        if self._saved.since() > 60.0 * self.config.train.checkpoint_minutes:
            self.checkpoint(trainer)

    def on_epoch(self, trainer: Trainer) -> None:
        """Save the epoch that was just finished."""
        with interrupts_deferred():
            state = trainer.result.state_dict()
            self._claim(state)
            timing = {"seconds": round(time.monotonic() - self._begun, 3)}
            best = trainer.since_best == 0
            self.folder.save(state, self.config, trainer.rows[-1], best, timing)
            self._begun = time.monotonic()
            self.rows, self.evaluation = list(trainer.rows), trainer.evaluation
        last = trainer.epoch == self.config.train.epochs or bool(trainer.ending)
        if last or self._saved.due():
            self.checkpoint(trainer)
        if self._task.skipped:
            self.report.write_skipped(self._task.skipped)
        if not last and self._drawn.due():
            with self._drawn.timed(), interrupts_deferred():
                self.report.draw_curves(self.rows)
        if self.config.train.tensorboard:
            self._write_events(trainer)

    def on_end(self, trainer: Trainer) -> None:
        """Close what is open."""
        if self._events is not None:
            self._events.close()

    def checkpoint(self, trainer: Trainer) -> None:
        """Save the whole state, between two steps."""
        with self._saved.timed(), interrupts_deferred():
            state = trainer.state_dict()
            self._claim(trainer.result.state_dict())
            self._checkpoints.save(state, (state["epoch"] - 1) * trainer.steps + state["step"])

    def _claim(self, weights: Mapping[str, Any]) -> None:
        if not self.folder.claimed:
            environment = describe_environment(self._task.command)
            environment = {**environment, "seed": self.config.train.seed}
            self.folder.claim(self.config, environment, weights)

    def _write_events(self, trainer: Trainer) -> None:
        """Add an epoch's numbers; what an interrupted run wrote of it is hidden."""
        if self._events is None:
            self._events = EventWriter(self.folder.path / EVENTS, trainer.epoch)
        self._events.scalars(trainer.rows[-1].by_part(), trainer.epoch)
        self._events.flush()


class _Pace:
    """How long something takes, and how long ago it was."""

    def __init__(self) -> None:
        self._last, self._cost = time.monotonic(), 0.0
        self._never = True

    def since(self) -> float:
        """Give the seconds since it was last done."""
        return time.monotonic() - self._last

    def due(self) -> bool:
        """Say whether it may be done again without costing more than its part of the time."""
        return self._never or self.since() > _COST * self._cost

    def timed(self) -> _Timed:
        """Measure the block."""
        return _Timed(self)

    def note(self, seconds: float) -> None:
        """Take in how long it took."""
        self._last, self._cost, self._never = time.monotonic(), seconds, False


class _Timed:
    def __init__(self, pace: _Pace) -> None:
        self._pace = pace

    def __enter__(self) -> None:
        self._begun = time.monotonic()

    def __exit__(self, *error: object) -> None:
        self._pace.note(time.monotonic() - self._begun)


def _parameters(model: str) -> Mapping[str, Any]:
    build = PatternNet if is_pattern(model) else find(model).build
    return inspect.signature(build).parameters


def _own_size(model: str) -> int:
    return 32 if is_pattern(model) else find(model).size


def _fingerprint(data: ImageData) -> str:
    """Tell one set from another: how many images, and a checksum of their targets."""
    parts = [data.train, data.test, *([data.validation] if data.validation is not None else [])]
    sums = [f"{len(part)}:{zlib.crc32(part.targets.tobytes()):08x}" for part in parts]
    return " ".join(sums)
