"""The command line as a process: interrupted, killed, cut off, slow to start."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from chainrule.training import RunFolder

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX here")

START = [sys.executable, "-c", "from chainrule.cli.main import main; main()"]


def start(*arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*START, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )


def train(small_set: str, out: Path, epochs: int) -> subprocess.Popen[str]:
    options = ["--data", "mnist", "--data-dir", small_set, "--epochs", epochs, "--out", out]
    return start("train", "lenet5", *options)


def wait_for_epoch(process: subprocess.Popen[str], epoch: int) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith(f"epoch {epoch:4}/"):
            return
    pytest.fail(f"it ended before epoch {epoch}: {process.communicate()}")


def test_ctrl_c_saves_and_says_where(small_set: str, tmp_path: Path) -> None:
    out = tmp_path / "run"
    with train(small_set, out, 9999) as process:
        wait_for_epoch(process, 2)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    rows = RunFolder(out).read_metrics()
    said = f"interrupted: the weights after epoch {len(rows)} of 9999 are in {out}; "
    assert err == f"{said}chainrule train --resume {out} goes on\n"
    assert len(rows) >= 2
    RunFolder(out).load_model()
    names = {path.name for path in out.iterdir()}
    assert {"weights.safetensors", "metrics.csv", "config.json"} <= names
    assert not [name for name in names if name.endswith(".tmp")]


def test_sigterm_saves_too(small_set: str, tmp_path: Path) -> None:
    out = tmp_path / "run"
    with train(small_set, out, 9999) as process:
        wait_for_epoch(process, 1)
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 143
    assert "goes on" in err
    assert list((out / "checkpoints").iterdir())


def test_a_killed_training_leaves_something_readable(small_set: str, tmp_path: Path) -> None:
    for delay in (0.0, 0.003, 0.011):
        out = tmp_path / f"run{delay}"
        with train(small_set, out, 9999) as process:
            wait_for_epoch(process, 2)
            time.sleep(delay)
            process.kill()
            process.communicate()
        assert len(RunFolder(out).read_metrics()) >= 2
        RunFolder(out).load_model()
        with train(small_set, out, 1) as again:
            _, err = again.communicate(timeout=60)
        assert again.returncode == 1
        assert "already holds a run" in err


def test_a_disk_that_is_full_half_way(small_set: str, tmp_path: Path) -> None:
    program = (
        "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000)); "
        "from chainrule.cli.main import main; main()"
    )
    out = tmp_path / "run"
    options = ["--data", "mnist", "--data-dir", small_set, "--epochs", "1", "--out", str(out)]
    done = subprocess.run(
        [sys.executable, "-c", program, "train", "lenet5", *options],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 1
    assert done.stderr == f"error: {out / 'weights.safetensors'}: File too large\n"
    assert not out.exists()


def test_a_reader_that_leaves_early() -> None:
    with start("gradcheck", "all") as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr is not None
        err = process.stderr.read()
        process.wait(timeout=120)
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("imported", "heavy"),
    [
        ("main", ["matplotlib", "sklearn", "PIL", "safetensors", "chainrule.ops", "chainrule.nn"]),
        ("train", ["matplotlib", "sklearn", "PIL", "scipy"]),
        ("predict", ["matplotlib", "sklearn", "PIL", "scipy"]),
    ],
)
def test_heavy_libraries_wait_until_they_are_used(imported: str, heavy: list[str]) -> None:
    program = (
        f"import sys; from chainrule.cli import {imported}; "
        f"print([n for n in {heavy} if n in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"


def test_no_command_shows_the_help_and_no_empty_error() -> None:
    process = start()
    out, error = process.communicate(timeout=60)
    assert "train" in out + error
    assert process.returncode == 2
    assert "error:" not in error


@pytest.mark.parametrize(
    ("shell", "code"),
    [
        ("COLUMNS=30 LC_ALL=C PYTHONIOENCODING=ascii {} train --help", 0),
        ("{} gradcheck relu >&-", 0),  # no standard output at all
    ],
)
def test_output_that_cannot_show_everything(shell: str, code: int) -> None:
    command = shell.format(shlex.join(START))
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (code, "")
