"""Averages of weights over the steps of a training, as `torch.optim.swa_utils` has them."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

import numpy as np

from chainrule.engine.creation import zeros
from chainrule.engine.op import Array
from chainrule.engine.promotion import INT64
from chainrule.engine.state import no_grad
from chainrule.engine.tensor import Tensor, as_tensor
from chainrule.engine.workers import run_all
from chainrule.engine.written import mark
from chainrule.errors import KindError, failure
from chainrule.nn.module import Module
from chainrule.nn.normalization import BatchNorm
from chainrule.optim.optimizer import Optimizer
from chainrule.optim.schedules import LRScheduler, for_groups

AverageOne = Callable[[Tensor, Tensor, Any], Tensor]
AverageAll = Callable[[Sequence[Tensor], Sequence[Tensor], Any], None]

_BLOCK = 1 << 18
"""Bytes of an array that are handled at a time, so that what is read twice is in the cache."""

_SHARE = 1 << 20
"""Numbers from which an array is cut into tasks for several threads."""


class AveragedModel(Module):
    """A copy of a model whose weights are averages of those that the model has had.

    The first `update_parameters(model)` copies the weights.  Each later one sets a weight a to
    avg_fn(a, w, n), with the model's weight w and n updates before, or calls
    multi_avg_fn(all a, all w, n), which changes them in place; without either it is the mean of
    all: a + (w - a) / (n + 1) (stochastic weight averaging, Izmailov et al., 2018).
    `get_ema_multi_avg_fn(decay)` makes the exponential moving average.

    Buffers are copied from the model each time, or with `use_buffers` averaged too; whole
    numbers are then cut to whole ones.  `module` is the averaged model itself, ready to be
    evaluated; batch norms may want `update_bn` first.  The state has PyTorch's names:
    "n_averaged", and "module." before each of the model's; `arrays` gives it for files.

    Source: `torch.optim.swa_utils.AveragedModel`.  Raises ValueError for both functions at once,
    and in `update_parameters` for a model of other parameters, before anything changes.

    >>> import chainrule as cr
    >>> model = cr.nn.Linear(1, 1, bias=False)
    >>> averaged = AveragedModel(model)
    >>> for weight in (1.0, 2.0, 6.0):
    ...     _ = model.weight.detach().fill_(weight)
    ...     averaged.update_parameters(model)
    >>> averaged.module.weight.item(), averaged.n_averaged.item()
    (3.0, 3)
    """

    def __init__(
        self,
        model: Module,
        device: str | None = None,
        avg_fn: AverageOne | None = None,
        multi_avg_fn: AverageAll | None = None,
        use_buffers: bool = False,
    ) -> None:
        super().__init__()
        if avg_fn is not None and multi_avg_fn is not None:
            raise failure("AveragedModel", "avg_fn or multi_avg_fn, not both")
        if not isinstance(model, Module):
            raise failure("AveragedModel", "a module", error=KindError, model=model)
        self.module = copy.deepcopy(model)
        self.module.zero_grad()
        if device is not None:
            self.module.to(device)
        self.register_buffer("n_averaged", zeros((), dtype=INT64))
        self.avg_fn, self.multi_avg_fn, self.use_buffers = avg_fn, multi_avg_fn, use_buffers

    def forward(self, *inputs: Any, **options: Any) -> Any:
        """Compute the averaged model's output."""
        return self.module(*inputs, **options)

    def update_parameters(self, model: Module) -> None:
        """Take the model's present weights into the average; see the class."""
        weights = _pairs("parameters", self.module.parameters(), model.parameters())
        buffers = _pairs("buffers", self.module.buffers(), model.buffers())
        averaged = weights + buffers if self.use_buffers else weights
        with no_grad():
            if int(self.n_averaged.array) == 0:
                _copy_all(averaged)
            elif self.avg_fn is not None:
                for a, w in averaged:
                    _copy_all([(a, self.avg_fn(a, w, self.n_averaged.detach()))])
            else:
                update = self.multi_avg_fn or _mean_all
                for pairs in _by_dtype(averaged):
                    one, two = zip(*pairs, strict=True)
                    update(list(one), list(two), self.n_averaged.detach())
            if not self.use_buffers:
                _copy_all(buffers)
        self.n_averaged.array[...] += 1
        mark(self.n_averaged.array, *[a.array for a, _ in averaged])

    def arrays(self) -> dict[str, Array]:
        """Give the whole state as arrays by name, sharing memory; `load_state_dict` takes it.

        >>> import chainrule as cr
        >>> list(AveragedModel(cr.nn.Linear(2, 3)).arrays())
        ['n_averaged', 'module.weight', 'module.bias']
        """
        return {name: tensor.array for name, tensor in self.state_dict().items()}


def get_ema_multi_avg_fn(decay: float = 0.999) -> AverageAll:
    """Make AveragedModel's `multi_avg_fn` for the exponential moving average.

    a = decay * a + (1 - decay) * w, in one pass over the memory.  Raises ValueError for a decay
    outside [0, 1].

    >>> import chainrule as cr
    >>> a, w = cr.tensor([1.0]), cr.tensor([3.0])
    >>> get_ema_multi_avg_fn(0.5)([a], [w], 1); a
    tensor([2.0])
    """
    return partial(_move_all, 1.0 - _decay(decay))


def get_swa_multi_avg_fn() -> AverageAll:
    """Make AveragedModel's `multi_avg_fn` for the mean: a = a + (w - a) / (n + 1).

    >>> import chainrule as cr
    >>> a, w = cr.tensor([1.0]), cr.tensor([4.0])
    >>> get_swa_multi_avg_fn()([a], [w], 2); a
    tensor([2.0])
    """
    return _mean_all


def get_ema_avg_fn(decay: float = 0.999) -> AverageOne:
    """Make AveragedModel's `avg_fn` for the exponential moving average of one tensor.

    It makes new tensors; `get_ema_multi_avg_fn` gives the same in place, several times as fast.
    Raises ValueError for a decay outside [0, 1].

    >>> import chainrule as cr
    >>> get_ema_avg_fn(0.5)(cr.tensor([1.0]), cr.tensor([3.0]), 1)
    tensor([2.0])
    """
    return partial(_ema_one, _decay(decay))


def get_swa_avg_fn() -> AverageOne:
    """Make AveragedModel's `avg_fn` for the mean of one tensor: a + (w - a) / (n + 1).

    >>> import chainrule as cr
    >>> get_swa_avg_fn()(cr.tensor([1.0]), cr.tensor([4.0]), 2)
    tensor([2.0])
    """
    return _mean_one


def update_bn(loader: Iterable[Any], model: Module, device: str | None = None) -> None:
    """Set the running statistics of all batch norms to their means over one walk of `loader`.

    Averaged weights need it, since statistics do not average.  A batch is the input (N, ...), or
    a tuple or list whose first element is.  Each batch counts the same.  A model without batch
    norms is left alone.  Modes and momenta are put back, and if an error comes, the statistics.
    Source: `torch.optim.swa_utils.update_bn`.  Raises ValueError for a loader without batches.

    >>> import chainrule as cr
    >>> model = cr.nn.BatchNorm1d(1)
    >>> update_bn([cr.tensor([[1.0], [3.0]]), cr.tensor([[5.0], [7.0]])], model)
    >>> model.running_mean, model.running_var
    (tensor([4.0]), tensor([2.0]))
    """
    norms = [m for m in model.modules() if isinstance(m, BatchNorm)]
    if not norms:
        return
    modes = [(m, m.training) for m in model.modules()]
    momenta = [(m, m.momentum) for m in norms]
    before = [(b, b.array.copy()) for m in norms for b in m.buffers()]
    try:
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None
        model.train()
        _walk(loader, model, device)
    except BaseException:
        for buffer, value in before:
            buffer.array[...] = value
            mark(buffer.array)
        raise
    finally:
        for norm, momentum in momenta:
            norm.momentum = momentum
        for module, mode in modes:
            module.training = mode


class SWALR(LRScheduler):
    """Lead the rate to `swa_lr` in `anneal_epochs` steps, and keep it there.

    rate(t) = base + (swa_lr - base) * s(t / anneal_epochs), with s(u) = (1 - cos(pi * u)) / 2 for
    anneal_strategy "cos" and s(u) = u for "linear", from the rate at which it begins; the rates
    kept then suit averaging.  `swa_lr` may be a list with a value for each group.  Sources:
    Izmailov et al. (2018); `torch.optim.swa_utils.SWALR`.  Raises ValueError for an unknown
    strategy, a negative number of epochs, and a list of another length.

    >>> import chainrule as cr
    >>> optimizer = cr.optim.SGD([cr.tensor([0.0], requires_grad=True)], lr=1.0)
    >>> schedule = SWALR(optimizer, swa_lr=0.5, anneal_epochs=2, anneal_strategy="linear")
    >>> rates = []
    >>> for _ in range(4):
    ...     rates += schedule.get_last_lr()
    ...     optimizer.step(); schedule.step()
    >>> rates
    [1.0, 0.75, 0.5, 0.5]
    """

    def __init__(
        self,
        optimizer: Optimizer,
        swa_lr: float | list[float],
        anneal_epochs: int = 10,
        anneal_strategy: str = "cos",
        last_epoch: int = -1,
    ) -> None:
        goals = for_groups("SWALR", "swa_lr", self._checked(optimizer), swa_lr)
        if anneal_strategy not in ("cos", "linear"):
            rule = "'cos' or 'linear' as anneal_strategy"
            raise failure("SWALR", rule, anneal_strategy=anneal_strategy)
        if isinstance(anneal_epochs, bool) or not isinstance(anneal_epochs, int | np.integer):
            rule = "an integer as anneal_epochs"
            raise failure("SWALR", rule, anneal_epochs=anneal_epochs)
        if anneal_epochs < 0:
            raise failure("SWALR", "anneal_epochs >= 0", anneal_epochs=anneal_epochs)
        for group, goal in zip(optimizer.param_groups, goals, strict=True):
            group["swa_lr"] = goal
        self.anneal_epochs, self.anneal_strategy = int(anneal_epochs), anneal_strategy
        super().__init__(optimizer, last_epoch)

    def _share(self, step: int) -> float:
        done = max(0.0, min(1.0, step / max(1, self.anneal_epochs)))
        return done if self.anneal_strategy == "linear" else (1.0 - math.cos(math.pi * done)) / 2.0

    def get_lr(self) -> list[float]:
        """Compute the rates from the ones set before."""
        step = self._step_count - 1
        if self.anneal_epochs == 0:
            step = max(1, step)
        before, now = self._share(step - 1), self._share(step)
        rates = []
        for group in self.optimizer.param_groups:
            goal, rate = float(group["swa_lr"]), float(group["lr"])
            start = goal if before == 1.0 else (rate - before * goal) / (1.0 - before)
            rates.append(goal * now + start * (1.0 - now))
        return rates


def _decay(decay: float) -> float:
    if not 0.0 <= decay <= 1.0:
        raise failure("get_ema_avg_fn", "a decay from 0 to 1", decay=decay)
    return float(decay)


def _ema_one(decay: float, averaged: Tensor, current: Tensor, _: Any) -> Tensor:
    return decay * averaged + (1.0 - decay) * current


def _mean_one(averaged: Tensor, current: Tensor, num_averaged: Any) -> Tensor:
    return averaged + (current - averaged) / (int(num_averaged) + 1)


def _mean_all(averaged: Sequence[Tensor], current: Sequence[Tensor], num_averaged: Any) -> None:
    _move_all(1.0 / (int(num_averaged) + 1), averaged, current, num_averaged)


def _pairs(
    what: str, averaged: Iterable[Tensor], current: Iterable[Tensor]
) -> list[tuple[Tensor, Tensor]]:
    """Pair tensors outside the graph; raises ShapeError unless they are as many and alike."""
    one, two = ([t.detach() for t in tensors] for tensors in (averaged, current))
    if [t.shape for t in one] != [t.shape for t in two]:
        rule = f"a model with {what} of the same number and shapes"
        here, there = [[tuple(t.shape) for t in ts] for ts in (one, two)]
        raise failure("AveragedModel", rule, averaged=here, model=there)
    for tensor in (*one, *two):
        tensor._need_data("AveragedModel")
    return list(zip(one, two, strict=True))


def _by_dtype(pairs: list[tuple[Tensor, Tensor]]) -> list[list[tuple[Tensor, Tensor]]]:
    groups: dict[Any, list[tuple[Tensor, Tensor]]] = {}
    for pair in pairs:
        groups.setdefault(pair[0].dtype, []).append(pair)
    return list(groups.values())


def _copy_all(pairs: Iterable[tuple[Tensor, Tensor]]) -> None:
    for target, source in pairs:
        np.copyto(target.array, source.array, casting="unsafe")
        mark(target.array)


def _move_all(share: float, averaged: Sequence[Tensor], current: Sequence[Tensor], _: Any) -> None:
    """Move each array by a share of the way to another, in place."""
    tasks: list[Callable[[], None]] = []
    for target, source in zip(averaged, current, strict=True):
        a, w = target.array, source.array
        if a.dtype.kind != "f":  # whole numbers: cut, as PyTorch does
            np.copyto(a, a * (1.0 - share) + w * share, casting="unsafe")
            continue
        a, w = _flat(a, w.astype(a.dtype, copy=False))
        if a.ndim != 1:
            tasks.append(partial(_move, share, a, w, np.empty_like(a)))
        for start in range(0, a.size if a.ndim == 1 else 0, _SHARE):
            piece = slice(start, start + _SHARE)
            tasks.append(partial(_move_blocks, share, a[piece], w[piece]))
    with np.errstate(over="ignore", invalid="ignore"):  # NaN and infinity pass quietly
        run_all(tasks)
    mark(*[target.array for target in averaged])


def _flat(a: Array, w: Array) -> tuple[Array, Array]:
    """View both as vectors; as they are, if a is not laid out as parameters are."""
    return (a.ravel(), w.ravel()) if a.flags.c_contiguous else (a, w)


def _move_blocks(share: float, a: Array, w: Array) -> None:
    block = max(1, _BLOCK // a.itemsize)
    scratch = np.empty(min(block, a.size), a.dtype)
    for start in range(0, a.size, block):
        part = a[start : start + block]
        _move(share, part, w[start : start + block], scratch[: part.size])


def _move(share: float, a: Array, w: Array, scratch: Array) -> None:
    """Set a to a + share * (w - a), reckoned from the nearer end: a share of 1 gives w exactly."""
    np.subtract(w, a, scratch)
    if share < 0.5:
        np.multiply(scratch, share, scratch)
        np.add(a, scratch, a)
    else:
        np.multiply(scratch, 1.0 - share, scratch)
        np.subtract(w, scratch, a)


def _walk(loader: Iterable[Any], model: Module, device: str | None) -> None:
    """Show the model every batch, without gradients."""
    batches = 0
    with no_grad():
        for batch in loader:
            x = as_tensor(batch[0] if isinstance(batch, list | tuple) else batch)
            model(x if device is None else x.to(device))
            batches += 1
    if not batches:
        hint = "was it an iterator that had been used up?"
        raise failure("update_bn", "a loader with at least one batch", hint=hint)
