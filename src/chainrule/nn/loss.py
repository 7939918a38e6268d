"""Losses as layers: settings at construction, then called with predictions and targets."""

from __future__ import annotations

import warnings
from typing import Any

from chainrule.engine.tensor import Tensor, as_tensor
from chainrule.errors import failure
from chainrule.nn import functional as F
from chainrule.nn.module import Module
from chainrule.nn.stateless import Stateless, stateless
from chainrule.ops.arguments import integer
from chainrule.ops.formulas import number
from chainrule.ops.loss import reduction_mode


class Loss(Module):
    """Base of the losses: what becomes of the single errors, and weights as buffers.

    `reduction` is "mean", "sum" or "none"; `size_average` and `reduce` are PyTorch's older words
    for it and warn.  Raises ValueError for another reduction.
    """

    def __init__(
        self, size_average: Any = None, reduce: Any = None, reduction: str = "mean"
    ) -> None:
        super().__init__()
        self.reduction = reduction_mode(type(self).__name__, reduction, size_average, reduce)

    def _weights(self, name: str, weight: Any) -> None:
        self.register_buffer(name, None if weight is None else as_tensor(weight))


class StatelessLoss(Stateless):
    """Base of the losses that `stateless` makes: functions of an input and a target, and settings.

    Legacy flags become the `reduction` at construction, which is also when one that there is
    not raises ValueError.
    """

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        given = self.__dict__
        average, together = given.pop("size_average", None), given.pop("reduce", None)
        name = type(self).__name__
        self.reduction = reduction_mode(name, given["reduction"], average, together)

    def _settings(self) -> dict[str, Any]:
        names = type(self)._signature.parameters
        return {name: self.__dict__[name] for name in names if name in self.__dict__}

    def forward(self, *inputs: Any, **named: Any) -> Tensor:
        """Compare the inputs with the target."""
        return type(self)._function(*inputs, **named, **self._settings(), **self._constants)


class MSELoss(Loss):
    """Squared error (x - t)^2, averaged over all elements unless `reduction` says otherwise.

    Shapes: two of one shape (or that broadcast) -> a number, or that shape for "none".  Deck 004's
    squared error is `reduction="sum"`.

    >>> import chainrule as cr
    >>> cr.nn.MSELoss()(cr.tensor([1.0, 2.0]), cr.tensor([1.0, 4.0]))
    tensor(2.0)
    """

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Compare the input with the target."""
        return F.mse_loss(input, target, reduction=self.reduction)


class L1Loss(Loss):
    """Absolute error |x - t|, averaged over all elements unless `reduction` says otherwise.

    Shapes as in MSELoss; the gradient at equality is 0.

    >>> import chainrule as cr
    >>> cr.nn.L1Loss(reduction="sum")(cr.tensor([1.0, 2.0]), cr.tensor([1.0, 4.0]))
    tensor(2.0)
    """

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Compare the input with the target."""
        return F.l1_loss(input, target, reduction=self.reduction)


class CrossEntropyLoss(Loss):
    """-log of the right class's softmax probability; decks 002 to 004, "Softmax loss".

    Input: scores (N, C) or (C,) or (N, C, d1, ...), not probabilities.  Target: labels of the
    input's shape without C, or probabilities of its very shape.  `weight` (C,) weighs classes, and
    the mean divides by the weights' sum; labels equal to `ignore_index` count for nothing;
    `label_smoothing` mixes the target with the uniform distribution.  Labels outside 0..C-1
    raise IndexError.

    >>> import chainrule as cr
    >>> cr.nn.CrossEntropyLoss()(cr.tensor([[3.2, 5.1, -1.7]]), cr.tensor([0]))
    tensor(2.0404)
    """

    def __init__(
        self,
        weight: Tensor | None = None,
        size_average: Any = None,
        ignore_index: int = -100,
        reduce: Any = None,
        reduction: str = "mean",
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self._weights("weight", weight)
        self.ignore_index = integer(ignore_index, "CrossEntropyLoss ignore_index")
        self.label_smoothing = label_smoothing

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Compare scores with labels or probabilities."""
        return F.cross_entropy(
            input,
            target,
            weight=self.weight,
            ignore_index=self.ignore_index,
            reduction=self.reduction,
            label_smoothing=self.label_smoothing,
        )


class NLLLoss(Loss):
    """-log probability of the right class, given log probabilities (LogSoftmax's output).

    Shapes, weights and ignored labels as in CrossEntropyLoss.

    >>> import chainrule as cr
    >>> cr.nn.NLLLoss()(cr.tensor([[-0.5, -2.0]]), cr.tensor([1]))
    tensor(2.0)
    """

    def __init__(
        self,
        weight: Tensor | None = None,
        size_average: Any = None,
        ignore_index: int = -100,
        reduce: Any = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self._weights("weight", weight)
        self.ignore_index = integer(ignore_index, "NLLLoss ignore_index")

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Compare log probabilities with labels."""
        return F.nll_loss(
            input,
            target,
            weight=self.weight,
            ignore_index=self.ignore_index,
            reduction=self.reduction,
        )


class MultiMarginLoss(Loss):
    """The multiclass SVM's loss: sum over wrong classes of max(0, margin - s_right + s)^p, over C.

    Shapes: scores (N, C) or (C,), labels (N,) or a number.  The slides do not divide by C;
    `chainrule.flat.svm_loss` is theirs.  Raises ValueError for p other than 1 and 2 and for
    weights that are not (C,).

    >>> import chainrule as cr
    >>> cr.nn.MultiMarginLoss()(cr.tensor([[3.2, 5.1, -1.7]]), cr.tensor([0]))
    tensor(0.9667)
    """

    def __init__(
        self,
        p: int = 1,
        margin: float = 1.0,
        weight: Tensor | None = None,
        size_average: Any = None,
        reduce: Any = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        if p not in (1, 2):
            raise failure("MultiMarginLoss", "p = 1 or 2", p=p)
        self.p = p
        self.margin = margin
        self._weights("weight", weight)
        if self.weight is not None and self.weight.ndim != 1:
            raise failure("MultiMarginLoss", "weights (C,)", weight=self.weight)

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Compare scores with labels."""
        return F.multi_margin_loss(
            input,
            target,
            p=self.p,
            margin=self.margin,
            weight=self.weight,
            reduction=self.reduction,
        )


class BCELoss(Loss):
    """Binary cross-entropy of probabilities: -(t log x + (1 - t) log(1 - x)).

    Shapes: probabilities and targets of one shape; logarithms are cut at -100 as in PyTorch.
    Raises for inputs outside [0, 1].  Scores go to BCEWithLogitsLoss, which is exact.

    >>> import chainrule as cr
    >>> cr.nn.BCELoss()(cr.tensor([0.5, 0.5]), cr.tensor([0.0, 1.0]))
    tensor(0.6931)
    """

    def __init__(
        self,
        weight: Tensor | None = None,
        size_average: Any = None,
        reduce: Any = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self._weights("weight", weight)

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Compare probabilities with targets in [0, 1]."""
        return F.binary_cross_entropy(input, target, weight=self.weight, reduction=self.reduction)


class BCEWithLogitsLoss(Loss):
    """Binary cross-entropy of scores: sigmoid and BCELoss in one, without overflow.

    Shapes: scores and targets of one shape.  `weight` weighs elements, `pos_weight` the positive
    term (both broadcast).

    >>> import chainrule as cr
    >>> cr.nn.BCEWithLogitsLoss()(cr.tensor([0.0, 1000.0]), cr.tensor([0.0, 1.0]))
    tensor(0.3466)
    """

    def __init__(
        self,
        weight: Tensor | None = None,
        size_average: Any = None,
        reduce: Any = None,
        reduction: str = "mean",
        pos_weight: Tensor | None = None,
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self._weights("weight", weight)
        self._weights("pos_weight", pos_weight)

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Compare scores with targets in [0, 1]."""
        return F.binary_cross_entropy_with_logits(
            input,
            target,
            weight=self.weight,
            reduction=self.reduction,
            pos_weight=self.pos_weight,
        )


SmoothL1Loss = stateless("SmoothL1Loss", F.smooth_l1_loss, inputs=2, base=StatelessLoss)
EuclideanLoss = stateless("EuclideanLoss", F.euclidean_loss, inputs=2, base=StatelessLoss)


class HuberLoss(Loss):
    """Half the squared error near 0, `delta` times the absolute one beyond; see `huber_loss`.

    Raises TypeError for a delta that is no number; the forward raises ValueError unless it is
    positive.

    >>> import chainrule as cr
    >>> cr.nn.HuberLoss(reduction="sum", delta=2.0)(cr.tensor([0.5, 3.0]), cr.zeros(2))
    tensor(4.125)
    """

    def __init__(self, reduction: str = "mean", delta: float = 1.0) -> None:
        number(delta, "HuberLoss delta")
        super().__init__(reduction=reduction)
        self.delta = delta

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Compare the input with the target."""
        return F.huber_loss(input, target, reduction=self.reduction, delta=self.delta)


class NLLLoss2d(NLLLoss):
    """NLLLoss, which takes images too, under its older name; warns (FutureWarning).

    >>> import chainrule as cr
    >>> cr.nn.NLLLoss()(cr.zeros(1, 2, 3, 3) - 1, cr.zeros(1, 3, 3, dtype=cr.int64))
    tensor(1.0)
    """

    def __init__(self, *args: Any, **settings: Any) -> None:
        warnings.warn("NLLLoss2d: write NLLLoss", FutureWarning, stacklevel=2)
        super().__init__(*args, **settings)
