"""Images into an index: read by threads, through the network in batches, written one by one."""

from __future__ import annotations

import itertools
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass, field, replace
from typing import NamedTuple, Protocol

import numpy as np

from chainrule.data.perceptual import perceptual_hash
from chainrule.data.pictures import shown
from chainrule.data.prefetch import lower_priority
from chainrule.engine.op import Array
from chainrule.engine.workers import MOST, thread_count
from chainrule.errors import ChainruleError, DataError
from chainrule.retrieval.embedding import Embedded
from chainrule.retrieval.items import Item, Picture
from chainrule.retrieval.layout import Entry
from chainrule.retrieval.privacy import Hasher
from chainrule.retrieval.thumbnails import as_bytes, thumbnail
from chainrule.retrieval.writing import Writer

BATCH = 64
"""Images that go through the network, and into the index, together: what a kill may lose."""

_FRAMES = 16  # frames of one file that a thread makes ready before it hands them over

Progress = Callable[[int, int], None]
"""Is told how many items are done, and how many there are."""


class Network(Protocol):
    """What indexing asks of a network."""

    def prepare(self, picture: Array, own: bool = False) -> Array:
        """Bring a picture (C, H, W) to the network's input."""

    def __call__(self, images: Array) -> Embedded:
        """Give features and probabilities of prepared images (N, C, H, W)."""


class Skipped(NamedTuple):
    """What was left out: its name, for the eyes of who asked, its keyed hash, and the reason."""

    name: str
    source: str
    reason: str


@dataclass
class Report:
    """What became of the items: images added, those that were there already, and left out.

    `left` counts files that were not looked at, by reason.
    """

    added: int = 0
    known: int = 0
    skipped: list[Skipped] = field(default_factory=list)
    left: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True)
class Keeping:
    """What an index keeps of an image beside its features."""

    hasher: Hasher
    thumbnail: int
    paths: bool = False


class _Ready(NamedTuple):
    """An image that waits for the network."""

    entry: Entry
    x: Array


class _Read(NamedTuple):
    """What a thread made of an item: images, what is left of it, and why it ended, if it failed."""

    ready: list[_Ready]
    rest: Iterator[_Ready]
    reason: str


def add_items(
    writer: Writer,
    network: Network,
    items: Sequence[Item],
    keeping: Keeping,
    progress: Progress | None = None,
    batch: int = BATCH,
) -> Report:
    """Put images into an index; those that are there already, by their content, stay as they are.

    What cannot be read is left out and reported, with a reason that names nobody; nothing but a
    failing disk ends the work.  Each batch is in the index for good when the next one begins.
    """
    report = Report()
    for ready in _batches(network, items, keeping, report.skipped, progress, batch):
        _write(writer, network, ready, report)
    for skipped in report.skipped:
        writer.skip(skipped.source, skipped.reason)
    return report


def embedded_items(
    network: Network,
    items: Sequence[Item],
    keeping: Keeping,
    skipped: list[Skipped],
    progress: Progress | None = None,
) -> Iterator[tuple[list[Entry], Embedded]]:
    """Read images and put them through the network, batch by batch, for other uses than an index.

    What cannot be read is added to `skipped`.
    """
    for ready in _batches(network, items, keeping, skipped, progress, BATCH):
        found = network(np.stack([item.x for item in ready]))
        yield [item.entry for item in ready], found


def _batches(
    network: Network,
    items: Sequence[Item],
    keeping: Keeping,
    skipped: list[Skipped],
    progress: Progress | None,
    batch: int,
) -> Iterator[list[_Ready]]:
    waiting: list[_Ready] = []
    for done, (item, read) in enumerate(_read_ahead(items, network, keeping, 2 * batch), start=1):
        for ready in itertools.chain(read.ready, _guarded(read, item, keeping.hasher, skipped)):
            waiting.append(ready)
            if len(waiting) >= batch:
                yield waiting
                waiting = []
        if progress is not None:
            progress(done, len(items))
    if waiting:
        yield waiting


def _guarded(read: _Read, item: Item, hasher: Hasher, skipped: list[Skipped]) -> Iterator[_Ready]:
    """Give what a thread left of an item; where it fails, then or now, note the reason."""
    reason = read.reason
    try:
        yield from read.rest
    except Exception as error:
        reason = reason_of(error)
    if reason:
        source = hasher.hash("path", item.where) if item.where else ""
        skipped.append(Skipped(item.name, source, reason))


def reason_of(error: Exception) -> str:
    """Say why something could not be read; of errors that are not ours only the kind is told.

    >>> reason_of(DataError("the file: no pixels")), reason_of(KeyError("Doe^John"))
    ('no pixels', 'cannot be read (KeyError)')
    """
    if isinstance(error, ChainruleError):
        return str(error).removeprefix("the file: ")
    return f"cannot be read ({type(error).__name__})"


def _read_ahead(
    items: Sequence[Item], network: Network, keeping: Keeping, most: int
) -> Iterator[tuple[Item, _Read]]:
    """Read items by threads, at most so many ahead; in the order in which they came."""
    threads = max(1, min(thread_count(), MOST))
    with ThreadPoolExecutor(threads, "index", initializer=lower_priority) as pool:
        ahead: deque[tuple[Item, Future[_Read]]] = deque()
        left = iter(items)
        try:
            for item in itertools.islice(left, most):
                ahead.append((item, _submitted(pool, item, network, keeping)))
            while ahead:
                item, future = ahead.popleft()
                yield item, future.result()
                ahead.extend(
                    (more, _submitted(pool, more, network, keeping))
                    for more in itertools.islice(left, 1)
                )
        finally:
            pool.shutdown(cancel_futures=True)


def _submitted(
    pool: ThreadPoolExecutor, item: Item, network: Network, keeping: Keeping
) -> Future[_Read]:
    return pool.submit(copy_context().run, _read, item, network, keeping)


def _read(item: Item, network: Network, keeping: Keeping) -> _Read:
    """Make the first frames of an item ready."""
    rest = (_ready(picture, item, network, keeping) for picture in item.read())
    first: list[_Ready] = []
    try:
        for ready in itertools.islice(rest, _FRAMES):
            first.append(ready)
    except Exception as error:
        return _Read(first, iter(()), reason_of(error))
    return _Read(first, rest, "")


def _ready(picture: Picture, item: Item, network: Network, keeping: Keeping) -> _Ready:
    hasher, pixels = keeping.hasher, picture.pixels
    if not np.isfinite(pixels).all():
        raise DataError("pixels that are not finite")
    entry = Entry(
        id=hasher.hash("image", picture.key),
        source=hasher.hash("path", item.where) if item.where else "",
        frame=picture.frame,
        group=hasher.group(picture.patient) if picture.patient else 0,
        label=item.label,
        predicted=-1,
        phash=perceptual_hash(as_bytes(pixels, picture.white, channels_last=False)),
        kind=picture.kind,
        size=(pixels.shape[1], pixels.shape[2]),
        path=shown(item.where) if keeping.paths and item.where else None,
        tags=dict(picture.tags),
        thumbnail=thumbnail(pixels, picture.white, keeping.thumbnail),
    )
    return _Ready(entry, network.prepare(pixels, picture.own))


def _write(writer: Writer, network: Network, ready: Sequence[_Ready], report: Report) -> None:
    """Put a batch through the network and into the index, without what is there already."""
    fresh = {item.entry.id: item for item in ready}
    known = writer.known(list(fresh))
    new = [item for name, item in fresh.items() if name not in known]
    report.known += len(ready) - len(new)
    if not new:
        return
    found = network(np.stack([item.x for item in new]))
    whole = np.concatenate([found.vectors, found.probabilities], axis=1)
    finite: Array = np.isfinite(whole).all(axis=1)
    for item, fine in zip(new, finite, strict=True):
        if not fine:
            reason = "the network gives numbers for it that are not finite"
            report.skipped.append(Skipped("", item.entry.source, reason))
    kept = [item for item, fine in zip(new, finite, strict=True) if fine]
    if kept:
        vectors, p = found.vectors[finite], found.probabilities[finite]
        predicted = p.argmax(axis=1) if p.shape[1] else np.full(len(kept), -1)
        entries = [
            replace(item.entry, predicted=int(k)) for item, k in zip(kept, predicted, strict=True)
        ]
        writer.append(entries, vectors, p)
        report.added += len(kept)
