"""Module: names, state, modes, hooks, errors with paths, layers driven by hand."""

from __future__ import annotations

import copy
import inspect
import pickle
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(3, 3)
        self.scale = nn.Parameter(cr.ones(1))
        self.register_buffer("seen", cr.zeros(1))
        self.register_buffer("scratch", cr.zeros(1), persistent=False)

    def forward(self, x: Any) -> Any:
        return self.fc(x) * self.scale


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList([Block(), Block()])
        self.head = nn.Sequential(nn.ReLU(), nn.Linear(3, 2))

    def forward(self, x: Any) -> Any:
        for block in self.blocks:
            x = block(x)
        return self.head(x)


def test_names_are_dotted_paths_in_order() -> None:
    names = [name for name, _ in Net().named_parameters()]
    assert names == [
        "blocks.0.scale", "blocks.0.fc.weight", "blocks.0.fc.bias",
        "blocks.1.scale", "blocks.1.fc.weight", "blocks.1.fc.bias",
        "head.1.weight", "head.1.bias",
    ]  # fmt: skip
    assert "blocks.0.seen" in Net().state_dict()
    assert "blocks.0.scratch" not in Net().state_dict()
    assert [n for n, _ in Net().named_children()] == ["blocks", "head"]
    assert len(list(Net().modules())) == 9


def test_state_goes_from_one_to_another() -> None:
    cr.manual_seed(0)
    one, two = Net(), Net()
    x = cr.randn(4, 3)
    assert (one(x) != two(x)).any()
    keys = two.load_state_dict(one.state_dict())
    assert keys == ([], [])
    np.testing.assert_array_equal(one(x).detach(), two(x).detach())
    assert not np.shares_memory(one.head[1].weight.array, two.head[1].weight.array)


def test_a_state_of_another_model_names_everything_and_writes_nothing() -> None:
    net = Net()
    state = dict(net.state_dict())
    before = net.head[1].weight.detach().numpy().copy()
    state["head.1.weight"] = cr.full((2, 3), 9.0)
    state["blocks.0.fc.bias"] = cr.zeros(7)
    state["extra"] = cr.zeros(1)
    del state["head.1.bias"]
    with pytest.raises(RuntimeError, match="another Net") as caught:
        net.load_state_dict(state)
    for fact in (
        "blocks.0.fc.bias is (7,), expected (3,)",
        "missing: head.1.bias",
        "unexpected: extra",
    ):
        assert fact in str(caught.value)
    np.testing.assert_array_equal(net.head[1].weight.detach(), before)


def test_not_strict_reports_what_did_not_match() -> None:
    net = Net()
    keys = net.load_state_dict({"head.1.bias": cr.ones(2), "extra": cr.ones(1)}, strict=False)
    assert keys.unexpected_keys == ["extra"]
    assert "head.1.weight" in keys.missing_keys
    np.testing.assert_array_equal(net.head[1].bias.detach(), [1, 1])


def test_shared_parameters_stay_shared_in_copies_and_are_counted_once() -> None:
    net = Net()
    net.blocks[1].fc.weight = net.blocks[0].fc.weight
    assert len(list(net.parameters())) == 7
    for twin in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        assert twin.blocks[1].fc.weight is twin.blocks[0].fc.weight
        assert twin.blocks[0].fc.weight is not net.blocks[0].fc.weight
        x = cr.randn(2, 3)
        np.testing.assert_array_equal(twin(x).detach(), net(x).detach())


def test_train_and_eval_reach_everything() -> None:
    net = Net().eval()
    assert not any(m.training for m in net.modules())
    assert all(m.training for m in net.train().modules())


def test_apply_visits_children_first() -> None:
    seen: list[str] = []
    Block().apply(lambda m: seen.append(type(m).__name__))
    assert seen == ["Linear", "Block"]


def test_double_converts_parameters_and_buffers() -> None:
    net = Net().double()
    assert {v.dtype.name for v in net.state_dict().values()} == {"float64"}
    net(cr.randn(2, 3, dtype=cr.float64)).sum().backward()
    assert net.head[1].weight.grad.dtype == cr.float64


def test_repr_is_nested() -> None:
    text = repr(Net())
    assert text.startswith("Net(\n  (blocks): ModuleList(\n")
    assert "      (fc): Linear(in_features=3, out_features=3, bias=True)" in text


def test_assigning_before_init_and_wrong_kinds() -> None:
    class Early(nn.Module):
        def __init__(self) -> None:
            self.fc = nn.Linear(1, 1)

    with pytest.raises(AttributeError, match=r"super\(\).__init__\(\)"):
        Early()
    block = Block()
    with pytest.raises(TypeError, match="Parameter or None"):
        block.scale = cr.ones(1)
    with pytest.raises(TypeError, match="Module or None"):
        block.fc = 3
    with pytest.raises(KeyError, match="dots"):
        block.register_buffer("a.b", cr.ones(1))
    with pytest.raises(KeyError, match="already"):
        block.register_parameter("forward", None)
    with pytest.raises(AttributeError, match="missing"):
        block.missing  # noqa: B018


def test_an_error_inside_names_the_layers_path_once() -> None:
    with pytest.raises(ValueError, match=r"in layer blocks\.0\.fc \(Linear\)$") as caught:
        Net()(cr.randn(4, 5))
    assert str(caught.value).count("in layer") == 1
    with pytest.raises(ValueError, match=r"in layer Linear$"):
        nn.Linear(2, 2)(cr.randn(4, 5))


def test_forward_hooks_see_and_replace() -> None:
    layer = nn.Linear(2, 2)
    layer.register_forward_pre_hook(lambda m, args: (args[0] * 0,))
    handle = layer.register_forward_hook(lambda m, args, y: y + 5)
    x = cr.randn(1, 2)
    np.testing.assert_allclose(layer(x).detach(), layer.bias.detach().numpy()[None] + 5, rtol=1e-6)
    handle.remove()
    np.testing.assert_allclose(layer(x).detach(), layer.bias.detach().numpy()[None], rtol=1e-6)


def test_backward_hooks_see_both_borders_and_may_replace_the_inputs_gradient() -> None:
    layer = nn.Linear(2, 3)
    seen: list[Any] = []

    def hook(module: Any, gx: Any, gy: Any) -> Any:
        seen.append((gx[0].shape, gy[0].shape))
        return (gx[0] * 0 + 7,)

    handle = layer.register_full_backward_hook(hook)
    x = cr.randn(4, 2, requires_grad=True)
    (layer(x).sum() + x.sum()).backward()
    assert seen == [((4, 2), (4, 3))]
    np.testing.assert_array_equal(x.grad, np.full((4, 2), 8.0))
    handle.remove()
    x.grad = None
    layer(x).sum().backward()
    assert len(seen) == 1


def test_a_layer_driven_by_hand_as_on_the_slides() -> None:
    lin = nn.Linear(5, 4)
    n = cr.randn(1, 5)
    lin.forward(n)
    upstream = cr.randn(1, 4)
    gx = lin.backward(n, upstream)
    np.testing.assert_allclose(gx, upstream.numpy() @ lin.weight.detach().numpy(), rtol=1e-5)
    np.testing.assert_allclose(lin.weight.grad, upstream.numpy().T @ n.numpy(), rtol=1e-5)
    np.testing.assert_allclose(lin.bias.grad, upstream.numpy()[0], rtol=1e-6)
    lin.backward(n, upstream)
    np.testing.assert_allclose(lin.bias.grad, 2 * upstream.numpy()[0], rtol=1e-6)


def test_by_hand_the_last_mask_is_replayed_and_the_generator_left_alone() -> None:
    drop = nn.Dropout(0.5, generator=cr.Generator(1))
    x = cr.ones(1000)
    y = drop.forward(x)
    gx = drop.backward(x, cr.ones(1000))
    np.testing.assert_array_equal(gx, y)
    assert (drop.forward(x) != y).any()


def test_by_hand_buffers_stay_as_forward_left_them() -> None:
    bn = nn.BatchNorm1d(3)
    x = cr.randn(8, 3)
    bn.forward(x)
    kept = {k: v.numpy().copy() for k, v in bn.state_dict().items()}
    bn.backward(x, cr.randn(8, 3))
    for key, value in bn.state_dict().items():
        np.testing.assert_array_equal(value, kept[key])
    assert bn.weight.grad is not None


def test_by_hand_agrees_with_the_graph_for_a_whole_network() -> None:
    net, x, gy = Net(), cr.randn(4, 3), cr.randn(4, 2)
    by_hand = net.backward(x, gy)
    hand_grads = {n: p.grad.numpy().copy() for n, p in net.named_parameters()}
    net.zero_grad()
    leaf = cr.tensor(x, requires_grad=True)
    net(leaf).backward(gy)
    np.testing.assert_array_equal(by_hand, leaf.grad)
    for name, p in net.named_parameters():
        np.testing.assert_array_equal(hand_grads[name], p.grad)


def test_a_module_without_forward_says_so() -> None:
    with pytest.raises(NotImplementedError, match="forward"):
        nn.Module()(1)


def test_what_is_assigned_again_keeps_its_place() -> None:
    model = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))
    setattr(model, "0", nn.Linear(2, 3))
    assert [n for n, _ in model.named_children()] == ["0", "1", "2"]
    model[0].weight = nn.Parameter(cr.zeros(3, 2))
    assert [n for n, _ in model[0].named_parameters()] == ["weight", "bias"]


def test_the_constructors_signature_is_seen() -> None:
    assert list(inspect.signature(nn.Linear).parameters)[:3] == [
        "in_features", "out_features", "bias",
    ]  # fmt: skip


def test_a_state_without_the_count_of_batches_is_accepted() -> None:
    model = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    state = {k: v for k, v in model.state_dict().items() if "num_batches" not in k}
    assert model.load_state_dict(state) == ([], [])
