from __future__ import annotations

import importlib
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule.errors import DataError, KindError, ShapeError
from chainrule.inspection import embedding_figure, embeddings, image_figure, image_png, pca, tsne
from tests.inspection.common import photo, small

POINTS = np.random.default_rng(0).normal(size=(30, 8)) * np.arange(1, 9)


def test_embeddings_are_the_models() -> None:
    model = cr.create_model("lenet5").eval()
    images = np.random.default_rng(0).random((5, 1, 32, 32), dtype=np.float32)
    batches = [(images[:3], np.array([2, 0, 1])), (cr.tensor(images[3:]), cr.tensor([1, 1]))]
    told: list[Any] = []
    points, targets = embeddings(model, batches, progress=lambda *step: told.append(step))
    np.testing.assert_allclose(
        points, model.embed(cr.tensor(images)).detach().numpy(), rtol=1e-4, atol=1e-6
    )
    assert targets.tolist() == [2, 0, 1, 1, 1]
    assert told == [(1, 2, {"images": 3.0}), (2, 2, {"images": 5.0})]
    moved, _ = embeddings(model, [images], mean=[0.5], std=[0.5])
    prepared = model.embed(cr.tensor((images - 0.5) / 0.5)).detach().numpy()
    np.testing.assert_allclose(moved, prepared, rtol=1e-4, atol=1e-6)


def test_embeddings_of_a_layer_are_means_of_maps() -> None:
    model = small().eval()
    images = np.stack([photo(seed=s) for s in range(3)])
    points, targets = embeddings(model, (images for _ in range(2)), "conv1")
    expected = model.conv1(cr.tensor(images)).detach().numpy().mean(axis=(2, 3))
    np.testing.assert_allclose(points, np.vstack([expected] * 2), rtol=1e-4, atol=1e-6)
    assert targets.tolist() == [-1] * 6
    assert embeddings(model, [images], "fc")[0].shape == (3, 4)


def test_models_and_walks_without_embeddings() -> None:
    rule = r"a model with embed\(x\); .*; name a layer: flatten, drop, fc"
    with pytest.raises(KindError, match=rule):
        embeddings(small(), [photo()[None]])
    with pytest.raises(DataError, match="at least one image, got none"):
        embeddings(small(), [], "fc")


@pytest.mark.parametrize("components", [1, 2, 5])
def test_pca_is_the_singular_value_decomposition(components: int) -> None:
    centred = POINTS - POINTS.mean(axis=0)
    _, _, directions = np.linalg.svd(centred)
    expected = centred @ directions[:components].T
    found = pca(POINTS, components)
    signs = np.sign((found * expected).sum(axis=0))
    np.testing.assert_allclose(found, expected * signs, rtol=1e-9, atol=1e-9)
    np.testing.assert_array_equal(found, pca(POINTS, components))
    assert (np.diff(found.var(axis=0)) < 0).all()


def test_tsne_repeats_and_keeps_groups_apart() -> None:
    rng = np.random.default_rng(1)
    groups = np.repeat([0, 1], 15)
    points = rng.normal(size=(30, 6)) + 20 * groups[:, None]
    found = tsne(points, perplexity=5, seed=3)
    assert found.shape == (30, 2)
    np.testing.assert_array_equal(found, tsne(points, perplexity=5, seed=3))
    np.testing.assert_array_equal(found, tsne(points, perplexity=5, seed=cr.Generator(3)))
    distances = np.linalg.norm(found[:, None] - found[None], axis=2) + 1e9 * np.eye(30)
    assert (groups[distances.argmin(axis=1)] == groups).all()


def test_points_that_are_none() -> None:
    for function in (pca, tsne):
        with pytest.raises(ShapeError, match=r"points \(N, D\)"):
            function(np.zeros(3))
        with pytest.raises(DataError, match="finite numbers, point 2 has others"):
            function([[0.0, 1], [1, 0], [np.nan, 0]])
    with pytest.raises(ShapeError, match="at most 8 components of 30 points in 8 dimensions"):
        pca(POINTS, 9)
    with pytest.raises(ShapeError, match="perplexity above 0 and below 30, the number of points"):
        tsne(POINTS, perplexity=30)


def test_without_scikit_learn_or_matplotlib(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> Any:
        raise ModuleNotFoundError(name)

    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(DataError, match=r"by scikit-learn, which is not installed; pip install"):
        pca(POINTS)
    with pytest.raises(DataError, match=r"by matplotlib, which is not installed; pip install"):
        image_figure(photo())


def test_a_figure_of_points_has_a_colour_a_class() -> None:
    targets = np.arange(30) % 3 + 1
    figure = embedding_figure(POINTS[:, :2], targets, ["a", "b", "c", "d"], title="points")
    (axes,) = figure.axes
    texts = [text.get_text() for text in figure.legends[0].get_texts()]
    assert texts == ["b (10)", "c (10)", "d (10)"]
    shown = [dots.get_offsets() for dots in axes.collections]
    np.testing.assert_allclose(shown[1], POINTS[targets == 2, :2])
    colours = {tuple(dots.get_facecolor()[0]) for dots in axes.collections}
    assert len(colours) == 3
    assert axes.get_title() == "points"
    many = embedding_figure(POINTS[:, :2], np.arange(30))  # one scale for so many
    assert len(many.axes) == 2


def test_figures_that_do_not_fit() -> None:
    with pytest.raises(ShapeError, match=r"points \(N, 2\)"):
        embedding_figure(POINTS, np.zeros(30, int))
    with pytest.raises(ShapeError, match="a class for each of 30 points"):
        embedding_figure(POINTS[:, :2], [0, 1])
    with pytest.raises(ShapeError, match="a name for class 2"):
        embedding_figure(POINTS[:, :2], np.arange(30) % 3, ["a", "b"])
    with pytest.raises(ShapeError, match=r"an image .* of 1 or 3 channels"):
        image_figure(photo(channels=2))


def test_images_as_figures_and_files() -> None:
    image = photo(9, 13)
    figure = image_figure(image, title="spots")
    shown = figure.axes[0].images[0].get_array()
    np.testing.assert_allclose(shown, image.transpose(1, 2, 0), atol=1e-6)
    pillow = importlib.import_module("PIL.Image")
    io = importlib.import_module("io")
    for x in (image, image[:1], cr.tensor(image)):
        read = np.asarray(pillow.open(io.BytesIO(image_png(x))))
        wanted = np.asarray(x.detach().numpy() if isinstance(x, cr.Tensor) else x).transpose(
            1, 2, 0
        )
        np.testing.assert_allclose(read.reshape(wanted.shape) / 255, wanted, atol=0.5 / 255 + 1e-6)
    assert pillow.open(io.BytesIO(image_png(image * 9 - 4))).size == (13, 9)


def test_embeddings_are_those_of_use() -> None:
    class Dropping(cr.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.drop = cr.nn.Dropout(0.5)

        def embed(self, x: cr.Tensor) -> cr.Tensor:
            return self.drop(x.flatten(1))

    model, image = Dropping(), photo()
    points, _ = embeddings(model, [image[None]])
    np.testing.assert_array_equal(points[0], image.ravel())
    assert model.training
    assert model.drop.training


def test_tsne_draws_its_beginning_from_the_seed_where_components_are_missing() -> None:
    points = POINTS[:12, :1]
    first = tsne(points, perplexity=3, seed=1)
    np.testing.assert_array_equal(first, tsne(points, perplexity=3, seed=1))
    assert (first != tsne(points, perplexity=3, seed=2)).any()
