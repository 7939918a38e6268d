"""Networks by name."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

from chainrule.errors import ShapeError, failure
from chainrule.nn.module import Module

Builder = TypeVar("Builder", bound=Callable[..., Module])


class Entry(NamedTuple):
    """How a network is built, and the height and width of the images that it reads."""

    build: Callable[..., Module]
    size: int


MODELS: dict[str, Entry] = {}
"""Every network by name; suites walk it."""


def register(name: str, size: int) -> Callable[[Builder], Builder]:
    """Register a class or a function that builds a network, under a name, as a decorator.

    `size` is the height and width of the images for which it is made.  The builder is called with
    num_classes and in_channels, and options of its own.  Raises ValueError if the name is taken.

    >>> from chainrule import nn
    >>> @register("one_layer", size=1)
    ... def one_layer(num_classes=10, in_channels=1):
    ...     return nn.Linear(in_channels, num_classes)
    >>> create_model("one_layer", num_classes=3)
    Linear(in_features=1, out_features=3, bias=True)
    >>> _ = MODELS.pop("one_layer")
    """

    def add(builder: Builder) -> Builder:
        if name in MODELS:
            raise failure(
                "register", f"a name that is free, not {name!r}", taken_by=MODELS[name].build
            )
        MODELS[name] = Entry(builder, size)
        return builder

    return add


def list_models() -> list[str]:
    """List the names that `create_model` takes.

    >>> "lenet5" in list_models()
    True
    """
    return sorted(MODELS)


def create_model(name: str, num_classes: int = 10, in_channels: int = 1, **options: Any) -> Module:
    """Build a network by its name; `options` are its own.

    Initial values come from the global generator (`cr.manual_seed`).  Raises ValueError for an
    unknown name, with the nearest known ones.

    >>> create_model("lenet5", num_classes=3).fc2
    Linear(in_features=84, out_features=3, bias=True)
    >>> create_model("lenet")
    Traceback (most recent call last):
    chainrule.errors.ShapeError: create_model: expected a known model; got name 'lenet'; \
did you mean 'lenet5'?
    """
    return _entry("create_model", name).build(
        num_classes=num_classes, in_channels=in_channels, **options
    )


def input_size(name: str) -> int:
    """Give the height and width of the images that a network reads.

    Raises ValueError for an unknown name, as `create_model`.

    >>> input_size("lenet5")
    32
    """
    return _entry("input_size", name).size


def _entry(asked: str, name: str) -> Entry:
    entry = MODELS.get(name)
    if entry is None:
        near = difflib.get_close_matches(str(name), MODELS, n=3, cutoff=0.5)
        known = ", ".join(map(repr, near or list_models()))
        hint = f"did you mean {known}?" if near else f"there are {known}"
        raise failure(asked, "a known model", error=ShapeError, hint=hint, name=name)
    return entry
