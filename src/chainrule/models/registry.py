"""Networks by name."""

from __future__ import annotations

import difflib
import inspect
import os
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple, TypeVar

from chainrule.engine.device import device
from chainrule.errors import CheckpointError, KindError, ShapeError, expect, failure
from chainrule.formats.weights import load_weights, read_about
from chainrule.models.pattern import PatternNet, is_pattern
from chainrule.nn.module import Module
from chainrule.ops.arguments import integer

Builder = TypeVar("Builder", bound=Callable[..., Module])


class Entry(NamedTuple):
    """How a network is built, and the height and width of the images that it reads.

    `size` is that of the images for which it was made, `smallest` that of the smallest with which
    all its layers still have something to do: what tests and checks of gradients use.
    `parameters` counts those of the network with its own numbers of classes and channels, if told.
    """

    build: Callable[..., Module]
    size: int
    smallest: int
    parameters: int | None = None

    @property
    def channels(self) -> int:
        """The channels of the images for which the network was made."""
        return self._default("in_channels")

    @property
    def classes(self) -> int:
        """The number of classes for which the network was made."""
        return self._default("num_classes")

    def _default(self, name: str) -> int:
        default: int = inspect.signature(self.build).parameters[name].default
        return default


MODELS: dict[str, Entry] = {}
"""Every network by name; suites walk it."""


def register(
    name: str, size: int, smallest: int | None = None, parameters: int | None = None
) -> Callable[[Builder], Builder]:
    """Register a class or a function that builds a network, under a name, as a decorator.

    `size` is the height and width of the images for which it is made, `smallest` of the smallest
    that it reads (`size`, if left out), `parameters` their number.  The builder takes num_classes
    and in_channels, with defaults of its own, and options of its own.  Raises ValueError if the
    name is taken.

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
        least = size if smallest is None else smallest
        MODELS[name] = Entry(builder, size, least, parameters)
        return builder

    return add


def list_models() -> list[str]:
    """List the names that `create_model` takes.

    >>> "lenet5" in list_models()
    True
    """
    return sorted(MODELS)


def create_model(
    name: str, num_classes: int | None = None, in_channels: int | None = None, **options: Any
) -> Module:
    """Build a network by its name, or by a pattern; `options` are its own.

    Without `num_classes` and `in_channels` the network has those for which it was made: LeNet-5
    ten classes of grey digits, those for ImageNet 1000 of colour photographs.  Initial values come
    from the global generator (`cr.manual_seed`).  Raises ValueError for an unknown name, with the
    nearest known ones, and for less than one class or channel.

    >>> import chainrule as cr
    >>> cr.create_model("lenet5", num_classes=3).fc2
    Linear(in_features=84, out_features=3, bias=True)
    >>> cr.create_model("resnet20").conv1.in_channels
    3
    >>> cr.create_model("[(CONV-RELU)*2-POOL]*2-(FC-RELU)*1,SOFTMAX", num_classes=4).fc
    Linear(in_features=256, out_features=4, bias=True)
    >>> cr.create_model("vgg-16")
    Traceback (most recent call last):
    chainrule.errors.ShapeError: create_model: expected a known model; got name 'vgg-16'; \
did you mean 'vgg16', 'vgg19', 'vgg13'?
    """
    sizes = {"num_classes": num_classes, "in_channels": in_channels}
    given = {key: value for key, value in sizes.items() if value is not None}
    if not isinstance(name, str):
        raise failure("create_model", "a network's name", error=KindError, name=name)
    for key, count in given.items():
        known = integer(count, f"create_model: {key}")
        expect(known >= 1, "create_model", f"{key} of at least 1", value=known)
    build = partial(PatternNet, name) if is_pattern(name) else find(name).build
    model = build(**given, **options)
    # What save_weights writes into the file, so that the network can be built from it.
    model.__dict__["created"] = {"name": name, "options": {**given, **options}}
    return model


def load_model(path: str | os.PathLike[str]) -> Module:
    """Build the network that a file of `save_weights` tells of, with its weights, for evaluation.

    Raises CheckpointError for a file that does not say what it is of.

    >>> import tempfile, pathlib
    >>> import chainrule as cr
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "w.safetensors"
    >>> cr.save_weights(cr.create_model("resnet20", 5), path)
    >>> load_model(path).fc.out_features
    5
    """
    about = read_about(path).get("model")
    if not isinstance(about, dict) or "name" not in about:
        what = "create_model(NAME) and load_weights(model, path) read it"
        raise CheckpointError(f"{path}: it does not say which network it is of; {what}")
    with device("meta"):
        model = create_model(str(about["name"]), **dict(about.get("options", {})))
    load_weights(model, path)
    return model.eval()


def input_size(name: str) -> int:
    """Give the height and width of the images that a network reads.

    Raises ValueError for an unknown name, as `create_model`.

    >>> input_size("lenet5")
    32
    """
    return find(name, "input_size").size


def find(name: str, asked: str = "create_model") -> Entry:
    """Give the entry of a name; ValueError for an unknown one, in the name of who asked.

    >>> find("lenet5").size
    32
    """
    entry = MODELS.get(name)
    if entry is None:
        near = difflib.get_close_matches(str(name).lower(), MODELS, n=3, cutoff=0.5)
        known = ", ".join(map(repr, near or list_models()))
        hint = f"did you mean {known}?" if near else f"there are {known}"
        raise failure(asked, "a known model", error=ShapeError, hint=hint, name=name)
    return entry
