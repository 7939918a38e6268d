"""The table of a network: known answers of the slides, branches, what windows leave out."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn
from chainrule.errors import ShapeError
from chainrule.inspection.summary import Summary, summary
from chainrule.models import MODELS, create_model, list_models


def described(name: str, side: int | None = None, **options: Any) -> Summary:
    entry = MODELS[name]
    with cr.device("meta"):
        model = create_model(name, **options)
    side = side or entry.size
    return summary(model, (entry.channels, side, side))


@pytest.mark.parametrize(
    ("name", "options", "parameters"),
    [
        ("lenet5", {}, 61_706),
        ("lenet5_1998", {}, 60_000),
        ("alexnet_slides", {}, 62_378_344),
        ("alexnet_two_towers", {}, 60_965_224),
        ("vgg11", {}, 132_863_336),
        ("vgg11_lrn", {}, 132_863_336),
        ("vgg13", {}, 133_047_848),
        ("vgg16_1x1", {}, 133_638_952),
        ("vgg16", {}, 138_357_544),
        ("vgg19", {}, 143_667_240),
        ("googlenet_2014", {"aux_logits": False}, 6_998_552),
        ("resnet18", {}, 11_689_512),
        ("resnet34", {}, 21_797_672),
        ("resnet50", {}, 25_557_032),
        ("resnet101", {"stride_on": "1x1"}, 44_549_160),
        ("resnet152", {"stride_on": "1x1"}, 60_192_808),
    ],
)
def test_the_slides_parameters(name: str, options: Any, parameters: int) -> None:
    found = described(name, **options)
    assert found.parameters == parameters
    assert sum(row.parameters for row in found.rows) == parameters
    assert not found.unused


@pytest.mark.parametrize(
    ("name", "options", "products"),
    [
        ("resnet18", {}, 1_814_073_344),
        ("resnet34", {}, 3_663_761_408),
        ("resnet50", {"stride_on": "1x1"}, 3_857_973_248),
        ("resnet101", {"stride_on": "1x1"}, 7_570_194_432),
        ("resnet152", {"stride_on": "1x1"}, 11_282_415_616),
        ("resnet50", {}, 4_089_184_256),
        ("resnet101", {}, 7_801_405_440),
        ("resnet152", {}, 11_513_626_624),
    ],
)
def test_the_slides_multiply_adds(name: str, options: Any, products: int) -> None:
    assert described(name, **options).multiply_adds == products


def test_googlenets_multiply_adds_and_its_blocks_weights() -> None:
    found = described("googlenet_2014", aux_logits=False)
    assert round(found.multiply_adds / 1e9, 3) == 1.583
    without_biases = {
        "4a": 375_552, "4c": 509_440, "4d": 604_672, "4e": 867_328, "5a": 1_042_432,
        "5b": 1_442_816,
    }  # fmt: skip
    with cr.device("meta"):
        model = create_model("googlenet_2014", aux_logits=False)
    for block, count in without_biases.items():
        weights = [p.numel() for p in model.get_submodule(f"inception{block}").parameters()
                   if p.ndim == 4]  # fmt: skip
        assert sum(weights) == count
    stem = next(row for row in found.rows if row.kind == "Conv2d")
    assert (stem.parameters - 64, stem.multiply_adds) == (9_408, 9_408 * 112 * 112)  # 118M
    shapes = {row.layer: row.shape for row in found.rows if row.kind == "cat"}
    assert shapes["inception3a"] == (1, 256, 28, 28)
    assert shapes["inception5b"] == (1, 1024, 7, 7)


def test_the_slides_table_of_vgg() -> None:
    found = described("vgg16")
    assert found.forward_values == 15_237_608
    assert found.training_values == 2 * 15_237_608
    assert round(found.totals()["forward_bytes"] / 1e6) == 61
    rows = [(r.shape[1:], r.values) for r in found.rows if r.kind in ("Conv2d", "MaxPool2d")]
    assert rows[:3] == [
        ((64, 224, 224), 3_211_264),
        ((64, 224, 224), 3_211_264),
        ((64, 112, 112), 802_816),
    ]
    with cr.device("meta"):
        weights = [p.numel() for p in create_model("vgg16").parameters() if p.ndim > 1]
    assert sum(weights) == 138_344_128
    assert weights[:3] == [1_728, 36_864, 73_728]


def test_the_slides_shapes_of_alexnet() -> None:
    wanted = {"Conv2d", "MaxPool2d", "LocalResponseNorm"}
    found = [row.shape[1:] for row in described("alexnet_slides").rows if row.kind in wanted]
    assert found == [
        (96, 55, 55), (96, 27, 27), (96, 27, 27), (256, 27, 27), (256, 13, 13), (256, 13, 13),
        (384, 13, 13), (384, 13, 13), (256, 13, 13), (256, 6, 6),
    ]  # fmt: skip
    two = [row.kind for row in described("alexnet_two_towers").rows]
    one = [row.kind for row in described("alexnet_slides").rows]
    assert two.index("LocalResponseNorm") < two.index("MaxPool2d")
    assert one.index("LocalResponseNorm") > one.index("MaxPool2d")
    assert (512, 6, 6) in [row.shape[1:] for row in described("zfnet").rows]


@pytest.mark.parametrize("name", list_models())
def test_totals_are_those_of_the_model(name: str) -> None:
    with cr.device("meta"):
        model = create_model(name, 7)
    entry = MODELS[name]
    found = summary(model, (entry.channels, entry.size, entry.size), 2)
    assert found.parameters == sum(p.numel() for p in model.parameters())
    run = sum(row.parameters for row in found.rows)
    assert run + sum(found.unused.values()) == found.parameters
    assert set(found.unused) <= {"aux1", "aux2"}
    assert found.rows[-1].shape == (2, 7)
    once = summary(model, (entry.channels, entry.size, entry.size))
    assert found.multiply_adds == 2 * once.multiply_adds
    assert found.forward_values == 2 * once.forward_values


def test_what_a_layer_sees_is_what_reaches_its_gradient() -> None:
    """Against the gradient: the pixels that one position in the middle depends on."""
    cr.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(1, 2, 5, stride=2, padding=1), nn.Softplus(), nn.AvgPool2d(3, 2),
        nn.Conv2d(2, 1, (3, 1), dilation=2),
    )  # fmt: skip
    row = summary(net, (1, 61, 61)).rows[-1]
    assert row.stride == (4, 4)
    x = cr.randn(1, 1, 61, 61, dtype=cr.float64, requires_grad=True)
    y = net.double()(x * x)
    y[0, 0, y.shape[2] // 2, y.shape[3] // 2].backward()
    assert x.grad is not None
    rows, columns = np.nonzero(x.grad.numpy()[0, 0])
    assert row.sees == (np.ptp(rows) + 1, np.ptp(columns) + 1) == (25, 9)


def test_columns_that_do_not_fit_are_told() -> None:
    net = nn.Sequential(nn.Conv2d(1, 1, 3, stride=3), nn.MaxPool2d(2, ceil_mode=True))
    rows = summary(net, (1, 7, 6)).rows
    assert rows[0].dropped == (1, 0)
    assert rows[1].dropped == (0, 0)
    padded = nn.Sequential(nn.Conv2d(1, 1, 3, stride=3, padding=1))
    assert summary(padded, (1, 7, 8)).rows[0].dropped == (0, 0)  # what is left is padding
    text = str(summary(net, (1, 7, 6)))
    assert re.search(r"Conv2d .* 1x0$", text, re.MULTILINE)


def test_shared_parameters_count_once_and_shared_layers_show_twice() -> None:
    layer = nn.Linear(4, 4)
    found = summary(nn.Sequential(layer, nn.ReLU(), layer), (4,))
    assert [row.parameters for row in found.rows] == [20, 0, 0]
    assert found.parameters == 20
    assert [row.kind for row in found.rows] == ["Linear", "ReLU", "Linear"]


def test_the_model_is_left_as_it_was() -> None:
    model = create_model("resnet20")
    model.layer1.eval()
    before = {key: value.numpy().copy() for key, value in model.state_dict().items()}
    summary(model, (3, 32, 32))
    assert model.training
    assert not model.layer1.training
    assert model.layer2.training
    for key, value in model.state_dict().items():
        np.testing.assert_array_equal(value.numpy(), before[key])
    assert not any(module._forward_hooks for module in model.modules())
    with pytest.raises(ShapeError, match="in layer conv1"):
        summary(model, (4, 32, 32))
    assert not any(module._forward_hooks for module in model.modules())
    assert model.training


class Cells(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.cells: list[str] = []
        self.inside = False

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.inside = tag in ("td", "dd", "h1")
        if self.inside:
            self.cells.append("")

    def handle_endtag(self, tag: str) -> None:
        self.inside = False

    def handle_data(self, data: str) -> None:
        if self.inside:
            self.cells[-1] += data


def test_text_json_and_html_say_the_same() -> None:
    found = described("lenet5")
    text, page = str(found), found.html()
    whole = json.loads(found.json())
    assert whole["totals"]["parameters"] == 61_706
    assert whole["rows"][0]["shape"] == [1, 6, 28, 28]
    assert whole["rows"][-1]["sees"] is None
    parser = Cells()
    parser.feed(page)
    for wanted in ("61,706 (246.82 kB)", "416,520", "1x16x10x10", "LeNet5, input 1x1x32x32"):
        assert wanted in text
        assert wanted in parser.cells
    sneaky = nn.Sequential()
    sneaky.add_module("<script>alert(1)</script>", nn.ReLU())
    assert "<script>" not in summary(sneaky, (1,)).html()


def test_what_is_no_module_is_refused() -> None:
    with pytest.raises(TypeError, match="summary: expected a Module"):
        summary(lambda x: x, (1,))  # type: ignore[arg-type]
    for wrong in (None, 32, "1x32x32", (1, 32.5, 32)):
        with pytest.raises(TypeError, match="summary input_size: expected a tuple of integers"):
            summary(nn.ReLU(), wrong)  # type: ignore[arg-type]
