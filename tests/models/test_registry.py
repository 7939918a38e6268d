"""Suites that walk the registry: every network, with nothing to be listed by hand."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn
from chainrule.errors import ShapeError
from chainrule.models import MODELS, create_model, input_size, list_models, register
from chainrule.models.lenet_1998 import RadialBasis
from chainrule.models.registry import Entry


@pytest.fixture(scope="module", params=list_models())
def made(request: pytest.FixtureRequest) -> tuple[Entry, Any]:
    """Each network as it is made without arguments, built once for all tests that only look."""
    cr.manual_seed(0)
    return MODELS[request.param], create_model(request.param)


def images(entry: Entry, n: int, channels: int | None = None) -> np.ndarray:
    """The smallest images, channels-last in memory."""
    shape = (n, entry.smallest, entry.smallest, channels or entry.channels)
    x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    return np.moveaxis(x, -1, 1)


def last_layer(model: Any) -> tuple[Any, int, int]:
    """The layer that gives the scores, how many numbers it reads, how many it gives."""
    layer = [layer for layer in model.modules() if isinstance(layer, nn.Linear | RadialBasis)][-1]
    outputs, inputs = (layer.codes if isinstance(layer, RadialBasis) else layer.weight).shape
    return layer, inputs, outputs


def logits(output: Any) -> list[Any]:
    """The scores of the network, and those of its auxiliary classifiers if it gave any."""
    return list(output) if isinstance(output, tuple) else [output]


def test_the_number_of_parameters(made: tuple[Entry, Any]) -> None:
    entry, model = made
    count = sum(p.array.size for p in model.parameters())
    assert count == entry.parameters
    assert f"{count:,}" in (inspect.getdoc(entry.build) or "")


def multiply_adds(model: Any, x: Any) -> int:
    """Count those of convolutions and dense layers for one image, on device meta."""
    found: list[int] = []

    def count(layer: Any, inputs: Any, output: Any) -> None:
        if isinstance(layer, nn.ConvMap2d):
            found.append(int(np.prod(layer.weight.shape)) * int(np.prod(output.shape[2:])))
        else:
            found.append(int(np.prod(layer.weight.shape[1:])) * int(np.prod(output.shape[1:])))

    kinds = nn.Conv2d | nn.Linear | nn.ConvMap2d
    layers = [
        layer
        for path, layer in model.named_modules()
        if isinstance(layer, kinds) and not path.startswith("aux")
    ]
    handles = [layer.register_forward_hook(count) for layer in layers]
    model.eval()(x)
    model.train()
    for handle in handles:
        handle.remove()
    assert len(found) == len(layers)
    return sum(found)


def test_the_docstrings_multiply_adds(made: tuple[Entry, Any]) -> None:
    entry, model = made
    x = cr.zeros(2, entry.channels, entry.size, entry.size, device="meta")
    text = (inspect.getdoc(entry.build) or "").replace("\n", " ")
    assert f"{multiply_adds(model, x):,} multiply-adds" in text


def test_the_docstring_says_what_a_reader_wants(made: tuple[Entry, Any]) -> None:
    text = inspect.getdoc(made[0].build) or ""
    for word in ("Source:", "Input (", "parameters", "multiply-adds", "Published:"):
        assert word in text, word


def test_the_shape_of_every_sensible_image(made: tuple[Entry, Any]) -> None:
    entry, model = made
    sides = [(entry.size, entry.size)]
    if entry.smallest < entry.size:
        least = entry.smallest
        sides += [(least, least), (least + 1, least + 30), (entry.size + 32, entry.size)]
    _, width, classes = last_layer(model)
    for side in sides:
        x = cr.zeros(2, entry.channels, *side, device="meta")
        assert all(scores.shape == (2, classes) for scores in logits(model(x)))
        assert model.embed(x).shape == (2, width)


def test_the_embedding_is_what_the_last_layer_reads(made: tuple[Entry, Any]) -> None:
    entry, model = made
    x = cr.tensor(images(entry, 1))
    with cr.no_grad():
        scores = last_layer(model)[0](model.eval().embed(x)).numpy()
        np.testing.assert_array_equal(np.abs(scores), np.abs(model(x).numpy()))
    model.train()


def test_wrong_images_are_refused(made: tuple[Entry, Any]) -> None:
    entry, model = made
    side, channels = entry.size, entry.channels
    rule = (
        rf"{channels} input (channels|planes).*in layer .*\(Conv|in_features.*in layer .*\(Linear"
    )
    with pytest.raises(ShapeError, match=rule):
        model(cr.zeros(2, channels + 1, side, side, device="meta"))
    for shape in ((channels, side, side), (2, side * side), (2, channels, 1, side, side)):
        with pytest.raises(ShapeError, match=r"images \(N, C, "):
            model(cr.zeros(*shape, device="meta"))
    with pytest.raises(ShapeError):
        model(cr.zeros(2, channels, 0, side, device="meta"))
    with pytest.raises(TypeError, match=r"expected a tensor.*cr\.tensor"):
        model([1.0])
    assert model.eval()(images(entry, 1)).shape == (1, last_layer(model)[2])
    model.train()


# With numbers of classes and channels of one's own


@pytest.mark.parametrize("name", list_models())
def test_every_parameter_gets_a_gradient(name: str) -> None:
    cr.manual_seed(0)
    model = create_model(name, 3, 2)
    loss = cr.zeros(())
    for scores in logits(model(cr.tensor(images(MODELS[name], 3, channels=2)))):
        assert scores.shape == (3, 3)
        loss = loss + cr.nn.functional.cross_entropy(scores, cr.tensor([0, 1, 2]))
    loss.backward()
    for path, parameter in model.named_parameters():
        assert parameter.grad is not None, path
        assert parameter.grad.array.any(), path


SMALL = [name for name in list_models() if (MODELS[name].parameters or 0) < 1_000_000]
"""Networks that are run whole; those of the large ones, tests/parity compares with PyTorch's."""


@pytest.mark.parametrize("name", SMALL)
def test_images_do_not_influence_each_other(name: str) -> None:
    model = create_model(name).eval()
    x = images(MODELS[name], 3)
    with cr.no_grad():
        together = model(cr.tensor(x)).numpy()
        alone = [model(cr.tensor(x[k : k + 1])).numpy()[0] for k in range(3)]
    np.testing.assert_allclose(together, alone, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", SMALL)
def test_a_state_is_read_back(name: str) -> None:
    one, other = create_model(name, 3), create_model(name, 3)
    x = cr.tensor(images(MODELS[name], 4))
    one(x)  # which moves running statistics
    other.load_state_dict(one.state_dict())
    with cr.no_grad():
        np.testing.assert_array_equal(one.eval()(x), other.eval()(x))


def run(model: Any, x: np.ndarray) -> list[np.ndarray]:
    """Scores, and the gradients of the images and of every parameter."""
    given = cr.tensor(x, requires_grad=True)
    cr.manual_seed(3)  # of the dropout's masks
    y = model(given)
    (y * y).sum().backward()
    found = [y.detach().numpy(), given.grad.numpy()]  # type: ignore[union-attr]
    return found + [p.grad.numpy() for p in model.parameters()]


@pytest.mark.parametrize("name", SMALL)
def test_who_looks_at_every_layer_sees_the_same(name: str) -> None:
    """With a hook on each the layers run one by one: to the last bit what the fused ones give."""
    with cr.use_backend("numpy"):
        compare_hooked(name)


def compare_hooked(name: str) -> None:
    x = images(MODELS[name], 4)
    results, called = [], []
    for hooked in (False, True):
        cr.manual_seed(0)
        model = create_model(name, 3)
        leaves = [(p, m) for p, m in model.named_modules() if not list(m.children())]
        for path, layer in leaves:
            if hooked:
                layer.register_forward_hook(lambda *_, path=path: called.append(path))
        results.append(run(model, x) + [b.numpy() for b in model.buffers()])
    assert sorted(called) == sorted(path for path, _ in leaves)
    for a, b in zip(*results, strict=True):
        np.testing.assert_array_equal(a, b)


def test_same_seed_same_network() -> None:
    def weights(seed: int) -> list[np.ndarray]:
        cr.manual_seed(seed)
        return [p.detach().numpy().copy() for p in create_model("resnet20").parameters()]

    for a, b in zip(weights(5), weights(5), strict=True):
        np.testing.assert_array_equal(a, b)
    assert not np.array_equal(weights(5)[0], weights(6)[0])


# The order of memory


def unordered(arrays: list[np.ndarray]) -> list[tuple[int, ...]]:
    """Shapes of maps that are not channels-last; those of one pixel or channel are of any order."""
    maps = [a for a in arrays if a.ndim == 4 and min(a.shape[1:]) > 1]
    return [a.shape for a in maps if not _channels_last(a)]


def _channels_last(a: np.ndarray) -> bool:
    n, c, h, w = (abs(stride) for stride in a.strides)
    return c == a.itemsize and c < w < h and (h < n or a.shape[0] == 1)


@pytest.mark.parametrize(
    ("name", "size", "options"),
    [
        ("lenet5", (32, 32), {}),
        ("alexnet", (99, 63), {"lrn": True}),
        ("vgg16", (64, 32), {}),
        ("resnet18", (33, 33), {}),
        ("resnet50", (33, 33), {}),
        ("resnet20", (9, 9), {}),
        ("resnet20", (9, 9), {"shortcut": "B"}),
    ],
)
def test_maps_stay_channels_last(name: str, size: Any, options: dict[str, Any]) -> None:
    """Values, fused (from the graph) and one by one (from hooks), and what backward hands on."""
    model = create_model(name, 2, 3, **options)  # images of one channel are in either order
    x = np.random.default_rng(0).standard_normal((2, *size, 3)).astype(np.float32)
    given = cr.Tensor(np.moveaxis(x, -1, 1), requires_grad=True)
    values = [gate.value for gate in cr.capture(model, given) if gate.op]
    fused = [v.array for value in values for v in (value if isinstance(value, tuple) else (value,))]
    assert unordered(fused) == []
    gradients: list[np.ndarray] = []
    # What flattening hands back lies in the order of the flat axis, if anything is in front of it.
    for layer in model.modules():
        if not list(layer.children()) and not isinstance(layer, nn.AdaptiveAvgPool2d | nn.Flatten):
            layer.register_full_backward_hook(
                lambda m, gx, gy: gradients.extend(g.array for g in (*gx, *gy) if g is not None)
            )
    alone: list[np.ndarray] = []
    for layer in model.modules():
        layer.register_forward_hook(lambda m, xs, y: alone.append(y.array))
    model(given).sum().backward()
    assert unordered(alone) == []
    assert len(gradients) > 20
    assert given.grad is not None
    assert unordered([*gradients, given.grad.array]) == []


def test_the_checker_of_order_finds_the_other_one() -> None:
    x = np.zeros((2, 3, 4, 4))
    assert unordered([x]) == [x.shape]
    assert unordered([np.moveaxis(np.zeros((2, 4, 4, 3)), -1, 1), x]) == [x.shape]


# The registry itself


def test_numbers_left_out_are_the_networks_own() -> None:
    assert create_model("lenet5").conv1.in_channels == 1
    assert create_model("lenet5").fc2.out_features == 10
    assert create_model("resnet20", in_channels=1).conv1.in_channels == 1
    assert create_model("resnet20", None, None).fc.out_features == 10
    assert create_model("resnet18").fc.out_features == 1000
    assert create_model("lenet5", 5, image_size=28).image_size == 28
    assert cr.create_model is create_model


def test_unknown_names_come_with_the_nearest() -> None:
    with pytest.raises(ShapeError, match="did you mean 'lenet5'"):
        create_model("LeNet-5")
    with pytest.raises(ValueError, match=r"there are .*'lenet5'"):
        create_model("transformer")
    with pytest.raises(ShapeError, match="input_size: expected a known model"):
        input_size("x")
    with pytest.raises(ShapeError, match="did you mean 'resnet50'"):
        create_model("RESNET-50")
    for name in (None, 5, b"lenet5"):
        with pytest.raises(TypeError, match="create_model: expected a network's name"):
            create_model(name)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["resnet18", "[(CONV-RELU)*1-POOL]*1-SOFTMAX"])
@pytest.mark.parametrize("what", ["num_classes", "in_channels"])
def test_at_least_one_class_and_channel(name: str, what: str) -> None:
    for number in (0, -1):
        rule = f"create_model: expected {what} of at least 1; got value {number}"
        with pytest.raises(ValueError, match=rule):
            create_model(name, **{what: number})
    for wrong in (2.5, "10", True):
        with pytest.raises(TypeError, match=f"create_model: {what}: expected an integer"):
            create_model(name, **{what: wrong})


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("[(CONV-RELU)*2-POOL", r"no '\]' for the last '\['"),
        ("(CONV-RELU)*2-POOL]", r"nothing open for '\]'"),
        ("[(CONV-RELU)*2-POOL]*2", "one SOFTMAX, at the end"),
        ("CONV", "one SOFTMAX, at the end"),
        ("conv-relu", "one SOFTMAX, at the end"),
        ("CONV5:32-FOO", "'FOO' is none of CONV"),
        ("(CONV-RELU)*N,SOFTMAX", r"'\*N,SOFTMAX' cannot be read"),
        ("*2", "nothing to repeat"),
        ("(CONV-RELU)*1000000000,SOFTMAX", "more than 10,000 layers"),
        ("((FC)*200)*200,SOFTMAX", "more than 10,000 layers"),
        (f"FC*{'9' * 5000},SOFTMAX", "more than 10,000 layers"),
    ],
)
def test_patterns_that_cannot_be_read_say_why(text: str, why: str) -> None:
    with pytest.raises(ShapeError, match=f"create_model: expected a pattern like .*{why}"):
        create_model(text)


def test_the_sizes_of_images() -> None:
    names = {"lenet5", "alexnet", "vgg16", "resnet18", "resnet50", "resnet20"}
    assert {name: input_size(name) for name in sorted(names)} == {
        "alexnet": 227, "lenet5": 32, "resnet18": 224, "resnet20": 32, "resnet50": 224,
        "vgg16": 224,
    }  # fmt: skip


def test_a_name_is_taken_once() -> None:
    with pytest.raises(ShapeError, match="a name that is free, not 'lenet5'"):
        register("lenet5", size=32)(lambda: None)  # type: ignore[arg-type,return-value]
    assert "lenet5" in MODELS
