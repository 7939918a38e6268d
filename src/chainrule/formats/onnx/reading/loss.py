"""Losses over classes."""

from __future__ import annotations

from typing import Any

import numpy as np

from chainrule.engine.tensor import Tensor
from chainrule.errors import DataError
from chainrule.formats.onnx.reading.table import Node, need_floating, reads
from chainrule.nn import functional as F
from chainrule.ops.cast import cast
from chainrule.ops.reduce import sum as total
from chainrule.ops.shape import reshape


def _loss(n: Node, scores: Tensor, labels: Tensor, weight: Tensor | None) -> Tensor:
    """Give the negative log-likelihood of labels, for log-probabilities (N, C, ...)."""
    how, ignored = n.get("reduction"), n.get("ignore_index")
    if how not in ("none", "mean", "sum"):
        raise DataError(f"onnx: {n}: reduction {how!r}")
    target = cast(labels, np.int64)
    classes = scores.shape[1]
    rows = reshape(scores.movedim(1, -1), (-1, classes))
    settings: dict[str, Any] = {"reduction": "none" if how == "none" else how}
    if ignored is not None:
        settings["ignore_index"] = ignored
    y = F.nll_loss(rows, reshape(target, (-1,)), weight, **settings)
    return reshape(y, labels.shape) if how == "none" else total(y)


@reads("NegativeLogLikelihoodLoss", since="12 13 22", settings=(2,))
def _nll(n: Node, scores: Tensor, labels: Tensor, weight: Tensor | None = None) -> Tensor:
    """Give minus the labels' log-probabilities, weighed by class."""
    need_floating(n, scores)
    return _loss(n, scores, labels, weight)


@reads("SoftmaxCrossEntropyLoss", since="12 13", settings=(2,))
def _cross_entropy(
    n: Node, scores: Tensor, labels: Tensor, weight: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Give the loss of scores against labels, and the log-probabilities."""
    need_floating(n, scores)
    likely = F.log_softmax(scores, 1)
    return _loss(n, likely, labels, weight), likely
