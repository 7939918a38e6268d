"""No activation is reordered between operators; parameters are, and both are counted."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

import chainrule as cr
from chainrule.engine.dispatch import Backend
from chainrule.nn import functional as F
from tests.backends.onednn import network
from tests.backends.onednn.conftest import BACKEND
from tests.backends.onednn.network import last

if BACKEND:
    from chainrule.backends.onednn.arrays import REORDERS

pytestmark = pytest.mark.usefixtures("no_limits")


@pytest.fixture(autouse=True)
def _counting(backend: Backend) -> Iterator[None]:
    with cr.use_backend("onednn"):
        REORDERS.reset()
        yield


def test_a_network_without_reorders(backend: Backend) -> None:
    p, (x, labels) = network.parameters(0), network.batch(0)
    before = backend.calls.copy()
    loss = network.loss_of(p, x, labels)
    assert REORDERS.activations == 0
    loss.backward()
    assert REORDERS.activations == 0
    assert 0 < REORDERS.parameters <= 3 * 2
    ran = {name for name, count in backend.calls.items() if count > before[name]}
    assert {"Conv", "BatchNormReLU", "BatchNorm", "MaxPool", "AddReLU", "AdaptiveAvgPool"} <= ran


def test_every_operation_of_a_channels_last_chain() -> None:
    """One of each kind on the way, with branches: forward and backward."""
    rng = np.random.default_rng(0)
    draw = lambda *s: cr.tensor(rng.standard_normal(s, np.float32), requires_grad=True)  # noqa: E731
    x = cr.tensor(last(rng.standard_normal((2, 6, 13, 11), np.float32)), requires_grad=True)
    h = F.conv2d_relu(x, draw(8, 6, 3, 3), draw(8), padding=1)
    h = F.local_response_norm(h, 5)
    h = F.relu(h) + F.leaky_relu(h, 0.1)
    h = F.prelu(h, draw(8))
    h = cr.cat([F.sigmoid(h), F.tanh(h)], 1)
    h = F.conv2d(h, draw(16, 1, 3, 3), draw(16), padding=1, groups=16)
    h = F.elu(F.batch_norm(h, cr.zeros(16), cr.ones(16), draw(16), draw(16)))
    h = F.relu_max_pool2d(h, 2)
    h = F.avg_pool2d(F.softplus(h), 2, 1, 1)
    h = F.log_softmax(h, 1)
    y = F.adaptive_avg_pool2d(h, 1).flatten(1)
    assert REORDERS.activations == 0
    y.backward(cr.tensor(rng.standard_normal(y.shape, np.float32)))
    assert REORDERS.activations == 0
    assert 0 < REORDERS.parameters <= 3 * 2


@pytest.mark.parametrize("channels", [1, 3])
def test_axes_of_one_do_not_make_reorders(channels: int) -> None:
    """One channel, or images of one column: both layouts at once."""
    rng = np.random.default_rng(0)
    x = cr.tensor(last(rng.standard_normal((2, channels, 9, 7), np.float32)))
    w = cr.tensor(rng.standard_normal((1, channels, 3, 3), np.float32), requires_grad=True)
    h = F.conv2d(x, w, padding=1)  # (2, 1, 9, 7)
    wide = F.conv2d(x, w.expand(5, channels, 3, 3), padding=1)
    joined = cr.cat([h, wide], 1)
    up = F.conv2d(joined, cr.tensor(rng.standard_normal((4, 6, 1, 1), np.float32)))
    up.backward(cr.tensor(last(rng.standard_normal(up.shape, np.float32))))
    assert REORDERS.activations == 0


def test_the_other_layout_is_counted() -> None:
    p, (x, labels) = network.parameters(0), network.batch(0)
    plain = cr.tensor(np.ascontiguousarray(x.array))
    network.loss_of(p, plain, labels)
    assert REORDERS.activations == 1
    network.loss_of(p, x, labels).backward()
    assert REORDERS.activations == 1


def test_a_gradient_in_the_other_layout_is_counted() -> None:
    x = cr.tensor(last(np.ones((2, 3, 8, 8), np.float32)), requires_grad=True)
    y = F.max_pool2d(x, 2)
    y.backward(cr.tensor(np.ones((2, 3, 4, 4), np.float32)))
    assert REORDERS.activations == 1


def test_other_layouts_of_one_of_two_arrays_are_counted() -> None:
    x = cr.tensor(last(np.ones((2, 3, 8, 8), np.float32)), requires_grad=True)
    plain = cr.tensor(np.ones((2, 3, 8, 8), np.float32))
    y = F.relu(x)
    y.backward(plain)
    assert REORDERS.activations == 1
    _ = x + plain
    assert REORDERS.activations == 2
    cr.cat([x, plain], 1)
    assert REORDERS.activations == 3


def test_both_layouts_give_the_same() -> None:
    p, (x, labels) = network.parameters(0), network.batch(0)
    results = []
    for images in (x, cr.tensor(np.ascontiguousarray(x.array)), x[:, :, ::1, ::1]):
        for value in p.values():
            value.grad = None
        loss = network.loss_of(p, images, labels)
        loss.backward()
        results.append([loss.item(), *[float(v.grad.array.sum()) for v in p.values()]])
    assert results[0] == results[1] == results[2]
