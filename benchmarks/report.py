"""How a measurement is taken and printed: interleaved, as a median, beside its bar."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence


def interleave(
    calls: Sequence[Callable[[], object]], rounds: int, warm: int = 1
) -> list[list[float]]:
    """Time each call in turn, round after round, so that a busy moment strikes all alike.

    Gives the seconds of every round for each call; the first `warm` rounds are thrown away.
    """
    times: list[list[float]] = [[] for _ in calls]
    for turn in range(warm + rounds):
        for call, kept in zip(calls, times, strict=True):
            begin = time.perf_counter()
            call()
            if turn >= warm:
                kept.append(time.perf_counter() - begin)
    return times


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> tuple[float, float, float]:
    """Median, smallest and largest quotient of the rounds' pairs."""
    quotients = [a / b for a, b in zip(ours, theirs, strict=True)]
    return statistics.median(quotients), min(quotients), max(quotients)


def line(what: str, figure: str, bar: str = "", ok: bool | None = None) -> None:
    """Print one figure with its bar; nothing is asserted."""
    verdict = "" if ok is None else "   met" if ok else "   NOT MET"
    print(f"{what:<46} {figure:>26}   {bar}{verdict}".rstrip(), flush=True)
