"""What a network makes of many images, as points in few dimensions."""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from typing import Any

import numpy as np

from chainrule.engine.op import Array
from chainrule.engine.random import Generator
from chainrule.engine.state import no_grad
from chainrule.errors import DataError, KindError, ShapeError, expect, failure
from chainrule.inspection.canvas import Preparation, Progress, kind_of, length_of, stream
from chainrule.inspection.figures import extra
from chainrule.inspection.given import counts, real, setting
from chainrule.inspection.patches import image_batch
from chainrule.inspection.reading import Reading
from chainrule.nn.module import Module
from chainrule.nn.tracing import evaluating


def embeddings(
    model: Module,
    batches: Iterable[Any],
    layer: str | None = None,
    *,
    mean: Any = None,
    std: Any = None,
    progress: Progress | None = None,
) -> tuple[Array, Array]:
    """Give the numbers by which a network tells images apart, and what came with the images.

    They are those of `model.embed(x)`, or what `layer` gives: maps by their mean over the
    positions.  `batches` gives (images, targets), as a DataLoader does, or images alone (then
    targets are -1); images are (N, C, H, W), which `mean` and `std` prepare.

    Gives arrays (N, D) and (N,).  Raises DataError for a layer that is not there and for a walk
    without images, KindError for a model that has no `embed` where no layer is named.

    >>> import chainrule as cr
    >>> images = cr.rand(5, 1, 32, 32, generator=cr.Generator(0)).numpy()
    >>> points, targets = embeddings(cr.create_model("lenet5"), [(images, [0, 1, 1, 0, 2])])
    >>> points.shape, targets.tolist()
    ((5, 84), [0, 1, 1, 0, 2])
    """
    asked = "embeddings"
    kind = kind_of(asked, model)
    method = getattr(model, "embed", None)
    if layer is None and not callable(method):
        names = [name for name, _ in model.named_children()]
        hint = f"name a layer: {', '.join(names[-3:])}"
        raise failure(asked, "a model with embed(x)", error=KindError, hint=hint, model=type(model))
    read = None if layer is None else Reading(asked, model, [layer])
    total = length_of(asked, batches)
    prepare: Preparation | None = None
    rows: list[Array] = []
    labels: list[Any] = []
    for done, batch in enumerate(batches, start=1):
        images, targets = image_batch(asked, batch, kind)
        prepare = prepare or Preparation(asked, images.shape[1], mean, std, kind)
        with no_grad(), evaluating(model):
            x = prepare(images)
            y = method(x) if read is None or layer is None else read(x)[layer]  # type: ignore[misc]
        expect(y.ndim >= 2, asked, "numbers for each image, (N, D)", output=y)
        rows.append(y.array.reshape(*y.shape[:2], -1).mean(axis=2))
        labels += [-1 if target is None else target for target in targets]
        if progress is not None:
            progress(done, total, {"images": float(len(labels))})
    if not labels:
        raise DataError(f"{asked}: expected batches with at least one image, got none")
    return np.concatenate(rows), np.asarray(labels)


def pca(points: Any, components: int = 2) -> Array:
    """Give the coordinates along the directions in which points differ most.

    Points minus their mean, times the first right singular vectors: (N, D) -> (N, components), by
    scikit-learn.  Of the two signs of a direction the one is taken whose largest weight is
    positive.  Source: Pearson, 1901.  Raises ShapeError for other shapes and for more components
    than there are, DataError where scikit-learn is missing.

    >>> pca([[0.0, 0.0], [3.0, 4.0]], components=1).round(6).tolist()
    [[-2.5], [2.5]]
    """
    asked = "pca"
    x, (k,) = _points(asked, points), counts(asked, components=components)
    rule = f"at most {min(x.shape)} components of {x.shape[0]} points in {x.shape[1]} dimensions"
    expect(k <= min(x.shape), asked, rule, error=ShapeError, components=k)
    found = extra("sklearn.decomposition", "principal components are found").PCA(
        n_components=k, svd_solver="full"
    )
    reduced: Array = found.fit_transform(x)
    return reduced


def tsne(
    points: Any, components: int = 2, perplexity: float = 30.0, seed: int | Generator = 0
) -> Array:
    """Lay points out so that near ones stay near; distances between groups mean little.

    (N, D) -> (N, components), by scikit-learn, from the principal components on (from random places
    where there are too few); the same `seed` gives the same picture.  `perplexity` is about how
    many neighbours a point looks at, less than N.  Source: van der Maaten and Hinton, 2008.  Raises
    ShapeError for other shapes and a perplexity out of range, DataError where scikit-learn is
    missing.

    >>> import chainrule as cr
    >>> tsne(cr.rand(12, 5, generator=cr.Generator(0)).numpy(), perplexity=3).shape
    (12, 2)
    """
    asked = "tsne"
    x, (k,) = _points(asked, points), counts(asked, components=components)
    setting(asked, 0.0, perplexity=perplexity)
    rule = f"a perplexity above 0 and below {len(x)}, the number of points"
    expect(0 < perplexity < len(x), asked, rule, error=ShapeError, perplexity=perplexity)
    expect(k <= 3, asked, "at most 3 components", error=ShapeError, components=k)
    number = int(stream(asked, seed).integers(0, 2**31 - 1, ()))
    makes = extra("sklearn.manifold", "t-SNE is computed").TSNE
    start = "pca" if k <= min(x.shape) else "random"
    model = makes(k, perplexity=perplexity, init=start, random_state=number)
    limits = importlib.import_module("threadpoolctl").threadpool_limits
    with limits(1):  # threads would add in another order each time, and wait for others
        laid: Array = model.fit_transform(x)
    return laid


def _points(asked: str, points: Any) -> Array:
    """Give points as float64 (N, D), all finite."""
    x = real(asked, "points", points).astype(np.float64)
    expect(x.ndim == 2 and x.size > 0, asked, "points (N, D)", error=ShapeError, points=x)
    if not np.isfinite(x).all():
        row = int(np.argmin(np.isfinite(x).all(axis=1)))
        raise DataError(f"{asked}: expected finite numbers, point {row} has others")
    return x
