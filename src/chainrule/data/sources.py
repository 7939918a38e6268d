"""Data sets by name or by path."""

from __future__ import annotations

import difflib
import inspect
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from chainrule.data.arrays import load_arrays
from chainrule.data.cifar import load_cifar10, load_cifar100
from chainrule.data.dataset import ArrayDataset, ImageData
from chainrule.data.digits import load_digits
from chainrule.data.download import Progress
from chainrule.data.folder import load_folder
from chainrule.data.manifest import load_manifest
from chainrule.data.mnist import load_fashion_mnist, load_mnist
from chainrule.data.shards import load_shards
from chainrule.engine.op import Array
from chainrule.errors import DataError, KindError, ShapeError, failure

Reader = Callable[..., ImageData]


@dataclass(frozen=True)
class Frame:
    """How a picture from outside is framed for a set: its side, the box for the ink, its white."""

    size: int
    box: int
    white: float


FRAMES = {"digits": Frame(8, 8, 16.0), "mnist": Frame(28, 20, 255.0)}
"""The sets of written digits; pictures of digits from outside are brought into their frame."""

SETS: dict[str, Reader] = {
    "cifar10": load_cifar10,
    "cifar100": load_cifar100,
    "digits": load_digits,
    "fashion-mnist": load_fashion_mnist,
    "mnist": load_mnist,
}
"""The sets by name; but for the digits, which are always there, each is read from a folder."""

FOLDER = "a folder"

READERS: dict[str, Reader] = {
    ".csv": load_manifest,
    ".jsonl": load_manifest,
    ".npz": load_arrays,
    ".h5": load_arrays,
    ".hdf5": load_arrays,
    ".tar": load_shards,
    FOLDER: load_folder,
}
"""What reads a path, by its ending; `FOLDER` stands for folders with pictures in them."""


def list_datasets() -> list[str]:
    """List the names that `load_dataset` takes.

    >>> list_datasets()
    ['cifar10', 'cifar100', 'digits', 'fashion-mnist', 'mnist']
    """
    return sorted(SETS)


def load_dataset(
    name: str | os.PathLike[str],
    folder: str | os.PathLike[str] | None = None,
    download: bool = False,
    *,
    progress: Progress | None = None,
    **options: Any,
) -> ImageData:
    """Load a data set by name, or from a path to files of one's own.

    For a name, `folder` is where its files are (data/NAME by default); `download` fetches what is
    missing there, and tells `progress` of it.  These sets have a fixed test part; the options
    `validation=0.1` and `seed=0` hold that fraction of the training part out, of each class alike:
    the same images for the same seed, whatever a training's seed is.  cifar100 takes `fine=False`.

    A path goes to the reader of its kind in `READERS`, which takes the options; there is nothing
    to download then.

    Raises DataError for an unknown name, a path that does not exist, a folder for digits, and for
    files that are missing or damaged; TypeError for options that the set does not have; ShapeError
    for a fraction out of range.

    >>> load_dataset("digits", validation=0.1).validation
    ArrayDataset('validation', uint8 (143, 1, 8, 8), 10 classes)
    >>> load_dataset("mnits")
    Traceback (most recent call last):
    chainrule.errors.DataError: no data set is called 'mnits'; did you mean 'mnist'?
    """
    known = os.fspath(name)
    if known not in SETS:
        return _from_path(known, folder, options)
    read = SETS[known]
    fraction, seed = options.pop("validation", 0.0), options.pop("seed", 0)
    takes = inspect.signature(read).parameters
    _check_options(known, options, {"validation", "seed"} | set(takes) - _OWN)
    if "folder" in takes:
        place = folder or os.path.join("data", known)
        return _held_out(
            read(place, download=download, progress=progress, **options), fraction, seed
        )
    if folder is not None:
        raise DataError(
            f"{known}: expected no folder, since scikit-learn brings the images; got {folder}; "
            "leave --data-dir out, or choose the data set that is there with --data"
        )
    return _held_out(read(**options), fraction, seed)


_OWN = {"folder", "download", "progress"}  # arguments of `load_dataset` itself


def _check_options(name: str, options: dict[str, Any], known: set[str]) -> None:
    for option in options:
        if option not in known:
            rule = f"the options {', '.join(sorted(known))}"
            raise failure(name, rule, error=KindError, option=option)


def _from_path(name: str, folder: object, options: dict[str, Any]) -> ImageData:
    path = Path(name)
    several = "{" in path.name  # shard-{000..009}.tar is many files
    if not name or not (several or path.exists()):
        raise _absent(name)
    ending = next((e for e in READERS if e != FOLDER and path.name.lower().endswith(e)), None)
    if path.is_dir():
        packed = ".tar" in READERS and any(path.glob("*.tar"))
        ending = ".tar" if packed else FOLDER
    if ending is None or ending not in READERS:
        kinds = f"{', '.join(READERS)}, and " if READERS else ""
        raise DataError(
            f"{name}: nothing reads this; what can be read is {kinds}by name {_names()}"
        )
    if folder is not None:
        raise DataError(f"{name}: expected no folder beside the path of a data set; got {folder}")
    read = READERS[ending]
    _check_options(name, options, set(list(inspect.signature(read).parameters)[1:]))
    return read(path, **options)


def _absent(name: str) -> DataError:
    """Say that there is no such path, or that no set has the name, whichever was meant."""
    if os.sep in name or "/" in name or name.startswith("~") or os.path.splitext(name)[1]:
        return DataError(f"{name}: no such file or folder; by name there are {_names()}")
    near = difflib.get_close_matches(name.lower(), SETS, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"there are {_names()}, or give a path"
    return DataError(f"no data set is called {name!r}; {hint}")


def _names() -> str:
    return ", ".join(list_datasets())


def _held_out(data: ImageData, fraction: float, seed: int) -> ImageData:
    """Cut a validation part off the training part, of each class alike."""
    if isinstance(fraction, bool) or not isinstance(fraction, int | float | np.number):
        raise failure(data.name, "a number as validation", error=KindError, validation=fraction)
    if not 0 <= fraction < 1:
        raise failure(data.name, "0 <= validation < 1", error=ShapeError, validation=fraction)
    if not fraction:
        return data
    train = data.train
    if not isinstance(train, ArrayDataset):
        raise failure(data.name, "images in memory", error=KindError, train=type(train).__name__)
    chosen = _stratified(train.labels, float(fraction), seed)
    if not chosen.any():
        rule = f"validation large enough for one image of {len(train):,}"
        raise failure(data.name, rule, error=ShapeError, validation=fraction)
    parts = [
        ArrayDataset(train.images[part], train.labels[part], train.classes, name)
        for part, name in (
            (np.flatnonzero(~chosen), "train"),
            (np.flatnonzero(chosen), "validation"),
        )
    ]
    return replace(data, train=parts[0], validation=parts[1])


def _stratified(labels: Array, fraction: float, seed: int) -> Array:
    """Mark a fraction of every class, shuffled; one image of each stays unmarked."""
    shuffle = np.random.RandomState(seed)  # its stream is frozen, as in `digits`
    chosen = np.zeros(len(labels), dtype=bool)
    for label in np.unique(labels):
        places = np.flatnonzero(labels == label)
        count = min(round(len(places) * fraction), len(places) - 1)
        chosen[shuffle.permutation(places)[:count]] = True
    return chosen
