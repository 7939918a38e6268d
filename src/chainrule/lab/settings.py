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
    Raises DataError for another address without it, and for a run that is no folder.

    >>> Settings(host="0.0.0.0")
    Traceback (most recent call last):
    chainrule.errors.DataError: lab: 0.0.0.0 can be reached by others; it needs a token
    """

    folder: Path = Path("runs")
    run: Path | None = None
    host: str = HERE
    port: int = 0
    token: str = ""

    def __post_init__(self) -> None:
        if not self.token and not is_loopback(self.host):
            raise DataError(f"lab: {self.host} can be reached by others; it needs a token")
        if self.run is not None and not self.run.is_dir():
            raise DataError(f"lab: {self.run}: no such folder; name a run that was trained")

    @property
    def private(self) -> Path:
        """The folder of what the lab itself keeps: pictures that were handed in."""
        return self.folder / ".lab"


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
