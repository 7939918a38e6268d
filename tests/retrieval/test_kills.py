"""A build and an addition killed at any moment leave an index that answers and goes on."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from chainrule.retrieval.index import Index
from chainrule.retrieval.making import Source, add_to_index
from chainrule.retrieval.verifying import verify
from tests.retrieval.shapes import KINDS, shape, write_shapes

COUNT = 160  # of each kind: several batches


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("many") / "pictures"
    write_shapes(folder, COUNT, side=32)
    return folder


def started(*words: object) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "chainrule", "index", *map(str, words)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def killed_at(process: subprocess.Popen[bytes], out: Path, images: int) -> None:
    """Kill a process when its index holds so many images, or a moment later, if it still runs."""
    while process.poll() is None and not (out / "index.db").exists():
        time.sleep(0.002)
    while process.poll() is None and len(Index(out)) < images:
        time.sleep(0.002)
    time.sleep(random.uniform(0, 0.05))
    if process.poll() is None:
        os.kill(process.pid, signal.SIGKILL)
    process.communicate()


def survives(out: Path, many: Path) -> int:
    """See that what is there answers and is whole; gives how many images it holds."""
    problems = verify(out)
    assert all(problem.usable for problem in problems), problems
    index = Index(out)
    held = len(index)
    if held:
        hits = index.query(shape("disc", 9999, 32), 3).hits
        assert len(hits) == min(3, held)
        assert all(hit.label in KINDS for hit in hits)
    return held


def rounds(run: Path, many: Path, tmp_path: Path, count: int, seed: int) -> None:
    random.seed(seed)
    seen = set()
    for number in range(count):
        out = tmp_path / f"index-{number}"
        target = random.randint(0, COUNT)
        killed_at(started("build", run, many, "--out", out), out, target)
        first = survives(out, many)
        killed_at(started("add", out, many), out, random.randint(first, 3 * COUNT))
        second = survives(out, many)
        assert second >= first
        seen |= {first, second}
        report = add_to_index(out, Source(str(many)))
        assert report.added + report.known == 3 * COUNT
        assert len(Index(out)) == 3 * COUNT
        assert verify(out) == []
    assert any(0 < held < 3 * COUNT for held in seen), "no kill came in the middle"


def test_kills_leave_an_index_that_answers(run: Path, many: Path, tmp_path: Path) -> None:
    rounds(run, many, tmp_path, 2, seed=5)


@pytest.mark.slow
def test_many_kills_do(run: Path, many: Path, tmp_path: Path) -> None:
    rounds(run, many, tmp_path, 25, seed=6)


def test_ctrl_c_keeps_what_is_in(run: Path, many: Path, tmp_path: Path) -> None:
    out = tmp_path / "index"
    process = started("build", run, many, "--out", out)
    while process.poll() is None and not (out / "index.json").exists():
        time.sleep(0.002)
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate(timeout=60)
    assert process.returncode in (0, 130), said
    survives(out, many)


@pytest.mark.slow
def test_two_builders_do_not_mix(run: Path, many: Path, tmp_path: Path) -> None:
    out = tmp_path / "index"
    first = started("build", run, many, "--out", out)
    while not (out / "index.json").exists():
        time.sleep(0.002)
    others = [started("add", out, many) for _ in range(3)]
    said = [process.communicate()[0].decode() for process in (first, *others)]
    assert first.returncode == 0, said[0]
    for process, text in zip(others, said[1:], strict=True):
        assert process.returncode == 0 or "another process" in text, text
    assert len(Index(out)) == 3 * COUNT
    assert verify(out) == []
