"""Attribution beside PyTorch on the same weights, in float64.

Guided backprop and the deconvnet are written there as everybody writes them, by backward hooks on
the ReLU layers; where a network calls ReLU as a function, by a mode that puts another one in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.overrides import TorchFunctionMode

import chainrule as cr
from chainrule import inspection
from chainrule.models import create_model
from tests.parity.twins.fixture import twin

SHAPES = {
    "lenet5": (3, 1, 32, 32),
    "retrieval_dcnn": (2, 1, 32, 32),
    "mlp": (3, 1, 28, 28),
    "resnet20": (2, 3, 24, 16),
    "googlenet": (1, 3, 64, 64),
}
BY_HOOKS = ["lenet5", "retrieval_dcnn", "mlp"]
"""The networks whose twins have a layer for each ReLU."""

MAPS = {"lenet5": "conv2", "retrieval_dcnn": "layers.8", "resnet20": "layer3.1.conv2",
        "googlenet": "inception5a.branch3"}  # fmt: skip
CLOSE = 1e-9


def pair(name: str) -> tuple[Any, nn.Module, np.ndarray]:
    """Give both networks with the same values, in training mode, and images."""
    theirs = twin(name).double()
    ours = create_model(name).double()
    state = {key: cr.tensor(value.numpy()) for key, value in theirs.state_dict().items()}
    ours.load_state_dict(state)
    return ours, theirs.eval(), np.random.default_rng(3).normal(size=SHAPES[name])


def gradient(theirs: nn.Module, images: Any, target: int) -> np.ndarray:
    x = torch.tensor(images, requires_grad=True)
    theirs(x)[:, target].sum().backward()
    assert x.grad is not None
    return x.grad.numpy()


def close(ours: np.ndarray, theirs: np.ndarray) -> None:
    scale = np.abs(theirs).max()
    assert scale > 0
    assert ours.shape == theirs.shape
    np.testing.assert_allclose(ours, theirs, rtol=CLOSE, atol=CLOSE * scale)


@pytest.mark.parametrize("name", [name for name in SHAPES if name != "googlenet"])
def test_saliency(name: str) -> None:
    ours, theirs, x = pair(name)
    expected = np.abs(gradient(theirs, x, 4))
    close(inspection.saliency(ours, x, 4), expected.max(axis=1))
    close(inspection.saliency(ours, x, 4, channels=True), expected)
    with torch.no_grad():
        best = theirs(torch.tensor(x)).argmax(dim=1)
    each = [np.abs(gradient(theirs, x[i : i + 1], int(k)))[0] for i, k in enumerate(best)]
    close(inspection.saliency(ours, x, channels=True), np.stack(each))


def guided(module: Any, gx: Any, gy: Any) -> Any:
    return (gx[0].clamp(min=0),)


def deconv(module: Any, gx: Any, gy: Any) -> Any:
    return (gy[0].clamp(min=0),)


@contextmanager
def hooked(net: nn.Module, hook: Callable[..., Any]) -> Iterator[None]:
    handles = [m.register_full_backward_hook(hook) for m in net.modules() if type(m) is nn.ReLU]
    assert handles
    yield
    for handle in handles:
        handle.remove()


class Rectified(torch.autograd.Function):
    """ReLU whose backward passes what is positive, `masked`: where the input was."""

    @staticmethod
    def forward(ctx: Any, x: Any, masked: bool) -> Any:
        ctx.save_for_backward(x)
        ctx.masked = masked
        return x.clamp(min=0)

    @staticmethod
    def backward(ctx: Any, gy: Any) -> Any:
        (x,) = ctx.saved_tensors
        g = gy.clamp(min=0)
        return (g * (x > 0) if ctx.masked else g), None


class Rule(TorchFunctionMode):
    """Put it in wherever ReLU is called."""

    def __init__(self, masked: bool) -> None:
        super().__init__()
        self.masked, self.count = masked, 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in (torch.relu, nn.functional.relu):
            self.count += 1
            return Rectified.apply(args[0], self.masked)
        return func(*args, **(kwargs or {}))


METHODS = {
    "guided": (inspection.guided_backprop, guided, True),
    "deconvnet": (inspection.deconvnet, deconv, False),
}


@pytest.mark.parametrize("rule", METHODS)
@pytest.mark.parametrize("name", BY_HOOKS)
def test_rules_at_relu_by_hooks(name: str, rule: str) -> None:
    method, hook, _ = METHODS[rule]
    ours, theirs, x = pair(name)
    with hooked(theirs, hook):
        expected = gradient(theirs, x, 4)
    close(method(ours, x, 4), expected)
    assert np.abs(expected - gradient(theirs, x, 4)).max() > 0.1 * np.abs(expected).max()


@pytest.mark.parametrize(
    ("name", "rule"),
    [(n, r) for n in ("lenet5", "resnet20") for r in METHODS] + [("googlenet", "deconvnet")],
)
def test_rules_at_relu_by_another_function(name: str, rule: str) -> None:
    method, _, masked = METHODS[rule]
    ours, theirs, x = pair(name)
    with Rule(masked) as mode:
        expected = gradient(theirs, x, 4)
    assert mode.count >= 4
    close(method(ours, x, 4), expected)
    assert np.abs(expected - gradient(theirs, x, 4)).max() > 0.1 * np.abs(expected).max()


@pytest.mark.parametrize("name", MAPS)
def test_grad_cam(name: str) -> None:
    ours, theirs, x = pair(name)
    kept: list[Any] = []

    def keep(module: Any, inputs: Any, output: Any) -> None:
        output.retain_grad()
        kept.append(output)

    handle = theirs.get_submodule(MAPS[name]).register_forward_hook(keep)
    gradient(theirs, x, 4)
    handle.remove()
    (maps,) = kept
    weights = maps.grad.mean(dim=(2, 3), keepdim=True)
    cam = torch.relu((weights * maps).sum(dim=1, keepdim=True)).detach()
    close(inspection.grad_cam(ours, x, 4, MAPS[name], resize=False), cam[:, 0].numpy())
    grown = nn.functional.interpolate(cam, size=x.shape[2:], mode="bilinear", align_corners=False)
    close(inspection.grad_cam(ours, x, 4, MAPS[name]), grown[:, 0].numpy())


@pytest.mark.parametrize("name", ["lenet5", "resnet20"])
def test_integrated_gradients(name: str) -> None:
    ours, theirs, x = pair(name)
    baseline, steps = np.full((1, *x.shape[1:]), 0.5), 12
    found = inspection.integrated_gradients(ours, x, 4, baseline, steps, tolerance=None)
    mean = np.mean(
        [gradient(theirs, baseline + (k + 0.5) / steps * (x - baseline), 4) for k in range(steps)],
        axis=0,
    )
    close(found.shares, (x - baseline) * mean)
    with torch.no_grad():
        rise = (theirs(torch.tensor(x)) - theirs(torch.tensor(baseline)))[:, 4].numpy()
    close(found.difference, rise)


def test_shares_add_up_to_their_scores() -> None:
    ours, theirs, x = pair("lenet5")
    fine = inspection.integrated_gradients(ours, x, 4, 0.5)
    with torch.no_grad():
        ends = (theirs(torch.tensor(v))[:, 4].numpy() for v in (x, np.full_like(x, 0.5)))
        rise = np.subtract(*ends)
    assert np.all(np.abs(fine.shares.sum(axis=(1, 2, 3)) - rise) <= 1e-3 * np.abs(rise))


def test_occlusion() -> None:
    ours, theirs, x = pair("lenet5")
    found = inspection.occlusion(ours, x, 4, 16, 16, 0.5)
    with torch.no_grad():
        whole = theirs(torch.tensor(x))[:, 4].numpy()
        for row, column in [(0, 0), (0, 16), (16, 0), (16, 16)]:
            covered = x.copy()
            covered[:, :, row : row + 16, column : column + 16] = 0.5
            lost = whole - theirs(torch.tensor(covered))[:, 4].numpy()
            part = found[:, row : row + 16, column : column + 16]
            close(part, np.broadcast_to(lost[:, None, None], part.shape))
