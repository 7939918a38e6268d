"""Circuits from tensors and graphs: gradients as backward gives them, and whole pictures."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

import chainrule as cr
from chainrule.errors import AxisError, DataError, KindError, ShapeError
from chainrule.inspection.circuits import circuit, circuit_of
from chainrule.inspection.circuits.folding import folded
from chainrule.inspection.circuits.gates import local_jacobian
from chainrule.inspection.circuits.layout import arranged
from chainrule.inspection.circuits.picture import whole
from chainrule.inspection.circuits.steps import (
    backward_steps,
    backward_walk,
    forward_steps,
    forward_walk,
    step_name,
    step_text,
)
from chainrule.nn.tracing import trace

SVG = "{http://www.w3.org/2000/svg}"


def leaf(*values: float) -> cr.Tensor:
    return cr.tensor(values if len(values) > 1 else values[0], requires_grad=True)


def texts(svg: str) -> list[str]:
    return ["".join(t.itertext()) for t in ElementTree.fromstring(svg).iter(f"{SVG}text")]


def test_a_tensor_is_drawn_with_the_names_of_the_callers_variables() -> None:
    x, y, z = leaf(-2.0), leaf(5.0), leaf(-4.0)
    q = x + y
    f = q * z
    drawing = cr.draw(f)
    names = [gate.name for gate in drawing.circuit.gates]
    assert names == ["x", "y", "q", "z", "f"]
    assert {"x", "y", "z", "f", "-12", "3", "-4"} <= set(texts(drawing.svg))
    assert x.grad is y.grad is z.grad is None
    f.backward()  # the picture freed nothing
    for tensor, gate in zip((x, y, z), (drawing.circuit.gates[i] for i in (0, 1, 3)), strict=True):
        assert gate.gradients[0] == tensor.grad.item()


def test_gradients_in_the_middle_equal_those_of_backward() -> None:
    generator = cr.Generator(0)
    x = cr.randn(3, 4, generator=generator, requires_grad=True)
    w = cr.randn(4, 2, generator=generator, requires_grad=True)
    h = cr.tanh(x @ w)
    y = cr.softmax(h * h + h, 1)
    loss = (y * cr.arange(2.0)).sum()
    h.retain_grad()
    seen = circuit_of(loss, {"x": x, "w": w, "h": h})
    seen.backward()
    loss.backward()
    by_name = {gate.name: gate.gradients[0] for gate in seen.gates}
    for name, tensor in (("x", x), ("w", w), ("h", h)):
        np.testing.assert_allclose(by_name[name], tensor.grad.numpy(), rtol=1e-6)


def test_after_a_backward_the_values_and_the_leaves_gradients_remain() -> None:
    x = leaf(3.0)
    y = cr.exp(x * 2)
    y.backward()
    drawing = cr.draw(y)
    assert "gradients inside were freed by backward()" in str(drawing)
    assert "6" in texts(drawing.svg)
    by_name = {gate.name: gate for gate in drawing.circuit.gates}
    assert by_name["x"].gradients[0] == x.grad.item()
    z = cr.exp(x * 2)
    z.backward(retain_graph=True)
    assert "freed" not in str(cr.draw(z))


def test_a_graph_is_drawn_as_it_stands_or_walked_for_the_picture() -> None:
    graph = cr.capture(lambda x, y: x * y + x, 2.0, 3.0)
    assert [g.gradients[0] for g in cr.draw(graph).circuit.gates[:2]] == [4, 2]
    assert all(node.gradient is None for node in graph)
    graph.forward()
    gates = graph.nodes_topologically_sorted()
    gates[-1].backward()  # one step by hand: y has no gradient yet
    drawing = cr.draw(graph)
    assert drawing.circuit.gates[1].gradients[0] is None
    assert drawing.circuit.gates[0].gradients[0] == 1


def test_what_cannot_be_drawn() -> None:
    with pytest.raises(KindError, match="a tensor or a graph"):
        cr.draw(3)
    with pytest.raises(KindError, match="inputs after it"):
        cr.draw(cr.nn.ReLU())
    with pytest.raises(KindError, match="after a network alone"):
        cr.draw(leaf(1.0), leaf(2.0))
    with pytest.raises(ShapeError, match=r"output's shape \(2,\)"):
        cr.draw(leaf(1.0, 2.0) * 2, gradient=[1.0])


def test_a_vector_needs_a_gradient_and_whole_numbers_have_none() -> None:
    x = leaf(1.0, 2.0)
    y = x * x
    assert "give gradient=" in cr.explain(y)
    text = str(cr.draw(y, gradient=cr.tensor([1.0, 10.0])))
    assert "dy/dx = [1, 10] * [1, 2] = [1, 20]" in text
    assert "dy/dx = [2, 40]" in text
    assert "no gradient passes" in cr.explain(cr.capture(lambda n: n + 1, 3))


def test_local_derivatives_are_jacobians() -> None:
    x = leaf(1.0, 2.0, 3.0)
    softmax = circuit_of(cr.softmax(x, 0)).gates[-1]
    y = cr.softmax(x.detach(), 0).numpy()
    np.testing.assert_allclose(local_jacobian(softmax, 0), np.diag(y) - np.outer(y, y), atol=1e-7)
    large = cr.ones(5, 5, requires_grad=True)
    assert local_jacobian(circuit_of(large * 2).gates[-1], 0) is None


def test_names_that_are_markup_come_through() -> None:
    x, y = leaf(1.0), leaf(2.0)
    f = x * y
    drawing = cr.draw(f, names={'<b>&"': x, "]]>": y})
    assert {'<b>&"', "]]>"} <= set(texts(drawing.svg))
    assert '"<b>&\\""' in drawing.dot


def test_files(tmp_path: Path) -> None:
    drawing = circuit("sigmoid(w*x + b)", w=2, x=-1, b=3)
    for name in ("c.svg", "c.png", "c.dot"):
        assert drawing.save(tmp_path / name) == tmp_path / name
    assert (tmp_path / "c.svg").read_text("utf-8") == drawing.svg == drawing._repr_svg_()
    with Image.open(tmp_path / "c.png") as picture:
        assert picture.width > picture.height > 100
        assert len(picture.convert("RGB").getcolors(1 << 20)) > 20
    dot = (tmp_path / "c.dot").read_text("utf-8")
    assert dot.count("->") == 6  # five wires into gates, one to the output
    assert dot.count("[label=") == dot.count("fillcolor") + dot.count("label=<")
    with pytest.raises(DataError, match=r"ends in \.svg, \.png"):
        drawing.save(tmp_path / "c.jpg")


def test_boxes_do_not_lie_on_each_other() -> None:
    x = leaf(0.3)
    y = x
    for k in range(6):
        y = cr.tanh(y * x + k) * y
    found = circuit_of(y)
    found.backward()
    terms = " + ".join(f"w{k} * x{k}" for k in range(8))
    wide = circuit(terms, **{f"{name}{k}": k for name in "wx" for k in range(8)}).circuit
    for picture in (whole(found), folded(found, 7), whole(wide)):
        layout = arranged(picture)
        for i, a in enumerate(layout.places):
            assert a.width / 2 < a.x < layout.width - a.width / 2
            assert a.height / 2 < a.y < layout.height - a.height / 2
            for b in layout.places[:i]:
                assert (
                    abs(a.x - b.x) >= (a.width + b.width) / 2
                    or abs(a.y - b.y) >= (a.height + b.height) / 2
                )


def test_a_network_is_folded_by_its_layers() -> None:
    model, x = cr.create_model("resnet20"), cr.zeros(1, 3, 32, 32)
    drawing = cr.draw(model, x)
    titles = [box.title for box in drawing._picture.boxes]
    assert drawing.folded
    assert {"conv1", "layer1.0", "layer3.2", "fc"} <= set(titles)
    assert {"1 x 16 x 32 x 32", "1 x 64 x 8 x 8"} <= set(texts(drawing.svg))
    top = [box.title for box in cr.draw(model, x, depth=1)._picture.boxes]
    assert "layer1" in top
    assert len(top) < len(titles)
    graph = trace(model, x)
    assert len(cr.draw(graph, most=1000)._picture.boxes) > len(titles)
    few = cr.draw(graph, most=5)
    assert len([b for b in few._picture.boxes if b.kind in ("group", "gate")]) == 5


def test_a_folded_picture_has_every_operation_once() -> None:
    y = leaf(1.0)
    for _ in range(500):
        y = cr.tanh(y) * 1.01
    for most in (3, 60, 61):
        drawing = cr.draw(y, most=most)
        counted = 0
        for box in drawing._picture.boxes:
            if box.kind == "group":
                first, last = re.findall(r"[\d,]+", box.title)
                counted += int(last.replace(",", "")) - int(first.replace(",", "")) + 1
            counted += box.kind == "gate"
        assert counted == 1000


def test_wires_between_two_groups_are_drawn_once() -> None:
    x = cr.ones(2, 3, requires_grad=True)
    a, b = x * 2, x * 3
    y = (a.sum(0) * b.sum(1).sum()).sum()
    picture = folded(circuit_of(y), 2)
    pairs = [(link.start, link.end) for link in picture.links]
    assert len(pairs) == len(set(pairs))
    assert any(link.above == "several values" for link in picture.links)


def test_a_gate_of_several_values() -> None:
    x = cr.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
    a, b = cr.split(x, 1)
    f = (a * b).sum()
    text = str(cr.draw(f)).splitlines()
    assert "a , b = split(x) = [[1, 2]] , [[3, 4]]" in text
    said = "df/dx = back through split of df/da = [[3, 4]], df/db = [[1, 2]]: "
    assert f"{said}[[3, 4], [1, 2]] = [[3, 4], [1, 2]]" in text
    values, _ = cr.max(x, 1)
    g = values.sum()
    assert "dg/dx = back through max of dg/dvalues = [1, 1]: [[0, 1], [0, 1]]" in str(cr.draw(g))


def test_a_large_constant_has_its_shape() -> None:
    w = cr.ones(3, 3, 3, 3, requires_grad=True)
    f = cr.nn.functional.conv2d(cr.zeros(1, 3, 32, 32), w).sum()
    assert (1, 3, 32, 32) in [gate.shapes[0] for gate in cr.draw(f).circuit.gates]


def test_settings_are_part_of_the_formula() -> None:
    x = leaf(2.0)
    cube, leaky = x**3, cr.nn.functional.leaky_relu(x, 0.25)
    assert "cube = x ** 3 = 8" in str(cr.draw(cube))
    assert re.search(r"leaky = leaky_relu\(x, \w+=0\.25\) = 2", str(cr.draw(leaky)))


def test_a_tensor_without_history_says_so() -> None:
    assert "nothing was computed for it" in str(cr.draw(cr.tensor([1, 2, 3])))


def test_the_numbers_of_small_matrices_stand_in_the_picture() -> None:
    x = [[2, 1, -3], [-3, 4, 2]]
    w = [[3, 2, 1, -1], [2, 1, 3, 2], [3, 2, 1, -2]]
    shown = texts(circuit("sum(x @ w)", {"x": x, "w": w}).svg)
    assert "[[2, 1, -3], [-3, 4, 2]]" in shown
    assert "[[3, 2, 1, -1], [2, 1, 3, 2], [3, 2, 1, -2]]" in shown
    assert "[[-1, -1, 2, 6], [5, 2, 11, 7]]" in shown


def test_names_that_no_xml_may_hold() -> None:
    a = leaf(1.0)
    ElementTree.fromstring(cr.draw(a * 2, names={"a\x01b": a}).svg)


def test_values_may_have_any_name() -> None:
    assert (
        circuit("digits * expression", {"digits": 2, "expression": 3}).circuit.outputs[0].value == 6
    )


def test_many_gates_one_by_one_are_drawn_or_refused() -> None:
    x = leaf(1.0)
    y = x
    for k in range(450):
        y = y + x * k
    drawing = cr.draw(y, most=1000)
    assert drawing.folded == (len(drawing.circuit.gates) > 1000)
    with pytest.raises(ShapeError, match="most from 1 to 1,000"):
        cr.draw(y, most=10**6)


def test_parameters_of_a_drawn_network_have_their_paths() -> None:
    drawing = cr.draw(cr.create_model("lenet5"), cr.zeros(1, 1, 32, 32))
    assert {"conv1.weight", "fc2.bias"} <= {gate.name for gate in drawing.circuit.gates}


def below(drawing: Any) -> dict[tuple[str, str], str]:
    boxes = drawing._picture.boxes
    return {(boxes[k.start].title, boxes[k.end].title): k.below for k in drawing._picture.links}


def two_outputs() -> Any:
    return cr.capture(lambda x, y: (x * y, (x + y) * y), 2.0, 3.0)


def test_of_several_outputs_one_is_chosen_and_told() -> None:
    graph = two_outputs()
    for output, name, gx, gy in [
        (None, "mul", 3, 2),
        (0, "mul", 3, 2),
        (1, "mul_2", 3, 8),
        (-1, "mul_2", 3, 8),
        ("mul_2", "mul_2", 3, 8),
    ]:
        told = f"gradients of {name}, one of 2 outputs: mul, mul_2; output= chooses"
        drawing = cr.draw(graph, output=output)
        assert [gate.gradients[0] for gate in drawing.circuit.gates[:2]] == [gx, gy]
        for text in (str(drawing), cr.explain(graph, output=output)):
            assert told in text
            assert text.endswith(f"d{name}/dx = {gx}\nd{name}/dy = {gy}")
        assert told in texts(drawing.svg)
        assert told in drawing.dot
    assert all(node.gradient is None for node in graph)
    assert "outputs" not in str(cr.draw(cr.capture(lambda x: x * 2, 1.0)))


def test_no_gradient_stands_where_none_passes() -> None:
    shown = below(cr.draw(two_outputs()))
    assert shown["x", "\N{MULTIPLICATION SIGN}"] == "3"
    assert shown["x", "+"] == shown["y", "+"] == ""

    def also_read(x: cr.Tensor) -> Any:
        half = cr.exp(x)
        return half, cr.tanh(half)

    assert below(cr.draw(cr.capture(also_read, 1.0))) == {
        ("x", "exp"): "2.718",
        ("exp", "exp"): "1",
        ("exp", "tanh"): "",
        ("tanh", "tanh"): "",
    }


def test_gradients_of_all_outputs_together_are_told() -> None:
    graph = two_outputs()
    graph.backward()
    drawing = cr.draw(graph)
    told = "gradients that the graph's backward left, from all outputs together: mul, mul_2"
    assert told in texts(drawing.svg)
    assert str(drawing).endswith("dL/dmul = 1\ndL/dmul_2 = 1\n\ngradients\ndL/dx = 6\ndL/dy = 10")
    assert below(drawing)["x", "+"] == ""  # 6 arrived at x, and not on this wire alone
    assert "dmul_2/dy = 8" in str(cr.draw(graph, output=1))  # asked for: walked anew
    assert [node.gradient.item() for node in graph.inputs] == [6, 10]


def test_a_gradient_that_is_given_is_used_after_a_backward_too() -> None:
    graph = cr.capture(lambda x: x * 3, 2.0)
    graph.backward()
    assert "dmul/dx = 30" in str(cr.draw(graph, gradient=10.0))
    assert "dmul/dx = 3" in str(cr.draw(graph))


def test_outputs_that_there_are_not() -> None:
    for output in ("add", 2, -3):
        with pytest.raises(AxisError, match=r"by its name \(mul, mul_2\) or number \(0 to 1\)"):
            cr.draw(two_outputs(), output=output)
    for output in (True, 0.5, [0]):
        with pytest.raises(KindError, match="an output by its name"):
            cr.explain(two_outputs(), output=output)
    with pytest.raises(AxisError, match=r"number \(0 to 0\)"):
        cr.draw(leaf(1.0) * 2, output=1)


def test_several_outputs_of_several_numbers() -> None:
    graph = cr.capture(lambda x: (x * 2, x.sum()), cr.tensor([1.0, 2.0]))
    assert "it is one of 2 outputs, output= chooses: mul, sum" in cr.explain(graph)
    assert "dsum/dx = [1, 1]" in cr.explain(graph, output="sum")
    assert "dmul/dx = [2, 20]" in cr.explain(graph, gradient=[1, 10])


@pytest.mark.parametrize(
    "gradient",
    ["a", ["a", "b"], [1.0, None], [[1.0], [1.0, 2.0]], True, 1j, {1}, object()],
)
@pytest.mark.parametrize("most", [1, 60])
def test_a_gradient_of_another_kind(gradient: Any, most: int) -> None:
    with pytest.raises(KindError, match=r"of numbers in the output's shape \(2,\); got gradient"):
        cr.draw(leaf(1.0, 2.0) * 2, gradient=gradient, most=most)


def test_a_gradient_for_whole_numbers() -> None:
    with pytest.raises(KindError, match="a floating-point output"):
        cr.draw(cr.capture(lambda n: n + 1, 3), gradient=1.0)


def test_other_arguments_of_another_kind(tmp_path: Path) -> None:
    y = leaf(1.0) * 2
    for names in (3, [y], {"y": 3}, {3: y}, "y"):
        with pytest.raises(KindError, match="names as a mapping from text to tensors"):
            cr.draw(y, names=names)
        with pytest.raises(KindError, match="names as a mapping from text to tensors"):
            cr.explain(y, names=names)
    for what in ("most", "depth", "digits"):
        for value in ("a", True, 0.5):
            with pytest.raises(KindError, match=what):
                cr.draw(y, **{what: value})
        for value in (0, -1):
            with pytest.raises(ShapeError, match=what):
                cr.draw(y, **{what: value})
    for path in (3, None, b"a.svg"):
        with pytest.raises(KindError, match="the path of a file"):
            cr.draw(y).save(path)


def test_what_is_on_device_meta() -> None:
    x = cr.zeros(2, device="meta")
    assert "device meta" in str(cr.draw(x))


def test_the_walk_is_data_of_which_the_text_is_made() -> None:
    drawing = circuit("x*x + 3*x", x=2)
    found = drawing.circuit
    forward, backward = forward_walk(found), backward_walk(found)
    assert [(s.kind, step_name(s, "f")) for s in forward] == [
        ("value", name) for name in ("x", "q1", "q2", "f")
    ]
    assert [step_name(s, "f") for s in backward] == [
        f"df/d{name}" for name in ("f", "q1", "q2", "x", "x", "x")
    ]
    assert [s.kind for s in backward] == ["start", *["handed"] * 5]
    sums = [(s.before, s.total) for s in backward if s.wire.name == "x"]
    assert [(None if b is None else b.item(), t.item()) for b, t in sums] == [
        *((None, 3), (3, 5), (5, 7))
    ]
    assert [step_text(s, "f") for s in forward] == forward_steps(found)
    assert [step_text(s, "f") for s in backward] == backward_steps(found)
    for step in backward[1:]:
        assert step.gate.inputs[step.place] == step.wire
        own = step.gate.passed[step.place]
        assert step.total == (own if step.before is None else step.before + own)


def test_boxes_and_links_say_of_which_gates_they_are() -> None:
    found = circuit("x*x + 3*x", x=2).circuit
    picture = whole(found)
    assert [gate for box in picture.boxes for gate in box.gates] == found.gates
    for link in picture.links[:-1]:
        gate, place = link.into
        assert picture.boxes[link.end].gates == (gate,)
        assert picture.boxes[link.start].gates == (gate.inputs[place].gate,)
    assert picture.links[-1].into is None
    y = leaf(1.0)
    for _ in range(50):
        y = cr.tanh(y) * 1.01
    circuit_ = circuit_of(y)
    seen = [gate for box in folded(circuit_, 7).boxes for gate in box.gates]
    assert seen == [gate for gate in circuit_.gates if gate.kind != "constant"]
