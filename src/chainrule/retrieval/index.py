"""An index on the disk, open for questions: a picture in, the most similar images out."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from chainrule.data.dicom_values import Window
from chainrule.engine.op import Array
from chainrule.errors import DataError, failure
from chainrule.ops.arguments import integer
from chainrule.retrieval.answers import Answer, Hit, Outlier
from chainrule.retrieval.approximate import Graph, nearest_approximate
from chainrule.retrieval.asking import Question, Region, frame_of, mixed, proportions
from chainrule.retrieval.items import Picture, Reading
from chainrule.retrieval.layout import KEY
from chainrule.retrieval.likeness import likeness
from chainrule.retrieval.network import MODEL, RunNetwork
from chainrule.retrieval.outliers import Calibration
from chainrule.retrieval.privacy import Hasher
from chainrule.retrieval.ranking import nearest
from chainrule.retrieval.seals import bytes_sum
from chainrule.retrieval.settings import read_settings
from chainrule.retrieval.shelf import Found, Mode, Query, Shelf, checked_mode, without
from chainrule.retrieval.store import Snapshot
from chainrule.retrieval.thumbnails import opened
from chainrule.retrieval.whitening import Whitening, from_note

CALIBRATION, WHITENING, GRAPH = "calibration", "whitening", "graph"
"""Names of notes in an index."""

RATE = 0.01
"""The share of ordinary queries that may be called unlike the index, if nothing else is said."""


class Index:
    """An index that `chainrule index build` made, open for questions.

    Several threads may ask at once, and a writer may add and remove meanwhile: each question is
    answered from the images that are there when it comes.

    Raises DataError for a folder that is none, or a damaged one.

    >>> Index("absent")
    Traceback (most recent call last):
    chainrule.errors.DataError: absent: no index is there (no index.json); make one with \
chainrule index build
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.settings = read_settings(self.path)
        self.path = self.path.absolute()  # a program may change its folder
        self._lock = threading.Lock()
        self._network: RunNetwork | None = None
        self._snapshot = Snapshot(self.path)
        self._graphs: dict[str, Graph] = {}
        self._form: tuple[int, Whitening | None] | None = None

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes that the network knows."""
        return self.settings.classes

    @property
    def network(self) -> RunNetwork:
        """The index's network, loaded when it is first asked for."""
        with self._lock:
            if self._network is None:
                self._check_model()
                layer = self.settings.layer or None
                self._network = RunNetwork(self.path / MODEL, layer)
            return self._network

    @property
    def snapshot(self) -> Snapshot:
        """The images that are there now."""
        with self._lock:
            if self._snapshot.stale():
                self._snapshot = Snapshot(self.path)
            return self._snapshot

    def __len__(self) -> int:
        return int(np.count_nonzero(self.snapshot.alive))

    @property
    def hasher(self) -> Hasher | None:
        """What hashes patients and paths; None where the key was taken out of the index.

        Raises DataError for another key than the index's own: its hashes would fit nothing.
        """
        try:
            key = (self.path / KEY).read_bytes()
        except FileNotFoundError:
            return None
        if not self._snapshot.whole(KEY, key):
            raise DataError(
                f"{self.path / KEY}: not the key that the index was made with; put that back, or "
                "take this one away"
            )
        return Hasher(key)

    def _check_model(self) -> None:
        """Refuse a network that is not as it was written; what it adds would stay wrong."""
        for name in self._snapshot.files():
            path = self.path / name
            if not name.startswith(f"{MODEL}/"):
                continue
            if not path.is_file() or not self._snapshot.whole(name, path.read_bytes()):
                raise DataError(
                    f"{path}: missing or not as it was written; restore it from a copy, or build "
                    "the index anew"
                )

    def reading(self, window: Window | None = None) -> Reading:
        """Say how this index reads files."""
        told = self.settings.window
        return Reading(
            mode=self.network.member.mode,
            window=window or (Window.parse(told) if told else None),
            tags=self.settings.keep_tags,
            secondary=True,
            group=self.settings.groups,
        )

    def ask(
        self,
        source: Any = None,
        *,
        region: Region | None = None,
        like: Sequence[str] = (),
        frame: int | None = None,
        window: Window | None = None,
    ) -> Question:
        """Make a question of a picture, a part of it, or images of the index, or of all of these.

        `source` is a path, the bytes of a file (a picture or DICOM), or pixels (C, H, W).  Of a
        `region` only what is in it counts.  `like` are ids of images in the index: what is asked
        for is then the middle between them and the picture.  Of a file with several frames `frame`
        is taken, else the middle one; `window` shows DICOM's grey values.

        Raises DataError for what cannot be read, an id that is not there, nothing at all.
        """
        ids = tuple(like)
        if source is None and not ids:
            raise DataError("search: expected a picture, or images of the index (--like ID)")
        if source is None:
            vectors, p, groups = self._stored(ids)
            v, q = mixed(vectors, p, [1.0] * len(ids))
            shared = int(groups[0]) if (groups == groups[0]).all() else 0
            return Question(v, q, shared, ids)
        picture, notes = frame_of(source, self.reading(window), frame)
        asked = self._of_picture(picture, region, notes)
        if not ids:
            return asked
        vectors, p, _ = self._stored(ids)
        rows = np.concatenate([asked.vector[np.newaxis], vectors])
        both = np.concatenate([asked.probabilities[np.newaxis], p])
        v, q = mixed(rows, both, [1.0] * len(rows))
        return replace(asked, vector=v, probabilities=q, own=(*asked.own, *ids))

    def _of_picture(
        self, picture: Picture, region: Region | None, notes: tuple[str, ...]
    ) -> Question:
        pixels = picture.pixels
        if region is not None:
            pixels = region.cut(pixels)
            notes = (*notes, *proportions(pixels.shape[1:], self.network.shape[1:]))
        x = self.network.prepare(pixels, picture.own)
        found = self.network(x[np.newaxis])
        vectors = self.whitened(found.vectors)
        if not np.isfinite(vectors).all():
            raise DataError("query: the network gives numbers for it that are not finite")
        hasher, group, own = self.hasher, 0, tuple[str, ...]()
        if hasher is None:
            notes = (*notes, "The index has no key: the query's own patient cannot be left out.")
        else:
            group = hasher.group(picture.patient) if picture.patient else 0
            own = (hasher.hash("image", picture.key),) if picture.key else ()
        return Question(vectors[0], found.probabilities[0], group, own, picture, x, notes)

    def whitened(self, vectors: Array) -> Array:
        """Bring features (N, D) to the form in which the index holds them."""
        whitening = self.whitening
        return vectors if whitening is None else whitening(vectors)

    @property
    def whitening(self) -> Whitening | None:
        """What was made of the features, None where they are as the network gives them.

        It changes with the generation of the index alone, in the same commit, and is read once.
        """
        snapshot = self.snapshot
        with self._lock:
            if self._form is None or self._form[0] != snapshot.generation:
                note = snapshot.note(WHITENING)
                self._form = snapshot.generation, None if note is None else from_note(note)
            return self._form[1]

    def _stored(self, ids: Sequence[str]) -> tuple[Array, Array, Array]:
        snapshot = self.snapshot
        found = snapshot.rows_of(ids)
        missing = [name for name, row in zip(ids, found, strict=True) if row < 0]
        if missing:
            raise DataError(f"search: no image {missing[0]!r} is in the index (any more)")
        vectors = np.asarray(snapshot.matrix[found], np.float32)
        return vectors, np.asarray(snapshot.probabilities[found]), snapshot.groups[found]

    def search(
        self,
        question: Question,
        k: int = 10,
        *,
        mode: str = "soft",
        include_own: bool = False,
        approximate: bool | None = None,
        rate: float = RATE,
    ) -> Answer:
        """Find the k images that are most like what was asked.

        `mode` says how the class counts that the network sees: "soft", the similarity and the
        agreement of the class distributions by halves; "hard", images of the query's class alone;
        "off", similarity alone.  The query's own image and its patient's are left out unless
        `include_own`; so are those that were liked, and all of their patients.  `approximate` asks
        the index's graph, which may miss some; None does so where there is one.  `rate` is the
        share of false alarms at which a query is called unlike all that is in the index.
        """
        count = integer(k, "search", "a number of images")
        if count < 1:
            raise failure("search", "at least 1 image", k=k)
        snapshot, notes = self.snapshot, question.notes
        count = min(count, max(1, snapshot.count))
        how = checked_mode("search", mode)
        if how != "off" and not self.classes:
            how, notes = "off", (*notes, "The network has no classes: they count for nothing here.")
        skipped = () if include_own else question.own
        rows = {int(row) for row in snapshot.rows_of(skipped) if row >= 0}
        query = Query(question.vector[np.newaxis], question.probabilities[np.newaxis])
        shelf = shelf_of(snapshot)
        if not include_own:  # an image of the index tells its patient there, whatever its path says
            shelf = without(shelf, [question.group, *shelf.groups[list(rows)].tolist()])
        found = self._nearest(query, snapshot, shelf, count + len(rows), how, approximate)
        hits = self._hits(snapshot, found, rows, count)
        # what is ordinary was measured by similarity alone, exactly
        plain = how == "off" and (approximate is False or self._graph(snapshot) is None)
        closest = found if plain else nearest(query, shelf, 1 + len(rows), "off")
        outlier = self._outlier(snapshot, closest, rows, rate)
        return Answer(hits, how, self.classes, question.probabilities, outlier, notes)

    def query(
        self, source: Any = None, k: int = 10, *, mode: str = "soft", **choices: Any
    ) -> Answer:
        """Ask and search in one: `choices` are those of `ask` and of `search`."""
        own = {name: choices.pop(name) for name in _OF_SEARCH if name in choices}
        return self.search(self.ask(source, **choices), k, mode=mode, **own)

    def why(self, question: Question, hits: Sequence[Hit]) -> Array:
        """Map where in the query its likeness to each hit lies: (n, H, W); see `likeness`.

        Raises DataError for a question that has no picture, and for a hit that was removed since.
        """
        if question.x is None:
            raise DataError("why: the question has no picture; ask with one")
        vectors, _, _ = self._stored([hit.id for hit in hits])
        return likeness(self.network.embedder, question.x, self.directions(vectors))

    def why_hit(self, question: Question, hit: Hit) -> tuple[Array, Array]:
        """Map where in a hit its likeness to the query lies, (H, W), and give the hit as seen.

        The hit's small picture goes through the network, (C, H, W) from 0 to 1, since that is all
        that the index keeps: where the picture was larger, the map is that of a blurred one.
        Raises DataError where no small picture is kept.
        """
        if not hit.thumbnail:
            raise DataError("why: the index keeps no small pictures")
        x = self.network.prepare(opened(hit.thumbnail))
        directions = self.directions(question.vector[np.newaxis])
        return likeness(self.network.embedder, x, directions)[0], self.network.plain(x)

    def directions(self, vectors: Array) -> Array:
        """Turn vectors of the index (n, d) into directions of the network's features (n, D)."""
        whitening = self.whitening
        return vectors if whitening is None else whitening.directions(vectors)

    def _nearest(
        self,
        query: Query,
        snapshot: Snapshot,
        shelf: Shelf,
        k: int,
        mode: Mode,
        approximate: bool | None,
    ) -> Found:
        found = None if approximate is False else self._graph(snapshot)
        if found is None:
            if approximate:
                raise DataError(
                    f"{self.path}: there is no graph for approximate search; an index that is "
                    "built with --ann has one"
                )
            return nearest(query, shelf, k, mode)
        graph, covered = found
        return nearest_approximate(query, shelf, graph, covered, k, mode)

    def _graph(self, snapshot: Snapshot) -> tuple[Graph, int] | None:
        """Give the graph and how many rows it holds, read once and only if it is as written.

        The library that walks it trusts every byte.
        """
        note = snapshot.note(GRAPH)
        if note is None or note["generation"] != snapshot.generation:
            return None
        name, total = str(note["file"]), str(note["sum"])
        if name not in snapshot.files():
            return None
        with self._lock:
            if total not in self._graphs:
                content = (self.path / name).read_bytes()
                if bytes_sum(content) != total:
                    raise DataError(
                        f"{self.path / name}: not as it was written; --exact does without it, and "
                        "chainrule index add makes it anew"
                    )
                self._graphs = {total: Graph.open(self.path / name)}
            return self._graphs[total], int(note["covered"])

    def _hits(self, snapshot: Snapshot, found: Found, skipped: set[int], k: int) -> list[Hit]:
        rows = [int(row) for row in found.rows[0] if row >= 0 and int(row) not in skipped]
        entries = snapshot.entries(rows)
        places = {int(row): place for place, row in enumerate(found.rows[0])}
        hits = []
        for row, entry in zip(rows, entries, strict=True):
            if entry is None:  # removed in this moment
                continue
            p = snapshot.probabilities[row]
            known = 0 <= entry.predicted < len(self.classes)
            hits.append(
                Hit(
                    entry.id,
                    row,
                    float(found.scores[0, places[row]]),
                    float(found.cosines[0, places[row]]),
                    self.classes[entry.predicted] if known else "",
                    float(p[entry.predicted]) if known else float("nan"),
                    entry.label,
                    entry.kind,
                    entry.size,
                    entry.frame,
                    entry.path,
                    entry.tags,
                    entry.thumbnail,
                )
            )
        return hits[:k]

    def _outlier(
        self, snapshot: Snapshot, found: Found, skipped: set[int], rate: float
    ) -> Outlier | None:
        note = snapshot.note(CALIBRATION)
        places = [p for p, row in enumerate(found.rows[0]) if row >= 0 and int(row) not in skipped]
        if note is None or not places:
            return None
        distance = 1.0 - float(found.cosines[0, places[0]])
        calibration = Calibration.from_dict(note)
        p = float(calibration.p_value(distance))
        if rate < calibration.smallest_rate:
            reason = (
                f"{calibration.measured:,} distances tell rates from "
                f"{calibration.smallest_rate:.3g} on"
            )
            return Outlier(distance, p, rate, False, reason)
        return Outlier(distance, p, rate, bool(calibration.flag(distance, rate)))


def shelf_of(snapshot: Snapshot) -> Shelf:
    """Give the arrays of an index by which it is searched."""
    return Shelf(
        snapshot.matrix,
        snapshot.probabilities,
        snapshot.groups,
        snapshot.predicted,
        snapshot.alive,
    )


_OF_SEARCH = ("include_own", "approximate", "rate")
