"""Variants of networks and odd sizes beside their twins, most of them in float64."""

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
from tests.parity.twins.alexnet import alexnet, alexnet_lrn
from tests.parity.twins.resnet import cifar, resnet
from tests.parity.twins.small import lenet5
from tests.parity.twins.vgg import VGG


def still(net: nn.Module) -> nn.Module:
    """Switch dropout off: two libraries draw two masks."""
    for layer in net.modules():
        if isinstance(layer, nn.Dropout):
            layer.p = 0.0
    return net


def on_1x1(net: Any) -> nn.Module:
    """Put the stride of each bottleneck on its first convolution, as the paper has it."""
    for stage in (net.layer2, net.layer3, net.layer4):
        stage[0].conv1.stride, stage[0].conv2.stride = (2, 2), (1, 1)
    return net


Case = tuple[str, dict[str, Any], Callable[[], nn.Module], tuple[int, ...], str]
CASES: list[Case] = [
    ("resnet18", {}, lambda: resnet("resnet18", 4), (2, 3, 50, 40), "float64"),
    ("resnet50", {}, lambda: resnet("resnet50", 4), (2, 3, 40, 36), "float64"),
    (
        "resnet50",
        {"stride_on": "1x1"},
        lambda: on_1x1(resnet("resnet50", 4)),
        (2, 3, 40, 36),
        "float64",
    ),
    ("resnet20", {}, lambda: cifar(20, "A", 4), (3, 3, 32, 32), "float64"),
    ("resnet20", {}, lambda: cifar(20, "A", 4), (2, 3, 15, 18), "float64"),
    ("resnet20", {"shortcut": "B"}, lambda: cifar(20, "B", 4), (3, 3, 17, 16), "float64"),
    ("alexnet", {"dropout": 0.0}, lambda: alexnet(4), (1, 3, 99, 67), "float64"),
    ("alexnet", {"dropout": 0.0, "lrn": True}, lambda: alexnet_lrn(4), (1, 3, 67, 99), "float64"),
    ("alexnet", {"dropout": 0.0}, lambda: alexnet(4), (1, 3, 227, 227), "float32"),
    ("vgg16", {"dropout": 0.0}, lambda: VGG("vgg16", 4), (1, 3, 32, 64), "float32"),
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
    ours, theirs = create_model(name, 4, **options), still(build())
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
        ("vgg16", lambda: VGG("vgg16", 4), (2, 3, 32, 64)),
    ],
)
def test_the_default_backend_in_float32(name: str, build: Any, shape: Any) -> None:
    """As a whole: a ReLU whose input rounds to the other side of 0 changes single entries."""
    cr.manual_seed(0)
    ours, theirs = create_model(name, 4, dropout=0.0), still(build())
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
    theirs = lenet5(padding=(32 - size) // 2).double()
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
