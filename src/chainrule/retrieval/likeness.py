"""Why an image was found: where in a picture its likeness to another one lies."""

from __future__ import annotations

from typing import Any

import numpy as np

from chainrule.engine.graph import grad
from chainrule.engine.op import Array
from chainrule.engine.state import enable_grad, no_grad
from chainrule.engine.tensor import Tensor
from chainrule.errors import GraphError, expect
from chainrule.inspection.grad_cam import last_maps
from chainrule.inspection.layers import watching
from chainrule.inspection.scores import as_images
from chainrule.ops.resample import interpolate
from chainrule.retrieval.embedding import Embedder


def likeness(embedder: Embedder, image: Any, directions: Any, layer: str | None = None) -> Array:
    """Map where a picture's likeness to others lies, one map for each of them.

    `image` is prepared, (C, H, W); `directions` (n, D) are the others' features.  The product
    s = f(x) . v / |f(x)| is asked for its gradient by the maps A_k of a layer, and the map is
    relu(sum over k of a_k A_k), a_k the mean over positions of ds / dA_k, times their number: what
    Grad-CAM (Selvaraju et al., 2017) does for a class, done for a likeness.  |f(x)| counts as a
    constant, as the derivative of the whole cosine is 0 for a picture and itself.  Where features
    are maps averaged over positions, as in a residual network, and no part is negative, the mean
    of a map is the cosine itself.  `layer` is by default that of `last_maps`.

    Returns (n, H, W), not negative, brought to the picture's size bilinearly.  Raises DataError for
    a network without maps, ShapeError for other shapes.

    >>> import chainrule as cr
    >>> embed = Embedder(cr.create_model("lenet5"))
    >>> x = cr.rand(1, 32, 32, generator=cr.Generator(0)).numpy()
    >>> likeness(embed, x, embed(x[None]).vectors).shape
    (1, 32, 32)
    """
    given, others = np.asarray(image), np.asarray(directions, np.float32)
    expect(given.ndim == 3, "likeness", "one image (C, H, W)", image=given)
    x = as_images("likeness", embedder.model, given[np.newaxis])
    with embedder.alone:
        found = _maps(embedder, x, others, layer)
    size = x.shape[2:]
    if not found:
        return np.zeros((0, *size), np.float32)
    with no_grad():
        grown = interpolate(Tensor(np.stack(found)[:, np.newaxis]), size=size, mode="bilinear")
    return np.maximum(grown.array[:, 0], 0)


def _maps(embedder: Embedder, x: Array, others: Array, layer: str | None) -> list[Array]:
    """Give the map of each direction (n, D) at the layer's own size, (h, w)."""
    name = last_maps(embedder.model, x) if layer is None else layer
    with enable_grad(), watching(embedder.model, [name]) as seen:
        features = embedder.features(Tensor(x, requires_grad=True))
    width = features.shape[1]
    fits = others.ndim == 2 and others.shape[1] == width
    expect(fits, "likeness", f"features (n, {width}) of the others", directions=others)
    maps = seen[name]
    expect(maps.ndim == 4, "likeness", "a layer that gives maps (1, K, h, w)", output=maps)
    length = max(float(np.linalg.norm(features.array.astype(np.float64))), 1e-12)
    return [_map(features, maps, v / length) for v in others]


def _map(features: Tensor, maps: Tensor, direction: Array) -> Array:
    """Give relu(sum over k of a_k A_k), (h, w), for one direction (D,)."""
    seed = Tensor(direction[np.newaxis].astype(features.dtype))
    try:
        (found,) = grad(features, maps, seed, retain_graph=True)
    except GraphError as error:
        raise GraphError(f"likeness: the features do not depend on the maps: {error}") from error
    weights = found.array[0].sum(axis=(1, 2))
    return np.asarray(np.maximum(np.einsum("k,khw->hw", weights, maps.array[0]), 0))
