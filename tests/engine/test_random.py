"""Generators: repeatable, independent, restorable; places in construction."""

from __future__ import annotations

import copy
import json
import pickle

import numpy as np
import pytest
from scipy import stats

import chainrule as cr
from chainrule import nn


def test_the_same_seed_gives_the_same_values() -> None:
    a = cr.randn(5, generator=cr.Generator(1))
    b = cr.randn(5, generator=cr.Generator(1))
    c = cr.randn(5, generator=cr.Generator(2))
    np.testing.assert_array_equal(a, b)
    assert (a != c).any()


def test_manual_seed_governs_every_draw_without_a_generator() -> None:
    def draws() -> list[object]:
        cr.manual_seed(5)
        return [
            cr.randn(2).tolist(), cr.rand(2).tolist(), cr.randint(9, (3,)).tolist(),
            cr.randperm(4).tolist(), nn.Linear(2, 2).weight.detach().tolist(),
        ]  # fmt: skip

    assert draws() == draws()


def test_states_go_through_json_and_go_on_where_they_were() -> None:
    g = cr.Generator(3)
    cr.rand(7, generator=g)
    g.spawn()
    state = json.loads(json.dumps(g.get_state()))
    expected = cr.randn(4, generator=g).tolist()
    other = cr.Generator(0)
    other.set_state(state)
    assert cr.randn(4, generator=other).tolist() == expected
    assert g.spawn().initial_seed() == other.spawn().initial_seed()


def test_copies_go_on_alike_and_apart() -> None:
    g = cr.Generator(3)
    cr.rand(3, generator=g)
    for twin in (copy.deepcopy(g), pickle.loads(pickle.dumps(g))):
        expected = copy.deepcopy(g)
        assert cr.rand(2, generator=twin).tolist() == cr.rand(2, generator=expected).tolist()


def test_draws_are_what_they_say() -> None:
    g = cr.Generator(0)
    normal = cr.randn(20_000, generator=g).numpy()
    assert stats.kstest(normal, "norm").pvalue > 1e-3
    uniform = cr.rand(20_000, generator=g).numpy()
    assert stats.kstest(uniform, "uniform").pvalue > 1e-3
    assert uniform.min() >= 0
    assert uniform.max() < 1
    assert set(cr.randint(2, 5, (1000,), generator=g).tolist()) == {2, 3, 4}
    assert sorted(cr.randperm(50, generator=g).tolist()) == list(range(50))


def test_a_seed_that_is_no_integer() -> None:
    with pytest.raises(TypeError, match="integer seed"):
        cr.manual_seed("x")


class Net(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Linear(4, width)
        self.second = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))


def test_a_changed_layer_does_not_shift_the_others() -> None:
    nets = []
    for width in (3, 300):
        cr.manual_seed(0)
        nets.append(Net(width))
    for key, value in nets[0].state_dict().items():
        if key.startswith("second"):
            np.testing.assert_array_equal(value, nets[1].state_dict()[key].numpy())


def test_layers_of_one_network_and_networks_of_one_seed_differ() -> None:
    cr.manual_seed(0)
    one, two = Net(4), Net(4)
    weights = [
        one.first.weight, one.second[0].weight, one.second[1].weight, two.first.weight,
    ]  # fmt: skip
    values = {tuple(w.detach().numpy().ravel()) for w in weights}
    assert len(values) == 4


def test_a_layer_that_grows_inside_does_not_shift_those_after_it() -> None:
    class Block(nn.Module):
        def __init__(self, depth: int) -> None:
            super().__init__()
            self.inner = nn.ModuleList([nn.Linear(2, 2) for _ in range(depth)])

    class Tower(nn.Module):
        def __init__(self, depth: int) -> None:
            super().__init__()
            self.block = Block(depth)
            self.head = nn.Linear(2, 2)

    heads, firsts = [], []
    for depth in (1, 5):
        cr.manual_seed(0)
        tower = Tower(depth)
        heads.append(tower.head.weight.detach().tolist())
        firsts.append(tower.block.inner[0].weight.detach().tolist())
    assert heads[0] == heads[1]
    assert firsts[0] == firsts[1]
