"""Weight and spectral norm as PyTorch had them first: computed anew before each forward.

State dicts have `weight_g` and `weight_v`, or `weight_orig`, `weight_u` and `weight_v`; between
calls `module.weight` is what the last one computed.  `parametrizations` is the newer form.
"""

from __future__ import annotations

from typing import Any, TypeVar

from chainrule.engine.state import no_grad
from chainrule.engine.tensor import Tensor
from chainrule.errors import GraphError, failure
from chainrule.nn.module import Module
from chainrule.nn.parameter import Parameter, UninitializedParameter
from chainrule.nn.utils.parametrizations import (
    as_matrix,
    check_iterations,
    lengths,
    of_lengths,
    outputs_axis,
    over_largest,
    unit,
)
from chainrule.ops.normalize import normalize

M = TypeVar("M", bound=Module)


class _Recomputing:
    """A hook before forward that computes one weight from others."""

    what = ""

    def __init__(self, name: str) -> None:
        self.name = name

    def compute(self, module: Module) -> Tensor:
        raise NotImplementedError

    def parts(self) -> tuple[str, ...]:
        raise NotImplementedError

    def __call__(self, module: Module, inputs: Any) -> None:
        module.__dict__[self.name] = self.compute(module)

    def added(self, module: M, **parts: Tensor) -> M:
        """Put the parts in the weight's place, and compute it before each forward."""
        del module._parameters[self.name]
        for name, value in parts.items():
            if isinstance(value, Parameter):
                module.register_parameter(self.name + name, value)
            else:
                module.register_buffer(self.name + name, value)
        with no_grad():
            module.__dict__[self.name] = self.compute(module)
        module.register_forward_pre_hook(self)
        return module


class _WeightNormHook(_Recomputing):
    what = "weight_norm"

    def __init__(self, name: str, dim: int | None) -> None:
        super().__init__(name)
        self.dim = -1 if dim is None else dim

    def parts(self) -> tuple[str, ...]:
        return "_g", "_v"

    def compute(self, module: Module) -> Tensor:
        g, v = (getattr(module, self.name + part) for part in self.parts())
        return of_lengths(g, v, self.dim)


class _SpectralNormHook(_Recomputing):
    what = "spectral_norm"

    def __init__(self, name: str, iterations: int, dim: int, eps: float) -> None:
        super().__init__(name)
        self.iterations, self.dim, self.eps = iterations, dim, eps

    def parts(self) -> tuple[str, ...]:
        return "_orig", "_u", "_v"

    def compute(self, module: Module) -> Tensor:
        weight, u, v = (getattr(module, self.name + part) for part in self.parts())
        return over_largest(weight, as_matrix(weight, self.dim), u, v)

    def __call__(self, module: Module, inputs: Any) -> None:
        if module.training:
            with no_grad():
                matrix = as_matrix(getattr(module, f"{self.name}_orig").detach(), self.dim)
                u = getattr(module, f"{self.name}_u")
                for _ in range(self.iterations):
                    v = normalize(matrix.T @ u, dim=0, eps=self.eps)
                    u = normalize(matrix @ v, dim=0, eps=self.eps)
                module._buffers[f"{self.name}_u"] = u
                module._buffers[f"{self.name}_v"] = v
        super().__call__(module, inputs)


def _find(module: Module, kind: type[_Recomputing], name: str) -> int | None:
    for key, hook in module._forward_pre_hooks.items():
        if isinstance(hook, kind) and hook.name == name:
            return int(key)
    return None


def _weight(module: Module, kind: type[_Recomputing], name: str) -> Parameter:
    """Give the parameter that is to be computed from now on."""
    if _find(module, kind, name) is not None:
        raise GraphError(f"{kind.what}: {name!r} of this {type(module).__name__} has it already")
    weight: Parameter | None = module._parameters.get(name)
    if weight is None or isinstance(weight, UninitializedParameter):
        rule = f"a parameter {name!r} that has its shape"
        raise failure(kind.what, rule, module=type(module).__name__)
    return weight


def _remove(module: M, kind: type[_Recomputing], name: str) -> M:
    key = _find(module, kind, name)
    if key is None:
        raise failure(f"remove_{kind.what}", f"a {kind.what} of {name!r}", module=repr(module))
    hook: Any = module._forward_pre_hooks.pop(key)
    with no_grad():
        value = hook.compute(module)
    for part in hook.parts():
        delattr(module, name + part)
    delattr(module, name)
    module.register_parameter(name, Parameter(value.array))
    return module


def weight_norm(module: M, name: str = "weight", dim: int | None = 0) -> M:
    """Learn a weight's length and direction apart; see `parametrizations.weight_norm`, the newer.

    The state has `weight_g` and `weight_v`.  Raises RuntimeError where the weight has it already.

    >>> import chainrule as cr
    >>> list(cr.nn.utils.weight_norm(cr.nn.Linear(3, 2)).state_dict())
    ['bias', 'weight_g', 'weight_v']
    """
    weight = _weight(module, _WeightNormHook, name)
    with no_grad():
        g = Parameter(lengths(weight, -1 if dim is None else dim).array)
    return _WeightNormHook(name, dim).added(module, _g=g, _v=Parameter(weight.array))


def remove_weight_norm(module: M, name: str = "weight") -> M:
    """Make the weight a parameter again; ValueError if it has no weight norm.

    >>> import chainrule as cr
    >>> linear = cr.nn.utils.weight_norm(cr.nn.Linear(3, 2))
    >>> list(cr.nn.utils.remove_weight_norm(linear).state_dict())
    ['bias', 'weight']
    """
    return _remove(module, _WeightNormHook, name)


def spectral_norm(
    module: M,
    name: str = "weight",
    n_power_iterations: int = 1,
    eps: float = 1e-12,
    dim: int | None = None,
) -> M:
    """Divide a weight by its largest singular value; see `parametrizations.spectral_norm`.

    The state has `weight_orig`, `weight_u` and `weight_v`, which the power method improves at each
    forward while training.  Raises RuntimeError where the weight has it already, and what the newer
    form raises.

    >>> import chainrule as cr
    >>> list(cr.nn.utils.spectral_norm(cr.nn.Linear(3, 2)).state_dict())
    ['bias', 'weight_orig', 'weight_u', 'weight_v']
    """
    check_iterations(n_power_iterations)
    weight = _weight(module, _SpectralNormHook, name)
    axis = outputs_axis(module, weight, dim)
    rows, columns = as_matrix(weight.detach(), axis).shape
    u, v = unit(weight, rows, eps), unit(weight, columns, eps)
    hook = _SpectralNormHook(name, n_power_iterations, axis, eps)
    return hook.added(module, _orig=weight, _u=u, _v=v)


def remove_spectral_norm(module: M, name: str = "weight") -> M:
    """Make the weight a parameter again; ValueError if it has no spectral norm.

    >>> import chainrule as cr
    >>> linear = cr.nn.utils.spectral_norm(cr.nn.Linear(3, 2))
    >>> list(cr.nn.utils.remove_spectral_norm(linear).state_dict())
    ['bias', 'weight']
    """
    return _remove(module, _SpectralNormHook, name)
