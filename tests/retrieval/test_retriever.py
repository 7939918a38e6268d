"""The estimator: scikit-learn's habits, and its neighbours beside scikit-learn's own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.neighbors import NearestNeighbors

import chainrule as cr
from chainrule.data.transforms import Normalize
from chainrule.errors import DataError, GraphError, KindError
from chainrule.retrieval import Retriever
from tests.retrieval.shapes import KINDS, shape


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return cr.rand(40, 1, 32, 32, generator=cr.Generator(3)).numpy()


def test_neighbours_are_scikit_learns(images: np.ndarray) -> None:
    finder = Retriever(cr.create_model("lenet5"), mode="off", n_neighbors=7).fit(images)
    oracle = NearestNeighbors(n_neighbors=7, metric="cosine").fit(finder.embedding_)
    asked = cr.rand(5, 1, 32, 32, generator=cr.Generator(4)).numpy()
    distances, rows = finder.kneighbors(asked)
    theirs, their_rows = oracle.kneighbors(finder.transform(asked))
    np.testing.assert_array_equal(rows, their_rows)
    np.testing.assert_allclose(distances, theirs, atol=1e-6)
    own, own_rows = finder.kneighbors()
    theirs, their_rows = oracle.kneighbors()
    np.testing.assert_array_equal(own_rows, their_rows)
    np.testing.assert_allclose(own, theirs, atol=1e-6)
    assert finder.kneighbors(asked, 2, return_distance=False).shape == (5, 2)


def test_its_arguments_are_scikit_learns_kind(images: np.ndarray) -> None:
    finder = Retriever(cr.create_model("lenet5"), n_neighbors=3).fit(images)
    twin = clone(finder, safe=False)
    assert twin.get_params().keys() == finder.get_params().keys()
    assert twin.n_neighbors == 3
    assert not hasattr(twin, "embedding_")
    assert finder.set_params(n_neighbors=4, mode="off").kneighbors()[1].shape == (40, 4)
    with pytest.raises(DataError, match="an argument out of"):
        finder.set_params(neighbours=4)


def test_labels_groups_and_modes(images: np.ndarray) -> None:
    labels, groups = ["a", "b"] * 20, [k // 4 for k in range(40)]
    finder = Retriever(cr.create_model("lenet5")).fit(images, labels, groups)
    answer = finder.query(images[9], 5, group=2)
    assert {hit.row for hit in answer.hits} & {8, 9, 10, 11} == set()
    assert answer.hits[0].label == labels[answer.hits[0].row]
    assert finder.query(images[9], 1).hits[0].row == 9
    assert len(finder.query(images[9], 40, mode="off", group="nobody").hits) == 40
    hard = finder.query(images[9], 40, mode="hard")
    assert {hit.predicted for hit in hard.hits} == {hard.predicted}
    with pytest.raises(DataError, match="one of y for each of 40"):
        finder.fit(images, labels[:3])


def test_a_runs_pictures_come_in_any_form(run: Path, shapes: Path) -> None:
    finder = Retriever(str(run)).fit(shapes)
    assert finder.n_samples_fit_ == 36
    for kind in KINDS:
        assert finder.query(shape(kind, 99), 1).predicted == kind
    paths = sorted((shapes / "disc").iterdir())
    by_path = Retriever(run).fit(paths)
    assert by_path.query(paths[3], 1).hits[0].row == 3
    read = [np.stack([shape("disc", 1000 + k)] * 3) for k in range(3)]
    assert Retriever(run).fit(read).embedding_.shape == (3, 84)


def test_transforms_prepare_arrays(images: np.ndarray) -> None:
    model, way = cr.create_model("lenet5"), Normalize(mean=[0.5], std=[0.25])
    finder = Retriever(model, transforms=way).fit(images)
    plain = Retriever(model).fit((images - 0.5) / 0.25)
    np.testing.assert_allclose(finder.embedding_, plain.embedding_, atol=1e-6)


def test_whitening_is_scikit_learns(images: np.ndarray) -> None:
    from sklearn.decomposition import PCA

    model = cr.create_model("lenet5")
    raw = Retriever(model).fit(images).embedding_
    found = Retriever(model, whiten=6).fit(images).embedding_
    theirs = PCA(6, whiten=True, svd_solver="full").fit_transform(raw.astype(np.float64))
    theirs /= np.linalg.norm(theirs, axis=1, keepdims=True)
    np.testing.assert_allclose(np.abs(found), np.abs(theirs), atol=1e-3)


def test_what_does_not_fit_is_said(images: np.ndarray) -> None:
    with pytest.raises(GraphError, match="nothing was fitted"):
        Retriever(cr.create_model("lenet5")).query(images[0])
    with pytest.raises(KindError, match="a Module, or the folder"):
        Retriever(3).fit(images)
    with pytest.raises(KindError, match="a mode out of"):
        Retriever(cr.create_model("lenet5"), mode="maybe").fit(images)
    with pytest.raises(DataError, match="at least one image"):
        Retriever(cr.create_model("lenet5")).fit(images[:0])
    finder = Retriever(cr.create_model("lenet5")).fit(images)
    with pytest.raises(ValueError, match="one image"):
        finder.query(images[:2])
    with pytest.raises(ValueError, match="at least 1"):
        finder.query(images[0], 0)
    with pytest.raises(DataError, match="not finite"):
        finder.fit(np.full_like(images[:2], np.nan))


def test_one_image_alone_can_be_fitted(images: np.ndarray) -> None:
    answer = Retriever(cr.create_model("lenet5")).fit(images[:1]).query(images[1], 3)
    assert len(answer.hits) == 1
    assert answer.outlier is None
