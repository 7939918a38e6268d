"""The results as Markdown, as the README carries them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from networks import PAIRS

BEGIN, END = "<!-- benchmarks: begin -->", "<!-- benchmarks: end -->"

HEAD = (
    "training step",
    "chainrule",
    "PyTorch",
    "times faster (of rounds)",
    "bar",
    "of sgemm",
    "peak memory",
)

USING = (
    "network in use",
    "chainrule",
    "PyTorch",
    "times faster",
    "ONNX Runtime",
    "times faster (bar 0.91)",
)


def markdown(results: Mapping[str, Any]) -> str:
    """Give machine and date, the table of pairs, and the other figures with their bars."""
    parts = [setting(results)]
    pairs = results.get("pairs", {})
    if pairs:
        rows = [row(pairs[key]) for key in PAIRS if key in pairs]
        parts.append("\n".join(grid(HEAD, rows)))
    if using := results.get("inference"):
        parts.append("\n".join(grid(USING, [used(*case) for case in using.items()])))
    others = rest(results)
    if others:
        parts.append("\n".join(grid(("what", "measured", "bar"), others)))
    return "\n\n".join(parts)


def grid(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Lay out a Markdown table."""
    lines = [head, ["---"] + ["---:"] * (len(head) - 1), *rows]
    return ["| " + " | ".join(cells) + " |" for cells in lines]


def setting(results: Mapping[str, Any]) -> str:
    """Say on what, with what and when it was measured."""
    machine, libraries = results["machine"], results["libraries"]
    ours, peer = libraries.get("chainrule", {}), libraries.get("torch", {})
    numbers = f" ({machine['processor_numbers']})" if machine["processor_numbers"] else ""
    isa = next((f for f in ("avx512f", "avx2", "asimd") if f in machine["instruction_sets"]), "")
    where = f"{machine['processor']}{numbers}, {results['threads']} threads"
    where += f", {isa.removesuffix('f').upper()}" if isa else ""
    library = f" {ours['library']}" if ours.get("library") else ""
    who = f"chainrule {ours.get('chainrule', '?')} on {ours.get('backend', '?')}{library}"
    them = f"PyTorch {peer.get('torch', '-')} (oneDNN {peer.get('onednn', '-')})"
    day = str(results["date"]).split(" ")[0]
    return f"Measured {day} on {where}, float32: {who} against {them}."


def row(pair: Mapping[str, Any]) -> list[str]:
    """Lay out one pair."""
    ours, peer, memory = pair["ours"], pair["peer"], pair.get("memory")
    bar = pair["bar"]
    ratio = f"{pair['ratio']:.2f} ({pair['ratio_low']:.2f} to {pair['ratio_high']:.2f})"
    return [
        f"{pair['title']}, batch {pair['batch']}, {pair['image'][1]}x{pair['image'][2]}",
        duration(ours["median_ms"]),
        f"{duration(peer['median_ms'])} ({peer['variant']})",
        ratio,
        verdict(f"{bar:g}", pair["ratio"] >= bar) if bar else "-",
        f"{100 * ours['of_sgemm']:.0f} %",
        f"{memory['ours_mib']:.0f} / {memory['peer_mib']:.0f} MiB" if memory else "-",
    ]


def used(name: str, found: Mapping[str, Any]) -> list[str]:
    """Lay out a network in use beside both peers."""
    torch, runtime = (f"{found[k][0]:.2f}" for k in ("torch", "onnxruntime"))
    return [
        name,
        duration(found["ours_ms"]),
        f"{duration(found['torch_ms'])} ({found['variant']})",
        verdict(torch, found["torch"][0] >= 1),
        duration(found["onnxruntime_ms"]),
        verdict(runtime, found["onnxruntime"][0] >= 1 / 1.1),
    ]


def duration(ms: float) -> str:
    """Write milliseconds with three digits that count."""
    return f"{ms:.3g} ms" if ms < 1000 else f"{ms:.0f} ms"


def verdict(bar: str, met: bool) -> str:
    """Write a bar, and say so where it was missed."""
    return bar if met else f"{bar}, missed"


def rest(results: Mapping[str, Any]) -> list[list[str]]:
    """Lay out what is not a pair."""
    rows = []
    if first := results.get("first_step"):
        figure = f"{first['chainrule']['whole']:.0f} / {first['torch']['whole']:.0f} ms"
        what = "first step of LeNet-5 in a fresh process, chainrule / PyTorch"
        rows.append(
            [what, f"{figure} = {first['ratio']:.2f}", verdict("1/3", first["ratio"] <= 1 / 3)]
        )
    worst = [p["memory"]["ratio"] for p in results.get("pairs", {}).values() if p.get("memory")]
    if worst:
        what = "peak memory of a training step, chainrule / PyTorch, the worst"
        rows.append([what, f"{max(worst):.2f}", verdict("1", max(worst) <= 1)])
    if shapes := results.get("shapes"):
        grown = shapes["chainrule"]["growth_percent"]
        what = f"{shapes['steps']} random shapes: memory grown after step {shapes['settled']}"
        told = f"{grown:+.1f} % (PyTorch {shapes['torch']['growth_percent']:+.1f} %)"
        rows.append([what, told, verdict("3 %", grown < shapes["bar"])])
    if size := results.get("installed_size"):
        torch = f" (PyTorch alone {size['torch_mb']:.0f} MB)" if size.get("torch_mb") else ""
        bar = verdict(f"{size['bar']:g} MB", size["mb"] <= size["bar"])
        rows.append(["installed size without pip", f"{size['mb']:.0f} MB{torch}", bar])
    if sgemm := results.get("sgemm_gflops"):
        rates = ", ".join(f"{name} {rate:.0f}" for name, rate in sgemm.items())
        rows.append(["the machine's sgemm, 2048 cubed, GFLOP/s", rates, "-"])
    return rows


def where_time_goes(pair: Mapping[str, Any]) -> str:
    """Give a pair's breakdown as Markdown: milliseconds a step by operation, then the rest."""
    found = pair["breakdown"]
    total = found["step_ms"]
    rows = []
    for kind in found["operations"]:
        forward, backward = kind["forward_ms"], kind["backward_ms"]
        rates = [kind["forward_gflops"], kind["backward_gflops"]]
        rows.append(
            [
                kind["operation"] + ("" if kind["fast"] else " (reference)"),
                f"{kind['forward_calls']:g}",
                f"{forward:.2f}",
                f"{backward:.2f}",
                f"{100 * (forward + backward) / total:.1f} %",
                " / ".join(f"{r:.0f}" for r in rates if r) or "-",
            ]
        )
    for part, ms in found["parts_ms"].items():
        rows.append([part, "", f"{ms:.2f}", "", f"{100 * ms / total:.1f} %", "-"])
    head = ("operation", "calls", "forward ms", "backward ms", "share", "GFLOP/s")
    return "\n".join(grid(head, rows))


def into_page(page: str, text: str) -> str:
    """Put the table between its two marks in a page.  Raises ValueError if they are not there."""
    before, begin, after = page.partition(BEGIN)
    _, end, behind = after.partition(END)
    if not begin or not end:
        raise ValueError(f"the page has no lines {BEGIN} and {END}")
    return f"{before}{begin}\n\n{text}\n\n{end}{behind}"
