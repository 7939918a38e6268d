"""A training's whole state, kept while something is tried, and put back to the bit."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from types import CellType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np

from chainrule.engine.op import Array
from chainrule.engine.random import Generator, default_generator
from chainrule.engine.tensor import Tensor
from chainrule.engine.written import mark
from chainrule.errors import KindError, failure
from chainrule.nn.module import Module
from chainrule.optim import Optimizer

_LONGEST = 1000
"""Longer lists hold data, in which no generator is looked for."""

_MOST = 20_000
"""So many objects are looked at for generators."""


class Kept:
    """Model, optimiser and generators as they are now; `put_back` makes them so again.

    The model's and the optimiser's tensors stay the same objects with the same memory.  While
    it is lent (`lend`) the optimiser works on a copy of its own state.  Of the `others`, a loader
    and a loss, say, modules are kept as the model is, of objects what their attributes refer to.
    Generators are looked for in all that they and the model hold, however deep.

    >>> import chainrule as cr
    >>> model = cr.nn.Linear(1, 1)
    >>> optimizer = cr.optim.SGD(model.parameters(), lr=0.1)
    >>> kept = Kept(model, optimizer)
    >>> kept.lend(); optimizer.param_groups[0]["lr"] = 5.0; before = model.weight.item()
    >>> _ = model.weight.detach().fill_(2.0)
    >>> kept.put_back(); optimizer.param_groups[0]["lr"], model.weight.item() == before
    (0.1, True)
    """

    def __init__(
        self,
        model: Module,
        optimizer: Optimizer,
        others: Sequence[Any] = (),
        generators: Sequence[Any] = (),
    ) -> None:
        tops = [model, *(other for other in others if isinstance(other, Module))]
        self._modules = [_KeptModule(m) for top in tops for m in top.modules()]
        tensors = [t for top in tops for t in (*top.parameters(), *top.buffers())]
        tensors += [t for group in optimizer.param_groups for t in group["params"]]
        self._tensors = [_KeptTensor(t) for t in {id(t): t for t in tensors}.values()]
        self._optimizer, self._attributes = optimizer, dict(vars(optimizer))
        plain = [o for o in others if not isinstance(o, Module | FunctionType)]
        self._places = [(vars(o), dict(vars(o))) for o in plain if hasattr(o, "__dict__")]
        self._shared = [optimizer, *tensors, *(kept.module for kept in self._modules)]
        found = [*_given(generators), *_generators([*tops, *others])]
        self._streams = [_stream(g) for g in {id(g): g for g in found}.values()]
        state, numbers = random.getstate(), np.random.get_state()
        self._streams += [partial(random.setstate, state), partial(np.random.set_state, numbers)]

    def lend(self) -> None:
        """Give the optimiser a copy of its groups and its state to work on."""
        memo = {id(each): each for each in self._shared}
        vars(self._optimizer).update(copy.deepcopy(self._attributes, memo))

    def put_back(self) -> None:
        """Make everything as it was."""
        _restore(vars(self._optimizer), self._attributes)
        for place, before in self._places:
            _restore(place, before)
        for module in self._modules:
            module.put_back()
        for tensor in self._tensors:
            tensor.put_back()
        for stream in self._streams:
            stream()


class _KeptTensor:
    """A leaf's values, memory and gradient."""

    def __init__(self, tensor: Tensor) -> None:
        self.tensor, self.array, self.grad = tensor, tensor.array, tensor.grad
        self.values: Array = tensor.array.copy(order="K")

    def put_back(self) -> None:
        """Write the values into the same memory; NaN keep their bits."""
        self.array[...] = self.values
        self.tensor.array, self.tensor.grad = self.array, self.grad
        mark(self.array)


class _KeptModule:
    """What a module's attributes refer to, its tables included."""

    def __init__(self, module: Module) -> None:
        self.module, self.attributes = module, dict(vars(module))
        self.tables = {k: dict(v) for k, v in self.attributes.items() if isinstance(v, dict)}

    def put_back(self) -> None:
        """Let every attribute and every entry of a table refer to what it did."""
        _restore(vars(self.module), self.attributes)
        for name, table in self.tables.items():
            _restore(self.attributes[name], table)


def _restore(place: dict[Any, Any], before: Mapping[Any, Any]) -> None:
    if list(place) != list(before):
        place.clear()
    place.update(before)


def _given(generators: Sequence[Any]) -> Iterator[Any]:
    for generator in generators:
        if not isinstance(generator, Generator | np.random.Generator):
            rule = "generators of chainrule or NumPy"
            raise failure("find_lr", rule, error=KindError, generator=generator)
        yield generator


def _stream(generator: Any) -> Callable[[], None]:
    """Give what puts a generator back to where it is."""
    if isinstance(generator, Generator):
        return partial(generator.set_state, generator.get_state())
    bits = generator.bit_generator
    return partial(setattr, bits, "state", copy.deepcopy(bits.state))


def _generators(roots: Iterable[Any]) -> Iterator[Any]:
    """Find the generators that objects hold, however deep, and the global one."""
    yield default_generator()
    todo, seen = list(roots), set[int]()
    while todo and len(seen) < _MOST:
        value = todo.pop()
        if id(value) in seen:
            continue
        seen.add(id(value))
        if isinstance(value, Generator | np.random.Generator):
            yield value
        else:
            todo.extend(_parts(value))


def _parts(value: Any) -> list[Any]:
    """Give what an object holds, where a generator may be among it."""
    if isinstance(value, Tensor | np.ndarray | np.generic | str | bytes | type | ModuleType):
        return []
    if isinstance(value, Mapping | list | tuple | set | frozenset) and len(value) > _LONGEST:
        return []
    if isinstance(value, Mapping):
        return list(value.values())
    if isinstance(value, list | tuple | set | frozenset):
        return list(value)
    if isinstance(value, MethodType):
        return [value.__self__, value.__func__]
    if isinstance(value, FunctionType):
        cells = [x for cell in value.__closure__ or () for x in _contents(cell)]
        return [*cells, *(value.__defaults__ or ()), *(value.__kwdefaults__ or {}).values()]
    if isinstance(value, partial):
        return [value.func, *value.args, *value.keywords.values()]
    return list(getattr(value, "__dict__", {}).values())


def _contents(cell: CellType) -> list[Any]:
    try:
        return [cell.cell_contents]
    except ValueError:  # not filled yet
        return []
