"""Normalisation layers without running statistics: by rows, groups, and what is around a value."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from chainrule.engine.tensor import Tensor, as_tensor
from chainrule.errors import failure
from chainrule.nn import functional as F
from chainrule.nn.linear import count
from chainrule.nn.module import Module
from chainrule.nn.normalization import register_vectors, reset_vectors
from chainrule.nn.stateless import stateless
from chainrule.ops.arguments import int_tuple
from chainrule.ops.norm_contrast import check_kernel


def _sizes(value: int | Sequence[int], name: str) -> tuple[int, ...]:
    return tuple([count(n, name) for n in int_tuple(value, name)])


class LayerNorm(Module):
    """y = (x - mean) / sqrt(variance + eps) * weight + bias, for each row of the last axes.

    Source: Ba, Kiros and Hinton, Layer normalization (2016).  `normalized_shape` names the sizes of
    the last axes that make a row, an integer that of the last alone; training or not is the same.

    Shapes: (..., *normalized_shape) -> the same.  `weight` and `bias` of that shape begin at 1 and
    0; both are None without `elementwise_affine`, the bias also without `bias`.
    Raises TypeError for a shape that is no integers; the forward raises ValueError for other sizes.

    >>> import chainrule as cr
    >>> cr.nn.LayerNorm(2)(cr.tensor([[1.0, 3.0], [5.0, 9.0]])).round().tolist()
    [[-1.0, 1.0], [-1.0, 1.0]]
    """

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
        device: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.normalized_shape = _sizes(normalized_shape, "LayerNorm normalized_shape")
        self.eps = eps
        self.elementwise_affine = elementwise_affine
        both = {"weight": elementwise_affine, "bias": elementwise_affine and bias}
        register_vectors(self, both, self.normalized_shape, dtype, device)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Set weights to 1 and biases to 0."""
        reset_vectors(self)

    def forward(self, input: Tensor) -> Tensor:
        """Normalise each row: (..., *normalized_shape) -> the same."""
        return F.layer_norm(input, self.normalized_shape, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        """Show the row's shape and the settings."""
        settings = f"{self.normalized_shape}, eps={self.eps}"
        learned = f"elementwise_affine={self.elementwise_affine}, bias={self.bias is not None}"
        return f"{settings}, {learned}"


class RMSNorm(Module):
    """y = x / sqrt(mean(x**2) + eps) * weight, for each row of the last axes.

    Source: Zhang and Sennrich, Root mean square layer normalization (2019).  An `eps` of None is
    the smallest number that added to 1 makes a difference.

    Shapes: (..., *normalized_shape) -> the same.  `weight` of that shape begins at 1 and is None
    without `elementwise_affine`.  Errors as in LayerNorm.

    >>> import chainrule as cr
    >>> cr.nn.RMSNorm(2)(cr.tensor([[1.0, 7.0]])).tolist()[0][0].__round__(4)
    0.2
    """

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float | None = None,
        elementwise_affine: bool = True,
        device: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.normalized_shape = _sizes(normalized_shape, "RMSNorm normalized_shape")
        self.eps = eps
        self.elementwise_affine = elementwise_affine
        wanted = {"weight": elementwise_affine}
        register_vectors(self, wanted, self.normalized_shape, dtype, device)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Set weights to 1."""
        reset_vectors(self)

    def forward(self, x: Tensor) -> Tensor:
        """Normalise each row: (..., *normalized_shape) -> the same."""
        return F.rms_norm(x, self.normalized_shape, self.weight, self.eps)

    def extra_repr(self) -> str:
        """Show the row's shape and the settings."""
        settings = f"{self.normalized_shape}, eps={self.eps}"
        return f"{settings}, elementwise_affine={self.elementwise_affine}"


class GroupNorm(Module):
    """y = (x - mean) / sqrt(variance + eps) * weight + bias, for each group of channels.

    Source: Wu and He, Group normalization (2018).  Mean and variance are those of one image's
    num_channels/num_groups neighbouring channels; training or not is the same.

    Shapes: (N, num_channels, ...) -> the same.  `weight` and `bias` (num_channels,) begin at 1 and
    0 and are None without `affine`.  Raises ValueError for groups that do not divide the channels.

    >>> import chainrule as cr
    >>> cr.nn.GroupNorm(2, 4)(cr.tensor([[1.0, 3.0, 5.0, 9.0]])).round().tolist()
    [[-1.0, 1.0, -1.0, 1.0]]
    """

    def __init__(
        self,
        num_groups: int,
        num_channels: int,
        eps: float = 1e-5,
        affine: bool = True,
        device: str | None = None,
        dtype: Any = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.num_groups = count(num_groups, "GroupNorm num_groups", least=1)
        self.num_channels = count(num_channels, "GroupNorm num_channels")
        left = self.num_channels % self.num_groups
        if left:
            rule = f"num_channels ({num_channels}) that divide into num_groups ({num_groups})"
            raise failure("GroupNorm", f"{rule}: {num_channels} % {num_groups} = 0, not {left}")
        self.eps = eps
        self.affine = affine
        both = {"weight": affine, "bias": affine and bias}
        register_vectors(self, both, (self.num_channels,), dtype, device)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Set weights to 1 and biases to 0."""
        reset_vectors(self)

    def forward(self, input: Tensor) -> Tensor:
        """Normalise each group: (N, num_channels, ...) -> the same."""
        return F.group_norm(input, self.num_groups, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        """Show the groups and the settings."""
        settings = f"{self.num_groups}, {self.num_channels}, eps={self.eps}"
        return f"{settings}, affine={self.affine}, bias={self.bias is not None}"


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


class CrossMapLRN2d(LocalResponseNorm):
    """Divide each value by a power of the squares of the channels around: Torch 7's form.

    y[c] = x[c] / (k + alpha/size * (the sum of squares over the channels at most (size - 1)//2
    away))**beta.  For an odd size that is LocalResponseNorm; for an even one the window has
    size - 1 channels, and the divisor is size all the same.

    PyTorch's layer of this name departs from it: from channel (size + 1)//2 on it counts channel 0
    in each window, and its gradient's windows are shifted by one.

    Shapes: (N, C, H, W) -> the same.  The forward raises ValueError for other axes.

    >>> import chainrule as cr
    >>> norm = cr.nn.CrossMapLRN2d(1, alpha=1.0, beta=0.5, k=0.0)
    >>> norm(cr.tensor([3.0, -4.0]).reshape(1, 1, 1, 2)).flatten()
    tensor([1.0, -1.0])
    """

    def __init__(self, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1) -> None:
        super().__init__(size, alpha, beta, k)

    def forward(self, input: Tensor) -> Tensor:
        """Normalise across channels: (N, C, H, W) -> the same."""
        x = as_tensor(input)
        if x.ndim != 4:
            raise failure("CrossMapLRN2d", "an input (N, C, H, W)", input=x)
        window = self.size - 1 + self.size % 2
        return F.local_response_norm(x, window, self.alpha * window / self.size, self.beta, self.k)


LocalResponseNormWithin = stateless("LocalResponseNormWithin", F.local_response_norm_within)
MeanVarianceNorm = stateless("MeanVarianceNorm", F.mean_variance_norm)


class SubtractiveNorm(Module):
    """Take from each value the weighted mean of all channels around: Torch 7's.

    The kernel, by default 9 ones along each axis, is a buffer and is not learned.
    Shapes: (N, C, *sizes) -> the same.  Formula, kernels and errors are those of
    `functional.subtractive_norm`; a kernel that does not serve is refused at once.

    >>> import chainrule as cr
    >>> cr.nn.SubtractiveNorm(cr.ones(3))(cr.tensor([[[1.0, 2.0, 6.0]]]))
    tensor([[[-0.5, -1.0,  2.0]]])
    """

    def __init__(self, kernel: Any = None) -> None:
        super().__init__()
        name = type(self).__name__
        if kernel is not None:
            check_kernel(name, kernel)
        own = None if kernel is None else as_tensor(kernel).detach()
        self.register_buffer("kernel", own, persistent=False)

    def forward(self, input: Tensor) -> Tensor:
        """Subtract: (N, C, *sizes) -> the same."""
        return F.subtractive_norm(input, self.kernel)

    def extra_repr(self) -> str:
        """Show the kernel's shape, if one was given."""
        return "" if self.kernel is None else f"kernel={self.kernel.shape}"


class DivisiveNorm(SubtractiveNorm):
    """Divide each value by the weighted root mean square of all channels around: Torch 7's.

    Shapes: (N, C, *sizes) -> the same.  Formula, kernels and errors are those of
    `functional.divisive_norm`; the kernel as in SubtractiveNorm.

    >>> import chainrule as cr
    >>> cr.nn.DivisiveNorm(cr.ones(1))(cr.tensor([[[0.0, 3.0, -2.0]]]))
    tensor([[[ 0.0,  1.0, -1.0]]])
    """

    def __init__(
        self, kernel: Any = None, threshold: float = 1e-4, thresval: float | None = None
    ) -> None:
        super().__init__(kernel)
        self.threshold = threshold
        self.thresval = threshold if thresval is None else thresval

    def forward(self, input: Tensor) -> Tensor:
        """Divide: (N, C, *sizes) -> the same."""
        return F.divisive_norm(input, self.kernel, self.threshold, self.thresval)

    def extra_repr(self) -> str:
        """Show the kernel's shape and the threshold."""
        settings = f"threshold={self.threshold}, thresval={self.thresval}"
        return ", ".join(filter(None, (super().extra_repr(), settings)))


class ContrastiveNorm(DivisiveNorm):
    """SubtractiveNorm, then DivisiveNorm, with one kernel: local contrast normalisation.

    Source: Jarrett et al. (2009); Torch 7's.  Shapes: (N, C, *sizes) -> the same.
    See `functional.contrastive_norm`.

    >>> import chainrule as cr
    >>> y = cr.nn.ContrastiveNorm()(cr.randn(1, 3, 12, 12))
    >>> y.shape, bool((y.std() - 1).abs() < 0.2)
    ((1, 3, 12, 12), True)
    """

    def forward(self, input: Tensor) -> Tensor:
        """Subtract and divide: (N, C, *sizes) -> the same."""
        return F.contrastive_norm(input, self.kernel, self.threshold, self.thresval)
