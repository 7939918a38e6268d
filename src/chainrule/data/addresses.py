"""Where the standard sets come from: official addresses, lengths and checksums."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from chainrule.data.download import Progress, download
from chainrule.errors import DataError


@dataclass(frozen=True)
class RemoteFile:
    """A file as it is offered."""

    name: str
    md5: str
    size: int


@dataclass(frozen=True)
class Source:
    """Files, and the addresses that they lie under: the makers' own first, then copies of it."""

    addresses: tuple[str, ...]
    files: tuple[RemoteFile, ...]


DOWNLOADS = {
    "mnist": Source(
        (
            "http://yann.lecun.com/exdb/mnist/",
            "https://ossci-datasets.s3.amazonaws.com/mnist/",
            "https://storage.googleapis.com/cvdf-datasets/mnist/",
        ),
        (
            RemoteFile("train-images-idx3-ubyte.gz", "f68b3c2dcbeaaa9fbdd348bbdeb94873", 9912422),
            RemoteFile("train-labels-idx1-ubyte.gz", "d53e105ee54ea40749a09fcbcd1e9432", 28881),
            RemoteFile("t10k-images-idx3-ubyte.gz", "9fb629c4189551a2d022fa330f9573f3", 1648877),
            RemoteFile("t10k-labels-idx1-ubyte.gz", "ec29112dd5afa0611ce80d1b7f02629c", 4542),
        ),
    ),
    "fashion-mnist": Source(
        (
            "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
            "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
        ),
        (
            RemoteFile("train-images-idx3-ubyte.gz", "8d4fb7e6c68d591d4c3dfef9ec88bf0d", 26421880),
            RemoteFile("train-labels-idx1-ubyte.gz", "25c81989df183df01b3e8a0aad5dffbe", 29515),
            RemoteFile("t10k-images-idx3-ubyte.gz", "bef4ecab320f06d8554ea6380940ec79", 4422102),
            RemoteFile("t10k-labels-idx1-ubyte.gz", "bb300cfdad3c16e7a12a480ee83cd310", 5148),
        ),
    ),
    "cifar10": Source(
        ("https://www.cs.toronto.edu/~kriz/",),
        (RemoteFile("cifar-10-binary.tar.gz", "c32a1d4ab5d03f1284b67883e8d87530", 170052171),),
    ),
    "cifar100": Source(
        ("https://www.cs.toronto.edu/~kriz/",),
        (RemoteFile("cifar-100-binary.tar.gz", "03b5dce01913d631647c71ecec9e9cb8", 168513733),),
    ),
}
"""The sets that can be fetched, by name."""


def fetch(
    name: str,
    folder: str | os.PathLike[str],
    have: Callable[[str], bool],
    progress: Progress | None = None,
) -> None:
    """Download the files of a set that are missing in its folder.

    `have` says which are there, perhaps under another spelling; these are left as they are.
    Raises DataError, naming all files that are missing and where they come from, when one of them
    cannot be had.
    """
    source, folder = DOWNLOADS[name], Path(folder)
    missing = [file for file in source.files if not have(file.name)]
    while missing:
        file = missing[0]
        urls = [address + file.name for address in source.addresses]
        try:
            download(urls, folder / file.name, file.md5, file.size, progress=progress)
        except DataError as error:
            more = f"; {to_bring(name, folder, missing)}" if len(missing) > 1 else ""
            raise DataError(f"{name}: {error}{more}") from error
        del missing[0]


def to_bring(
    name: str, folder: str | os.PathLike[str], missing: list[RemoteFile] | None = None
) -> str:
    """Say which files to put where by hand, for a message.

    >>> to_bring("cifar10", "data")
    'put cifar-10-binary.tar.gz from https://www.cs.toronto.edu/~kriz/ into data'
    """
    source = DOWNLOADS[name]
    files = ", ".join(file.name for file in (source.files if missing is None else missing))
    return f"put {files} from {source.addresses[-1]} into {os.fspath(folder)}"
