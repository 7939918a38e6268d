"""Pictures placed by Graphviz: no box on another, no label on a box, in any thread."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from xml.etree import ElementTree

import numpy as np
import pytest

import chainrule as cr
from chainrule.inspection.circuits import circuit_of, circuit_of_expression
from chainrule.inspection.circuits.folding import folded
from chainrule.inspection.circuits.layout import LINE, Layout, Point, arranged
from chainrule.inspection.circuits.picture import Box, Link, Picture, whole
from chainrule.inspection.circuits.svg import Anchor, label_spot, local_label
from chainrule.lab import graphs
from chainrule.lab.circuit_examples import EXAMPLES
from chainrule.lab.circuits import walk_of
from chainrule.lab.graphs import graph_svg, placed
from chainrule.nn.tracing import trace

Area = tuple[float, float, float, float]  # left, top, right, bottom
LARGE, SMALL = 7.83, 6.63  # pixels of a letter of DejaVu Sans Mono at 13 and at 11


def boxes_of(layout: Layout) -> list[Area]:
    return [
        (p.x - p.width / 2, p.y - p.height / 2, p.x + p.width / 2, p.y + p.height / 2)
        for p in layout.places
    ]


def labels_of(picture: Picture, layout: Layout) -> list[tuple[str, Area]]:
    """Give the areas of all labels, as the SVG writes them."""
    found = []
    for link, route in zip(picture.links, layout.routes, strict=True):
        (x, y), (u, v) = label_spot(route), route[-1]
        if picture.folded:
            wide = SMALL * len(link.above)
            found.append((link.above, (x + 8, y + 1, x + 8 + wide, y + 12)))
            continue
        for text, base in ((link.above, y - 5), (link.below, y + 14)):
            half = LARGE * len(text) / 2
            found.append((text, (x - half, base - 10, x + half, base + 3)))
        if link.local:
            text = local_label(link)
            found.append((text, (u - 10 - SMALL * len(text), v - 4 - 9, u - 10, v - 4 + 3)))
    return [(text, area) for text, area in found if text]


def meet(one: Area, other: Area) -> bool:
    return (
        one[0] < other[2] - 0.1
        and other[0] < one[2] - 0.1
        and one[1] < other[3] - 0.1
        and other[1] < one[3] - 0.1
    )


def looked_at(picture: Picture) -> Layout:
    """Place a picture, and find everything in it apart from everything else."""
    layout = placed(picture)
    boxes, labels = boxes_of(layout), labels_of(picture, layout)
    for number, one in enumerate(boxes):
        assert one[0] >= 0
        assert one[1] >= 0
        assert one[2] <= layout.width
        assert one[3] <= layout.height
        for other in boxes[:number]:
            assert not meet(one, other)
    for number, (text, area) in enumerate(labels):
        assert area[0] >= 0
        assert area[2] <= layout.width
        assert not [box for box in boxes if meet(area, box)], text
        for said, other in labels[:number]:
            assert not meet(area, other) or (said == text and area == other), (text, said)
    for link, route in zip(picture.links, layout.routes, strict=True):
        one, other = boxes[link.start], boxes[link.end]
        side = 3 if picture.folded else 2  # wires begin at the bottom, or on the right
        across = 0 if picture.folded else 1
        assert route[0][1 - across] == pytest.approx(one[side])
        assert route[-1][1 - across] == pytest.approx(other[side - 2])
        assert one[across] <= route[0][across] <= one[across + 2]
        assert other[across] <= route[-1][across] <= other[across + 2]
        if not picture.folded:
            assert all(a[0] <= b[0] + 0.1 for a, b in pairwise(route)), "a wire goes back"
    return layout


def drawn(seed: int, boxes: int, links: int, folds: bool = False) -> Picture:
    """Draw a picture at random: words of all lengths, links over all distances."""
    chance = random.Random(seed)

    def word(most: int) -> str:
        return "7" * chance.randrange(most)

    kinds = ("source", "constant", "gate", "group", "output")
    found = Picture([], [], folds)
    for number in range(boxes):
        lines = (word(20),) if chance.random() < 0.3 else ()
        found.boxes.append(Box(f"b{number}{word(12)}", chance.choice(kinds), lines))
    for _ in range(links):
        start = chance.randrange(boxes - 1)
        end = chance.randrange(start + 1, boxes)
        found.links.append(Link(start, end, word(30), word(30), word(12)))
    return found


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda e: e.name)
def test_the_lectures_circuits_stand_apart(example: object) -> None:
    walk = walk_of(example.expression, example.values, 7)  # type: ignore[attr-defined]
    looked_at(walk.picture)


@pytest.mark.parametrize("seed", range(12))
def test_pictures_drawn_at_random_stand_apart(seed: int) -> None:
    looked_at(drawn(seed, 2 + 3 * seed, 4 * seed))


@pytest.mark.parametrize("seed", range(8))
def test_folded_pictures_drawn_at_random_stand_apart(seed: int) -> None:
    looked_at(drawn(seed, 2 + 3 * seed, 4 * seed, folds=True))


def networks() -> Iterator[Picture]:
    for name, size, depth in (("lenet5", 32, None), ("resnet20", 32, None), ("resnet20", 32, 1)):
        model = cr.create_model(name)
        channels = 1 if name == "lenet5" else 3
        circuit = circuit_of(trace(model, cr.zeros(1, channels, size, size)))
        yield folded(circuit, 60, depth)


def test_networks_stand_apart() -> None:
    for picture in networks():
        layout = looked_at(picture)
        assert layout.height > layout.width / 3  # from top to bottom


def test_it_goes_from_left_to_right_and_folded_from_top_to_bottom() -> None:
    boxes = [Box("a", "source"), Box("b", "gate"), Box("c", "output")]
    links = [Link(0, 1, "1"), Link(1, 2, "2")]
    wide, high = placed(Picture(boxes, links)), placed(Picture(boxes, links, folded=True))
    assert wide.places[0].x < wide.places[1].x < wide.places[2].x
    assert high.places[0].y < high.places[1].y < high.places[2].y
    assert len({round(p.x) for p in high.places}) == 1


def test_one_box() -> None:
    layout = looked_at(Picture([Box("alone", "source")], []))
    assert layout.routes == []


def test_boxes_without_links() -> None:
    looked_at(Picture([Box(f"b{k}", "source") for k in range(9)], []))


@pytest.mark.parametrize("folds", [False, True])
def test_many_links_between_the_same_boxes(folds: bool) -> None:
    links = [Link(0, 1, f"{k}", f"-{k}", "1") for k in range(9)]
    layout = looked_at(Picture([Box("x", "source"), Box("f", "gate")], links, folds))
    assert len(layout.routes) == 9
    if not folds:
        assert len({route[0] for route in layout.routes}) == 9
        assert len({route[-1] for route in layout.routes}) == 9


def test_a_label_as_long_as_they_come() -> None:
    text = "[[" + "-1.234, " * 6 + "0]]"
    links = [Link(0, 2, text, text, text), Link(1, 2, "1", "1", "1"), Link(0, 3, text, text)]
    looked_at(Picture([Box(n, "gate") for n in "abcd"], links))


def chain(count: int) -> Picture:
    links = [Link(k, k + 1, "1.5", "2.5", "1") for k in range(count - 1)]
    return Picture([Box(f"b{k}", "gate") for k in range(count)], links)


def test_a_thousand_boxes_are_placed_in_a_moment() -> None:
    star = Picture(
        [Box(f"b{k}", "source") for k in range(999)] + [Box("f", "output")],
        [Link(k, 999, "1", "1") for k in range(999)],
    )
    for picture in (chain(1000), star, drawn(1, 1000, 990)):
        begun = time.perf_counter()
        layout = placed(picture)
        assert time.perf_counter() - begun < 10  # half a second beside other work
        assert len(layout.places) == 1000
        looked = boxes_of(layout)
        order = np.argsort([area[0] for area in looked])
        for one, other in pairwise(order.tolist()):
            assert not meet(looked[one], looked[other])


def test_what_is_too_large_for_graphviz_gets_the_other_layout(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("Graphviz was asked")

    monkeypatch.setattr(graphs, "_asked", refuse)
    tangle = drawn(3, 300, 900)
    assert graphs._span(tangle) > graphs.MOST_SPAN
    assert placed(tangle).places == arranged(tangle).places
    assert len(placed(chain(graphs.MOST_BOXES + 1)).places) == graphs.MOST_BOXES + 1
    with pytest.raises(AssertionError, match="Graphviz was asked"):
        placed(chain(3))


def test_many_threads_get_what_one_gets() -> None:
    pictures = [drawn(seed, 12, 20, folds=seed % 2 == 1) for seed in range(16)]
    alone = [placed(picture) for picture in pictures]
    with ThreadPoolExecutor(8) as pool:
        for _ in range(3):
            assert list(pool.map(placed, pictures)) == alone


def test_labels_below_a_folded_box_have_a_line_each() -> None:
    boxes = [Box("x", "source"), *(Box(f"g{k}", "group") for k in range(4))]
    said = ("1 x 3", "2 x 2", "1 x 3", "7 x 7")
    picture = Picture(boxes, [Link(0, k + 1, text) for k, text in enumerate(said)], folded=True)
    layout = looked_at(picture)
    heights = [label_spot(route)[1] - layout.routes[0][0][1] for route in layout.routes]
    assert heights == [pytest.approx(LINE * (k + 0.5)) for k in (0, 1, 0, 2)]


def test_boxes_are_links_with_names_and_what_a_user_wrote_stays_text() -> None:
    evil = '"><script>alert(1)</script>'
    found = circuit_of_expression("x * y", {"x": 2, "y": 3})
    anchors = [Anchor(f"box-{k}", f"/circuit?e={evil}", evil, k == 1, k == 2) for k in range(3)]
    svg = graph_svg(whole(found), evil, [*anchors, None])
    root = ElementTree.fromstring(svg)
    made = root.findall(".//{http://www.w3.org/2000/svg}a")
    assert [a.get("id") for a in made] == ["box-0", "box-1", "box-2"]
    assert [a.get("aria-current") for a in made] == [None, "true", None]
    assert [a.get("class") for a in made] == ["gate-link", "gate-link", "gate-link now"]
    assert {a.get("href") for a in made} == {f"/circuit?e={evil}"}
    assert root.get("role") == "group"
    assert "<script" not in svg


def test_the_rules_of_a_picture_reach_nothing_else_of_its_page() -> None:
    svg = graph_svg(whole(circuit_of_expression("x * 2", {"x": 2})), "x", [])
    style = svg.split("<style>")[1].split("</style>")[0]
    for rule in style.strip().splitlines():
        for selector in rule.split("{")[0].split(","):
            assert selector.strip().split(".")[0] in ("text", "rect", "path"), selector


def test_wires_are_straight_along_their_labels() -> None:
    for seed in range(5):
        picture = drawn(seed, 9, 20)
        for link, route in zip(picture.links, placed(picture).routes, strict=True):
            (x, y), (u, v) = route[0], route[1]
            assert y == v
            assert u - x >= LARGE * max(len(link.above), len(link.below))
            (x, y), (u, v) = route[-2], route[-1]
            assert y == v
            assert u - x >= (SMALL * len(local_label(link)) if link.local else 0) - 0.1


def crossing(route: list[Point], box: Area) -> bool:
    """Say whether a wire runs through a box: looked at in steps along its curves."""
    for (x, y), (u, v) in pairwise(route):
        for part in np.linspace(0, 1, 21):
            bow = 3 * part**2 - 2 * part**3
            spot = (x + (u - x) * part, y + (v - y) * bow)
            if box[0] + 1 < spot[0] < box[2] - 1 and box[1] + 1 < spot[1] < box[3] - 1:
                return True
    return False


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda e: e.name)
def test_no_wire_of_the_lectures_runs_through_a_box(example: object) -> None:
    picture = walk_of(example.expression, example.values, 4).picture  # type: ignore[attr-defined]
    layout = placed(picture)
    boxes = boxes_of(layout)
    for link, route in zip(picture.links, layout.routes, strict=True):
        for number, box in enumerate(boxes):
            if number not in (link.start, link.end):
                assert not crossing(route, box), (link, picture.boxes[number])
