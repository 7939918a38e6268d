"""A small run and an index of it, for the tests of search."""

from __future__ import annotations

from pathlib import Path

import pytest

from chainrule.retrieval.making import Source, build_index
from chainrule.training.config import TrainConfig
from chainrule.training.task import TrainTask
from tests.retrieval.shapes import write_shapes


@pytest.fixture(scope="session")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures of bars, discs and rings in folders of their classes: 12 of each."""
    folder = tmp_path_factory.mktemp("shapes") / "pictures"
    write_shapes(folder, 12)
    return folder


@pytest.fixture(scope="session")
def run(shapes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on the shapes: LeNet-5 on 32x32, a few epochs."""
    folder = tmp_path_factory.mktemp("search") / "run"
    config = TrainConfig(
        model="lenet5", data=str(shapes), epochs=12, batch_size=8, lr=0.01, transforms=_WAY
    )
    TrainTask(config, folder).run()
    return folder


_WAY = ("Resize((32, 32))", "Normalize()")


@pytest.fixture(scope="session")
def built(run: Path, shapes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An index of the shapes; not to be changed."""
    folder = tmp_path_factory.mktemp("built") / "index"
    build_index(run, Source(str(shapes)), folder)
    return folder
