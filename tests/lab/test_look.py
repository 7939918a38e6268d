"""The page Look, asked without a browser: its numbers, its figures, its refusals."""

from __future__ import annotations

import html
import io
import re
import time
from pathlib import Path

import numpy as np
import pytest
from flask.testing import FlaskClient
from PIL import Image

import chainrule as cr
from chainrule.inspection.figures import figure_png
from chainrule.inspection.grad_cam import grad_cam
from chainrule.inspection.gradients import saliency
from chainrule.inspection.looking import Look
from chainrule.inspection.methods import METHODS, look
from chainrule.lab import looks
from chainrule.lab.background import Drawing
from chainrule.lab.looks import SIGHTS, Question, answer_of, twin
from chainrule.lab.pictures import Pictures
from chainrule.lab.settings import Settings
from chainrule.lab.subjects import Subject, Subjects
from chainrule.training.using import Predictor
from tests.lab.conftest import Ask

RUN = "/look?net=run:small"


@pytest.fixture(scope="module")
def subject(runs: Path) -> Subject:
    return Subjects(Settings(runs)).get("run:small")


def seen(subject: Subject, picture: str = "test-0") -> np.ndarray:
    return subject.seen(picture, Pictures(Path("nowhere")))


def part(ask: Ask, method: str, rest: str = "", net: str = "run:small") -> str:
    """Ask for a method's part until it is done."""
    for _ in range(600):
        text = ask(f"/look/part/{method}?net={net}{rest}")
        if "data-done" in text:
            return html.unescape(text)
        time.sleep(0.1)
    pytest.fail(text)


def png(client: FlaskClient, method: str, rest: str = "") -> bytes:
    answer = client.get(f"/look/{method}.png?net=run:small{rest}")
    assert answer.status_code == 200, answer.text
    assert answer.mimetype == "image/png"
    return answer.data


def test_every_method_is_shown_with_words_and_a_file(ask: Ask, client: FlaskClient) -> None:
    page = ask(RUN)
    for name, sight in SIGHTS.items():
        assert f'<h3 id="sight-{name}">{sight.title}</h3>' in page
        assert html.escape(sight.tells, quote=False).replace("'", "&#39;") in page
        text = part(ask, name)
        (src,) = re.findall(r'<img src="([^"]+)"', text)
        assert src.startswith(f"/look/{name}.png?")
        assert f'<a href="{src}" download>' in text
        (alt,) = re.findall(r'alt="([^"]+)"', text)
        assert alt.startswith(f"{sight.title}: ")
        answer = client.get(html.unescape(src))
        assert f"run_small-test-0-{name}.png" in answer.headers["Content-Disposition"]
        with Image.open(io.BytesIO(answer.data)) as image:
            width, height = image.size
            assert f'width="{width}" height="{height}"' in text
    # the next visit has them at once
    assert "data-refresh" not in ask(RUN)


@pytest.mark.parametrize("name", [name for name in SIGHTS if name != "activation-maximization"])
def test_figures_are_the_library_s(client: FlaskClient, subject: Subject, name: str) -> None:
    at = Look(subject.member.model, subject.classes, seen(subject), None, 7)
    assert png(client, name, "&target=7") == figure_png(look(name, at))


def test_a_layer_and_a_unit(ask: Ask, client: FlaskClient, subject: Subject) -> None:
    at = Look(subject.member.model, subject.classes, seen(subject), "conv2", 5)
    rest = "&layer=conv2&unit=5"
    for name in ("saliency", "deconvnet", "guided-backprop"):
        assert png(client, name, rest) == figure_png(look(name, at))
        assert "unit 5 of layer 'conv2'" in part(ask, name, rest)
    assert "layer 'conv2': unit 5" in part(ask, "activation-maximization", rest)
    # without a unit it is the one that is strongest in this picture
    maps = saliency(subject.member.model, seen(subject), None, layer="conv2")
    answer = answer_of(subject, seen(subject))
    best = answer.layers["conv2"].strongest
    assert (maps == saliency(subject.member.model, seen(subject), best, layer="conv2")).all()
    for name in ("saliency", "activation-maximization"):
        assert f"unit {best}" in part(ask, name, "&layer=conv2")
    # Grad-CAM asks about the class there; the others know no layer
    assert "of layer 'conv1': '7'" in part(ask, "grad-cam", "&layer=conv1&target=7&unit=2")
    assert png(client, "occlusion", "&target=7" + rest) == png(client, "occlusion", "&target=7")


def test_the_answer_is_the_network_s(ask: Ask, runs: Path, tmp_path: Path) -> None:
    picture = tmp_path / "four.png"
    pixels = np.full((40, 40), 255, np.uint8)
    pixels[5:35, 18:22] = pixels[18:22, 8:32] = 0
    Image.fromarray(pixels).save(picture)
    p = Predictor(runs / "small").probabilities(picture)
    name = Pictures(runs / ".lab" / "pictures").add(picture.read_bytes(), "four.png")
    page = " ".join(ask(f"{RUN}&picture={name}").split())
    for k in np.argsort(-p)[:3]:
        assert f"<strong>{k}</strong> ({100 * p[k]:.2f} %)" in page
    assert "The picture shows" not in page
    assert "The picture shows <strong>3</strong>." in ask(RUN)
    assert f'id="tile-{name}" aria-current="true"' in page
    assert "yours" in page


def test_layers_are_those_that_ran(ask: Ask, subject: Subject) -> None:
    options = dict(re.findall(r'<option value="([a-z]\w*)">(\w+: [^<]+)</option>', ask(RUN)))
    with cr.inspection.watching(subject.member.model, list(options)) as found:
        subject.member.scores(seen(subject))
    assert {"conv1", "conv2", "fc1"} <= set(options)
    for name, words in options.items():
        assert words.endswith(", " + " x ".join(map(str, found[name].shape[1:])))


def test_methods_are_ticked(ask: Ask) -> None:
    page = ask(f"{RUN}&method=saliency&method=occlusion&method=none")
    assert re.findall(r'<h3 id="sight-([\w-]+)">', page) == ["saliency", "occlusion"]
    assert len(re.findall(r" checked>", page)) == 2
    # links keep the choice
    assert "picture=test-3&amp;method=saliency&amp;method=occlusion&amp;method=none" in page
    assert "No method is ticked" in ask(f"{RUN}&method=none")
    assert len(re.findall(r" checked>", ask(RUN))) == len(SIGHTS)


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("net=run:absent", "there is no such run"),
        ("net=model:absent", "absent"),
        ("net=nothing", "there is no such run"),
        ("net=run:../../etc", "there is no such run"),
        ("net=run:small&picture=test-99999", "the test part has"),
        ("net=run:small&picture=../../x", "this picture is not here"),
        ("net=run:small&picture=<script>", "this picture is not here"),
        ("net=run:small&layer=conv9", "this network has no layer 'conv9'"),
        ("net=run:small&layer=<b>", "this network has no layer '<b>'"),
        ("net=run:small&layer=conv1&unit=6", "layer 'conv1' has units 0 to 5; got 6"),
        ("net=run:small&layer=conv1&unit=-1", "expected a whole number from 0"),
        ("net=run:small&layer=conv1&unit=1e9", "expected a whole number from 0"),
        ("net=run:small&layer=conv1&unit=" + "9" * 3000, "expected a whole number from 0"),
        ("net=run:small&layer=conv1&unit=" + "9" * 5000, "expected at most 4,000 characters"),
        ("net=run:small&target=10", "expected a whole number from 0 to 9; got '10'"),
        ("net=run:small&target=cat", "expected a whole number from 0 to 9; got 'cat'"),
        ("net=run:small&method=magic", "expected one of saliency, deconvnet"),
        ("net=" + "x" * 5000, "expected at most 4,000 characters"),
    ],
)
def test_what_cannot_be_is_told_in_place(
    ask: Ask, client: FlaskClient, query: str, words: str
) -> None:
    page = ask(f"/look?{query}", 400)
    (alert,) = re.findall(r'role="alert">(.*?)</p>', page)
    assert words.lower() in html.unescape(alert).lower()
    assert "<script>" not in page.replace('<script type="module"', "")
    assert "<b>" not in page
    assert '<select id="net" name="net"' in page  # the way on
    assert "<article" not in page
    assert words.lower() in html.unescape(ask(f"/look/part/saliency?{query}")).lower()
    answer = client.get(f"/look/saliency.png?{query}")
    assert answer.status_code == 400
    assert words.lower() in html.unescape(answer.text).lower()


def test_the_form_keeps_what_was_typed(ask: Ask) -> None:
    page = ask(f"{RUN}&layer=conv1&unit=77", 400)
    assert 'value="77"' in page
    assert '<option value="conv1" selected>' in page


def test_a_method_refuses_in_words(ask: Ask, client: FlaskClient) -> None:
    text = part(ask, "grad-cam", "&layer=fc1")
    assert "No figure." in text
    assert "expected a layer that gives maps" in text
    assert "<img" not in text
    answer = client.get("/look/grad-cam.png?net=run:small&layer=fc1")
    assert answer.status_code == 400
    assert "take a convolution" in answer.text
    assert client.get("/look/magic.png?net=run:small").status_code == 404
    assert "there is no such method" in ask("/look/part/magic?net=run:small").lower()


def test_a_map_of_nothing_is_explained(subject: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    def flat(method: str, at: Look) -> object:
        return looks_show(at.picture[0], np.zeros(at.picture.shape[2:]), "nothing")

    looks_show = cr.inspection.show_attribution
    monkeypatch.setattr(looks, "look", flat)
    question = Question(subject, "test-0", seen(subject), 3)
    made = question.maker("grad-cam")(Drawing(None, False, 0, 0, 1e18))
    assert made.note.startswith("the map is 0 everywhere")
    monkeypatch.undo()
    found = grad_cam(subject.member.model, seen(subject), 3)
    made = question.maker("grad-cam")(Drawing(None, False, 0, 0, 1e18))
    assert bool(made.note) == bool((found == 0).all())
    assert not question.maker("saliency")(Drawing(None, False, 0, 0, 1e18)).note


def test_an_untrained_network_says_so(ask: Ask) -> None:
    assert "drawn at random" in ask("/look?net=model:lenet5&method=none")
    assert "drawn at random" not in ask(RUN)


def test_photographs_for_networks_of_photographs(ask: Ask) -> None:
    page = ask("/look?net=model:resnet20&method=none")
    assert "photo-china" in page
    text = part(ask, "activation-maximization", "&target=3", "model:resnet20")
    assert "made for 3" in text.lower()  # without a data set it has the size of the picture


def test_a_twin_shares_the_numbers_and_nothing_else(subject: Subject) -> None:
    model = subject.member.model
    own = twin(subject)
    assert all(a is b for a, b in zip(model.parameters(), own.parameters(), strict=True))
    pairs = zip(model.modules(), own.modules(), strict=True)
    assert not any(a is b for a, b in pairs)
    before = subject.member.scores(seen(subject))
    ran = []
    own.register_forward_hook(lambda *_: ran.append(1))
    assert (subject.member.scores(seen(subject)) == before).all()
    assert not ran


def test_work_on_the_twin_is_counted_and_can_be_given_up(subject: Subject) -> None:
    question = Question(subject, "test-0", seen(subject), 3)
    drawing = Drawing(question.maker("occlusion"), True, 0, 0, 1e18)
    drawing.run()
    assert drawing.done
    assert drawing.runs >= 3
    late = Drawing(question.maker("occlusion"), True, 0, 0, asked=-1e9)
    late.run()
    assert not late.done
    assert late.runs == 1


def test_what_does_not_depend_on_it_is_kept(subject: Subject) -> None:
    x = seen(subject)
    one = Question(subject, "test-0", x, 3, "conv1", 2)
    other = Question(subject, "test-0", x, 3, "conv2", 1)
    same = {name for name in SIGHTS if one.key(name) == other.key(name)}
    assert same == {"integrated-gradients", "occlusion"}
    plain, seven = Question(subject, "test-0", x, 3), Question(subject, "test-0", x, 7)
    assert not [name for name in SIGHTS if plain.key(name) == seven.key(name)]
    elsewhere = Question(subject, "test-1", x, 3)
    assert [n for n in SIGHTS if plain.key(n) == elsewhere.key(n)] == ["activation-maximization"]
    assert one.key("saliency") == Question(subject, "test-0", x, 5, "conv1", 2).key("saliency")
    assert set(SIGHTS) <= set(METHODS)
