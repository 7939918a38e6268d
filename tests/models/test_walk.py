"""Further suites that walk the registry: modes, files, the summary's figures, first values."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn
from chainrule.inspection import summary
from chainrule.models import create_model
from chainrule.models.common import PART
from tests.models.walking import BY_SIZE, images


def first(output: Any) -> np.ndarray:
    """The network's own scores, before those of auxiliary classifiers."""
    array: np.ndarray = (output[0] if isinstance(output, tuple) else output).detach().numpy()
    return array


# Training and evaluation


@pytest.mark.parametrize("name", BY_SIZE)
def test_the_two_modes(name: str) -> None:
    """Evaluation repeats itself and moves nothing; training moves statistics and drops values."""
    cr.manual_seed(0)
    model, x = create_model(name, 3), images(name)
    norms = [layer for layer in model.modules() if isinstance(layer, nn.BatchNorm2d)]
    drops = [layer for layer in model.modules() if isinstance(layer, nn.Dropout)]
    before = {key: b.numpy().copy() for key, b in model.named_buffers()}
    with cr.no_grad():
        model.eval()
        once, twice = first(model(x)), first(model(x))
        for key, buffer in model.named_buffers():
            np.testing.assert_array_equal(buffer.numpy(), before[key], err_msg=key)
        trained = first(model.train()(x))
    np.testing.assert_array_equal(once, twice)
    assert np.array_equal(once, trained) == (not norms and not drops)
    moved = [key for key, b in model.named_buffers() if not np.array_equal(b.numpy(), before[key])]
    assert len(moved) == 3 * len(norms)  # mean, variance and the number of batches


# Files


@pytest.mark.parametrize("name", BY_SIZE)
def test_a_state_comes_back_from_its_file(name: str, tmp_path: Path) -> None:
    cr.manual_seed(0)
    one, x = create_model(name, 3), images(name)
    with cr.no_grad():
        one(x)  # which moves running statistics
        cr.save_weights(one, tmp_path / "w.safetensors")
        other = cr.models.load_model(tmp_path / "w.safetensors")
        mine, read = one.state_dict(), other.state_dict()
        assert list(mine) == list(read)
        for key, value in mine.items():
            np.testing.assert_array_equal(value.numpy(), read[key].numpy(), err_msg=key)
        np.testing.assert_array_equal(first(one.eval()(x)), first(other(x)))


# The summary beside a run


@contextmanager
def watched(model: Any) -> Iterator[dict[str, tuple[tuple[int, ...], int]]]:
    """Note of each layer without parts what it gives, and its multiply-adds, by its path."""
    seen: dict[str, tuple[tuple[int, ...], int]] = {}

    def note(path: str, layer: Any, output: Any) -> None:
        products = 0
        if isinstance(layer, nn.ConvMap2d):
            products = layer.weight.numel() * math.prod(output.shape[2:]) * output.shape[0]
        elif isinstance(layer, nn.Conv2d | nn.Linear):
            products = math.prod(layer.weight.shape[1:]) * output.numel()
        seen[path] = (output.shape, products)

    handles = [
        layer.register_forward_hook(lambda m, xs, y, path=path: note(path, m, y))
        for path, layer in model.named_modules()
        if not list(layer.children())
    ]
    yield seen
    for handle in handles:
        handle.remove()


FREE = (nn.ReLU, nn.Dropout, nn.Flatten)
"""Layers that can work in place or give a view: they keep no values of their own."""


@pytest.mark.parametrize("name", BY_SIZE)
def test_the_summary_is_what_a_run_shows(name: str) -> None:
    """Shape and values of every layer, parameters and multiply-adds, of arrays that were there."""
    model, x = create_model(name, 3), images(name)
    with watched(model) as seen, cr.no_grad():
        model.eval()(x)
    found = summary(model, x.shape[1:], len(x))
    layers = dict(model.named_modules())
    rows = {row.layer: row for row in found.rows if row.layer in seen}
    absent = {path for path in seen if path not in rows}
    assert all(isinstance(layers[path], nn.Dropout) for path in absent)  # which do nothing now
    for path, row in rows.items():
        (shape, products), layer = seen[path], layers[path]
        assert row.shape == shape, path
        assert row.parameters == sum(p.array.size for p in layer.parameters()), path
        if isinstance(layer, FREE):
            assert row.values == 0, path
        elif isinstance(layer, nn.Conv2d | nn.Linear | nn.BatchNorm2d | nn.MaxPool2d):
            assert row.values == math.prod(shape), path
        if products or isinstance(layer, FREE):
            assert row.multiply_adds == products, path
    own = sum(row.multiply_adds for row in rows.values() if seen[row.layer][1])
    assert own == sum(products for _, products in seen.values())
    assert found.parameters == sum(p.array.size for p in model.parameters())
    assert found.forward_values == x.numel() + sum(row.values for row in found.rows)


# First values: docstrings say which, papers why


def expected(name: str, path: str, layer: Any) -> float | None:
    """The standard deviation of a weight's first values; None where the layer's own are kept."""
    fan_in, fan_out = nn.init.fans(layer.weight)
    he, own = math.sqrt(2 / fan_in), math.sqrt(1 / (3 * fan_in))
    if name.startswith(("alexnet", "zfnet", "softmax", "svm")) or name == "googlenet":
        return 0.01
    if name == "googlenet_2014":
        return math.sqrt(2 / (fan_in + fan_out))
    if name.startswith(("resnet", "plain")):
        return math.sqrt(2 / fan_out) if isinstance(layer, nn.Conv2d) else own
    if name == "lenet5_1998":
        return 2.4 / fan_in / math.sqrt(3)
    if name == "neocognitron" and path == "fc":
        return own
    return he  # VGG, LeNet-5 as trained today, dense layers, retrieval


@pytest.mark.parametrize("name", BY_SIZE)
def test_the_spread_of_first_values(name: str) -> None:
    cr.manual_seed(0)
    model = create_model(name)
    weights = 0
    for path, layer in model.named_modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            weight, std = layer.weight.detach().numpy(), expected(name, path, layer)
            assert std is not None
            # The spread of n drawn values is known to 1/sqrt(2n); five times that is never missed.
            assert weight.std() == pytest.approx(std, rel=5 / math.sqrt(2 * weight.size)), path
            assert abs(weight.mean()) < 5 * std / math.sqrt(weight.size), path
            weights += 1
    assert weights


@pytest.mark.parametrize("name", ["alexnet", "googlenet", "googlenet_2014", "resnet20", "mlp"])
def test_a_layer_that_grows_leaves_the_others_as_they_were(name: str) -> None:
    def values(channels: int) -> dict[str, np.ndarray]:
        cr.manual_seed(5)
        model = create_model(name, in_channels=channels)
        return {path: p.detach().numpy() for path, p in model.named_parameters()}

    one, other = values(1), values(2)
    changed = [path for path in one if one[path].shape != other[path].shape]
    assert len(changed) == 1
    for path in one:
        if path not in changed:
            np.testing.assert_array_equal(one[path], other[path], err_msg=path)


def test_first_values_do_not_depend_on_the_number_of_threads() -> None:
    def weight(threads: int) -> np.ndarray:
        before = cr.get_num_threads()
        cr.set_num_threads(threads)
        try:
            cr.manual_seed(5)
            model: Any = create_model("mlp", hidden=(PART // 784 + 50, 20))
        finally:
            cr.set_num_threads(before)
        array: np.ndarray = model.hidden[0].weight.detach().numpy()
        return array

    np.testing.assert_array_equal(weight(1), weight(2))
