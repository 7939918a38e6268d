"""The methods of looking at a network by name: what each needs, and the figure that it draws.

`chainrule look` and whoever else offers them walk `METHODS`; a new method is one entry there.
"""

from __future__ import annotations

import difflib
from typing import Any

from chainrule.engine.op import Array
from chainrule.errors import DataError, failure
from chainrule.inspection.grad_cam import grad_cam, last_maps
from chainrule.inspection.gradients import deconvnet, guided_backprop, saliency
from chainrule.inspection.integrated import integrated_gradients
from chainrule.inspection.layers import find_layer
from chainrule.inspection.looking import Look, Method, Use
from chainrule.inspection.methods_made import MADE
from chainrule.inspection.occlusion import occlusion
from chainrule.inspection.overlay import show_attribution

_PIXELS = 1 << 19  # of images that run at a time


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
    given = {"image": at.image, "layer": at.layer, "target": at.target, "style": at.style}
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
    "style": "a second picture, whose style is taken",
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
    found = integrated_gradients(at.model, at.picture, at.target, batch_size=_batch(at))
    rise, gap = found.difference[0], found.gap[0]
    title = (
        f"integrated gradients from 0: {at.asked()}\n"
        f"the shares add up to {rise + gap:.4g}; the score less that of 0 is {rise:.4g}"
    )
    return show_attribution(at.picture[0], found.shares[0].sum(axis=0), title)


def _occlusion(at: Look) -> Any:
    size = tuple(max(1, n // 5) for n in at.picture.shape[2:])
    stride = tuple(max(1, side // 3) for side in size)
    found = occlusion(at.model, at.picture, at.target, size, stride, batch_size=_batch(at))
    return _shown(at, f"occlusion by {size[0]}x{size[1]} of 0", found[0])


def _batch(at: Look) -> int:
    """Give how many images run at a time: fewer of large ones, whose maps would fill the memory."""
    height, width = at.picture.shape[2:]
    return max(1, min(64, _PIXELS // int(height * width)))


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
    **MADE,
}
"""The methods by name."""
