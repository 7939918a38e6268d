"""What each pair leaves to the reference, by reason: our own kernels' pairs, and the library's.

A case that is declined for no reason of these is an error.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from chainrule.engine.op import Op, Spec
from chainrule.ops.resample_weights import nearest
from tests.backends.onednn.conftest import KERNELS

Reasons = dict[str, dict[str, Callable[[Any, Sequence[np.ndarray]], bool]]]


def dense(a: np.ndarray) -> bool:
    """C order or channels-last, without gaps; nothing else is read where it lies."""
    last = a.ndim > 2 and np.moveaxis(a, 1, -1).flags.c_contiguous
    return bool(a.flags.c_contiguous or last)


def _gaps(op: Any, arrays: Sequence[np.ndarray]) -> bool:
    return not dense(arrays[0])


def _not_plain(op: Any, arrays: Sequence[np.ndarray]) -> bool:
    return not arrays[0].flags.c_contiguous or not arrays[0].ndim


def _broadcast(op: Any, arrays: Sequence[np.ndarray]) -> bool:
    return arrays[0].shape != arrays[1].shape


def _all_gaps(op: Any, arrays: Sequence[np.ndarray]) -> bool:
    """There are operands as large as the result, and each of them has gaps."""
    shape = np.broadcast_shapes(*[a.shape for a in arrays])
    whole = [dense(a) for a in arrays if a.shape == shape]
    return bool(whole) and not any(whole)


def _loops(op: Any, arrays: Sequence[np.ndarray]) -> bool:
    """The kernel has three loops, one inside the other."""
    ndim = max(a.ndim for a in arrays)
    return ndim > 3 and len({a.shape for a in arrays}) > 1


def _nothing(op: Any, arrays: Sequence[np.ndarray]) -> bool:
    return all(arrays[0].shape[i] == 1 for i in op.axes)


def _slow_axis(op: Any, arrays: Sequence[np.ndarray]) -> bool:
    """Only along the axis that is the innermost in memory."""
    x = arrays[0]
    return x.ndim == 0 or op.axis != (x.ndim - 1 if x.flags.c_contiguous else 1)


def _all_stay(op: Any, arrays: Sequence[np.ndarray]) -> bool:
    return all(rule.keeps for rule in op.rules(arrays[0].shape[2:], "f"))


def _not_a_row(op: Any, arrays: Sequence[np.ndarray]) -> bool:
    x = arrays[0]
    return op.axes != ((x.ndim - 1 if x.flags.c_contiguous else 1),)


def _classes_apart(op: Any, arrays: Sequence[np.ndarray]) -> bool:
    x = arrays[0]
    return x.ndim == 1 or (x.ndim > 2 and x.flags.c_contiguous)


def _beyond_padding(op: Any, arrays: Sequence[np.ndarray]) -> bool:
    x = arrays[0]
    d = len(op.kernel)
    (y,) = op.infer(Spec(x.shape, x.dtype))
    axes = zip(x.shape[-d:], y.shape[-d:], op.kernel, op.stride, op.padding, strict=True)
    return any((out - 1) * s + k - size - p > p for size, out, k, s, p in axes)


def _no_widths(op: Any, arrays: Sequence[np.ndarray]) -> bool:
    return not any(op.pad)


def _cropped_away(op: Any, arrays: Sequence[np.ndarray]) -> bool:
    (y,) = op.infer(Spec(arrays[0].shape, arrays[0].dtype))
    return 0 in y.shape


def _ragged(op: Any, arrays: Sequence[np.ndarray]) -> bool:
    sizes = arrays[0].shape[-len(op.output_size) :]
    return any(out and n % out for n, out in zip(sizes, op.output_size, strict=True))


def _moved(op: Any, arrays: Sequence[np.ndarray]) -> list[Any]:
    return [r for r in op.rules(arrays[0].shape[2:], "f") if r.n != r.m]


def _scaled_otherwise(op: Any, arrays: Sequence[np.ndarray]) -> bool:
    rules = _moved(op, arrays)
    return op.mode == "linear" and any(r.scale and r.n * r.scale != r.m for r in rules)


def _rounded(op: Any, arrays: Sequence[np.ndarray]) -> bool:
    """The library divides last, and so rounds otherwise, but where n/m is a binary fraction."""
    ratios = [Fraction(r.n, r.m) for r in _moved(op, arrays)]
    return op.mode == "linear" and any(r.denominator & (r.denominator - 1) for r in ratios)


def _elsewhere(op: Any, arrays: Sequence[np.ndarray]) -> bool:
    """The library copies from floor((i + 1/2) n/m): "nearest" mostly from another place."""
    if not op.mode.startswith("nearest"):
        return False
    return any(
        nearest(r).tolist() != [(2 * i + 1) * r.n // (2 * r.m) for i in range(r.m)]
        for r in op.rules(arrays[0].shape[2:], "f")
    )


OURS: Reasons = {
    "ReLU": {"gaps": _gaps},
    "LeakyReLU": {"gaps": _gaps},
    "ELU": {"gaps": _gaps},
    "Sigmoid": {"gaps": _gaps},
    "Tanh": {"gaps": _gaps},
    "Hardsigmoid": {"gaps": _gaps},
    "Hardswish": {"gaps": _gaps},
    "SiLU": {"gaps": _gaps},
    "Mish": {"gaps": _gaps},
    "GELU": {"gaps": _gaps},
    "Hardtanh": {"gaps": _gaps},
    "Hardshrink": {"gaps": _gaps},
    "Softshrink": {"gaps": _gaps},
    "Threshold": {"gaps": _gaps},
    "Softplus": {"gaps": _gaps},
    "LogSigmoid": {"gaps": _gaps},
    "CELU": {"gaps": _gaps},
    "SELU": {"gaps": _gaps},
    "PReLU": {
        "gaps": _gaps,
        "fewer than two axes": lambda op, a: a[0].ndim < 2,
        "one slope for several channels": lambda op, a: a[1].size == 1 and a[0].shape[1:2] != (1,),
    },
    "Softmax": {"gaps": _gaps, "an axis that is not the innermost": _slow_axis},
    "LogSoftmax": {"gaps": _gaps, "an axis that is not the innermost": _slow_axis},
    "Add": {"gaps": _all_gaps, "scaled": lambda op, _: op.alpha != 1},
    "Sub": {"gaps": _all_gaps, "many loops": _loops, "scaled": lambda op, _: op.alpha != 1},
    "Mul": {"gaps": _all_gaps, "many loops": _loops},
    "Div": {
        "gaps": _all_gaps,
        "many loops": _loops,
        "rounded": lambda op, _: op.rounding_mode is not None,
    },
    "Extremum": {"gaps": _all_gaps, "many loops": _loops},
    "Where": {"gaps": _all_gaps, "many loops": _loops},
    **{name: {"gaps": _gaps} for name in ("Exp", "Abs", "Neg", "Square", "Reciprocal")},
    **{name: {"gaps": _gaps} for name in ("Sqrt", "Rsqrt")},
    "Log": {"gaps": _gaps, "another base": lambda op, _: op.base is not None},
    "PowScalar": {"gaps": _gaps, "other powers": lambda op, _: op.exponent not in (2, 3, 4, 5)},
    "Clamp": {"gaps": _gaps, "NaN for a limit": lambda op, _: op.low != op.low},
    "Sum": {"gaps": _gaps, "nothing to reduce": _nothing},
    "Mean": {"gaps": _gaps, "nothing to reduce": _nothing},
    "Var": {"gaps": _gaps, "nothing to reduce": _nothing},
    "Extreme": {"gaps": _gaps, "nothing to reduce": _nothing},
    "VectorNorm": {
        "gaps": _gaps,
        "nothing to reduce": _nothing,
        "another order": lambda op, _: op.p != 2,
    },
    "AddReLU": {"gaps": _gaps, "broadcast": lambda op, a: a[0].shape != a[1].shape},
    "Cat": {"gaps": lambda op, a: not all(map(dense, a))},
    "MSELoss": {"gaps": _gaps, "broadcast": _broadcast},
    "L1Loss": {"gaps": _gaps, "broadcast": _broadcast},
    "SmoothL1Loss": {"gaps": _gaps, "broadcast": _broadcast},
    "HuberLoss": {"gaps": _gaps, "broadcast": _broadcast},
    "BinaryCrossEntropyWithLogits": {"gaps": _gaps, "weighted": lambda op, a: len(a) > 2},
    "Sort": {"gaps": _not_plain},
    "TopK": {"gaps": _not_plain, "none": lambda op, _: op.k == 0},
    "Gather": {
        "gaps": _not_plain,
        "an index that reaches less": lambda op, a: any(
            n != m
            for d, (n, m) in enumerate(zip(a[0].shape, a[1].shape, strict=False))
            if d != op.dim
        ),
    },
    "IndexSelect": {"gaps": _not_plain},
    "Embedding": {
        "gaps": lambda op, a: not a[1].flags.c_contiguous,
        "by frequency": lambda op, _: op.by_frequency,
    },
    "EmbeddingBag": {
        "gaps": lambda op, a: not a[2].flags.c_contiguous,
        "by frequency": lambda op, _: op.by_frequency,
        "maxima": lambda op, _: op.mode == "max",
        "samples weighed": lambda op, a: len(a) > 3,
    },
    "SoftMarginLoss": {"gaps": _gaps, "broadcast": _broadcast},
    "PairwiseDistance": {
        "gaps": lambda op, a: not all(x.flags.c_contiguous and x.ndim for x in a),
        "broadcast": _broadcast,
        "another norm": lambda op, _: op.p != 2,
    },
    "CumSum": {"gaps": _gaps},
    "CumProd": {"gaps": lambda op, a: _gaps(op, a) or not a[0].ndim},
    "Linear": {
        "a vector as weight": lambda op, a: a[1].ndim == 1,
        "a broadcast bias": lambda op, a: len(a) == 3 and a[2].shape != a[1].shape[:1],
    },
    "Matmul": {
        "vectors": lambda op, a: min(x.ndim for x in a) < 2,
        "broadcast": lambda op, a: a[0].shape[:-2] != a[1].shape[:-2],
        "strides of 0 or less": lambda op, a: min(min(x.strides) for x in a) <= 0,
    },
    "Conv": {},
    "ConvReLU": {},
    "ConvTranspose": {
        "rows behind that the convolution makes windows of": lambda op, _: any(
            more >= s for more, s in zip(op.output_padding, op.stride, strict=True)
        ),
    },
    "MaxPool": {},
    "ReLUMaxPool": {},
    "AdaptiveMaxPool": {},
    "AvgPool": {},
    "AdaptiveAvgPool": {},
    "Interpolate": {"gaps": _gaps, "nothing to do": _all_stay},
    "GridSample": {},
    "ChannelShuffle": {"gaps": _gaps},
    "PixelShuffle": {"gaps": _gaps, "no batch": lambda op, a: a[0].ndim != 4},
    "PixelUnshuffle": {"gaps": _gaps, "no batch": lambda op, a: a[0].ndim != 4},
    "Pad": {"gaps": _gaps, "nothing to do": _no_widths, "nothing left": _cropped_away},
    "PadBorder": {"gaps": _gaps, "nothing to do": _no_widths, "nothing left": _cropped_away},
    "BatchNorm": {},
    "BatchNormReLU": {},
    "LocalResponseNorm": {
        "a size that the library gets wrong": lambda op, _: op.size not in (3, 5),
        "an exponent but 3/4": lambda op, _: op.beta != 0.75,
        "other than images": lambda op, a: a[0].ndim != 4,
        "windows within a channel": lambda op, _: op.within,
    },
    "Dropout": {
        "all dropped": lambda op, _: op.scale == 0,
        "values dropped together": lambda _, a: (
            a[1].shape not in (a[0].shape, a[0].shape[:2] + (1,) * (a[0].ndim - 2))
        ),
    },
    "LayerNorm": {"an eps that is not positive": lambda op, _: op.eps <= 0},
    "RMSNorm": {"an eps that is not positive": lambda op, _: op.eps <= 0},
    "Normalize": {
        "gaps": _gaps,
        "an axis that is not the innermost": _not_a_row,
        "another length than Euclid's": lambda op, _: op.p != 2,
    },
    "CrossEntropy": {
        "gaps": _gaps,
        "classes that are not innermost": _classes_apart,
        "smoothed labels with weights": lambda op, a: bool(op.label_smoothing) and len(a) > 2,
    },
    "NLLLoss": {"gaps": _gaps, "classes that are not innermost": _classes_apart},
    "GroupNorm": {
        "an eps that is not positive": lambda op, _: op.eps <= 0,
        "one value in a group": lambda op, a: a[0].size == len(a[0]) * op.groups,
    },
}


LIBRARYS: Reasons = {
    "Hardtanh": {
        "gaps": _gaps,
        "an infinite limit": lambda op, _: bool(np.isinf([op.low, op.high]).any()),
    },
    "Softplus": {
        "gaps": _gaps,
        "a threshold that shows": lambda op, _: op.threshold < 20,
        "a beta that is not positive": lambda op, _: op.beta <= 0,
    },
    "Add": {
        "gaps": _gaps,
        "scaled": lambda op, _: op.alpha != 1,
        "broadcast": _broadcast,
    },
    "MaxPool": {
        "indices": lambda op, _: op.indices,
        "dilated": lambda op, _: max(op.dilation) > 1,
    },
    "ReLUMaxPool": {"dilated": lambda op, _: max(op.dilation) > 1},
    "AvgPool": {
        "a divisor of its own": lambda op, _: op.divisor_override is not None,
        "windows beyond the padding": lambda op, a: op.count_include_pad and _beyond_padding(op, a),
    },
    "AdaptiveAvgPool": {"windows of several sizes": _ragged},
    "Interpolate": {
        "cubic": lambda op, _: op.mode in ("cubic", "lanczos"),
        "corners aligned": lambda op, _: op.align_corners,
        "antialiased": lambda op, _: op.antialias,
        "a scale of its own": _scaled_otherwise,
        "a rounded ratio": _rounded,
        "places that fall elsewhere": _elsewhere,
    },
    "LayerNorm": {
        "an eps that is not positive": lambda op, _: op.eps <= 0,
        "one value in a row": lambda op, _: np.prod(op.shape) == 1,
    },
}
"""Where it serves without kernels of our own, and declines otherwise than they do."""

REASONS = OURS if KERNELS else OURS | LIBRARYS


def reasons(op: Op, arrays: Sequence[np.ndarray]) -> list[str]:
    """Say why the case may be declined."""
    if any(a.size == 0 for a in arrays):
        return ["empty"]
    known = REASONS[type(op).__name__]
    return [reason for reason, holds in known.items() if holds(op, arrays)]
