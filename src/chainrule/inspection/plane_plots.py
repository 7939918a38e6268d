"""Pictures of a network's linear regions; matplotlib is asked for only when one is drawn."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

import numpy as np

from chainrule.errors import expect
from chainrule.inspection.figures import new_figure, plain_legend, plain_title
from chainrule.ops.arguments import integer

if TYPE_CHECKING:
    from chainrule.inspection.regions import Regions

# Okabe and Ito's colours, 2008, which colour-blind people can tell apart; paler for areas
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#000000", "#E69F00", "#56B4E9")
_AREAS = ("#B3D5E8", "#F6E0A4", "#B2E2D4", "#F2CFB2", "#EBD2E0", "#DCDCDC", "#DDF0FB", "#F8F4C4")
_INKS = ("#000000", "#C44500", "#00548A", "#00694D")
_LINES = ("-", "--", ":", "-.")


def regions_figure(found: Regions, output: int | None, title: str) -> Any:
    """Draw the regions; see `Regions.plot`."""
    outputs = len(found.cells[0].bias)
    rule = f"one of {outputs} outputs"
    number = 0 if output is None else integer(output, "plot", "an output's number")
    expect(0 <= number < outputs, "plot", rule, output=output)
    figure = new_figure(7.2, 6.2)
    axes = figure.subplots()
    if output is None:
        _fill_areas(axes, found)
    else:
        _fill_values(figure, axes, found, output)
    _draw_kinks(axes, found, halo=output is not None)
    x0, x1, y0, y1 = found.bounds
    axes.set_xlim(x0, x1)
    axes.set_ylim(y0, y1)
    axes.set_xlabel("s: from origin to a" if found.marks else "x0")
    axes.set_ylabel("t: from origin to b" if found.marks else "x1")
    _name_inputs(axes, found)
    regions = "region" if found.count == 1 else "regions"
    text = f"{found.count:,} linear {regions}, at most {found.bound:,} ({found.bound_name})"
    if found.affine_count != found.count:
        text += f"\n{found.affine_count:,} where neighbours of one affine map are joined"
    plain_title(axes, f"{title}\n{text}".strip(), fontsize="medium")
    return figure


def _fill_areas(axes: Any, found: Regions) -> None:
    """Fill the cells, those of one linear region alike and neighbouring regions differently."""
    beside: dict[int, set[int]] = {}
    for i, j in found.neighbours:
        one, other = found.cells[i].region, found.cells[j].region
        if one != other:
            beside.setdefault(one, set()).add(other)
            beside.setdefault(other, set()).add(one)
    colour: dict[int, int] = {}
    for region in dict.fromkeys(cell.region for cell in found.cells):
        taken = [colour[other] for other in beside.get(region, ()) if other in colour]
        # the colour that is rarest nearby, and among those the next in turn
        turn = [(region + k) % len(_AREAS) for k in range(len(_AREAS))]
        colour[region] = min(turn, key=taken.count)
    patches = importlib.import_module("matplotlib.collections")
    polygons = [cell.polygon for cell in found.cells]
    faces = [_AREAS[colour[cell.region]] for cell in found.cells]
    areas = patches.PolyCollection(polygons, facecolors=faces, edgecolors=faces, linewidths=0.3)
    axes.add_collection(areas)


def _fill_values(figure: Any, axes: Any, found: Regions, output: int) -> None:
    """Shade the cells by an output's value, exactly: each is a fan of triangles."""
    points: list[Any] = []
    values: list[float] = []
    triangles: list[tuple[int, int, int]] = []
    for cell in found.cells:
        first = len(points)
        points += list(cell.polygon)
        values += list(cell.polygon @ cell.weight[output] + cell.bias[output])
        triangles += [(first, first + k, first + k + 1) for k in range(1, len(cell.polygon) - 1)]
    x, y = np.array(points).T
    picture = axes.tripcolor(x, y, triangles, np.array(values), shading="gouraud", cmap="cividis")
    bar = figure.colorbar(picture, ax=axes, pad=0.02)
    bar.set_label(f"output {output}")


def _name_inputs(axes: Any, found: Regions) -> None:
    """Mark the three inputs that span the plane, as far as the picture shows them."""
    x0, x1, y0, y1 = found.bounds
    for name, (x, y) in zip(found.marks, ((0, 0), (1, 0), (0, 1)), strict=False):
        if x0 <= x <= x1 and y0 <= y <= y1:
            axes.plot(x, y, "o", color="black", markeredgecolor="white", markersize=8, zorder=4)
            box = {"boxstyle": "round,pad=0.2", "facecolor": "white", "edgecolor": "none"}
            axes.annotate(
                name, (x, y), (6, 6), textcoords="offset points", bbox={**box, "alpha": 0.8}
            )


def _draw_kinks(axes: Any, found: Regions, halo: bool) -> None:
    """Draw the kinks of each layer in a colour and dashes of its own, on dark areas with a rim."""
    collections = importlib.import_module("matplotlib.collections")
    effects = importlib.import_module("matplotlib.patheffects")
    many = len(found.cuts)
    thin = 0.5 if many > 2000 else 1.0 if many > 400 else 1.6
    named: list[tuple[Any, str]] = []
    for number, layer in enumerate(found.layers):
        segments = [cut.ends for cut in found.cuts if cut.layer == number]
        units = len({cut.unit for cut in found.cuts if cut.layer == number})
        style: dict[str, Any] = {"colors": _INKS[number % 4], "linestyles": _LINES[number % 4]}
        lines = collections.LineCollection(segments, linewidths=thin, **style)
        if halo:
            lines.set_path_effects([effects.withStroke(linewidth=thin + 1.8, foreground="white")])
        axes.add_collection(lines)
        named.append((lines, f"kinks of layer {layer.name!r}: {units} of {layer.units} units"))
    if named:
        plain_legend(axes.get_figure(), named, loc="outside lower center", frameon=False)
