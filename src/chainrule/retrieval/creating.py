"""A new index: a folder that appears whole or not at all."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shutil
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from chainrule.errors import DataError, expect
from chainrule.formats.atomic import SUFFIX, sync_folder
from chainrule.retrieval.database import Database, State, create, database_path, raw
from chainrule.retrieval.layout import DATA, DATABASE, KEY, LOCK, RESERVED
from chainrule.retrieval.locks import acquire
from chainrule.retrieval.privacy import new_key
from chainrule.retrieval.rowfiles import RowFiles
from chainrule.retrieval.seals import Seal, Sums, bytes_sum, file_sum
from chainrule.retrieval.settings import FILE as SETTINGS
from chainrule.retrieval.settings import IndexSettings

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.\-]*")


def create_index(
    folder: str | os.PathLike[str], settings: IndexSettings, files: Mapping[str, bytes]
) -> None:
    """Make an index without rows, with a key of its own and these files (names relative).

    Everything is written in a neighbour of the folder, forced to the disk, and then takes its
    name.  Only the owner can read it.  Raises DataError if the folder holds something already or
    a name is not usable, OSError where the disk refuses; nothing is left then.

    >>> import tempfile, pathlib
    >>> place = pathlib.Path(tempfile.mkdtemp()) / "index"
    >>> create_index(place, IndexSettings(dimension=4), {"model/config.json": b"{}"})
    >>> sorted(path.name for path in place.iterdir())[:4]
    ['classes-0.bin', 'index.db', 'index.json', 'key']
    """
    target = Path(os.path.abspath(folder))
    _check_free(target)
    for name in files:
        check_name(name)
    target.parent.mkdir(parents=True, exist_ok=True)
    _sweep(target)
    made = target.with_name(f".{target.name}.{secrets.token_hex(4)}{SUFFIX}")
    os.mkdir(made, 0o700)
    lock = -1
    try:
        _write(made / LOCK, b"")
        lock = acquire(made, alone=True)
        _fill(made, settings, files)
        _check_free(target)
        _rename(made, target)
    except BaseException as error:
        shutil.rmtree(made, ignore_errors=True)
        if isinstance(error, OSError) and error.errno and not error.filename:  # of a write
            raise OSError(error.errno, os.strerror(error.errno), str(target)) from error
        raise
    finally:
        if lock >= 0:
            os.close(lock)


def is_plain(name: str) -> bool:
    r"""Say whether a name is a plain place inside an index's folder.

    >>> is_plain("model/config.json"), is_plain("../key"), is_plain("a\0b")
    (True, False, False)
    """
    parts = PurePosixPath(name).parts
    plain = 0 < len(parts) <= 3 and all(_NAME.fullmatch(part) for part in parts)
    return plain and "/".join(parts) == name and not name.endswith(SUFFIX)


def check_name(name: str) -> None:
    """Refuse a name that is no plain place inside an index's folder, or one of its own."""
    own = name in RESERVED or DATA.fullmatch(name) is not None
    expect(
        is_plain(name) and not own,
        "index",
        "a plain file name of letters, digits, '_', '-' and '.', none of the index's own",
        name=name,
        error=DataError,
    )


def _check_free(target: Path) -> None:
    empty = target.is_dir() and not any(target.iterdir())
    if (target.exists() or target.is_symlink()) and not empty:
        raise DataError(
            f"{target}: something is there already; choose another folder, "
            "or add to the index that is there"
        )


def _fill(made: Path, settings: IndexSettings, files: Mapping[str, bytes]) -> None:
    content = {SETTINGS: settings.to_json().encode(), KEY: new_key(), **files}
    for name, data in content.items():
        path = made / name
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _write(path, data)
    state = State(0, 0, settings.dimension, 0, 1, 0, 0)
    layout = state.layout(len(settings.classes), settings.dtype)
    rows = RowFiles(made, layout, new=True)
    rows.sync()
    rows.close()
    sums = {name: (len(data), bytes_sum(data)) for name, data in content.items()}
    database = create(database_path(made))
    try:
        with database.writing():
            database.put_state(state)
            database.many(
                "INSERT INTO files VALUES (?, ?, ?, 0)",
                [(name, *one) for name, one in sums.items()],
            )
        os.chmod(database.path, 0o600)
        seal_files(made, database, {name: Sums() for name in layout.names.values()})
    finally:
        database.close()
    for place in sorted({(made / name).parent for name in content} | {made}):
        sync_folder(place)


def seal_files(folder: Path, database: Database, data: dict[str, Sums]) -> None:
    """Write the seal of an index at rest: its data files as summed, its database, its files."""
    rows = database.rows("SELECT name, size, sum FROM files WHERE size >= 0")
    with raw(database.path) as descriptor:
        files = {
            DATABASE: file_sum(descriptor),
            **{name: (size, sum_) for name, size, sum_ in rows},
        }
    Seal(database.state().commits, data, files).write(folder)


def _write(path: Path, data: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with open(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _rename(made: Path, target: Path) -> None:
    try:
        os.rename(made, target)  # onto a folder only if that is empty
    except OSError as error:
        _check_free(target)
        raise OSError(error.errno, error.strerror or str(error), str(target)) from error
    sync_folder(target.parent)


def _sweep(target: Path) -> None:
    """Remove what killed processes left of this index in the making; one at work has its lock."""
    for left in target.parent.glob(f".{_literal(target.name)}.*{SUFFIX}"):
        if not (left / LOCK).is_file():
            continue
        with contextlib.suppress(DataError, OSError):
            lock = acquire(left, alone=True)
            try:
                shutil.rmtree(left, ignore_errors=True)
            finally:
                os.close(lock)


def _literal(name: str) -> str:
    return re.sub(r"([*?[])", r"[\1]", name)
