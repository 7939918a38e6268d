"""The library's own pairs, which serve where our kernels do not: in a process without them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from chainrule.native.library import VARIABLE
from tests.backends.onednn.conftest import of_kernels

ROOT = Path(__file__).parents[3]


@of_kernels  # where they are switched off, all tests are of the library's pairs
def test_samples_without_kernels() -> None:
    """`CHAINRULE_KERNELS=0 pytest tests/backends/onednn` runs the rest."""
    suite = "tests/backends/onednn/test_pairs.py"
    only = "test_samples or test_the_switch_decides"
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", only, suite],
        cwd=ROOT,
        env={**os.environ, VARIABLE: "0"},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    passed = re.search(r"^(\d+) passed, (?:\d+ skipped, )?\d+ deselected", ran.stdout, re.M)
    assert passed, ran.stdout
    assert int(passed[1]) > 25
