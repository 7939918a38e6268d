"""What excites a unit most, among many images: the images, and the patch that it saw."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from chainrule.engine.op import Array, DType
from chainrule.engine.state import no_grad
from chainrule.engine.tensor import Tensor
from chainrule.errors import AnomalyError, DataError, KindError, failure
from chainrule.inspection.canvas import Preparation, Progress, kind_of, length_of
from chainrule.inspection.fields import Box, Field
from chainrule.inspection.given import counts, several
from chainrule.inspection.reading import Reading, unit_of
from chainrule.nn.module import Module


@dataclass(frozen=True)
class Patch:
    """An image that excites a unit, and where.

    `value` is the activation, `number` the image's place in the walk (from 0), `target` what came
    with it, `position` that on the layer's map, () where it has none; `box` is what the unit saw of
    `image` (C, H, W), and `patch` that part, with the padding's value beyond the border.
    """

    value: float
    number: int
    target: Any
    position: tuple[int, ...]
    box: Box
    image: Array = field(repr=False)
    patch: Array = field(repr=False)


def top_patches(
    model: Module,
    layer: str,
    units: int | Sequence[int],
    batches: Iterable[Any],
    count: int = 9,
    *,
    mean: Any = None,
    std: Any = None,
    progress: Progress | None = None,
) -> dict[int, list[Patch]]:
    """Find the images, one patch each, that excite units most: `count` of them, the highest first.

    `batches` gives (images, targets), as a DataLoader does, or images alone: arrays or tensors
    (N, C, H, W), which `mean` and `std` prepare (a loader that prepares them works as well, but its
    patches are not from 0 to 1).  Of an image the place counts where the unit's map is highest, the
    first of equal ones; of equal images the earlier.  `count` images a unit are kept at a time.
    Gives a list for each unit, by its number.

    A patch has the size of the layer's receptive field.  Source: Zeiler and Fergus, 2013; Girshick
    et al., 2014.  Raises DataError for a layer that is not there and for a walk without images,
    LabelError for a unit that the layer does not have, ShapeError for a layer without channels,
    AnomalyError for activations that are not finite.

    >>> import chainrule as cr
    >>> images = cr.rand(20, 1, 32, 32, generator=cr.Generator(0)).numpy()
    >>> found = top_patches(cr.create_model("lenet5"), "conv2", 3, [(images, range(20))], count=4)
    >>> [patch.patch.shape for patch in found[3]][:2], len(found[3])
    ([(1, 14, 14), (1, 14, 14)], 4)
    """
    asked = "top_patches"
    kind, (most,) = kind_of(asked, model), counts(asked, count=count)
    single = isinstance(units, int | np.integer)
    wanted: list[Any] = [units] if single else several(asked, "units", units)
    best = _Best(asked, model, layer, wanted, most)
    total = length_of(asked, batches)
    prepare: Preparation | None = None
    for done, batch in enumerate(batches, start=1):
        images, targets = image_batch(asked, batch, kind)
        prepare = prepare or Preparation(asked, images.shape[1], mean, std, kind)
        best.look(images, targets, prepare)
        if progress is not None:
            progress(done, total, {"images": float(best.seen)})
    if prepare is None or best.seen == 0:
        raise DataError(f"{asked}: expected batches with at least one image, got none")
    return best.found(prepare)


class _Best:
    """The best images of each unit so far."""

    def __init__(
        self, asked: str, model: Module, layer: str, units: Sequence[int], count: int
    ) -> None:
        self.asked, self.layer, self.units, self.count = asked, layer, units, count
        self.read = Reading(asked, model, [layer])
        self.heaps: dict[int, list[tuple[float, int, Any]]] = {}
        self.seen = 0

    def look(self, images: Array, targets: Sequence[Any], prepare: Preparation) -> None:
        """Look at a batch."""
        with no_grad():
            y = self.read(prepare(images))[self.layer]
        for given in self.units:
            unit = unit_of(self.asked, self.layer, y, given)
            heap = self.heaps.setdefault(unit, [])
            maps = y.array[:, unit]
            rows = maps.reshape(len(maps), -1)
            if not np.isfinite(rows).all():  # NaN would be the highest everywhere
                bad = self.seen + int(np.argmin(np.isfinite(rows).all(axis=1)))
                raise AnomalyError(
                    f"{self.asked}: unit {unit} of {self.layer!r} is not finite for image {bad}"
                )
            for i, place in enumerate(rows.argmax(axis=1).tolist()):
                # the number is the second key: of equal values the earlier image stays
                entry = float(rows[i, place]), -(self.seen + i)
                if len(heap) < self.count or entry > heap[0][:2]:
                    position = tuple(int(p) for p in np.unravel_index(place, maps.shape[1:]))
                    kept = (*entry, (position, targets[i], images[i].copy()))
                    (heapq.heappush if len(heap) < self.count else heapq.heapreplace)(heap, kept)
        self.seen += len(images)

    def found(self, prepare: Preparation) -> dict[int, list[Patch]]:
        """Give the patches of each unit, the highest first."""
        fields: dict[tuple[int, ...], Field] = {}
        result: dict[int, list[Patch]] = {}
        for unit, heap in self.heaps.items():
            patches = result.setdefault(unit, [])
            for value, negative, (position, target, image) in sorted(heap, reverse=True):
                if image.shape not in fields:
                    fields[image.shape] = Field(self.read, image.shape, image.dtype)
                box = fields[image.shape].box(position)
                part = cut(image, box, prepare.padding[0])
                patches.append(Patch(value, -negative, target, position, box, image, part))
        return result


def cut(image: Array, box: Box, outside: Array) -> Array:
    """Cut a rectangle out of an image (C, H, W); beyond the border lie the `outside` values."""
    part = np.empty((len(image), box.height, box.width), image.dtype)
    part[:] = outside
    top, left = max(box.top, 0), max(box.left, 0)
    inside = image[:, top : max(box.top + box.height, 0), left : max(box.left + box.width, 0)]
    down, right = top - box.top, left - box.left
    part[:, down : down + inside.shape[1], right : right + inside.shape[2]] = inside
    return part


def image_batch(asked: str, batch: Any, kind: DType) -> tuple[Array, Sequence[Any]]:
    """Give a batch's images, and a target for each: None where there are none."""
    pair = isinstance(batch, tuple | list) and len(batch) == 2
    images, targets = batch if pair else (batch, None)
    array = np.asarray(images.array if isinstance(images, Tensor) else images)
    if array.ndim != 4:
        raise failure(asked, "batches of images (N, C, H, W), or pairs with targets", images=array)
    if array.dtype.kind != "f":
        hint = "divide by the value of white, 255 for bytes"
        raise failure(asked, "images of floats", error=KindError, hint=hint, images=array)
    if targets is None:
        return array.astype(kind, copy=False), [None] * len(array)
    listed = targets.tolist() if hasattr(targets, "tolist") else list(targets)
    if len(listed) != len(array):
        raise failure(asked, f"a target for each of {len(array)} images", targets=len(listed))
    return array.astype(kind, copy=False), listed
