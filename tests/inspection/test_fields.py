"""The part of an image that a position sees: against the gradient, and against `summary`."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule.inspection.fields import Box, Field
from chainrule.inspection.reading import Reading

nn = cr.nn


class Branches(nn.Module):
    """A short way and a long one."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(1, 2, 1, stride=2), nn.Conv2d(1, 2, 5, stride=2, padding=2)

    def forward(self, x: cr.Tensor) -> cr.Tensor:
        return cr.cat([self.a(x), self.b(x)], dim=1) + self.b(x).mean(1, keepdim=True)


LAYERS: dict[str, list[Any]] = {
    "plain": [nn.Conv2d(1, 3, 3)],
    "uneven": [nn.Conv2d(1, 3, (3, 5), stride=(2, 3), padding=(2, 0), dilation=(2, 1))],
    "same": [nn.Conv2d(1, 3, 4, padding="same"), nn.Sigmoid()],
    "pools": [nn.Conv2d(1, 3, 3, padding=1), nn.AvgPool2d(2), nn.AvgPool2d(3, 2, 1)],
    "adaptive": [nn.Conv2d(1, 3, 3), nn.AdaptiveAvgPool2d((4, 5))],
    "padded": [nn.ZeroPad2d((1, 2, 2, 0)), nn.Conv2d(1, 2, 3, stride=2)],
    "branches": [Branches(), nn.Conv2d(4, 2, 3)],
    "norm": [nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Conv2d(2, 2, 3, stride=2), nn.Tanh()],
}


def positive(layers: list[Any]) -> cr.nn.Module:
    """A network of weights above 0, so that no path cancels another."""
    model = nn.Sequential(*layers).eval()
    for p in model.parameters():
        p.requires_grad_(False)
        p.copy_(cr.tensor(np.linspace(0.05, 0.2, p.numel(), dtype=np.float32).reshape(p.shape)))
    return model


@pytest.mark.parametrize("name", LAYERS)
def test_it_is_where_the_gradient_is(name: str) -> None:
    model = positive(LAYERS[name])
    last = str(len(LAYERS[name]) - 1)
    x = cr.rand(1, 1, 17, 19, generator=cr.Generator(0)).requires_grad_()
    y = model(x)
    field = Field(Reading("test", model, [last]), (1, 17, 19), x.dtype)
    for place in [(0, 0), (y.shape[2] - 1, y.shape[3] - 1), (y.shape[2] // 2, 1)]:
        (gradient,) = cr.grad(y[(0, 0 if name != "branches" else slice(None), *place)].sum(), x,
                              retain_graph=True)  # fmt: skip
        rows, columns = np.nonzero(gradient.numpy()[0, 0])
        box = field.box(place)
        seen = np.zeros((17, 19), bool)
        seen[max(box.top, 0) : box.top + box.height, max(box.left, 0) : box.left + box.width] = True
        inside = np.argwhere(seen)
        assert inside.min(axis=0).tolist() == [rows.min(), columns.min()]
        assert inside.max(axis=0).tolist() == [rows.max(), columns.max()]


def test_sizes_are_those_of_summary() -> None:
    model = cr.create_model("resnet20")
    rows = {row.layer: row for row in cr.summary(model, (3, 64, 64)).rows}
    for name in ["conv1", "layer1.2.relu2", "layer2.0.relu2", "layer3.2.relu2"]:
        field = Field(Reading("test", model, [name]), (3, 64, 64), np.dtype("float32"))
        here, beside = field.box((1, 1)), field.box((2, 2))
        assert (here.height, here.width) == rows[name].sees
        assert (beside.top - here.top, beside.left - here.left) == rows[name].stride


@pytest.mark.parametrize("layers", [
    [nn.AdaptiveAvgPool2d(1)],
    [nn.ConvTranspose2d(1, 1, 2, stride=2)],
    [nn.Upsample(scale_factor=2)],
])  # fmt: skip
def test_what_is_not_followed_sees_all(layers: list[Any]) -> None:
    field = Field(Reading("test", nn.Sequential(*layers), ["0"]), (1, 8, 6), np.dtype("float32"))
    assert field.box((0, 0)) == Box(0, 0, 8, 6)


def test_turned_axes_and_dense_layers_see_all() -> None:
    class Turned(nn.Module):
        def forward(self, x: cr.Tensor) -> cr.Tensor:
            return x.permute(0, 1, 3, 2)

    field = Field(Reading("test", Turned(), [""]), (1, 6, 6), np.dtype("float32"))
    assert field.box((0, 3)) == Box(0, 0, 6, 6)
    field = Field(Reading("test", nn.Flatten(), [""]), (1, 6, 6), np.dtype("float32"))
    assert field.box(()) == Box(0, 0, 6, 6)
