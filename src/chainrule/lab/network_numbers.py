"""One number's arithmetic as a page shows it: windows as grids, of long sums the largest terms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from chainrule.engine.op import Array
from chainrule.inspection.circuits.arithmetic import Arrival, arrivals, handed_on, made
from chainrule.inspection.circuits.gates import Gate, Wire
from chainrule.inspection.circuits.places import Index
from chainrule.inspection.circuits.signs import number
from chainrule.inspection.circuits.terms import Made, Step, Terms
from chainrule.inspection.paint import grey, signed
from chainrule.lab.followed import Followed
from chainrule.lab.network_tiles import Form, Spot, maps, spot_of

DIGITS = 6
"""Digits of sums; cells of a window have fewer."""

MOST_CELLS = 256
"""Numbers of a window that are shown as a grid."""

LINES = 16
"""Terms of a long sum that are shown one by one: the largest."""

_FEW = 3  # windows that are all shown, if they are small
_SMALL_WINDOWS = 60  # numbers of all these windows together
_CLOSE, _CANCELLED = 1e-4, 1e-2  # of a sum's terms; of the gradients that derivatives weigh
_EVEN = 0.179  # the luminance on which black and white digits stand out alike: by 4.6 to 1


class Cell(NamedTuple):
    """A number in a grid, with the colour behind it and that of its digits."""

    text: str
    back: str
    ink: str
    wins: bool = False


@dataclass(frozen=True)
class Grid:
    """Numbers side by side, as they lie in a map; None where the window lies in the padding."""

    title: str
    cols: Sequence[str]
    rows: Sequence[tuple[str, Sequence[Cell | None]]]


@dataclass(frozen=True)
class Window:
    """One map's window: its grids, what they add up to, and where it lies in the map."""

    channel: int
    name: str
    grids: Sequence[Grid]
    total: float
    count: int
    box: tuple[int, int, int, int]  # first row and column, rows and columns

    @property
    def middle(self) -> Spot:
        """The number in its middle."""
        row, col, rows, cols = self.box
        return Spot(self.channel, row + rows // 2, col + cols // 2)


class Line(NamedTuple):
    """One term of a sum, and where its number and its factor stand."""

    name: str
    key: str
    spot: Spot | None
    number: float
    factor: float
    by: str
    product: float
    share: float  # of the largest, for a bar


class Part(NamedTuple):
    """The sum over one map's window, of many."""

    channel: int
    total: float
    share: float
    chosen: bool


@dataclass(frozen=True)
class Block:
    """A sum of terms: as windows if they lie in maps, else by its largest terms.

    `parts` are the sums map by map where not all windows are shown; `rest` says how many terms are
    not, and what they come to.
    """

    name: str
    key: str
    by: str
    count: int
    total: float
    windows: Sequence[Window] = ()
    parts: Sequence[Part] = ()
    lines: Sequence[Line] = ()
    rest: tuple[int, float] = (0, 0.0)
    form: Form | None = None


class Heads(NamedTuple):
    """What the columns of a sum are called; an empty one is not shown."""

    number: str
    factor: str
    product: str


@dataclass(frozen=True)
class Forward:
    """How a number came about."""

    made: Made
    value: float
    blocks: Sequence[tuple[Heads, Block]]
    bias: tuple[str, float] | None
    steps: Sequence[Step]
    agrees: bool

    @property
    def sum(self) -> float:
        """The sum of the numbers read, not weighed."""
        return float(sum(terms.numbers.sum() for terms in self.made.reads))

    @property
    def divisor(self) -> float:
        """What an average's sum is divided by."""
        return float(1 / self.made.reads[0].factors[0])


@dataclass(frozen=True)
class Reader:
    """What one reader hands back to a number."""

    name: str
    key: str
    kind: str
    total: float
    block: tuple[Heads, Block] | None


@dataclass(frozen=True)
class Backward:
    """The gradient that arrives at a number, and what it hands on."""

    gradient: float
    readers: Sequence[Reader]
    total: float
    agrees: bool
    is_score: bool
    shares: Sequence[tuple[Heads, Block]]


def forward(run: Followed, gate: Gate, place: Index, part: int | None) -> Forward | None:
    """Lay out how one number came about; None for the picture's own."""
    value = gate.values[0]
    if gate.op is None or value is None:
        return None
    found = made(gate, place)
    heads = {
        "products": Heads("number", "weight", "product"),
        "average": Heads("number", "", ""),
        "largest": Heads("number", "", ""),
        "sum": Heads("number", "", ""),
    }.get(found.kind, Heads("number", "derivative", ""))
    blocks = [(heads, block(run, terms, heads, part)) for terms in found.reads]
    bias = None
    if found.bias is not None:
        bias = (label(run, found.bias.wire, tuple(found.bias.places[0])), found.bias.total)
    scale = max((float(np.abs(t.products).sum()) for t in found.reads), default=0.0)
    shown = float(value[place])
    agrees = found.result is None or same(found.result, shown, scale)
    return Forward(found, shown, blocks, bias, found.steps, agrees)


def backward(run: Followed, gate: Gate, place: Index, part: int | None) -> Backward:
    """Lay out which gradient arrives at one number, and where it goes on to."""
    end = run.circuit.outputs[0]
    given = gate.gradients[0] if gate.gradients else None
    gradient = 0.0 if given is None else float(given[place])
    found = arrivals(run.users, Wire(gate, 0), place)
    readers = [_reader(run, arrival, part) for arrival in found]
    is_score = gate is end.gate
    total = sum(reader.total for reader in readers)
    if is_score:
        total += float(np.ravel_multi_index(place, end.shape) == run.target)
    known = [a.terms for a in found if a.terms is not None]
    scale = sum(float(np.abs(terms.products).sum()) for terms in known)
    # Derivatives such as 1 - y**2 cancel: in float32 they are right to so much of a whole.
    scale += _CANCELLED * sum(float(np.abs(terms.numbers).sum()) for terms in known)
    shares = _shares(run, made(gate, place), gradient, part) if gate.op and gradient else []
    agrees = same(total, gradient, scale)
    return Backward(gradient, readers, total, agrees, is_score, shares)


def _shares(
    run: Followed, found: Made, gradient: float, part: int | None
) -> list[tuple[Heads, Block]]:
    """Lay out what each number behind one gets; of weights those of the window that is shown."""
    shares: list[tuple[Heads, Block]] = []
    shown: int | None = None
    for terms in handed_on(found, gradient):
        weights = any(terms.wire == reads.by for reads in found.reads)
        if weights and shown is not None:
            own = _channels(found.reads[0].wire.shape, found.reads[0].places) == shown
            terms = Terms(terms.wire, terms.places[own], terms.numbers[own], terms.factors[own])
        heads = Heads("number" if weights else "derivative", "gradient", "gets")
        laid = block(run, terms, heads, None if weights else part)
        shown = laid.windows[0].channel if len(laid.windows) == 1 else None
        if len(terms.places):
            shares.append((heads, laid))
    return shares


def _reader(run: Followed, arrival: Arrival, part: int | None) -> Reader:
    heads = Heads("gradient", "weight" if _weighed(arrival) else "derivative", "product")
    terms = arrival.terms
    shown = None if terms is None else (heads, block(run, terms, heads, part))
    gate = arrival.gate
    kind = gate.op.name if gate.op is not None else ""
    return Reader(name_of(run, gate), run.keys.get(id(gate), ""), kind, arrival.total, shown)


def _weighed(arrival: Arrival) -> bool:
    return arrival.terms is not None and arrival.terms.by is not None


def same(found: float, shown: float, scale: float) -> bool:
    """Say whether a sum in float64 is the network's in float32, whose terms are so large."""
    if np.isnan(found) or np.isinf(found):
        return bool(np.isnan(found) == np.isnan(shown)) and (np.isnan(found) or found == shown)
    return bool(abs(found - shown) <= _CLOSE * max(abs(shown), scale) + 1e-12)


def name_of(run: Followed, gate: Gate) -> str:
    """Name a gate as the page does: by its layer, weights by their own name."""
    return run.keys.get(id(gate), gate.name)


def label(run: Followed, wire: Wire, place: Index) -> str:
    """Name one number: "conv1 [3, 10, 12]", without the axis of the batch."""
    return f"{name_of(run, wire.gate)} {inside(_told(wire.shape, place))}".rstrip()


def _told(shape: Index, place: Index) -> Index:
    return place[1:] if len(shape) > 1 and shape[0] == 1 else place


def inside(place: Sequence[int]) -> str:
    """Write an index: "[3, 10, 12]"; nothing for a value of one number."""
    return f"[{', '.join(str(int(i)) for i in place)}]" if len(place) else ""


def block(run: Followed, terms: Terms, heads: Heads, part: int | None) -> Block:
    """Lay a sum out: by windows where it has some, else by its largest terms."""
    wire, count = terms.wire, len(terms.places)
    name, key = name_of(run, wire.gate), run.keys.get(id(wire.gate), "")
    by = "" if terms.by is None else name_of(run, terms.by.gate)
    form = Form.of(wire.shape)
    channels = _channels(wire.shape, terms.places)
    found, places = np.unique(channels, return_inverse=True)
    if not _windowed(wire.shape, len(found), count):
        lines, rest = _listed(run, terms)
        return Block(name, key, by, count, terms.total, lines=lines, rest=rest, form=form)
    sums = np.bincount(places, terms.products)
    everything = len(found) <= _FEW and count <= _SMALL_WINDOWS
    chosen = int(found[np.abs(np.nan_to_num(sums)).argmax()])
    if part is not None and part in found:
        chosen = part
    shown = found.tolist() if everything else [chosen]
    windows = [_window(run, terms, channels == channel, channel, heads) for channel in shown]
    parts: list[Part] = []
    if not everything and len(found) > 1:
        most = float(np.abs(np.nan_to_num(sums)).max()) or 1.0
        parts = [
            Part(int(c), float(s), abs(float(s)) / most, int(c) == chosen)
            for c, s in zip(found, sums, strict=True)
        ]
    return Block(name, key, by, count, terms.total, windows, parts, form=form)


def _channels(shape: Index, places: Array) -> Array:
    if len(shape) < 3:
        return np.zeros(len(places), np.int64)
    return np.asarray(np.ravel_multi_index(tuple(places.T[:-2]), shape[:-2]))


def _windowed(shape: Index, channels: int, count: int) -> bool:
    return len(shape) == 4 and channels > 0 and 1 < count / channels <= MOST_CELLS


def _window(run: Followed, terms: Terms, own: Array, channel: int, heads: Heads) -> Window:
    places, numbers = terms.places[own], terms.numbers[own]
    factors, products = terms.factors[own], terms.products[own]
    rows, cols = np.unique(places[:, -2]), np.unique(places[:, -1])
    at = np.searchsorted(rows, places[:, -2]), np.searchsorted(cols, places[:, -1])
    wins = factors == 1 if heads.factor == "" and set(factors.tolist()) == {0.0, 1.0} else None
    grids = []
    for title, values, plain in (
        (heads.number, numbers, heads.number == "number" and heads.product != "gets"),
        (heads.factor, factors, False),
        (heads.product, products, False),
    ):
        if title and not (title == "gradient" and heads.product == "gets"):
            cells = _cells(values, at, (len(rows), len(cols)), plain, wins)
            texts = [str(int(row)) for row in rows]
            grids.append(
                Grid(title, [str(int(c)) for c in cols], list(zip(texts, cells, strict=True)))
            )
    high, wide = (int(v[-1] - v[0] + 1) for v in (rows, cols))
    name = f"{name_of(run, terms.wire.gate)}, map {channel}"
    if id(terms.wire.gate) not in run.keys:  # a filter: for which map, and by which input map
        out, source = places[0, :2].tolist()
        name = f"{terms.wire.gate.name} of map {out} for input map {source}"
    box = (int(rows[0]), int(cols[0]), high, wide)
    return Window(channel, name, grids, float(products.sum()), len(places), box)


def _cells(
    values: Array,
    at: tuple[Array, Array],
    size: tuple[int, int],
    plain: bool,
    wins: Array | None,
) -> list[list[Cell | None]]:
    found: list[list[Cell | None]] = [[None] * size[1] for _ in range(size[0])]
    line = values[np.newaxis]
    colours = np.repeat(grey(line)[..., np.newaxis], 3, 2) if plain else signed(line)
    for k, (row, col) in enumerate(zip(*at, strict=True)):
        back = "#" + "".join(f"{int(c):02x}" for c in colours[0, k])
        ink = "#fff" if luminance(colours[0, k]) < _EVEN else "#000"
        won = wins is not None and bool(wins[k])
        found[int(row)][int(col)] = Cell(number(float(values[k]), 3), back, ink, won)
    return found


def luminance(colour: Array) -> float:
    """Give a colour's relative luminance, from 0 to 1 (WCAG 2.1).

    >>> luminance(np.array([255, 255, 255], np.uint8)), luminance(np.zeros(3, np.uint8))
    (1.0, 0.0)
    """
    part = colour / 255.0
    linear = np.where(part <= 0.04045, part / 12.92, ((part + 0.055) / 1.055) ** 2.4)
    return float(np.round(linear @ [0.2126, 0.7152, 0.0722], 6))


def _listed(run: Followed, terms: Terms) -> tuple[list[Line], tuple[int, float]]:
    """Show the largest terms one by one, and what the others come to."""
    products = terms.products
    sizes = np.abs(np.nan_to_num(products, nan=np.inf))
    worth = np.count_nonzero(sizes) if len(sizes) > LINES else len(sizes)
    order = np.argsort(-sizes, kind="stable")[: min(LINES, max(1, worth))]
    most = float(np.abs(np.nan_to_num(products)).max(initial=0.0)) or 1.0
    key = run.keys.get(id(terms.wire.gate), "")
    lines = []
    for k in order.tolist():
        place = tuple(int(i) for i in terms.places[k])
        by = "" if terms.by_places is None else inside(terms.by_places[k].tolist())
        product = float(products[k])
        share = min(1.0, abs(product) / most) if np.isfinite(product) else 1.0
        lines.append(
            Line(inside(_told(terms.wire.shape, place)), key, spot_of(terms.wire.shape, place),
                 float(terms.numbers[k]), float(terms.factors[k]), by, product, share)
        )  # fmt: skip
    left = np.delete(products, order)
    return lines, (len(left), float(left.sum()))


def strongest(values: Array, channel: int) -> Spot:
    """Find the number of a map that is farthest from 0."""
    found = maps(values)[channel]
    if found.ndim == 0:
        return Spot(channel, 0, 0)
    row, col = np.unravel_index(np.abs(np.nan_to_num(found)).argmax(), found.shape)
    return Spot(channel, int(row), int(col))
