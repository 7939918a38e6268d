"""Normalisation layers with running statistics: batch and instance normalisation."""

from __future__ import annotations

import warnings
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
from chainrule.ops.shape import squeeze, unsqueeze


def register_vectors(
    module: Module, names: dict[str, bool], shape: tuple[int, ...], dtype: Any, device: Any
) -> None:
    """Give a layer parameters of one shape by name, None for those that are switched off."""
    for name, wanted in names.items():
        value = Parameter(empty(shape, dtype=dtype, device=device)) if wanted else None
        module.register_parameter(name, value)


def reset_vectors(module: Module) -> None:
    """Set a layer's weights to 1 and its biases to 0, those it has."""
    for name, set_all in (("weight", init.ones_), ("bias", init.zeros_)):
        if getattr(module, name, None) is not None:
            set_all(getattr(module, name))


class ChannelNorm(Module):
    """Base of the layers that normalise channels: parameters and running statistics of each."""

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
        shape, both = (self.num_features,), {"weight": affine, "bias": affine and bias}
        register_vectors(self, both, shape, dtype, device)
        for name in ("running_mean", "running_var"):
            value = empty(shape, dtype=dtype, device=device) if track_running_stats else None
            self.register_buffer(name, value)
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
        reset_vectors(self)

    def extra_repr(self) -> str:
        """Show the channels and settings."""
        settings = f"{self.num_features}, eps={self.eps}, momentum={self.momentum}"
        learned = f"affine={self.affine}, bias={self.bias is not None}"
        return f"{settings}, {learned}, track_running_stats={self.track_running_stats}"


class BatchNorm(ChannelNorm):
    """Base of the batch normalisation layers, which differ in the axes they accept."""

    _layouts: dict[int, str]

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


class InstanceNorm(ChannelNorm):
    """Base of the instance normalisation layers, which differ in the axes they accept."""

    _spatial: int

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = False,
        track_running_stats: bool = False,
        device: str | None = None,
        dtype: Any = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__(
            num_features, eps, momentum, affine, track_running_stats, device, dtype, bias=bias
        )

    def forward(self, input: Tensor) -> Tensor:
        """Normalise each channel of each image: (N, C, ...) or (C, ...) -> the same."""
        x = as_tensor(input)
        self._check(x)
        if x.ndim == self._spatial + 1:
            return squeeze(self._normalise(unsqueeze(x, 0)), 0)
        return self._normalise(x)

    def _normalise(self, x: Tensor) -> Tensor:
        running, affine = (self.running_mean, self.running_var), (self.weight, self.bias)
        own = self.training or not self.track_running_stats
        momentum = 0.0 if self.momentum is None else self.momentum
        return F.instance_norm(x, *running, *affine, own, momentum, self.eps)

    def _check(self, x: Tensor) -> None:
        name, d = type(self).__name__, self._spatial
        if x.ndim not in (d + 1, d + 2):
            sizes = ", ".join("DHW"[3 - d :] if d > 1 else "L")
            raise failure(name, f"an input (N, C, {sizes}) or (C, {sizes})", input=x)
        axis = x.ndim - d - 1
        if x.shape[axis] != self.num_features:
            rule = f"{self.num_features} channels on axis {axis}, not {x.shape[axis]}"
            problem = failure(name, rule, hint="without affine nothing depends on it", input=x)
            if self.affine:
                raise failure(name, rule, input=x)
            warnings.warn(str(problem), UserWarning, stacklevel=4)


class InstanceNorm1d(InstanceNorm):
    """Instance normalisation of sequences (N, C, L) or (C, L); see InstanceNorm2d.

    >>> import chainrule as cr
    >>> cr.nn.InstanceNorm1d(2)(cr.tensor([[1.0, 3.0], [5.0, 9.0]])).round().tolist()
    [[-1.0, 1.0], [-1.0, 1.0]]
    """

    _spatial = 1


class InstanceNorm2d(InstanceNorm):
    """y = (x - mean) / sqrt(variance + eps) * weight + bias, for each channel of each image.

    Source: Ulyanov, Vedaldi and Lempitsky, Instance normalization (2016).  Mean and variance are
    the channel's own, in training and evaluation.  With `track_running_stats` the running ones
    move towards their average over the images by `momentum` while training, and serve in
    evaluation; `num_batches_tracked` is there and stays 0, as in PyTorch.

    Shapes: (N, C, H, W) or (C, H, W) -> the same.  `weight` and `bias` (C,) begin at 1 and 0 and
    are None unless `affine`.  Raises ValueError for other axes, a single position, and another C
    where there are parameters; without them another C warns.

    >>> import chainrule as cr
    >>> y = cr.nn.InstanceNorm2d(3)(cr.randn(8, 3, 4, 4) + 5)
    >>> bool(y.mean(dim=(2, 3)).abs().max() < 1e-5)
    True
    """

    _spatial = 2


class InstanceNorm3d(InstanceNorm):
    """Instance normalisation of volumes (N, C, D, H, W) or (C, D, H, W); see InstanceNorm2d.

    >>> import chainrule as cr
    >>> cr.nn.InstanceNorm3d(2, affine=True)(cr.randn(2, 2, 3, 3, 3)).shape
    (2, 2, 3, 3, 3)
    """

    _spatial = 3
