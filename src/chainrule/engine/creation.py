"""Making tensors: from data, filled, and drawn from generators."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from chainrule.engine.op import Array, DType
from chainrule.engine.promotion import DEFAULT_FLOAT, INT64, as_dtype, is_scalar, scalar_dtype
from chainrule.engine.random import Generator, default_generator
from chainrule.engine.tensor import Tensor, as_tensor, meta_tensor
from chainrule.errors import GraphError, KindError, failure


def tensor(
    data: Any, dtype: Any = None, device: str | None = None, requires_grad: bool = False
) -> Tensor:
    """Copy numbers, nested lists, or an array into a tensor.

    An array's dtype is kept, and its memory layout, so that channels-last data stays so;
    Python floats become float32, integers int64.  Raises TypeError for what is not numeric,
    ValueError for ragged lists.

    >>> import chainrule as cr
    >>> cr.tensor([[1, 2], [3, 4]], dtype=cr.float64)
    tensor([[1.0, 2.0],
            [3.0, 4.0]], dtype=float64)
    """
    kind = None if dtype is None else as_dtype(dtype)
    array = _numeric(data, kind)
    if kind is not None:
        array = array.astype(kind, order="K", copy=False)
    _check_device(device)
    if device == "meta":
        return meta_tensor(array.shape, array.dtype).requires_grad_(requires_grad)
    return Tensor(array, requires_grad)


def _numeric(data: Any, wanted: DType | None) -> Array:
    """Copy data into a native, positive-stride array of a dtype that tensors have."""
    if isinstance(data, Tensor):
        data._need_data("tensor")
        return data.array.copy(order="K")
    if is_scalar(data):
        own = getattr(data, "dtype", None) or scalar_dtype(data)
        return np.array(data, dtype=wanted or own)
    typed = hasattr(data, "dtype") or hasattr(data, "__array__")
    try:
        array = np.array(_plain(data), order="K", copy=True)
    except GraphError:
        raise
    except ValueError as error:
        raise failure("tensor", f"lists of equal lengths at every depth ({error})") from error
    weak = not typed and (array.dtype == np.float64 or array.size == 0)
    if weak and wanted is None and not _has_float64(data):
        array = array.astype(DEFAULT_FLOAT)
    if array.dtype.kind not in "fiub" or array.dtype.itemsize > 8:
        raise failure(
            "tensor",
            "numbers, or arrays of them",
            error=KindError,
            dtype=array.dtype,
            data=type(data),
        )
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def _has_float64(data: Any) -> bool:
    """Whether nested lists hold float64 values that say so, beside Python's floats."""
    if isinstance(data, list | tuple):
        return any(_has_float64(item) for item in data)
    return bool(getattr(data, "dtype", None) == np.float64)


def _plain(data: Any) -> Any:
    """Replace tensors inside lists by their arrays."""
    if isinstance(data, list | tuple):
        return [_plain(item) for item in data]
    return data.array if isinstance(data, Tensor) else data


def from_numpy(array: Array) -> Tensor:
    """Wrap an array without copying: what is written to one is seen in the other.

    Raises TypeError for anything but a NumPy array of numbers.

    >>> import numpy as np
    >>> import chainrule as cr
    >>> cr.from_numpy(np.array([1.0, 2.0]))
    tensor([1.0, 2.0], dtype=float64)
    """
    if not isinstance(array, np.ndarray):
        raise failure("from_numpy", "a NumPy array", error=KindError, array=type(array))
    return as_tensor(array)


def from_dlpack(source: Any) -> Tensor:
    """Wrap the memory of any object that speaks DLPack, without copying.

    >>> import numpy as np
    >>> import chainrule as cr
    >>> cr.from_dlpack(np.array([1, 2]))
    tensor([1, 2])
    """
    return as_tensor(np.from_dlpack(source))


def asarray(data: Any, dtype: Any = None, requires_grad: bool = False) -> Tensor:
    """Wrap without copying where the data allow it, else as `tensor` does.

    >>> import chainrule as cr
    >>> cr.as_tensor([1.0, 2.0])
    tensor([1.0, 2.0])
    """
    if isinstance(data, Tensor):
        made = data if dtype is None or as_dtype(dtype) == data.dtype else data.to(as_dtype(dtype))
    elif isinstance(data, np.ndarray):
        made = as_tensor(data if dtype is None else data.astype(as_dtype(dtype), copy=False))
    else:
        made = tensor(data, dtype)
    return made.requires_grad_() if requires_grad else made


def _shape(size: Sequence[Any], name: str) -> tuple[int, ...]:
    """Normalise sizes given one by one or as one tuple."""
    if len(size) == 1 and isinstance(size[0], list | tuple):
        size = size[0]
    for n in size:
        if isinstance(n, bool) or not isinstance(n, int | np.integer):
            raise failure(name, "sizes that are integers", error=KindError, size=tuple(size))
        if n < 0:
            raise failure(name, "sizes that are not negative", size=tuple(size))
    return tuple(int(n) for n in size)


def _check_device(device: str | None) -> None:
    if device not in (None, "cpu", "meta"):
        raise NotImplementedError(
            f"device: expected 'cpu' or 'meta' (shapes without data), got {device!r}; "
            "no backend here brings another"
        )


def _filled(
    name: str, size: Sequence[Any], value: Any, dtype: Any, device: str | None, grad: bool
) -> Tensor:
    shape = _shape(size, name)
    kind = as_dtype(dtype) if dtype is not None else DEFAULT_FLOAT
    _check_device(device)
    if device == "meta":
        return meta_tensor(shape, kind).requires_grad_(grad)
    if value == 0:
        return Tensor(np.zeros(shape, kind), grad)  # pages are zeroed only when touched
    return Tensor(np.full(shape, value, kind), grad)


def zeros(
    *size: Any, dtype: Any = None, device: str | None = None, requires_grad: bool = False
) -> Tensor:
    """Make a tensor of zeros: `zeros(2, 3)` or `zeros((2, 3))`.

    >>> import chainrule as cr
    >>> cr.zeros(2)
    tensor([0.0, 0.0])
    """
    return _filled("zeros", size, 0, dtype, device, requires_grad)


def ones(
    *size: Any, dtype: Any = None, device: str | None = None, requires_grad: bool = False
) -> Tensor:
    """Make a tensor of ones.

    >>> import chainrule as cr
    >>> cr.ones(2)
    tensor([1.0, 1.0])
    """
    return _filled("ones", size, 1, dtype, device, requires_grad)


def empty(
    *size: Any, dtype: Any = None, device: str | None = None, requires_grad: bool = False
) -> Tensor:
    """Make a tensor whose values are not promised (here zeros, so that nothing leaks).

    >>> import chainrule as cr
    >>> cr.empty(2, 0).shape
    (2, 0)
    """
    return _filled("empty", size, 0, dtype, device, requires_grad)


def full(
    size: Any,
    fill_value: Any,
    *,
    dtype: Any = None,
    device: str | None = None,
    requires_grad: bool = False,
) -> Tensor:
    """Make a tensor of one repeated number, whose kind gives the dtype.

    >>> import chainrule as cr
    >>> cr.full((2,), 7)
    tensor([7, 7])
    """
    value = fill_value.item() if isinstance(fill_value, Tensor) else fill_value
    kind = scalar_dtype(value) if dtype is None else dtype
    sizes = size if isinstance(size, list | tuple) else (size,)
    return _filled("full", sizes, value, kind, device, requires_grad)


def zeros_like(input: Tensor, *, dtype: Any = None, requires_grad: bool = False) -> Tensor:
    """Make zeros of the shape, dtype and memory layout of `input`.

    >>> import chainrule as cr
    >>> cr.zeros_like(cr.tensor([1, 2]))
    tensor([0, 0])
    """
    return full_like(input, 0, dtype=dtype, requires_grad=requires_grad)


def ones_like(input: Tensor, *, dtype: Any = None, requires_grad: bool = False) -> Tensor:
    """Make ones of the shape, dtype and memory layout of `input`.

    >>> import chainrule as cr
    >>> cr.ones_like(cr.tensor([5.0, 2.0]))
    tensor([1.0, 1.0])
    """
    return full_like(input, 1, dtype=dtype, requires_grad=requires_grad)


def full_like(
    input: Tensor, fill_value: Any, *, dtype: Any = None, requires_grad: bool = False
) -> Tensor:
    """Make a tensor of one number, of the shape, dtype and memory layout of `input`.

    >>> import chainrule as cr
    >>> cr.full_like(cr.tensor([5.0, 2.0]), 3)
    tensor([3.0, 3.0])
    """
    kind = input.dtype if dtype is None else as_dtype(dtype)
    if input.is_meta:
        return meta_tensor(input.shape, kind).requires_grad_(requires_grad)
    return Tensor(np.full_like(input.array, fill_value, dtype=kind), requires_grad)


def arange(
    start: Any,
    end: Any = None,
    step: Any = 1,
    *,
    dtype: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """Count from `start` to below `end`; one argument is the end.

    >>> import chainrule as cr
    >>> cr.arange(3), cr.arange(1, 2, 0.5)
    (tensor([0, 1, 2]), tensor([1.0, 1.5]))
    """
    if end is None:
        start, end = 0, start
    if step == 0 or (end - start) * step < 0:
        raise failure(
            "arange", "a step that leads from start to end", start=start, end=end, step=step
        )
    whole = all(scalar_dtype(v) != DEFAULT_FLOAT for v in (start, end, step))
    kind = as_dtype(dtype) if dtype is not None else INT64 if whole else DEFAULT_FLOAT
    return Tensor(np.arange(start, end, step).astype(kind), requires_grad)


def linspace(
    start: Any, end: Any, steps: int, *, dtype: Any = None, requires_grad: bool = False
) -> Tensor:
    """Space `steps` values evenly from `start` to `end`, both included.

    >>> import chainrule as cr
    >>> cr.linspace(0, 1, 3)
    tensor([0.0, 0.5, 1.0])
    """
    kind = DEFAULT_FLOAT if dtype is None else as_dtype(dtype)
    return Tensor(np.linspace(start, end, steps).astype(kind), requires_grad)


def eye(n: int, m: int | None = None, *, dtype: Any = None, requires_grad: bool = False) -> Tensor:
    """Make the identity matrix, n x m (m = n if left out).

    >>> import chainrule as cr
    >>> cr.eye(2)
    tensor([[1.0, 0.0],
            [0.0, 1.0]])
    """
    kind = DEFAULT_FLOAT if dtype is None else as_dtype(dtype)
    return Tensor(np.eye(n, m, dtype=kind), requires_grad)


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
    shape, kind = _shape(size, "randn"), _float_dtype(dtype, "randn")
    _check_device(device)
    if device == "meta":
        return meta_tensor(shape, kind).requires_grad_(requires_grad)
    source = generator or default_generator()
    return Tensor(source.normal(shape, kind, 0.0, 1.0), requires_grad)


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
    shape, kind = _shape(size, "rand"), _float_dtype(dtype, "rand")
    _check_device(device)
    if device == "meta":
        return meta_tensor(shape, kind).requires_grad_(requires_grad)
    source = generator or default_generator()
    return Tensor(source.uniform(shape, kind, 0.0, 1.0), requires_grad)


def randint(
    low: int,
    high: Any = None,
    size: Any = None,
    *,
    generator: Generator | None = None,
    dtype: Any = None,
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
    values = (generator or default_generator()).integers(low, high, _shape((size,), "randint"))
    return Tensor(values if dtype is None else values.astype(as_dtype(dtype)))


def randperm(n: int, *, generator: Generator | None = None) -> Tensor:
    """Draw a permutation of 0..n-1.

    >>> import chainrule as cr
    >>> sorted(cr.randperm(4).tolist())
    [0, 1, 2, 3]
    """
    return Tensor((generator or default_generator()).permutation(n).astype(np.int64))


def randn_like(input: Tensor, *, generator: Generator | None = None) -> Tensor:
    """Draw standard normal values of the shape and dtype of `input`.

    >>> import chainrule as cr
    >>> cr.randn_like(cr.zeros(2, 2)).shape
    (2, 2)
    """
    return randn(input.shape, generator=generator, dtype=input.dtype)


def rand_like(input: Tensor, *, generator: Generator | None = None) -> Tensor:
    """Draw uniform values in [0, 1) of the shape and dtype of `input`.

    >>> import chainrule as cr
    >>> cr.rand_like(cr.zeros(2, 2)).shape
    (2, 2)
    """
    return rand(input.shape, generator=generator, dtype=input.dtype)
