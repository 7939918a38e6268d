"""The slides' computational graph."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn


def test_the_circuit_of_the_slides_and_its_loops_run_literally() -> None:
    graph = cr.capture(lambda x, y, z: (x + y) * z, -2.0, 5.0, -4.0)
    for gate in graph.nodes_topologically_sorted():
        gate.forward()
    loss = graph.nodes_topologically_sorted()[-1].value
    for gate in reversed(graph.nodes_topologically_sorted()):
        gate.backward()
    by_name = {gate.name: gate for gate in graph.nodes_topologically_sorted()}
    assert loss.item() == -12
    assert by_name["add"].value.item() == 3
    assert [by_name[n].gradient.item() for n in ("x", "y", "z", "add")] == [-4, -4, 3, -4]
    assert [n.name for n in by_name["mul"].inputs] == ["add", "z"]
    assert type(by_name["mul"].op).__name__ == "Mul"


def test_it_runs_again_on_new_inputs() -> None:
    graph = cr.capture(lambda x, y: x * y + x, 2.0, 3.0)
    assert graph.forward(4.0, 5.0).item() == 24
    gx, gy = graph.backward()
    assert (gx.item(), gy.item()) == (6, 4)
    assert graph.forward(1.0, 1.0).item() == 2
    assert [g.item() for g in graph.backward()] == [2, 1]


def test_every_node_comes_after_what_it_reads() -> None:
    graph = cr.capture(lambda x: cr.exp(x) * x + cr.sigmoid(x * 2), cr.randn(3))
    seen: set[int] = set()
    for node in graph:
        assert {id(n) for n in node.inputs} <= seen
        seen.add(id(node))


def test_operations_without_their_sources() -> None:
    graph = cr.capture(lambda x: cr.exp(x) * x, cr.randn(3))
    found = list(graph.operations())
    assert [type(op).__name__ for op, _ in found] == ["Exp", "Mul"]
    assert all(op is node.op for op, node in found)
    assert len(graph) == 3


def test_gradients_add_at_branches_and_backward_can_be_repeated() -> None:
    graph = cr.capture(lambda x: x * x + 3 * x, 2.0)
    for _ in range(2):
        assert graph.backward()[0].item() == 7


def test_parameters_are_inputs_of_the_graph_and_stay_live() -> None:
    layer = nn.Linear(3, 2)
    x = cr.randn(4, 3)
    graph = cr.capture(lambda x: layer(x).sum(), x)
    weight, bias = graph.parameters
    assert weight.tensor is layer.weight
    assert bias.tensor is layer.bias
    layer(x).sum().backward()
    graph.backward()
    np.testing.assert_allclose(graph.parameters[0].gradient, layer.weight.grad.numpy(), rtol=1e-6)
    with cr.no_grad():
        layer.bias.add_(1)
    np.testing.assert_allclose(graph.forward(x).item(), layer(x).sum().item(), rtol=1e-6)


def test_operations_with_several_outputs() -> None:
    graph = cr.capture(lambda x: x.max(1)[0].sum(), cr.tensor([[1.0, 5.0], [7.0, 2.0]]))
    assert graph.forward().item() == 12
    np.testing.assert_array_equal(graph.backward()[0], [[0, 1], [1, 0]])


def test_several_outputs_of_the_function() -> None:
    graph = cr.capture(lambda x: (x * 2, x * 3), 1.0)
    assert [y.item() for y in graph.forward(2.0)] == [4, 6]
    assert graph.backward()[0].item() == 5
    assert graph.backward([1.0, 0.0])[0].item() == 2


def test_gates_that_no_output_reads_are_dropped() -> None:
    def fn(x: cr.Tensor) -> cr.Tensor:
        cr.exp(x)
        return x * 2

    assert [n.name for n in cr.capture(fn, 1.0)] == ["x", "constant", "mul"]


def test_a_users_function_is_one_gate() -> None:
    class Twice(cr.Function):
        @staticmethod
        def forward(ctx, x):
            return x + x

        @staticmethod
        def backward(ctx, g):
            return 2 * g

    graph = cr.capture(Twice.apply, 3.0)
    assert [n.kind for n in graph] == ["input", "operation"]
    assert graph.backward()[0].item() == 2


def test_a_detached_value_is_live_but_passes_no_gradient() -> None:
    graph = cr.capture(lambda x: x * x.detach(), 3.0)
    assert graph.backward()[0].item() == 3
    assert graph.forward(5.0).item() == 25
    assert graph.backward()[0].item() == 5


@pytest.mark.parametrize("take", [float, bool, lambda t: t.item(), lambda t: t.detach().numpy()])
def test_taking_a_value_out_warns_with_the_line(take: object) -> None:
    with pytest.warns(UserWarning, match=r"test_capture\.py:\d+"):
        cr.capture(lambda x: x * (1.0 if take(x) is not None else 2.0), 3.0)


def test_no_warning_without_a_leak() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        cr.capture(lambda x: x * 2, 3.0)


def test_an_output_that_no_operation_made_is_refused() -> None:
    with pytest.raises(RuntimeError, match="outputs that the function computed"):
        cr.capture(lambda x: cr.tensor(1.0), 3.0)


def test_the_wrong_number_of_inputs() -> None:
    graph = cr.capture(lambda x, y: x * y, 1.0, 2.0)
    with pytest.raises(ValueError, match="2 inputs"):
        graph.forward(1.0)


def test_a_vector_output_needs_a_gradient() -> None:
    graph = cr.capture(lambda x: x * 2, cr.ones(3))
    with pytest.raises(ValueError, match="gradient="):
        graph.backward()
    np.testing.assert_array_equal(graph.backward(cr.tensor([1.0, 2.0, 3.0]))[0], [2, 4, 6])
