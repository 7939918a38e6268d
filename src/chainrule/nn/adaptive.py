"""Softmax over very many classes: frequent ones at once, rare ones in clusters."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from chainrule.engine.tensor import Tensor
from chainrule.errors import LabelError, failure
from chainrule.nn import functional as F
from chainrule.nn.container import ModuleList, Sequential
from chainrule.nn.linear import Linear
from chainrule.nn.module import Module
from chainrule.ops.arguments import integer
from chainrule.ops.extrema import argmax
from chainrule.ops.join import cat


class AdaptiveOutput(NamedTuple):
    """What the layer gives: each label's log-probability, and the mean of their negatives."""

    output: Tensor
    loss: Tensor


class AdaptiveLogSoftmaxWithLoss(Module):
    """Log-softmax over very many classes, and its loss (Grave et al., 2017).

    Classes are numbered by falling frequency.  Those below the first cutoff have scores of their
    own in `head`, beside one score for each cluster; the classes between two cutoffs are a
    cluster, whose scores come from in_features / div_value^k numbers.  A rare class's
    log-probability is its cluster's and, in it, its own.

    Shapes: inputs (N, in_features), labels (N,) -> output (N,) and loss (); one input
    (in_features,) and () are taken too.  `log_prob` gives (N, n_classes), `predict` (N,).
    Raises ValueError for cutoffs that are not rising numbers in 1..n_classes-1, and for shapes
    that do not fit, IndexError for labels outside 0..n_classes-1.

    >>> import chainrule as cr
    >>> layer = cr.nn.AdaptiveLogSoftmaxWithLoss(8, 20, cutoffs=[4, 10], div_value=2.0)
    >>> output, loss = layer(cr.zeros(2, 8), cr.tensor([1, 15]))
    >>> output.detach()  # log 1/6, and log 1/6 + log 1/10
    tensor([-1.7918, -4.0943])
    """

    def __init__(
        self,
        in_features: int,
        n_classes: int,
        cutoffs: Sequence[int],
        div_value: float = 4.0,
        head_bias: bool = False,
        device: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        name = type(self).__name__
        ends = [*cutoffs, n_classes]
        if len(ends) < 2 or any(int(c) != c or not low < c for low, c in pairwise([0, *ends])):
            rule = f"cutoffs that rise, whole numbers in 1..{n_classes - 1}"
            raise failure(name, rule, cutoffs=list(cutoffs))
        self.in_features = integer(in_features, f"{name} in_features")
        self.n_classes = integer(n_classes, f"{name} n_classes")
        self.cutoffs = [int(c) for c in ends]
        self.div_value = div_value
        self.head_bias = head_bias
        self.shortlist_size = self.cutoffs[0]
        self.n_clusters = len(self.cutoffs) - 1
        self.head_size = self.shortlist_size + self.n_clusters
        self.head = Linear(self.in_features, self.head_size, head_bias, device, dtype)
        self.tail = ModuleList(
            [
                self._cluster(int(self.in_features // div_value**k), high - low, device, dtype)
                for k, (low, high) in enumerate(pairwise(self.cutoffs), 1)
            ]
        )

    def _cluster(self, width: int, classes: int, device: Any, dtype: Any) -> Sequential:
        return Sequential(
            Linear(self.in_features, width, False, device, dtype),
            Linear(width, classes, False, device, dtype),
        )

    def reset_parameters(self) -> None:
        """Draw all weights anew."""
        self.head.reset_parameters()
        for narrow, wide in self.tail:
            narrow.reset_parameters()
            wide.reset_parameters()

    def forward(self, input_: Tensor, target_: Tensor) -> AdaptiveOutput:
        """Give each label's log-probability, and the loss."""
        if (
            target_.ndim > 1
            or input_.ndim != target_.ndim + 1
            or (target_.ndim and input_.shape[0] != target_.shape[0])
        ):
            rule = "inputs (N, F) with labels (N,), or an input (F,) with a label ()"
            raise failure(type(self).__name__, rule, input=input_, target=target_)
        x: Any = input_ if target_.ndim else input_.unsqueeze(0)
        labels = target_.detach().numpy().reshape(-1)
        if labels.size and not (labels.min() >= 0 and labels.max() < self.n_classes):
            rule = f"labels in 0..{self.n_classes - 1}"
            lowest, highest = int(labels.min()), int(labels.max())
            name = type(self).__name__
            raise failure(name, rule, error=LabelError, lowest=lowest, highest=highest)
        output = self._log_probabilities(x, labels)
        loss: Any = -output.mean()
        return AdaptiveOutput(output if target_.ndim else output.reshape(()), loss)

    def _log_probabilities(self, x: Any, labels: Any) -> Any:
        """Give the label's log-probability of each row, cluster by cluster."""
        cluster = np.searchsorted(self.cutoffs, labels, side="right")  # 0 is the shortlist
        first = np.where(cluster == 0, labels, self.shortlist_size + cluster - 1)
        output = F.log_softmax(self.head(x), dim=1)[np.arange(labels.size), first]
        rows = [np.flatnonzero(cluster == k) for k in range(self.n_clusters + 1)]
        parts: list[Any] = [Tensor(np.zeros(rows[0].size, output.dtype))]
        for k, tail in enumerate(self.tail):
            chosen = rows[k + 1]
            if chosen.size:
                inner = F.log_softmax(tail(x[chosen]), dim=1)
                parts.append(inner[np.arange(chosen.size), labels[chosen] - self.cutoffs[k]])
        order = np.argsort(np.concatenate(rows), kind="stable")
        return output + cat(parts)[order]

    def log_prob(self, input: Tensor) -> Tensor:
        """Give the log-probabilities of all classes: (N, in_features) -> (N, n_classes)."""
        head: Any = F.log_softmax(self.head(input), dim=1)
        parts = [head[:, : self.shortlist_size]]
        for k, tail in enumerate(self.tail):
            at = self.shortlist_size + k
            parts.append(F.log_softmax(tail(input), dim=1) + head[:, at : at + 1])
        return cat(parts, 1)

    def predict(self, input: Tensor) -> Tensor:
        """Give the likeliest class of each input: (N, in_features) -> (N,)."""
        return argmax(self.log_prob(input), dim=1)
