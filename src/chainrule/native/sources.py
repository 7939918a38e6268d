"""What the compiled library was made of: one hash, for the build that writes it and the loader.

The build loads this file by its path, before the package or NumPy is installed: it imports nothing
of either.
"""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path


def digest(folder: Path) -> str:
    """Hash the names and the text of the C files and headers in a folder."""
    found = sha256()
    for path in sorted((*folder.glob("*.c"), *folder.glob("*.h"))):
        text = path.read_bytes()
        found.update(f"{path.name} {len(text)}\n".encode())
        found.update(text)
    return found.hexdigest()[:32]
