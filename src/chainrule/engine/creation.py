"""Making tensors: from data, filled, and counted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from chainrule.engine.device import chosen_device
from chainrule.engine.op import Array, DType
from chainrule.engine.promotion import DEFAULT_FLOAT, INT64, as_dtype, is_scalar, scalar_dtype
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
    if chosen_device(device) == "meta":
        return meta_tensor(array.shape, array.dtype).requires_grad_(requires_grad)
    return Tensor(array, requires_grad)


def _numeric(data: Any, wanted: DType | None) -> Array:
    """Copy data into a native, positive-stride array of a dtype that tensors have."""
    if isinstance(data, Tensor):
        data._need_data("tensor")
        return data.array.copy(order="K")
    if is_scalar(data):
        own = getattr(data, "dtype", None) or scalar_dtype(data)
        return np.array(number("tensor", data, wanted or own))
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
    if not typed and array.size and array.dtype.kind in "fiu":
        for extreme in (array.min(), array.max()):
            number("tensor", extreme, wanted or (INT64 if array.dtype.kind == "u" else array.dtype))
    if array.dtype.kind not in "fiub" or array.dtype.itemsize > 8:
        raise failure(
            "tensor",
            "numbers, or arrays of them",
            error=KindError,
            dtype=array.dtype,
            data=type(data),
        )
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def number(name: str, value: Any, dtype: DType) -> Any:
    """Give a number in a dtype; of negative ones an unsigned dtype keeps the low bits.

    Raises TypeError for what is no number, ValueError for one that does not fit.
    """
    if not is_scalar(value):
        raise failure(name, "a number", error=KindError, value=value)
    if dtype.kind in "iu":
        most, whole = np.iinfo(dtype).max, isinstance(value, int | np.integer) or np.isfinite(value)
        least = -most if dtype.kind == "u" else np.iinfo(dtype).min
        if not whole or not least <= int(value) <= most:
            raise failure(name, f"a number that {dtype} can hold", value=value)
        return dtype.type(int(value) % 2**64 & most if int(value) < 0 and least == -most else value)
    with np.errstate(over="ignore"):
        result = dtype.type(value)
    if np.isinf(result) and not np.isinf(value):
        raise failure(name, f"a number that {dtype} can hold", value=value)
    return result


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
    return as_tensor(array, "from_numpy")


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


def sizes(size: Sequence[Any], name: str) -> tuple[int, ...]:
    """Normalise sizes given one by one or as one tuple."""
    if len(size) == 1 and isinstance(size[0], list | tuple):
        size = size[0]
    for n in size:
        if isinstance(n, bool) or not isinstance(n, int | np.integer):
            raise failure(name, "sizes that are integers", error=KindError, size=tuple(size))
        if n < 0:
            raise failure(name, "sizes that are not negative", size=tuple(size))
    return tuple(int(n) for n in size)


def made(
    shape: tuple[int, ...],
    dtype: DType,
    device: str | None,
    requires_grad: bool,
    compute: Callable[[], Array],
) -> Tensor:
    """Make a tensor of what `compute` gives, on 'meta' of the shape alone."""
    if chosen_device(device) == "meta":
        return meta_tensor(shape, dtype).requires_grad_(requires_grad)
    return Tensor(compute(), requires_grad)


def _filled(
    name: str, size: Sequence[Any], value: Any, dtype: Any, device: str | None, grad: bool
) -> Tensor:
    shape = sizes(size, name)
    kind = as_dtype(dtype) if dtype is not None else DEFAULT_FLOAT
    fill = number(name, value, kind)
    if fill == 0:  # pages are zeroed only when touched
        return made(shape, kind, device, grad, lambda: np.zeros(shape, kind))
    return made(shape, kind, device, grad, lambda: np.full(shape, fill, kind))


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
    shape = size if isinstance(size, list | tuple) else (size,)
    return _filled("full", shape, value, kind, device, requires_grad)


def zeros_like(
    input: Tensor, *, dtype: Any = None, device: str | None = None, requires_grad: bool = False
) -> Tensor:
    """Make zeros of the shape, dtype and memory layout of `input`.

    >>> import chainrule as cr
    >>> cr.zeros_like(cr.tensor([1, 2]))
    tensor([0, 0])
    """
    return full_like(input, 0, dtype=dtype, device=device, requires_grad=requires_grad)


def empty_like(
    input: Tensor, *, dtype: Any = None, device: str | None = None, requires_grad: bool = False
) -> Tensor:
    """Make a tensor like `input` whose values are not promised (here zeros).

    >>> import chainrule as cr
    >>> cr.empty_like(cr.ones(2, 0)).shape
    (2, 0)
    """
    return full_like(input, 0, dtype=dtype, device=device, requires_grad=requires_grad)


def ones_like(
    input: Tensor, *, dtype: Any = None, device: str | None = None, requires_grad: bool = False
) -> Tensor:
    """Make ones of the shape, dtype and memory layout of `input`.

    >>> import chainrule as cr
    >>> cr.ones_like(cr.tensor([5.0, 2.0]))
    tensor([1.0, 1.0])
    """
    return full_like(input, 1, dtype=dtype, device=device, requires_grad=requires_grad)


def full_like(
    input: Tensor,
    fill_value: Any,
    *,
    dtype: Any = None,
    device: str | None = None,
    requires_grad: bool = False,
) -> Tensor:
    """Make a tensor of one number, of the shape, dtype and memory layout of `input`.

    >>> import chainrule as cr
    >>> cr.full_like(cr.tensor([5.0, 2.0]), 3)
    tensor([3.0, 3.0])
    """
    if not isinstance(input, Tensor):
        raise failure("full_like", "a tensor", error=KindError, input=type(input))
    kind = input.dtype if dtype is None else as_dtype(dtype)
    fill = number("full_like", fill_value, kind)
    return made(
        input.shape, kind, device or input.device, requires_grad,
        lambda: np.full_like(input.array, fill, dtype=kind),
    )  # fmt: skip


def arange(
    start: Any,
    end: Any = None,
    step: Any = 1,
    *,
    dtype: Any = None,
    device: str | None = None,
    requires_grad: bool = False,
) -> Tensor:
    """Count from `start` to below `end`; one argument is the end.

    >>> import chainrule as cr
    >>> cr.arange(3), cr.arange(1, 2, 0.5)
    (tensor([0, 1, 2]), tensor([1.0, 1.5]))
    """
    if end is None:
        start, end = 0, start
    start, end, step = (v.item() if isinstance(v, Tensor) else v for v in (start, end, step))
    for value in (start, end, step):
        if not is_scalar(value):
            raise failure("arange", "numbers", error=KindError, value=value)
    if not (np.isfinite([start, end, step]).all() and step != 0 and (end - start) * step >= 0):
        raise failure(
            "arange", "a step that leads from start to end", start=start, end=end, step=step
        )
    whole = all(scalar_dtype(v) != DEFAULT_FLOAT for v in (start, end, step))
    kind = as_dtype(dtype) if dtype is not None else INT64 if whole else DEFAULT_FLOAT
    values = np.arange(start, end, step).astype(kind)
    return made(values.shape, kind, device, requires_grad, lambda: values)


def linspace(
    start: Any,
    end: Any,
    steps: int,
    *,
    dtype: Any = None,
    device: str | None = None,
    requires_grad: bool = False,
) -> Tensor:
    """Space `steps` values evenly from `start` to `end`, both included.

    >>> import chainrule as cr
    >>> cr.linspace(0, 1, 3)
    tensor([0.0, 0.5, 1.0])
    """
    kind, shape = DEFAULT_FLOAT if dtype is None else as_dtype(dtype), sizes((steps,), "linspace")
    first, last = (v.item() if isinstance(v, Tensor) else v for v in (start, end))
    for value in (first, last):
        if not is_scalar(value):
            raise failure("linspace", "numbers", error=KindError, value=value)
    return made(
        shape, kind, device, requires_grad,
        lambda: np.linspace(first, last, shape[0]).astype(kind),
    )  # fmt: skip


def eye(
    n: int,
    m: int | None = None,
    *,
    dtype: Any = None,
    device: str | None = None,
    requires_grad: bool = False,
) -> Tensor:
    """Make the identity matrix, n x m (m = n if left out).

    >>> import chainrule as cr
    >>> cr.eye(2)
    tensor([[1.0, 0.0],
            [0.0, 1.0]])
    """
    kind = DEFAULT_FLOAT if dtype is None else as_dtype(dtype)
    shape = sizes((n, n if m is None else m), "eye")
    return made(shape, kind, device, requires_grad, lambda: np.eye(*shape, dtype=kind))
