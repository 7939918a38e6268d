"""Module: parameters, buffers and submodules by name, and a forward made of operations."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Self

import numpy as np

from chainrule.engine.device import names_device
from chainrule.engine.promotion import as_dtype
from chainrule.engine.tensor import Handle, Tensor
from chainrule.errors import ChainruleError, KindError, failure
from chainrule.nn.built import _Built
from chainrule.nn.byhand import drive_backward
from chainrule.nn.loading import Keys, load_state
from chainrule.nn.parameter import Parameter
from chainrule.nn.tracking import BackwardWatch, note_path


class Module(metaclass=_Built):
    """Base of all layers and networks.

    A subclass calls `super().__init__()`, assigns parameters, buffers and other modules to
    attributes, and defines `forward`.  Names and meaning are PyTorch's; `backward` is ours.

    >>> import chainrule as cr
    >>> class Scale(cr.nn.Module):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.weight = cr.nn.Parameter(cr.ones(1))
    ...     def forward(self, x):
    ...         return x * self.weight
    >>> [name for name, _ in Scale().named_parameters()]
    ['weight']
    """

    training: bool
    optional_state: tuple[str, ...] = ()  # buffers that a state dict may lack

    def __init__(self) -> None:
        values: dict[str, Any] = {
            "training": True,
            "_parameters": {},
            "_buffers": {},
            "_transient": set(),
            "_modules": {},
            "_forward_hooks": {},
            "_forward_pre_hooks": {},
            "_backward_hooks": {},
        }
        self.__dict__.update(values)

    def forward(self, *inputs: Any, **options: Any) -> Any:
        """Compute the output; every subclass defines it."""
        raise NotImplementedError(f"{type(self).__name__} does not define forward(...)")

    def __call__(self, *inputs: Any, **options: Any) -> Any:
        """Run forward with the hooks; an error that leaves it tells the layer's path."""
        try:
            if self._forward_pre_hooks or self._forward_hooks or self._backward_hooks:
                return self._call_hooked(inputs, options)
            return self.forward(*inputs, **options)
        except ChainruleError as error:
            note_path(error, self)
            raise

    def _call_hooked(self, inputs: tuple[Any, ...], options: dict[str, Any]) -> Any:
        for hook in list(self._forward_pre_hooks.values()):
            changed = hook(self, inputs)
            if changed is not None:
                inputs = changed if isinstance(changed, tuple) else (changed,)
        watch = BackwardWatch(self, self._backward_hooks) if self._backward_hooks else None
        output = self.forward(*(watch.enter(inputs) if watch else inputs), **options)
        for hook in list(self._forward_hooks.values()):
            changed = hook(self, inputs, output)
            output = output if changed is None else changed
        return watch.leave(output) if watch else output

    def __getstate__(self) -> dict[str, Any]:
        """Give what copies and pickles hold: all but hooks that are marked as not to be copied."""
        state = self.__dict__.copy()
        for table in {"_forward_hooks", "_forward_pre_hooks", "_backward_hooks"} & state.keys():
            hooks = state[table].items()
            state[table] = {k: hook for k, hook in hooks if getattr(hook, "copied", True)}
        return state

    # Attributes

    def __setattr__(self, name: str, value: Any) -> None:
        tables = self.__dict__
        if "_modules" not in tables:
            if isinstance(value, Parameter | Module):
                raise AttributeError(
                    f"{type(self).__name__}: call super().__init__() before assigning {name!r}"
                )
            object.__setattr__(self, name, value)
            return
        if isinstance(value, Parameter) and self._computed(name) is None:
            self._forget(name, "_parameters")
            tables["_parameters"][name] = value
        elif isinstance(value, Module):
            self._forget(name, "_modules")
            tables["_modules"][name] = value
        elif name in tables["_parameters"] and value is not None:
            raise failure(
                "assignment", f"a Parameter or None for {name!r}",
                error=KindError, hint="write under no_grad() with .copy_(...)", value=type(value),
            )  # fmt: skip
        elif name in tables["_modules"] and value is not None:
            raise failure(
                "assignment", f"a Module or None for {name!r}", error=KindError, value=type(value)
            )
        elif name in tables["_parameters"] or name in tables["_modules"]:
            table = "_parameters" if name in tables["_parameters"] else "_modules"
            tables[table][name] = None
        elif name in tables["_buffers"]:
            if value is not None and not isinstance(value, Tensor):
                raise failure(
                    "assignment", f"a tensor or None for the buffer {name!r}",
                    error=KindError, value=type(value),
                )  # fmt: skip
            tables["_buffers"][name] = value
        elif (computed := self._computed(name)) is not None:
            computed.right_inverse(value)
        else:
            object.__setattr__(self, name, value)

    def _forget(self, name: str, keep: str) -> None:
        """Take a name out of all tables but one, where it keeps its place in the order."""
        for table in ("_parameters", "_buffers", "_modules"):
            if table != keep:
                self.__dict__[table].pop(name, None)
        self.__dict__.pop(name, None)

    def __getattr__(self, name: str) -> Any:
        for table in ("_parameters", "_buffers", "_modules"):
            found = self.__dict__.get(table, {})
            if name in found:
                return found[name]
        computed = self._computed(name)
        if computed is not None:
            return computed()
        raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")

    def _computed(self, name: str) -> Any:
        """Find what computes a tensor each time it is read, or None; see nn.utils.parametrize."""
        lists = self.__dict__.get("_modules", {}).get("parametrizations")
        found = None if lists is None else lists._modules.get(name)
        return found if hasattr(type(found), "right_inverse") else None

    def __delattr__(self, name: str) -> None:
        for table in ("_parameters", "_buffers", "_modules"):
            if name in self.__dict__[table]:
                del self.__dict__[table][name]
                return
        object.__delattr__(self, name)

    def __dir__(self) -> list[str]:
        return sorted({*object.__dir__(self), *self._parameters, *self._buffers, *self._modules})

    def register_parameter(self, name: str, param: Parameter | None) -> None:
        """Add a parameter, or None for one that is switched off, under a name."""
        _check_name(self, name, "_parameters", param, Parameter)
        self._parameters[name] = param

    def register_buffer(self, name: str, tensor: Tensor | None, persistent: bool = True) -> None:
        """Add a tensor that is state but not learned; in `state_dict` if persistent."""
        _check_name(self, name, "_buffers", tensor, Tensor)
        self._buffers[name] = tensor
        (self._transient.discard if persistent else self._transient.add)(name)

    def add_module(self, name: str, module: Module | None) -> None:
        """Add a submodule under a name."""
        _check_name(self, name, "_modules", module, Module)
        self._modules[name] = module

    register_module = add_module

    # Walking

    def named_modules(
        self, memo: set[int] | None = None, prefix: str = "", remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Module]]:
        """Yield this module and all below with dotted names, each once if `remove_duplicate`."""
        memo = set() if memo is None else memo
        if id(self) in memo:
            return
        if remove_duplicate:
            memo.add(id(self))
        yield prefix, self
        for name, child in self._modules.items():
            if child is not None:
                path = f"{prefix}.{name}" if prefix else name
                yield from child.named_modules(memo, path, remove_duplicate)

    def modules(self) -> Iterator[Module]:
        """Yield this module and all below, each once."""
        return (module for _, module in self.named_modules())

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """Yield the direct submodules with their names, each once."""
        seen: set[int] = set()
        for name, child in self._modules.items():
            if child is not None and id(child) not in seen:
                seen.add(id(child))
                yield name, child

    def children(self) -> Iterator[Module]:
        """Yield the direct submodules, each once."""
        return (child for _, child in self.named_children())

    def _named(
        self, table: str, prefix: str, recurse: bool, once: bool
    ) -> Iterator[tuple[str, Any]]:
        seen: set[int] = set()
        owners = self.named_modules(None, prefix, once) if recurse else [(prefix, self)]
        for path, module in owners:
            for name, value in module.__dict__[table].items():
                if value is not None and not (once and id(value) in seen):
                    seen.add(id(value))
                    yield f"{path}.{name}" if path else name, value

    def named_parameters(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Parameter]]:
        """Yield all parameters with dotted names; a shared one once, under its first name."""
        return self._named("_parameters", prefix, recurse, remove_duplicate)

    def parameters(self, recurse: bool = True) -> Iterator[Parameter]:
        """Yield all parameters, each once."""
        return (p for _, p in self.named_parameters(recurse=recurse))

    def named_buffers(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Tensor]]:
        """Yield all buffers with dotted names."""
        return self._named("_buffers", prefix, recurse, remove_duplicate)

    def buffers(self, recurse: bool = True) -> Iterator[Tensor]:
        """Yield all buffers."""
        return (b for _, b in self.named_buffers(recurse=recurse))

    def get_submodule(self, target: str) -> Module:
        """Find a submodule by its dotted name; '' is the module itself."""
        module: Any = self
        for part in target.split(".") if target else []:
            module = module._modules.get(part)
            if module is None:
                raise AttributeError(f"{type(self).__name__} has no submodule {target!r}")
        found: Module = module
        return found

    def apply(self, fn: Callable[[Module], Any]) -> Self:
        """Call `fn` on every submodule, then on this one."""
        for child in self.children():
            child.apply(fn)
        fn(self)
        return self

    # State

    def state_dict(self, *, prefix: str = "") -> dict[str, Tensor]:
        """Give every parameter and persistent buffer by dotted name, sharing memory."""
        found: dict[str, Tensor] = {}
        for name, p in self._parameters.items():
            if p is not None:
                found[prefix + name] = p.detach()
        for name, b in self._buffers.items():
            if b is not None and name not in self._transient:
                found[prefix + name] = b.detach()
        for name, child in self._modules.items():
            if child is not None:
                found |= child.state_dict(prefix=f"{prefix}{name}.")
        return found

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True) -> Keys:
        """Copy values in by name; all names and shapes are checked before anything is written.

        Raises CheckpointError (a RuntimeError) for shapes that differ, and, if `strict`, for
        names that are missing or unexpected, listing all of them.
        """
        return load_state(self, state_dict, strict)

    def train(self, mode: bool = True) -> Self:
        """Switch to training (dropout drops, batch norm uses the batch), or back if not `mode`."""
        for module in self.modules():
            module.training = bool(mode)
        return self

    def eval(self) -> Self:
        """Switch to evaluation."""
        return self.train(False)

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        """Let gradients flow to all parameters, or to none."""
        for p in self.parameters():
            p.requires_grad = requires_grad
        return self

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget all parameters' gradients, or set them to 0."""
        for p in self.parameters():
            if set_to_none or p.grad is None:
                p.grad = None
            else:
                p.grad = Tensor(np.zeros_like(p.grad.array))

    def to(self, *what: Any, dtype: Any = None, device: str | None = None) -> Self:
        """Convert all floating-point parameters and buffers, in place; 'cpu' is the device."""
        for value in what:
            if names_device(value):
                device = value
            else:
                dtype = value if isinstance(value, type) else getattr(value, "dtype", value)
        if device not in (None, "cpu"):
            raise NotImplementedError(f"Module.to: only device 'cpu' is here, got {device!r}")
        if dtype is not None:
            kind = as_dtype(dtype)
            if kind.kind != "f":
                raise failure("Module.to", "a floating-point dtype", error=KindError, dtype=kind)
            for tensor in [*self.parameters(), *self.buffers()]:
                if tensor.dtype.kind == "f":
                    tensor.array = tensor.array.astype(kind, order="K", copy=False)
                    tensor.grad = None if tensor.grad is None else tensor.grad.to(kind)
        return self

    def float(self) -> Self:
        """Convert parameters and buffers to float32."""
        return self.to(np.float32)

    def double(self) -> Self:
        """Convert parameters and buffers to float64."""
        return self.to(np.float64)

    # Hooks

    def register_forward_pre_hook(self, hook: Callable[..., Any]) -> Handle:
        """Call hook(module, inputs) before forward; it may return other inputs."""
        return Handle(self._forward_pre_hooks, hook)

    def register_forward_hook(self, hook: Callable[..., Any]) -> Handle:
        """Call hook(module, inputs, output) after forward; it may return another output."""
        return Handle(self._forward_hooks, hook)

    def register_full_backward_hook(self, hook: Callable[..., Any]) -> Handle:
        """Call hook(module, gx, gy), both tuples, when the gradients of the inputs are known.

        A layer of one input may get another gradient for it from the hook's result.
        """
        return Handle(self._backward_hooks, hook)

    # By hand

    def backward(self, *inputs_and_gradient: Any) -> Any:
        """Drive the layer by hand: `y = lin.forward(x); gx = lin.backward(x, gy)`.

        Takes the inputs of forward, then the gradient of its output.  Runs the forward again with
        the last random mask, leaves buffers as they were, adds to the parameters' `.grad`, and
        returns the gradient of the input (a tuple for several; None for one that has none).
        """
        *inputs, gy = inputs_and_gradient
        return drive_backward(self, inputs, gy)

    # Text

    def extra_repr(self) -> str:
        """Describe the settings in the module's line of the repr."""
        return ""

    def __repr__(self) -> str:
        lines = self.extra_repr().split("\n") if self.extra_repr() else []
        children = [
            f"({name}): " + repr(child).replace("\n", "\n  ")
            for name, child in self._modules.items()
        ]
        if not children and len(lines) <= 1:
            return f"{type(self).__name__}({''.join(lines)})"
        inner = "\n  ".join([*lines, *children])
        return f"{type(self).__name__}(\n  {inner}\n)"


def _check_name(module: Module, name: str, table: str, value: Any, kind: type) -> None:
    if "_modules" not in module.__dict__:
        raise AttributeError(f"{type(module).__name__}: call super().__init__() first")
    if not isinstance(name, str):
        raise failure("register", "a name that is a string", error=KindError, name=name)
    if "." in name or not name:
        raise KeyError(f"register: a name without dots and not empty; got {name!r}")
    if hasattr(module, name) and name not in module.__dict__[table]:
        raise KeyError(f"register: {type(module).__name__} has an attribute {name!r} already")
    if value is not None and not isinstance(value, kind):
        raise failure(
            "register", f"a {kind.__name__} or None for {name!r}", error=KindError,
            value=type(value),
        )  # fmt: skip
