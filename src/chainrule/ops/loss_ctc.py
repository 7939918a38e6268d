"""Connectionist temporal classification: a sequence's labels, without saying when each occurs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from chainrule.engine.op import Array, Op, Spec, public
from chainrule.engine.sample import Sample, normal
from chainrule.engine.tensor import Tensor, apply, as_tensor
from chainrule.errors import KindError, failure
from chainrule.ops.arguments import int_tuple, integer
from chainrule.ops.cast import cast
from chainrule.ops.elementwise import div
from chainrule.ops.formulas import need_float, quiet
from chainrule.ops.loss import gathered, reduction_mode
from chainrule.ops.loss_labels import check_labels
from chainrule.ops.select import clamp

NEVER = -np.inf  # the logarithm of a path that is none


class States(NamedTuple):
    """The labels with a blank before, between and after them: what a path goes through."""

    label: Array  # (N, S) the class of each state; S = 2 L + 1
    skips: Array  # (N, S) 0 where a path may come from two states before, else -inf
    steps: Array  # (N,) the length of each sequence
    last: Array  # (N,) each one's last state, twice its number of labels


@dataclass(frozen=True)
class CTCLoss(Op):
    """y = -log of the sum over paths of exp(sum of x[t, n, path[t]]) for each sequence n.

    A path has a class for each of the sequence's first steps; it counts if what remains without
    repetitions and then blanks are the labels.  gx[t, n, c] = -g times the share of the paths
    that are at class c at step t.  With `zero_infinity` y and gx are 0 where there is no path.
    """

    blank: int = 0
    zero_infinity: bool = False

    def infer(self, x: Spec, labels: Spec, steps: Spec, sizes: Spec) -> tuple[Spec, ...]:
        need_float(self, x)
        if x.ndim != 3 or 0 in x.shape:
            raise failure(self, "log-probabilities (T, N, C), none of them 0", log_probs=x)
        _, n, classes = x.shape
        if not 0 <= self.blank < classes:
            raise failure(self, f"a blank in 0..{classes - 1}", log_probs=x)
        for name, spec in (("input_lengths", steps), ("target_lengths", sizes)):
            if spec.shape != (n,):
                raise failure(self, f"{n} {name}, one a sequence", lengths=spec)
        if labels.ndim not in (1, 2) or (labels.ndim == 2 and labels.shape[0] != n):
            rule = f"targets ({n}, L), or all of them in a row"
            raise failure(self, rule, log_probs=x, targets=labels)
        return (Spec((n,), x.dtype),)

    @quiet
    def forward(
        self, xp: Any, x: Array, labels: Array, steps: Array, sizes: Array
    ) -> tuple[tuple[Array, ...], Any]:
        states = self._states(xp, x.shape, labels, steps, sizes)
        emitted = xp.take_along_axis(x, states.label[None], axis=2)  # (T, N, S)
        first = _marks(xp, emitted[0], xp.zeros_like(states.last), sizes > 0)
        alpha = _sweep(xp, emitted, states.skips, first, xp.zeros_like(steps))
        n = xp.arange(steps.size)
        ends = alpha[xp.maximum(steps - 1, 0), n]  # (N, S)
        before = xp.where(sizes > 0, ends[n, states.last - 1], NEVER)
        y = -xp.logaddexp(ends[n, states.last], before)
        y = xp.where(steps > 0, y, xp.where(sizes > 0, -NEVER, 0)).astype(x.dtype, copy=False)
        loss = xp.where(y == -NEVER, x.dtype.type(0), y) if self.zero_infinity else y
        return (loss,), (x, tuple(states), emitted, alpha, y)

    def _states(
        self, xp: Any, shape: tuple[int, ...], labels: Array, steps: Array, sizes: Array
    ) -> States:
        """Check the lengths and the labels, and put blanks around these."""
        t, n, classes = shape
        longest = int(sizes.max())
        if int(steps.min()) < 0 or int(steps.max()) > t:
            given = int(steps.min()), int(steps.max())
            raise failure(self, f"input_lengths in 0..{t}", lowest=given[0], highest=given[1])
        if int(sizes.min()) < 0:
            raise failure(self, "target_lengths of at least 0", lowest=int(sizes.min()))
        place = xp.arange(longest)
        used = place < sizes[:, None]  # (N, L)
        if labels.ndim == 2:
            if longest > labels.shape[1]:
                rule = f"target_lengths of at most {labels.shape[1]}"
                raise failure(self, rule, targets=labels, highest=longest)
            chosen = labels[:, :longest]
        else:
            if int(sizes.sum()) != labels.size:
                rule = f"as many targets as target_lengths say, {int(sizes.sum())}"
                raise failure(self, rule, targets=labels)
            start = xp.cumsum(sizes) - sizes
            chosen = labels[xp.minimum(start[:, None] + place, labels.size - 1)]
        chosen = xp.where(used, chosen, self.blank)
        check_labels(self, xp, chosen, classes, None)
        label = xp.full((n, 2 * longest + 1), self.blank)
        label[:, 1::2] = chosen
        skips = xp.full(label.shape, NEVER)
        skips[:, 3::2] = xp.where(chosen[:, 1:] != chosen[:, :-1], 0, NEVER)
        return States(label, skips, steps.astype(np.int64), 2 * sizes.astype(np.int64))

    @quiet
    def backward(self, xp: Any, saved: Any, gy: Any, needs: tuple[bool, ...]) -> tuple[Any, ...]:
        return self._gradient(xp, saved, gy, 0) if needs[0] else None, None, None, None

    def _gradient(self, xp: Any, saved: Any, gy: Array, base: Any) -> Array:
        """Give g times (base - the share of the paths), 0 after a sequence's end."""
        x, states, emitted, alpha, y = saved
        share = self._share(xp, x.shape, States(*states), emitted, alpha, y)
        alive = xp.arange(x.shape[0])[:, None] < states[2]  # (T, N)
        if self.zero_infinity:
            alive = alive & (y != -NEVER)
        g = xp.where(y < -NEVER, gy, x.dtype.type(np.nan))  # not for an infinite loss, nor NaN
        gx: Array = xp.where(alive[:, :, None], (base - share) * g[:, None], x.dtype.type(0))
        return gx

    @staticmethod
    def _share(
        xp: Any, shape: tuple[int, ...], states: States, emitted: Array, alpha: Array, y: Array
    ) -> Array:
        """Give the share of the paths that are at each class at each step: (T, N, C)."""
        t, n, classes = shape
        s = states.label.shape[1]
        back = emitted[::-1, :, ::-1]
        skips = xp.full_like(states.skips, NEVER)
        skips[:, 2:] = states.skips[:, :1:-1]
        last = _marks(xp, back[0], s - 1 - states.last, states.last > 0)
        beta = _sweep(xp, back, skips, last, t - states.steps)[::-1, :, ::-1]
        both = alpha + beta  # holds what is emitted at the step twice
        share = xp.exp(xp.where(both > NEVER, both - emitted + y[:, None], NEVER))
        at = xp.arange(t * n).reshape(t, n, 1) * classes + states.label
        sums = xp.bincount(at.ravel(), weights=share.ravel(), minlength=t * n * classes)
        return sums.reshape(shape).astype(emitted.dtype)  # type: ignore[no-any-return]

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        labels = np.array([[1, 1, 2], [3, 2, 1], [2, 3, 1]])
        steps, sizes = np.array([6, 5, 6]), np.array([3, 2, 0])
        for zero in (False, True):
            yield Sample(cls(0, zero), normal(6, 3, 4), labels, steps, sizes)
            yield Sample(cls(3, zero), normal(6, 3, 4), labels - 1, steps, sizes)
        row = np.array([1, 2, 2, 3])
        yield Sample(cls(), normal(5, 2, 4), row, np.array([3, 5]), np.array([1, 3]))
        # Three labels do not fit into two steps: no path.
        yield Sample(cls(0, True), normal(4, 2, 4), row, np.array([4, 2]), np.array([1, 3]))


class _OfProbabilities(CTCLoss, register=False):
    """CTCLoss whose x is log_softmax's: gx = g (exp(x) - the share), which sums to 0 at a step.

    Through log_softmax it is the same; by x itself it is what PyTorch gives, NaN where x is -inf.
    """

    name = "ctc_loss"

    @quiet
    def backward(self, xp: Any, saved: Any, gy: Any, needs: tuple[bool, ...]) -> tuple[Any, ...]:
        x = saved[0]
        base = xp.where(x == NEVER, x.dtype.type(np.nan), xp.exp(x))
        return self._gradient(xp, saved, gy, base), None, None, None


def _marks(xp: Any, like: Array, state: Array, two: Array) -> Array:
    """Give 0 at each sequence's state, and at the next one where `two`, else -inf: (N, S)."""
    marks = xp.full_like(like, NEVER)
    n = xp.arange(state.size)
    marks[n, state] = 0
    marks[n[two], state[two] + 1] = 0
    return marks  # type: ignore[no-any-return]


def _sweep(xp: Any, emitted: Array, skips: Array, first: Array, start: Array) -> Array:
    """Give the logarithms of the sums over paths that begin at `start` in a state of `first`.

    A path stays in its state, goes to the next one, or where `skips` is 0 to the one after it.
    """
    steps, n, s = emitted.shape
    sums = xp.empty_like(emitted, order="C")
    padded = xp.full((n, s + 2), NEVER, emitted.dtype)
    skips = skips.astype(emitted.dtype)
    for t in range(steps):
        two, one, stay = padded[:, :-2] + skips, padded[:, 1:-1], padded[:, 2:]
        most = xp.maximum(xp.maximum(two, one), stay)
        most = xp.where(most == NEVER, emitted.dtype.type(0), most)
        paths = xp.log(xp.exp(two - most) + xp.exp(one - most) + xp.exp(stay - most)) + most
        sums[t] = xp.where((start == t)[:, None], first, paths) + emitted[t]
        padded[:, 2:] = sums[t]
    return sums  # type: ignore[no-any-return]


def _lengths(name: str, value: Any) -> Tensor:
    """Give lengths, a tensor or a sequence of integers, as a tensor with one axis."""
    if isinstance(value, list | tuple):
        return Tensor(np.array(int_tuple(value, f"ctc_loss {name}"), np.int64))
    lengths = as_tensor(value, f"ctc_loss {name}")
    if lengths.dtype.kind not in "iu":
        raise failure("ctc_loss", f"{name} that are integers", error=KindError, lengths=lengths)
    return cast(lengths, np.int64).reshape(-1)  # type: ignore[no-any-return]


@public
def ctc_loss(
    log_probs: Tensor,
    targets: Tensor,
    input_lengths: Any,
    target_lengths: Any,
    blank: int = 0,
    reduction: str = "mean",
    zero_infinity: bool = False,
) -> Tensor:
    """Negative log-likelihood of labels over all their alignments (Graves et al., 2006).

    An alignment gives each step a class; it counts if its classes, repetitions and then blanks
    left out, are the labels.  The mean divides each loss by its number of labels, at least 1,
    and is over sequences.  Where nothing aligns the loss is infinite, or 0 for `zero_infinity`.

    Shapes: log_probs (T, N, C), of `log_softmax`; targets (N, L), or (sum of lengths,) in a row;
    lengths (N,), tensors or sequences -> () or, for reduction 'none', (N,).  One sequence (T, C)
    is taken too.  The gradient goes to log_probs, as if they came out of another `log_softmax`:
    exp(x) minus the share of the alignments; 0 after a sequence's end, NaN for an infinite loss
    and, as in PyTorch, where log_probs are -inf.
    Raises ShapeError for lengths and shapes that do not fit, LabelError for labels outside
    0..C-1, TypeError for lengths that are no integers.

    >>> import chainrule as cr
    >>> logs = cr.log_softmax(cr.zeros(3, 1, 2), dim=2)
    >>> cr.nn.functional.ctc_loss(logs, cr.tensor([[1]]), [3], [1])  # 6 of 8 paths
    tensor(0.2877)
    """
    mode = reduction_mode("ctc_loss", reduction, None, None)
    x = as_tensor(log_probs, "ctc_loss")
    if x.ndim not in (2, 3):
        raise failure("ctc_loss", "log-probabilities (T, N, C) or (T, C)", log_probs=x)
    batch = x if x.ndim == 3 else x.unsqueeze(1)
    sizes = _lengths("target_lengths", target_lengths)
    op = _OfProbabilities(integer(blank, "ctc_loss blank"), bool(zero_infinity))
    labels = cast(as_tensor(targets, "ctc_loss targets"), np.int64)
    y = apply(op, batch, labels, _lengths("input_lengths", input_lengths), sizes)
    if mode == "mean":
        y = div(y, cast(clamp(sizes, min=1), x.dtype))
    elif x.ndim == 2:
        y = y.reshape(())
    return gathered(y, mode)
