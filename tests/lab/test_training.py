"""The page Training, asked without a browser: its form, its orders, the numbers that it shows."""

from __future__ import annotations

import csv
import html
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flask.testing import FlaskClient

from chainrule.data.digits import load_digits
from chainrule.engine.random import Generator
from chainrule.lab import Settings, create_app
from chainrule.lab.mistakes import Found, Mistakes
from chainrule.lab.runs import Runs
from chainrule.lab.workshop import Workshop
from chainrule.training.using import Member
from tests.lab.training import ended, until, workers


@pytest.fixture
def shop(runs: Path, tmp_path: Path) -> Iterator[Workshop]:
    """A lab whose folder may be written to, with one run, `small`."""
    shutil.copytree(runs / "small", tmp_path / "runs" / "small")
    shop: Workshop = create_app(Settings(tmp_path / "runs")).extensions["chainrule"]
    yield shop
    shop.close()
    assert not workers()


@pytest.fixture
def page(shop: Workshop, monkeypatch: pytest.MonkeyPatch) -> FlaskClient:
    app = create_app(shop.settings)
    app.extensions["chainrule"] = shop
    return app.test_client()


def number(text: str) -> str:
    found = re.search(r'name="once" value="([^"]+)"', text)
    assert found
    return found[1]


def send(page: FlaskClient, **values: str) -> Any:
    once = values.pop("once", None) or number(page.get("/training").text)
    form = {"once": once, "recipe": "", "model": "lenet5", "data": "digits", "epochs": "2"}
    return page.post("/training/start", data={**form, **values})


CELL = r"<t[hd].*?</t[hd]>"


def cells(text: str) -> list[list[str]]:
    """Give the table's rows."""
    rows = re.findall(r"<tr>(.*?)</tr>", text, re.S)
    return [
        [html.unescape(re.sub(r"<.*?>", "", cell)).strip() for cell in re.findall(CELL, row)]
        for row in rows
    ]


def test_the_form_has_the_recipe_s_choices(page: FlaskClient) -> None:
    text = page.get("/training").text
    for name, value in [("lr", "0.02"), ("epochs", "30"), ("batch_size", "32")]:
        assert re.search(rf'name="{name}" value="{re.escape(value)}"', text), name
    text = page.get("/training?recipe=resnet-cifar").text
    assert re.search(r'name="epochs" value="164"', text)
    assert "<option selected>resnet20</option>" in text
    assert "<option selected>cifar10</option>" in text


def test_an_address_fills_the_form_in(page: FlaskClient) -> None:
    text = page.get("/training?lr=0.5&model=resnet20&name=mine&pattern=%3Cb%3E").text
    assert 'name="lr" value="0.5"' in text
    assert 'name="name" value="mine"' in text
    assert 'value="&lt;b&gt;"' in text
    assert "<option selected>resnet20</option>" in text


@pytest.mark.parametrize(
    "query",
    ["recipe=none", "recipe=../../x", "run=nobody", "run=../small", "run=%00", "lr=" + "9" * 5000],
)
def test_odd_addresses_are_refused_with_the_form(page: FlaskClient, query: str) -> None:
    answer = page.get(f"/training?{query}")
    assert answer.status_code == 400
    assert 'role="alert"' in answer.text
    assert 'id="begin-button"' in answer.text


@pytest.mark.parametrize("query", ["run=small&epoch=9", "model=&data=", "lr=nan", "run=", "x=1"])
def test_odd_addresses_that_mean_nothing(page: FlaskClient, query: str) -> None:
    assert page.get(f"/training?{query}").status_code == 200


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("lr", "fast", "Learning rate: expected a number; got &#39;fast&#39;"),
        ("epochs", "0", "expected epochs of at least 1"),
        ("model", "<script>", "&lt;script&gt;"),
        ("path", "/no where", "expected a folder or a file that is there"),
        ("name", "../out", "Name: expected letters, digits, spaces"),
        ("name", "small", "expected the name of a run that is not there yet"),
        ("once", "0123-4567", "This form is of another start of the lab"),
        ("recipe", "magic", "Recipe: expected one of"),
    ],
)
def test_wrong_choices_are_refused_in_place(
    page: FlaskClient, shop: Workshop, field: str, value: str, words: str
) -> None:
    answer = send(page, **{field: value, "seed": "77"})
    assert answer.status_code == 400
    assert words in answer.text
    assert 'name="seed" value="77"' in answer.text, "what was typed stays"
    assert "<script>" not in answer.text
    assert not workers()
    assert [path.name for path in shop.settings.folder.iterdir()] == ["small"]


def test_from_the_form_to_the_result(page: FlaskClient, shop: Workshop) -> None:
    once = number(page.get("/training").text)
    answer = send(page, once=once, name="my first run", seed="3")
    assert answer.status_code == 303
    assert answer.headers["Location"] == "/training?run=my+first+run"
    job = shop.jobs.get("my first run")
    assert job is not None
    again = send(page, once=once, name="my first run", seed="3")
    assert again.headers["Location"] == answer.headers["Location"], "the same form again"
    changed = send(page, once=once, seed="4")
    assert changed.status_code == 400
    assert "This form has begun the run my first run" in changed.text
    other = send(page, name="second")
    assert other.status_code == 400
    assert "One training runs at a time" in other.text
    assert 'href="/training?run=my+first+run"' in other.text
    text = page.get("/training?run=my+first+run").text
    assert 'id="do-pause"' in text
    ended(job)
    text = page.get("/training?run=my+first+run").text
    assert "Finished after 2 epochs. Of the test images" in text
    assert 'id="do-pause"' not in text
    assert "chainrule train lenet5 --epochs=2 --seed=3" in html.unescape(text)
    with open(job.path / "metrics.csv") as file:
        rows = list(csv.DictReader(file))
    shown = cells(page.get("/training/part/epochs?run=my+first+run").text)
    assert shown[0] == ["Epoch", "Rate", "Loss", "Accuracy", "Test loss", "Test accuracy"]
    assert [row[0] for row in shown[1:]] == ["2", "1"], "the last one first"
    assert shown[1][2] == f"{float(rows[1]['train_loss']):.4g}"
    assert shown[1][5] == f"{100 * float(rows[1]['test_accuracy']):.2f} %"
    data = page.get("/training/curves?run=my+first+run").json
    assert data is not None
    assert [row["test_accuracy"] for row in data["rows"]] == [
        float(row["test_accuracy"]) for row in rows
    ]
    assert len(data["live"]) == len((job.path / "live.jsonl").read_text().splitlines())
    assert page.get(f"/training/curves?run=my+first+run&seen={data['tag']}").status_code == 204


def test_orders_from_two_tabs(page: FlaskClient, shop: Workshop) -> None:
    send(page, name="run", epochs="200")
    job = shop.jobs.get("run")
    assert job is not None

    def order(do: str, **more: str) -> Any:
        return page.post("/training/order", data={"run": "run", "do": do, **more})

    assert order("pause").status_code == 303
    until(lambda: job.state == "paused")
    for part in ("controls", "status"):
        assert page.get(f"/training/part/{part}?run=run").status_code == 200
    assert "Paused: nothing is lost" in page.get("/training/part/controls?run=run").text
    assert order("pause").status_code == 303, "again, from another tab"
    assert order("rate", peak="0.5").status_code == 303
    assert job.peak == 0.5
    wrong = order("rate", peak="<b>1</b>")
    assert wrong.status_code == 400
    assert "Rate: expected a number above 0" in wrong.text
    assert 'value="&lt;b&gt;1&lt;/b&gt;"' in wrong.text, "it is still in its field"
    assert order("dance").status_code == 400
    assert order("").status_code == 400
    assert job.state == "paused"
    assert order("stop").status_code == 303
    ended(job)
    late = order("pause")
    assert late.status_code == 400
    assert "is not being trained (any more)" in late.text
    text = page.get("/training?run=run").text
    assert "It can go on after step 1," in text
    assert 'id="resume"' in text
    assert "Changes of the rate&#39;s peak: 0.5 after step 1" in text or "0.5 after step 1" in text
    answer = page.post("/training/resume", data={"run": "run", "peak": "much"})
    assert answer.status_code == 400
    assert page.post("/training/resume", data={"run": "run", "peak": "0.01"}).status_code == 303
    (worker,) = workers()
    assert page.post("/training/resume", data={"run": "run"}).status_code == 303, "twice"
    assert workers() == [worker]


@pytest.mark.parametrize("run", ["small", "nobody", "", "../x", "<b>"])
def test_what_cannot_be_ordered_or_resumed(page: FlaskClient, run: str) -> None:
    for path in ("/training/order", "/training/resume"):
        answer = page.post(path, data={"run": run, "do": "pause"})
        assert answer.status_code == 400
        assert 'role="alert"' in answer.text
        assert "<b>" not in answer.text
    assert not workers()


def test_a_failed_start_is_told_and_can_be_changed(page: FlaskClient, shop: Workshop) -> None:
    path = shop.settings.folder.parent / "my data"
    path.mkdir()
    answer = send(page, path=str(path), name="run", lr="0.125")
    assert answer.status_code == 303
    job = shop.jobs.get("run")
    assert job is not None
    ended(job)
    text = page.get("/training?run=run").text
    assert "Failed: " in text
    assert html.escape(str(path)) in text
    again = re.search(r'href="(/training\?[^"]+)">Start another one', text)
    assert again
    form = page.get(html.unescape(again[1])).text
    assert f'name="path" value="{path}"' in form
    assert 'name="lr" value="0.125"' in form
    assert send(page, name="run").status_code == 303, "the name is free again"


def test_the_output_s_end_is_shown(page: FlaskClient, shop: Workshop) -> None:
    run = shop.settings.folder / "small"
    config = json.loads((run / "config.json").read_text())
    config["train"]["epochs"] = 9
    (run / "config.json").write_text(json.dumps(config))
    (run / "failure.txt").write_text("the disk was full\n<its last> words\n")
    text = page.get("/training?run=small").text
    assert "Failed: the disk was full." in text
    assert "&lt;its last&gt; words" in text
    assert "stopped" not in page.get("/training/part/runs").text.lower()


def test_health_as_it_was_measured(page: FlaskClient, shop: Workshop) -> None:
    run = shop.settings.folder / "small"
    (run / "health.csv").write_text(
        "step,layer,measure,value\n1,conv1,dead,0.5\n31,,loss,2.0\n31,conv1,dead,0.625\n"
        "31,conv1,activation_rms,1.5\n31,conv1.weight,gradient_rms,0.0012\n31,conv1.bias,gradient_rms,7\n"
        "31,<b>,saturated,1\n"
    )
    (run / "health.txt").write_text("epoch 1, step 31, dead-relu [conv1]: Half of <them>.\n")
    text = page.get("/training/part/health?run=small").text
    assert "dead-relu [conv1]: Half of &lt;them&gt;." in text
    assert "Layers in step 31" in text
    assert cells(text)[1:] == [
        ["conv1", "1.5e+00", "62.5 %", "", "1.2e-03"],
        ["<b>", "", "", "100.0 %", ""],
    ]


def test_images_that_it_gets_wrong(page: FlaskClient, shop: Workshop) -> None:
    text = page.get("/training/part/mistakes?run=small").text
    until(lambda: "are taken for another" in page.get("/training/part/mistakes?run=small").text)
    text = page.get("/training/part/mistakes?run=small").text
    test = load_digits().test
    member = Member.load(shop.settings.folder / "small")
    images, labels = test[:]
    p = member.probabilities(member.scores(member.transforms(np.asarray(images), Generator(0))))
    wrong = np.flatnonzero(p.argmax(axis=1) != labels)
    assert len(wrong) > 3, "one epoch is not enough to be right"
    assert f"{len(wrong)} of {len(labels)} test images are taken for another class" in text
    worst = sorted(wrong, key=lambda n: float(p[n, labels[n]]))
    links = re.findall(r"picture=test-(\d+)", text)
    assert [int(n) for n in links] == [int(n) for n in worst[:24]]
    first = worst[0]
    assert f"{labels[first]}, taken for {p[first].argmax()}<br>" in text
    assert f"{100 * p[first].max():.1f} %, true {100 * p[first, labels[first]]:.1f} %" in text
    assert f'href="/network?net=run:small&amp;picture=test-{first}"' in text


def test_mistakes_of_what_cannot_be_loaded(runs: Path, tmp_path: Path) -> None:
    shutil.copytree(runs / "small", tmp_path / "small")
    (tmp_path / "small" / "weights.safetensors").write_bytes(b"damaged")
    mistakes, run = Mistakes(), Runs(Settings(tmp_path)).get("small")
    until(lambda: mistakes.newest(run))
    found = mistakes.newest(run)
    assert isinstance(found, Found)
    assert "weights.safetensors" in found.problem


def test_plotly_is_served_from_its_package(page: FlaskClient) -> None:
    text = page.get("/training?run=small").text
    address = re.search(r'data-plotly="([^"]+)"', text)
    assert address
    answer = page.get(html.unescape(address[1]))
    assert answer.status_code == 200
    assert answer.mimetype == "text/javascript"
    assert len(answer.data) > 1_000_000
    assert "public, max-age=31536000" in answer.headers["Cache-Control"]
    answer.close()
    assert "plotly" not in page.get("/circuit").text


@pytest.mark.parametrize("part", ["nothing", "../x", "<b>"])
def test_parts_that_there_are_not(page: FlaskClient, part: str) -> None:
    answer = page.get(f"/training/part/{part}?run=small")
    assert answer.status_code in (400, 404)
    assert "<b>" not in answer.text
