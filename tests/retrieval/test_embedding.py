"""Features and classes of one pass are the network's own, whatever its last layers are."""

from __future__ import annotations

import pickle
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule.errors import DataError, KindError
from chainrule.inspection.layers import watching
from chainrule.retrieval.embedding import Embedder, flat, unit


@pytest.mark.parametrize("name", ["lenet5", "lenet5_1998", "resnet20", "retrieval_dcnn"])
def test_features_are_what_the_last_layer_reads(name: str) -> None:
    from chainrule.models.registry import MODELS

    entry, model = MODELS[name], cr.create_model(name).eval()
    x = cr.randn(3, entry.channels, entry.size, entry.size, generator=cr.Generator(1))
    found = Embedder(model)(x.numpy())
    with cr.no_grad():
        wanted, scores = model.embed(x).numpy(), model(x).numpy()
    wanted = wanted / np.linalg.norm(wanted, axis=1, keepdims=True)
    np.testing.assert_allclose(found.vectors, wanted, atol=2e-6)
    p = np.exp(scores - scores.max(1, keepdims=True))
    np.testing.assert_allclose(found.probabilities, p / p.sum(1, keepdims=True), atol=2e-6)


def test_a_network_without_embed_is_read_at_its_last_dense_layer() -> None:
    net = cr.nn.Sequential(
        cr.nn.Conv2d(1, 3, 3), cr.nn.ReLU(), cr.nn.Flatten(), cr.nn.Linear(108, 5)
    ).eval()
    x = cr.randn(2, 1, 8, 8, generator=cr.Generator(0))
    with cr.no_grad():
        wanted = net[2](net[1](net[0](x))).numpy()
    found = Embedder(net)(x.numpy())
    np.testing.assert_allclose(found.vectors, unit(wanted), atol=1e-6)
    assert found.probabilities.shape == (2, 5)


def test_any_layer_gives_features_maps_by_their_mean() -> None:
    model = cr.create_model("resnet20").eval()
    x = cr.randn(2, 3, 32, 32, generator=cr.Generator(0))
    with cr.no_grad(), watching(model, ["layer2"]) as seen:
        model(x)
    wanted = seen["layer2"].numpy().mean(axis=(2, 3))
    found = Embedder(model, "layer2")(x.numpy())
    np.testing.assert_allclose(found.vectors, unit(wanted), atol=2e-6)


def test_the_batch_makes_no_difference() -> None:
    embed = Embedder(cr.create_model("lenet5").eval())
    x = cr.rand(9, 1, 32, 32, generator=cr.Generator(0)).numpy()
    whole = embed(x).vectors
    each = np.concatenate([embed(x[k : k + 1]).vectors for k in range(9)])
    np.testing.assert_allclose(whole, each, atol=1e-6)


def test_what_cannot_be_read_is_said() -> None:
    with pytest.raises(KindError, match="a Module"):
        Embedder("lenet5")  # type: ignore[arg-type]
    with pytest.raises(DataError, match="has no layer 'conv9'"):
        Embedder(cr.create_model("lenet5"), "conv9")
    last = cr.nn.Sequential(cr.nn.Conv2d(1, 4, 3), cr.nn.AdaptiveAvgPool2d(1), cr.nn.Flatten())
    with pytest.raises(DataError, match="name the layer"):
        Embedder(last)(np.zeros((1, 1, 8, 8), np.float32))
    with pytest.raises(ValueError, match="images"):
        Embedder(cr.create_model("lenet5"))(np.zeros((1, 32, 32), np.float32))
    with pytest.raises(ValueError, match="numbers for each image"):
        flat(cr.zeros(3))


def test_a_layer_that_does_not_run_is_named() -> None:
    model = cr.create_model("googlenet")  # its auxiliary classifiers run in training alone
    names = [name for name, _ in model.named_children() if "aux" in name]
    with pytest.raises(DataError, match="does not run"):
        Embedder(model.eval(), names[0])(np.zeros((1, 3, 224, 224), np.float32))


def test_unit_keeps_extremes_and_zeros() -> None:
    x = np.array([[3e38, 3e38], [1e-40, 0.0], [0.0, 0.0], [np.nan, 1.0]])
    found = unit(x)
    np.testing.assert_allclose(found[0], [0.5**0.5] * 2, rtol=1e-6)
    assert found[1].tolist() == [1.0, 0.0]
    assert found[2].tolist() == [0.0, 0.0]
    assert np.isnan(found[3]).any()


def test_a_network_in_training_is_left_as_it_was() -> None:
    model = cr.create_model("resnet20").train()
    before = {name: value.numpy().copy() for name, value in model.state_dict().items()}
    embed = Embedder(model)
    embed(cr.rand(2, 3, 32, 32, generator=cr.Generator(0)).numpy())
    assert all(module.training for module in model.modules())
    for name, value in model.state_dict().items():
        np.testing.assert_array_equal(value.numpy(), before[name], err_msg=name)


@pytest.fixture
def often() -> Iterator[None]:
    """Switch between threads as often as can be."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


def test_threads_may_be_the_first_to_call(often: None) -> None:
    x = cr.rand(8, 1, 32, 32, generator=cr.Generator(0)).numpy()
    model = cr.create_model("lenet5")
    wanted = Embedder(model)(x).vectors
    for _ in range(5):
        embed, barrier = Embedder(model), threading.Barrier(4)

        def call(number: int, embed: Embedder = embed, barrier: Any = barrier) -> np.ndarray:
            barrier.wait()
            return embed(x[number : number + 1 + number % 2]).vectors[0]

        with ThreadPoolExecutor(4) as pool:
            found = list(pool.map(call, range(4)))
        np.testing.assert_allclose(np.stack(found), wanted[:4], atol=2e-6)


def test_it_can_be_pickled() -> None:
    x = cr.rand(2, 1, 32, 32, generator=cr.Generator(0)).numpy()
    embed = Embedder(cr.create_model("lenet5"))
    wanted = embed(x).vectors
    twin = pickle.loads(pickle.dumps(embed))
    np.testing.assert_array_equal(twin(x).vectors, wanted)
