"""Losses that are negative log-likelihoods, as layers: of numbers, of classes, of sequences."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

from chainrule.engine.tensor import Tensor
from chainrule.errors import failure
from chainrule.nn import functional as F
from chainrule.nn.linear import Linear
from chainrule.nn.loss import Loss, StatelessLoss
from chainrule.nn.stateless import stateless
from chainrule.ops.arguments import int_tuple, integer

PoissonNLLLoss = stateless("PoissonNLLLoss", F.poisson_nll_loss, inputs=2, base=StatelessLoss)


class GaussianNLLLoss(Loss):
    """Negative log-likelihood of targets under Gaussians; see `gaussian_nll_loss`.

    Called with means, targets and variances (a number, or a tensor).

    >>> import chainrule as cr
    >>> loss = cr.nn.GaussianNLLLoss(full=True)
    >>> loss(cr.tensor([0.0]), cr.tensor([2.0]), cr.tensor([1.0]))
    tensor(2.9189)
    """

    def __init__(self, *, full: bool = False, eps: float = 1e-6, reduction: str = "mean") -> None:
        super().__init__(reduction=reduction)
        self.full = full
        self.eps = eps

    def forward(self, input: Tensor, target: Tensor, var: Tensor | float) -> Tensor:
        """Compare targets with means and variances."""
        return F.gaussian_nll_loss(
            input, target, var, full=self.full, eps=self.eps, reduction=self.reduction
        )


class KLDivLoss(Loss):
    """Kullback-Leibler divergence of a target from log-probabilities; see `kl_div`.

    `reduction` may be "batchmean" too, which is the divergence; "mean" warns at each call.

    >>> import chainrule as cr
    >>> logs = cr.log_softmax(cr.tensor([[0.0, 0.0]]), dim=1)
    >>> cr.nn.KLDivLoss(reduction="batchmean")(logs, cr.tensor([[1.0, 0.0]]))
    tensor(0.6931)
    """

    def __init__(
        self,
        size_average: Any = None,
        reduce: Any = None,
        reduction: str = "mean",
        log_target: bool = False,
    ) -> None:
        batch = reduction == "batchmean" and size_average is None and reduce is None
        super().__init__(size_average, reduce, "sum" if batch else reduction)
        self.reduction = "batchmean" if batch else self.reduction
        self.log_target = log_target

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Compare log-probabilities with probabilities or their logarithms."""
        return F.kl_div(input, target, reduction=self.reduction, log_target=self.log_target)


class MultinomialLogisticLoss(Loss):
    """-log of the right class's probability, given probabilities: Caffe's.

    Shapes, weights and ignored labels as in NLLLoss, which takes logarithms.

    >>> import chainrule as cr
    >>> cr.nn.MultinomialLogisticLoss()(cr.tensor([[0.5, 0.5]]), cr.tensor([1]))
    tensor(0.6931)
    """

    def __init__(
        self, weight: Tensor | None = None, ignore_index: int = -100, reduction: str = "mean"
    ) -> None:
        super().__init__(reduction=reduction)
        self._weights("weight", weight)
        self.ignore_index = integer(ignore_index, "MultinomialLogisticLoss ignore_index")

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Compare probabilities with labels."""
        return F.multinomial_logistic_loss(
            input, target, self.weight, self.ignore_index, self.reduction
        )


class InfogainLoss(Loss):
    """Cross-entropy with a matrix (C, C) of what each class is worth for each label: Caffe's.

    The matrix is the buffer `infogain`; see `infogain_loss`.

    >>> import chainrule as cr
    >>> loss = cr.nn.InfogainLoss(cr.tensor([[1.0, 0.5], [0.0, 1.0]]))
    >>> loss(cr.tensor([[0.0, 0.0]]), cr.tensor([0]))
    tensor(1.0397)
    """

    def __init__(self, infogain: Tensor, ignore_index: int = -100, reduction: str = "mean") -> None:
        super().__init__(reduction=reduction)
        self._weights("infogain", infogain)
        self.ignore_index = integer(ignore_index, "InfogainLoss ignore_index")

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Compare scores with labels."""
        return F.infogain_loss(input, target, self.infogain, self.ignore_index, self.reduction)


class CTCLoss(Loss):
    """Labels of a sequence without their times; see `ctc_loss`.

    Called with log-probabilities (T, N, C), targets, and the lengths of both.

    >>> import chainrule as cr
    >>> logs = cr.log_softmax(cr.zeros(3, 1, 2), dim=2)
    >>> cr.nn.CTCLoss()(logs, cr.tensor([[1]]), cr.tensor([3]), cr.tensor([1]))
    tensor(0.2877)
    """

    def __init__(
        self, blank: int = 0, reduction: str = "mean", zero_infinity: bool = False
    ) -> None:
        super().__init__(reduction=reduction)
        self.blank = blank
        self.zero_infinity = zero_infinity

    def forward(
        self, log_probs: Tensor, targets: Tensor, input_lengths: Any, target_lengths: Any
    ) -> Tensor:
        """Compare log-probabilities with labels."""
        return F.ctc_loss(
            log_probs,
            targets,
            input_lengths,
            target_lengths,
            self.blank,
            self.reduction,
            self.zero_infinity,
        )


class LinearCrossEntropyLoss(Loss):
    """A network's last layer and its cross-entropy in one; see `linear_cross_entropy`.

    `linear` holds the parameters, of num_classes (times `out_features`, for scores
    (N, C, d1, ...)) rows.  Raises ValueError for class weights that are not (num_classes,) and
    for a label_smoothing outside [0, 1].

    >>> import chainrule as cr
    >>> loss = cr.nn.LinearCrossEntropyLoss(5, 3)
    >>> loss(cr.zeros(2, 5), cr.tensor([0, 2])).detach()
    tensor(1.0986)
    """

    def __init__(
        self,
        in_features: int,
        num_classes: int,
        *,
        out_features: Sequence[int] = (),
        bias: bool = False,
        device: str | None = None,
        dtype: Any = None,
        reduction: str = "mean",
        weight: Tensor | None = None,
        ignore_index: int | None = None,
        label_smoothing: float = 0.0,
        options: Any = None,
    ) -> None:
        name = "LinearCrossEntropyLoss"
        if weight is not None and weight.shape != (num_classes,):
            raise failure(name, f"a weight for each of {num_classes} classes", weight=weight)
        if not 0 <= label_smoothing <= 1:
            raise failure(name, "label_smoothing in [0, 1]", label_smoothing=label_smoothing)
        super().__init__(reduction=reduction)
        self._weights("weight", weight)
        self.num_classes = integer(num_classes, f"{name} num_classes")
        self.out_features = int_tuple(out_features, f"{name} out_features", bare=False)
        self.ignore_index = ignore_index
        self.label_smoothing = label_smoothing
        self.options = options
        rows = prod(self.out_features, start=self.num_classes)
        self.linear = Linear(in_features, rows, bias, device, dtype)

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Compute scores and compare them with labels or probabilities."""
        rows, bias = (self.num_classes, *self.out_features), self.linear.bias
        return F.linear_cross_entropy(
            input,
            self.linear.weight.reshape(*rows, self.linear.in_features),
            target,
            linear_bias=None if bias is None else bias.reshape(rows),
            weight=self.weight,
            reduction=self.reduction,
            ignore_index=self.ignore_index,
            label_smoothing=self.label_smoothing,
        )
