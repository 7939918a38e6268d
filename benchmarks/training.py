"""One training step on both sides, in one interleaved run, each side in its own process."""

from __future__ import annotations

import contextlib
import math
import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import machine
from networks import Pair
from report import line, ratio
from worker import Worker, WorkerError, WorkerTimeout, processors

PAUSE = 0.2  # seconds: OpenMP's threads spin for milliseconds after their work, BLAS's for 0.1 s
NEAR = 1.3  # variants slower than this by the best's time are tried once
TURN, MOST = 0.5, 50  # seconds that one side computes at a time, and steps at most
CHANGE, STEPS = 0.01, 3  # part of the loss that a checked step should take off, and such steps
LOSS_WITHIN, GRADIENT_WITHIN = 1e-3, 1e-2
SMALL = 1e-3  # of the whole gradient: below it a parameter's is mostly rounding
IDLE = 0.02  # processor seconds a second that the waiting side may use

Variant = dict[str, Any]


@dataclass(frozen=True)
class Settings:
    """How long and how to measure."""

    rounds: int = 15
    passes: int = 3  # over the variants, to choose the fastest
    compile_limit: float = 900.0  # seconds for the first steps of torch.compile; 0: not tried
    batch: int | None = None  # another than the pair's, for trying this program out
    threads: int = processors()
    backend: str | None = None


class Disagreement(RuntimeError):
    """The two sides do not compute the same; their times would mean nothing."""


def label(variant: Variant) -> str:
    """Name a variant: "nhwc, fused, compiled"."""
    words = [w for key, w in variant.items() if key != "compiled"]
    return ", ".join(words + ["compiled"] * bool(variant.get("compiled")))


def agree(ours: Worker, peer: Worker, pair: Pair, batch: int | None) -> dict[str, Any]:
    """Build both networks, copy our weights over, and compare what both compute.

    First loss and gradients without dropout, then the losses of a few steps, which show that the
    optimisers agree.  These steps are short, since batch norm over few values makes a little
    rounding a lot in long ones.  Raises Disagreement, with the figures.
    """
    counts = [w.ask("build", key=pair.key, batch=batch)["parameters"] for w in (ours, peer)]
    if counts[0] != counts[1]:
        raise Disagreement(f"{pair.key}: {counts[0]} parameters here, {counts[1]} in the peer")
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "weights.npz")
        ours.ask("save", path=path)
        peer.ask("load", path=path)
    a, b = (w.ask("check") for w in (ours, peer))
    compare(pair.key, a, b)
    rate = CHANGE * b["loss"] / sum(g * g for g in b["gradients"].values())
    losses = [w.ask("descend", rate=rate, count=STEPS + 1) for w in (ours, peer)]
    for x, y in zip(*losses, strict=True):
        _same(pair.key, f"the loss in steps of {rate:.3g}", x, y, LOSS_WITHIN * abs(y))
    return {"parameters": counts[0], "losses": losses}


def compare(key: str, ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> None:
    """Raise Disagreement unless both checks gave the same, within the bounds above."""
    _same(key, "the loss", ours["loss"], theirs["loss"], LOSS_WITHIN * abs(theirs["loss"]))
    whole = math.hypot(*theirs["gradients"].values())
    if set(ours["gradients"]) != set(theirs["gradients"]):
        raise Disagreement(f"{key}: gradients of other parameters here than in the peer")
    for name, y in theirs["gradients"].items():
        within = GRADIENT_WITHIN * max(y, SMALL * whole)
        _same(key, f"the length of {name}'s gradient", ours["gradients"][name], y, within)


def _same(key: str, what: str, ours: float, theirs: float, within: float) -> None:
    if not (math.isfinite(theirs) and abs(ours - theirs) <= within):
        raise Disagreement(f"{key}: {what} is {ours:.6g} here, {theirs:.6g} in the peer")


def count_for(worker: Worker) -> int:
    """Find how many steps fill a turn."""
    return count_of(first_steps(worker))


def first_steps(worker: Worker) -> float:
    """Run a step that does not count and two that do; give their seconds."""
    worker.ask("steps", count=1)
    return statistics.median(worker.ask("steps", count=2)["seconds"])


def count_of(seconds: float) -> int:
    """Say how many steps of so many seconds fill a turn."""
    return max(1, min(MOST, round(TURN / seconds)))


def turn(worker: Worker, count: int) -> list[float]:
    """Let one side compute: a step that wakes its threads and caches, then `count` timed ones."""
    worker.ask("steps", count=1)
    seconds: list[float] = worker.ask("steps", count=count)["seconds"]
    return seconds


def fastest(worker: Worker, passes: int) -> tuple[Variant, dict[str, float]]:
    """Try a side's variants; give the fastest, and the median seconds of all.

    After a short first pass only those near the best go on, in turn, for `passes` more.
    """
    variants = {label(v): v for v in worker.ask("variants")}
    first = {}
    for name, variant in variants.items():
        worker.ask("use", **variant)
        first[name] = first_steps(worker)
    near = [name for name, taken in first.items() if taken <= NEAR * min(first.values())]
    times: dict[str, list[float]] = {name: [] for name in near}
    for _ in range(passes):
        for name in near:
            worker.ask("use", **variants[name])
            times[name].append(statistics.median(turn(worker, count_of(first[name]))))
    medians = first | {name: statistics.median(taken) for name, taken in times.items()}
    best = variants[min(near, key=lambda name: medians[name])]
    worker.ask("use", **best)
    return best, medians


def alternate(workers: Sequence[Worker], rounds: int) -> tuple[list[list[list[float]]], float]:
    """Let workers compute A B A B ...; give each one's seconds by round, and the idle ones' use.

    The second figure is the largest share of a processor that the waiting workers took in a turn.
    """
    counts = [count_for(w) for w in workers]
    taken: list[list[list[float]]] = [[] for _ in workers]
    awake = 0.0
    for _ in range(rounds):
        for worker, count, kept in zip(workers, counts, taken, strict=True):
            time.sleep(PAUSE)
            waiting = [w for w in workers if w is not worker]
            before, begin = sum(w.busy() for w in waiting), time.perf_counter()
            kept.append(turn(worker, count))
            used = sum(w.busy() for w in waiting) - before
            awake = max(awake, used / (time.perf_counter() - begin))
    return taken, awake


class Compiled:
    """`torch.compile` as a variant of the peer: it is used where it is faster than eager."""

    def __init__(self, pair: Pair, settings: Settings, stack: contextlib.ExitStack) -> None:
        self.pair, self.settings, self.stack = pair, settings, stack
        self.notes: dict[str, str] = {}
        self.ratios: dict[str, float] = {}
        self.left = settings.compile_limit

    def challenge(self, eager: Worker, variant: Variant) -> tuple[Worker, Variant]:
        """Compile for both layouts; give the fastest worker, ending the others."""
        if self.left <= 0 or machine.compiler() is None:
            why = "not asked for" if self.left <= 0 else "no C++ compiler found"
            self.notes["all"] = f"not tried: {why}"
            return eager, variant
        best, chosen = eager, variant
        other = "nchw" if variant["layout"] == "nhwc" else "nhwc"
        for layout in (variant["layout"], other):
            candidate = {**variant, "layout": layout, "compiled": True}
            worker = self._prepare(candidate)
            if worker is not None:
                best, chosen = self._duel(best, chosen, worker, candidate)
        return best, chosen

    def _prepare(self, candidate: Variant) -> Worker | None:
        """Start a worker and compile; None, with a note, where that fails or takes too long."""
        with tempfile.TemporaryDirectory() as cache:
            worker = Worker("torch", self.settings.threads, TORCHINDUCTOR_CACHE_DIR=cache)
            self.stack.callback(worker.close)
            begin = time.perf_counter()
            try:
                worker.ask("build", key=self.pair.key, batch=self.settings.batch)
                worker.ask("use", **candidate)
                worker.ask("steps", timeout=max(self.left, 1.0), count=2)
            except WorkerError as error:
                worker.close()
                late = isinstance(error, WorkerTimeout)
                what = f"not done after {self.left:.0f} s" if late else f"failed: {last(error)}"
                self.notes[label(candidate)] = what
                self.left -= time.perf_counter() - begin
                return None
        taken = time.perf_counter() - begin
        self.left -= taken
        self.notes[label(candidate)] = f"compiled in {taken:.0f} s"
        return worker

    def _duel(
        self, best: Worker, chosen: Variant, worker: Worker, candidate: Variant
    ) -> tuple[Worker, Variant]:
        """Keep the faster of two in a short interleaved run."""
        taken, _ = alternate((best, worker), self.settings.passes + 1)
        old, new = (statistics.median(map(statistics.median, t)) for t in taken)
        self.ratios[f"{label(candidate)} / {label(chosen)}"] = round(new / old, 3)
        if new < old:
            best.close()
            return worker, candidate
        worker.close()
        return best, chosen


def last(error: BaseException) -> str:
    """Give the last line of a message, which in a traceback is the error itself."""
    return str(error).strip().rsplit("\n", 1)[-1][:300]


def measure(pair: Pair, settings: Settings, yardstick: Worker) -> dict[str, Any]:
    """Check, choose the variants, time both sides; give everything that was found.

    Raises WorkerError where a side fails and Disagreement where both differ.
    """
    began = machine.load()
    with contextlib.ExitStack() as stack:
        ours = stack.enter_context(Worker("chainrule", settings.threads, settings.backend))
        peer = stack.enter_context(Worker("torch", settings.threads))
        checked = agree(ours, peer, pair, settings.batch)
        adds = peer.ask("multiply_adds")
        our_variant, our_times = fastest(ours, settings.passes)
        variant, times = fastest(peer, settings.passes)
        compiled = Compiled(pair, settings, stack)
        peer, variant = compiled.challenge(peer, variant)
        before = yardstick.ask("sgemm")
        taken, awake = alternate((ours, peer), settings.rounds)
        sgemm = {k: max(v, before[k]) for k, v in yardstick.ask("sgemm").items()}
    found = summary(pair, taken[0], taken[1], adds, sgemm)
    found |= {"date": machine.today(), "check": checked, "sgemm_gflops": rounded(sgemm)}
    found |= {"idle_share": round(awake, 4), "load_before": began, "threads": settings.threads}
    found["ours"] |= {"variant": label(our_variant), "variants_ms": milliseconds(our_times)}
    found["peer"] |= {"variant": label(variant), "variants_ms": milliseconds(times)}
    found["peer"] |= {"compile": compiled.notes, "compile_ratios": compiled.ratios}
    found["batch"] = settings.batch or pair.batch
    return found


def summary(
    pair: Pair,
    ours: Sequence[Sequence[float]],
    theirs: Sequence[Sequence[float]],
    adds: Mapping[str, int],
    sgemm: Mapping[str, float],
) -> dict[str, Any]:
    """Turn seconds by round into medians, the ratio, and parts of the machine's rate.

    A round's figure is the median of its steps; the ratio is the median over rounds of theirs by
    ours.  A step has three products for each of the forward's multiply-adds, but for the first
    layer's gradient by the images, which is not computed.
    """
    sides = []
    work = 3 * adds["forward"] - adds["first"]
    for taken in (ours, theirs):
        rounds = [statistics.median(steps) for steps in taken]
        middle = statistics.median(rounds)
        rate = 2 * work / middle / 1e9
        sides.append(
            {
                "median_ms": round(1e3 * middle, 4),
                "gflops": round(rate, 1),
                "of_sgemm": round(rate / max(sgemm.values()), 4),
                "samples_ms": [[round(1e3 * s, 3) for s in steps] for steps in taken],
            }
        )
    middle, low, high = ratio(
        [statistics.median(t) for t in theirs], [statistics.median(o) for o in ours]
    )
    return {
        "title": pair.title,
        "image": [pair.channels, pair.side, pair.side],
        "bar": pair.bar,
        "ratio": round(middle, 4),
        "ratio_low": round(low, 4),
        "ratio_high": round(high, 4),
        "multiply_adds_forward": adds["forward"],
        "multiply_adds_step": work,
        "ours": sides[0],
        "peer": sides[1],
    }


def milliseconds(times: Mapping[str, float]) -> dict[str, float]:
    """Round seconds to milliseconds for the file."""
    return {name: round(1e3 * taken, 4) for name, taken in times.items()}


def rounded(rates: Mapping[str, float]) -> dict[str, float]:
    """Round rates for the file."""
    return {name: round(rate, 1) for name, rate in rates.items()}


def show(found: Mapping[str, Any]) -> None:
    """Print one pair's figures."""
    ours, peer, bar = found["ours"], found["peer"], found["bar"]
    line(
        f"{found['title']}, batch {found['batch']}",
        f"{found['ratio']:.2f} x ({found['ratio_low']:.2f} to {found['ratio_high']:.2f})",
        f"bar: at least {bar:g}" if bar else "",
        None if bar is None else found["ratio"] >= bar,
    )
    for name, side in (("chainrule", ours), ("PyTorch", peer)):
        line(
            f"  {name} ({side['variant']})",
            f"{side['median_ms']:.2f} ms",
            f"{side['gflops']:.0f} GFLOP/s, {100 * side['of_sgemm']:.0f} % of sgemm",
        )
    for name, note in peer["compile"].items():
        line(f"  torch.compile, {name}", note)
    if found["idle_share"] > IDLE:
        line("  the waiting side was awake", f"{100 * found['idle_share']:.0f} % of a processor")
