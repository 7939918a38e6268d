"""What the engine adds to `np.add` for two tensors of 4 floats with gradients on."""

from __future__ import annotations

import importlib.util
import statistics

import numpy as np
from report import interleave, line

import chainrule as cr

BAR = 10.0  # microseconds
CALLS, ROUNDS = 40, 1000  # short blocks: most are over before the scheduler cuts in


def repeat(function: object, x: object, y: object) -> object:
    """Give a call that runs function(x, y) many times."""

    def run() -> None:
        for _ in range(CALLS):
            function(x, y)  # type: ignore[operator]

    return run


def main() -> None:
    """Print the overhead in microseconds."""
    x, y = np.arange(4, dtype=np.float32), np.ones(4, dtype=np.float32)
    a, b = cr.tensor(x, requires_grad=True), cr.tensor(y, requires_grad=True)
    calls = {"np.add": repeat(np.add, x, y), "cr.add": repeat(cr.add, a, b)}
    if importlib.util.find_spec("torch"):
        import torch

        p, q = torch.tensor(x, requires_grad=True), torch.tensor(y, requires_grad=True)
        calls["torch.add"] = repeat(torch.add, p, q)
    taken = interleave(list(calls.values()), ROUNDS, warm=5)
    each = {
        name: [1e6 * t / CALLS for t in times] for name, times in zip(calls, taken, strict=True)
    }
    extra = statistics.median(
        ours - bare for ours, bare in zip(each["cr.add"], each["np.add"], strict=True)
    )
    line(
        "add of 4 floats, gradients on, less np.add",
        f"{extra:.2f} us",
        f"bar: at most {BAR:g} us",
        extra <= BAR,
    )
    for name, times in each.items():
        line(f"  {name}", f"{statistics.median(times):.2f} us")


if __name__ == "__main__":
    main()
