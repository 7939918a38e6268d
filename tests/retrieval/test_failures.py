"""A disk that is full, fails or cannot be written; work that is interrupted."""

from __future__ import annotations

import os
import resource
from pathlib import Path
from typing import Any

import pytest

from chainrule.errors import DataError
from chainrule.retrieval import database
from chainrule.retrieval.layout import SEAL
from chainrule.retrieval.store import Snapshot
from chainrule.retrieval.verifying import verify
from chainrule.retrieval.writing import Writer
from tests.retrieval.shelves import D, built, check, names_of, next_version, rows
from tests.retrieval.test_crashes import forked


def test_a_closed_snapshot_says_so(tmp_path: Path) -> None:
    found = Snapshot(built(tmp_path / "i", names_of(3)))
    found.close()
    assert found.matrix.shape == (3, D)
    with pytest.raises(DataError, match="closed"):
        found.entries([0])


def failing(number: int) -> Any:
    def call(*args: Any) -> Any:
        raise OSError(number, os.strerror(number))

    return call


@pytest.mark.parametrize("where", ["pwrite", "fsync"])
def test_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    folder = built(tmp_path / "i", names_of(60))
    with Writer(folder) as writer:
        with monkeypatch.context() as patch:
            patch.setattr(os, where, failing(28))
            with pytest.raises(OSError, match=r"No space left.*\.bin"):
                writer.append(*rows(names_of(5, 100)))
            with pytest.raises(OSError, match="No space left"):
                writer.rewrite(next_version, D)
        assert writer.count == 60
        check(folder, names_of(60))
        writer.append(*rows(names_of(5, 100)))
    check(folder, [*names_of(60), *names_of(5, 100)])
    assert verify(folder) == []


def test_a_full_disk_for_the_database(tmp_path: Path) -> None:
    folder = built(tmp_path / "i", names_of(60))
    with Writer(folder) as writer:
        (pages,) = writer._db.rows("PRAGMA page_count")[0]
        writer._db.rows(f"PRAGMA max_page_count = {pages}")
        with pytest.raises(OSError, match=r"full.*index\.db"):
            writer.append(*rows(names_of(500, 100)))
        check(folder, names_of(60))
    assert verify(folder) == []


def test_a_limit_of_the_size_of_files(tmp_path: Path) -> None:
    folder = built(tmp_path / "i", names_of(60))

    def work() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
        with Writer(folder) as writer:
            for turn in range(1000):
                try:
                    writer.append(*rows(names_of(50, 100 + 50 * turn)))
                except OSError:
                    os._exit(77)

    assert forked(work) == 77
    ids, _ = check(folder)
    assert len(ids) > 60
    assert (len(ids) - 60) % 50 == 0
    append_later(folder)
    assert verify(folder) == []


def append_later(folder: Path) -> None:
    with Writer(folder) as writer:
        writer.append(*rows(["later"]))


def test_a_folder_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = built(tmp_path / "i", names_of(60))
    monkeypatch.setattr(os, "access", lambda *args: False)
    with pytest.raises(OSError, match="cannot be written"):
        Writer(folder).__enter__()
    check(folder, names_of(60))


def test_an_interrupted_change_leaves_the_writer_in_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An exception right after a commit: the writer sees that it happened."""
    folder = built(tmp_path / "i", names_of(60))
    original = database.commit

    def interrupted(connection: Any) -> None:
        original(connection)
        raise KeyboardInterrupt

    for change, expected in [
        (lambda w: w.append(*rows(names_of(5, 100))), 65),
        (lambda w: w.rewrite(next_version, D), 65),
        (lambda w: w.remove(names_of(3)), 62),
    ]:
        with Writer(folder) as writer:
            with monkeypatch.context() as patch:
                patch.setattr(database, "commit", interrupted)
                with pytest.raises(KeyboardInterrupt):
                    change(writer)
            assert len(check(folder)[0]) == expected
        with Writer(folder):
            pass
        assert all(problem.usable for problem in verify(folder))
    assert verify(folder) == []


def test_the_seal_is_renewed_while_images_are_added(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = built(tmp_path / "i", names_of(60))
    monkeypatch.setattr("chainrule.retrieval.writing._SEAL_EVERY", 0.0)
    monkeypatch.setattr("chainrule.retrieval.writing._SEAL_SHARE", 0)
    seals = set()
    with Writer(folder) as writer:
        for turn in range(3):
            writer.append(*rows(names_of(5, 100 + 5 * turn)))
            seals.add((folder / SEAL).read_bytes())
    assert len(seals) == 3
