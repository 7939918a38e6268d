"""A lab to ask, without a browser: its application, and a folder of runs."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from chainrule.lab import Settings, create_app
from chainrule.retrieval.index import Index
from chainrule.training.config import TrainConfig
from chainrule.training.task import TrainTask
from tests.lab.searched import Lab, make_lab

# The browser's tests are for `make test-lab`, which installs what drives it.
collect_ignore = [] if importlib.util.find_spec("playwright") else ["browser"]

Ask = Callable[..., str]


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run: LeNet-5 after one epoch of digits."""
    folder = tmp_path_factory.mktemp("lab") / "runs"
    TrainTask(TrainConfig(epochs=1, batch_size=64, lr=0.05), folder / "small").run()
    return folder


@pytest.fixture(scope="session")
def client(runs: Path) -> FlaskClient:
    """The application, asked directly."""
    return create_app(Settings(runs)).test_client()


@pytest.fixture(scope="session")
def ask(client: FlaskClient) -> Ask:
    """Ask for a page by GET and give its text; the status must be the one that is told."""

    def get(path: str, status: int = 200) -> str:
        answer = client.get(path)
        assert answer.status_code == status, answer.text
        return answer.text

    return get


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    """A lab with two indexes of images, for tests that only ask."""
    return make_lab(tmp_path_factory.mktemp("retrieval"))


@pytest.fixture
def own(lab: Lab, tmp_path: Path) -> Lab:
    """A lab of one's own, whose index may be changed."""
    shutil.copytree(lab.shapes.path, tmp_path / "runs" / "shapes")
    client = create_app(Settings(tmp_path / "runs")).test_client()
    return Lab(tmp_path, client, Index(tmp_path / "runs" / "shapes"), lab.scans)
