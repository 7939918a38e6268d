"""Parts of data sets, and several in a row."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from chainrule.data.dataset import Dataset, Images
from chainrule.engine.op import Array
from chainrule.engine.random import Generator, default_generator
from chainrule.errors import KindError, LabelError, ShapeError, failure


class Subset(Dataset):
    """The images of `dataset` at `indices`: numbers, or a mask (N,) of bools.

    Images are read when they are asked for.  Raises LabelError for a number outside the set,
    TypeError for what is no number, ShapeError for a mask of another length.

    >>> import numpy as np
    >>> from chainrule.data import ArrayDataset
    >>> data = ArrayDataset(np.zeros((3, 1, 2, 2), np.uint8), [0, 1, 2])
    >>> Subset(data, [2, 0]).targets
    array([2, 0])
    """

    def __init__(self, dataset: Dataset, indices: Any, name: str | None = None) -> None:
        self.dataset = dataset
        self.indices = _numbers(indices, len(dataset))
        targets = dataset.targets[self.indices]
        super().__init__(targets, dataset.classes, dataset.task, name or dataset.name)

    def image(self, index: int) -> Array:
        """Give image number `index` of the part."""
        return self.dataset.image(int(self.indices[index]))

    def describe(self, index: int) -> str:
        """Say where the image comes from, as the whole set does."""
        return self.dataset.describe(int(self.indices[index]))

    def __getitems__(self, indices: Any) -> tuple[Images, Array]:
        """Give several images in the way of the whole set, and their targets."""
        return self.dataset.__getitems__(self.indices[indices])


class ConcatDataset(Dataset):
    """Several data sets in a row, of the same classes and task.

    As in PyTorch, `datasets` are the members and `cumulative_sizes` where each one ends.  Raises
    ShapeError for none, and for members that disagree.

    >>> import numpy as np
    >>> from chainrule.data import ArrayDataset
    >>> data = ArrayDataset(np.zeros((3, 1, 2, 2), np.uint8), [0, 1, 2])
    >>> both = ConcatDataset([data, data])
    >>> len(both), both.cumulative_sizes, both[4][1]
    (6, [3, 6], np.int64(1))
    """

    def __init__(self, datasets: Iterable[Dataset], name: str | None = None) -> None:
        self.datasets = list(datasets)
        if not self.datasets:
            raise failure("ConcatDataset", "at least one data set", error=ShapeError)
        first = self.datasets[0]
        for member in self.datasets:
            if not isinstance(member, Dataset):
                raise failure("ConcatDataset", "data sets", error=KindError, member=member)
            if (member.classes, member.task) != (first.classes, first.task):
                rule = f"members with the task and classes of {first!r}"
                raise failure("ConcatDataset", rule, error=ShapeError, member=member)
        self.cumulative_sizes = np.cumsum([len(d) for d in self.datasets]).tolist()
        targets = np.concatenate([member.targets for member in self.datasets])
        super().__init__(targets, first.classes, first.task, name or first.name)

    def _place(self, index: int) -> tuple[Dataset, int]:
        member = int(np.searchsorted(self.cumulative_sizes, index, side="right"))
        start = self.cumulative_sizes[member - 1] if member else 0
        return self.datasets[member], index - start

    def image(self, index: int) -> Array:
        """Give image number `index` of the row."""
        member, number = self._place(index)
        return member.image(number)

    def describe(self, index: int) -> str:
        """Say where the image comes from, as its own set does."""
        member, number = self._place(index)
        return member.describe(number)


def random_split(
    dataset: Dataset, lengths: Sequence[float], generator: Generator | None = None
) -> list[Subset]:
    """Cut a shuffled data set into parts of these lengths, or of these fractions of it.

    As `torch.utils.data.random_split`: integers sum to the length of the set, fractions to 1, and
    what rounding leaves goes one by one to the first parts.  The order is drawn from `generator`,
    None being the global one.  For a stratified cut that lasts see `split`.  Raises ShapeError for
    other lengths.

    >>> import numpy as np, chainrule as cr
    >>> from chainrule.data import ArrayDataset
    >>> data = ArrayDataset(np.zeros((5, 1, 2, 2), np.uint8), np.arange(5))
    >>> [len(part) for part in random_split(data, [0.5, 0.5], cr.Generator(0))]
    [3, 2]
    """
    counts = _lengths(lengths, len(dataset))
    order = (generator or default_generator()).permutation(len(dataset))
    parts = np.split(np.asarray(order), np.cumsum(counts)[:-1])
    return [Subset(dataset, part) for part in parts]


def _lengths(lengths: Sequence[float], total: int) -> list[int]:
    wanted = list(lengths)
    if not wanted or not all(length >= 0 for length in wanted):
        raise failure("random_split", "lengths of at least 0", error=ShapeError, lengths=lengths)
    if all(isinstance(length, int | np.integer) for length in wanted) and sum(wanted) != 1:
        counts = [int(length) for length in wanted]
    elif math.isclose(sum(wanted), 1.0):
        counts = [math.floor(total * length) for length in wanted]
        for place in range(total - sum(counts)):
            counts[place % len(counts)] += 1
    else:
        counts = []
    if sum(counts) != total or not counts:
        rule = f"lengths that sum to {total}, or fractions that sum to 1"
        raise failure("random_split", rule, error=ShapeError, lengths=lengths)
    return counts


def _numbers(indices: Any, count: int) -> Array:
    """Check numbers, counted from the end where they are negative, or a mask."""
    array = np.asarray(indices)
    if array.dtype == np.bool_:
        if array.shape != (count,):
            raise failure("Subset", f"a mask ({count},)", error=ShapeError, indices=array)
        return np.flatnonzero(array)
    if array.ndim != 1:
        raise failure("Subset", "indices (M,)", error=ShapeError, indices=array)
    if array.size and array.dtype.kind not in "iu":
        raise failure("Subset", "integers as indices", error=KindError, indices=array)
    array = array.astype(np.int64)
    wrong = (array < -count) | (array >= count)
    if wrong.any():
        rule = f"indices in 0..{count - 1}"
        raise failure("Subset", rule, error=LabelError, index=int(array[wrong][0]))
    return np.where(array < 0, array + count, array)
