"""Weights of a norm: by their length and direction, and by their largest singular value."""

from __future__ import annotations

from typing import TypeVar

from chainrule.engine.creation import empty
from chainrule.engine.state import no_grad
from chainrule.engine.tensor import Tensor
from chainrule.errors import AxisError, failure
from chainrule.nn import init
from chainrule.nn.conv_transpose import ConvTranspose1d, ConvTranspose2d, ConvTranspose3d
from chainrule.nn.module import Module
from chainrule.nn.utils.parametrize import register_parametrization
from chainrule.ops.normalize import normalize
from chainrule.ops.permute import permute
from chainrule.ops.shape import flatten
from chainrule.ops.vector_norm import vector_norm

M = TypeVar("M", bound=Module)


def lengths(weight: Tensor, dim: int) -> Tensor:
    """Give the Euclidean norms over all axes but one, which stay as 1; for -1 of all: ()."""
    if dim == -1:
        return vector_norm(weight)
    if not -weight.ndim <= dim < weight.ndim:
        rule = f"a dim in {-weight.ndim}..{weight.ndim - 1}"
        raise failure("weight_norm", rule, error=AxisError, dim=dim)
    others = [axis for axis in range(weight.ndim) if axis != dim % weight.ndim]
    return vector_norm(weight, dim=others, keepdim=True) if others else weight.abs()


def of_lengths(g: Tensor, v: Tensor, dim: int) -> Tensor:
    """Give v the lengths g: g v / |v|."""
    result: Tensor = v * (g / lengths(v, dim))
    return result


class _WeightNorm(Module):
    """w = g v / |v|, from (g, v)."""

    def __init__(self, dim: int | None = 0) -> None:
        super().__init__()
        self.dim = -1 if dim is None else dim

    def forward(self, g: Tensor, v: Tensor) -> Tensor:
        """Give v the lengths g."""
        return of_lengths(g, v, self.dim)

    def right_inverse(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        """Give the weight's lengths, and itself as the direction."""
        return lengths(weight, self.dim), weight.clone()


def weight_norm(module: M, name: str = "weight", dim: int | None = 0) -> M:
    """Learn a weight's length g and its direction v apart: w = g v / |v|.

    The norm is over all axes but `dim`, so that by default each output channel has its own; None
    (and -1) means one norm of all.  "parametrizations.weight.original0" is g and "original1" v;
    `parametrize.remove_parametrizations` undoes it.  Gives the module.  Source: Salimans and
    Kingma, Weight normalization (2016).

    >>> import chainrule as cr
    >>> linear = cr.nn.utils.parametrizations.weight_norm(cr.nn.Linear(3, 2))
    >>> [(name, p.shape) for name, p in linear.named_parameters()][1:]
    [('parametrizations.weight.original0', (2, 1)), ('parametrizations.weight.original1', (2, 3))]
    """
    register_parametrization(module, name, _WeightNorm(dim), unsafe=True)
    return module


def as_matrix(weight: Tensor, dim: int) -> Tensor:
    """Give (outputs, all else)."""
    order = (dim, *[axis for axis in range(weight.ndim) if axis != dim])
    return flatten(permute(weight, order) if dim else weight, 1)


def unit(like: Tensor, size: int, eps: float) -> Tensor:
    """Draw a direction."""
    return normalize(init.normal_(empty(size, dtype=like.dtype)), dim=0, eps=eps)


def over_largest(weight: Tensor, matrix: Tensor, u: Tensor, v: Tensor) -> Tensor:
    """Divide a weight by the singular value u M v of its matrix."""
    result: Tensor = weight / (u * (matrix @ v)).sum()
    return result


def outputs_axis(module: Module, weight: Tensor, dim: int | None) -> int:
    """Give the axis of a layer's outputs: the second of a transposed convolution's weight."""
    if dim is None:
        return int(isinstance(module, ConvTranspose1d | ConvTranspose2d | ConvTranspose3d))
    if not -weight.ndim <= dim < weight.ndim:
        rule = f"a dim in {-weight.ndim}..{weight.ndim - 1}"
        raise failure("spectral_norm", rule, error=AxisError, dim=dim)
    return dim % weight.ndim


def check_iterations(n_power_iterations: int) -> None:
    """Refuse to look for singular values without a step."""
    if n_power_iterations <= 0:
        rule = "n_power_iterations of at least 1"
        raise failure("spectral_norm", rule, n_power_iterations=n_power_iterations)


class _SpectralNorm(Module):
    """w / sigma(w), where sigma = u w v is found by the power method."""

    _u: Tensor
    _v: Tensor

    def __init__(
        self, weight: Tensor, n_power_iterations: int = 1, dim: int = 0, eps: float = 1e-12
    ) -> None:
        super().__init__()
        check_iterations(n_power_iterations)
        self.dim, self.eps = dim, eps
        self.n_power_iterations = n_power_iterations
        if weight.ndim > 1:
            matrix = as_matrix(weight.detach(), self.dim)
            self.register_buffer("_u", unit(weight, matrix.shape[0], eps))
            self.register_buffer("_v", unit(weight, matrix.shape[1], eps))
            self._iterate(matrix, 15)

    def _iterate(self, matrix: Tensor, times: int) -> None:
        u, v = self._u, self._v
        with no_grad():
            for _ in range(times):
                u = normalize(matrix @ v, dim=0, eps=self.eps)
                v = normalize(matrix.T @ u, dim=0, eps=self.eps)
        self._u, self._v = u, v

    def forward(self, weight: Tensor) -> Tensor:
        """Divide by the largest singular value; while training, look for it further."""
        if weight.ndim == 1:
            return normalize(weight, dim=0, eps=self.eps)
        matrix = as_matrix(weight, self.dim)
        if self.training:
            self._iterate(matrix.detach(), self.n_power_iterations)
        return over_largest(weight, matrix, self._u, self._v)

    def right_inverse(self, value: Tensor) -> Tensor:
        """Give the value itself."""
        return value


def spectral_norm(
    module: M,
    name: str = "weight",
    n_power_iterations: int = 1,
    eps: float = 1e-12,
    dim: int | None = None,
) -> M:
    """Divide a weight by its largest singular value, the norm of the layer as a linear map.

    The singular vectors are estimated by `n_power_iterations` of the power method at each reading
    of the weight while training, and kept as buffers ("parametrizations.weight.0._u" and "_v").
    The rows of the matrix are the axis `dim`: 0, or 1 for transposed convolutions; a vector is
    divided by its length.  `parametrize.remove_parametrizations` undoes it.  Gives the module.
    Source: Miyato and others, Spectral normalization for generative adversarial networks (2018).
    Raises ValueError for fewer than 1 iteration, AxisError for a `dim` that is not there.

    >>> import chainrule as cr
    >>> linear = cr.nn.utils.parametrizations.spectral_norm(cr.nn.Linear(3, 2), eps=1e-12)
    >>> for _ in range(50):
    ...     weight = linear.weight
    >>> round(float(cr.linalg.norm(weight, 2)), 3)
    1.0
    """
    weight = module._parameters.get(name, module._buffers.get(name))
    weight = getattr(module, name, None) if weight is None else weight
    if not isinstance(weight, Tensor):
        raise failure("spectral_norm", f"a parameter or buffer {name!r}", module=type(module))
    made = _SpectralNorm(weight, n_power_iterations, outputs_axis(module, weight, dim), eps)
    register_parametrization(module, name, made)
    return module
