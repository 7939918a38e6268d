"""A training that is killed at any moment goes on and ends with the same bits."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from chainrule.formats import load_safetensors
from chainrule.training import RunFolder, load_checkpoint
from chainrule.training.folder import METRICS, WEIGHTS
from tests.cli.test_process import START

pytestmark = [
    pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX here"),
    pytest.mark.slow,
]

EPOCHS, MOMENTS = 60, 20


def command(small_set: str, out: Path) -> list[str]:
    fresh = ["train", "lenet5", "--data", "mnist", "--data-dir", small_set, "--out", str(out)]
    choices = ["--epochs", str(EPOCHS), "--average", "ema", "--checkpoint-minutes", "0.0001"]
    return [*START, *fresh, *choices]


def finish(small_set: str, out: Path) -> None:
    """Go on where there is something to go on from, else begin."""
    begun = (out / "config.json").exists()
    again = [*START, "train", "--resume", str(out)] if begun else command(small_set, out)
    done = subprocess.run(again, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0 or "this run is finished" in done.stderr, done.stderr


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path, float]:
    """The data, an uninterrupted run, and how long it takes."""
    from tests.data.test_mnist import write_set

    folder = tmp_path_factory.mktemp("kills")
    (folder / "data").mkdir()
    write_set(folder / "data")
    begun = time.monotonic()
    subprocess.run(
        command(str(folder / "data"), folder / "whole"),
        check=True,
        capture_output=True,
        timeout=120,
    )
    return str(folder / "data"), folder / "whole", time.monotonic() - begun


@pytest.mark.parametrize("moment", range(MOMENTS))
def test_killed_and_gone_on_with(
    whole: tuple[str, Path, float], tmp_path: Path, moment: int
) -> None:
    small_set, reference, seconds = whole
    out = tmp_path / "run"
    process = subprocess.Popen(
        command(small_set, out), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    time.sleep(random.Random(moment).uniform(0.3, 1.0) * seconds)
    process.kill()
    process.wait()
    readable(out)
    finish(small_set, out)
    for name in (WEIGHTS, METRICS):
        assert (out / name).read_bytes() == (reference / name).read_bytes(), name
    assert not [path for path in out.rglob("*") if path.name.endswith(".tmp")]


def readable(out: Path) -> None:
    """Whatever is there under its final name is whole."""
    if (out / WEIGHTS).exists():
        load_safetensors(out / WEIGHTS)
    if (out / METRICS).exists():
        assert RunFolder(out).read_metrics()
    for path in (out / "checkpoints").glob("step-*.safetensors"):
        load_checkpoint(path)


def test_killed_again_and_again(whole: tuple[str, Path, float], tmp_path: Path) -> None:
    small_set, reference, seconds = whole
    out, chance = tmp_path / "run", random.Random(99)
    for _ in range(4):
        begun = (out / "config.json").exists()
        again = [*START, "train", "--resume", str(out)] if begun else command(small_set, out)
        process = subprocess.Popen(again, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(chance.uniform(0.3, 0.7) * seconds)
        process.kill()
        process.wait()
        readable(out)
    finish(small_set, out)
    assert (out / WEIGHTS).read_bytes() == (reference / WEIGHTS).read_bytes()
