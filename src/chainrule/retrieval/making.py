"""An index made of a run and images, and images added to one or taken out: the whole jobs."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from chainrule.data.dicom_values import Window
from chainrule.data.sources import SETS, load_dataset
from chainrule.errors import DataError
from chainrule.retrieval.building import Keeping, Progress, Report, add_items
from chainrule.retrieval.creating import create_index
from chainrule.retrieval.embedding import Embedded
from chainrule.retrieval.finishing import Say, finish
from chainrule.retrieval.index import Index
from chainrule.retrieval.items import Item, Reading, data_items, folder_items
from chainrule.retrieval.network import MODEL, RunNetwork, packed
from chainrule.retrieval.privacy import allowed_tags
from chainrule.retrieval.settings import IndexSettings
from chainrule.retrieval.thumbnails import LARGEST, SIDE
from chainrule.retrieval.writing import Writer


@dataclass(frozen=True)
class Choices:
    """What an index is made with.

    `layer` gives the features, "" is the layer before the last; `best` takes the weights of the
    run's best epoch.  `dtype` "float16" halves the space of features.  `whiten` keeps so many
    principal components, each of the same spread; 0 does not.  `window` is "centre,width" for
    DICOM's grey values.  `thumbnail` is the longest side of the small pictures, 0 keeps none.
    `keep_paths` and `keep_tags` say what is kept in plain text, `group` is a pattern that finds the
    patient in a path.  `ann`: a graph for approximate search; None makes one from 200,000 images
    on.
    """

    layer: str = ""
    best: bool = False
    dtype: str = "float32"
    whiten: int = 0
    window: str = ""
    thumbnail: int = SIDE
    keep_paths: bool = False
    keep_tags: tuple[str, ...] = ()
    group: str = ""
    ann: bool | None = None


@dataclass(frozen=True)
class Source:
    """What is put in: a folder, a file, or a data set by its name or table, and which part of it.

    `secondary` also takes secondary captures; `window` is for these images alone.
    """

    place: str
    part: str = ""
    data_dir: str | None = None
    secondary: bool = False
    window: str = ""


@dataclass
class Listed:
    """The images of a source, and how many files were left out, by reason."""

    items: list[Item]
    left: Counter[str] = field(default_factory=Counter)


def build_index(
    run: str | os.PathLike[str],
    source: Source,
    out: str | os.PathLike[str],
    choices: Choices | None = None,
    progress: Progress | None = None,
    say: Say | None = None,
) -> Report:
    """Make an index of images with a run's network, in a folder that is not there yet.

    It can be searched from the first batch on.  What is cut off goes on with `add_to_index`.
    Raises DataError, before anything is written, for choices that do not fit and a source without
    images; CheckpointError for the run.
    """
    chosen = choices or Choices()
    if not 0 <= chosen.thumbnail <= LARGEST:
        raise DataError(f"--thumbnail: expected 0 to {LARGEST} pixels; got {chosen.thumbnail}")
    if Path(out).exists() and (not Path(out).is_dir() or any(Path(out).iterdir())):
        raise DataError(
            f"{out}: already there; chainrule index add puts more images into an index, or take "
            "another name (--out)"
        )
    network = RunNetwork(run, chosen.layer or None, chosen.best)
    settings = _settings(network, chosen)
    listed = listed_items(network, source, reading_for(settings, network, source))
    create_index(out, settings, packed(run, chosen.best))
    return _filled(out, listed, progress, say)


def add_to_index(
    folder: str | os.PathLike[str],
    source: Source,
    progress: Progress | None = None,
    say: Say | None = None,
) -> Report:
    """Put more images into an index; what is there already stays, and what was cut off goes on."""
    index = Index(folder)
    listed = listed_items(index.network, source, reading_for(index.settings, index.network, source))
    return _filled(folder, listed, progress, say)


def _filled(
    folder: str | os.PathLike[str], listed: Listed, progress: Progress | None, say: Say | None
) -> Report:
    index = Index(folder)
    hasher, settings = index.hasher, index.settings
    if hasher is None:
        raise DataError(
            f"{folder}: the key of the index is not here; without it no image can be added: put "
            "the file 'key' back"
        )
    keeping = Keeping(hasher, settings.thumbnail, settings.keep_paths)
    with Writer(folder) as writer:
        network = _Whitened(index)
        report = add_items(writer, network, listed.items, keeping, progress)
        finish(writer, say, progress)
    report.left.update(listed.left)
    return report


class _Whitened:
    """An index's network, whose features have the form in which the index holds them.

    Whoever has the index's lock asks once: the form changes under that lock alone, and each look at
    an index that grows reads all of its rows' records anew.
    """

    def __init__(self, index: Index) -> None:
        self.network, self.prepare = index.network, index.network.prepare
        self.whitening = index.whitening

    def __call__(self, images: Any) -> Embedded:
        found = self.network(images)
        if self.whitening is None:
            return found
        return found._replace(vectors=self.whitening(found.vectors))


def remove_from_index(
    folder: str | os.PathLike[str],
    ids: Sequence[str] = (),
    paths: Sequence[str] = (),
    patients: Sequence[str] = (),
    progress: Progress | None = None,
) -> int:
    """Take images out, by their ids, by the files they came from, or all of a patient's.

    Nothing of them stays in the index.  Gives how many there were.  Raises DataError for an id or
    path of which nothing is there.
    """
    index = Index(folder)
    wanted = dict.fromkeys(ids)
    hasher, snapshot = index.hasher, index.snapshot
    if (paths or patients) and hasher is None:
        raise DataError(f"{folder}: paths and patients are found by the key, which is not here")
    missing = [name for name, row in zip(ids, snapshot.rows_of(ids), strict=True) if row < 0]
    if missing:
        raise DataError(f"{folder}: no image {missing[0]!r} is in the index")
    for path in paths:
        rows = _rows_of_path(index, path)
        wanted.update(dict.fromkeys(_ids(snapshot, rows)))
    for patient in patients:
        assert hasher is not None
        rows = np.flatnonzero((snapshot.groups == hasher.group(patient)) & snapshot.alive)
        if not len(rows):
            raise DataError(f"{folder}: no image of this patient is in the index")
        wanted.update(dict.fromkeys(_ids(snapshot, rows)))
    with Writer(folder) as writer:
        count = writer.remove(list(wanted))
        finish(writer, progress=progress)
    return count


def _ids(snapshot: Any, rows: Any) -> list[str]:
    return [entry.id for entry in snapshot.entries(rows) if entry is not None]


def _rows_of_path(index: Index, path: str) -> Any:
    """Find the images of a file, or of all files in a folder, by the keyed hashes of the paths."""
    hasher, snapshot = index.hasher, index.snapshot
    assert hasher is not None
    files = [path]
    if os.path.isdir(path):
        files = [os.path.join(top, name) for top, _, names in os.walk(path) for name in names]
    found = [snapshot.rows_of_source(hasher.hash("path", os.path.realpath(file))) for file in files]
    rows = np.concatenate([*found, np.zeros(0, np.int64)])
    if not len(rows):
        raise DataError("remove: nothing that came from this path is in the index")
    return rows


def listed_items(network: RunNetwork, source: Source, reading: Reading) -> Listed:
    """List the images of a source, unread."""
    if source.place not in SETS and (Path(source.place).is_dir() or _is_single(source.place)):
        if source.part:
            raise DataError("--part: a folder is taken whole; parts are those of a data set")
        return Listed(*folder_items(source.place, network.classes, reading))
    data = load_dataset(source.place, source.data_dir)
    own = source.place in SETS and source.place == network.member.config.train.data
    return Listed(data_items(data, source.part or "all", reading, own))


def _is_single(place: str) -> bool:
    """Say whether a path is one picture and not a table or an archive of many."""
    endings = (".csv", ".jsonl", ".npz", ".h5", ".hdf5", ".tar")
    return Path(place).is_file() and not place.lower().endswith(endings)


def reading_for(settings: IndexSettings, network: RunNetwork, source: Source) -> Reading:
    """Say how an index reads the files of a source."""
    window = source.window or settings.window
    return Reading(
        mode=network.member.mode,
        window=Window.parse(window) if window else None,
        tags=settings.keep_tags,
        secondary=source.secondary,
        group=settings.groups,
    )


def _settings(network: RunNetwork, chosen: Choices) -> IndexSettings:
    zeros = np.zeros((1, *network.shape), np.float32)
    dimension = network(zeros).vectors.shape[1]
    if chosen.whiten > dimension:
        raise DataError(
            f"--whiten: expected at most {dimension} components, as many as there are features; "
            f"got {chosen.whiten}"
        )
    if chosen.ann and find_spec("usearch") is None:
        raise DataError(
            "--ann: expected usearch, which is not installed; pip install chainrule[ann]"
        )
    if chosen.window:
        Window.parse(chosen.window)
    Reading(group=chosen.group)
    return IndexSettings(
        dimension=dimension,
        classes=network.classes,
        dtype=chosen.dtype,
        layer=chosen.layer,
        task=network.member.config.task,
        window=chosen.window,
        thumbnail=chosen.thumbnail,
        keep_paths=chosen.keep_paths,
        keep_tags=allowed_tags(chosen.keep_tags),
        groups=chosen.group,
        whiten=chosen.whiten,
        ann=chosen.ann is not False,
        extra={"graph": chosen.ann is True, "model": MODEL},
    )
