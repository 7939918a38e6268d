"""Dropout layers: a mask from a generator while training, nothing in evaluation."""

from __future__ import annotations

from collections.abc import Callable

from chainrule.engine.random import Generator, default_generator
from chainrule.engine.tensor import Tensor
from chainrule.errors import failure
from chainrule.nn import functional as F
from chainrule.nn.byhand import replaying
from chainrule.nn.module import Module
from chainrule.ops.formulas import number


class DrawingLayer(Module):
    """Base of layers that draw: each draws one key, and its random numbers come from the key.

    So `layer.backward(x, gy)` by hand can make the last ones again.  Keys come from `generator`,
    else from the global one.  A layer that ran more than once before has only its last mask.
    """

    draws_always = False  # in evaluation too

    def __init__(self, generator: Generator | None) -> None:
        super().__init__()
        self.generator = generator
        self._last_key: int | None = None

    def _generator_for(self, input: Tensor) -> Generator | None:
        """Give the generator of this call; None where nothing is drawn."""
        if not (self.training or self.draws_always) or getattr(input, "is_meta", False):
            return None
        if self._last_key is None or not replaying():
            source = self.generator or default_generator()
            self._last_key = int(source.integers(0, 2**62, ()))
        return Generator(self._last_key)


class RandomLayer(DrawingLayer):
    """Base of layers that drop with probability p."""

    _function: Callable[..., Tensor]

    def __init__(
        self, p: float = 0.5, inplace: bool = False, *, generator: Generator | None = None
    ) -> None:
        super().__init__(generator)
        if not 0 <= number(p, f"{type(self).__name__} p") <= 1:
            raise failure(type(self).__name__, "a probability p in [0, 1]", p=p)
        self.p = p
        self.inplace = inplace

    def forward(self, input: Tensor) -> Tensor:
        """Drop while training: any shape -> the same."""
        generator = self._generator_for(input)
        call = type(self)._function
        return call(input, self.p, self.training, self.inplace, generator=generator)

    def extra_repr(self) -> str:
        """Show the probability."""
        return f"p={self.p}, inplace={self.inplace}"


class Dropout(RandomLayer):
    """Set each value to 0 with probability p, divide the others by 1 - p; while training only.

    Shapes: any -> the same.  `inplace` is accepted and changes nothing.
    Raises ValueError for p outside [0, 1].  See `functional.dropout`.

    >>> import chainrule as cr
    >>> drop = cr.nn.Dropout(0.5, generator=cr.Generator(1))
    >>> sorted(set(drop(cr.ones(100)).tolist())), drop.eval()(cr.ones(2)).tolist()
    ([0.0, 2.0], [1.0, 1.0])
    """

    _function = staticmethod(F.dropout)


class Dropout1d(RandomLayer):
    """Drop whole channels of sequences, (N, C, L) or (C, L); see `functional.dropout1d`.

    >>> import chainrule as cr
    >>> cr.nn.Dropout1d(0.2)
    Dropout1d(p=0.2, inplace=False)
    """

    _function = staticmethod(F.dropout1d)


class Dropout2d(RandomLayer):
    """Drop whole channels of images, (N, C, H, W); see `functional.dropout2d`.

    >>> import chainrule as cr
    >>> y = cr.nn.Dropout2d(0.5)(cr.ones(1, 50, 2, 2)).mean(dim=(2, 3))
    >>> sorted(set(y.flatten().tolist()))
    [0.0, 2.0]
    """

    _function = staticmethod(F.dropout2d)


class Dropout3d(RandomLayer):
    """Drop whole channels of volumes, (N, C, D, H, W); see `functional.dropout3d`.

    >>> import chainrule as cr
    >>> cr.nn.Dropout3d(0.2)
    Dropout3d(p=0.2, inplace=False)
    """

    _function = staticmethod(F.dropout3d)


class AlphaDropout(RandomLayer):
    """Dropout that keeps mean 0 and variance 1 for layers of SELU; see `functional.alpha_dropout`.

    >>> import chainrule as cr
    >>> y = cr.nn.AlphaDropout(0.2, generator=cr.Generator(0))(cr.randn(100000))
    >>> bool(abs(y.mean()) < 0.02 and abs(y.std() - 1) < 0.02)
    True
    """

    _function = staticmethod(F.alpha_dropout)


class FeatureAlphaDropout(RandomLayer):
    """Drop whole channels as AlphaDropout drops values; see `functional.feature_alpha_dropout`.

    Shapes: (N, C, ...) -> the same.

    >>> import chainrule as cr
    >>> cr.nn.FeatureAlphaDropout(0.2)
    FeatureAlphaDropout(p=0.2, inplace=False)
    """

    _function = staticmethod(F.feature_alpha_dropout)
