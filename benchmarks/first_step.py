"""From starting Python to the end of the first training step of LeNet-5, beside PyTorch."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import machine
from report import line, ratio
from training import Settings
from worker import clean_environment

BAR = 1 / 3
HERE = Path(__file__).parent

_COMMON = """
import time
begin = time.perf_counter()
import numpy as np
x = np.random.default_rng(0).standard_normal((128, 1, 28, 28), dtype=np.float32)
y = np.arange(128) % 10
{imports}
imported = time.perf_counter()
{build}
built = time.perf_counter()
loss = cross_entropy(model(tensor(x)), tensor(y))
optimizer.zero_grad()
loss.backward()
optimizer.step()
loss = float(loss.item())
done = time.perf_counter()
import json
print(json.dumps([imported - begin, built - imported, done - built]), flush=True)
"""
PROGRAMS = {
    "chainrule": _COMMON.format(
        imports="import chainrule as cr",
        build="""
{backend}
model = cr.models.create_model("lenet5", image_size=28)
optimizer = cr.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
cross_entropy, tensor = cr.nn.functional.cross_entropy, cr.tensor
""",
    ),
    "torch": _COMMON.format(
        imports="import torch\nfrom peers.pytorch_networks import LeNet5",
        build="""
model = LeNet5(10, 1, image_size=28)
optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
cross_entropy, tensor = torch.nn.functional.cross_entropy, torch.from_numpy
""",
    ),
}


def once(side: str, settings: Settings) -> dict[str, float]:
    """Run one process; give the seconds until its step was done, and those of its parts."""
    chosen = f"cr.use_backend({settings.backend!r})" if settings.backend else ""
    program = PROGRAMS[side].replace("{backend}", chosen)
    paths = [str(HERE), *filter(None, [os.environ.get("PYTHONPATH")])]
    begin = time.perf_counter()
    with subprocess.Popen(
        [sys.executable, "-c", program],
        stdout=subprocess.PIPE,
        env=clean_environment(settings.threads, PYTHONPATH=os.pathsep.join(paths)),
    ) as process:
        assert process.stdout is not None
        told = process.stdout.readline()
        done = time.perf_counter() - begin
    if process.returncode or not told:
        raise RuntimeError(f"the first step of {side} ended with {process.returncode}")
    imports, build, step = json.loads(told)
    return {"whole": done, "import": imports, "build": build, "step": step}


def measure(settings: Settings) -> dict[str, Any]:
    """Start both sides in turn; give medians in milliseconds and the ratio, ours by theirs."""
    for side in PROGRAMS:
        once(side, settings)  # writes byte code and fills the file cache
    taken: dict[str, list[dict[str, float]]] = {side: [] for side in PROGRAMS}
    for _ in range(settings.rounds):
        for side, kept in taken.items():
            kept.append(once(side, settings))
    whole = {side: [t["whole"] for t in times] for side, times in taken.items()}
    middle, low, high = ratio(whole["chainrule"], whole["torch"])
    found: dict[str, Any] = {"date": machine.today(), "bar": round(BAR, 4)}
    found |= {"ratio": round(middle, 4), "ratio_low": round(low, 4), "ratio_high": round(high, 4)}
    for side, times in taken.items():
        found[side] = {
            part: round(1e3 * statistics.median(t[part] for t in times), 1) for part in times[0]
        }
        found[side]["samples"] = [round(1e3 * t, 1) for t in whole[side]]
    return found


def show(found: Mapping[str, Any]) -> None:
    """Print the figures."""
    line(
        "first step of LeNet-5, chainrule / PyTorch",
        f"{found['ratio']:.2f} ({found['ratio_low']:.2f} to {found['ratio_high']:.2f})",
        "bar: at most 1/3",
        found["ratio"] <= BAR,
    )
    for side in PROGRAMS:
        ms = found[side]
        parts = ", ".join(f"{part} {ms[part]:.0f}" for part in ("import", "build", "step"))
        line(f"  {side}", f"{ms['whole']:.0f} ms", parts)
