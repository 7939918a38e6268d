"""L-BFGS: Newton's direction, from the last steps and the changes of the gradient."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from chainrule.engine.op import Array
from chainrule.engine.state import enable_grad, no_grad
from chainrule.engine.tensor import Tensor
from chainrule.engine.written import mark
from chainrule.errors import CheckpointError, KindError, failure
from chainrule.optim.optimizer import Group, Optimizer, check_positive, check_range
from chainrule.optim.wolfe import Point, ratio, search

_LISTS = ("old_dirs", "old_stps")
_VECTORS = ("d", "prev_flat_grad")
_CURVED = 1e-10
"""The product of step and change from which they are remembered."""


class LBFGS(Optimizer):
    """w += t * d, where d = -H * g and H is the inverse Hessian seen in the last steps.

    H begins as a multiple of the identity and is corrected by up to `history_size` pairs of a
    step s and the change y of the gradient g over it (the two loops of the source), without
    being written out.  t is `lr` (in the very first iteration at most lr / sum |g|), or, with
    `line_search_fn="strong_wolfe"`, where both of Wolfe's conditions hold, searched for from
    there.  `step(closure)` runs up to `max_iter` iterations, with `max_eval` evaluations (5/4 of
    them by default), and ends before if the largest number of g is at most `tolerance_grad`, or
    neither a number nor the loss changed by more than `tolerance_change`.

    Source: Nocedal (1980), Liu and Nocedal (1989); the definition, arguments and defaults are
    those of `torch.optim.LBFGS`.  Everything is remembered under the first parameter's name,
    with PyTorch's names; in `state_dict` "old_dirs" and "old_stps" are arrays, a pair a row.

    Raises ValueError for options out of range and for several groups, TypeError for a step
    without closure; otherwise as `Optimizer`.

    >>> import chainrule as cr
    >>> w = cr.tensor([-1.5, 2.0], requires_grad=True)
    >>> optimizer = LBFGS([w], line_search_fn="strong_wolfe", max_iter=50)
    >>> def closure():
    ...     optimizer.zero_grad()
    ...     loss = (1 - w[0]) ** 2 + 100 * (w[1] - w[0] ** 2) ** 2  # Rosenbrock's valley
    ...     loss.backward()
    ...     return loss
    >>> loss = optimizer.step(closure)
    >>> [round(value, 2) for value in w.tolist()]
    [1.0, 1.0]
    """

    def __init__(
        self,
        params: Any,
        lr: float = 1,
        max_iter: int = 20,
        max_eval: int | None = None,
        tolerance_grad: float = 1e-7,
        tolerance_change: float = 1e-9,
        history_size: int = 100,
        line_search_fn: str | None = None,
    ) -> None:
        defaults = {
            "lr": lr,
            "max_iter": max_iter,
            "max_eval": max_iter * 5 // 4 if max_eval is None else max_eval,
            "tolerance_grad": tolerance_grad,
            "tolerance_change": tolerance_change,
            "history_size": history_size,
            "line_search_fn": line_search_fn,
        }
        self.check_options(defaults)
        super().__init__(params, defaults)

    def check_options(self, group: Group) -> None:
        """Check the options; see the class."""
        check_positive("LBFGS", group, "lr", "max_iter", "max_eval")
        check_range("LBFGS", history_size=(group["history_size"], 1, float("inf")))
        if group["line_search_fn"] not in (None, "strong_wolfe"):
            rule = "line_search_fn None or 'strong_wolfe'"
            raise failure("LBFGS", rule, line_search_fn=group["line_search_fn"])

    def add_param_group(self, param_group: Mapping[str, Any]) -> None:
        """Take the only group; ValueError for another.

        >>> import chainrule as cr
        >>> w = cr.tensor([1.0], requires_grad=True)
        >>> LBFGS([w]).add_param_group({"params": []})
        Traceback (most recent call last):
        chainrule.errors.ShapeError: LBFGS: expected one group, with one set of options
        """
        if self.param_groups:
            raise failure("LBFGS", "one group, with one set of options")
        super().add_param_group(param_group)

    @property
    def _params(self) -> list[Tensor]:
        params: list[Tensor] = self.param_groups[0]["params"]
        return params

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Run up to `max_iter` iterations; give the loss before them.

        `closure` computes the loss anew, with gradients, and is called several times.

        >>> import chainrule as cr
        >>> w = cr.tensor([2.0], requires_grad=True)
        >>> optimizer = LBFGS([w])
        >>> def closure():
        ...     optimizer.zero_grad()
        ...     loss = (w * w).sum()
        ...     loss.backward()
        ...     return loss
        >>> float(optimizer.step(closure).item())
        4.0
        """
        if closure is None:
            rule = "a closure that computes the loss anew: step(closure)"
            raise failure("LBFGS", rule, error=KindError)
        with no_grad():
            first, g = self._evaluate(closure)
            memory = self.state.setdefault(self.param_groups[0]["param_names"][0], {})
            memory["func_evals"] = memory.get("func_evals", 0) + 1
            memory.setdefault("n_iter", 0)
            if not _largest(g) <= self.param_groups[0]["tolerance_grad"]:
                self._iterate(closure, memory, float(first), g)
        return first

    def _evaluate(self, closure: Callable[[], Any]) -> tuple[Any, Array]:
        """Compute the loss and its gradient, as one vector."""
        with enable_grad():
            loss = closure()
        parts = [
            np.zeros(p.array.size, p.array.dtype) if p.grad is None else p.grad.array.ravel()
            for p in self._params
        ]
        return loss, np.concatenate(parts)

    def _iterate(
        self, closure: Callable[[], Any], memory: dict[str, Any], loss: float, g: Array
    ) -> None:
        """Go on from a loss and a gradient until one of the limits is reached."""
        group, evaluations = self.param_groups[0], 1
        rate, least = float(group["lr"]), group["tolerance_change"]
        for left in reversed(range(int(group["max_iter"]))):
            memory["n_iter"] += 1
            d, before = _direction(memory, g, group["history_size"]), loss
            first = memory["n_iter"] == 1
            t = min(1.0, ratio(1.0, float(np.abs(g).sum()))) * rate if first else rate
            memory.update(d=d, t=t, prev_flat_grad=g, prev_loss=loss)
            slope = _dot(g, d)
            if slope > -least:
                break
            used = 0
            if group["line_search_fn"] is not None:
                start = Point(0.0, loss, g, slope)
                most = group["max_eval"] - evaluations
                (t, loss, g, _), used = search(self._along(closure, d), start, t, _largest(d), most)
                memory["t"] = t
                self._move(t, d)
            else:
                self._move(t, d)
                if left:  # after the last step nobody needs them
                    (value, g), used = self._evaluate(closure), 1
                    loss = float(value)
            evaluations += used
            memory["func_evals"] += used
            if evaluations >= group["max_eval"] or _largest(g) <= group["tolerance_grad"]:
                break
            if abs(t) * _largest(d) <= least or abs(loss - before) < least:
                break

    def _along(self, closure: Callable[[], Any], d: Array) -> Callable[[float], Point]:
        """Give what looks at the loss at t along d, and puts the parameters back."""
        kept = [p.array.copy() for p in self._params]

        def look(t: float) -> Point:
            try:
                self._move(t, d)
                loss, g = self._evaluate(closure)
            finally:
                for p, old in zip(self._params, kept, strict=True):
                    np.copyto(p.array, old)
                mark(*[p.array for p in self._params])
            return Point(t, float(loss), g, _dot(g, d))

        return look

    def _move(self, t: float, d: Array) -> None:
        """Add t d to the parameters."""
        begin = 0
        with np.errstate(all="ignore"):
            for p in self._params:
                piece = d[begin : begin + p.array.size].reshape(p.array.shape)
                np.add(p.array, t * piece, p.array, casting="same_kind")
                begin += p.array.size
        mark(*[p.array for p in self._params])

    def state_dict(self) -> dict[str, Any]:
        """Give all that is remembered, as arrays and plain numbers; see `Optimizer.state_dict`.

        >>> import chainrule as cr
        >>> LBFGS([cr.tensor([1.0], requires_grad=True)]).state_dict()["state"]
        {}
        """
        found = super().state_dict()
        for memory in found["state"].values():
            for name in _LISTS:
                if name in memory:
                    shape = len(memory[name]), memory["d"].size
                    memory[name] = np.array(memory[name], memory["d"].dtype).reshape(shape)
            if "ro" in memory:
                memory["ro"] = list(memory["ro"])
        return found

    def _adopt(self, name: str, key: str, value: Any, tensors: Mapping[str, Tensor]) -> Any:
        if key in _LISTS:
            return [self._vector(key, row) for row in value]
        if key in _VECTORS:
            return self._vector(key, value)
        if key == "ro":
            return [_plain(number) for number in value]
        return _plain(value)

    def _vector(self, key: str, value: Any) -> Array:
        """Copy a vector over all parameters."""
        array = value.array if isinstance(value, Tensor) else np.asarray(value)
        size = sum(p.array.size for p in self._params)
        if array.shape != (size,):
            raise CheckpointError(
                f"LBFGS: {key} has vectors of shape {array.shape}, the parameters {size} numbers"
            )
        return array.astype(np.result_type(*[p.array.dtype for p in self._params]))


def _direction(memory: dict[str, Any], g: Array, history: int) -> Array:
    """Remember the last step's pair, and give -H g by the two loops over all pairs."""
    with np.errstate(all="ignore"):
        if memory["n_iter"] == 1:
            memory.update(old_dirs=[], old_stps=[], ro=[], H_diag=1.0)
            return -g
        changes, steps, factors = memory["old_dirs"], memory["old_stps"], memory["ro"]
        y, s = g - memory["prev_flat_grad"], memory["d"] * memory["t"]
        product = _dot(y, s)
        if product > _CURVED:
            while len(changes) >= history:
                for rows in (changes, steps, factors):
                    rows.pop(0)
            changes.append(y)
            steps.append(s)
            factors.append(1.0 / product)
            memory["H_diag"] = ratio(product, _dot(y, y))
        q, shares = -g, []
        for y, s, factor in reversed(list(zip(changes, steps, factors, strict=True))):
            shares.append(_dot(s, q) * factor)
            q -= shares[-1] * y
        q *= memory["H_diag"]
        for y, s, factor in zip(changes, steps, factors, strict=True):
            q += (shares.pop() - _dot(y, q) * factor) * s
        return q


def _dot(a: Array, b: Array) -> float:
    return float(np.dot(a, b))


def _largest(x: Array) -> float:
    return float(np.abs(x).max()) if x.size else 0.0


def _plain(value: Any) -> Any:
    """Give a number as Python has it."""
    array = value.array if isinstance(value, Tensor) else value
    return array.item() if isinstance(array, np.ndarray | np.generic) else array
