"""Every operation gives the same through the graph, without data, and on another array library."""

from __future__ import annotations

import importlib.util
import pkgutil
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule.engine import dispatch
from chainrule.engine.dispatch import Backend
from chainrule.engine.op import Op, Spec
from chainrule.engine.sample import Sample, normal
from chainrule.engine.tensor import Tensor, apply_all, meta_tensor
from chainrule.errors import BackendError
from tests import checks
from tests.foreign import Foreign, Namespace, own, wrap
from tests.test_registry import REGISTRY, samples_of


def leaves(arrays: checks.Arrays) -> list[Tensor]:
    return [cr.tensor(a, requires_grad=a.dtype.kind == "f") for a in arrays]


def through_the_graph(sample: Sample, dtype: Any, rtol: float = 0.0) -> None:
    """Compare with the operation run on plain arrays; to the last bit if `rtol` is 0."""
    plain = checks.run(sample, 0, dtype)
    inputs = leaves(plain.arrays)
    outputs = apply_all(sample.op, *inputs)
    for k, (ours, y) in enumerate(zip(outputs, plain.outputs, strict=True)):
        checks.same(sample, f"output {k} through the graph", ours.array, y, rtol, rtol)
        live = plain.live[k] and any(plain.floats)
        checks.require(ours.requires_grad == live, sample, f"output {k} wants a gradient: {live}")
    if not any(plain.live) or not any(plain.floats):
        return
    gys = plain.upstream()
    wanted = plain.backward(gys)
    pairs = [(y, cr.tensor(g)) for y, g in zip(outputs, gys, strict=True) if g is not None]
    sum((y * g).sum() for y, g in pairs).backward()
    for i, (x, g) in enumerate(zip(inputs, wanted, strict=True)):
        ours = None if x.grad is None else x.grad.array
        if g is not None:
            what = f"the gradient of input {i} through the graph"
            checks.same(sample, what, ours, g, max(rtol, 1e-5), max(rtol, 1e-6))


@pytest.mark.parametrize("name", REGISTRY)
def test_graph(name: str) -> None:
    for sample in samples_of(name):
        for dtype in checks.FLOATS:
            with cr.use_backend("numpy"):
                through_the_graph(sample, dtype)


def without_data(sample: Sample) -> None:
    plain = checks.run(sample)
    if any(None in spec.shape for spec in plain.specs) or not plain.op.infers:
        return
    outputs = apply_all(sample.op, *(meta_tensor(a.shape, a.dtype) for a in plain.arrays))
    for k, (ours, y) in enumerate(zip(outputs, plain.outputs, strict=True)):
        checks.require(ours.is_meta, sample, f"output {k} has no data")
        told = (ours.shape, ours.dtype)
        checks.require(told == (y.shape, y.dtype), sample, f"output {k} is as told", meta=told)


@pytest.mark.parametrize("name", REGISTRY)
def test_meta(name: str) -> None:
    for sample in samples_of(name):
        without_data(sample)


def on_another_library(sample: Sample) -> None:
    plain, xp = checks.run(sample), Namespace()
    gys = plain.upstream()
    try:
        outputs, saved = plain.op.forward(xp, *map(wrap, plain.arrays))
        gradients: Any = ()
        if any(plain.live):
            gy = wrap(gys[0]) if len(gys) == 1 else tuple(map(wrap, gys))
            gradients = plain.op.backward(xp, saved, gy, plain.floats)
    except TypeError as error:
        raise AssertionError(f"{sample}: {error}") from error
    for k, (ours, y) in enumerate(zip(outputs, plain.outputs, strict=True)):
        checks.require(isinstance(ours, Foreign), sample, f"output {k} is of that library")
        checks.same(sample, f"output {k} on another library", own(ours), y)
    wanted = plain.backward(gys) if gradients else ()
    for i, (g, w) in enumerate(zip(gradients, wanted, strict=True)):
        checks.require(g is None or isinstance(g, Foreign), sample, f"gradient {i} is of it")
        checks.same(sample, f"gradient {i} on another library", own(g), w)


@pytest.mark.parametrize("name", REGISTRY)
def test_namespace(name: str) -> None:
    for sample in samples_of(name):
        on_another_library(sample)


def under(backend: Backend, op_class: type[Op]) -> None:
    """Compare the backend's kernel pair with the reference, and prove that the pair really ran."""
    token = dispatch._override.set(backend)
    before, samples = backend.calls[op_class.__name__], list(op_class.samples())
    try:
        for sample in samples:
            through_the_graph(sample, np.dtype("float32"), rtol=1e-5)
    finally:
        dispatch._override.reset(token)
    ran = backend.calls[op_class.__name__] - before
    checks.require(ran > 0, samples[0], f"the kernel pair of {backend} runs")


def test_every_backend(monkeypatch: pytest.MonkeyPatch) -> None:
    rooms = importlib.util.find_spec("chainrule.backends")
    for found in pkgutil.iter_modules(rooms.submodule_search_locations if rooms else []):
        try:
            backend = dispatch._find(found.name)
        except BackendError as error:
            pytest.skip(str(error))
        for name in [n for n, size in vars(backend.limits).items() if isinstance(size, int)]:
            monkeypatch.setattr(backend.limits, name, 0)  # samples are small
        for op_class in backend.table:
            under(backend, op_class)


# Planted errors


@dataclass(frozen=True)
class Cube(Op, register=False):
    """y = x^3, with a bare NumPy function in forward or backward if asked."""

    bare: str = ""
    grows: bool = False

    def infer(self, x: Spec) -> tuple[Spec, ...]:
        return (Spec((*x.shape, 1), x.dtype) if self.grows else x,)

    def forward(self, xp: Any, x: Any) -> Any:
        xp = np if self.bare == "forward" else xp
        return (xp.power(x, 3),), x

    def backward(self, xp: Any, x: Any, gy: Any, needs: tuple[bool, ...]) -> Any:
        xp = np if self.bare == "backward" else xp
        return (gy * xp.multiply(3 * x, x),)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        yield Sample(cls(), normal(2, 3))


class GoodPair:
    def supports(self, op: Any, arrays: Any) -> bool:
        return True

    def forward(self, op: Any, arrays: Any) -> Any:
        return op.forward(np, *arrays)

    def backward(self, op: Any, saved: Any, gy: Any, needs: Any) -> Any:
        return op.backward(np, saved, gy, needs)


class WrongForward(GoodPair):
    def forward(self, op: Any, arrays: Any) -> Any:
        (y,), saved = op.forward(np, *arrays)
        return (y + 1,), saved


class WrongBackward(GoodPair):
    def backward(self, op: Any, saved: Any, gy: Any, needs: Any) -> Any:
        return tuple(2 * g for g in op.backward(np, saved, gy, needs))


class NeverRuns(GoodPair):
    def supports(self, op: Any, arrays: Any) -> bool:
        return False


def toy_backend(pair: type[Any]) -> Backend:
    backend = Backend("toy")
    backend.kernel(Cube)(pair)
    return backend


def test_good_operation_agrees() -> None:
    sample = Sample(Cube(), normal(2, 3))
    through_the_graph(sample, np.dtype("float64"))
    without_data(sample)
    on_another_library(sample)
    under(toy_backend(GoodPair), type(sample.op))


@pytest.mark.parametrize("where", ["forward", "backward"])
def test_bare_numpy_is_caught(where: str) -> None:
    with pytest.raises(AssertionError, match="use xp"):
        on_another_library(Sample(Cube(bare=where), normal(2, 3)))


def test_wrong_shape_without_data_is_caught() -> None:
    with pytest.raises(AssertionError, match="is as told"):
        without_data(Sample(Cube(grows=True), normal(2, 3)))


@pytest.mark.parametrize(
    ("pair", "what"),
    [(WrongForward, "output 0"), (WrongBackward, "gradient of input 0"), (NeverRuns, "pair of")],
)
def test_wrong_kernel_is_caught(pair: type[Any], what: str) -> None:
    with pytest.raises(AssertionError, match=what):
        under(toy_backend(pair), Cube)
