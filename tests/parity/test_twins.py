"""Every network beside its twin in torch.nn: names, weights by file both ways, scores, gradients.

In float32 as users run it, on small images, and in float64 what that is quick with; test_models.py
has variants.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import chainrule as cr
from chainrule.models import MODELS, create_model, list_models
from tests.parity.twins import LIKE_TORCHVISION, TWINS
from tests.parity.twins.fixture import Batch, batch, differences, save, step, twin

TOLERANCE = 1e-4
CLOSE = 1e-10
CLASSES = 7

# Of torchvision's documentation: parameters; and how many entries a state dict has.
KNOWN = {
    "alexnet": (61_100_840, 16),
    "vgg11": (132_863_336, 22), "vgg11_bn": (132_868_840, 62),
    "vgg13": (133_047_848, 26), "vgg13_bn": (133_053_736, 76),
    "vgg16": (138_357_544, 32), "vgg16_bn": (138_365_992, 97),
    "vgg19": (143_667_240, 38), "vgg19_bn": (143_678_248, 118),
    "googlenet": (13_004_888, 364),  # with auxiliary classifiers
    "resnet18": (11_689_512, 122), "resnet34": (21_797_672, 218),
    "resnet50": (25_557_032, 320), "resnet101": (44_549_160, 626),
    "resnet152": (60_192_808, 932),
}  # fmt: skip

# Images, their height and width: where the smallest would show too little, or leave batch norm too
# few values to be a matter of more than rounding.
SIZES = {
    **dict.fromkeys(["alexnet", "alexnet_slides", "alexnet_two_towers"], (2, 99, 67)),
    "zfnet": (2, 64, 53),
    **dict.fromkeys([name for name in TWINS if name.startswith("vgg")], (2, 32, 64)),
    "googlenet": (4, 64, 64),
    "googlenet_2014": (2, 80, 64),
    **dict.fromkeys(["resnet18", "resnet34"], (3, 64, 50)),
    **dict.fromkeys(["resnet50", "resnet101", "resnet152"], (6, 64, 64)),
}

# Of plain networks the gradients fall by powers of ten from layer to layer, until float32 has
# nothing left of them: they are compared in float64 alone.
SHALLOW = sorted(set(TWINS) - {"plain32", "plain44", "plain56", "plain110"})


def test_every_registered_network_has_a_twin() -> None:
    assert sorted(TWINS) == list_models()


@contextmanager
def both_on_meta() -> Iterator[None]:
    """Networks that are built inside have no memory."""
    with cr.device("meta"), torch.device("meta"):
        yield


@pytest.mark.parametrize("name", list_models())
def test_names_and_shapes_are_the_twins(name: str) -> None:
    with both_on_meta():
        ours, theirs = create_model(name), TWINS[name]()
        other, others = create_model(name, 3, 2), TWINS[name](3, 2)
    for a, b in ((ours, theirs), (other, others)):
        mine = {key: (v.shape, v.dtype.name) for key, v in a.state_dict().items()}
        expected = {key: (tuple(v.shape), _dtype(v)) for key, v in b.state_dict().items()}
        assert mine == expected
        assert [key for key, _ in a.named_parameters()] == [key for key, _ in b.named_parameters()]
    if name in LIKE_TORCHVISION:
        assert list(ours.state_dict()) == list(theirs.state_dict())


def _dtype(value: Any) -> str:
    return str(value.dtype).removeprefix("torch.")


@pytest.mark.parametrize("name", LIKE_TORCHVISION)
def test_the_twins_are_as_large_as_torchvisions(name: str) -> None:
    with torch.device("meta"):
        theirs = TWINS[name]()
    parameters = sum(p.numel() for p in theirs.parameters())
    assert (parameters, len(theirs.state_dict())) == KNOWN[name]
    assert sorted(LIKE_TORCHVISION) == sorted(KNOWN)


def loaded(name: str, path: Path, **options: Any) -> Any:
    """Build ours without memory and give it the values of a file; dropout off."""
    with cr.device("meta"):
        ours = create_model(name, CLASSES, **options)
    assert cr.load_weights(ours, path) == ([], [], [])
    return without_dropout(ours)


def same(ours: Any, theirs: Any) -> None:
    """Assert the very values of theirs, each under its name."""
    mine, expected = ours.state_dict(), theirs.state_dict()
    assert sorted(mine) == sorted(expected)
    for key, value in expected.items():
        assert np.array_equal(mine[key].numpy(), value.numpy()), key


def without_dropout(model: Any) -> Any:
    for layer in model.modules():
        if isinstance(layer, cr.nn.Dropout):
            layer.p = 0.0
    return model


def evaluated(lib: Any, net: Any, given: Batch) -> dict[str, np.ndarray]:
    with lib.no_grad():
        return {"scores in evaluation": net.eval()(lib.tensor(given.images)).numpy()}


def trained(ours: Any, theirs: Any, draw: Callable[[int], Batch]) -> list[str]:
    """Compare a training step on up to five batches; what differs on each of them, is wrong.

    In float32 a value beside the kink of a ReLU, or one of two equal maxima, may round to the other
    side, and entries of a gradient change by far more than rounding: on one batch in five or so.  A
    wrong formula is wrong on every batch.
    """
    told: list[str] = []
    ours.train()
    theirs.train()
    for seed in range(5):
        given = draw(seed)
        told = differences(step(cr, ours, given), step(torch, theirs, given), TOLERANCE)
        if not told:
            break
    return told


@pytest.mark.parametrize("name", SHALLOW)
def test_a_network_from_its_twins_files_and_back(name: str, tmp_path: Path) -> None:
    entry = MODELS[name]
    theirs = twin(name, classes=CLASSES, channels=entry.channels)
    files = save(theirs, tmp_path)
    ours = loaded(name, files.torch)
    same(ours, theirs)
    same(loaded(name, files.safetensors), theirs)
    n, height, width = SIZES.get(name, (4, entry.smallest, entry.smallest))

    def draw(seed: int) -> Batch:
        return batch(n, entry.channels, height, width, CLASSES, seed)

    given = draw(9)
    assert differences(evaluated(cr, ours, given), evaluated(torch, theirs, given), 1e-4) == []
    assert trained(ours, theirs, draw) == []
    del theirs  # the largest have half a gigabyte, and as much in gradients
    ours.zero_grad()
    cr.save_torch(ours.state_dict(), files.torch)
    with torch.device("meta"):
        back = TWINS[name](CLASSES, entry.channels)
    state = torch.load(files.torch, weights_only=True, mmap=True)
    back.load_state_dict(state, strict=True, assign=True)
    assert differences(evaluated(cr, ours, given), evaluated(torch, back, given), 1e-4) == []


MODEST = [name for name in list_models() if (MODELS[name].parameters or 0) < 14_000_000]


@pytest.mark.parametrize("name", MODEST)
def test_a_network_in_float64(name: str) -> None:
    """On the reference, where nothing rounds to another side: far closer than float32 can be."""
    entry = MODELS[name]
    theirs = twin(name, classes=CLASSES, channels=entry.channels).double()
    ours = without_dropout(create_model(name, CLASSES).double())
    ours.load_state_dict({k: cr.tensor(v.numpy().copy()) for k, v in theirs.state_dict().items()})
    # GoogLeNet of 2014 has windows of its own for the maps of images of 224x224.
    side = 224 if name == "googlenet_2014" else entry.smallest + 7 * (entry.smallest < entry.size)
    drawn = batch(2, entry.channels, side, side, CLASSES)
    given = Batch(drawn.images.astype(np.float64), drawn.labels)
    with cr.use_backend("numpy"):
        mine = step(cr, ours.train(), given)
        scores = evaluated(cr, ours, given)
    assert differences(mine, step(torch, theirs.train(), given), CLOSE) == []
    assert differences(scores, evaluated(torch, theirs, given), CLOSE) == []


# What is wrong is seen


def planted(name: str, change: Callable[[Any], Any]) -> list[str]:
    """Compare ours with a twin that is not quite one."""
    entry = MODELS[name]
    theirs = twin(name, classes=CLASSES, channels=entry.channels)
    ours = without_dropout(create_model(name, CLASSES))
    ours.load_state_dict({k: cr.tensor(v.numpy().copy()) for k, v in theirs.state_dict().items()})
    change(theirs)
    n, height, width = SIZES.get(name, (4, entry.smallest, entry.smallest))
    return trained(ours, theirs, lambda seed: batch(n, 3, height, width, CLASSES, seed))


def set_(path: str, attribute: str, value: Any) -> Callable[[Any], Any]:
    return lambda net: setattr(net.get_submodule(path), attribute, value)


CHANGES: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "nothing": ("resnet20", lambda net: None),
    "a ReLU less": (
        "alexnet_two_towers",
        lambda net: net.features.__setitem__(9, torch.nn.Identity()),
    ),
    "two strides exchanged": (
        "resnet50",
        lambda net: (
            set_("layer2.0.conv1", "stride", (2, 2))(net),
            set_("layer2.0.conv2", "stride", (1, 1))(net),
        ),
    ),
    "another eps": ("googlenet", set_("inception4c.branch2.1.bn", "eps", 1e-5)),
    "another momentum": ("resnet20", set_("layer3.1.bn2", "momentum", 0.01)),
    "no shortcut": ("resnet20", set_("layer2.1", "plain", True)),
    "a padding that is not 0": ("resnet20", set_("layer1.0.conv1", "padding_mode", "replicate")),
    "no normalisation": (
        "alexnet_two_towers",
        lambda net: net.features[4].__setitem__(1, torch.nn.Identity()),
    ),
    "a pooling of 3 for 2": ("googlenet_2014", set_("", "paper", False)),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_twin_that_differs_is_found(change: str) -> None:
    told = planted(*CHANGES[change])
    assert bool(told) == (change != "nothing")
