"""What every transform is: a description of a change of images, applied to one or to many.

Transforms are frozen dataclasses on plain arrays.  `repr` writes one as the call that makes it,
and `parse_transform` reads that back: so a pipeline stands in a recipe or in a run's
configuration as text, and nothing that was loaded executes.
"""

from __future__ import annotations

import ast
import difflib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields, replace
from typing import Any, TypeVar

import numpy as np

from chainrule.data.dataset import Images
from chainrule.engine.op import Array
from chainrule.engine.random import Generator, default_generator
from chainrule.errors import DataError, KindError, ShapeError, failure

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
    own; gives the same form.  Each image has draws of its own, from `generator`, or where that is
    None from the global one.  Inputs are never written to.  Bytes stay bytes (0..255), 16-bit
    numbers likewise, floats (0..1) floats, unless a transform says otherwise.
    """

    def __call__(self, images: Any, generator: Generator | None = None) -> Any:
        """Give the changed images; raises ShapeError and KindError for what is no image."""
        chance = default_generator() if generator is None else generator
        if isinstance(images, list):
            return self._each(images, chance)
        array = np.asarray(images)
        name = type(self).__name__
        if array.ndim not in (3, 4):
            rule = "an image (C, H, W) or images (N, C, H, W)"
            raise failure(name, rule, error=ShapeError, images=array)
        if array.dtype.kind not in "biuf":
            raise failure(name, "images of numbers", error=KindError, images=array)
        batch = array if array.ndim == 4 else array[np.newaxis]
        if not batch.size:
            raise failure(name, "images with pixels", error=ShapeError, images=array)
        changed = self.apply(batch, chance)
        return changed if array.ndim == 4 else changed[0]

    def _each(self, images: list[Any], chance: Generator) -> list[Array]:
        """Change images of any sizes; those of one size and type go together."""
        arrays = [np.asarray(image) for image in images]
        if len({(array.shape, array.dtype) for array in arrays}) == 1 and len(arrays) > 1:
            return list(self(np.stack(arrays), chance))
        return [self(array, chance) for array in arrays]

    def apply(self, images: Array, generator: Generator) -> Array:
        """Change a batch (N, C, H, W); each image draws for itself from the generator."""
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
        given = []
        for field in fields(self):
            value = getattr(self, field.name)
            if field.repr and (field.default is MISSING or value != field.default):
                given.append(f"{field.name}={value!r}")
        return f"{type(self).__name__}({', '.join(given)})"


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
        for member in self.transforms:
            images = member(_joined(images), generator)
        return images

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
    if len(text) > _LONGEST:
        raise DataError(f"transform: expected a text of at most {_LONGEST:,} letters")
    try:
        node = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, MemoryError, RecursionError) as error:
        raise DataError(f"transform: {text!r} is not a call such as RandomCrop(32)") from error
    return _built(node, text)


def parse_transforms(texts: Sequence[str]) -> Compose:
    """Read a pipeline from the texts of its members."""
    return Compose(tuple(parse_transform(text) for text in texts))


_LONGEST = 1 << 16


def _built(node: ast.expr, text: str) -> Transform:
    if isinstance(node, ast.Name):  # RandomHorizontalFlip, without brackets
        node = ast.Call(node, [], [])
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
        raise DataError(f"transform: {text!r} is not a call such as RandomCrop(32)")
    name = node.func.id
    cls = TRANSFORMS.get(name)
    if cls is None:
        near = difflib.get_close_matches(name, TRANSFORMS, n=1)
        hint = (
            f"did you mean {near[0]!r}?" if near else f"there are {', '.join(sorted(TRANSFORMS))}"
        )
        raise DataError(f"no transform is called {name!r}; {hint}")
    arguments = [_value(argument, text) for argument in node.args]
    options = {word.arg: _value(word.value, text) for word in node.keywords if word.arg}
    if len(options) != len(node.keywords):
        raise DataError(f"transform: {text!r} has arguments that are not literal")
    try:
        return cls(*arguments, **options)
    except TypeError as error:
        raise DataError(f"transform: {text!r}: {error}") from error


def _value(node: ast.expr, text: str) -> Any:
    if isinstance(node, ast.List | ast.Tuple):
        return tuple(_value(item, text) for item in node.elts)
    if isinstance(node, ast.Call):
        return _built(node, text)
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError) as error:
        raise DataError(f"transform: {text!r} has arguments that are not literal") from error


def _joined(images: Any) -> Any:
    """Make a batch of a list of images of one size: the rest of a pipeline then runs on all."""
    if isinstance(images, list) and len({(i.shape, i.dtype) for i in images}) == 1:
        return np.stack(images)
    return images


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
