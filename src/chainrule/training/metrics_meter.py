"""Metrics batch by batch: a few sums while training, everything for an evaluation."""

from __future__ import annotations

import math
from typing import Any, Literal, Protocol

import numpy as np

from chainrule.engine.op import Array
from chainrule.errors import AnomalyError, KindError, ShapeError, expect, failure
from chainrule.training.metrics import (
    ClassTable,
    Evaluation,
    balanced_accuracy,
    predictions,
    topk_accuracy,
)
from chainrule.training.metrics_calibration import (
    BINS,
    Calibration,
    brier_score,
    calibration,
    negative_log_likelihood,
    probabilities,
)
from chainrule.training.metrics_checks import (
    as_array,
    check_scores,
    class_labels,
    columns,
    label_tables,
    mean_of_defined,
)
from chainrule.training.metrics_multilabel import auroc, average_precision, label_table
from chainrule.training.metrics_regression import explained

Task = Literal["classification", "multilabel", "regression"]
TASKS: tuple[Task, ...] = ("classification", "multilabel", "regression")
"""What a head of a network is for."""

_TOP = 5


class RunningMeter:
    """The numbers of an epoch that is running: cheap enough for every step.

    `metrics` has "accuracy" for classification, "exact_match" and "label_accuracy" for several
    labels an image (yes where the score is above 0), "mae" and "rmse" for regression.  Targets
    of classes may be rows of shares (N, C), as mixed images have them: the largest counts.
    Nothing is looked for in the scores: NaN is the loop's to find.  `state_dict` lets an epoch
    go on where it was interrupted, bit for bit.

    >>> meter = RunningMeter("classification")
    >>> meter.add([[0.1, 0.9], [2.0, 1.0]], [1, 1], loss=0.8)
    >>> meter.loss, meter.metrics, meter.images
    (0.8, {'accuracy': 0.5}, 2)
    """

    def __init__(self, task: Task = "classification") -> None:
        self.task = _known(task)
        self.images = 0
        self._total = 0.0  # of the losses
        self._first = 0.0  # right answers, or exact matches, or sum of |differences|
        self._second = 0.0  # right labels, or sum of squared differences
        self._each = 1  # labels or outputs of an image

    def add(self, scores: Any, targets: Any, loss: float, images: int | None = None) -> None:
        """Take in a batch: scores (N, ...), targets (N, ...), and its mean loss."""
        s, t = as_array(scores), as_array(targets)
        n = len(t) if images is None else images
        if self.task == "classification":
            y = t if t.ndim == 1 else t.argmax(axis=1)
            self._first += int(np.count_nonzero(s.argmax(axis=1) == y))
        else:
            s, t = s.reshape(len(s), -1), t.reshape(len(t), -1)
            expect(s.shape == t.shape, "meter", "a target for each score", scores=s, targets=t)
            self._each = s.shape[1]
            if self.task == "multilabel":
                right = (s > 0) == (t > 0.5)
                self._first += int(np.count_nonzero(right.all(axis=1)))
                self._second += int(np.count_nonzero(right))
            else:
                gap = np.subtract(s, t, dtype=np.float64).ravel()
                self._first += float(np.abs(gap).sum())
                self._second += float(gap @ gap)
        self.images += n
        self._total += loss * n

    @property
    def loss(self) -> float:
        """Mean loss an image; 0 before the first."""
        return self._total / max(self.images, 1)

    @property
    def metrics(self) -> dict[str, float]:
        """All other numbers by name; 0 before the first image."""
        images = max(self.images, 1)
        single = images * self._each
        if self.task == "classification":
            return {"accuracy": self._first / images}
        if self.task == "multilabel":
            return {"exact_match": self._first / images, "label_accuracy": self._second / single}
        return {"mae": self._first / single, "rmse": math.sqrt(self._second / single)}

    def row(self, part: str = "train") -> dict[str, float]:
        """Give all numbers as the columns of a record: 'train_loss', 'train_accuracy', ..."""
        return {f"{part}_{name}": v for name, v in {"loss": self.loss, **self.metrics}.items()}

    def state_dict(self) -> dict[str, Any]:
        """Give the sums as plain numbers, which JSON keeps exactly.

        >>> meter, other = RunningMeter("regression"), RunningMeter("regression")
        >>> meter.add([0.1, 0.7], [0.0, 1.0], loss=0.05)
        >>> other.load_state_dict(meter.state_dict())
        >>> other.metrics == meter.metrics
        True
        """
        sums = [self._total, self._first, self._second]
        return {"task": self.task, "images": self.images, "each": self._each, "sums": sums}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take the place of the meter that gave `state`; raises ShapeError for another task's."""
        expect(state.get("task") == self.task, "meter", f"the state of {self.task!r}", state=state)
        self.images, self._each = int(state["images"]), int(state["each"])
        self._total, self._first, self._second = (float(value) for value in state["sums"])


class Meter:
    """Everything that is measured of a network on a data set, taken in batch by batch.

    Of classes it keeps counts alone, whatever the number of images: loss, accuracy, top5 (of
    more than five classes), balanced accuracy, calibration error, likelihood and Brier score, the
    confusion matrix, the bins of confidence.  Of several labels an image it keeps the scores too,
    in float32, which average precision needs.  Of regressions it keeps sums.

    Scores are what the network's last layer gives: logits, from which softmax makes the
    probabilities of classes; a label is predicted where its score is above 0, that is where its
    probability is above one half.  With `from_probabilities` they are probabilities already, as
    when those of several networks were averaged; then a label's bound is 0.5.

    >>> meter = Meter("classification")
    >>> meter.add([[0.0, 2.0], [1.0, 0.0]], [1, 1], loss=0.7)
    >>> result = meter.result()
    >>> result.accuracy, result.confusion.tolist(), list(result.metrics)
    (0.5, [[0, 0], [1, 1]], ['accuracy', 'balanced_accuracy', 'ece', 'nll', 'brier'])
    """

    def __init__(self, task: Task = "classification", from_probabilities: bool = False) -> None:
        self.task = _known(task)
        self.images = 0
        self._total = 0.0
        self._kept: _Kept
        if task == "classification":
            self._kept = _Classes(from_probabilities)
        elif task == "multilabel":
            self._kept = _Labels(0.5 if from_probabilities else 0.0)
        else:
            self._kept = _Outputs()

    def add(self, scores: Any, targets: Any, loss: float, images: int | None = None) -> None:
        """Take in a batch: scores (N, C), (N, L) or (N, K), their targets, its mean loss.

        Targets are class labels (N,), tables of 0 and 1 (N, L), or numbers (N, K); with K = 1
        both may be (N,).  `images` is N unless it is given.  Raises AnomalyError for scores that
        are not finite, ShapeError, LabelError or DataError for targets that do not fit.
        """
        s, t = as_array(scores), as_array(targets)
        if s.dtype.kind == "f" and not np.isfinite(s).all():
            self._refuse(s)
        self._kept.add(s, t)
        n = len(s) if images is None else images
        self.images += n
        self._total += float(loss) * n

    def _refuse(self, scores: Array) -> None:
        wrong = ~np.isfinite(scores)
        place = np.unravel_index(int(np.argmax(wrong)), wrong.shape)
        image = self.images + int(place[0])
        raise AnomalyError(
            f"evaluation: the network's scores of image {image} (from 0, in the order of the data) "
            f"hold {scores[place]}; its weights may hold NaN or infinity, or the image may"
        )

    def result(self) -> Evaluation:
        """Give what was measured so far; raises ShapeError before the first batch."""
        if not self.images:
            raise failure("meter", "at least one batch before the result", error=ShapeError)
        return self._kept.result(self._total / self.images)


class _Kept(Protocol):
    """What a task keeps of the batches."""

    def add(self, scores: Array, targets: Array) -> None: ...

    def result(self, loss: float) -> Evaluation: ...


class _Classes:
    """One class an image: counts and sums."""

    def __init__(self, from_probabilities: bool) -> None:
        self.from_probabilities = from_probabilities
        self.confusion: Array | None = None
        self.bins = Calibration(np.zeros(BINS, int), np.zeros(BINS), np.zeros(BINS, int))
        self.top = self.likelihood = self.brier = 0.0

    def add(self, scores: Array, targets: Array) -> None:
        check_scores("meter", scores, targets)
        n, classes = scores.shape
        labels = class_labels("meter labels", targets, classes)
        if self.confusion is None:
            self.confusion = np.zeros((classes, classes), np.int64)
        before = len(self.confusion)
        expect(before == classes, "meter", f"{before} classes as before", scores=scores)
        p = scores if self.from_probabilities else probabilities(scores)
        bins = calibration(p, targets)
        np.add.at(self.confusion, (labels, predictions(scores)), 1)
        self.bins += bins
        self.likelihood += negative_log_likelihood(p, targets) * n
        self.brier += brier_score(p, targets) * n
        if classes > _TOP:
            self.top += topk_accuracy(scores, targets, _TOP) * n

    def result(self, loss: float) -> Evaluation:
        confusion = np.zeros((1, 1), int) if self.confusion is None else self.confusion.copy()
        n = int(confusion.sum())
        right = int(np.trace(confusion)) / n
        metrics = {"accuracy": right}
        if len(confusion) > _TOP:
            metrics["top5"] = self.top / n
        metrics |= {
            "balanced_accuracy": balanced_accuracy(confusion),
            "ece": self.bins.error,
            "nll": self.likelihood / n,
            "brier": self.brier / n,
        }
        return Evaluation(loss, right, confusion, metrics, self.bins)


class _Labels:
    """Several labels an image: counts, and the scores for average precision."""

    def __init__(self, bound: float) -> None:
        self.bound = bound
        self.scores: list[Array] = []
        self.targets: list[Array] = []

    def add(self, scores: Array, targets: Array) -> None:
        s, t = label_tables("meter", scores, targets)
        if self.scores and self.scores[0].shape[1] != s.shape[1]:
            before = self.scores[0].shape[1]
            raise failure("meter", f"{before} labels as before", error=ShapeError, scores=s)
        self.scores.append(s.astype(np.float32))  # a copy: the network may use its array again
        self.targets.append(t.copy())

    def result(self, loss: float) -> Evaluation:
        scores, targets = np.concatenate(self.scores), np.concatenate(self.targets)
        decided = scores > self.bound
        right = decided == targets
        table: ClassTable = label_table(decided, targets)
        each = {
            "average_precision": average_precision(scores, targets),
            "auroc": auroc(scores, targets),
        }
        exact = float(right.all(axis=1).mean())
        metrics = {
            "exact_match": exact,
            "label_accuracy": float(right.mean()),
            "micro_f1": table.micro()["f1"],
            "macro_f1": table.macro()["f1"],
            "map": mean_of_defined(each["average_precision"]),
            "auroc": mean_of_defined(each["auroc"]),
        }
        return Evaluation(loss, exact, metrics=metrics, labels=table, each=each)


class _Outputs:
    """Numbers: sums of differences, and the spread of targets about their running mean."""

    def __init__(self) -> None:
        self.n = 0

    def add(self, scores: Array, targets: Array) -> None:
        p, t = columns("meter", scores, targets)  # (N, K) each
        n, outputs = t.shape
        if not self.n:
            self.absolute, self.squares = np.zeros(outputs), np.zeros(outputs)
            self.mean, self.spread = np.zeros(outputs), np.zeros(outputs)
            self.low, self.high = np.full(outputs, np.inf), np.full(outputs, -np.inf)
        before = len(self.mean)
        expect(before == outputs, "meter", f"{before} outputs as before", scores=scores)
        self.absolute += np.abs(p - t).sum(axis=0)
        self.squares += np.square(p - t).sum(axis=0)
        self.low = np.minimum(self.low, t.min(axis=0))
        self.high = np.maximum(self.high, t.max(axis=0))
        # means and spreads of two parts make those of the whole (Chan et al., 1983)
        mean = t.mean(axis=0)
        step, whole = mean - self.mean, self.n + n
        self.spread += np.square(t - mean).sum(axis=0) + step**2 * (self.n * n / whole)
        self.mean += step * (n / whole)
        self.n = whole

    def result(self, loss: float) -> Evaluation:
        each = {
            "mae": self.absolute / self.n,
            "rmse": np.sqrt(self.squares / self.n),
            "r2": explained(self.squares, self.spread, self.low == self.high),
        }
        metrics = {
            "mae": float(each["mae"].mean()),
            "rmse": float(np.sqrt((self.squares / self.n).mean())),
            "r2": mean_of_defined(each["r2"]),
        }
        return Evaluation(loss, metrics=metrics, each=each)


def _known(task: Task) -> Task:
    expect(task in TASKS, "meter", f"a task of {', '.join(TASKS)}", error=KindError, task=task)
    return task
