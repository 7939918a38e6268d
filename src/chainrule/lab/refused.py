"""Words that one page of the lab hands to the next in its address: why something was refused.

They carry a seal that only this server can make, so that no link from elsewhere puts words into
the lab's mouth; after a restart old ones are not shown any more.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping

WORDS, SEAL = "refused", "seal"
"""The names of the values in the address."""

_LONGEST = 600


def refusal(words: str, key: bytes) -> dict[str, str]:
    """Give the values of an address that say these words.

    >>> refused(refusal("too large", b"key"), b"key")
    'too large'
    """
    said = words if len(words) <= _LONGEST else words[: _LONGEST - 3] + "..."
    return {WORDS: said, SEAL: _seal(said, key)}


def refused(values: Mapping[str, str], key: bytes) -> str:
    """Give the words of an address; "" where there are none of this server's.

    >>> refused({"refused": "call this number", "seal": "0"}, b"key")
    ''
    """
    words = values.get(WORDS, "")
    genuine = hmac.compare_digest(values.get(SEAL, "").encode(), _seal(words, key).encode())
    return words if genuine else ""


def _seal(words: str, key: bytes) -> str:
    return hmac.new(key, words.encode("utf-8", "replace"), "sha256").hexdigest()[:20]
