from __future__ import annotations

import pytest

import chainrule as cr
from chainrule.errors import DataError, ShapeError
from chainrule.inspection.reading import Reading
from tests.inspection.common import small


def test_the_network_runs_only_as_far_as_it_must() -> None:
    model = small()
    ran = []
    for name, layer in model.named_children():
        layer.register_forward_hook(lambda *_, name=name: ran.append(name))
    read = Reading("test", model, ["relu1", "conv1"])
    x = cr.rand(1, 3, 16, 16)
    first = read(x)
    assert ran[-1] == "fc"  # to see how often each runs
    ran.clear()
    second = read(x)
    assert ran == ["conv1", "norm", "relu1"]
    assert {k: v.tolist() for k, v in first.items()} == {k: v.tolist() for k, v in second.items()}
    assert read(cr.rand(2, 3, 40, 50))["conv1"].shape == (2, 6, 40, 50)


def test_a_layer_that_runs_twice_counts_with_its_last_call() -> None:
    class Twice(cr.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.relu, self.fc = cr.nn.ReLU(), cr.nn.Linear(3, 3)

        def forward(self, x: cr.Tensor) -> cr.Tensor:
            return self.fc(self.relu(self.fc(self.relu(x)) - 1))

    model = Twice()
    x = cr.rand(2, 3)
    expected = cr.relu(model.fc(x) - 1).tolist()
    read = Reading("test", model, ["relu"])
    assert read(x)["relu"].tolist() == read(x)["relu"].tolist() == expected


def test_a_layer_that_does_not_run() -> None:
    model = small()
    model.spare = cr.nn.ReLU()
    model.forward = lambda x: model.conv1(x)  # type: ignore[method-assign]
    with pytest.raises(DataError, match="test: Sequential does not run 'spare'"):
        Reading("test", model, ["spare"])(cr.rand(1, 3, 8, 8))
    with pytest.raises(ShapeError, match="a sequence of at least one layer's name"):
        Reading("test", model, "conv1")


def test_errors_before_the_layer_say_how_far() -> None:
    with pytest.raises(ShapeError, match=r"reach layer 'conv2', got \(1, 4, 8, 8\)") as caught:
        Reading("test", small(), ["conv2"])(cr.rand(1, 4, 8, 8))
    assert isinstance(caught.value.__cause__, ShapeError)
