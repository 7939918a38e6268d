"""A server that ends, however it does: its training is saved, and nothing stays behind."""

from __future__ import annotations

import re
import signal
import sys
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from chainrule.training.checkpoint import Checkpoints
from chainrule.training.task import TrainTask
from tests.lab.process import Served
from tests.lab.training import bits, is_worker, metrics, small, until

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX here"),
]


class Lab(Served):
    """A lab, asked as a browser would."""

    def get(self, path: str) -> str:
        with urllib.request.urlopen(self.address + path) as answer:
            text: str = answer.read().decode()
        return text

    def post(self, path: str, **values: str) -> str:
        data = urllib.parse.urlencode(values).encode()
        with urllib.request.urlopen(self.address + path, data) as answer:
            text: str = answer.read().decode()
        return text

    def start(self, name: str, epochs: int) -> None:
        once = re.search(r'name="once" value="([^"]+)"', self.get("/training"))
        assert once
        self.post("/training/start", once=once[1], name=name, epochs=str(epochs))

    def order(self, name: str, do: str) -> None:
        self.post("/training/order", run=name, do=do)

    def state(self, name: str) -> str:
        return self.get(f"/training/part/controls?run={name}")

    @property
    def workers(self) -> list[psutil.Process]:
        return [p for p in psutil.Process(self.process.pid).children() if is_worker(p)]


@pytest.fixture
def open_lab(tmp_path: Path) -> Iterator[Callable[[], Lab]]:
    """Start servers, each after the other's end, on one folder."""
    labs = list[Lab]()

    def begin() -> Lab:
        labs.append(Lab(tmp_path / "my runs"))
        return labs[-1]

    yield begin
    for lab in labs:
        if lab.process.poll() is None:
            lab.end(signal.SIGTERM)


def gone(process: psutil.Process) -> bool:
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_the_training_is_saved_before_the_server_ends(
    open_lab: Callable[[], Lab], tmp_path: Path, number: int
) -> None:
    lab = open_lab()
    lab.start("run", 200)
    until(lambda: "Running." in lab.state("run"))
    (worker,) = lab.workers
    until(lambda: "<p id=" in lab.get("/training/part/status?run=run"))
    lab.end(number)
    assert gone(worker), "the worker ended first"
    assert Checkpoints(tmp_path / "my runs" / "run").paths()[0].stem > "step-0000000000"


@pytest.mark.parametrize("moment", ["running", "paused"])
def test_killed_and_started_again_it_goes_on(
    open_lab: Callable[[], Lab], tmp_path: Path, moment: str
) -> None:
    TrainTask(small(3, recipe=""), tmp_path / "plain").run()
    lab = open_lab()
    lab.start("a run", 3)
    lab.order("a run", "pause")
    until(lambda: "Paused" in lab.state("a%20run"))
    (worker,) = lab.workers
    if moment == "running":
        lab.order("a run", "go")
    lab.end(signal.SIGKILL)
    lab = open_lab()
    if moment == "paused":
        until(lambda: gone(worker), 30)
        state = lab.state("a%20run")
        assert "Stopped after 0 epochs of 3. It can go on after step 1," in state
        assert "Stopped after 0 epochs" in lab.get("/training")
    # At once, while the old process may still be saving: the new one waits for it.
    lab.post("/training/resume", run="a run")
    until(lambda: "Finished after 3 epochs" in lab.state("a%20run"))
    assert gone(worker)
    assert bits(tmp_path / "my runs" / "a run") == bits(tmp_path / "plain")
    assert metrics(tmp_path / "my runs" / "a run") == metrics(tmp_path / "plain")


def test_killed_while_the_training_prepares(open_lab: Callable[[], Lab], tmp_path: Path) -> None:
    lab = open_lab()
    lab.start("run", 3)
    (worker,) = lab.workers
    lab.end(signal.SIGKILL)
    until(lambda: gone(worker), 30)
    assert not list((tmp_path / "my runs").rglob("*.tmp"))


def test_a_form_of_the_server_before(open_lab: Callable[[], Lab]) -> None:
    lab = open_lab()
    once = re.search(r'name="once" value="([^"]+)"', lab.get("/training"))
    assert once
    lab.end(signal.SIGTERM)
    lab = open_lab()
    with pytest.raises(urllib.error.HTTPError) as caught:
        lab.post("/training/start", once=once[1], epochs="3", seed="123")
    text = caught.value.read().decode()
    caught.value.close()
    assert "This form is of another start of the lab" in text
    assert 'name="seed" value="123"' in text
    assert not lab.workers
