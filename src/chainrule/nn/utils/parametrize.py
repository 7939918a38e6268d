"""Tensors of a module that are computed from others each time they are read.

Where a module has no parameter of a name, it reads `parametrizations.<name>`, a
ParametrizationList: `module.weight` calls it, `module.weight = value` its `right_inverse`.
The module's class stays what it was, so that modules are copied and pickled as ever.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from chainrule.engine.state import no_grad
from chainrule.engine.tensor import Tensor, mark_written
from chainrule.errors import ShapeError, failure
from chainrule.nn.container import ModuleDict, ModuleList
from chainrule.nn.module import Module
from chainrule.nn.parameter import Parameter, UninitializedParameter

_CACHE: ContextVar[dict[int, Tensor] | None] = ContextVar("parametrizations", default=None)


@contextmanager
def cached() -> Iterator[None]:
    """Compute each parametrized tensor once while this is open, however often it is read.

    >>> import chainrule as cr
    >>> from chainrule.nn.utils import parametrizations, parametrize
    >>> linear = parametrizations.weight_norm(cr.nn.Linear(2, 2))
    >>> with parametrize.cached():
    ...     linear.weight is linear.weight
    True
    """
    token = _CACHE.set({} if _CACHE.get() is None else _CACHE.get())
    try:
        yield
    finally:
        _CACHE.reset(token)


def _inverse(module: Any, value: Any, missing: str) -> Any:
    """Undo one parametrization; where it has no `right_inverse`, `missing` tells what to do."""
    if not hasattr(module, "right_inverse"):
        if missing == "keep":
            return value
        rule = f"a right_inverse of {type(module).__name__}, to assign a value"
        raise NotImplementedError(f"parametrization: expected {rule}")
    try:
        return module.right_inverse(value)
    except NotImplementedError:
        if missing == "keep":
            return value
        raise


class ParametrizationList(ModuleList):
    """What computes one tensor: its originals, and the modules they go through in turn.

    `original` is the tensor it came from, or there are `original0`, `original1`, ... where the
    first module's `right_inverse` gives several.  Made by `register_parametrization`.
    """

    def __init__(self, modules: Sequence[Module], original: Tensor, unsafe: bool = False) -> None:
        super().__init__(modules)
        self.unsafe = bool(unsafe)
        shape, dtype = original.shape, original.dtype
        with no_grad():
            new: Any = original
            for module in reversed(list(modules)):
                new = _inverse(module, new, "keep")
        self.is_tensor = isinstance(new, Tensor)
        if not self.is_tensor and not (
            isinstance(new, Sequence) and all(isinstance(part, Tensor) for part in new)
        ):
            rule = "a right_inverse that gives a tensor or a sequence of tensors"
            raise failure("register_parametrization", rule, given=type(new))
        if self.is_tensor:
            _same_dtype(original, new)
            _replace(original, new)
            _put(self, "original", original)
        self.ntensors = 1 if self.is_tensor else len(new)
        for i, part in enumerate(() if self.is_tensor else new):
            wanted = original.requires_grad
            own = isinstance(original, Parameter)
            _put(self, f"original{i}", (Parameter if own else Tensor)(part.array, wanted))
        if not self.unsafe:
            with no_grad():
                _check(self.compute(), shape, dtype)

    def originals(self) -> list[Tensor]:
        """Give the tensors from which it is computed."""
        names = ["original"] if self.is_tensor else [f"original{i}" for i in range(self.ntensors)]
        return [getattr(self, name) for name in names]

    def compute(self) -> Any:
        """Compute the tensor."""
        first, *rest = self
        value = first(*self.originals())
        for module in rest:
            value = module(value)
        return value

    def forward(self) -> Tensor:
        """Compute the tensor, or give what `cached` holds."""
        cache = _CACHE.get()
        if cache is None:
            value: Tensor = self.compute()
            return value
        if id(self) not in cache:
            cache[id(self)] = self.compute()
        return cache[id(self)]

    def right_inverse(self, value: Tensor) -> None:
        """Set the originals so that the tensor becomes `value`, as far as the modules can."""
        with no_grad():
            new: Any = value
            for module in reversed(list(self)):
                new = _inverse(module, new, "raise")
        parts = [new] if self.is_tensor else list(new)
        originals = self.originals()
        if len(parts) != len(originals):
            rule = f"a right_inverse that gives {len(originals)} tensors"
            raise failure("parametrization", rule, given=len(parts))
        for original, part in zip(originals, parts, strict=True):
            _same_dtype(original, part)
            _replace(original, part)


def _put(module: Module, name: str, value: Tensor) -> None:
    """Register a parameter, or what is none as a buffer."""
    if isinstance(value, Parameter):
        module.register_parameter(name, value)
    else:
        module.register_buffer(name, value)


def _replace(target: Tensor, value: Tensor) -> None:
    """Give a tensor other values, of another shape if need be; it stays the same object."""
    if target.array is not value.array:
        target.array = value.array.copy()
        mark_written(target)


def _same_dtype(original: Tensor, new: Any) -> None:
    if not isinstance(new, Tensor) or new.dtype != original.dtype:
        rule = f"a right_inverse that keeps the dtype {original.dtype}"
        raise failure("parametrization", rule, given=new)


def _check(value: Any, shape: tuple[int, ...], dtype: Any) -> None:
    """Want a parametrization that keeps shape and dtype."""
    if not isinstance(value, Tensor) or value.dtype != dtype or value.shape != shape:
        rule = f"a parametrization that gives {dtype}{shape} again, unless unsafe=True"
        raise failure("register_parametrization", rule, error=ShapeError, given=value)


def register_parametrization(
    module: Module, tensor_name: str, parametrization: Module, *, unsafe: bool = False
) -> Module:
    """Compute a parameter or buffer by a module from now on, from an original that takes its place.

    `module.parametrizations.<name>` holds the original (in a state dict
    "parametrizations.weight.original") and the parametrizations; a further one works on what the
    ones before give.  Where `parametrization` has a method `right_inverse`, the original is what
    it gives for the tensor, and `module.<name> = value` works.  Unless `unsafe`, shape and dtype
    must stay.  Gives the module.  Raises ValueError for what does not fit.

    >>> import chainrule as cr
    >>> class Symmetric(cr.nn.Module):
    ...     def forward(self, x):
    ...         return (x + x.T) / 2
    >>> linear = cr.nn.Linear(2, 2, bias=False)
    >>> linear.weight = cr.nn.Parameter(cr.tensor([[1.0, 2.0], [4.0, 3.0]]))
    >>> _ = cr.nn.utils.parametrize.register_parametrization(linear, "weight", Symmetric())
    >>> linear.weight.tolist(), list(linear.state_dict())
    ([[1.0, 3.0], [3.0, 3.0]], ['parametrizations.weight.original'])
    """
    parametrization.train(module.training)
    if is_parametrized(module, tensor_name):
        found = module.parametrizations[tensor_name]
        if not unsafe:
            with no_grad():
                before = found()
                value = parametrization(before)
                _check(value, before.shape, before.dtype)
                _check(_inverse(parametrization, value, "keep"), before.shape, before.dtype)
        found.append(parametrization)
        found.unsafe |= bool(unsafe)
        return module
    original = module._parameters.get(tensor_name, module._buffers.get(tensor_name))
    if not isinstance(original, Tensor) or isinstance(original, UninitializedParameter):
        rule = f"a parameter or buffer {tensor_name!r} that has its shape"
        raise failure("register_parametrization", rule, module=type(module).__name__)
    made = ParametrizationList([parametrization], original, unsafe)
    delattr(module, tensor_name)
    if not is_parametrized(module):
        module.add_module("parametrizations", ModuleDict())
    module.parametrizations[tensor_name] = made
    return module


def is_parametrized(module: Module, tensor_name: str | None = None) -> bool:
    """Tell whether a module has parametrized tensors, or this one.

    >>> import chainrule as cr
    >>> cr.nn.utils.parametrize.is_parametrized(cr.nn.Linear(2, 2))
    False
    """
    found = module._modules.get("parametrizations")
    if not isinstance(found, ModuleDict):
        return False
    return len(found) > 0 if tensor_name is None else tensor_name in found


def remove_parametrizations(
    module: Module, tensor_name: str, leave_parametrized: bool = True
) -> Module:
    """Make a parametrized tensor a plain one again, of its computed values or the original's.

    A single original stays the same object, so that optimisers keep it; several become one new
    parameter, and cannot be left.  Raises ValueError if the tensor is not parametrized.

    >>> import chainrule as cr
    >>> from chainrule.nn.utils import parametrizations, parametrize
    >>> linear = parametrizations.spectral_norm(cr.nn.Linear(2, 2))
    >>> parametrize.remove_parametrizations(linear, "weight")
    Linear(in_features=2, out_features=2, bias=True)
    """
    if not is_parametrized(module, tensor_name):
        rule = f"a parametrized {tensor_name!r}"
        raise failure("remove_parametrizations", rule, module=type(module).__name__)
    found = module.parametrizations[tensor_name]
    if not found.is_tensor and not leave_parametrized:
        rule = "leave_parametrized for a tensor of several originals"
        raise failure("remove_parametrizations", rule, originals=found.ntensors)
    if found.is_tensor:
        plain = found.original
        if leave_parametrized:
            with no_grad():
                _replace(plain, found())
    else:
        value = found()
        plain = Parameter(value.array) if value.requires_grad else value
    del module.parametrizations[tensor_name]
    if not len(module.parametrizations):
        del module.parametrizations
    _put(module, tensor_name, plain)
    return module


def type_before_parametrizations(module: Module) -> type[Module]:
    """Give the module's class, which parametrizing does not change here.

    >>> import chainrule as cr
    >>> cr.nn.utils.parametrize.type_before_parametrizations(cr.nn.Linear(2, 2)).__name__
    'Linear'
    """
    return type(module)
