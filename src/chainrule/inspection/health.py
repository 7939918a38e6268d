"""`monitor`: how a training is, layer by layer, measured on a few of its steps."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Any, Self

import numpy as np

from chainrule.engine import state
from chainrule.engine.op import Array
from chainrule.engine.tensor import Handle, Tensor
from chainrule.errors import KindError, expect, failure
from chainrule.inspection.activity import Activity, look, look_away, part, rms
from chainrule.inspection.findings import Finding, Limits, find, told
from chainrule.inspection.given import counts
from chainrule.inspection.history import History, Measurement
from chainrule.nn.activation import ReLU
from chainrule.nn.conv import Conv2d
from chainrule.nn.fusing import NORMS
from chainrule.nn.module import Module
from chainrule.nn.pooling import MaxPool2d

_KEPT = 1 << 16  # numbers of a weight that are kept to see how a step changes it
_READ = 1 << 20  # numbers of a gradient that are read
_FUSED = (Conv2d, ReLU, MaxPool2d, *NORMS)  # what may be run together with a neighbour
_EARLY = (3, 7, 15)  # measured, too, where steps are far apart: much goes wrong at the start
_MORE = 8  # steps that are measured beyond that, one after the other, where units are silent
_COLUMNS = ("activation_rms", "dead", "saturated", "gradient_rms", "update_ratio")


def monitor(
    model: Module, every: int = 30, window: int = 5, limits: Limits | None = None
) -> Monitor:
    """Watch how a network trains: dead ReLUs, saturation, gradients, steps, loss.

    Call `step` of what this gives after each `optimizer.step()`, before the gradients are set to
    zero.  Steps 1, 3, 7 and 15 are measured (of `every` up to 15 the first alone) and then one of
    `every`, with up to eight more in a row where half of a layer's ReLUs were 0 for a whole batch;
    on all others the network has no hook of it.  A ReLU is dead that was 0 for all images of
    `window` measured steps.  The training is not changed by it, not in one bit.  Several monitors
    may watch one network; a copy of it, or one out of a pickle, is not watched.  See `Monitor` for
    the measures.  Raises KindError for what is no Module, for counts that are no whole numbers and
    for other limits, ShapeError for counts below 1.

    >>> import chainrule as cr
    >>> _ = cr.manual_seed(0)
    >>> model = cr.nn.Sequential(cr.nn.Linear(4, 8), cr.nn.ReLU(), cr.nn.Linear(8, 2))
    >>> optimizer = cr.optim.SGD(model.parameters(), lr=0.0)  # a fault
    >>> x, y = cr.randn(32, 4), cr.tensor([0, 1] * 16)
    >>> with cr.monitor(model, every=1) as watch:
    ...     for _ in range(5):
    ...         optimizer.zero_grad()
    ...         loss = cr.nn.functional.cross_entropy(model(x), y)
    ...         loss.backward()
    ...         optimizer.step()
    ...         measured = watch.step(loss)
    >>> [finding.kind for finding in watch.findings()]
    ['update-too-small']
    """
    return Monitor(model, every, window, Limits() if limits is None else limits)


class Monitor:
    """A network under watch; made by `monitor`.

    Measured are, by layer: `activation_rms`, the root mean square of what it gives (after its
    activation); `dead`, the share of its ReLUs that were 0 for all images of the last samples, and
    `never_active`, of those that were so from the first sample on;
    `saturated`, the share of values of a sigmoid or tanh, between layers, whose slope is below
    4 % of the steepest.  By parameter: `gradient_rms`; by weight: `update_ratio`, the norm of the
    step's change over that of the weight.  For the whole: `loss`, the mean since the last sample,
    `scores`, how many, and `score_spread`, how far the images' scores differ.

    A ReLU, sigmoid or tanh is called after the layer whose values it works on, whether it is a
    layer itself, part of a fused operation or a call of a function; after its block where several
    meet, such as the sum of a residual block.  Of a forward pass that is repeated within a step
    the first is measured; of large arrays every so many rows.
    """

    def __init__(self, model: Module, every: int, window: int, limits: Limits) -> None:
        if not isinstance(model, Module):
            raise failure("monitor", "a Module", error=KindError, model=type(model))
        if not isinstance(limits, Limits):
            raise failure("monitor", "limits that are Limits", error=KindError, limits=limits)
        every, window = counts("monitor", every=every, window=window)
        self.model, self.every, self.limits = model, every, limits
        self.history = History(max(window, 5))
        self.steps = 0
        self.closed = False
        self._activity = Activity(window)
        self._losses: list[float] = []
        self._handles: list[Handle] = []
        self._before: dict[str, Array] = {}  # weights as they were
        self._scores: dict[str, float] = {}
        self._begun = self._done = self._looked = False
        self._more = 0  # steps that may be measured beyond those whose turn it is
        self._arm()

    @property
    def weights(self) -> set[str]:
        """The names of the parameters of two axes and more that learn."""
        return {n for n, p in self.model.named_parameters() if p.requires_grad and p.ndim > 1}

    # A step

    def step(self, loss: Any = None) -> list[Measurement]:
        """Follow a step of the optimiser; gives the measurements, if this one was measured.

        `loss` is the step's, a tensor of one element or a number.  Raises KindError for any other
        loss, ShapeError (a ValueError) where no parameter has a gradient.
        """
        expect(not self.closed, "monitor.step", "a monitor that is not closed")
        number = None if loss is None else _loss_of(loss)
        self.steps += 1
        if number is not None:
            self._losses.append(number)
        rows: list[Measurement] = []
        self._looked = bool(self._handles)
        if self._handles:
            before, self._before = self._before, {}
            self._disarm()
            rows = self._measured(before)
            self.history.add(rows)
            self._losses = []
        if self._due():
            self._more = _MORE
            self._arm()
        elif self._doubtful():
            self._arm()
        return rows

    def _due(self) -> bool:
        """Tell whether the next step is measured."""
        early = self.every > _EARLY[-1] and self.steps + 1 in _EARLY
        return self.steps % self.every == 0 or early

    def _doubtful(self) -> bool:
        """Tell whether so many units of a layer were silent that the next step shall tell more.

        A training may be over before enough steps of its own turn have been measured.
        """
        silent = max(self._activity.silent.values(), default=0.0)
        if not self._looked or silent < self.limits.dead:
            return False
        self._more -= 1
        return self._more >= 0

    def _measured(self, before: dict[str, Array]) -> list[Measurement]:
        problem, self._activity.problem = self._activity.problem, None
        if problem is not None:
            raise problem
        found: list[tuple[str, str, float]] = []
        if self._losses:
            found.append(("", "loss", math.fsum(self._losses) / len(self._losses)))
        found += [("", measure, value) for measure, value in self._scores.items()]
        values = self._activity.values
        found += [(layer, measure, value) for (layer, measure), value in values.items()]
        with np.errstate(all="ignore"):
            found += self._of_parameters(before)
        return [Measurement(self.steps, *entry) for entry in found]

    def _of_parameters(self, before: dict[str, Array]) -> list[tuple[str, str, float]]:
        """Measure gradients and changes, in the order in which the layers ran."""
        learning = [(n, p) for n, p in self.model.named_parameters() if p.requires_grad]
        with_gradient = [(name, p, p.grad.array) for name, p in learning if p.grad is not None]
        if learning and not with_gradient:
            hint = "call it after optimizer.step() and before optimizer.zero_grad()"
            raise failure("monitor.step", "gradients in the parameters", hint=hint, gradients=0)
        place = {layer: number for number, layer in enumerate(self._activity.order)}
        with_gradient.sort(key=lambda entry: place.get(_owner(entry[0]), len(place)))
        found = []
        for name, parameter, gradient in with_gradient:
            found.append((name, "gradient_rms", rms(part(gradient, _READ))))
            old = before.get(name)
            size = 0.0 if old is None else rms(old)
            if old is not None and size > 0:
                change = rms(part(parameter.array, _KEPT) - old)
                found.append((name, "update_ratio", change / size))
        return found

    # Hooks, for one step

    def _arm(self) -> None:
        """Hook the network for the next step, and keep its weights.

        Layers and blocks are hooked, for their names, but none that could be part of a fused
        operation: what runs is what runs without us.
        """
        self._begun = self._done = False
        self._scores = {}
        self._activity.begin({})
        weights = self.weights
        self._before = {
            name: part(p.array, _KEPT).copy(order="K")
            for name, p in self.model.named_parameters()
            if name in weights
        }
        root = self.model
        self._handles = [root.register_forward_pre_hook(_Hook(self._enter))]
        for path, module in self.model.named_modules():
            if path and not isinstance(module, _FUSED):
                self._handles.append(module.register_forward_pre_hook(self._entering(path)))
                self._handles.append(module.register_forward_hook(_Hook(self._leaving)))
        self._handles.append(root.register_forward_hook(_Hook(self._leave)))

    def _disarm(self) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles = []
        look_away(self._activity)

    def _enter(self, module: Module, inputs: Any) -> None:
        """Begin to watch: the first forward pass of the step with gradients."""
        look_away(self._activity)  # an error left the last pass early
        if self._done or state.TRACER.get() is not None or not state.GRAD.get():
            return
        self._activity.begin(_owners(self.model))
        self._begun = True
        look(self._activity)

    def _leave(self, module: Module, inputs: Any, output: Any) -> None:
        if self._begun and not self._done:
            self._done = True
            look_away(self._activity)
            self._scores = _scores(output)

    def _entering(self, path: str) -> _Hook:
        return _Hook(lambda module, inputs: self._activity.path.append(path))

    def _leaving(self, module: Module, inputs: Any, output: Any) -> None:
        if self._activity.path:
            self._activity.path.pop()

    # What was found

    def findings(self) -> list[Finding]:
        """Say what is wrong by the last samples; an empty list where nothing is."""
        return find(self.history, self.weights, self.limits)

    def report(self) -> str:
        """Write the last sample as a table, a row a layer or parameter, and the findings.

        >>> import chainrule as cr
        >>> print(monitor(cr.nn.Linear(2, 1)).report())
        nothing measured yet
        """
        if not self.history.samples:
            return "nothing measured yet"
        last = self.history.samples[-1]
        names = dict.fromkeys(name for m in _COLUMNS for name in last.get(m, {}))
        table = [["layer", *(column.replace("_", " ") for column in _COLUMNS)]]
        for name in names:
            table.append(
                [name, *(_cell(column, last.get(column, {}).get(name)) for column in _COLUMNS)]
            )
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        lines = [f"step {self.history.step}" + _loss(last.get("loss", {}))]
        for row in table:
            cells = [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
            lines.append("  ".join([row[0].ljust(widths[0]), *cells]).rstrip())
        found = self.findings()
        return "\n".join([*lines, *told(found), *([] if found else ["nothing found"])])

    def resume(self, rows: Iterable[Measurement], step: int) -> None:
        """Go on after `step` steps, with the measurements of the steps before.

        Which ReLUs were silent is not among them: it is counted anew.  Raises KindError for a
        step that is no whole number, ShapeError for one below 0.
        """
        (step,) = counts("monitor.resume", least=0, step=step)
        self._disarm()
        self.history.add(rows)
        self.steps = step
        self._activity.whole = step == 0
        if self._due():
            self._arm()

    def close(self) -> None:
        """Take all hooks away; what was measured stays."""
        self._disarm()
        self._before = {}
        self.closed = True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class _Hook:
    """A hook that stays with the network: a copy, or one out of a pickle, is not watched."""

    copied = False

    def __init__(self, call: Callable[..., None]) -> None:
        self.call = call

    def __call__(self, *given: Any) -> None:
        self.call(*given)


def _loss_of(loss: Any) -> float:
    """Give a step's loss as a number; KindError for what is none."""
    value = loss.item() if isinstance(loss, Tensor) and loss.numel() == 1 else loss
    if isinstance(value, bool) or not isinstance(value, int | float | np.number):
        rule = "a loss that is a number or a tensor of one element"
        raise failure("monitor.step", rule, error=KindError, loss=loss)
    return float(value)


def _owners(model: Module) -> dict[int, str]:
    """Give the layer of each parameter, by the parameter's id."""
    return {id(p): _owner(name) or "the network" for name, p in model.named_parameters()}


def _owner(parameter: str) -> str:
    """Give a parameter's layer; that of a computed weight's parts is the layer that has it."""
    return parameter.rpartition(".")[0].partition(".parametrizations.")[0]


def _scores(output: Any) -> dict[str, float]:
    """Measure what the network gives: how many scores, and how far those of images differ."""
    first = output[0] if isinstance(output, (tuple, list)) and output else output
    if not isinstance(first, Tensor) or first.ndim != 2 or first.dtype.kind != "f":
        return {}
    y = first.array
    if len(y) < 2 or not y.shape[1]:
        return {"scores": float(y.shape[1])}
    with np.errstate(all="ignore"):
        size, apart = rms(y), rms(y - y.mean(axis=0))
    return {"scores": float(y.shape[1]), "score_spread": apart / size if size else 0.0}


def _cell(column: str, value: float | None) -> str:
    if value is None:
        return ""
    return f"{100 * value:.1f} %" if column in ("dead", "saturated") else f"{value:.1e}"


def _loss(loss: dict[str, float]) -> str:
    return f", loss {loss['']:.4g}" if loss else ""
