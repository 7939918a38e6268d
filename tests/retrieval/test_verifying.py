"""Each flipped byte is found, and no damage of an index ends the process that reads it."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from chainrule.errors import ChainruleError
from chainrule.retrieval.layout import DATABASE, SEAL
from chainrule.retrieval.seals import BLOCK, Sums, read_seal
from chainrule.retrieval.store import Snapshot
from chainrule.retrieval.verifying import verify
from chainrule.retrieval.writing import Writer
from tests.retrieval.shelves import built, check, entry, names_of, next_version, rows, whole

ROOT = Path(__file__).parents[2]


@pytest.fixture
def index(tmp_path: Path) -> Path:
    """An index with removed rows, notes, labels and a file made of the rows."""
    folder = built(tmp_path / "index", names_of(30))
    with Writer(folder) as writer:
        writer.note("calibration", list(range(50)))
        writer.skip("0123", "no pixels")
        writer.remove(names_of(3))
        writer.put_file("ann.usearch", b"graph" * 30)
    return folder


def files_of(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def flipped(path: Path, at: int, bit: int) -> None:
    with open(path, "r+b") as file:
        file.seek(at)
        value = file.read(1)[0]
        file.seek(at)
        file.write(bytes([value ^ (1 << bit)]))


def places(path: Path, most: int, random: np.random.Generator) -> list[int]:
    size = path.stat().st_size
    if size <= most:
        return list(range(size))
    return sorted(random.choice(size, most, replace=False).tolist())


def every_flip_is_found(folder: Path, most: int) -> int:
    random, tried = np.random.default_rng(0), 0
    for path in files_of(folder):
        name = path.relative_to(folder).as_posix()
        for at in places(path, most, random):
            flipped(path, at, int(random.integers(8)))
            content = path.read_bytes()
            problems = verify(folder)
            flipped_back(path, content, at)
            assert any(not p.usable for p in problems), (name, at)
            assert path.name == "lock" or any(p.file == name for p in problems if not p.usable), (
                name,
                at,
                problems,
            )
            tried += 1
    assert verify(folder) == []
    return tried


ORIGINAL: dict[Path, bytes] = {}


def flipped_back(path: Path, content: bytes, at: int) -> None:
    with open(path, "r+b") as file:
        file.seek(at)
        file.write(ORIGINAL[path][at : at + 1])


def remember(folder: Path) -> None:
    ORIGINAL.clear()
    ORIGINAL.update({path: path.read_bytes() for path in files_of(folder)})


def test_a_flipped_byte_is_found(index: Path) -> None:
    remember(index)
    assert every_flip_is_found(index, 60) > 500


@pytest.mark.slow
def test_every_flipped_byte_is_found(index: Path) -> None:
    remember(index)
    assert every_flip_is_found(index, 6000) > 10_000


def test_flipped_bytes_on_pages_out_of_use(tmp_path: Path) -> None:
    """A database with free pages: their bytes are sealed too."""
    folder = built(tmp_path / "i", names_of(5))
    with Writer(folder) as writer:
        writer.note("big", "x" * 40_000)
        writer.note("big", 1)
        assert writer._db.rows("PRAGMA freelist_count")[0][0] > 5
    assert verify(folder) == []
    size = (folder / DATABASE).stat().st_size
    for at in range(size - 20_000, size, 371):
        flipped(folder / DATABASE, at, 3)
        assert [problem.file for problem in verify(folder)] == [DATABASE]
        flipped(folder / DATABASE, at, 3)


def test_bytes_cut_off_or_added_are_found(index: Path) -> None:
    for path in files_of(index):
        content = path.read_bytes()
        for changed in (content[:-1], content + b"\0"):
            if changed == content:
                continue
            path.write_bytes(changed)
            name = path.relative_to(index).as_posix()
            assert name in {problem.file for problem in verify(index)}, name
        path.write_bytes(content)
    assert verify(index) == []


def test_each_missing_file_is_found(index: Path) -> None:
    for path in files_of(index):
        content = path.read_bytes()
        path.unlink()
        problems = verify(index)
        name = path.relative_to(index).as_posix()
        assert any(
            problem.file == name and (not problem.usable or name == "key") for problem in problems
        ), name
        path.write_bytes(content)
        path.chmod(0o600)
    assert verify(index) == []


def test_a_strange_file_is_named(index: Path) -> None:
    (index / "notes.txt").write_text("hello")
    (found,) = verify(index)
    assert (found.file, found.level, found.usable) == ("notes.txt", "note", True)


def test_damage_is_not_blessed_by_the_next_writer(index: Path) -> None:
    """A row that was damaged stays found when more is added, removed, compacted and rewritten."""
    with Snapshot(index) as found:
        row = int(found.rows_of(["image-000020"])[0])
    flipped(index / "classes-0.bin", row * 12, 0)
    with Writer(index) as writer:
        writer.append(*rows(["later"]))
    (problem,) = verify(index)
    assert "image-000020" in problem.what
    with Writer(index) as writer:
        writer.remove(names_of(9, 3))
    (problem,) = verify(index)
    assert "image-000020" in problem.what
    with Writer(index) as writer:
        writer.rewrite(next_version, 8)
    (problem,) = verify(index)
    assert "image-000020" in problem.what
    with Writer(index) as writer:
        writer.remove(["image-000020"])
    assert verify(index) == []


def test_a_damaged_record_harms_no_other_row_when_it_is_removed(tmp_path: Path) -> None:
    """Its place of the thumbnail is another's: that must not be erased, its own must go."""
    folder = built(tmp_path / "i", names_of(30))
    with open(folder / "rows-0.bin", "r+b") as file:
        file.seek(20 * 48 + 24)
        place = file.read(12)
        file.seek(10 * 48 + 24)
        file.write(place)
    with Writer(folder) as writer:
        writer.remove(["image-000010"])
    assert verify(folder) == []
    check(folder, {*names_of(30)} - {"image-000010"})
    assert entry("image-000010").thumbnail not in whole(folder)


def test_a_changed_state_is_damage_and_not_a_killed_writer(index: Path) -> None:
    for change in ("commits = commits + 1", "count = count - 1", "generation = 7", "due = 1"):
        copy = shutil.copytree(index, index.parent / change.replace(" ", ""))
        sql(copy, f"UPDATE state SET {change}")
        assert DATABASE in {problem.file for problem in verify(copy) if not problem.usable}
        with pytest.raises(ChainruleError, match="row of state"):
            Snapshot(copy)


def test_a_name_of_a_file_in_a_damaged_database_leads_nowhere(index: Path) -> None:
    (index.parent / "other").write_text("kept")
    for name in ("../other", "a\0b", str(index.parent / "other")):
        copy = shutil.copytree(index, index.parent / f"copy-{len(name)}")
        sql(copy, "INSERT INTO files VALUES (?, -1, '', 1), (?, 3, '', 1)", (name, name + "x"))
        (copy / SEAL).unlink()
        assert DATABASE in {problem.file for problem in verify(copy) if not problem.usable}
        with pytest.raises((ChainruleError, OSError)):
            Writer(copy).__enter__()
    assert (index.parent / "other").read_text() == "kept"


def sql(folder: Path, statement: str, values: tuple[object, ...] = ()) -> None:
    connection = sqlite3.connect(folder / DATABASE)
    connection.execute(statement, values)
    connection.commit()
    connection.close()


def test_a_damaged_file_of_the_model_is_not_blessed(index: Path) -> None:
    flipped(index / "model/weights", 9, 1)
    with Writer(index) as writer:
        writer.append(*rows(["later"]))
    assert [problem.file for problem in verify(index)] == ["model/weights"]


def test_rows_are_checked_when_there_is_no_seal_of_the_last_commit(index: Path) -> None:
    old = (index / SEAL).read_bytes()
    with Writer(index) as writer:
        writer.append(*rows(["later"]))
    (index / SEAL).write_bytes(old)
    assert {problem.level for problem in verify(index)} == {"unsealed"}
    flipped(index / "thumbnails-0.bin", (index / "thumbnails-0.bin").stat().st_size - 1, 0)
    assert [problem.level for problem in verify(index)] == ["unsealed", "damaged"]


def test_progress_is_told(index: Path) -> None:
    told: list[tuple[str, float]] = []
    verify(index, lambda name, done: told.append((name, done)))
    assert {"model/weights", "vectors-0.bin", "rows"} <= {name for name, _ in told}
    assert all(0 <= done <= 1 for _, done in told)


def test_sums_are_kept_up_to_date_by_block(tmp_path: Path) -> None:
    """What is summed bit by bit is what is summed at once."""
    random = np.random.default_rng(0)
    path, content, sums = tmp_path / "f", bytearray(), Sums()
    for _ in range(6):
        begin = int(random.integers(0, len(content) + 1))
        data = random.bytes(int(random.integers(1, 2 * BLOCK)))
        sums.touch(begin, begin + len(data))
        content[begin : begin + len(data)] = data
        path.write_bytes(content)
        with open(path, "rb") as file:
            sums.refresh(file.fileno(), len(content))
            at_once = Sums()
            at_once.refresh(file.fileno(), len(content))
        assert (sums.blocks, sums.size) == (at_once.blocks, len(content))


READ = """
import sys
import numpy as np
from pathlib import Path
from chainrule.errors import ChainruleError
from chainrule.retrieval.store import Snapshot
from chainrule.retrieval.verifying import verify
folder, seed = Path(sys.argv[1]), int(sys.argv[2])
random = np.random.default_rng(seed)
files = [p for p in sorted(folder.rglob("*")) if p.is_file()]
answers = {"read": 0, "refused": 0}
for turn in range(int(sys.argv[3])):
    path = files[turn % len(files)]
    good = path.read_bytes()
    bad = bytearray(good)
    if turn % 3 == 0:
        bad = bad[: random.integers(len(bad) + 1)]
    else:
        for _ in range(1 + turn % 40):
            if bad:
                bad[random.integers(len(bad))] = random.integers(256)
    path.write_bytes(bad)
    try:
        with Snapshot(folder, wait=0.0) as found:
            found.entries(range(found.count)); found.note("calibration"); found.skipped()
            found.rows_of(["image-000004"]); found.stale(); found.files()
            float(found.matrix.sum()); float(found.probabilities.sum())
        answers["read"] += 1
    except (ChainruleError, OSError):
        answers["refused"] += 1
    assert bytes(bad) == good or verify(folder)
    path.write_bytes(good)
print(answers["read"], answers["refused"])
"""


@pytest.mark.parametrize("turns", [150, pytest.param(3000, marks=pytest.mark.slow)])
def test_a_damaged_index_never_ends_the_process(index: Path, turns: int) -> None:
    command = [sys.executable, "-W", "ignore", "-c", READ, str(index), "0", str(turns)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    read, refused = map(int, done.stdout.split())
    assert read > turns / 10
    assert refused > turns / 10


def test_a_damaged_index_is_an_error_in_words(index: Path) -> None:
    for name, words in {
        "index.json": "damaged settings",
        DATABASE: "not a whole database",
        "vectors-0.bin": "cut short",
        "thumbnails-0.bin": "cut short",
    }.items():
        copy = shutil.copytree(index, index.parent / f"copy-{name}")
        content = (copy / name).read_bytes()
        (copy / name).write_bytes(content[: len(content) // 3])
        with pytest.raises(ChainruleError, match=words):
            Snapshot(copy, wait=0.0).entries([0])
        with pytest.raises(ChainruleError, match=words):
            Writer(copy).__enter__()
    check(index)
    assert read_seal(index).commits > 0
