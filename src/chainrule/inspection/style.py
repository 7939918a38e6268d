"""Neural style transfer: the content of one image in the textures of another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from chainrule.engine.graph import grad
from chainrule.engine.op import Array
from chainrule.engine.random import Generator
from chainrule.engine.state import inference_mode, no_grad
from chainrule.engine.tensor import Tensor
from chainrule.errors import ShapeError, expect, failure
from chainrule.inspection.canvas import (
    Diary,
    Picture,
    Preparation,
    Progress,
    image_array,
    kind_of,
    noise,
    stream,
)
from chainrule.inspection.given import counts, real, setting, several, text
from chainrule.inspection.reading import Reading
from chainrule.nn.module import Module
from chainrule.optim.adam import Adam
from chainrule.optim.lbfgs import LBFGS

Values = Mapping[str, Tensor]


def gram_matrix(maps: Any) -> Tensor:
    """Give the mean products of channels over all positions: which occur together, not where.

    G[i, j] = sum over the M positions p of F[i, p] F[j, p], divided by M, so that images of
    different sizes compare.  Shapes: (N, C, H, W) -> (N, C, C).  Source: Gatys et al., 2016.
    Raises ShapeError for other shapes.

    >>> import chainrule as cr
    >>> gram_matrix(cr.tensor([[[[1.0, 2.0]], [[3.0, 0.0]]]])).tolist()
    [[[2.5, 1.5], [1.5, 4.5]]]
    """
    y = maps if isinstance(maps, Tensor) else Tensor(real("gram_matrix", "maps", maps))
    expect(y.ndim == 4, "gram_matrix", "maps (N, C, H, W)", maps=y)
    n, c, h, w = y.shape
    rows = y.reshape(n, c, h * w)
    gram: Tensor = rows @ rows.transpose(1, 2) / (h * w)
    return gram


def style_transfer(
    model: Module,
    content: Any,
    style: Any,
    *,
    content_layers: Sequence[str],
    style_layers: Sequence[str],
    content_weight: float = 1.0,
    style_weight: float = 10.0,
    smoothness: float = 3.0,
    steps: int = 100,
    optimizer: str = "lbfgs",
    lr: float | None = None,
    start: str = "content",
    seed: int | Generator = 0,
    mean: Any = None,
    std: Any = None,
    progress: Progress | None = None,
) -> Picture:
    """Make an image with one image's layer maps and another's Gram matrices.

    The loss is content_weight * content + style_weight * style + smoothness * variation, with

        content   = mean over content layers of |F - P|^2 / |P|^2,   P the maps of `content`;
        style     = mean over style layers of |G - A|^2 / |A|^2,     A the Gram matrix of `style`;
        variation = mean square of the differences between neighbouring pixels.

    These are Gatys's sums of squares with each layer's weight chosen as the square of its target:
    a layer counts the same whatever the size of its numbers, and 1 is the loss of no response at
    all.  Without smoothness a network's steps leave a checkered pattern.  The image begins as the
    content, or with start="noise" as grey (or the mean) with a little noise from `seed`, and is
    optimised by "lbfgs" (`lr` 1, strong Wolfe line search) or "adam" (`lr` 0.02); values beyond 0
    and 1 cost their square while it lasts, and are cut at the end.

    `content` and `style` are (C, H, W) from 0 to 1, of sizes of their own; the result has the
    content's.  `history` has "content", "style" and "loss" of each evaluation (a line search may
    take several a step) and, last, of the image that is given.

    Source: Gatys, Ecker and Bethge, 2016.  Raises DataError for a layer that is not there,
    ShapeError for one without maps, for images of other channels or too small for the network, and
    for settings out of range.

    >>> import chainrule as cr
    >>> model = cr.create_model("resnet20")
    >>> photo, art = (cr.rand(3, 16, 16, generator=cr.Generator(s)).numpy() for s in range(2))
    >>> made = style_transfer(
    ...     model, photo, art, content_layers=["layer1"], style_layers=["conv1"], steps=3
    ... )
    >>> made.history["style"][-1] < made.history["style"][0]
    True
    """
    asked = "style_transfer"
    kind = kind_of(asked, model)
    photo, art = image_array(asked, content, kind), image_array(asked, style, kind)
    expect(len(photo) == len(art), asked, "images of as many channels", content=photo, style=art)
    (count,) = counts(asked, steps=steps)
    prepare = Preparation(asked, len(photo), mean, std, kind)
    loss = _Loss(asked, prepare, content_weight, style_weight, smoothness)
    loss.look(model, (photo, content_layers), (art, style_layers))
    rule = "start 'content' or 'noise'"
    begins = text(asked, "start", start) in ("content", "noise")
    expect(begins, asked, rule, error=ShapeError, start=start)
    text(asked, "optimizer", optimizer)
    first = photo
    if start == "noise":
        first = noise(prepare, photo.shape, 0.05, stream(asked, seed))
    canvas = Tensor(first[None].copy(), requires_grad=True)
    diary = Diary(asked, count, progress)

    def closure() -> Tensor:
        total, numbers = loss(canvas)
        (canvas.grad,) = grad(total, canvas)
        diary.note(**numbers)
        return total

    with inference_mode(False):  # a graph is wanted whatever the caller has switched off
        _optimise(asked, optimizer, lr, canvas, closure, count)
    image = np.clip(canvas.array, 0, 1).astype(kind)
    with no_grad():
        diary.note(**loss(Tensor(image))[1])
    return Picture(image[0], diary.history)


def _optimise(
    asked: str, name: str, lr: float | None, canvas: Tensor, closure: Any, steps: int
) -> None:
    """Run so many steps of an optimiser."""
    if lr is not None:
        setting(asked, 0.0, lr=lr)
    if name == "lbfgs":
        LBFGS(
            [canvas],
            lr=1.0 if lr is None else lr,
            max_iter=steps,
            max_eval=2 * steps,
            history_size=20,
            line_search_fn="strong_wolfe",
        ).step(closure)
    elif name == "adam":
        adam = Adam([canvas], lr=0.02 if lr is None else lr)
        for _ in range(steps):
            adam.step(closure)
    else:
        raise failure(asked, "optimizer 'lbfgs' or 'adam'", optimizer=name)


def _beyond(x: Tensor) -> Tensor:
    """Give the mean square of what lies below 0 and above 1, in a hundredth's grey."""
    outside = x - x.clamp(0.0, 1.0)
    cost: Tensor = 100.0 * (outside * outside).mean()
    return cost


def _variation(x: Tensor) -> Tensor:
    """Give the mean square of the differences between neighbours, down and across."""
    down, right = x[:, :, 1:] - x[:, :, :-1], x[:, :, :, 1:] - x[:, :, :, :-1]
    total: Tensor = (down * down).mean() + (right * right).mean()
    return total


class _Loss:
    """What the image is to share with the content and with the style, and how much each counts."""

    def __init__(
        self, asked: str, prepare: Preparation, content: float, style: float, smoothness: float
    ) -> None:
        setting(asked, 0.0, content_weight=content, style_weight=style, smoothness=smoothness)
        self.asked, self.prepare = asked, prepare
        self.content, self.style, self.smoothness = content, style, smoothness
        self.maps: dict[str, Array] = {}
        self.grams: dict[str, Array] = {}

    def look(
        self,
        model: Module,
        content: tuple[Array, Sequence[str]],
        style: tuple[Array, Sequence[str]],
    ) -> None:
        """Keep the content's maps and the style's Gram matrices, of their layers."""
        (photo, near), (art, alike) = content, style
        for names in (near, alike):
            rule = "content_layers and style_layers, a name or more"
            fine = not isinstance(names, str) and len(several(self.asked, "layers", names)) > 0
            expect(fine, self.asked, rule, layers=names)
        self.read = Reading(self.asked, model, [*near, *alike])
        with no_grad():
            seen = self.read(self.prepare(photo[None]))
            for name, y in seen.items():
                expect(y.ndim == 4, self.asked, f"layers with maps, not {name!r}", output=y)
            self.maps = {name: seen[name].array for name in near}
            seen = self.read(self.prepare(art[None]))
            self.grams = {name: gram_matrix(seen[name]).array for name in alike}

    def __call__(self, x: Tensor) -> tuple[Tensor, dict[str, float]]:
        """Give the loss of images (1, C, H, W), and its parts by name."""
        seen = self.read(self.prepare(x))
        near = _mean([_relative(seen[name], goal) for name, goal in self.maps.items()])
        pairs = self.grams.items()
        alike = _mean([_relative(gram_matrix(seen[name]), goal) for name, goal in pairs])
        total = self.content * near + self.style * alike + _beyond(x)
        if self.smoothness:
            total = total + self.smoothness * _variation(x)
        numbers = {"content": near.item(), "style": alike.item(), "loss": total.item()}
        return total, {name: float(value) for name, value in numbers.items()}


def _mean(parts: list[Tensor]) -> Tensor:
    mean: Tensor = sum(parts[1:], parts[0]) / len(parts)
    return mean


def _relative(y: Tensor, target: Array) -> Tensor:
    """Give |y - target|^2 / |target|^2; the plain mean square where the target is 0."""
    size = float(np.square(target, dtype=np.float64).sum()) or float(target.size)
    error: Tensor = ((y - target) ** 2).sum() / size
    return error
