"""What every operation promises, one checker a promise; each raises AssertionError with the facts.

The checkers run an operation's own methods on NumPy arrays, without any graph.  They walk the
registry in test_registry.py, which also plants an error for each, to see that it can fail.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from chainrule.engine.op import Op, Spec
from chainrule.engine.sample import Sample
from tests.layouts import LAYOUTS

SEEDS = (0, 1, 2)
FLOATS = (np.dtype("float64"), np.dtype("float32"))
STEP = 1e-5  # of the central difference, relative to max(1, |x|)
TOLERANCE = 1e-6  # CS231n's relative error |a - n| / max(|a|, |n|)
FLOOR = 1e-3  # below this part of the largest gradient, errors count against it

Arrays = tuple[np.ndarray, ...]
Gradients = tuple[Any, ...]


class Run:
    """One forward of a sample's operation: inputs (read-only), specs, outputs, saved state."""

    def __init__(self, sample: Sample, arrays: Sequence[np.ndarray]) -> None:
        self.sample = sample
        self.op: Op = sample.op
        self.arrays = tuple(locked(a) for a in arrays)
        self.floats = tuple(a.dtype.kind == "f" for a in self.arrays)
        outputs, self.saved = self._guarded(self.op.forward, np, *self.arrays)
        require(isinstance(outputs, tuple), sample, "forward gives (tuple of outputs, saved)")
        require(len(outputs) > 0, sample, "forward gives at least one output")
        self.outputs = tuple(np.asarray(y) for y in outputs)
        self.specs = self._specs()
        self.live = tuple(
            s.differentiable and y.dtype.kind == "f"
            for s, y in zip(self.specs, self.outputs, strict=False)
        )

    def _specs(self) -> tuple[Spec, ...]:
        if not self.op.infers:
            return self.op.describe(self.outputs, self.saved)
        return self.op.infer(*(Spec(a.shape, a.dtype) for a in self.arrays))

    def _guarded(self, method: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return method(*arguments)
        except ValueError as error:
            if "read-only" in str(error):
                raise AssertionError(
                    f"{self.sample}: {method.__name__} writes an array that is not its own"
                ) from error
            raise

    def upstream(self, seed: int = 7) -> Gradients:
        """Draw a gradient for each differentiable output, None for the others."""
        rng = np.random.default_rng(seed)
        return tuple(
            locked(np.asarray(rng.standard_normal(y.shape)).astype(y.dtype)) if live else None
            for y, live in zip(self.outputs, self.live, strict=True)
        )

    def backward(self, gys: Gradients, needs: tuple[bool, ...] | None = None) -> Gradients:
        """Run the backward; `gys` has an entry for each output."""
        gy = gys[0] if len(self.outputs) == 1 else gys
        needs = self.floats if needs is None else needs
        gradients = self._guarded(self.op.backward, np, self.saved, gy, needs)
        require(
            isinstance(gradients, tuple) and len(gradients) == len(self.arrays),
            self.sample,
            f"backward gives a tuple of {len(self.arrays)}, one for each input",
            got=gradients,
        )
        return gradients  # type: ignore[no-any-return]


def require(ok: bool, sample: Any, rule: str, /, **facts: Any) -> None:
    """Raise AssertionError that names the sample, the rule and the facts unless `ok`."""
    if not ok:
        told = "".join(f"\n  {key} = {value!r}" for key, value in facts.items())
        raise AssertionError(f"{sample}: expected that {rule}{told}")


def locked(array: np.ndarray) -> np.ndarray:
    """Give a view of the same values and strides that refuses to be written."""
    view = array.view()
    view.flags.writeable = False
    return view


def draw(sample: Sample, seed: int, dtype: np.dtype[Any] = FLOATS[0]) -> Arrays:
    """Draw the sample's inputs, every float in the dtype."""
    return tuple(a.astype(dtype) if a.dtype.kind == "f" else a for a in sample.draw(seed))


def run(sample: Sample, seed: int = 0, dtype: np.dtype[Any] = FLOATS[0]) -> Run:
    """Draw the inputs and run the forward."""
    return Run(sample, draw(sample, seed, dtype))


def same(
    sample: Any, what: str, ours: Any, theirs: Any, rtol: float = 1e-9, atol: float = 1e-11
) -> None:
    """Require equal values, shapes and dtypes; None equals None."""
    if ours is None or theirs is None:
        require(ours is None and theirs is None, sample, f"{what} agrees", a=ours, b=theirs)
        return
    a, b = np.asarray(ours), np.asarray(theirs)
    require(a.shape == b.shape, sample, f"{what} keeps its shape", a=a.shape, b=b.shape)
    if a.dtype.kind != "f":
        require(np.array_equal(a, b), sample, f"{what} agrees", a=a, b=b)
        return
    scale = max(1.0, float(np.max(np.abs(b), initial=0.0, where=np.isfinite(b))))
    close = np.isclose(a, b, rtol=rtol, atol=atol * scale, equal_nan=True)
    require(bool(close.all()), sample, f"{what} agrees", a=a, b=b)


# 1. Registered means tested


def check_has_samples(cls: type[Op]) -> None:
    """The operation yields samples, of its own class, and every setting varies among them."""
    try:
        samples = list(cls.samples())
    except NotImplementedError as error:
        raise AssertionError(f"{cls.__name__} is registered without samples") from error
    require(len(samples) > 0, cls.__name__, "samples() yields at least one sample")
    for sample in samples:
        require(type(sample.op) is cls, cls.__name__, "its samples run it", sample=sample)
    for field in dataclasses.fields(cls):  # type: ignore[arg-type]
        values = {repr(getattr(sample.op, field.name)) for sample in samples}
        rule = f"the setting {field.name!r} varies among the samples: else it is not verified"
        require(len(values) > 1, cls.__name__, rule, always=values)


# 2. The backward is the forward's derivative


def jacobians(run: Run, index: int) -> list[np.ndarray]:
    """Central differences of every differentiable output by one input: (outputs, inputs) each."""
    x = run.arrays[index]
    columns: list[list[np.ndarray]] = [[] for _ in run.outputs]
    for element in np.ndindex(x.shape):
        step = STEP * max(1.0, abs(float(x[element])))
        sides = []
        for sign in (1, -1):
            moved = x.copy()
            moved[element] += sign * step
            arrays = [locked(moved) if i == index else a for i, a in enumerate(run.arrays)]
            sides.append((float(moved[element]), run.op.forward(np, *arrays)[0]))
        (high, above), (low, below) = sides
        for k, live in enumerate(run.live):
            if live:
                up, down = np.asarray(above[k]), np.asarray(below[k])
                change = np.subtract(up, down, out=np.zeros_like(up), where=up != down)
                columns[k].append(change.reshape(-1) / (high - low))  # -inf stays -inf: no change
    sizes = [y.size for y in run.outputs]
    return [
        np.stack(c, axis=1) if c else np.zeros((n, x.size))
        for c, n in zip(columns, sizes, strict=True)
    ]


def _choices(run: Run) -> Iterator[tuple[str, Gradients]]:
    gys = run.upstream()
    yield "all outputs", gys
    if len(gys) > 1:
        for k, live in enumerate(run.live):
            if live:
                yield f"output {k} alone", tuple(g if i == k else None for i, g in enumerate(gys))


def check_gradients(sample: Sample, seeds: Iterable[int] = SEEDS) -> None:
    """In float64, every float input's gradient agrees with central differences."""
    for seed in seeds:
        forward = run(sample, seed)
        if not any(forward.live):
            return
        slopes = {i: jacobians(forward, i) for i, f in enumerate(forward.floats) if f}
        for choice, gys in _choices(forward):
            analytic = forward.backward(gys)
            for i, jacobian in slopes.items():
                numeric = sum(
                    (g.reshape(-1) @ j for g, j in zip(gys, jacobian, strict=True) if g is not None)
                ) * np.ones(forward.arrays[i].size)
                _compare(sample, f"seed {seed}, {choice}, input {i}", analytic[i], numeric)


def _compare(sample: Sample, where: str, analytic: Any, numeric: np.ndarray) -> None:
    a = np.zeros(numeric.size) if analytic is None else np.asarray(analytic).reshape(-1)
    require(a.size == numeric.size, sample, f"{where}: the gradient has the input's size", got=a)
    if not numeric.size:
        return
    floor = FLOOR * max(1.0, float(np.max(np.abs(numeric))))
    error = np.abs(a - numeric) / np.maximum(np.maximum(np.abs(a), np.abs(numeric)), floor)
    worst = int(np.argmax(np.where(np.isnan(error), np.inf, error)))
    require(
        bool(error[worst] <= TOLERANCE),
        sample,
        f"{where}: the backward agrees with central differences",
        element=worst,
        analytic="None" if analytic is None else float(a[worst]),
        numeric=float(numeric[worst]),
        relative_error=float(error[worst]),
    )


# 3. What is not needed is not computed


def check_needs(sample: Sample) -> None:
    """A gradient that is not needed is None, and the others do not change."""
    forward = run(sample)
    if not any(forward.live):
        return
    gys = forward.upstream()
    full = forward.backward(gys)
    inputs = [i for i, f in enumerate(forward.floats) if f]
    wanted = [{i} for i in inputs] + [set(inputs) - {i} for i in inputs]
    for want in filter(None, wanted):
        needs = tuple(i in want for i in range(len(forward.arrays)))
        part = forward.backward(gys, needs)
        for i, needed in enumerate(needs):
            what = f"with needs={needs} the gradient of input {i}"
            if needed:
                same(sample, what, part[i], full[i])
            else:
                require(part[i] is None, sample, f"{what} is None", got=part[i])


# 4. The shape rule says what the forward does


def check_specs(sample: Sample) -> None:
    """`infer` gives the outputs' shapes and dtypes, in float32 and float64."""
    for dtype in FLOATS:
        forward = run(sample, 0, dtype)
        require(
            len(forward.specs) == len(forward.outputs), sample, "infer and forward agree on the "
            "number of outputs", infer=forward.specs, forward=len(forward.outputs),
        )  # fmt: skip
        for k, (spec, y) in enumerate(zip(forward.specs, forward.outputs, strict=True)):
            shape = tuple(n if s is None else s for s, n in zip(spec.shape, y.shape, strict=False))
            facts: dict[str, Any] = {"infer": spec, "forward": (y.shape, y.dtype)}
            fits = len(spec.shape) == y.ndim and shape == y.shape
            require(fits, sample, f"infer gives the shape of output {k} in {dtype}", **facts)
            require(spec.dtype == y.dtype, sample, f"infer gives the dtype in {dtype}", **facts)
            require(type(spec.shape) is tuple, sample, "infer gives tuples for shapes", **facts)
            require(
                all(type(n) in (int, type(None)) for n in spec.shape),
                sample,
                "infer gives plain integers",
                **facts,
            )


# 5. Nobody writes what is not theirs, and memory order is no matter


def leaves(saved: Any) -> Iterator[np.ndarray]:
    """Walk the arrays in saved state."""
    if isinstance(saved, np.ndarray):
        yield saved
    elif isinstance(saved, tuple | list):
        for item in saved:
            yield from leaves(item)


def check_ownership(sample: Sample) -> None:
    """Inputs, upstream gradients and saved state stay as they were; backward can run again.

    No gradient is (a view of) a saved array, which the graph walk could then add to.
    """
    for dtype in FLOATS:
        before = draw(sample, 0, dtype)
        forward = Run(sample, before)
        for i, (a, b) in enumerate(zip(forward.arrays, draw(sample, 0, dtype), strict=True)):
            same(sample, f"input {i} after forward", a, b, 0, 0)
        if not any(forward.live):
            return
        gys = forward.upstream()
        kept = [a.copy() for a in leaves(forward.saved)]
        first = forward.backward(gys)
        copies = [None if g is None else np.array(g) for g in first]
        for i, g in enumerate(first):
            _disown(sample, i, g, forward, gys)
        second = forward.backward(gys)
        for i, (g, old) in enumerate(zip(second, copies, strict=True)):
            same(sample, f"the gradient of input {i} in a second backward", g, old, 0, 0)
        for state, was in zip(leaves(forward.saved), kept, strict=True):
            same(sample, "saved state after backward", state, was, 0, 0)
        for gy, old in zip(gys, forward.upstream(), strict=True):
            same(sample, "the upstream gradient after backward", gy, old, 0, 0)


def _disown(sample: Sample, i: int, gradient: Any, forward: Run, gys: Gradients) -> None:
    if not isinstance(gradient, np.ndarray):
        return
    for what, arrays in (
        ("a saved array", leaves(forward.saved)),
        ("an input", forward.arrays),
        ("an output", forward.outputs),
    ):
        for array in arrays:
            mine = array is gradient or np.shares_memory(array, gradient)
            require(not mine, sample, f"the gradient of input {i} is not {what} itself or a view")


def check_gy_layouts(sample: Sample) -> None:
    """The backward gives the same for an upstream gradient of any strides, also of stride 0."""
    forward = run(sample)
    if not any(forward.live):
        return
    gys = forward.upstream()
    full = forward.backward(gys)
    for layout, change in LAYOUTS.items():
        moved = tuple(None if g is None else locked(change(np.array(g))) for g in gys)
        for i, (a, b) in enumerate(zip(forward.backward(moved), full, strict=True)):
            same(sample, f"the gradient of input {i} from gy with {layout}", a, b)
    ones = tuple(None if g is None else np.full(g.shape, 0.5, g.dtype) for g in gys)
    flat = tuple(None if g is None else np.broadcast_to(g.dtype.type(0.5), g.shape) for g in gys)
    pairs = zip(forward.backward(flat), forward.backward(ones), strict=True)
    for i, (a, b) in enumerate(pairs):
        same(sample, f"the gradient of input {i} from gy with stride 0", a, b)


def check_input_layouts(sample: Sample) -> None:
    """Outputs and gradients are the same for inputs of any strides, together and one by one."""
    plain = run(sample)
    gys = plain.upstream()
    full = plain.backward(gys) if any(plain.live) else ()
    count = len(plain.arrays)
    choices = [set(range(count))] + ([{i} for i in range(count)] if count > 1 else [])
    for layout, change in LAYOUTS.items():
        for chosen in choices:
            arrays = draw(sample, 0)
            moved = [change(a) if i in chosen else a for i, a in enumerate(arrays)]
            other = Run(sample, moved)
            where = f"with {layout} in inputs {sorted(chosen)}"
            for k, (a, b) in enumerate(zip(other.outputs, plain.outputs, strict=True)):
                same(sample, f"output {k} {where}", a, b)
            for i, (a, b) in enumerate(zip(other.backward(gys) if full else (), full, strict=True)):
                same(sample, f"the gradient of input {i} {where}", a, b)


# 6. Gradients are of the input's kind


def check_gradient_kinds(sample: Sample) -> None:
    """Gradients have the input's shape and dtype; float32 agrees with float64."""
    forwards = {dtype: run(sample, 0, dtype) for dtype in FLOATS}
    if not any(forwards[FLOATS[0]].live):
        return
    upstream = forwards[FLOATS[0]].upstream()
    results = {}
    for dtype, forward in forwards.items():
        gys = tuple(
            None if g is None else locked(g.astype(y.dtype))
            for g, y in zip(upstream, forward.outputs, strict=True)
        )
        results[dtype] = forward.backward(gys)
        for i, (g, x) in enumerate(zip(results[dtype], forward.arrays, strict=True)):
            if g is None:
                continue
            what = f"the gradient of input {i} has its"
            require(np.shape(g) == x.shape, sample, f"{what} shape", got=np.shape(g), x=x.shape)
            kind = getattr(g, "dtype", type(g))
            require(kind == x.dtype, sample, f"{what} dtype", got=kind, x=x.dtype)
    for i, (a, b) in enumerate(zip(*results.values(), strict=True)):
        same(sample, f"the gradient of input {i} in float32 and float64", b, a, 1e-4, 1e-4)


# 7. Settings are values


def check_settings(sample: Sample) -> None:
    """The operation is frozen, hashes, equals its copy, and its repr makes it again."""
    op, cls = sample.op, type(sample.op)
    own = vars(cls).get("__dataclass_params__")
    require(own is not None and own.frozen, sample, "the class is a frozen dataclass of its own")
    settings = {f.name: getattr(op, f.name) for f in dataclasses.fields(op)}
    for name, value in settings.items():
        require(_plain(value), sample, f"setting {name!r} is a plain value", got=value)
    try:
        hash(op)
    except TypeError as error:
        raise AssertionError(f"{sample}: the operation does not hash: {error}") from error
    copy = cls(**settings)
    require(copy == op and hash(copy) == hash(op), sample, "a copy equals it and hashes alike")
    names = {cls.__name__: cls, "inf": math.inf, "nan": math.nan}
    try:
        again = eval(repr(op), names)
    except Exception as error:
        raise AssertionError(f"{sample}: repr is not an expression: {repr(op)!r}") from error
    require(again == op, sample, "repr makes it again", repr=repr(op))


def _plain(value: Any) -> bool:
    if type(value) is tuple:
        return all(_plain(v) for v in value)
    return value is None or type(value) in (int, float, bool, str)


EVERY_SAMPLE: tuple[Callable[[Sample], None], ...] = (
    check_gradients,
    check_needs,
    check_specs,
    check_ownership,
    check_gy_layouts,
    check_input_layouts,
    check_gradient_kinds,
    check_settings,
)
