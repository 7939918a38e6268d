"""Analytic gradients against centred differences in float64, with an answer that explains.

Relative error |a - n| / max(|a|, |n|), as CS231n gives it.  The outputs are projected on
random numbers, so that one backward gives every analytic derivative; each probe moves one
element by +-h.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np

from chainrule.engine import state
from chainrule.engine.diagnosis import likely_cause, readers
from chainrule.engine.graph import Walk
from chainrule.engine.op import Array
from chainrule.engine.random import Generator, default_generator
from chainrule.engine.tensor import Tensor, as_tensor, mark_written
from chainrule.errors import GraphError, KindError, failure

STEP = 1e-5  # truncation ~ h^2, rounding ~ 1e-16/h: both near 1e-10 for values around 1
ALL_UP_TO = 1000  # elements; of a larger tensor some are probed
SOME = 50


@runtime_checkable
class ModuleLike(Protocol):
    """What the checker needs of a layer or network."""

    def named_parameters(self) -> Iterator[tuple[str, Any]]:
        """Yield the parameters with names."""

    def named_modules(self) -> Iterator[tuple[str, Any]]:
        """Yield the layers with names."""

    def named_buffers(self) -> Iterator[tuple[str, Any]]:
        """Yield the buffers with names."""

    def __call__(self, *inputs: Any) -> Any:
        """Run forward."""


@dataclass(frozen=True)
class Mismatch:
    """One derivative that differs."""

    name: str
    layer: str
    element: tuple[int, ...] | None  # None for the probe along a random direction
    analytic: float
    numeric: float
    error: float

    def __str__(self) -> str:
        where = "along a random direction" if self.element is None else f"at {list(self.element)}"
        owner = f" of layer {self.layer}" if self.layer else ""
        return (
            f"{self.name}{owner} {where}: backward gives {self.analytic:.6g}, differences give "
            f"{self.numeric:.6g} (relative error {self.error:.2g})"
        )


@dataclass
class Finding:
    """What the probes of one tensor said."""

    name: str
    layer: str
    probes: int = 0
    kinks: int = 0
    worst: float = 0.0
    mismatches: list[Mismatch] = field(default_factory=list)
    cause: str = ""


@dataclass
class GradcheckReport:
    """The answer of `gradcheck`: true if every probe agrees; `str` names what does not."""

    findings: list[Finding]

    def __bool__(self) -> bool:
        return not any(f.mismatches for f in self.findings)

    @property
    def probes(self) -> int:
        """How many derivatives were compared."""
        return sum(f.probes for f in self.findings)

    @property
    def kinks(self) -> int:
        """How many probes met a kink, where no derivative exists, and were set apart."""
        return sum(f.kinks for f in self.findings)

    @property
    def worst(self) -> float:
        """The largest relative error among the probes that agree."""
        return max((f.worst for f in self.findings), default=0.0)

    @property
    def mismatches(self) -> list[Mismatch]:
        """Every derivative that differs."""
        return [m for f in self.findings for m in f.mismatches]

    def __str__(self) -> str:
        names = ", ".join(f.name for f in self.findings)
        if self:
            kinks = f"; {self.kinks} at kinks set apart" if self.kinks else ""
            agree = self.probes - self.kinks
            return (
                f"gradcheck passed: {agree} derivatives by {names} agree, largest relative "
                f"error {self.worst:.2g}{kinks}"
            )
        lines = ["gradcheck failed:"]
        for f in self.findings:
            if f.mismatches:
                worst = max(f.mismatches, key=lambda m: m.error)
                lines.append(f"  {worst}")
                lines.append(f"    {len(f.mismatches)} of {f.probes} probes of {f.name} differ")
                lines.append(f"    likely cause: {f.cause}")
        return "\n".join(lines)

    __repr__ = __str__


def gradcheck(
    fn: Callable[..., Any],
    inputs: Any,
    *,
    tolerance: float = 1e-5,
    step: float = STEP,
    seed: int = 0,
) -> GradcheckReport:
    """Compare backward with centred differences, for every floating input and parameter.

    `fn` is a function of tensors or a Module, of which a float64 copy is checked, in the mode
    (train or eval) that it is in; `inputs` is one tensor or array, or a tuple of them, copied in
    float64.  All elements are probed up to 1,000 a tensor, else 50 random ones and one random
    direction.  Random masks are pinned and buffers put back before each probe.  Where a probe
    crosses a kink (ReLU, max), it is repeated with a smaller step; at a kink itself any value
    between the one-sided slopes is right.

    Returns a report that is true if all agree and whose text names the layer, the parameter, the
    element, both values and the likely cause.  Raises TypeError if there is nothing to check,
    ShapeError for a gradient of another shape than its value's, RuntimeError for a function that
    does not give the same values each time.

    >>> import chainrule as cr
    >>> report = cr.gradcheck(lambda x: (x * x).sum(), cr.tensor([1.0, 2.0]))
    >>> bool(report), report.probes
    (True, 2)
    """
    checker = _Checker(fn, inputs, tolerance, step, seed)
    return GradcheckReport([checker.check(name) for name in checker.targets])


class _Checker:
    def __init__(
        self, fn: Callable[..., Any], inputs: Any, tolerance: float, step: float, seed: int
    ) -> None:
        self.tolerance, self.step = tolerance, step
        self.rng = np.random.Generator(np.random.PCG64(seed))
        given = inputs if isinstance(inputs, tuple | list) else (inputs,)
        self.inputs = [_leaf(x) for x in given]
        self.fn = copy.deepcopy(fn) if isinstance(fn, ModuleLike) else fn
        self.layers: dict[str, str] = {}
        self.targets: dict[str, Tensor] = {
            f"input {i}": x
            for i, x in enumerate(self.inputs)
            if isinstance(x, Tensor) and x.requires_grad
        }
        self._adopt_module()
        if not self.targets:
            raise failure("gradcheck", "a floating-point input or parameter", error=KindError)
        self._pin()
        self.upstream: list[Array | None] = []
        self.analytic, self.readers = self._analytic()
        self._refuse_chance()

    def _adopt_module(self) -> None:
        """Take a module's parameters as targets, in float64."""
        self.buffers: list[tuple[Tensor, Array]] = []
        if not isinstance(self.fn, ModuleLike):
            return
        kinds = {name: type(m).__name__ for name, m in self.fn.named_modules()}
        for name, p in self.fn.named_parameters():
            p.array = p.array.astype(np.float64)
            if p.requires_grad:
                self.targets[name] = p
                path = name.rpartition(".")[0]
                self.layers[name] = f"{path} ({kinds[path]})" if path else kinds[path]
        for _, b in self.fn.named_buffers():
            if b.dtype.kind == "f":
                b.array = b.array.astype(np.float64)
            self.buffers.append((b, b.array.copy()))

    def _pin(self) -> None:
        """Note the state of every generator that a run may draw from."""
        found = {id(g): g for g in (default_generator(), *_generators(self.fn))}
        self.generators = [(g, g.get_state()) for g in found.values()]

    def _refuse_chance(self) -> None:
        """Raise if two runs differ: differences of such a function mean nothing."""
        one, two = self._value(), self._value()
        if abs(one - two) > 1e-9 * max(abs(one), abs(two)):
            raise failure(
                "gradcheck", "a function that gives the same each time; the projected outputs of "
                f"two runs are {one:.10g} and {two:.10g}", error=GraphError,
                hint="draw from chainrule's generators, which are pinned, or pass noise as input",
            )  # fmt: skip

    def _outputs(self) -> list[Tensor]:
        for generator, before in self.generators:
            generator.set_state(before)
        for buffer, array in self.buffers:
            np.copyto(buffer.array, array)
        result = self.fn(*self.inputs)
        for generator, before in self.generators:
            generator.set_state(before)
        return list(result) if isinstance(result, tuple | list) else [result]

    def _analytic(self) -> tuple[dict[str, Array | None], dict[str, str]]:
        """Run once forward and once backward for all analytic derivatives."""
        token = state.GRAD.set(True)
        try:
            outputs = self._outputs()
        finally:
            state.GRAD.reset(token)
        for y in outputs:
            if not isinstance(y, Tensor):
                raise failure("gradcheck", "a function of tensors", error=KindError, output=type(y))
        watched = [y.dtype.kind == "f" for y in outputs]
        if not any(watched):
            raise failure("gradcheck", "a floating-point output", error=KindError, outputs=outputs)
        if any(y.requires_grad for y in outputs):  # the others are meant to have no gradient
            watched = [y.requires_grad for y in outputs]
        for y, wanted in zip(outputs, watched, strict=True):
            self.upstream.append(
                self.rng.uniform(0.5, 1.5, y.shape) * self.rng.choice([-1.0, 1.0], y.shape)
                if wanted
                else None
            )
        walk = Walk(True, list(self.targets.values()))
        walk.run(
            [(y, np.asarray(r, y.dtype)) for y, r in zip(outputs, self.upstream, strict=True)
             if r is not None and y.requires_grad]
        )  # fmt: skip
        found = {name: walk.found.get(id(t)) for name, t in self.targets.items()}
        read = {name: readers(outputs, t) for name, t in self.targets.items()}
        for name, gradient in found.items():
            shape = self.targets[name].shape
            if gradient is not None and gradient.shape != shape:
                layer = f" of layer {self.layers[name]}" if name in self.layers else ""
                raise failure(
                    "gradcheck", f"a gradient of the shape {shape} for {name}{layer}",
                    hint=f"a sum over the batch or over broadcast axes is missing in {read[name]}",
                    gradient=gradient,
                )  # fmt: skip
        return found, read

    def _value(self) -> float:
        """The projected outputs at the present values."""
        with_grad = state.GRAD.set(False)
        try:
            outputs = self._outputs()
        finally:
            state.GRAD.reset(with_grad)
        return float(
            sum(
                np.sum(y.array * r)
                for y, r in zip(outputs, self.upstream, strict=True)
                if r is not None
            )
        )

    def check(self, name: str) -> Finding:
        """Probe one tensor."""
        tensor = self.targets[name]
        size = tensor.array.size
        finding = Finding(name, self.layers.get(name, ""))
        gradient = self.analytic[name]
        flat = np.zeros(size) if gradient is None else np.array(gradient, np.float64).reshape(-1)
        chosen = np.arange(size) if size <= ALL_UP_TO else self.rng.choice(size, SOME, False)
        pairs: list[tuple[int, float, float]] = []
        for i in chosen:
            direction = np.zeros(size)
            direction[i] = 1.0
            element = tuple(int(k) for k in np.unravel_index(int(i), tensor.shape))
            numeric = self._compare(finding, tensor, direction, float(flat[i]), element)
            pairs.append((int(i), float(flat[i]), numeric))
        if size > ALL_UP_TO:
            direction = self.rng.standard_normal(size)
            direction /= np.linalg.norm(direction)
            self._compare(finding, tensor, direction, float(flat @ direction), None)
        if finding.mismatches:
            finding.cause = likely_cause(tensor.array, gradient is None, pairs, self._sizes())
            if self.readers[name]:
                finding.cause += f"; {name} is read by {self.readers[name]}"
        return finding

    def _sizes(self) -> dict[int, str]:
        sizes: dict[int, str] = {}
        for i, x in enumerate(self.inputs):
            if isinstance(x, Tensor):
                for axis, n in enumerate(x.shape):
                    sizes.setdefault(n, f"the size of axis {axis} of input {i}")
                sizes.setdefault(x.array.size, f"the number of elements of input {i}")
        return sizes

    def _slopes(self, tensor: Tensor, direction: Array, h: float) -> tuple[float, float, float]:
        """Give the centred, right and left slopes with step h."""
        before = tensor.array.copy()
        move = (h * direction).reshape(before.shape)
        values = []
        for sign in (1.0, -1.0, 0.0):
            tensor.array[...] = before + sign * move
            mark_written(tensor)
            values.append(self._value())
        up, down, here = values
        self.noise = 20 * np.finfo(np.float64).eps * max(abs(up), abs(down), 1.0) / h
        return (up - down) / (2 * h), (up - here) / h, (here - down) / h

    def _agree(self, a: float, n: float) -> bool:
        return bool(abs(a - n) <= self.tolerance * max(abs(a), abs(n)) + self.noise)

    def _compare(
        self,
        finding: Finding,
        tensor: Tensor,
        direction: Array,
        analytic: float,
        element: tuple[int, ...] | None,
    ) -> float:
        """Probe one direction; note agreement, a kink, or a mismatch; give the numeric slope."""
        finding.probes += 1
        at = abs(float(tensor.array[element])) if element is not None else 1.0
        h = self.step * max(1.0, at)
        first, right, left = self._slopes(tensor, direction, h)
        error = abs(analytic - first) / max(abs(analytic), abs(first), 1e-300)
        if self._agree(analytic, first):
            if abs(analytic - first) > self.noise:
                finding.worst = max(finding.worst, error)
            return first
        if self._is_kink(tensor, direction, analytic, h, right, left):
            finding.kinks += 1
            return analytic
        finding.mismatches.append(
            Mismatch(finding.name, finding.layer, element, analytic, first, error)
        )
        return first

    def _is_kink(
        self, tensor: Tensor, direction: Array, analytic: float, h: float, right: float, left: float
    ) -> bool:
        """Whether the disagreement comes from a kink within, or at the middle of, the probe."""
        jump = abs(right - left)
        gap = abs(analytic - (right + left) / 2)  # one kink among many terms moves the sum little
        if not jump > min(1e-3 * max(abs(right), abs(left)), gap / 2) + self.noise:
            return False  # smooth here: the one-sided slopes agree, so backward is wrong
        for shrink in (10.0, 100.0, 1000.0):
            centred, right, left = self._slopes(tensor, direction, h / shrink)
            if self._agree(analytic, centred):
                return True
        low, high = min(right, left), max(right, left)
        slack = self.tolerance * max(abs(low), abs(high)) + self.noise
        still_broken = high - low > 1e-3 * max(abs(low), abs(high)) + self.noise
        return bool(still_broken and low - slack <= analytic <= high + slack)


def _generators(fn: Any) -> Iterator[Generator]:
    """Find the generators that a module holds, or that a function reads from outside."""
    roots = [fn]
    if inspect.isfunction(fn):
        read = inspect.getclosurevars(fn)
        roots += [*read.nonlocals.values(), *read.globals.values()]
    for root in roots:
        if isinstance(root, Generator):
            yield root
        elif isinstance(root, ModuleLike) and not isinstance(root, type):
            for _, module in root.named_modules():
                yield from (v for v in vars(module).values() if isinstance(v, Generator))


def _leaf(value: Any) -> Any:
    if not isinstance(value, Tensor | np.ndarray):
        return as_tensor(np.float64(value)) if isinstance(value, float) else value
    tensor = as_tensor(value)
    tensor._need_data("gradcheck")
    array = tensor.array
    if array.dtype.kind != "f":
        return Tensor(array)
    return Tensor(np.array(array, np.float64), requires_grad=True)
