"""Every code block of the documentation's pages does what it says."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.readme import ROOT, Block, blocks, run_block

PAGES = sorted((ROOT / "docs").glob("*.md"))
CASES = [
    pytest.param(block, id=f"{page.name}, line {block.line}")
    for page in PAGES
    for block in blocks(page.read_text("utf-8"))
    if not block.kind.startswith("{")  # a directive of the page's own builder
]


def test_there_are_pages() -> None:
    assert {page.stem for page in PAGES} >= {"index", "tutorial", "blocks", "backends"}
    assert len(CASES) > 6


@pytest.mark.parametrize("block", CASES)
def test_block(block: Block, tmp_path: Path) -> None:
    run_block(block, tmp_path)
