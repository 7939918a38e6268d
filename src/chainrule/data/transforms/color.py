"""Colours of images: brightness, contrast, saturation, hue; grey."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from chainrule.data.transforms.arguments import (
    Range,
    around,
    probability,
    settle,
    spread,
    whole,
)
from chainrule.data.transforms.base import Identity, Transform, transform
from chainrule.data.transforms.pixels import as_floats, back, luminance, white_of
from chainrule.engine.op import Array
from chainrule.engine.random import Generator
from chainrule.errors import failure

_MOST = 1e6  # of a factor


@transform
@dataclass(frozen=True, repr=False)
class ColorJitter(Transform):
    """Change brightness, contrast, saturation and hue at random, in random order: the same shape.

    Each image draws factors of its own: b from max(0, 1 - `brightness`) to 1 + `brightness`, or
    from the two given; contrast k and saturation s likewise; hue d from -`hue` to `hue`, in turns
    of the colour wheel, at most 0.5.  With x the pixels, g their luminance (ITU-R BT.601):

    - brightness: b x
    - contrast: k x + (1 - k) mean(g)
    - saturation: s x + (1 - s) g
    - hue: the hue of HSV + d, all else kept

    each cut off at black and white (floats at 0 and 1), in floats: bytes are rounded once, at the
    end.  What is None is not done.  Grey images keep hue and saturation; of other than 1 or 3
    channels g is the channels' mean, and saturation and hue raise ShapeError.  In use images stay
    as they are.  Names and defaults are torchvision's.  Source: A. Howard, Some improvements on
    deep convolutional neural network based image classification (2013), with hue added.

    >>> import numpy as np
    >>> ColorJitter(brightness=(0.5, 0.5))(np.full((3, 1, 1), 100, np.uint8)).ravel().tolist()
    [50, 50, 50]
    >>> red = np.array([[[1.0]], [[0.0]], [[0.0]]])
    >>> ColorJitter(hue=(0.5, 0.5))(red).ravel().tolist()  # its opposite is cyan
    [0.0, 1.0, 1.0]
    """

    brightness: Range | None = None
    contrast: Range | None = None
    saturation: Range | None = None
    hue: Range | None = None

    def __post_init__(self) -> None:
        for setting in ("brightness", "contrast", "saturation", "hue"):
            value = getattr(self, setting)
            middle, limits = (0.0, (-0.5, 0.5)) if setting == "hue" else (1.0, (0.0, _MOST))
            if value is not None:
                found = around("ColorJitter", setting, value, middle, limits)
                settle(self, **{setting: found})

    def apply(self, images: Array, generator: Generator) -> Array:
        """Change a batch; see the class."""
        n, channels = images.shape[:2]
        colours = self.saturation is not None or self.hue is not None
        if colours and channels not in (1, 3):
            rule = "images of 1 or 3 channels for saturation and hue"
            raise failure("ColorJitter", rule, images=images)
        kind = np.dtype(np.float64)
        order = np.argsort(generator.uniform((n, 4), kind, 0.0, 1.0), axis=1)
        x, white = as_floats(images), white_of(images)
        factors = [
            None if value is None else generator.uniform((n,), kind, *spread(value, *middle))
            for value, *middle in (
                (self.brightness, 1.0, 0.0),
                (self.contrast, 1.0, 0.0),
                (self.saturation, 1.0, 0.0),
                (self.hue, 0.0),
            )
        ]
        for turn in order.T:  # (N,): what each image does next
            for what, draws in enumerate(factors):
                chosen = np.flatnonzero(turn == what)
                if draws is not None and chosen.size:
                    factor = draws[chosen].astype(x.dtype).reshape(-1, 1, 1, 1)
                    x[chosen] = _CHANGES[what](x[chosen], factor, white)
        return back(x, images.dtype)

    def eval(self) -> Transform:
        """Give what leaves images as they are."""
        return Identity()


@transform
@dataclass(frozen=True, repr=False)
class Grayscale(Transform):
    """Turn colours into grey: (3, H, W) -> (1, H, W), or 3 equal channels.

    Grey is 0.299 red + 0.587 green + 0.114 blue (ITU-R BT.601).  One channel is grey already.
    Raises ShapeError for other numbers of channels.  The name is torchvision's.

    >>> import numpy as np
    >>> Grayscale()(np.array([[[255]], [[0]], [[0]]], np.uint8)).tolist()
    [[[76]]]
    """

    num_output_channels: int = 1

    def __post_init__(self) -> None:
        count = whole("Grayscale", "num_output_channels", self.num_output_channels)
        if count not in (1, 3):
            raise failure("Grayscale", f"1 or 3 as num_output_channels, not {count}")

    def apply(self, images: Array, generator: Generator) -> Array:
        """Change a batch; see the class."""
        grey = _grey(images, "Grayscale")
        return grey if self.num_output_channels == 1 else np.repeat(grey, 3, axis=1)


@transform
@dataclass(frozen=True, repr=False)
class RandomGrayscale(Transform):
    """Turn an image grey with probability `p`, keeping its channels; in use, never.

    Shapes: (C, H, W) -> the same, C of 1 or 3; else ShapeError.  The name is torchvision's.

    >>> import numpy as np
    >>> RandomGrayscale(p=1.0)(np.array([[[0]], [[100]], [[0]]], np.uint8)).ravel().tolist()
    [59, 59, 59]
    """

    p: float = 0.1

    def __post_init__(self) -> None:
        settle(self, p=probability("RandomGrayscale", self.p))

    def apply(self, images: Array, generator: Generator) -> Array:
        """Change a batch; see the class."""
        chosen = generator.bernoulli(self.p, (len(images),))
        out = images.copy()
        out[chosen] = _grey(images, "RandomGrayscale")[chosen]
        return out

    def eval(self) -> Transform:
        """Give what leaves images as they are."""
        return Identity()


def _grey(images: Array, name: str) -> Array:
    """Give (N, 1, H, W) in the images' type."""
    if images.shape[1] == 1:
        return images
    if images.shape[1] != 3:
        raise failure(name, "images of 1 or 3 channels", images=images)
    return back(luminance(as_floats(images)), images.dtype)


def _brightness(x: Array, factor: Array, white: float) -> Array:
    return np.asarray(np.clip(x * factor, 0.0, white))


def _contrast(x: Array, factor: Array, white: float) -> Array:
    grey = luminance(x) if x.shape[1] == 3 else x
    mean = grey.mean(axis=(1, 2, 3), keepdims=True, dtype=np.float64).astype(x.dtype)
    return np.asarray(np.clip(x * factor + mean * (1 - factor), 0.0, white))


def _saturation(x: Array, factor: Array, white: float) -> Array:
    if x.shape[1] == 1:
        return x
    return np.asarray(np.clip(x * factor + luminance(x) * (1 - factor), 0.0, white))


def _hue(x: Array, turns: Array, white: float) -> Array:
    """Turn the hue: value and chroma stay, and each channel is one function of the hue.

    With the hue in sixths of a turn, red is v - c f(5), green v - c f(3), blue v - c f(1), where
    f(m) = max(0, min(k, 4 - k, 1)) and k = (m + hue) mod 6.
    """
    if x.shape[1] == 1:
        return x
    value = x.max(axis=1)  # (N, H, W)
    chroma = value - x.min(axis=1)
    safe = np.where(chroma == 0, 1, chroma)
    red, green, blue = x[:, 0], x[:, 1], x[:, 2]
    sixths = np.where(
        value == red,
        (green - blue) / safe,
        np.where(value == green, (blue - red) / safe + 2, (red - green) / safe + 4),
    )
    sixths += 6 * turns[:, 0]
    out = np.empty_like(x)
    for channel, m in enumerate((5, 3, 1)):
        k = sixths + m
        k -= 6 * np.floor(k / 6)  # np.remainder takes ten times as long
        out[:, channel] = value - chroma * np.clip(np.minimum(k, 4 - k), 0, 1)
    return np.asarray(np.clip(out, 0.0, white))


_CHANGES = (_brightness, _contrast, _saturation, _hue)
