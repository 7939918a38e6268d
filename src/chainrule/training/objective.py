"""What is minimised: the loss of a network's scores against the targets of each kind of task."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from chainrule.data.dataset import Task
from chainrule.engine.op import Array
from chainrule.engine.tensor import Tensor, as_tensor
from chainrule.errors import ShapeError, failure
from chainrule.nn.functional import binary_cross_entropy_with_logits, cross_entropy, mse_loss


@dataclass(frozen=True)
class Objective:
    """The loss of scores (N, K), averaged over the images.

    "classification": cross-entropy against labels (N,) or soft targets (N, K), with
    `smoothing` of the target spread over all classes; "multilabel": binary cross-entropy of each
    label; "regression": mean squared error.  A network that gives a tuple has auxiliary
    classifiers: their losses are added, times `auxiliary`.

    >>> import numpy as np, chainrule as cr
    >>> Objective()(cr.zeros(2, 4), np.array([0, 3])).item()  # ln 4
    1.3862943649291992
    """

    task: Task = "classification"
    smoothing: float = 0.0
    auxiliary: float = 0.3

    def __call__(self, output: Any, targets: Array | Tensor) -> Tensor:
        """Give the loss; see the class."""
        y = as_tensor(targets)
        loss = self._of(main_scores(output), y)
        if isinstance(output, tuple):
            for scores in output[1:]:
                if scores is not None:
                    loss = loss + self._of(scores, y) * self.auxiliary
        return loss

    def _of(self, scores: Tensor, y: Tensor) -> Tensor:
        if self.task == "classification":
            return cross_entropy(scores, y, label_smoothing=self.smoothing)
        if scores.shape != y.shape:
            rule = f"scores of the targets' shape {tuple(y.shape)}"
            raise failure(f"{self.task} loss", rule, error=ShapeError, scores=scores)
        if self.task == "multilabel":
            return binary_cross_entropy_with_logits(scores, y)
        return mse_loss(scores, y)


def main_scores(output: Any) -> Tensor:
    """Give the scores of the last classifier of a network's output."""
    scores: Tensor = output[0] if isinstance(output, tuple) else output
    return scores
