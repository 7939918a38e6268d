"""The order in which a walk meets a data set's images, under PyTorch's names.

A sampler draws the numbers of one walk from a generator that it is handed.  Iterating over one, as
PyTorch's programs do, draws from its own generator, or where it has none from the global one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence, Sized
from typing import Any

import numpy as np

from chainrule.engine.op import Array
from chainrule.engine.random import Generator, default_generator
from chainrule.errors import KindError, ShapeError, failure


class Sampler:
    """Draws the numbers of one walk; subclasses implement `draw` and `__len__`.

    `generator` is the sampler's own; with None a loader hands in its generator.

    >>> class Backwards(Sampler):
    ...     def draw(self, generator):
    ...         return np.arange(3)[::-1]
    ...     def __len__(self):
    ...         return 3
    >>> list(Backwards())
    [2, 1, 0]
    """

    def __init__(self, generator: Generator | None = None) -> None:
        self.generator = checked_generator(type(self).__name__, generator)

    def draw(self, generator: Generator) -> Array:
        """Give the numbers of one walk, in order: integers (n,)."""
        raise NotImplementedError(f"{type(self).__name__}.draw")

    def __len__(self) -> int:
        raise NotImplementedError(f"{type(self).__name__}.__len__")

    def __iter__(self) -> Iterator[Any]:
        drawn: list[int] = self.draw(self.generator or default_generator()).tolist()
        return iter(drawn)


class SequentialSampler(Sampler):
    """Every number once, from 0 upwards.

    >>> list(SequentialSampler("abc"))
    [0, 1, 2]
    """

    def __init__(self, data_source: Sized) -> None:
        super().__init__()
        self.data_source = data_source

    def draw(self, generator: Generator) -> Array:
        """Give 0 to n - 1; nothing is drawn."""
        return np.arange(len(self.data_source))

    def __len__(self) -> int:
        return len(self.data_source)


class RandomSampler(Sampler):
    """Numbers in random order; with `replacement` each is drawn anew from all.

    `num_samples` numbers make a walk, by default as many as there are.  Without replacement, more
    than there are come as one shuffled walk after the other.  Raises ShapeError for a count under
    1 and for an empty set, TypeError for a count that is no integer.

    >>> import chainrule as cr
    >>> sorted(RandomSampler("abcd", generator=cr.Generator(0)))
    [0, 1, 2, 3]
    >>> len(list(RandomSampler("abcd", replacement=True, num_samples=6)))
    6
    """

    def __init__(
        self,
        data_source: Sized,
        replacement: bool = False,
        num_samples: int | None = None,
        generator: Generator | None = None,
    ) -> None:
        super().__init__(generator)
        self.data_source = data_source
        self.replacement = bool(replacement)
        self._samples = None if num_samples is None else whole_number("RandomSampler", num_samples)
        if not len(data_source):
            raise failure("RandomSampler", "a set that is not empty", error=ShapeError)

    @property
    def num_samples(self) -> int:
        """How many numbers make a walk."""
        return len(self.data_source) if self._samples is None else self._samples

    def draw(self, generator: Generator) -> Array:
        """Draw the numbers of one walk."""
        n, wanted = len(self.data_source), self.num_samples
        if self.replacement:
            return generator.integers(0, n, (wanted,))
        rounds = [generator.permutation(n) for _ in range(-(-wanted // n))]
        return rounds[0][:wanted] if len(rounds) == 1 else np.concatenate(rounds)[:wanted]

    def __len__(self) -> int:
        return self.num_samples


class SubsetRandomSampler(Sampler):
    """The given numbers, each once, in random order.

    >>> sorted(SubsetRandomSampler([7, 2, 5]))
    [2, 5, 7]
    """

    def __init__(self, indices: Sequence[int] | Array, generator: Generator | None = None) -> None:
        super().__init__(generator)
        self.indices = whole_numbers("SubsetRandomSampler", indices)

    def draw(self, generator: Generator) -> Array:
        """Draw the order of one walk."""
        return np.asarray(self.indices[generator.permutation(len(self.indices))])

    def __len__(self) -> int:
        return len(self.indices)


class WeightedRandomSampler(Sampler):
    """Numbers drawn in proportion to weights, one weight an image; they need not sum to 1.

    Without replacement a number comes once at most, the heavy ones rather: the `num_samples` that
    have the smallest E / weight, with E drawn from the exponential distribution (Efraimidis and
    Spirakis, 2006), smallest first.  A weight of 0 is never drawn.  Raises ShapeError for weights
    that are negative, not finite or all 0, and where too few are above 0.

    >>> sorted(set(WeightedRandomSampler([0.0, 1.0, 3.0], 50, generator=Generator(0))))
    [1, 2]
    """

    def __init__(
        self,
        weights: Sequence[float] | Array,
        num_samples: int,
        replacement: bool = True,
        generator: Generator | None = None,
    ) -> None:
        super().__init__(generator)
        name = type(self).__name__
        self.weights = np.asarray(weights, np.float64)
        self.num_samples = whole_number(name, num_samples)
        self.replacement = bool(replacement)
        if self.weights.ndim != 1:
            raise failure(name, "weights (N,)", error=ShapeError, weights=self.weights)
        if not (np.isfinite(self.weights).all() and (self.weights >= 0).all()):
            raise failure(name, "weights that are finite and not negative", error=ShapeError)
        able = int(np.count_nonzero(self.weights))
        needed = 1 if self.replacement else self.num_samples
        if able < needed:
            raise failure(name, f"at least {needed} weights above 0", error=ShapeError, count=able)

    def draw(self, generator: Generator) -> Array:
        """Draw the numbers of one walk."""
        able = np.flatnonzero(self.weights)
        weights = self.weights[able] / self.weights.max()  # huge weights would sum to infinity
        if self.replacement:
            ends = np.cumsum(weights)
            places = generator.uniform((self.num_samples,), ends.dtype, 0.0, 1.0) * ends[-1]
            found = np.searchsorted(ends, places, side="right")
            return np.asarray(
                able[np.minimum(found, len(able) - 1)]
            )  # a product may round up to the end
        chance = generator.uniform(weights.shape, weights.dtype, 0.0, 1.0)
        with np.errstate(all="ignore"):  # a weight that is next to nothing comes last
            waiting = -np.log1p(-chance) / weights
        return np.asarray(able[np.argsort(waiting, kind="stable")[: self.num_samples]])

    def __len__(self) -> int:
        return self.num_samples


class BalancedSampler(Sampler):
    """Each class equally often, however many images it has.

    `labels` are those of the images, (N,), or a data set that has them as `targets`.  In a walk of
    `num_samples` (by default N) numbers the classes' counts differ by 1 at most, and so do, within
    a class, those of its images: a small class is gone through several times, a large one in part.
    Classes without images are no classes here.  Raises TypeError for labels that are no integers,
    ShapeError for targets of several labels an image and for none at all.

    >>> labels = np.array([0, 0, 0, 0, 0, 0, 1, 1])
    >>> drawn = list(BalancedSampler(labels, generator=Generator(0)))
    >>> np.bincount(labels[drawn]).tolist()
    [4, 4]
    """

    def __init__(
        self, labels: Any, num_samples: int | None = None, generator: Generator | None = None
    ) -> None:
        super().__init__(generator)
        found = np.asarray(getattr(labels, "targets", labels))
        if found.ndim != 1 or not found.size:
            rule = "one label an image, (N,) with N > 0"
            raise failure("BalancedSampler", rule, error=ShapeError, labels=found)
        if found.dtype.kind not in "iu":
            raise failure("BalancedSampler", "integer labels", error=KindError, labels=found)
        self.groups = [np.flatnonzero(found == label) for label in np.unique(found)]
        wanted = len(found) if num_samples is None else num_samples
        self.num_samples = whole_number("BalancedSampler", wanted)

    def draw(self, generator: Generator) -> Array:
        """Draw the numbers of one walk; the classes that come once more are drawn too."""
        each, more = divmod(self.num_samples, len(self.groups))
        lucky = set(generator.permutation(len(self.groups))[:more].tolist())
        chosen = []
        for place, group in enumerate(self.groups):
            wanted = each + (place in lucky)
            for begin in range(0, wanted, len(group)):
                shuffled = group[generator.permutation(len(group))]
                chosen.append(shuffled[: wanted - begin])
        drawn = np.concatenate(chosen)
        return np.asarray(drawn[generator.permutation(len(drawn))])

    def __len__(self) -> int:
        return self.num_samples


class BatchSampler:
    """Batches of another sampler's numbers; the last is smaller, or left out by `drop_last`.

    The sampler may be any iterable of numbers that has a length.  Raises ShapeError for a batch
    size under 1, TypeError for one that is no integer.

    >>> list(BatchSampler(SequentialSampler("abcde"), 2, drop_last=False))
    [[0, 1], [2, 3], [4]]
    """

    def __init__(
        self, sampler: Sampler | Iterable[int], batch_size: int, drop_last: bool = False
    ) -> None:
        self.sampler = sampler
        self.batch_size = whole_number("BatchSampler", batch_size, "batch_size")
        self.drop_last = bool(drop_last)

    @property
    def generator(self) -> Generator | None:
        """The sampler's own generator."""
        own = getattr(self.sampler, "generator", None)
        return own if isinstance(own, Generator) else None

    def draw(self, generator: Generator) -> list[Array]:
        """Draw the numbers of one walk, batch by batch."""
        order = drawn_numbers(self.sampler, generator)
        size = self.batch_size
        end = len(order) - len(order) % size if self.drop_last else len(order)
        return [order[begin : begin + size] for begin in range(0, end, size)]

    def __iter__(self) -> Iterator[list[int]]:
        return (batch.tolist() for batch in self.draw(self.generator or default_generator()))

    def __len__(self) -> int:
        whole, rest = divmod(length_of(self.sampler), self.batch_size)
        return whole if self.drop_last or not rest else whole + 1


def drawn_numbers(sampler: Sampler | Iterable[int], generator: Generator) -> Array:
    """Give a walk's numbers: ours draw from the generator, others are iterated over."""
    if isinstance(sampler, Sampler):
        return sampler.draw(generator)
    length_of(sampler)  # one without an end would never give the walk's numbers
    return whole_numbers("sampler", list(sampler))


def length_of(sampler: Any) -> int:
    """Count what a sampler gives; raises TypeError for one that has no length."""
    try:
        return len(sampler)
    except TypeError as error:
        rule = "a sampler with a length, which says how long a walk is"
        raise failure("DataLoader", rule, error=KindError, sampler=sampler) from error


def whole_numbers(name: str, values: Any) -> Array:
    """Give numbers as integers (n,), or raise."""
    numbers = np.asarray(values)
    if not numbers.size:
        return np.zeros(0, np.int64)
    if numbers.ndim != 1:
        raise failure(name, "numbers of images (n,)", error=ShapeError, numbers=numbers)
    if numbers.dtype.kind not in "iu":
        raise failure(name, "integers as numbers of images", error=KindError, numbers=numbers)
    return numbers.astype(np.int64)


def checked_generator(name: str, generator: Any) -> Generator | None:
    """Give a generator that is one of ours, or None, or raise."""
    if generator is None or isinstance(generator, Generator):
        return generator
    raise failure(name, "a chainrule Generator", error=KindError, generator=generator)


def whole_number(name: str, value: Any, what: str = "num_samples", least: int = 1) -> int:
    """Give an integer setting that is at least so large, or raise."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise failure(name, f"an integer {what}", error=KindError, value=value)
    if value < least:
        raise failure(name, f"{what} >= {least}", error=ShapeError, value=value)
    return int(value)
