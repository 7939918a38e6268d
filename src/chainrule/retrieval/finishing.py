"""What is made of an index once its images are in: whitening, calibration, the graph."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib.util import find_spec
from typing import Any

import numpy as np

from chainrule.engine.op import Array
from chainrule.errors import DataError
from chainrule.retrieval.approximate import Graph, recall_at
from chainrule.retrieval.building import Progress
from chainrule.retrieval.index import (
    CALIBRATION,
    GRAPH,
    WHITENING,
    Index,
    shelf_of,
)
from chainrule.retrieval.outliers import Calibration, own_distances
from chainrule.retrieval.seals import bytes_sum
from chainrule.retrieval.store import Snapshot
from chainrule.retrieval.whitening import Whitening, to_note
from chainrule.retrieval.writing import Writer

GRAPH_FROM = 200_000
"""Images from which a graph is made where nobody said whether: below, exact search takes
milliseconds."""

GRAPH_FILE = "graph.usearch"

_TAIL = 0.1  # of the images may lie outside the graph, to be searched exactly, before a new one
_BLOCK = 8192

Say = Callable[[str], None]


def finish(writer: Writer, say: Say | None = None, progress: Progress | None = None) -> None:
    """Whiten the features if that was asked for, calibrate, make the graph; what is done stays.

    `say` is told of each step, in a line, `progress` of the images in the graph and in all.  All
    steps may be cut off and are made up for by the next writer; the index answers at every moment.
    """
    said: Say = say or (lambda text: None)
    index = Index(writer.folder)
    settings = index.settings
    if settings.whiten and index.snapshot.note(WHITENING) is None:
        _whiten(writer, index, settings.whiten, said)
    snapshot = index.snapshot
    if (snapshot.note(CALIBRATION) or {}).get("kind") != "held-out":
        distances = own_distances(shelf_of(snapshot), snapshot.phashes)
        if len(distances):
            writer.note(CALIBRATION, Calibration.of(distances).to_dict())
    _graph(writer, index, said, progress)


def blocks(snapshot: Snapshot) -> Iterator[Array]:
    """Give the features that are there, block by block: (n, D) float32."""
    for begin in range(0, snapshot.count, _BLOCK):
        part = slice(begin, begin + _BLOCK)
        yield np.asarray(snapshot.matrix[part][snapshot.alive[part]], np.float32)


def _whiten(writer: Writer, index: Index, components: int, say: Say) -> None:
    snapshot = index.snapshot
    if np.count_nonzero(snapshot.alive) <= components:
        say(
            f"not whitened yet: {components} components need more than {components} images; "
            "index add goes on with it"
        )
        return
    try:
        whitening = Whitening.fit(blocks(snapshot), components)
    except DataError as error:  # too few directions, as of a network that says the same of all
        say(f"not whitened: {error}")
        return
    # distances that were measured before, even of held-out images, are of other features
    notes = {WHITENING: to_note(whitening), CALIBRATION: None}
    writer.rewrite(whitening, components, notes)
    say(f"whitened: {components} principal components of {snapshot.matrix.shape[1]} features")


def _graph(writer: Writer, index: Index, say: Say, progress: Progress | None) -> None:
    settings, snapshot = index.settings, index.snapshot
    least = settings.ann_threshold if settings.ann_threshold else GRAPH_FROM
    if not settings.ann or snapshot.count < max(1, least if not settings.extra.get("graph") else 1):
        return
    note: dict[str, Any] | None = snapshot.note(GRAPH)
    current = note is not None and note["generation"] == snapshot.generation
    if note is not None and current and GRAPH_FILE in snapshot.files():
        outside = snapshot.count - int(note["covered"])
        if outside <= _TAIL * snapshot.count:
            return
    shelf = shelf_of(snapshot)
    if not settings.extra.get("graph") and find_spec("usearch") is None:  # nobody asked for it
        say("no graph, as usearch is not installed; pip install chainrule[ann]; search is exact")
        return
    graph = Graph.build(shelf.matrix, progress=progress)
    content = graph.to_bytes()
    writer.put_file(GRAPH_FILE, content)
    recall = recall_at(graph, shelf, snapshot.count) if len(index) > 1 else 1.0
    about = {"file": GRAPH_FILE, "generation": snapshot.generation, "covered": snapshot.count}
    writer.note(GRAPH, {**about, "recall": recall, "sum": bytes_sum(content)})
    say(f"graph of {snapshot.count:,} images: it finds {100 * recall:.1f} % of the nearest 10")
