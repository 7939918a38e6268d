"""Descriptions as text: written as the call that makes them, read without executing anything."""

from __future__ import annotations

import ast
import difflib
from collections.abc import Mapping
from dataclasses import MISSING, fields
from typing import Any

from chainrule.errors import DataError

_LONGEST = 1 << 16  # letters


def call_text(described: Any) -> str:
    """Write the call that makes a dataclass, without the defaults."""
    given = []
    for field in fields(described):
        value = getattr(described, field.name)
        if field.repr and (field.default is MISSING or value != field.default):
            given.append(f"{field.name}={value!r}")
    return f"{type(described).__name__}({', '.join(given)})"


def read_call(text: str, registry: Mapping[str, type[Any]], noun: str) -> Any:
    """Read a call of a registered class with literal arguments; raises DataError for all else.

    `noun` is what the registry's members are called in messages.
    """
    if len(text) > _LONGEST:
        raise DataError(f"{noun}: expected a text of at most {_LONGEST:,} letters")
    try:
        node = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, MemoryError, RecursionError) as error:
        raise DataError(f"{noun}: {text!r} is not a call such as {_example(registry)}") from error
    return _Reader(text, registry, noun).build(node)


def _example(registry: Mapping[str, type[Any]]) -> str:
    return "RandomCrop(32)" if "RandomCrop" in registry else f"{min(registry)}()"


class _Reader:
    """Reads one text."""

    def __init__(self, text: str, registry: Mapping[str, type[Any]], noun: str) -> None:
        self.text = text
        self.registry = registry
        self.noun = noun

    def build(self, node: ast.expr) -> Any:
        """Make what a call describes."""
        if isinstance(node, ast.Name):  # RandomHorizontalFlip, without brackets
            node = ast.Call(node, [], [])
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
            example = _example(self.registry)
            raise DataError(f"{self.noun}: {self.text!r} is not a call such as {example}")
        cls = self._find(node.func.id)
        arguments = [self.value(argument) for argument in node.args]
        options = {word.arg: self.value(word.value) for word in node.keywords if word.arg}
        if len(options) != len(node.keywords):
            raise self._not_literal()
        try:
            return cls(*arguments, **options)
        except TypeError as error:
            raise DataError(f"{self.noun}: {self.text!r}: {error}") from error

    def _find(self, name: str) -> type[Any]:
        if name in self.registry:
            return self.registry[name]
        near = difflib.get_close_matches(name, self.registry, n=1)
        names = ", ".join(sorted(self.registry))
        hint = f"did you mean {near[0]!r}?" if near else f"there are {names}"
        raise DataError(f"no {self.noun} is called {name!r}; {hint}")

    def value(self, node: ast.expr) -> Any:
        """Give an argument: a literal, a list of arguments (as a tuple) or a call."""
        if isinstance(node, ast.List | ast.Tuple):
            return tuple(self.value(item) for item in node.elts)
        if isinstance(node, ast.Call):
            return self.build(node)
        try:
            return ast.literal_eval(node)
        except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError) as error:
            raise self._not_literal() from error

    def _not_literal(self) -> DataError:
        return DataError(f"{self.noun}: {self.text!r} has arguments that are not literal")
