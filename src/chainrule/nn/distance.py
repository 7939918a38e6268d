"""Layers that measure how near vectors are: to each other, or to learned ones."""

from __future__ import annotations

import math
from typing import Any

from chainrule.engine.creation import empty
from chainrule.engine.tensor import Tensor, as_tensor
from chainrule.nn import functional as F
from chainrule.nn import init
from chainrule.nn.linear import count
from chainrule.nn.module import Module
from chainrule.nn.parameter import Parameter
from chainrule.ops.distance import cdist
from chainrule.ops.normalize import normalize
from chainrule.ops.shape import squeeze, unsqueeze


class CosineSimilarity(Module):
    """The cosine of the angle between vectors along `dim`; see `functional.cosine_similarity`.

    Shapes: two that broadcast to (..., D, ...) -> (..., ...).

    >>> import chainrule as cr
    >>> cr.nn.CosineSimilarity()(cr.tensor([[1.0, 1.0]]), cr.tensor([[2.0, 2.0]]))
    tensor([1.0])
    """

    def __init__(self, dim: int = 1, eps: float = 1e-8) -> None:
        super().__init__()
        self.dim = dim
        self.eps = eps

    def forward(self, x1: Tensor, x2: Tensor) -> Tensor:
        """Compare vector by vector."""
        return F.cosine_similarity(x1, x2, self.dim, self.eps)


class PairwiseDistance(Module):
    """The p-norm of x1 - x2 + eps over the last axis; see `functional.pairwise_distance`.

    Shapes: two that broadcast to (..., D) -> (...), or (..., 1) with `keepdim`.

    >>> import chainrule as cr
    >>> cr.nn.PairwiseDistance(p=1, eps=0)(cr.tensor([[3.0, 4.0]]), cr.tensor([[1.0, 1.0]]))
    tensor([5.0])
    """

    def __init__(self, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False) -> None:
        super().__init__()
        self.norm = p
        self.eps = eps
        self.keepdim = keepdim

    def forward(self, x1: Tensor, x2: Tensor) -> Tensor:
        """Measure vector by vector."""
        return F.pairwise_distance(x1, x2, self.norm, self.eps, self.keepdim)


class _Prototypes(Module):
    """Base of the layers that compare an input with learned vectors, one for each output."""

    def __init__(
        self, in_features: int, out_features: int, device: str | None = None, dtype: Any = None
    ) -> None:
        super().__init__()
        name = type(self).__name__
        self.in_features = count(in_features, f"{name} in_features", least=1)
        self.out_features = count(out_features, f"{name} out_features")
        shape = self.out_features, self.in_features
        self.weight = Parameter(empty(shape, dtype=dtype, device=device))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the vectors anew: uniform in +-1/sqrt(in_features)."""
        bound = 1 / math.sqrt(self.in_features)
        init.uniform_(self.weight, -bound, bound)

    def extra_repr(self) -> str:
        """Show the sizes."""
        return f"in_features={self.in_features}, out_features={self.out_features}"


class Euclidean(_Prototypes):
    """y[o] = |x - weight[o]|: the distances to learned vectors (Torch).

    Shapes: (..., in_features) -> (..., out_features); `weight` is (out_features, in_features).
    Where a distance is 0 so is its gradient.  Raises ValueError for another number of features.

    >>> import chainrule as cr
    >>> layer = cr.nn.Euclidean(2, 1)
    >>> _ = cr.nn.init.zeros_(layer.weight)
    >>> layer(cr.tensor([[3.0, 4.0]])).tolist()
    [[5.0]]
    """

    def forward(self, input: Tensor) -> Tensor:
        """Measure the distance to every vector: (..., in_features) -> (..., out_features)."""
        x = as_tensor(input)
        if x.ndim == 1:
            return squeeze(cdist(unsqueeze(x, 0), self.weight), 0)
        return cdist(x, self.weight)


class Cosine(_Prototypes):
    """y[o] = x . weight[o] / (|x| |weight[o]|): the cosines to learned vectors (Torch).

    Shapes: (..., in_features) -> (..., out_features); `weight` is (out_features, in_features).
    Raises ValueError for another number of features.

    >>> import chainrule as cr
    >>> layer = cr.nn.Cosine(2, 1)
    >>> _ = cr.nn.init.ones_(layer.weight)
    >>> round(layer(cr.tensor([[3.0, 3.0]])).item(), 4)
    1.0
    """

    def forward(self, input: Tensor) -> Tensor:
        """Give the cosine to every vector: (..., in_features) -> (..., out_features)."""
        return F.linear(normalize(input, dim=-1), normalize(self.weight, dim=-1))
