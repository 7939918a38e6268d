"""What is particular to each network: names, variants, initial values, what is fused."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn
from chainrule.errors import ShapeError
from chainrule.models import AlexNet, CifarResNet, ResNet, create_model
from chainrule.models.common import PART, dense, initialise
from chainrule.models.resnet import PaddedShortcut
from chainrule.models.vgg import VGG


def shapes(model: Any) -> dict[str, tuple[int, ...]]:
    return {name: value.shape for name, value in model.state_dict().items()}


def operations(model: Any, side: int, channels: int = 3) -> Counter[str]:
    graph = cr.capture(model, cr.zeros(2, channels, side, side, device="meta"))
    return Counter(gate.op.name for gate in graph if gate.op)


# AlexNet

ALEXNET = {
    "features.0.weight": (64, 3, 11, 11),
    "features.0.bias": (64,),
    "features.3.weight": (192, 64, 5, 5),
    "features.3.bias": (192,),
    "features.6.weight": (384, 192, 3, 3),
    "features.6.bias": (384,),
    "features.8.weight": (256, 384, 3, 3),
    "features.8.bias": (256,),
    "features.10.weight": (256, 256, 3, 3),
    "features.10.bias": (256,),
    "classifier.1.weight": (4096, 9216),
    "classifier.1.bias": (4096,),
    "classifier.4.weight": (4096, 4096),
    "classifier.4.bias": (4096,),
    "classifier.6.weight": (1000, 4096),
    "classifier.6.bias": (1000,),
}


@pytest.fixture(scope="module")
def alexnet() -> AlexNet:
    cr.manual_seed(0)
    return AlexNet(lrn=True)


def test_alexnets_names_are_torchvisions_with_and_without_lrn(alexnet: AlexNet) -> None:
    assert shapes(alexnet) == ALEXNET
    plain = AlexNet()
    assert list(shapes(plain).items()) == list(ALEXNET.items())
    kinds = [type(layer).__name__ for layer in plain.features]
    assert kinds == [
        "Conv2d", "ReLU", "MaxPool2d", "Conv2d", "ReLU", "MaxPool2d", "Conv2d", "ReLU",
        "Conv2d", "ReLU", "Conv2d", "ReLU", "MaxPool2d",
    ]  # fmt: skip


def test_where_lrn_stands_and_with_which_constants(alexnet: AlexNet) -> None:
    names = list(alexnet.features._modules)
    assert names[:8] == ["0", "1", "norm1", "2", "3", "4", "norm2", "5"]
    norm = alexnet.features._modules["norm2"]
    assert (norm.size, norm.alpha, norm.beta, norm.k) == (5, 5e-4, 0.75, 2.0)
    x = np.zeros((1, 5, 1, 1))
    x[0, :, 0, 0] = [10.0, 20.0, 30.0, 40.0, 50.0]
    paper = 30.0 / (2 + 1e-4 * (x * x).sum()) ** 0.75
    assert norm(cr.tensor(x))[0, 2, 0, 0].item() == pytest.approx(paper, rel=1e-12)


def test_alexnets_maps(alexnet: AlexNet) -> None:
    found = {}
    for side in (227, 224):
        x = cr.zeros(1, 3, side, side, device="meta")
        sides = []
        for layer in alexnet.features:
            x = layer(x)
            if isinstance(layer, nn.Conv2d | nn.MaxPool2d):
                sides.append(x.shape[-1])
        found[side] = sides
    assert found[224] == [55, 27, 27, 13, 13, 13, 13, 6]
    assert found[227] == [56, 27, 27, 13, 13, 13, 13, 6]


def test_the_two_towers_joined() -> None:
    model = AlexNet(variant="2012")
    assert sum(p.array.size for p in model.parameters()) == 62_378_344
    assert "62,378,344" in (AlexNet.__doc__ or "")
    x = cr.zeros(1, 3, 227, 227, device="meta")
    assert model.features[0](x).shape == (1, 96, 55, 55)
    assert model.features(x).shape == (1, 256, 6, 6)
    with pytest.raises(ShapeError, match="a variant of"):
        AlexNet(variant="2013")


def test_alexnets_initial_values(alexnet: AlexNet) -> None:
    ones = {"features.3", "features.8", "features.10", "classifier.1", "classifier.4"}
    for path, layer in alexnet.named_modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            weight, bias = layer.weight.detach().numpy(), layer.bias.detach().numpy()
            assert float(weight.std()) == pytest.approx(0.01, rel=0.02), path
            assert abs(float(weight.mean())) < 0.05 / weight.size**0.5, path
            assert set(bias) == {1.0 if path in ones else 0.0}, path


def test_what_alexnet_fuses() -> None:
    model = AlexNet(2)
    ran = operations(model, 63)
    assert ran["relu_max_pool"] == 3
    assert ran["conv2d_relu"] == 2
    assert ran["conv2d"] == 3
    assert ran["relu"] == 2  # of the dense layers
    ran = operations(AlexNet(2, lrn=True), 63)
    assert (ran["local_response_norm"], ran["conv2d_relu"], ran["relu_max_pool"]) == (2, 4, 1)


# VGG


@pytest.fixture(scope="module")
def vgg16() -> VGG:
    cr.manual_seed(0)
    model = create_model("vgg16", 7)
    assert isinstance(model, VGG)
    return model


def test_vggs_names_are_torchvisions(vgg16: VGG) -> None:
    wide = {0: (64, 3), 2: (64, 64), 5: (128, 64), 7: (128, 128), 10: (256, 128), 12: (256, 256)}
    wide |= {14: (256, 256), 17: (512, 256), **dict.fromkeys((19, 21, 24, 26, 28), (512, 512))}
    expected: dict[str, tuple[int, ...]] = {}
    for i, pair in wide.items():
        expected |= {f"features.{i}.weight": (*pair, 3, 3), f"features.{i}.bias": pair[:1]}
    for i, pair in ((0, (4096, 25088)), (3, (4096, 4096)), (6, (7, 4096))):
        expected |= {f"classifier.{i}.weight": pair, f"classifier.{i}.bias": pair[:1]}
    assert list(shapes(vgg16).items()) == list(expected.items())
    with pytest.raises(ShapeError, match="one of"):
        VGG("Z")


def test_vggs_initial_values_and_what_it_fuses(vgg16: VGG) -> None:
    for path, layer in vgg16.named_modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            weight = layer.weight.detach().numpy()
            fan_in = weight[0].size
            assert float(weight.std()) == pytest.approx((2 / fan_in) ** 0.5, rel=0.03), path
            assert not layer.bias.detach().numpy().any(), path
    ran = operations(vgg16, 32)
    assert (ran["conv2d_relu"], ran["conv2d"], ran["relu_max_pool"], ran["relu"]) == (8, 5, 5, 2)


def test_what_is_drawn_in_parts_is_all_drawn_and_all_different() -> None:
    cr.manual_seed(0)
    layer = dense(1000, 2 * PART // 1000 + 7)
    initialise(layer, lambda part, fans: nn.init.uniform_(part, 1.0, 2.0))
    rows = layer.weight.detach().numpy()
    assert rows.min() >= 1.0
    assert rows.max() < 2.0
    assert len(np.unique(rows[:, 0])) > 0.99 * len(rows)
    assert layer.weight.requires_grad
    assert not layer.bias.detach().numpy().any()


# Residual networks


def resnet_shapes(
    layers: dict[str, tuple[int, int, int, int]], inputs: int, classes: int
) -> dict[str, tuple[int, ...]]:
    """torchvision's names: a convolution's weight and its batch norm's five values."""
    expected: dict[str, tuple[int, ...]] = {}
    for conv, (outputs, ins, kernel, _) in layers.items():
        norm = conv.replace("conv", "bn").replace("downsample.0", "downsample.1")
        expected[f"{conv}.weight"] = (outputs, ins, kernel, kernel)
        for name in ("weight", "bias", "running_mean", "running_var"):
            expected[f"{norm}.{name}"] = (outputs,)
        expected[f"{norm}.num_batches_tracked"] = ()
    return expected | {"fc.weight": (classes, inputs), "fc.bias": (classes,)}


def test_resnet18s_names_are_torchvisions() -> None:
    layers = {"conv1": (64, 3, 7, 2)}
    before = 64
    for stage, width in enumerate((64, 128, 256, 512), 1):
        for block in range(2):
            path = f"layer{stage}.{block}"
            stride = 2 if stage > 1 and block == 0 else 1
            layers[f"{path}.conv1"] = (width, before, 3, stride)
            layers[f"{path}.conv2"] = (width, width, 3, 1)
            if stride == 2:
                layers[f"{path}.downsample.0"] = (width, before, 1, 2)
            before = width
    model = ResNet("resnet18", 9)
    assert list(shapes(model).items()) == list(resnet_shapes(layers, 512, 9).items())
    for path, (*_, stride) in layers.items():
        assert model.get_submodule(path).stride == (stride, stride), path


def test_resnet50s_names_are_torchvisions() -> None:
    layers = {"conv1": (64, 3, 7, 2)}
    before = 64
    for stage, (width, depth) in enumerate(((64, 3), (128, 4), (256, 6), (512, 3)), 1):
        for block in range(depth):
            path = f"layer{stage}.{block}"
            stride = 2 if stage > 1 and block == 0 else 1
            layers[f"{path}.conv1"] = (width, before, 1, 1)
            layers[f"{path}.conv2"] = (width, width, 3, stride)  # the stride is on the 3x3
            layers[f"{path}.conv3"] = (4 * width, width, 1, 1)
            if block == 0:
                layers[f"{path}.downsample.0"] = (4 * width, before, 1, stride)
            before = 4 * width
    model = ResNet("resnet50", 9)
    assert list(shapes(model).items()) == list(resnet_shapes(layers, 2048, 9).items())
    for path, (*_, stride) in layers.items():
        assert model.get_submodule(path).stride == (stride, stride), path


def test_resnets_initial_values() -> None:
    cr.manual_seed(0)
    for model in (ResNet("resnet18"), CifarResNet(3)):
        for path, layer in model.named_modules():
            if isinstance(layer, nn.Conv2d):
                weight = layer.weight.detach().numpy()
                std = (2 / (weight.shape[0] * weight[0, 0].size)) ** 0.5  # fan_out
                assert float(weight.std()) == pytest.approx(std, rel=0.12), path
                assert layer.bias is None
            if isinstance(layer, nn.BatchNorm2d):
                assert set(layer.weight.detach().numpy()) == {1.0}
                assert set(layer.bias.detach().numpy()) == {0.0}


def test_what_residual_networks_fuse() -> None:
    ran = operations(ResNet("resnet18", 2), 32)
    assert (ran["batch_norm_relu"], ran["add_relu"], ran["batch_norm"]) == (9, 8, 8 + 3)
    assert (ran["conv2d"], ran["max_pool"], ran["relu"]) == (20, 1, 0)
    ran = operations(ResNet("resnet50", 2), 32)
    assert (ran["batch_norm_relu"], ran["add_relu"], ran["batch_norm"]) == (33, 16, 16 + 4)
    ran = operations(CifarResNet(3), 8)
    assert (ran["batch_norm_relu"], ran["add_relu"], ran["batch_norm"]) == (10, 9, 9)
    assert (ran["avg_pool"], ran["cat"], ran["conv2d"]) == (2, 2, 19)


def test_the_padded_shortcut_by_hand() -> None:
    x = np.arange(2 * 3 * 5 * 4.0).reshape(2, 3, 5, 4)
    given = cr.tensor(x, requires_grad=True)
    y = PaddedShortcut(3, 5, 2)(given)
    expected = np.zeros((2, 5, 3, 2))
    for n, c, i, j in np.ndindex(2, 3, 3, 2):
        expected[n, c, i, j] = x[n, c, 2 * i, 2 * j]
    np.testing.assert_array_equal(y.detach(), expected)
    y.sum().backward()
    wanted = np.zeros_like(x)
    wanted[:, :, ::2, ::2] = 1.0
    assert given.grad is not None
    np.testing.assert_array_equal(given.grad, wanted)


def test_both_kinds_of_shortcut() -> None:
    a, b = CifarResNet(3), CifarResNet(3, shortcut="B")
    counts = [sum(p.array.size for p in m.parameters()) for m in (a, b)]
    assert counts == [269_722, 272_474]
    assert {name for name in shapes(b) if "downsample" in name} == {
        f"layer{stage}.0.downsample.{name}"
        for stage in (2, 3)
        for name in ("0.weight", "1.weight", "1.bias", "1.running_mean", "1.running_var",
                     "1.num_batches_tracked")
    }  # fmt: skip
    assert not [name for name in shapes(a) if "downsample" in name]
    for odd in (9, 15):
        assert a(cr.zeros(2, 3, odd, odd)).shape == b(cr.zeros(2, 3, odd, odd)).shape == (2, 10)
    with pytest.raises(ShapeError, match="shortcut 'A', 'B' or 'none'"):
        create_model("resnet20", shortcut="C")
    with pytest.raises(ShapeError, match="one of"):
        ResNet("resnet19")


# Images that are too small, and networks with other layers put in


def test_the_smallest_image_is_told_with_the_layer_that_saw_nothing(
    alexnet: AlexNet, vgg16: VGG
) -> None:
    for model, side, layer in ((alexnet, 63, r"features\.12"), (vgg16, 32, r"features\.30")):
        name = type(model).__name__
        rule = rf"^{name}: expected images of at least {side}x{side}; got .*in layer {layer} \(MaxP"
        with pytest.raises(ShapeError, match=rule):
            model(cr.zeros(1, 3, side - 1, side, device="meta"))
        with pytest.raises(ShapeError, match=rule):
            model(cr.zeros(1, 3, side, side - 1, device="meta"))


def test_another_first_layer_reads_other_images() -> None:
    model = AlexNet(5)
    model.features[0] = nn.Conv2d(1, 64, 3, stride=1, padding=1)
    assert model(cr.zeros(1, 1, 28, 28, device="meta")).shape == (1, 5)
    resnet = ResNet("resnet18", 5)
    resnet.maxpool = nn.Identity()
    resnet.fc = nn.Linear(512, 3)
    assert resnet(cr.zeros(2, 3, 16, 16, device="meta")).shape == (2, 3)
