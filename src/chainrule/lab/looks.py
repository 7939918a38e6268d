"""What a network looks at in a picture: the methods that are shown side by side, and their figures.

Whatever runs here runs on a twin of the network, which shares its numbers and nothing else: so a
slow method holds nobody back who looks at the same network, and hooks do not meet.
"""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from chainrule.engine.op import Array
from chainrule.engine.tensor import Tensor
from chainrule.errors import DataError
from chainrule.inspection.figures import figure_png
from chainrule.inspection.looking import Look, Use
from chainrule.inspection.methods import METHODS, look
from chainrule.lab.background import Drawing, Made
from chainrule.lab.subjects import Subject
from chainrule.nn.module import Module

MADE = "activation-maximization"
_CLASS = "class-image"  # the same for a class, which stands in where no layer is chosen
DRAWS = threading.Lock()
"""Held while matplotlib writes a figure: its fonts and warnings are shared by all threads."""


class Sight(NamedTuple):
    """How a method is shown: its title, and what it shows and how to read it."""

    title: str
    tells: str
    slow: bool = False


SIGHTS: dict[str, Sight] = {
    "saliency": Sight(
        "Saliency",
        "How strongly each pixel moves the value, up or down: where it is bright, a small change "
        "matters most.",
    ),
    "deconvnet": Sight(
        "Deconvnet",
        "The value sent back through the layers, each ReLU passing on what is positive: what "
        "appears is the structure that set it off.",
    ),
    "guided-backprop": Sight(
        "Guided backprop",
        "The gradient, but each ReLU passes on only what is positive both ways: fine edges that "
        "speak for it, sharper than the gradient and less faithful to it.",
    ),
    "grad-cam": Sight(
        "Grad-CAM",
        "Where the evidence for the class lies: one layer's maps, weighted by how much each raises "
        "the score.  It is as coarse as the layer, and bright where much speaks for the class.",
    ),
    "integrated-gradients": Sight(
        "Integrated gradients",
        "Each pixel's share of the score, between an image of 0 and this one; red raises it, blue "
        "lowers it, and together they make the difference.",
        slow=True,
    ),
    "occlusion": Sight(
        "Occlusion",
        "What the score loses when a window there is covered: red spoke for the class, blue "
        "against it.",
        slow=True,
    ),
    MADE: Sight(
        "Activation maximisation",
        "An image made from noise to excite it most: not a part of the picture, but what the "
        "network would like to see.",
        slow=True,
    ),
}
"""The methods that are shown, in this order; slow ones run beside the others."""


@dataclass(frozen=True)
class Layer:
    """A layer that ran: its name, class, output shape without the batch, and strongest unit."""

    name: str
    kind: str
    shape: tuple[int, ...]
    strongest: int

    @property
    def form(self) -> str:
        """The shape in words.

        >>> Layer("conv1", "Conv2d", (6, 28, 28), 3).form
        '6 x 28 x 28'
        """
        return " x ".join(map(str, self.shape))


@dataclass(frozen=True)
class Answer:
    """What a network makes of a picture: its answers (K,) and the layers that ran."""

    p: Array
    layers: dict[str, Layer]
    task: str = "classification"

    @property
    def best(self) -> int:
        """The number of the likeliest class."""
        return int(self.p.argmax())

    def first(self, count: int) -> list[int]:
        """Give the numbers of the likeliest classes, the likeliest first."""
        return [int(k) for k in np.argsort(-self.p, kind="stable")[:count]]

    def said(self, number: int) -> str:
        """Write the answer of a class: its probability, of a regression the number itself.

        >>> Answer(np.array([0.98765, 0.01235]), {}).said(0)
        '98.77 %'
        """
        value = float(self.p[number])
        return f"{value:.4g}" if self.task == "regression" else f"{100 * value:.2f} %"


@dataclass(frozen=True)
class Question:
    """What is looked for: a class, and beside it a layer's unit where a layer is chosen."""

    subject: Subject
    picture: str
    x: Array
    target: int
    layer: str | None = None
    unit: int | None = None

    def given(self, method: str) -> tuple[str, str | None, int]:
        """Say what a method of `SIGHTS` is asked: the library's method, a layer, and a target.

        With a layer the target is the layer's unit where the method can tell about units.
        """
        if method == MADE and self.layer is None:
            return _CLASS, None, self.target
        entry = METHODS[method]
        layer = None if entry.layer is Use.NO else self.layer
        unit = entry.units and layer is not None and self.unit is not None
        return method, layer, self.unit if unit and self.unit is not None else self.target

    def key(self, method: str) -> tuple[Any, ...]:
        """Give what tells one figure from all others."""
        picture = "" if method == MADE else self.picture  # made of noise
        return self.subject.key, self.subject.stamp, picture, *self.given(method)

    def maker(self, method: str) -> Callable[[Drawing], Made]:
        """Give what makes the figure; errors are the method's."""
        return lambda drawing: self._make(method, drawing)

    def _make(self, method: str, drawing: Drawing) -> Made:
        model = twin(self.subject)
        model.register_forward_pre_hook(lambda *_: drawing.step())
        name, layer, target = self.given(method)
        at = Look(
            model,
            self.subject.classes,
            None if method == MADE else self.x,
            layer,
            target,
            self._like,
            *self.subject.member.scale(),
        )
        figure = look(name, at)
        with DRAWS:
            return Made(figure_png(figure), title_of(figure), _note(figure))

    def _like(self, count: int) -> tuple[Array, Array]:
        """Give the picture as the sample, from which images that are made have their size."""
        return self.x[:count], np.zeros(len(self.x[:count]), np.int64)


def twin(subject: Subject) -> Module:
    """Give a network with the same numbers, in the same memory, and hooks and modes of its own."""
    model = subject.member.model
    with subject.lock:  # no hook of somebody else's is copied
        shared = {id(tensor): tensor for tensor in (*model.parameters(), *model.buffers())}
        return copy.deepcopy(model, shared)


def title_of(figure: Any) -> str:
    """Read what a figure is called."""
    return str(figure.get_suptitle() or figure.axes[0].get_title()).replace("\n", "; ")


def _note(figure: Any) -> str:
    """Say of a map of nothing but 0, which looks like a fault, that it is none."""
    if len(figure.axes) < 3 or np.any(np.asarray(figure.axes[1].images[0].get_array()) != 0):
        return ""
    return "the map is 0 everywhere: this method finds nothing there that speaks for it"


def answer_of(subject: Subject, x: Array) -> Answer:
    """Run a network on one picture (1, C, H, W) and note what each layer gives.

    Raises what the network raises.
    """
    model, found = twin(subject), dict[str, Layer]()
    for name, module in model.named_modules():
        if name:
            module.register_forward_hook(_noting(found, name))
    member = replace(subject.member, model=model)
    p = member.probabilities(member.scores(x))[0]
    return Answer(p, found, member.config.task)


def _noting(found: dict[str, Layer], name: str) -> Callable[..., None]:
    def note(module: Module, inputs: Any, output: Any) -> None:
        y = output[0] if isinstance(output, tuple) else output
        if isinstance(y, Tensor) and y.ndim >= 2 and len(y) == 1 and y.array.size:
            units = y.array.reshape(y.shape[1], -1).max(axis=1)
            kind = type(module).__name__
            found.pop(name, None)
            found[name] = Layer(name, kind, tuple(y.shape[1:]), int(units.argmax()))

    return note


def find_unit(layer: Layer, unit: int | None) -> int:
    """Give the unit that is asked about: the strongest where none is named.

    >>> find_unit(Layer("fc1", "Linear", (84,), 7), None)
    7
    >>> find_unit(Layer("fc1", "Linear", (84,), 7), 84)
    Traceback (most recent call last):
    chainrule.errors.DataError: unit: layer 'fc1' has units 0 to 83; got 84
    """
    if unit is None:
        return layer.strongest
    if not 0 <= unit < layer.shape[0]:
        raise DataError(
            f"unit: layer {layer.name!r} has units 0 to {layer.shape[0] - 1}; got {unit}"
        )
    return unit
