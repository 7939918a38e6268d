"""Images in HDF5 files, read one by one."""

from __future__ import annotations

import importlib
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from chainrule.data.array_form import (
    ArraySource,
    Form,
    Layout,
    Meaning,
    arranged,
    check_unit,
    form_of,
)
from chainrule.data.dataset import Dataset, check_finite
from chainrule.data.pictures import shown
from chainrule.engine.op import Array
from chainrule.errors import DataError

HDF5_ENDINGS = (".h5", ".hdf5", ".hdf", ".he5")


class Hdf5Source(ArraySource):
    """The arrays of an HDF5 file, in groups too: "train/images".

    Raises DataError where h5py is missing, and for what is no HDF5 file or a damaged one.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = os.fspath(path)
        with _open(self.path) as file:
            keys: list[str] = []
            with _named(shown(path)):
                _list(file, "", keys)
        super().__init__(shown(path), keys)

    def read(self, key: str) -> Array:
        """Read one array whole; texts become str."""
        with _open(self.path) as file, _named(f"{self.name}, {key}"):
            array = _array(file, key, self.name)
            text = importlib.import_module("h5py").check_string_dtype(array.dtype)
            return np.asarray((array.asstr("utf-8", "backslashreplace") if text else array)[()])

    def form(self, key: str, layout: Layout | None, white: float | None) -> Form:
        """Tell the images' form; no image is read."""
        with _open(self.path) as file:
            array = _array(file, key, self.name)
            return form_of(array.shape, array.dtype, f"{self.name}, {key}", layout, white)

    def dataset(self, key: str, form: Form, targets: Array, meaning: Meaning) -> Dataset:
        """Give a data set that reads its images when they are asked for."""
        with _open(self.path) as file:
            count = len(_array(file, key, self.name))
        if count != len(targets):
            raise DataError(
                f"{self.name}, {key}: expected {len(targets):,} images, one for each label, found "
                f"{count:,}"
            )
        return Hdf5Dataset(self.path, key, form, targets, meaning)


class Hdf5Dataset(Dataset):
    """Images under a name in an HDF5 file, each read when it is asked for.

    The library lets one thread in at a time.  The file is opened by the first image, and again in
    a process that was forked or got the data set by pickle.  `load_arrays` makes it.

    >>> import numpy as np
    >>> Hdf5Dataset("absent.h5", "images", Form("NHW", 255.0, False), np.array([0]),
    ...             Meaning(["a"], "classification"))[0]  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    chainrule.errors.DataError: absent.h5: cannot be read as HDF5 (...
    """

    def __init__(self, path: str, key: str, form: Form, targets: Array, meaning: Meaning) -> None:
        super().__init__(targets, meaning.classes, meaning.task, f"{shown(path)}, {key}")
        self.path, self.key, self.form = path, key, form
        self._lock = threading.Lock()
        self._open: tuple[int, Any, Any] | None = None  # the process, the file, its array

    @property
    def white(self) -> float:
        """The value of a white pixel."""
        return self.form.white

    def image(self, index: int) -> Array:
        """Read image number `index`: (C, H, W)."""
        name = self.describe(index)
        with self._lock, _named(name):
            pixels = np.asarray(self._array()[index])
        pixels = pixels.astype(pixels.dtype.newbyteorder("="), copy=False)
        pixels = np.asarray(arranged(pixels[np.newaxis], self.form)[0])
        if self.form.unit:
            check_unit(pixels, name)
        else:
            check_finite(pixels, name)
        return pixels

    def _array(self) -> Any:
        if self._open is None or self._open[0] != os.getpid():
            file = _file(self.path)
            self._open = os.getpid(), file, _array(file, self.key, shown(self.path))
        return self._open[2]

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in vars(self).items() if key not in ("_lock", "_open")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, _lock=threading.Lock(), _open=None)


def _file(path: str) -> Any:
    try:
        h5py = importlib.import_module("h5py")
    except ModuleNotFoundError as error:
        raise DataError(
            f"{shown(path)}: HDF5 is read by h5py, which is not installed; "
            "pip install chainrule[hdf5]"
        ) from error
    if os.path.exists(path) and not os.path.isfile(path):
        raise DataError(f"{shown(path)}: is not a regular file; an HDF5 file is expected here")
    try:
        return h5py.File(path, "r")
    except (OSError, ValueError) as error:
        raise DataError(f"{shown(path)}: cannot be read as HDF5 ({error})") from error


@contextmanager
def _open(path: str) -> Iterator[Any]:
    with _file(path) as file:
        yield file


@contextmanager
def _named(name: str) -> Iterator[None]:
    """Raise DataError for what the library raises on damaged files or filters it has not."""
    try:
        yield
    except (OSError, RuntimeError, KeyError, TypeError, ValueError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{name}: cannot be read from HDF5 ({error})") from error


def _list(group: Any, above: str, keys: list[str]) -> None:
    """List the arrays by path; only hard links are followed, a file's own tree."""
    h5py = importlib.import_module("h5py")
    for name in group:
        link = group.get(name, getlink=True)
        if not isinstance(link, h5py.HardLink):
            keys.append(above + name)  # refused when it is asked for
        elif isinstance(group[name], h5py.Dataset):
            keys.append(above + name)
        elif isinstance(group[name], h5py.Group) and above.count("/") < 2:
            _list(group[name], f"{above}{name}/", keys)


def _array(file: Any, key: str, name: str) -> Any:
    """Find an array; what lies in other files is refused."""
    h5py = importlib.import_module("h5py")
    group, _, last = key.rpartition("/")
    link = (file[group] if group else file).get(last, getlink=True)
    if not isinstance(link, h5py.HardLink):
        raise DataError(
            f"{name}, {key}: a link, which may lead to other files; copy the array into this one"
        )
    array = file[key]
    if not isinstance(array, h5py.Dataset):
        raise DataError(f"{name}, {key}: expected an array, found {type(array).__name__}")
    if array.external or array.is_virtual:
        raise DataError(f"{name}, {key}: its values are in other files; copy them into this one")
    return array
