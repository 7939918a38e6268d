"""Runs in use: ensembles against means by hand, views, other tasks, auxiliary classifiers."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import chainrule as cr
from chainrule.data import ArrayDataset, DataLoader, load_mnist
from chainrule.data.transforms import parse_transforms
from chainrule.errors import CheckpointError, DataError, ShapeError
from chainrule.nn import Flatten, Linear, Sequential
from chainrule.training import (
    Objective,
    Predictor,
    RunFolder,
    TrainConfig,
    TrainTask,
    check_network,
    evaluate_runs,
)
from chainrule.training.pipeline import with_views
from chainrule.training.using import answers


@pytest.fixture
def runs(small_config: TrainConfig, tmp_path: Path) -> list[Path]:
    folders = [tmp_path / name for name in "abc"]
    for seed, folder in enumerate(folders):
        TrainTask(replace(small_config, seed=seed, epochs=1), folder).run()
    return folders


def by_hand(run: Path, small_set: str) -> np.ndarray:
    """Probabilities of the test images, without the code under test."""
    x = load_mnist(small_set).test.images
    config = RunFolder(run).read_config()
    model = RunFolder(run).load_model()
    with cr.no_grad():
        scores = model(cr.tensor(config.transforms.eval()(x))).numpy().astype(np.float64)
    e = np.exp(scores - scores.max(1, keepdims=True))
    return np.asarray(e / e.sum(1, keepdims=True))


def test_an_ensemble_is_the_mean_of_its_members(runs: list[Path], small_set: str) -> None:
    found = evaluate_runs(runs)
    labels = load_mnist(small_set).test.labels
    each = [by_hand(run, small_set) for run in runs]
    mean = np.mean(each, axis=0)
    assert found.together.accuracy == (mean.argmax(1) == labels).mean()
    assert found.together.loss == pytest.approx(-np.log(mean[np.arange(10), labels]).mean())
    for alone, p in zip(found.alone, each, strict=True):
        assert alone.accuracy == (p.argmax(1) == labels).mean()


def test_runs_of_other_classes_do_not_answer_together(runs: list[Path]) -> None:
    text = (runs[1] / "config.json").read_text().replace('    "9"\n', '    "9",\n    "10"\n')
    (runs[1] / "config.json").write_text(text)
    with pytest.raises(CheckpointError):
        evaluate_runs(runs)


def test_views_are_averaged(runs: list[Path], small_set: str, tmp_path: Path) -> None:
    picture = tmp_path / "p.png"
    Image.fromarray(load_mnist(small_set).test.images[0, 0]).save(picture)
    one, ten = Predictor(runs[0]), Predictor(runs[0], views="ten")
    member = ten.members[0]
    x = member.transforms(ten.pixels(picture, "light"), cr.Generator(0))
    assert x.shape == (1, 10, 1, 32, 32)
    each = [member.probabilities(member.scores(x[:, v]))[0] for v in range(10)]
    np.testing.assert_allclose(ten.probabilities(picture, "light"), np.mean(each, 0), rtol=1e-6)
    centre = one.members[0].transforms(one.pixels(picture, "light"), cr.Generator(0))
    np.testing.assert_array_equal(centre[0], x[0, 4])  # the middle crop is the picture as it is


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (["Resize(256)", "RandomCrop(227)"], "[Resize(size=256), TenCrop(size=227)]"),
        (["RandomCrop(32, padding=4)"], "[Pad(padding=4), TenCrop(size=32)]"),
        (["RandomResizedCrop(224)"], "[Resize(size=256), TenCrop(size=224)]"),
        (["CenterCrop(8)", "Normalize()"], "[TenCrop(size=8), Normalize()]"),
    ],
)
def test_the_last_crop_becomes_several(texts: list[str], expected: str) -> None:
    assert repr(with_views(parse_transforms(texts), "ten")) == f"Compose({expected})"


def test_views_without_a_crop() -> None:
    with pytest.raises(DataError, match="expected transforms with a crop"):
        with_views(parse_transforms(["Normalize()"]), "five")
    with pytest.raises(DataError, match="center, five, ten"):
        with_views(parse_transforms(["CenterCrop(8)"]), "all")


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Thirty pictures, red or blue, bright or dark."""
    rng = np.random.default_rng(0)
    rows = []
    for k in range(30):
        red, bright = k % 2, (k // 2) % 2
        pixels = rng.integers(0, 40, (12, 12, 3)) + 60 + 100 * bright
        pixels[..., 0 if red else 2] += 50
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(tmp_path / f"{k}.png")
        labels = "|".join(["red" if red else "blue"] + ["bright"] * bright)
        rows.append([f"{k}.png", labels, f"{pixels.mean() / 255:.4f}"])
    for name, column in (("labels", 1), ("brightness", 2)):
        with open(tmp_path / f"{name}.csv", "w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["path", "labels" if column == 1 else "brightness"])
            writer.writerows([row[0], row[column]] for row in rows)
    return tmp_path


@pytest.mark.parametrize(
    ("name", "task", "metric"),
    [("labels", "multilabel", "exact_match"), ("brightness", "regression", "mae")],
)
def test_other_tasks_from_files_to_answers(
    pictures: Path, small_model: str, name: str, task: str, metric: str
) -> None:
    config = TrainConfig(
        small_model, str(pictures / f"{name}.csv"), epochs=12, batch_size=8, lr=1e-3,
        transforms=("Resize(32)", "Normalize()"), optimizer="adam",
    )  # fmt: skip
    run = pictures / "run"
    rows = TrainTask(config, run).run()
    assert rows[-1].train_loss < rows[0].train_loss
    row = rows[-1].to_dict()
    assert f"test_{metric}" in row
    assert f"train_{metric}" in row
    assert RunFolder(run).read_config().task == task
    result = evaluate_runs([run]).together
    assert result.loss == pytest.approx(row["test_loss"], rel=1e-5)
    p = Predictor(run).probabilities(pictures / "3.png")
    assert p.shape == (len(RunFolder(run).read_config().classes),)
    if task == "multilabel":
        assert ((p >= 0) & (p <= 1)).all()


def test_pictures_from_outside_are_brought_to_the_sets_frame(
    small_model: str, tmp_path: Path
) -> None:
    """A network of 32x32 images sees a photograph as a whole, not its middle 32 pixels."""
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 256, (24, 3, 32, 32), np.uint8), np.arange(24) % 2
    np.savez(tmp_path / "set.npz", images=x, labels=y)
    config = TrainConfig(small_model, str(tmp_path / "set.npz"), epochs=1, batch_size=8, lr=1e-3)
    TrainTask(config, tmp_path / "run").run()
    assert RunFolder(tmp_path / "run").read_config().frame == (32, 32)
    predictor = Predictor(tmp_path / "run")
    Image.fromarray(np.moveaxis(x[5], 0, -1)).save(tmp_path / "own.png")
    np.testing.assert_array_equal(predictor.pixels(tmp_path / "own.png")[0], x[5])
    halves = np.zeros((96, 160, 3), np.uint8)  # the left half of the middle 96 columns is white
    halves[:, 32:80] = 255
    Image.fromarray(halves).save(tmp_path / "photo.png")
    seen = predictor.pixels(tmp_path / "photo.png")[0]
    assert seen.shape == (3, 32, 32)
    assert seen[:, :, 1:14].min() > 200
    assert seen[:, :, 18:].max() < 50


def test_auxiliary_classifiers_count_by_their_weight() -> None:
    scores = [cr.tensor(np.random.default_rng(k).standard_normal((4, 3))) for k in range(3)]
    y = np.array([0, 1, 2, 0])
    each = [cr.nn.functional.cross_entropy(s, cr.tensor(y)).item() for s in scores]
    found = Objective(auxiliary=0.3)((scores[0], scores[1], None, scores[2]), y).item()
    assert found == pytest.approx(each[0] + 0.3 * (each[1] + each[2]))


def test_answers_of_each_task() -> None:
    scores = np.array([[0.0, np.log(3.0)]])
    np.testing.assert_allclose(answers(scores, "classification"), [[0.25, 0.75]])
    np.testing.assert_allclose(answers(scores, "multilabel"), [[0.5, 0.75]])
    np.testing.assert_array_equal(answers(scores, "regression"), scores)
    with pytest.raises(ShapeError, match="multilabel loss"):
        Objective("multilabel")(cr.zeros(2, 3), np.zeros((2, 2), np.float32))


def digits(n: int = 40) -> ArrayDataset:
    rng = np.random.default_rng(0)
    return ArrayDataset(rng.standard_normal((n, 1, 2, 2)).astype(np.float32), np.arange(n) % 4, 4)


def test_checks_find_what_they_look_for() -> None:
    data, none = digits(), parse_transforms([])
    cr.manual_seed(0)
    good = Sequential(Flatten(), Linear(4, 64), cr.nn.ReLU(), Linear(64, 64), cr.nn.ReLU(),
                      Linear(64, 4))  # fmt: skip
    before = {n: v.numpy().copy() for n, v in good.state_dict().items()}
    found = check_network(good, data, none, overfit=True)
    assert [f.ok for f in found] == [True, True, True], found
    for name, value in good.state_dict().items():
        np.testing.assert_array_equal(value.numpy(), before[name])
    shape = check_network(Sequential(Flatten(), Linear(5, 4)), data, none)
    assert [f.ok for f in shape] == [False]
    assert "images of 1 x 2 x 2 do not pass" in shape[0].text
    count = check_network(Sequential(Flatten(), Linear(4, 3)), data, none)
    assert "expected scores of shape (2, 4)" in count[0].text
    loud = Sequential(Flatten(), Linear(4, 4))
    loud[1].weight.detach().numpy()[...] *= 100
    assert "the scores are too large" in check_network(loud, data, none)[1].text
    dead = Sequential(Flatten(), Linear(4, 4))
    dead[1].weight.requires_grad_(False)
    dead[1].weight.detach().numpy()[...] = 0
    heart = check_network(dead, data, none, overfit=True)
    assert not heart[2].ok
    assert "cannot learn even a few images by heart" in heart[2].text
    assert len(DataLoader(data, 4)) == 10


def test_a_picture_of_16_bits_is_read_in_the_depth_of_the_runs_own(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for k in range(12):
        folder = tmp_path / "data" / "ab"[k % 2]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (32, 32), np.uint8)).save(folder / f"{k}.png")
    config = TrainConfig("lenet5", str(tmp_path / "data"), epochs=1, batch_size=4)
    TrainTask(config, tmp_path / "run").run()
    pixels = rng.integers(0, 256, (32, 32), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "8.png")
    Image.fromarray(pixels.astype(np.uint16) * 257).save(tmp_path / "16.png")
    predictor = Predictor(tmp_path / "run")
    found = [predictor.probabilities(tmp_path / f"{bits}.png") for bits in (8, 16)]
    np.testing.assert_array_equal(found[0], found[1])
