"""Data sets that are arrays in files: NumPy's .npz and .npy, and HDF5."""

from __future__ import annotations

import os
import zipfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
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
from chainrule.data.dataset import ArrayDataset, Dataset, ImageData, Task
from chainrule.data.hdf5 import HDF5_ENDINGS, Hdf5Source
from chainrule.data.parts import image_data
from chainrule.data.pictures import shown
from chainrule.engine.op import Array
from chainrule.errors import DataError

_NAMES = {
    "train": ("x_train y_train", "train_images train_labels", "train/images train/labels"),
    "validation": ("x_val y_val", "val_images val_labels", "val/images val/labels"),
    "test": ("x_test y_test", "test_images test_labels", "test/images test/labels"),
}
_WHOLE = ("images labels", "x y")
_DAMAGE = (  # what NumPy and zipfile raise on damaged files
    OSError,
    ArithmeticError,
    ValueError,
    KeyError,
    EOFError,
    MemoryError,
    RuntimeError,
    SyntaxError,
    TypeError,
    zipfile.BadZipFile,
    zlib.error,
)
_WANTED = "images and labels, x_train and y_train, or train_images and train_labels"


def load_arrays(
    path: str | os.PathLike[str],
    labels: str | os.PathLike[str] | None = None,
    *,
    layout: Layout | None = None,
    white: float | None = None,
    classes: Sequence[str] | None = None,
    task: Task | None = None,
    test: float = 0.2,
    validation: float = 0.0,
    seed: int = 0,
) -> ImageData:
    """Read a data set of arrays from .npz, .npy or HDF5.

    `path` is an .npz, an .npy beside the .npy of its `labels`, a folder of .npy files, or an HDF5
    file (.h5, .hdf5; needs `pip install chainrule[hdf5]`).  The arrays are called `x_train` and
    `y_train`, `x_val`, `x_test` and so on, as Keras has them; `train_images` and `train_labels`;
    in HDF5 also `train/images` and `train/labels`; or `images` and `labels` (`x` and `y`) for a
    set without a split, which is then made by the fractions `test` and `validation`, see
    `image_data`.  An array `classes` names the classes.

    Images are (N, H, W), (N, C, H, W) or (N, H, W, C); see `form_of` for which axis has the
    channels without `layout`.  `white` is the value of a white pixel: by default 255 for bytes,
    65535 for uint16, 1 for bools and for floats, which then must lie in 0..1.

    Labels are (N,) or (N, 1) integers or names; (N, K) of 0 and 1 with one 1 in each row, which
    are classes too; (N, K) of 0 and 1, any number of labels an image; floats, a regression.

    .npy files are mapped and HDF5 is read image by image, so that sets may be larger than the
    memory (but floats of .npy are looked through once); .npz is read whole.  Pickled objects are
    never read.  Raises DataError, naming file and array, for what is missing, damaged, of a wrong
    shape or type, and for links of HDF5 to other files; ShapeError and LabelError as
    `ArrayDataset`.

    >>> import tempfile, pathlib
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "set.npz"
    >>> np.savez(path, images=np.zeros((10, 4, 5, 3), np.uint8), labels=np.arange(10) % 2)
    >>> data = load_arrays(path)
    >>> len(data.train), data.train[0][0].shape, data.white
    (8, (3, 4, 5), 255.0)
    """
    if layout not in (None, "NCHW", "NHWC"):
        raise DataError(f"load_arrays: expected 'NCHW', 'NHWC' or None as layout, got {layout!r}")
    source = _source(path, labels)
    pairs = _pairs(source)
    if classes is None and "classes" in source.keys:
        classes = [_text(label, source.name) for label in source.read("classes").reshape(-1)]
    forms = {part: source.form(key, layout, white) for part, (key, _) in pairs.items()}
    whites = {part: form.white for part, form in forms.items()}
    if len(set(whites.values())) > 1:
        raise DataError(f"{source.name}: expected parts of one type, found white as {whites}")
    found = {part: source.read(key) for part, (_, key) in pairs.items()}
    targets, meaning = _targets(found, task, classes, source.name)
    parts = {
        part: source.dataset(key, forms[part], targets[part], meaning)
        for part, (key, _) in pairs.items()
    }
    white = next(iter(whites.values()))
    name = Path(path).stem
    return image_data(name, parts, white, test=test, validation=validation, seed=seed)


class _NumpySource(ArraySource):
    """Arrays of .npz and .npy; each is read once, or mapped, when it is first asked for."""

    def __init__(self, name: str, readers: Mapping[str, Callable[[], Array]]) -> None:
        super().__init__(name, list(readers))
        self._readers = dict(readers)
        self._read: dict[str, Array] = {}

    def read(self, key: str) -> Array:
        if key not in self._read:
            self._read[key] = _read(f"{self.name}, {key}", self._readers[key])
        return self._read[key]

    def form(self, key: str, layout: Layout | None, white: float | None) -> Form:
        images = self.read(key)
        return form_of(images.shape, images.dtype, f"{self.name}, {key}", layout, white)

    def dataset(self, key: str, form: Form, targets: Array, meaning: Meaning) -> Dataset:
        name, images = f"{self.name}, {key}", arranged(self.read(key), form)
        if form.unit:
            check_unit(images, name)
        return ArrayDataset(images, targets, meaning.classes, name, meaning.task)


def _source(path: str | os.PathLike[str], labels: str | os.PathLike[str] | None) -> ArraySource:
    """Find what kind of file is there."""
    place, name = Path(path), shown(path)
    ending = place.suffix.lower()
    if not place.exists():
        raise DataError(f"{name}: no such file or folder; expected arrays: {_WANTED}")
    if labels is not None or ending == ".npy":
        if labels is None or ending != ".npy":
            raise DataError(f"{name}: expected images.npy, and the .npy of their labels as labels=")
        pair = {"images": place, "labels": Path(labels)}
        return _NumpySource(name, {key: partial(_mapped, file) for key, file in pair.items()})
    if place.is_dir():
        files = sorted(place.glob("*.npy"))
        return _NumpySource(name, {file.stem: partial(_mapped, file) for file in files})
    if ending in HDF5_ENDINGS:
        return Hdf5Source(place)
    if ending != ".npz":
        raise DataError(
            f"{name}: expected .npz, .npy, {', '.join(HDF5_ENDINGS)} or a folder of .npy files"
        )
    keys = _read(name, partial(_npz_keys, place))
    return _NumpySource(name, {key: partial(_member, place, key) for key in keys})


def _mapped(path: Path) -> Array:
    return np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))


def _npz_keys(path: Path) -> list[str]:
    with zipfile.ZipFile(path) as packed:
        return [name.removesuffix(".npy") for name in packed.namelist()]


def _member(path: Path, key: str) -> Array:
    with np.load(path, allow_pickle=False) as packed:
        return np.asarray(packed[key])


def _read(name: str, reader: Callable[[], Any]) -> Any:
    """Read from NumPy's files; raise DataError for whatever is wrong with them."""
    try:
        return reader()
    except _DAMAGE as error:
        reason = str(error) or type(error).__name__
        if "allow_pickle" in reason:
            reason = "Python objects, which are never read; save arrays of numbers or texts"
        raise DataError(f"{name}: cannot be read as NumPy's arrays ({reason})") from error


def _pairs(source: ArraySource) -> dict[str, tuple[str, str]]:
    """Find the names of images and labels by part."""
    known = {part: [pair.split() for pair in pairs] for part, pairs in _NAMES.items()}
    known["train"] += [pair.split() for pair in _WHOLE]
    found: dict[str, tuple[str, str]] = {}
    for part, pairs in known.items():
        for images, labels in pairs:
            there = [key in source.keys for key in (images, labels)]
            if any(there) and not all(there):
                missing = labels if there[0] else images
                raise DataError(f"{source.name}: expected {missing} beside its partner; not there")
            if all(there):
                if part in found:
                    raise DataError(
                        f"{source.name}: both {found[part][0]} and {images} are there; remove one"
                    )
                found[part] = images, labels
    if "train" not in found:
        there_are = ", ".join(source.keys[:20]) or "none"
        raise DataError(f"{source.name}: expected arrays {_WANTED}; there are {there_are}")
    return found


def _targets(
    found: dict[str, Array], task: Task | None, classes: Sequence[str] | None, name: str
) -> tuple[dict[str, Array], Meaning]:
    """Tell what the labels of all parts are, together."""
    tables = {}
    for part, array in found.items():
        array = array.reshape(len(array)) if array.ndim == 2 and array.shape[1] == 1 else array
        if array.ndim not in (1, 2) or not len(array):
            raise DataError(
                f"{name}: expected {part} labels (N,) or (N, K), found shape {found[part].shape}"
            )
        tables[part] = array
    if len({array.shape[1:] for array in tables.values()}) > 1:
        raise DataError(f"{name}: expected labels of the same K in all parts")
    every = np.concatenate(list(tables.values()))
    if every.dtype.kind in "USO":
        return _from_names(tables, every, classes, name)
    if every.dtype.kind not in "biuf":
        raise DataError(f"{name}: expected labels that are numbers or names, found {every.dtype}")
    kind = task or _task(every)
    if kind == "classification":
        tables = {part: _labels(array, name) for part, array in tables.items()}
    count = every.shape[1] if every.ndim == 2 else 1
    if kind == "classification" and every.ndim == 1:
        count = max(int(array.max()) for array in tables.values()) + 1
    return tables, Meaning(classes or [str(number) for number in range(count)], kind)


def _task(labels: Array) -> Task:
    if labels.ndim == 1:
        return "regression" if labels.dtype.kind == "f" else "classification"
    if not np.isin(labels, (0, 1)).all():
        return "regression"
    return "classification" if (labels.sum(axis=1) == 1).all() else "multilabel"


def _labels(labels: Array, name: str) -> Array:
    """Give labels (N,) as integers, for a task that wants classes."""
    if labels.ndim == 2:
        if not (np.isin(labels, (0, 1)).all() and (labels.sum(axis=1) == 1).all()):
            raise DataError(f"{name}: expected labels (N,), or (N, K) with one 1 in each row")
        return np.asarray(labels.argmax(axis=1))
    with np.errstate(invalid="ignore"):
        whole = labels.astype(np.int64)
    if not (whole == labels).all():
        raise DataError(f"{name}: expected whole numbers as labels of classes")
    return whole


def _text(label: Any, name: str) -> str:
    """Give a label's name; HDF5 and old files have them as bytes."""
    if isinstance(label, bytes):
        return label.decode("utf-8", "replace")
    if not isinstance(label, str | int | np.integer):
        raise DataError(f"{name}: expected names as labels, found {type(label).__name__}")
    return str(label)


def _from_names(
    tables: dict[str, Array], every: Array, classes: Sequence[str] | None, name: str
) -> tuple[dict[str, Array], Meaning]:
    """Number labels that are names."""
    if every.ndim != 1:
        raise DataError(f"{name}: expected one name as label of each image")
    texts = {part: [_text(label, name) for label in array] for part, array in tables.items()}
    names = sorted(set().union(*texts.values()))
    order = list(classes) if classes is not None else names
    unknown = sorted(set(names) - set(order))
    if unknown:
        raise DataError(
            f"{name}: expected labels of the classes {', '.join(order)}, found {unknown[0]!r}"
        )
    numbers = {label: number for number, label in enumerate(order)}
    found = {part: np.array([numbers[text] for text in row]) for part, row in texts.items()}
    return found, Meaning(order, "classification")
