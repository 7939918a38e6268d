"""An index that somebody meddled with, and choices that cannot be met."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from chainrule.errors import DataError
from chainrule.retrieval import finishing, making
from chainrule.retrieval.index import Index
from chainrule.retrieval.making import Choices, Source, add_to_index, build_index
from chainrule.retrieval.verifying import verify
from chainrule.retrieval.writing import Writer
from tests.cli.running import Run
from tests.cli.running import run as command  # noqa: F401 - a fixture, under another name


@pytest.fixture
def copy(built: Path, tmp_path: Path) -> Path:
    """A copy of the index of shapes, to be changed."""
    return Path(shutil.copytree(built, tmp_path / "copy"))


@pytest.mark.parametrize("name", ["weights.safetensors", "config.json"])
@pytest.mark.parametrize("gone", [False, True])
def test_a_damaged_network_neither_asks_nor_adds(
    copy: Path, shapes: Path, name: str, gone: bool
) -> None:
    path = copy / "model" / name
    content = bytearray(path.read_bytes())
    content[-9] ^= 1  # a number that is read without complaint
    path.write_bytes(content)
    if gone:
        path.unlink()
    with pytest.raises(DataError, match=f"{name}: missing or not as it was written"):
        Index(copy).query(shapes / "bar" / "000.png")
    with pytest.raises(DataError, match=f"{name}: missing or not"):
        add_to_index(copy, Source(str(shapes)))
    assert len(Index(copy)) == 36


def test_another_key_is_refused(copy: Path, shapes: Path) -> None:
    (copy / "key").write_bytes(os.urandom(32))
    with pytest.raises(DataError, match="not the key that the index was made with"):
        add_to_index(copy, Source(str(shapes)))
    with pytest.raises(DataError, match="put that back, or take this one away"):
        Index(copy).query(shapes / "bar" / "000.png")
    assert len(Index(copy)) == 36


def test_an_index_that_is_given_away_without_its_key_is_whole(copy: Path) -> None:
    (copy / "key").unlink()
    (problem,) = verify(copy)
    assert (problem.file, problem.level, problem.usable) == ("key", "note", True)


def test_a_damaged_database_is_not_quoted(copy: Path) -> None:
    path = copy / "index.db"
    content = path.read_bytes()
    place = content.index(b'"distances"') + 20
    path.write_bytes(content[:place] + b"\xff\xfe" + content[place + 2 :])
    with pytest.raises(DataError, match="UTF-8") as caught:
        Index(copy)
    assert "distances" not in str(caught.value)
    assert len(str(caught.value)) < 250


def test_a_graph_that_cannot_be_made_is_refused_at_once(
    run: Path, shapes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(making, "find_spec", lambda name: None)
    with pytest.raises(DataError, match=r"chainrule\[ann\]"):
        build_index(run, Source(str(shapes)), tmp_path / "index", Choices(ann=True))
    assert not (tmp_path / "index").exists()


def test_a_graph_that_nobody_asked_for_is_done_without(
    copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    monkeypatch.setattr(finishing, "GRAPH_FROM", 10)
    monkeypatch.setattr(finishing, "find_spec", lambda name: None)
    with Writer(copy) as writer:
        finishing.finish(writer, said.append)
    assert len(said) == 1
    assert "chainrule[ann]" in said[0]


def test_the_making_of_a_graph_is_told(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("usearch")
    steps: list[tuple[int, int]] = []
    monkeypatch.setattr(finishing, "GRAPH_FROM", 10)
    with Writer(copy) as writer:
        finishing.finish(writer, None, lambda done, total: steps.append((done, total)))
    assert steps[-1] == (36, 36)


def test_verify_tells_how_far_it_is(
    command: Run,  # noqa: F811
    built: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from chainrule.cli import index_reports

    given: list[object] = []
    monkeypatch.setattr(
        index_reports, "verified", lambda path, progress: given.append(progress) or []
    )
    assert command("index", "verify", built).code == 0
    assert callable(given[0])


def test_a_layer_that_runs_in_parts_is_named_with_them(tmp_path: Path) -> None:
    import numpy as np

    import chainrule as cr
    from chainrule.retrieval.embedding import Embedder

    model = cr.create_model("retrieval_dcnn")
    with pytest.raises(DataError, match=r"such as hidden\.5"):
        Embedder(model, "hidden")(np.zeros((1, 1, 64, 64), np.float32))
