"""The indexes of images that a lab searches: found by short names, opened once, never by a path."""

from __future__ import annotations

import contextlib
import re
import threading
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from chainrule.errors import ChainruleError, DataError
from chainrule.lab.settings import Settings, is_index
from chainrule.retrieval.index import Index
from chainrule.retrieval.network import MODEL
from chainrule.training.folder import WEIGHTS

KEPT = 3
"""Indexes that stay open; the one that was not asked for the longest goes."""

_TOLD = 10  # indexes that a message names


@dataclass(eq=False)
class Opened:
    """An index that is open: its name in addresses, and itself.

    `kept` are heat maps as PNG, by what they were asked for; `lock` is held while they are made
    and looked through.
    """

    name: str
    index: Index
    stamp: Any = None
    lock: threading.RLock = field(default_factory=threading.RLock, repr=False)
    kept: OrderedDict[Any, bytes] = field(default_factory=OrderedDict, repr=False)

    @contextlib.contextmanager
    def told(self) -> Iterator[None]:
        """Turn what goes wrong with the index into words that name it as the pages do."""
        with named(self.name, self.index.path):
            yield


class Indexes:
    """Finds indexes by their names: those named on the command line, and those beside the runs.

    >>> Indexes(Settings(Path("absent"))).paths()
    {}
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._open: OrderedDict[str, Opened] = OrderedDict()
        self._lock = threading.Lock()

    def paths(self) -> dict[str, Path]:
        """Give the folders of the indexes by name; a second one of a name gets a number."""
        found: dict[str, Path] = {}
        for path in dict.fromkeys(self._folders()):
            plain = re.sub(r"[^\w.+-]+", "_", path.name)[:80] or "index"
            names = (plain, *(f"{plain}-{number}" for number in range(2, 10_000)))
            found[next(name for name in names if name not in found)] = path
        return {name: path for name, path in found.items() if is_index(path)}

    def _folders(self) -> Iterator[Path]:
        yield from (path.resolve() for path in self.settings.indexes)
        with contextlib.suppress(OSError):
            for path in sorted(self.settings.folder.iterdir()):
                if path.name[0] != "." and is_index(path):
                    yield path.resolve()

    def get(self, name: str) -> Opened:
        """Give an index, the first one for ""; DataError where there is none, or a damaged one."""
        paths = self.paths()
        if not paths:
            raise DataError("there is no index here yet; chainrule index build makes one")
        name = name or next(iter(paths))
        with self._lock:
            for gone in self._open.keys() - paths.keys():
                del self._open[gone]
        if name not in paths:
            there = ", ".join(list(paths)[:_TOLD]) + (", ..." if len(paths) > _TOLD else "")
            raise DataError(
                f"index: there is none of the name {name[:60]!r} (any more); here are {there}"
            )
        return self._opened(name, paths[name])

    def _opened(self, name: str, path: Path) -> Opened:
        stamp = (path, _stamp(path / "index.json"), _stamp(path / MODEL / WEIGHTS))
        with self._lock, named(name, path):
            known = self._open.get(name)
            if known is None or known.stamp != stamp:
                known = self._open[name] = Opened(name, Index(path), stamp)
            self._open.move_to_end(name)
            while len(self._open) > KEPT:
                self._open.popitem(last=False)
        return known


@contextlib.contextmanager
def named(name: str, path: Path) -> Iterator[None]:
    """Turn errors about a path into words about a name."""
    try:
        yield
    except ChainruleError as error:
        raise DataError(str(error).replace(str(path), name)) from error
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise DataError(f"the index {name} cannot be read ({reason})") from error


def _stamp(path: Path) -> tuple[int, int, int]:
    """Give what changes when a file is replaced; zeros where there is none."""
    try:
        found = path.stat()
    except OSError:
        return 0, 0, 0
    return found.st_ino, found.st_mtime_ns, found.st_size
