"""What pixels a value depends on, by one backward pass: saliency, guided backprop, deconvnet."""

from __future__ import annotations

from typing import Any

import numpy as np

from chainrule.engine.op import Array
from chainrule.inspection.relu_rules import relu_rule
from chainrule.inspection.scores import Target, as_images, input_gradient
from chainrule.nn.module import Module
from chainrule.nn.tracing import evaluating


def saliency(
    model: Module,
    images: Any,
    target: Target = None,
    *,
    layer: str | None = None,
    channels: bool = False,
) -> Array:
    """Tell how much each pixel moves a class's score: |d score / d x| (Simonyan et al., 2013).

    `images` are (N, C, H, W), arrays or tensors, as the network sees them.  `target` is a class,
    or one for each image; None asks about each image's likeliest.  Scores are those before the
    softmax.  With `layer` it is about that layer's unit or channel `target` instead, where it is
    strongest.  The model runs in evaluation mode and is left as it was, gradients included.

    Returns (N, H, W), the largest over the channels; with `channels` (N, C, H, W).
    Raises ShapeError for other images, LabelError for a class that is not there, DataError for an
    unknown layer.

    >>> import numpy as np
    >>> import chainrule as cr
    >>> saliency(cr.create_model("lenet5"), np.ones((2, 1, 32, 32)), target=3).shape
    (2, 32, 32)
    """
    x = as_images("saliency", model, images)
    with evaluating(model):
        sizes = np.abs(input_gradient("saliency", model, x, target, layer))
    return sizes if channels else np.asarray(sizes.max(axis=1))


def guided_backprop(
    model: Module, images: Any, target: Target = None, *, layer: str | None = None
) -> Array:
    """Go back to the pixels along what speaks for a class (Springenberg et al., 2014).

    It is the gradient of the score, but at each ReLU only its positive values go on, and only
    where the ReLU's input was positive.  ReLU6 and `clamp(min=0)` count as ReLUs.  All other
    operations have their own gradients, also those that rectify otherwise: leaky and smooth
    activations, `maximum`, absolute values.  Without a ReLU it is the gradient.  Arguments, state
    and errors are those of `saliency`.

    Returns (N, C, H, W), signed.

    >>> import chainrule as cr
    >>> net = cr.nn.Sequential(cr.nn.Flatten(), cr.nn.Linear(2, 2, bias=False), cr.nn.ReLU())
    >>> _ = net[1].load_state_dict({"weight": cr.tensor([[1.0, -1.0], [-2.0, 1.0]])})
    >>> guided_backprop(net, cr.tensor([[[[3.0, 1.0]]]]), target=0).tolist()
    [[[[1.0, -1.0]]]]
    """
    x = as_images("guided_backprop", model, images)
    with evaluating(model), relu_rule(masked=True):
        return input_gradient("guided_backprop", model, x, target, layer)


def deconvnet(
    model: Module, images: Any, target: Target = None, *, layer: str | None = None
) -> Array:
    """Go back from a value to the pixels through a deconvnet (Zeiler & Fergus, 2014).

    Convolutions are transposed, max pooling puts a value where its maximum came from (unpooling by
    the switches), and each ReLU keeps what is positive of what comes from above, whatever its
    input was.  ReLU6 and `clamp(min=0)` count as ReLUs; other operations have their own gradients,
    leaky activations and `maximum` too.  With `layer` it begins there, with the
    strongest value of channel `target` (None: the strongest of all channels), as in the paper.
    Arguments, state and errors are those of `saliency`.

    Returns (N, C, H, W), signed.

    >>> import chainrule as cr
    >>> net = cr.nn.Sequential(cr.nn.Flatten(), cr.nn.Linear(2, 2, bias=False), cr.nn.ReLU())
    >>> _ = net[1].load_state_dict({"weight": cr.tensor([[1.0, -1.0], [-2.0, 1.0]])})
    >>> deconvnet(net, cr.tensor([[[[3.0, 1.0]]]]), target=1).tolist()
    [[[[-2.0, 1.0]]]]
    """
    x = as_images("deconvnet", model, images)
    with evaluating(model), relu_rule(masked=False):
        return input_gradient("deconvnet", model, x, target, layer)
