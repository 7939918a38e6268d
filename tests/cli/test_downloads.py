from __future__ import annotations

import io

import pytest
from rich.console import Console

from chainrule.cli.downloads import DownloadDisplay


def show(terminal: bool, calls: list[tuple[str, int, int | None]]) -> str:
    file = io.StringIO()
    console = Console(file=file, force_terminal=terminal, width=100, highlight=False)
    with DownloadDisplay(console) as display:
        for call in calls:
            display(*call)
    return file.getvalue()


CALLS: list[tuple[str, int, int | None]] = [
    *(("a.gz", done, 2_500_000) for done in (0, 1_000_000, 2_500_000)),
    ("b.gz", 0, None),
    ("b.gz", 10, None),
]


def test_a_line_a_file_where_there_is_no_terminal() -> None:
    assert show(False, CALLS).split("\n") == [
        "downloading a.gz (2.5 MB)",
        "downloading b.gz",
        "",
    ]


def test_a_bar_a_file_on_a_terminal() -> None:
    text = show(True, CALLS)
    assert "a.gz" in text
    assert "2.5/2.5 MB" in text
    assert "b.gz" in text


@pytest.mark.parametrize("terminal", [False, True])
def test_nothing_where_nothing_is_fetched(terminal: bool) -> None:
    assert show(terminal, []) == ""
