"""The training loop, top to bottom."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from chainrule.data.loader import DataLoader
from chainrule.engine.finite import first_not_finite
from chainrule.engine.state import no_grad
from chainrule.engine.tensor import as_tensor
from chainrule.errors import AnomalyError
from chainrule.nn.functional import cross_entropy
from chainrule.nn.module import Module
from chainrule.optim import SGD, LambdaLR
from chainrule.training.config import TrainConfig
from chainrule.training.metrics import Evaluation, Row, Tally, confusion_matrix, predictions


@dataclass
class Progress:
    """Where a training is: what callbacks read.

    `epoch` and `step` count from 1; `tally` holds the running loss and accuracy of the epoch;
    `rows` has one entry for every finished epoch, `evaluation` the test of the last one.
    """

    model: Module
    config: TrainConfig
    steps: int
    epoch: int = 0
    step: int = 0
    tally: Tally = field(default_factory=Tally)
    rows: list[Row] = field(default_factory=list)
    evaluation: Evaluation | None = None


class Callback:
    """Watches a training; each method does nothing until it is overridden."""

    def on_begin(self, progress: Progress) -> None:
        """Follow the start, before the first step."""

    def on_step(self, progress: Progress) -> None:
        """Follow each step, after the parameters were changed."""

    def on_epoch(self, progress: Progress) -> None:
        """Follow each epoch, after its test; `progress.rows[-1]` is its row."""


def fit(
    model: Module,
    train: DataLoader,
    test: DataLoader,
    config: TrainConfig,
    callbacks: Sequence[Callback] = (),
) -> list[Row]:
    """Train with SGD on the cross-entropy and test after every epoch; returns the epochs' rows.

    Loaders yield images (N, C, H, W) and labels (N,); the model gives scores (N, classes).
    The result is the last epoch's: no epoch is chosen by its test.  Raises AnomalyError at the
    first loss or gradient that is not finite, before the parameters are changed by it.

    >>> import numpy as np, chainrule as cr
    >>> from chainrule.data import ArrayDataset, DataLoader
    >>> _ = cr.manual_seed(0)
    >>> x = np.array([-1.0, 1.0], np.float32).repeat(8).reshape(16, 1, 1, 1)
    >>> loader = DataLoader(ArrayDataset(x, (x > 0).reshape(16).astype(int)), batch_size=4)
    >>> model = cr.nn.Sequential(cr.nn.Flatten(), cr.nn.Linear(1, 2))
    >>> fit(model, loader, loader, TrainConfig(epochs=5, lr=0.1))[-1].test_accuracy
    1.0
    """
    optimizer = SGD(
        _groups(model, config.weight_decay),
        lr=config.lr,
        momentum=config.momentum,
        nesterov=config.nesterov,
    )
    schedule = LambdaLR(optimizer, lambda step: config.rate_factor(step, len(train)))
    progress = Progress(model, config, steps=len(train))
    for callback in callbacks:
        callback.on_begin(progress)

    for progress.epoch in range(1, config.epochs + 1):
        progress.tally = tally = Tally()
        model.train()
        for progress.step, (x, y) in enumerate(train, start=1):  # x: (N, C, H, W), y: (N,)
            scores = model(as_tensor(x))  # (N, classes)
            loss = cross_entropy(scores, as_tensor(y))
            value = _finite(loss.item(), progress)

            optimizer.zero_grad()
            loss.backward()
            _check_gradients(model, progress)
            optimizer.step()
            rate = schedule.get_last_lr()[0]
            schedule.step()

            tally.add(value, int(np.count_nonzero(predictions(scores) == y)), len(y))
            for callback in callbacks:
                callback.on_step(progress)

        progress.evaluation = tested = evaluate(model, test)
        _finite(tested.loss, progress)
        row = Row(progress.epoch, rate, tally.loss, tally.accuracy, tested.loss, tested.accuracy)
        progress.rows.append(row)
        for callback in callbacks:
            callback.on_epoch(progress)
    return progress.rows


def evaluate(model: Module, loader: DataLoader) -> Evaluation:
    """Measure mean cross-entropy, accuracy and confusion over a loader, without gradients.

    The model is switched to evaluation and afterwards back to the mode it was in.

    >>> import numpy as np, chainrule as cr
    >>> from chainrule.data import ArrayDataset, DataLoader
    >>> data = ArrayDataset(np.array([[[[1.0, 2.0]]], [[[3.0, 0.0]]]], np.float32), [1, 1])
    >>> result = evaluate(cr.nn.Flatten(), DataLoader(data, batch_size=2))  # pixels as scores
    >>> result.accuracy, result.confusion.tolist()
    (0.5, [[0, 0], [1, 1]])
    """
    total, right, found = Tally(), [], []
    mode = model.training
    model.eval()
    try:
        with no_grad():
            for x, y in loader:
                scores = model(as_tensor(x))  # (N, classes)
                loss = cross_entropy(scores, as_tensor(y)).item()
                found.append(predictions(scores))
                right.append(y)
                total.add(loss, int(np.count_nonzero(found[-1] == y)), len(y))
    finally:
        model.train(mode)
    confusion = confusion_matrix(np.concatenate(found), np.concatenate(right), scores.shape[1])
    return Evaluation(total.loss, total.accuracy, confusion)


def _groups(model: Module, weight_decay: float) -> list[dict[str, object]]:
    """Put biases (and scales: all with one axis) into a group without weight decay."""
    named = list(model.named_parameters())
    groups = [
        {"params": [(n, p) for n, p in named if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [(n, p) for n, p in named if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]


def _finite(loss: float, progress: Progress) -> float:
    if math.isfinite(loss):
        return loss
    raise AnomalyError(f"training: the loss became {loss} in {_when(progress)}")


def _check_gradients(model: Module, progress: Progress) -> None:
    """Raise AnomalyError if a gradient holds NaN or infinity: costs one reading of them all."""
    named = [(n, p.grad.array) for n, p in model.named_parameters() if p.grad is not None]
    if first_not_finite(gradient for _, gradient in named) is None:
        return
    bad = [name for name, gradient in named if first_not_finite([gradient]) is not None]
    more = f", nor are {len(bad) - 1} more of {len(named)}, the last {bad[-1]}," if bad[1:] else ""
    raise AnomalyError(
        f"training: the gradient of {bad[0]} is not finite{more} in {_when(progress)}"
    )


def _when(progress: Progress) -> str:
    """Say which step it is, and what may help."""
    return (
        f"epoch {progress.epoch}, step {progress.step} of {progress.steps}; a smaller rate usually "
        f"helps (lr is {progress.config.lr:g}), and under `with cr.detect_anomaly():` the error "
        "names the operation and the line that made the first such number"
    )
