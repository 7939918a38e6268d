"""One number's arithmetic as data: sums against the forward, gradients against `cr.grad`."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule.engine.tensor import Tensor
from chainrule.inspection.circuits.arithmetic import RULES, arrivals, handed_on, made
from chainrule.inspection.circuits.gates import Circuit, Gate, circuit_of
from chainrule.models.registry import MODELS, find
from chainrule.nn.tracing import trace

NETWORKS = [
    ("lenet5", 32),
    ("lenet5_1998", 32),
    ("neocognitron", 32),
    ("resnet20", 32),
    ("googlenet", 64),
    ("googlenet_2014", 224),
    ("alexnet", 67),
    ("alexnet_slides", 67),
    ("mlp", 28),
]


def walked(name: str, size: int, seed: int = 0) -> tuple[Any, Tensor, Circuit]:
    cr.manual_seed(seed)
    model = cr.create_model(name).eval()
    generator = np.random.default_rng(1)
    parts = [*model.named_buffers(), *model.named_parameters()]
    norms = any("running" in part_name for part_name, _ in parts)
    for part_name, part in parts:  # norms whose numbers are not 0 and 1
        if "running" in part_name or (norms and part.ndim == 1):
            part.array[...] = generator.uniform(0.5, 1.5, part.shape)
    x = cr.randn(1, find(name).channels, size, size)
    circuit = circuit_of(trace(model, x), dict(model.named_parameters()))
    end = circuit.outputs[0]
    circuit.backward(seed_of(end.shape))
    return model, x, circuit


def seed_of(shape: tuple[int, ...]) -> np.ndarray:
    seed = np.zeros(shape, np.float32)
    seed[0, 3] = 1
    return seed


def some_places(shape: tuple[int, ...], count: int, seed: int) -> list[tuple[int, ...]]:
    generator = np.random.default_rng(seed)
    corners = [tuple(0 for _ in shape), tuple(n - 1 for n in shape)]
    drawn = [tuple(int(generator.integers(n)) for n in shape) for _ in range(count)]
    return corners + drawn


def close(found: float, wanted: float, scale: float) -> bool:
    """Equal but for the rounding of a sum of float32 whose terms are as large as `scale`."""
    return abs(found - wanted) <= 3e-5 * max(abs(wanted), scale) + 1e-12


def spread(shape: tuple[int, ...], places: np.ndarray, values: np.ndarray) -> np.ndarray:
    total = np.zeros(shape)
    if not shape:
        return total + values.sum()
    np.add.at(total, tuple(places.T), values)
    return total


@pytest.mark.parametrize(("name", "size"), NETWORKS)
def test_numbers_are_what_their_arithmetic_gives(name: str, size: int) -> None:
    _, _, circuit = walked(name, size)
    looked_at = 0
    for k, gate in enumerate(circuit.operations):
        value = gate.values[0]
        assert value is not None
        for place in some_places(value.shape, 2, k):
            found = made(gate, place)
            assert found.kind != "other"
            assert found.result is not None
            terms = [t.products for t in found.reads if len(t.places)]
            scale = max((np.abs(t).sum() for t in terms), default=0.0)
            assert close(found.result, value[place], scale), (gate.name, place)
            if found.kind in ("products", "average", "sum", "copy"):
                bias = found.bias.total if found.bias is not None else 0.0
                total = sum(t.total for t in found.reads) + bias
                assert total == pytest.approx(found.result, rel=1e-9, abs=1e-12)
            if found.steps:
                assert found.steps[-1].value == pytest.approx(found.result)
            looked_at += 1
    assert looked_at > 20


@pytest.mark.parametrize(("name", "size"), NETWORKS)
def test_what_is_handed_on_is_the_operations_own_gradient(name: str, size: int) -> None:
    _, _, circuit = walked(name, size)
    for k, gate in enumerate(circuit.operations):
        shape = gate.shapes[0]
        place = some_places(shape, 1, k)[-1]
        gradient = np.zeros(shape, np.float32)
        gradient[place] = -1.5
        assert gate.pull is not None
        pulled = gate.pull([gradient, *[None] * (len(gate.shapes) - 1)])
        sums: dict[tuple[int, int], np.ndarray] = {}
        for share in handed_on(made(gate, place), -1.5):
            key = (id(share.wire.gate), share.wire.number)
            total = spread(share.wire.shape, share.places, share.products)
            sums[key] = sums.get(key, 0) + total
        wanted: dict[tuple[int, int], np.ndarray] = {}
        for wire, g in zip(gate.inputs, pulled, strict=True):
            if g is not None and fed(gate, wire):
                key = (id(wire.gate), wire.number)
                wanted[key] = wanted.get(key, 0) + g
        for key, g in wanted.items():
            np.testing.assert_allclose(
                sums.get(key, 0 * g), g, rtol=2e-4, atol=1e-5, err_msg=gate.name
            )


def fed(gate: Gate, wire: Any) -> bool:
    """A norm's numbers (C,) are not told apart: a page shows what x gets."""
    return type(gate.op).__name__ != "BatchNorm" or wire is gate.inputs[0]


def of_the_input(circuit: Circuit) -> set[int]:
    """Tell what is computed from the input, and not from parameters alone."""
    found: set[int] = set()
    for gate in circuit.gates:
        if gate.kind == "input" or any(id(wire.gate) in found for wire in gate.inputs):
            found.add(id(gate))
    return found


@pytest.mark.parametrize(("name", "size"), NETWORKS)
def test_what_arrives_is_the_gradient(name: str, size: int) -> None:
    _, _, circuit = walked(name, size)
    users, looked_at, fed_by = circuit.users(), 0, of_the_input(circuit)
    for k, gate in enumerate(circuit.gates):
        if gate.kind not in ("input", "operation") or gate is circuit.outputs[0].gate:
            continue
        gradient = gate.gradients[0]
        if gradient is None:
            continue
        scale = float(np.abs(gradient).max())
        strongest = np.unravel_index(np.abs(gradient).argmax(), gradient.shape)
        places = [*some_places(gradient.shape, 2, k), tuple(int(i) for i in strongest)]
        for place in places:
            found = arrivals(users, gate.wires[0], place)
            total = sum(arrival.total for arrival in found)
            parts = sum(abs(a.terms.products).sum() for a in found if a.terms is not None)
            assert close(total, gradient[place], max(scale * 1e-2, parts)), (gate.name, place)
            assert all(a.terms is not None for a in found) or id(gate) not in fed_by, gate.name
            looked_at += bool(total)
    assert looked_at > 10


@pytest.mark.parametrize(
    ("name", "size"), [("lenet5", 32), ("resnet20", 32), ("googlenet", 64), ("alexnet", 67)]
)
def test_arrivals_against_grad(name: str, size: int) -> None:
    """`cr.grad` walks tensors and not captured graphs: another way to the same numbers."""
    model, x, circuit = walked(name, size)
    outputs: dict[str, Tensor] = {}
    handles = [
        module.register_forward_hook(lambda _m, _i, y, path=path: outputs.__setitem__(path, y))
        for path, module in model.named_modules()
        if path and not list(module.children())
    ]
    leaf = cr.tensor(x.numpy(), requires_grad=True)
    score = model(leaf)[0, 3]
    for handle in handles:
        handle.remove()
    last = {gate.layer: gate for gate in circuit.operations}
    paths = [path for path in outputs if path in last]  # dropout does nothing here
    grads = cr.grad(score, [leaf, *(outputs[path] for path in paths)])
    users = circuit.users()
    gates = [circuit.gates[0], *(last[path] for path in paths)]
    compared = 0
    for k, (gate, g) in enumerate(zip(gates, grads, strict=True)):
        wanted = g.numpy()
        if gate is circuit.outputs[0].gate:
            continue
        assert gate.shapes[0] == wanted.shape
        for place in some_places(wanted.shape, 3, k):
            total = sum(arrival.total for arrival in arrivals(users, gate.wires[0], place))
            assert close(total, wanted[place], float(np.abs(wanted).max())), (gate.layer, place)
            compared += 1
    assert compared >= 5 * (len(paths) - 1)


@pytest.mark.parametrize("name", sorted(MODELS))
def test_every_operation_of_the_registry_has_a_rule(name: str) -> None:
    with cr.device("meta"):
        model = cr.create_model(name).eval()
        entry = find(name)
        graph = trace(model, cr.zeros(1, entry.channels, entry.size, entry.size))
    for op, _ in graph.operations():
        assert any(kind in RULES for kind in type(op).__mro__), op


POOLS = [
    lambda x: cr.nn.functional.avg_pool2d(x, 3, 2, 1),
    lambda x: cr.nn.functional.avg_pool2d(x, 3, 2, 1, ceil_mode=True),
    lambda x: cr.nn.functional.avg_pool2d(x, 3, 2, 1, ceil_mode=True, count_include_pad=False),
    lambda x: cr.nn.functional.avg_pool2d(x, (2, 3), 2, divisor_override=-4),
    lambda x: cr.nn.functional.adaptive_avg_pool2d(x, (3, 5)),
    lambda x: cr.nn.functional.adaptive_max_pool2d(x, (4, 3)),
    lambda x: cr.nn.functional.max_pool2d(x, 3, 2, 1, 2, ceil_mode=True),
    lambda x: cr.nn.functional.max_pool2d(x, 2, 1),
    lambda x: cr.nn.functional.conv2d(x, cr.ones(4, 2, 3, 2), None, (2, 1), (1, 2), (1, 2), 2),
    lambda x: cr.nn.functional.local_response_norm(x, 4, 0.5, 0.75, 1.5),
    lambda x: cr.nn.functional.local_response_norm_within(x, 3, 0.5, 0.75, 1.5),
    lambda x: (x / (x.abs() + 1)).mean((1, 3)),
    lambda x: x.mean(2, keepdim=True) * x,
    lambda x: cr.nn.functional.gelu(x).sum(1),
    lambda x: cr.nn.functional.softmax(x, 1),  # no rule: known by its derivatives
    lambda x: cr.cat([x, cr.nn.functional.elu(x)], 1).flip(2),
]


@pytest.mark.parametrize("number", range(len(POOLS)))
def test_settings(number: int) -> None:
    generator = np.random.default_rng(number)
    x = cr.tensor(np.round(generator.normal(size=(2, 4, 8, 7)), 1).astype(np.float32))  # ties
    circuit = circuit_of(cr.capture(POOLS[number], x))
    end = circuit.outputs[0]
    circuit.backward(generator.normal(size=end.shape))
    users = circuit.users()
    for gate in circuit.operations:
        value = gate.values[0]
        assert value is not None
        for place in some_places(value.shape, 8, number):
            found = made(gate, place)
            if found.result is not None:
                assert found.result == pytest.approx(value[place], rel=1e-5, abs=1e-6)
    for gate in circuit.gates:
        gradient = gate.gradients[0]
        if gradient is None or gate is end.gate:
            continue
        for place in some_places(gradient.shape, 8, number):
            total = sum(a.total for a in arrivals(users, gate.wires[0], place))
            assert total == pytest.approx(gradient[place], rel=2e-4, abs=1e-5)


def test_padding_is_counted() -> None:
    circuit = circuit_of(
        cr.capture(lambda x: cr.nn.functional.conv2d(x, cr.ones(1, 1, 3, 3), None, 1, 1),
                   cr.ones(1, 1, 4, 4))
    )  # fmt: skip
    found = made(circuit.outputs[0].gate, (0, 0, 0, 0))
    assert (len(found.reads[0].places), found.outside, found.result) == (4, 5, 4.0)


def test_a_window_of_padding_alone_has_nothing() -> None:
    circuit = circuit_of(
        cr.capture(lambda x: cr.nn.functional.max_pool2d(x, 2, 4, 1, 4), cr.ones(1, 1, 3, 3))
    )
    value = circuit.outputs[0].value
    assert value is not None
    for place in np.ndindex(*value.shape):
        assert made(circuit.outputs[0].gate, place).result == value[place]
