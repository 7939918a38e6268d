"""The learning-rate range test: a short training in which the rate grows from step to step."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from chainrule.engine.op import Array
from chainrule.engine.tensor import Tensor, as_tensor
from chainrule.errors import KindError, failure
from chainrule.nn.functional import cross_entropy
from chainrule.nn.module import Module
from chainrule.nn.parameter import UninitializedParameter
from chainrule.optim import Optimizer
from chainrule.training.interrupt import interrupts_deferred
from chainrule.training.keeping import Kept

Loss = Callable[[Tensor, Tensor], Tensor]

_FEWEST, _PART = 5, 5
"""A slope is that of a line through a fifth of the steps, but at least so many."""

_CLEAR = 4.0
"""A slope counts if it is so many times what the jumps from batch to batch make of a level line."""


@dataclass(frozen=True, eq=False)
class RateCurve:
    """What a range test has seen.

    `losses[i]` was measured on the batch after the step with `rates[i]`, `first` before any step;
    `smoothed` are the losses as an exponential average.  `suggestion` is the rate at which the
    loss fell most steeply over the logarithm of the rate, before the lowest point of `smoothed`:
    the middle of the fifth of the steps whose line by least squares has the least slope.  It is
    None where the curve does not tell, and `reason` says why in words.
    """

    rates: Array
    losses: Array
    smoothed: Array
    first: float
    suggestion: float | None
    reason: str

    def __str__(self) -> str:
        """Say what comes of the curve.

        >>> print(RateCurve(*[np.ones(1)] * 3, 1.0, None, "the loss never fell"))
        no rate can be suggested: the loss never fell
        """
        if self.suggestion is None:
            return f"no rate can be suggested: {self.reason}"
        return f"a rate of {self.suggestion:.2g}: {self.reason}"


def find_lr(
    model: Module,
    loader: Iterable[tuple[Any, Any]],
    optimizer: Optimizer,
    loss: Loss = cross_entropy,
    start: float = 1e-7,
    end: float = 10.0,
    steps: int = 100,
    *,
    smoothing: float = 0.8,
    divergence: float = 4.0,
    generators: Sequence[Any] = (),
) -> RateCurve:
    """Train with a rate that grows geometrically from `start` to `end`, and watch the loss.

    rate(i) = start * (end / start) ** (i / (steps - 1)), for the group whose rate is the largest;
    the others keep their proportion to it.  The test ends early when the smoothed loss rises
    beyond `divergence` times its best or is not finite.  `smoothing` is the share of the average
    before in each new one.  Loaders yield pairs (inputs, targets), and are walked again where
    `steps` needs more batches; loss(model(inputs), targets) gives a tensor of one element.

    Afterwards model, optimiser and generators are as they were, bit for bit, also after an
    error or Ctrl-C: parameters, gradients, buffers, modes, the optimiser's state and groups,
    the global generators of chainrule, NumPy and Python, and those found in the loader, the
    model, the loss, or given as `generators`.  This takes the memory of one more copy of each.

    Source: Smith, Cyclical Learning Rates for Training Neural Networks (2017), section 3.3.  The
    suggestion is a place to begin, not the best rate: look at the curve (`rate_curve_png`).

    Raises ValueError for numbers out of range, a loader without batches or one that can be walked
    only once, TypeError for what is no model, no optimiser or no pairs.

    >>> import numpy as np, chainrule as cr
    >>> from chainrule.data import ArrayDataset, DataLoader
    >>> _ = cr.manual_seed(0)
    >>> x = np.array([-1.0, 1.0], np.float32).repeat(8).reshape(16, 1, 1, 1)
    >>> loader = DataLoader(ArrayDataset(x, (x > 0).reshape(16).astype(int)), batch_size=16)
    >>> model = cr.nn.Sequential(cr.nn.Flatten(), cr.nn.Linear(1, 2))
    >>> optimizer = cr.optim.SGD(model.parameters(), lr=0.1)
    >>> curve = find_lr(model, loader, optimizer, start=1e-4, end=100.0)
    >>> 0.01 < curve.suggestion < 10, optimizer.param_groups[0]["lr"]
    (True, 0.1)
    """
    _check(model, loader, optimizer)
    _check_numbers(start, end, steps, smoothing, divergence)
    rates = start * (end / start) ** (np.arange(steps) / (steps - 1))
    watch = _Watch(smoothing, divergence)
    kept = Kept(model, optimizer, [loss, loader], generators)
    try:
        kept.lend()
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):  # it shall blow up
            _run(model, loader, optimizer, loss, rates, watch)
    finally:
        with interrupts_deferred():
            kept.put_back()
    return _read(rates, watch)


class _Watch:
    """The losses of a test, smoothed, and whether they have left all bounds."""

    def __init__(self, smoothing: float, divergence: float) -> None:
        self.smoothing, self.divergence = smoothing, divergence
        self.losses: list[float] = []
        self.smoothed: list[float] = []
        self.average = 0.0
        self.diverged = False

    def add(self, loss: float) -> None:
        """Take note of a loss; one that is not finite is told and left out."""
        if not math.isfinite(loss):
            self.diverged = True
            return
        self.average = self.smoothing * self.average + (1.0 - self.smoothing) * loss
        self.losses.append(loss)
        self.smoothed.append(self.average / (1.0 - self.smoothing ** len(self.losses)))
        best = min(self.smoothed)
        scale = best if best > 0 else abs(self.losses[0])  # a loss may be below 0
        self.diverged = self.smoothed[-1] > best + (self.divergence - 1.0) * scale


def _run(
    model: Module,
    loader: Iterable[tuple[Any, Any]],
    optimizer: Optimizer,
    loss: Loss,
    rates: Array,
    watch: _Watch,
) -> None:
    """Take a step with each rate, and a last look at the loss."""
    largest = max(float(group["lr"]) for group in optimizer.param_groups)
    shares = [float(g["lr"]) / largest if largest > 0 else 1.0 for g in optimizer.param_groups]
    model.train()
    batches = _endless(loader)
    try:
        for rate in (*rates.tolist(), None):
            x, y = next(batches)
            optimizer.zero_grad()
            value = loss(model(as_tensor(x)), as_tensor(y))
            watch.add(float(value.item()))
            if watch.diverged or rate is None:
                return
            for group, share in zip(optimizer.param_groups, shares, strict=True):
                group["lr"] = rate * share
            value.backward()
            optimizer.step()
    finally:
        batches.close()


def _endless(loader: Iterable[Any]) -> Generator[Any, None, None]:
    """Walk a loader again and again; its walk ends when this one is closed."""
    while True:
        walk, any_came = iter(loader), False
        try:
            for batch in walk:
                if not isinstance(batch, tuple | list) or len(batch) != 2:
                    rule = "a loader of pairs (inputs, targets)"
                    raise failure("find_lr", rule, error=KindError, batch=type(batch))
                any_came = True
                yield batch
        finally:
            close = getattr(walk, "close", None)
            if close is not None:
                close()
        if not any_came:
            raise failure("find_lr", "a loader with at least one batch")


def _read(rates: Array, watch: _Watch) -> RateCurve:
    """Make the curve of what was seen, and read a rate from it."""
    count = max(0, len(watch.losses) - 1)
    losses, smoothed = np.array(watch.losses[1:]), np.array(watch.smoothed[1:])
    first = watch.losses[0] if watch.losses else math.nan
    suggestion, reason = _suggest(rates, losses, smoothed, first, watch.diverged)
    return RateCurve(rates[:count].copy(), losses, smoothed, first, suggestion, reason)


def _suggest(
    rates: Array, losses: Array, smoothed: Array, first: float, diverged: bool
) -> tuple[float | None, str]:
    """Find the stretch on which the loss falls most steeply, or say why there is none."""
    count, width = len(losses), max(_FEWEST, len(rates) // _PART)
    if count < width:
        if not math.isfinite(first):
            return None, "the loss is not finite before any step"
        last = float(rates[max(0, count - 1)])
        return None, f"the loss left all bounds in {count + 1} steps, by {last:.2g}: lower start"
    x = np.log(rates[:width])
    x -= x.mean()
    slopes = np.convolve(losses, x[::-1], "valid") / (x @ x)  # of the lines by least squares
    before = max(1, int(np.argmin(smoothed)) + 1 - width // 2)  # the middle is not past the lowest
    steepest = int(np.argmin(slopes[:before]))
    slope, rate = float(slopes[steepest]), float(rates[steepest + width // 2])
    jump = _jump(losses[: before + width - 1])
    rounding = 1e-12 * float(np.abs(losses[: before + width - 1]).max())
    if slope >= -rounding:
        if first - float(losses.min()) > _CLEAR * jump + rounding:
            return None, f"the loss fell in the first steps, from {rates[0]:.2g}: lower start"
        return None, f"the loss never fell from {first:.3g}: lower start, or look at the model"
    if -slope <= _CLEAR * jump / math.sqrt(x @ x):
        return None, (
            f"the loss fell hardly more than it jumps from batch to batch ({jump:.2g}): "
            "take more steps or larger batches, raise end, or look at the model"
        )
    if steepest == len(slopes) - 1 and not diverged:
        return None, f"the loss falls most steeply at the end, {rates[count - 1]:.2g}: raise end"
    if steepest == 0:
        return None, f"the loss falls most steeply at the start, {rates[0]:.2g}: lower start"
    return rate, "there the loss falls most steeply"


def _jump(losses: Array) -> float:
    """Estimate how far a loss jumps from batch to batch, whatever its trend (by medians)."""
    differences = np.diff(losses)
    spread = np.median(np.abs(differences - np.median(differences)))
    return float(spread) / 0.6745 / math.sqrt(2.0)


def _check(model: Any, loader: Any, optimizer: Any) -> None:
    if not isinstance(model, Module):
        raise failure("find_lr", "a module as model", error=KindError, model=model)
    if not isinstance(optimizer, Optimizer):
        raise failure("find_lr", "an optimiser", error=KindError, optimizer=optimizer)
    waiting = [n for n, p in model.named_parameters() if isinstance(p, UninitializedParameter)]
    if waiting:
        hint = "run the model once before, on inputs of the right shape"
        raise failure("find_lr", f"parameters with shapes; {waiting[0]} has none yet", hint=hint)
    if isinstance(loader, Iterator):  # iter(loader) would begin a walk and draw its order
        hint = "give the loader, not iter(loader)"
        raise failure("find_lr", "a loader that can be walked again", hint=hint, loader=loader)


def _check_numbers(
    start: float, end: float, steps: int, smoothing: float, divergence: float
) -> None:
    if not 0.0 < start < end < math.inf:
        raise failure("find_lr", "0 < start < end, both finite", start=start, end=end)
    if isinstance(steps, bool) or not isinstance(steps, int | np.integer):
        raise failure("find_lr", "an integer number of steps", error=KindError, steps=steps)
    if steps < _FEWEST:
        raise failure("find_lr", f"steps >= {_FEWEST}", steps=steps)
    if not 0.0 <= smoothing < 1.0:
        raise failure("find_lr", "smoothing of at least 0 and below 1", smoothing=smoothing)
    if not 1.0 < divergence < math.inf:
        raise failure("find_lr", "a finite divergence above 1", divergence=divergence)
