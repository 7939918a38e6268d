"""Indexes whose every row can be told from its id alone, and the check that it can."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from chainrule.retrieval.creating import create_index
from chainrule.retrieval.settings import IndexSettings
from chainrule.retrieval.store import Entry, Snapshot
from chainrule.retrieval.writing import Writer

D, K = 8, 3
LABELS = ("cat", "dog", None)
SETTINGS = IndexSettings(
    dimension=D,
    classes=("no", "perhaps", "yes"),
    thumbnail=32,
    keep_paths=True,
    keep_tags=("Modality",),
)


def digest(name: str, part: str, size: int = 16) -> bytes:
    return hashlib.blake2b(f"{part}:{name}".encode(), digest_size=size).digest()


def entry(name: str) -> Entry:
    numbers = np.frombuffer(digest(name, "entry"), "<u4").astype(int).tolist()
    return Entry(
        id=name,
        source=digest(name, "source").hex(),
        frame=numbers[0] % 7,
        group=int.from_bytes(digest(name, "group", 8), "little"),
        label=LABELS[numbers[1] % 3],
        predicted=numbers[2] % (K + 1) - 1,
        phash=int.from_bytes(digest(name, "phash", 8), "little"),
        kind="png",
        size=(numbers[0] % 500, numbers[1] % 500),
        path=f"/pictures/{name}.png",
        tags={"Modality": name[-2:]},
        thumbnail=digest(name, "thumbnail", 64) * (1 + numbers[3] % 5),
    )


def vector(name: str, version: float = 0.0) -> np.ndarray:
    """The last number says how often the vectors were rewritten."""
    numbers = np.frombuffer(digest(name, "vector", 2 * (D - 1)), "<u2").astype(np.float32)
    return np.append(numbers / 1024, np.float32(version)).astype(np.float32)


def classes(name: str) -> np.ndarray:
    numbers = np.frombuffer(digest(name, "classes", K), "u1").astype(np.float32) + 1
    return numbers / numbers.sum()


def rows(names: Sequence[str], version: float = 0.0) -> tuple[list[Entry], np.ndarray, np.ndarray]:
    """What `append` takes for these images."""
    vectors = np.array([vector(name, version) for name in names], np.float32).reshape(-1, D)
    probabilities = np.array([classes(name) for name in names], np.float32).reshape(-1, K)
    return [entry(name) for name in names], vectors, probabilities


def next_version(block: np.ndarray) -> np.ndarray:
    block = block.copy()
    block[:, -1] += 1
    return block


def built(folder: Path, names: Sequence[str], batch: int = 50) -> Path:
    create_index(folder, SETTINGS, {"model/config.json": b"{}", "model/weights": bytes(range(256))})
    with Writer(folder) as writer:
        for at in range(0, len(names), batch):
            writer.append(*rows(names[at : at + batch]))
    return folder


def names_of(count: int, start: int = 0) -> list[str]:
    return [f"image-{number:06d}" for number in range(start, start + count)]


def check(folder: Path, expected: Iterable[str] | None = None) -> tuple[set[str], float]:
    """Compare each living row with its id; give the ids, and the version that all vectors have."""
    with Snapshot(folder) as found:
        ids, version = check_snapshot(found)
    if expected is not None:
        assert ids == set(expected)
    return ids, version


def check_snapshot(found: Snapshot) -> tuple[set[str], float]:
    living = np.flatnonzero(found.alive)
    names: set[str] = set()
    versions = set(found.matrix[living, -1].tolist()) if len(living) else {0.0}
    assert len(versions) == 1, f"vectors of different rewritings: {versions}"
    version = versions.pop()
    for row, one in zip(living.tolist(), found.entries(living), strict=True):
        assert one is not None
        assert one == entry(one.id)
        assert np.array_equal(found.matrix[row], vector(one.id, version))
        assert np.array_equal(found.probabilities[row], classes(one.id))
        assert int(found.groups[row]) == one.group
        assert int(found.phashes[row]) == one.phash
        assert int(found.predicted[row]) == one.predicted
        code = int(found.labels[row])
        assert (found.label_names[code] if code >= 0 else None) == one.label
        names.add(one.id)
    assert len(names) == len(living), "an image is there twice"
    return names, version


def whole(folder: Path) -> bytes:
    """Give the bytes of all files of a folder, one after the other, with their names."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return b"\0".join(path.name.encode() + b"\0" + path.read_bytes() for path in files)


def traces(content: bytes, name: str) -> list[str]:
    """Say what of an image is in these bytes."""
    one = entry(name)
    parts = {
        "id": one.id.encode(),
        "source": one.source.encode(),
        "group": one.group.to_bytes(8, "little"),
        "phash": one.phash.to_bytes(8, "little"),
        "vector": vector(name)[:-1].tobytes(),
        "classes": classes(name).tobytes(),
        "thumbnail": one.thumbnail[:24],
        "path": one.path.encode() if one.path else b"?",
    }
    return [part for part, value in parts.items() if value in content]
