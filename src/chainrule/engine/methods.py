"""What tensors do beside arithmetic: conversion, writing in place, walking back."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, TypeAlias, cast

import numpy as np

from chainrule.engine import state
from chainrule.engine.device import names_device
from chainrule.engine.inplace import InPlace, adopted, rewritten
from chainrule.engine.op import FUNCTIONS, Array
from chainrule.engine.written import mark
from chainrule.errors import AxisError, ChainruleError, GraphError, KindError, LabelError, failure

if TYPE_CHECKING:
    from chainrule.engine.tensor import Tensor

# Inside the class these names mean the methods.
Bool: TypeAlias = bool
Int: TypeAlias = int
Float: TypeAlias = float


class Methods(InPlace):
    """The rest of a tensor's methods; `engine.tensor.Tensor` holds the data."""

    __slots__ = ()

    def backward(
        self, gradient: Any = None, retain_graph: Bool = False, create_graph: Bool = False
    ) -> None:
        """Add to `.grad` of every leaf the gradient of this value by it.

        `gradient` is the gradient arriving from above, of this tensor's shape; only a value of
        one element may leave it out.  The saved state is freed unless `retain_graph`.
        """
        FUNCTIONS["backward"](self, gradient, retain_graph, create_graph)

    # Measures and conversions

    @property
    def T(self) -> Tensor:
        """The tensor with its axes reversed."""
        me = _tensor(self)
        return cast("Tensor", FUNCTIONS["permute"](me, tuple(range(me.ndim))[::-1]))

    @property
    def mT(self) -> Tensor:
        """The tensor with its last two axes exchanged."""
        return cast("Tensor", FUNCTIONS["transpose"](self, -2, -1))

    def size(self, dim: Int | None = None) -> Any:
        """Give the shape, or the size of one axis."""
        shape = _tensor(self).shape
        if dim is None:
            return shape
        if not -len(shape) <= dim < len(shape):
            raise failure("size", f"a dimension of {shape}", error=AxisError, dim=dim)
        return shape[dim]

    def dim(self) -> Int:
        """Give the number of axes."""
        return _tensor(self).ndim

    def numel(self) -> Int:
        """Give the number of elements."""
        return Int(_tensor(self).array.size)

    def is_floating_point(self) -> Bool:
        """Tell whether the dtype is a floating-point one."""
        return _tensor(self).dtype.kind == "f"

    def is_contiguous(self) -> Bool:
        """Tell whether the elements lie in memory in the logical order."""
        return Bool(_tensor(self).array.flags.c_contiguous)

    def cpu(self) -> Tensor:
        """Give the tensor itself: its data is in the computer's memory."""
        return self.to("cpu")

    def to(self, *what: Any, dtype: Any = None, device: str | None = None) -> Tensor:
        """Convert to a dtype, given first or by name, or to a tensor's; 'cpu' is the device."""
        me = _tensor(self)
        for value in what:
            if names_device(value):
                device = value
            else:
                dtype = value if isinstance(value, type) else getattr(value, "dtype", value)
        if device is not None and device != me.device:
            raise NotImplementedError(
                f"to: expected device {me.device!r}, where this tensor is; got {device!r}"
            )
        return me if dtype is None else cast("Tensor", FUNCTIONS["cast"](me, dtype))

    def type_as(self, other: Tensor) -> Tensor:
        """Convert to the dtype of `other`."""
        return self.to(other.dtype)

    def float(self) -> Tensor:
        """Convert to float32."""
        return self.to(np.float32)

    def double(self) -> Tensor:
        """Convert to float64."""
        return self.to(np.float64)

    def long(self) -> Tensor:
        """Convert to int64."""
        return self.to(np.int64)

    def int(self) -> Tensor:
        """Convert to int32."""
        return self.to(np.int32)

    def bool(self) -> Tensor:
        """Convert to bool: true where not 0."""
        return self.to(np.bool_)

    def view(self, *shape: Any) -> Tensor:
        """Reshape; unlike PyTorch's, it copies where strides allow no view."""
        return cast("Tensor", self.reshape(*shape))

    def where(self, condition: Any, other: Any) -> Tensor:
        """Take this tensor where `condition` is true, else `other`."""
        return cast("Tensor", FUNCTIONS["where"](condition, self, other))

    def masked_fill(self, mask: Any, value: Any) -> Tensor:
        """Put `value` where `mask` is true, in a new tensor."""
        return cast("Tensor", FUNCTIONS["masked_fill"](self, mask, value))

    # Python's protocols

    def __len__(self) -> Int:
        me = _tensor(self)
        if me.ndim == 0:
            raise failure("len", "a tensor of at least one axis", error=KindError, tensor=me)
        return me.shape[0]

    def __iter__(self) -> Iterator[Tensor]:
        return iter(FUNCTIONS["unbind"](self) if len(self) else ())

    def __contains__(self, value: Any) -> Bool:
        return Bool(_tensor(self == value).array.any())

    def __bool__(self) -> Bool:
        return Bool(self._one("bool"))

    def __float__(self) -> Float:
        return Float(self._one("float"))

    def __int__(self) -> Int:
        return Int(self._one("int"))

    def __index__(self) -> Int:
        me = _tensor(self)
        if me.dtype.kind not in "iub":
            raise failure("index", "an integer tensor", error=KindError, tensor=me)
        return Int(self._one("index"))

    def _one(self, how: str) -> Any:
        me = _tensor(self)
        me._need_data(f"{how}()")
        if me.array.size != 1:
            raise failure(how, "a tensor of one element", hint="use .any() or .all()", tensor=me)
        tracer = state.TRACER.get()
        if tracer is not None:
            tracer.leak(me, f"{how}()")
        return me.array.reshape(())[()]

    def __format__(self, spec: str) -> str:
        me = _tensor(self)
        return format(me.item(), spec) if spec and me.array.size == 1 else repr(me)

    # Writing in place

    def __setitem__(self, key: Any, value: Any) -> None:
        array = self._writable("assignment", value)
        try:
            if _is_plain(key):
                array[_raw(key)] = _raw(value)
            else:  # shapes of mixed indices are getitem's, which NumPy's are not
                places = np.arange(array.size).reshape(array.shape)
                chosen = FUNCTIONS["getitem"](_tensor(self)._like(places), key).array
                array[np.unravel_index(chosen, array.shape)] = _raw(value)
        except IndexError as error:
            if isinstance(error, ChainruleError):
                raise
            raise failure(
                "assignment", f"an index that fits ({error})", error=LabelError, tensor=self
            ) from error
        except (ValueError, TypeError, OverflowError) as error:
            raise _misfit("assignment", error, self) from error
        mark(array)

    def __iadd__(self, other: Any) -> Tensor:
        return self._update(np.add, "add", other)

    def __isub__(self, other: Any) -> Tensor:
        return self._update(np.subtract, "sub", other)

    def __imul__(self, other: Any) -> Tensor:
        return self._update(np.multiply, "mul", other)

    def __itruediv__(self, other: Any) -> Tensor:
        return self._update(np.true_divide, "div", other)

    def __ipow__(self, other: Any) -> Tensor:
        return self._update(np.power, "pow", other)

    def zero_(self) -> Tensor:
        """Set every element to 0 in place."""
        return self.fill_(0)

    def fill_(self, value: Any) -> Tensor:
        """Set every element to a number in place."""
        if self._takes_part(value):
            return adopted(_tensor(self), FUNCTIONS["masked_fill"](self, _everywhere(), value))
        return self._filled("fill_", value)

    def copy_(self, source: Any) -> Tensor:
        """Copy the values of `source`, broadcast, in place."""
        if self._takes_part(source):
            return adopted(_tensor(self), FUNCTIONS["where"](_everywhere(), source, self))
        return self._filled("copy_", source)

    def add_(self, other: Any, *, alpha: Any = 1) -> Tensor:
        """Add alpha * other in place."""
        return self._kept(self._update(np.add, "add", other if alpha == 1 else other * alpha))

    def sub_(self, other: Any, *, alpha: Any = 1) -> Tensor:
        """Subtract alpha * other in place."""
        return self._kept(self._update(np.subtract, "sub", other if alpha == 1 else other * alpha))

    def mul_(self, other: Any) -> Tensor:
        """Multiply in place."""
        return self._kept(self._update(np.multiply, "mul", other))

    def div_(self, other: Any, *, rounding_mode: str | None = None) -> Tensor:
        """Divide in place."""
        if rounding_mode is not None:
            return rewritten(_tensor(self), "div", (other,), {"rounding_mode": rounding_mode})
        return self._kept(self._update(np.true_divide, "div", other))

    def _kept(self, y: Tensor) -> Tensor:
        """Let this tensor be a new value, unless a graph that is captured follows it."""
        return y if y is self or state.TRACER.get() is not None else adopted(_tensor(self), y)

    def _recorded(self, value: Any) -> Bool:
        """Whether writing `value` here would have to enter the graph."""
        wants = _tensor(self)._requires_grad or getattr(value, "_requires_grad", False)
        return state.GRAD.get() and Bool(wants)

    def _takes_part(self, value: Any) -> Bool:
        """Whether this tensor can become a recorded result: it is not itself a leaf to learn."""
        leaf = _tensor(self)._node is None and _tensor(self)._requires_grad
        return state.TRACER.get() is None and self._recorded(value) and not leaf

    def _filled(self, what: str, value: Any) -> Tensor:
        array = self._writable(what, value)
        try:
            array[...] = _raw(value)
        except (ValueError, TypeError, OverflowError) as error:
            raise _misfit(what, error, self) from error
        mark(array)
        return _tensor(self)

    def _writable(self, what: str, value: Any) -> Array:
        """Give the array to write to, or refuse: a write is not differentiated."""
        me = _tensor(self)
        me._need_data(what)
        tracer = state.TRACER.get()
        if tracer is not None and tracer.follows(me):
            raise GraphError(
                f"{what}: a value that capture() follows is not written in place, since the graph "
                "would not know; build the new value with cr.where or cr.cat"
            )
        if tracer is not None:
            tracer.leak(value, what)
        if self._recorded(value):
            raise GraphError(
                f"{what}: a tensor that requires grad is not written in place while gradients "
                "are recorded; write inside no_grad(), or build the new value with cr.where"
            )
        return me.array

    def _update(self, ufunc: Any, name: str, other: Any) -> Tensor:
        """Do x op= other: in place outside the graph, else a new value for the same name."""
        me = _tensor(self)
        tracer = state.TRACER.get()
        if tracer is not None and (tracer.follows(me) or tracer.follows(other)):
            return cast("Tensor", FUNCTIONS[name](me, other))
        if self._recorded(other):
            if me._node is None and me._requires_grad:
                self._writable(f"in-place {name}", other)
            return cast("Tensor", FUNCTIONS[name](me, other))
        me._need_data(name)
        try:
            ufunc(me.array, _raw(other), out=me.array, casting="same_kind")
        except (TypeError, ValueError, OverflowError) as error:
            raise _misfit(f"in-place {name}", error, me, other=other) from error
        mark(me.array)
        return me


def _tensor(value: Any) -> Tensor:
    return cast("Tensor", value)


def _everywhere() -> Array:
    return np.array(True)


def _misfit(what: str, error: Exception, tensor: Any, **facts: Any) -> Exception:
    """Explain why NumPy refused a write; give our own errors as they are."""
    if isinstance(error, ChainruleError):
        return error
    if not tensor.array.flags.writeable:
        hint = "it is expanded, or wraps an array that is read-only: write to a clone()"
        return failure(what, "a tensor that can be written", hint=hint, tensor=tensor)
    options: dict[str, Any] = {} if isinstance(error, ValueError) else {"error": KindError}
    return failure(what, f"a value that fits ({error})", tensor=tensor, **facts, **options)


def _is_plain(key: Any) -> bool:
    """Whether NumPy and getitem agree on the key: no index array, or one alone."""
    keys = key if isinstance(key, tuple) else (key,)
    basic = [k is None or k is ... or isinstance(k, int | slice) for k in keys]
    return all(basic) or (len(keys) == 1 and isinstance(keys[0], Methods | np.ndarray))


def _raw(value: Any) -> Any:
    """Give the array of a tensor; look inside index tuples."""
    if isinstance(value, tuple):
        return tuple(_raw(v) for v in value)
    return _tensor(value).array if isinstance(value, Methods) else value
