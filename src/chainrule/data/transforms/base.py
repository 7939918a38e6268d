"""What every transform is: a description of a change of images, applied to one or to many.

Transforms are frozen dataclasses on plain arrays.  `repr` writes one as the call that makes it,
and `parse_transform` reads that back: so a pipeline stands in a recipe or in a run's
configuration as text, and nothing that was loaded executes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np

from chainrule.data.dataset import Images
from chainrule.data.transforms.text import call_text, read_call
from chainrule.engine.op import Array
from chainrule.engine.random import Generator, default_generator
from chainrule.errors import KindError, ShapeError, failure

Batches = Callable[[], Iterator[Images]]
"""Training images, as a transform meets them; may be walked more than once."""

TRANSFORMS: dict[str, type[Transform]] = {}
"""Every transform by its class's name; suites walk it."""

Class = TypeVar("Class", bound="type[Transform]")


def transform(cls: Class) -> Class:
    """Register a transform under its name, as a decorator above `@dataclass(frozen=True)`."""
    if cls.__name__ in TRANSFORMS:
        raise failure("transform", f"a name that is not taken: {cls.__name__}")
    TRANSFORMS[cls.__name__] = cls
    return cls


@dataclass(frozen=True, repr=False)
class Transform:
    """Changes images; subclasses are dataclasses that implement `apply`.

    Called with one image (C, H, W), a batch (N, C, H, W) or a list of images of sizes of their
    own; gives the same form.  `FiveCrop` and `TenCrop` make V views of an image, (V, C, H, W) of
    one and (N, V, C, H, W) of a batch; what comes after them changes each view.  Each image has
    draws of its own, from `generator`, or where that is None from the global one.  Inputs are
    never written to, but what changes nothing gives them back.  Bytes stay bytes (0..255), 16-bit
    numbers likewise, floats (0..1) floats, unless a transform says otherwise.
    """

    def __call__(self, images: Any, generator: Generator | None = None) -> Any:
        """Give the changed images; raises ShapeError and KindError for what is no image."""
        chance = default_generator() if generator is None else generator
        if isinstance(images, list):
            return self._each(images, chance)
        array = np.asarray(images)
        name = type(self).__name__
        if array.ndim not in (3, 4, 5):
            rule = "an image (C, H, W), images (N, C, H, W) or views of them (N, V, C, H, W)"
            raise failure(name, rule, error=ShapeError, images=array)
        if array.dtype.kind not in "biuf":
            raise failure(name, "images of numbers", error=KindError, images=array)
        if not array.size:
            raise failure(name, "images with pixels", error=ShapeError, images=array)
        changed = self.apply(array.reshape(-1, *array.shape[-3:]), chance)
        if array.ndim == 4:
            return changed
        return changed[0] if array.ndim == 3 else self._views(changed, array)

    def _views(self, changed: Images, given: Array) -> Array:
        """Put the views of an image beside each other again."""
        if isinstance(changed, list) or changed.ndim != 4:
            rule = "images (N, C, H, W) and not views of them: give it a place before the views"
            raise failure(type(self).__name__, rule, error=ShapeError, images=given)
        return changed.reshape(*given.shape[:2], *changed.shape[1:])

    def _each(self, images: list[Any], chance: Generator) -> list[Array]:
        """Change images of any sizes; those of one size and type go together."""
        batch = joined(images)
        if isinstance(batch, list):
            return [self(image, chance) for image in batch]
        return list(self(batch, chance))

    def apply(self, images: Array, generator: Generator) -> Images:
        """Change a batch (N, C, H, W); each image draws for itself from the generator.

        Gives a batch, or a list where the images come out in sizes of their own.
        """
        raise NotImplementedError(f"{type(self).__name__}.apply")

    def eval(self) -> Transform:
        """Give the transform that stands in its place when a network is measured or used."""
        return self

    def fit(self, batches: Batches, white: float | None = None) -> Transform:
        """Give the transform with what it must know of the training images; `white` is theirs."""
        return self

    def arrays(self) -> dict[str, Array]:
        """Give what is too large for the text of a transform, by name; files keep it apart."""
        return {}

    def with_arrays(self, arrays: Mapping[str, Array]) -> Transform:
        """Give the transform with the arrays that `arrays` named."""
        return self

    def __repr__(self) -> str:
        """Write the call that makes it, without the defaults."""
        return call_text(self)


@transform
@dataclass(frozen=True, repr=False)
class Identity(Transform):
    """Leaves images as they are: what stands, in use, for a change by chance.

    >>> import numpy as np
    >>> Identity()(np.array([[[3, 7]]], np.uint8)).tolist()
    [[[3, 7]]]
    """

    def apply(self, images: Array, generator: Generator) -> Array:
        """Give the batch itself."""
        return images


@transform
@dataclass(frozen=True, repr=False)
class Compose(Transform):
    """Transforms one after the other.

    The same object serves training and use: `eval()` gives the pipeline without chance, in which
    a random crop is the central one and colours stay.  `fit` learns means and the like from the
    training images, each from what the transforms before it give.

    >>> import numpy as np
    >>> from chainrule.data.transforms import Compose, Normalize
    >>> pipeline = Compose([Normalize(mean=0.5, std=0.5)])
    >>> pipeline(np.full((1, 1, 2), 255, np.uint8)).tolist()
    [[[1.0, 1.0]]]
    """

    transforms: tuple[Transform, ...] = ()

    def __post_init__(self) -> None:
        given = tuple(self.transforms)
        for member in given:
            if not isinstance(member, Transform):
                raise failure("Compose", "transforms", error=KindError, transform=member)
        object.__setattr__(self, "transforms", given)

    def __call__(self, images: Any, generator: Generator | None = None) -> Any:
        """Apply all in order."""
        for member in self.transforms:  # a batch, as soon as the images have one size
            images = member(joined(images), generator)
        return images

    def apply(self, images: Array, generator: Generator) -> Images:
        """Apply all to a batch."""
        return self(images, generator)  # type: ignore[no-any-return]

    def eval(self) -> Compose:
        """Give the pipeline for measuring and use."""
        return Compose(tuple(member.eval() for member in self.transforms))

    def fit(self, batches: Batches, white: float | None = None) -> Compose:
        """Fit each in turn; images reach it through the ones before, as they are in use."""
        done: list[Transform] = []
        for member in self.transforms:
            before = Compose(tuple(done)).eval()
            done.append(member.fit(lambda b=before: map(b, batches()), white))  # type: ignore[misc]
        return Compose(tuple(done))

    def arrays(self) -> dict[str, Array]:
        """Give the members' arrays, as "2.mean"."""
        return {
            f"{place}.{name}": array
            for place, member in enumerate(self.transforms)
            for name, array in member.arrays().items()
        }

    def with_arrays(self, arrays: Mapping[str, Array]) -> Compose:
        """Give the pipeline with its members' arrays."""
        parts: dict[int, dict[str, Array]] = {}
        for key, array in arrays.items():
            place, _, name = key.partition(".")
            parts.setdefault(int(place), {})[name] = array
        members = (m.with_arrays(parts.get(i, {})) for i, m in enumerate(self.transforms))
        return Compose(tuple(members))

    def __repr__(self) -> str:
        inner = ", ".join(map(repr, self.transforms))
        return f"Compose([{inner}])"


def changed(member: Any, **values: Any) -> Any:
    """Give a copy of a transform with other settings."""
    return replace(member, **values)


def parse_transform(text: str) -> Transform:
    """Read a transform from its text, such as "RandomCrop(32, padding=4)".

    Only calls of registered transforms with literal arguments are read; nothing is executed.
    Raises DataError that says what was not understood.

    >>> parse_transform("Normalize(mean=0.5, std=0.25)")
    Normalize(mean=0.5, std=0.25)
    >>> parse_transform("Normalise()")
    Traceback (most recent call last):
    chainrule.errors.DataError: no transform is called 'Normalise'; did you mean 'Normalize'?
    """
    return read_call(text, TRANSFORMS, "transform")  # type: ignore[no-any-return]


def parse_transforms(texts: Sequence[str]) -> Compose:
    """Read a pipeline from the texts of its members."""
    return Compose(tuple(parse_transform(text) for text in texts))


def joined(images: Any) -> Any:
    """Make a batch of a list of images of one size and type; leave all else as it is."""
    if not isinstance(images, list):
        return images
    arrays = [np.asarray(image) for image in images]
    if len({(array.shape, array.dtype) for array in arrays}) == 1:
        return np.stack(arrays)
    return images


def blocks(batches: Batches) -> Iterator[Array]:
    """Give all training images as arrays (n, C, H, W): views as images, other sizes one by one."""
    for images in batches():
        for part in [images] if isinstance(images, np.ndarray) else images:
            yield part.reshape(-1, *part.shape[-3:])


def stacked(images: Images) -> Array:
    """Join images into one batch; raises ShapeError where their sizes differ."""
    if isinstance(images, np.ndarray):
        return images
    shapes = {image.shape for image in images}
    if len(shapes) > 1:
        some = ", ".join(map(str, sorted(shapes)[:3]))
        hint = "add a Resize or a crop of fixed size to the transforms"
        raise failure("batch", f"images of one size; got sizes {some}", error=ShapeError, hint=hint)
    return np.stack(images)
