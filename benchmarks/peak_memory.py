"""Highest resident memory of a training step, in fresh processes, beside PyTorch's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from networks import Pair
from report import line
from training import Settings, label
from worker import Worker

BAR = 1.0
STEPS = 3  # the first makes gradients and momentum, the second has all of it at once
MIB = 2**20


def measure(pair: Pair, settings: Settings, optimiser: str = "fused") -> dict[str, Any]:
    """Train a few steps in processes that did nothing else; give their peaks in MiB.

    The peer runs eager in both layouts, with the optimiser's form that was the fastest, and the
    one that needs less memory is compared with.  The compiler is left out: it would be counted.
    """
    ours = peak("chainrule", pair, settings, {})
    theirs = {
        label(variant): peak("torch", pair, settings, variant)
        for variant in ({"layout": a, "optimiser": optimiser} for a in ("nchw", "nhwc"))
    }
    best = min(theirs, key=lambda name: theirs[name]["peak"])
    return {
        "ours_mib": ours["peak"],
        "ours_built_mib": [ours["built"], ours["building"]],
        "peer_mib": theirs[best]["peak"],
        "peer_built_mib": [theirs[best]["built"], theirs[best]["building"]],
        "peer_variant": best,
        "peer_variants_mib": {name: figures["peak"] for name, figures in theirs.items()},
        "ratio": round(ours["peak"] / theirs[best]["peak"], 4),
        "bar": BAR,
    }


def peak(side: str, pair: Pair, settings: Settings, variant: Mapping[str, Any]) -> dict[str, float]:
    """Give resident MiB of one side: after it was built, the highest until then, and of all."""
    backend = settings.backend if side == "chainrule" else None
    with Worker(side, settings.threads, backend) as worker:
        worker.ask("build", key=pair.key, batch=settings.batch)
        worker.ask("use", **variant)
        built = worker.ask("memory")
        worker.ask("steps", count=STEPS)
        highest = worker.ask("memory")["peak"]
    figures = {"built": built["now"], "building": built["peak"], "peak": highest}
    return {name: round(size / MIB, 1) for name, size in figures.items()}


def show(found: Mapping[str, Any]) -> None:
    """Print one pair's figures."""
    line(
        "  peak memory, chainrule / PyTorch",
        f"{found['ours_mib']:.0f} / {found['peer_mib']:.0f} MiB = {found['ratio']:.2f}",
        f"bar: at most {BAR:g}",
        found["ratio"] <= BAR,
    )
