"""Small sets in all of CIFAR's forms, written as their makers wrote them."""

from __future__ import annotations

import io
import struct
import tarfile
from pathlib import Path
from typing import Any

import numpy as np

TEN = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
FINE = tuple(f"fine{number}" for number in range(100))
COARSE = tuple(f"coarse{number}" for number in range(20))
FOLDERS = {
    ("cifar10", "binary"): "cifar-10-batches-bin",
    ("cifar10", "python"): "cifar-10-batches-py",
    ("cifar100", "binary"): "cifar-100-binary",
    ("cifar100", "python"): "cifar-100-python",
}
Files = dict[str, bytes]
Truth = dict[str, np.ndarray]


def python2(value: Any) -> bytes:
    """Pickle as Python 2's cPickle did in its protocol 2, where text and bytes are one kind."""
    return b"\x80\x02" + _opcodes(value) + b"."


def _opcodes(value: Any) -> bytes:
    if isinstance(value, dict):
        pairs = b"".join(_opcodes(key) + _opcodes(item) for key, item in value.items())
        return b"}(" + pairs + b"u"
    if isinstance(value, list):
        return b"](" + b"".join(map(_opcodes, value)) + b"e"
    if isinstance(value, tuple):
        return b"(" + b"".join(map(_opcodes, value)) + b"t"
    if isinstance(value, np.ndarray):
        return _array(value)
    if isinstance(value, str | bytes):
        raw = value.encode() if isinstance(value, str) else value
        return b"U" + bytes([len(raw)]) + raw if len(raw) < 256 else b"T" + _i4(len(raw)) + raw
    if value is None:
        return b"N"
    return b"J" + _i4(value)


def _i4(number: int) -> bytes:
    return struct.pack("<i", number)


def _array(array: np.ndarray) -> bytes:
    code = array.dtype.str[1:].encode()
    made = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\nK\x00\x85U\x01btR"
    kind = b"cnumpy\ndtype\n" + _opcodes((code, 0, 1)) + b"R"
    kind += _opcodes((3, "|", None, None, None, -1, -1, 0)) + b"b"
    columns_first = array.flags.f_contiguous and not array.flags.c_contiguous
    flag = b"\x88" if columns_first else b"\x89"
    raw = _opcodes(array.tobytes("A"))
    return made + b"(K\x01" + _opcodes(array.shape) + kind + flag + raw + b"tb"


def make(name: str, form: str, pickled: Any = python2) -> tuple[Files, Truth]:
    """Give the files of a small set, and what is in them."""
    random = np.random.default_rng(0)
    ten = name == "cifar10"
    suffix = ".bin" if form == "binary" else ""
    train = [f"data_batch_{k}" for k in range(1, 6)] if ten else ["train"]
    test = ["test_batch" if ten else "test"]
    parts: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {"train": [], "test": []}
    files: Files = {}
    for part, members in (("train", train), ("test", test)):
        for member in members:
            count = 20 if ten else 100
            pixels = random.integers(0, 256, (count, 3072)).astype(np.uint8)
            fine = (random.permutation(count) % (10 if ten else 100)).astype(np.uint8)
            coarse = fine // 5
            parts[part].append((pixels, fine))
            columns = {"labels": fine} if ten else {"coarse_labels": coarse, "fine_labels": fine}
            if form == "binary":
                content = np.column_stack([*columns.values(), pixels]).tobytes()
            else:
                lists = {key: column.tolist() for key, column in columns.items()}
                names = [f"{k}.png" for k in range(count)]
                content = pickled({"data": pixels, **lists, "filenames": names})
            files[member + suffix] = content
    files.update(_names(ten, form, pickled))
    truth = {}
    for part, found in parts.items():
        truth[part] = np.concatenate([pixels for pixels, _ in found]).reshape(-1, 3, 32, 32)
        truth[f"{part} labels"] = np.concatenate([labels for _, labels in found])
    return files, truth


def _names(ten: bool, form: str, pickled: Any) -> Files:
    if form == "binary":
        texts = (
            {"batches.meta.txt": TEN}
            if ten
            else {"fine_label_names.txt": FINE, "coarse_label_names.txt": COARSE}
        )
        return {name: ("\n".join(lines) + "\n\n").encode() for name, lines in texts.items()}
    if ten:
        return {"batches.meta": pickled({"num_cases_per_batch": 20, "label_names": list(TEN)})}
    lists = {"fine_label_names": list(FINE), "coarse_label_names": list(COARSE)}
    return {"meta": pickled(lists)}


def write(folder: Path, files: Files) -> Path:
    """Write files into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


def pack(path: Path, files: Files, folder: str) -> Path:
    """Write files into a .tar.gz, under a folder of its own."""
    with tarfile.open(path, "w:gz") as archive:
        top = tarfile.TarInfo(folder)
        top.type = tarfile.DIRTYPE
        archive.addfile(top)
        for name, content in files.items():
            member = tarfile.TarInfo(f"{folder}/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path
