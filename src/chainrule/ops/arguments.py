"""Arguments brought to one form at the border: sizes, pairs and dimensions.

Inside the operations a kernel size is a tuple of Python ints and a dimension is not negative.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from math import prod
from operator import index
from typing import Any, TypeVar, cast

import numpy as np

from chainrule.engine.op import Op, Spec
from chainrule.errors import AxisError, KindError, ShapeError, failure

F = TypeVar("F", bound=Callable[..., Any])

_NUMPY_NAMES = {"axis": "dim", "keepdims": "keepdim", "x": "input", "x1": "input", "x2": "other"}


def integer(value: Any, name: str, what: str = "an integer") -> int:
    """Give a whole number as a Python int; NumPy's integers are accepted, booleans are not.

    >>> import numpy as np
    >>> integer(np.int64(3), "narrow")
    3
    """
    if type(value) is int:
        return value
    if not isinstance(value, bool | np.bool_) and getattr(value, "dtype", None) != np.bool_:
        try:
            return index(value)
        except TypeError:
            pass
    raise failure(name, what, error=KindError, value=value)


def int_tuple(
    value: Any, name: str, what: str = "a tuple of integers", *, bare: bool = True
) -> tuple[int, ...]:
    """Give a sequence (or 1-D array) of integers as a tuple of Python ints.

    A single integer gives a tuple of one if `bare`, else it is refused with the way to write it.

    >>> int_tuple([2, 3], "reshape"), int_tuple(6, "sum")
    ((2, 3), (6,))
    """
    many = isinstance(value, Sequence) and not isinstance(value, str | bytes)
    if many or getattr(value, "ndim", 0) == 1:
        return tuple([integer(v, name, what) for v in value])
    if bare:
        return (integer(value, name, what),)
    hint = f"write ({value},)" if isinstance(value, int | np.integer) else ""
    raise failure(name, what, error=KindError, hint=hint, value=value)


def ntuple(value: Any, n: int, name: str) -> tuple[int, ...]:
    """Give n integers: one integer (or a sequence of one) is repeated, a sequence of n is kept.

    `name` says what is being set in errors, for example "conv2d stride".  Raises KindError for what
    is not an integer (booleans too), ShapeError for a sequence of another length.

    >>> ntuple(3, 2, "stride"), ntuple((1, 2, 3), 3, "stride"), ntuple([4], 2, "stride")
    ((3, 3), (1, 2, 3), (4, 4))
    """
    if type(value) is int:
        return (value,) * n
    sizes = int_tuple(value, name, f"an integer or a tuple of {n} integers")
    if len(sizes) == n:
        return sizes
    if len(sizes) == 1:
        return sizes * n
    raise failure(name, f"1 or {n} integers, not {len(sizes)}", value=value)


def pair(value: Any, name: str) -> tuple[int, int]:
    """Give two integers: `ntuple` with n = 2, height first.

    >>> pair(2, "stride"), pair((1, 3), "padding")
    ((2, 2), (1, 3))
    """
    first, second = ntuple(value, 2, name)
    return first, second


def axis(dim: Any, ndim: int, name: str) -> int:
    """Give a dimension as 0..ndim-1, counting negative ones from the end.

    A tensor without dimensions accepts 0 and -1 (both give 0), as in PyTorch.
    Raises AxisError out of range, KindError for what is not an integer.

    >>> axis(-1, 3, "sum"), axis(0, 3, "sum"), axis(-1, 0, "sum")
    (2, 0, 0)
    """
    if type(dim) is not int:
        dim = integer(dim, name, "a dimension that is an integer")
    n = ndim or 1
    if not -n <= dim < n:
        tensor = f"a {ndim}-D tensor's dimensions" if ndim else "a 0-D tensor's one nominal one"
        raise failure(name, f"dim in [{-n}, {n - 1}], {tensor}", error=AxisError, dim=dim)
    return int(dim) + n if dim < 0 else int(dim)


def axes(dim: Any, ndim: int, name: str) -> tuple[int, ...]:
    """Give dimensions as a tuple of non-negative ints, in the order given; None means all of them.

    On a tensor without dimensions the answer is (), which is what NumPy's reductions want there;
    so it is for an empty tuple, which the caller may take as "all" or as "none".
    Raises AxisError out of range, ShapeError for one named twice, KindError for other kinds.

    >>> axes((-1, 0), 3, "sum"), axes(1, 3, "sum"), axes(None, 3, "sum"), axes(0, 0, "sum")
    ((2, 0), (1,), (0, 1, 2), ())
    """
    if dim is None:
        return tuple(range(ndim))
    if type(dim) is int:
        found: tuple[int, ...] = (axis(dim, ndim, name),)
    else:
        dims = int_tuple(dim, name, "dimensions that are integers")
        found = tuple([axis(d, ndim, name) for d in dims])
        if len(set(found)) != len(found):
            raise failure(name, "every dimension once", error=ShapeError, dim=dims)
    return found if ndim else ()


def numpy_names(function: F) -> F:
    """Let a public function take NumPy's keywords as well: axis for dim, keepdims for keepdim.

    PyTorch does so too; it also takes x or x1 for input and x2 for other.

    >>> import chainrule as cr
    >>> cr.unsqueeze(cr.tensor([1, 2]), axis=0)
    tensor([[1, 2]])
    """

    @wraps(function)
    def renamed(*args: Any, **options: Any) -> Any:
        for name in [n for n in options if n in _NUMPY_NAMES]:
            known = _NUMPY_NAMES[name]
            if known not in options:  # with both, the function refuses the one it does not know
                options[known] = options.pop(name)
        return function(*args, **options)

    return cast(F, renamed)


def flag(value: Any, name: str) -> bool:
    """Give a switch as a bool; KindError for what is neither True nor False."""
    if not isinstance(value, bool | np.bool_):
        raise failure(name, "True or False", error=KindError, value=value)
    return bool(value)


def product_text(sizes: Sequence[int]) -> str:
    """Write a product for an error: (2, 3) -> '2*3 = 6', (5,) -> '5', () -> '1'."""
    factors = "*".join(map(str, sizes))
    return f"{factors} = {prod(sizes)}" if len(sizes) > 1 else factors or "1"


def complete(op: Op, sizes: tuple[int, ...], total: int, x: Spec) -> tuple[int, ...]:
    """Work out the size given as -1 so that the sizes multiply to `total`, or raise ShapeError."""
    if -1 not in sizes and prod(sizes) == total and min(sizes, default=0) >= 0:
        return sizes
    if min(sizes, default=0) < -1:
        raise failure(op, f"sizes of 0 or more, or -1, not {min(sizes)}", x=x)
    if sizes.count(-1) > 1:
        raise failure(op, f"one size at most given as -1, not {sizes.count(-1)}", x=x)
    if -1 not in sizes:
        raise failure(op, f"sizes that multiply to {total}, not {product_text(sizes)}", x=x)
    others = [s for s in sizes if s != -1]
    known = prod(others)
    if known == 0:
        raise failure(op, "no size of 0 beside the one given as -1, which could be anything", x=x)
    if total % known:
        rule = f"the other sizes, {product_text(others)}, to divide {total}"
        raise failure(op, f"{rule}: {total}/{known} = {total / known:.6g}", x=x)
    return tuple([total // known if s == -1 else s for s in sizes])
