"""Forward and all three gradients of conv2d, as a part of this machine's sgemm rate."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
from report import interleave, line, ratio

from chainrule.ops.conv import Conv

ROUNDS = 15
SIDE = 2048  # of the square matrices whose product is the yardstick
CASES = {
    # batch, channels, side, filters, kernel, padding, whether the input wants a gradient
    "16x64x56x56, 3x3, 64 filters": (16, 64, 56, 64, 3, 1, True),
    "LeNet-5 C1: 64x1x32x32, 5x5, 6 filters": (64, 1, 32, 6, 5, 0, False),
    "LeNet-5 C3: 64x6x14x14, 5x5, 16 filters": (64, 6, 14, 16, 5, 0, True),
    "LeNet-5 C5: 64x16x5x5, 5x5, 120 filters": (64, 16, 5, 120, 5, 0, True),
}
BAR = "16x64x56x56, 3x3, 64 filters"


def sgemm() -> Callable[[], object]:
    """Give a call that multiplies two square matrices."""
    a = np.random.default_rng(0).standard_normal((SIDE, SIDE), dtype=np.float32)
    product = np.empty_like(a)
    return lambda: np.matmul(a, a, out=product)


def convolution(
    n: int, c: int, side: int, o: int, k: int, p: int, wants: bool, last: bool
) -> tuple[Callable[[], object], float]:
    """Give a call that convolves forward and backward, and its number of operations."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((n, side, side, c) if last else (n, c, side, side), dtype=np.float32)
    x = x.transpose(0, 3, 1, 2) if last else x
    w = rng.standard_normal((o, c, k, k), dtype=np.float32)
    b = rng.standard_normal(o, dtype=np.float32)
    op = Conv(padding=((p, p), (p, p)))
    y = op.forward(np, x, w, b)[0][0]
    gy = np.empty_like(y)
    gy[...] = rng.standard_normal(y.shape)

    def run() -> None:
        _, saved = op.forward(np, x, w, b)
        op.backward(np, saved, gy, (wants, True, True))

    return run, (2.0 + wants) * 2 * y.size * c * k * k


def rest() -> None:
    """Do nothing for a moment."""
    time.sleep(0.1)


def main() -> None:
    """Print each case's rate as a part of sgemm's, and its time."""
    work = 2.0 * SIDE**3
    for name, case in CASES.items():
        for last in (False, True):
            run, operations = convolution(*case, last)
            # BLAS's threads spin for a while after a product: the pause lets them fall asleep
            gemm_times, _, times = interleave((sgemm(), rest, run), ROUNDS, warm=2)
            middle, low, high = (
                operations / work / q for q in ratio(times, gemm_times)
            )  # of the rates: the inverse of the times, for equal work
            what = f"{name}, {'channels last' if last else 'channels first'}"
            took = f"{min(times) * 1e3:.2f} ms, {operations / min(times) / 1e9:.0f} GFLOP/s"
            figure = f"{middle:.2f} of sgemm ({high:.2f}-{low:.2f})"
            bar, ok = ("at least 0.33", middle >= 1 / 3) if name == BAR else ("", None)
            line(what, f"{figure}, {took}", bar, ok)
    print(f"sgemm, {SIDE} cubed: {work / min(gemm_times) / 1e9:.0f} GFLOP/s")


if __name__ == "__main__":
    main()
