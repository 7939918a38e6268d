"""Reading pickles without running them: containers, numbers, text, and names that we know.

Python's own unpickler imports whatever a file names and calls it.  This one knows no import: a
name stays a name, and to be called it must be in the reader's table, whose functions are ours.
The opcodes are those of protocols 0 to 5 that data needs; source: the standard library's
`pickletools`, which also takes the file apart.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable, Mapping
from typing import IO, Any, NamedTuple

from chainrule.errors import CheckpointError


class Name(NamedTuple):
    """Something that a pickle would have Python import."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


class Built:
    """What a known name may give, if it wants what the pickle then sets on it."""

    def build(self, state: Any) -> None:
        """Take the state that an unpickler would set; ValueError where it is not right."""
        raise NotImplementedError(f"{type(self).__name__}.build")


_MARK = object()
_LITERALS = {
    "NONE": None,
    "NEWTRUE": True,
    "NEWFALSE": False,
}
_VALUES = {
    *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
    *("UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8"),
    *("STRING", "BINSTRING", "SHORT_BINSTRING", "SHORT_BINBYTES", "BINBYTES", "BINBYTES8"),
}
_EMPTY: dict[str, Callable[[], Any]] = {
    "EMPTY_DICT": dict,
    "EMPTY_LIST": list,
    "EMPTY_TUPLE": tuple,
    "EMPTY_SET": set,
}
_PLAIN_NAMES: dict[str, Callable[..., Any]] = {
    "collections.OrderedDict": lambda pairs=(): dict(pairs),
    **{
        f"{module}.{name}": lambda items=(), kind=kind: kind(items)
        for module in ("builtins", "__builtin__")
        for name, kind in (("set", set), ("frozenset", frozenset))
    },
}


def read_pickle(
    file: IO[bytes],
    known: Mapping[str, Callable[..., Any]],
    persistent: Callable[[Any], Any] | None = None,
    where: str = "pickle",
) -> Any:
    """Read one pickle; the file is left behind it.

    `known` maps dotted names to the functions that are called for them; `persistent` gives what a
    persistent id stands for.  Raises CheckpointError for a name that is not known, for opcodes that
    data does not need, and for what is no pickle.

    >>> import io, os, pickle
    >>> read_pickle(io.BytesIO(pickle.dumps({"a": [1, 2.5, None]})), {})
    {'a': [1, 2.5, None]}
    >>> class Evil:
    ...     def __reduce__(self):
    ...         return os.system, ("echo never",)
    >>> read_pickle(io.BytesIO(pickle.dumps(Evil())), {})
    Traceback (most recent call last):
    chainrule.errors.CheckpointError: pickle: it would call posix.system, which is refused: only \
tensors, containers, numbers and text are read
    """
    machine = _Machine({**_PLAIN_NAMES, **known}, persistent, where)
    try:
        for opcode, argument, _ in pickletools.genops(file):
            if opcode.name == "STOP":
                return machine.result()
            machine.step(opcode.name, argument)
    except CheckpointError:
        raise
    except (ValueError, IndexError, TypeError, KeyError, OverflowError, MemoryError) as error:
        raise CheckpointError(f"{where}: not a whole pickle ({error})") from error
    raise CheckpointError(f"{where}: not a whole pickle (it has no end)")


class _Machine:
    """The stack, the memo, and what each opcode does to them."""

    def __init__(
        self,
        known: Mapping[str, Callable[..., Any]],
        persistent: Callable[[Any], Any] | None,
        where: str,
    ) -> None:
        self.known, self.persistent, self.where = known, persistent, where
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}

    def result(self) -> Any:
        """Give what is left on the stack."""
        if len(self.stack) != 1:
            raise ValueError(f"{len(self.stack)} values are left at its end")
        return self.stack[0]

    def step(self, opcode: str, argument: Any) -> None:
        """Do what an opcode says."""
        stack = self.stack
        if opcode in _VALUES:
            stack.append(argument)
        elif opcode in _LITERALS:
            stack.append(_LITERALS[opcode])
        elif opcode in _EMPTY:
            stack.append(_EMPTY[opcode]())
        elif opcode == "MARK":
            stack.append(_MARK)
        elif opcode in ("PUT", "BINPUT", "LONG_BINPUT"):
            self.memo[int(argument)] = self._top()
        elif opcode == "MEMOIZE":
            self.memo[len(self.memo)] = self._top()
        elif opcode in ("GET", "BINGET", "LONG_BINGET"):
            stack.append(self.memo[int(argument)])
        elif opcode not in ("PROTO", "FRAME"):
            action = getattr(self, f"_{opcode.lower()}", None)
            if action is None:
                raise CheckpointError(f"{self.where}: data does not need the opcode {opcode}")
            action(argument)

    def _top(self) -> Any:
        if not self.stack or self.stack[-1] is _MARK:
            raise ValueError("nothing on the stack")
        return self.stack[-1]

    def _pop(self, _: Any = None) -> Any:
        value = self._top()
        self.stack.pop()
        return value

    def _marked(self) -> list[Any]:
        """Take what lies above the last mark, and the mark."""
        for k in range(len(self.stack) - 1, -1, -1):
            if self.stack[k] is _MARK:
                values = self.stack[k + 1 :]
                del self.stack[k:]
                return values
        raise ValueError("no mark")

    def _pop_mark(self, _: Any) -> None:
        self._marked()

    def _dup(self, _: Any) -> None:
        self.stack.append(self._top())

    # Containers

    def _tuple(self, _: Any) -> None:
        self.stack.append(tuple(self._marked()))

    def _tuple1(self, _: Any) -> None:
        self.stack.append((self._pop(),))

    def _tuple2(self, _: Any) -> None:
        second = self._pop()
        self.stack.append((self._pop(), second))

    def _tuple3(self, _: Any) -> None:
        third, second = self._pop(), self._pop()
        self.stack.append((self._pop(), second, third))

    def _list(self, _: Any) -> None:
        self.stack.append(self._marked())

    def _append(self, _: Any) -> None:
        value = self._pop()
        self._of(list).append(value)

    def _appends(self, _: Any) -> None:
        values = self._marked()
        self._of(list).extend(values)

    def _additems(self, _: Any) -> None:
        values = self._marked()
        self._of(set).update(values)

    def _frozenset(self, _: Any) -> None:
        self.stack.append(frozenset(self._marked()))

    def _dict(self, _: Any) -> None:
        values = self._marked()
        self.stack.append(dict(zip(values[::2], values[1::2], strict=True)))

    def _setitem(self, _: Any) -> None:
        value, key = self._pop(), self._pop()
        self._of(dict)[key] = value

    def _setitems(self, _: Any) -> None:
        values = self._marked()
        self._of(dict).update(zip(values[::2], values[1::2], strict=True))

    def _of(self, kind: type) -> Any:
        value = self._top()
        if not isinstance(value, kind):
            raise ValueError(f"a {kind.__name__} was expected")
        return value

    # Names and what is made of them

    def _global(self, argument: str) -> None:
        module, _, name = argument.partition(" ")
        self.stack.append(Name(module, name))

    def _stack_global(self, _: Any) -> None:
        name, module = self._pop(), self._pop()
        if not isinstance(name, str) or not isinstance(module, str):
            raise ValueError("a name that is no text")
        self.stack.append(Name(module, name))

    def _reduce(self, _: Any) -> None:
        arguments, called = self._pop(), self._pop()
        self.stack.append(self._call(called, arguments))

    def _newobj(self, _: Any) -> None:
        self._reduce(None)

    def _newobj_ex(self, _: Any) -> None:
        options, arguments, called = self._pop(), self._pop(), self._pop()
        if options:
            raise CheckpointError(f"{self.where}: {called} with named arguments is refused")
        self.stack.append(self._call(called, arguments))

    def _inst(self, argument: str) -> None:
        module, _, name = argument.partition(" ")
        self.stack.append(self._call(Name(module, name), tuple(self._marked())))

    def _obj(self, _: Any) -> None:
        called, *arguments = self._marked()
        self.stack.append(self._call(called, tuple(arguments)))

    def _call(self, called: Any, arguments: Any) -> Any:
        if not isinstance(called, Name):
            raise CheckpointError(f"{self.where}: it would call a value of its own, not a name")
        function = self.known.get(str(called))
        if function is None:
            raise CheckpointError(
                f"{self.where}: it would call {called}, which is refused: only tensors, "
                "containers, numbers and text are read"
            )
        if not isinstance(arguments, tuple):
            raise ValueError(f"{called} has arguments that are no tuple")
        return function(*arguments)

    def _build(self, _: Any) -> None:
        # What would be set on the object is data that nobody asked for, unless it says so itself.
        state, value = self._pop(), self._top()
        if isinstance(value, Built):
            value.build(state)

    def _binpersid(self, _: Any) -> None:
        self._persist(self._pop())

    def _persid(self, argument: str) -> None:
        self._persist(argument)

    def _persist(self, key: Any) -> None:
        if self.persistent is None:
            raise CheckpointError(f"{self.where}: persistent ids mean nothing here")
        self.stack.append(self.persistent(key))
