"""What an index is made with: written once as `index.json`, read with every number checked."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from chainrule.errors import DataError, expect, failure

VERSION = 1
"""The form of an index that this release writes, and the newest that it reads."""

FILE = "index.json"
"""The file's name."""

_LARGEST = 1 << 20


@dataclass(frozen=True)
class IndexSettings:
    """The settings of an index; nothing in it says where anything lies.

    `dimension` is the length D of a vector, `classes` the names of the K classes (none for an
    index without them), `dtype` "float32" or "float16".  `layer`, `task`, `window` say how
    pictures become vectors, `thumbnail` is the longer side in pixels (0: none are kept),
    `keep_paths` and `keep_tags` what is kept in plain text, `groups` the pattern that finds
    patients, `whiten` the number of components kept (0: not whitened), `ann` whether an
    approximate index is made, from `ann_threshold` images on.  `extra` holds plain values.
    Raises DataError for values outside these.

    >>> IndexSettings(dimension=4, classes=("no", "yes")).dtype
    'float32'
    """

    dimension: int
    classes: tuple[str, ...] = ()
    dtype: str = "float32"
    layer: str = ""
    task: str = ""
    window: str = ""
    thumbnail: int = 0
    keep_paths: bool = False
    keep_tags: tuple[str, ...] = ()
    groups: str = ""
    whiten: int = 0
    ann: bool = False
    ann_threshold: int = 0
    extra: Mapping[str, Any] = field(default_factory=dict)
    version: int = VERSION

    def __post_init__(self) -> None:
        for name, kind in _KINDS.items():
            value = getattr(self, name)
            if name in _LISTS:
                object.__setattr__(self, name, tuple(value))
                fits = all(isinstance(item, str) for item in getattr(self, name))
            else:
                fits = type(value) is kind if kind in (int, bool) else isinstance(value, kind)
            expect(fits, "index settings", _RULES[kind].format(name), value=value, error=DataError)
        self._check_numbers()
        _plain(self.extra)

    def _check_numbers(self) -> None:
        for name in ("thumbnail", "whiten", "ann_threshold"):
            value = getattr(self, name)
            rule = f"{name} from 0 to {_LARGEST}"
            expect(0 <= value <= _LARGEST, "index settings", rule, value=value, error=DataError)
        rule = f"a dimension from 1 to {_LARGEST}"
        fits = 1 <= self.dimension <= _LARGEST
        expect(fits, "index settings", rule, dimension=self.dimension, error=DataError)
        rule = "float32 or float16"
        fits = self.dtype in ("float32", "float16")
        expect(fits, "index settings", rule, dtype=self.dtype, error=DataError)
        once = len(set(self.classes)) == len(self.classes)
        expect(once, "index settings", "each class once", classes=self.classes, error=DataError)

    def to_json(self) -> str:
        """Write the settings as JSON text.

        >>> IndexSettings.from_json(IndexSettings(dimension=4).to_json()).dimension
        4
        """
        values = {item.name: getattr(self, item.name) for item in dataclasses.fields(self)}
        values["extra"] = dict(self.extra)
        return json.dumps(values, indent=2, sort_keys=True, allow_nan=False) + "\n"

    @classmethod
    def from_json(cls, text: str | bytes, name: str = FILE) -> IndexSettings:
        """Read settings from JSON text; DataError, with the file's name, if it is damaged or newer.

        >>> IndexSettings.from_json('{"version": 9}')
        Traceback (most recent call last):
        chainrule.errors.DataError: index.json: expected an index of version 1; got version 9; \
it was made by a newer release: install that, or build the index anew
        """
        try:
            found = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise _damaged(name, str(error)) from error
        if not isinstance(found, dict):
            raise _damaged(name, "it is no table")
        _check_version(found.get("version"), name)
        names = {item.name for item in dataclasses.fields(cls)}
        if found.keys() != names:
            wrong = ", ".join(sorted(map(str, found.keys() ^ names)))
            raise _damaged(name, f"missing or unknown: {wrong}")
        lists = {key: found[key] for key in _LISTS}
        if not all(isinstance(value, list) for value in lists.values()):
            raise _damaged(name, "classes and keep_tags are no lists")
        try:
            return cls(**found)
        except DataError as error:
            raise _damaged(name, str(error)) from error


_LISTS = ("classes", "keep_tags")
_KINDS: dict[str, type] = {
    **dict.fromkeys(("version", "dimension", "thumbnail", "whiten", "ann_threshold"), int),
    **dict.fromkeys(("keep_paths", "ann"), bool),
    **dict.fromkeys(("dtype", "layer", "task", "window", "groups"), str),
    **dict.fromkeys(_LISTS, tuple),
    "extra": Mapping,
}
_RULES: dict[type, str] = {
    int: "a whole number for {}",
    bool: "true or false for {}",
    str: "a text for {}",
    tuple: "a list of texts for {}",
    Mapping: "a table for {}",
}


def read_settings(folder: str | os.PathLike[str]) -> IndexSettings:
    """Read the settings of the index in a folder; DataError if there is none or it is damaged.

    >>> read_settings("absent")
    Traceback (most recent call last):
    chainrule.errors.DataError: absent: no index is there (no index.json); make one with \
chainrule index build
    """
    path = Path(folder) / FILE
    try:
        text = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise DataError(
            f"{folder}: no index is there (no {FILE}); make one with chainrule index build"
        ) from error
    return IndexSettings.from_json(text, str(path))


def _plain(extra: Mapping[str, Any]) -> None:
    try:
        json.dumps(dict(extra), allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        rule = "extra of plain values that JSON can hold"
        raise failure("index settings", rule, error=DataError, hint=str(error)) from error


def _check_version(version: object, name: str) -> None:
    if type(version) is not int or version < 1:
        raise _damaged(name, "no version is in it")
    hint = "it was made by a newer release: install that, or build the index anew"
    rule = f"an index of version {VERSION}"
    expect(version <= VERSION, name, rule, version=version, hint=hint, error=DataError)


def _damaged(name: str, reason: str) -> DataError:
    return DataError(f"{name}: damaged settings of an index ({reason}); build the index anew")
