"""Pictures of a race of optimisers; matplotlib is asked for only when one is drawn."""

from __future__ import annotations

import importlib
import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from chainrule.engine.op import Array
from chainrule.formats.atomic import write_atomic
from chainrule.inspection.figures import new_figure, plain_legend, plain_title
from chainrule.inspection.given import text
from chainrule.inspection.plane_plots import COLOURS

if TYPE_CHECKING:
    from chainrule.inspection.surface import Race

_DASHES: tuple[Any, ...] = ("-", (0, (5, 1)), "-", (0, (5, 1)), (0, (2, 1)), "-", (0, (5, 1)))
_LEVELS = 22
_PALE = ("#ffffff", "#dfe5ec", "#9aa7b5")  # low to high


def race_figure(race: Race, title: str) -> Any:
    """Draw the whole race; see `Race.plot`."""
    figure, axes = _ground(race, title)
    runners = _runners(axes, race)
    for (line, head), path in zip(runners, race.paths.values(), strict=True):
        line.set_data(*path.T)
        head.set_data(*_held(race, path[-1]))
    _legend(figure, axes, race, runners)
    return figure


def animate_race(race: Race, where: str | Path, frames: int, fps: int) -> None:
    """Write the race as a GIF: the ground is drawn once, the runners for each frame."""
    figure, axes = _ground(race, "")
    runners = _runners(axes, race)
    _legend(figure, axes, race, runners)
    clock = axes.text(0.02, 0.98, "", transform=axes.transAxes, va="top", fontweight="bold")
    clock.set_bbox({"facecolor": "white", "edgecolor": "none", "alpha": 0.8})
    moving = [*[artist for pair in runners for artist in pair], clock]
    for artist in moving:
        artist.set_animated(True)
    canvas = importlib.import_module("matplotlib.backends.backend_agg").FigureCanvasAgg(figure)
    canvas.draw()
    empty = canvas.copy_from_bbox(figure.bbox)
    last = max(len(path) for path in race.paths.values()) - 1
    times = np.unique(np.linspace(0, last, min(frames, last + 1)).round().astype(int))
    pillow, pictures = importlib.import_module("PIL.Image"), []
    for time in times:
        canvas.restore_region(empty)
        for (line, head), path in zip(runners, race.paths.values(), strict=True):
            line.set_data(*path[: time + 1].T)
            head.set_data(*_held(race, path[min(time, len(path) - 1)]))
        clock.set_text(f"step {time}")
        for artist in moving:
            axes.draw_artist(artist)
        pictures.append(pillow.fromarray(np.asarray(canvas.buffer_rgba())[..., :3].copy()))
    palette = _palette()
    flat = [picture.quantize(palette=palette, dither=pillow.Dither.NONE) for picture in pictures]
    stays = [round(1000 / fps)] * (len(flat) - 1) + [2000]
    buffer = io.BytesIO()
    flat[0].save(
        buffer, "GIF", save_all=True, append_images=flat[1:], duration=stays, loop=0, optimize=False
    )
    write_atomic(where, buffer.getvalue())


def _palette() -> Any:
    """Give 256 colours that hold the paths' own, however few dots a path is.

    A palette made from a picture would join those that are rare, a blue and a green.
    """
    rgb = importlib.import_module("matplotlib.colors").to_rgb
    white, stops = np.ones(3), np.array([rgb(c) for c in _PALE])
    inks = [
        t * np.array(rgb(c)) + (1 - t) * white for c in COLOURS for t in (1, 0.8, 0.6, 0.4, 0.2)
    ]
    greys = [np.full(3, t) for t in np.linspace(0, 1, 61)]
    at = np.linspace(0, len(stops) - 1, 160)
    pale = np.stack([np.interp(at, range(len(stops)), channel) for channel in stops.T], axis=1)
    colours = np.array([*inks, *greys, *pale])
    holder = importlib.import_module("PIL.Image").new("P", (1, 1))
    holder.putpalette((255 * colours).round().astype(int).ravel().tolist())
    return holder


def _ground(race: Race, title: str) -> tuple[Any, Any]:
    """Draw the surface with its start and minima."""
    surface = race.surface
    x0, x1, y0, y1 = surface.plane
    figure = new_figure(9.6, 5.8)
    axes = figure.subplots()
    x, y, z = race.grid()
    levels = _levels(z)
    if len(levels) > 1:
        _contours(figure, axes, x, y, z, levels)
    axes.set_xlim(x0, x1)
    axes.set_ylim(y0, y1)
    axes.set_xlabel("x")
    axes.set_ylabel("y")
    plain_title(axes, text("plot", "title", title) or surface.name)
    plain = {"linestyle": "none", "color": "black", "markeredgecolor": "white", "zorder": 5}
    axes.plot(*surface.start, "o", label="start", markersize=9, **plain)
    if surface.minima:
        label = "minimum" if len(surface.minima) == 1 else "minima"
        axes.plot(*np.array(surface.minima).T, "*", label=label, markersize=17, **plain)
    return figure, axes


def _levels(z: Array) -> Array:
    """Choose heights that leave areas of one size between them, whatever the surface is."""
    finite = z[np.isfinite(z)]
    if not len(finite):
        return finite
    return np.unique(np.quantile(finite, np.linspace(0.0, 1.0, _LEVELS) ** 1.5))


def _contours(figure: Any, axes: Any, x: Array, y: Array, z: Array, levels: Array) -> None:
    colors = importlib.import_module("matplotlib.colors")
    pale = colors.LinearSegmentedColormap.from_list("pale", _PALE)
    norm = colors.BoundaryNorm(levels, 256)
    z = np.ma.masked_invalid(z)
    filled = axes.contourf(x, y, z, levels=levels, cmap=pale, norm=norm)
    axes.contour(x, y, z, levels=levels[1:-1], colors="#7c8896", linewidths=0.4)
    bar = figure.colorbar(filled, ax=axes, pad=0.02, format="%.2g", location="left")
    bar.set_ticks(levels[::3])
    bar.set_label("loss")


def _runners(axes: Any, race: Race) -> list[tuple[Any, Any]]:
    return [_runner(axes, race, number, name) for number, name in enumerate(race.paths)]


def _runner(axes: Any, race: Race, number: int, name: str) -> tuple[Any, Any]:
    """Give the line and the head of an optimiser, still without points."""
    colour, dash = COLOURS[number % len(COLOURS)], _DASHES[number % len(_DASHES)]
    (line,) = axes.plot(
        [], [], linestyle=dash, color=colour, linewidth=1.7, marker=".", markersize=6,
        markevery=_every(race), label=_label(race, name), zorder=3,
    )  # fmt: skip
    stopped = name in race.notes
    (head,) = axes.plot(
        [],
        [],
        "X" if stopped else "D",
        color=colour,
        markeredgecolor="white",
        markersize=8,
        zorder=4,
        clip_on=False,
    )
    return line, head


def _held(race: Race, point: Array) -> Array:
    """Give a point (2, 1); one that left the plane is shown at its border."""
    x0, x1, y0, y1 = race.surface.plane
    return np.clip(point, [x0, y0], [x1, y1])[:, None]


def _label(race: Race, name: str) -> str:
    return f"{name}: {race.notes.get(name) or format(race.losses[name][-1], '.3g')}"


def _every(race: Race) -> int:
    """After how many steps each path has a dot: where dots are near, it goes slowly."""
    return max(_steps(race) // 20, 1)


def _steps(race: Race) -> int:
    return max(len(path) for path in race.paths.values()) - 1


def _legend(figure: Any, axes: Any, race: Race, runners: list[tuple[Any, Any]]) -> None:
    every = _every(race)
    dots = "a dot at every step" if every == 1 else f"a dot every {every} steps"
    title = f"loss after {_steps(race)} steps, {dots}"
    lines = [line for line, _ in runners]
    marks = axes.get_lines()[: -2 * len(runners)]  # the start and the minima were drawn first
    named = [(line, str(line.get_label())) for line in [*marks, *lines]]
    place: dict[str, Any] = {"loc": "outside right upper", "alignment": "left"}
    plain_legend(figure, named, frameon=False, title=title, handlelength=3.2, **place)
