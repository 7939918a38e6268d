"""Tensors, and `apply`, the one door through which operations run."""

from __future__ import annotations

import itertools
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np

from chainrule.engine import anomaly, state
from chainrule.engine.dispatch import Kernel, current_backend
from chainrule.engine.display import tensor_repr
from chainrule.engine.methods import Methods
from chainrule.engine.node import Node
from chainrule.engine.op import Array, DType, Op, Spec
from chainrule.engine.promotion import is_scalar, scalar_dtype
from chainrule.engine.written import CLOCK, mark
from chainrule.errors import BackendError, GraphError, KindError, failure, of_operation


class Tensor(Methods):
    """An array that remembers how it was made.

    `array` is the ordinary NumPy array inside; whoever writes to it tells `mark_written`.
    Tensors are made by `cr.tensor`, `cr.zeros` and their kin, and by operations.
    """

    __slots__ = (
        "__weakref__",
        "_grad",
        "_hooks",
        "_index",
        "_node",
        "_requires_grad",
        "_retains",
        "array",
        "is_meta",
    )
    __array_ufunc__ = None  # so that array * tensor asks the tensor
    __hash__ = object.__hash__

    def __init__(self, array: Array, requires_grad: bool = False, *, is_meta: bool = False) -> None:
        if type(array) is not np.ndarray:
            _refuse_data(array)
        self.array = array
        self._grad: Tensor | None = None
        self.is_meta = is_meta
        self._node: Node | None = None
        self._index = 0
        self._hooks: dict[int, Callable[[Tensor], Tensor | None]] | None = None
        self._retains = False
        self._requires_grad = False
        if requires_grad:
            self.requires_grad = True

    # What it is

    @property
    def shape(self) -> tuple[int, ...]:
        """Sizes of the axes."""
        return self.array.shape

    @property
    def dtype(self) -> DType:
        """The NumPy dtype."""
        return self.array.dtype

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return self.array.ndim

    @property
    def device(self) -> str:
        """'cpu', or 'meta' for a tensor without data."""
        return "meta" if self.is_meta else "cpu"

    @property
    def is_leaf(self) -> bool:
        """Whether no recorded operation made it."""
        return self._node is None

    @property
    def grad_fn(self) -> Node | None:
        """The node of the operation that made it, None for leaves."""
        return self._node

    @property
    def data(self) -> Tensor:
        """The same values without the graph; assigning replaces the array."""
        return self.detach()

    @data.setter
    def data(self, value: Any) -> None:
        new = value.array if isinstance(value, Tensor) else np.asarray(value)
        if new.dtype != self.dtype and self._requires_grad and new.dtype.kind != "f":
            raise failure("data", "floating-point values", error=KindError, value=new)
        self.array = new

    @property
    def grad(self) -> Tensor | None:
        """The gradient that backward has gathered, None before; of this tensor's shape."""
        return self._grad

    @grad.setter
    def grad(self, value: Tensor | None) -> None:
        if value is not None:
            if not isinstance(value, Tensor):
                raise failure("grad", "a tensor or None", error=KindError, value=type(value))
            if value.array.shape != self.array.shape:
                raise failure("grad", f"a gradient of the shape {self.shape}", value=value)
        self._grad = value

    @property
    def requires_grad(self) -> bool:
        """Whether gradients flow to this tensor; can be set on leaves."""
        return self._requires_grad

    @requires_grad.setter
    def requires_grad(self, value: bool) -> None:
        if value and self.array.dtype.kind != "f":
            raise failure(
                "requires_grad",
                "a floating-point tensor, since only these have gradients",
                error=KindError,
                hint="convert it first: x.float()",
                tensor=self,
            )
        if not value and self._node is not None:
            raise GraphError(
                "requires_grad: expected a leaf; this tensor was made by "
                f"{self._node.op!r}: use x.detach() for its values without the graph"
            )
        self._requires_grad = bool(value)

    # Values out

    def numpy(self) -> Array:
        """Give the array itself, sharing memory; refuses where a gradient would be lost."""
        self._refuse_leak("numpy()")
        return self.array

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        self._refuse_leak("np.asarray()")
        return np.array(self.array, dtype=dtype, copy=copy)

    def item(self) -> Any:
        """Give the value of a one-element tensor as a Python number."""
        self._need_data("item()")
        if self.array.size != 1:
            raise failure("item", "a tensor of one element", tensor=self)
        tracer = state.TRACER.get()
        if tracer is not None:
            tracer.leak(self, "item()")
        return self.array.item()

    def tolist(self) -> Any:
        """Give the values as nested Python lists."""
        self._need_data("tolist()")
        tracer = state.TRACER.get()
        if tracer is not None:
            tracer.leak(self, "tolist()")
        return self.array.tolist()

    def __dlpack__(self, **options: Any) -> Any:
        self._refuse_leak("DLPack")
        return self.array.__dlpack__(**options)

    def __dlpack_device__(self) -> Any:
        return self.array.__dlpack_device__()

    def _like(self, array: Array) -> Tensor:
        """Make a plain tensor of another array."""
        return Tensor(array)

    def _need_data(self, how: str) -> None:
        if self.is_meta:
            raise GraphError(f"{how}: a tensor on device 'meta' has a shape but no values")

    def _refuse_leak(self, how: str) -> None:
        self._need_data(how)
        if self._requires_grad:
            raise GraphError(
                f"{how}: this tensor requires grad, and its gradient would be lost; "
                "write x.detach().numpy()"
            )
        tracer = state.TRACER.get()
        if tracer is not None:
            tracer.leak(self, how)

    # The graph

    def detach(self) -> Tensor:
        """Give a tensor of the same memory without the graph."""
        return Tensor(self.array, is_meta=self.is_meta)

    def requires_grad_(self, requires_grad: bool = True) -> Tensor:
        """Set `requires_grad` and return the tensor."""
        self.requires_grad = requires_grad
        return self

    def retain_grad(self) -> None:
        """Keep the gradient of this inner value in `.grad` at the next backward."""
        if not self._requires_grad:
            raise GraphError("retain_grad: this tensor does not require grad")
        self._retains = True
        if self._node is not None:
            self._node.retained = self._node.retained or {}
            self._node.retained[self._index] = weakref.ref(self)

    def register_hook(self, hook: Callable[[Tensor], Tensor | None]) -> Handle:
        """Call `hook(gradient)` when this tensor's gradient is known; it may return another.

        Returns a handle whose `remove()` ends it.
        """
        if not self._requires_grad:
            raise GraphError("register_hook: this tensor does not require grad")
        if self._node is None:
            self._hooks = self._hooks if self._hooks is not None else {}
            return Handle(self._hooks, hook)
        self._node.hooks = self._node.hooks or {}
        return Handle(self._node.hooks.setdefault(self._index, {}), hook)

    def __repr__(self) -> str:
        return tensor_repr(self)

    def __deepcopy__(self, memo: dict[int, Any]) -> Tensor:
        self._refuse_history("deepcopy")
        copy = type(self).__new__(type(self))
        memo[id(self)] = copy
        Tensor.__init__(copy, self.array if self.is_meta else self.array.copy(order="K"))
        copy.is_meta = self.is_meta
        copy._requires_grad = self._requires_grad
        if self.grad is not None:
            copy.grad = Tensor(self.grad.array.copy(order="K"))
        return copy

    def __reduce_ex__(self, protocol: Any) -> Any:
        self._refuse_history("pickle")
        self._need_data("pickle")
        return _unpickle, (type(self), self.array, self._requires_grad)

    def _refuse_history(self, what: str) -> None:
        if self._node is not None:
            raise GraphError(
                f"{what}: this tensor has a history ({self._node.op!r}), which cannot be copied; "
                "copy x.detach() instead"
            )


def _refuse_data(value: Any) -> None:
    """Say that the class is not what makes tensors of numbers."""
    if isinstance(value, Tensor | list | tuple) or is_scalar(value):
        raise failure(
            "Tensor", "an array", error=KindError, hint="use cr.tensor(...)", value=type(value)
        )


def _unpickle(cls: type[Tensor], array: Array, requires_grad: bool) -> Tensor:
    tensor = cls.__new__(cls)
    Tensor.__init__(tensor, array, requires_grad)
    return tensor


class Handle:
    """A registered hook; `remove()` ends it, also at the end of a `with` block."""

    _ids = itertools.count()

    def __init__(self, table: dict[int, Any], hook: Any) -> None:
        self._table, self._id = table, next(self._ids)
        table[self._id] = hook

    def remove(self) -> None:
        """Remove the hook; a second call does nothing."""
        self._table.pop(self._id, None)

    def __enter__(self) -> Handle:
        return self

    def __exit__(self, *exc: object) -> None:
        self.remove()


def mark_written(tensor: Tensor) -> None:
    """Say that the tensor's array was just written in place, so that stale graphs are caught."""
    mark(tensor.array)


def as_tensor(value: Any, name: str = "operand") -> Tensor:
    """Wrap an operand: tensors as they are, arrays without a copy, numbers as 0-d tensors.

    Raises TypeError for anything else; lists go through `cr.tensor`.
    """
    if isinstance(value, Tensor):
        return value
    if isinstance(value, np.ndarray):
        if value.dtype.kind not in "fiub" or value.dtype.itemsize > 8:
            rule = "a bool, integer or float array of at most 64 bits"
            raise failure(name, rule, error=KindError, array=value)
        if type(value) is not np.ndarray:  # np.matrix multiplies in a way of its own
            value = np.asarray(value)
        return Tensor(value if value.dtype.isnative else value.astype(value.dtype.newbyteorder()))
    if is_scalar(value):
        return Tensor(np.array(value, dtype=scalar_dtype(value)))
    raise failure(
        name,
        "a tensor, an array or a number",
        error=KindError,
        hint="wrap lists with cr.tensor(...)",
        value=value,
    )


def apply(op: Op, *inputs: Any) -> Tensor:
    """Run an operation that has one output: validate, compute, remember.

    Inputs are tensors, arrays or numbers.  Raises what the operation's `infer` raises.
    """
    return apply_all(op, *inputs)[0]


def apply_all(op: Op, *inputs: Any) -> tuple[Tensor, ...]:
    """Run an operation and give all its outputs; every operation comes through here."""
    tensors = tuple([x if isinstance(x, Tensor) else as_tensor(x) for x in inputs])
    arrays = [t.array for t in tensors]
    specs = op.infer(*[Spec(a.shape, a.dtype) for a in arrays]) if op.infers else ()
    for t in tensors:
        if t.is_meta:
            return _apply_meta(op, tensors, specs)
    stamp = CLOCK.now
    try:
        kernel = current_backend().select(op, arrays)
        outputs, saved = kernel.forward(op, arrays)
    except BackendError as error:
        raise of_operation(error, repr(op), [a.shape for a in arrays]) from error
    if not op.infers:
        specs = op.describe(outputs, saved)
    results = tuple([Tensor(y if type(y) is np.ndarray else np.asarray(y)) for y in outputs])
    if state.GRAD.get():
        for t in tensors:
            if t._requires_grad:
                _remember(op, kernel, saved, tensors, specs, stamp, results)
                break
    if state.ANOMALY.get():
        anomaly.check_forward(op, arrays, [r.array for r in results], results[0]._node)
    tracer = state.TRACER.get()
    if tracer is not None:
        tracer.record(op, (kernel, saved), tensors, results)
    watcher = state.WATCHER.get()
    if watcher is not None:
        watcher(op, tensors, results)
    return results


def _remember(
    op: Op,
    kernel: Kernel,
    saved: Any,
    tensors: tuple[Tensor, ...],
    specs: tuple[Spec, ...],
    stamp: int,
    results: tuple[Tensor, ...],
) -> None:
    node = None
    for index, (spec, result) in enumerate(zip(specs, results, strict=True)):
        if spec.differentiable and spec.dtype.kind == "f":
            node = node or Node(op, kernel, saved, tensors, specs, stamp, results)
            result._node, result._index, result._requires_grad = node, index, True


def _apply_meta(op: Op, tensors: tuple[Tensor, ...], specs: tuple[Spec, ...]) -> tuple[Tensor, ...]:
    if not op.infers:
        raise NotImplementedError(f"{op!r} needs values; device 'meta' has only shapes")
    for spec in specs:
        if None in spec.shape:
            raise failure(op, "values, since the output's size depends on them, not device 'meta'")
    results = tuple([meta_tensor(spec.shape, spec.dtype) for spec in specs])
    if state.GRAD.get() and any(t._requires_grad for t in tensors):
        for spec, result in zip(specs, results, strict=True):
            result._requires_grad = spec.differentiable and spec.dtype.kind == "f"
    tracer = state.TRACER.get()
    if tracer is not None:
        tracer.record(op, None, tensors, results)
    return results


def meta_tensor(shape: tuple[int, ...], dtype: DType) -> Tensor:
    """Make a tensor without data: one element seen through strides of 0."""
    return Tensor(np.broadcast_to(np.zeros((), dtype), shape), is_meta=True)
