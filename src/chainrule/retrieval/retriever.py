"""The search as an estimator in memory, in scikit-learn's habits: fit, query, kneighbors."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from importlib import import_module
from typing import Any, Self

import numpy as np

from chainrule.data.transforms import Transform
from chainrule.engine.op import Array
from chainrule.engine.random import Generator
from chainrule.errors import DataError, GraphError, KindError, expect, failure
from chainrule.inference.fuse import Watch
from chainrule.inspection.given import setting
from chainrule.nn.module import Module
from chainrule.ops.arguments import integer
from chainrule.retrieval.answers import Answer, Hit, Outlier
from chainrule.retrieval.embedding import Embedded, Embedder
from chainrule.retrieval.feeding import Given, Skipped, each, listed, one, stacked
from chainrule.retrieval.likeness import likeness
from chainrule.retrieval.network import RunNetwork
from chainrule.retrieval.outliers import Calibration, own_distances
from chainrule.retrieval.ranking import nearest
from chainrule.retrieval.shelf import Query, Shelf, checked_mode
from chainrule.retrieval.whitening import Whitening


class Retriever:
    """Finds the most similar of the images that it was fitted to, by a network's features.

    `model` is a Module or the folder of a run.  With a Module, images are arrays (N, C, H, W) as
    the network gets them, or whatever `transforms` turns into that; `classes` names its scores.
    With a run, they are pictures as they were read: paths, a folder, a data set, arrays of bytes
    or of floats from 0 to 1.  Of a folder what cannot be read is left out and listed in
    `skipped_`; a single file that cannot be read ends the fit, since it would have a number.

    `layer` gives the features, by default what the last layer reads; `whiten` keeps so many
    principal components of the same spread.  `mode` "soft" mixes similarity and the agreement of
    class distributions by halves, "hard" finds images of the query's class alone, "off" goes by
    similarity.  As scikit-learn has it, arguments are attributes of the same name, `get_params`
    and `set_params` serve its tools, and what `fit` learns ends in an underscore:
    `embedding_` (N, D), `probabilities_` (N, K), `labels_` (texts), `paths_` (None for what was no
    file), `skipped_`, `n_samples_fit_`.  What was fitted belongs to the weights as they were: once
    they are written, questions are refused until the next `fit`.

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

        A data set brings its own classes, and so does a folder that has folders named after the
        classes of the run.  A group of None is nobody's.  Raises DataError for no images at all,
        and for what the network cannot take; KindError for what holds no images.
        """
        self._check()
        self._network, self._embedder = self._made()
        skipped: Skipped = []
        given: list[Given] = []
        found = self._embedded(self._noted(each(X, self._network, skipped), given))
        self._check_classes(found.probabilities.shape[1])
        names = None if y is None else [str(label) for label in listed("y", y)]
        patients = None if groups is None else listed("groups", groups)
        count = len(found.vectors)
        for what, values in (("y", names), ("groups", patients)):
            if values is not None:
                rule = f"one of {what} for each of {count} images"
                expect(len(values) == count, "fit", rule, error=DataError, given=len(values))
        self._whitening = None
        if self.whiten:
            self._whitening = Whitening.fit([found.vectors], self.whiten)
        self.embedding_ = self._own_form(found.vectors)
        self.probabilities_ = found.probabilities
        known = any(image.label is not None for image in given)
        self.labels_ = [image.label for image in given] if names is None and known else names
        self.paths_ = [image.path for image in given]
        self.skipped_ = skipped
        self._codes: dict[Any, int] = {}
        self._shelf = Shelf.of(
            self.embedding_, probabilities=found.probabilities, groups=self._numbers(patients, True)
        )
        self.n_samples_fit_ = count
        self._calibration = self._calibrated()
        self._watch = self._watching()
        return self

    def transform(self, X: Any) -> Array:
        """Give the features of images, (N, D) float32, rows of length 1."""
        self._fitted()
        return self._own_form(self._embedded(each(X, self._network, [])).vectors)

    def predict_proba(self, X: Any) -> Array:
        """Give the probabilities of the classes that the network sees, (N, K)."""
        self._fitted()
        return self._embedded(each(X, self._network, [])).probabilities

    def kneighbors(
        self,
        X: Any = None,
        n_neighbors: int | None = None,
        return_distance: bool = True,
    ) -> Any:
        """Give the nearest of the fitted images: distances (Q, k) and their numbers (Q, k).

        Distances are 1 - cosine, whatever the mode, which decides on the order.  Without X the
        fitted images are asked about, each without itself; groups count in `query` alone.  In the
        mode "hard" numbers are -1 and distances infinite where there are fewer of a class.
        """
        self._fitted()
        own = X is None
        if own:
            vectors, p = self.embedding_, self.probabilities_
        else:
            found = self._embedded(each(X, self._network, []))
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

        `image` is one of what `fit` takes many of; of a file with several frames the middle one is
        asked about.  Images of the patient `group` are left out.  At `rate`, a share of ordinary
        images, the answer's `outlier` is flagged.
        """
        self._fitted()
        how = checked_mode("query", self.mode if mode is None else mode)
        given, notes = one(image, self._network)
        found = self._embedded([given])
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
        return Answer(hits, how, self._names(p.shape[1]), p[0], outlier, notes)

    def why(self, image: Any, hits: Sequence[Hit]) -> Array:
        """Map where in an image its likeness to each hit of its answer lies: (n, H, W).

        The image is what `query` was asked about; see `likeness` for the maps.
        """
        self._fitted()
        given, _ = one(image, self._network)
        vectors = self.embedding_[[hit.row for hit in hits]]
        if self._whitening is not None:
            vectors = self._whitening.directions(vectors)
        embedder = self._embedder if self._network is None else self._network.embedder
        return likeness(embedder, self._as_input(given), vectors)

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Give the arguments by name, for scikit-learn's tools."""
        names = list(inspect.signature(type(self).__init__).parameters)[1:]
        return {name: getattr(self, name) for name in names}

    def set_params(self, **params: Any) -> Self:
        """Change arguments by name; what was fitted stays until the next `fit`."""
        known = self.get_params()
        for name in params:
            if name not in known:
                rule = f"an argument out of {', '.join(known)}"
                raise failure("set_params", rule, error=DataError, name=name)
        for name, value in params.items():
            setattr(self, name, value)
        return self

    def __sklearn_tags__(self) -> Any:
        """Tell scikit-learn what this is, which its pipelines ask for: it takes no table."""
        tools = import_module("sklearn.utils")
        return tools.Tags(
            estimator_type=None,
            target_tags=tools.TargetTags(required=False),
            transformer_tags=tools.TransformerTags(),
            no_validation=True,
        )

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_watch"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        if hasattr(self, "embedding_"):
            self._watch = self._watching()

    def __repr__(self) -> str:
        shown = self.model if isinstance(self.model, str) else type(self.model).__name__
        return f"Retriever({shown}, mode={self.mode!r})"

    def _check(self) -> None:
        checked_mode("Retriever", self.mode)
        for name in ("n_neighbors", "batch_size"):
            value = integer(getattr(self, name), "Retriever", f"a whole number as {name}")
            expect(value > 0, "Retriever", f"{name} of at least 1", value=value)

    def _check_classes(self, count: int) -> None:
        if self._network is None and self.classes is not None:
            rule = f"names for the network's {count} classes"
            given = list(self.classes)
            expect(len(given) == count, "Retriever", rule, error=DataError, classes=given)

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
        if self._watch is not None and self._watch.stale():
            raise GraphError(
                "Retriever: the network's weights were written since fit, so that the fitted "
                "features are of another network; call fit(images) again"
            )

    def _watching(self) -> Watch | None:
        """Watch the weights of a network that others hold too; a run's is ours alone."""
        return Watch(self._embedder.model) if self._network is None else None

    def _count(self, k: int | None) -> int:
        count = integer(self.n_neighbors if k is None else k, "query", "a number of images")
        expect(count > 0, "query", "at least 1 image", k=count)
        return count

    def _own_form(self, vectors: Array) -> Array:
        return vectors if self._whitening is None else self._whitening(vectors)

    def _noted(self, images: Iterable[Given], kept: list[Given]) -> Iterator[Given]:
        """Keep all of the images but their pixels."""
        for image in images:
            kept.append(image._replace(pixels=np.zeros(0)))
            yield image

    def _embedded(self, images: Iterable[Given]) -> Embedded:
        vectors: list[Array] = []
        probabilities: list[Array] = []
        waiting: list[Array] = []

        def run() -> None:
            found = self._embedder(stacked(waiting))
            vectors.append(found.vectors)
            probabilities.append(found.probabilities)
            waiting.clear()

        for image in images:
            waiting.append(self._as_input(image))
            if len(waiting) >= self.batch_size:
                run()
        if waiting:
            run()
        if not vectors:
            raise DataError("Retriever: expected at least one image, got none")
        if not all(np.isfinite(part).all() for part in vectors):
            raise DataError("Retriever: the network gives numbers that are not finite")
        return Embedded(np.concatenate(vectors), np.concatenate(probabilities))

    def _as_input(self, image: Given) -> Array:
        pixels = image.pixels
        if self._network is not None:
            return self._network.prepare(pixels, image.own)
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
            "array" if self.paths_[row] is None else "picture",
            path=self.paths_[row],
        )

    def _calibrated(self) -> Calibration | None:
        distances = own_distances(self._shelf)
        return Calibration.of(distances) if len(distances) else None

    def _outlier(self, cosine: float, row: int, rate: float) -> Outlier | None:
        if self._calibration is None or row < 0:
            return None
        setting("query", 0.0, 1.0, rate=rate)
        distance = 1.0 - cosine
        p = float(self._calibration.p_value(distance))
        enough = rate >= self._calibration.smallest_rate
        reason = "" if enough else "too few images to tell so low a rate"
        flagged = enough and bool(self._calibration.flag(distance, rate))
        return Outlier(distance, p, rate, flagged, reason)


def _without_selves(rows: Array, cosines: Array, k: int) -> tuple[Array, Array]:
    """Leave each image out of its own neighbours: (N, k + 1) -> (N, k)."""
    own = rows == np.arange(len(rows))[:, np.newaxis]
    own[~own.any(axis=1), -1] = True  # one that is as near took its place
    shape = (len(rows), k)
    return rows[~own].reshape(shape), cosines[~own].reshape(shape)
