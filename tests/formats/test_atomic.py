from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from chainrule.formats import write_atomic
from chainrule.formats.atomic import leftovers, neighbour


def test_content_and_rights(tmp_path: Path) -> None:
    path = tmp_path / "x"
    write_atomic(path, "é")
    assert path.read_bytes() == "é".encode()
    write_atomic(path, bytearray(b"12"))
    assert path.read_bytes() == b"12"
    ordinary = tmp_path / "y"
    ordinary.write_text("")
    assert stat.S_IMODE(path.stat().st_mode) == stat.S_IMODE(ordinary.stat().st_mode)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["x", "y"]


@pytest.mark.parametrize("failing", ["fsync", "replace"])
@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device")])
def test_a_full_disk_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str, error: OSError
) -> None:
    path = tmp_path / "x"
    path.write_text("old")

    def refuse(*args: object) -> None:
        raise error

    monkeypatch.setattr(os, failing, refuse)
    with pytest.raises(OSError, match="No space left") as caught:
        write_atomic(path, "new")
    assert caught.value.errno == errno.ENOSPC
    assert caught.value.filename == str(path)
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["x"]


def test_an_interruption_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x"
    path.write_text("old")

    def interrupt(*args: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_atomic(path, "new")
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["x"]


@pytest.mark.skipif(sys.platform == "win32", reason="limits of file sizes are POSIX")
def test_a_write_that_really_stops_half_way(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"old")
    program = (
        "import resource, sys\n"
        "from chainrule.formats import write_atomic\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))\n"
        "try:\n"
        "    write_atomic(sys.argv[1], bytes(200_000))\n"
        "except OSError as error:\n"
        "    print(error.filename, error.strerror)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == f"{path} File too large"
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["x"]


def test_links_keep_pointing(tmp_path: Path) -> None:
    (tmp_path / "far").mkdir()
    target = tmp_path / "far" / "x"
    target.write_text("old")
    link = tmp_path / "link"
    link.symlink_to(target)
    write_atomic(link, "new")
    assert link.is_symlink()
    assert target.read_text() == "new"


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    path = tmp_path / "none" / "x"
    with pytest.raises(FileNotFoundError) as caught:
        write_atomic(path, "")
    assert caught.value.filename == str(path)


def test_leftovers_of_a_killed_process_are_told_from_other_files(tmp_path: Path) -> None:
    for name in (".w.ab12.tmp", "w.tmp", ".hidden", ".editor.tmp"):
        (tmp_path / name).write_text("")
    with neighbour(tmp_path / "w") as staged, neighbour(staged) as second:  # one of a neighbour
        second.write_text("")
        found = {p.name for p in leftovers(tmp_path, ("w", "v"))}
        assert found == {".w.ab12.tmp", second.name}
