"""Containers of modules: chains, lists and dictionaries."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Self, overload

from chainrule.engine.tensor import Tensor
from chainrule.errors import AxisError, KindError, failure
from chainrule.nn.module import Module
from chainrule.nn.parameter import Parameter
from chainrule.ops.arguments import integer


def _module(container: Any, value: Any) -> Module:
    """Refuse what is no module before it becomes a child."""
    if not isinstance(value, Module):
        raise failure(type(container).__name__, "a Module", error=KindError, value=type(value))
    return value


def _several(container: Any, values: Any) -> list[Any]:
    """Give what was to be several values as a list."""
    if not isinstance(values, Iterable):
        name = type(container).__name__
        raise failure(name, "several values", error=KindError, values=type(values))
    return list(values)


def _place(container: Any, index: Any, extra: int = 0) -> int:
    """Give an index as 0..len-1 (or, with extra, ..len), counting negative ones from the end."""
    name, n = type(container).__name__, len(container)
    i = integer(index, name, "an index that is an integer")
    if not -n <= i < n + extra:
        raise failure(name, f"an index in [{-n}, {n + extra - 1}]", error=AxisError, index=i)
    return i + n if i < 0 else i


class _Listed(Module):
    """What Sequential and ModuleList share: children under the names "0", "1", ..."""

    def _values(self) -> list[Module]:
        return list(self._modules.values())

    def _fill(self, modules: Iterable[Module]) -> None:
        """Make these the children, numbered from 0."""
        self._modules.clear()
        for i, module in enumerate(modules):
            self.add_module(str(i), _module(self, module))

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._values())

    def __reversed__(self) -> Iterator[Any]:
        return reversed(self._values())

    def __contains__(self, module: object) -> bool:
        return any(module is child for child in self._modules.values())

    def __setitem__(self, index: int, module: Module) -> None:
        name = list(self._modules)[_place(self, index)]
        self._modules[name] = _module(self, module)

    def __delitem__(self, index: int | slice) -> None:
        names = list(self._modules)
        gone = names[index] if isinstance(index, slice) else [names[_place(self, index)]]
        kept = [(name, m) for name, m in self._modules.items() if name not in gone]
        numbered = all(name == str(i) for i, name in enumerate(names))
        self._modules.clear()
        for i, (name, module) in enumerate(kept):
            self._modules[str(i) if numbered else name] = module

    def _free_name(self) -> str:
        i = len(self._modules)
        while str(i) in self._modules:
            i += 1
        return str(i)

    def append(self, module: Module) -> Self:
        """Add a module at the end; returns the container."""
        self.add_module(self._free_name(), _module(self, module))
        return self

    def extend(self, modules: Iterable[Module]) -> Self:
        """Add modules at the end; returns the container."""
        for module in _several(self, modules):
            self.append(module)
        return self

    def _insert(self, index: int, module: Module) -> None:
        values = self._values()
        values.insert(_place(self, index, extra=1), _module(self, module))
        self._fill(values)

    def pop(self, index: int = -1) -> Any:
        """Take a module out, by default the last, and give it."""
        module = self._values()[_place(self, index)]
        del self[index]
        return module

    def __iadd__(self, modules: Iterable[Module]) -> Self:
        return self.extend(modules)


class Sequential(_Listed):
    """Modules in a chain: each takes the output of the one before.

    `Sequential(a, b, c)` names them "0", "1", "2"; an (ordered) dictionary gives its own names.
    Like a list it has a length, indices, slices (a Sequential of the same modules), append, insert,
    extend, pop, del, + and *.  Without modules it gives its input back.
    Raises TypeError for what are no modules, IndexError for an index that is not there.

    >>> import chainrule as cr
    >>> net = cr.nn.Sequential(cr.nn.Linear(5, 3), cr.nn.ReLU(), cr.nn.Linear(3, 2))
    >>> net(cr.zeros(4, 5)).shape, len(net[:2]), net[-1].out_features
    ((4, 2), 2, 2)
    """

    @overload
    def __init__(self, *modules: Module) -> None: ...

    @overload
    def __init__(self, modules: Mapping[str, Module], /) -> None: ...

    def __init__(self, *modules: Any) -> None:
        super().__init__()
        if len(modules) == 1 and isinstance(modules[0], Mapping):
            for name, module in modules[0].items():
                self.add_module(name, _module(self, module))
        else:
            self._fill(modules)

    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            return type(self)(dict(list(self._modules.items())[index]))
        return self._values()[_place(self, index)]

    def insert(self, index: int, module: Module) -> Self:
        """Put a module in before `index` and number all anew; returns the container."""
        self._insert(index, module)
        return self

    def __add__(self, other: Sequential) -> Sequential:
        if not isinstance(other, Sequential):
            return NotImplemented
        return Sequential(*self, *other)

    def __mul__(self, times: int) -> Sequential:
        return Sequential(*(self._values() * self._times(times)))

    __rmul__ = __mul__

    def __imul__(self, times: int) -> Self:
        self._fill(self._values() * self._times(times))
        return self

    def _times(self, times: int) -> int:
        if integer(times, "Sequential *", "an integer") < 1:
            raise failure("Sequential *", "at least 1", times=times)
        return times

    def forward(self, input: Any) -> Any:
        """Pass the input through all modules."""
        for module in self._modules.values():
            input = module(input)
        return input


class ModuleList(_Listed):
    """Modules in a list, counted among the parameters and children of whoever holds it.

    It has no forward of its own.  Indices, slices, append, insert, extend, pop, del and + are a
    list's.  Raises TypeError for what are no modules.

    >>> import chainrule as cr
    >>> layers = cr.nn.ModuleList(cr.nn.Linear(2, 2) for _ in range(3))
    >>> layers.append(cr.nn.ReLU())
    ModuleList(
      (0-2): 3 x Linear(in_features=2, out_features=2, bias=True)
      (3): ReLU()
    )
    """

    def __init__(self, modules: Iterable[Module] | None = None) -> None:
        super().__init__()
        if modules is not None:
            self.extend(modules)

    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            return type(self)(self._values()[index])
        return self._values()[_place(self, index)]

    def insert(self, index: int, module: Module) -> None:
        """Put a module in before `index`."""
        self._insert(index, module)

    def __add__(self, other: Iterable[Module]) -> ModuleList:
        return ModuleList([*self, *other])

    def __repr__(self) -> str:
        """Write runs of equal modules once, with their number."""
        lines = [repr(module).replace("\n", "\n  ") for module in self]
        blocks: list[list[int]] = []
        for i, line in enumerate(lines):
            if blocks and lines[blocks[-1][0]] == line:
                blocks[-1][1] = i
            else:
                blocks.append([i, i])
        rows = [
            f"({first}): {lines[first]}"
            if first == last
            else f"({first}-{last}): {last - first + 1} x {lines[first]}"
            for first, last in blocks
        ]
        inner = "".join(f"\n  {row}" for row in rows)
        return f"{type(self).__name__}({inner}\n)" if rows else f"{type(self).__name__}()"


class ModuleDict(Module):
    """Modules by name, counted among the parameters and children of whoever holds it.

    It has no forward of its own.  Made from a mapping or from (name, module) pairs; the methods are
    a dictionary's.  Raises TypeError for what are no modules, KeyError for a missing name.

    >>> import chainrule as cr
    >>> heads = cr.nn.ModuleDict({"a": cr.nn.Linear(2, 1), "b": cr.nn.ReLU()})
    >>> heads["b"], "a" in heads, list(heads)
    (ReLU(), True, ['a', 'b'])
    """

    def __init__(self, modules: Any = None) -> None:
        super().__init__()
        if modules is not None:
            self.update(modules)

    def __getitem__(self, key: str) -> Any:
        return self._modules[key]

    def __setitem__(self, key: str, module: Module) -> None:
        self.add_module(key, _module(self, module))

    def __delitem__(self, key: str) -> None:
        del self._modules[key]

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[str]:
        return iter(list(self._modules))

    def __contains__(self, key: object) -> bool:
        return key in self._modules

    def keys(self) -> Iterable[str]:
        """Give the names."""
        names: Iterable[str] = self._modules.keys()
        return names

    def values(self) -> Iterable[Any]:
        """Give the modules."""
        modules: Iterable[Any] = self._modules.values()
        return modules

    def items(self) -> Iterable[tuple[str, Any]]:
        """Give (name, module) pairs."""
        pairs: Iterable[tuple[str, Any]] = self._modules.items()
        return pairs

    def update(self, modules: Any) -> None:
        """Add or replace modules, from a mapping or from pairs."""
        pairs = modules.items() if isinstance(modules, Mapping | ModuleDict) else modules
        for pair in _several(self, pairs):
            if not isinstance(pair, Sequence) or len(pair) != 2:
                raise failure("ModuleDict", "(name, module) pairs", pair=pair)
            self[pair[0]] = pair[1]

    def pop(self, key: str) -> Any:
        """Take a module out and give it."""
        return self._modules.pop(key)

    def clear(self) -> None:
        """Take all modules out."""
        self._modules.clear()


class Identity(Module):
    """Give the input back; arguments of the constructor are accepted and ignored.

    >>> import chainrule as cr
    >>> cr.nn.Identity(54, unused=True)(cr.tensor([1.0]))
    tensor([1.0])
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__()

    def forward(self, input: Any) -> Any:
        """Give the input back."""
        return input


class ParameterList(Module):
    """Parameters in a list, counted among those of whoever holds it; tensors become parameters.

    >>> import chainrule as cr
    >>> p = cr.nn.ParameterList([cr.nn.Parameter(cr.zeros(2)), cr.ones(3)])
    >>> len(p), [name for name, _ in p.named_parameters()], p[-1].requires_grad
    (2, ['0', '1'], True)
    """

    def __init__(self, values: Iterable[Tensor] | None = None) -> None:
        super().__init__()
        self.extend([] if values is None else values)

    def __len__(self) -> int:
        return len(self._parameters)

    def __iter__(self) -> Iterator[Any]:
        return iter(list(self._parameters.values()))

    def __getitem__(self, index: int | slice) -> Any:
        values = list(self._parameters.values())
        if isinstance(index, slice):
            return ParameterList(values[index])
        return values[_place(self, index)]

    def __setitem__(self, index: int, value: Tensor) -> None:
        self._parameters[str(_place(self, index))] = self._parameter(value)

    def _parameter(self, value: Any) -> Parameter:
        return value if isinstance(value, Parameter) else Parameter(value)

    def append(self, value: Tensor) -> Self:
        """Add a parameter at the end; returns the list."""
        self.register_parameter(str(len(self)), self._parameter(value))
        return self

    def extend(self, values: Iterable[Tensor]) -> Self:
        """Add parameters at the end; returns the list."""
        for value in _several(self, values):
            self.append(value)
        return self

    def __iadd__(self, values: Iterable[Tensor]) -> Self:
        return self.extend(values)

    def __repr__(self) -> str:
        """Write each parameter's dtype and shape."""
        rows = [f"\n  ({i}): {p.dtype} {p.shape}" for i, p in enumerate(self)]
        return f"ParameterList({''.join(rows)}{chr(10) if rows else ''})"
