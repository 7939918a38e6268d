"""The methods of looking at a network by name: what each needs, and the figure that it draws.

`chainrule look` and whoever else offers them walk `METHODS`; a new method is one entry there.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any

from chainrule.engine.op import Array
from chainrule.errors import DataError, failure
from chainrule.inspection.grad_cam import grad_cam, last_maps
from chainrule.inspection.gradients import deconvnet, guided_backprop, saliency
from chainrule.inspection.integrated import integrated_gradients
from chainrule.inspection.layers import find_layer
from chainrule.inspection.occlusion import occlusion
from chainrule.inspection.overlay import show_attribution
from chainrule.inspection.scores import as_images, goals, plain_scores
from chainrule.nn.module import Module
from chainrule.nn.tracing import evaluating


class Use(Enum):
    """Whether a method wants something."""

    NO = "no"
    MAY = "may"
    MUST = "must"


@dataclass(frozen=True)
class Look:
    """What there is to look at.

    `image` is (1, C, H, W) as the network sees it, `samples(n)` gives n images (n, C, H, W) of the
    data it was tested on and their labels.  `target` is a class, or with a layer one of its units
    where the method's entry says so.
    """

    model: Module
    classes: tuple[str, ...] = ()
    image: Array | None = None
    layer: str | None = None
    target: int | None = None
    samples: Callable[[int], tuple[Array, Array]] | None = None

    @property
    def picture(self) -> Array:
        """The image; DataError if there is none."""
        if self.image is None:
            raise DataError("there is no image to look at; give one")
        return self.image

    def asked(self, layer: bool = True) -> str:
        """Say what is asked about: the target and its value, or the unit of the layer."""
        name = self.layer if layer else None
        if name is not None:
            unit = "the strongest unit" if self.target is None else f"unit {self.target}"
            return f"{unit} of layer {name!r}"
        with evaluating(self.model):
            x = as_images("look", self.model, self.picture)
            scores = plain_scores("look", self.model, x)
        place = int(goals("look", scores, self.target)[0])
        kind = place // scores[0, 0].size
        word = self.classes[kind] if kind < len(self.classes) else str(kind)
        return f"{word!r} (score {scores.reshape(-1)[place]:.4g})"


@dataclass(frozen=True)
class Method:
    """A method of looking: `draw` gives a matplotlib figure; the rest says what it wants.

    `units` says that with a layer the target is one of the layer's units and no class.
    """

    draw: Callable[[Look], Any]
    what: str
    image: Use = Use.MUST
    layer: Use = Use.NO
    target: Use = Use.MAY
    units: bool = False


def look(method: str, at: Look) -> Any:
    """Draw what a method shows: a matplotlib Figure.

    Raises DataError for a method, a layer or an image that is not there or not wanted, and what the
    method itself raises.

    >>> import numpy as np
    >>> import chainrule as cr
    >>> at = Look(cr.create_model("lenet5"), image=np.ones((1, 1, 32, 32)), target=3)
    >>> look("saliency", at).get_suptitle()[:21]
    "saliency: '3' (score "
    """
    entry = find_method(method)
    given = {"image": at.image, "layer": at.layer, "target": at.target}
    for part, value in given.items():
        use = getattr(entry, part)
        if use is Use.MUST and value is None:
            raise DataError(f"{method} needs {_WORDS[part]}")
        if use is Use.NO and value is not None:
            raise DataError(f"{method} takes no {part}; leave it out")
    if at.layer is not None:
        find_layer(at.model, at.layer)
    return entry.draw(at)


_WORDS = {
    "image": "an image",
    "layer": "a layer; `chainrule summary` lists a network's",
    "target": "a target: a class or a unit",
}


def find_method(name: str) -> Method:
    """Give a method by its name; DataError for one that is not there, with those that are.

    >>> find_method("saliency").layer
    <Use.MAY: 'may'>
    """
    if name in METHODS:
        return METHODS[name]
    near = difflib.get_close_matches(str(name), METHODS, n=1, cutoff=0.6)
    hint = f"do you mean {near[0]!r}?" if near else ""
    rule = f"a method among {', '.join(METHODS)}"
    raise failure("look", rule, hint=hint, error=DataError, method=name)


def _saliency(at: Look) -> Any:
    found = saliency(at.model, at.picture, at.target, layer=at.layer)
    return _shown(at, "saliency", found[0])


def _guided(at: Look) -> Any:
    found = guided_backprop(at.model, at.picture, at.target, layer=at.layer)
    return _shown(at, "guided backprop", found[0])


def _deconvnet(at: Look) -> Any:
    found = deconvnet(at.model, at.picture, at.target, layer=at.layer)
    return _shown(at, "deconvnet", found[0])


def _grad_cam(at: Look) -> Any:
    layer = at.layer or last_maps(at.model, at.picture)
    found = grad_cam(at.model, at.picture, at.target, layer)
    title = f"Grad-CAM of layer {layer!r}: {at.asked(layer=False)}"
    return show_attribution(at.picture[0], found[0], title)


def _integrated(at: Look) -> Any:
    found = integrated_gradients(at.model, at.picture, at.target)
    rise, gap = found.difference[0], found.gap[0]
    title = (
        f"integrated gradients from 0: {at.asked()}\n"
        f"the shares add up to {rise + gap:.4g}; the score less that of 0 is {rise:.4g}"
    )
    return show_attribution(at.picture[0], found.shares[0].sum(axis=0), title)


def _occlusion(at: Look) -> Any:
    size = tuple(max(1, n // 5) for n in at.picture.shape[2:])
    found = occlusion(at.model, at.picture, at.target, size, tuple(max(1, s // 3) for s in size))
    return _shown(at, f"occlusion by {size[0]}x{size[1]} of 0", found[0])


def _shown(at: Look, name: str, found: Array) -> Any:
    return show_attribution(at.picture[0], found, f"{name}: {at.asked()}")


METHODS: dict[str, Method] = {
    "saliency": Method(_saliency, "how much each pixel moves the score", layer=Use.MAY, units=True),
    "guided-backprop": Method(
        _guided, "back to the pixels along what speaks for it", layer=Use.MAY, units=True
    ),
    "deconvnet": Method(
        _deconvnet, "back to the pixels through a deconvnet", layer=Use.MAY, units=True
    ),
    "grad-cam": Method(_grad_cam, "where the evidence for a class lies", layer=Use.MAY),
    "integrated-gradients": Method(_integrated, "shares of the score that add up to it"),
    "occlusion": Method(_occlusion, "what is missed when a part is covered"),
}
"""The methods by name."""
