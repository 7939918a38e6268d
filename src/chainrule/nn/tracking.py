"""Following a module from outside: the layer's path in errors, gradients at its borders."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from chainrule.engine.op import FUNCTIONS
from chainrule.engine.tensor import Tensor
from chainrule.errors import ChainruleError


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


class BackwardWatch:
    """Calls a module's backward hooks once the gradients at both of its borders are known.

    Inputs and outputs pass through an identity (clone), whose gradients are the module's own
    and not those of other users of the same tensors.
    """

    def __init__(self, module: Any, hooks: dict[int, Any]) -> None:
        self.module, self.hooks = module, hooks
        self.gx: list[Tensor | None] = []
        self.gy: list[Tensor | None] = []
        self.missing = 0

    def enter(self, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        """Watch the inputs that want a gradient."""
        self.gx = [None] * len(inputs)
        return tuple([self._watch(x, self.gx, i, True) for i, x in enumerate(inputs)])

    def leave(self, output: Any) -> Any:
        """Watch the outputs."""
        outputs = output if isinstance(output, tuple) else (output,)
        self.gy = [None] * len(outputs)
        watched = tuple([self._watch(y, self.gy, i, False) for i, y in enumerate(outputs)])
        return watched if isinstance(output, tuple) else watched[0]

    def _watch(self, value: Any, table: list[Any], index: int, counts: bool) -> Any:
        if not (isinstance(value, Tensor) and value.requires_grad):
            return value
        self.missing += counts
        copy: Tensor = FUNCTIONS["clone"](value)

        def arrived(gradient: Tensor) -> Tensor | None:
            table[index] = gradient
            if counts:
                self.missing -= 1
            if self.missing == 0 and (counts or not any(g is not None for g in self.gx)):
                return self._call(counts)
            return None

        copy.register_hook(arrived)
        return copy

    def _call(self, at_input: bool) -> Tensor | None:
        for hook in list(self.hooks.values()):
            result = hook(self.module, tuple(self.gx), tuple(self.gy))
            if result is not None and at_input and len(self.gx) == 1:
                changed = result[0] if isinstance(result, tuple) else result
                self.gx = [changed]
        return self.gx[0] if at_input and len(self.gx) == 1 else None
