"""Normalisation layers: batch normalisation, local response normalisation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from chainrule.engine.creation import empty, zeros
from chainrule.engine.promotion import INT64
from chainrule.engine.tensor import Tensor, as_tensor, mark_written
from chainrule.errors import failure
from chainrule.nn import functional as F
from chainrule.nn import init
from chainrule.nn.linear import count
from chainrule.nn.module import Module
from chainrule.nn.parameter import Parameter


class BatchNorm(Module):
    """Base of the batch normalisation layers, which differ in the axes they accept."""

    _layouts: dict[int, str]
    optional_state = ("num_batches_tracked",)  # PyTorch's files before 0.4.1 lack it

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        device: str | None = None,
        dtype: Any = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.num_features = count(num_features, f"{type(self).__name__} num_features")
        self.eps = eps
        self.momentum = momentum
        self.affine = affine
        self.track_running_stats = track_running_stats

        def vector(wanted: bool) -> Tensor | None:
            return empty(self.num_features, dtype=dtype, device=device) if wanted else None

        for name, value in (("weight", vector(affine)), ("bias", vector(affine and bias))):
            self.register_parameter(name, None if value is None else Parameter(value))
        for name in ("running_mean", "running_var"):
            self.register_buffer(name, vector(track_running_stats))
        batches = zeros((), dtype=INT64, device=device) if track_running_stats else None
        self.register_buffer("num_batches_tracked", batches)
        self.reset_parameters()

    def reset_running_stats(self) -> None:
        """Begin the running statistics anew: mean 0, variance 1, no batches seen."""
        if self.track_running_stats:
            init.zeros_(self.running_mean)
            init.ones_(self.running_var)
            init.zeros_(self.num_batches_tracked)

    def reset_parameters(self) -> None:
        """Set weights to 1, biases to 0, and begin the running statistics anew."""
        self.reset_running_stats()
        if self.weight is not None:
            init.ones_(self.weight)
        if self.bias is not None:
            init.zeros_(self.bias)

    def forward(self, input: Tensor) -> Tensor:
        """Normalise each channel: (N, num_features, ...) -> the same."""
        return self.normalise(F.batch_norm, input)

    def normalise(self, function: Callable[..., Tensor], input: Tensor) -> Tensor:
        """Call `function`, batch_norm or one with its arguments, and count the batch.

        All that the layer knows is in here: which statistics serve, how far the running ones
        move.  Raises as the layer does.
        """
        x = as_tensor(input)
        self._check(x)
        mean, variance = self.running_mean, self.running_var
        if self.training and not self.track_running_stats:
            mean = variance = None
        batch = self.training or (mean is None and variance is None)
        affine = self.weight, self.bias
        y = function(x, mean, variance, *affine, batch, self._factor(), self.eps)
        batches = self.num_batches_tracked
        counts = self.training and self.track_running_stats and batches is not None
        if counts and not x.is_meta:
            batches.array[...] += 1
            mark_written(batches)
        return y

    def _check(self, x: Tensor) -> None:
        name = type(self).__name__
        if x.ndim not in self._layouts:
            layouts = " or ".join(self._layouts.values())
            raise failure(name, f"an input {layouts}", input=x)
        if x.shape[1] != self.num_features:
            hint = f"for this input build {name}({x.shape[1]})"
            rule = f"{self.num_features} channels on axis 1: {x.shape[1]} = {self.num_features}"
            raise failure(name, rule, hint=hint, input=x)

    def _factor(self) -> float:
        """Give the share of this batch in the running statistics."""
        if self.momentum is not None:
            return self.momentum
        batches = self.num_batches_tracked
        if batches is None or batches.is_meta:
            return 0.0
        return 1.0 / (int(batches.array) + 1)

    def extra_repr(self) -> str:
        """Show the channels and settings."""
        settings = f"{self.num_features}, eps={self.eps}, momentum={self.momentum}"
        learned = f"affine={self.affine}, bias={self.bias is not None}"
        return f"{settings}, {learned}, track_running_stats={self.track_running_stats}"


class BatchNorm1d(BatchNorm):
    """Batch normalisation of features (N, C) or sequences (N, C, L); see BatchNorm2d.

    >>> import chainrule as cr
    >>> cr.nn.BatchNorm1d(2)(cr.tensor([[1.0, 5.0], [3.0, 9.0]])).round().tolist()
    [[-1.0, -1.0], [1.0, 1.0]]
    """

    _layouts = {2: "(N, C)", 3: "(N, C, L)"}  # noqa: RUF012


class BatchNorm2d(BatchNorm):
    """y = (x - mean) / sqrt(variance + eps) * weight + bias, for each channel of images.

    Source: Ioffe and Szegedy, Batch normalization (2015).  While training, mean and variance are
    the batch's own, and the running ones move towards them by `momentum` (the variance with n - 1
    in the divisor), or, if it is None, become the plain average over all batches.  In evaluation
    the running ones serve, or again the batch's own without `track_running_stats`.

    Shapes: (N, C, H, W) -> the same.  `weight` and `bias` (C,) begin at 1 and 0 and are None
    without `affine`.  Raises ValueError for other axes, another C, or a single value a channel
    while training.

    >>> import chainrule as cr
    >>> norm = cr.nn.BatchNorm2d(3)
    >>> y = norm(cr.randn(8, 3, 4, 4) + 5)
    >>> bool(y.mean(dim=(0, 2, 3)).abs().max() < 1e-5), sorted(norm.state_dict())
    (True, ['bias', 'num_batches_tracked', 'running_mean', 'running_var', 'weight'])
    """

    _layouts = {4: "(N, C, H, W)"}  # noqa: RUF012


class BatchNorm3d(BatchNorm):
    """Batch normalisation of volumes (N, C, D, H, W); see BatchNorm2d.

    >>> import chainrule as cr
    >>> cr.nn.BatchNorm3d(2)(cr.randn(2, 2, 3, 3, 3)).shape
    (2, 2, 3, 3, 3)
    """

    _layouts = {5: "(N, C, D, H, W)"}  # noqa: RUF012


class LocalResponseNorm(Module):
    """Divide each value by a power of the squares around it, across channels; AlexNet's.

    Shapes: (N, C, ...) -> the same.  See `functional.local_response_norm` for the formula; alpha is
    divided by `size` as in PyTorch.

    >>> import chainrule as cr
    >>> norm = cr.nn.LocalResponseNorm(2, alpha=2.0, beta=0.5, k=0.0)
    >>> norm(cr.tensor([[[3.0], [4.0]]])).flatten()
    tensor([1.0, 0.8])
    """

    def __init__(self, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> None:
        super().__init__()
        self.size = count(size, "LocalResponseNorm size", least=1)
        self.alpha = alpha
        self.beta = beta
        self.k = k

    def forward(self, input: Tensor) -> Tensor:
        """Normalise across channels: (N, C, ...) -> the same."""
        return F.local_response_norm(input, self.size, self.alpha, self.beta, self.k)

    def extra_repr(self) -> str:
        """Show the settings."""
        return f"{self.size}, alpha={self.alpha}, beta={self.beta}, k={self.k}"
