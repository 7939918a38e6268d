"""A tensor that a layer learns."""

from __future__ import annotations

from typing import Any

import numpy as np

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
