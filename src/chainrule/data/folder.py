"""Folders of pictures, one subfolder a class."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from chainrule.data.dataset import ImageData
from chainrule.data.parts import PARTS, image_data
from chainrule.data.picture_dataset import PictureDataset
from chainrule.data.pictures import ENDINGS, Mode, Source, shown
from chainrule.errors import DataError

_LITTER = frozenset(("thumbs.db", "desktop.ini", "__macosx"))  # what systems leave behind
_WANTED = "expected a folder for each class with its pictures inside: {root}/CLASS/PICTURE"


class ImageFolder(PictureDataset):
    """Pictures in one subfolder a class, `root/cat/1.jpg`; what lies deeper belongs to its class.

    The attributes are torchvision's: `classes` in the order of their names, `class_to_idx`,
    `samples` (path and class of each picture, by class and path), `targets`.  Hidden files, what
    systems leave behind (`Thumbs.db`, `__MACOSX`), files of other endings and links that lead
    nowhere are left out and counted in `notes`.  Links to folders are followed, in circles only
    once.  For `mode`, and for what is read, see `PictureDataset` and `read_picture`.

    Raises DataError for a folder that is missing or has no subfolders, for a class without
    pictures, and for one that holds train/, val/ and test/ (`load_folder` reads it).

    >>> import tempfile, pathlib
    >>> from PIL import Image
    >>> root = pathlib.Path(tempfile.mkdtemp())
    >>> for kind in ("cat", "dog"):
    ...     (root / kind).mkdir()
    ...     Image.new("RGB", (4, 3)).save(root / kind / "1.png")
    >>> data = ImageFolder(root)
    >>> data.class_to_idx, data[1][0].shape, data[1][1]
    ({'cat': 0, 'dog': 1}, (3, 3, 4), np.int64(1))
    """

    def __init__(self, root: str | os.PathLike[str], mode: Mode | None = None) -> None:
        self.root = Path(root)
        left: Counter[str] = Counter()
        classes = _folders(self.root, left)
        if not classes:
            raise DataError(f"{shown(root)}: no subfolders; {_wanted(self.root)}")
        layout = _layout(self.root, classes)
        if layout:
            one = self.root / next(iter(layout.values()))
            raise DataError(
                f"{shown(root)}: holds parts ({', '.join(layout.values())}) and not classes; read "
                f"it with load_folder, or one part as ImageFolder({shown(one)!r})"
            )
        self.samples: list[tuple[str, int]] = []
        for number, label in enumerate(classes):
            found = _pictures(self.root / label, left)
            if not found:
                raise DataError(
                    f"{shown(self.root / label)}: no pictures in this class ({_endings()}); add "
                    "some or remove the folder"
                )
            self.samples += [(path, number) for path in found]
        targets = np.array([number for _, number in self.samples], np.int64)
        self.notes = _notes(self.root, left)
        super().__init__(targets, classes, name=shown(self.root.resolve().name), mode=mode)
        self.class_to_idx = {label: number for number, label in enumerate(self.classes)}

    def source(self, index: int) -> Source:
        """Give the path of a picture."""
        return self.samples[index][0]

    def describe(self, index: int) -> str:
        """Give the path of a picture for messages."""
        return shown(self.samples[index][0])


def load_folder(
    root: str | os.PathLike[str],
    *,
    test: float = 0.2,
    validation: float = 0.0,
    seed: int = 0,
    mode: Mode | None = None,
) -> ImageData:
    """Read a folder of pictures by class, with its split or with one made here.

    With subfolders `train`, `val` (or `valid`) and `test` that hold the classes, these are the
    parts; their classes must agree.  Without a test folder the validation part is measured on.
    Else each class is shared out by the fractions `test` and `validation`: the same files give the
    same parts, in whatever order the disk lists them, see `split`.  Raises DataError as
    `ImageFolder` does.

    >>> load_folder("nowhere")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    chainrule.errors.DataError: nowhere: no such folder; expected a folder for each class with ...
    """
    root = Path(root)
    names = _folders(root, Counter())
    layout = _layout(root, names)
    places = {part: root / name for part, name in layout.items()} or {"train": root}
    found = {part: ImageFolder(place, mode) for part, place in places.items()}
    _agree(found)
    notes = [note for folder in found.values() for note in folder.notes]
    others = sorted(set(names) - set(layout.values())) if layout else []
    if others:
        notes.append(f"{shown(root)}: left out the folders {', '.join(others)}")
    return image_data(
        shown(root.resolve().name),
        found,
        found["train"].white,
        notes,
        test=test,
        validation=validation,
        seed=seed,
    )


class _Entry(NamedTuple):
    name: str
    path: str
    folder: bool
    file: bool


def _entries(folder: str | os.PathLike[str], left: Counter[str]) -> Iterator[_Entry]:
    """List a folder by names, without what is hidden or litter."""
    try:
        with os.scandir(folder) as listing:
            found = sorted(listing, key=lambda entry: entry.name)
            entries = [_Entry(e.name, e.path, _is(e.is_dir), _is(e.is_file)) for e in found]
    except OSError as error:
        raise DataError(f"{shown(folder)}: cannot be listed ({error.strerror})") from error
    for entry in entries:
        if entry.name.startswith(".") or entry.name.lower() in _LITTER:
            left["hidden or left by a system"] += 1
        else:
            yield entry


def _is(question: Callable[[], bool]) -> bool:
    """Ask an entry what it is; a link to itself is nothing."""
    try:
        return question()
    except OSError:
        return False


def _folders(root: Path, left: Counter[str]) -> list[str]:
    """List the names of the subfolders; other things there are counted."""
    if not root.is_dir():
        reason = "not a folder" if root.exists() else "no such folder"
        raise DataError(f"{shown(root)}: {reason}; {_wanted(root)}")
    names = []
    for entry in _entries(root, left):
        if not entry.folder:
            left["beside the folders of the classes"] += 1
            continue
        if entry.name != shown(entry.name):
            raise DataError(f"{shown(entry.path)}: a class whose name is no UTF-8; rename it")
        names.append(entry.name)
    return names


def _layout(root: Path, names: list[str]) -> dict[str, str]:
    """Find the folders of the parts; empty where the folders are classes.

    A class may be called "train": parts hold folders, and are several or all that there is.
    """
    found: dict[str, str] = {}
    for name in names:
        part = PARTS.get(name.lower())
        if part is None or not any(e.folder for e in _entries(root / name, Counter())):
            continue
        if part in found:
            raise DataError(
                f"{shown(root)}: both {found[part]}/ and {name}/ are there; expected one "
                f"{part} part"
            )
        found[part] = name
    return found if len(found) > 1 or len(names) == 1 else {}


def _pictures(folder: Path, left: Counter[str]) -> list[str]:
    """List a class's pictures by path."""
    found: list[str] = []
    for path in files_below(folder, left):
        if os.path.splitext(path)[1].lower() in ENDINGS:
            found.append(path)
        else:
            left["of other endings"] += 1
    return sorted(found)


def files_below(
    folder: str | os.PathLike[str], left: Counter[str], strict: bool = True
) -> Iterator[str]:
    """Give the paths of all files in a folder and what lies deeper; each real folder once.

    Links are followed.  What is left out is counted in `left`: hidden files, what systems leave
    behind, links in circles or to nowhere, what is no regular file.  Raises DataError for a folder
    that cannot be listed; not `strict`, one that lies deeper is counted too.

    >>> import tempfile, pathlib
    >>> root = pathlib.Path(tempfile.mkdtemp())
    >>> _ = (root / "a.txt").write_text("")
    >>> [os.path.basename(path) for path in files_below(root, Counter())]
    ['a.txt']
    """
    waiting, seen = [os.fspath(folder)], set()
    while waiting:
        here = waiting.pop()
        try:
            place = os.stat(here)
            if (place.st_dev, place.st_ino) in seen:
                left["links in circles or to what was listed"] += 1
                continue
            entries = list(_entries(here, left))
        except (OSError, DataError):
            if strict or here == os.fspath(folder):
                raise
            left["folders that cannot be listed"] += 1
            continue
        seen.add((place.st_dev, place.st_ino))
        deeper = []
        for entry in entries:
            if entry.folder:
                deeper.append(entry.path)
            elif entry.file:
                yield entry.path
            else:
                left["no regular files, or links that lead nowhere"] += 1
        waiting += reversed(deeper)


def _agree(parts: dict[str, ImageFolder]) -> None:
    """Check that the parts have the same classes and depth, and give them the same channels."""
    train = parts.get("train")
    if train is None:
        raise DataError(
            f"{shown(next(iter(parts.values())).root.parent)}: expected train/ beside the other "
            "parts, with the pictures to learn from; it is not there"
        )
    for part in parts.values():
        if part.classes != train.classes:
            missing = sorted(set(train.classes) - set(part.classes))
            more = sorted(set(part.classes) - set(train.classes))
            said = [f"without {', '.join(missing)}"] * bool(missing)
            said += [f"and with {', '.join(more)}"] * bool(more)
            raise DataError(
                f"{shown(part.root)}: expected the classes of {shown(train.root)}, found them "
                f"{' '.join(said)}"
            )
        if part.depth != train.depth:
            raise DataError(
                f"{shown(part.root)}: expected pictures of type {train.depth}, as in "
                f"{shown(train.root)}, found {part.depth}"
            )
    if any(part.mode == "RGB" for part in parts.values()):
        for part in parts.values():
            part.mode = "RGB"


def _wanted(root: Path) -> str:
    return _WANTED.format(root=shown(root))


def _endings() -> str:
    return "files that end in " + ", ".join(sorted(ENDINGS))


def _notes(root: Path, left: Counter[str]) -> tuple[str, ...]:
    return tuple(
        f"{shown(root)}: left out {count:,} item{'s' * (count != 1)} {what}"
        for what, count in sorted(left.items())
    )
