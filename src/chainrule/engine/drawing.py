"""Making tensors of random numbers, drawn from generators."""

from __future__ import annotations

from typing import Any

from chainrule.engine.creation import made, sizes
from chainrule.engine.op import DType
from chainrule.engine.promotion import DEFAULT_FLOAT, INT64, as_dtype
from chainrule.engine.random import Generator, default_generator
from chainrule.engine.tensor import Tensor
from chainrule.errors import KindError, failure


def _float_dtype(dtype: Any, name: str) -> DType:
    kind = DEFAULT_FLOAT if dtype is None else as_dtype(dtype)
    if kind.kind != "f":
        raise failure(name, "a floating-point dtype", error=KindError, dtype=kind)
    return kind


def randn(
    *size: Any,
    generator: Generator | None = None,
    dtype: Any = None,
    device: str | None = None,
    requires_grad: bool = False,
) -> Tensor:
    """Draw standard normal values, from `generator` or the global one.

    >>> import chainrule as cr
    >>> cr.randn(2, 3, generator=cr.Generator(0)).shape
    (2, 3)
    """
    shape, kind = sizes(size, "randn"), _float_dtype(dtype, "randn")
    source = generator or default_generator()
    return made(shape, kind, device, requires_grad, lambda: source.normal(shape, kind, 0.0, 1.0))


def rand(
    *size: Any,
    generator: Generator | None = None,
    dtype: Any = None,
    device: str | None = None,
    requires_grad: bool = False,
) -> Tensor:
    """Draw uniform values in [0, 1).

    >>> import chainrule as cr
    >>> x = cr.rand(100)
    >>> bool(((x >= 0) & (x < 1)).all())
    True
    """
    shape, kind = sizes(size, "rand"), _float_dtype(dtype, "rand")
    source = generator or default_generator()
    return made(shape, kind, device, requires_grad, lambda: source.uniform(shape, kind, 0.0, 1.0))


def randint(
    low: int = 0,
    high: Any = None,
    size: Any = None,
    *,
    generator: Generator | None = None,
    dtype: Any = None,
    device: str | None = None,
) -> Tensor:
    """Draw integers from `low` to below `high`: randint(high, size) or randint(low, high, size).

    >>> import chainrule as cr
    >>> int(cr.randint(5, (10,)).max()) < 5
    True
    """
    if size is None:
        low, high, size = 0, low, high
    if not low < high:
        raise failure("randint", f"low < high: {low} < {high}")
    shape, kind = sizes((size,), "randint"), INT64 if dtype is None else as_dtype(dtype)
    source = generator or default_generator()
    return made(
        shape, kind, device, False,
        lambda: source.integers(low, high, shape).astype(kind, copy=False),
    )  # fmt: skip


def randperm(
    n: int,
    *,
    generator: Generator | None = None,
    dtype: Any = None,
    device: str | None = None,
) -> Tensor:
    """Draw a permutation of 0..n-1.

    >>> import chainrule as cr
    >>> sorted(cr.randperm(4).tolist())
    [0, 1, 2, 3]
    """
    shape, kind = sizes((n,), "randperm"), INT64 if dtype is None else as_dtype(dtype)
    source = generator or default_generator()
    return made(shape, kind, device, False, lambda: source.permutation(shape[0]).astype(kind))


def randn_like(
    input: Tensor,
    *,
    generator: Generator | None = None,
    dtype: Any = None,
    device: str | None = None,
    requires_grad: bool = False,
) -> Tensor:
    """Draw standard normal values of the shape and dtype of `input`.

    >>> import chainrule as cr
    >>> cr.randn_like(cr.zeros(2, 2)).shape
    (2, 2)
    """
    return randn(
        input.shape,
        generator=generator,
        dtype=dtype or input.dtype,
        device=device or input.device,
        requires_grad=requires_grad,
    )


def rand_like(
    input: Tensor,
    *,
    generator: Generator | None = None,
    dtype: Any = None,
    device: str | None = None,
    requires_grad: bool = False,
) -> Tensor:
    """Draw uniform values in [0, 1) of the shape and dtype of `input`.

    >>> import chainrule as cr
    >>> cr.rand_like(cr.zeros(2, 2)).shape
    (2, 2)
    """
    return rand(
        input.shape,
        generator=generator,
        dtype=dtype or input.dtype,
        device=device or input.device,
        requires_grad=requires_grad,
    )
