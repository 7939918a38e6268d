"""What a network makes of images for search: features of length 1, and the classes beside them."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from chainrule.data.dataset import Task
from chainrule.engine.op import Array
from chainrule.engine.state import no_grad
from chainrule.engine.tensor import Tensor, as_tensor
from chainrule.errors import DataError, KindError, failure
from chainrule.inference.fuse import fuse
from chainrule.inspection.layers import find_layer
from chainrule.nn.linear import Linear
from chainrule.nn.module import Module
from chainrule.nn.tracing import evaluating
from chainrule.training.objective import main_scores
from chainrule.training.using import answers

_TINY = 1e-12
_PROBE = 0.37  # a value of pixels at which layers are told apart by what they read


class Embedded(NamedTuple):
    """Features (N, D) float32, rows of length 1 or all 0; probabilities (N, K), K = 0 of none."""

    vectors: Array
    probabilities: Array


class Embedder:
    """A network as search uses it: one pass gives an image's features and its classes.

    Features are what the network's last layer reads (the penultimate layer), or what `layer` gives;
    maps count by their mean over the positions.  They are brought to length 1, so that the product
    of two is the cosine of their angle.  `classes` names the network's classes, `task` says what
    its scores mean; of a regression there are no probabilities.

    Called with prepared images (N, C, H, W), from any thread; the network is fused once for each
    shape.  Modes of the network and what its batch norms have counted stay as they were.

    Raises KindError for what is no Module, DataError for a layer that is not there or that does not
    run, and for a network whose penultimate layer cannot be told.

    >>> import chainrule as cr
    >>> embed = Embedder(cr.create_model("lenet5"))
    >>> found = embed(cr.rand(3, 1, 32, 32, generator=cr.Generator(0)).numpy())
    >>> found.vectors.shape, found.probabilities.shape, found.probabilities.sum(1).round(4).tolist()
    ((3, 84), (3, 10), [1.0, 1.0, 1.0])
    """

    def __init__(
        self,
        model: Module,
        layer: str | None = None,
        *,
        classes: Sequence[str] = (),
        task: Task = "classification",
    ) -> None:
        if not isinstance(model, Module):
            raise failure("Embedder", "a Module", error=KindError, model=type(model))
        if layer is not None:
            find_layer(model, layer)
        self.model, self.layer, self.task = model, layer, task
        self.classes = tuple(classes)
        self._fast: Any = None
        self.alone = threading.RLock()
        """Held while the network runs: who looks into one hangs hooks on its layers, and they
        would see what other threads put through them."""

    def __call__(self, images: Any) -> Embedded:
        """Give features and probabilities of prepared images (N, C, H, W)."""
        x = as_tensor(np.asarray(images, np.float32))
        if x.ndim != 4 or not len(x):
            raise failure("Embedder", "images (N, C, H, W), at least one", images=x)
        with self.alone, no_grad():
            if self._fast is None:
                self._fast = fuse(_Both(self.model, self._reader(x[:1])))
            features, scores = self._fast(x)
        return Embedded(unit(features.array), self._probabilities(scores.array))

    def features(self, x: Tensor) -> Tensor:
        """Give the features of prepared images in the graph, not brought to length 1: (N, D)."""
        with self.alone, no_grad():
            place = self._reader(Tensor(x.array[:1]))
        with self.alone, evaluating(self.model):
            found: Tensor = _Both(self.model, place)(x)[0]
        return found

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "alone"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self.alone = threading.RLock()

    def _reader(self, x: Tensor) -> _Place:
        """Find where the features stand in a run of the network."""
        if self.layer is not None:
            return _Place(self.layer, output=True)
        probe = Tensor(np.full_like(x.array, _PROBE) + 0.5 * x.array)
        embed = getattr(self.model, "embed", None)
        with evaluating(self.model):
            wanted = embed(probe) if callable(embed) else None
            read, scores = _inputs(self.model, probe)
        for name, value, given in reversed(read):
            if wanted is not None and np.array_equal(value.array, wanted.array):
                return _Place(name, output=False)
            if wanted is None and given.array is scores.array:
                return _Place(name, output=False)
        if wanted is not None:
            return _Place("", output=True)
        raise DataError(
            f"{type(self.model).__name__}: the layer before the last cannot be told, since no "
            "Linear layer gives the scores; name the layer whose output is searched by"
        )

    def _probabilities(self, scores: Array) -> Array:
        if self.task == "regression" or scores.ndim != 2:
            return np.zeros((len(scores), 0), np.float32)
        return np.asarray(answers(scores.astype(np.float64), self.task), np.float32)


class _Place(NamedTuple):
    """The features of a network: what a layer gives, or what it reads; "" is `embed` itself."""

    layer: str
    output: bool


class _Both(Module):
    """A network whose forward gives its features and its scores."""

    def __init__(self, model: Module, place: _Place) -> None:
        super().__init__()
        self.model = model
        self.place = place

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(N, C, H, W) -> features (N, D) and scores (N, K)."""
        if not self.place.layer:
            return flat(self.model.embed(x)), main_scores(self.model(x))
        seen: list[Tensor] = []

        def keep(module: Module, inputs: Any, *output: Any) -> None:
            value = output[0] if self.place.output else inputs
            seen.append(value[0] if isinstance(value, tuple) else value)

        layer = find_layer(self.model, self.place.layer)
        hook = layer.register_forward_hook if self.place.output else layer.register_forward_pre_hook
        handle = hook(keep)
        try:
            scores = main_scores(self.model(x))
        finally:
            handle.remove()
        if not seen:
            inner = [f"{self.place.layer}.{name}" for name, _ in layer.named_children()]
            hint = f"; name a layer within it, such as {inner[-1]}" if inner else ""
            raise DataError(
                f"{type(self.model).__name__} does not run {self.place.layer!r} as a whole in "
                f"evaluation mode{hint}"
            )
        return flat(seen[-1]), scores


def flat(y: Tensor) -> Tensor:
    """Give features as (N, D): maps by their mean over the positions.

    >>> import chainrule as cr
    >>> flat(cr.ones(2, 3, 4, 4)).shape
    (2, 3)
    """
    if y.ndim < 2:
        raise failure("search", "a layer that gives numbers for each image, (N, D, ...)", output=y)
    if y.ndim == 2:
        return y
    mean: Tensor = y.flatten(2).mean(2)
    return mean


def unit(vectors: Array) -> Array:
    """Bring rows (N, D) to length 1, as float32; rows of zeros stay.  NaN comes through.

    >>> unit(np.array([[3.0, 4.0], [0.0, 0.0]])).round(3).tolist()
    [[0.6000000238418579, 0.800000011920929], [0.0, 0.0]]
    """
    x = np.asarray(vectors, np.float64)
    largest = np.abs(x).max(axis=1, keepdims=True, initial=0.0)  # so that squares stay in range
    x = x / np.where(largest > 0, largest, 1.0)
    length = np.sqrt((x * x).sum(axis=1, keepdims=True))
    return np.asarray(x / np.maximum(length, _TINY), np.float32)


def _inputs(model: Module, x: Tensor) -> tuple[list[tuple[str, Tensor, Tensor]], Tensor]:
    """List the dense layers that ran, with what they read and gave, and the model's scores."""
    found: list[tuple[str, Tensor, Tensor]] = []

    def noting(name: str) -> Any:
        def hook(module: Module, inputs: Any, output: Any) -> None:
            found.append((name, inputs[0], output))

        return hook

    handles = [
        layer.register_forward_hook(noting(name))
        for name, layer in model.named_modules()
        if isinstance(layer, Linear)
    ]
    try:
        scores = main_scores(model(x))
    finally:
        for handle in handles:
            handle.remove()
    return found, scores
