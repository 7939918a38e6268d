"""The table of readers: what runs an operator of ONNX, by the operator's name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from chainrule.engine.tensor import Tensor
from chainrule.errors import DataError
from chainrule.formats.onnx.common import UnsupportedOperator
from chainrule.ops.asking import is_floating_point as is_floating

Run = Callable[..., Any]
"""Takes the node and its inputs (None for one left out); gives a tensor, or a tuple of them."""


@dataclass
class Node:
    """An operator as it stands in the file."""

    kind: str
    name: str
    version: int  # since when the operator means what it means here
    attributes: dict[str, Any]
    wanted: tuple[bool, ...]  # which outputs somebody reads
    owner: Any = None  # the module, whose mode decides for batch norm and dropout
    constant: tuple[bool, ...] = ()  # which inputs stand in the file
    domain: str = ""

    @property
    def training(self) -> bool:
        """Whether the module trains."""
        return bool(self.owner is not None and self.owner.training)

    def get(self, name: str, default: Any = None) -> Any:
        """Give an attribute, or the default where it is left out."""
        return self.attributes.get(name, default)

    def flag(self, name: str, default: int = 0) -> bool:
        """Give an attribute that is 0 or 1."""
        return bool(self.attributes.get(name, default))

    def __str__(self) -> str:
        return f"node {self.name!r} ({self.kind})"


@dataclass(frozen=True)
class Reader:
    """How one operator is run, and which of its versions that is written for.

    `settings` are inputs that are no parameters even if they are floats in the file, `statistics`
    those that become buffers; `check` tells what of a node's attributes is not supported.  A
    `scoped` reader is handed the values around its node, for the graphs inside it.
    """

    run: Run
    since: frozenset[int]
    settings: frozenset[int] = frozenset()
    statistics: frozenset[int] = frozenset()
    check: Callable[[Node], str | None] | None = None
    scoped: bool = False


READERS: dict[str, Reader] = {}
"""By the operator's name in ONNX's own domain."""


def reads(
    *kinds: str,
    since: str,
    settings: Sequence[int] = (),
    statistics: Sequence[int] = (),
    check: Callable[[Node], str | None] | None = None,
    scoped: bool = False,
) -> Callable[[Run], Run]:
    """Register a function for operators; `since` lists the versions it is written for."""

    def add(run: Run) -> Run:
        versions = frozenset(map(int, since.split()))
        reader = Reader(run, versions, frozenset(settings), frozenset(statistics), check, scoped)
        for kind in kinds:
            READERS[kind] = reader
        return run

    return add


def refuse(n: Node, why: str) -> UnsupportedOperator:
    """Make the error for what a node asks for and is not here."""
    return UnsupportedOperator(f"onnx: {n}: {why} is not supported")


def integers(value: Tensor) -> list[int]:
    """Give the whole numbers of a tensor that says sizes or axes."""
    if value.dtype.kind not in "iu":
        raise DataError(f"expected whole numbers for sizes or axes, got {value.dtype}")
    found = value.reshape((-1,)).tolist() if value.ndim != 1 else value.tolist()
    return [int(i) for i in found]


def number(value: Tensor) -> Any:
    """Give the one number in a tensor."""
    if value.array.size != 1:
        raise DataError(f"expected a single number, got a tensor of shape {value.shape}")
    return value.item()


def axis_of(n: Node, axis: int, ndim: int) -> int:
    """Count an axis from the front; DataError where there is none."""
    if not -ndim <= axis < max(ndim, 1):
        raise DataError(f"{n}: axis {axis} of a tensor of {ndim} axes")
    return axis % ndim if ndim else 0


def axes_of(n: Node, given: Tensor | None, ndim: int) -> list[int] | None:
    """Give the axes, an attribute in old versions and an input in new ones; None if left out."""
    axes = n.get("axes") if given is None else integers(given)
    if axes is None:
        return None
    found = [axis_of(n, axis, ndim) for axis in axes]
    if len(set(found)) != len(found):
        raise DataError(f"{n}: an axis is named twice in {list(axes)}")
    return found


def like(value: Any, x: Tensor) -> Tensor:
    """Make a tensor of no axes, of another tensor's dtype."""
    return Tensor(np.array(value, x.dtype))


def need_floating(n: Node, *inputs: Tensor | None) -> None:
    """Refuse whole numbers where only floating-point values are supported."""
    for x in inputs:
        if x is not None and not is_floating(x):
            raise refuse(n, f"an input of {x.dtype}")
