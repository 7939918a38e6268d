"""Optimisers raced over a surface of two numbers, with the classes that train networks.

The lectures' picture has SGD, momentum, NAG, Adagrad, Adadelta and RMSprop on one surface.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from chainrule.engine.op import Array
from chainrule.engine.state import no_grad
from chainrule.engine.tensor import Tensor
from chainrule.errors import ChainruleError, DataError, KindError, expect, failure
from chainrule.inspection.given import counts, row, setting, several
from chainrule.inspection.surface_plots import animate_race, race_figure
from chainrule.optim.adadelta import Adadelta
from chainrule.optim.adagrad import Adagrad
from chainrule.optim.adam import Adam
from chainrule.optim.optimizer import Optimizer
from chainrule.optim.rmsprop import RMSprop
from chainrule.optim.sgd import SGD

Height = Callable[[Tensor, Tensor], Tensor]
Factory = Callable[[list[Tensor]], Optimizer]
Plane = tuple[float, float, float, float]


@dataclass(frozen=True)
class Surface:
    """A loss of two numbers, where to look at it and where to begin.

    `plane` is (x0, x1, y0, y1); `minima` are the lowest points, where they are known; `rate` is a
    step that suits gradient descent, and `steps` how many of them show something.
    """

    name: str
    height: Height
    plane: Plane
    start: tuple[float, float]
    rate: float
    minima: tuple[tuple[float, float], ...] = ()
    steps: int = 120


def beale(x: Tensor, y: Tensor) -> Tensor:
    """Beale's function, 1958: flat far out, steep walls, one minimum at (3, 0.5)."""
    a, b, c = 1.5 - x + x * y, 2.25 - x + x * y**2, 2.625 - x + x * y**3
    return a * a + b * b + c * c


def rosenbrock(x: Tensor, y: Tensor) -> Tensor:
    """Rosenbrock's bent valley, 1960: easy to find, slow to follow; its minimum is at (1, 1)."""
    return (1 - x) ** 2 + 100 * (y - x**2) ** 2


def himmelblau(x: Tensor, y: Tensor) -> Tensor:
    """Himmelblau's function, 1972: four minima of the same depth, 0."""
    return (x**2 + y - 11) ** 2 + (x + y**2 - 7) ** 2


def saddle(x: Tensor, y: Tensor) -> Tensor:
    """A saddle: down to (0, 0) along x, from there down along y, without end."""
    return x**2 - y**2


def valley(x: Tensor, y: Tensor) -> Tensor:
    """A long straight valley, forty times as steep across as along, with its minimum at (0, 0)."""
    return x**2 / 40 + y**2


_HIMMELBLAU = (
    (3.0, 2.0),
    (-2.805118086952745, 3.131312518250573),
    (-3.779310253377747, -3.283185991286170),
    (3.584428340330492, -1.848126526964404),
)

SURFACES = {
    s.name: s
    for s in (
        Surface("beale", beale, (-1.0, 4.5, -3.0, 3.0), (0.9, 1.5), 0.004, ((3.0, 0.5),), 200),
        Surface(
            "rosenbrock",
            rosenbrock,
            (-2.0, 2.0, -1.0, 3.0),
            (-1.2, 1.6),
            0.0008,
            ((1.0, 1.0),),
            300,
        ),
        Surface("himmelblau", himmelblau, (-6.0, 6.0, -6.0, 6.0), (0.2, -0.9), 0.002, _HIMMELBLAU),
        Surface("saddle", saddle, (-1.5, 1.5, -1.5, 1.5), (-1.2, 0.001), 0.02),
        Surface("valley", valley, (-11.0, 7.0, -3.0, 3.0), (-9.5, 2.2), 0.3, ((0.0, 0.0),)),
    )
}
"""The surfaces that have names."""


def default_optimizers(rate: float, plane: Plane) -> dict[str, Factory]:
    """Give the lectures' six optimisers and Adam, with rates for a surface.

    Those that follow the gradient's size take `rate`; those that divide by it take steps of about
    their rate whatever the surface is, so that it is a share of the plane.

    >>> list(default_optimizers(0.01, (-1, 1, -1, 1)))
    ['SGD', 'momentum', 'Nesterov', 'Adagrad', 'Adadelta', 'RMSprop', 'Adam']
    """
    size = (plane[1] - plane[0] + plane[3] - plane[2]) / 2
    return {
        "SGD": lambda w: SGD(w, lr=rate),
        "momentum": lambda w: SGD(w, lr=rate, momentum=0.9),
        "Nesterov": lambda w: SGD(w, lr=rate, momentum=0.9, nesterov=True),
        "Adagrad": lambda w: Adagrad(w, lr=0.08 * size),
        # from a first step of a hundredth of the plane; 1e-6, its default, begins far slower
        "Adadelta": lambda w: Adadelta(w, lr=1.0, eps=1e-5 * size**2),
        "RMSprop": lambda w: RMSprop(w, lr=0.003 * size),
        "Adam": lambda w: Adam(w, lr=0.02 * size),
    }


@dataclass(frozen=True, eq=False)
class Race:
    """What `loss_surface` found.

    `paths` has for each optimiser its points, (steps + 1, 2) from the start on, and `losses` their
    heights, (steps + 1,): fewer where it left the plane (its first point outside is the last) or
    was not finite any more (which is left out).  `notes` tells of these, by name.
    """

    surface: Surface
    paths: dict[str, Array]
    losses: dict[str, Array]
    notes: dict[str, str]

    def grid(self, n: int = 161) -> tuple[Array, Array, Array]:
        """Give x, y and the surface's height over the plane, each (n, n).

        Raises KindError for what is no whole number, ShapeError for one below 2.
        """
        (n,) = counts("grid", least=2, n=n)
        x0, x1, y0, y1 = self.surface.plane
        x, y = np.meshgrid(np.linspace(x0, x1, n), np.linspace(y0, y1, n))
        with no_grad():
            try:  # all points at once, if the function works element by element
                z = self.surface.height(Tensor(x), Tensor(y)).numpy()
            except ChainruleError:
                z = np.zeros(())
            if z.shape != x.shape:
                pairs = zip(x.ravel(), y.ravel(), strict=True)
                heights = [self.surface.height(_number(a), _number(b)).item() for a, b in pairs]
                z = np.array(heights, dtype=np.float64).reshape(x.shape)
        return x, y, z

    def plot(self, title: str = "") -> Any:
        """Draw contours, paths, start and minima as a matplotlib figure.

        Save it by `plot().savefig("race.png")`.  Raises DataError where matplotlib is missing.

        >>> loss_surface("valley", steps=5).plot().axes[0].get_xlabel()
        'x'
        """
        return race_figure(self, title)

    def animate(self, path: str | Path, frames: int = 60, fps: int = 12) -> None:
        """Write the race as a GIF that repeats, in at most `frames` pictures.

        Raises DataError for a name that does not end in .gif and where matplotlib is missing,
        ShapeError for fewer than two frames, KindError for what is no whole number.
        """
        if Path(path).suffix.lower() != ".gif":
            raise DataError(f"animations are written as .gif; {str(path)!r} ends in something else")
        (most,), (rate,) = counts("animate", least=2, frames=frames), counts("animate", fps=fps)
        animate_race(self, path, most, rate)

    def __str__(self) -> str:
        width = max(map(len, self.paths))
        lines = [f"{self.surface.name} from {_pair(self.surface.start)}"]
        for name, path in self.paths.items():
            text = f"loss {self.losses[name][-1]:.4g} at {_pair(path[-1])}"
            end = self.notes.get(name) or f"after {len(path) - 1} steps"
            lines.append(f"  {name:<{width}}  {text}, {end}")
        return "\n".join(lines)

    __repr__ = __str__


def _pair(point: Any) -> str:
    return f"({point[0]:.4g}, {point[1]:.4g})"


def _number(value: float) -> Tensor:
    return Tensor(np.asarray(value, dtype=np.float64))


def loss_surface(
    surface: str | Height | Surface = "beale",
    optimizers: Mapping[str, Factory] | None = None,
    *,
    steps: int | None = None,
    start: Sequence[float] | None = None,
    plane: Sequence[float] | None = None,
    rate: float | None = None,
    minima: Sequence[Sequence[float]] | None = None,
) -> Race:
    """Race optimisers over a surface of two numbers, in float64, and keep their paths.

    `surface` is a name of `SURFACES` ("beale", "rosenbrock", "himmelblau", "saddle", "valley") or
    a function of two tensors that gives a tensor of one element.  `optimizers` names functions
    that take a list of tensors and give an optimiser; by default those of `default_optimizers`
    with `rate`.  `steps`, `start`, `plane` (x0, x1, y0, y1) and `minima` are the surface's own if
    left out; a function without a plane is looked at from -2 to 2.

    An optimiser that leaves the plane or is not finite any more stops there; `notes` tells.
    Raises DataError for an unknown name, KindError for a function that gives no tensor and for
    arguments of another kind, ShapeError for a start outside the plane and fewer than one step.

    >>> race = loss_surface("valley", steps=100)
    >>> race.paths["Adam"].shape, bool(race.losses["Adam"][-1] < 0.01 * race.losses["Adam"][0])
    ((101, 2), True)
    >>> import chainrule as cr
    >>> bowl = loss_surface(
    ...     lambda x, y: x * x + y * y, {"half": lambda w: cr.optim.SGD(w, lr=0.25)}, start=(1, 1),
    ...     steps=2,
    ... )
    >>> bowl.paths["half"].tolist(), bowl.losses["half"].tolist()
    ([[1.0, 1.0], [0.5, 0.5], [0.25, 0.25]], [2.0, 0.5, 0.125])
    """
    ground = _surface(surface, start, plane, rate, minima)
    (most,) = counts("loss_surface", steps=ground.steps if steps is None else steps)
    racers = default_optimizers(ground.rate, ground.plane) if optimizers is None else optimizers
    fine = isinstance(racers, Mapping) and all(callable(each) for each in racers.values())
    rule = "functions that give an optimiser, by name"
    expect(fine, "loss_surface", rule, error=KindError, optimizers=optimizers)
    expect(len(racers) > 0, "loss_surface", "at least one optimiser", optimizers=racers)
    paths: dict[str, Array] = {}
    losses: dict[str, Array] = {}
    notes: dict[str, str] = {}
    for key, factory in racers.items():
        name = str(key)
        paths[name], losses[name], note = _run(ground, name, factory, most)
        if note:
            notes[name] = note
    return Race(ground, paths, losses, notes)


def _surface(
    surface: Any,
    start: Sequence[float] | None,
    plane: Sequence[float] | None,
    rate: float | None,
    minima: Sequence[Sequence[float]] | None,
) -> Surface:
    """Give the surface that was asked for, with what was said instead of its own."""
    box: Any = None if plane is None else row("loss_surface", "plane", plane)
    if box is not None:
        fine = len(box) == 4 and np.isfinite(box).all() and box[0] < box[1] and box[2] < box[3]
        rule = "a plane (x0, x1, y0, y1) with x0 < x1, y0 < y1"
        expect(bool(fine), "loss_surface", rule, plane=plane)
    base = _base(surface, box)
    given: dict[str, Any] = {}
    if box is not None:
        given["plane"] = box
    if start is not None:
        given["start"] = row("loss_surface", "start", start)
    if rate is not None:
        setting("loss_surface", 0.0, rate=rate)
        expect(rate > 0, "loss_surface", "a rate above 0", rate=rate)
        given["rate"] = float(rate)
    if minima is not None:
        listed = several("loss_surface", "minima", minima)
        points = [row("loss_surface", "minima", point) for point in listed]
        fine = all(len(point) == 2 and np.isfinite(point).all() for point in points)
        expect(fine, "loss_surface", "minima of two finite numbers each", minima=minima)
        given["minima"] = tuple(points)
    made = replace(base, **given)
    fine = len(made.start) == 2 and _inside(made.start, made.plane)
    rule = "a start (x, y) in the plane"
    expect(fine, "loss_surface", rule, start=made.start, plane=made.plane)
    return made


def _base(surface: Any, box: Any) -> Surface:
    if isinstance(surface, str):
        if surface not in SURFACES:
            raise DataError(f"no surface is called {surface!r}; there are {', '.join(SURFACES)}")
        return SURFACES[surface]
    if isinstance(surface, Surface):
        return surface
    if not callable(surface):
        rule = "a surface's name or a function of two tensors"
        raise failure("loss_surface", rule, error=KindError, surface=surface)
    name = str(getattr(surface, "__name__", "surface")).replace("<lambda>", "surface")
    x0, x1, y0, y1 = plane = box or (-2.0, 2.0, -2.0, 2.0)
    corner = (x0 + (x1 - x0) / 8, y1 - (y1 - y0) / 8)
    return Surface(name, surface, plane, corner, 0.01)


def _inside(point: Any, plane: Sequence[float]) -> bool:
    x0, x1, y0, y1 = plane
    return bool(x0 <= point[0] <= x1 and y0 <= point[1] <= y1)


def _run(ground: Surface, name: str, factory: Factory, steps: int) -> tuple[Array, Array, str]:
    """Walk with one optimiser; give points, heights, and why it stopped early."""
    w = Tensor(np.array(ground.start, dtype=np.float64), requires_grad=True)
    optimizer = factory([w])
    rule = f"optimizers[{name!r}] to give an optimiser of the tensors that it was handed"
    fine = isinstance(optimizer, Optimizer) and any(
        w is p for group in optimizer.param_groups for p in group["params"]
    )
    expect(fine, "loss_surface", rule, error=KindError, optimizer=type(optimizer))

    def height() -> Tensor:
        optimizer.zero_grad()
        loss = _height(ground, w)
        loss.backward()
        return loss

    points: list[Array] = []
    heights: list[float] = []
    for step in range(steps + 1):
        point = w.detach().numpy().copy()
        with no_grad(), np.errstate(all="ignore"):
            loss = _height(ground, w).item() if np.isfinite(point).all() else np.nan
        if not np.isfinite(loss):
            expect(step > 0, "loss_surface", "a finite loss at the start", loss=loss)
            return np.array(points), np.array(heights), f"not finite at step {step}"
        points.append(point)
        heights.append(loss)
        if not _inside(point, ground.plane):
            return np.array(points), np.array(heights), f"left the plane at step {step}"
        if step < steps:
            with np.errstate(all="ignore"):
                optimizer.step(height)
    return np.array(points), np.array(heights), ""


def _height(ground: Surface, w: Tensor) -> Tensor:
    loss: Any = ground.height(w[0], w[1])
    if not isinstance(loss, Tensor) or loss.numel() != 1:
        rule = "a function that gives a tensor of one element"
        raise failure("loss_surface", rule, error=KindError, loss=loss)
    scalar: Tensor = loss.reshape(())
    return scalar
