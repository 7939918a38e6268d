from __future__ import annotations

import numpy as np
import pytest

import chainrule as cr
from chainrule.errors import ShapeError
from chainrule.models import LeNet5
from chainrule.nn import Conv2d, Linear

SHAPES = {
    "conv1.weight": (6, 1, 5, 5),
    "conv1.bias": (6,),
    "conv2.weight": (16, 6, 5, 5),
    "conv2.bias": (16,),
    "conv3.weight": (120, 16, 5, 5),
    "conv3.bias": (120,),
    "fc1.weight": (84, 120),
    "fc1.bias": (84,),
    "fc2.weight": (10, 84),
    "fc2.bias": (10,),
}


def test_61_706_parameters_under_these_names() -> None:
    model = LeNet5()
    assert {name: p.shape for name, p in model.named_parameters()} == SHAPES
    assert sum(p.array.size for p in model.parameters()) == 61_706
    assert list(model.state_dict()) == list(SHAPES)


def test_the_docstrings_multiply_adds() -> None:
    x, total = cr.zeros(1, 1, 32, 32), 0
    model = LeNet5()
    for name, layer in model.named_children():
        x = layer(x)
        if isinstance(layer, Conv2d | Linear):
            inputs = int(np.prod(layer.weight.shape[1:]))
            total += inputs * x.array.size
            assert name.startswith(("conv", "fc"))
    assert total == 416_520
    assert f"{total:,}" in (LeNet5.__doc__ or "")


def by_loops(model: LeNet5, image: np.ndarray) -> np.ndarray:
    """The network in float64 with plain loops."""
    w = {name: p.detach().numpy().astype(np.float64) for name, p in model.named_parameters()}

    def conv(x: np.ndarray, name: str) -> np.ndarray:
        k, bias = w[f"{name}.weight"], w[f"{name}.bias"]
        side = x.shape[1] - 4
        y = np.zeros((len(k), side, side))
        for o, i, j in np.ndindex(*y.shape):
            y[o, i, j] = (k[o] * x[:, i : i + 5, j : j + 5]).sum() + bias[o]
        return np.maximum(y, 0)

    def pool(x: np.ndarray) -> np.ndarray:
        c, h, _ = x.shape
        return x.reshape(c, h // 2, 2, h // 2, 2).max(axis=(2, 4))

    x = pool(conv(pool(conv(image, "conv1")), "conv2"))
    x = conv(x, "conv3").reshape(120)
    x = np.maximum(w["fc1.weight"] @ x + w["fc1.bias"], 0)
    return w["fc2.weight"] @ x + w["fc2.bias"]


def test_forward_by_loops() -> None:
    cr.manual_seed(1)
    model = LeNet5()
    x = np.random.default_rng(0).standard_normal((2, 1, 32, 32)).astype(np.float32)
    with cr.no_grad():
        scores = model(cr.tensor(x)).numpy()
        features = model.features(cr.tensor(x)).numpy()
    np.testing.assert_allclose(
        scores, [by_loops(model, image) for image in x], rtol=1e-4, atol=1e-4
    )
    assert features.shape == (2, 84)
    weight, bias = (p.detach().numpy() for p in (model.fc2.weight, model.fc2.bias))
    np.testing.assert_allclose(features @ weight.T + bias, scores, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("how", "std"), [("he", (2 / 400) ** 0.5), ("xavier", (2 / 3400) ** 0.5)])
def test_initial_values(how: str, std: float) -> None:
    cr.manual_seed(0)
    model = LeNet5(initialisation=how)  # type: ignore[arg-type]
    weight = model.conv3.weight.detach().numpy()  # fan_in 16 * 25, fan_out 120 * 25
    assert float(weight.std()) == pytest.approx(std, rel=0.03)
    assert abs(float(weight.mean())) < 3 * std / weight.size**0.5
    assert not model.conv3.bias.detach().numpy().any()


def test_images_of_28_are_padded_by_the_first_layer() -> None:
    cr.manual_seed(1)
    large, small = LeNet5(), LeNet5(image_size=28)
    assert {name: p.shape for name, p in small.named_parameters()} == SHAPES
    small.load_state_dict(large.state_dict())
    x = cr.randn(3, 1, 28, 28)
    padded = cr.nn.functional.pad(x, (2, 2, 2, 2))
    np.testing.assert_allclose(small(x).detach(), large(padded).detach(), rtol=1e-5, atol=1e-6)
    assert small.features(x).shape == (3, 84)
    with pytest.raises(ShapeError, match=r"images \(N, C, 28, 28\).*image_size=32"):
        small(padded)
    with pytest.raises(ShapeError, match="build it with image_size=28, or pad"):
        large(x)
    with pytest.raises(ShapeError, match="image_size 32 or 28"):
        LeNet5(image_size=30)


def test_what_is_fused() -> None:
    graph = cr.capture(LeNet5(), cr.zeros(2, 1, 32, 32))
    assert [gate.op.name for gate in graph if gate.op] == [
        "conv2d", "relu_max_pool", "conv2d", "relu_max_pool", "conv2d_relu", "flatten",
        "linear", "relu", "linear",
    ]  # fmt: skip


def test_wrong_settings_and_sizes() -> None:
    with pytest.raises(ShapeError, match="'he', 'xavier' or 'default'"):
        LeNet5(initialisation="zeros")  # type: ignore[arg-type]
    model = LeNet5(initialisation="default")
    assert model.conv1.bias.detach().numpy().any()
    for shape in ((2, 1, 28, 28), (1, 32, 32), (2, 1, 32, 31)):
        with pytest.raises(ShapeError, match=r"images \(N, C, 32, 32\).*pad"):
            model(cr.zeros(*shape))
    with pytest.raises(ShapeError):
        model(cr.zeros(2, 3, 32, 32))


def test_a_list_is_refused_by_name_and_an_array_is_taken() -> None:
    net = LeNet5()
    with pytest.raises(TypeError, match=r"LeNet5: expected a tensor.*cr\.tensor"):
        net([1.0])
    assert net(np.zeros((2, 1, 32, 32), np.float32)).shape == (2, 10)
