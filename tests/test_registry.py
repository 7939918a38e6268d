"""The suite that walks the registry: operations keep their promises, and each checker can fail."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import chainrule.ops
from chainrule.engine.op import OPS, Op, Spec
from chainrule.engine.sample import Sample, away_from_zero, integers, normal
from tests import checks
from tests.layouts import LAYOUTS

for _module in pkgutil.walk_packages(chainrule.ops.__path__, "chainrule.ops."):
    importlib.import_module(_module.name)

# Tests define operations too: those of the package are the registry's.
REGISTRY = sorted(name for name, cls in OPS.items() if cls.__module__.startswith("chainrule."))


def samples_of(name: str) -> list[Sample]:
    """Give an operation's samples; test_has_samples tells if there are none."""
    try:
        return list(OPS[name].samples())
    except NotImplementedError:
        return []


def test_registry_is_not_empty() -> None:
    assert len(REGISTRY) > 50
    assert {OPS[name].__module__.split(".")[1] for name in REGISTRY} <= {"ops", "engine"}


@pytest.mark.parametrize("name", REGISTRY)
def test_has_samples(name: str) -> None:
    checks.check_has_samples(OPS[name])


@pytest.mark.parametrize("name", REGISTRY)
@pytest.mark.parametrize("check", checks.EVERY_SAMPLE, ids=lambda c: c.__name__[6:])
def test_operation(check: Callable[[Sample], None], name: str) -> None:
    run_all(check, samples_of(name))


# Planted errors: a good operation, and for each checker ways to break it.


@pytest.fixture
def toy() -> Iterator[type[Any]]:
    """A good operation of two inputs and two outputs; leaves the registry as it was."""
    before = dict(OPS)

    @dataclass(frozen=True)
    class Toy(Op):
        """u = a x * y (broadcast over the first axis of x), v = sum of x; indices ride along."""

        a: float = 2.0

        def infer(self, x: Spec, y: Spec, i: Spec) -> tuple[Spec, ...]:
            return Spec(x.shape, x.dtype), Spec((), x.dtype), Spec(i.shape, i.dtype, False)

        def forward(self, xp: Any, x: Any, y: Any, i: Any) -> Any:
            return (self.a * x * y, xp.sum(x), i + 1), (x, y)

        def backward(self, xp: Any, saved: Any, gy: Any, needs: tuple[bool, ...]) -> Any:
            (x, y), (gu, gv, _) = saved, gy
            gx = gw = None
            if needs[0]:
                gx = xp.zeros_like(x) if gu is None else self.a * y * gu
                gx = gx if gv is None else gx + gv
            if needs[1]:
                gw = xp.zeros_like(y) if gu is None else xp.sum(self.a * x * gu, axis=0)
            return gx, gw, None

        @classmethod
        def samples(cls) -> Iterator[Sample]:
            yield Sample(cls(), away_from_zero(4, 2, 3), normal(2, 3), integers(3, high=5))
            yield Sample(cls(a=-0.5), normal(3, 3), normal(3), integers(2, 2, high=5))

    Toy.__qualname__ = "Toy"
    try:
        yield Toy
    finally:
        OPS.clear()
        OPS.update(before)


def test_good_operation_passes(toy: type[Any]) -> None:
    checks.check_has_samples(toy)
    for check in checks.EVERY_SAMPLE:
        run_all(check, list(toy.samples()))


def broken_samples(toy: type[Any], **methods: Any) -> list[Sample]:
    """The good operation with methods replaced."""
    cls = dataclass(frozen=True)(type("Broken", (toy,), dict(methods)))
    return list(cls.samples())


def run_all(check: Callable[[Sample], None], samples: list[Sample]) -> None:
    for sample in samples:
        check(sample)


def wrap_backward(change: Callable[..., Any]) -> Callable[[type[Any]], dict[str, Any]]:
    """Plant an error behind the good backward: change(gradients, saved, gy, needs)."""

    def plant(toy: type[Any]) -> dict[str, Any]:
        def backward(self: Any, xp: Any, saved: Any, gy: Any, needs: Any) -> Any:
            return change(toy.backward(self, xp, saved, gy, needs), saved, gy, needs)

        return {"backward": backward}

    return plant


def wrap_forward(change: Callable[..., Any]) -> Callable[[type[Any]], dict[str, Any]]:
    """Plant an error behind the good forward: change(outputs, saved, x)."""

    def plant(toy: type[Any]) -> dict[str, Any]:
        def forward(self: Any, xp: Any, x: Any, y: Any, i: Any) -> Any:
            return change(*toy.forward(self, xp, x, y, i), x)

        return {"forward": forward}

    return plant


def wrap_infer(change: Callable[..., Any]) -> Callable[[type[Any]], dict[str, Any]]:
    """Plant an error behind the good infer: change(specs)."""
    return lambda toy: {"infer": lambda self, *specs: change(toy.infer(self, *specs))}


def _times(factor: float, index: int) -> Callable[..., Any]:
    return lambda g, *_: tuple(
        factor * v if i == index and v is not None else v for i, v in enumerate(g)
    )


def _forgets_second_output(g: Any, saved: Any, gy: Any, needs: Any) -> Any:
    return (g[0] - gy[1] if gy[1] is not None and needs[0] else g[0]), *g[1:]


def _needs_every_output(g: Any, saved: Any, gy: Any, needs: Any) -> Any:
    alone = gy[0] is None or gy[1] is None
    return tuple(None if v is None else 0 * v for v in g) if alone else g


def _computes_all(g: Any, saved: Any, gy: Any, needs: Any) -> Any:
    return tuple(np.zeros(3) if v is None else v for v in g)


def _changes_with_needs(g: Any, saved: Any, gy: Any, needs: Any) -> Any:
    return (g[0] if needs[1] or g[0] is None else 0 * g[0]), *g[1:]


def _writes_gy(g: Any, saved: Any, gy: Any, needs: Any) -> Any:
    gy[0][...] *= 2
    return g


def _writes_saved(g: Any, saved: Any, gy: Any, needs: Any) -> Any:
    saved[-1][...] += 1
    return g[0] if g[0] is None else g[0] * saved[-1], *g[1:]


def _returns_saved(g: Any, saved: Any, gy: Any, needs: Any) -> Any:
    return saved[0], *g[1:]


def _returns_view_of_saved(g: Any, saved: Any, gy: Any, needs: Any) -> Any:
    return saved[0][::-1], *g[1:]


def _reads_memory(a: Any) -> Any:
    """The values in the order of memory, as if that were the order of the axes."""
    return a.ravel(order="K").reshape(a.shape)


def _reads_gy_memory(toy: type[Any]) -> dict[str, Any]:
    def backward(self: Any, xp: Any, saved: Any, gy: Any, needs: Any) -> Any:
        gy = (None if gy[0] is None else _reads_memory(gy[0]), *gy[1:])
        return toy.backward(self, xp, saved, gy, needs)

    return {"backward": backward}


def _divides_by_gy_stride(toy: type[Any]) -> dict[str, Any]:
    def backward(self: Any, xp: Any, saved: Any, gy: Any, needs: Any) -> Any:
        if gy[0] is not None and 0 in gy[0].strides:
            gy = (0 * gy[0], *gy[1:])
        return toy.backward(self, xp, saved, gy, needs)

    return {"backward": backward}


def _reads_input_memory(toy: type[Any]) -> dict[str, Any]:
    def forward(self: Any, xp: Any, x: Any, y: Any, i: Any) -> Any:
        return toy.forward(self, xp, _reads_memory(x), y, i)

    return {"forward": forward}


def _writes_input(outputs: Any, saved: Any, x: Any) -> Any:
    x += 1
    return outputs, saved


def _saves_scratch(outputs: Any, saved: Any, x: Any) -> Any:
    return outputs, (*saved, np.ones(x.shape))


def _forward_saves_scratch(toy: type[Any]) -> dict[str, Any]:
    def backward(self: Any, xp: Any, saved: Any, gy: Any, needs: Any) -> Any:
        return _writes_saved(toy.backward(self, xp, saved[:2], gy, needs), saved, gy, needs)

    return {**wrap_forward(_saves_scratch)(toy), "backward": backward}


def _short_of_float32(g: Any, saved: Any, gy: Any, needs: Any) -> Any:
    return tuple(
        v.astype("float16").astype("float32") if v is not None and v.dtype == "float32" else v
        for v in g
    )


PLANTED: dict[str, tuple[Callable[[Sample], None], Callable[[type[Any]], dict[str, Any]]]] = {
    "a factor in one gradient": (checks.check_gradients, wrap_backward(_times(1.0001, 1))),
    "a sign": (checks.check_gradients, wrap_backward(_times(-1, 0))),
    "an output forgotten": (checks.check_gradients, wrap_backward(_forgets_second_output)),
    "wrong for one output alone": (checks.check_gradients, wrap_backward(_needs_every_output)),
    "None for an input that matters": (
        checks.check_gradients,
        wrap_backward(lambda g, *_: (None, *g[1:])),
    ),
    "NaN": (checks.check_gradients, wrap_backward(_times(np.nan, 0))),
    "a gradient for each output": (checks.check_gradients, wrap_backward(lambda g, *_: g[:2])),
    "needs ignored": (checks.check_needs, wrap_backward(_computes_all)),
    "needs changes the others": (checks.check_needs, wrap_backward(_changes_with_needs)),
    "infer's shape": (
        checks.check_specs,
        wrap_infer(lambda s: (s[0]._replace(shape=(*s[0].shape, 1)), *s[1:])),
    ),
    "infer's size": (
        checks.check_specs,
        wrap_infer(lambda s: (s[0]._replace(shape=(9, *s[0].shape[1:])), *s[1:])),
    ),
    "infer's NumPy integers": (
        checks.check_specs,
        wrap_infer(lambda s: (s[0]._replace(shape=tuple(map(np.int64, s[0].shape))), *s[1:])),
    ),
    "infer's number of outputs": (checks.check_specs, wrap_infer(lambda s: s[:2])),
    "float64 out of float32": (
        checks.check_specs,
        wrap_forward(lambda y, saved, x: ((np.float64(1) * y[0], *y[1:]), saved)),
    ),
    "an input written": (checks.check_ownership, wrap_forward(_writes_input)),
    "gy written": (checks.check_ownership, wrap_backward(_writes_gy)),
    "saved state written": (checks.check_ownership, _forward_saves_scratch),
    "a saved array returned": (checks.check_ownership, wrap_backward(_returns_saved)),
    "a view of it returned": (checks.check_ownership, wrap_backward(_returns_view_of_saved)),
    "gy read in memory's order": (checks.check_gy_layouts, _reads_gy_memory),
    "gy of stride 0 mistaken": (checks.check_gy_layouts, _divides_by_gy_stride),
    "inputs read in memory's order": (checks.check_input_layouts, _reads_input_memory),
    "a gradient of float64": (
        checks.check_gradient_kinds,
        wrap_backward(lambda g, *_: (g[0], g[1].astype("float64"), None)),
    ),
    "a gradient not summed back": (
        checks.check_gradient_kinds,
        wrap_backward(lambda g, *_: (g[0], np.broadcast_to(g[1], g[0].shape), None)),
    ),
    "float32 computed in float16": (
        checks.check_gradient_kinds,
        wrap_backward(_short_of_float32),
    ),
    "a repr that lies": (
        checks.check_settings,
        lambda toy: {"__repr__": lambda self: "Broken(a=3.5)"},
    ),
    "a repr that is no expression": (
        checks.check_settings,
        lambda toy: {"__repr__": lambda self: "<Broken>"},
    ),
    "equal to nobody": (checks.check_settings, lambda toy: {"__eq__": lambda self, other: False}),
    "no hash": (checks.check_settings, lambda toy: {"__hash__": None, "__eq__": object.__eq__}),
}


@pytest.mark.parametrize("error", PLANTED)
def test_planted_error_is_caught(toy: type[Any], error: str) -> None:
    check, plant = PLANTED[error]
    samples = broken_samples(toy, **plant(toy))
    with pytest.raises(AssertionError, match="Broken"):
        run_all(check, samples)


def test_every_checker_has_a_planted_error() -> None:
    assert {check for check, _ in PLANTED.values()} == set(checks.EVERY_SAMPLE)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("shape", [(), (3,), (2, 3), (2, 3, 4, 5)])
def test_layouts_change_strides_alone(layout: str, shape: tuple[int, ...]) -> None:
    a = np.arange(np.prod(shape), dtype="float64").reshape(shape)
    moved = LAYOUTS[layout](a)
    np.testing.assert_array_equal(moved, a)
    assert moved.shape == shape
    assert moved.strides != a.strides or a.ndim < 2 or (layout == "channels last" and a.ndim < 3)


def test_missing_samples_are_caught(toy: type[Any]) -> None:
    class Unsampled(toy):  # type: ignore[misc]
        samples = Op.samples

    class Empty(toy):  # type: ignore[misc]
        @classmethod
        def samples(cls) -> Iterator[Sample]:
            return iter(())

    class Borrowed(toy):  # type: ignore[misc]
        @classmethod
        def samples(cls) -> Iterator[Sample]:
            return toy.samples()  # type: ignore[no-any-return]

    @dataclass(frozen=True)
    class Steady(toy):  # type: ignore[misc]
        @classmethod
        def samples(cls) -> Iterator[Sample]:
            yield next(toy.samples.__func__(cls))

    for cls in (Unsampled, Empty, Borrowed, Steady):
        with pytest.raises(AssertionError, match=cls.__name__):
            checks.check_has_samples(cls)


def test_settings_that_are_no_values_are_caught(toy: type[Any]) -> None:
    @dataclass
    class Mutable(Op):
        a: float = 2.0
        infer, forward = toy.infer, toy.forward

    class Undecorated(toy):  # type: ignore[misc]
        pass

    inputs = normal(2, 3), normal(3), integers(2, high=3)
    for op, what in (
        (Mutable(), "frozen"),
        (Undecorated(), "frozen"),
        (toy(a=[1.0]), "plain value"),
        (toy(a=np.float64(1.0)), "plain value"),
        (toy(a=(1, (2.0, np.int64(3)))), "plain value"),
    ):
        with pytest.raises(AssertionError, match=what):
            checks.check_settings(Sample(op, *inputs))
    checks.check_settings(Sample(toy(a=(1, (None, "same", 2.5), True)), *inputs))
