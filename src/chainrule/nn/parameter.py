"""A tensor that a layer learns."""

from __future__ import annotations

from typing import Any

import numpy as np

from chainrule.engine.creation import empty
from chainrule.engine.tensor import Tensor
from chainrule.errors import KindError, failure


class Parameter(Tensor):
    """A leaf tensor that a Module counts among its parameters when assigned to an attribute.

    Made from a tensor (whose memory it shares) or an array.  Raises TypeError for other data,
    and for integers unless `requires_grad=False`.

    >>> import chainrule as cr
    >>> cr.nn.Parameter(cr.tensor([1.0, 2.0]))
    parameter([1.0, 2.0], requires_grad=True)
    """

    __slots__ = ()

    def __init__(self, data: Any, requires_grad: bool = True) -> None:
        if isinstance(data, Tensor):
            super().__init__(data.array, requires_grad, is_meta=data.is_meta)
        elif isinstance(data, np.ndarray):
            super().__init__(data, requires_grad)
        else:
            raise failure("Parameter", "a tensor or an array", error=KindError, data=type(data))


class UninitializedParameter(Parameter):
    """A parameter whose shape is not known yet; its size is 0 until `materialize` gives it one.

    It is the same object afterwards, and then a plain Parameter: what was handed to others, to an
    optimiser say, stays good.

    >>> import chainrule as cr
    >>> waiting = UninitializedParameter(dtype=cr.float64)
    >>> waiting.materialize((2, 3))
    >>> type(waiting).__name__, waiting.shape, waiting.dtype
    ('Parameter', (2, 3), dtype('float64'))
    """

    __slots__ = ()

    def __init__(
        self, requires_grad: bool = True, device: str | None = None, dtype: Any = None
    ) -> None:
        super().__init__(empty(0, dtype=dtype, device=device), requires_grad)

    def materialize(self, shape: tuple[int, ...]) -> None:
        """Give it its shape; the values are not promised."""
        self.array = empty(tuple(shape), dtype=self.dtype, device=self.device).array
        self.__class__ = Parameter  # type: ignore[assignment]
