"""Batches of a data set: in what order, made by whom, and where a walk stands."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from chainrule.data.batches import Assembler, Skipped, with_generator
from chainrule.data.samplers import (
    BatchSampler,
    RandomSampler,
    Sampler,
    SequentialSampler,
    checked_generator,
    length_of,
    whole_number,
    whole_numbers,
)
from chainrule.data.walk import Position, State, Walk
from chainrule.engine.op import Array
from chainrule.engine.random import Generator, default_generator
from chainrule.errors import DataError, KindError, LabelError, ShapeError, failure

IGNORED = {
    "pin_memory": "there is no second memory that batches are copied to",
    "pin_memory_device": "there is no second memory that batches are copied to",
    "timeout": "threads cannot be ended from outside",
    "worker_init_fn": "every batch has a random stream of its own, whoever makes it",
    "multiprocessing_context": "workers are threads",
    "persistent_workers": "a thread starts in less time than it takes to read an image",
    "in_order": "batches always come in order",
}
"""Arguments of PyTorch's that mean nothing here, and why."""


class DataLoader:
    """Walks a data set in batches of (images, targets); each walk is one epoch.

    The order comes from `sampler`, or is random with `shuffle`, else ascending; `batch_sampler`
    gives whole batches of numbers instead.  The last batch may be smaller; `drop_last` leaves it
    out.  `transform(images, generator)` changes the images of a batch at once, (N, C, H, W) or a
    list of (C, H, W) of sizes of their own (a callable of the images alone will do), then
    `mix(images, targets, num_classes, generator)` both.  A `collate_fn` makes of the list of
    samples (image, target) whatever is to be yielded, and takes the place of all that.

    Every walk draws its order and, for transform and mix, one number from `generator` (None: the
    global one; a sampler's own comes first); each batch has a stream of its own by that number.
    So the same batches come out with any `num_workers`, which are threads that make up to
    `num_workers * prefetch_factor` batches ahead, at lower priority than what trains (Linux).

    An image that cannot be read or transformed raises DataError with its name; with `skip_bad`
    the batch comes without it, and `skipped` lists it.  `state_dict` says where a walk stands.

    PyTorch's other arguments are accepted and without effect: see `IGNORED`.  Raises ShapeError
    for settings out of range or at odds, TypeError for those of a wrong kind; on a walk, what
    data set and transform raise, and IndexError for numbers outside the set.

    >>> import numpy as np
    >>> from chainrule.data import ArrayDataset
    >>> data = ArrayDataset(np.zeros((5, 1, 2, 2)), np.arange(5))
    >>> [labels.tolist() for _, labels in DataLoader(data, batch_size=2)]
    [[0, 1], [2, 3], [4]]
    """

    def __init__(
        self,
        dataset: Any,
        batch_size: int = 1,
        shuffle: bool | None = False,
        sampler: Sampler | Iterable[int] | None = None,
        batch_sampler: BatchSampler | Iterable[Sequence[int]] | None = None,
        num_workers: int = 0,
        collate_fn: Callable[[list[Any]], Any] | None = None,
        drop_last: bool = False,
        generator: Generator | None = None,
        *,
        prefetch_factor: int | None = 2,
        transform: Callable[..., Any] | None = None,
        mix: Callable[..., Any] | None = None,
        skip_bad: bool = False,
        **ignored: Any,
    ) -> None:
        _check_names(ignored)
        self.dataset = _checked_set(dataset, mix)
        self.shuffle, self.drop_last, self.skip_bad = bool(shuffle), bool(drop_last), bool(skip_bad)
        self.num_workers = whole_number("DataLoader", num_workers, "num_workers", least=0)
        ahead = 2 if prefetch_factor is None else prefetch_factor
        self.prefetch_factor = whole_number("DataLoader", ahead, "prefetch_factor")
        if collate_fn is not None and not (transform is None and mix is None):
            rule = "no transform or mix beside a collate_fn, which can call them"
            raise failure("DataLoader", rule, error=ShapeError)
        self.generator = checked_generator("DataLoader", generator)
        self.collate_fn, self.transform, self.mix = collate_fn, transform, mix
        self.batch_size: int | None = whole_number("DataLoader", batch_size, "batch_size")
        self._choose_order(sampler, batch_sampler)
        self._position = Position()
        self._found: dict[str, str] = {}

    def _choose_order(self, sampler: Any, batch_sampler: Any) -> None:
        if batch_sampler is not None:
            if self.batch_size != 1 or self.shuffle or sampler is not None or self.drop_last:
                rule = "no batch_size, shuffle, sampler or drop_last beside a batch_sampler"
                raise failure("DataLoader", rule, error=ShapeError)
        elif sampler is not None and self.shuffle:
            rule = "a sampler or shuffle=True, not both: the sampler says the order"
            raise failure("DataLoader", rule, error=ShapeError)
        if sampler is None:
            sampler = (RandomSampler if self.shuffle else SequentialSampler)(self.dataset)
        if batch_sampler is None:
            batch_sampler = BatchSampler(sampler, self.batch_size or 1, self.drop_last)
        else:
            self.batch_size = None
        self.sampler: Sampler | Iterable[int] = sampler
        self.batch_sampler: BatchSampler | Iterable[Sequence[int]] = batch_sampler

    def __len__(self) -> int:
        """Count the batches of one walk; those that `skip_bad` leaves out whole count too."""
        return length_of(self.batch_sampler)

    @property
    def skipped(self) -> list[Skipped]:
        """The images left out so far, (where it comes from, why), each once, as they were met."""
        return list(self._found.items())

    def __iter__(self) -> Walk:
        order, source = self._generators()
        position = Position({"order": order.get_state(), "number": source.get_state()})
        if self._position.loaded:
            position = self._position.again()
            order, source = _restored(position.begun, order is source)
        batches = self._batches(order)
        transform, takes = with_generator(self.transform)
        number = _number(source) if takes or self.mix is not None else 0
        assembler = Assembler(
            self.dataset, transform, self.mix, self.collate_fn, self.skip_bad, number
        )
        self._position = position
        workers, ahead = self.num_workers, self.num_workers * self.prefetch_factor
        return Walk(assembler, batches, position, self._found, workers, ahead)

    def _generators(self) -> tuple[Generator, Generator]:
        """Give the generators of the order and of the walk's number; mostly it is one."""
        source = self.generator or default_generator()
        own = getattr(self.batch_sampler, "generator", None)
        return (own if isinstance(own, Generator) else source), source

    def _batches(self, order: Generator) -> list[Array]:
        """Draw the numbers of every batch of a walk."""
        if isinstance(self.batch_sampler, BatchSampler):
            batches = self.batch_sampler.draw(order)
        else:
            length_of(self.batch_sampler)
            batches = [whole_numbers("batch_sampler", batch) for batch in self.batch_sampler]
        sizes = np.array([len(batch) for batch in batches], np.int64)
        if not sizes.all():
            raise failure("batch_sampler", "batches that are not empty", error=ShapeError)
        numbers = np.concatenate(batches) if batches else sizes
        wrong = (numbers < 0) | (numbers >= len(self.dataset))
        if wrong.any():
            rule = f"numbers of images in 0..{len(self.dataset) - 1}"
            number = int(numbers[np.argmax(wrong)])
            raise failure("sampler", rule, error=LabelError, number=number)
        return batches

    def state_dict(self) -> State:
        """Say where the walk begun last stands, in plain values that JSON can hold.

        That is the generators' states now and as the walk began, and how many batches were
        yielded; what was made ahead does not count.  A sampler that does not draw from a
        Generator is not part of it.

        >>> import json, numpy as np
        >>> from chainrule.data import ArrayDataset
        >>> data = ArrayDataset(np.zeros((6, 1, 1, 1)), np.arange(6))
        >>> loader = DataLoader(data, 2, shuffle=True, generator=Generator(0))
        >>> walk = iter(loader)
        >>> _ = next(walk)
        >>> state = json.loads(json.dumps(loader.state_dict()))
        >>> rest = [labels.tolist() for _, labels in walk]
        >>> loader = DataLoader(data, 2, shuffle=True, generator=Generator(1))
        >>> loader.load_state_dict(state)
        >>> [labels.tolist() for _, labels in loader] == rest
        True
        """
        order, source = self._generators()
        return {
            "images": len(self.dataset),
            "batch_size": self.batch_size,
            "now": {"order": order.get_state(), "number": source.get_state()},
            "walk": self._position.state(),
            "skipped": [list(entry) for entry in self._found.items()],
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a state: the next walk gives the batches that remained.

        The generators, the global one too if it serves, are put to where they were.  Raises
        DataError for a state that is none, or of another number of images or size of batches.
        """
        try:
            facts = state["images"], state["batch_size"]
            now, position = dict(state["now"]), Position.of(state["walk"])
            found = {str(where): str(why) for where, why in state["skipped"]}
            for states in (now, position.begun or now):
                _restored(states, one=False)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            what = f"{type(error).__name__}: {error}"
            raise DataError(f"DataLoader: expected what state_dict gave; {what}") from error
        if facts != (len(self.dataset), self.batch_size):
            raise DataError(
                f"DataLoader: expected the state of {len(self.dataset)} images in batches of "
                f"{self.batch_size}; got one of {facts[0]} in batches of {facts[1]}"
            )
        if not 0 <= position.taken <= len(self):
            rule = f"a state of at most {len(self)} batches taken"
            raise failure("DataLoader", rule, error=DataError, taken=position.taken)
        order, source = self._generators()
        order.set_state(now["order"])
        source.set_state(now["number"])
        self._position, self._found = position, found

    def __repr__(self) -> str:
        size = "batch_sampler" if self.batch_size is None else f"batch_size={self.batch_size}"
        return f"DataLoader({self.dataset!r}, {size}, num_workers={self.num_workers})"


def _number(source: Generator) -> int:
    """Draw 64 bits, from which the streams of a walk's batches come."""
    return int(source.integers(-(2**63), 2**63, ()))


def _restored(begun: State, one: bool) -> tuple[Generator, Generator]:
    """Make generators that are where those of a walk were when it began."""
    order, source = Generator(0), Generator(0)
    order.set_state(begun["order"])
    source.set_state(begun["number"])
    return order, (order if one else source)


def _check_names(given: Mapping[str, Any]) -> None:
    for name in given:
        if name not in IGNORED:
            near = difflib.get_close_matches(name, [*IGNORED, "num_workers", "batch_size"], n=1)
            hint = f"did you mean {near[0]!r}?" if near else ""
            rule = "arguments that it knows"
            raise failure("DataLoader", rule, error=KindError, hint=hint, argument=name)


def _checked_set(dataset: Any, mix: Any) -> Any:
    if not (hasattr(dataset, "__len__") and hasattr(dataset, "__getitem__")):
        rule = "a data set with a length and images by number"
        raise failure("DataLoader", rule, error=KindError, dataset=type(dataset))
    if not len(dataset):
        raise failure("DataLoader", "a data set that is not empty", error=ShapeError)
    if mix is not None and not hasattr(dataset, "num_classes"):
        rule = "a data set that says its num_classes, since mix needs them"
        raise failure("DataLoader", rule, error=KindError, dataset=type(dataset))
    return dataset
