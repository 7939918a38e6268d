"""Batches of a data set, in order or shuffled by a generator."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from chainrule.data.dataset import Dataset
from chainrule.data.preprocess import Transform
from chainrule.data.transforms.base import stacked
from chainrule.engine.op import Array
from chainrule.engine.random import Generator, default_generator
from chainrule.errors import KindError, ShapeError, failure


class DataLoader:
    """Walks a data set in batches of (images, labels); each walk is one epoch.

    `shuffle` draws a new order for every walk from `generator` (None: the global one).  The last
    batch may be smaller; `drop_last` leaves it out.  `transform` prepares the images of a batch.
    Raises ShapeError for a batch size under 1, TypeError for one that is not an integer.

    >>> import numpy as np
    >>> from chainrule.data import ArrayDataset
    >>> data = ArrayDataset(np.zeros((5, 1, 2, 2)), np.arange(5))
    >>> [labels.tolist() for _, labels in DataLoader(data, batch_size=2)]
    [[0, 1], [2, 3], [4]]
    """

    def __init__(
        self,
        dataset: Dataset,
        batch_size: int = 1,
        shuffle: bool = False,
        *,
        drop_last: bool = False,
        generator: Generator | None = None,
        transform: Transform | None = None,
    ) -> None:
        if isinstance(batch_size, bool) or not isinstance(batch_size, int | np.integer):
            rule = "an integer batch_size"
            raise failure("DataLoader", rule, error=KindError, batch_size=batch_size)
        if batch_size < 1:
            raise failure("DataLoader", "batch_size >= 1", error=ShapeError, batch_size=batch_size)
        self.dataset = dataset
        self.batch_size = int(batch_size)
        self.shuffle = shuffle
        self.drop_last = drop_last
        self.generator = generator
        self.transform = transform

    def __len__(self) -> int:
        """Count the batches of one walk."""
        whole, rest = divmod(len(self.dataset), self.batch_size)
        return whole if self.drop_last or not rest else whole + 1

    def __iter__(self) -> Iterator[tuple[Array, Array]]:
        n = len(self.dataset)
        if self.shuffle:
            order = (self.generator or default_generator()).permutation(n)
        else:
            order = np.arange(n)
        for batch in range(len(self)):
            chosen = order[batch * self.batch_size : (batch + 1) * self.batch_size]
            found, labels = self.dataset.__getitems__(chosen)
            images = stacked(found)
            yield (images if self.transform is None else self.transform(images)), labels
