"""`chainrule look`: pictures of what a run's network looks at."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from chainrule.cli import look as looked
from chainrule.data.mnist import load_mnist
from chainrule.data.transforms import Normalize
from chainrule.inspection.looking import Use
from chainrule.inspection.methods import METHODS
from chainrule.inspection.methods import look as draw
from chainrule.training.config import TrainConfig
from chainrule.training.task import TrainTask
from chainrule.training.using import Member
from tests.cli.running import Run, fails

PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture
def trained(small_set: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Train LeNet-5 for a step or two, write one image beside it, and go there."""
    config = TrainConfig("lenet5", "mnist", small_set, epochs=1, batch_size=16, lr=0.01)
    TrainTask(config, tmp_path / "run").run()
    Image.fromarray(load_mnist(small_set).test.images[0, 0]).save(tmp_path / "digit.png")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", METHODS)
def test_every_method(run: Run, trained: Path, name: str) -> None:
    pytest.importorskip("matplotlib", reason="figures are in the demo extra")
    method = METHODS[name]
    image = [] if method.image is Use.NO else ["digit.png"]
    layer = ["--layer", "conv2"] if method.layer is Use.MUST else []
    style = ["--style", "digit.png"] if method.style is Use.MUST else []
    answer = run("look", name, "run", *image, *layer, *style)
    assert answer.code == 0, answer
    file = f"{'digit' if image else 'run'}-{name}.png"
    assert answer.out.splitlines()[-1] == f"saved in {file}"
    assert answer.out.startswith("digit.png: ") == bool(image)
    sized = run("look", name, "run", *image, *layer, *style, "--size", 32, "-o", "x.png")
    words = "32x32; leave it out" if method.painted else f"{name} paints on no picture"
    fails(sized, 1, "--size: ", words)
    with Image.open(trained / file) as picture:
        assert min(picture.size) > 100
        assert len(picture.convert("L").getcolors()) > 10
    if method.style is Use.MUST:
        fails(run("look", name, "run", *image, "-o", "x.png"), 1, "needs a second picture")
    if method.layer is Use.MUST:
        fails(run("look", name, "run", *image, *style, "-o", "x.png"), 1, "needs a layer")


def test_a_picture_is_painted_on_in_its_own_size(
    run: Run, trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("matplotlib", reason="figures are in the demo extra")
    rng = np.random.default_rng(0)
    for k in range(12):
        folder = trained / "data" / "ab"[k % 2]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (32, 32, 3), np.uint8)).save(folder / f"{k}.png")
    config = TrainConfig("resnet20", str(trained / "data"), epochs=1, batch_size=4)
    TrainTask(config, trained / "colour").run()
    Image.fromarray(rng.integers(0, 256, (60, 90, 3), np.uint8)).save("photo.png")
    seen = []
    monkeypatch.setattr(looked, "draw", lambda name, at: (seen.append(at), draw(name, at))[1])
    answer = run("look", "deep-dream", "colour", "photo.png", "--layer", "layer1", "--size", 45)
    assert answer.code == 0, answer
    assert seen[0].photo.shape == (3, 30, 45)
    (scale,) = [
        part
        for part in Member.load(trained / "colour").transforms.transforms
        if isinstance(part, Normalize)
    ]
    np.testing.assert_allclose(seen[0].mean, scale.mean, rtol=1e-6)
    np.testing.assert_allclose(seen[0].std, scale.std, rtol=1e-6)
    undone = seen[0].plain(seen[0].picture)[0]
    np.testing.assert_allclose(undone.mean(), 0.5, atol=0.05)
    small = run("look", "deep-dream", "colour", "photo.png", "--layer", "layer1", "-o", "b.png")
    assert small.code == 0, small
    assert seen[1].photo.shape == (3, 60, 90)


def test_layers_and_targets(run: Run, trained: Path) -> None:
    pytest.importorskip("matplotlib", reason="figures are in the demo extra")
    first = run("look", "grad-cam", "run", "digit.png", "--layer", "conv1", "--out", "a.png")
    assert first.out.endswith("saved in a.png\n")
    options = ["--layer", "conv1", "--target", "7", "--out", "a.png"]
    fails(run("look", "grad-cam", "run", "digit.png", *options), 1, "a.png: already there")
    again = run("look", "grad-cam", "run", "digit.png", *options, "--overwrite")
    assert again.code == 0
    channel = run("look", "deconvnet", "run", "digit.png", "--layer", "conv1", "--target", "5")
    assert channel.code == 0
    assert (trained / "digit-deconvnet.png").read_bytes().startswith(PNG)


def test_errors_say_what_there_is(run: Run, trained: Path) -> None:
    saliency = ("look", "saliency", "run", "digit.png")
    (trained / "folder.png").mkdir()
    fails(run("look", "salency", "run", "digit.png"), 1, "among saliency,", "mean 'saliency'?")
    fails(run("look", "saliency", "absent", "digit.png"), 1, "absent: no such folder")
    fails(run("look", "saliency", "run", "absent.png"), 1, "absent.png: no such file")
    fails(run("look", "saliency", "run"), 1, "saliency needs an image")
    fails(run(*saliency, "--layer", "conv9"), 1, "no layer 'conv9'; it has conv3, conv2, conv1")
    fails(run(*saliency, "--target", "cat"), 1, "no class 'cat'; there are 0, 1, 2, 3")
    fails(run(*saliency, "--target", "11"), 1, "no class '11'; there are 0, 1, 2, 3")
    fails(run(*saliency, "--layer", "conv1", "--target", "x"), 1, "a channel's number; got 'x'")
    fails(run(*saliency, "--layer", "conv1", "--target", "6"), 1, "a target from 0 to 5")
    fails(run("look", "occlusion", "run", "digit.png", "--layer", "fc1"), 1, "takes no layer")
    fails(run("look", "grad-cam", "run", "digit.png", "--layer", "fc1"), 1, "take a convolution")
    fails(run(*saliency, "--out", "folder.png"), 1, "this is a folder")
    assert not list(trained.glob("digit-*.png"))


def test_the_file_is_looked_at_before_the_network(
    run: Run, trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("matplotlib", reason="figures are in the demo extra")

    def load(*given: object, **options: object) -> None:
        raise AssertionError("worked before it looked")

    saliency = ("look", "saliency", "run", "digit.png")
    with monkeypatch.context() as patched:
        patched.setattr(looked, "Predictor", load)
        fails(run(*saliency, "--out", "x.txt"), 1, "a file that ends in one of png, svg", "x.txt")
        fails(run(*saliency, "--out", "plain"), 1, "a file that ends in one of png, svg")
        fails(run(*saliency, "--out", "no/x.png"), 1, "there is no folder 'no'")
    for name, begin in (("x.svg", b"<?xml"), ("x.pdf", b"%PDF"), ("x.jpg", b"\xff\xd8")):
        assert run(*saliency, "--out", name).code == 0
        assert (trained / name).read_bytes().startswith(begin)


@pytest.mark.parametrize("name", ["class-image", "activation-maximization"])
def test_images_are_made_from_the_picture_on(
    run: Run, trained: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    pytest.importorskip("matplotlib", reason="figures are in the demo extra")
    figures: list[Any] = []
    monkeypatch.setattr(looked, "draw", lambda *given: figures.append(draw(*given)) or figures[-1])
    more = ["--target", 3, *(["--layer", "conv1"] if METHODS[name].layer is Use.MUST else [])]
    for image in (["digit.png"], []):
        answer = run("look", name, "run", *image, *more, "--overwrite")
        assert answer.code == 0, answer
    titles = [figure.axes[0].get_title() for figure in figures]
    begun = ["begun with the picture" in " ".join(title.split()) for title in titles]
    assert begun == [True, False]
    given, plain = (np.asarray(figure.axes[0].get_images()[0].get_array()) for figure in figures)
    assert given.shape == plain.shape == (32, 32)
    assert np.abs(given - plain).mean() > 0.005  # equal, if the picture were not used


def test_samples_for_methods_that_want_many_images(trained: Path, small_set: str) -> None:
    member = Member.load(trained / "run")
    images, labels = member.samples(4)
    test = load_mnist(small_set).test
    assert images.shape == (4, 1, 32, 32)
    assert labels.tolist() == test.labels[:4].tolist()
    assert len(member.samples(1000)[0]) == len(test)
