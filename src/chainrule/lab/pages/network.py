"""The network's page: layers, maps and single numbers, there and back."""

from __future__ import annotations

from itertools import groupby
from typing import Any, NamedTuple

import numpy as np
from flask import Blueprint, redirect, render_template
from werkzeug.wrappers import Response

from chainrule.engine.op import Array
from chainrule.errors import ChainruleError, DataError
from chainrule.inspection.circuits.signs import number
from chainrule.inspection.circuits.svg import Anchor, svg_of
from chainrule.inspection.paint import image_uri
from chainrule.lab.choosing import choose
from chainrule.lab.followed import Answer, Followed, Layer, followed
from chainrule.lab.network_layers import (
    FilterView,
    LayerView,
    SmallMap,
    filter_view,
    layer_view,
    small_map,
)
from chainrule.lab.network_numbers import (
    Backward,
    Block,
    Forward,
    Window,
    backward,
    forward,
    strongest,
)
from chainrule.lab.network_tiles import A_PAGE, Form, Spot, large, maps, place_of
from chainrule.lab.query import Query, link
from chainrule.lab.subjects import Subject
from chainrule.lab.workshop import workshop

blueprint = Blueprint("network", __name__)

FORWARD, BACKWARD = "there", "back"

_MOST_CLASSES = 40  # in a list to choose from; of more the number is asked for
_MOST = 10**9


@blueprint.get("/network")
def page() -> Response | tuple[str, int]:
    """Show a network, as far down as the address goes: a picture, a layer, a map, a number."""
    view, problem = View(Query()), ""
    with np.errstate(all="ignore"):  # networks that diverged are shown too
        try:
            view.fill()
        except ChainruleError as error:
            problem = str(error)
        if view.moved:
            return redirect(view.moved)
        body = render_template(
            "network.html",
            page="network",
            problem=problem,
            view=view,
            choice=view.choice,
            state=view.state,
            go=view.go,
            num=number,
        )
    return body, 400 if problem else 200


class NumberView(NamedTuple):
    """One number: where it is, the map that it is in, and its arithmetic one way or the other."""

    spot: Spot
    value: float
    uri: str
    forward: Forward | None
    backward: Backward | None


class View:
    """Reads the address from the general to the particular; what was read can be shown.

    `state` is what of it was found to be right, for links.
    """

    def __init__(self, query: Query) -> None:
        self.query = query
        self.choice = choose(query, workshop())
        self.state: dict[str, Any] = {}
        self.moved = ""  # where the browser is sent instead
        self.subject: Subject | None = None
        self.image = ""
        self.target: int | None = None
        self.run: Followed | None = None
        self.depth, self.page = 1, 1
        self.layer: LayerView | None = None
        self.filters: FilterView | None = None
        self.number: NumberView | None = None

    # What the address asks for

    def fill(self) -> None:
        """Read and compute everything that the address asks for, in order."""
        choice = self.choice
        if choice.subject is None:
            raise DataError(choice.problem)
        subject = self.subject = choice.subject
        self.state["net"] = choice.key
        if choice.x is None:
            raise DataError(choice.problem)
        if self.query.text("picture"):
            self.state["picture"] = choice.picture
        with subject.lock:
            self._run(subject, choice.x)
            if self.query.text("layer"):
                self._look_at_layer(self.query.text("layer"))

    def _run(self, subject: Subject, x: Array) -> None:
        query = self.query
        self.target = query.integer("target", 0, _MOST)
        run = followed(subject, self.choice.picture, x, self.target)
        if self.target is not None:
            self.state["target"] = self.target
        if query.choice("way", (FORWARD, BACKWARD), FORWARD) == BACKWARD:
            self.state["way"] = BACKWARD
        depth = query.integer("depth", 1, run.deepest)
        if depth is not None:
            self.state["depth"] = depth
        self.depth = depth or run.clear_depth
        self.image = image_uri(subject.plain(run.x)[0])
        self.run = run

    def _look_at_layer(self, key: str) -> None:
        assert self.run is not None
        view = layer_view(self.run, key, self.back)
        self.layer, self.state["layer"] = view, key
        channel = self.query.integer("channel", 0, view.form.many - 1)
        usual = 1 if channel is None else channel // A_PAGE + 1
        self.page = self.query.integer("page", 1, view.form.pages) or usual
        if self.page != usual:
            self.state["page"] = self.page
        if channel is not None:
            self.state["channel"] = channel
        part = self.query.integer("slice", 0, _MOST)
        if part is not None:
            self.state["slice"] = part
        self.filters = filter_view(view, self.back, self.page, channel, part or 0)
        if channel is not None and view.values is not None:
            self._look_at_number(view, view.values, channel)

    def _look_at_number(self, view: LayerView, values: Array, channel: int) -> None:
        assert self.run is not None
        spot = strongest(values, channel)
        if view.form.is_maps:
            spot = self._chosen(view.form, spot)
            self.state |= {"row": spot.row, "col": spot.col}
            if self.query.text("at.x") and self.query.text("at.y"):  # the map was clicked
                self.moved = self.go("number")
                return
        part = self.query.integer("part", 0, _MOST)
        if part is not None:
            self.state["part"] = part
        place = place_of(view.gate.shapes[0], spot)
        uri = large(maps(values)[channel], self.back) if view.form.is_maps else ""
        self.number = NumberView(
            spot,
            float(values[place]),
            uri,
            None if self.back else forward(self.run, view.gate, place, part),
            backward(self.run, view.gate, place, part) if self.back else None,
        )

    def _chosen(self, form: Form, spot: Spot) -> Spot:
        """Read which number of a map was clicked, or is named; else the one that is given."""
        query = self.query
        across, down = query.integer("at.x", 0, _MOST), query.integer("at.y", 0, _MOST)
        if across is not None and down is not None:
            row, col = int(down / form.scale), int(across / form.scale)
            return Spot(spot.channel, min(form.height - 1, row), min(form.width - 1, col))
        found_row = query.integer("row", 0, form.height - 1, spot.row)
        found_col = query.integer("col", 0, form.width - 1, spot.col)
        assert found_row is not None
        assert found_col is not None
        return Spot(spot.channel, found_row, found_col)

    # Addresses

    def go(self, _anchor: str | None = None, **changes: Any) -> str:
        """Write the address of this view with changes."""
        return link("network.page", self.state, _anchor=_anchor, **changes)

    def to_layer(self, key: str) -> str:
        """Write the address of another layer."""
        nothing = dict.fromkeys(("page", "channel", "row", "col", "part", "slice"))
        return self.go("layer", **nothing, layer=key)

    def to_number(self, key: str, spot: Spot) -> str:
        """Write the address of one number of a layer."""
        assert self.run is not None
        where: dict[str, Any] = dict.fromkeys(("page", "row", "col", "part", "slice"))
        where["channel"] = spot.channel
        if Form.of(self.run.gates[key].shapes[0]).is_maps:
            where |= {"row": spot.row, "col": spot.col}
        return self.go("number", **where, layer=key)

    # What the templates ask for

    @property
    def back(self) -> bool:
        """Whether gradients are shown, and not values."""
        return self.state.get("way") == BACKWARD

    @property
    def answers(self) -> list[Answer]:
        """The likeliest classes."""
        assert self.run is not None
        assert self.subject is not None
        return self.run.answers(self.subject)

    @property
    def classes(self) -> list[str]:
        """The classes to choose the target from, if they are few."""
        assert self.subject is not None
        known = self.subject.classes
        return list(known) if len(known) <= _MOST_CLASSES else []

    def class_name(self, output: int) -> str:
        """Name a class, or an output."""
        assert self.subject is not None
        known = self.subject.classes
        return known[output] if output < len(known) else str(output)

    def unit_name(self, unit: int) -> str:
        """Name a number of the layer that is shown: a class, if it is the network's output."""
        assert self.run is not None
        assert self.layer is not None
        name = self.class_name(unit)
        last = self.layer.gate is self.run.circuit.outputs[0].gate
        return f"{unit} ({name})" if last and name != str(unit) else str(unit)

    @property
    def svg(self) -> str:
        """The graph of layers, each box a link."""
        assert self.run is not None
        assert self.subject is not None
        run = self.run
        picture, layout = run.drawn(self.depth)
        chosen = None if self.layer is None else self.layer.gate
        anchors = []
        for k, box in enumerate(picture.boxes):
            last = box.gates[-1] if box.gates else run.circuit.outputs[0].gate
            layer = run.layer(run.keys[id(last)])
            here = any(gate is chosen for gate in box.gates)
            said = ", ".join([box.title, *box.lines])
            anchors.append(Anchor(f"box-{k}", self.to_layer(layer.key), said, here))
        return svg_of(picture, layout, f"Layers of {self.subject.title}", anchors)

    @property
    def table(self) -> list[tuple[str, list[Layer]]]:
        """The layers, under the titles of the graph's boxes where these stand for several."""
        assert self.run is not None
        boxes = self.run.drawn(self.depth)[0].boxes
        where = {id(gate): k for k, box in enumerate(boxes) for gate in box.gates}
        found = []
        for k, layers in groupby(self.run.layers, lambda layer: where[id(layer.gate)]):
            listed = list(layers)
            found.append((boxes[k].title if len(listed) > 1 else "", listed))
        return found

    def small_map(self, block: Block, window: Window, gradients: bool) -> SmallMap | None:
        """Paint the map in which a window lies."""
        assert self.run is not None
        return small_map(self.run, block, window, gradients)
