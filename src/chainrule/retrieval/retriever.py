"""The search as an estimator in memory, in scikit-learn's habits: fit, query, kneighbors."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Self

import numpy as np

from chainrule.data.dataset import Dataset
from chainrule.data.transforms import Transform
from chainrule.engine.op import Array
from chainrule.engine.random import Generator
from chainrule.errors import DataError, GraphError, KindError, expect, failure
from chainrule.nn.module import Module
from chainrule.ops.arguments import integer
from chainrule.retrieval.answers import Answer, Hit, Outlier
from chainrule.retrieval.embedding import Embedded, Embedder
from chainrule.retrieval.items import Reading, folder_items, pictures
from chainrule.retrieval.network import RunNetwork
from chainrule.retrieval.outliers import Calibration
from chainrule.retrieval.ranking import nearest
from chainrule.retrieval.shelf import Query, Shelf, checked_mode
from chainrule.retrieval.whitening import Whitening

_OWN = 2_000  # images whose distances to their nearest say what is ordinary


class Retriever:
    """Finds the most similar of the images that it was fitted to, by a network's features.

    `model` is a Module or the folder of a run.  With a Module, images are arrays (N, C, H, W) as
    the network gets them, or whatever `transforms` turns into that; `classes` names its scores.
    With a run, they are pictures as they were read: paths, a folder, a data set, arrays of bytes
    or of floats from 0 to 1.

    `layer` gives the features, by default what the last layer reads; `whiten` keeps so many
    principal components of the same spread.  `mode` "soft" mixes similarity and the agreement of
    class distributions by halves, "hard" finds images of the query's class alone, "off" goes by
    similarity.  As scikit-learn has it, arguments are attributes of the same name, `get_params`
    and `set_params` serve its tools, and what `fit` learns ends in an underscore:
    `embedding_` (N, D), `probabilities_` (N, K), `labels_`, `n_samples_fit_`.

    >>> import chainrule as cr
    >>> images = cr.rand(20, 1, 32, 32, generator=cr.Generator(0)).numpy()
    >>> finder = Retriever(cr.create_model("lenet5"), mode="off").fit(images)
    >>> [hit.row for hit in finder.query(images[7], k=1).hits]
    [7]
    >>> distances, rows = finder.kneighbors(images[:2], n_neighbors=3)
    >>> rows.shape, rows[:, 0].tolist()
    ((2, 3), [0, 1])
    """

    def __init__(
        self,
        model: Any,
        *,
        layer: str | None = None,
        transforms: Transform | Callable[[Array], Array] | None = None,
        classes: Sequence[str] | None = None,
        mode: str = "soft",
        n_neighbors: int = 10,
        whiten: int = 0,
        batch_size: int = 64,
    ) -> None:
        self.model = model
        self.layer = layer
        self.transforms = transforms
        self.classes = classes
        self.mode = mode
        self.n_neighbors = n_neighbors
        self.whiten = whiten
        self.batch_size = batch_size

    def fit(self, X: Any, y: Any = None, groups: Any = None) -> Self:
        """Take in images; `y` (N,) are their classes, `groups` (N,) their patients, if known.

        A data set brings its own classes.  Raises DataError for no images at all, and for what the
        network cannot take.
        """
        self._check()
        self._network, self._embedder = self._made()
        found = self._embedded(X)
        names = _labels(X) if y is None else [str(label) for label in np.asarray(y).tolist()]
        count = len(found.vectors)
        for what, given in (("y", names), ("groups", groups)):
            if given is not None:
                rule = f"one of {what} for each of {count} images"
                expect(len(given) == count, "fit", rule, error=DataError, given=len(given))
        self._whitening = None
        if self.whiten:
            self._whitening = Whitening.fit([found.vectors], self.whiten)
        self.embedding_ = self._own_form(found.vectors)
        self.probabilities_ = found.probabilities
        self.labels_ = names
        self._codes: dict[Any, int] = {}
        self._shelf = Shelf.of(
            self.embedding_, probabilities=found.probabilities, groups=self._numbers(groups, True)
        )
        self.n_samples_fit_ = count
        self._calibration = self._calibrated()
        return self

    def transform(self, X: Any) -> Array:
        """Give the features of images, (N, D) float32, rows of length 1."""
        self._fitted()
        return self._own_form(self._embedded(X).vectors)

    def predict_proba(self, X: Any) -> Array:
        """Give the probabilities of the classes that the network sees, (N, K)."""
        self._fitted()
        return self._embedded(X).probabilities

    def kneighbors(
        self,
        X: Any = None,
        n_neighbors: int | None = None,
        return_distance: bool = True,
    ) -> Any:
        """Give the nearest of the fitted images: distances (Q, k) and their numbers (Q, k).

        Distances are 1 - cosine, whatever the mode, which decides on the order.  Without X the
        fitted images are asked about, each without itself.  In the mode "hard" numbers are -1 and
        distances infinite where there are fewer of a class.
        """
        self._fitted()
        own = X is None
        if own:
            vectors, p = self.embedding_, self.probabilities_
        else:
            found = self._embedded(X)
            vectors, p = self._own_form(found.vectors), found.probabilities
        k = self._count(n_neighbors)
        mode = checked_mode("kneighbors", self.mode) if p.shape[1] else "off"
        got = nearest(Query(vectors, p), self._shelf, k + own, mode)
        rows, cosines = got.rows, got.cosines
        if own:
            rows, cosines = _without_selves(rows, cosines, k)
        distances = np.where(rows >= 0, 1.0 - cosines, np.inf).astype(np.float32)
        return (distances, rows) if return_distance else rows

    def query(
        self,
        image: Any,
        k: int | None = None,
        *,
        mode: str | None = None,
        group: Any = None,
        rate: float = 0.01,
    ) -> Answer:
        """Find the k images that are most like one: see `Answer`; a hit's `row` is its number.

        `image` is one of what `fit` takes many of.  Images of the patient `group` are left out.
        """
        self._fitted()
        how = checked_mode("query", self.mode if mode is None else mode)
        found = self._embedded(_one(image))
        vectors, p = self._own_form(found.vectors), found.probabilities
        how = how if p.shape[1] else "off"
        groups = None if group is None else self._numbers([group], False)
        asked = Query(vectors, p, groups)
        got = nearest(asked, self._shelf, self._count(k), how)
        first = nearest(asked, self._shelf, 1, "off")
        hits = [
            self._hit(int(row), float(score), float(cosine))
            for row, score, cosine in zip(got.rows[0], got.scores[0], got.cosines[0], strict=True)
            if row >= 0
        ]
        outlier = self._outlier(float(first.cosines[0, 0]), int(first.rows[0, 0]), rate)
        return Answer(hits, how, self._names(p.shape[1]), p[0], outlier)

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Give the arguments by name, for scikit-learn's tools."""
        names = list(inspect.signature(type(self).__init__).parameters)[1:]
        return {name: getattr(self, name) for name in names}

    def set_params(self, **params: Any) -> Self:
        """Change arguments by name; what was fitted stays until the next `fit`."""
        known = self.get_params()
        for name, value in params.items():
            if name not in known:
                rule = f"an argument out of {', '.join(known)}"
                raise failure("set_params", rule, error=DataError, name=name)
            setattr(self, name, value)
        return self

    def __repr__(self) -> str:
        shown = self.model if isinstance(self.model, str) else type(self.model).__name__
        return f"Retriever({shown}, mode={self.mode!r})"

    def _check(self) -> None:
        checked_mode("Retriever", self.mode)
        for name in ("n_neighbors", "batch_size"):
            value = integer(getattr(self, name), "Retriever", f"a whole number as {name}")
            expect(value > 0, "Retriever", f"{name} of at least 1", value=value)

    def _made(self) -> tuple[RunNetwork | None, Any]:
        if isinstance(self.model, Module):
            embedder = Embedder(self.model, self.layer, classes=tuple(self.classes or ()))
            return None, embedder
        if isinstance(self.model, str | os.PathLike):
            network = RunNetwork(self.model, self.layer)
            return network, network
        rule = "a Module, or the folder of a run"
        raise failure("Retriever", rule, error=KindError, model=type(self.model))

    def _fitted(self) -> None:
        if not hasattr(self, "embedding_"):
            raise GraphError("Retriever: nothing was fitted yet; call fit(images) first")

    def _count(self, k: int | None) -> int:
        count = integer(self.n_neighbors if k is None else k, "query", "a number of images")
        expect(count > 0, "query", "at least 1 image", k=count)
        return count

    def _own_form(self, vectors: Array) -> Array:
        return vectors if self._whitening is None else self._whitening(vectors)

    def _embedded(self, images: Any) -> Embedded:
        vectors: list[Array] = []
        probabilities: list[Array] = []
        waiting: list[Array] = []

        def run() -> None:
            found = self._embedder(np.stack(waiting))
            vectors.append(found.vectors)
            probabilities.append(found.probabilities)
            waiting.clear()

        for x in self._prepared(images):
            waiting.append(x)
            if len(waiting) == self.batch_size:
                run()
        if waiting:
            run()
        if not vectors:
            raise DataError("Retriever: expected at least one image, got none")
        if not all(np.isfinite(part).all() for part in vectors):
            raise DataError("Retriever: the network gives numbers that are not finite")
        return Embedded(np.concatenate(vectors), np.concatenate(probabilities))

    def _prepared(self, images: Any) -> Iterator[Array]:
        """Give images as the network gets them, one by one."""
        network = self._network
        reading = Reading(mode=None if network is None else network.member.mode)
        for image in _each(images, reading):
            if isinstance(image, str | os.PathLike | bytes):
                for picture in pictures(image, reading):
                    yield self._as_input(picture.pixels)
            else:
                yield self._as_input(np.asarray(image))

    def _as_input(self, pixels: Array) -> Array:
        pixels = pixels[np.newaxis] if pixels.ndim == 2 else pixels
        if self._network is not None:
            return self._network.prepare(pixels)
        if self.transforms is None:
            return np.asarray(pixels, np.float32)
        if isinstance(self.transforms, Transform):
            return np.asarray(self.transforms.eval()(pixels, Generator(0)), np.float32)
        return np.asarray(self.transforms(pixels), np.float32)

    def _numbers(self, groups: Any, new: bool) -> Array | None:
        """Number groups from 1 on; None is nobody's, as is a name that was not fitted."""
        if groups is None:
            return None
        for name in groups if new else ():
            if name is not None:
                self._codes.setdefault(name, len(self._codes) + 1)
        return np.array([self._codes.get(name, 0) for name in groups], np.uint64)

    def _names(self, count: int) -> tuple[str, ...]:
        given = self._embedder.classes
        return tuple(given) if len(given) == count else tuple(map(str, range(count)))

    def _hit(self, row: int, score: float, cosine: float) -> Hit:
        p = self.probabilities_[row]
        best = int(p.argmax()) if p.size else -1
        return Hit(
            str(row),
            row,
            score,
            cosine,
            self._names(p.size)[best] if p.size else "",
            float(p[best]) if p.size else float("nan"),
            self.labels_[row] if self.labels_ is not None else None,
            "array",
        )

    def _calibrated(self) -> Calibration | None:
        if self.n_samples_fit_ < 2:
            return None
        rows = np.random.RandomState(0).permutation(self.n_samples_fit_)[:_OWN]
        got = nearest(
            Query(self.embedding_[rows], None, self._shelf.groups[rows]), self._shelf, 2, "off"
        )
        other = (got.rows >= 0) & (got.rows != rows[:, np.newaxis])
        best = other.argmax(axis=1)
        cosines = got.cosines[np.arange(len(rows)), best][other.any(axis=1)]
        return Calibration.of(1.0 - cosines.astype(np.float64)) if len(cosines) else None

    def _outlier(self, cosine: float, row: int, rate: float) -> Outlier | None:
        if self._calibration is None or row < 0:
            return None
        distance = 1.0 - cosine
        p = float(self._calibration.p_value(distance))
        enough = rate >= self._calibration.smallest_rate
        reason = "" if enough else "too few images to tell so low a rate"
        flagged = enough and bool(self._calibration.flag(distance, rate))
        return Outlier(distance, p, rate, flagged, reason)


def _one(image: Any) -> list[Any]:
    """Put one image into a list, of a batch of one its only one."""
    array = None if isinstance(image, str | os.PathLike | bytes) else np.asarray(image)
    if array is not None and array.ndim == 4:
        expect(len(array) == 1, "query", "one image; kneighbors takes several", image=array)
        return [array[0]]
    return [image]


def _each(images: Any, reading: Reading) -> Iterator[Any]:
    """Walk over images of any kind, a folder's pictures by their paths."""
    if isinstance(images, str | os.PathLike):
        items, _ = folder_items(images, (), reading)
        for item in items:
            yield from (picture.pixels for picture in item.read())
    elif isinstance(images, Dataset):
        yield from (images.image(number) for number in range(len(images)))
    else:
        yield from images


def _labels(images: Any) -> list[str] | None:
    if isinstance(images, Dataset) and images.task == "classification":
        return [images.classes[int(target)] for target in images.targets]
    return None


def _without_selves(rows: Array, cosines: Array, k: int) -> tuple[Array, Array]:
    """Leave each image out of its own neighbours: (N, k + 1) -> (N, k)."""
    own = rows == np.arange(len(rows))[:, np.newaxis]
    own[~own.any(axis=1), -1] = True  # one that is as near took its place
    shape = (len(rows), k)
    return rows[~own].reshape(shape), cosines[~own].reshape(shape)
