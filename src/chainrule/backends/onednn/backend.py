"""The table that the kernel files of this folder fill, and what all pairs share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from ctypes import addressof, sizeof
from typing import Any, NamedTuple, TypeVar

import numpy as np

from chainrule.backends.onednn import constants as c
from chainrule.backends.onednn.arrays import address, empty_as, is_dense, is_float32, laid_as
from chainrule.backends.onednn.loops import repeated
from chainrule.backends.onednn.own import FLOAT, INT, LONG, POINTER, have_kernels, kernel
from chainrule.backends.onednn.primitives import Primitive, describe, plain
from chainrule.backends.onednn.runtime import Current, cached, runtime, work
from chainrule.engine.dispatch import Backend
from chainrule.engine.memory import keep_freed_memory
from chainrule.engine.op import Array, Op
from chainrule.engine.state import ANOMALY
from chainrule.engine.threads import hold_blas, release_blas

P = TypeVar("P")


class Limits:
    """Sizes below which NumPy is sooner done than a parallel region begins; measured."""

    small = 1 << 11  # elements
    rows = 1 << 7  # elements of what our own kernels compute row by row
    product = 1 << 18  # multiply-adds
    function = 1 << 17  # elements of arithmetic that NumPy does in one pass
    passes = 1 << 14  # elements of arithmetic that takes it several, and of reductions
    sum = 1 << 15  # elements of two gradients that meet
    update = 1 << 17  # elements of a parameter


class OneDNN(Backend):
    """The table of pairs; while it serves the process, BLAS keeps to one thread."""

    limits = Limits

    def __init__(self, name: str) -> None:
        super().__init__(name)
        # The library's pairs whose place our own kernels took; None where it has none.
        self.displaced: dict[type[Op], Any] = {}

    def ours(self, op_class: type[Op]) -> Callable[[type[P]], type[P]]:
        """Register the decorated class, by kernels of our own, in the place of the library's."""
        self.displaced.setdefault(op_class, self.table.get(op_class))
        return self.kernel(op_class)

    # Set by the room of programs, which needs this table: what runs one as a list of calls.
    run_compiled: Callable[[Any, Sequence[Any]], list[Any] | None] | None = None

    def run(self, program: Any, arrays: Sequence[Any]) -> list[Any]:
        """Run a program as a list of calls where it can be one, else step by step."""
        if self.run_compiled is not None and not ANOMALY.get():
            found = self.run_compiled(program, arrays)
            if found is not None:
                return found
        return super().run(program, arrays)

    def add(self, a: Any, b: Any, out: Any = None) -> Any:
        """Give a + b, with all threads where the arrays are large and laid out alike."""
        if a.size < Limits.sum or a.shape != b.shape or not is_float32(a, b) or not is_dense(a):
            return super().add(a, b, out)
        plan = sum_plan(a.size, relu=False)
        if plan is None or (out is not None and out is not a):
            return super().add(a, b, out)
        b, y = laid_as(a, b), empty_as(a) if out is None else out
        plan(address(a), address(b), address(y))
        return y

    def copy(self, a: Any, like: Any) -> Any:
        """Fill large arrays of few numbers, laid out as `like`; copy others with all threads."""
        if a.size < Limits.sum or not have_kernels() or not is_float32(a):
            return super().copy(a, like)
        if 0 in a.strides:
            return repeated(a, a.shape, not like.flags.c_contiguous and is_dense(like))
        if a.size < Limits.function or Current.thread.budget == 1 or not is_dense(a):
            return super().copy(a, like)
        return repeated(a, a.shape, not a.flags.c_contiguous)

    def update(self, rule: Any, w: Any, g: Any, states: Sequence[Any]) -> bool:
        """Step by our own kernel; without kernels SGD's large parameters by scaled sums."""
        written = [w, *[s for s in states if s is not None]]
        if not is_float32(g, *written) or any(a.size != g.size for a in written):
            return False
        # What may not be written is NumPy's to refuse.
        if not g.flags.c_contiguous or not all(
            a.flags.c_contiguous and a.flags.writeable for a in written
        ):
            return False
        if have_kernels():
            return _step_by_kernel(rule, w, g, states)
        return (
            rule.kernel == "sgd" and w.size >= Limits.update and _step_by_sums(rule, w, g, *states)
        )

    def finite(self, arrays: Sequence[Any]) -> bool:
        """Look at all by one call of our own kernel."""
        if not have_kernels() or not all(a.dtype == np.float32 and is_dense(a) for a in arrays):
            return False
        count = len(arrays)
        look = cached(("finite",), lambda: kernel("any_not_finite", POINTER, POINTER, LONG, INT))
        # Addresses have the size of a long wherever there are kernels.
        table = (LONG * (2 * count))(*[address(a) for a in arrays], *[a.size for a in arrays])
        start = addressof(table)
        sizes = start + count * sizeof(LONG)
        return not look(start, sizes, count, Current.thread.budget)

    def enter(self) -> None:
        """Hold BLAS, whose threads would spin against OpenMP's; keep what arrays free."""
        hold_blas()
        keep_freed_memory()

    def leave(self) -> None:
        """Give BLAS its threads back."""
        release_blas()


ONEDNN = OneDNN("onednn")


def sum_plan(size: int, relu: bool) -> Primitive | None:
    """Give (a, b, y) -> a + b or max(a + b, 0), None where the library has no fast one."""
    return cached(("add", size, relu), lambda: _build_sum(size, relu), work(3 * size))


_STATES, _NUMBERS = 3, 8  # that the kernels of updates take


def _step_by_kernel(rule: Any, w: Any, g: Any, states: Sequence[Any]) -> bool:
    name = rule.kernel
    if not name:
        return False
    types = (*[POINTER] * (2 + _STATES), LONG, *[FLOAT] * _NUMBERS, INT, INT)
    run = cached(("update", name), lambda: kernel(f"update_{name}", *types))
    own = [None if s is None else address(s) for s in states] + [None] * (_STATES - len(states))
    numbers = rule.numbers + (0.0,) * (_NUMBERS - len(rule.numbers))
    threads = 1 if w.size < Limits.update else Current.thread.budget
    run(address(w), address(g), *own, w.size, *numbers, rule.how, threads)
    return True


def _step_by_sums(rule: Any, w: Any, g: Any, v: Any) -> bool:
    """Step as w - r v with v = m v + g + c w; ahead of it (1 - r c) w - r g - r m v."""
    decay, rate, m, kept = rule.numbers
    if v is None or rule.first or kept != 1.0:
        return False
    if not _scale_add(v, g, m, -1.0 if rule.uphill else 1.0):
        return False
    if decay:
        _scale_add(v, w, 1.0, decay)
    if rule.ahead:
        _scale_add(w, g, 1.0 - rate * decay, rate if rule.uphill else -rate)
        _scale_add(w, v, 1.0, -rate * m)
    else:
        _scale_add(w, v, 1.0, -rate)
    return True


def _scale_add(a: Any, b: Any, scale_a: float, scale_b: float) -> bool:
    """Make scale_a * a + scale_b * b in the memory of the flat a."""
    plan = cached(("scale add", a.size), lambda: _build_scaled(a.size))
    if plan is None:
        return False
    first, second = (np.array([scale], np.float32) for scale in (scale_a, scale_b))
    where = address(a)
    plan(where, address(b), address(first), address(second), where)
    return True


def _build_scaled(size: int) -> Primitive | None:
    engine, flat = runtime().engine, plain((size,))
    description = describe("binary", engine, c.BINARY_ADD, flat, flat, flat, scaled=True)
    if description is None:
        return None
    args = (c.SRC, c.SRC_1, c.SCALE_0, c.SCALE_1, c.DST)
    return Primitive(description, args, f"scaled sum of two arrays of {size}")


def _build_sum(size: int, relu: bool) -> Primitive | None:
    engine, flat = runtime().engine, plain((size,))
    description = describe("binary", engine, c.BINARY_ADD, flat, flat, flat, relu=relu)
    if description is None:
        return None
    what = f"sum of two arrays of {size}" + (", then ReLU" if relu else "")
    return Primitive(description, (c.SRC, c.SRC_1, c.DST), what)


class ByReference(NamedTuple):
    """What a reference saved that a pair called, since the values were not for the library."""

    saved: Any


def run_reference(op: Any, arrays: Any) -> tuple[tuple[Array, ...], ByReference]:
    """Run the operation's own forward: where NaN or infinity must keep its meaning."""
    outputs, saved = op.forward(np, *arrays)
    return outputs, ByReference(saved)


def needed(gradients: Sequence[Array | None], needs: Sequence[bool]) -> tuple[Array | None, ...]:
    """Give the gradients that are asked for, and None for the others."""
    return tuple([g if need else None for g, need in zip(gradients, needs, strict=True)])


def reference_backward(
    op: Any, saved: ByReference, gy: Any, needs: tuple[bool, ...]
) -> tuple[Array | None, ...]:
    """Run the operation's own backward after `run_reference`."""
    gradients: tuple[Array | None, ...] = op.backward(np, saved.saved, gy, needs)
    return gradients
