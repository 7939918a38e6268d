"""Arrays of another library, as far as NumPy can tell: only their own namespace computes on them.

An operation that says `np.` where it should say `xp.` works by luck on NumPy arrays and fails on
a GPU's.  Here it fails at once.
"""

from __future__ import annotations

from typing import Any

import numpy as np

BINARY = (
    *("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "matmul"),
    *("and", "or", "xor", "lshift", "rshift"),
)
OTHERS = (
    *("neg", "pos", "abs", "invert", "lt", "le", "gt", "ge", "eq", "ne"),
    *("getitem", "setitem", "bool", "int", "float", "index", "len", "iter"),
)


class Foreign:
    """An array that NumPy's own functions refuse."""

    __hash__ = None  # type: ignore[assignment]

    def __init__(self, array: Any) -> None:
        self._own = np.asarray(array)

    def __array_ufunc__(self, ufunc: Any, *_: Any, **__: Any) -> Any:
        raise TypeError(f"np.{ufunc.__name__} on an array of another library: use xp")

    def __array_function__(self, function: Any, *_: Any, **__: Any) -> Any:
        raise TypeError(f"np.{function.__name__} on an array of another library: use xp")

    def __array__(self, *_: Any, **__: Any) -> Any:
        raise TypeError("np.asarray on an array of another library: use xp")

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return wrap(getattr(self._own, name))

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "_own":
            object.__setattr__(self, name, value)
        else:
            setattr(self._own, name, value)


def _operator(name: str) -> Any:
    def method(self: Foreign, *arguments: Any) -> Any:
        result = getattr(self._own, name)(*own(arguments))
        return map(wrap, result) if name == "__iter__" else wrap(result)

    return method


def _in_place(name: str) -> Any:
    def method(self: Foreign, *arguments: Any) -> Foreign:
        getattr(self._own, name)(*own(arguments))
        return self

    return method


for _name in BINARY:
    setattr(Foreign, f"__{_name}__", _operator(f"__{_name}__"))
    setattr(Foreign, f"__r{_name}__", _operator(f"__r{_name}__"))
    setattr(Foreign, f"__i{_name}__", _in_place(f"__i{_name}__"))
for _name in OTHERS:
    setattr(Foreign, f"__{_name}__", _operator(f"__{_name}__"))


def own(value: Any) -> Any:
    """Take NumPy arrays out of foreign ones, also inside tuples and lists."""
    if isinstance(value, Foreign):
        return value._own
    if isinstance(value, tuple | list):
        return type(value)(map(own, value))
    if isinstance(value, slice):
        return slice(own(value.start), own(value.stop), own(value.step))
    return value


def wrap(value: Any) -> Any:
    """Make arrays and array scalars foreign, also inside tuples and lists."""
    if isinstance(value, np.ndarray | np.generic):
        return Foreign(value)
    if isinstance(value, np.dtype | type) or value is None:
        return value
    if type(value) in (tuple, list):
        return type(value)(map(wrap, value))
    if callable(value):
        return Function(value)
    return value


class Function:
    """A function, method or ufunc of the namespace."""

    def __init__(self, function: Any) -> None:
        self._function = function

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        options = {name: own(value) for name, value in options.items()}
        return wrap(self._function(*own(arguments), **options))

    def __getattr__(self, name: str) -> Any:
        return wrap(getattr(self._function, name))


class Namespace:
    """NumPy's functions for foreign arrays, and their types as they are."""

    def __init__(self, module: Any = np) -> None:
        self._module = module

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._module, name)
        return Namespace(value) if type(value) is type(np) else wrap(value)
