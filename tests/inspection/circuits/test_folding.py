"""Large graphs of many forms as pictures: nothing lost, no row too wide, all in seconds."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from xml.etree import ElementTree

import numpy as np
import pytest

import chainrule as cr
from chainrule.inspection.circuits import Drawing, circuit_of
from chainrule.inspection.circuits.folding import ACROSS, FEW, folded
from chainrule.inspection.circuits.layout import arranged, ranks_of


def leaf(value: float = 1.0) -> cr.Tensor:
    return cr.tensor(float(value), requires_grad=True)


def chain(count: int) -> cr.Tensor:
    y = leaf()
    for _ in range(count // 2):
        y = y * 1.0001 + 0.1
    return y


def flat_sum(count: int) -> cr.Tensor:
    """x0 + x1 + x2 + ..., each a leaf."""
    y = leaf()
    for k in range(count):
        y = y + leaf(k)
    return y


def shared(count: int) -> cr.Tensor:
    """One leaf and one inner value that are read everywhere."""
    x = leaf()
    h = y = x * 2
    for _ in range(count // 4):
        y = y + x * h + h
    return y


def tree(count: int) -> cr.Tensor:
    """Neighbours are added, level by level."""
    row = [leaf(k) for k in range(count)]
    while len(row) > 1:
        pairs = zip(row[::2], row[1::2], strict=False)
        row = [a + b for a, b in pairs] + row[len(row) - len(row) % 2 :]
    return row[0]


def branches(count: int) -> cr.Tensor:
    x = leaf()
    return cr.stack([cr.tanh(x * k) for k in range(count // 2)]).sum()


def joined(count: int) -> cr.Tensor:
    """Very many leaves in one operation."""
    return cr.stack([leaf(k) for k in range(count)]).sum()


def tangled(count: int) -> cr.Tensor:
    rng = np.random.default_rng(0)
    values = [leaf(k) for k in range(50)]
    for _ in range(count):
        i, j = rng.integers(len(values), size=2).tolist()
        values.append(values[i] + values[j])
    return cr.stack(values[-count // 2 :]).sum()


FORMS = [chain, flat_sum, shared, tree, branches, joined, tangled]
WIDEST = 2500  # pixels: six boxes, and the links beside them


def counted(drawing: Drawing) -> tuple[int, int]:
    """The operations and the inputs that a folded picture's boxes say they hold."""
    operations = inputs = 0
    for box in drawing._picture.boxes:
        said = " ".join(box.lines)
        if box.kind == "gate":
            operations += 1
        elif box.kind == "group":
            kinds = [part.split(" ")[0] for part in said.split(", ")]
            operations += sum(int(n.replace(",", "")) if n[0].isdigit() else 1 for n in kinds)
        elif box.kind == "source":
            many = re.match(r"([\d,]+) inputs", said)
            inputs += int(many[1].replace(",", "")) if many else 1
    return operations, inputs


def check(drawing: Drawing) -> None:
    picture, layout = drawing._picture, drawing._layout
    gates = drawing.circuit.gates
    wanted = sum(g.op is not None for g in gates), sum(g.kind == "input" for g in gates)
    assert counted(drawing) == wanted
    ranks = ranks_of(picture)
    rows: dict[tuple[int, bool], int] = {}
    for box, rank in zip(picture.boxes, ranks, strict=True):
        key = rank, box.kind == "source"
        rows[key] = rows.get(key, 0) + 1
    assert all(count <= (FEW if source else ACROSS) for (_, source), count in rows.items())
    assert all(ranks[link.start] < ranks[link.end] for link in picture.links)
    assert layout.width < WIDEST
    for one, place in enumerate(layout.places):
        assert place.width / 2 < place.x < layout.width - place.width / 2
        for other in layout.places[:one]:
            beside = abs(place.x - other.x) >= (place.width + other.width) / 2
            assert beside or abs(place.y - other.y) >= (place.height + other.height) / 2


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("count", [100, 3000])
def test_a_row_holds_few_boxes_and_nothing_is_lost(
    form: Callable[[int], cr.Tensor], count: int
) -> None:
    y = form(count)
    drawing = cr.draw(y, names={})
    assert drawing.folded
    check(drawing)
    ElementTree.fromstring(drawing.svg)
    for most in (1, 2, 7, 60, 200):
        if most < len(drawing.circuit.gates):
            check(cr.draw(y, names={}, most=most))


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMS)
def test_fifty_thousand_gates_are_drawn_in_seconds(form: Callable[[int], cr.Tensor]) -> None:
    y = form(2000 if form is joined else 25_000)
    begun = time.perf_counter()
    drawing = cr.draw(y, names={})
    svg = drawing.svg
    assert time.perf_counter() - begun < 20  # 3 s beside other work; the bar is 5 s
    check(drawing)
    assert len(svg) < 1_000_000


def test_stretches_end_where_few_values_cross() -> None:
    y = leaf()
    for _ in range(100):
        y = cr.tanh(y * 2 + y)  # inside a round two values are alive, between rounds one
    titles = [b.title for b in cr.draw(y, names={}, most=20)._picture.boxes if b.kind == "group"]
    assert len(titles) == 20
    ends = [int(title.split(" to ")[1]) for title in titles]
    assert all(end % 3 == 0 for end in ends)


def test_many_outputs_are_one_box() -> None:
    graph = cr.capture(lambda x: tuple(x * k for k in range(100)), 2.0)
    drawing = cr.draw(graph)
    check(drawing)
    last = drawing._picture.boxes[-1]
    assert (last.title, last.lines) == ("mul ... mul_100", ("100 outputs",))
    few = cr.draw(cr.capture(lambda x: (x * 2, x * 3), 2.0), most=1)
    assert [b.title for b in few._picture.boxes if b.kind == "output"] == ["mul", "mul_2"]


def test_a_leaf_alone_is_folded_too() -> None:
    assert str(cr.draw(leaf(2.0), depth=1, names={})) == "w1 - one number\nw1 - 2"
    assert str(cr.draw(cr.tensor(2.0), depth=1, names={})) == "c1 - one number\nc1 - 2"


def test_what_leaves_a_box_is_said_once() -> None:
    x = cr.ones(2, 3, requires_grad=True)
    a = x * 2
    y = (a.sum(0) * a.sum(1).sum()).sum()
    picture = folded(circuit_of(y), 3)
    said = {box.title: box.gives for box in picture.boxes}
    assert said["w1"] == "2 x 3"
    wide = cr.draw(flat_sum(500), names={}, most=5)
    assert re.fullmatch(r"[\d,]+ numbers", wide._picture.boxes[0].gives)
    assert wide.svg.count(f">{wide._picture.boxes[0].gives}<") == 1


def test_long_links_of_a_box_go_together() -> None:
    drawing = cr.draw(shared(3000), names={})
    layout = arranged(drawing._picture)
    assert layout.width < 500
    box = next(k for k, b in enumerate(drawing._picture.boxes) if b.kind == "source")
    pairs = zip(drawing._picture.links, layout.routes, strict=True)
    longest = sorted((route for link, route in pairs if link.start == box), key=len)[-2:]
    shorter = len(longest[0]) - 1
    assert shorter > 20
    assert longest[0][:shorter] == longest[1][:shorter]
    parts = list(layout.parts())
    assert sum(map(len, parts)) < sum(map(len, layout.routes)) / 5  # drawn once
    assert [part[-1] for part in parts] == [route[-1] for route in layout.routes]
