"""Where a class is seen: Grad-CAM."""

from __future__ import annotations

from typing import Any

import numpy as np

from chainrule.engine.op import Array
from chainrule.engine.state import enable_grad, no_grad
from chainrule.engine.tensor import Tensor
from chainrule.errors import DataError, GraphError, expect
from chainrule.inspection.layers import find_layer, watching
from chainrule.inspection.scores import Target, as_images, goals, gradient, output
from chainrule.nn.conv import Conv2d
from chainrule.nn.conv_map import MapConvolution
from chainrule.nn.module import Module
from chainrule.nn.tracing import evaluating
from chainrule.ops.resample import interpolate


def grad_cam(
    model: Module,
    images: Any,
    target: Target = None,
    layer: str | None = None,
    *,
    resize: bool = True,
) -> Array:
    """Map where the evidence for a class lies: Grad-CAM (Selvaraju et al., 2017).

    relu(sum over k of a_k A_k), with A_k the maps that `layer` gives and a_k the mean over
    positions of d score / d A_k.  The default layer is that of `last_maps`.  Other arguments,
    state and errors are those of `saliency`; scores are those before the softmax.

    Returns (N, H, W), not negative, brought to the images' size bilinearly; without `resize`
    (N, h, w), the layer's own.  Raises ShapeError for a layer that gives no maps (N, K, h, w).

    >>> import numpy as np
    >>> import chainrule as cr
    >>> grad_cam(cr.create_model("lenet5"), np.ones((2, 1, 32, 32)), 3, "conv2").shape
    (2, 32, 32)
    """
    x = as_images("grad_cam", model, images)
    name = last_maps(model, x) if layer is None else layer
    find_layer(model, name)
    with evaluating(model), enable_grad():
        # images that want a gradient keep the graph of a network whose parameters are frozen
        pixels = Tensor(x, requires_grad=True)
        with watching(model, [name]) as seen:
            scores = output("grad_cam", model, pixels)
    maps = _maps(name, seen.get(name), len(x))
    g = gradient("grad_cam", scores, goals("grad_cam", scores.array, target), maps)
    cam = np.maximum(np.einsum("nk,nkhw->nhw", g.mean(axis=(2, 3)), maps.array), 0)
    if not resize:
        return np.asarray(cam)
    with no_grad():
        grown = interpolate(Tensor(cam[:, None]), size=x.shape[2:], mode="bilinear")
    return np.asarray(np.maximum(grown.array[:, 0], 0))


def _maps(name: str, maps: Tensor | None, n: int) -> Tensor:
    if maps is None:
        raise DataError(f"grad_cam: the layer {name!r} did not run when the model was called")
    rule = f"a layer that gives maps (N, K, h, w); {name!r} does not"
    fits = isinstance(maps, Tensor) and maps.ndim == 4 and len(maps) == n
    expect(fits, "grad_cam", rule, hint="take a convolution", output=maps)
    if not maps.requires_grad:
        raise GraphError(f"grad_cam: what the layer {name!r} gives does not depend on the images")
    return maps


def last_maps(model: Module, images: Any) -> str:
    """Name the last layer whose output is still a map: where Grad-CAM looks by default.

    It is the last convolution in the order of the run that gives more than one position, or the
    largest block around it that gives maps of the same size: of a residual network the last stage.
    Raises DataError for a network without one.

    >>> import numpy as np
    >>> import chainrule as cr
    >>> last_maps(cr.create_model("lenet5"), np.ones((1, 1, 32, 32)))
    'conv2'
    >>> last_maps(cr.create_model("resnet20"), np.ones((1, 3, 32, 32)))
    'layer3'
    """
    x = as_images("last_maps", model, images)[:1]
    layers = dict(model.named_modules())
    with evaluating(model), no_grad(), watching(model, list(layers)) as seen:
        model(Tensor(x))
    sizes = {name: y.shape[2:] for name, y in seen.items() if _is_map(y)}
    found = [name for name in sizes if name and isinstance(layers[name], Conv2d | MapConvolution)]
    if not found:
        raise DataError(
            f"{type(model).__name__}: there is no convolution whose output has more than one "
            "position; name a layer that gives maps (N, K, h, w)"
        )
    name = found[-1]
    while (outer := name.rpartition(".")[0]) and sizes.get(outer) == sizes[found[-1]]:
        name = outer
    return name


def _is_map(value: Any) -> bool:
    return isinstance(value, Tensor) and value.ndim == 4 and value.shape[2] * value.shape[3] > 1
