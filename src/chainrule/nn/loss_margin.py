"""Losses with a margin as layers: of signs, labels, pairs and triplets."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from chainrule.engine.tensor import Tensor
from chainrule.errors import failure
from chainrule.nn import functional as F
from chainrule.nn.loss import Loss, StatelessLoss
from chainrule.nn.stateless import stateless
from chainrule.ops.arguments import integer
from chainrule.ops.loss_embedding import check_margin

SoftMarginLoss = stateless("SoftMarginLoss", F.soft_margin_loss, inputs=2, base=StatelessLoss)
MarginLoss = stateless("MarginLoss", F.margin_loss, inputs=2, base=StatelessLoss)
HingeEmbeddingLoss = stateless(
    "HingeEmbeddingLoss", F.hinge_embedding_loss, inputs=2, base=StatelessLoss
)
MarginRankingLoss = stateless(
    "MarginRankingLoss", F.margin_ranking_loss, inputs=3, base=StatelessLoss
)
CosineEmbeddingLoss = stateless(
    "CosineEmbeddingLoss", F.cosine_embedding_loss, inputs=3, base=StatelessLoss
)
ContrastiveLoss = stateless("ContrastiveLoss", F.contrastive_loss, inputs=3, base=StatelessLoss)
L1HingeEmbeddingLoss = stateless(
    "L1HingeEmbeddingLoss", F.l1_hinge_embedding_loss, inputs=3, base=StatelessLoss
)
MultiLabelMarginLoss = stateless(
    "MultiLabelMarginLoss", F.multilabel_margin_loss, inputs=2, base=StatelessLoss
)


class MultiLabelSoftMarginLoss(Loss):
    """Binary cross-entropy of each class's score, averaged over classes.

    `weight` weighs classes; see `multilabel_soft_margin_loss`.

    >>> import chainrule as cr
    >>> cr.nn.MultiLabelSoftMarginLoss()(cr.tensor([[0.0, 100.0]]), cr.tensor([[1.0, 0.0]]))
    tensor(50.3466)
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
        """Compare scores with targets in [0, 1]."""
        return F.multilabel_soft_margin_loss(
            input, target, weight=self.weight, reduction=self.reduction
        )


class HingeLoss(Loss):
    """Hinge loss of each class against the others: Caffe's, p = 1 for L1 and 2 for L2.

    Shapes, weights and ignored labels as in CrossEntropyLoss, labels alone; see `hinge_loss`.
    Raises ValueError for p other than 1 and 2.

    >>> import chainrule as cr
    >>> cr.nn.HingeLoss(p=2)(cr.tensor([[3.0, -2.0, 0.5]]), cr.tensor([0]))
    tensor(2.25)
    """

    def __init__(
        self,
        p: int = 1,
        weight: Tensor | None = None,
        ignore_index: int = -100,
        reduction: str = "mean",
    ) -> None:
        super().__init__(reduction=reduction)
        if p not in (1, 2):
            raise failure("HingeLoss", "p = 1 or 2", p=p)
        self.p = p
        self._weights("weight", weight)
        self.ignore_index = integer(ignore_index, "HingeLoss ignore_index")

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Compare scores with labels."""
        return F.hinge_loss(input, target, self.p, self.weight, self.ignore_index, self.reduction)


class TripletMarginLoss(Loss):
    """An anchor is closer to its like than to another by a margin; see `triplet_margin_loss`.

    Raises ValueError for a margin that is not positive.

    >>> import chainrule as cr
    >>> a, p, n = cr.tensor([[0.0, 0.0]]), cr.tensor([[3.0, 4.0]]), cr.tensor([[0.0, 4.5]])
    >>> cr.nn.TripletMarginLoss(margin=2.0)(a, p, n)
    tensor(2.5)
    """

    def __init__(
        self,
        margin: float = 1.0,
        p: float = 2.0,
        eps: float = 1e-6,
        swap: bool = False,
        size_average: Any = None,
        reduce: Any = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        check_margin("TripletMarginLoss", margin)
        self.margin = margin
        self.p = p
        self.eps = eps
        self.swap = swap

    def forward(self, anchor: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
        """Compare the two distances."""
        return F.triplet_margin_loss(
            anchor,
            positive,
            negative,
            margin=self.margin,
            p=self.p,
            eps=self.eps,
            swap=self.swap,
            reduction=self.reduction,
        )


class TripletMarginWithDistanceLoss(Loss):
    """`TripletMarginLoss` with a distance of one's own, by default `pairwise_distance`.

    Raises ValueError for a margin that is not positive.

    >>> import chainrule as cr
    >>> loss = cr.nn.TripletMarginWithDistanceLoss(
    ...     distance_function=lambda x, y: (x - y).abs().sum(1))
    >>> a, p, n = cr.tensor([[0.0, 0.0]]), cr.tensor([[3.0, 4.0]]), cr.tensor([[0.0, 4.5]])
    >>> loss(a, p, n)
    tensor(3.5)
    """

    def __init__(
        self,
        *,
        distance_function: Callable[..., Tensor] | None = None,
        margin: float = 1.0,
        swap: bool = False,
        reduction: str = "mean",
    ) -> None:
        super().__init__(reduction=reduction)
        check_margin("TripletMarginWithDistanceLoss", margin)
        self.distance_function = distance_function or F.pairwise_distance
        self.margin = margin
        self.swap = swap

    def forward(self, anchor: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
        """Compare the two distances."""
        return F.triplet_margin_with_distance_loss(
            anchor,
            positive,
            negative,
            distance_function=self.distance_function,
            margin=self.margin,
            swap=self.swap,
            reduction=self.reduction,
        )
