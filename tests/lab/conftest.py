"""A lab to ask, without a browser: its application, and a folder of runs."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from chainrule.lab import Settings, create_app
from chainrule.training.config import TrainConfig
from chainrule.training.task import TrainTask

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
