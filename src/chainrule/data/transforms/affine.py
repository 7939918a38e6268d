"""Images turned, moved, scaled and sheared."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from chainrule.data.transforms.arguments import (
    Range,
    around,
    choice,
    fill_of,
    interval,
    is_sequence,
    number,
    settle,
    spread,
)
from chainrule.data.transforms.base import Identity, Transform, transform
from chainrule.data.transforms.pixels import as_floats, back, fill_row
from chainrule.engine.op import Array
from chainrule.engine.random import Generator
from chainrule.errors import KindError, failure

_INTERPOLATIONS = ("nearest", "bilinear")
_TURN = (-1e6, 1e6)  # degrees


@transform
@dataclass(frozen=True, repr=False)
class RandomRotation(Transform):
    """Turn images about their middle by a random angle: (C, H, W) -> the same.

    The angle is drawn for each image from -`degrees` to `degrees`, or from the two given;
    positive angles turn counter-clockwise.  The value at (x, y) is that of the image at R (x, y),
    R the turn backwards, (0, 0) the `center` (x, y) in pixels from the top left corner: the
    "nearest" pixel, or "bilinear" between four.  Outside is `fill`, in the images' own units.
    Pictures keep their size: `expand` stands for torchvision's order of arguments and must be
    False.  In use images stay as they are.  Names and defaults are torchvision's.  Raises
    ShapeError for settings out of range.

    >>> import numpy as np
    >>> RandomRotation((90, 90))(np.array([[[1, 2], [3, 4]]], np.uint8)).tolist()
    [[[2, 4], [1, 3]]]
    """

    degrees: Range
    interpolation: str = "nearest"
    expand: bool = False
    center: tuple[float, float] | None = None
    fill: Any = 0

    def __post_init__(self) -> None:
        name = "RandomRotation"
        settle(self, degrees=around(name, "degrees", self.degrees, 0.0, _TURN))
        settle(self, center=_center_of(name, self.center), fill=fill_of(name, self.fill))
        choice(name, "interpolation", self.interpolation, _INTERPOLATIONS)
        if self.expand:
            raise failure(name, "expand=False: pictures keep their size", hint="Pad them before")

    def apply(self, images: Array, generator: Generator) -> Array:
        """Change a batch; see the class."""
        n = len(images)
        angles = generator.uniform((n,), np.dtype(np.float64), *spread(self.degrees, 0.0))
        forward = _turn(-angles)  # rows grow downwards: a turn clockwise to the eye is positive
        settings = (self.center, self.interpolation, self.fill, "RandomRotation")
        return warped(images, forward, np.zeros((n, 2)), *settings)

    def eval(self) -> Transform:
        """Give what leaves images as they are."""
        return Identity()


@transform
@dataclass(frozen=True, repr=False)
class RandomAffine(Transform):
    """Turn, move, scale and shear images at random: (C, H, W) -> the same.

    A point p of the image comes to c + t + s R Y X (p - c): R turns clockwise by an angle drawn
    as in `RandomRotation`; X and Y shear by angles in degrees, x -= y tan a and y -= x tan b; s is
    drawn from `scale`; t is whole pixels, up to `translate` (two parts of 1) times width and
    height.  `shear` is a number or two for X alone, or four: lowest and highest for X and for Y.
    c is `center`, by default the middle.  What is None is not done.  Interpolation and `fill` are
    as in `RandomRotation`; in use images stay.  Names, order and defaults are torchvision's.
    Raises ShapeError for settings out of range.

    >>> import numpy as np, chainrule as cr
    >>> moved = RandomAffine(0, translate=(0.5, 0.0))
    >>> moved(np.array([[[1, 2, 3, 4]]], np.uint8), cr.Generator(1)).tolist()
    [[[3, 4, 0, 0]]]
    """

    degrees: Range
    translate: tuple[float, float] | None = None
    scale: tuple[float, float] | None = None
    shear: Any = None
    interpolation: str = "nearest"
    fill: Any = 0
    center: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        name = "RandomAffine"
        settle(self, degrees=around(name, "degrees", self.degrees, 0.0, _TURN))
        settle(self, center=_center_of(name, self.center), fill=fill_of(name, self.fill))
        choice(name, "interpolation", self.interpolation, _INTERPOLATIONS)
        if self.translate is not None:
            shares = _pair(name, "translate", self.translate)
            if not all(0 <= share <= 1 for share in shares):
                raise failure(name, "translate from 0 to 1", translate=shares)
            settle(self, translate=shares)
        if self.scale is not None:
            settle(self, scale=interval(name, "scale", self.scale, 1e-6, 1e6))
        if self.shear is not None:
            settle(self, shear=_shear_of(name, self.shear))

    def apply(self, images: Array, generator: Generator) -> Array:
        """Change a batch; see the class."""
        n, _, h, w = images.shape
        kind = np.dtype(np.float64)
        forward = _turn(generator.uniform((n,), kind, *spread(self.degrees, 0.0)))
        if self.shear is not None:
            forward = forward @ self._sheared(n, generator)
        if self.scale is not None:
            forward = forward * generator.uniform((n, 1, 1), kind, *self.scale)
        moves = np.zeros((n, 2))
        if self.translate is not None:
            reach = np.array(self.translate) * (w, h)
            moves = np.rint(generator.uniform((n, 2), kind, -1.0, 1.0) * reach)
        settings = (self.center, self.interpolation, self.fill, "RandomAffine")
        return warped(images, forward, moves, *settings)

    def _sheared(self, n: int, generator: Generator) -> Array:
        shear = self.shear if isinstance(self.shear, tuple) else (-self.shear, self.shear)
        limits = np.radians((*shear, 0.0, 0.0)[:4]).reshape(2, 2)
        draws = generator.uniform((2, n), np.dtype(np.float64), 0.0, 1.0)
        x, y = np.tan(limits[:, :1] + draws * (limits[:, 1:] - limits[:, :1]))  # (N,) each
        one, zero = np.ones(n), np.zeros(n)
        return _matrices(one, zero, -y, one) @ _matrices(one, -x, zero, one)

    def eval(self) -> Transform:
        """Give what leaves images as they are."""
        return Identity()


def _pair(name: str, setting: str, value: Any) -> tuple[float, float]:
    if not is_sequence(value) or len(value) != 2:
        raise failure(name, f"two numbers as {setting}", error=KindError, value=value)
    first, second = (number(name, setting, part) for part in value)
    return first, second


def _center_of(name: str, value: Any) -> tuple[float, float] | None:
    return None if value is None else _pair(name, "center", value)


def _shear_of(name: str, value: Any) -> Any:
    """Give one angle, two or four, each between -90 and 90 degrees."""
    parts = tuple(value) if is_sequence(value) else (-number(name, "shear", value, 0.0), value)
    if len(parts) not in (2, 4):
        raise failure(name, "one, two or four angles as shear", error=KindError, shear=value)
    pairs = [
        interval(name, "shear", parts[i : i + 2], -89.9, 89.9) for i in range(0, len(parts), 2)
    ]
    return sum(pairs, ()) if is_sequence(value) else number(name, "shear", value)


def _matrices(a: Array, b: Array, c: Array, d: Array) -> Array:
    """Give n matrices (n, 2, 2) of rows (a, b) and (c, d)."""
    return np.stack([a, b, c, d], axis=-1).reshape(-1, 2, 2)


def _turn(degrees: Array) -> Array:
    """Give the turns (n, 2, 2) of points (x, y) from the x axis to the y axis."""
    quarter = np.remainder(degrees, 90.0) == 0  # exact: no pixel of a border is lost
    angles = np.radians(degrees)
    cos, sin = np.cos(angles), np.sin(angles)
    cos, sin = (np.where(quarter, np.rint(x), x) for x in (cos, sin))
    return _matrices(cos, -sin, sin, cos)


def warped(
    images: Array,
    forward: Array,
    moves: Array,
    center: tuple[float, float] | None,
    interpolation: str,
    fill: Any,
    name: str,
) -> Array:
    """Move each point p of image n to c + moves[n] + forward[n] (p - c); (N, C, H, W) -> the same.

    `forward` is (N, 2, 2), `moves` (N, 2), points are (x, y).
    """
    n, c, h, w = images.shape
    middle = np.array((w / 2, h / 2) if center is None else center, np.float64) - 0.5
    backward = np.linalg.inv(forward)
    exact = interpolation == "nearest"
    row = fill_row(fill, images, name)
    framed = np.empty((n, c, h + 2, w + 2), images.dtype if exact else as_floats(images[:0]).dtype)
    framed[...] = row  # what is outside reads this frame
    framed[:, :, 1:-1, 1:-1] = images
    out = np.empty((n, c, h * w), framed.dtype)
    ys, xs = np.divmod(np.arange(h * w), w)
    for i in range(n):
        x, y = xs - (middle[0] + moves[i, 0]), ys - (middle[1] + moves[i, 1])
        (a, b), (d, e) = backward[i]
        fx, fy = a * x + b * y + (middle[0] + 1), d * x + e * y + (middle[1] + 1)
        look = _look_nearest if exact else _look_between
        look(framed[i].reshape(c, -1), fx, fy, (h, w), out[i])
    out = out.reshape(n, c, h, w)
    return out if exact else back(out, images.dtype)


def _look_nearest(framed: Array, x: Array, y: Array, size: tuple[int, int], out: Array) -> None:
    """Take the pixel (C, (H+2)(W+2)) nearest to each place of the framed image."""
    h, w = size
    column = np.clip(np.floor(x + 0.5), 0, w + 1).astype(np.intp)
    row = np.clip(np.floor(y + 0.5), 0, h + 1).astype(np.intp)
    np.take(framed, row * (w + 2) + column, axis=1, out=out, mode="clip")


def _look_between(framed: Array, x: Array, y: Array, size: tuple[int, int], out: Array) -> None:
    """Take the mean of the four pixels around each place, weighted by nearness."""
    h, w = size
    x, y = np.clip(x, 0, w + 1), np.clip(y, 0, h + 1)
    column = np.minimum(x.astype(np.intp), w)  # cut off, which is down: nothing is below 0
    row = np.minimum(y.astype(np.intp), h)
    right, below = (x - column).astype(framed.dtype), (y - row).astype(framed.dtype)
    place = row * (w + 2) + column
    upper = _mix(framed, place, right)
    lower = _mix(framed, place + (w + 2), right)
    lower -= upper
    lower *= below
    np.add(upper, lower, out=out)


def _mix(framed: Array, place: Array, right: Array) -> Array:
    first = framed.take(place, axis=1)
    second = framed.take(place + 1, axis=1)
    second -= first
    second *= right
    first += second
    return first
