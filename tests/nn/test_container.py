"""Sequential, ModuleList, ModuleDict, ParameterList: lists and dictionaries of modules."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn


def chain(n: int = 4) -> nn.Sequential:
    return nn.Sequential(*(nn.Linear(i + 1, i + 2) for i in range(n)))


def names(module: nn.Module) -> list[str]:
    return [name for name, _ in module.named_children()]


def test_sequential_passes_through_all() -> None:
    net = chain(3)
    x = cr.randn(5, 1)
    expected = net[2](net[1](net[0](x)))
    np.testing.assert_array_equal(net(x).detach(), expected.detach())
    assert nn.Sequential()(x) is x


def test_sequential_takes_names_from_dictionaries() -> None:
    pairs = [("conv", nn.Linear(2, 3)), ("act", nn.ReLU())]
    for given in (OrderedDict(pairs), dict(pairs)):
        net = nn.Sequential(given)
        assert names(net) == ["conv", "act"]
        assert net[0] is pairs[0][1]
        assert net.act is pairs[1][1]
    assert names(nn.Sequential(dict(pairs))[:1]) == ["conv"]
    assert names(nn.Sequential({})) == []


def test_slices_are_views_of_the_same_modules() -> None:
    net = chain()
    part = net[1:3]
    assert isinstance(part, nn.Sequential)
    assert list(part) == [net[1], net[2]]
    assert names(part) == ["1", "2"]
    assert part[0].weight is net[1].weight
    assert list(net[::-1]) == list(reversed(net))
    assert len(net[10:]) == 0


def test_indices_count_from_the_end() -> None:
    net = chain()
    assert net[-1] is net[3]
    for bad in (4, -5):
        with pytest.raises(IndexError, match=r"\[-4, 3\]"):
            net[bad]
    with pytest.raises(TypeError):
        net["0"]  # type: ignore[index]
    with pytest.raises(IndexError):
        nn.Sequential()[0]


def test_changing_a_sequential() -> None:
    net = chain(2)
    relu, tanh = nn.ReLU(), nn.Tanh()
    assert net.append(relu) is net
    net.insert(1, tanh)
    assert names(net) == ["0", "1", "2", "3"]
    assert net[1] is tanh
    net.insert(-1, nn.Sigmoid())
    assert isinstance(net[-2], nn.Sigmoid)
    net.insert(len(net), nn.Identity())
    assert isinstance(net[-1], nn.Identity)
    assert net.pop(1) is tanh
    assert isinstance(net.pop(), nn.Identity)
    net[0] = nn.ELU()
    assert isinstance(net[0], nn.ELU)
    del net[0]
    assert names(net) == ["0", "1", "2"]
    del net[::2]
    assert names(net) == ["0"]
    net += [nn.ReLU()]
    net.extend(chain(2))
    assert names(net) == ["0", "1", "2", "3"]
    with pytest.raises(IndexError):
        net.insert(6, relu)
    with pytest.raises(IndexError):
        del net[4]


def test_sums_and_multiples_of_sequentials() -> None:
    one, two = chain(2), nn.Sequential(nn.ReLU())
    both = one + two
    assert list(both) == [*one, *two]
    assert len(one) == 2
    assert [type(m).__name__ for m in 3 * two] == ["ReLU"] * 3
    two *= 2
    assert names(two) == ["0", "1"] or len(two) == 2
    with pytest.raises(ValueError, match="at least 1"):
        one * 0
    with pytest.raises(TypeError):
        one * 1.5  # type: ignore[operator]
    more = [nn.ReLU()]
    with pytest.raises(TypeError):
        one + more  # type: ignore[operator]


def test_named_children_survive_deletion() -> None:
    net = nn.Sequential({"a": nn.ReLU(), "b": nn.Tanh(), "c": nn.ELU()})
    del net[1]
    assert names(net) == ["a", "c"]
    net.append(nn.Sigmoid())
    assert names(net) == ["a", "c", "2"]
    del net[0]
    net.append(nn.ReLU())  # "2" is taken
    assert len(net) == 3
    assert isinstance(net[-1], nn.ReLU)


@pytest.mark.parametrize("bad", [3, "x", None, nn.ReLU, [nn.ReLU()]])
def test_only_modules_go_in(bad: Any) -> None:
    for attempt in (
        lambda: nn.Sequential(bad),
        lambda: nn.Sequential(nn.ReLU(), bad),
        lambda: nn.Sequential({"a": bad}),
        lambda: nn.ModuleList([bad]),
        lambda: nn.ModuleList().append(bad),
        lambda: nn.ModuleDict({"a": bad}),
        lambda: chain().__setitem__(0, bad),
        lambda: chain().insert(0, bad),
    ):
        with pytest.raises(TypeError, match="a Module"):
            attempt()


def test_module_list_is_a_list() -> None:
    layers = nn.ModuleList([nn.Linear(2, 2), nn.ReLU()])
    assert layers[1] in layers
    assert nn.ReLU() not in layers
    layers.insert(0, nn.Tanh())
    layers.extend([nn.ELU()])
    layers += nn.ModuleList([nn.Sigmoid()])
    expected = ["Tanh", "Linear", "ReLU", "ELU", "Sigmoid"]
    assert [type(m).__name__ for m in layers] == expected
    assert [type(m).__name__ for m in reversed(layers)] == expected[::-1]
    assert isinstance(layers[1:3], nn.ModuleList)
    assert names(layers[1:3]) == ["0", "1"]
    more = [nn.ReLU()]
    assert len(layers + more) == 6
    del layers[1]
    assert names(layers) == ["0", "1", "2", "3"]
    assert isinstance(layers.pop(0), nn.Tanh)
    with pytest.raises(TypeError):
        layers.extend(3)  # type: ignore[arg-type]
    with pytest.raises(NotImplementedError):
        layers(cr.zeros(1))


def test_module_list_repr_gathers_runs() -> None:
    layers = nn.ModuleList([nn.Linear(2, 2), nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 2)])
    linear = "Linear(in_features=2, out_features=2, bias=True)"
    assert repr(layers) == (
        f"ModuleList(\n  (0-1): 2 x {linear}\n  (2): ReLU()\n  (3): {linear}\n)"
    )
    assert repr(nn.ModuleList()) == "ModuleList()"
    nested = nn.ModuleList([nn.Sequential(nn.ReLU()), nn.Sequential(nn.ReLU())])
    assert repr(nested) == ("ModuleList(\n  (0-1): 2 x Sequential(\n    (0): ReLU()\n  )\n)")


def test_module_dict_is_a_dictionary() -> None:
    heads = nn.ModuleDict([("a", nn.ReLU())])
    heads["b"] = nn.Linear(2, 1)
    heads.update({"c": nn.Tanh()})
    heads.update(nn.ModuleDict({"d": nn.ELU()}))
    assert list(heads) == list(heads.keys()) == ["a", "b", "c", "d"]
    assert len(heads) == len(list(heads.values())) == 4
    assert dict(heads.items())["c"] is heads["c"]
    assert "a" in heads
    assert [name for name, _ in heads.named_parameters()] == ["b.weight", "b.bias"]
    assert isinstance(heads.pop("a"), nn.ReLU)
    del heads["d"]
    assert list(heads) == ["b", "c"]
    heads.clear()
    assert len(heads) == 0
    for missing in (lambda: heads["b"], lambda: heads.pop("b"), lambda: heads.__delitem__("b")):
        with pytest.raises(KeyError):
            missing()
    with pytest.raises(ValueError, match="pairs"):
        heads.update([("a", nn.ReLU(), 3)])
    with pytest.raises(TypeError):
        heads.update(3)


def test_parameter_list_counts_its_parameters() -> None:
    values = nn.ParameterList([nn.Parameter(cr.zeros(2))])
    values.append(cr.ones(3)).extend([cr.ones(1)])
    assert [name for name, _ in values.named_parameters()] == ["0", "1", "2"]
    assert values[-1].shape == (1,)
    assert [p.shape for p in values[1:]] == [(3,), (1,)]
    values[0] = cr.ones(4)
    assert values[0].shape == (4,)
    assert isinstance(values[0], nn.Parameter)
    assert sorted(values.state_dict()) == ["0", "1", "2"]
    assert repr(values).splitlines()[1] == "  (0): float32 (4,)"
    with pytest.raises(TypeError):
        values.append(3)  # type: ignore[arg-type]


def test_identity_ignores_its_arguments() -> None:
    x = cr.zeros(1)
    assert nn.Identity(3, nothing=True)(x) is x
    assert repr(nn.Identity(3)) == "Identity()"


def test_an_error_in_a_chain_names_the_place() -> None:
    net = nn.Sequential(nn.ReLU(), nn.Sequential(nn.Linear(3, 2), nn.Linear(3, 2)))
    with pytest.raises(ValueError, match=r"1\.1 \(Linear\)"):
        net(cr.zeros(1, 3))
