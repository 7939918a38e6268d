"""Measure speed and memory: `python benchmarks/run.py [names] [--rounds N] [--quick]`.

Names are networks (lenet5, resnet20, ...: time, memory and breakdown of a training step beside
PyTorch's), `blocks` (each block alone, beside PyTorch's), `inference` (networks in use, beside
PyTorch and ONNX Runtime), `first_step`, `shapes`, `installed_size`,
or the small benchmarks that are programs of their own (import_time, add_overhead, conv, lenet,
memory, trainer, loader, retrieval).  Without names all run, but for `installed_size`, which
installs packages.
Figures go to benchmarks/results.json and .svg, those of `--quick` to build/bench; nothing is
asserted.  Keep the machine idle meanwhile.
"""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import blocks
import breakdown
import first_step
import inference
import installed_size
import machine
import peak_memory
import plot
import results
import shapes
import table
import training
from networks import PAIRS
from training import Settings
from worker import Worker, WorkerError

HERE = Path(__file__).parent
PROGRAMS = (
    *("import_time", "add_overhead", "conv", "lenet", "memory", "trainer", "loader"),
    "retrieval",
)
OTHERS = ("first_step", "shapes", "blocks", "inference", "installed_size")
QUICK = ("lenet5", "first_step", "shapes")
Record = Callable[..., None]


def arguments(words: list[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    known = (*PAIRS, *OTHERS, *PROGRAMS)
    parser.add_argument("names", nargs="*", metavar="name", help=", ".join(known))
    parser.add_argument("--rounds", type=int, help="of every interleaved run (15; quick: 2)")
    parser.add_argument(
        "--quick", action="store_true", help="see that it works; figures mean little"
    )
    parser.add_argument("--batch", type=int, help="another batch size, with --quick")
    parser.add_argument("--threads", type=int, default=Settings.threads, help="on both sides")
    parser.add_argument("--backend", help="of chainrule; its default otherwise")
    parser.add_argument("--compile-limit", type=float, help="seconds for torch.compile, 0: never")
    parser.add_argument("--installed-size", action="store_true", help="measure that too")
    parser.add_argument("--output", type=Path, help="the file of results")
    parser.add_argument("--table", action="store_true", help="only print the file's table")
    parser.add_argument("--readme", type=Path, help="also write the table into this page")
    given = parser.parse_args(words)
    unknown = sorted(set(given.names) - set(known))
    if unknown:
        parser.error(f"there is no {unknown[0]!r}; there are {', '.join(known)}")
    if given.batch and not given.quick:
        parser.error("--batch changes what is measured: use it with --quick")
    return given


def settings_from(given: argparse.Namespace) -> Settings:
    """Say how to measure."""
    base = Settings(threads=given.threads, backend=given.backend, batch=given.batch)
    if given.quick:
        base = replace(base, rounds=2, passes=1, compile_limit=0.0)
    if given.rounds:
        base = replace(base, rounds=given.rounds)
    if given.compile_limit is not None:
        base = replace(base, compile_limit=given.compile_limit)
    return base


def libraries(settings: Settings) -> dict[str, Any]:
    """Ask both sides what they stand on; a side that does not start is left out."""
    found = {}
    for side in ("chainrule", "torch"):
        try:
            with Worker(side, settings.threads, settings.backend) as worker:
                found[side] = worker.ask("facts")
        except WorkerError as error:
            print(f"{side}: {training.last(error)}", file=sys.stderr)
    return found


class Run:
    """One run: measures what was asked for and writes the results as they come."""

    def __init__(self, given: argparse.Namespace) -> None:
        self.quick = given.quick
        self.settings = settings_from(given)
        self.path = given.output or (results.QUICK if given.quick else results.FILE)
        setting = {"machine": machine.describe(), "date": machine.today()}
        setting |= {"threads": self.settings.threads, "libraries": libraries(self.settings)}
        self.results = results.begin(self.path, setting)
        self.failed = False

    def attempt(self, name: str, measure: Callable[[], None]) -> None:
        """Measure one thing; what cannot be measured is told, and the others go on."""
        print(f"--- {name}", flush=True)
        try:
            measure()
        except (WorkerError, training.Disagreement, subprocess.SubprocessError, RuntimeError) as e:
            self.failed = True
            print(f"{name} could not run: {e}", file=sys.stderr, flush=True)
        else:
            results.write(self.path, self.results)

    def pair(self, key: str) -> None:
        """Time, memory and breakdown of one network's training step."""
        pair, settings = PAIRS[key], self.settings
        with Worker("yardstick", settings.threads) as yardstick:
            found = training.measure(pair, settings, yardstick)
        training.show(found)
        optimiser = found["peer"]["variant"].split(", ")[1]
        found["memory"] = peak_memory.measure(pair, settings, optimiser)
        peak_memory.show(found["memory"])
        found["breakdown"] = breakdown.measure(pair, settings, found["ours"]["variant"])
        print(table.where_time_goes(found), flush=True)
        self.results.setdefault("pairs", {})[key] = found
        best = self.results.setdefault("sgemm_gflops", {})
        for library, rate in found["sgemm_gflops"].items():
            best[library] = max(rate, best.get(library, 0.0))

    def other(self, name: str) -> None:
        """Measure what is no pair."""
        if name == "first_step":
            found = first_step.measure(self.settings)
            first_step.show(found)
        elif name == "shapes":
            size = (40, 10) if self.quick else (shapes.STEPS, shapes.SETTLED)
            found = shapes.measure(self.settings, *size)
            shapes.show(found)
        elif name == "blocks":
            found = blocks.measure(self.settings)
        elif name == "inference":
            found = inference.measure(self.settings)
        else:
            found = installed_size.measure()
            installed_size.show(found)
        self.results[name] = found

    def program(self, name: str) -> None:
        """Run a small benchmark in a process of its own."""
        subprocess.run([sys.executable, str(HERE / f"{name}.py")], check=True)

    def everything(self, names: list[str]) -> None:
        """Run what is named, in a fixed order."""
        for name in (*PROGRAMS, *OTHERS, *PAIRS):
            if name not in names:
                continue
            kind = self.pair if name in PAIRS else self.other if name in OTHERS else self.program
            self.attempt(name, lambda kind=kind, name=name: kind(name))  # type: ignore[misc]


def chosen(given: argparse.Namespace) -> list[str]:
    """List the names that are to run."""
    usual = (
        QUICK if given.quick else (*PROGRAMS, "first_step", "shapes", "blocks", "inference", *PAIRS)
    )
    return [*(given.names or usual)] + ["installed_size"] * given.installed_size


def finish(found: results.Results, path: Path, page: Path | None) -> None:
    """Print the table, draw the plot, and write the table into a page if one is named."""
    text = table.markdown(found)
    print(f"\n{text}\n\nresults: {path}")
    if found.get("pairs"):
        plot.draw(found, path.with_suffix(".svg"))
        print(f"plot: {path.with_suffix('.svg')}")
    if page is not None:
        page.write_text(table.into_page(page.read_text("utf-8"), text), "utf-8")


def main() -> int:
    """Run; give 1 if something could not be measured."""
    given = arguments(sys.argv[1:])
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the workers end too
    if given.table:
        path = given.output or results.FILE
        finish(results.read(path), path, given.readme)
        return 0
    run = Run(given)
    run.everything(chosen(given))
    finish(run.results, run.path, given.readme)
    return int(run.failed)


if __name__ == "__main__":
    sys.exit(main())
