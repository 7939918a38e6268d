"""Layers made from functions: settings instead of arguments, no parameters."""

from __future__ import annotations

import inspect
import sys
import types
from collections.abc import Callable, Mapping
from typing import Any

from chainrule.engine.tensor import Tensor
from chainrule.errors import KindError, failure
from chainrule.nn.module import Module

_EITHER = inspect.Parameter.POSITIONAL_OR_KEYWORD


class Stateless(Module):
    """A layer that calls one function of its input; `stateless` makes the subclasses.

    The settings are attributes, are read at every call, and show in the repr.
    """

    _function: Callable[..., Tensor]
    _constants: Mapping[str, Any] = {}
    _signature: inspect.Signature = inspect.Signature()

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__()
        name, signature = type(self).__name__, type(self)._signature
        try:
            bound = signature.bind(*args, **settings)
        except TypeError as error:
            rule = f"settings {signature}"
            raise failure(name, rule, error=KindError, hint=str(error)) from None
        bound.apply_defaults()
        self.__dict__.update(bound.arguments)

    def _settings(self) -> dict[str, Any]:
        return {name: self.__dict__[name] for name in type(self)._signature.parameters}

    def forward(self, input: Tensor) -> Tensor:
        """Call the function with the settings."""
        return type(self)._function(input, **self._settings(), **self._constants)

    def extra_repr(self) -> str:
        """Show the settings; `inplace` only where it is asked for, as PyTorch does."""
        settings = self._settings()
        if not settings.get("inplace", True):
            del settings["inplace"]
        return ", ".join(f"{name}={value!r}" for name, value in settings.items())


def stateless(
    name: str,
    function: Callable[..., Tensor],
    settings: tuple[str, ...] | None = None,
    *,
    inputs: int = 1,
    base: type[Stateless] = Stateless,
    **constants: Any,
) -> type[Stateless]:
    """Make a layer's class from a function of a tensor (or of several `inputs`) and settings.

    The class takes the function's own arguments after the inputs (or those named in `settings`,
    in that order) with the function's defaults; `constants` go along with every call.  Assign it
    to `name` at the top of a module, so that its layers can be pickled.  It derives from `base`.

    >>> import chainrule as cr
    >>> def scale(input, factor=2.0):
    ...     return input * factor
    >>> Scale = cr.nn.stateless("Scale", scale)
    >>> Scale(factor=3.0), Scale(3.0)(cr.tensor([1.0, 2.0]))
    (Scale(factor=3.0), tensor([3.0, 6.0]))
    """
    parameters = inspect.signature(function).parameters
    chosen = list(parameters)[inputs:] if settings is None else settings
    bare = [parameters[s].replace(annotation=inspect.Parameter.empty, kind=_EITHER) for s in chosen]
    signature = inspect.Signature(bare)
    doc = f"The layer of `{function.__name__}`, with its settings {signature}.\n\n"
    members: dict[str, Any] = {
        "_function": staticmethod(function),
        "_constants": constants,
        "_signature": signature,
        "__module__": sys._getframe(1).f_globals.get("__name__", __name__),
        "__doc__": doc + inspect.cleandoc(function.__doc__ or ""),
    }
    made: type[Stateless] = types.new_class(
        name, (base,), exec_body=lambda body: body.update(members)
    )
    return made
