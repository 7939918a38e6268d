"""Every registered network once more, in torch.nn, written from its published definition.

Nothing here knows how ours are written; names of layers are torchvision's where it has the network,
so that a twin's state dict has the very names that its files have.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from torch import nn

from tests.parity.twins.alexnet import alexnet, alexnet_slides, alexnet_two_towers, zfnet
from tests.parity.twins.googlenet import GoogLeNet
from tests.parity.twins.resnet import DEPTHS, cifar, resnet
from tests.parity.twins.small import Dense, LeNet1998, Neocognitron, Retrieval, lenet5
from tests.parity.twins.vgg import COLUMNS, VGG

Builder = Callable[..., nn.Module]
"""Takes numbers of classes and channels."""

LIKE_TORCHVISION: dict[str, Builder] = {
    "alexnet": alexnet,
    "googlenet": GoogLeNet,
    **{name: partial(resnet, name) for name in DEPTHS},
    **{name: partial(VGG, name) for name in COLUMNS if name not in ("vgg11_lrn", "vgg16_1x1")},
    **{f"{name}_bn": partial(VGG, f"{name}_bn") for name in ("vgg11", "vgg13", "vgg16", "vgg19")},
}
"""The networks that torchvision has too, under its names."""

TWINS: dict[str, Builder] = {
    **LIKE_TORCHVISION,
    "alexnet_slides": alexnet_slides,
    "alexnet_two_towers": alexnet_two_towers,
    "zfnet": zfnet,
    "vgg11_lrn": partial(VGG, "vgg11_lrn"),
    "vgg16_1x1": partial(VGG, "vgg16_1x1"),
    "googlenet_2014": partial(GoogLeNet, paper=True),
    **{f"resnet{n}": partial(cifar, n, "A") for n in (20, 32, 44, 56, 110)},
    **{f"plain{n}": partial(cifar, n, "none") for n in (20, 32, 44, 56, 110)},
    "lenet5": lenet5,
    "lenet5_1998": LeNet1998,
    "mlp": partial(Dense, (300, 100)),
    "softmax": partial(Dense, ()),
    "svm": partial(Dense, ()),
    "retrieval_dcnn": Retrieval,
    "neocognitron": Neocognitron,
}
"""All registered networks."""
