"""What a lab is started with."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from pathlib import Path

from chainrule.errors import DataError

HERE = "127.0.0.1"


@dataclass(frozen=True)
class Settings:
    """Where runs lie, the run that is shown first, and where the page is served.

    `token` is asked for wherever it is not empty; outside of this machine there must be one.
    `indexes` are searched by the page Retrieval, beside those in the folder.
    Raises DataError for another address without it, for a run that is no folder, and for an index
    that is none.

    >>> Settings(host="0.0.0.0")
    Traceback (most recent call last):
    chainrule.errors.DataError: lab: 0.0.0.0 can be reached by others; it needs a token
    """

    folder: Path = Path("runs")
    run: Path | None = None
    host: str = HERE
    port: int = 0
    token: str = ""
    indexes: tuple[Path, ...] = ()

    def __post_init__(self) -> None:
        if not self.token and not is_loopback(self.host):
            raise DataError(f"lab: {self.host} can be reached by others; it needs a token")
        if self.run is not None and not self.run.is_dir():
            raise DataError(f"lab: {self.run}: no such folder; name a run that was trained")
        for path in self.indexes:
            if not is_index(path):
                raise DataError(f"lab: {path}: no index is there; chainrule index build makes one")

    @property
    def private(self) -> Path:
        """The folder of what the lab itself keeps: pictures that were handed in."""
        return self.folder / ".lab"


def is_index(folder: Path) -> bool:
    """Say whether a folder looks like an index of images.

    >>> is_index(Path("absent"))
    False
    """
    try:
        return (folder / "index.json").is_file() and (folder / "index.db").is_file()
    except OSError:
        return False


def is_loopback(host: str) -> bool:
    """Say whether an address is reached from this machine alone.

    >>> is_loopback("localhost"), is_loopback("::1"), is_loopback("192.168.0.4")
    (True, True, False)
    """
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
