"""The pairs as a picture: how many times faster, beside the bars to clear."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from networks import PAIRS

MET, MISSED, INK = "#2f6f9f", "#c0563b", "#333333"


def draw(results: Mapping[str, Any], path: Path) -> None:
    """Write horizontal bars of the ratios, whiskers over the rounds, and ticks at the bars."""
    import matplotlib

    matplotlib.use("Agg")
    matplotlib.rcParams["svg.hashsalt"] = "chainrule"  # the same figures give the same file
    from matplotlib import pyplot

    pairs = [results["pairs"][key] for key in PAIRS if key in results["pairs"]]
    figure, axes = pyplot.subplots(figsize=(7.5, 1.3 + 0.48 * len(pairs)), layout="constrained")
    for place, pair in enumerate(pairs):
        _draw_pair(axes, place, pair)
    axes.axvline(1.0, color=INK, linewidth=0.8, linestyle=":")
    axes.set_yticks(range(len(pairs)), [f"{p['title']}, batch {p['batch']}" for p in pairs])
    axes.invert_yaxis()
    highest = max(max(p["ratio_high"], p["bar"] or 0.0) for p in pairs)
    axes.set_xlim(0.0, 1.15 * highest)
    version = results["libraries"].get("torch", {}).get("torch", "")
    axes.set_xlabel(f"training steps a second, chainrule / PyTorch {version} (tick: bar to clear)")
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)


def _draw_pair(axes: Any, place: int, pair: Mapping[str, Any]) -> None:
    ratio, low, high, bar = (pair[k] for k in ("ratio", "ratio_low", "ratio_high", "bar"))
    colour = MET if bar is None or ratio >= bar else MISSED
    axes.barh(place, ratio, height=0.6, color=colour)
    axes.hlines(place, low, high, color=INK, linewidth=1.2)
    if bar:
        axes.vlines(bar, place - 0.42, place + 0.42, color=INK, linewidth=2.5)
    axes.text(max(high, bar or 0.0), place, f"  {ratio:.2f}", va="center", color=INK)
