"""Every code block of README.md does what it says, and the runner of blocks can fail."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.readme import ROOT, Block, ReadmeError, blocks, is_long, run_block

README = ROOT / "README.md"
BLOCKS = blocks(README.read_text("utf-8"))


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder for all commands: what an earlier block trains, a later one uses."""
    return tmp_path_factory.mktemp("readme")


def cases(long: bool) -> list[object]:
    return [
        pytest.param(block, id=f"line {block.line}, {block.kind}")
        for block in BLOCKS
        if is_long(block) == long
    ]


@pytest.mark.parametrize("block", cases(long=False))
def test_block(block: Block, shared: Path, tmp_path: Path) -> None:
    run_block(block, tmp_path if block.kind.startswith("py") else shared)


@pytest.mark.slow
@pytest.mark.parametrize("block", cases(long=True))
def test_long_block(block: Block, shared: Path) -> None:
    run_block(block, shared)


def test_readme_opens_with_the_two_commands() -> None:
    first = next(block for block in BLOCKS if "make" in block.text)
    assert "make demo" in first.text
    assert any("make test" in block.text for block in BLOCKS)


def run_page(page: str, folder: Path) -> None:
    for block in blocks(page):
        run_block(block, folder)


def fenced(kind: str, text: str) -> str:
    return f"```{kind}\n{text}\n```\n"


GOOD = {
    "python": fenced("python", "x = 1\nassert x"),
    "examples": fenced("python", ">>> import chainrule as cr\n>>> cr.float32\ndtype('float32')"),
    "printed": fenced("python", "print('loss 0.5')") + fenced("text", "loss 0.5"),
    "indented": "- item\n\n  ```python\n  if True:\n      pass\n  ```\n",
    "longer fence": "````python\ns = '''\n```\n'''\n````\n",
    "make": fenced("bash", "make demo  # trains\nmake test"),
    "passed": fenced("console", "$ make test\n...\n100 passed in 60.1s"),
    "setup": fenced(
        "sh", "git clone URL && cd chainrule\npython3 -m venv .venv\npip install -e '.[demo,dev]'"
    ),
}
BAD = {
    "no kind": (fenced("", "x = 1"), "blocks are python"),
    "unknown kind": (fenced("ruby", "x = 1"), "blocks are python"),
    "text after nothing": (fenced("text", "hello"), "blocks are python"),
    "two texts": (
        fenced("python", "print(1)") + fenced("text", "1") + fenced("text", "1"),
        "blocks are python",
    ),
    "indented by four": ("words\n\n    x = 1\n", "blocks are python"),
    "in pre": ("<pre>x = 1</pre>\n", "blocks are python"),
    "never closed": ("```python\nx = 1\n", "never closed"),
    "raises": (fenced("python", "1 / 0"), "ZeroDivisionError"),
    "no Python": (fenced("python", "x ="), "SyntaxError"),
    "wrong example": (fenced("python", ">>> 1 + 1\n3"), "Expected:"),
    "raising example": (fenced("pycon", ">>> 1 / 0"), "ZeroDivisionError"),
    "not printed": (
        fenced("python", "print('loss 0.5')") + fenced("text", "error 0.5"),
        "is not printed",
    ),
    "another number": (
        fenced("python", "print('loss 0.5')") + fenced("text", "loss 0.7"),
        "is not printed",
    ),
    "wrong order": (
        fenced("python", "print('a')\nprint('b')") + fenced("text", "b\na"),
        "is not printed",
    ),
    "no such target": (fenced("bash", "make coffee"), "no target 'coffee'"),
    "no such extra": (fenced("bash", "pip install chainrule[coffee]"), "the extras are"),
    "no such command": (fenced("bash", "brew coffee"), "of no kind"),
    "second of two": (fenced("bash", "make test && brew coffee"), "'brew coffee' is of no kind"),
    "quotes": (fenced("bash", "make 'test"), "no shell command"),
    "output first": (fenced("console", "12 passed\n$ make test"), "before any command"),
    "make prints otherwise": (fenced("console", "$ make test\nno tests"), "is not printed"),
    "no such chainrule command": (fenced("bash", "chainrule coffee"), "ends with"),
}


@pytest.mark.parametrize("page", GOOD.values(), ids=GOOD)
def test_good_block_passes(page: str, tmp_path: Path) -> None:
    run_page(page, tmp_path)


@pytest.mark.parametrize(("page", "why"), BAD.values(), ids=BAD)
def test_planted_error_is_caught(page: str, why: str, tmp_path: Path) -> None:
    with pytest.raises(ReadmeError, match=why):
        run_page(page, tmp_path)
