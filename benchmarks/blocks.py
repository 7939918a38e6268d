"""Each block at a typical size, forward and backward, beside PyTorch's, in interleaved turns.

A case is one expression for both libraries: `L` is the library, `F` its functional room, `a`,
`b`, ... its tensors.  Both sides get arrays in the layout that their networks use: channels-last.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np
from report import line
from training import PAUSE, Settings
from worker import Worker, WorkerError

IMAGE, MAPS, ROWS = (16, 3, 64, 64), (16, 64, 28, 28), (128, 512)
TURN = 0.03  # seconds of a turn


@dataclass(frozen=True)
class Case:
    """An expression and its arrays.

    A shape is drawn from the normal distribution, ("positive", shape) are its absolute values and
    1/10, ("k", shape, high) are integers; `same` asks for at least PyTorch's speed, since a kernel
    of oneDNN or of ours serves it.
    """

    run: str
    arrays: tuple[Any, ...] = (MAPS,)
    same: bool = False


def _each(names: str, arrays: tuple[Any, ...] = (MAPS,), same: bool = False) -> dict[str, Case]:
    return {name: Case(f"F.{name}(a)", arrays, same) for name in names.split()}


LABELS = ("k", (128,), 512)
SIGNS = ("sign", (128,))
POSITIVE = ("positive", MAPS)
SLOPES, SQUARE = (1, 64, 1, 1), (1000, 1000)

ARITHMETIC = "add", "sub", "mul", "div", "maximum"
UNARY = "exp", "abs", "square", "neg"
ROOTS = "log", "sqrt", "reciprocal"
REDUCTIONS = "sum", "mean", "amax", "var", "linalg.vector_norm"

CASES: dict[str, Case] = {
    **_each("relu leaky_relu elu sigmoid tanh softplus gelu silu hardswish", same=True),
    **_each("relu6 celu selu mish hardtanh hardshrink hardsigmoid softshrink softsign tanhshrink"),
    **_each("logsigmoid rrelu"),
    "threshold": Case("F.threshold(a, 0.1, 0.0)"),
    "glu": Case("F.glu(a, 1)"),
    "prelu": Case("F.prelu(a, b)", (MAPS, (64,))),
    "softmax": Case("F.softmax(a, 1)", (ROWS,), True),
    "log_softmax": Case("F.log_softmax(a, 1)", (ROWS,), True),
    "conv1d": Case("F.conv1d(a, b, padding=1)", ((16, 64, 784), (64, 64, 3))),
    "conv2d": Case("F.conv2d(a, b, padding=1)", (MAPS, (64, 64, 3, 3))),
    "conv2d 1x1": Case("F.conv2d(a, b)", (MAPS, (128, 64, 1, 1))),
    "conv2d depthwise": Case("F.conv2d(a, b, padding=1, groups=64)", (MAPS, (64, 1, 3, 3))),
    "conv2d dilated": Case("F.conv2d(a, b, padding=2, dilation=2)", (MAPS, (64, 64, 3, 3))),
    "conv3d": Case("F.conv3d(a, b, padding=1)", ((2, 16, 16, 28, 28), (32, 16, 3, 3, 3))),
    "conv_transpose2d": Case("F.conv_transpose2d(a, b, stride=2)", (MAPS, (64, 32, 3, 3))),
    "conv_transpose3d": Case(
        "F.conv_transpose3d(a, b, stride=2)", ((2, 16, 8, 14, 14), (16, 16, 3, 3, 3))
    ),
    "unfold": Case("F.unfold(a, 3, padding=1)"),
    "fold": Case("F.fold(a, (28, 28), 3, padding=1)", ((16, 576, 784),)),
    "max_pool1d": Case("F.max_pool1d(a, 2)", ((16, 64, 784),), True),
    "max_pool2d": Case("F.max_pool2d(a, 2)", (MAPS,), True),
    "max_pool2d 3x3": Case("F.max_pool2d(a, 3, 2, 1)", (MAPS,), True),
    "max_pool3d": Case("F.max_pool3d(a, 2)", ((2, 32, 16, 28, 28),), True),
    "avg_pool2d": Case("F.avg_pool2d(a, 2)", (MAPS,), True),
    "avg_pool3d": Case("F.avg_pool3d(a, 2)", ((2, 32, 16, 28, 28),), True),
    "lp_pool2d": Case("F.lp_pool2d(a, 2, 2)"),
    "fractional_max_pool2d": Case("F.fractional_max_pool2d(a, 2, output_ratio=(0.6, 0.6))"),
    "max_unpool2d": Case("F.max_unpool2d(*F.max_pool2d(a, 2, return_indices=True), 2)"),
    "adaptive_avg_pool2d": Case("F.adaptive_avg_pool2d(a, 7)", (MAPS,), True),
    "adaptive_avg_pool2d ragged": Case("F.adaptive_avg_pool2d(a, 5)"),
    "adaptive_max_pool2d": Case("F.adaptive_max_pool2d(a, 7)"),
    "batch_norm": Case("F.batch_norm(a, None, None, b, c, True)", (MAPS, (64,), (64,)), True),
    "layer_norm": Case("F.layer_norm(a, (512,), b, c)", (ROWS, (512,), (512,)), True),
    "group_norm": Case("F.group_norm(a, 8, b, c)", (MAPS, (64,), (64,))),
    "instance_norm": Case("F.instance_norm(a)"),
    "local_response_norm": Case("F.local_response_norm(a, 5)", (MAPS,), True),
    "rms_norm": Case("F.rms_norm(a, (512,), b)", (ROWS, (512,))),
    "normalize": Case("F.normalize(a)", (ROWS,)),
    "pad reflect": Case("F.pad(a, (2, 2, 2, 2), 'reflect')"),
    "pad replicate": Case("F.pad(a, (2, 2, 2, 2), 'replicate')"),
    "pad circular": Case("F.pad(a, (2, 2, 2, 2), 'circular')"),
    "pad constant": Case("F.pad(a, (2, 2, 2, 2))"),
    "interpolate nearest": Case("F.interpolate(a, scale_factor=2)"),
    "interpolate bilinear": Case("F.interpolate(a, scale_factor=2, mode='bilinear')"),
    "interpolate bicubic": Case("F.interpolate(a, scale_factor=2, mode='bicubic')"),
    "grid_sample": Case("F.grid_sample(a, b, align_corners=False)", (MAPS, (16, 28, 28, 2))),
    "pixel_shuffle": Case("F.pixel_shuffle(a, 2)"),
    "channel_shuffle": Case("L.channel_shuffle(a, 8)"),
    "linear": Case("F.linear(a, b, c)", (ROWS, (512, 512), (512,)), True),
    "bilinear": Case("F.bilinear(a, b, c)", ((128, 64), (128, 64), (32, 64, 64))),
    "embedding": Case("F.embedding(a, b)", (("k", (128, 64), 1000), (1000, 64))),
    "embedding_bag": Case("F.embedding_bag(a, b)", (("k", (128, 64), 1000), (1000, 64))),
    "cosine_similarity": Case("F.cosine_similarity(a, b)", (ROWS, ROWS)),
    "pairwise_distance": Case("F.pairwise_distance(a, b)", (ROWS, ROWS)),
    "dropout": Case("F.dropout(a)"),
    "dropout2d": Case("F.dropout2d(a)"),
    "cross_entropy": Case("F.cross_entropy(a, b)", (ROWS, LABELS)),
    "nll_loss": Case("F.nll_loss(a, b)", (ROWS, LABELS)),
    "mse_loss": Case("F.mse_loss(a, b)", (ROWS, ROWS)),
    "l1_loss": Case("F.l1_loss(a, b)", (ROWS, ROWS)),
    "smooth_l1_loss": Case("F.smooth_l1_loss(a, b)", (ROWS, ROWS)),
    "huber_loss": Case("F.huber_loss(a, b)", (ROWS, ROWS)),
    "kl_div": Case("F.kl_div(a, F.softmax(b, 1), reduction='batchmean')", (ROWS, ROWS)),
    "binary_cross_entropy_with_logits": Case(
        "F.binary_cross_entropy_with_logits(a, F.sigmoid(b).detach())", (ROWS, ROWS)
    ),
    "multi_margin_loss": Case("F.multi_margin_loss(a, b)", (ROWS, LABELS)),
    "cosine_embedding_loss": Case("F.cosine_embedding_loss(a, b, c)", (ROWS, ROWS, SIGNS)),
    "triplet_margin_loss": Case("F.triplet_margin_loss(a, b, c)", (ROWS, ROWS, ROWS)),
    "gather": Case("L.gather(a, 1, b)", (ROWS, ("k", (128, 128), 512))),
    "index_select": Case("L.index_select(a, 0, b)", (ROWS, ("k", (64,), 128))),
    "cumsum": Case("L.cumsum(a, 1)", (ROWS,)),
    "cumprod": Case("L.cumprod(a, 1)", (ROWS,)),
    "topk": Case("L.topk(a, 10, 1)[0]", (ROWS,)),
    "sort": Case("L.sort(a, 1)[0]", (ROWS,)),
    "einsum": Case("L.einsum('ij,kj->ik', a, b)", (ROWS, ROWS)),
    "cat": Case("L.cat((a, b), 1)", (MAPS, MAPS), True),
    # Arithmetic and reductions; a divisor and what goes into roots and logarithms is positive.
    **{name: Case(f"L.{name}(a, b)", (MAPS, MAPS), True) for name in ARITHMETIC},
    **{f"{name} channels": Case(f"L.{name}(a, b)", (MAPS, SLOPES), True) for name in ARITHMETIC},
    **{f"{name} rows": Case(f"L.{name}(a, b)", (ROWS, (128, 1)), True) for name in ARITHMETIC},
    **{name: Case(f"L.{name}(a)", (MAPS,), True) for name in UNARY},
    **{name: Case(f"L.{name}(a)", (POSITIVE,), True) for name in ROOTS},
    "clamp": Case("L.clamp(a, -1.0, 1.0)", (MAPS,), True),
    "pow": Case("L.pow(a, 3)", (MAPS,), True),
    "where": Case("L.where(a > 0, a, b)", (MAPS, MAPS), True),
    "masked_fill": Case("L.masked_fill(a, a.detach() > 0, 0.5)", (MAPS,), True),
    **{name: Case(f"L.{name}(a)", (MAPS,), True) for name in REDUCTIONS},
    **{f"{name} (2, 3)": Case(f"L.{name}(a, dim=(2, 3))", (MAPS,), True) for name in REDUCTIONS},
    **{
        f"{name} (0, 2, 3)": Case(f"L.{name}(a, dim=(0, 2, 3))", (MAPS,), True)
        for name in REDUCTIONS
    },
    **{f"{name} 0": Case(f"L.{name}(a, dim=0)", (SQUARE,), True) for name in REDUCTIONS},
    **{f"{name} 1": Case(f"L.{name}(a, dim=1)", (SQUARE,), True) for name in REDUCTIONS},
}


def arrays(case: Case) -> list[tuple[np.ndarray, bool]]:
    """Draw a case's arrays, the same on both sides, and whether each wants a gradient.

    Images are channels-last.
    """
    rng = np.random.default_rng(0)
    drawn = []
    for what in case.arrays:
        if what[0] == "k":
            drawn.append((rng.integers(0, what[2], what[1]), False))
        elif what[0] == "sign":
            signs = np.where(rng.random(what[1]) < 0.5, -1.0, 1.0)
            drawn.append((signs.astype(np.float32), False))
        elif what[0] == "positive":
            drawn.append((_last(np.abs(rng.standard_normal(what[1], np.float32)) + 0.1), True))
        else:
            drawn.append((_last(rng.standard_normal(what, np.float32)), True))
    return drawn


def _last(a: np.ndarray) -> np.ndarray:
    if a.ndim < 4:
        return a
    return np.moveaxis(np.ascontiguousarray(np.moveaxis(a, 1, -1)), -1, 1)


class Timed:
    """One case on one side: what a worker runs."""

    def __init__(self, library: Any, make: Any, name: str) -> None:
        case = CASES[name]
        given = [make(array, wants) for array, wants in arrays(case)]
        self._leaves = [t for t in given if t.requires_grad]
        names = dict(zip("abcdef", given, strict=False))
        self._names = {"L": library, "F": library.nn.functional, **names}
        self._code = compile(case.run, name, "eval")
        y = self._forward()
        rng = np.random.default_rng(1)
        self._gy = make(_last(np.asarray(rng.standard_normal(tuple(y.shape), np.float32))), False)

    def _forward(self) -> Any:
        return eval(self._code, self._names)

    def run(self, count: int) -> list[float]:
        """Run forward and backward; give the seconds of each."""
        taken = []
        for _ in range(count):
            for leaf in self._leaves:
                leaf.grad = None
            begin = time.perf_counter()
            self._forward().backward(self._gy)
            taken.append(time.perf_counter() - begin)
        return taken


def measure(settings: Settings, names: list[str] | None = None) -> dict[str, Any]:
    """Time every case on both sides; what one side lacks is told."""
    found: dict[str, Any] = {}
    with ExitStack() as stack:
        sides = [
            stack.enter_context(Worker(side, settings.threads, backend))
            for side, backend in (("chainrule", settings.backend), ("torch", None))
        ]
        for name in names or CASES:
            try:
                found[name] = _pair(sides, name, settings.rounds)
            except WorkerError as error:
                found[name] = {"error": str(error).strip().rsplit("\n", 1)[-1][:200]}
            show(name, found[name])
    return found


def _pair(sides: list[Worker], name: str, rounds: int) -> dict[str, Any]:
    counts = []
    for side in sides:
        seconds = side.ask("block", name=name, count=3)
        counts.append(max(1, min(50, round(TURN / min(seconds)))))
    taken: list[list[float]] = [[], []]
    for _ in range(rounds):
        for side, count, kept in zip(sides, counts, taken, strict=True):
            time.sleep(PAUSE)
            side.ask("block", name=name, count=1)
            kept.append(statistics.median(side.ask("block", name=name, count=count)))
    ours, theirs = (statistics.median(t) for t in taken)
    ratio = statistics.median(b / a for a, b in zip(*taken, strict=True))
    return {
        "ours_ms": round(1e3 * ours, 4),
        "peer_ms": round(1e3 * theirs, 4),
        "ratio": round(ratio, 3),
        "bar": 1.0 if CASES[name].same else 0.5,
    }


def show(name: str, figures: Mapping[str, Any]) -> None:
    """Print one case."""
    if "error" in figures:
        line(name, "-", figures["error"])
        return
    line(
        name,
        f"{figures['ratio']:.2f} x",
        f"{figures['ours_ms']:.3f} / {figures['peer_ms']:.3f} ms; bar: {figures['bar']:g}",
        figures["ratio"] >= figures["bar"],
    )
