"""What a reader sees: rows, entries, labels, and the same while a writer is at work."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from chainrule.errors import DataError, LabelError
from chainrule.retrieval.creating import create_index
from chainrule.retrieval.database import open_database, raw
from chainrule.retrieval.layout import DATABASE
from chainrule.retrieval.settings import IndexSettings
from chainrule.retrieval.store import Entry, Snapshot
from chainrule.retrieval.verifying import verify
from chainrule.retrieval.writing import Writer
from tests.retrieval.shelves import (
    D,
    K,
    built,
    check,
    check_snapshot,
    names_of,
    next_version,
    rows,
    vector,
)

ROOT = Path(__file__).parents[2]


@pytest.fixture
def index(tmp_path: Path) -> Path:
    return built(tmp_path / "index", names_of(120))


def test_rows_are_what_was_appended(index: Path) -> None:
    check(index, names_of(120))
    assert verify(index) == []
    with Snapshot(index) as found:
        assert found.matrix.shape == (120, D)
        assert found.probabilities.shape == (120, K)
        assert (found.matrix.dtype, found.groups.dtype) == (np.float32, np.uint64)
        assert (found.predicted.dtype, found.alive.dtype) == (np.int32, np.bool_)
        for array in (found.matrix, found.probabilities, found.groups, found.alive, found.labels):
            assert not array.flags.writeable
        wanted = ["image-000007", "absent", "image-000003"]
        assert found.rows_of(wanted).tolist() == [7, -1, 3]
        one = found.entries([7])[0]
        assert one is not None
        assert found.rows_of_source(one.source).tolist() == [7]
        assert found.files()["model/weights"] == 256
        with pytest.raises(LabelError, match="rows from 0 to 119"):
            found.entries([120])


def test_half_floats_are_kept_as_such(tmp_path: Path) -> None:
    create_index(tmp_path / "i", IndexSettings(dimension=4, dtype="float16"), {})
    values = np.random.default_rng(0).standard_normal((5, 4)).astype(np.float32)
    with Writer(tmp_path / "i") as writer:
        writer.append([Entry(str(n)) for n in range(5)], values, np.zeros((5, 0)))
        with pytest.raises(DataError, match="too large"):
            writer.append([Entry("big")], np.full((1, 4), 1e6), np.zeros((1, 0)))
    with Snapshot(tmp_path / "i") as found:
        assert np.array_equal(found.matrix, values.astype(np.float16))
        assert found.probabilities.shape == (5, 0)


def test_an_empty_index_is_read(tmp_path: Path) -> None:
    built(tmp_path / "i", [])
    with Snapshot(tmp_path / "i") as found:
        assert (found.count, found.matrix.shape, found.labels.shape) == (0, (0, D), (0,))
        assert found.rows_of(["a"]).tolist() == [-1]
    assert verify(tmp_path / "i") == []


def test_notes_and_skipped_sources(index: Path) -> None:
    with Writer(index) as writer:
        writer.note("calibration", {"a": [1, 2.5]})
        writer.skip("source", "no pixels")
        with pytest.raises(DataError, match="JSON"):
            writer.note("bad", float("nan"))
    with Snapshot(index) as found:
        assert found.note("calibration") == {"a": [1, 2.5]}
        assert found.note("absent", 3) == 3
        assert found.skipped() == [("source", "no pixels")]
    with Writer(index) as writer:
        writer.append([Entry("new", source="source")], np.ones((1, D)), np.ones((1, K)))
    with Snapshot(index) as found:
        assert found.skipped() == []


def test_a_snapshot_stays_as_it_was_and_knows_when_it_is_old(index: Path) -> None:
    with Snapshot(index) as old:
        assert not old.stale()
        with Writer(index) as writer:
            writer.append(*rows(names_of(5, 500)))
            assert old.stale()
            assert (old.count, old.rows_of(["image-000500"]).tolist()) == (120, [-1])
            check_snapshot(old)
            writer.remove(names_of(10))
            assert old.entries([9, 10])[0] is None
            assert old.rows_of(names_of(1)).tolist() == [-1]
            writer.rewrite(next_version, D)
            writer.remove(names_of(40, 10))  # and into another generation
        one = old.entries([70])[0]
        assert one is not None
        assert one.id == "image-000070"
        assert np.array_equal(old.matrix[70], vector("image-000070"))
    ids, version = check(index)
    assert (len(ids), version) == (75, 1.0)
    with Snapshot(index) as new:
        assert (new.count, new.generation) == (75, 2)


def test_the_dimension_of_rewritten_vectors(index: Path) -> None:
    with Snapshot(index) as before, Writer(index) as writer:
        wanted = before.matrix[:, :3] * 2
        writer.rewrite(lambda block: block[:, :3].astype(np.float64) * 2, 3)
        assert writer.dimension == 3
        with pytest.raises(DataError, match="vectors of floats"):
            writer.append(*rows(["x"]))
        with pytest.raises(DataError, match="NaN"):
            writer.rewrite(lambda block: block * np.nan, 3)
        with pytest.raises(DataError, match="vectors of floats"):
            writer.rewrite(lambda block: block, 5)
    with Snapshot(index) as found:
        assert found.settings.dimension == 3
        assert np.array_equal(found.matrix, wanted)
        assert all(found.entries(range(120)))
    assert verify(index) == []


def test_files_made_of_the_rows_come_and_go(index: Path, tmp_path: Path) -> None:
    (tmp_path / "big").write_bytes(b"graph" * 1000)
    with Writer(index) as writer:
        writer.put_file("ann.usearch", b"first")
        writer.put_file("ann.usearch", tmp_path / "big")
        for name in (
            "index.db",
            "../x",
            "model/weights",
            "vectors-7.bin",
            "a//b",
            ".x.tmp",
            "lock",
        ):
            with pytest.raises(DataError):
                writer.put_file(name, b"")
    assert (index / "ann.usearch").read_bytes() == b"graph" * 1000
    assert verify(index) == []
    with Writer(index) as writer:
        writer.remove(names_of(1))
    assert not (index / "ann.usearch").exists()
    assert verify(index) == []


def test_what_does_not_fit_is_refused_and_nothing_is_added(index: Path) -> None:
    one = Entry("new")
    ones, share = np.ones((1, D)), np.ones((1, K))
    with Writer(index) as writer:
        for entries, vectors, shares, words in [
            ([one], np.ones((1, D + 1)), share, "vectors of floats"),
            ([one], np.ones((1, D), int), share, "vectors of floats"),
            ([one], ones * np.inf, share, "infinity"),
            ([one], ones, share * np.nan, "finite"),
            ([one], ones, np.ones((1, K + 1)), "probabilities"),
            ([one, one], np.ones((2, D)), np.ones((2, K)), "once"),
            ([Entry("image-000000")], ones, share, "not in the index yet"),
            ([Entry("")], ones, share, "texts"),
            ([Entry("n", predicted=K)], ones, share, "predicted class"),
            ([Entry("n", group=-1)], ones, share, "bounds"),
            ([Entry("n", group=1 << 64)], ones, share, "bounds"),
            ([Entry("n", tags={"PatientName": "x"})], ones, share, "tags that the index keeps"),
        ]:
            with pytest.raises(DataError, match=words):
                writer.append(entries, vectors, shares)
        assert writer.count == 120
        assert writer.remove(["absent"]) == 0
        assert writer.known(["absent", "image-000001"]) == {"image-000001"}
    with pytest.raises(DataError, match="not open"):
        writer.known(["a"])
    create_index(index.parent / "bare", IndexSettings(dimension=D), {})
    with Writer(index.parent / "bare") as writer:
        for entry, words in [
            (Entry("a", path="/x"), "path"),
            (Entry("a", thumbnail=b"x"), "thumb"),
        ]:
            with pytest.raises(DataError, match=words):
                writer.append([entry], ones, np.ones((1, 0)))
    check(index, names_of(120))


def test_a_folder_in_use_is_refused(index: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="already"):
        create_index(index, IndexSettings(dimension=2), {})
    (tmp_path / "file").write_text("x")
    with pytest.raises(DataError, match="already"):
        create_index(tmp_path / "file", IndexSettings(dimension=2), {})
    (tmp_path / "empty").mkdir()
    create_index(tmp_path / "empty", IndexSettings(dimension=2), {})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "file", "index"]
    with pytest.raises(DataError, match="no index is there"):
        Snapshot(tmp_path / "nowhere")
    with pytest.raises(DataError, match="no index is there"):
        verify(tmp_path / "nowhere")


def test_only_the_owner_can_read_it(index: Path) -> None:
    assert index.stat().st_mode & 0o777 == 0o700
    assert (index / "key").stat().st_mode & 0o777 == 0o600
    os.chmod(index / "key", 0o644)
    (found,) = verify(index)
    assert (found.file, found.level) == ("key", "note")


def test_a_second_writer_is_refused_and_nothing_is_harmed(index: Path) -> None:
    code = (
        "import sys; from chainrule.retrieval.writing import Writer\n"
        "with Writer(sys.argv[1]) as w: w.remove(['image-000001'])"
    )
    command = [sys.executable, "-c", code, str(index)]
    with Writer(index) as writer:
        with pytest.raises(DataError, match="another process"):
            Writer(index).__enter__()
        with pytest.raises(DataError, match="another process"):
            verify(index)
        refused = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
        assert "another process writes" in refused.stderr
        writer.append(*rows(["later"]))
    check(index, [*names_of(120), "later"])
    subprocess.run(command, check=True, cwd=ROOT)
    assert verify(index) == []


def test_reading_the_bytes_of_a_database_keeps_its_locks(index: Path) -> None:
    """A process that closes any descriptor of a file loses its locks on it; ours stays open."""
    code = (
        "import sys; from pathlib import Path\n"
        "from chainrule.retrieval.database import open_database\n"
        "open_database(Path(sys.argv[1]), write=True, timeout=0.0).rows('BEGIN IMMEDIATE')\n"
    )
    command = [sys.executable, "-c", code, str(index / DATABASE)]
    database = open_database(index / DATABASE, write=True)
    database.rows("BEGIN IMMEDIATE")
    for _ in range(3):
        with raw(index / DATABASE) as one, raw(index / DATABASE) as other:
            assert one != other
    other_process = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert "holds the database for too long" in other_process.stderr
    database.close()
    subprocess.run(command, check=True, cwd=ROOT)


def test_a_writer_waits_for_another(index: Path) -> None:
    with Writer(index) as first:
        timer = threading.Timer(0.3, first._stop)
        timer.start()
        with Writer(index, wait=20.0) as second:
            second.append(*rows(["later"]))
        timer.join()
    check(index, [*names_of(120), "later"])


@pytest.mark.parametrize(
    "sql",
    [
        "CREATE TRIGGER t AFTER DELETE ON images BEGIN DELETE FROM images; END",
        "CREATE VIEW v AS SELECT 1",
        "CREATE TABLE more (a)",
        "DROP INDEX by_source",
        "PRAGMA application_id = 7",
    ],
)
def test_a_database_with_more_in_it_is_refused(index: Path, sql: str) -> None:
    connection = sqlite3.connect(index / DATABASE)
    connection.execute(sql)
    connection.close()
    with pytest.raises(DataError, match="whole"):
        Snapshot(index, wait=0.0)
    with pytest.raises(DataError):
        Writer(index).__enter__()
    assert any(not found.usable and found.file == DATABASE for found in verify(index))


def test_a_writer_refuses_a_database_that_others_changed(index: Path) -> None:
    connection = sqlite3.connect(index / DATABASE)
    connection.execute("UPDATE images SET frame = 9 WHERE row = 3")
    connection.commit()
    connection.close()
    with pytest.raises(DataError, match="changed since it was sealed"):
        Writer(index).__enter__()


def test_settings_of_a_newer_release(index: Path) -> None:
    values = json.loads((index / "index.json").read_text())
    (index / "index.json").write_text(json.dumps({**values, "version": 2}))
    with pytest.raises(DataError, match="newer release"):
        Snapshot(index)


def test_threads_read_while_a_writer_writes(index: Path) -> None:
    """Each answer is of one commit: a vector belongs to its id, versions are not mixed."""
    stop, failed, looks = threading.Event(), [], []

    def read() -> None:
        try:
            shared = Snapshot(index)
            while not stop.is_set():
                if shared.stale():
                    shared.close()
                    shared = Snapshot(index)
                looks.append(check_tolerant(shared))
            shared.close()
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=read) for _ in range(3)]
    for thread in threads:
        thread.start()
    write_for(index, 2.0)
    stop.set()
    for thread in threads:
        thread.join()
    assert not failed, failed
    assert len(looks) > 10
    assert verify(index) == []


def check_tolerant(found: Snapshot) -> int:
    """Check a snapshot whose rows may be removed meanwhile: such are None, or zeros."""
    living = np.flatnonzero(found.alive)
    vectors = found.matrix[living].copy()
    seen = 0
    for values, one in zip(vectors, found.entries(living), strict=True):
        if one is not None:
            assert np.array_equal(values, vector(one.id, values[-1])), one.id
            seen += 1
    return seen


def write_for(index: Path, seconds: float) -> None:
    random, end, following = np.random.default_rng(1), time.monotonic() + seconds, 1000
    while time.monotonic() < end:
        with Writer(index) as writer, Snapshot(index) as found:
            writer.append(*rows(names_of(20, following), float(writer_version(found))))
            following += 20
            living = [one.id for one in found.entries(np.flatnonzero(found.alive)) if one]
            writer.remove(random.choice(living, 15, replace=False).tolist())
            if random.random() < 0.3:
                writer.rewrite(next_version, D)


def writer_version(found: Snapshot) -> float:
    return float(found.matrix[np.flatnonzero(found.alive)[0], -1])


def test_processes_read_while_a_writer_writes(index: Path) -> None:
    code = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "from chainrule.retrieval.store import Snapshot\n"
        "from tests.retrieval.test_store import check_tolerant\n"
        "end, looks = time.monotonic() + 1.5, 0\n"
        "while time.monotonic() < end:\n"
        "    with Snapshot(Path(sys.argv[1])) as found: check_tolerant(found)\n"
        "    looks += 1\n"
        "print(looks)\n"
    )
    command = [sys.executable, "-c", code, str(index)]
    readers = [
        subprocess.Popen(command, cwd=ROOT, stdout=-1, stderr=-1, text=True) for _ in range(2)
    ]
    write_for(index, 2.0)
    for reader in readers:
        out, err = reader.communicate()
        assert reader.returncode == 0, err
        assert int(out) > 1
    assert verify(index) == []
