"""The state of a page, which stands in its address: read with checks, written into links."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from flask import request, url_for

from chainrule.errors import DataError

LONGEST = 4000
"""Characters of one value of an address."""


class Query:
    """The values of an address, or of a form that was sent.

    Each is asked for with what it may be; DataError says what was expected and what came.
    """

    def __init__(self, values: Mapping[str, str] | None = None) -> None:
        self.values = request.values if values is None else values

    def text(self, name: str, default: str = "") -> str:
        """Give a text, without blanks around it."""
        found = self.values.get(name, default).strip()
        if len(found) > LONGEST:
            raise DataError(f"{name}: expected at most {LONGEST:,} characters, got {len(found):,}")
        return found or default

    def choice(self, name: str, known: Sequence[str], default: str = "") -> str:
        """Give one of several words."""
        found = self.text(name, default)
        if found and found not in known:
            raise DataError(f"{name}: expected one of {', '.join(known)}; got {found[:40]!r}")
        return found

    def integer(self, name: str, low: int, high: int, default: int | None = None) -> int | None:
        """Give a whole number from `low` to `high`; the default where there is none."""
        found = self.text(name)
        if not found:
            return default
        try:
            value = int(found)
        except ValueError:
            value = low - 1
        if not low <= value <= high:
            raise DataError(
                f"{name}: expected a whole number from {low} to {high}; got {found[:40]!r}"
            )
        return value

    def number(self, name: str, low: float, high: float, default: float | None = None) -> float:
        """Give a number from `low` to `high`; DataError where there is none and no default."""
        found = self.text(name)
        if not found and default is not None:
            return default
        try:
            value = float(found)
        except ValueError:
            value = float("nan")
        if not low <= value <= high:
            raise DataError(
                f"{name}: expected a number from {low:g} to {high:g}; got {found[:40]!r}"
            )
        return value

    def flag(self, name: str) -> bool:
        """Say whether a box was ticked."""
        return self.text(name) not in ("", "0", "off", "no")


def link(endpoint: str, state: Mapping[str, Any] | None = None, **changes: Any) -> str:
    """Write the address of a page in a state; values that are None or empty are left out.

    A state may come from an address that others wrote: names in it that Flask's `url_for` takes
    for itself, such as `_external`, say nothing to our pages and are left out as well.
    """
    own = {k: v for k, v in (state or {}).items() if k[:1] != "_" and k != "endpoint"}
    values = {**own, **changes}
    return url_for(endpoint, **{k: v for k, v in values.items() if v is not None and v != ""})
