"""Pictures that are read when they are asked for, with one rule for channels and depth."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from chainrule.data.dataset import Dataset, Task
from chainrule.data.pictures import WHITE, Header, Mode, Source, read_header, read_picture
from chainrule.engine.op import Array
from chainrule.errors import DataError

_SAMPLE = 256  # headers that are read to decide on the channels


class PictureDataset(Dataset):
    """Pictures in files; subclasses say where each is by `source`, and set that up first.

    `mode` "L" makes every picture grey, "RGB" colour.  None decides once: grey if all of up to 256
    pictures, evenly spaced, are grey in their headers, else colour; the same files always give the
    same answer.  `depth` is the type of the pixels, bytes, uint16 or float32, seen in the same
    way; a picture of another depth is refused when it is read.

    >>> import tempfile, pathlib
    >>> from PIL import Image
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "a.png"
    >>> Image.new("L", (3, 2), 7).save(path)
    >>> class One(PictureDataset):
    ...     def source(self, index):
    ...         return path
    >>> data = One([0], ["seven"])
    >>> data.mode, data.white, data[0][0].shape
    ('L', 255.0, (1, 2, 3))
    """

    def __init__(
        self,
        targets: Any,
        classes: Sequence[str],
        task: Task = "classification",
        name: str = "pictures",
        mode: Mode | None = None,
    ) -> None:
        if mode not in (None, "L", "RGB"):
            raise DataError(f"{name}: expected 'L', 'RGB' or None as mode, got {mode!r}")
        super().__init__(targets, classes, task, name)
        headers = self._headers()
        grey = all(header.channels == 1 for _, header in headers)
        self.mode: Mode = mode or ("L" if grey else "RGB")
        self.depth = self._depth(headers)

    def source(self, index: int) -> Source:
        """Give the path of a picture, or what is in its file."""
        raise NotImplementedError(f"{type(self).__name__}.source")

    @property
    def white(self) -> float:
        """The value of a white pixel: 255, 65535 or 1."""
        return WHITE[self.depth]

    def image(self, index: int) -> Array:
        """Read picture number `index`: (C, H, W).

        Raises DataError, naming the file, for one that cannot be read or is of another depth.
        """
        pixels = read_picture(self.source(index), self.mode, self.describe(index))
        if pixels.dtype != self.depth:
            raise DataError(
                f"{self.describe(index)}: expected pixels of type {self.depth}, as in the other "
                f"pictures of {self.name!r}, found {pixels.dtype}; convert it or remove it"
            )
        return pixels

    def _headers(self) -> list[tuple[int, Header]]:
        """Read some headers; pictures that cannot be read tell nothing, unless all are so."""
        count = len(self)
        numbers = np.unique(np.linspace(0, count - 1, min(count, _SAMPLE)).round().astype(int))
        found: list[tuple[int, Header]] = []
        first: DataError | None = None
        for number in map(int, numbers):
            try:
                header = read_header(self.source(number), self.describe(number))
            except DataError as error:
                first = first or error
            else:
                found.append((number, header))
        if not found:
            raise first or DataError(f"{self.name}: expected at least one picture, found none")
        return found

    def _depth(self, headers: list[tuple[int, Header]]) -> np.dtype[Any]:
        number, header = headers[0]
        for other, seen in headers:
            if seen.dtype != header.dtype:
                raise DataError(
                    f"{self.name}: expected pictures of one depth, found {header.dtype} in "
                    f"{self.describe(number)} and {seen.dtype} in {self.describe(other)}; "
                    "convert one kind"
                )
        return header.dtype
