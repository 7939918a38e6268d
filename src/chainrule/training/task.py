"""A whole job: data, network, training, run folder; and a run used again."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np

from chainrule import __version__
from chainrule.data.dataset import ImageData
from chainrule.data.images import Ink, frame_digit, read_image
from chainrule.data.loader import DataLoader
from chainrule.data.preprocess import Preprocess
from chainrule.data.sources import FRAMES, load_dataset
from chainrule.engine.op import Array
from chainrule.engine.random import Generator, manual_seed
from chainrule.engine.state import no_grad
from chainrule.engine.tensor import as_tensor
from chainrule.errors import CheckpointError, DataError
from chainrule.formats.atomic import write_atomic
from chainrule.models.registry import create_model
from chainrule.training.config import TrainConfig
from chainrule.training.folder import CONFUSION, CURVES, RunConfig, RunFolder
from chainrule.training.interrupt import interrupts_deferred
from chainrule.training.loop import Callback, Progress, evaluate, fit
from chainrule.training.metrics import Evaluation, Row
from chainrule.training.plots import confusion_png, curves_png

_ORDER, _MOVES = (1 << 20,), (2 << 20,)  # paths of the random streams beside the network's own
_TEST_BATCH = 200


class TrainTask:
    """One training from files to files.

    Everything is checked and loaded by the constructor, in which nothing of an older run is
    touched: the data (`data`), the network (`model`, with initial values from the seed) and the
    folder.  `run` then trains and writes the folder after each epoch.

    The same configuration gives the same weights and metrics, bit for bit, on the same machine
    with the same number of threads.  Raises DataError, OSError and ValueError as their causes do.
    """

    def __init__(
        self, config: TrainConfig, out: str | os.PathLike[str], overwrite: bool = False
    ) -> None:
        self.config = config
        self.data: ImageData = load_dataset(config.data, config.data_dir)
        self.preprocess = Preprocess.fit(self.data)
        manual_seed(config.seed)
        channels = self.data.train[0][0].shape[0]
        self.model = create_model(config.model, len(self.data.classes), channels)
        self.folder = RunFolder.create(out, overwrite)
        self._saver = _Saver(self.folder, self._run_config(channels))

    def _run_config(self, channels: int) -> RunConfig:
        classes = tuple(self.data.classes)
        return RunConfig(self.config, self.preprocess, classes, channels, __version__)

    @property
    def rows(self) -> list[Row]:
        """The rows of the epochs that were finished and saved."""
        return self._saver.rows

    def run(self, callbacks: Sequence[Callback] = ()) -> list[Row]:
        """Train; after every epoch the folder holds weights, metrics and configuration up to there.

        Ctrl-C ends it with KeyboardInterrupt, never in the middle of writing; `rows` are then the
        epochs that are saved.  A folder in which nothing was saved is removed again.
        """
        config, data = self.config, self.data
        transform = self.preprocess.shifted(config.shift, Generator(config.seed, path=_MOVES))
        train = DataLoader(
            data.train,
            config.batch_size,
            shuffle=True,
            generator=Generator(config.seed, path=_ORDER),
            transform=transform if config.shift else self.preprocess,
        )
        test = DataLoader(data.test, _TEST_BATCH, transform=self.preprocess)
        try:
            return fit(self.model, train, test, config, [self._saver, *callbacks])
        except BaseException:
            self.folder.discard_if_empty()
            raise

    def draw(self) -> str:
        """Write the plots of the epochs finished so far; returns why not, or nothing.

        Raises OSError if the disk refuses.
        """
        evaluation, rows = self._saver.evaluation, self.rows
        if evaluation is None:
            return "no epoch was finished"
        title = f"{self.config.model} on {self.data.name}, test {100 * evaluation.accuracy:.2f} %"
        try:
            curves = curves_png(rows, title)
            confusion = confusion_png(evaluation.confusion, self.data.classes, title)
        except DataError as error:  # matplotlib is an extra
            return str(error)
        with interrupts_deferred():
            write_atomic(self.folder.path / CURVES, curves)
            write_atomic(self.folder.path / CONFUSION, confusion)
        return ""


class _Saver(Callback):
    """Writes the folder after each epoch, and remembers what is in it."""

    def __init__(self, folder: RunFolder, config: RunConfig) -> None:
        self.folder, self.config = folder, config
        self.rows: list[Row] = []
        self.evaluation: Evaluation | None = None

    def on_epoch(self, progress: Progress) -> None:
        """Save the epoch that was just finished."""
        with interrupts_deferred():
            self.folder.save(progress.model, self.config, progress.rows)
            self.rows, self.evaluation = list(progress.rows), progress.evaluation


def evaluate_run(
    run: str | os.PathLike[str], data_dir: str | os.PathLike[str] | None = None
) -> Evaluation:
    """Measure a run's weights on the test part of its data set.

    `data_dir` says where the files are now, if not where they were.  Raises CheckpointError for a
    run that cannot be read, DataError for the data.
    """
    folder = RunFolder(run)
    config = folder.read_config()
    model = folder.load_model()
    data = load_dataset(config.train.data, data_dir or config.train.data_dir)
    loader = DataLoader(data.test, _TEST_BATCH, transform=config.preprocess)
    return evaluate(model, loader)


class Predictor:
    """A run's network for pictures from files.

    >>> Predictor("runs/absent")
    Traceback (most recent call last):
    chainrule.errors.CheckpointError: runs/absent: no such folder
    """

    def __init__(self, run: str | os.PathLike[str]) -> None:
        folder = RunFolder(run)
        self.config = folder.read_config()
        if self.config.train.data not in FRAMES:
            known = ", ".join(sorted(FRAMES))
            raise CheckpointError(
                f"{run}: made for the data set {self.config.train.data!r}; known are {known}"
            )
        self.model = folder.load_model()

    def pixels(self, path: str | os.PathLike[str], ink: Ink = "auto") -> Array:
        """Read a picture and frame it like the run's data: (1, 1, H, W), 0 to white.

        See `frame_digit` for how paper and ink are told apart.
        """
        frame = FRAMES[self.config.train.data]
        digit = frame_digit(read_image(path), frame.size, frame.box, ink, str(path))
        white = self.config.preprocess.white
        return (digit.astype(np.float32) * np.float32(white / 255.0))[np.newaxis, np.newaxis]

    def probabilities(self, path: str | os.PathLike[str], ink: Ink = "auto") -> Array:
        """Give the probability of each class for a picture: (classes,), summing to 1."""
        x = self.config.preprocess(self.pixels(path, ink))  # (1, 1, 32, 32)
        with no_grad():
            scores = self.model(as_tensor(x)).numpy()[0].astype(np.float64)  # (classes,)
        weights = np.exp(scores - scores.max())
        return np.asarray(weights / weights.sum())
