"""Networks against the same written in plain torch.nn: scores, gradients, running statistics."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import chainrule as cr
from chainrule.engine import dispatch
from chainrule.models import create_model


def conv(inputs: int, outputs: int, kernel: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)


class Padded(nn.Module):
    """Option A: subsampling, and channels of zeros behind."""

    def __init__(self, extra: int, stride: int) -> None:
        super().__init__()
        self.extra, self.stride = extra, stride

    def forward(self, x: Any) -> Any:
        x = x[:, :, :: self.stride, :: self.stride]
        zeros = x.new_zeros(x.shape[0], self.extra, *x.shape[2:])
        return torch.cat([x, zeros], dim=1)


class Block(nn.Module):
    """A residual block of two 3x3 convolutions, or of three; the stride is on the first 3x3."""

    def __init__(self, inputs: int, width: int, outputs: int, stride: int, padded: bool) -> None:
        super().__init__()
        deep = outputs != width
        if deep:
            self.conv1, self.bn1 = conv(inputs, width, 1), nn.BatchNorm2d(width)
            self.conv2, self.bn2 = conv(width, width, 3, stride), nn.BatchNorm2d(width)
            self.conv3, self.bn3 = conv(width, outputs, 1), nn.BatchNorm2d(outputs)
        else:
            self.conv1, self.bn1 = conv(inputs, width, 3, stride), nn.BatchNorm2d(width)
            self.conv2, self.bn2 = conv(width, width, 3), nn.BatchNorm2d(width)
        self.deep = deep
        self.downsample: nn.Module | None = None
        if stride != 1 or inputs != outputs:
            if padded:
                self.downsample = Padded(outputs - inputs, stride)
            else:
                projection = conv(inputs, outputs, 1, stride)
                self.downsample = nn.Sequential(projection, nn.BatchNorm2d(outputs))

    def forward(self, x: Any) -> Any:
        y = torch.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        if self.deep:
            y = self.bn3(self.conv3(torch.relu(y)))
        return torch.relu(y + (x if self.downsample is None else self.downsample(x)))


class ResNet(nn.Module):
    def __init__(
        self,
        depths: tuple[int, ...],
        width: int,
        expansion: int,
        classes: int,
        padded: bool = False,
    ) -> None:
        super().__init__()
        self.small = width == 16
        self.conv1 = conv(3, width, 3) if self.small else conv(3, width, 7, 2)
        self.bn1 = nn.BatchNorm2d(width)
        inputs, stages = width, []
        for i, depth in enumerate(depths):
            blocks = []
            for k in range(depth):
                stride = 2 if i and k == 0 else 1
                outputs = (width << i) * expansion
                blocks.append(Block(inputs, width << i, outputs, stride, padded))
                inputs = outputs
            stages.append(nn.Sequential(*blocks))
            self.add_module(f"layer{i + 1}", stages[-1])
        self.stages = stages
        self.fc = nn.Linear(inputs, classes)

    def forward(self, x: Any) -> Any:
        x = torch.relu(self.bn1(self.conv1(x)))
        if not self.small:
            x = nn.functional.max_pool2d(x, 3, 2, 1)
        for stage in self.stages:
            x = stage(x)
        return self.fc(x.mean(dim=(2, 3)))


class Dense(nn.Module):
    """AlexNet and VGG: maps, averaged to a size, and dense layers, under torchvision's names."""

    def __init__(self, features: nn.Module, size: int, classifier: nn.Module) -> None:
        super().__init__()
        self.features, self.classifier = features, classifier
        self.avgpool = nn.AdaptiveAvgPool2d(size)

    def forward(self, x: Any) -> Any:
        return self.classifier(torch.flatten(self.avgpool(self.features(x)), 1))


def alexnet(classes: int, lrn: bool = False) -> nn.Module:
    def normed(i: int) -> nn.Module:
        """ReLU, with the normalisation in the same place of the numbering."""
        norm = nn.LocalResponseNorm(5, alpha=5e-4, beta=0.75, k=2.0)
        return nn.Sequential(nn.ReLU(), norm) if lrn else nn.ReLU()

    features = nn.Sequential(
        nn.Conv2d(3, 64, 11, 4, 2), normed(1), nn.MaxPool2d(3, 2),
        nn.Conv2d(64, 192, 5, padding=2), normed(4), nn.MaxPool2d(3, 2),
        nn.Conv2d(192, 384, 3, padding=1), nn.ReLU(),
        nn.Conv2d(384, 256, 3, padding=1), nn.ReLU(),
        nn.Conv2d(256, 256, 3, padding=1), nn.ReLU(), nn.MaxPool2d(3, 2),
    )  # fmt: skip
    classifier = nn.Sequential(
        nn.Dropout(0.0), nn.Linear(9216, 4096), nn.ReLU(),
        nn.Dropout(0.0), nn.Linear(4096, 4096), nn.ReLU(), nn.Linear(4096, classes),
    )  # fmt: skip
    return Dense(features, 6, classifier)


def vgg16(classes: int) -> nn.Module:
    layers: list[nn.Module] = []
    channels = 3
    for width in [64, 64, 0, 128, 128, 0, *[256] * 3, 0, *[512] * 3, 0, *[512] * 3, 0]:
        if width:
            layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU()]
            channels = width
        else:
            layers.append(nn.MaxPool2d(2, 2))
    classifier = nn.Sequential(
        nn.Linear(25088, 4096), nn.ReLU(), nn.Dropout(0.0),
        nn.Linear(4096, 4096), nn.ReLU(), nn.Dropout(0.0), nn.Linear(4096, classes),
    )  # fmt: skip
    return Dense(nn.Sequential(*layers), 7, classifier)


Case = tuple[str, dict[str, Any], Callable[[], nn.Module], tuple[int, ...], str]
CASES: list[Case] = [
    ("resnet18", {}, lambda: ResNet((2, 2, 2, 2), 64, 1, 4), (2, 3, 50, 40), "float64"),
    ("resnet50", {}, lambda: ResNet((3, 4, 6, 3), 64, 4, 4), (2, 3, 40, 36), "float64"),
    ("resnet20", {}, lambda: ResNet((3, 3, 3), 16, 1, 4, True), (3, 3, 32, 32), "float64"),
    ("resnet20", {}, lambda: ResNet((3, 3, 3), 16, 1, 4, True), (2, 3, 15, 18), "float64"),
    ("resnet20", {"shortcut": "B"}, lambda: ResNet((3, 3, 3), 16, 1, 4), (3, 3, 17, 16), "float64"),
    ("alexnet", {"dropout": 0.0}, lambda: alexnet(4), (1, 3, 99, 67), "float64"),
    ("alexnet", {"dropout": 0.0, "lrn": True}, lambda: alexnet(4, True), (1, 3, 67, 99), "float64"),
    ("alexnet", {"dropout": 0.0}, lambda: alexnet(4), (1, 3, 227, 227), "float32"),
    ("vgg16", {"dropout": 0.0}, lambda: vgg16(4), (1, 3, 32, 64), "float32"),
]


def copied(ours: Any, theirs: nn.Module, dtype: str) -> None:
    """Give theirs our values by name, and both the dtype; the names have to be the same."""
    ours.to(dtype)
    theirs.to(getattr(torch, dtype))
    state = {name: torch.from_numpy(v.numpy().copy()) for name, v in ours.state_dict().items()}
    theirs.load_state_dict(state)


def close(name: str, ours: Any, theirs: Any, rtol: float) -> None:
    """Compare against the largest value; nothing may be all zero by mistake."""
    t = theirs.detach().numpy()
    o = ours.detach().numpy() if hasattr(ours, "detach") else ours
    assert o.shape == t.shape, name
    scale = float(np.abs(t).max()) or 1.0
    np.testing.assert_allclose(o, t, rtol=rtol, atol=rtol * scale, err_msg=name)


@pytest.mark.parametrize(
    ("name", "options", "build", "shape", "dtype"), CASES,
    ids=[f"{c[0]}-{c[3]}-{c[4]}-{'-'.join(map(str, c[1]))}" for c in CASES],
)  # fmt: skip
def test_network(
    name: str, options: Any, build: Any, shape: Any, dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # In float32 on the reference: of VGG's activations some round to the other side of a ReLU.
    monkeypatch.setattr(dispatch._Process, "backend", dispatch.NUMPY)
    cr.manual_seed(0)
    ours, theirs = create_model(name, 4, **options), build()
    copied(ours, theirs, dtype)
    rtol = 1e-8 if dtype == "float64" else 2e-4
    rng = np.random.default_rng(0)
    x, labels = rng.standard_normal(shape).astype(dtype), rng.integers(0, 4, shape[0])
    a = cr.tensor(
        np.moveaxis(np.ascontiguousarray(np.moveaxis(x, 1, -1)), -1, 1), requires_grad=True
    )
    b = torch.tensor(x, requires_grad=True)
    y, z = ours(a), theirs(b)
    close("scores", y, z, rtol)
    cr.nn.functional.cross_entropy(y, cr.tensor(labels)).backward()
    torch.nn.functional.cross_entropy(z, torch.tensor(labels)).backward()
    close("gradient of the images", a.grad, b.grad, rtol)
    parameters = dict(theirs.named_parameters())
    assert list(parameters) == [path for path, _ in ours.named_parameters()]
    for path, p in ours.named_parameters():
        close(f"gradient of {path}", p.grad, parameters[path].grad, rtol)
    buffers = dict(theirs.named_buffers())
    for path, buffer in ours.named_buffers():
        close(path, buffer, buffers[path], rtol)
    with cr.no_grad(), torch.no_grad():
        close("in evaluation", ours.eval()(a), theirs.eval()(b), rtol)


@pytest.mark.parametrize(
    ("name", "build", "shape"),
    [
        ("alexnet", lambda: alexnet(4), (2, 3, 127, 127)),
        ("vgg16", lambda: vgg16(4), (2, 3, 32, 64)),
    ],
)
def test_the_default_backend_in_float32(name: str, build: Any, shape: Any) -> None:
    """As a whole: a ReLU whose input rounds to the other side of 0 changes single entries."""
    cr.manual_seed(0)
    ours, theirs = create_model(name, 4, dropout=0.0), build()
    copied(ours, theirs, "float32")
    x = np.random.default_rng(0).standard_normal(shape).astype("float32")
    y, z = ours(cr.tensor(x)), theirs(torch.tensor(x))
    close("scores", y, z, 2e-4)
    cr.nn.functional.cross_entropy(y, cr.tensor([1, 3])).backward()
    torch.nn.functional.cross_entropy(z, torch.tensor([1, 3])).backward()
    parameters = dict(theirs.named_parameters())
    for path, p in ours.named_parameters():
        wanted = parameters[path].grad.numpy()
        apart = np.linalg.norm(p.grad.numpy() - wanted)
        assert apart <= 2e-2 * np.linalg.norm(wanted), (path, apart)


@pytest.mark.parametrize("size", [28, 32])
def test_lenet5(size: int) -> None:
    theirs = nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=(32 - size) // 2), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(16, 120, 5), nn.ReLU(),
        nn.Flatten(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10),
    ).double()  # fmt: skip
    ours = create_model("lenet5", image_size=size).double()
    values = [torch.from_numpy(p.detach().numpy().copy()) for p in ours.parameters()]
    for p, value in zip(theirs.parameters(), values, strict=True):
        p.data = value
    x = np.random.default_rng(0).standard_normal((3, 1, size, size))
    a, b = cr.tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
    y, z = ours(a), theirs(b)
    close("scores", y, z, 1e-10)
    (y * y).sum().backward()
    (z * z).sum().backward()
    close("gradient of the images", a.grad, b.grad, 1e-10)
    for p, q in zip(ours.parameters(), theirs.parameters(), strict=True):
        close("gradient", p.grad, q.grad, 1e-10)
