"""Changes of images on their way to a network, composable, seeded, shown in `repr`."""

from chainrule.data.transforms.affine import RandomAffine, RandomRotation
from chainrule.data.transforms.base import (
    TRANSFORMS,
    Compose,
    Identity,
    Transform,
    parse_transform,
    parse_transforms,
    stacked,
    transform,
)
from chainrule.data.transforms.blur import GaussianBlur
from chainrule.data.transforms.chance import RandomApply
from chainrule.data.transforms.color import ColorJitter, Grayscale, RandomGrayscale
from chainrule.data.transforms.crop import CenterCrop, RandomCrop, RandomResizedCrop
from chainrule.data.transforms.erasing import RandomErasing
from chainrule.data.transforms.flip import RandomHorizontalFlip, RandomVerticalFlip
from chainrule.data.transforms.lighting import Lighting
from chainrule.data.transforms.mixing import MIXES, CutMix, Mix, MixUp, mix, parse_mix
from chainrule.data.transforms.pad import Pad
from chainrule.data.transforms.resize import RandomResize, Resize
from chainrule.data.transforms.values import Normalize, PerPixelMean, ToFloat
from chainrule.data.transforms.views import FiveCrop, TenCrop

__all__ = [
    "MIXES",
    "TRANSFORMS",
    "CenterCrop",
    "ColorJitter",
    "Compose",
    "CutMix",
    "FiveCrop",
    "GaussianBlur",
    "Grayscale",
    "Identity",
    "Lighting",
    "Mix",
    "MixUp",
    "Normalize",
    "Pad",
    "PerPixelMean",
    "RandomAffine",
    "RandomApply",
    "RandomCrop",
    "RandomErasing",
    "RandomGrayscale",
    "RandomHorizontalFlip",
    "RandomResize",
    "RandomResizedCrop",
    "RandomRotation",
    "RandomVerticalFlip",
    "Resize",
    "TenCrop",
    "ToFloat",
    "Transform",
    "mix",
    "parse_mix",
    "parse_transform",
    "parse_transforms",
    "stacked",
    "transform",
]
