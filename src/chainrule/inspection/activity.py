"""What layers do in one forward pass: dead ReLUs, saturated sigmoids, the size of the signal."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from chainrule.engine import state
from chainrule.engine.finite import BLOCK
from chainrule.engine.node import Node
from chainrule.engine.op import Array, Op
from chainrule.engine.tensor import Tensor
from chainrule.ops.activation import ReLU, Sigmoid, Tanh
from chainrule.ops.activation_hard import Hardtanh
from chainrule.ops.fused import AddReLU, BatchNormReLU, ConvReLU, ReLUMaxPool
from chainrule.ops.linear import Linear

IMAGES = 200
"""How many images a unit must have seen before it may be called dead."""

_FLAT = 0.04  # of the steepest slope: sigmoid beyond 0.01 and 0.99, tanh beyond 0.98
_READ = 1 << 16  # numbers of one value that are read for its size
_READ_UNITS = 1 << 21  # and to see which units are alive
_RELUS = (ReLU, ConvReLU, BatchNormReLU, AddReLU, ReLUMaxPool)


class Activity:
    """Is told every operation of a forward pass, and measures those that matter.

    `owners` gives the layer of a parameter by the parameter's id.  What has no parameters is
    called after the layer whose values it works on, so that a ReLU inside a fused operation or a
    functional call has a name, too; where several layers meet, after the innermost layer or block
    in which it runs, `path[-1]`.  `values` holds the measurements by layer and measure, `order` the
    layers with parameters as they ran.  Which units have been silent is kept from pass to pass.
    """

    def __init__(self, window: int) -> None:
        self.window = window
        self.owners: Mapping[int, str] = {}
        self.path: list[str] = []
        self.values: dict[tuple[str, str], float] = {}
        self.order: dict[str, None] = {}
        self.problem: Exception | None = None
        self._sources: dict[int, tuple[str, int]] = {}  # of a node: the layer, the units' axis
        self._computed: dict[int, str] = {}  # of a node: the layer whose parameters it is made of
        self._waiting: dict[str, float] = {}  # saturation that no layer has worked on yet
        self._calls: dict[str, int] = {}
        self._silent: dict[str, Array] = {}  # passes since each unit was last above 0
        self._seen: dict[str, int] = {}  # passes in which the layer was seen
        self.whole = True  # all measured passes from the first step on were seen
        self.silent: dict[str, float] = {}  # share of units that were 0 in the pass, not yet judged

    def begin(self, owners: Mapping[int, str]) -> None:
        """Forget the last pass, but not which units were silent in it."""
        self.owners = owners
        for table in (self.path, self.values, self.order, self.silent):
            table.clear()
        for each in (self._sources, self._computed, self._waiting, self._calls):
            each.clear()

    def __call__(self, op: Op, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> None:
        """Take in an operation; an error of ours is kept, since the forward pass is not ours."""
        if self.problem is None:
            try:
                with np.errstate(all="ignore"):
                    self._note(op, inputs, outputs[0])
            except Exception as error:
                self.problem = error

    def _note(self, op: Op, inputs: Sequence[Tensor], y: Tensor) -> None:
        node = id(y.grad_fn) if y.grad_fn is not None else 0
        self._sources.pop(node, None)  # another node had this place in memory
        self._computed.pop(node, None)
        layers = [self._layer_of(x) for x in inputs]
        weights = [(name, x) for name, x in zip(layers, inputs, strict=True) if name is not None]
        source: tuple[str, int] | None
        if not weights:
            source = self._source(inputs)
        elif all(x.ndim == 0 for name, x in zip(layers, inputs, strict=True) if name is None):
            self._computed[node] = weights[0][0]  # a weight made of weights
            return
        else:
            name, weight = next((w for w in weights if id(w[1]) in self.owners), weights[0])
            source = name, _axis_of_units(op, weight, y)
            self._worked(name, y.array)
        if source is None:
            return
        self._sources[node] = source
        if y.dtype.kind == "f" and y.ndim > 1:
            self._measure(op, source, y.array)

    def _worked(self, name: str, y: Array) -> None:
        """Note a layer with parameters, and that the sigmoids before it are hidden ones."""
        self.order[name] = None
        self.values.update({(layer, "saturated"): v for layer, v in self._waiting.items()})
        self._waiting.clear()
        self.values[name, "activation_rms"] = rms(part(y, _READ))

    def _layer_of(self, x: Tensor) -> str | None:
        """Give the layer of a parameter, or of what was computed from parameters alone."""
        name = self.owners.get(id(x))
        return name if name is not None else self._computed.get(id(x.grad_fn))

    def _source(self, inputs: Sequence[Tensor]) -> tuple[str, int] | None:
        """Give the layer that an operation without parameters belongs to."""
        nodes: list[Node] = [x.grad_fn for x in inputs if x.grad_fn is not None]
        found = [self._sources[id(node)] for node in nodes if id(node) in self._sources]
        if len({name for name, _ in found}) > 1 and self.path and self.path[-1]:
            return self.path[-1], found[0][1]
        return found[0] if found else None

    def _measure(self, op: Op, source: tuple[str, int], y: Array) -> None:
        relu = isinstance(op, _RELUS) or (isinstance(op, Hardtanh) and op.low == 0)
        if not relu and not isinstance(op, (Sigmoid, Tanh)):
            return
        name, axis = source
        self._calls[name] = self._calls.get(name, 0) + 1
        if self._calls[name] > 1:
            name = f"{name} #{self._calls[name]}"
        values = part(y, _READ)
        self.values[name, "activation_rms"] = rms(values)
        if relu:
            self._count_dead(name, part(y, _READ_UNITS), axis % y.ndim)
        else:
            slope = 4 * values * (1 - values) if isinstance(op, Sigmoid) else 1 - values * values
            self._waiting[name] = float(np.count_nonzero(slope < _FLAT)) / max(values.size, 1)

    def _count_dead(self, name: str, y: Array, axis: int) -> None:
        """Note the share of units that were 0 for all of the last images, once there were enough.

        And of those that never were anything else, so that no step of the training silenced them.
        """
        if not y.size:
            return
        alive = ~(highest(y, axis) <= 0)  # what is NaN is not silent
        silent = self._silent.get(name)
        if silent is None or silent.shape != alive.shape:
            silent = self._silent[name] = np.zeros(alive.shape, np.int64)
            self.whole &= name not in self._seen
            self._seen[name] = 0
        silent[alive] = 0
        silent[~alive] += 1
        self._seen[name] += 1
        needed = max(self.window, math.ceil(IMAGES / len(y)))
        dead = float(np.count_nonzero(silent >= needed)) / silent.size
        self.silent[name] = float(np.count_nonzero(silent)) / silent.size - dead
        if self._seen[name] >= needed:
            self.values[name, "dead"] = dead
            if self.whole:
                never = np.count_nonzero(silent == self._seen[name])
                self.values[name, "never_active"] = float(never) / silent.size


class _Watchers:
    """Who is told of every operation: several monitors may watch one pass."""

    def __init__(self, each: Sequence[Callable[..., None]]) -> None:
        self.each = tuple(each)

    def __call__(self, op: Op, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> None:
        for watcher in self.each:
            watcher(op, inputs, outputs)


def look(activity: Activity) -> None:
    """Tell this activity, too, of every operation from now on, in this thread."""
    state.WATCHER.set(_Watchers([*_watching(), activity]))


def look_away(activity: Activity) -> None:
    """Tell it no more."""
    now = _watching()
    if activity in now:
        rest = [each for each in now if each is not activity]
        state.WATCHER.set(_Watchers(rest) if rest else None)


def _watching() -> tuple[Callable[..., None], ...]:
    watcher = state.WATCHER.get()
    if isinstance(watcher, _Watchers):
        return watcher.each
    return () if watcher is None else (watcher,)


def _axis_of_units(op: Op, parameter: Tensor, y: Tensor) -> int:
    """Tell where a layer's units stand: behind, or right after the images."""
    if isinstance(op, Linear) or y.ndim < 3:
        return -1
    units = parameter.shape[0] if parameter.ndim else 0
    return -1 if y.shape[1] != units and y.shape[-1] == units else 1


def part(array: Array, most: int) -> Array:
    """Give every so many of a large array's rows, about `most` numbers; never less than a row.

    >>> part(np.zeros((100, 50)), 1000).shape
    (20, 50)
    """
    if array.size <= most or array.ndim == 0:
        return array
    return array[:: -(-array.size // most)]


def highest(y: Array, axis: int) -> Array:
    """Give the largest value at each place of an axis.

    Rows of few channels are taken several at once: NumPy is slow on short rows.

    >>> highest(np.arange(24).reshape(2, 3, 4), 1).tolist()
    [15, 19, 23]
    """
    rows: Array = np.moveaxis(y, axis, -1)
    units = rows.shape[-1]
    several = 1024 // units
    if not rows.flags.c_contiguous or several < 2:
        return np.asarray(y.max(axis=tuple(a for a in range(y.ndim) if a != axis)))
    rows = rows.reshape(-1, units)
    whole = len(rows) - len(rows) % several
    if not whole:
        return np.asarray(rows.max(axis=0))
    most = rows[:whole].reshape(-1, several * units).max(axis=0).reshape(several, units)
    return np.asarray(np.concatenate([most, rows[whole:]]).max(axis=0))


def rms(array: Array) -> float:
    """Give the root of the mean square, without overflow or underflow; 0 of nothing.

    >>> rms(np.array([3.0, -4.0], np.float32)) == 12.5**0.5
    True
    >>> f"{rms(np.full(5, 1e-30, np.float32)):.3g}"
    '1e-30'
    """
    flat: Any = array.ravel(order="K")
    if not flat.size:
        return 0.0
    with np.errstate(all="ignore"):
        mean = _square(flat) / flat.size
        if not 1e-20 < mean < 1e30:
            mean = float(np.square(flat, dtype=np.float64).mean())
    return math.sqrt(mean) if mean >= 0 else math.nan


def _square(flat: Any) -> float:
    """Sum squares, of long arrays block by block: beyond that BLAS wakes other threads."""
    if flat.size < BLOCK:
        return float(np.dot(flat, flat))
    whole = flat.size - flat.size % BLOCK
    blocks, rest = flat[:whole].reshape(-1, BLOCK), flat[whole:]
    return float(np.vecdot(blocks, blocks).sum()) + float(np.dot(rest, rest))
