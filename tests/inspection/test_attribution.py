"""Grad-CAM, integrated gradients and occlusion: by loops, by their axioms, by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn
from chainrule.errors import DataError, GraphError, LabelError, ShapeError
from chainrule.inspection import (
    METHODS,
    Look,
    grad_cam,
    integrated_gradients,
    last_maps,
    look,
    occlusion,
    saliency,
)
from chainrule.inspection.methods_made import MADE
from tests.inspection.attribution import BACKENDS, drawn, images, on

FUNCTIONS: dict[str, Any] = {
    "grad_cam": grad_cam,
    "integrated_gradients": integrated_gradients,
    "occlusion": occlusion,
}


def small() -> nn.Module:
    """A network whose parts are at hand: maps, then a dense layer."""
    return nn.Sequential(
        nn.Conv2d(2, 3, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(3 * 3 * 2, 4)
    )


def scores(model: nn.Module, x: Any) -> Any:
    with cr.no_grad():
        return model(cr.tensor(x)).numpy()


# Grad-CAM


@pytest.mark.parametrize("backend", BACKENDS)
def test_grad_cam_by_loops(backend: str) -> None:
    model, x = small(), images(2, 2, 8, 6)
    with on(backend):
        found = grad_cam(model, x, [1, 2], "0", resize=False)
        maps = model[0](cr.tensor(x)).detach().requires_grad_()
        y = maps
        for layer in list(model)[1:]:
            y = layer(y)
        (y[0, 1] + y[1, 2]).backward()
    a, g = maps.detach().numpy(), maps.grad.numpy()
    for n in range(2):
        cam = sum(g[n, k].mean() * a[n, k] for k in range(3))
        np.testing.assert_allclose(found[n], np.maximum(cam, 0), rtol=1e-4, atol=1e-6)
    assert found.shape == (2, 6, 4)
    assert found.max() > 0


def test_grad_cam_grows_to_the_image() -> None:
    model, x = cr.create_model("lenet5"), images(2, 1, 32, 32)
    own = grad_cam(model, x, 3, "conv2", resize=False)
    assert own.shape == (2, 10, 10)
    grown = cr.nn.functional.interpolate(cr.tensor(own[:, None]), size=(32, 32), mode="bilinear")
    np.testing.assert_allclose(grad_cam(model, x, 3), grown.numpy()[:, 0], rtol=1e-5, atol=1e-7)
    model.requires_grad_(False)
    np.testing.assert_allclose(grad_cam(model, x, 3, "conv2", resize=False), own, rtol=1e-5)


@pytest.mark.parametrize(
    ("name", "shape", "layer"),
    [
        ("lenet5", (1, 32, 32), "conv2"),  # conv3 gives a single position
        ("lenet5_1998", (1, 32, 32), "conv3"),  # a convolution by a table of connections
        ("resnet20", (3, 32, 32), "layer3"),
        ("googlenet", (3, 64, 64), "inception5b"),
        ("alexnet", (3, 99, 67), "features.10"),  # the pooling after it gives smaller maps
    ],
)
def test_the_last_maps(name: str, shape: tuple[int, ...], layer: str) -> None:
    assert last_maps(cr.create_model(name), images(1, *shape)) == layer


def test_grad_cam_refuses() -> None:
    model, x = cr.create_model("lenet5"), images(1, 1, 32, 32)
    with pytest.raises(ShapeError, match=r"'fc1' does not; got output .*take a convolution"):
        grad_cam(model, x, 3, "fc1")
    with pytest.raises(DataError, match="no layer 'conv9'"):
        grad_cam(model, x, 3, "conv9")
    with pytest.raises(DataError, match="MLP: there is no convolution"):
        grad_cam(cr.create_model("mlp"), images(1, 1, 28, 28))

    class Aside(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.used, self.unused = nn.Conv2d(1, 2, 3), nn.Conv2d(1, 2, 3)
            self.never = nn.Conv2d(1, 2, 3)

        def forward(self, x: cr.Tensor) -> cr.Tensor:
            self.unused(x)
            y: cr.Tensor = self.used(x).mean((2, 3))
            return y

    with pytest.raises(GraphError, match="grad_cam: no gradient comes back"):
        grad_cam(Aside(), x, 0, "unused")
    with pytest.raises(DataError, match="'never' did not run"):
        grad_cam(Aside(), x, 0, "never")


# Integrated gradients


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    ("name", "shape"), [("lenet5", (3, 1, 32, 32)), ("resnet20", (1, 3, 16, 16))]
)
def test_shares_add_up(name: str, shape: tuple[int, ...], backend: str) -> None:
    model, x = drawn(cr.create_model(name)), images(*shape)
    baseline = np.full((1, shape[1], 1, 1), 0.25, "f")
    with on(backend):
        found = integrated_gradients(model, x, 1, baseline)
        model.eval()
        rise = (scores(model, x) - scores(model, baseline + 0 * x))[:, 1]
    np.testing.assert_allclose(found.difference, rise, rtol=1e-5, atol=1e-5)
    sums = found.shares.sum(axis=(1, 2, 3))
    assert found.shares.shape == shape
    assert np.all(np.abs(found.gap) <= 1e-3 * np.abs(rise))
    assert np.all(np.abs(sums - rise) <= 1.1e-3 * np.abs(rise) + 1e-5)
    assert np.all((found.steps >= 32) & (found.steps <= 1000))


def kinked(at: float) -> nn.Module:
    """y = relu(x - at) + x on the first pixel, so that the gradient jumps once on the way to 1."""
    net = nn.Sequential(nn.Flatten(), nn.Linear(1, 2), nn.ReLU(), nn.Linear(2, 1, bias=False))
    values = {"1.weight": [[1.0], [1.0]], "1.bias": [-at, 0.0], "3.weight": [[1.0, 1.0]]}
    net.load_state_dict({name: cr.tensor(value) for name, value in values.items()})
    return net.double()


def test_pieces_are_cut_where_the_gradient_jumps() -> None:
    net, x = kinked(0.37), np.ones((1, 1, 1, 1))
    even = integrated_gradients(net, x, 0, steps=10, tolerance=None)
    assert even.steps.tolist() == [10]
    assert even.shares.item() == pytest.approx(1.0 + 0.6)  # six midpoints lie beyond the jump
    assert even.gap.item() == pytest.approx(-0.03)
    fine = integrated_gradients(net, x, 0, steps=10, tolerance=1e-9)
    assert abs(fine.gap.item()) < 1e-9 * 1.63
    assert fine.steps.item() < 60  # a piece three times as short with each two more
    few = integrated_gradients(net, x, 0, steps=10, tolerance=1e-9, most=13)
    assert few.steps.item() == 12
    assert 1e-3 < abs(few.gap.item()) < 0.03
    for batch_size in (1, 3):
        again = integrated_gradients(net, x, 0, steps=10, tolerance=1e-9, batch_size=batch_size)
        assert again.shares.item() == pytest.approx(fine.shares.item(), abs=1e-12)


def test_a_linear_network_shares_out_its_products() -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
    x, b = images(2, 1, 2, 2), images(3, 1, 2, 2)[2:]
    found = integrated_gradients(net, x, 1, cr.tensor(b), steps=1)
    products = net[1].weight.detach().numpy()[1].reshape(1, 1, 2, 2) * (x - b)
    np.testing.assert_allclose(found.shares, products, rtol=1e-4, atol=1e-6)
    assert found.steps.tolist() == [1, 1]
    same = integrated_gradients(net, x, 1, x)
    assert not same.shares.any()
    assert same.difference.tolist() == same.gap.tolist() == [0.0, 0.0]


def test_integrated_gradients_refuse() -> None:
    model, x = cr.create_model("lenet5"), images(2, 1, 32, 32)
    with pytest.raises(ShapeError, match=r"broadcasts to the images' \(2, 1, 32, 32\)"):
        integrated_gradients(model, x, 0, np.zeros((3, 1, 32, 32)))
    with pytest.raises(ShapeError, match="steps of 1 or more"):
        integrated_gradients(model, x, 0, steps=0)
    with pytest.raises(LabelError, match="from 0 to 9"):
        integrated_gradients(model, x, 10)


# Occlusion


@pytest.mark.parametrize("backend", BACKENDS)
def test_occlusion_by_loops(backend: str) -> None:
    model, x = small(), images(2, 2, 8, 6)
    fill = np.array([0.5, -1.0], "f").reshape(2, 1, 1)
    with on(backend):
        found = occlusion(model, x, [1, 2], (3, 2), (2, 3), fill, batch_size=4)
        lost, count = np.zeros((2, 8, 6)), np.zeros((8, 6))
        before = scores(model, x)
        for r in (0, 2, 4, 5):
            for c in (0, 3, 4):
                covered = x.copy()
                covered[:, :, r : r + 3, c : c + 2] = fill
                fall = before - scores(model, covered)
                lost[0, r : r + 3, c : c + 2] += fall[0, 1]
                lost[1, r : r + 3, c : c + 2] += fall[1, 2]
                count[r : r + 3, c : c + 2] += 1
    np.testing.assert_allclose(found, lost / np.maximum(count, 1), rtol=1e-3, atol=1e-5)
    assert np.abs(found).max() > 1e-3
    assert not found[:, :, 2].any()  # no window lies there: the stride is beyond the size
    assert count[:, 2].max() == 0


def test_occlusion_asks_about_the_class_of_the_whole_image() -> None:
    model, x = small(), images(1, 2, 8, 6)
    best = int(scores(model, x).argmax())
    np.testing.assert_array_equal(occlusion(model, x, size=4), occlusion(model, x, best, 4, 2))
    original = x.copy()
    occlusion(model, x, size=8 if x.shape[3] >= 8 else 6)
    np.testing.assert_array_equal(x, original)
    with pytest.raises(ShapeError, match=r"windows from 1x1 to the images' \(8, 6\)"):
        occlusion(model, x, size=7)
    with pytest.raises(ShapeError, match="a fill that broadcasts to"):
        occlusion(model, x, size=4, fill=np.zeros(3))
    with pytest.raises(ShapeError, match="stride"):
        occlusion(model, x, size=4, stride=0)


# All of them


@pytest.mark.parametrize("name", FUNCTIONS)
def test_models_are_left_as_they_were(name: str) -> None:
    model, x = drawn(cr.create_model("resnet20")), images(1, 3, 16, 16)
    model.layer2.eval()
    modes = [m.training for m in model.modules()]
    before = {k: v.numpy().copy() for k, v in model.state_dict().items()}
    with cr.no_grad():
        FUNCTIONS[name](model, x)
    with pytest.raises(LabelError):
        FUNCTIONS[name](model, x, 10)
    assert [m.training for m in model.modules()] == modes
    assert all(p.grad is None for p in model.parameters())
    for key, value in model.state_dict().items():
        np.testing.assert_array_equal(value.numpy(), before[key])
    assert not any(m._forward_hooks or m._backward_hooks for m in model.modules())


def test_they_find_a_square() -> None:
    """A network that answers to light in the upper left corner alone."""
    net = nn.Sequential(nn.Conv2d(1, 1, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(256, 1))
    corner = np.zeros((16, 16), "f")
    corner[2:6, 2:6] = 1
    net.load_state_dict(
        {
            "0.weight": cr.full((1, 1, 3, 3), 1 / 9),
            "0.bias": cr.zeros(1),
            "3.weight": cr.tensor(corner.reshape(1, 256)),
            "3.bias": cr.zeros(1),
        }
    )
    x = np.ones((1, 1, 16, 16), "f")
    maps = {
        "saliency": saliency(net, x)[0],
        "integrated": integrated_gradients(net, x).shares[0, 0],
        "occlusion": occlusion(net, x, size=2)[0],
    }
    for name, found in maps.items():
        assert found[2:6, 2:6].min() > 0.1, name
        assert not found[9:].any(), name
        assert not found[:, 9:].any(), name


# By name


def test_methods_by_name() -> None:
    pytest.importorskip("matplotlib", reason="figures are in the demo extra")
    model, x = cr.create_model("lenet5"), images(1, 1, 32, 32)
    classes = ("zero", "one", "two", "three", *(f"another {k}" for k in range(4, 10)))
    for name in sorted(set(METHODS) - set(MADE)):
        title = look(name, Look(model, classes, x, target=3)).get_suptitle()
        assert "'three' (score " in title, title
    title = look("deconvnet", Look(model, classes, x, "conv1", 4)).get_suptitle()
    assert title == "deconvnet: unit 4 of layer 'conv1'"
    title = look("grad-cam", Look(model, classes, x, "conv1", 4)).get_suptitle()
    assert title.startswith("Grad-CAM of layer 'conv1': 'another 4' (score ")


def test_methods_say_what_they_want() -> None:
    model, x = cr.create_model("lenet5"), images(1, 1, 32, 32)
    with pytest.raises(DataError, match=r"a method among saliency, .*'salency'.*mean 'saliency'"):
        look("salency", Look(model, image=x))
    with pytest.raises(DataError, match="saliency needs an image"):
        look("saliency", Look(model))
    with pytest.raises(DataError, match="occlusion takes no layer"):
        look("occlusion", Look(model, image=x, layer="conv1"))
    with pytest.raises(DataError, match="no layer 'conv9'"):
        look("grad-cam", Look(model, image=x, layer="conv9"))
