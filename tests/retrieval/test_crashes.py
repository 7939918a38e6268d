"""A writer that is killed, at any moment: what was committed is whole, and the next goes on."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from chainrule.errors import DataError
from chainrule.retrieval import database
from chainrule.retrieval.creating import create_index
from chainrule.retrieval.layout import DATABASE, JOURNAL
from chainrule.retrieval.store import Snapshot
from chainrule.retrieval.verifying import verify
from chainrule.retrieval.writing import Writer
from tests.retrieval.shelves import (
    SETTINGS,
    D,
    built,
    check,
    names_of,
    next_version,
    rows,
    traces,
    whole,
)

ROOT = Path(__file__).parents[2]


def killed(folder: Path, seed: int, kind: str, delay: float) -> list[str]:
    """Let a process work for so long, kill it, and give the lines that it wrote."""
    command = [sys.executable, "-m", "tests.retrieval.crashing", str(folder), str(seed), kind]
    # without a buffer: `communicate` gives what `readline` left in the pipe, not in a buffer
    with subprocess.Popen(command, bufsize=0, stdout=-1, stderr=-1, cwd=ROOT) as one:
        assert one.stdout is not None
        assert one.stderr is not None
        first = one.stdout.readline()
        time.sleep(delay)
        one.send_signal(signal.SIGKILL)
        rest, errors = one.communicate()
    assert first == b"ready\n", errors.decode()
    assert one.returncode == -signal.SIGKILL, errors.decode()
    return rest.decode().splitlines()


class Model:
    """What an index must hold, by what the killed processes said."""

    def __init__(self, ids: set[str]) -> None:
        self.states = [(ids, 0.0)]  # the last is what a change in flight would have made

    def follow(self, lines: list[str]) -> None:
        for line in lines:
            if line == "done":
                self.states = self.states[-1:]
            elif line.startswith("begin "):
                ids, version = self.states[-1]
                what, value = json.loads(line[6:])
                after = {
                    "append": lambda ids, v, value: (ids | set(value), v),
                    "remove": lambda ids, v, value: (ids - set(value), v),
                    "rewrite": lambda ids, v, value: (ids, value),
                }[what](ids, version, value)
                self.states = [(ids, version), after]

    def settle(self, folder: Path) -> None:
        found = check(folder)
        assert found in self.states, f"{len(found[0])} images: neither before nor after the change"
        self.states = [found]


def kill_often(folder: Path, kind: str, times: int, seed: int) -> int:
    random = np.random.default_rng(seed)
    built(folder, names_of(60))
    model, unsealed = Model(set(names_of(60))), 0
    for turn in range(times):
        model.follow(killed(folder, seed + turn, kind, float(random.uniform(0.0, 0.25))))
        before = whole(folder)
        model.settle(folder)
        problems = verify(folder)
        assert all(problem.usable for problem in problems), problems
        assert whole(folder) == before, "reading and verifying changed a file"
        unsealed += bool(problems)
    ids, version = model.states[0]
    with Writer(folder) as writer:
        writer.append(*rows(["the-last"], version))
    check(folder, ids | {"the-last"})
    assert verify(folder) == []
    return unsealed


def test_killed_at_random(tmp_path: Path) -> None:
    assert kill_often(tmp_path / "i", "mixed", 5, 100)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["append", "remove", "rewrite", "mixed"])
def test_killed_at_random_and_often(tmp_path: Path, kind: str) -> None:
    assert kill_often(tmp_path / "i", kind, 20, 1000) > 5


@pytest.mark.parametrize("times", [2, pytest.param(12, marks=pytest.mark.slow)])
def test_killed_while_indexes_are_made(tmp_path: Path, times: int) -> None:
    random = np.random.default_rng(0)
    for turn in range(times):
        place = tmp_path / str(turn)
        place.mkdir()
        killed(place, 0, "create", float(random.uniform(0.0, 0.3)))
        made = [path for path in place.iterdir() if not path.name.startswith(".")]
        assert all(verify(path) == [] for path in made)
        for left in place.glob(".*.tmp"):
            create_index(place / left.name[1:].rsplit(".", 2)[0], SETTINGS, {})
            assert not left.exists() or not (left / "lock").exists()


def forked(work: Callable[[], None]) -> int:
    """Run in a process of its own; give how it ended (77: the simulated crash)."""
    child = os.fork()
    if not child:
        code = 1
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def crashing(step: int, torn: bool) -> None:
    """Let this process end at the step-th call that changes the disk; `torn`: in its middle."""
    left = [step]

    def wrapped(original: Any, is_write: bool = False) -> Any:
        def call(*args: Any, **options: Any) -> Any:
            left[0] -= 1
            if left[0] == 0:
                if is_write and torn:
                    original(args[0], bytes(args[1])[: len(args[1]) // 2], args[2])
                elif torn:
                    with contextlib.suppress(OSError):
                        original(*args, **options)
                os._exit(77)
            return original(*args, **options)

        return call

    for name in ("fsync", "replace", "rename", "unlink", "ftruncate", "mkdir"):
        setattr(os, name, wrapped(getattr(os, name)))
    os.pwrite = wrapped(os.pwrite, is_write=True)
    database.commit = wrapped(database.commit)
    execute = database.Database.rows

    def rows_(self: Any, sql: str, values: Any = ()) -> Any:
        return (
            wrapped(execute)(self, sql, values) if sql == "VACUUM" else execute(self, sql, values)
        )

    database.Database.rows = rows_  # type: ignore[method-assign]


def append(folder: Path) -> None:
    with Writer(folder) as writer:
        writer.append(*rows(names_of(5, 100)))


def remove_few(folder: Path) -> None:
    with Writer(folder) as writer:
        writer.remove(names_of(2))


def remove_many(folder: Path) -> None:
    with Writer(folder) as writer:
        writer.remove(names_of(5))


def rewrite(folder: Path) -> None:
    with Writer(folder) as writer:
        writer.rewrite(next_version, D)


def put(folder: Path) -> None:
    with Writer(folder) as writer:
        writer.put_file("ann.usearch", b"x" * 5000)
        writer.note("n", 1)


OUTCOMES = {
    append: {"before": (12, 0.0), "after": (17, 0.0)},
    remove_few: {"before": (12, 0.0), "after": (10, 0.0)},
    remove_many: {"before": (12, 0.0), "after": (7, 0.0)},
    rewrite: {"before": (12, 0.0), "after": (12, 1.0)},
    put: {"before": (12, 0.0), "after": (12, 0.0)},
}


@pytest.mark.parametrize("torn", [False, pytest.param(True, marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    "work",
    [append, remove_few, pytest.param(remove_many, marks=pytest.mark.slow), rewrite, put],
)
def test_a_crash_at_each_step(tmp_path: Path, work: Any, torn: bool) -> None:
    """The process ends before each call that changes the disk, or after it (writes: half done)."""
    seen, step = set(), 0
    template = built(tmp_path / "template", names_of(12))
    while True:
        step += 1
        folder = shutil.copytree(template, tmp_path / str(step))

        def crash(folder: Path = folder, step: int = step) -> None:
            crashing(step, torn)
            work(folder)

        code = forked(crash)
        assert code in (0, 77)
        ids, version = check(folder)
        assert (len(ids), version) in OUTCOMES[work].values(), step
        seen.add((len(ids), version))
        problems = verify(folder)
        assert all(problem.usable for problem in problems), (step, problems)
        if code == 0:
            break
        with Writer(folder) as writer:
            writer.append(*rows(["later"], version))
        check(folder, ids | {"later"})
        assert verify(folder) == [], step
        assert_gone(folder, set(names_of(12)) - ids)
    assert step > 8
    before, after = OUTCOMES[work].values()
    assert after in seen
    assert torn or before in seen  # a call that is done is often the commit


def assert_gone(folder: Path, names: set[str]) -> None:
    content = whole(folder)
    assert not {name: found for name in names if (found := traces(content, name))}


@pytest.mark.parametrize("torn", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_a_crash_at_each_step_of_making_one(tmp_path: Path, torn: bool) -> None:
    step, made = 0, set()
    while True:
        step += 1
        folder = tmp_path / str(step) / "index"

        def crash(folder: Path = folder, step: int = step) -> None:
            crashing(step, torn)
            create_index(folder, SETTINGS, {"model/weights": b"x" * 1000})

        code = forked(crash)
        made.add(folder.exists())
        if folder.exists():
            assert verify(folder) == [], step
        else:
            create_index(folder, SETTINGS, {})
        if code == 0:
            break
    assert step > 8
    assert made == {True, False}


def hot(folder: Path) -> None:
    """Kill a writer in the middle of a commit whose pages are in the file already."""

    def work() -> None:
        with Writer(folder) as writer:
            writer.skip("a", "b")
            writer.seal()
            data = writer._db
            data.rows("PRAGMA cache_spill = ON")
            data.rows("PRAGMA cache_size = 1")
            data.rows("BEGIN IMMEDIATE")
            for number in range(300):
                data.rows("INSERT INTO skipped VALUES (?, ?)", (f"{number}" * 20, "x" * 500))
            data.rows("DELETE FROM images")
            os._exit(77)

    assert forked(work) == 77
    assert (folder / JOURNAL).stat().st_size > 0


def test_a_journal_that_waits_to_be_rolled_back(tmp_path: Path) -> None:
    folder = built(tmp_path / "i", names_of(60))
    hot(folder)
    before = whole(folder)
    with Snapshot(folder) as found:
        assert found.count == 60
        assert not found.stale()
        check(folder, names_of(60))
        problems = verify(folder)
        assert {problem.level for problem in problems} == {"unsealed"}
        assert whole(folder) == before
        append(folder)
        assert found.stale()
    assert verify(folder) == []
    check(folder, [*names_of(60), *names_of(5, 100)])


def test_a_writer_that_rolls_back_and_is_killed_again(tmp_path: Path) -> None:
    folder = built(tmp_path / "i", names_of(60))
    hot(folder)

    def work() -> None:
        with Writer(folder):
            os._exit(77)

    assert forked(work) == 77
    assert not (folder / JOURNAL).exists()
    assert {problem.level for problem in verify(folder)} == {"unsealed"}


def test_a_damaged_journal_is_an_error_in_words(tmp_path: Path) -> None:
    folder = built(tmp_path / "i", names_of(60))
    hot(folder)
    content = bytearray((folder / DATABASE).read_bytes())
    content[:100] = bytes(100)
    (folder / DATABASE).write_bytes(content)
    (folder / JOURNAL).write_bytes(b"\x00" * 512 + b"x" * 3000)
    with pytest.raises((DataError, OSError)):
        Snapshot(folder, wait=0.0)
