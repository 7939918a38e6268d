"""The estimator: scikit-learn's habits, and its neighbours beside scikit-learn's own."""

from __future__ import annotations

import copy
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import NearestNeighbors
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

import chainrule as cr
from chainrule.data.transforms import Normalize
from chainrule.errors import DataError, GraphError, KindError, ShapeError
from chainrule.retrieval import Retriever
from tests.retrieval.shapes import KINDS, shape, write_dicom


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


def test_it_works_in_pipelines(images: np.ndarray) -> None:
    way = FunctionTransformer(np.asarray)
    last = make_pipeline(way, Retriever(cr.create_model("lenet5"))).fit(images)
    assert last.transform(images[:2]).shape == (2, 84)
    assert "Retriever" in last._repr_html_()
    model = cr.create_model("lenet5")
    parity = (images.mean(axis=(1, 2, 3)) > 0.5).astype(int)
    within = make_pipeline(Retriever(model), LogisticRegression()).fit(images, parity)
    alone = LogisticRegression().fit(Retriever(model).fit(images).embedding_, parity)
    found = within.predict(images)
    np.testing.assert_array_equal(found, alone.predict(Retriever(model).fit(images).embedding_))
    assert clone(within).set_params(retriever__n_neighbors=3)[0].n_neighbors == 3


def test_it_can_be_pickled_and_copied(images: np.ndarray) -> None:
    finder = Retriever(cr.create_model("lenet5"), whiten=5).fit(images, groups=range(40))
    wanted = [(hit.row, hit.score) for hit in finder.query(images[3], 5, group=3).hits]
    for twin in (pickle.loads(pickle.dumps(finder)), copy.deepcopy(finder)):
        got = [(hit.row, hit.score) for hit in twin.query(images[3], 5, group=3).hits]
        assert got == wanted
        for tensor in twin.model.parameters():
            with cr.no_grad():
                tensor.mul_(2.0)
        with pytest.raises(GraphError, match="written since fit"):
            twin.query(images[3])
    assert finder.query(images[3], 1).hits[0].row == 3


def test_weights_that_were_written_need_another_fit(images: np.ndarray) -> None:
    model = cr.create_model("lenet5")
    finder = Retriever(model).fit(images)
    assert finder.query(images[7], 1, mode="off").hits[0].row == 7
    model.load_state_dict(cr.create_model("lenet5").state_dict())
    for ask in (finder.transform, finder.predict_proba, finder.kneighbors):
        with pytest.raises(GraphError, match="written since fit"):
            ask(images[:2])
    assert finder.fit(images).query(images[7], 1, mode="off").hits[0].similarity > 0.9999


def test_a_network_in_training_stays_so(images: np.ndarray) -> None:
    model = cr.create_model("resnet20").train()
    pixels = np.repeat(images[:8], 3, axis=1)
    before = {name: value.numpy().copy() for name, value in model.state_dict().items()}
    finder = Retriever(model).fit(pixels)
    finder.query(pixels[0], 1)
    assert all(module.training for module in model.modules())
    for name, value in model.state_dict().items():
        np.testing.assert_array_equal(value.numpy(), before[name], err_msg=name)


@pytest.mark.parametrize("kind", ["array", "tensor", "list", "text", "walk"])
def test_groups_of_any_kind(images: np.ndarray, kind: str) -> None:
    numbers = np.arange(40) // 4
    groups = {
        "array": numbers,
        "tensor": cr.tensor(numbers),
        "list": numbers.tolist(),
        "text": [f"p{k}" for k in numbers],
        "walk": (int(k) for k in numbers),
    }[kind]
    finder = Retriever(cr.create_model("lenet5"), mode="off").fit(images, None, groups)
    own = "p2" if kind == "text" else 2
    rows = {hit.row for hit in finder.query(images[9], 40, group=own).hits}
    assert rows == set(range(40)) - {8, 9, 10, 11}


def test_what_cannot_be_read_is_named(run: Path, shapes: Path, tmp_path: Path) -> None:
    shutil.copytree(shapes, tmp_path / "all")
    (tmp_path / "all" / "disc" / "broken.png").write_bytes(b"\x89PNG broken")
    finder = Retriever(run).fit(tmp_path / "all")
    assert (finder.n_samples_fit_, len(finder.skipped_)) == (36, 1)
    assert finder.skipped_[0][0].endswith("broken.png")
    assert finder.labels_ == ["bar"] * 12 + ["disc"] * 12 + ["ring"] * 12
    path = tmp_path / "all" / "ring" / "004.png"
    hit = finder.query(path, 1, mode="off").hits[0]
    assert (hit.path, hit.label, hit.kind) == (str(path.resolve()), "ring", "picture")
    paths = sorted((tmp_path / "all" / "disc").iterdir())
    with pytest.raises(DataError, match=r"image 12, .*broken.png: "):
        Retriever(run).fit(paths)
    with pytest.raises(DataError, match=r"nowhere.png: no such file"):
        finder.query(tmp_path / "nowhere.png")


def test_of_several_frames_the_middle_one_is_asked_about(
    run: Path, shapes: Path, tmp_path: Path
) -> None:
    frames = [np.uint16(shape(kind, 9)) * 16 for kind in ("ring", "bar", "disc")]
    write_dicom(tmp_path / "three.dcm", np.stack(frames), PatientID="P")
    finder = Retriever(run).fit(shapes, groups=[k // 12 for k in range(36)])
    answer = finder.query(tmp_path / "three.dcm", 3, group=2)
    assert answer.predicted == "bar"
    assert "Of 3 frames" in answer.notes[0]
    assert Retriever(run).fit([tmp_path / "three.dcm"]).n_samples_fit_ == 3


def test_a_runs_own_set_is_taken_as_an_index_takes_it(tmp_path: Path) -> None:
    from chainrule.data.sources import load_dataset
    from chainrule.retrieval import Index
    from chainrule.retrieval.making import Source, build_index
    from chainrule.training.config import TrainConfig
    from chainrule.training.task import TrainTask

    TrainTask(TrainConfig(epochs=1, batch_size=64, lr=0.05), tmp_path / "run").run()
    build_index(tmp_path / "run", Source("digits", "test"), tmp_path / "index")
    finder = Retriever(tmp_path / "run").fit(load_dataset("digits").test)
    rows = np.asarray(Index(tmp_path / "index").snapshot.matrix)
    np.testing.assert_allclose(finder.embedding_[:50], rows[:50], atol=1e-5)
    assert finder.labels_ is not None
    assert set(finder.labels_) == set("0123456789")


@pytest.mark.parametrize(
    ("X", "y", "error", "match"),
    [
        (None, None, KindError, "images .N, C, H, W."),
        (3, None, KindError, "a data set"),
        ([np.zeros((1, 32, 32)), np.zeros((1, 28, 28))], None, DataError, "of one shape"),
        (np.zeros((2, 1, 32, 32)), 3, KindError, "y .N,.*one for each"),
        (np.zeros((2, 1, 32, 32)), [[1], [2]], KindError, "y .N,.*one for each"),
    ],
)
def test_what_is_no_input_is_said(X: object, y: object, error: type, match: str) -> None:
    with pytest.raises(error, match=match):
        Retriever(cr.create_model("lenet5")).fit(X, y)


def test_arguments_change_together_or_not_at_all(images: np.ndarray) -> None:
    finder = Retriever(cr.create_model("lenet5")).fit(images)
    with pytest.raises(DataError, match="an argument out of"):
        finder.set_params(n_neighbors=77, neighbours=4)
    assert finder.n_neighbors == 10
    for rate in (-0.1, 1.5, float("nan")):
        with pytest.raises(ShapeError, match="rate from 0 to 1"):
            finder.query(images[0], rate=rate)
    with pytest.raises(DataError, match="names for the network's 10 classes"):
        Retriever(cr.create_model("lenet5"), classes=["a", "b"]).fit(images)


def test_floats_of_64_bits_are_pictures_of_a_run(run: Path, shapes: Path) -> None:
    finder = Retriever(run).fit(shapes)
    picture = shape("disc", 5)
    wanted = finder.transform([picture])
    np.testing.assert_allclose(finder.transform([picture / 255.0]), wanted, atol=2e-3)
    with pytest.raises(DataError, match="from 0 to 1"):
        finder.query(picture * 1.0)


@pytest.mark.parametrize("whiten", [0, 5])
def test_it_says_where_a_likeness_lies(images: np.ndarray, whiten: int) -> None:
    model = cr.create_model("resnet20", in_channels=1)
    finder = Retriever(model, mode="off", whiten=whiten).fit(images)
    hits = finder.query(images[3], 4).hits
    maps = finder.why(images[3], hits)
    assert maps.shape == (4, 32, 32)
    if not whiten:  # of averaged maps the mean is the cosine
        similar = [hit.similarity for hit in hits]
        np.testing.assert_allclose(maps.mean(axis=(1, 2)), similar, atol=5e-3)
