"""Operations that end or begin with ReLU, in one: the same values as one after the other.

Each has the formulas of its two members and computes by them; what is gained is gained by a
backend, which then passes over memory once where the members need two or three passes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from chainrule.engine.op import Array, Spec, public
from chainrule.engine.sample import Draw, Rng, Sample, away_from_zero, distinct, positive, uniform
from chainrule.engine.tensor import Tensor, apply
from chainrule.errors import KindError, failure
from chainrule.ops.activation import ReLU
from chainrule.ops.broadcast import Pairwise
from chainrule.ops.cast import promote
from chainrule.ops.conv import Conv, convolve_with
from chainrule.ops.elementwise import Add
from chainrule.ops.norm import BatchNorm, normalise
from chainrule.ops.pool_max import MaxPool
from chainrule.ops.pool_windows import settings

_RELU, _ADD = ReLU(), Add()


def _rectify(xp: Any, z: Array) -> tuple[Array, Any]:
    """Give (relu(z), what its backward needs)."""
    (y,), dead = _RELU.forward(xp, z)
    return y, dead


def _mask(xp: Any, dead: Any, gy: Array) -> Array:
    """Give the gradient before the ReLU: gy where z > 0 or z is NaN, 0 elsewhere."""
    (g,) = _RELU.backward(xp, dead, gy, (True,))
    return g  # type: ignore[no-any-return]


# Draws for which no value before the ReLU is near its kink at 0


def _whole(*shape: int) -> Draw:
    """Whole numbers from -2 to 2, as floats."""
    return Draw("whole", shape, lambda rng, s: rng.integers(-2, 3, s).astype(np.float64))


def _odd(*shape: int) -> Draw:
    """Odd numbers from -3 to 3, as floats: an odd number of their products adds up to no 0."""
    return Draw("odd", shape, lambda rng, s: 2.0 * rng.integers(-2, 2, s) + 1.0)


def _halves(*shape: int) -> Draw:
    """Odd multiples of 1/2: a whole number plus one of them is no 0."""
    return Draw("halves", shape, lambda rng, s: rng.integers(-2, 2, s) + 0.5)


def _two_sided(*shape: int) -> Draw:
    """For each channel as many values in (1, 1.5) as in (-1.5, -1): none is near the mean."""

    def make(rng: Rng, s: tuple[int, ...]) -> Array:
        n, c, *rest = s
        count = n * int(np.prod(rest))
        signs = np.where(np.arange(count) % 2, 1.0, -1.0)
        values = rng.permuted(np.tile(signs, (c, 1)), axis=1) * rng.uniform(1.0, 1.5, (c, count))
        return np.asarray(values.reshape(c, n, *rest).swapaxes(0, 1))

    return Draw("two_sided", shape, make)


@dataclass(frozen=True)
class ConvReLU(Conv):
    """y = max(z, 0) with z = conv(x, w, b), the settings of Conv.

    The gradient of z is gy where z > 0 (or NaN) and 0 elsewhere; from there on as in Conv.
    """

    @property
    def name(self) -> str:
        """The public function's name."""
        return f"{super().name}_relu"

    def forward(
        self, xp: Any, x: Array, w: Array, b: Array | None = None
    ) -> tuple[tuple[Array, ...], Any]:
        (z,), saved = super().forward(xp, x, w, b)
        y, dead = _rectify(xp, z)
        return (y,), (saved, dead)

    def backward(self, xp: Any, saved: Any, gy: Any, needs: tuple[bool, ...]) -> tuple[Any, ...]:
        inner, dead = saved
        return super().backward(xp, inner, _mask(xp, dead, gy), needs)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        none = ((0, 0), (0, 0))
        yield Sample(cls(), _whole(2, 2, 4, 5), _whole(3, 2, 3, 2), _halves(3))
        yield Sample(cls(), _odd(2, 3, 4, 3), _odd(2, 3, 3, 3))
        yield Sample(cls((1, 1), ((0, 1), (3, 1))), _whole(1, 2, 3, 4), _whole(2, 2, 2, 3),
                     _halves(2))  # fmt: skip
        yield Sample(cls((2, 3), ((1, 1), (0, 2))), _whole(2, 2, 5, 5), _whole(2, 2, 3, 2),
                     _halves(2))  # fmt: skip
        yield Sample(cls((1, 2), none, (2, 1)), _whole(2, 2, 5, 4), _whole(1, 2, 2, 3), _halves(1))
        yield Sample(cls(groups=2), _whole(2, 4, 3, 3), _whole(4, 2, 2, 2), _halves(4))
        yield Sample(cls(), _whole(2, 4, 4), _whole(2, 2, 2, 3), _halves(2))
        yield Sample(cls((2,), ((1, 1),), (2,)), _whole(2, 3, 7), _whole(2, 3, 3), _halves(2))
        yield Sample(cls(), _whole(0, 2, 3, 3), _whole(2, 2, 2, 2), _halves(2))


@public
def conv2d_relu(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor:
    """Correlate images with filters and keep what is positive, in one operation.

    The same as relu(conv2d(input, ...)), NaN and infinity included; arguments, shapes and errors
    are those of `conv2d`.  PyTorch has no such function: it is F.relu(F.conv2d(...)).

    >>> import chainrule as cr
    >>> x = cr.tensor([[[1.0, 2.0], [4.0, 8.0]]])
    >>> cr.nn.functional.conv2d_relu(x, cr.tensor([[[[-1.0, 1.0]]], [[[1.0, -1.0]]]]))
    tensor([[[1.0],
             [4.0]],
    <BLANKLINE>
            [[0.0],
             [0.0]]])
    """
    return convolve_with(ConvReLU, 2, input, weight, bias, stride, padding, dilation, groups)


@dataclass(frozen=True)
class BatchNormReLU(BatchNorm):
    """y = max(z, 0) with z = batch_norm(x), the inputs, settings and other outputs of BatchNorm.

    The gradient of z is gy where z > 0 (or NaN) and 0 elsewhere; from there on as in BatchNorm.
    """

    name = "batch_norm_relu"

    def forward(self, xp: Any, x: Array, *rest: Array) -> tuple[tuple[Array, ...], Any]:
        (z, *statistics), saved = super().forward(xp, x, *rest)
        y, dead = _rectify(xp, z)
        return (y, *statistics), (saved, dead)

    def backward(self, xp: Any, saved: Any, gy: Any, needs: tuple[bool, ...]) -> tuple[Any, ...]:
        inner, dead = saved
        g = _mask(xp, dead, gy[0] if self.training else gy)
        return super().backward(xp, inner, (g, *gy[1:]) if self.training else g, needs)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        def affine(channels: int) -> tuple[Draw, Draw]:
            """A weight that is not small, and a bias too small to move a value to 0."""
            return away_from_zero(channels, margin=0.5), uniform(channels, low=-0.1, high=0.1)

        middle = uniform(3, low=-0.3, high=0.3)
        yield Sample(cls(True, 1e-5), _two_sided(6, 3))
        yield Sample(cls(True, 1e-3), _two_sided(4, 3), *affine(3))
        yield Sample(cls(True, 1e-5), _two_sided(2, 3, 5), *affine(3))
        yield Sample(cls(True, 0.1), _two_sided(2, 3, 3, 4), *affine(3))
        yield Sample(cls(True, 1e-2), _two_sided(1, 2, 3, 2, 3), *affine(2))
        yield Sample(cls(False, 1e-5), _two_sided(3, 3), middle, positive(3))
        yield Sample(cls(False, 1e-3), _two_sided(2, 3, 3, 4), middle, positive(3), *affine(3))
        yield Sample(cls(False, 0.0), _two_sided(2, 3, 5), middle, positive(3), *affine(3))


@public
def batch_norm_relu(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """Normalise each channel and keep what is positive, in one operation.

    The same as relu(batch_norm(input, ...)), NaN and infinity included; arguments, shapes, errors
    and the moving of the running statistics are those of `batch_norm`.  PyTorch has no such
    function: it is F.relu(F.batch_norm(...)).

    >>> import chainrule as cr
    >>> x = cr.tensor([[1.0, 10.0], [3.0, 30.0]])
    >>> mean, var = cr.zeros(2), cr.ones(2)
    >>> cr.nn.functional.batch_norm_relu(x, mean, var, training=True)
    tensor([[0.0, 0.0],
            [1.0, 1.0]])
    >>> mean
    tensor([0.2, 2.0])
    """
    given = (input, running_mean, running_var, weight, bias)
    return normalise("batch_norm_relu", BatchNormReLU, *given, training, momentum, eps)


@dataclass(frozen=True)
class AddReLU(Pairwise):
    """y = max(a + b, 0).  ga = gb = gy where a + b > 0 (or NaN), else 0, summed as in Add."""

    name = "add_relu"

    def infer(self, x: Spec, y: Spec) -> tuple[Spec, ...]:
        if x.dtype.kind == "b":
            raise failure(self, "numbers, not booleans", error=KindError, input=x, other=y)
        return super().infer(x, y)

    def forward(self, xp: Any, x: Array, other: Array) -> tuple[tuple[Array, ...], Any]:
        (z,), shapes = _ADD.forward(xp, x, other)
        y, dead = _rectify(xp, z)
        return (y,), (shapes, dead)

    def backward(self, xp: Any, saved: Any, gy: Any, needs: tuple[bool, ...]) -> tuple[Any, ...]:
        shapes, dead = saved
        return _ADD.backward(xp, shapes, _mask(xp, dead, gy), needs)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        yield Sample(cls(), _whole(3, 4), _halves(3, 4))
        yield Sample(cls(), _whole(2, 3, 5), _halves(3, 1))
        yield Sample(cls(), _halves(), _whole(2, 3))
        yield Sample(cls(), _whole(4, 1), _halves(2, 1, 3))
        yield Sample(cls(), _whole(), _halves())
        yield Sample(cls(), _whole(2, 3, 2, 2), _halves(2, 3, 2, 2))


@public
def add_relu(input: Tensor, other: Tensor) -> Tensor:
    """Add two tensors and keep what is positive, in one operation: the end of a residual block.

    The same as relu(input + other), NaN and infinity included: operands broadcast and promote as
    in `add`.  PyTorch has no such function: it is F.relu(input + other).

    Shapes: any two that broadcast -> the common shape.
    Raises ShapeError for shapes that do not broadcast, KindError for booleans.

    >>> import chainrule as cr
    >>> cr.nn.functional.add_relu(cr.tensor([1.0, -3.0]), cr.tensor([[1.0], [5.0]]))
    tensor([[2.0, 0.0],
            [6.0, 2.0]])
    """
    return apply(AddReLU(), *promote(input, other, name="add_relu"))


@dataclass(frozen=True)
class ReLUMaxPool(MaxPool):
    """y = the largest of max(x, 0) in each window, the settings of MaxPool without `indices`.

    It is max(z, 0) with z = max_pool(x), since ReLU keeps the order: the same winners wherever
    z > 0, and where z <= 0 no gradient flows to whichever entry won.
    """

    name = "relu_max_pool"
    # The entry that wins where all are negative would not be the unfused one's.
    indices: ClassVar[bool] = False  # type: ignore[misc]

    def forward(self, xp: Any, x: Array) -> tuple[tuple[Array, ...], Any]:
        (z,), saved = super().forward(xp, x)
        y, dead = _rectify(xp, z)
        padding = self._padding_alone(x.shape)
        if padding is not None:
            y[..., padding] = z[..., padding]
        return (y,), (saved, dead)

    def _padding_alone(self, shape: tuple[int, ...]) -> Any:
        """Tell which windows hold only padding, which no ReLU has seen; None if none does.

        Their value, the least there is, stays; only dilated windows can be so.
        """
        if max(self.dilation) == 1 or not any(self.padding):
            return None
        found = np.zeros((), np.bool_)
        for windows in self._windows(shape[-len(self.kernel) :]):
            found = found[..., None] | windows.empty()
        return found if found.any() else None

    def backward(self, xp: Any, saved: Any, gy: Any, needs: tuple[bool, ...]) -> tuple[Any, ...]:
        inner, dead = saved
        return super().backward(xp, inner, _mask(xp, dead, gy), needs)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        yield Sample(cls((2, 2), (2, 2), (0, 0), (1, 1)), distinct(2, 2, 4, 5))
        yield Sample(cls((3, 2), (1, 2), (0, 0), (1, 1)), distinct(2, 3, 5, 3))
        yield Sample(cls((3, 3), (2, 2), (1, 1), (1, 1)), distinct(1, 2, 6, 7))
        yield Sample(cls((3, 2), (2, 1), (1, 0), (1, 1), True), distinct(1, 2, 6, 5))
        yield Sample(cls((2, 2), (2, 3), (1, 1), (2, 3)), distinct(1, 2, 7, 6))
        yield Sample(cls((2, 2), (1, 1), (1, 1), (1, 3)), distinct(2, 3, 4))
        yield Sample(cls((1, 2), (1, 1), (0, 0), (1, 1)), distinct(3, 2, 3, 3))
        yield Sample(cls((2,), (2,), (0,), (2,), True), distinct(3, 8))


@public
def relu_max_pool2d(
    input: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
) -> Tensor:
    """Keep what is positive, then the largest entry of each window, in one operation.

    The same as max_pool2d(relu(input), ...), NaN and infinity included, but ReLU runs on the
    maxima alone, of which there are fewer.  Arguments, shapes and errors are those of
    `max_pool2d`, without the indices.  PyTorch has no such function: it is
    F.max_pool2d(F.relu(input), ...).

    >>> import chainrule as cr
    >>> x = cr.tensor([[[3.0, 2, -3, -1], [0, 5, -3, -4]]])
    >>> cr.nn.functional.relu_max_pool2d(x, 2)
    tensor([[[5.0, 0.0]]])
    """
    name = "relu_max_pool2d"
    s = settings(name, 2, kernel_size, stride, padding, dilation, ceil_mode)
    return apply(ReLUMaxPool(*s), input)
