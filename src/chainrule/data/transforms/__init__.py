"""Changes of images on their way to a network, composable, seeded, shown in `repr`."""

from chainrule.data.transforms.base import (
    TRANSFORMS,
    Compose,
    Transform,
    parse_transform,
    parse_transforms,
    stacked,
    transform,
)
from chainrule.data.transforms.values import Normalize, ToFloat

__all__ = [
    "TRANSFORMS",
    "Compose",
    "Normalize",
    "ToFloat",
    "Transform",
    "parse_transform",
    "parse_transforms",
    "stacked",
    "transform",
]
