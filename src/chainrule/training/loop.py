"""The training loop, top to bottom."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from chainrule.data.loader import DataLoader
from chainrule.engine.finite import first_not_finite
from chainrule.engine.op import Array
from chainrule.engine.random import default_generator
from chainrule.engine.state import no_grad
from chainrule.engine.tensor import as_tensor
from chainrule.errors import AnomalyError
from chainrule.nn.module import Module
from chainrule.nn.tracing import evaluating
from chainrule.nn.utils import clip_grad_norm_, clip_grad_value_
from chainrule.training.config import TrainConfig
from chainrule.training.diagnosis import first_layer_not_finite
from chainrule.training.metrics import Evaluation
from chainrule.training.metrics_meter import Meter, RunningMeter
from chainrule.training.objective import Objective, main_scores
from chainrule.training.optimisation import Rate, make_average, make_optimizer
from chainrule.training.rows import Row


class Callback:
    """Watches a training; each method does nothing until it is overridden.

    A callback may end the training after the epoch by setting `trainer.ending` to the reason.
    """

    def on_begin(self, trainer: Trainer) -> None:
        """Follow the start, before the first step."""

    def on_step(self, trainer: Trainer) -> None:
        """Follow each step, after the parameters were changed."""

    def on_epoch(self, trainer: Trainer) -> None:
        """Follow each epoch, after its test; `trainer.rows[-1]` is its row."""

    def on_end(self, trainer: Trainer) -> None:
        """Follow the end, after the last epoch."""


class Trainer:
    """A training in progress: all that changes while it runs, and the loop that changes it.

    `epoch` and `step` count from 1, `step` within the epoch; `tally` holds the running loss and
    accuracy of the epoch; `rows` has one entry for every finished epoch, `evaluation` the test of
    the last one and `validated` that of the held-out part.  `state_dict` gives all of it between
    two steps, so that after `load_state_dict` the training goes on bit for bit as if it had never
    stopped.
    """

    def __init__(
        self,
        model: Module,
        train: DataLoader,
        test: DataLoader,
        config: TrainConfig,
        callbacks: Sequence[Callback] = (),
        validation: DataLoader | None = None,
    ) -> None:
        self.model, self.config = model, config
        self.train, self.test, self.validation = train, test, validation
        self.callbacks = list(callbacks)
        self.steps = len(train)
        self.objective = Objective(train.dataset.task, config.label_smoothing, config.auxiliary)
        self.optimizer = make_optimizer(model, config)
        self.rate = Rate(self.optimizer, config, -(-self.steps // config.accumulate))
        self.average = make_average(model, config)
        self.epoch, self.step, self.updates, self.walked = 1, 0, 0, False
        self.tally = RunningMeter(train.dataset.task)
        self.rows: list[Row] = []
        self.evaluation: Evaluation | None = None
        self.validated: Evaluation | None = None
        self.best, self.since_best = math.inf, 0
        self.ending = ""
        self.interrupted: Callable[[], None] = _nothing
        self.last_rate = self.rate.value
        self._drawn: dict[str, Any] = {}
        self._named = [(n, p) for n, p in model.named_parameters() if p.requires_grad]
        self._parameters = [p for _, p in self._named]
        self._buffers = [(n, b) for n, b in model.named_buffers() if b.array.dtype.kind == "f"]

    def fit(self) -> list[Row]:
        """Run to the last epoch, or to where a callback or early stopping ends it."""
        self._tell("on_begin")
        while self.epoch <= self.config.epochs and not self.ending:
            if not self.walked:  # else it was stopped between the last step and the test
                self._walk()
            self._measure()
            self._tell("on_epoch")
            self.epoch, self.step, self.walked = self.epoch + 1, 0, False
            self.tally = RunningMeter(self.objective.task)
        self._tell("on_end")
        return self.rows

    def _walk(self) -> None:
        """Go through what is left of the epoch's batches."""
        self.model.train()
        for x, y in self.train:  # x: (N, C, H, W), y: (N,) or (N, K)
            self.step += 1
            self._learn(x, y)
            for callback in self.callbacks:
                callback.on_step(self)
            self.interrupted()
        if self.step % self.config.accumulate:  # the last batches were fewer
            self._update()
        config, average = self.config, self.average
        if average is not None and config.average == "swa" and self._late():
            average.update_parameters(self.model)
        self.walked = True

    def _learn(self, x: Array, y: Array) -> None:
        """Go forward and backward, and every `accumulate` batches change the parameters."""
        self._drawn = default_generator().get_state()
        output = self.model(as_tensor(x))  # (N, K) scores, or a tuple with auxiliary ones
        loss = self.objective(output, y)
        value = loss.item()
        if not math.isfinite(value):
            raise self._not_finite(f"the loss became {value}", x, y)

        group, rest = self.config.accumulate, self.steps % self.config.accumulate
        if (self.step - 1) % group == 0:
            self.optimizer.zero_grad()
        if group > 1:
            loss = loss * (1.0 / (rest if self.step > self.steps - rest else group))
        loss.backward()
        self._check_gradients(x, y)
        if self.step % group == 0:
            self._update()
        self.tally.add(main_scores(output).array, y, value)

    def _update(self) -> None:
        config = self.config
        if config.clip_value:
            clip_grad_value_(self._parameters, config.clip_value)
        if config.clip_norm:
            clip_grad_norm_(self._parameters, config.clip_norm)
        self.optimizer.step()
        self.updates += 1
        self.last_rate = self.rate.value
        self.rate.after_step()
        if self.average is not None and config.average == "ema":
            self.average.update_parameters(self.model)

    def _late(self) -> bool:
        """Say whether the epochs have come whose weights are averaged."""
        return self.epoch > self.config.average_start * self.config.epochs

    @property
    def result(self) -> Module:
        """The network that is measured and kept: the average, once it has begun."""
        begun = self.average is not None and int(self.average.n_averaged.item()) > 0
        return self.average.module if begun and self.average is not None else self.model

    def _measure(self) -> None:
        """Test, on the held-out part too; note the epoch's row and what it means for the rate."""
        model, tally = self.result, self.tally
        if self.validation is not None:
            self.validated = evaluate(model, self.validation, self.objective, self.interrupted)
            self._finite(self.validated.loss)
        self.evaluation = evaluate(model, self.test, self.objective, self.interrupted)
        self._finite(self.evaluation.loss)
        judged = self.validated.loss if self.validated is not None else tally.loss
        if judged < self.best:
            self.best, self.since_best = judged, 0
        else:
            self.since_best += 1
        self.rate.after_epoch(None if self.validated is None else judged)
        if self.config.stop_after and self.since_best >= self.config.stop_after:
            self.ending = f"no improvement of the validation loss in {self.since_best} epochs"
        row = Row.of(self.epoch, self.last_rate, tally, self.evaluation, self.validated)
        self.rows.append(row)

    def _tell(self, event: str) -> None:
        for callback in self.callbacks:
            getattr(callback, event)(self)

    def _finite(self, loss: float) -> None:
        if not math.isfinite(loss):
            raise AnomalyError(f"training: the test's loss became {loss} in {self._when()}")

    def _check_gradients(self, x: Array, y: Array) -> None:
        """Raise AnomalyError if a gradient or a buffer holds NaN or infinity: one reading."""
        gradients = [p.grad.array for p in self._parameters if p.grad is not None]
        if first_not_finite(gradients) is not None:
            names = [name for name, p in self._named if p.grad is not None]
            bad = _not_finite_of(names, gradients)
            more = f", nor are {len(bad) - 1} more of {len(names)}, the last {bad[-1]},"
            raise self._not_finite(
                f"the gradient of {bad[0]} is not finite{more if bad[1:] else ''}", x, y
            )
        statistics = [b.array for _, b in self._buffers]
        if first_not_finite(statistics) is not None:
            bad = _not_finite_of([name for name, _ in self._buffers], statistics)
            raise self._not_finite(f"the running statistic {bad[0]} is not finite", x, y)

    def _not_finite(self, what: str, x: Array, y: Array) -> AnomalyError:
        """Give the error, with the layer in which the step's first such number appears."""
        layer = first_layer_not_finite(self.model, self.objective, x, y, self._drawn)
        return AnomalyError(f"training: {what} in {self._when()}{layer}")

    def _when(self) -> str:
        """Say which step it is, and what may help."""
        return (
            f"epoch {self.epoch}, step {self.step} of {self.steps}; a smaller rate usually helps "
            f"(lr is {self.rate.peak:g})"
        )

    def state_dict(self) -> dict[str, Any]:
        """Give all that changes, between two steps or after an epoch's test.

        Arrays are shared, not copied; the rest is plain values, ready for JSON.
        """
        done = len(self.rows) == self.epoch  # measured: the next epoch begins
        state = {
            "model": dict(self.model.state_dict()),
            "optimizer": self.optimizer.state_dict(),
            "rate": self.rate.state_dict(),
            "loader": self.train.state_dict(),
            "generator": default_generator().get_state(),
            "epoch": self.epoch + done,
            "step": 0 if done else self.step,
            "updates": self.updates,
            "walked": self.walked and not done,
            "last_rate": self.last_rate,
            "tally": (RunningMeter(self.objective.task) if done else self.tally).state_dict(),
            "best": None if math.isinf(self.best) else self.best,
            "since_best": self.since_best,
            "ending": self.ending,
            "rows": [row.to_dict() for row in self.rows],
        }
        if self.average is not None:
            state["average"] = dict(self.average.state_dict())
        if not self.walked and self.step % self.config.accumulate:
            state["gradients"] = {n: p.grad for n, p in self._named if p.grad is not None}
        return state

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a state; raises CheckpointError for one of another network or optimiser."""
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.rate.load_state_dict(state["rate"])
        self.train.load_state_dict(state["loader"])
        default_generator().set_state(state["generator"])
        self.epoch, self.step, self.updates = state["epoch"], state["step"], state["updates"]
        self.walked, self.last_rate = state["walked"], state["last_rate"]
        self.tally.load_state_dict(state["tally"])
        self.best = math.inf if state["best"] is None else state["best"]
        self.since_best, self.ending = state["since_best"], state["ending"]
        self.rows = [Row.from_dict(row) for row in state["rows"]]
        if self.average is not None:
            self.average.load_state_dict(state["average"])
        for name, parameter in self._named:
            gradient = state.get("gradients", {}).get(name)
            parameter.grad = None if gradient is None else as_tensor(gradient)


def fit(
    model: Module,
    train: DataLoader,
    test: DataLoader,
    config: TrainConfig,
    callbacks: Sequence[Callback] = (),
    validation: DataLoader | None = None,
) -> list[Row]:
    """Train and test after every epoch; returns the epochs' rows.

    Loaders yield images (N, C, H, W) and targets; the model gives scores (N, K).  The result is
    the last epoch's: no epoch is chosen by its test.  Raises AnomalyError at the first loss,
    gradient or running statistic that is not finite, before the parameters are changed by it.

    >>> import numpy as np, chainrule as cr
    >>> from chainrule.data import ArrayDataset, DataLoader
    >>> _ = cr.manual_seed(0)
    >>> x = np.array([-1.0, 1.0], np.float32).repeat(8).reshape(16, 1, 1, 1)
    >>> loader = DataLoader(ArrayDataset(x, (x > 0).reshape(16).astype(int)), batch_size=4)
    >>> model = cr.nn.Sequential(cr.nn.Flatten(), cr.nn.Linear(1, 2))
    >>> fit(model, loader, loader, TrainConfig(epochs=5, lr=0.1))[-1].test_accuracy
    1.0
    """
    return Trainer(model, train, test, config, callbacks, validation).fit()


def evaluate(
    model: Module,
    loader: Iterable[tuple[Array, Array]],
    objective: Objective | None = None,
    interrupted: Callable[[], None] | None = None,
) -> Evaluation:
    """Measure loss and metrics over a loader, without gradients.

    The model is switched to evaluation and afterwards back to the mode it was in.  A batch may
    hold several views of each image, (N, V, C, H, W): their probabilities are averaged.

    >>> import numpy as np, chainrule as cr
    >>> from chainrule.data import ArrayDataset, DataLoader
    >>> data = ArrayDataset(np.array([[[[1.0, 2.0]]], [[[3.0, 0.0]]]], np.float32), [1, 1])
    >>> result = evaluate(cr.nn.Flatten(), DataLoader(data, batch_size=2))  # pixels as scores
    >>> result.accuracy, result.confusion.tolist()
    (0.5, [[0, 0], [1, 1]])
    """
    objective = objective or Objective()
    plain = replace(objective, smoothing=0.0)
    meter = Meter(objective.task)
    with evaluating(model), no_grad():
        for x, y in loader:
            scores = main_scores(model(as_tensor(x)))  # (N, K)
            meter.add(scores.array, y, plain(scores, y).item())
            if interrupted is not None:
                interrupted()
    return meter.result()


def _nothing() -> None:
    """Nobody asks for an end."""


def _not_finite_of(names: list[str], arrays: list[Array]) -> list[str]:
    return [n for n, a in zip(names, arrays, strict=True) if first_not_finite([a]) is not None]
