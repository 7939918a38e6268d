"""Other sizes of images: by our own resampling where it fits, else by a matrix of each axis."""

from __future__ import annotations

from collections.abc import Sequence
from math import floor
from typing import Any, NamedTuple

import numpy as np

from chainrule.engine.op import Array
from chainrule.engine.tensor import Tensor
from chainrule.errors import DataError
from chainrule.formats.onnx.reading.table import (
    Node,
    axis_of,
    integers,
    need_floating,
    reads,
    refuse,
)
from chainrule.nn import functional as F
from chainrule.ops.gather import index_select
from chainrule.ops.matmul import matmul
from chainrule.ops.permute import moveaxis
from chainrule.ops.select import where


class Axis(NamedTuple):
    """How one axis is resized: the sizes, the factor, and the part of it that is taken."""

    size: int
    wanted: int
    scale: float
    start: float = 0.0
    end: float = 1.0


class Rule(NamedTuple):
    """What a node says of all axes."""

    mode: str
    where: str
    rounding: str
    slope: float
    outside: bool
    antialias: bool


@reads("Resize", since="10 11 13 18 19", settings=(1, 2, 3))
def _resize(n: Node, x: Tensor, *rest: Tensor | None) -> Tensor:
    """Resize by factors or to sizes."""
    roi, scales, sizes = (
        (None, *rest, None, None)[:3] if n.version == 10 else (*rest, None, None)[:3]
    )
    rule = Rule(
        n.get("mode", "nearest"),
        n.get("coordinate_transformation_mode", "asymmetric"),
        n.get("nearest_mode", "floor"),
        n.get("cubic_coeff_a", -0.75),
        n.flag("exclude_outside"),
        n.flag("antialias"),
    )
    given = n.get("axes")
    along = [axis_of(n, axis, x.ndim) for axis in given] if given else list(range(x.ndim))
    if scales is not None and scales.array.size:
        wanted = _by_factors(n, x, along, scales.tolist())
    elif sizes is not None and sizes.array.size:
        wanted = _to_sizes(n, x, along, integers(sizes))
    else:
        raise DataError(f"onnx: {n}: neither scales nor sizes")
    if rule.where == "tf_crop_and_resize" and roi is not None:
        part = roi.tolist()
        half = len(part) // 2
        for i, axis in enumerate(along):
            wanted[axis] = wanted[axis]._replace(start=part[i], end=part[half + i])
    return resize(n, x, rule, wanted, n.get("extrapolation_value", 0.0))


@reads("Upsample", since="7 9", settings=(1,))
def _upsample(n: Node, x: Tensor, scales: Tensor | None = None) -> Tensor:
    """Resize by factors, which were an attribute before opset 9."""
    factors = n.get("scales") if scales is None else scales.tolist()
    rule = Rule(n.get("mode"), "asymmetric", "floor", -0.75, False, False)
    return resize(n, x, rule, _by_factors(n, x, list(range(x.ndim)), factors), 0.0)


def _by_factors(n: Node, x: Tensor, along: list[int], scales: list[float]) -> dict[int, Axis]:
    if len(scales) != len(along) or min(scales) <= 0:
        raise DataError(f"onnx: {n}: factors {scales} for {len(along)} axes")
    found = {}
    for axis, scale in zip(along, scales, strict=True):
        size = x.shape[axis]
        # 0.6 where the file says 0.6 in float32: at ties between pixels the last digit decides
        meant = float(str(np.float32(scale)))
        found[axis] = Axis(size, floor(np.float32(size) * np.float32(scale)), meant)
    return found


def _to_sizes(n: Node, x: Tensor, along: list[int], sizes: list[int]) -> dict[int, Axis]:
    if len(sizes) != len(along) or min(sizes) < 1:
        raise DataError(f"onnx: {n}: sizes {sizes} for {len(along)} axes")
    policy = n.get("keep_aspect_ratio_policy", "stretch")
    old = [x.shape[axis] for axis in along]
    scales = [new / size for new, size in zip(sizes, old, strict=True)]
    if policy != "stretch":
        one = min(scales) if policy == "not_larger" else max(scales)
        scales = [one] * len(along)
        sizes = [floor(one * size + 0.5) for size in old]
    rows = zip(along, old, sizes, scales, strict=True)
    return {axis: Axis(size, new, scale) for axis, size, new, scale in rows}


def resize(n: Node, x: Tensor, rule: Rule, wanted: dict[int, Axis], beyond: float) -> Tensor:
    """Resize every axis that changes, one after the other."""
    ours = _as_ours(n, x, rule, wanted)
    if ours is not None:
        return ours
    lost = np.zeros((1,) * x.ndim, bool)
    for axis, a in wanted.items():
        if a.size == a.wanted and a.scale == 1 and (a.start, a.end) == (0, 1):
            continue
        places = _places(a, rule.where)
        if rule.where == "tf_crop_and_resize":
            shape = [-1 if i == axis else 1 for i in range(x.ndim)]
            lost = lost | ((places < 0) | (places > a.size - 1)).reshape(shape)
        if rule.mode == "nearest":
            # of opset 10, which leaves it open, onnxruntime's reading
            rounding = "ceil" if n.version == 10 and a.scale < 1 else rule.rounding
            chosen = np.clip(_nearest(places, rounding), 0, a.size - 1)
            x = index_select(x, axis, Tensor(chosen.astype(np.int64)))
            continue
        need_floating(n, x)
        weights = Tensor(_weights(n, places, a, rule).T.astype(x.dtype))
        x = moveaxis(matmul(moveaxis(x, axis, -1), weights), -1, axis)
    if lost.any():
        x = where(Tensor(np.broadcast_to(lost, x.shape)), Tensor(np.array(beyond, x.dtype)), x)
    return x


OURS = {
    ("nearest", "asymmetric", "floor"): ("nearest", None),
    ("nearest", "half_pixel", "round_prefer_ceil"): ("nearest-exact", None),
    ("linear", "half_pixel", ""): ("linear", False),
    ("linear", "pytorch_half_pixel", ""): ("linear", False),
    ("linear", "align_corners", ""): ("linear", True),
    ("cubic", "half_pixel", ""): ("bicubic", False),
    ("cubic", "pytorch_half_pixel", ""): ("bicubic", False),
    ("cubic", "align_corners", ""): ("bicubic", True),
}


def _as_ours(n: Node, x: Tensor, rule: Rule, wanted: dict[int, Axis]) -> Tensor | None:
    """Resample images as `interpolate` does, where it means the same; else None."""
    kind = OURS.get((rule.mode, rule.where, rule.rounding if rule.mode == "nearest" else ""))
    spatial = [
        wanted.get(axis) or Axis(x.shape[axis], x.shape[axis], 1.0) for axis in range(2, x.ndim)
    ]
    rest = [wanted[axis] for axis in (0, 1) if axis in wanted]
    if (
        kind is None
        or not 3 <= x.ndim <= 5
        or x.dtype.kind != "f"
        or rule.outside
        or rule.antialias
    ):
        return None
    if any(a.size != a.wanted or a.scale != 1 for a in rest) or min(x.shape) < 1:
        return None
    single = rule.where == "pytorch_half_pixel" and min(a.wanted for a in spatial) == 1
    whole = all(a.wanted % a.size == 0 or a.size % a.wanted == 0 for a in spatial)
    if rule.mode == "nearest" and not whole:  # at ties each rounds in its own way
        return None
    if n.version == 10 and any(a.scale < 1 for a in spatial):
        return None
    if single or (kind[0] == "bicubic" and (x.ndim != 4 or rule.slope != -0.75)):
        return None
    mode, corners = kind
    if mode == "linear":
        mode = ("linear", "bilinear", "trilinear")[x.ndim - 3]
    exact = all(a.scale == a.wanted / a.size for a in spatial)
    if corners and not exact:  # ONNX's last place is the factor's, not the size's
        return None
    if exact:
        return F.interpolate(x, tuple(a.wanted for a in spatial), None, mode, corners)
    scales = [a.scale for a in spatial]
    if any(floor(a.size * a.scale) != a.wanted for a in spatial):
        return None
    return F.interpolate(x, None, scales, mode, corners)


def _places(a: Axis, how: str) -> Array:
    """Give where each new place lies among the old ones."""
    i, scale = np.arange(a.wanted, dtype=np.float64), a.scale
    length = scale * a.size
    exact = scale == a.wanted / a.size  # then sizes alone tell, without the factor's rounding
    half = ((i + 0.5) * a.size / a.wanted if exact else (i + 0.5) / scale) - 0.5
    if how == "align_corners":
        return i * 0 if length == 1 or a.wanted == 1 else i * (a.size - 1) / (length - 1)
    if how == "asymmetric":
        return np.asarray(i * a.size / a.wanted if exact else i / scale)
    if how == "tf_crop_and_resize":
        span = (a.end - a.start) * (a.size - 1)
        steps = i * 0 + span / 2 if length == 1 else i * span / (length - 1)
        return np.asarray(steps + a.start * (a.size - 1))
    if how == "pytorch_half_pixel":
        return np.asarray(half if a.wanted > 1 else i * 0)
    if how == "half_pixel_symmetric":
        return np.asarray(a.size / 2 * (1 - a.wanted / length) + half)
    return np.asarray(half)


def _nearest(places: Array, rounding: str) -> Array:
    rules: dict[str, Any] = {
        "floor": np.floor,
        "ceil": np.ceil,
        "round_prefer_floor": lambda p: np.ceil(p - 0.5),
        "round_prefer_ceil": lambda p: np.floor(p + 0.5),
    }
    return np.asarray(rules.get(rounding, rules["round_prefer_floor"])(places))


def _weights(n: Node, places: Array, a: Axis, rule: Rule) -> Array:
    """Give the matrix (new, old) of one axis; outside the border shows, or nothing counts."""
    if rule.mode not in ("linear", "cubic"):
        raise refuse(n, f"mode {rule.mode!r}")
    reach = 1 if rule.mode == "linear" else 2
    shrink = min(a.scale, 1.0) if rule.antialias else 1.0
    first = floor(-reach / shrink) + 1 if rule.antialias else 1 - reach
    base = np.floor(places)
    steps = np.arange(first, first + 2 - 2 * first if rule.antialias else first + 2 * reach)
    distance = np.abs(steps - (places - base)[:, None]) * shrink
    values = _hat(distance) if reach == 1 else _cubic(distance, rule.slope)
    columns = (base[:, None] + steps).astype(np.int64)
    if rule.outside:
        values = np.where((columns < 0) | (columns >= a.size), 0.0, values)
    if rule.outside or rule.antialias:
        values = values / values.sum(1, keepdims=True)
    matrix = np.zeros((a.wanted, a.size))
    rows = np.broadcast_to(np.arange(a.wanted)[:, None], columns.shape)
    np.add.at(matrix, (rows, np.clip(columns, 0, a.size - 1)), values)
    return np.asarray(matrix)


def _hat(distance: Array) -> Array:
    return np.asarray(np.clip(1 - distance, 0, 1))


def _cubic(t: Array, a: float) -> Array:
    """Give the weight of a neighbour t away (Keys, 1981)."""
    near = ((a + 2) * t - (a + 3)) * t * t + 1
    far = ((t - 5) * t + 8) * t * a - 4 * a
    return np.asarray(np.where(t <= 1, near, np.where(t < 2, far, 0.0)))


@reads("GridSample", since="16 20 22")
def _grid_sample(n: Node, x: Tensor, grid: Tensor) -> Tensor:
    """Sample at the places that a grid names."""
    need_floating(n, x)
    modes = {"linear": "bilinear", "cubic": "bicubic"}
    mode = modes.get(n.get("mode"), n.get("mode"))
    if mode == "bicubic" and x.ndim != 4:
        raise refuse(n, "cubic sampling of other than two dimensions")
    return F.grid_sample(x, grid, mode, n.get("padding_mode"), n.flag("align_corners"))


@reads("AffineGrid", since="20", settings=(1,))
def _affine_grid(n: Node, theta: Tensor, size: Tensor) -> Tensor:
    """Give the grid of an affine map."""
    return F.affine_grid(theta, integers(size), n.flag("align_corners"))


@reads("CenterCropPad", since="18", settings=(1,))
def _center(n: Node, x: Tensor, shape: Tensor) -> Tensor:
    """Cut out the middle, or put zeros around."""
    given: Sequence[int] = n.get("axes") or range(x.ndim)
    widths = [(0, 0)] * x.ndim
    for axis, size in zip(given, integers(shape), strict=True):
        along = axis_of(n, axis, x.ndim)
        gap = size - x.shape[along]
        before = floor(gap / 2) if gap >= 0 else -floor(-gap / 2)
        widths[along] = before, gap - before
    return F.pad(x, [width for pair in reversed(widths) for width in pair])
