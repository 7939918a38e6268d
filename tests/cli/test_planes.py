"""`chainrule regions` and `chainrule race`: counts, pictures, wrong options."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from chainrule.cli import circuit, race, regions
from tests.cli.running import Run, fails

pytest.importorskip("matplotlib", reason="plots are in the demo extra")


def test_regions_of_the_lectures_lines(run: Run, tmp_path: Path) -> None:
    picture = tmp_path / "lines.png"
    lines = ["--line", "2,1,8", "--line", "-3,1,-12", "--line", "-1,1,-4"]
    told = run("regions", *lines, "--plane", "-10,10,-10,10", "-o", picture)
    assert told.code == 0
    assert told.out.startswith("6 linear regions by activation pattern, 6 with")
    assert "3 units make at most 7 (Zaslavsky)" in told.out
    with Image.open(picture) as image:
        assert image.format == "PNG"


def test_regions_of_random_networks(run: Run, tmp_path: Path) -> None:
    shown = [
        run("regions", "6", "5", *more, "-o", tmp_path / "a.svg").out.split(" linear")[0]
        for more in ([], ["--seed", 0, "--values"], ["--seed", 1], ["--slope", "1"])
    ]
    assert shown[0] == shown[1] != shown[2]
    assert (tmp_path / "a.svg").read_text("utf-8").lstrip().startswith("<?xml")
    assert " 1 with neighbours" in run("regions", "6", "--slope", 1, "-o", tmp_path / "b.png").out


def test_races_as_pictures_and_animations(run: Run, tmp_path: Path) -> None:
    told = run("race", "--surface", "saddle", "-o", tmp_path / "a.png")
    assert told.code == 0
    assert told.out.startswith("saddle from (-1.2, 0.001)\n")
    assert "left the plane at step" in told.out
    moving = tmp_path / "a.gif"
    more = ["--steps", 3, "--start", "-2,1", "--plane", "-4,4,-4,4", "--rate", 0.1, "-o", moving]
    told = run("race", "--surface", "valley", *more)
    assert "valley from (-2, 1)\n" in told.out
    assert "after 3 steps" in told.out
    with Image.open(moving) as image:
        assert image.n_frames == 4  # type: ignore[attr-defined]


def test_wrong_options(run: Run, tmp_path: Path) -> None:
    fails(run("regions"), 1, "either units of layers or lines", "chainrule regions 8 8")
    fails(run("regions", "3", "--line", "1,2,3"), 1, "either units of layers or lines")
    fails(run("regions", "--line", "1,2"), 1, "--line: expected 3 numbers", "'1,2'")
    fails(run("regions", "3", "--plane", "a,b,c,d"), 1, "--plane: expected 4 numbers")
    fails(run("regions", "3", "--plane", "1,0,0,1"), 1, "x0 < x1")
    fails(run("regions", "3", "-o", tmp_path / "a.xyz"), 1, "ends in one of", "png")
    fails(run("race", "--surface", "bill"), 1, "no surface is called 'bill'")
    fails(run("race", "--start", "99,0"), 1, "a start (x, y) in the plane")
    fails(run("race", "-o", tmp_path / "no" / "a.png"), 1, "there is no folder", "make it first")
    fails(run("race", "-o", tmp_path / "a.mp4"), 1, "ends in one of png, svg", "gif")
    assert not list(tmp_path.iterdir())
    assert run("regions", "0").code == 2


def test_where_nothing_can_be_written_is_told_before_the_work(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def work(*given: object, **options: object) -> None:
        raise AssertionError("worked before it looked")

    for module, name in ((regions, "linear_regions"), (race, "loss_surface"), (circuit, "drawn")):
        monkeypatch.setattr(module, name, work)
    (tmp_path / "file").write_text("")
    (tmp_path / "folder.png").mkdir()
    long = "a" * 250 + ".png"
    for command in (("regions", 3), ("race",), ("circuit", "x+y", "x=1", "y=2")):
        for path, words in (
            (tmp_path / "a.txt", "a file that ends in one of"),
            (tmp_path / "no" / "a.png", "there is no folder"),
            (tmp_path / "file" / "a.png", "there is no folder"),
            (tmp_path / "folder.png", "this is a folder"),
            (tmp_path / long, "cannot be written (File name too long)"),
        ):
            fails(run(*command, "-o", path), 1, words)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder.png"]
