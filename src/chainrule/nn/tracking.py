"""Following a module from outside: the layer's path in errors, gradients at its borders."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from chainrule.engine.op import Array, Op, Spec
from chainrule.engine.tensor import Tensor, apply_all
from chainrule.errors import ChainruleError, KindError, failure


def note_path(error: ChainruleError, module: Any) -> None:
    """Complete the message with the layer's path as the error passes outwards.

    Each module that the error leaves adds itself, so that nothing is spent on the path while
    all goes well.
    """
    trail: list[Any] = error.__dict__.setdefault("modules", [])
    trail.append(module)
    names = [
        next((name for name, m in parent.named_modules() if m is child), "?")
        for child, parent in pairwise(trail)
    ]
    original = error.__dict__.setdefault("original", str(error))
    layer, path = type(trail[0]).__name__, ".".join(reversed(names))
    error.args = (f"{original}; in layer {f'{path} ({layer})' if path else layer}",)


def retold(error: ChainruleError, by: ChainruleError) -> ChainruleError:
    """Let an error that takes another's place tell the path of the layer in which that began."""
    by.__dict__["modules"] = list(error.__dict__.get("modules", []))
    return by


@dataclass(frozen=True, eq=False)
class Border(Op, register=False):
    """y = x for every value that crosses a module's border; `arrive` sees the gradients."""

    arrive: Callable[[tuple[Any, ...]], tuple[Any, ...]] = field(repr=False)
    fresh = False  # a hook's gradient may be anybody's array

    def infer(self, *xs: Spec) -> tuple[Spec, ...]:
        """The same."""
        return xs

    def forward(self, xp: Any, *xs: Array) -> tuple[tuple[Array, ...], Any]:
        """Hand the arrays on."""
        return xs, None

    def backward(self, xp: Any, saved: Any, gy: Any, needs: tuple[bool, ...]) -> tuple[Any, ...]:
        """Hand on what `arrive` makes of the gradients."""
        return self.arrive(gy if isinstance(gy, tuple) else (gy,))


class BackwardWatch:
    """Calls a module's backward hooks once the gradients at both of its borders are known.

    Inputs and outputs pass through an identity, whose gradients are the module's own and not
    those of other users of the same tensors.  Without an input that wants a gradient the hooks
    are called at the outputs.
    """

    def __init__(self, module: Any, hooks: dict[int, Any]) -> None:
        self.module, self.hooks = module, hooks
        self.inputs = self.outputs = 0
        self.entering: list[int] = []
        self.leaving: list[int] = []
        self.gy: tuple[Tensor | None, ...] = ()

    def enter(self, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        """Watch the inputs that want a gradient."""
        self.inputs = len(inputs)
        crossed, self.entering = _cross(Border(self._at_inputs), inputs)
        return crossed

    def leave(self, output: Any) -> Any:
        """Watch the outputs."""
        outputs = output if isinstance(output, tuple) else (output,)
        self.outputs = len(outputs)
        crossed, self.leaving = _cross(Border(self._at_outputs), outputs)
        return crossed if isinstance(output, tuple) else crossed[0]

    def _at_outputs(self, gradients: tuple[Any, ...]) -> tuple[Any, ...]:
        self.gy = _spread(gradients, self.leaving, self.outputs)
        if not self.entering:
            self._call((None,) * self.inputs)
        return gradients

    def _at_inputs(self, gradients: tuple[Any, ...]) -> tuple[Any, ...]:
        gx = self._call(_spread(gradients, self.entering, self.inputs))
        return tuple([None if gx[i] is None else gx[i].array for i in self.entering])

    def _call(self, gx: tuple[Any, ...]) -> tuple[Any, ...]:
        for hook in list(self.hooks.values()):
            result = hook(self.module, gx, self.gy)
            if result is not None:
                gx = _replaced(gx, result if isinstance(result, tuple) else (result,))
        return gx


def _cross(border: Border, values: tuple[Any, ...]) -> tuple[tuple[Any, ...], list[int]]:
    """Take the tensors that want a gradient across; tell their places."""
    places = [i for i, x in enumerate(values) if isinstance(x, Tensor) and x.requires_grad]
    crossed = list(values)
    outside = apply_all(border, *[values[i] for i in places]) if places else ()
    for i, y in zip(places, outside, strict=True):
        crossed[i] = y
    return tuple(crossed), places


def _spread(gradients: tuple[Any, ...], places: list[int], count: int) -> tuple[Any, ...]:
    """Put the gradients at their places among `count` values, None elsewhere."""
    found: list[Any] = [None] * count
    for i, g in zip(places, gradients, strict=True):
        found[i] = None if g is None else Tensor(g)
    return tuple(found)


def _replaced(gx: tuple[Any, ...], result: tuple[Any, ...]) -> tuple[Any, ...]:
    """Check the gradients that a hook puts in place of the inputs'."""
    if len(result) != len(gx):
        raise failure("backward hook", f"{len(gx)} gradients, one an input", result=len(result))
    for new, old in zip(result, gx, strict=True):
        if new is not None and not isinstance(new, Tensor):
            raise failure("backward hook", "tensors or None", error=KindError, result=type(new))
        if new is not None and old is not None and new.shape != old.shape:
            raise failure("backward hook", f"a gradient of the shape {old.shape}", result=new)
    return result
